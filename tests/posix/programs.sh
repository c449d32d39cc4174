# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
#
# programs.sh - what people run on a filesystem, and whether it finds what it wrote.

# Copies of the tree are what most people see first: names, modes, links, bytes, at any size.
case_copy_tree() {
	local from=/usr/include
	[ -d "$from/linux" ] || from=/usr/share/doc
	use_mount 1G
	cp -a "$from" "$MNT/copy"
	[ "$(tree_sum "$from")" = "$(tree_sum "$MNT/copy")" ] || fail "the copy differs"
	if [ -z "$DIR" ]; then
		pool_unmount pool
		pool_mount pool
		[ "$(tree_sum "$from")" = "$(tree_sum "$MNT/copy")" ] || fail "differs after a remount"
	fi
	mv "$MNT/copy" "$MNT/moved"
	rm -rf "$MNT/moved"
	[ -z "$(ls -A "$MNT")" ] || fail "something stays behind: $(ls -A "$MNT")"
}

# make_repository DIR: 60 commits over two branches, always the same.
make_repository() {
	local i
	git init -q -b main "$1"
	git -C "$1" config user.name nobody
	git -C "$1" config user.email nobody@example.org
	for i in $(seq 60); do
		mkdir -p "$1/dir$((i % 7))"
		seeded_file "$1/dir$((i % 7))/file$i" $((i * 700)) "$i"
		git -C "$1" add -A
		GIT_AUTHOR_DATE="@$i +0000" GIT_COMMITTER_DATE="@$i +0000" \
			git -C "$1" commit -q -m "change $i"
		[ "$i" -ne 30 ] || git -C "$1" branch side
	done
}

case_git() {
	need_program git
	use_mount 512M
	make_repository "$CASE_DIR/origin"
	git clone -q --no-local "$CASE_DIR/origin" "$MNT/clone"
	git -C "$MNT/clone" fsck --full --strict
	git -C "$MNT/clone" checkout -q -b side origin/side
	git -C "$MNT/clone" checkout -q main
	make_repository "$MNT/made"
	[ "$(git -C "$MNT/made" rev-parse main)" = "$(git -C "$CASE_DIR/origin" rev-parse main)" ] ||
		fail "the same commits have other names"
	git -C "$MNT/made" gc -q --prune=now
	git -C "$MNT/made" fsck --full --strict
	git -C "$MNT/made" status --porcelain | { ! grep .; } || fail "git sees changes"
}

case_sqlite_wal() {
	local database writer pids=()
	need_program sqlite3
	use_mount 256M
	database=$MNT/test.db
	sqlite3 "$database" 'PRAGMA journal_mode=WAL;
		CREATE TABLE t(id INTEGER PRIMARY KEY, writer INT, n INT, body BLOB);
		CREATE INDEX byn ON t(n);' | grep -qx wal || fail "no WAL mode"
	for writer in 1 2 3; do
		for n in $(seq 150); do
			echo "PRAGMA busy_timeout=20000; BEGIN IMMEDIATE;"
			echo "INSERT INTO t(writer, n, body) VALUES($writer, $n, zeroblob($((n * 37))));"
			echo "UPDATE t SET body = zeroblob(100) WHERE n = $((n / 2)) AND writer = $writer;"
			echo "COMMIT;"
		done | sqlite3 "$database" >/dev/null &
		pids+=($!)
	done
	for writer in "${pids[@]}"; do
		wait "$writer" || fail "a writer failed"
	done
	[ "$(sqlite3 "$database" 'PRAGMA integrity_check')" = ok ] || fail "integrity_check"
	[ "$(sqlite3 "$database" 'SELECT count(*) FROM t')" = 450 ] || fail "rows are missing"
	sqlite3 "$database" 'PRAGMA wal_checkpoint(TRUNCATE); VACUUM; PRAGMA journal_mode=DELETE;'
	[ "$(sqlite3 "$database" 'PRAGMA integrity_check')" = ok ] || fail "after VACUUM"
	[ "$(sqlite3 "$database" 'SELECT sum(n) FROM t')" = 33975 ] || fail "other rows"
}

case_compile() {
	need_program meson
	need_program ninja
	use_mount 1G
	mkdir "$MNT/source"
	(cd "$SOURCE" && tar -cf - --exclude='./build*' --exclude=./.git .) |
		tar -xf - -C "$MNT/source"
	meson setup -Dtests=disabled "$MNT/build" "$MNT/source" >"$CASE_DIR/setup.log" 2>&1 || {
		tail -n 20 "$CASE_DIR/setup.log"
		fail "meson setup"
	}
	ninja -C "$MNT/build" >"$CASE_DIR/ninja.log" 2>&1 || {
		tail -n 20 "$CASE_DIR/ninja.log"
		fail "ninja"
	}
	ninja -C "$MNT/build" | grep -q 'no work to do' || fail "builds again: times are wrong"
}

# A tree with everything that rsync -aHAX keeps.
make_varied_tree() {
	mkdir -p "$1/deep/er" "$1/empty"
	for i in $(seq 40); do
		seeded_file "$1/deep/file$i" $((i * i * 97)) "$i"
	done
	ln "$1/deep/file7" "$1/deep/er/hardlink"
	ln -s deep/file9 "$1/symlink"
	ln -s "$(printf 'x%.0s' $(seq 300))" "$1/long-symlink"
	mkfifo "$1/fifo"
	truncate -s 50M "$1/sparse"
	printf end >>"$1/sparse"
	chmod 4755 "$1/deep/file3"
	chmod 0400 "$1/deep/file4"
	touch -d '1999-12-31 23:59:59.123456789' "$1/deep/file5"
	touch -h -d '2001-01-01 01:01:01.5' "$1/symlink"
	printf 'name with\nnewline' >"$1/$(printf 'odd \n name')"
}

# The tree's own filesystem may lack xattrs or ACLs: they are added on the mount, and the way back
# and forth goes between two directories of it.
add_attributes() {
	setfattr -n user.colour -v blue "$1/deep/file1"
	setfattr -n user.long -v "$(printf 'v%.0s' $(seq 2000))" "$1/deep/file2"
	setfacl -m u:12345:rw,g:23456:r "$1/deep/file6"
	setfacl -d -m u:12345:rwx "$1/deep/er"
}

case_rsync() {
	local difference
	need_program rsync
	need_program setfattr
	need_program setfacl
	use_mount 512M
	make_varied_tree "$CASE_DIR/tree"
	rsync -aHS "$CASE_DIR/tree/" "$MNT/one/"
	[ "$(tree_sum "$CASE_DIR/tree")" = "$(tree_sum "$MNT/one")" ] || fail "differs on the mount"
	add_attributes "$MNT/one"
	rsync -aHAXS "$MNT/one/" "$MNT/two/"
	difference=$(rsync -aHAXnci --delete "$MNT/one/" "$MNT/two/")
	[ -z "$difference" ] || fail "the copy differs: $difference"
	[ "$(getfattr --only-values -n user.colour "$MNT/two/deep/file1")" = blue ] || fail xattr
	getfacl -c "$MNT/two/deep/file6" | grep -q '^user:12345:rw-' || fail ACL
	[ "$(stat -c %s "$MNT/two/sparse")" -eq $((50 * 1024 * 1024 + 3)) ] || fail "sparse: size"
	[ "$(stat -c %b "$MNT/two/sparse")" -lt 2048 ] || fail "sparse: allocated"
	setfacl -b "$MNT/two/deep/file6"
	chmod 644 "$MNT/two/deep/file6"
	rsync -aHS "$MNT/two/" "$CASE_DIR/back/"
	difference=$(rsync -aHnci --delete "$CASE_DIR/tree/" "$CASE_DIR/back/")
	[ -z "$difference" ] || fail "what came back differs: $difference"
	[ "$(tree_sum "$CASE_DIR/tree")" = "$(tree_sum "$CASE_DIR/back")" ] || fail "back: differs"
}

case_fio_verify() {
	local engine direct options engines
	need_program fio
	engines=$(fio --enghelp)
	use_mount 512M
	# mmap has no direct mode; fio has the random seed fixed by default (randrepeat).
	for options in "psync 0" "psync 1" "libaio 1" "io_uring 0" "io_uring 1" "mmap 0" "pvsync2 0"; do
		engine=${options% *}
		direct=${options#* }
		if ! grep -qw -- "$engine" <<<"$engines"; then
			echo "fio has no engine $engine: left out"
			continue
		fi
		fio --name="$engine-$direct" --directory="$MNT" --ioengine="$engine" \
			--direct="$direct" --rw=randrw --bsrange=4k-256k --size=24m --iodepth=8 \
			--numjobs=2 --verify=crc32c --verify_fatal=1 --do_verify=1 --fallocate=none \
			--randseed=42 --unlink=1 --minimal >"$CASE_DIR/fio.log" 2>&1 || {
			tail -n 20 "$CASE_DIR/fio.log"
			fail "fio $engine direct=$direct"
		}
		echo "fio $engine direct=$direct: verified"
	done
}

# Each stressor (its io-uring one fails everywhere) runs a fixed number of operations or one second, whichever comes first. Status 3
# and 4 mean that the stressor can't run here.
STRESSORS='access acl aio aiol chattr chmod chown copy-file dentry dir dirdeep dirmany dup
	fallocate fcntl fiemap file-ioctl filename flock fpunch fstat getdent handle hdd
	inode-flags inotify io iomix link locka lockf lockofd metamix mknod mmap msync
	open punch readahead rename revio seek sendfile splice symlink sync-file touch utime xattr'
case_stress_ng() {
	local stressor status known failed=()
	need_program stress-ng
	known=$(stress-ng --help)
	use_mount 512M
	mkdir -m 1777 "$MNT/stress"
	for stressor in $STRESSORS; do
		grep -q -- "--$stressor N" <<<"$known" || continue
		status=0
		timeout --kill-after=5 60 stress-ng --temp-path "$MNT/stress" --seed 1 --verify \
			--timeout 1s "--$stressor" 2 "--$stressor-ops" 5000 \
			>"$CASE_DIR/stress.log" 2>&1 || status=$?
		case $status in
		0) echo "$stressor: ok" ;;
		3 | 4) echo "$stressor: not possible here" ;;
		*)
			cat "$CASE_DIR/stress.log"
			echo "$stressor: status $status"
			failed+=("$stressor")
			;;
		esac
	done
	[ "${#failed[@]}" -eq 0 ] || fail "stress-ng: ${failed[*]}"
	rm -rf "$MNT/stress"
}

# The kernel lets direct writes of one file go on side by side: into blocks that are there, into holes,
# and past the end, while others read.
case_direct_writes_side_by_side() {
	use_mount 256M
	python3 - "$MNT/file" <<-'PYTHON'
		import mmap, os, random, sys, threading
		path, block, count, threads = sys.argv[1], 4096, 4096, 8
		fd = os.open(path, os.O_CREAT | os.O_RDWR)
		for i in range(0, count // 2, 2):
		    os.pwrite(fd, b"." * block, i * block)
		os.close(fd)
		order = list(range(count))
		random.Random(93).shuffle(order)
		failed = []
		def fill(page, i):
		    page[:] = i.to_bytes(8, "little") * (block // 8)
		def write(mine):
		    fd = os.open(path, os.O_RDWR | os.O_DIRECT)
		    page = mmap.mmap(-1, block)
		    for i in mine:
		        fill(page, i)
		        if os.pwrite(fd, page, i * block) != block:
		            failed.append("short write of block %d" % i)
		        if os.preadv(fd, [page], i * block) != block or page[:8] != i.to_bytes(8, "little"):
		            failed.append("block %d is not what was written" % i)
		    os.close(fd)
		running = [threading.Thread(target=write, args=(order[k::threads],)) for k in range(threads)]
		for t in running:
		    t.start()
		for t in running:
		    t.join()
		assert not failed, failed[:3]
		page = bytearray(block)
		with open(path, "rb") as f:
		    data = f.read()
		assert len(data) == count * block
		for i in range(count):
		    fill(page, i)
		    assert data[i * block:(i + 1) * block] == page, "block %d" % i
	PYTHON
}

# Many names in one directory, listed while they are removed.
case_remove_while_listing() {
	use_mount 512M
	python3 - "$MNT" <<-'PYTHON'
		import os, sys
		top = os.path.join(sys.argv[1], "many")
		os.mkdir(top)
		names = set()
		for i in range(20000):
		    name = "entry-%d-%s" % (i, "x" * (i % 60))
		    os.close(os.open(os.path.join(top, name), os.O_CREAT | os.O_EXCL))
		    names.add(name)
		seen = set()
		with os.scandir(top) as listing:
		    for entry in listing:
		        assert entry.name not in seen, "listed twice: " + entry.name
		        seen.add(entry.name)
		        os.unlink(entry.path)
		assert seen == names, "%d of %d listed" % (len(seen), len(names))
		assert not os.listdir(top)
		os.rmdir(top)
	PYTHON
}
