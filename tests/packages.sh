# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
#
# packages.sh - what building and testing need, and how to get it. Sourced by tests/run and
# tools/quickstart.
#
# A need is asked for by what it provides (a program, a pkg-config module, a header, a file), never by
# asking the package manager, so that a build of one's own counts too. Only Debian's and Ubuntu's apt-get is
# known; elsewhere the list of what is missing has to do.

# provides:what:package
# shellcheck disable=SC2034
BUILD_NEEDS=(
	program:cc:build-essential
	program:meson:meson
	program:ninja:ninja-build
	program:pkg-config:pkg-config
	program:fusermount3:fuse3
	module:fuse3:libfuse3-dev
	module:liburing:liburing-dev
	module:libpmem:libpmem-dev
	module:libxxhash:libxxhash-dev
	module:json-c:libjson-c-dev
	module:ncursesw:libncurses-dev
	module:libseccomp:libseccomp-dev
	module:cmocka:libcmocka-dev
	program:scdoc:scdoc
)
# shellcheck disable=SC2034
TEST_NEEDS=(
	program:gcc:gcc
	program:clang:clang
	program:git:git
	program:rsync:rsync
	program:sqlite3:sqlite3
	program:fio:fio
	program:stress-ng:stress-ng
	program:setfattr:attr
	program:setfacl:acl
	program:valgrind:valgrind
	program:setpriv:util-linux
	program:findmnt:mount
	program:python3:python3
	program:spin:spin
	program:pgrep:procps
	program:rg:ripgrep
	program:mdb_load:lmdb-utils
	module:libibverbs:libibverbs-dev
	program:tmux:tmux
	program:readelf:binutils
	header:sys/sdt.h:systemtap-sdt-dev
)

# packages_missing NEED...: prints the packages that are needed and not there.
packages_missing() {
	local need kind rest what package
	for need in "$@"; do
		kind=${need%%:*}
		rest=${need#*:}
		what=${rest%%:*}
		package=${rest#*:}
		case $kind in
		program) command -v "$what" >/dev/null 2>&1 || echo "$package" ;;
		file) compgen -G "$what" >/dev/null || echo "$package" ;; # a shell pattern
		module)
			if ! command -v pkg-config >/dev/null 2>&1 ||
				! pkg-config --exists "$what" 2>/dev/null; then
				echo "$package"
			fi
			;;
		header) echo "#include <$what>" | cc -E -x c - >/dev/null 2>&1 || echo "$package" ;;
		esac
	done
}

# packages_install NEED...: 0 when all needs are met, after installing what can be installed.
packages_install() {
	local missing as_root=()
	mapfile -t missing < <(packages_missing "$@")
	[ "${#missing[@]}" -gt 0 ] || return 0
	if ! command -v apt-get >/dev/null 2>&1; then
		echo "missing, and there is no apt-get to install them with: ${missing[*]}" >&2
		return 1
	fi
	if [ "$(id -u)" -ne 0 ]; then
		if command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
			as_root=(sudo -n)
		else
			echo "missing packages, and neither root nor sudo to install them:" >&2
			echo "    apt-get install ${missing[*]}" >&2
			return 1
		fi
	fi
	echo "installing: ${missing[*]}"
	"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -q </dev/null >/dev/null ||
		echo "apt-get update failed; trying with the lists that are there" >&2
	if ! "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y \
		-o DPkg::Lock::Timeout=300 --no-install-recommends "${missing[@]}" </dev/null >/dev/null; then
		echo "apt-get could not install: ${missing[*]}" >&2
		return 1
	fi
	mapfile -t missing < <(packages_missing "$@")
	if [ "${#missing[@]}" -gt 0 ]; then
		echo "still missing after the installation: ${missing[*]}" >&2
		return 1
	fi
}
