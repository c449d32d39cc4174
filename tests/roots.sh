# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
#
# roots.sh - Debian systems of one's own in a directory, for what must be seen on a clean or on
# another system. Sourced by tests/lanes/package.sh and .ci/testing. Needs root.
#
# Where packages come from is the machine's own affair: the archive that its apt-get uses is asked
# for, with the proxy and the checks of dates that are set for it. Nothing is mounted where others
# see it: a command in such a root has a mount namespace and a process namespace of its own, so that
# what it leaves behind, mounts and daemons, ends with it.
#
# LEASEFS_ROOTS names a directory that keeps fresh roots from one run to the next; without it every
# run makes its own.

ROOT_LIMIT_S=600 # for debootstrap, or for one command; debootstrap takes 30 s with an archive close by

# roots_why_not: prints why there can be none here; nothing if there can.
roots_why_not() {
	if [ "$(id -u)" -ne 0 ]; then
		echo "needs root"
	elif ! command -v apt-get >/dev/null 2>&1; then
		echo "no apt-get here: the archive of Debian packages is not known"
	elif ! packages_install program:debootstrap:debootstrap >/dev/null 2>&1; then
		echo "debootstrap is not installed, and cannot be"
	elif ! unshare --mount --pid --fork true 2>/dev/null; then
		echo "no mount and process namespaces here"
	elif [ -z "$(roots_archive)" ]; then
		echo "apt-get knows no archive of Debian's"
	fi
}

# The archive that this machine's apt-get has Debian's main component from.
roots_archive() {
	# shellcheck disable=SC2016 # fields of apt-get's
	apt-get indextargets --format '$(ORIGIN) $(LABEL) $(COMPONENT) $(REPO_URI)' \
		'Created-By: Packages' 2>/dev/null |
		awk '$1 == "Debian" && $2 == "Debian" && $3 == "main" &&
			$4 ~ /^(https?|file):/ { print $4; exit }'
}

# roots_apt_settings: what of apt-get's configuration is about how to reach the archive.
roots_apt_settings() {
	apt-config dump 2>/dev/null |
		grep -E '^Acquire::(https?::Proxy|Check-Valid-Until|Check-Date|Retries|ForceIPv)' || true
}

# roots_bootstrap SUITE DIR: what debootstrap says goes to standard output.
roots_bootstrap() {
	local suite=$1 dir=$2 proxy=
	eval "$(apt-config shell proxy Acquire::http::Proxy)"
	[ -z "$proxy" ] || [ "$proxy" = DIRECT ] || export http_proxy="$proxy"
	timeout --kill-after=10 "$ROOT_LIMIT_S" debootstrap --variant=minbase \
		--include=ca-certificates "$suite" "$dir" "$(roots_archive)" || return 1
	roots_apt_settings >"$dir/etc/apt/apt.conf.d/90machine"
	# It lives for minutes: nothing in it needs to survive the power.
	echo force-unsafe-io >"$dir/etc/dpkg/dpkg.cfg.d/unsafe-io"
	cp /etc/hosts "$dir/etc/hosts"
	# Some archives are copies that stand still, with a date that has passed.
	root_run "$dir" apt-get update -q
}

# root_make SUITE DIR LOG: makes DIR. 1, and the reason on standard output, if that cannot be.
root_make() {
	local suite=$1 dir=$2 log=$3 kept=${LEASEFS_ROOTS:+$LEASEFS_ROOTS/$1.tar}
	mkdir -p "$dir"
	if [ -n "$kept" ] && [ -f "$kept" ]; then
		tar -C "$dir" -xf "$kept" && return
	fi
	# A subshell, for the proxy stays in it.
	if ! (roots_bootstrap "$suite" "$dir") >"$log" 2>&1; then
		echo "no root of Debian $suite: $(grep -E '^(E|W):' "$log" | tail -n 1 |
			sed 's,[a-z]*://[^ ]*,the archive,g')"
		return 1
	fi
	[ -z "$kept" ] || { mkdir -p "$LEASEFS_ROOTS" && tar -C "$dir" -cf "$kept" .; }
}

# For the first shell in a mount namespace: a copy of somebody's FUSE mount there would outlive its
# unmount, and its daemon with it.
# shellcheck disable=SC2016 # expands there
export ROOT_ALONE='awk "/ - fuse(\\.[^ ]*)? / { print \$5 }" /proc/self/mountinfo | while read -r at; do
	umount -l "$(printf %b "$at")" || :
done'

# root_run DIR COMMAND...: runs it in the root, as root, with /dev, /proc and /sys, in namespaces of
# its own, for ROOT_LIMIT_S at most. ROOT_BINDS holds "FROM:TO" for directories that are to be seen
# there, not written. Whatever ends this shell ends the command with all of its processes; a signal
# does so at once, because nothing but `wait` is in its way.
ROOT_BINDS=()
ROOT_PID=
root_run() {
	local dir=$1 status
	shift
	# shellcheck disable=SC2016 # expands inside
	setpriv --pdeathsig=KILL timeout --signal=KILL "$ROOT_LIMIT_S" \
		setpriv --pdeathsig=KILL unshare --mount --pid --fork --kill-child \
		--propagation private bash -c '
		set -eu
		root=$1 binds=$2
		shift 2
		eval "$ROOT_ALONE"
		# The root of a namespace, as unshare(1) in it expects, is a mount.
		mount --bind "$root" "$root"
		mount --rbind /dev "$root/dev"
		mount --rbind /sys "$root/sys"
		mount -t proc proc "$root/proc"
		while [ "$binds" -gt 0 ]; do
			mkdir -p "$root/${1#*:}"
			mount --bind "${1%%:*}" "$root/${1#*:}"
			mount -o remount,bind,ro "$root/${1#*:}"
			binds=$((binds - 1))
			shift
		done
		exec env -i HOME=/root TERM=dumb LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
			PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot "$root" "$@"
		' root_run "$dir" "${#ROOT_BINDS[@]}" "${ROOT_BINDS[@]}" "$@" </dev/null &
	ROOT_PID=$!
	wait "$ROOT_PID"
	status=$?
	ROOT_PID=
	return "$status"
}

# ---- a root with systemd as its first process ------------------------------------------------

# The hierarchy of control groups that systemd can have, and how it is mounted.
roots_cgroup() {
	awk '$9 == "cgroup2" && $5 == "/sys/fs/cgroup" { print $5, "cgroup2"; exit }
		$9 == "cgroup" && $NF ~ /name=systemd/ { print $5, "cgroup"; exit }' /proc/self/mountinfo
}

# root_boot DIR LOG: boots what is installed there. It sees devices, control groups and a network of
# its own, and can change no setting of the kernel's. 1 if it does not come up.
BOOT_LIMIT_S=120
ROOT_CGROUP=
root_boot() {
	local dir=$1 log=$2 mount type tries
	read -r mount type <<<"$(roots_cgroup)"
	ROOT_CGROUP=$mount/leasefs-test.$$
	mkdir "$ROOT_CGROUP" || return 1
	cat >"$dir/.boot" <<-'BOOT'
		set -e
		mount -t proc proc /proc
		mount --bind -o ro /proc/sys /proc/sys
		mount -t sysfs -o ro sysfs /sys
		mount -t tmpfs tmpfs /run
		mount -t tmpfs -o mode=1777 tmpfs /tmp
		mount -t tmpfs -o mode=1777 tmpfs /dev/shm
		if [ "$1" = cgroup2 ]; then
		        mount -t cgroup2 cgroup2 /sys/fs/cgroup
		else
		        mount -t tmpfs tmpfs /sys/fs/cgroup
		        mkdir /sys/fs/cgroup/systemd
		        mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd
		fi
		exec env -i container=other /lib/systemd/systemd --unit=basic.target
	BOOT
	# shellcheck disable=SC2016 # expands inside
	setpriv --pdeathsig=KILL bash -c '
		echo $$ >"$3/cgroup.procs"
		exec unshare --mount --pid --fork --kill-child --cgroup --uts --ipc --net \
			--propagation private bash -euc "
			root=\$1
			eval \"\$ROOT_ALONE\"
			mount --bind \"\$root\" \"\$root\"
			mount -t tmpfs -o mode=755 tmpfs \"\$root/dev\"
			mkdir \"\$root/dev/shm\"
			for node in null zero full random urandom tty fuse; do
				: >\"\$root/dev/\$node\"
				mount --bind /dev/\$node \"\$root/dev/\$node\"
			done
			exec chroot \"\$root\" /bin/sh /.boot \$2" boot "$1" "$2"
		' root_boot "$dir" "$type" "$ROOT_CGROUP" </dev/null >"$log" 2>&1 &
	ROOT_PID=$!
	for ((tries = BOOT_LIMIT_S * 5; tries > 0; tries--)); do
		case $(root_enter systemctl is-system-running 2>/dev/null) in
		running | degraded) return 0 ;;
		esac
		kill -0 "$ROOT_PID" 2>/dev/null || return 1
		sleep 0.2
	done
	return 1
}

# root_enter COMMAND...: in the root that was booted.
root_enter() {
	local first
	first=$(pgrep -P "$ROOT_PID" | head -n 1)
	[ -n "$first" ] && timeout --kill-after=5 "$BOOT_LIMIT_S" \
		nsenter --target "$first" --all --root --wd "$@" </dev/null
}

# Ends it, and takes its control groups away.
root_halt() {
	local tries
	[ -n "$ROOT_PID" ] && kill -KILL "$ROOT_PID" 2>/dev/null && wait "$ROOT_PID" 2>/dev/null
	ROOT_PID=
	for tries in 1 2 3 4 5; do
		[ -d "$ROOT_CGROUP" ] || return 0
		find "$ROOT_CGROUP" -depth -type d -exec rmdir {} + 2>/dev/null && return
		sleep "$tries"
	done
	return 1
}

# root_remove DIR: ends what this shell still runs there, and removes it.
root_remove() {
	local tries
	[ -z "$ROOT_PID" ] || kill -KILL "$ROOT_PID" 2>/dev/null
	[ -z "$ROOT_CGROUP" ] || root_halt
	# The kernel needs a moment for the end of a process namespace.
	for tries in 1 2 3 4 5; do
		rm -rf --one-file-system "$1" 2>/dev/null && return
		sleep "$tries"
	done
	echo "cannot remove $1" >&2
	return 1
}
