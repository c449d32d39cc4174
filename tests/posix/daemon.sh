# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
#
# daemon.sh - the daemon as a process: how it starts, ends, and what it leaves behind.

# In the background: the command returns when the mount is usable, and says so by its status.
case_background() {
	local mount status=0
	need_pool
	pool_make pool 64M
	mount=$(mount_path pool)
	mkdir "$mount"
	leasefs "$(pool_path pool)" "$mount" >"$CASE_DIR/words" 2>&1 </dev/null
	echo content >"$mount/file" # at once
	[ ! -s "$CASE_DIR/words" ] || fail "it spoke: $(cat "$CASE_DIR/words")"
	pgrep -f "^leasefs $(pool_path pool) " >"$CASE_DIR/pool.pid"
	[ "$(readlink "/proc/$(cat "$CASE_DIR/pool.pid")/cwd")" = / ] || fail "holds a directory"
	umount_any "$mount"
	wait_until 20 is_gone "$(cat "$CASE_DIR/pool.pid")" || fail "the daemon does not end"
	leasefs "$CASE_DIR/nowhere" "$mount" >"$CASE_DIR/words" 2>&1 </dev/null || status=$?
	[ "$status" -eq 1 ] || fail "status $status for a pool that is not there"
	[ -s "$CASE_DIR/words" ] || fail "not a word about it"
}

umount_any() {
	if [ "$(id -u)" -eq 0 ]; then umount "$1"; else fusermount3 -u "$1"; fi
}

# What a mapping left dirty reaches the pool when the daemon is told to end with the file open; and
# the mount goes, though it is in use.
case_sigterm_with_dirty_mapping() {
	local pid
	need_pool
	need_program python3
	pool_make pool 64M
	pool_mount pool
	pid=$(cat "$CASE_DIR/pool.pid")
	python3 - "$MNT/file" "$pid" <<-'PYTHON'
		import mmap, os, signal, sys, time
		fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
		os.ftruncate(fd, 1 << 20)
		mapping = mmap.mmap(fd, 1 << 20)
		mapping[:] = b"Q" * (1 << 20)
		os.kill(int(sys.argv[2]), signal.SIGTERM)
		end = time.monotonic() + 20
		while os.path.ismount(os.path.dirname(sys.argv[1])) and time.monotonic() < end:
		    time.sleep(0.02)
		while time.monotonic() < end:
		    try:
		        os.fstat(fd)
		        os.pread(fd, 1, 0)
		        time.sleep(0.02)
		        os.fsync(fd)
		    except OSError:
		        break
	PYTHON
	wait_until 20 is_gone "$pid" || fail "the daemon does not end"
	wait "$pid" || fail "status $?"
	rm "$CASE_DIR/pool.mounted"
	pool_mount pool
	[ "$(tr -d Q <"$MNT/file" | wc -c)" -eq 0 ] || fail "bytes of the mapping are lost"
	[ "$(stat -c %s "$MNT/file")" -eq $((1 << 20)) ] || fail "the size is lost"
}

# A daemon that ends takes its own mount away, and not the one under it.
case_mount_below_stays() {
	local pid below
	need_pool
	need_root
	pool_make below 64M
	pool_mount below
	below=$MNT
	touch "$below/mark"
	pool_make pool 64M
	leasefs -f "$(pool_path pool)" "$below" -o nonempty >"$CASE_DIR/pool.log" 2>&1 &
	pid=$!
	echo "$pid" >"$CASE_DIR/pool.pid"
	wait_until 20 test ! -e "$below/mark" || fail "not mounted above"
	(cd "$below" && exec sleep 5) &
	kill -TERM "$pid"
	wait "$pid" || fail "status $?"
	[ -e "$below/mark" ] || fail "the mount below is gone"
}

# O_TMPFILE, the time of birth, and what exported handles need.
case_newer_requests() {
	need_pool
	need_program python3
	pool_make pool 64M
	pool_mount pool
	python3 - "$MNT" <<-'PYTHON'
		import os, sys
		top = sys.argv[1]
		fd = os.open(top, os.O_TMPFILE | os.O_RDWR, 0o600)
		os.write(fd, b"nameless")
		assert os.fstat(fd).st_nlink == 0 and os.listdir(top) == []
		os.link("/proc/self/fd/%d" % fd, "named", src_dir_fd=None,
		        dst_dir_fd=os.open(top, os.O_RDONLY), follow_symlinks=True)
		assert open(top + "/named").read() == "nameless"
	PYTHON
	[ "$(stat -c %W "$MNT/named")" -gt 1000000000 ] || fail "no time of birth"
	[ "$(stat -c %F "$MNT/.leasefs/control")" = "regular empty file" ]
	[ "$(ls -A "$MNT")" = named ] || fail "the virtual directory is listed"
	refuses "not permitted|permission denied|exists|busy" rmdir "$MNT/.leasefs"
	refuses "not permitted|permission denied|exists|busy" rm "$MNT/.leasefs/control"
	refuses "not permitted|permission denied|exists|busy" mkdir "$MNT/.leasefs"
	refuses "busy|is a directory" python3 -c "import os, sys; os.rename(*sys.argv[1:])" "$MNT/named" "$MNT/.leasefs"
}
