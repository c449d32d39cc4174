#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
#
# completion.sh - what the shell completions offer. TAP.
#
#     tests/completion.sh BUILD_DIR

set -u
BUILD=$(cd "$1" && pwd) || exit 1
HERE=$(cd "$(dirname "$(realpath "$0")")/.." && pwd) || exit 1
WORK=$(mktemp -d) || exit 1
trap 'rm -rf "$WORK"' EXIT
mkdir "$WORK/bin" "$WORK/pools" "$WORK/pools/one" "$WORK/pools/two"
touch "$WORK/pools/file.lease"
cp "$BUILD/fs/fuse/leasefs" "$BUILD/tools/mkfs.leasefs" "$BUILD/tools/fsck.leasefs" \
	"$BUILD/tools/leasectl" "$BUILD/tools/leasescript" "$WORK/bin/" || exit 1
export PATH=$WORK/bin:$PATH
cd "$WORK/pools" || exit 1
number=0
failures=0

# result NAME EXPECTED GOT
result() {
	number=$((number + 1))
	if [ "$2" = "$3" ]; then
		echo "ok $number - $1"
	else
		echo "not ok $number - $1"
		printf '# expected: %s\n# got:      %s\n' "$2" "$3"
		failures=$((failures + 1))
	fi
}

# offers LINE: what bash offers at the end of it, on one line.
offers() {
	bash -c '
		. "$1"
		COMP_LINE=$2 COMP_POINT=${#2} COMPREPLY=()
		_leasefs "${2%% *}"
		printf "%s\n" "${COMPREPLY[@]}" | sort | paste -sd " " -
	' bash "$HERE/tools/completion/leasefs.bash" "$1"
}

result "a pool is a directory" "one two" "$(offers "leasefs ")"
result "options of leasefs" "--help" "$(offers "leasefs --he")"
result "mount options" "durability=" "$(offers "leasefs -o dur")"
result "values of a mount option" "strict" "$(offers "leasefs -o durability=st")"
result "the rest of a list" "nosuid,noatime" "$(offers "leasefs one two -o nosuid,noat")"
result "sizes are not guessed" "" "$(offers "mkfs.leasefs -s ")"
result "domains" "single uid" "$(offers "mkfs.leasefs -d ")"
result "domains, as one word" "uid" "$(offers "mkfs.leasefs --domains=u")"
result "options with values" "--data= --domains=" "$(offers "mkfs.leasefs --d")"
result "options in a usage line" "--help --retag --version -V -h -n -v -y" "$(offers "fsck.leasefs -")"
result "a verb of leasectl" "quarantine" "$(offers "leasectl one quar")"
result "a verb without a mount" "timeline" "$(offers "leasectl timel")"
result "a file for it" "file.lease" "$(offers "leasectl timeline fi")"
result "a file for a verb" "file.lease" "$(offers "leasectl one leases fi")"
result "scripts" "file.lease" "$(offers "leasescript file")"

# Every verb that leasectl's help names is offered.
named=$(leasectl --help | sed -n 's/^  \([a-z][a-z-]*\).*/\1/p' | sort -u | paste -sd ' ' -)
result "all verbs" "$named" "$(offers "leasectl one ")"

if ! command -v zsh >/dev/null 2>&1; then
	echo "ok $((number + 1)) - zsh # SKIP zsh is not installed"
	number=$((number + 1))
else
	result "zsh: syntax" "" "$(zsh -n "$HERE/tools/completion/_leasefs" 2>&1)"
	cat >"$WORK/drive" <<-'ZSH'
		zmodload zsh/zpty
		zpty shell zsh -f -i
		zpty -w shell "PS1= ; fpath=($1 \$fpath); autoload -Uz compinit; compinit -u -d $2/dump"
		zpty -w shell 'echo begin-$((1 + 1))'
		zpty -r -m shell seen '*begin-2*'
		zpty -w -n shell $'leasectl one quar\t'
		zpty -r -m shell seen '*quarantine*' && print quarantine
		zpty -d shell
	ZSH
	result "zsh: offers a verb" quarantine \
		"$(timeout 30 zsh -f "$WORK/drive" "$HERE/tools/completion" "$WORK" 2>&1 | tail -n 1)"
fi
echo "1..$number"
[ "$failures" -eq 0 ]
