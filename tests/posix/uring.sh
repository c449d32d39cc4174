# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
#
# uring.sh - requests over io_uring (option io_uring). The kernel's parameter is everybody's: it is
# turned on for a case where it may be, and back to what it was at the end.

URING_PARAMETER=/sys/module/fuse/parameters/enable_uring
URING_BEFORE=

uring_set() {
	[ -e "$URING_PARAMETER" ] || skip "this kernel has no FUSE over io_uring"
	URING_BEFORE=$(cat "$URING_PARAMETER")
	[ "$URING_BEFORE" != "$1" ] || return 0
	echo "$1" 2>/dev/null >"$URING_PARAMETER" || skip "only root switches FUSE over io_uring"
	trap 'echo "$URING_BEFORE" >"$URING_PARAMETER"' EXIT
}

uring_mount() {
	uring_set Y
	pool_make pool "$1"
	shift
	uring_needs_libfuse
	pool_mount pool -o io_uring "$@"
	# One a queue, beside those of /dev/fuse: the requests below come that way.
	wait_until 10 uring_serves "$(cat "$CASE_DIR/pool.pid")" || {
		cat "$CASE_DIR/pool.log"
		fail "nobody serves the queues"
	}
}

# A libfuse that was built without custom io must be named; there is nothing else to see then.
uring_needs_libfuse() {
	[ -d "$(pool_path custom_io)" ] || pool_make custom_io 64M
	if pool_try custom_io -o io_uring; then
		pool_unmount custom_io
		return
	fi
	grep -q 'option io_uring: libfuse .* custom io' "$CASE_DIR/custom_io.log" || {
		cat "$CASE_DIR/custom_io.log"
		fail "did not mount"
	}
	skip "libfuse is built without custom io"
}

uring_serves() {
	local task rings=0 processors
	processors=$(cat /sys/devices/system/cpu/possible)
	for task in "/proc/$1"/task/*; do
		[ "$(cat "$task/comm")" = leasefs-worker ] || continue
		# x86-64 and others: io_uring_enter is 426 everywhere.
		[ "$(cut -d ' ' -f 1 "$task/syscall")" != 426 ] || rings=$((rings + 1))
	done
	[ "$rings" -eq $((${processors#0-} + 1)) ]
}

case_refused_when_off() {
	uring_set N
	pool_make pool 64M
	refuses_mount 'switched off.*enable_uring' pool -o io_uring
}

case_tree() {
	need_pool
	uring_mount 256M
	mkdir "$MNT/tree"
	rsync -aHAX "$SOURCE/fs" "$SOURCE/tests" "$MNT/tree/"
	diff -r "$SOURCE/fs" "$MNT/tree/fs"
	diff -r "$SOURCE/tests" "$MNT/tree/tests"
	# Large requests both ways, past the page cache.
	head -c 40M /dev/urandom >"$CASE_DIR/random"
	dd if="$CASE_DIR/random" of="$MNT/random" bs=1M oflag=direct status=none
	dd if="$MNT/random" bs=1M iflag=direct status=none | cmp - "$CASE_DIR/random"
	rm -r "$MNT/tree"
}

case_busy_processors() {
	local i pids=()
	need_pool
	uring_mount 256M
	for i in 1 2 3 4; do
		(exec timeout 60 dd if=/dev/zero of="$MNT/$i" bs=64k count=800 conv=fsync status=none) &
		pids+=($!)
	done
	timeout 30 stat "$MNT/." >/dev/null || fail "no answer while it is busy"
	for i in "${pids[@]}"; do
		wait "$i" || fail "a writer failed"
	done
}

case_parked() {
	need_pool
	uring_mount 64M -o policy=recall:100s/busy
	timeout 80 "$BUILD/tests/scenarios/many_parked" "$MNT" 1000
}

case_scenarios() {
	local list=("$SOURCE"/tests/scenarios/{interrupt,killed,policy,busy,daemon_killed}*.lease)
	uring_set Y
	uring_needs_libfuse
	[ "${#list[@]}" -gt 10 ] || fail "where are the scenarios?"
	"$BUILD/tools/leasescript" --options io_uring "${list[@]}"
}

case_killed_daemon() {
	local writer status=0
	need_pool
	uring_mount 64M
	(exec timeout 60 sh -c "while echo x >>'$MNT/file'; do :; done 2>/dev/null") &
	writer=$!
	wait_until 10 test -s "$MNT/file" || fail "nothing was written"
	kill -9 "$(cat "$CASE_DIR/pool.pid")"
	wait "$writer" || status=$?
	[ "$status" -ne 124 ] || fail "a writer hangs when the daemon has been killed"
	unmount_below "$MNT"
	rm -f "$CASE_DIR/pool.mounted"
	pool_mount pool -o io_uring
	[ "$(sort -u "$MNT/file")" = x ] || fail "the file holds something else"
}
