#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
#
# install.sh - what `meson install` puts where, and that it can be used from there. TAP.
#
#     tests/install.sh BUILD_DIR

set -u
BUILD=$(cd "$1" && pwd) || exit 1
HERE=$(cd "$(dirname "$(realpath "$0")")/.." && pwd) || exit 1
WORK=$(mktemp -d) || exit 1
trap 'rm -rf "$WORK"' EXIT
number=0
failures=0

# check NAME COMMAND...: a case; what the command says is shown when it fails.
check() {
	local name=$1
	shift
	number=$((number + 1))
	if "$@" >"$WORK/said" 2>&1; then
		echo "ok $number - $name"
	else
		echo "not ok $number - $name"
		sed 's/^/# /' "$WORK/said" | tail -n 30
		failures=$((failures + 1))
	fi
}

pass_over() {
	number=$((number + 1))
	echo "ok $number - $1 # SKIP $2"
}

installs() { timeout 120 meson install -C "$BUILD" --no-rebuild --destdir "$WORK/root"; }

# Pages by their sources; and links to them, each of which is to be a call of the library's.
pages_expected() {
	local page name
	for page in "$HERE"/man/*.scd; do
		name=${page##*/}
		name=${name%.scd}
		echo "share/man/man${name##*.}/$name"
	done
	for page in "$WORK/root$PREFIX"/share/man/man3/*; do
		name=${page##*/}
		if [ -L "$page" ] && grep -q "\b${name%.3}(" "$HERE/include/leasefs/leasefs.h"; then
			echo "share/man/man3/$name"
		fi
	done
}

# Everything that is expected, and nothing else.
files_are_expected() {
	(cd "$WORK/root$PREFIX" && find . -not -type d | sed 's,^\./,,' | sort) >"$WORK/got"
	{
		printf '%s\n' bin/leasefs bin/leasectl bin/leasescript sbin/mkfs.leasefs \
			sbin/fsck.leasefs sbin/mount.fuse.leasefs \
			lib/systemd/system/leasefs@.service share/zsh/site-functions/_leasefs
		printf 'share/bash-completion/completions/%s\n' leasefs mkfs.leasefs fsck.leasefs \
			leasectl leasescript
		(cd "$HERE/include" && find leasefs -name '*.h*' | sed 's,^,include/,')
		pages_expected
		# The library, when there is one: its names carry versions.
		grep -E '^lib/([^/]*/)?(libleasefs[^/]*\.(so[.0-9]*|a)|pkgconfig/libleasefs\.pc)$' \
			"$WORK/got"
	} | sort >"$WORK/expected"
	diff -u "$WORK/expected" "$WORK/got"
}

modes_are_right() {
	find "$WORK/root" -perm /022 -not -type l | grep . && return 1
	for program in bin/leasefs bin/leasectl bin/leasescript sbin/mkfs.leasefs sbin/fsck.leasefs \
		sbin/mount.fuse.leasefs; do
		[ -x "$WORK/root$PREFIX/$program" ] || { echo "$program" && return 1; }
	done
}

programs_run() {
	local program
	for program in bin/leasefs sbin/mkfs.leasefs sbin/fsck.leasefs sbin/mount.fuse.leasefs; do
		"$WORK/root$PREFIX/$program" --help || return 1
	done
}

# Beside each other in bin and sbin, the helper finds the daemon, which then refuses the pool.
helper_finds_the_daemon() {
	mkdir -p "$WORK/mnt"
	! PATH=/usr/bin:/bin "$WORK/root$PREFIX/sbin/mount.fuse.leasefs" \
		"$WORK/none" "$WORK/mnt" 2>"$WORK/words"
	cat "$WORK/words"
	grep -q "cannot open the pool" "$WORK/words"
}

headers_compile() {
	local header
	for header in "$WORK/root$PREFIX"/include/leasefs/*.h; do
		echo "#include <leasefs/${header##*/}>" >"$WORK/use.c"
		${CC:-cc} -std=c11 -Wall -Wextra -Wpedantic -Werror -D_GNU_SOURCE \
			-I"$WORK/root$PREFIX/include" -c -o "$WORK/use.o" "$WORK/use.c" || return 1
	done
}

# From C++ each can be included, too, the one for C++ among them.
headers_compile_as_cxx() {
	local header
	for header in "$WORK/root$PREFIX"/include/leasefs/*.h*; do
		echo "#include <leasefs/${header##*/}>" >"$WORK/use.cpp"
		${CXX:-c++} -std=c++17 -Wall -Wextra -pedantic -Werror \
			-I"$WORK/root$PREFIX/include" -c -o "$WORK/use.o" "$WORK/use.cpp" || return 1
	done
}

pages_are_links_or_text() {
	local page
	for page in "$WORK/root$PREFIX"/share/man/man*/*; do
		[ -s "$page" ] || { echo "$page is empty" && return 1; }
		man --warnings -l "$page" 2>&1 >/dev/null | grep . && return 1
	done
	return 0
}

# page_options PAGE: the options that it tells in bold.
page_options() {
	sed 's/\\//g' "$1" | grep -oE '\*--?[A-Za-z][a-z-]*[=*]' | tr -d '*=' | sort -u
}

# help_options PROGRAM: those at the beginning of a line, and in the lines of usage.
help_options() {
	"$1" --help 2>/dev/null | sed -n 's/^ \+\(-.*\)/\1/; s/   *[^-].*//; /^-/p; /^[Uu]sage/p' |
		grep -oE -e '(^|[][ ,|])--?[A-Za-z][a-z-]*' | grep -oE -e '-.*' | sort -u
}

# Whatever a program says that it takes is in its page, and the other way round.
options_are_on_pages() {
	local page program differ=0
	for page in leasefs.8 mkfs.leasefs.8 fsck.leasefs.8 leasectl.8 leasescript.1; do
		program=$(find "$WORK/root$PREFIX"/*bin -name "${page%.*}")
		diff <(help_options "$program") <(page_options "$HERE/man/$page.scd" |
			grep -vx -e '-[ap]') >"$WORK/options" || {
			echo "${page%.*}, in its help < and its page >:" && cat "$WORK/options"
			differ=1
		}
	done
	for word in $("$WORK/root$PREFIX/bin/leasectl" --help |
		sed -n 's/^  \([a-z][a-z-]*\) .*/\1/p'); do
		grep -q "^\*$word\*" "$HERE/man/leasectl.8.scd" || { echo "leasectl $word" && differ=1; }
	done
	for word in $("$WORK/root$PREFIX/bin/leasefs" --help | awk '
		/^Options of the / { inside = 1; mount = /mount:/; next }
		/^$/ { inside = 0 }
		inside && mount { for (i = 1; i <= NF; i++) print $i }
		inside && !mount && /^    [a-z]/ { print $1 }'); do
		grep -q "\*${word%=}[=*]" "$HERE/man/leasefs.8.scd" || { echo "-o $word" && differ=1; }
	done
	return "$differ"
}

# Members of structures, where a page shows one.
structures_are_the_headers() {
	awk '
		BEGIN { print "#include <leasefs/leasefs.h>\nint main(void)\n{\n\treturn 0" }
		/^struct leasefs_[a-z_]+ \{/ { in_struct = $2; next }
		/^\};/ { in_struct = "" }
		in_struct && match($0, /[a-z_]+;/) {
			print "+ 0 * sizeof(((struct " in_struct " *)0)->" substr($0, RSTART, RLENGTH - 1) ")"
			found++
		}
		END { print ";\n}"; exit found < 10 }' "$HERE"/man/*.3.scd >"$WORK/use.c" &&
		${CC:-cc} -fsyntax-only -D_GNU_SOURCE -I"$WORK/root$PREFIX/include" "$WORK/use.c"
}

# What the library exports; but for what its inline functions alone call.
calls_have_pages() {
	local name missing=0
	while read -r name; do
		[ -e "$WORK/root$PREFIX/share/man/man3/$name.3" ] || {
			echo "there is no $name(3)"
			missing=1
		}
	done < <(sed -n 's/^\t\t\(leasefs_[a-z_]*\);$/\1/p' "$HERE/lib/libleasefs.map" |
		grep -Ev '_slowly$|^leasefs_(tell_unpinned|push_guard)$')
	return "$missing"
}

# pkg-config, as a user of the library asks it; the paths of the root are added by it.
links_with_pkg_config() {
	local pc
	pc=$(find "$WORK/root$PREFIX" -name libleasefs.pc)
	printf '#include <leasefs/leasefs.h>\nint main(void)\n{\n\treturn 0;\n}\n' >"$WORK/use.c"
	export PKG_CONFIG_SYSROOT_DIR=$WORK/root PKG_CONFIG_PATH=${pc%/*}
	# shellcheck disable=SC2046 # words are meant
	${CC:-cc} -o "$WORK/use" "$WORK/use.c" $(pkg-config --cflags --libs libleasefs) &&
		LD_LIBRARY_PATH=$WORK/root$(pkg-config --variable=libdir libleasefs) "$WORK/use"
}

unit_is_good() {
	cp "$WORK/root$PREFIX/lib/systemd/system/leasefs@.service" "$WORK/" || return 1
	# It looks for the program where it will be, not where it is now.
	sed -i "s,^ExecStart=$PREFIX/,ExecStart=$WORK/root$PREFIX/," "$WORK/leasefs@.service"
	systemd-analyze verify --man=no "$WORK/leasefs@test.service" 2>&1 |
		grep -v "^$" && return 1
	return 0
}

PREFIX=$(meson introspect --buildoptions "$BUILD" | python3 -c '
import json, sys
print(next(o["value"] for o in json.load(sys.stdin) if o["name"] == "prefix"))')
check "meson install with DESTDIR" installs
check "the files, and no others" files_are_expected
check "modes" modes_are_right
check "programs run from there" programs_run
check "the mount helper finds the daemon" helper_finds_the_daemon
check "headers stand alone" headers_compile
if command -v "${CXX:-c++}" >/dev/null 2>&1; then
	check "headers are C++17" headers_compile_as_cxx
else
	pass_over "headers are C++17" "there is no C++ compiler"
fi
check "structures in manual pages are the headers'" structures_are_the_headers
check "options are in help and in manual pages" options_are_on_pages
if command -v man >/dev/null 2>&1 && command -v scdoc >/dev/null 2>&1; then
	check "manual pages" pages_are_links_or_text
	check "every call has its page" calls_have_pages
else
	pass_over "manual pages" "man or scdoc is not installed"
	pass_over "every call has its page" "man or scdoc is not installed"
fi
if command -v systemd-analyze >/dev/null 2>&1; then
	check "the unit" unit_is_good
else
	pass_over "the unit" "systemd-analyze is not installed"
fi
if find "$WORK/root" -name libleasefs.pc | grep -q .; then
	check "pkg-config" links_with_pkg_config
else
	pass_over "pkg-config" "this build installs no library"
fi
echo "1..$number"
[ "$failures" -eq 0 ]
