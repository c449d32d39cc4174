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

# root_remove DIR: ends what this shell still runs there, and removes it.
root_remove() {
	local tries
	[ -z "$ROOT_PID" ] || kill -KILL "$ROOT_PID" 2>/dev/null
	# The kernel needs a moment for the end of a process namespace.
	for tries in 1 2 3 4 5; do
		rm -rf --one-file-system "$1" 2>/dev/null && return
		sleep "$tries"
	done
	echo "cannot remove $1" >&2
	return 1
}
