# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
#
# overlay.sh - leasefs as the upper layer of overlayfs, which is what containers stand on.
#
# What overlayfs asks of an upper layer (fs/overlayfs/super.c, ovl_make_workdir()) is stricter for
# one that revalidates its names, as FUSE does: types in directories, RENAME_WHITEOUT and extended
# attributes, or it is not mounted at all. Of O_TMPFILE and file handles it makes use where they are.
#
# LOWER, a tmpfs, lies under MNT/upper; MERGED shows both. Everything is mounted below CASE_DIR.

LOWER=$CASE_DIR/lower
MERGED=$CASE_DIR/merged

# renames FLAGS FROM TO: renameat2(2); prints the error's name if there is one.
renames() {
	python3 - "$@" <<-'PYTHON'
		import ctypes, errno, os, sys
		call = ctypes.CDLL(None, use_errno=True).renameat2
		flags = sum({"noreplace": 1, "exchange": 2, "whiteout": 4}[f] for f in sys.argv[1].split("+"))
		if call(-100, os.fsencode(sys.argv[2]), -100, os.fsencode(sys.argv[3]), flags):
		    sys.exit(errno.errorcode[ctypes.get_errno()])
	PYTHON
}

# is_whiteout FILE [OWNER:GROUP]
is_whiteout() {
	local is
	is=$(stat -c '%F %t:%T %a %u:%g' "$1") || fail "no whiteout at $1"
	[ "${is% *}" = "character special file 0:0 0" ] || fail "no whiteout at $1: $is"
	[ "${is##* }" = "${2:-${is##* }}" ] || fail "whose whiteout is $1? $is"
}

need_overlay() {
	need_root
	need_pool
	need_program setfattr
	need_program python3
	grep -qw overlay /proc/filesystems || modprobe overlay 2>/dev/null ||
		skip "this kernel has no overlayfs"
	mkdir "$LOWER" "$MERGED"
	mount -t tmpfs -o mode=755 tmpfs "$LOWER" || skip "no tmpfs can be mounted here"
	mkdir "$LOWER/try" "$LOWER/upper" "$LOWER/work"
	mount -t overlay overlay "$MERGED" \
		-o "lowerdir=$LOWER/try,upperdir=$LOWER/upper,workdir=$LOWER/work" ||
		skip "no overlay can be mounted here, not even on tmpfs"
	umount "$MERGED"
	rm -r "${LOWER:?}"/*
}

# overlay_on [,OPTION...]
overlay_on() {
	mkdir -p "$MNT/upper" "$MNT/work"
	mount -t overlay overlay "$MERGED" \
		-o "lowerdir=$LOWER,upperdir=$MNT/upper,workdir=$MNT/work${1:-}" ||
		fail "no overlay with ${1:-no options} on leasefs"
}

overlay_off() { umount "$MERGED"; }

# What was asked for was not silently left out.
overlay_has() {
	awk -v m="$MERGED" '$5 == m { print $NF }' /proc/self/mountinfo | grep -qw -- "$1" ||
		fail "overlayfs went on without $1"
}

# The daemon dies and comes again; the overlay on it is a dead one, and is mounted anew.
overlay_after_death() {
	pool_kill pool
	umount -l "$MERGED"
	pool_check pool
	pool_mount pool
	overlay_on "${1:-}"
}

# ---- whiteouts by themselves -----------------------------------------------------------------

# RENAME_WHITEOUT as the kernel's own filesystems have it: this runs on them too (--dir).
case_whiteouts() {
	local flags
	need_root
	need_program setpriv
	need_program python3
	use_mount 64M
	mkdir -m 1777 "$MNT/shared"
	mkdir -m 2777 "$MNT/group"
	chgrp 23456 "$MNT/group"
	cd "$MNT" || exit

	echo 1 >a
	renames whiteout a b
	is_whiteout a 0:0
	[ "$(cat b)" = 1 ]
	refuses "no such device" cat a
	echo 2 >c
	renames whiteout c b # over another
	is_whiteout c 0:0
	[ "$(cat b)" = 2 ]
	[ "$(renames noreplace+whiteout b a 2>&1)" = EEXIST ] || fail "over what is there"
	[ "$(renames exchange+whiteout a b 2>&1)" = EINVAL ] || fail "together with an exchange"
	renames noreplace+whiteout b d
	is_whiteout b 0:0

	mkdir -p dir/sub to
	touch dir/sub/file
	renames whiteout dir/sub to/sub
	is_whiteout dir/sub 0:0
	[ -f to/sub/file ]
	[ "$(stat -c %h dir),$(stat -c %h to)" = 2,3 ] || fail "link counts of directories"
	refuses "directory not empty|ENOTEMPTY" rmdir dir
	[ "$(renames whiteout to to/sub 2>&1)" = EINVAL ] || fail "a directory went below itself"
	mv d dir/sub # a whiteout is replaced as any name

	# A whiteout is its maker's, who needs no right to make devices.
	touch shared/file group/file
	chown 65534:65534 shared/file group/file
	HERE=$HERE as_nobody bash -euc '. "$HERE/mount.sh"; . "$HERE/overlay.sh"
		renames whiteout shared/file shared/gone
		renames whiteout group/file group/gone
		! cat shared/file' 2>/dev/null || fail "as nobody"
	is_whiteout shared/file 65534:65534
	is_whiteout group/file 65534:23456
	if command -v setfacl >/dev/null 2>&1; then
		setfacl -d -m u:65534:rwx dir
		touch dir/file
		renames whiteout dir/file dir/moved
		is_whiteout dir/file
	fi
	for flags in whiteout noreplace+whiteout; do
		[ "$(renames "$flags" missing other 2>&1)" = ENOENT ] || fail "$flags of nothing"
	done
	renames whiteout shared/gone shared/gone || fail "to itself"
	[ -f shared/gone ] || fail "to itself"
	cd "$CASE_DIR" || exit
	[ -n "$DIR" ] || {
		refuses "EBUSY" renames whiteout "$MNT/.leasefs" "$MNT/x"
		pool_unmount pool
		pool_mount pool
		is_whiteout "$MNT/shared/file" 65534:65534
		is_whiteout "$MNT/dir/file"
	}
}

# The lease on a file that is replaced is in nobody's way, and its blocks stay while it lasts.
case_whiteout_over_a_leased_file() {
	local holder free
	need_pool
	need_program python3
	command -v hold >/dev/null || fail "$BUILD holds no hold"
	pool_make pool 256M
	pool_mount pool
	seeded_file "$MNT/new" 100000 1
	sync
	free=$(stat -f -c %f "$MNT")
	seeded_file "$MNT/leased" $((32 << 20)) 2
	mkfifo "$CASE_DIR/commands"
	hold --pin "$MNT/leased" <"$CASE_DIR/commands" >"$CASE_DIR/holder" 2>&1 &
	holder=$!
	exec 5>"$CASE_DIR/commands"
	wait_until 10 grep -q pinned "$CASE_DIR/holder" || fail "$(cat "$CASE_DIR/holder")"
	renames whiteout "$MNT/new" "$MNT/leased"
	is_whiteout "$MNT/new"
	seeded_file "$CASE_DIR/same" 100000 1
	cmp "$CASE_DIR/same" "$MNT/leased"
	! grep -q recall "$CASE_DIR/holder" || fail "the holder was asked"
	[ "$(stat -f -c %f "$MNT")" -lt $((free - 8000)) ] || fail "the leased blocks were freed"
	exec 5>&-
	wait "$holder" || fail "the holder: $(cat "$CASE_DIR/holder")"
	# shellcheck disable=SC2317 # called by wait_until
	all_back() { [ "$(stat -f -c %f "$MNT")" -ge $((free - 100)) ]; }
	wait_until 10 all_back || fail "blocks stay away: $free, then $(stat -f -c %f "$MNT")"
}

# ---- overlays --------------------------------------------------------------------------------

make_lower() {
	mkdir -p "$LOWER/dir/sub/deep" "$LOWER/full" "$LOWER/opaque"
	for i in $(seq 30); do
		seeded_file "$LOWER/full/file$i" $((i * 1000)) "$i"
	done
	seeded_file "$LOWER/dir/file" 5000 31
	seeded_file "$LOWER/dir/sub/deep/file" 5000 32
	touch "$LOWER/opaque/hidden" "$LOWER/removed" "$LOWER/moved"
	echo linked >"$LOWER/link1"
	ln "$LOWER/link1" "$LOWER/link2"
	ln -s dir/file "$LOWER/symlink"
	mkfifo "$LOWER/fifo"
}

# Names: whiteouts, opaque and redirected directories, links, and all of it after remounts and the
# daemon's death.
case_names() {
	local options=,redirect_dir=on,index=on,xino=on sum i
	need_overlay
	pool_make pool 128M
	pool_mount pool
	make_lower
	overlay_on "$options"
	overlay_has redirect_dir=on
	overlay_has index=on
	cd "$MERGED" || exit
	rm removed
	is_whiteout "$MNT/upper/removed"
	mv moved there
	is_whiteout "$MNT/upper/moved"
	[ -f there ] && [ ! -e moved ]
	mv dir/sub redirected
	is_whiteout "$MNT/upper/dir/sub"
	getfattr -n trusted.overlay.redirect "$MNT/upper/redirected" >/dev/null
	[ "$(stat -c %s redirected/deep/file)" = 5000 ] || fail "what is below a moved directory"
	rm -r opaque
	mkdir opaque
	getfattr -n trusted.overlay.opaque "$MNT/upper/opaque" >/dev/null
	[ -z "$(ls -A opaque)" ] || fail "an opaque directory shows what is below"
	[ "$(stat -c %h:%i link1)" = "$(stat -c %h:%i link2)" ] || fail "links"
	echo more >>link1
	[ "$(cat link2)" = "$(printf 'linked\nmore')" ] || fail "links are broken by the copy"
	ln link1 link3
	rm link2
	rename_over=full/file1
	seeded_file new 777 40
	mv new "$rename_over"
	for i in $(seq 2 2 30); do
		rm "full/file$i"
	done
	[ "$(find full -type f | wc -l)" = 15 ] || fail "a directory of both layers"
	rm -r full/file3* && mkdir full/file2 && mv full/file5 full/file2/file5
	mv symlink fifo full/
	cd "$CASE_DIR" || exit
	sum=$(tree_sum "$MERGED")
	overlay_off
	overlay_on "$options"
	[ "$(tree_sum "$MERGED")" = "$sum" ] || fail "it differs when mounted again"
	overlay_off
	pool_unmount pool
	pool_mount pool
	overlay_on "$options"
	[ "$(tree_sum "$MERGED")" = "$sum" ] || fail "it differs after a remount below it"
	overlay_after_death "$options"
	[ "$(tree_sum "$MERGED")" = "$sum" ] || fail "it differs after the daemon's death"
	overlay_off
	overlay_on "$options" # see case_second_names
	rm "$MERGED/link1"
	rm "$MERGED/link3"
	rm -r "${MERGED:?}"/*
	[ -z "$(ls -A "$MERGED")" ] || fail "something is left"
	overlay_off
	umount "$LOWER"
}

# overlayfs keeps one name of a file in the upper layer for all that it shows of it, and asks any FUSE
# filesystem whether that name is still there (ovl_dentry_revalidate_common() in Linux 6.18). When it
# is not, the others are ESTALE as long as the inode is in memory: what is on media is right.
case_second_names() {
	need_overlay
	pool_make pool 64M
	pool_mount pool
	overlay_on
	# Nobody looks at the second name before the first has gone: what git and dpkg do.
	for i in 1 2 3; do
		echo "$i" >"$MERGED/first"
		ln "$MERGED/first" "$MERGED/second$i"
		rm "$MERGED/first"
		[ "$(cat "$MERGED/second$i")" = "$i" ] || fail "second$i"
	done
	echo seen >"$MERGED/first"
	ln "$MERGED/first" "$MERGED/second"
	[ "$(stat -c %h "$MERGED/second")" = 2 ]
	mv "$MERGED/first" "$MERGED/third"
	[ "$(cat "$MERGED/second")" = seen ] || fail "after a rename"
	rm "$MERGED/third"
	if [ "$(cat "$MERGED/second" 2>&1)" = seen ]; then
		echo "this kernel keeps the second name"
	else
		refuses "stale file handle" cat "$MERGED/second"
		[ "$(cat "$MNT/upper/second")" = seen ] || fail "the upper layer is wrong"
		overlay_off
		overlay_on
	fi
	[ "$(cat "$MERGED/second")" = seen ] || fail "the second name is lost"
	overlay_off
	umount "$LOWER"
}

# Bytes and attributes: copies of large and of sparse files, writes, mappings, attributes, ACLs.
case_copy_up() {
	local seen
	need_overlay
	pool_make pool 512M
	pool_mount pool
	seeded_file "$LOWER/large" $((48 << 20)) 50
	truncate -s 200M "$LOWER/sparse"
	echo end >>"$LOWER/sparse"
	for seen in mapped private punched metadata attributes; do
		seeded_file "$LOWER/$seen" 1000000 51
	done
	setfattr -n trusted.mine -v lower "$LOWER/attributes"
	chmod 755 "$LOWER/attributes"
	for seen in 2755 4755 6711; do
		echo "$seen" >"$LOWER/set$seen"
		chown 65534:65534 "$LOWER/set$seen"
		chmod "$seen" "$LOWER/set$seen"
	done
	overlay_on ,metacopy=on,redirect_dir=on
	overlay_has metacopy=on
	cp "$LOWER/large" "$CASE_DIR/large"
	for seen in "$CASE_DIR/large" "$MERGED/large"; do
		printf middle | dd of="$seen" bs=1 seek=30000000 conv=notrunc status=none
		printf end >>"$seen"
	done
	cmp "$CASE_DIR/large" "$MERGED/large"
	cmp "$CASE_DIR/large" "$MNT/upper/large"
	printf start | dd of="$MERGED/sparse" conv=notrunc status=none
	[ "$(stat -c %b "$MNT/upper/sparse")" -lt 4096 ] || fail "holes were filled by the copy"
	[ "$(tail -c 4 "$MERGED/sparse")" = end ] || fail "the end of the sparse file"

	python3 - "$MERGED" <<-'PYTHON'
		import fcntl, mmap, os, sys
		os.chdir(sys.argv[1])
		before = open("mapped", "rb").read()
		with open("mapped", "r+b") as f:
		    fcntl.flock(f, fcntl.LOCK_EX)
		    m = mmap.mmap(f.fileno(), 0)
		    m[4000:4010] = b"0123456789"
		    m[999990:] = b"0123456789"
		    m.flush()
		    assert os.pread(f.fileno(), 10, 4000) == b"0123456789"
		after = before[:4000] + b"0123456789" + before[4010:999990] + b"0123456789"
		assert open("mapped", "rb").read() == after
		with open("private", "rb") as f:
		    m = mmap.mmap(f.fileno(), 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
		    m[:4] = b"mine"
		assert open("private", "rb").read() == before
		fd = os.open(".", os.O_TMPFILE | os.O_RDWR, 0o640)
		os.write(fd, b"unnamed")
		os.link("/proc/self/fd/%d" % fd, "named", src_dir_fd=os.open("/", os.O_PATH))
		assert open("named").read() == "unnamed"
	PYTHON
	fallocate -p -o 4096 -l 8192 "$MERGED/punched"
	[ "$(stat -c %b "$MERGED/punched")" -lt "$(stat -c %b "$LOWER/punched")" ] || fail "punch"

	# The metadata alone is copied until somebody writes.
	chmod 640 "$MERGED/metadata"
	getfattr -n trusted.overlay.metacopy "$MNT/upper/metadata" >/dev/null
	[ "$(stat -c %b "$MNT/upper/metadata")" = 0 ] || fail "data were copied"
	cmp "$LOWER/metadata" "$MERGED/metadata"
	echo more >>"$MERGED/metadata"
	[ "$(stat -c %a:%s "$MERGED/metadata")" = 640:1000005 ] || fail "metadata"

	setfattr -n user.colour -v green "$MERGED/attributes"
	setfattr -n trusted.mine -v upper "$MERGED/attributes"
	[ "$(getfattr --only-values -n user.colour "$MERGED/attributes")" = green ]
	[ "$(getfattr --only-values -n trusted.mine "$MERGED/attributes")" = upper ]
	for seen in 2755 4755 6711; do
		ln "$MERGED/set$seen" "$MERGED/link$seen" # copies it
		[ "$(stat -c %a:%u:%g "$MNT/upper/set$seen")" = "$seen:65534:65534" ] ||
			fail "the copy of a file with mode $seen has $(stat -c %a "$MNT/upper/set$seen")"
	done
	chown 0 "$MERGED/link4755"
	[ "$(stat -c %a:%u "$MERGED/link4755")" = 755:0 ] || fail "chown leaves setuid"
	if command -v setfacl >/dev/null 2>&1; then
		setfacl -m u:65534:rw "$MERGED/mapped"
		getfacl -ncp "$MERGED/mapped" | grep -x user:65534:rw- || fail "ACL"
		as_nobody sh -c 'printf x >>"$1"' sh "$MERGED/mapped" || fail "the ACL opens nothing"
	fi
	seen=$(tree_sum "$MERGED")
	overlay_after_death ,metacopy=on,redirect_dir=on
	[ "$(tree_sum "$MERGED")" = "$seen" ] || fail "it differs after the daemon's death"
	overlay_off

	# Who says volatile gets no second mount of what may have been lost.
	mkdir "$MNT/v" "$MNT/w"
	mount -t overlay overlay "$MERGED" -o "lowerdir=$LOWER,upperdir=$MNT/v,workdir=$MNT/w,volatile"
	echo x >>"$MERGED/large"
	sync "$MERGED/large"
	overlay_off
	refuses . mount -t overlay overlay "$MERGED" -o "lowerdir=$LOWER,upperdir=$MNT/v,workdir=$MNT/w"
	umount "$LOWER"
}

# The daemon is killed while names of the lower layer are moved: each is at one of its two places.
case_kill_while_moving() {
	local count=500 i moved=0 mover
	need_overlay
	pool_make pool 256M
	pool_mount pool
	for ((i = 0; i < count; i++)); do
		echo "$i" >"$LOWER/f$i"
	done
	overlay_on
	for ((i = 0; i < count; i++)); do
		mv "$MERGED/f$i" "$MERGED/g$i" 2>/dev/null || break
		echo "$i"
	done >"$CASE_DIR/done" &
	mover=$!
	wait_until 30 grep -qx 100 "$CASE_DIR/done" || fail "nothing is moved"
	overlay_after_death
	wait "$mover" || true
	for ((i = 0; i < count; i++)); do
		if [ -e "$MERGED/f$i" ]; then
			[ ! -e "$MERGED/g$i" ] || fail "$i is at both places"
			[ "$(cat "$MERGED/f$i")" = "$i" ] || fail "f$i has other bytes"
		else
			moved=$((moved + 1))
			is_whiteout "$MNT/upper/f$i"
			[ "$(cat "$MERGED/g$i")" = "$i" ] || fail "g$i has other bytes"
		fi
	done
	i=$(wc -l <"$CASE_DIR/done")
	[ "$i" -lt "$count" ] || echo "all of them were moved before the daemon's death"
	{ [ "$moved" -ge "$i" ] && [ "$moved" -le $((i + 1)) ]; } ||
		fail "$i were acknowledged, $moved are moved"
	overlay_off
	umount "$LOWER"
}

# Both layers on one mount, as under /var/lib of a container engine. Handles lead overlayfs to names in
# the lower layer that FUSE then takes for stale, so they are left out.
case_both_layers() {
	local options=,redirect_dir=on sum i
	need_overlay
	pool_make pool 128M
	pool_mount pool -o without=handles
	! grep -q 'handles all the same' "$CASE_DIR/pool.log" || skip "this kernel cannot do without handles"
	umount "$LOWER"
	rmdir "$LOWER"
	mkdir "$MNT/lower"
	LOWER=$MNT/lower
	make_lower
	overlay_on "$options"
	mkdir "$MERGED/to"
	chmod 640 "$MERGED/full"/*
	chmod 700 "$MERGED/dir" "$MERGED/dir/file"
	mv "$MERGED/full"/file1* "$MERGED/dir/file" "$MERGED/fifo" "$MERGED/to/"
	mv "$MERGED/dir" "$MERGED/renamed"
	rm "$MERGED/removed"
	sum=$(tree_sum "$MERGED")
	for i in 1 2; do
		overlay_off
		pool_unmount pool
		pool_mount pool -o without=handles
		overlay_on "$options"
		[ "$(tree_sum "$MERGED")" = "$sum" ] || fail "it differs when mounted again ($i)"
		[ "$(tree_sum "$MERGED")" = "$sum" ] || fail "it differs the second time ($i)"
	done
	[ "$(cat "$MERGED/to/file11")" = "$(seeded_file /dev/stdout 11000 11)" ] || fail "file11"
	rm -r "${MERGED:?}"/*
	[ -z "$(ls -A "$MERGED")" ] || fail "something is left"
	overlay_off
}

# A pin in the upper layer is in the way of a truncate through the overlay, as of any.
case_pinned_below() {
	local holder
	need_overlay
	command -v hold >/dev/null || fail "$BUILD holds no hold"
	pool_make pool 128M
	pool_mount pool -o policy=recall:100ms/busy
	overlay_on
	seeded_file "$MERGED/file" 1000000 60
	mkfifo "$CASE_DIR/commands"
	hold --pin "$MNT/upper/file" <"$CASE_DIR/commands" >"$CASE_DIR/holder" 2>&1 &
	holder=$!
	exec 5>"$CASE_DIR/commands"
	wait_until 10 grep -q pinned "$CASE_DIR/holder" || fail "$(cat "$CASE_DIR/holder")"
	refuses busy truncate -s 4096 "$MERGED/file"
	[ "$(stat -c %s "$MERGED/file")" = 1000000 ] || fail "it changed all the same"
	# A descriptor of the overlay's leads to no lease.
	refuses . hold --seconds 0 "$MERGED/file"
	echo unpin >&5
	wait_until 10 truncate -s 4096 "$MERGED/file"
	exec 5>&-
	wait "$holder" || fail "the holder: $(cat "$CASE_DIR/holder")"
	[ "$(stat -c %s "$MERGED/file")" = 4096 ] || fail "size"
	overlay_off
	umount "$LOWER"
}

# An ordinary user in a user namespace: what a container without root has.
case_user_namespace() {
	local status=0
	need_overlay
	need_program setpriv
	as_nobody unshare --user --map-root-user --mount true 2>/dev/null ||
		skip "no user namespaces for ordinary users"
	pool_make pool 128M
	pool_mount pool
	make_lower
	chown -R 65534:65534 "$LOWER"
	mkdir "$MNT/home"
	mkdir "$MNT/home/upper" "$MNT/home/work"
	chown -R 65534:65534 "$MNT/home"
	cat >"$CASE_DIR/script" <<-'SCRIPT'
		set -eEu -o pipefail
		. "$COPY/mount.sh"
		. "$COPY/overlay.sh"
		mount -t tmpfs tmpfs "$MERGED"
		upper=$MNT/home/upper
		mkdir "$MERGED/m"
		mount -t overlay overlay "$MERGED/m" \
			-o "userxattr,lowerdir=$LOWER,upperdir=$upper,workdir=$MNT/home/work"
		cd "$MERGED/m"
		rm removed
		is_whiteout "$upper/removed" 0:0
		mv moved there
		is_whiteout "$upper/moved" 0:0
		rm -r opaque
		mkdir opaque
		[ "$(getfattr --only-values -n user.overlay.opaque "$upper/opaque")" = y ]
		echo more >>dir/file
		[ "$(stat -c %s "$upper/dir/file")" = 5005 ]
		refuses "cross-device|EXDEV" renames noreplace dir renamed
		mv dir renamed # mv(1) copies
		[ "$(stat -c %u renamed/file)" = 0 ]
		echo fine >result
	SCRIPT
	mkdir "$CASE_DIR/copy"
	cp "$HERE/mount.sh" "$HERE/overlay.sh" "$CASE_DIR/copy/"
	chmod 755 "$CASE_DIR"
	# shellcheck disable=SC2016 # expands inside
	COPY=$CASE_DIR/copy MNT=$MNT in_namespace 'exec setpriv --reuid=65534 --regid=65534 --clear-groups \
		unshare --user --map-root-user --mount bash "$@"' \
		"$CASE_DIR/script" || status=$?
	[ "$status" -eq 0 ] || fail "in the namespace: status $status"
	is_whiteout "$MNT/home/upper/removed" 65534:65534
	[ "$(stat -c %u "$MNT/home/upper/result")" = 65534 ] || fail "owner"
	# Another namespace, another time: it is all there.
	mount -t overlay overlay "$MERGED" \
		-o "userxattr,lowerdir=$LOWER,upperdir=$MNT/home/upper,workdir=$MNT/home/work"
	[ ! -e "$MERGED/removed" ] && [ -z "$(ls -A "$MERGED/opaque")" ] || fail "it differs"
	[ "$(cat "$MERGED/result")" = fine ]
	overlay_off
	umount "$LOWER"
}

# A repository is cloned, changed and collected, and a program built from sources of the lower layer.
case_git_and_build() {
	need_overlay
	need_program git
	need_program gcc
	need_program make
	# shellcheck source=tests/posix/programs.sh
	. "$HERE/programs.sh"
	pool_make pool 512M
	pool_mount pool
	make_repository "$LOWER/origin"
	mkdir "$LOWER/source"
	for i in $(seq 12); do
		echo "int f$i(void) { return $i; }" >"$LOWER/source/f$i.c"
		echo "int f$i(void); static int g$i(void) { return f$i(); }" >"$LOWER/source/f$i.h"
	done
	{
		for i in $(seq 12); do echo "#include \"f$i.h\""; done
		echo 'int main(void) { return !(g1() + g5() + g12() == 18 + EXTRA); }'
	} >"$LOWER/source/main.c"
	cat >"$LOWER/source/Makefile" <<-'MAKE'
		CFLAGS = -DEXTRA=$(EXTRA)
		EXTRA = 0
		objects = main.o $(patsubst %,f%.o,1 2 3 4 5 6 7 8 9 10 11 12)
		program: $(objects)
		<TAB>$(CC) -o $@ $(objects)
		clean:
		<TAB>rm -f program $(objects)
	MAKE
	sed -i 's/<TAB>/\t/' "$LOWER/source/Makefile"
	overlay_on ,redirect_dir=on
	git clone -q --no-local "$MERGED/origin" "$MERGED/clone"
	git -C "$MERGED/clone" fsck --full --strict
	git -C "$MERGED/origin" checkout -q side # a tree that begins in the lower layer
	git -C "$MERGED/origin" checkout -q main
	git -C "$MERGED/origin" gc -q --prune=now
	git -C "$MERGED/origin" fsck --full --strict
	git -C "$MERGED/origin" status --porcelain | { ! grep .; } || fail "git sees changes"
	make -s -C "$MERGED/source" -j4 program
	"$MERGED/source/program" || fail "the program is wrong"
	make -C "$MERGED/source" program | grep 'up to date' || fail "builds again: times are wrong"
	echo 'int f12(void) { return 13; }' >"$MERGED/source/f12.c"
	mv "$MERGED/source" "$MERGED/moved"
	make -s -C "$MERGED/moved" EXTRA=1 clean program
	"$MERGED/moved/program" || fail "the changed program is wrong"
	overlay_off
	umount "$LOWER"
}
