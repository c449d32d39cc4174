# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
#
# death.sh - daemons that end, well and badly.

# SIGTERM: unmounted, ended with status 0, nothing left to recover.
case_sigterm() {
	local pid status=0
	need_pool
	pool_make pool 64M
	pool_mount pool
	seeded_file "$MNT/file" 3000000 1
	pid=$(cat "$CASE_DIR/pool.pid")
	kill -TERM "$pid"
	wait_until 20 is_gone "$pid" || fail "the daemon does not end"
	wait "$pid" || status=$?
	[ "$status" -eq 0 ] || fail "status $status"
	! is_mounted "$MNT" || fail "still mounted"
	rm "$CASE_DIR/pool.mounted"
	pool_check pool
	pool_mount pool
	seeded_file "$CASE_DIR/same" 3000000 1
	cmp "$CASE_DIR/same" "$MNT/file"
}

# SIGKILL: what was acknowledged is there after the next mount.
case_kill_and_remount() {
	local sum
	need_pool
	pool_make pool 256M
	pool_mount pool
	cp -a "$SOURCE/fs" "$SOURCE/tests" "$MNT/"
	mkdir -p "$MNT/a/b/c"
	seeded_file "$MNT/a/file" 5000000 2
	truncate -s 1234567 "$MNT/a/file"
	fallocate -p -o 40960 -l 409600 "$MNT/a/file"
	ln "$MNT/a/file" "$MNT/a/b/link"
	mv "$MNT/a/b" "$MNT/moved"
	rm -r "$MNT/tests"
	sum=$(tree_sum "$MNT")
	pool_kill pool
	pool_check pool
	pool_mount pool
	[ "$(tree_sum "$MNT")" = "$sum" ] || fail "the tree differs after the daemon's death"
	pool_unmount pool
	pool_mount pool
	[ "$(tree_sum "$MNT")" = "$sum" ] || fail "the tree differs after the next mount"
}

# What the last daemon wrote down of a session cannot be read: the next one does not begin, says so,
# and leaves all of it for one that can.
case_records_that_cannot_be_read() {
	local run holder
	need_pool
	pool_make pool 64M
	pool_mount pool -o policy=recall:200ms/busy
	run=$(pool_path pool)/run
	seeded_file "$MNT/file" 200000 1
	mkfifo "$CASE_DIR/commands"
	exec {COMMANDS}<>"$CASE_DIR/commands"
	hold --pin-range --offset 4096 --length 65536 "$MNT/file" <"$CASE_DIR/commands" \
		{COMMANDS}>&- >"$CASE_DIR/held" 2>&1 &
	holder=$!
	wait_until 20 grep -q pinned "$CASE_DIR/held"
	kill -STOP "$holder" # else it ends with its mount
	pool_kill pool
	mv "$run/ranges.1" "$CASE_DIR/"
	mkdir "$run/ranges.1"
	refuses_mount "cannot take over run/leases.1: damaged.*remove" pool
	rmdir "$run/ranges.1"
	mv "$run/ids" "$CASE_DIR/"
	mkfifo "$run/ids"
	refuses_mount "run/ids is damaged.*remove" pool
	rm "$run/ids"
	mv "$CASE_DIR/ids" "$CASE_DIR/ranges.1" "$run/"
	pool_mount pool -o policy=recall:200ms/busy,grace=60s
	leasectl "$MNT" leases "$MNT/file" | grep -q "\[4096, 69632) write.*pinned" ||
		fail "$(leasectl "$MNT" leases)"
	kill -9 "$holder"
	wait "$holder" || true
	exec {COMMANDS}>&-
}

# A file without a name lives until its last close, and not past the daemon's end.
case_unlinked_file_reclaimed() {
	local before
	need_pool
	pool_make pool 128M
	pool_mount pool
	before=$(stat -f -c %f "$MNT")
	exec 5<>"$MNT/unlinked"
	dd if=/dev/zero bs=1M count=50 status=none >&5
	rm "$MNT/unlinked"
	printf late >&5
	[ "$(stat -f -c %f "$MNT")" -lt $((before - 12000)) ] || fail "gone while it was open"
	pool_kill pool
	exec 5>&-
	pool_mount pool
	# shellcheck disable=SC2317 # called by wait_until
	all_back() { [ "$(stat -f -c %f "$MNT")" -ge $((before - 1)) ]; }
	wait_until 5 all_back || fail "free: $before before, $(stat -f -c %f "$MNT") after"
}

# A writer logs what it has finished; kills come while it works; everything in the log must be there.
case_kill_while_writing() {
	local round writer
	need_pool
	pool_make pool 512M
	: >"$CASE_DIR/finished"
	cat >"$CASE_DIR/writer.py" <<-'PYTHON'
		import hashlib, os, sys
		top, log, first = sys.argv[1], open(sys.argv[2], "a", buffering=1), int(sys.argv[3])
		for i in range(first, first + 100000):
		    parent = os.path.join(top, "dir%d" % (i % 13))
		    os.makedirs(parent, exist_ok=True)
		    temporary = os.path.join(parent, "new")
		    size = (i * 2654435761) % 60000
		    with open(temporary, "wb", buffering=0) as out:
		        out.write(hashlib.shake_128(b"%d" % i).digest(size))
		    os.rename(temporary, os.path.join(parent, "file%d" % (i % 700)))
		    log.write("%d\n" % i)
	PYTHON
	cat >"$CASE_DIR/verify.py" <<-'PYTHON'
		import hashlib, os, sys
		top, last = sys.argv[1], {}
		numbers = [int(n) for n in open(sys.argv[2])]
		for i in numbers:
		    last["dir%d/file%d" % (i % 13, i % 700)] = i
		# The operation under way at a kill may be there or not.
		for path, i in last.items():
		    with open(os.path.join(top, path), "rb") as f:
		        data = f.read()
		    candidates = [i, numbers[-1] + 1]
		    good = [n for n in candidates
		            if data == hashlib.shake_128(b"%d" % n).digest((n * 2654435761) % 60000)]
		    assert good, "%s (%d): %d bytes, not what was written" % (path, i, len(data))
		print("%d files as they were written" % len(last))
	PYTHON
	for round in 1 2 3 4 5 6; do
		pool_mount pool
		[ ! -s "$CASE_DIR/finished" ] || python3 "$CASE_DIR/verify.py" "$MNT" "$CASE_DIR/finished"
		first=$(tail -n 1 "$CASE_DIR/finished")
		python3 "$CASE_DIR/writer.py" "$MNT" "$CASE_DIR/finished" $((${first:-0} + 1)) \
			2>"$CASE_DIR/writer.log" &
		writer=$!
		goal=$(($(wc -l <"$CASE_DIR/finished") + round * 137))
		# shellcheck disable=SC2317 # called by wait_until
		enough() { [ "$(wc -l <"$CASE_DIR/finished")" -ge "$goal" ]; }
		wait_until 30 enough || fail "the writer does not get on: $(cat "$CASE_DIR/writer.log")"
		pool_kill pool
		wait "$writer" 2>/dev/null || true
		pool_check pool
	done
	pool_mount pool
	python3 "$CASE_DIR/verify.py" "$MNT" "$CASE_DIR/finished"
}

# Two daemons on two pools have nothing to do with each other.
case_two_mounts() {
	local one
	need_pool
	pool_make one 64M
	pool_make two 64M
	pool_mount one
	one=$MNT
	pool_mount two
	echo one >"$one/file"
	echo two >"$MNT/file"
	[ "$(cat "$one/file")" = one ]
	pool_kill one
	[ "$(cat "$MNT/file")" = two ]
	pool_mount one
	[ "$(cat "$MNT/file")" = one ]
}

# The next daemon waits for the one that is just ending.
case_remount_at_once() {
	local i
	need_pool
	pool_make pool 64M
	pool_mount pool
	for i in 1 2 3 4 5; do
		echo "$i" >"$MNT/file$i"
		unmount "$MNT"
		pool_mount pool
		[ "$(cat "$MNT/file$i")" = "$i" ] || fail "file$i"
	done
}

# An end that comes before the daemon has got its breath is an end like any other: status 0 for an
# unmount, and a SIGKILL leaves no thread that waits for an answer of its own.
case_end_at_once() {
	local i
	need_pool
	pool_make pool 64M
	for i in $(seq 15); do
		pool_mount pool
		pool_unmount pool
		pool_mount pool
		pool_kill pool
		echo "$i: both ended"
	done
}

# Handles of a dead mount are dead, and the mount point can be used again.
case_dead_handles() {
	need_pool
	pool_make pool 64M
	pool_mount pool
	echo content >"$MNT/file"
	exec 5<"$MNT/file"
	pool_kill pool
	refuses "not connected|software caused|input/output|transport" sh -c 'stat - <&5; cat <&5'
	exec 5<&-
	pool_mount pool
	[ "$(cat "$MNT/file")" = content ]
}
