# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
#
# leasefs.bash - completion for leasefs, mkfs.leasefs, fsck.leasefs, leasectl and leasescript.
#
# Options and verbs are read from the program's own --help, so that they are those of the version
# that is installed.

# _leasefs_options PROGRAM: the options in the left column and the usage line of its help.
_leasefs_options() {
	"$1" --help 2>/dev/null | sed -n 's/^ \+\(-.*\)/\1/; s/   *[^-].*//; /^-/p; /^[Uu]sage/p' |
		grep -oE -e '(^|[][ ,|])--?[A-Za-z][A-Za-z-]*=?' | grep -oE -e '-.*' | sort -u
}

# _leasefs_mount_options PROGRAM: what may follow -o.
_leasefs_mount_options() {
	"$1" --help 2>/dev/null | awk '
		/^Options of the / { inside = 1; mount = /mount:/; next }
		/^$/ { inside = 0 }
		inside && mount { for (i = 1; i <= NF; i++) print $i }
		inside && !mount && /^    [a-z]/ { print $1 }'
}

# _leasefs_verbs PROGRAM: the words that its help lists in a column.
_leasefs_verbs() {
	"$1" --help 2>/dev/null | sed -n 's/^  \([a-z][a-z-]*\)  .*/\1/p; s/^  \([a-z][a-z-]*\) [A-Z[].*/\1/p'
}

_leasefs_words() {
	mapfile -t COMPREPLY < <(compgen -W "$1" -- "$2")
	# shellcheck disable=SC2128 # the first of one
	[[ ${#COMPREPLY[@]} -ne 1 || $COMPREPLY != *= ]] || compopt -o nospace 2>/dev/null
}

_leasefs_paths() {
	compopt -o filenames 2>/dev/null
	mapfile -t COMPREPLY < <(compgen "$1" -- "$2")
}

# After -o: a list, of which the last part is being written.
_leasefs_complete_list() {
	local head='' tail=$2
	case $2 in
	*,*) head=${2%,*}, tail=${2##*,} ;;
	esac
	compopt -o nospace 2>/dev/null
	case $tail in
	durability=*) _leasefs_words "durability=strict durability=relaxed" "$tail" ;;
	*) _leasefs_words "$(_leasefs_mount_options "$1")" "$tail" ;;
	esac
	COMPREPLY=("${COMPREPLY[@]/#/$head}")
}

# The words of the line, with NAME=VALUE in one piece: bash breaks it at "=".
_leasefs_line() {
	local line=${COMP_LINE:0:COMP_POINT}
	read -ra words <<<"$line"
	[[ $line != *[[:space:]] ]] || words+=('')
	cur=${words[-1]}
	prev=${words[-2]:-}
}

# Readline replaces what follows the last "=" alone.
_leasefs_trim() {
	[[ $cur == *=* && $COMP_WORDBREAKS == *=* ]] || return
	local prefix=${cur%"${cur##*=}"}
	COMPREPLY=("${COMPREPLY[@]#"$prefix"}")
}

_leasefs() {
	local program=$1 cur prev words
	COMPREPLY=()
	_leasefs_line
	case ${program##*/}:$prev in
	leasefs:-o) _leasefs_complete_list "$program" "$cur" ;;
	mkfs.leasefs:-d | mkfs.leasefs:--domains) _leasefs_words "single uid" "$cur" ;;
	mkfs.leasefs:-g | mkfs.leasefs:--group) _leasefs_paths -g "$cur" ;;
	mkfs.leasefs:-D | mkfs.leasefs:--data) _leasefs_paths -f "$cur" ;;
	mkfs.leasefs:-[smL] | mkfs.leasefs:--size | mkfs.leasefs:--meta-size | mkfs.leasefs:--label) ;;
	leasescript:--mount | leasescript:--pools) _leasefs_paths -d "$cur" ;;
	leasescript:--slow) ;;
	leasescript:--options) _leasefs_complete_list leasefs "$cur" ;;
	*)
		case ${program##*/}:$cur in
		mkfs.leasefs:--domains=*) _leasefs_words "--domains=single --domains=uid" "$cur" ;;
		*:-*) _leasefs_words "$(_leasefs_options "$program")" "$cur" ;;
		leasescript:*) _leasefs_paths -f "$cur" ;;
		leasectl:*)
			# The mount may be left out: verbs come first, or after a directory.
			if [[ ${#words[@]} -eq 2 ]]; then
				compopt -o filenames 2>/dev/null
				mapfile -t COMPREPLY < <(
					compgen -d -- "$cur"
					compgen -W "$(_leasefs_verbs "$program")" -- "$cur"
				)
			elif [[ ${#words[@]} -eq 3 && -d ${words[1]} ]]; then
				_leasefs_words "$(_leasefs_verbs "$program")" "$cur"
			else
				_leasefs_paths -f "$cur"
			fi
			;;
		*) _leasefs_paths -d "$cur" ;;
		esac
		;;
	esac
	_leasefs_trim
}

complete -F _leasefs leasefs mkfs.leasefs fsck.leasefs leasectl leasescript
