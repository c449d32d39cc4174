# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
#
# documents.sh - programs that were written from docs/format.md and docs/lease-protocol.md alone.

DOCUMENTS=$SOURCE/tests/documents

tree() { python3 "$DOCUMENTS/tree_on_mount.py" "$@"; }
read_pool() { python3 "$DOCUMENTS/read_pool.py" "$@"; }

# reads_as_shown NAME: what the mount showed is in ./shown.
reads_as_shown() {
	read_pool "$(pool_path "$1")" >as_read
	tree compare shown as_read
}

# A reader of pools finds each inode, name, attribute, extent and byte that the mount showed.
case_read_pool() {
	need_pool
	pool_make pool 256M
	pool_mount pool
	tree fill "$MNT"
	refuses "in use by process" read_pool "$(pool_path pool)"
	tree show "$MNT" >shown
	pool_unmount pool
	reads_as_shown pool
	read_pool "$(pool_path pool)" --tree >tree
	grep -q " -> t*/*t*$" tree
	pool_make copy 256M
	pool_mount copy
	read_pool "$(pool_path pool)" --export "$MNT/exported"
	tree show-content "$MNT/exported" >shown_again
	tree compare-content shown shown_again
	read_pool "$(pool_path pool)" --cat /links99 | grep -qx "a file of many names"
}

# The same after a kill: the log is replayed, files without a name are there. A region for each owner;
# trees and tables that are larger.
case_read_pool_of_the_dead() {
	need_pool
	pool_make pool 256M --domains=uid --meta-size=8M # so that the log wraps
	pool_mount pool
	tree fill "$MNT"
	tree fill-many "$MNT"
	exec 5<>"$MNT/nameless"
	rm "$MNT/nameless"
	seq 30000 >&5
	tree churn "$MNT"
	tree show "$MNT" 5 >shown
	pool_kill pool
	exec 5>&-
	reads_as_shown pool
	read_pool "$(pool_path pool)" --log >replayed
	cat replayed
	! grep -q " 0 records" replayed || fail "nothing was to be replayed"
	grep -q "up to 3 levels" replayed || fail "no tree is high"
}

# A machine that went down: of a pool on page cache what was synced is there, as the next mount has it.
case_read_pool_of_another_boot() {
	need_pool
	# shellcheck disable=SC2034 # see mount.sh
	POOLS=$CASE_DIR
	truncate -s 64M elsewhere
	pool_make pool 64M --data="$CASE_DIR/elsewhere"
	pool_mount pool -o durability=relaxed
	cp -r "$SOURCE/tests/posix" "$MNT/"
	sync "$MNT/posix/run"
	cp -r "$SOURCE/docs" "$MNT/"
	pool_kill pool
	# The journal header's `boot_id`, which no checksum covers.
	printf 'an older boot id' | dd of="$(pool_path pool)/meta" bs=1 seek=$((4096 + 256)) \
		conv=notrunc status=none
	read_pool "$(pool_path pool)" >as_read
	pool_mount pool
	tree show "$MNT" >shown
	tree compare shown as_read
	grep -q /posix/documents.sh as_read || fail "what was synced is gone"
}

# What is damaged is refused, and what was changed is seen.
case_read_pool_damaged() {
	local damaged
	need_pool
	pool_make pool 16M
	pool_mount pool
	seeded_file "$MNT/file" 100000 1
	tree show "$MNT" >shown
	pool_unmount pool
	pool_spoiled pool
	reads_as_shown pool
	cp "$(pool_path pool)/data.0" data.0
	sed -i 's/1.1000500/1.1000501/' "$(pool_path pool)/data.0"
	refuses "sha256 is" reads_as_shown pool
	for damaged in 3:"there is no tag" 20:"there is no tag" 64:"is an old copy"; do
		printf x | dd of="$(pool_path pool)/data.0" bs=1 seek=$(((16 << 20) + ${damaged%%:*})) \
			conv=notrunc status=none
		refuses "${damaged#*:}" read_pool "$(pool_path pool)"
		cp data.0 "$(pool_path pool)/data.0"
	done
	reads_as_shown pool
	PYTHONPATH=$DOCUMENTS python3 - "$(pool_path pool)" <<-'PYTHON'
		import sys
		from read_pool import BLOCK, Damaged, Everything, Pool

		def flipped(path, *offsets):
		    """What the reader says of a pool with the lowest bit of these bytes changed."""
		    def flip():
		        with open(path + "/meta", "r+b") as file:
		            for offset in offsets:
		                file.seek(offset)
		                byte = file.read(1)[0]
		                file.seek(offset)
		                file.write(bytes([byte ^ 1]))
		    flip()
		    try:
		        Everything(Pool(path))
		    except Damaged as reason:
		        return str(reason)
		    finally:
		        flip()

		path = sys.argv[1]
		pool = Pool(path)
		tables = {table + block * BLOCK for _, table, _ in pool.spaces.values() if table
		          for block in range(252)}
		objects = [BLOCK, pool.superblock.heap_offset, *sorted(pool.owned.keys() - tables)]
		objects += [table + 256 * number for _, table, _ in pool.spaces.values() if table
		            for number in (1, 2)]
		assert len(objects) >= 8, objects
		for offset in objects:
		    for at in (0, 20, 60):
		        reason = flipped(path, offset + at)
		        assert reason and ("checksum" in reason or "no LFS" in reason), (offset, at, reason)
		# Of the superblock there are two.
		both = 100, pool.superblock.meta_bytes - BLOCK + 100
		assert flipped(path, both[0]) is None and flipped(path, both[1]) is None
		assert "no superblock" in flipped(path, *both)
	PYTHON
}

# A client of the lease protocol finds everything as its page says, over a death of the daemon too.
case_lease_client() {
	local line words answers story status=0
	need_pool
	pool_make pool 64M
	pool_mount pool -o policy=recall:400ms/busy,grace=2500ms
	coproc STORY { python3 "$DOCUMENTS/lease_story.py" "$MNT"; }
	# Of one's own: bash takes the coprocess' away when it ends.
	exec {words}<&"${STORY[0]}" {answers}>&"${STORY[1]}"
	story=$STORY_PID
	while read -r line <&"$words"; do
		echo "$line"
		[ "$line" = restart ] || continue
		pool_kill pool
		pool_mount pool -o policy=recall:400ms/busy,grace=2500ms
		echo restarted >&"$answers"
	done
	wait "$story" || status=$?
	[ "$status" -eq 0 ] || fail "status $status"
}

# What that page says of structures and numbers is what the header says.
case_protocol_numbers() {
	python3 "$DOCUMENTS/check_numbers.py" "$SOURCE" >numbers.c
	grep -c _Static_assert numbers.c
	cc -fsyntax-only -I"$SOURCE/include" numbers.c
	sed 's/== 64,/== 68,/' numbers.c >planted.c
	! cc -fsyntax-only -I"$SOURCE/include" planted.c 2>planted.log || fail "compiles whatever it says"
	grep -q "assertion failed" planted.log
}
