# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
#
# tools.sh - leasectl as an operator uses it: what it shows, draws, counts and finds.

# hold_start NAME ARGUMENTS...: a holder in the background, that takes commands by hold_say and whose
# words are in NAME.hold; returns when it has mapped what it leases.
hold_start() {
	local name=$1 fd
	shift
	mkfifo "$CASE_DIR/$name.in"
	"${HOLD:-hold}" "$@" <"$CASE_DIR/$name.in" >"$CASE_DIR/$name.hold" 2>&1 &
	echo $! >"$CASE_DIR/$name.hold-pid"
	exec {fd}>"$CASE_DIR/$name.in"
	HOLD_IN[$name]=$fd
	wait_until 20 grep -q "^mapped\|^pinned" "$CASE_DIR/$name.hold" || {
		cat "$CASE_DIR/$name.hold"
		fail "hold $* does not come up"
	}
}
declare -A HOLD_IN
as_nobody_hold() { exec setpriv --reuid=65534 --regid=65534 --clear-groups -- hold "$@"; }
hold_say() { echo "$2" >&"${HOLD_IN[$1]}"; }
hold_end() {
	hold_say "$1" quit || true
	wait "$(cat "$CASE_DIR/$1.hold-pid")" || true
}

# tools_mount [mkfs options]: with a file of 256 KiB. A holder that answers has time for it on a busy
# machine too; one that does not gets `hurry`.
hurry() { leasectl "$MNT" policy "$MNT/file" recall:300ms/busy; }
tools_mount() {
	need_pool
	need_program python3
	command -v hold >/dev/null || fail "$BUILD holds no hold"
	pool_make pool 64M "$@"
	pool_mount pool -o policy=recall:60s/busy
	seeded_file "$MNT/file" 262144 1
}

# events FILE: the names of a JSON log's events, in one line.
events() { python3 -c 'import json, sys; print(*[json.loads(l)["event"] for l in open(sys.argv[1])])' "$1"; }

# ---- watch -----------------------------------------------------------------------------------

# A recall that is answered, one that is not, and one that meets a pin, as they happen.
case_watch() {
	local watcher
	tools_mount
	leasectl "$MNT" watch --all --json >"$CASE_DIR/live" &
	watcher=$!
	hold_start a --answer auto --offset 64K --length 64K "$MNT/file"
	wait_until 30 grep -q '"grant"' "$CASE_DIR/live" || fail "the grant is not seen"
	truncate -s 128K "$MNT/file" # beside the lease
	truncate -s 64K "$MNT/file"
	wait_until 30 grep -q '"complete"' "$CASE_DIR/live" || fail "no end of the truncate is seen"
	hold_end a
	wait_until 30 grep -q '"session-gone"' "$CASE_DIR/live" || fail "no end of the session is seen"
	events "$CASE_DIR/live" >"$CASE_DIR/events"
	cat "$CASE_DIR/events"
	grep -qx 'session-open grant park recall return complete session-.*session-gone' \
		"$CASE_DIR/events" || fail "not what happened"
	hold_start b --pin --length 64K "$MNT/file"
	hurry
	refuses "busy" truncate -s 0 "$MNT/file"
	leasectl "$MNT" watch --once "$MNT/file" >"$CASE_DIR/lines"
	cat "$CASE_DIR/lines"
	grep -Eq ' busy +truncate #[0-9]+ of inode [0-9]+ .* after [0-9.]+ s: pinned by session' \
		"$CASE_DIR/lines" || fail "no sentence about the EBUSY"
	hold_end b
	kill "$watcher"
	wait "$watcher" 2>/dev/null || true
	# The daemon's death ends a watch, with a sentence.
	leasectl "$MNT" watch >"$CASE_DIR/ended" 2>&1 &
	watcher=$!
	wait_until 30 watches "$watcher" || fail "does not watch"
	pool_kill pool
	status=0
	wait "$watcher" || status=$?
	cat "$CASE_DIR/ended"
	[ "$status" -eq 1 ] || fail "status $status"
	grep -q "the daemon has ended" "$CASE_DIR/ended" || fail "not a word about it"
}
# It has the control file open and sleeps.
watches() { readlink /proc/"$1"/fd/* | grep -q "/.leasefs/control$" && grep -q sleeping "/proc/$1/status"; }

# The log is bounded: a reader who was too slow is told how much it has missed; poll(2) wakes one
# that waits, and nobody else.
case_history_is_bounded() {
	tools_mount
	PYTHONPATH=$HERE python3 - "$MNT" <<-'PYTHON'
		import os, select, sys
		from client import Session, history
		mount = sys.argv[1]
		session = Session(mount)
		file = os.open(mount + "/file", os.O_RDWR)
		reader = os.open(mount + "/.leasefs/control", os.O_RDWR)
		records, at, lost, end = history(reader, 0, watch=True)
		assert [r[1] for r in records] == ["session-open"] and at == end == 2 and lost == 0
		poll = select.poll()
		poll.register(reader, select.POLLIN)
		assert poll.poll(0) == []
		lease, _ = session.grant(file, 0, 4096)
		assert poll.poll(5000) == [(reader, select.POLLIN)]
		records, at, lost, end = history(reader, at, watch=True)
		assert [r[1:] for r in records] == [("grant", session.number, lease)], records
		assert poll.poll(0) == []
		session.give_back(lease)
		for _ in range(9000):
		    session.give_back(session.grant(file, 0, 4096)[0])
		records, at, lost, end = history(reader, at, watch=True)
		assert lost == 18001 - 16384, lost
		assert records[0][0] == 3 + lost
		seen = len(records)
		while at < end:
		    records, at, lost, end = history(reader, at)
		    assert lost == 0
		    seen += len(records)
		assert seen == 16384, seen
		# Behind the end is the end; nonsense is refused.
		assert history(reader, 1 << 62)[1] == end
		try:
		    import fcntl, struct
		    data = bytearray(3680)
		    struct.pack_into("<I", data, 24, 2)
		    fcntl.ioctl(reader, 3 << 30 | 3680 << 16 | 0xF5 << 8 | 26, data)
		    raise SystemExit("an unknown flag was taken")
		except OSError as error:
		    assert error.errno == 22, error
		# Who is told holds everybody up: that is for a few, and those who are go on being told.
		others = [os.open(mount + "/.leasefs/control", os.O_RDWR) for _ in range(64)]
		for other in others[:63]:
		    history(other, 1 << 62, watch=True)
		try:
		    history(others[63], 1 << 62, watch=True)
		    raise SystemExit("there is no limit on those who are told")
		except OSError as error:
		    assert error.errno == 24, error
		history(others[63], 1 << 62)
		history(reader, at, watch=True)
	PYTHON
}

# An ordinary user sees what is theirs: events, sessions, operations; and not where others' leases are.
case_history_of_users() {
	need_root
	need_program setpriv
	tools_mount -g 65534
	chmod 755 "$MNT"
	hold_start a --length 64K "$MNT/file"
	leasectl "$MNT" watch --once >"$CASE_DIR/roots"
	[ "$(wc -l <"$CASE_DIR/roots")" -eq 2 ] || fail "root sees $(cat "$CASE_DIR/roots")"
	as_nobody leasectl "$MNT" watch --once >"$CASE_DIR/nobodys"
	[ ! -s "$CASE_DIR/nobodys" ] || fail "nobody sees $(cat "$CASE_DIR/nobodys")"
	as_nobody leasectl "$MNT" top --once >"$CASE_DIR/top"
	! grep -q "hold" "$CASE_DIR/top" || fail "nobody sees root's sessions in top"
	refuses "root" as_nobody leasectl "$MNT" audit
	chmod 666 "$MNT/file"
	HOLD=as_nobody_hold hold_start b --offset 128K --length 64K "$MNT/file"
	hold_start c --read --length 64K "$MNT/file"
	as_nobody leasectl "$MNT" watch --once >"$CASE_DIR/nobodys"
	[ "$(wc -l <"$CASE_DIR/nobodys")" -eq 2 ] || fail "nobody sees $(cat "$CASE_DIR/nobodys")"
	! grep -v "uid 65534" "$CASE_DIR/nobodys" || fail "of others"
	for file in "" "$MNT/file"; do
		# shellcheck disable=SC2086 # none, or one
		as_nobody leasectl "$MNT" leases $file >"$CASE_DIR/leases"
		[ "$(grep -c ' 65534 ' "$CASE_DIR/leases")" -eq 1 ] || fail "$(cat "$CASE_DIR/leases")"
		[ "$(wc -l <"$CASE_DIR/leases")" -eq 2 ] || fail "nobody sees leases of others"
	done
	# Who is asked, and by whom, the holder sees; what it does not concern, not.
	hurry
	truncate -s 160K "$MNT/file"
	as_nobody leasectl "$MNT" watch --once >"$CASE_DIR/nobodys"
	grep -q " recall .*by process" "$CASE_DIR/nobodys" || fail "$(cat "$CASE_DIR/nobodys")"
	! grep "session $(sed -n 's/^session \([0-9]*\),.*/\1/p' "$CASE_DIR/a.hold")," \
		"$CASE_DIR/nobodys" || fail "of root's session"
	hold_end a
	hold_end b
	hold_end c
}

# ---- top -------------------------------------------------------------------------------------

case_top_once() {
	local operation
	tools_mount
	hold_start a --pin --length 64K "$MNT/file"
	truncate -s 0 "$MNT/file" 2>/dev/null &
	operation=$!
	# shellcheck disable=SC2317 # called by wait_until
	waits() { leasectl "$MNT" top --once >"$CASE_DIR/top" && grep -q '^truncate ' "$CASE_DIR/top"; }
	wait_until 30 waits || fail "no operation is seen to wait: $(cat "$CASE_DIR/top")"
	cat "$CASE_DIR/top"
	grep -q '^waiting: 1 operation,' "$CASE_DIR/top" || fail "no count of what waits"
	grep -Eq '^truncate +[0-9]+ +[0-9]+ truncate +[0-9.]+s +[0-9.]+s  [0-9]+ hold ' \
		"$CASE_DIR/top" || fail "who waits, how long, and for whom"
	grep -Eq '^[0-9]+ +[0-9]+ hold +[0-9]+ +1 +0 +1 +0 +[0-9.]+s open' "$CASE_DIR/top" ||
		fail "no session with a lease and a pin"
	grep -Eq ' hold .* w +64.0 KiB .* recall\+pin +\[0, 65536\)' "$CASE_DIR/top" ||
		fail "no recalled lease"
	leasectl "$MNT" top --json >"$CASE_DIR/json"
	python3 - "$CASE_DIR/json" <<-'PYTHON'
		import json, sys
		picture = json.load(open(sys.argv[1]))
		session, = picture["sessions"]
		lease, = picture["leases"]
		operation, = picture["operations"]
		assert operation["operation"] == "truncate" and operation["lease"] == lease["lease"]
		assert operation["holder_pid"] == session["pid"] == lease["pid"]
		assert 0 < operation["left_ns"] < 60e9 and "recalled" in lease["flags"]
		assert picture["arbitration"]["parked"] == 1
	PYTHON
	leasectl top --once --sort held >/dev/null || [ $? -eq 1 ] # other mounts may be there
	refuses "sort takes" leasectl "$MNT" top --once --sort colour
	kill -TERM "$operation"
	wait "$operation" || true
	hold_end a
	# Without a terminal it is the same; and one that cannot do it gets text.
	leasectl "$MNT" top </dev/null >"$CASE_DIR/plain"
	grep -q '^none waits' "$CASE_DIR/plain" || fail "no picture without a terminal"
}

# screen: what the terminal shows.
screen() { tmux -S "$CASE_DIR/tmux" -f /dev/null capture-pane -p | grep -v "^\$"; }
screen_shows() { screen | grep -Eq -- "$1"; }
screen_lacks() { ! screen_shows "$1"; }
keys() { tmux -S "$CASE_DIR/tmux" -f /dev/null send-keys "$@"; }

# In a terminal of 80 by 24: views, sorting, scrolling, resizing, ending; and what TERM cannot do.
case_top_terminal() {
	local i
	need_program tmux
	tools_mount
	trap 'tmux -S "$CASE_DIR/tmux" kill-server 2>/dev/null || true' EXIT
	for i in 1 2 3 4 5 6 7; do
		hold_start "h$i" --read --offset "$((i * 4))K" --length 4K "$MNT/file"
	done
	tmux -S "$CASE_DIR/tmux" -f /dev/null new-session -d -x 80 -y 24 \
		"TERM=screen leasectl '$MNT' top --interval 0.2; echo ended \$?; cat"
	wait_until 30 screen_shows '^7 sessions  7 leases: 0 pinned' || fail "$(screen)"
	screen
	screen_shows '^q quit' || fail "no help in the last line"
	wait_until 30 screen_shows '^per second ' || fail "no rates"
	screen_lacks '^e00000 ' || fail "all leases fit: nothing to scroll"
	keys l
	wait_until 30 screen_lacks '^session +pid' || fail "sessions are shown with the leases"
	screen_shows '^lease  .*state' || fail "no view of leases"
	keys '>' '>' '>' '>' # from left to age, session, pid, inode
	wait_until 30 screen_shows 'sorted by inode' || fail "not sorted: $(screen)"
	keys r
	wait_until 30 screen_shows 'sorted by inode backwards' || fail "not turned round"
	keys a
	wait_until 30 screen_shows '^session +pid' || fail "not all again"
	keys End
	wait_until 30 screen_lacks '^none waits' || fail "End did not scroll: $(screen)"
	keys Home
	wait_until 30 screen_shows '^none waits' || fail "Home did not scroll back"
	tmux -S "$CASE_DIR/tmux" -f /dev/null resize-window -x 60 -y 12
	wait_until 30 screen_shows '^q quit' || fail "after shrinking: $(screen)"
	tmux -S "$CASE_DIR/tmux" -f /dev/null resize-window -x 120 -y 50
	wait_until 30 screen_shows '\[28672, 32768\)' ||
		fail "after growing: $(screen)"
	keys ' '
	wait_until 30 screen_shows 'paused' || fail "does not stop"
	keys ' ' q
	wait_until 30 screen_shows '^ended 0' || fail "q does not end it: $(screen)"
	tmux -S "$CASE_DIR/tmux" -f /dev/null respawn-pane -k \
		"TERM=dumb leasectl '$MNT' top; echo dumb \$?; cat"
	wait_until 30 screen_shows '^dumb 0' || fail "a terminal without a cursor: $(screen)"
	for i in 1 2 3 4 5 6 7; do hold_end "h$i"; done
	tmux -S "$CASE_DIR/tmux" kill-server
	trap - EXIT
}

# ---- pictures --------------------------------------------------------------------------------

# Well-formed; every text inside of the drawing, none over another; the words that it must have.
check_svg() {
	python3 - "$@" <<-'PYTHON'
		import sys
		import xml.etree.ElementTree as tree
		root = tree.parse(sys.argv[1]).getroot()
		space = "{http://www.w3.org/2000/svg}"
		width, height = float(root.get("width")), float(root.get("height"))
		boxes = []
		for text in root.iter(space + "text"):
		    size = {"title": 10.5, "small": 5.2}.get(text.get("class"), 5.7)
		    px = size * len(text.text)
		    x, y = float(text.get("x")), float(text.get("y"))
		    x -= {"start": 0, "middle": px / 2, "end": px}[text.get("text-anchor")]
		    assert x > 0 and x + px < width and 8 < y < height, (text.text, x, px, y)
		    boxes.append((x, x + px, y - 7, y, text.text))
		for i, a in enumerate(boxes):
		    for b in boxes[:i]:
		        assert not (a[0] < b[1] and b[0] < a[1] and a[2] < b[3] and b[2] < a[3]), (a, b)
		for rect in root.iter(space + "rect"):
		    if rect.get("x"):
		        assert float(rect.get("x")) + float(rect.get("width")) <= width + 1, rect.attrib
		words = " ".join(root.itertext())
		for word in sys.argv[2:]:
		    assert word in words, (word, words)
	PYTHON
}

case_map() {
	local operation odd
	tools_mount
	odd="$MNT/a & \"b\" <c> ü $(printf '\xff')"
	seeded_file "$odd" 65536 2
	for i in 0 5 9 22 23; do
		dd if=/dev/zero of="$odd" bs=64K seek="$i" count=1 conv=notrunc status=none
	done
	leasectl "$MNT" map "$odd" --svg -o "$CASE_DIR/none.svg"
	check_svg "$CASE_DIR/none.svg" "nobody holds any" hole "Region 0"
	hold_start a --pin --length 64K "$odd"
	hold_start b --read --length 512K "$odd"
	hold_start c --pin-range --unbreakable --offset 1M --length 64K "$odd"
	hold_start d --offset 1200K --length 1M "$odd"
	truncate -s 1100K "$odd" 2>/dev/null &
	operation=$!
	# shellcheck disable=SC2317 # called by wait_until
	recalled() { leasectl "$MNT" leases "$odd" | grep -q recalled; }
	wait_until 30 recalled || fail "nothing is recalled"
	leasectl "$MNT" map "$odd" --svg >"$CASE_DIR/map.svg"
	check_svg "$CASE_DIR/map.svg" "write lease" "read lease" recalled "s left" pinned \
		"unbreakable pin" "end of file" "a & \"b\" <c>"
	leasectl map "$odd" >"$CASE_DIR/map" # the mount of the file
	grep -q '^\[0, 65536) *written, region 0 at ' "$CASE_DIR/map" || fail "$(cat "$CASE_DIR/map")"
	grep -q '^ .*write lease .*hold (process .*pinned' "$CASE_DIR/map" || fail "no lease on it"
	kill -TERM "$operation"
	wait "$operation" || true
	for i in a b c d; do hold_end "$i"; done
	: >"$MNT/empty"
	leasectl "$MNT" map "$MNT/empty" --svg >"$CASE_DIR/empty.svg"
	check_svg "$CASE_DIR/empty.svg" "nobody holds any"
	# As many extents as blocks.
	python3 - "$MNT/pieces" <<-'PYTHON'
		import os, sys
		fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
		for i in range(0, 4000, 2):
		    os.pwrite(fd, b"x", i * 4096)
	PYTHON
	leasectl "$MNT" map "$MNT/pieces" --svg >"$CASE_DIR/pieces.svg"
	check_svg "$CASE_DIR/pieces.svg" "extents"
	[ "$(stat -c %s "$CASE_DIR/pieces.svg")" -lt 2000000 ] || fail "a huge picture"
}

case_timeline() {
	local session
	tools_mount
	refuses "nothing has happened" leasectl "$MNT" timeline "$MNT/file" --svg
	hold_start a --answer auto --offset 128K --length 128K "$MNT/file"
	truncate -s 192K "$MNT/file"
	hold_end a
	hold_start b --pin --length 64K "$MNT/file"
	hurry
	refuses "busy" truncate -s 0 "$MNT/file"
	hold_start c --read --offset 64K --length 64K "$MNT/file"
	truncate -s 96K "$MNT/file" # it does not answer: revoked
	leasectl "$MNT" timeline "$MNT/file" --svg -o "$CASE_DIR/file.svg"
	check_svg "$CASE_DIR/file.svg" "3 operations" "EBUSY after" "done after" returned held \
		"truncate #" hold
	session=$(sed -n 's/^session \([0-9]*\),.*/\1/p' "$CASE_DIR/b.hold")
	leasectl "$MNT" timeline --session "$session" --svg >"$CASE_DIR/session.svg"
	check_svg "$CASE_DIR/session.svg" "Session $session" "EBUSY after"
	! grep -q "done after" "$CASE_DIR/session.svg" || fail "others' operations are in it"
	leasectl "$MNT" timeline "$MNT/file" | grep -q ' park ' || fail "no lines"
	hold_end b
	kill -9 "$(cat "$CASE_DIR/c.hold-pid")"
	wait_until 30 sh -c 'leasectl "$1" watch --once | grep -q session-gone.*process.$2' sh "$MNT" \
		"$(cat "$CASE_DIR/c.hold-pid")" || fail "a dead session stays"
	leasectl "$MNT" timeline --svg >"$CASE_DIR/all.svg"
	check_svg "$CASE_DIR/all.svg" "session ended"
}

# ---- numbers ---------------------------------------------------------------------------------

# The text format, as its specification has it; and the numbers that are known.
case_metrics() {
	tools_mount
	hold_start a --answer auto --length 64K "$MNT/file"
	truncate -s 0 "$MNT/file"
	leasectl "$MNT" metrics -o "$CASE_DIR/leasefs.prom"
	[ "$(find "$CASE_DIR" -name 'leasefs.prom*' | wc -l)" -eq 1 ] || fail "a file is left behind"
	python3 - "$CASE_DIR/leasefs.prom" "$MNT" <<-'PYTHON'
		import re, sys
		name = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
		helped, types, values = set(), {}, {}
		text = open(sys.argv[1]).read()
		assert text.endswith("\n")
		for line in text.splitlines():
		    if line.startswith("# HELP "):
		        metric = line.split()[2]
		        assert metric not in helped, "two HELP lines: " + metric
		        helped.add(metric)
		    elif line.startswith("# TYPE "):
		        metric, kind = line.split()[2:]
		        assert metric in helped and metric not in types and kind in ("gauge", "counter")
		        types[metric] = kind
		    else:
		        match = re.fullmatch(r'(%s)\{((?:%s="(?:[^"\\\n]|\\[\\"n])*",?)*)\} (\S+)' % (name, name), line)
		        assert match, line
		        metric, labels, value = match.groups()
		        assert metric in types, "no TYPE before " + line
		        assert 'mount="%s"' % sys.argv[2] in labels
		        assert (metric, labels) not in values
		        values[metric, labels] = float(value)
		for metric, kind in types.items():
		    assert metric.startswith("leasefs_")
		    assert (kind == "counter") == metric.endswith("_total"), metric
		    assert not re.search(r"_(ms|ns|us|kb|kib|mib|percent)(_|$)", metric), "base units: " + metric
		assert types.keys() == helped == {metric for metric, _ in values}
		value = {metric: v for (metric, _), v in values.items()}
		assert value["leasefs_grants_total"] == 1 and value["leasefs_recalls_total"] == 1
		assert value["leasefs_returns_total"] == 1 and value["leasefs_sessions"] == 1
		assert value["leasefs_pool_size_bytes"] == 64 << 20
	PYTHON
	if command -v promtool >/dev/null 2>&1; then
		promtool check metrics <"$CASE_DIR/leasefs.prom" || fail "promtool does not like it"
	fi
	hold_end a
	refuses "no such file" leasectl "$MNT" metrics -o "$CASE_DIR/no/where.prom"
}

# A well-behaved holder is not found; a child that has inherited its mapping, a mapping that was
# kept after the return, and one without any lease are.
case_audit() {
	need_root
	tools_mount
	cat >"$CASE_DIR/stale.py" <<-'PYTHON'
		import mmap, os, signal, sys
		from client import Session
		mount = sys.argv[1]
		session = Session(mount)
		file = os.open(mount + "/file", os.O_RDWR)
		lease, extents = session.grant(file, 0, 65536)
		offset, length, at, region, _ = extents[0]
		mapping = mmap.mmap(os.open(session.region_path(region), os.O_RDWR), length, offset=at)
		print("leased", os.getpid(), at, at + length, flush=True)
		sys.stdin.readline()
		child = os.fork()
		if child == 0:
		    signal.pause()
		print("forked", child, flush=True)
		sys.stdin.readline()
		os.kill(child, signal.SIGKILL)
		os.waitpid(child, 0)
		session.give_back(lease)
		print("returned", flush=True)
		sys.stdin.readline()
		mapping.close()
		print("unmapped", flush=True)
		sys.stdin.readline()
	PYTHON
	mkfifo "$CASE_DIR/to"
	PYTHONPATH=$HERE python3 "$CASE_DIR/stale.py" "$MNT" <"$CASE_DIR/to" >"$CASE_DIR/from" &
	holder=$!
	exec 9>"$CASE_DIR/to"
	step() { wait_until 20 grep -q "^$1" "$CASE_DIR/from" || fail "no $1"; }
	found() {
		local status=0
		leasectl "$MNT" audit >"$CASE_DIR/audit" || status=$?
		cat "$CASE_DIR/audit"
		return "$status"
	}
	step leased
	read -r _ pid start end <"$CASE_DIR/from"
	found || fail "a lease's own mapping is complained of"
	echo >&9
	step forked
	child=$(sed -n 's/^forked //p' "$CASE_DIR/from")
	! found || fail "the child is not found"
	grep -Eq "^process $child \(python3[^)]*, uid 0\) maps \[$start, $end\) of .*data\.0 .*is that of process $pid" \
		"$CASE_DIR/audit" || fail "not the child's range"
	! grep -q "^process $pid " "$CASE_DIR/audit" || fail "the holder is complained of"
	echo >&9
	step returned
	status=0
	leasectl "$MNT" audit --json >"$CASE_DIR/json" || status=$?
	[ "$status" -eq 3 ] || fail "status $status for a mapping that was kept"
	python3 - "$CASE_DIR/json" "$pid" "$start" "$end" <<-'PYTHON'
		import json, sys
		rows, (pid, start, end) = json.load(open(sys.argv[1])), map(int, sys.argv[2:])
		assert [(r["pid"], r["offset"], r["length"]) for r in rows] == [(pid, start, end - start)], rows
		assert rows[0]["reason"] == "nobody leases it" and rows[0]["file"].endswith("data.0")
	PYTHON
	echo >&9
	step unmapped
	found || fail "nothing is mapped any more"
	echo >&9
	wait "$holder"
	# A revoked one, pinned, that still stands.
	leasectl "$MNT" policy "$MNT/file" recall:100ms/orphan
	hold_start a --pin --length 64K "$MNT/file"
	truncate -s 0 "$MNT/file"
	! found || fail "a revoked mapping is not found"
	grep -q "kept though lease .* was revoked" "$CASE_DIR/audit" || fail "not why"
	leasectl "$MNT" quarantine >"$CASE_DIR/quarantine"
	grep -Eq " 64.0 KiB \[0, 65536\) write revoked pinned" "$CASE_DIR/quarantine" ||
		fail "$(cat "$CASE_DIR/quarantine")"
	hold_end a
}

# Probes for tracers are in a daemon that was built where <sys/sdt.h> is, each with its arguments.
case_probes() {
	local probe
	need_program readelf
	grep -qs HAVE_SYS_SDT_H "$BUILD/build.ninja" || skip "built without <sys/sdt.h>"
	readelf -n "$(command -v leasefs)" >"$CASE_DIR/notes"
	for probe in grant recall return revoke park complete busy quarantine release; do
		grep -A3 "Provider: leasefs" "$CASE_DIR/notes" | grep -A2 "Name: $probe\$" |
			grep -Eq "Arguments:( [^ ]+@[^ ]+){6}" || fail "no probe '$probe' with 6 arguments"
		grep -q "\`$probe\`" "$SOURCE/docs/tracing.md" || fail "$probe is not in docs/tracing.md"
	done
}

# ---- the command line ------------------------------------------------------------------------

# Every verb has a help of its own; what is wrong is said, with the status that the manual promises.
case_usage() {
	local verb status
	tools_mount
	leasectl --help >"$CASE_DIR/help"
	for verb in $(sed -n 's/^  \([a-z]*\) .*/\1/p' "$CASE_DIR/help"); do
		leasectl "$verb" --help >"$CASE_DIR/verb" || fail "$verb --help: status $?"
		grep -q "^usage: leasectl \[MOUNT\] $verb" "$CASE_DIR/verb" || fail "$(cat "$CASE_DIR/verb")"
		[ "$(wc -l <"$CASE_DIR/verb")" -ge 4 ] || fail "$verb --help says next to nothing"
		leasectl help "$verb" | cmp - "$CASE_DIR/verb"
		awk 'length > 100 { exit 1 }' "$CASE_DIR/verb" || fail "$verb --help is too wide"
	done
	[ "$(grep -c '^  [a-z]' "$CASE_DIR/help")" -ge 16 ] || fail "verbs are missing"
	# exits STATUS PATTERN WORDS...
	exits() {
		local wanted=$1 pattern=$2 got=0
		shift 2
		leasectl "$@" >"$CASE_DIR/out" 2>&1 </dev/null || got=$?
		[ "$got" -eq "$wanted" ] || fail "leasectl $*: status $got, not $wanted: $(cat "$CASE_DIR/out")"
		grep -Eq -- "$pattern" "$CASE_DIR/out" || fail "leasectl $*: $(cat "$CASE_DIR/out")"
	}
	exits 2 "^usage:"
	exits 2 "no verb 'nonsense'; leasectl --help" "$MNT" nonsense
	exits 2 "^usage: leasectl \[MOUNT\] layout FILE" "$MNT" layout
	exits 2 "^usage: leasectl \[MOUNT\] leases" "$MNT" leases --svg
	exits 2 "^usage:" "$MNT" map "$MNT/file" too many words here
	exits 2 "unrecognized option" "$MNT" status --nonsense
	exits 2 "takes seconds" "$MNT" top --interval 0
	exits 2 "number of a session" "$MNT" watch --session x
	exits 2 "map does not take this option: --json" "$MNT" map "$MNT/file" --json
	exits 1 "an offset and a length" "$MNT" recall "$MNT/file" 4096
	exits 1 "not a mount of leasefs.*findmnt" /proc leases
	exits 1 "No such file" "$MNT" leases "$MNT/nowhere"
	exits 1 "see 'quarantine'" "$MNT" release x
	exits 0 "^lease " leases "$MNT/file"
	exits 0 "^pool " "$MNT" status
	exits 0 "^pool " "$(pool_path pool)" status
	exits 0 "^free extents " "$MNT" status
	exits 0 "^free extents " "$(pool_path pool)" status
	exits 0 "^leasectl " --version
}

# A statement that is wrong is shown as it should be, in the manual page's words.
case_script_forms() {
	local wrong
	while IFS='|' read -r wrong right; do
		echo "$wrong" >"$CASE_DIR/wrong.lease"
		refuses "wrong.lease:1: it should be: $right\$" "$BUILD/tools/leasescript" "$CASE_DIR/wrong.lease"
	done <<-'END'
		drain now|drain
		pin A P|pin A P L \[OFF LEN\] \[unbreakable\]
		pool big|pool \[SIZE\] \[mkfs options\]
		load A L 0|load A L OFF LEN seed N.zero
		expect A recal L|expect A EVENT L \[within TIME\], or: expect A nothing for TIME
	END
}

# More than a page of each: sessions, operations that wait, leases.
case_many() {
	tools_mount
	PYTHONPATH=$HERE python3 - "$MNT" <<-'PYTHON'
		import json, os, subprocess, sys, threading, time
		from client import Session
		mount = sys.argv[1]
		os.setxattr(mount, "user.leasefs.policy", b"recall:60s/busy")
		sessions = [Session(mount) for _ in range(130)]
		files, leases = [], []
		for i in range(70):
		    fd = os.open("%s/many%d" % (mount, i), os.O_RDWR | os.O_CREAT)
		    os.write(fd, bytes(8192))
		    files.append(fd)
		    leases.append(sessions[i].grant(fd, 0, 8192)[0])
		# From another process: an operation of the holder's own would not wait.
		children = [subprocess.Popen(["truncate", "-s", "0", "%s/many%d" % (mount, i)])
		            for i in range(70)]
		def picture():
		    return json.loads(subprocess.check_output(["leasectl", mount, "top", "--json"]))
		end = time.monotonic() + 30
		while picture()["arbitration"]["parked"] < 70:
		    assert time.monotonic() < end, "not all are parked"
		    time.sleep(0.05)
		p = picture()
		assert len({s["session"] for s in p["sessions"]}) == len(p["sessions"]) == 130
		assert len({o["number"] for o in p["operations"]}) == len(p["operations"]) == 70
		assert {o["lease"] for o in p["operations"]} == set(leases)
		assert sorted(l["lease"] for l in p["leases"]) == sorted(leases)
		assert all("recalled" in l["flags"] and l["recall_left_ns"] > 0 for l in p["leases"])
		for i in range(70):
		    sessions[i].give_back(leases[i])
		assert all(child.wait(30) == 0 for child in children)
		assert picture()["operations"] == []
	PYTHON
}

# Of a file: its own leases alone, however many others there are.
case_leases_of_a_file() {
	tools_mount
	seeded_file "$MNT/other" 4096 3
	PYTHONPATH=$HERE python3 - "$MNT" >"$CASE_DIR/from" <<-'PYTHON' &
		import os, sys, time
		from client import Session
		mount = sys.argv[1]
		session = Session(mount)
		file, other = (os.open(mount + name, os.O_RDWR) for name in ("/file", "/other"))
		for i in range(5000):
		    session.grant(file, i % 64 * 4096, 4096, write=False)
		session.grant(other, 0, 4096)
		print("granted", flush=True)
		while os.getppid() != 1 and not os.path.exists(sys.argv[1] + "/stop"):
		    time.sleep(0.05)
	PYTHON
	wait_until 60 grep -q granted "$CASE_DIR/from" || fail "no leases"
	[ "$(leasectl "$MNT" leases "$MNT/other" | wc -l)" -eq 2 ] || fail "not one lease"
	[ "$(leasectl "$MNT" leases "$MNT/file" | wc -l)" -eq 5001 ] || fail "not 5000 leases"
	[ "$(leasectl "$MNT" leases | wc -l)" -eq 5002 ] || fail "not all leases"
	leasectl "$MNT" top --once | grep -q "and 4001 more" || fail "top shows all of them"
	touch "$MNT/stop"
	wait $!
}
