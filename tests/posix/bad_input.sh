# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
#
# bad_input.sh - pools, mount points, names and options that are not what they should be. Each is
# refused with a sentence that says what is wrong; the daemon never crashes and never changes what
# it refuses.

# A pool whose metadata can be damaged: some files and directories, unmounted.
make_filled_pool() {
	pool_make "$1" "${2:-16M}"
	pool_mount "$1"
	mkdir -p "$MNT/dir/sub"
	for i in $(seq 300); do
		echo "$i" >"$MNT/dir/file$i"
	done
	seeded_file "$MNT/big" 1000000 1
	ln -s "$(printf 'l%.0s' $(seq 200))" "$MNT/link"
	pool_unmount "$1"
}

pool_sum() { (cd "$(pool_path "$1")" && find . -type f -not -path './run/*' -exec sha256sum {} + | sort); }

case_not_a_pool() {
	need_pool
	mkdir "$(pool_path empty)" "$(pool_path other)"
	echo hello >"$(pool_path other)/file"
	echo hello >"$(pool_path file)"
	refuses_mount "not a (leasefs )?pool|no such file" empty
	refuses_mount "not a (leasefs )?pool|no such file" other
	refuses_mount "not a directory" file
	refuses_mount "no such file" missing
	[ "$(cat "$(pool_path other)/file")" = hello ] || fail "changed what is not a pool"
	head -c 8M /dev/zero >"$(pool_path other)/meta"
	refuses_mount "not a (leasefs )?pool|superblock|damaged" other
	head -c 8M /dev/urandom >"$(pool_path other)/meta"
	refuses_mount "not a (leasefs )?pool|superblock|damaged" other
	: >"$(pool_path other)/meta"
	refuses_mount "not a (leasefs )?pool|superblock|damaged|too short|truncated|empty" other
}

case_truncated_pool() {
	local bytes size
	need_pool
	make_filled_pool pool
	pool_spoiled pool
	size=$(stat -c %s "$(pool_path pool)/meta")
	for bytes in $((size - 1)) $((size - 4096)) $((size / 2)) 8192 4096 4095 1 0; do
		cp -a "$(pool_path pool)" "$(pool_path cut)"
		truncate -s "$bytes" "$(pool_path cut)/meta"
		refuses_mount "damaged|truncated|short|smaller|superblock|not a (leasefs )?pool|fsck|multiple|empty" cut
		rm -rf "$(pool_path cut)"
	done
	cp -a "$(pool_path pool)" "$(pool_path cut)"
	truncate -s 4096 "$(pool_path cut)"/data.*
	refuses_mount "damaged|truncated|short|smaller|region|fsck|the pool says" cut
	rm "$(pool_path cut)"/data.*
	refuses_mount "damaged|missing|region|no such file|fsck" cut
}

# A data region of another pool, an old copy, or an empty one, all of the right size: neither the
# mount nor the checker takes it, each says what it is, and all is well with the right one.
case_foreign_region() {
	local pool other uuid status=0
	need_pool
	make_filled_pool pool
	make_filled_pool other
	pool=$(pool_path pool) other=$(pool_path other)
	pool_spoiled pool
	cp -a "$pool/data.0" right
	uuid=$(fsck.leasefs -nv "$other" | sed -n 's/.* uuid \([0-9a-f-]*\).*/\1/p')
	cp "$other/data.0" "$pool/data.0"
	refuses_mount "pool/data.0 should be data region 0 of pool .*: it is region 0 of pool $uuid\." pool
	refuses "should be data region 0" fsck.leasefs -y "$pool"
	cmp "$other/data.0" "$pool/data.0" || fail "something was written to it"
	truncate -s 0 "$pool/data.0"
	truncate -s "$(stat -c %s right)" "$pool/data.0"
	refuses_mount "zeroes stand where its tag should" pool
	cp right "$pool/data.0"
	pool_mount pool
	[ "$(cat "$MNT/dir/file7")" = 7 ] || fail "the right one is not right"
	pool_unmount pool
	cp right "$pool/data.0"
	refuses_mount "one of the two is an old copy" pool
	refuses "would be given a new tag" fsck.leasefs -n --retag "$pool"
	fsck.leasefs -y --retag "$pool" || status=$?
	[ "$status" -eq 1 ] || fail "fsck.leasefs --retag ended with $status"
	pool_mount pool
	[ "$(cat "$MNT/dir/file7")" = 7 ] || fail "the copy is not what it was"
}

# A superblock of another version, or with features that we do not know, is valid but not ours.
case_foreign_version() {
	need_pool
	need_program forge_super
	make_filled_pool pool
	pool_spoiled pool
	forge_super "$(pool_path pool)/meta" major 77
	refuses_mount "version|format" pool
	if command -v fsck.leasefs >/dev/null 2>&1; then
		refuses "version|format" fsck.leasefs -n "$(pool_path pool)"
	fi
	forge_super "$(pool_path pool)/meta" major 1
	forge_super "$(pool_path pool)/meta" incompat 0x8000000000000000
	refuses_mount "feature|version" pool
	forge_super "$(pool_path pool)/meta" incompat 1 # as mkfs.leasefs had it
	forge_super "$(pool_path pool)/meta" ro_compat 0x4000
	if pool_try pool; then
		MNT=$(mount_path pool)
		touch "$CASE_DIR/pool.mounted"
		refuses "read-only" touch "$MNT/new"
		[ "$(cat "$MNT/dir/file7")" = 7 ] || fail "unreadable"
		pool_unmount pool
	else
		refuses_mount "feature|read-only|version" pool
		pool_mount pool -o ro
		[ "$(cat "$MNT/dir/file7")" = 7 ] || fail "unreadable"
		pool_unmount pool
	fi
	forge_super "$(pool_path pool)/meta" ro_compat 0
	forge_super "$(pool_path pool)/meta" compat 0x10
	pool_mount pool
	[ "$(cat "$MNT/dir/file9")" = 9 ] || fail "an unknown compat feature is in the way"
}

# Flips single bits in metadata that is in use. Whatever the bit: a mount that is refused with a
# sentence, or files that are read right or say EUCLEAN; and fsck finds it. Never a crash, never a
# wrong byte.
case_flipped_bits() {
	local flip status pid mounted=0 refused=0 found=0
	need_pool
	make_filled_pool pool
	pool_spoiled pool
	cat >"$CASE_DIR/flip.py" <<-'PYTHON'
		import random, sys
		path, seed = sys.argv[1], int(sys.argv[2])
		random.seed(seed)
		with open(path, "r+b") as meta:
		    data = meta.read()
		    used = [b for b in range(0, len(data), 4096) if any(data[b:b + 4096])]
		    block = used[seed % len(used)] if seed < len(used) else random.choice(used)
		    places = [p for p in range(block, block + 4096) if data[p]] or [block]
		    place, bit = random.choice(places), random.randrange(8)
		    meta.seek(place)
		    meta.write(bytes([data[place] ^ (1 << bit)]))
		print("seed %d: block %d byte %d bit %d" % (seed, block // 4096, place % 4096, bit))
	PYTHON
	cat >"$CASE_DIR/read.py" <<-'PYTHON'
		import errno, os, sys
		top, bad, good = sys.argv[1], 0, 0
		def check(path, wanted):
		    global bad, good
		    try:
		        with open(path, "rb") as f:
		            data = f.read()
		    except OSError as error:
		        assert error.errno in (errno.EUCLEAN, errno.ENOENT, errno.EIO), error
		        assert error.errno != errno.ENOENT or not listed, "lost without a word: " + path
		        bad += 1
		        return
		    assert data == wanted, "wrong bytes in " + path
		    good += 1
		listed = True
		try:
		    listed = len(os.listdir(os.path.join(top, "dir"))) == 301
		except OSError as error:
		    assert error.errno in (errno.EUCLEAN, errno.EIO), error
		    listed = False
		for i in range(1, 301):
		    check(os.path.join(top, "dir", "file%d" % i), b"%d\n" % i)
		print("%d read, %d unreadable" % (good, bad))
	PYTHON
	for flip in $(seq 0 39); do
		rm -rf "$(pool_path flipped)"
		cp -a "$(pool_path pool)" "$(pool_path flipped)"
		python3 "$CASE_DIR/flip.py" "$(pool_path flipped)/meta" "$flip"
		if command -v fsck.leasefs >/dev/null 2>&1; then
			status=0
			timeout 60 fsck.leasefs -n "$(pool_path flipped)" >"$CASE_DIR/flip.fsck" 2>&1 ||
				status=$?
			[ "$status" -lt 16 ] || fail "fsck: status $status: $(cat "$CASE_DIR/flip.fsck")"
			[ "$status" -eq 0 ] || found=$((found + 1))
		fi
		: >"$CASE_DIR/flipped.log"
		if pool_try flipped; then
			mounted=$((mounted + 1))
			pid=$(cat "$CASE_DIR/flipped.pid")
			timeout 60 python3 "$CASE_DIR/read.py" "$(mount_path flipped)" ||
				fail "reading: $(cat "$CASE_DIR/flipped.log")"
			! is_gone "$pid" || fail "the daemon died: $(cat "$CASE_DIR/flipped.log")"
			unmount_below "$(mount_path flipped)"
			wait_until 20 is_gone "$pid" || fail "the daemon does not end"
		else
			status=0
			wait "$(cat "$CASE_DIR/flipped.pid")" || status=$?
			[ "$status" -lt 124 ] || fail "died with $status: $(cat "$CASE_DIR/flipped.log")"
			[ -s "$CASE_DIR/flipped.log" ] || fail "refused without a word"
			refused=$((refused + 1))
		fi
	done
	echo "40 flips: $mounted mounted, $refused refused, $found found by fsck.leasefs"
}

case_pool_in_use() {
	local sum
	need_pool
	pool_make pool 64M
	pool_mount pool
	echo content >"$MNT/file"
	mkdir "$CASE_DIR/second.mnt"
	refuses "in use|busy|another" timeout 60 leasefs -f "$(pool_path pool)" \
		"$CASE_DIR/second.mnt" -o lock_wait_ms=200
	refuses "$(cat "$CASE_DIR/pool.pid")" timeout 60 leasefs -f "$(pool_path pool)" \
		"$CASE_DIR/second.mnt" -o lock_wait_ms=200
	refuses "in use|busy|another|mounted" timeout 60 mkfs.leasefs -f -s 64M "$(pool_path pool)"
	if command -v fsck.leasefs >/dev/null 2>&1; then
		refuses "in use|busy|another|mounted" timeout 60 fsck.leasefs -y "$(pool_path pool)"
	fi
	[ "$(cat "$MNT/file")" = content ] || fail "the first mount suffered"
}

case_long_names() {
	local name255 name256
	use_mount 64M
	name255=$(printf 'n%.0s' $(seq 255))
	name256=n$name255
	echo content >"$MNT/$name255"
	[ "$(cat "$MNT/$name255")" = content ]
	refuses "too long" touch "$MNT/$name256"
	refuses "too long" mkdir "$MNT/$name256"
	refuses "too long" mv "$MNT/$name255" "$MNT/$name256"
	refuses "too long" ln "$MNT/$name255" "$MNT/$name256"
	refuses "too long" ln -s target "$MNT/$name256"
	refuses "too long" stat "$MNT/$name256"
	mkdir "$MNT/$name255.d" 2>/dev/null && fail "257 bytes"
	ln -s "$(printf 't%.0s' $(seq 4095))" "$MNT/longest"
	[ "$(readlink "$MNT/longest" | wc -c)" -eq 4096 ] || fail "a target of 4095 bytes"
	refuses "too long" ln -s "$(printf 't%.0s' $(seq 4096))" "$MNT/longer"
	python3 - "$MNT" <<-'PYTHON'
		import errno, os, sys
		top = sys.argv[1]
		# Any byte but / and NUL is a name; 255 of them at most.
		odd = bytes(b for b in range(1, 256) if b != ord("/"))[:255]
		path = top.encode() + b"/" + odd
		os.close(os.open(path, os.O_CREAT | os.O_EXCL))
		assert odd in os.listdir(top.encode())
		os.unlink(path)
		for name, value, wanted in (("user." + "x" * 250, b"1", None),
		                            ("user." + "x" * 251, b"1", errno.ERANGE),
		                            ("user.big", bytes(65537), errno.E2BIG),
		                            ("nonsense.name", b"1", errno.EOPNOTSUPP)):
		    target = os.path.join(top, "n" * 255)
		    try:
		        os.setxattr(target, name, value)
		        assert wanted is None, name
		    except OSError as error:
		        assert error.errno == wanted, (name, error)
	PYTHON
}

case_no_permission_on_pool() {
	need_pool
	need_root
	need_program setpriv
	pool_make pool 64M
	mkdir -m 777 "$CASE_DIR/nobody.mnt"
	refuses "permission denied|not permitted" as_nobody timeout 30 leasefs -f \
		"$(pool_path pool)" "$CASE_DIR/nobody.mnt"
	refuses "permission denied|not permitted|exists" as_nobody timeout 30 \
		mkfs.leasefs -f -s 64M "$(pool_path pool)"
	if command -v fsck.leasefs >/dev/null 2>&1; then
		refuses "permission denied|not permitted" as_nobody timeout 30 \
			fsck.leasefs -n "$(pool_path pool)"
	fi
	# The metadata is for nobody else, whatever the umask was.
	[ "$(($(stat -c 0%a "$(pool_path pool)/meta") & 077))" -eq 0 ] || fail "meta can be read"
}

case_mount_point_not_empty() {
	need_pool
	pool_make pool 64M
	mkdir "$(mount_path pool)"
	echo below >"$(mount_path pool)/file"
	refuses_mount "not empty" pool
	[ "$(cat "$(mount_path pool)/file")" = below ]
	pool_mount pool -o nonempty
	[ ! -e "$MNT/file" ] || fail "the mount does not cover the directory"
	pool_unmount pool
	[ "$(cat "$MNT/file")" = below ]
}

case_mount_point_not_a_directory() {
	need_pool
	pool_make pool 64M
	echo content >"$CASE_DIR/file"
	refuses "not a directory" timeout 30 leasefs -f "$(pool_path pool)" "$CASE_DIR/file"
	refuses "no such (file|directory)" timeout 30 leasefs -f "$(pool_path pool)" "$CASE_DIR/missing"
	[ "$(cat "$CASE_DIR/file")" = content ]
	# Also when the daemon goes to the background: the error is the command's.
	refuses "not a directory" timeout 30 leasefs "$(pool_path pool)" "$CASE_DIR/file"
	pool_check pool
}

# A mount point inside the pool would lock itself out.
case_mount_point_in_the_pool() {
	need_pool
	pool_make pool 64M
	refuses "pool|inside|not empty" timeout 30 leasefs -f "$(pool_path pool)" "$(pool_path pool)"
	refuses "pool|inside|not empty|permission" timeout 30 leasefs -f "$(pool_path pool)" \
		"$(pool_path pool)/run"
}

case_hugetlbfs_without_pages() {
	local free
	need_pool
	need_root
	mkdir "$CASE_DIR/huge"
	mount -t hugetlbfs none "$CASE_DIR/huge" 2>/dev/null || skip "no hugetlbfs here"
	free=$(awk '/^HugePages_Free:/ { print $2 }' /proc/meminfo)
	[ "$free" -le 64 ] || skip "$free huge pages are free"
	refuses "huge|no space|memory" timeout 30 mkfs.leasefs -s 512M "$CASE_DIR/huge/pool"
	[ -z "$(find "$CASE_DIR/huge" -type f)" ] || fail "half a pool stays behind"
}

# Nothing of a pool is opened through a symbolic link: neither to read nor to destroy.
case_planted_symlink() {
	local name
	need_pool
	make_filled_pool pool
	pool_spoiled pool
	echo victim >"$CASE_DIR/victim"
	for name in meta data.0; do
		[ -e "$(pool_path pool)/$name" ] || fail "the pool has no $name"
		mv "$(pool_path pool)/$name" "$CASE_DIR/kept"
		ln -s "$CASE_DIR/kept" "$(pool_path pool)/$name"
		refuses_mount "symbolic link|symlink" pool
		ln -sf "$CASE_DIR/victim" "$(pool_path pool)/$name"
		refuses_mount "symbolic link|symlink" pool
		refuses "." mkfs.leasefs -f -s 16M "$(pool_path pool)"
		rm "$(pool_path pool)/$name"
		mv "$CASE_DIR/kept" "$(pool_path pool)/$name"
	done
	[ "$(cat "$CASE_DIR/victim")" = victim ] || fail "the victim was written"
	mkdir "$CASE_DIR/elsewhere"
	rm -rf "$(pool_path pool)/run"
	ln -s "$CASE_DIR/elsewhere" "$(pool_path pool)/run"
	refuses_mount "symbolic link|symlink|not a directory" pool
	[ -z "$(ls -A "$CASE_DIR/elsewhere")" ] || fail "wrote through run/"
}

case_bad_options() {
	need_pool
	pool_make pool 64M
	refuses_mount "nonsense" pool -o nonsense
	refuses_mount "durability" pool -o durability=perhaps
	refuses_mount "unknown|usage|option" pool --nonsense
	refuses "usage" timeout 30 leasefs
	refuses "usage" timeout 30 leasefs "$(pool_path pool)"
	for size in 0 -1 12x 1 99999999999999999999 ''; do
		refuses "size|invalid|number|small|large|least|between|range|usage" \
			mkfs.leasefs -s "$size" "$(pool_path new)"
	done
	refuses "domains" mkfs.leasefs --domains=many -s 64M "$(pool_path new)"
	refuses "usage|pool" mkfs.leasefs
	[ ! -e "$(pool_path new)" ] || fail "a refused mkfs.leasefs left something behind"
	leasefs --help >/dev/null
	leasefs --version >/dev/null
	mkfs.leasefs --help >/dev/null
}

# Every refusal says what would have been right.
case_refusals_help() {
	need_pool
	pool_make pool 64M
	refuses "'16E' is no size.*K, M, G or T" mkfs.leasefs -s 16E "$(pool_path new)"
	refuses "POOL is the name of a directory" mkfs.leasefs -s 64M ""
	refuses "DAX device or a file" mkfs.leasefs --data= -s 64M "$(pool_path new)"
	refuses "usage" fsck.leasefs -n ""
	refuses "POOL is an empty name" timeout 30 leasefs "" "$CASE_DIR"
	refuses "MOUNTPOINT is an empty name" timeout 30 leasefs "$(pool_path pool)" ""
	refuses_mount "fsname= needs" pool -o fsname=
	[ ! -e "$(pool_path new)" ] || fail "a refused mkfs.leasefs left something behind"
	pool_mount pool
	# A number of another filesystem's inode would be some other file's here.
	refuses "$0 is not in the mount $MNT" leasectl "$MNT" recall "$0"
	refuses "$0 is not in the mount $MNT" leasectl "$(pool_path pool)" leases "$0"
	refuses "no session 77" leasectl "$MNT" release 77
}

# A pool that cannot be written is mounted with -o ro, and said to be.
case_read_only_below() {
	need_root
	need_pool
	unshare --mount true 2>/dev/null || skip "no mount namespaces here"
	pool_make pool 64M
	# shellcheck disable=SC2016 # expands inside
	in_namespace '
		. "$HERE/mount.sh"
		mount --bind "$(pool_path pool)" "$(pool_path pool)"
		mount -o remount,bind,ro "$(pool_path pool)"
		refuses_mount "-o ro mounts it" pool
		pool_mount pool -o ro
		refuses "read-only" touch "$MNT/new"
		pool_unmount pool
	'
}

# Descriptors 0 to 2 may be closed: no region, nor anything else of the pool's, takes their places.
case_closed_descriptors() {
	local pid fd target
	need_pool
	mkfs.leasefs -s 64M "$(pool_path pool)" <&- >&- 2>&-
	echo pool >>"$CASE_DIR/pools"
	fsck.leasefs -y "$(pool_path pool)" <&- >&- 2>&-
	pool_check pool
	mkdir "$(mount_path pool)"
	leasefs -f "$(pool_path pool)" "$(mount_path pool)" <&- >&- 2>&- &
	pid=$!
	echo $pid >"$CASE_DIR/pool.pid"
	wait_until 30 mounted_or_gone "$(mount_path pool)" $pid
	is_mounted "$(mount_path pool)" || fail "did not mount"
	touch "$CASE_DIR/pool.mounted"
	for fd in 0 1 2; do
		target=$(readlink "/proc/$pid/fd/$fd")
		[ "$target" = /dev/null ] || fail "descriptor $fd is $target"
	done
}

# ulimit -f: an error in words, not SIGXFSZ in the middle of it.
case_limit_on_file_sizes() {
	need_pool
	# shellcheck disable=SC2016 # expands inside
	refuses "too large" bash -c 'ulimit -f 100; exec mkfs.leasefs -s 64M "$1"' bash \
		"$(pool_path new)"
	[ -z "$(find "$(pool_path new)" -type f 2>/dev/null)" ] || fail "half a pool stays behind"
	pool_make pool 64M
	mkdir "$(mount_path pool)"
	(
		ulimit -f 0
		exec leasefs -f "$(pool_path pool)" "$(mount_path pool)"
	) > >(cat >"$CASE_DIR/pool.log") 2>&1 & # the limit is for its own files
	echo $! >"$CASE_DIR/pool.pid"
	wait_until 30 mounted_or_gone "$(mount_path pool)" $!
	is_gone $! || { # what it writes stays within the files that are there
		touch "$CASE_DIR/pool.mounted"
		MNT=$(mount_path pool)
		seeded_file "$MNT/file" 3000000 1
		hold --seconds 1 "$MNT/file" || true # has its pin lines or hears why not
		! is_gone "$(cat "$CASE_DIR/pool.pid")" || fail "the daemon died"
		seeded_file "$CASE_DIR/same" 3000000 1
		cmp "$CASE_DIR/same" "$MNT/file"
		return 0
	}
	grep -q "too large" "$CASE_DIR/pool.log" || fail "ended: $(cat "$CASE_DIR/pool.log")"
}

# mkfs destroys a pool only with -f, and what is no pool never.
case_mkfs_is_careful() {
	local sum
	need_pool
	make_filled_pool pool
	sum=$(pool_sum pool)
	refuses "exists|already|-f" mkfs.leasefs -s 64M "$(pool_path pool)"
	[ "$(pool_sum pool)" = "$sum" ] || fail "a refused mkfs.leasefs changed the pool"
	mkdir "$(pool_path home)"
	echo precious >"$(pool_path home)/thesis"
	refuses "not empty|not a (leasefs )?pool" mkfs.leasefs -s 64M "$(pool_path home)"
	refuses "not empty|not a (leasefs )?pool" mkfs.leasefs -f -s 64M "$(pool_path home)"
	[ "$(ls -A "$(pool_path home)")" = thesis ] || fail "a refused mkfs.leasefs left things"
	mkfs.leasefs -f -s 64M "$(pool_path pool)"
	pool_mount pool
	[ -z "$(ls -A "$MNT")" ] || fail "not new"
}
