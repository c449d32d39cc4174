# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
#
# security.sh - the promises of docs/security.md: what a hardened daemon is without, and users of a
# pool with --domains=uid who attack each other.

# ---- the daemon's process --------------------------------------------------------------------

# kept in harden.c: CHOWN DAC_OVERRIDE FOWNER KILL SYS_PTRACE SYS_RESOURCE
KEPT_CAPABILITIES=$((1 << 0 | 1 << 1 | 1 << 3 | 1 << 5 | 1 << 19 | 1 << 24))

status_of() { sed -n "s/^$2:[[:space:]]*//p" "/proc/$1/status"; }

built_with_seccomp() { ldd "$(command -v leasefs)" | grep -q libseccomp; }
built_with_sanitizer() { ldd "$(command -v leasefs)" | grep -Eq 'lib(a|t)san'; }

# Threads of every kind are there: workers, the notifier, the engine.
make_threads() {
	dd if=/dev/zero of="$MNT/file" bs=1M count=1 status=none
	sync -f "$MNT"
	rm "$MNT/file"
	leasectl "$MNT" status >/dev/null
}

case_hardened() {
	local pid task effective
	need_pool
	pool_make pool 64M
	pool_mount pool
	make_threads
	pid=$(cat "$CASE_DIR/pool.pid")
	[ "$(find "/proc/$pid/task" -mindepth 1 -maxdepth 1 | wc -l)" -gt 1 ] || fail "one thread?"
	for task in "/proc/$pid/task"/*; do
		task=${task##*/}
		[ "$(status_of "$task" NoNewPrivs)" = 1 ] || fail "thread $task may gain privileges"
		effective=$((16#$(status_of "$task" CapEff)))
		[ $((effective & ~KEPT_CAPABILITIES)) -eq 0 ] || fail "thread $task: CapEff"
		[ "$(status_of "$task" CapPrm)" = "$(status_of "$task" CapEff)" ] || fail "CapPrm"
		[ $((16#$(status_of "$task" CapInh))) -eq 0 ] || fail "CapInh"
		if built_with_seccomp && ! built_with_sanitizer; then
			[ "$(status_of "$task" Seccomp)" = 2 ] || fail "thread $task: no filter"
		fi
	done
	grep -Eq '^Max core file size +0 +0 ' "/proc/$pid/limits" || fail "cores are written"
	built_with_seccomp || echo "built without libseccomp"
}

# For whoever debugs it.
case_hardening_off() {
	local pid
	need_pool
	pool_make pool 64M
	pool_mount pool -o hardening=off
	pid=$(cat "$CASE_DIR/pool.pid")
	[ "$(status_of "$pid" NoNewPrivs)" = "$(status_of self NoNewPrivs)" ] || fail "NoNewPrivs"
	[ "$(status_of "$pid" CapEff)" = "$(status_of self CapEff)" ] || fail "CapEff"
	[ "$(status_of "$pid" Seccomp)" = "$(status_of self Seccomp)" ] || fail "Seccomp"
	pool_make other 64M
	refuses_mount "hardening is on or off" other -o hardening=perhaps
}

# The process that unmounts goes when the daemon goes, however that happens.
case_ender_goes_with_the_daemon() {
	local ender
	need_pool
	pool_make pool 64M
	pool_mount pool
	ender=$(pgrep -P "$(cat "$CASE_DIR/pool.pid")" -x leasefs-ender) || fail "there is none"
	[ "$(find "/proc/$ender/fd" -type l -printf '%l\n' | grep -vc /dev/null)" -eq 1 ] ||
		fail "it has more than its socket: $(ls -l "/proc/$ender/fd")"
	pool_kill pool
	wait_until 10 is_gone "$ender" || fail "it outlives the daemon"
}

# An ordinary user's daemon is told to end: it can gain no privilege any more, and its mount goes
# all the same. Nor may that user's other processes look into it, or other users at the mount.
case_ordinary_user_hardened() {
	local status=0
	need_pool
	need_root
	need_program fusermount3
	need_program setpriv
	[ -u "$(command -v fusermount3)" ] || skip "fusermount3 is not setuid"
	unshare --mount true 2>/dev/null || skip "no mount namespaces here"
	mkdir "$CASE_DIR/home" "$CASE_DIR/copy"
	chown 65534:65534 "$CASE_DIR/home"
	cp "$HERE/mount.sh" "$CASE_DIR/copy/"
	cat >"$CASE_DIR/script" <<-'SCRIPT'
		set -eEu -o pipefail
		. "$HERE_COPY/mount.sh"
		cd "$1"
		mkdir mnt
		mkfs.leasefs -s 64M "$1/pool"
		leasefs -f "$1/pool" "$1/mnt" >log 2>&1 &
		pid=$!
		wait_until 20 mounted_or_gone "$1/mnt" $pid || fail "did not come up"
		is_mounted "$1/mnt" || { cat log; fail "did not mount"; }
		echo content >mnt/file
		grep -q '^NoNewPrivs:.1' "/proc/$pid/status"
		grep -q '^CapEff:.0*$' "/proc/$pid/status"
		! cat "/proc/$pid/maps" >/dev/null 2>&1 || fail "its memory can be seen"
		! ls "/proc/$pid/fd" >/dev/null 2>&1 || fail "its descriptors can be seen"
		kill -TERM $pid
		wait $pid || fail "status $?"
		! is_mounted "$1/mnt" || fail "the mount stays"
		fsck.leasefs -n "$1/pool"
	SCRIPT
	# shellcheck disable=SC2154 # of mount.sh
	HERE_COPY=$CASE_DIR/copy in_namespace "$nobodys_fuse"'
		exec setpriv --reuid=65534 --regid=65534 --clear-groups bash "$@"' \
		"$CASE_DIR" "$CASE_DIR/script" "$CASE_DIR/home" || status=$?
	[ "$status" -eq 0 ] || fail "as nobody: status $status"
}

# ---- users against each other ----------------------------------------------------------------

# attack NAME: on a pool of its own; see attacks.py.
attack() {
	need_pool
	need_root
	need_program python3
	pool_make pool 64M --domains=uid
	pool_mount pool -o policy=recall:100ms/busy
	chmod 1777 "$MNT"
	cp "$HERE/attacks.py" "$CASE_DIR/attacks.py"
	python3 "$CASE_DIR/attacks.py" "$1" "$MNT" "$(pool_path pool)" "$(cat "$CASE_DIR/pool.pid")"
}

case_region_files() { attack region_files; }
case_leases_on_others_files() { attack leases_on_others_files; }
case_cookies() { attack cookies; }
case_lease_ids() { attack lease_ids; }
case_pin_pages() { attack pin_pages; }
case_looking() { attack looking; }
case_administrators_calls() { attack administrators_calls; }
case_daemons_process() { attack daemons_process; }
case_races_with_chown() { attack races_with_chown; }
case_accountable_process() { attack accountable_process; }

# An owner writes over the tag of their own region: they lose the use of it until root sets it right,
# and nobody else loses anything.
case_own_region_tag() {
	local region status=0
	need_pool
	need_root
	pool_make pool 64M --domains=uid
	pool_mount pool
	echo mine >"$MNT/mine"
	chown 1001 "$MNT/mine"
	echo yours >"$MNT/yours"
	chown 1002 "$MNT/yours"
	region=$(find "$(pool_path pool)" -name 'data.*' -uid 1001)
	setpriv --reuid=1001 --regid=1001 --clear-groups \
		dd if=/dev/urandom of="$region" bs=4096 seek=$((64 << 8)) count=1 conv=notrunc status=none
	pool_unmount pool
	pool_spoiled pool
	pool_mount pool
	refuses "input/output error" cat "$MNT/mine"
	[ "$(cat "$MNT/yours")" = yours ] || fail "the others' files are gone"
	echo more >>"$MNT/yours"
	grep -q "$region should be data region.*files of user 1001 cannot be" "$CASE_DIR/pool.log" ||
		fail "the log does not say so"
	pool_unmount pool
	refuses "something else stands where its tag should" fsck.leasefs -y "$(pool_path pool)"
	fsck.leasefs -y --retag "$(pool_path pool)" || status=$?
	[ "$status" -eq 1 ] || fail "fsck.leasefs --retag ended with $status"
	pool_mount pool
	[ "$(cat "$MNT/mine")" = mine ] || fail "the owner's file is gone"
}

# And the pool can be mounted again: what was not his is there.
case_own_region_cut() {
	attack own_region_cut
	# The end is not a clean one: there are bytes that could not be made durable.
	wait_until 10 unmount "$MNT" || fail "$MNT stays busy"
	wait_until 30 is_gone "$(cat "$CASE_DIR/pool.pid")" || fail "the daemon lives on"
	pool_mount pool
	[ "$(head -c 14 "$MNT/shared")" = "alice'salice's" ] || fail "the others' files are gone"
	pool_spoiled pool
}
