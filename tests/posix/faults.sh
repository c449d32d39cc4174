# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
#
# faults.sh - a daemon that is refused memory, syncs or descriptors, or loses media under its hands.
# What is preloaded into it is refuse.c.

# refused_mount NAME [options]: as pool_mount, and $REFUSE is the file of refuse.h.
refused_mount() {
	local library
	library=$(find "$BUILD" -name 'librefuse.so' -type f | head -n 1)
	[ -n "$library" ] || skip "$BUILD holds no librefuse.so"
	cp "$library" "$CASE_DIR/librefuse.so"
	REFUSE=$CASE_DIR/refuse
	truncate -s 4096 "$REFUSE"
	LD_PRELOAD=$CASE_DIR/librefuse.so REFUSE=$REFUSE pool_mount "$@"
}

# refuse_next WORD: 0 memory, 1 sync; the next one.
refuse_next() { printf '\001' | dd of="$REFUSE" bs=4 seek="$1" conv=notrunc status=none; }
refusals_came() { od -An -tu4 -j8 -N4 "$REFUSE" | tr -d ' '; }

# What a request is refused is ENOMEM or nothing, and never the end of the daemon.
case_memory() {
	need_pool
	need_program refusals
	pool_make pool 64M
	refused_mount pool -o policy=recall:20ms/busy
	(cd / && refusals "$MNT" "$REFUSE") || fail "a request or the daemon fell"
	cat "$CASE_DIR/pool.log"
}

# A pool on page cache: tmpfs has nothing to sync.
make_disk_pool() {
	POOLS=$CASE_DIR/disk
	mkdir "$POOLS"
	[ "$(stat -f -c %T "$POOLS")" != tmpfs ] || skip "$TMPDIR is on tmpfs: nothing is synced there"
	pool_make pool 64M
}

# Both holders of a file hear of a sync that was refused, and nobody is told later that all is well.
sync_refused() {
	need_pool
	make_disk_pool
	refused_mount pool -o "durability=$1"
	printf before >"$MNT/safe"
	sync "$MNT/safe"
	exec 5<>"$MNT/file" 6<>"$MNT/file"
	# shellcheck disable=SC2317 # called by refuses
	fsync_of() { python3 -c 'import os, sys; os.fsync(int(sys.argv[1]))' "$1"; }
	printf first >&5
	refuse_next 1
	if [ "$1" = strict ]; then # where a write is a sync as well
		refuses "input/output error" dd if=/dev/zero of="$MNT/file" bs=4096 count=1 \
			conv=notrunc
	fi
	refuses "input/output error" fsync_of 5
	refuses "input/output error" fsync_of 6
	refuses "input/output error" fsync_of 5
	[ "$(refusals_came)" -eq 1 ] || fail "$(refusals_came) syncs were refused, not one"
	[ "$(cat "$MNT/safe")" = before ] || fail "the rest cannot be read"
	exec 5>&- 6>&-
	pool_kill pool
	pool_mount pool
	[ "$(cat "$MNT/safe")" = before ] || fail "what was synced before is lost"
}
case_sync_strict() { sync_refused strict; }
case_sync_relaxed() { sync_refused relaxed; }

# Without descriptors there are no new sessions; files go on as ever, and so do sessions later.
case_no_descriptors() {
	local pid open holders=
	need_pool
	need_program prlimit
	need_program hold
	pool_make pool 64M
	pool_mount pool
	seeded_file "$MNT/file" 100000 1
	pid=$(cat "$CASE_DIR/pool.pid")
	# What is free below is used up by sessions that stay.
	open=$(find "/proc/$pid/fd" -type l | wc -l)
	prlimit --pid "$pid" --nofile="$open":
	for _ in 1 2 3 4 5 6 7 8; do
		hold --seconds 60 "$MNT/file" >>"$CASE_DIR/holders" 2>&1 &
		holders="$holders $!"
	done
	wait_until 10 grep -qi "too many open files" "$CASE_DIR/holders" ||
		fail "no session was refused: $(cat "$CASE_DIR/holders")"
	cp "$MNT/file" "$MNT/copy"
	mkdir "$MNT/dir"
	mv "$MNT/copy" "$MNT/dir/"
	truncate -s 5 "$MNT/dir/copy"
	leasectl "$MNT" status >/dev/null
	prlimit --pid "$pid" --nofile=1024:
	# shellcheck disable=SC2086 # several
	kill $holders 2>/dev/null || true
	# shellcheck disable=SC2086
	wait $holders 2>/dev/null || true
	hold --seconds 0.1 "$MNT/file" || fail "no session although there are descriptors again"
}

# A region that is cut short under the daemon: EIO for what was in it; all else goes on.
expect_lost() {
	refuses "input/output error" cat "$MNT/file"
	refuses "input/output error" dd if=/dev/zero of="$MNT/file" bs=4096 count=1 conv=notrunc,fsync
	[ "$(stat -c %s "$MNT/file")" -eq 300000 ] || fail "its attributes are gone too"
	mkdir "$MNT/dir"
	ln -s target "$MNT/dir/link"
	mv "$MNT/dir" "$MNT/renamed"
	[ "$(readlink "$MNT/renamed/link")" = target ] || fail "names do not work any more"
	! is_gone "$(cat "$CASE_DIR/pool.pid")" || fail "the daemon has ended"
}

case_region_cut_short() {
	need_pool
	pool_make pool 64M
	pool_mount pool
	pool_spoiled pool
	seeded_file "$MNT/file" 300000 1
	truncate -s 0 "$(pool_path pool)/data.0"
	python3 -c 'import os, sys; fd = os.open(sys.argv[1], os.O_RDONLY)
os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)' "$MNT/file"
	expect_lost
	pool_kill pool
}

# A page that the machine's memory has lost, as the kernel reports it.
case_poisoned_page() {
	need_pool
	need_root
	pool_make pool 64M
	pool_mount pool
	pool_spoiled pool
	seeded_file "$MNT/file" 300000 1
	cat >"$CASE_DIR/poison.py" <<-'PYTHON'
		import ctypes, mmap, os, sys
		fd = os.open(sys.argv[1], os.O_RDWR)
		libc = ctypes.CDLL(None, use_errno=True)
		libc.mmap.restype = ctypes.c_void_p
		libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
		at = int(sys.argv[2])
		page = libc.mmap(None, 4096, 3, mmap.MAP_SHARED, fd, at)
		ctypes.string_at(page, 1)
		libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
		if libc.madvise(page, 4096, 100):  # MADV_HWPOISON
		    print(os.strerror(ctypes.get_errno()))
		    sys.exit(3)
	PYTHON
	local at status=0
	at=$(leasectl "$MNT" layout "$MNT/file" --json | python3 -c '
import json, sys
print(json.load(sys.stdin)[0]["region_offset"])')
	python3 "$CASE_DIR/poison.py" "$(pool_path pool)/data.0" "$at" || status=$?
	[ "$status" -ne 3 ] || skip "this kernel poisons no page for a test"
	python3 -c 'import os, sys; fd = os.open(sys.argv[1], os.O_RDONLY)
os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)' "$MNT/file"
	expect_lost
	pool_kill pool
}
