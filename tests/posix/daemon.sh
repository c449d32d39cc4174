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
	pgrep -o -f "^leasefs $(pool_path pool) " >"$CASE_DIR/pool.pid" # and not its guardian
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

# A service manager hears when the mount is usable, and when it ends (sd_notify(3)).
case_tells_service_manager() {
	local mount heard=$CASE_DIR/heard listener
	need_pool
	need_program python3
	pool_make pool 64M
	mount=$(mount_path pool)
	mkdir "$mount"
	python3 - "$CASE_DIR/notify" "$heard" <<-'PYTHON' &
		import os, socket, sys
		listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
		listener.bind(sys.argv[1])
		listener.settimeout(60)
		said = ""
		while "STOPPING=1" not in said:
		    said += listener.recv(4096).decode() + "\n"
		    with open(sys.argv[2] + ".new", "w") as out:
		        out.write(said)
		    os.rename(sys.argv[2] + ".new", sys.argv[2])
	PYTHON
	listener=$!
	wait_until 20 test -S "$CASE_DIR/notify" || fail "nobody listens"
	NOTIFY_SOCKET=$CASE_DIR/notify leasefs -f "$(pool_path pool)" "$mount" \
		2>"$CASE_DIR/words" &
	echo $! >"$CASE_DIR/pool.pid"
	wait_until 20 test -s "$heard" || fail "not a word"
	grep -qx READY=1 "$heard" || fail "said: $(cat "$heard")"
	echo content >"$mount/file" || fail "not usable, though it said so"
	kill "$(cat "$CASE_DIR/pool.pid")"
	wait "$listener" || fail "did not say that it ends"
	wait "$(cat "$CASE_DIR/pool.pid")" || fail "status $?"
	! is_mounted "$mount" || fail "it is still mounted"
}

# Standard error that is the journal's gets lines with their level (sd-daemon(3)).
case_levels_for_the_journal() {
	local status=0
	need_pool
	: >"$CASE_DIR/journal"
	JOURNAL_STREAM=$(stat -c %d:%i "$CASE_DIR/journal") \
		leasefs -f "$CASE_DIR/nowhere" "$CASE_DIR" 2>"$CASE_DIR/journal" || status=$?
	[ "$status" -eq 1 ] || fail "status $status"
	grep -q "^<3>.*nonempty" "$CASE_DIR/journal" || fail "$(cat "$CASE_DIR/journal")"
	status=0
	JOURNAL_STREAM=1:1 leasefs -f "$CASE_DIR/nowhere" "$CASE_DIR" 2>"$CASE_DIR/words" || status=$?
	[ "$status" -eq 1 ] || fail "status $status"
	grep -q "^leasefs: .*nonempty" "$CASE_DIR/words" || fail "$(cat "$CASE_DIR/words")"
}

# A mount with -o ro is a mount like any other to those who look, and who read by a lease.
case_read_only_has_leases() {
	need_pool
	pool_make pool 64M
	pool_mount pool
	seeded_file "$MNT/file" 300000 1
	seeded_file "$CASE_DIR/same" 300000 1
	pool_unmount pool
	pool_mount pool -o ro
	refuses "read-only" touch "$MNT/new"
	leasectl "$MNT" status | grep -q "^mounted at"
	hold --read --seconds 0.1 "$MNT/file" </dev/null | grep -q returned
	direct_copy "$MNT/file" "$CASE_DIR/copy" | grep -q "out by a read lease"
	cmp "$CASE_DIR/copy" "$CASE_DIR/same"
}

# Who does something wrong is told what to do.
case_says_what_to_do_next() {
	local mount
	need_pool
	pool_make pool 64M
	mount=$(mount_path pool)
	grep -q "^Next: leasefs .* MOUNTPOINT" "$CASE_DIR/pool.mkfs" || fail "mkfs: no next step"
	refuses "mkdir" leasefs "$(pool_path pool)" "$mount"
	mkdir "$mount" "$CASE_DIR/empty"
	refuses "mkfs.leasefs" leasefs "$CASE_DIR/empty" "$mount"
	refuses "mkfs.leasefs" leasefs "$CASE_DIR/nowhere" "$mount"
	refuses "nonempty" leasefs "$(pool_path pool)" "$CASE_DIR"
	pool_mount pool
	mkdir "$CASE_DIR/other"
	refuses "leasectl" leasefs "$(pool_path pool)" "$CASE_DIR/other" -o lock_wait_ms=0
	leasefs --help | grep -q "mkfs.leasefs -s" || fail "--help: no first steps"
}

# What takes long says how far it is, on a terminal alone.
case_progress_on_a_terminal() {
	need_pool
	need_program script
	case $POOLS in
	/dev/shm/*) ;;
	*) skip "the pools are not on tmpfs: a pool of 60 TiB would be slow" ;;
	esac
	mkfs.leasefs -q -s 1T "$POOLS/big" >"$CASE_DIR/words" 2>&1
	[ ! -s "$CASE_DIR/words" ] || fail "no terminal, and it says: $(cat "$CASE_DIR/words")"
	script -qec "mkfs.leasefs -f -q -s 60T '$POOLS/big'" /dev/null >"$CASE_DIR/words"
	grep -q "bitmaps: [0-9]*%" "$CASE_DIR/words" || fail "a terminal, and it says nothing"
	rm -rf "$POOLS/big"
}

# With one worker waiting for requests, and more to do than it can, others are called.
case_more_workers_when_busy() {
	local pid writers=()
	need_pool
	pool_make pool 64M
	pool_mount pool -o max_idle_threads=1
	pid=$(cat "$CASE_DIR/pool.pid")
	[ "$(worker_count "$pid")" -eq 1 ] || fail "$(worker_count "$pid") workers at rest"
	for i in 1 2 3 4; do
		(exec timeout 60 sh -c "while :; do dd if=/dev/zero of='$MNT/$i' bs=1M count=8 conv=notrunc status=none || exit; done") &
		writers+=($!)
	done
	wait_until 40 has_workers "$pid" 2 || fail "nobody else was called"
	timeout 20 stat "$MNT" >"$CASE_DIR/stat" || fail "no answer while it is busy"
	kill "${writers[@]}"
	wait "${writers[@]}" 2>/dev/null || true
}

worker_count() { cat "/proc/$1"/task/*/comm | grep -c '^leasefs-worker$'; }
has_workers() { [ "$(worker_count "$1")" -ge "$2" ]; }
