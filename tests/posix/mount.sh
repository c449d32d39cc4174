# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
#
# mount.sh - pools and mounts for the cases of tests/posix.
#
# A pool NAME stands in $POOLS/NAME and is mounted on $CASE_DIR/NAME.mnt by a daemon in the
# foreground, whose pid is in $CASE_DIR/NAME.pid and whose words are in $CASE_DIR/NAME.log. When a
# case has passed, what is still mounted is unmounted, the daemon must end with status 0, and
# fsck.leasefs must find the pool clean, unless pool_spoiled said that it can't be.

fail() {
	echo "$*"
	exit 1
}

skip() {
	echo "skip: $*"
	exit 77
}

need_root() { [ "$(id -u)" -eq 0 ] || skip "needs root"; }
need_program() { command -v "$1" >/dev/null 2>&1 || skip "$1 is not installed"; }
need_pool() {
	[ -z "$DIR" ] || skip "needs a pool of its own, not --dir"
	command -v leasefs >/dev/null || fail "$BUILD holds no leasefs"
	command -v mkfs.leasefs >/dev/null || fail "$BUILD holds no mkfs.leasefs"
	[ -c /dev/fuse ] || skip "/dev/fuse is not there"
	{ [ -r /dev/fuse ] && [ -w /dev/fuse ]; } || skip "/dev/fuse is not for us"
	[ "$(id -u)" -eq 0 ] || [ -e /etc/mtab ] || skip "fusermount3 needs /etc/mtab"
}

# sanitizer_runtime FILE: the runtime library of the sanitizer that it was built with, if any.
sanitizer_runtime() { ldd "$1" | awk '$1 ~ /^lib[at]san\.so/ { print $3 }'; }

# wait_until SECONDS COMMAND...: polls, 20 times a second; 1 when the time is over.
wait_until() {
	local tries=$(($1 * 20))
	shift
	while ! "$@" >/dev/null 2>&1; do
		tries=$((tries - 1))
		[ "$tries" -gt 0 ] || return 1
		sleep 0.05
	done
}

is_mounted() { awk -v m="$1" '$5 == m { found = 1 } END { exit !found }' /proc/self/mountinfo; }
unmount() { if [ "$(id -u)" -eq 0 ]; then umount "$1"; else fusermount3 -u "$1"; fi; }
# Nobody may be there to reap it: what has ended has gone.
is_gone() {
	local stat
	read -r stat 2>/dev/null <"/proc/$1/stat" || return 0
	stat=${stat##*) }
	[ "${stat%% *}" = Z ]
}

# ---- pools -----------------------------------------------------------------------------------

pool_path() { echo "$POOLS/$1"; }
mount_path() { echo "$CASE_DIR/$1.mnt"; }

# pool_make NAME SIZE [mkfs options]
pool_make() {
	local name=$1 size=$2
	shift 2
	need_pool
	mkfs.leasefs -s "$size" "$@" "$(pool_path "$name")" >"$CASE_DIR/$name.mkfs" 2>&1 || {
		cat "$CASE_DIR/$name.mkfs"
		fail "mkfs.leasefs failed"
	}
	echo "$name" >>"$CASE_DIR/pools"
}

# This pool is damaged on purpose: no fsck at the end.
pool_spoiled() { echo "$1" >>"$CASE_DIR/spoiled"; }

# pool_try NAME [options]: starts a daemon; 0 once it is mounted, 1 when it has ended instead.
pool_try() {
	local name=$1 mount
	shift
	mount=$(mount_path "$name")
	mkdir -p "$mount"
	leasefs -f "$(pool_path "$name")" "$mount" "$@" >>"$CASE_DIR/$name.log" 2>&1 &
	echo $! >"$CASE_DIR/$name.pid"
	wait_until 30 mounted_or_gone "$mount" $! || fail "the daemon neither mounted nor ended"
	is_mounted "$mount" && stat "$mount" >/dev/null
}

mounted_or_gone() { is_mounted "$1" || is_gone "$2"; }

# pool_mount NAME [options]: mounts; MNT is the mount point.
pool_mount() {
	pool_try "$@" || {
		cat "$CASE_DIR/$1.log"
		fail "leasefs $* did not mount"
	}
	MNT=$(mount_path "$1")
	touch "$CASE_DIR/$1.mounted"
}

# pool_unmount NAME: the daemon must end by itself, with status 0.
pool_unmount() {
	local name=$1 mount pid status=0
	mount=$(mount_path "$name")
	pid=$(cat "$CASE_DIR/$name.pid")
	# The kernel closes the files of an io_uring a while after its process has ended.
	wait_until 10 unmount "$mount" || {
		unmount "$mount"
		fail "$mount stays busy"
	}
	wait_until 30 is_gone "$pid" || fail "the daemon of $name lives after its unmount"
	wait "$pid" || status=$?
	rm -f "$CASE_DIR/$name.mounted"
	if [ "$status" -ne 0 ]; then
		cat "$CASE_DIR/$name.log"
		fail "the daemon of $name ended with status $status"
	fi
}

# pool_kill NAME: SIGKILL, and the dead mount goes away.
pool_kill() {
	local pid
	pid=$(cat "$CASE_DIR/$1.pid")
	kill -9 "$pid"
	wait "$pid" 2>/dev/null || true
	unmount_below "$(mount_path "$1")"
	rm -f "$CASE_DIR/$1.mounted"
}

# pool_check NAME: fsck.leasefs -n finds nothing.
pool_check() {
	local status=0
	command -v fsck.leasefs >/dev/null || {
		echo "$BUILD holds no fsck.leasefs: not checked"
		return 0
	}
	fsck.leasefs -n "$(pool_path "$1")" >"$CASE_DIR/$1.fsck" 2>&1 || status=$?
	if [ "$status" -ne 0 ]; then
		cat "$CASE_DIR/$1.fsck"
		fail "fsck.leasefs -n on $1: status $status"
	fi
}

# A directory to test in: MNT. With --dir a new one there, else a pool of SIZE.
use_mount() {
	if [ -n "$DIR" ]; then
		MNT=$(mktemp -d "$DIR/posix.XXXXXX")
		chmod 755 "$MNT"
		echo "$MNT" >>"$CASE_DIR/directories"
	else
		pool_make pool "$@"
		pool_mount pool
	fi
}

finish_case() {
	local name
	if [ -f "$CASE_DIR/directories" ]; then
		xargs -a "$CASE_DIR/directories" rm -rf
	fi
	[ -f "$CASE_DIR/pools" ] || return 0
	while read -r name; do
		[ ! -f "$CASE_DIR/$name.mounted" ] || pool_unmount "$name"
		grep -qsx "$name" "$CASE_DIR/spoiled" || pool_check "$name"
	done <"$CASE_DIR/pools"
}

# ---- mount namespaces ------------------------------------------------------------------------

# Runs a script in a mount namespace of its own, for what would otherwise change the machine.
in_namespace() {
	# shellcheck disable=SC2016 # expands inside
	unshare --mount --propagation private bash -eEuo pipefail \
		-c '. "$HERE/mount.sh"; drop_others_mounts; '"$1" bash "${@:2}"
}

# For the first shell in a mount namespace: a copy of somebody's leasefs mount there would outlive
# its unmount, and its daemon with it. What this run stands on stays.
drop_others_mounts() {
	local at
	awk -v own="$CASE_DIR/" '/ - fuse(\.leasefs)? / && index($5, own) != 1 { print $5 }' \
		/proc/self/mountinfo | while read -r at; do
		at=$(printf %b "$at")
		case " $SOURCE/ $BUILD/ $WORK/ $POOLS/ $DIR/" in
		*" ${at%/}/"*) ;;
		*) umount -l "$at" 2>/dev/null || true ;;
		esac
	done
}

need_mount_helper() {
	command -v mount.fuse.leasefs >/dev/null || fail "$BUILD holds no mount.fuse.leasefs"
	unshare --mount true 2>/dev/null || skip "no mount namespaces here"
}

# For in_namespace: a /dev/fuse that everybody may open, made below "$1".
# shellcheck disable=SC2016,SC2034 # expands inside; used by the cases
nobodys_fuse='mkdir "$1/dev"; mount -t tmpfs none "$1/dev"; mknod -m 666 "$1/dev/fuse" c 10 229
	mount --bind "$1/dev/fuse" /dev/fuse; shift'

# As in_namespace, with mount.fuse.leasefs where mount(8) looks for it: in /sbin.
with_mount_helper() {
	mkdir "$CASE_DIR/sbin.real"
	# shellcheck disable=SC2016 # expands inside
	in_namespace '
		sbin=$(readlink -f /sbin)
		mount --bind "$sbin" "$CASE_DIR/sbin.real"
		mount -t tmpfs none "$sbin"
		for program in "$CASE_DIR/sbin.real"/*; do ln -s "$program" "$sbin/"; done
		ln -sf "$WORK/bin/mount.fuse.leasefs" "$WORK/bin/leasefs" "$sbin/"
		. "$HERE/mount.sh"
	'"$1" "${@:2}"
}

# ---- cleaning up, whatever happened ----------------------------------------------------------

unmount_below() {
	local target
	while read -r target; do
		umount -fl "$target" 2>/dev/null || fusermount3 -uz "$target" 2>/dev/null || true
	done < <(awk -v base="$1" 'index($5, base) == 1 { print $5 }' /proc/self/mountinfo |
		sort -r)
}

# Kills the daemons whose pid files stand in or below the directory, if they are still those: a
# number may be that of somebody else's daemon by now.
end_daemons() {
	local file pid
	while read -r file; do
		pid=$(cat "$file")
		if [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = leasefs ] &&
			tr '\0' '\n' <"/proc/$pid/cmdline" | grep -Fq "${WORK##*/}"; then
			kill -9 "$pid" 2>/dev/null || true
		fi
	done < <(find "$1" -maxdepth 2 -xdev -name '*.pid' 2>/dev/null)
}

# ---- expectations ----------------------------------------------------------------------------

# refuses PATTERN COMMAND...: it must fail (not by a signal), saying something like that.
refuses() {
	local pattern=$1 status=0 output
	shift
	output=$("$@" 2>&1) || status=$?
	[ "$status" -ne 0 ] || fail "was not refused: $* ($output)"
	[ "$status" -lt 124 ] || fail "died, or hung ($status): $* ($output)"
	echo "refused as it should: $output"
	grep -Eqi -- "$pattern" <<<"$output" || fail "says nothing like '$pattern': $* ($output)"
}

# refuses_mount PATTERN NAME [options]: leasefs must end instead of mounting.
refuses_mount() {
	local pattern=$1 name=$2 status=0
	shift 2
	mkdir -p "$(mount_path "$name")"
	refuses "$pattern" timeout --kill-after=5 60 leasefs -f "$(pool_path "$name")" \
		"$(mount_path "$name")" -o lock_wait_ms=200 "$@"
	! is_mounted "$(mount_path "$name")" || fail "mounted all the same"
}

# One line for the content of a whole tree: names, types, modes, sizes, links, bytes.
tree_sum() {
	(
		cd "$1" || exit
		find . -mindepth 1 \( -type f -printf 'f %m %n %s %p\n' \) -o \
			\( -type l -printf 'l %l %p\n' \) -o \( -type d -printf 'd %m %p\n' \) -o \
			-printf '%y %m %p\n' | sort
		find . -type f -print0 | sort -z | xargs -0 -r sha256sum
	) | sha256sum
}

# seeded_file PATH BYTES SEED: content that can be made again, and is not the same at any two places.
seeded_file() {
	{ seq -f "$3.%.0f" 1000000 99999999 2>/dev/null || true; } | head -c "$2" >"$1"
}

as_nobody() { setpriv --reuid=65534 --regid=65534 --clear-groups -- "$@"; }
