# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
#
# preload.sh - programs that nobody here wrote, with their shared mappings managed: the same results
# as without, and under leases.

use_preload() {
	PRELOAD=$WORK/bin/libleasefs-preload.so
	need_pool
	[ -e "$PRELOAD" ] || skip "libleasefs-preload.so is not built"
	use_sanitizer
	pool_make pool "$1"
	pool_mount pool
}

# A sanitizer's runtime has to come first, since programs that nobody here wrote do not have it. What
# they leak is theirs, and what they do in memory that TSan is not told of is no race of ours.
use_sanitizer() {
	local runtime
	runtime=$(sanitizer_runtime "$PRELOAD")
	WRAP=()
	[ -n "$runtime" ] || return 0
	PRELOAD="$runtime $PRELOAD"
	export ASAN_OPTIONS="${ASAN_OPTIONS:-}:detect_leaks=0"
	export TSAN_OPTIONS="${TSAN_OPTIONS:-}:ignore_noninstrumented_modules=1"
	[[ $runtime != *libtsan* ]] || WRAP=(setarch -R)
}

metric() { leasectl "$MNT" metrics | sed -n "s/^leasefs_$1\({[^}]*}\)\? //p"; }
grants() { metric grants_total; }
preloaded() { timeout 80 "${WRAP[@]}" env LD_PRELOAD="$PRELOAD" "$@"; }

# managed COMMAND...: runs it; it must have taken leases.
managed() {
	local before
	before=$(grants)
	preloaded "$@"
	[ "$(grants)" -gt "$before" ] || fail "$1 mapped nothing under a lease"
}

case_ripgrep() {
	need_program rg
	use_preload 256M
	cp -r "$SOURCE/fs" "$MNT/tree"
	(cd "$MNT" && rg --mmap --sort path -n lease tree >"$CASE_DIR/without")
	(cd "$MNT" && managed rg --mmap --sort path -n lease tree >"$CASE_DIR/with")
	[ -s "$CASE_DIR/without" ]
	cmp "$CASE_DIR/without" "$CASE_DIR/with"
}

case_fio() {
	need_program fio
	use_preload 256M
	managed fio --name=mapped --ioengine=mmap --directory="$MNT" --size=16M --bs=4k --thread \
		--rw=randwrite --fallocate=posix --verify=crc32c --do_verify=1 --verify_fatal=1 --fsync=512 \
		--randseed=1 --minimal >"$CASE_DIR/fio.out"
	# What was stored under leases is what everybody reads.
	fio --name=mapped --ioengine=psync --directory="$MNT" --size=16M --bs=4k --rw=randwrite \
		--verify=crc32c --verify_only --verify_fatal=1 --randseed=1 --minimal >>"$CASE_DIR/fio.out"
}

case_lmdb() {
	need_program mdb_load
	need_program mdb_dump
	use_preload 256M
	mkdir "$CASE_DIR/plain" "$MNT/base"
	python3 - >"$CASE_DIR/pairs" <<-'PYTHON'
		print("VERSION=3\nformat=print\ntype=btree\nmapsize=67108864\nHEADER=END")
		for i in range(20000):
		    print(f" key{i * 7919 % 20000:05}")
		    print(f" value {i} " + "x" * (i % 90))
		print("DATA=END")
	PYTHON
	mdb_load -f "$CASE_DIR/pairs" "$CASE_DIR/plain"
	managed mdb_load -f "$CASE_DIR/pairs" "$MNT/base"
	mdb_dump "$CASE_DIR/plain" >"$CASE_DIR/without"
	managed mdb_dump "$MNT/base" >"$CASE_DIR/with"
	cmp "$CASE_DIR/without" "$CASE_DIR/with"
	mkdir "$CASE_DIR/copy"
	managed mdb_copy "$MNT/base" "$CASE_DIR/copy"
	mdb_dump "$CASE_DIR/copy" | cmp "$CASE_DIR/without" -
}

# It has record locks: its mappings are the kernel's own, and nothing is lost.
case_sqlite() {
	local sql='pragma mmap_size=100000000; create table t(n integer, v text);
		with recursive c(n) as (select 1 union all select n+1 from c where n < 50000)
		insert into t select n, hex(n * n) from c; delete from t where n % 3 = 0; vacuum;
		select count(*), sum(n), sum(length(v)) from t; pragma integrity_check;'
	need_program sqlite3
	use_preload 256M
	sqlite3 "$CASE_DIR/plain.db" "$sql" >"$CASE_DIR/without"
	preloaded sqlite3 "$MNT/mapped.db" "$sql" >"$CASE_DIR/with"
	cmp "$CASE_DIR/without" "$CASE_DIR/with"
	sqlite3 "$MNT/mapped.db" "pragma integrity_check" | grep -qx ok
}

# Truncated while it is mapped; forked; unmapped in part; protected; mapped over.
case_python() {
	need_program python3
	use_preload 128M
	seeded_file "$MNT/file" 1048576 1
	managed python3 - "$MNT/file" <<-'PYTHON'
		import ctypes, mmap, os, subprocess, sys
		path = sys.argv[1]
		fd = os.open(path, os.O_RDWR)
		old = open(path, "rb").read()
		m = mmap.mmap(fd, 0)
		assert m[:] == old
		m[5000:5008] = b"directly"
		subprocess.run(["truncate", "-s", "524288", path], check=True,
		               env={k: v for k, v in os.environ.items() if k != "LD_PRELOAD"})
		assert m[5000:5008] == b"directly" and m[100:200] == old[100:200]
		m.flush()
		assert open(path, "rb").read(8192)[5000:5008] == b"directly"
		child = os.fork()
		if child == 0:
		    m[6000:6008] = b"by child"
		    os._exit(0 if m[5000:5008] == b"directly" else 1)
		assert os.waitpid(child, 0)[1] == 0
		assert m[6000:6008] == b"by child"
		libc = ctypes.CDLL(None, use_errno=True)
		libc.mmap.restype = ctypes.c_void_p
		libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
		libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
		libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
		p = libc.mmap(None, 65536, 3, mmap.MAP_SHARED, fd, 0)
		ctypes.memset(p + 8192, 7, 4096)
		assert libc.munmap(p, 8192) == 0
		assert libc.mprotect(p + 8192, 4096, 1) == 0
		assert ctypes.string_at(p + 8192, 4096) == b"\7" * 4096
		assert ctypes.string_at(p + 16384, 100) == old[16384:16484]
		over = libc.mmap(p + 8192, 4096, 3, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x10, -1, 0)
		assert over == p + 8192 and ctypes.string_at(over, 4) == b"\0" * 4
		assert libc.munmap(p + 8192, 65536 - 8192) == 0
		os.close(fd)
		assert open(path, "rb").read()[8192:12288] == b"\7" * 4096
	PYTHON
	[ "$(metric leases)" -eq 0 ] || fail "leases are left"
}

case_off() {
	local before
	need_program rg
	use_preload 64M
	seeded_file "$MNT/file" 100000 1
	before=$(grants)
	LEASEFS_PRELOAD=off preloaded rg --mmap -c lease "$MNT/file" || true
	[ "$(grants)" -eq "$before" ] || fail "off, and there was a lease"
}
