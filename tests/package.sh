#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
#
# package.sh - Debian packages, built by debian/, installed in a clean root of this machine's own
# release, used there, and removed without a trace. TAP.

set -u
cd "$(dirname "$(realpath "$0")")/.." || exit 1
SOURCE=$PWD
# shellcheck source=tests/packages.sh
. tests/packages.sh
# shellcheck source=tests/roots.sh
. tests/roots.sh

BUILD_LIMIT_S=600
number=0
failures=0

skip_all() {
	echo "ok 1 - packages # SKIP $1"
	echo "1..1"
	exit 0
}

# check NAME COMMAND...
check() {
	local name=$1
	shift
	number=$((number + 1))
	if "$@" >"$WORK/said" 2>&1; then
		echo "ok $number - $name"
	else
		echo "not ok $number - $name"
		sed 's/^/# /' "$WORK/said" | tail -n 40
		failures=$((failures + 1))
	fi
}

why=$(roots_why_not)
[ -z "$why" ] || skip_all "$why"
SUITE=$(. /etc/os-release && [ "${ID:-}" = debian ] && echo "${VERSION_CODENAME:-}")
[ -n "$SUITE" ] || skip_all "this machine does not run a release of Debian"
packages_install program:dpkg-buildpackage:dpkg-dev program:dh:debhelper \
	program:lintian:lintian >/dev/null 2>&1 || skip_all "debhelper or lintian cannot be had"
WORK=$(mktemp -d "${TMPDIR:-/tmp}/leasefs-package.XXXXXX") || exit 1
trap 'root_remove "$WORK"' EXIT
trap 'exit 130' INT TERM HUP
chmod 755 "$WORK"
mkdir -p "$WORK/build/leasefs"
ROOT=$WORK/root

# ---- build -----------------------------------------------------------------------------------

# What a clean checkout holds, also where the checkout is not clean.
copy_tree() {
	tar --exclude='./build*' --exclude=./.git --exclude-backups -C "$SOURCE" -c . |
		tar -C "$WORK/build/leasefs" -x
}

build() {
	cd "$WORK/build/leasefs" && DEB_BUILD_OPTIONS="noautodbgsym parallel=$(nproc)" \
		timeout --kill-after=10 "$BUILD_LIMIT_S" dpkg-buildpackage -us -uc -b
}

lint() { timeout 120 lintian --allow-root --fail-on error "$WORK"/build/*.changes; }

# ---- use -------------------------------------------------------------------------------------

in_root() { root_run "$ROOT" sh -euc "$1"; }

# Every name but those of package management, of logs, and of systemd's timers.
list_root() {
	find "$ROOT" -xdev \( -path "$ROOT/var/lib/dpkg" -o -path "$ROOT/var/lib/apt" -o \
		-path "$ROOT/var/lib/systemd" -o -path "$ROOT/var/cache" -o -path "$ROOT/var/log" \
		-o -path "$ROOT/packages" \) -prune -o -printf '/%P\n' | sort
}

# The programs first: they are to work without the library's packages.
install_programs() {
	mkdir "$ROOT/packages" && cp "$WORK"/build/*.deb "$ROOT/packages/" || return 1
	in_root 'apt-get install -q -y --no-install-recommends /packages/leasefs_*.deb'
}
install_library() { in_root 'apt-get install -q -y --no-install-recommends /packages/lib*.deb'; }

# shellcheck disable=SC2016 # expands inside
use_by_type() {
	in_root '
		mkfs.leasefs -s 128M /dev/shm/leasefs-package-test
		trap "umount /srv/lease || :; rm -rf /dev/shm/leasefs-package-test" EXIT
		mkdir /srv/lease
		mount -t fuse.leasefs -o durability=relaxed /dev/shm/leasefs-package-test /srv/lease
		cp -a /usr/share/doc /srv/lease/
		diff -r /usr/share/doc /srv/lease/doc
		leasectl /srv/lease status
		umount /srv/lease
		trap "rm -rf /dev/shm/leasefs-package-test; rmdir /srv/lease" EXIT
		fsck.leasefs -n /dev/shm/leasefs-package-test
	'
}

# shellcheck disable=SC2016 # expands inside
use_by_fstab() {
	in_root '
		mkfs.leasefs -q -s 64M /var/tmp/pool
		mkdir /srv/lease
		cp /etc/fstab /var/tmp/fstab
		echo "/var/tmp/pool /srv/lease fuse.leasefs durability=strict,nosuid 0 0" >/etc/fstab
		trap "umount /srv/lease || :; rm -rf /var/tmp/pool; rmdir /srv/lease
			mv /var/tmp/fstab /etc/fstab" EXIT
		mount /srv/lease
		grep "/srv/lease fuse.*nosuid" /proc/mounts
		echo content >/srv/lease/file
		umount /srv/lease
		mount -a
		test "$(cat /srv/lease/file)" = content
	'
}

# shellcheck disable=SC2016 # expands inside
conflicts_hold() {
	cp "$SOURCE/tests/scenarios/unpin_during_the_recall_lets_it_end.lease" "$ROOT/packages/"
	in_root 'cd /packages && leasescript unpin_during_the_recall_lets_it_end.lease'
}

library_is_found() {
	# shellcheck disable=SC2016 # expands inside
	in_root '
		ldconfig -p | grep -q libleasefs.so.1
		test -e /usr/include/leasefs/leasefs.h
		cat /usr/lib/*/pkgconfig/libleasefs.pc'
}

# The unit, as an administrator has it: ready when mounted, mounted anew after a crash, and gone when
# it is stopped, with all of its restrictions.
# shellcheck disable=SC2016 # expands inside
use_by_unit() {
	root_enter sh -euxc '
		mkfs.leasefs -q -s 64M /var/tmp/pool
		mkdir /srv/lease
		printf "%s\n" POOL=/var/tmp/pool MOUNTPOINT=/srv/lease OPTIONS=durability=strict \
			>/etc/leasefs/data.conf
		systemctl start leasefs@data
		grep " /srv/lease fuse.leasefs" /proc/mounts
		systemctl show --property StatusText leasefs@data | grep "serving /var/tmp/pool"
		echo content >/srv/lease/file
		chown 1:1 /srv/lease/file
		leasectl /srv/lease status
		kill -KILL "$(systemctl show --property MainPID --value leasefs@data)"
		until [ "$(cat /srv/lease/file 2>/dev/null)" = content ]; do sleep 0.1; done
		journalctl -u leasefs@data | grep "leasefs.*recovered"
		systemctl stop leasefs@data
		! grep " /srv/lease " /proc/mounts
		test "$(systemctl is-failed leasefs@data)" = inactive
		fsck.leasefs -n /var/tmp/pool
	'
}

# A line of fstab is a unit as well.
# shellcheck disable=SC2016 # expands inside
use_by_mount_unit() {
	root_enter sh -euxc '
		cp /etc/fstab /var/tmp/fstab
		echo "/var/tmp/pool /srv/lease fuse.leasefs defaults 0 0" >/etc/fstab
		systemctl daemon-reload
		systemctl start srv-lease.mount
		test "$(cat /srv/lease/file)" = content
		systemctl stop srv-lease.mount
		! grep " /srv/lease " /proc/mounts
		mv /var/tmp/fstab /etc/fstab
	'
}

tidy_after_units() {
	root_halt
	rm -rf "${ROOT:?}/.boot" "$ROOT/var/tmp/pool" "$ROOT/etc/leasefs/data.conf" "$ROOT/srv/lease"
}

purge() {
	rm -rf "$ROOT/packages"
	in_root '
		apt-get purge -q -y leasefs libleasefs1 libleasefs-dev
		apt-get autoremove -q -y --purge'
}

nothing_is_left() {
	list_root >"$WORK/after"
	diff "$WORK/before" "$WORK/after"
}

finish() {
	echo "1..$number"
	[ "$failures" -eq 0 ]
	exit
}

copy_tree || exit 1
check "dpkg-buildpackage" build
[ "$failures" -eq 0 ] || finish
check "lintian" lint
why=$(root_make "$SUITE" "$ROOT" "$WORK/log") || {
	echo "ok $((number + 1)) - installation # SKIP $why"
	number=$((number + 1))
	finish
}
install_systemd() { in_root 'apt-get install -q -y --no-install-recommends systemd systemd-sysv'; }
check "a root with systemd" install_systemd
list_root >"$WORK/before"
check "installs in a clean root" install_programs
check "mount -t fuse.leasefs" use_by_type
check "a line of fstab" use_by_fstab
check "a conflict script" conflicts_hold
if [ -z "$(roots_cgroup)" ]; then
	number=$((number + 1))
	echo "ok $number - the unit # SKIP no control groups that systemd could have"
else
	check "systemd boots" root_boot "$ROOT" "$WORK/boot.log"
	check "the unit" use_by_unit
	check "a mount unit" use_by_mount_unit
	check "all of it ends" tidy_after_units
fi
check "the library's packages install" install_library
check "the library is found" library_is_found
check "purges" purge
check "nothing is left" nothing_is_left
finish
