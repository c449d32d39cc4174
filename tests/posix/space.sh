# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
#
# space.sh - no space, and sizes past the limits.

# ENOSPC comes when the pool is full, not before, and costs nothing that was written.
case_full_pool() {
	need_pool
	pool_make pool 64M
	pool_mount pool
	python3 - "$MNT" <<-'PYTHON'
		import errno, hashlib, os, sys
		top = sys.argv[1]
		def content(i, size):
		    return hashlib.shake_128(b"%d" % i).digest(size)
		free = os.statvfs(top)
		capacity = free.f_bavail * free.f_frsize
		written, sums, i = 0, {}, 0
		while True:
		    size = 1 + (i * 7919) % 300000
		    path = os.path.join(top, "file%d" % i)
		    data = content(i, size)
		    with open(path, "wb", buffering=0) as out:
		        try:
		            done = 0
		            while done < size:
		                done += out.write(data[done:])
		        except OSError as error:
		            assert error.errno == errno.ENOSPC, error
		            break
		        written += -(-size // 4096) * 4096
		        sums[path] = (size, i)
		    i += 1
		left = os.statvfs(top)
		print("%d of %d bytes written, statvfs says %d left" %
		      (written, capacity, left.f_bavail * left.f_frsize))
		# At most what the last file took, and a block a file of rounding.
		assert left.f_bavail * left.f_frsize < 300000 + 65536, "ENOSPC while there was space"
		for path, (size, number) in sums.items():
		    with open(path, "rb") as f:
		        assert f.read() == content(number, size), "damaged: " + path
		# Without space an overwrite still works, a sparse extension too, an append does not.
		path = os.path.join(top, "file0")
		fill = open(os.path.join(top, "fill"), "wb", buffering=0)
		try:
		    while True:
		        fill.write(bytes(4096))
		except OSError as error:
		    assert error.errno == errno.ENOSPC, error
		fill.close()
		with open(os.path.join(top, "file3"), "r+b", buffering=0) as f:
		    assert f.write(b"x" * 4096) == 4096
		    size = os.fstat(f.fileno()).st_size
		    f.seek(1 << 24)
		    try:
		        f.write(b"y")
		        raise SystemExit("a write into a hole found space")
		    except OSError as error:
		        assert error.errno == errno.ENOSPC, error
		    assert os.fstat(f.fileno()).st_size == size, "a failed write moved the size"
		    f.truncate(1 << 30)
		# What is removed can be used again.
		for path in list(sums)[: len(sums) // 2]:
		    os.unlink(path)
		with open(os.path.join(top, "again"), "wb") as out:
		    out.write(bytes(capacity // 4))
	PYTHON
	pool_unmount pool
	pool_check pool
	pool_mount pool
	[ "$(stat -c %s "$MNT/again")" -gt 0 ]
}

# fallocate reserves, or says ENOSPC and reserves nothing.
case_fallocate_enospc() {
	local before
	need_pool
	pool_make pool 64M
	pool_mount pool
	fallocate -l 20M "$MNT/fits"
	before=$(stat -f -c %f "$MNT")
	refuses "no space left" fallocate -l 1G "$MNT/does-not"
	[ "$(stat -f -c %f "$MNT")" -eq "$before" ] || fail "a failed fallocate took space"
	[ ! -s "$MNT/does-not" ] || fail "a failed fallocate moved the size"
	dd if=/dev/zero of="$MNT/fits" bs=1M count=20 conv=notrunc status=none
	[ "$(stat -f -c %f "$MNT")" -eq "$before" ] || fail "reserved space was taken twice"
}

# Inodes and names run out before data does: ENOSPC too, and everything is there.
case_full_of_names() {
	need_pool
	pool_make pool 2M
	pool_mount pool
	python3 - "$MNT" <<-'PYTHON'
		import errno, os, sys
		top, count = sys.argv[1], 0
		try:
		    while count < 2000000:
		        os.mknod(os.path.join(top, "name-%d-%s" % (count, "n" * 150)), 0o100644)
		        count += 1
		except OSError as error:
		    assert error.errno == errno.ENOSPC, error
		print("%d names" % count)
		assert len(os.listdir(top)) == count
		for i in range(0, count, 2):
		    os.unlink(os.path.join(top, "name-%d-%s" % (i, "n" * 150)))
		for i in range(count // 4):
		    os.mknod(os.path.join(top, "again-%d" % i), 0o100644)
	PYTHON
}

# Past the largest size a file can have: EFBIG, and nothing changes.
case_sizes_past_limits() {
	need_pool
	pool_make pool 64M
	pool_mount pool
	python3 - "$MNT" <<-'PYTHON'
		import ctypes, errno, os, sys
		libc = ctypes.CDLL(None, use_errno=True)
		libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
		path = os.path.join(sys.argv[1], "file")
		fd = os.open(path, os.O_RDWR | os.O_CREAT)
		os.write(fd, b"content")
		huge = (1 << 63) - 4096 * 2
		def refused(wanted, function, *arguments):
		    try:
		        function(*arguments)
		    except OSError as error:
		        assert error.errno in wanted, error
		    else:
		        raise SystemExit("%s%s was not refused" % (function.__name__, arguments))
		    assert os.fstat(fd).st_size == 7, "the size moved"
		def fallocate(fd, mode, offset, length):
		    if libc.fallocate(fd, mode, offset, length) != 0:
		        raise OSError(ctypes.get_errno(), "fallocate")
		refused([errno.EFBIG], os.ftruncate, fd, huge)
		refused([errno.EFBIG], os.truncate, path, huge)
		refused([errno.EFBIG], os.pwrite, fd, b"x", huge)
		refused([errno.EFBIG], os.pwrite, fd, b"x" * 8192, huge - 4096)
		refused([errno.EFBIG, errno.ENOSPC], fallocate, fd, 0, huge - 4096, 8192)
		refused([errno.EFBIG, errno.ENOSPC], fallocate, fd, 0, 0, huge)
		refused([errno.EINVAL], os.ftruncate, fd, -1)
		# 1 TiB is no limit.
		os.ftruncate(fd, 1 << 40)
		os.pwrite(fd, b"end", (1 << 40) - 3)
		assert os.pread(fd, 8, (1 << 40) - 3) == b"end"
		assert os.pread(fd, 7, 0) == b"content"
		assert os.pread(fd, 4096, 1 << 39) == bytes(4096)
		assert os.lseek(fd, 4096, os.SEEK_DATA) == (1 << 40) - 4096
		assert os.fstat(fd).st_blocks * 512 < 1 << 20
		os.ftruncate(fd, 0)
	PYTHON
}

# statvfs counts what is there: removing everything brings the space back, exactly.
case_space_comes_back() {
	local before after
	need_pool
	pool_make pool 256M
	pool_mount pool
	mkdir "$MNT/tree"
	cp -a "$BUILD/../tests" "$MNT/tree/" 2>/dev/null || cp -a "$SOURCE/tests" "$MNT/tree/"
	rm -rf "$MNT/tree"
	before=$(stat -f -c %f "$MNT")
	mkdir "$MNT/tree"
	cp -a "$SOURCE/tests" "$MNT/tree/"
	truncate -s 10G "$MNT/tree/sparse"
	dd if=/dev/zero of="$MNT/tree/sparse" bs=1M seek=5000 count=30 conv=notrunc status=none
	[ "$(stat -f -c %f "$MNT")" -lt "$before" ] || fail "files take no space"
	rm -rf "$MNT/tree"
	# Big frees are finished behind the caller's back.
	# shellcheck disable=SC2317 # called by wait_until
	same_free() { [ "$(stat -f -c %f "$MNT")" -eq "$before" ]; }
	if ! wait_until 5 same_free; then
		after=$(stat -f -c %f "$MNT")
		fail "blocks free before: $before, after: $after"
	fi
}
