# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
#
# examples.sh - the example programs do what they say they do.

# start_example NAME PROGRAM ARGUMENTS...: runs it in the background; it reads NAME.in, which stays
# open as descriptor $COMMANDS until end_input, and writes NAME.out. Its pid is in EXAMPLE.
start_example() {
	local name=$1
	shift
	EXAMPLE_OUT=$CASE_DIR/$name.out
	mkfifo "$CASE_DIR/$name.in"
	exec {COMMANDS}<>"$CASE_DIR/$name.in"
	timeout 60 "$@" <"$CASE_DIR/$name.in" {COMMANDS}>&- >"$EXAMPLE_OUT" 2>&1 &
	EXAMPLE=$!
}

# The program's own descriptor of the fifo sees its end when ours is closed.
end_input() { exec {COMMANDS}>&-; }

says() { grep -q "$1" "$EXAMPLE_OUT"; }

wait_for() {
	wait_until 20 says "$1" || {
		cat "$EXAMPLE_OUT"
		fail "the example never said: $1"
	}
}

end_example() {
	local status=0
	wait "$EXAMPLE" || status=$?
	[ "$status" -eq 0 ] || {
		cat "$EXAMPLE_OUT"
		fail "the example ended with status $status"
	}
}

expect_busy() {
	local words
	words=$(! truncate -s "$1" "$2" 2>&1) || fail "the truncate of a pinned file succeeded"
	[[ $words == *busy* ]] || fail "not EBUSY: $words"
}

case_direct_copy() {
	need_pool
	pool_make pool 256M
	pool_mount pool
	seeded_file "$CASE_DIR/source" 30000001 1
	direct_copy "$CASE_DIR/source" "$MNT/in" | tee "$CASE_DIR/words"
	grep -q "in by a write lease" "$CASE_DIR/words"
	cmp "$CASE_DIR/source" "$MNT/in"
	direct_copy "$MNT/in" "$CASE_DIR/out"
	cmp "$CASE_DIR/source" "$CASE_DIR/out"
	direct_copy "$MNT/in" "$MNT/beside"
	cmp "$CASE_DIR/source" "$MNT/beside"
	direct_copy --against-cp "$CASE_DIR/source" "$MNT/in" | grep -q "cp .* GB/s"
	: >"$CASE_DIR/empty"
	direct_copy "$CASE_DIR/empty" "$MNT/empty"
	[ ! -s "$MNT/empty" ]
	! direct_copy "$CASE_DIR/absent" "$MNT/x" 2>"$CASE_DIR/words" || fail "copied nothing"
	grep -q "No such file" "$CASE_DIR/words"
}

case_stubborn() {
	need_pool
	pool_make pool 64M
	pool_mount pool -o policy=recall:200ms/busy
	seeded_file "$MNT/file" 1000000 1
	start_example stubborn stubborn "$MNT/file"
	wait_for "will not let go"
	expect_busy 0 "$MNT/file"
	wait_for "they gave up"
	[ "$(stat -c %s "$MNT/file")" -eq 1000000 ]
	leasectl policy "$MNT/file" recall:100ms/orphan
	truncate -s 0 "$MNT/file"
	wait_for "taken away"
	end_input
	end_example
	says "let go"
}

# What a shell makes of "PROGRAM &": a process group in the background of a terminal, on which
# somebody types. It goes on, and is not stopped for wanting to read.
case_in_the_background() {
	need_pool
	need_program python3
	pool_make pool 64M
	pool_mount pool -o policy=recall:200ms/busy
	seeded_file "$MNT/file" 1000000 1
	kv_reader "$MNT/table" write 1 1
	cat >"$CASE_DIR/terminal.py" <<-'PYTHON'
		"""terminal.py BEGINS FILE PROGRAM...: once it says BEGINS, truncates FILE."""
		import os, pty, re, select, signal, subprocess, sys, time
		begins, file, program = sys.argv[1], sys.argv[2], sys.argv[3:]
		pid, terminal = pty.fork()
		if pid == 0:
		    child = subprocess.Popen(program, preexec_fn=os.setpgrp)
		    print("child %d" % child.pid, flush=True)
		    _, status = os.waitpid(child.pid, os.WUNTRACED)
		    print("stopped" if os.WIFSTOPPED(status) else "ended", flush=True)
		    os.kill(child.pid, signal.SIGKILL)
		    os._exit(0)
		said = b""
		def wait_for(what):
		    global said
		    deadline = time.monotonic() + 20
		    while what.encode() not in said:
		        if not select.select([terminal], [], [], deadline - time.monotonic())[0]:
		            sys.exit("never said: %s, but: %s" % (what, said))
		        try:
		            said += os.read(terminal, 4096)
		        except OSError:
		            sys.exit("never said: %s, but: %s" % (what, said))
		wait_for("child ")
		wait_for(begins)
		os.write(terminal, b"typed\n")
		try:
		    os.truncate(file, 0)
		except OSError as error:
		    print("truncate: %s" % error.strerror)
		if program[0] != "kv_reader":
		    wait_for("recall" if program[0] == "hold" else "asked to give way")
		child = int(re.search(rb"child (\d+)", said)[1])
		with open("/proc/%d/stat" % child) as stat:
		    state = stat.read().rsplit(")", 1)[1].split()[0]
		os.kill(child, signal.SIGTERM)
		wait_for("ended")
		os.waitpid(pid, 0)
		if state in "TtZ" or b"stopped" in said:
		    sys.exit("state %s: %s" % (state, said))
	PYTHON
	local alone=(timeout 40 python3 "$CASE_DIR/terminal.py")
	"${alone[@]}" "not let go" "$MNT/file" stubborn "$MNT/file" | grep -q busy
	"${alone[@]}" pinned "$MNT/file" hold --pin "$MNT/file" | grep -q busy
	"${alone[@]}" "2 readers" "$MNT/table" kv_reader "$MNT/table" read 2
}

case_stubborn_unbreakable() {
	need_pool
	pool_make pool 64M
	pool_mount pool -o policy=recall:60s/busy
	seeded_file "$MNT/file" 1000000 1
	start_example stubborn stubborn --unbreakable "$MNT/file"
	wait_for "will not let go"
	timeout 20 bash -c "! truncate -s 0 '$MNT/file'" || fail "not refused at once"
	end_input
	end_example
	truncate -s 0 "$MNT/file"
}

# What it said to be durable is there, wherever it was killed, and nothing else.
case_pmem_log() {
	local round last
	need_pool
	pool_make pool 128M
	pool_mount pool
	pmem_log "$MNT/log" append "the first" "the second"
	pmem_log "$MNT/log" show | tee "$CASE_DIR/shown"
	grep -qx "2: the second" "$CASE_DIR/shown"
	grep -q "^2 records" "$CASE_DIR/shown"
	for round in 1 2 3 4 5; do
		start_example "log$round" pmem_log "$MNT/log" fill 1000000
		wait_for "durable .*000$"
		kill -9 "$(pgrep -P "$EXAMPLE")"
		wait "$EXAMPLE" 2>/dev/null || true
		end_input
		last=$(sed -n 's/^durable //p' "$EXAMPLE_OUT" | tail -n 1)
		pmem_log "$MNT/log" show >"$CASE_DIR/shown"
		grep -qx "$last: record $last of the log" "$CASE_DIR/shown" ||
			fail "record $last is lost"
		awk -F: -v n=0 '/^[0-9]+: / { if ($1 != ++n) exit 1 }' "$CASE_DIR/shown" ||
			fail "the records are not in order"
	done
}

# A writer that has never heard of leases replaces, truncates and punches under four readers.
case_kv_reader() {
	need_pool
	pool_make pool 128M
	pool_mount pool
	kv_reader "$MNT/table" write 1 1
	start_example readers kv_reader "$MNT/table" read 4
	wait_for "4 readers"
	echo "seed 7"
	kv_reader "$MNT/table" write 60 7
	end_input
	end_example
	cat "$EXAMPLE_OUT"
	says " 0 wrong"
	! says "^0 found" || fail "found nothing at all"
	! says "gave way 0 times" || fail "never gave way"
}

send_stream() {
	python3 - "$1" "$2" <<-'PYTHON'
		import socket, sys
		with socket.socket(socket.AF_UNIX) as s, open(sys.argv[2], "rb") as f:
		    s.connect(sys.argv[1])
		    s.sendfile(f)
	PYTHON
}

case_uring_receive() {
	need_pool
	need_program python3
	pool_make pool 128M
	pool_mount pool
	seeded_file "$CASE_DIR/stream" 20000001 3
	start_example receive uring_receive "$CASE_DIR/socket" "$MNT/file" 4
	wait_for listening
	send_stream "$CASE_DIR/socket" "$CASE_DIR/stream"
	end_example
	end_input
	cmp "$CASE_DIR/stream" "$MNT/file"
	says "^20000001 bytes received; gave way 0 times"
}

# The stream stops where we want it to, the file is truncated there, and the rest comes behind it.
case_uring_receive_truncated() {
	local sender at
	need_pool
	need_program python3
	pool_make pool 128M
	pool_mount pool -o policy=recall:20s/busy
	seeded_file "$CASE_DIR/stream" 8000000 3
	start_example receive uring_receive "$CASE_DIR/socket" "$MNT/file" 4
	wait_for listening
	mkfifo "$CASE_DIR/go"
	timeout 60 python3 - "$CASE_DIR/socket" "$CASE_DIR/stream" "$CASE_DIR/go" <<-'PYTHON' &
		import socket, sys
		with socket.socket(socket.AF_UNIX) as s, open(sys.argv[2], "rb") as f:
		    s.connect(sys.argv[1])
		    s.sendall(f.read(5000000))
		    open(sys.argv[3]).read()
		    s.sendall(f.read())
	PYTHON
	sender=$!
	# The first window is full and committed; the second is leased, from there on.
	wait_until 20 test_size "$MNT/file" 4194304 || fail "the first window never came"
	wait_until 20 is_leased "$MNT/file" || fail "the second window is not leased"
	timeout 40 truncate -s 1000 "$MNT/file"
	wait_for "gave way"
	echo >"$CASE_DIR/go"
	wait "$sender"
	end_example
	end_input
	at=$(sed -n 's/^recalled after \([0-9]*\) bytes.*/\1/p' "$EXAMPLE_OUT")
	{ head -c 1000 "$CASE_DIR/stream" && tail -c +$((at + 1)) "$CASE_DIR/stream"; } |
		cmp - "$MNT/file"
	says "gave way 1 times"
}

test_size() { [ "$(stat -c %s "$1")" -eq "$2" ]; }
is_leased() { getfattr --only-values -n user.leasefs.leases "$1" | grep -q .; }

case_rdma_region() {
	local status=0
	need_pool
	need_program rdma_region
	pool_make pool 64M
	pool_mount pool
	seeded_file "$MNT/file" 1000000 1
	timeout 20 rdma_region "$MNT/file" 1 || status=$?
	[ "$status" -ne 77 ] || skip "there is no RDMA device"
	[ "$status" -eq 0 ] || fail "status $status"
}

# The programs in docs/tutorial.md, as they stand there, and what is said of them.
case_tutorial() {
	local program flags=()
	need_pool
	need_program cc
	need_program python3
	[ -e "$BUILD/lib/libleasefs.a" ] || skip "there is no static libleasefs in $BUILD"
	pool_make pool 64M
	pool_mount pool -o policy=recall:300ms/busy
	python3 - "$SOURCE/docs/tutorial.md" "$CASE_DIR" <<-'PYTHON'
		import re, sys
		text = open(sys.argv[1]).read()
		for name, body in re.findall(r"```c (\S+)\n(.*?)```", text, re.S):
		    open(f"{sys.argv[2]}/{name}", "w").write(body)
	PYTHON
	case $(sanitizer_runtime "$WORK"/bin/libleasefs-preload.so) in
	*asan*) flags=("-fsanitize=address,undefined") ;;
	*tsan*) flags=(-fsanitize=thread) ;;
	esac
	for program in first patient loop managed; do
		cc -std=gnu11 -Wall -Wextra -Werror "${flags[@]}" -I "$SOURCE/include" -o "$CASE_DIR/$program" \
			"$CASE_DIR/$program.c" "$BUILD/lib/libleasefs.a" -lpmem -lpthread
	done
	"$CASE_DIR/first" "$MNT/hello"
	[ "$(cat "$MNT/hello")" = "stored directly" ]

	start_example patient "$CASE_DIR/patient" "$MNT/hello"
	wait_for pinned
	expect_busy 0 "$MNT/hello"
	end_input
	end_example
	truncate -s 0 "$MNT/hello"

	seeded_file "$MNT/data" 1000000 1
	start_example loop "$CASE_DIR/loop" "$MNT/data"
	wait_for working
	timeout 20 truncate -s 8192 "$MNT/data"
	wait_for "gave back"
	end_input
	end_example

	seeded_file "$MNT/data" 1000000 1
	start_example managed "$CASE_DIR/managed" "$MNT/data"
	wait_for sum
	timeout 20 truncate -s 8192 "$MNT/data"
	end_input
	end_example
}
