#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
#
# guest.sh - what runs inside the machine: the cases of tests/dax, as TAP lines in /dev/out/tap.
#
#     guest.sh first     makes namespaces, filesystem and pools, runs the cases, makes OUT/loading,
#                        and writes to both pools until the machine is killed
#     guest.sh second    looks at what the killed one has left
#
# From the environment: SOURCE, BUILD, TOOLS (ndctl and its libraries), CASES (patterns; "": all).
#
#   /dev/shm/pmem     ext4 -o dax=always on the first nvdimm; in it pool "fsdax", and "devdax",
#                     whose data are on the second: /dev/dax1.0
#   /dev/shm/NAME     where the pool NAME is mounted

set -u
OUT=/dev/out
PMEM=/dev/shm/pmem
DEVICE=/dev/dax1.0
WORK=/dev/shm/work
HERE=$SOURCE/tests/dax
export LC_ALL=C TMPDIR=$WORK HOME=$WORK
PATH=$BUILD/tools:$BUILD/fs/fuse:$BUILD/examples:$BUILD/tests/dax:$PATH:/usr/local/bin:/usr/sbin:/sbin

# ---- results ---------------------------------------------------------------------------------

say() { sed 's/^/# /' >>"$OUT/tap"; }

fail() {
	echo "$*"
	exit 1
}

selected() {
	local pattern
	[ -n "${CASES:-}" ] || return 0
	for pattern in $CASES; do
		# shellcheck disable=SC2254 # a pattern is meant
		case $1 in
		$pattern) return 0 ;;
		esac
	done
	return 1
}

# case NAME FUNCTION [ARGUMENT...]: in a process of its own; its words are shown when it fails, and
# what it wrote to $SHOWN always.
case_run() {
	local name=$1 status began=$SECONDS
	shift
	selected "$name" || return 0
	: >"$SHOWN"
	( # not in a list with ||, where set -e says nothing
		set -eEu -o pipefail
		trap 'echo "failed at ${BASH_SOURCE[0]##*/}:$LINENO: $BASH_COMMAND"' ERR
		"$@"
	) >"$WORK/log" 2>&1 </dev/null
	status=$?
	if [ "$status" -eq 0 ]; then
		echo "ok $name ($((SECONDS - began)) s)" >>"$OUT/tap"
	else
		echo "not ok $name ($((SECONDS - began)) s)" >>"$OUT/tap"
		tail -n 60 "$WORK/log" | say
	fi
	say <"$SHOWN"
}

# ---- media -----------------------------------------------------------------------------------

ndctl() { LD_LIBRARY_PATH=$TOOLS/usr/lib/x86_64-linux-gnu "$TOOLS/usr/bin/ndctl" "$@"; }

make_media() {
	local region
	# Not virtio's region: enabled again, 6.12 takes it for one that may be mapped with MAP_SYNC.
	for region in region0 region1; do ndctl disable-region "$region"; done
	ndctl init-labels -f nmem0 nmem1
	for region in region0 region1; do ndctl enable-region "$region"; done
	# A raw namespace, which is what there is without labels, refuses DAX.
	ndctl create-namespace -f --region=region0 --mode=fsdax
	ndctl create-namespace -f --region=region1 --mode=devdax
	mkfs.ext4 -q -b 4096 /dev/pmem0
	mount_media
	mkdir -m 755 "$PMEM/tmp"
	dmesg | tail -n 3
	mkfs.leasefs -s 160M "$PMEM/fsdax" | tee "$WORK/fsdax.mkfs"
	mkfs.leasefs --data="$DEVICE" "$PMEM/devdax" | tee "$WORK/devdax.mkfs"
}

mount_media() {
	mkdir -p "$PMEM" /dev/shm/fsdax /dev/shm/devdax
	mount -t ext4 -o dax=always /dev/pmem0 "$PMEM"
}

# pool_mount NAME [options], pool_unmount NAME: the daemon must end with status 0, and fsck be content.
pool_mount() {
	local name=$1
	shift
	leasefs -f "$PMEM/$name" "/dev/shm/$name" "$@" >>"$WORK/$name.log" 2>&1 &
	echo $! >"$WORK/$name.pid"
	wait_for 30 mountpoint -q "/dev/shm/$name" || {
		cat "$WORK/$name.log"
		fail "$name is not mounted"
	}
}

pool_unmount() {
	wait_for 10 umount "/dev/shm/$1" || fail "/dev/shm/$1 stays busy"
	wait "$(cat "$WORK/$1.pid")" || fail "the daemon of $1 ended with status $?"
	fsck.leasefs -n "$PMEM/$1"
}

# wait_for SECONDS COMMAND...
wait_for() {
	local tries=$(($1 * 20))
	shift
	while ! "$@" 2>/dev/null; do
		tries=$((tries - 1))
		[ "$tries" -gt 0 ] || return 1
		sleep 0.05
	done
}

# ---- cases: what the media are taken for -----------------------------------------------------

# expect_line PATTERN FILE
expect_line() {
	grep -Eq -- "$1" "$2" || {
		cat "$2"
		fail "$2 says nothing like '$1'"
	}
}

# The flag "sf" of a mapping is MAP_SYNC: page faults make the filesystem's metadata durable.
is_map_sync() {
	awk -v name="$2" '/^[0-9a-f]+-[0-9a-f]+ / { ours = $6 == name }
		/^VmFlags:/ && ours && / sf( |$)/ { found = 1 }
		END { exit !found }' "/proc/$1/smaps"
}

fsdax_is_pmem() {
	expect_line 'pmem, on fsdax; mapped in units of 4 KiB' "$WORK/fsdax.mkfs"
	expect_line 'long-term pins .*: refused by the kernel on fsdax' "$WORK/fsdax.mkfs"
	pool_mount fsdax
	leasectl /dev/shm/fsdax status >"$WORK/status"
	expect_line '^media +pmem,.*nothing acknowledged is lost' "$WORK/status"
	for file in meta data.0; do
		is_map_sync "$(cat "$WORK/fsdax.pid")" "$PMEM/fsdax/$file" ||
			fail "$file is not mapped with MAP_SYNC"
	done
	pool_unmount fsdax
}

devdax_is_pmem() {
	expect_line 'pmem, on devdax; mapped in units of 2048 KiB' "$WORK/devdax.mkfs"
	expect_line 'long-term pins .*: yes' "$WORK/devdax.mkfs"
	pool_mount devdax
	leasectl /dev/shm/devdax status >"$WORK/status"
	expect_line '^media +pmem,.*nothing acknowledged is lost' "$WORK/status"
	grep -q "$DEVICE" "/proc/$(cat "$WORK/devdax.pid")/maps" || fail "not mapped"
	pool_unmount devdax
}

# A host's page cache behind it: DAX, but no MAP_SYNC, and so no persistent memory.
virtio_pmem_is_page_cache() {
	mkdir /dev/shm/virtio
	mkfs.ext4 -q -b 4096 /dev/pmem2
	mount -t ext4 -o dax=always /dev/pmem2 /dev/shm/virtio
	mkfs.leasefs -s 32M /dev/shm/virtio/pool >"$WORK/mkfs"
	umount /dev/shm/virtio
	expect_line 'page cache, on file' "$WORK/mkfs"
}

devdax_belongs_to_one_pool() {
	pool_mount devdax
	! mkfs.leasefs --data="$DEVICE" "$PMEM/tmp/other" >"$WORK/refused" 2>&1 ||
		fail "a second pool was made on the device"
	expect_line 'in use' "$WORK/refused"
	[ ! -e "$PMEM/tmp/other/meta" ]
	pool_unmount devdax
}

# ---- cases: ordinary programs, unit tests, scenarios -----------------------------------------

unit_tests() {
	local test
	for test in region pool; do
		TMPDIR=$PMEM/tmp LEASEFS_TEST_FSDAX=1 "$BUILD/tests/test_$test"
	done
}

# The programs alone: to look for them in a whole build takes minutes here.
posix() {
	mkdir -p "$WORK/programs"
	cp "$BUILD"/tools/{mkfs.leasefs,fsck.leasefs,leasectl} "$BUILD/fs/fuse/leasefs" \
		"$WORK/programs/"
	bash "$SOURCE/tests/posix/run" --build "$WORK/programs" "$@"
}

# A few, since every instruction is emulated, and every program is read over 9p.
programs() {
	pool_mount "$1"
	posix --dir "/dev/shm/$1" programs/sqlite_wal space/sizes_past_limits users/other_user \
		users/setuid_cleared
	cp -a "$SOURCE/docs" "/dev/shm/$1/"
	diff -r "$SOURCE/docs" "/dev/shm/$1/docs"
	pool_unmount "$1"
}

daemon_deaths() {
	posix --pools "$PMEM/tmp" death/sigterm death/unlinked_file_reclaimed
}

# Those in which bytes and layouts matter; who is told what, and when, is the same on any medium.
# The sizes in some of them are of no meaning where everything is in units of 2 MiB.
SCENARIOS=(
	daemon_killed_during_a_recall_loses_nothing
	restarted_daemon_keeps_what_was_in_quarantine
	returned_lease_lets_the_truncate_go_on_at_once
	stale_mapping_never_sees_another_files_bytes
	store_through_the_mapping_is_seen_after_commit
)
SCENARIOS_FSDAX=(
	busy_pinned_truncate_fails_with_nothing_changed
	policy_orphan_lets_go_and_keeps_the_space
	punch_beside_a_pin_succeeds_after_partial_return
	punch_of_pinned_blocks_fails
	unpinned_lease_is_revoked_at_the_deadline
	write_lease_allocates_and_zeroes
	write_lease_beyond_the_end_preallocates
)

# scenarios MEDIUM [options]: these, and those that are about the medium.
scenarios() {
	local medium=$1 files=("${SCENARIOS[@]}")
	shift
	[ "$medium" != fsdax ] || files+=("${SCENARIOS_FSDAX[@]}")
	files=("${files[@]/#/$SOURCE/tests/scenarios/}")
	files=("${files[@]/%/.lease}")
	leasescript --slow 10 --pools "$PMEM/tmp" "$@" "$HERE/$medium"_*.lease \
		"${files[@]}" >"$WORK/scenarios" || {
		cat "$WORK/scenarios"
		fail "scenarios on $medium"
	}
	echo "$(grep -c '^ok' "$WORK/scenarios") scenarios" >"$SHOWN"
}

# ---- cases: the library ----------------------------------------------------------------------

# library PROGRAM [ARGUMENT...]: one of tests/lib, on a pool of its own below $PMEM.
library() {
	local program=$1
	shift
	LEASEFS_MKFS=$BUILD/tools/mkfs.leasefs LEASEFS_DAEMON=$BUILD/fs/fuse/leasefs \
		LEASEFS_FSCK=$BUILD/tools/fsck.leasefs LEASEFS_OTHER=$BUILD/tests/lib/other \
		LEASEFS_TEST_POOLS=$PMEM/tmp LEASEFS_TEST_MEDIA=pmem \
		"$BUILD/tests/lib/test_lib_$program" "$@"
}

library_fsdax() { library coherence; }

# Mappings pinned by the kernel, managed, revoked, longer than the file, over a restart; what a deleted
# file has left.
library_devdax() { LEASEFS_TEST_DATA=$DEVICE library units '*ma*'; }

# Who had it before says so, and it is not taken from who has it.
device_of_another_pool() {
	local refused=$WORK/refused
	mkfs.leasefs -f --data="$DEVICE" "$PMEM/tmp/third" >"$refused" 2>&1 || fail "$(cat "$refused")"
	! leasefs -f "$PMEM/devdax" /dev/shm/devdax >"$refused" 2>&1 || fail "another pool's device was mounted"
	expect_line 'should be data region 0 of pool' "$refused"
	! fsck.leasefs -n "$PMEM/devdax" >"$refused" 2>&1 || fail "another pool's device was found good"
	expect_line 'should be data region 0 of pool' "$refused"
	! mkfs.leasefs --data="$DEVICE" "$PMEM/tmp/other" >"$refused" 2>&1 || fail "a pool's device was taken"
	expect_line 'is data region 0 of the leasefs pool .*: -f destroys it' "$refused"
}

# ---- cases: the kernel's behaviour beside ours ------------------------------------------------

PIN_HOLD_MS=2000

# A hole punch under a page that a pipe holds: on the filesystem below, and on leasefs above it.
punch_side_by_side() {
	local kernel ours file=/dev/shm/fsdax/pinned mapped
	dd if=/dev/urandom of="$PMEM/tmp/pinned" bs=64K count=1 status=none
	kernel=$(punch_under_pin "$PMEM/tmp/pinned" 0 "$PMEM/tmp/pinned" 65536 "$PIN_HOLD_MS")
	grep -Eq '^blocked [0-9.]+ closed [0-9.]+ OK$' <<<"$kernel" ||
		fail "the kernel did not block: $kernel"

	pool_mount fsdax -o policy=recall:300ms/busy
	dd if=/dev/urandom of="$file" bs=64K count=1 status=none
	mkfifo "$WORK/commands"
	hold --pin-range --length 64K "$file" <"$WORK/commands" >"$WORK/hold" 2>&1 &
	exec 3>"$WORK/commands"
	wait_for 20 grep -qs '^pinned' "$WORK/hold" || fail "$(cat "$WORK/hold")"
	# Stored through the mapping before the sum is taken, as punch_under_pin does.
	mapped=$(sed -n 's/^mapped [0-9]* bytes at \([0-9]*\) of \(.*\)/\2 \1/p' "$WORK/hold")
	# shellcheck disable=SC2086 # path and offset
	ours=$(punch_under_pin $mapped "$file" 65536 "$PIN_HOLD_MS")
	exec 3>&-
	wait "$!"
	grep -Eq '^ended 0\.[0-9]+ pinned EBUSY$' <<<"$ours" || fail "leasefs: $ours"
	[ "$(tr -d '\0' <"$file" | wc -c)" -gt 60000 ] || fail "the punch failed, and the bytes are gone"
	pool_unmount fsdax
	cat >"$SHOWN" <<-END
		hole punch of 64 KiB, one page of it pinned by a pipe (seconds)
		  ext4 -o dax:          $kernel
		  leasefs on the same:  $ours
	END
}

# ---- a load that is cut off, and what is left of it ------------------------------------------

POOLS=(fsdax devdax)

# Until the machine is killed; the host looks at the logs, which are its own files.
write_until_killed() {
	local name
	for name in "${POOLS[@]}"; do
		pool_mount "$name"
		rm -rf "/dev/shm/$name/load"
		"$HERE/load.py" write "/dev/shm/$name/load" "$OUT/$name.load" "$RANDOM" &
	done
	wait
}

left_by_the_killed() {
	fsck.leasefs -n "$PMEM/$1"
	pool_mount "$1"
	"$HERE/load.py" check "/dev/shm/$1/load" "$OUT/$1.load" >"$SHOWN"
	rm -rf "/dev/shm/$1/load"
	echo usable >"/dev/shm/$1/file"
	pool_unmount "$1"
}

# ---- main ------------------------------------------------------------------------------------

mkdir -p "$WORK"
chmod 755 "$WORK"
SHOWN=$WORK/shown
case ${1:-} in
first)
	(
		set -eEu -o pipefail
		trap 'echo "failed: $BASH_COMMAND (status $?)"; dmesg | tail -n 20' ERR
		make_media
	) >"$OUT/media.log" 2>&1
	if ! mountpoint -q "$PMEM" || [ ! -e "$PMEM/devdax/meta" ]; then
		echo "not ok media" >>"$OUT/tap"
		say <"$OUT/media.log"
		exit 1
	fi
	case_run fsdax/is_pmem fsdax_is_pmem
	case_run devdax/is_pmem devdax_is_pmem
	case_run virtio/is_page_cache virtio_pmem_is_page_cache
	case_run devdax/one_pool devdax_belongs_to_one_pool
	case_run fsdax/unit unit_tests
	case_run fsdax/programs programs fsdax
	case_run devdax/programs programs devdax
	case_run fsdax/deaths daemon_deaths
	case_run fsdax/scenarios scenarios fsdax
	case_run devdax/scenarios scenarios devdax --data "$DEVICE"
	case_run fsdax/library library_fsdax
	case_run devdax/library library_devdax
	case_run devdax/other_pool device_of_another_pool
	case_run kernel/punch_under_pin punch_side_by_side
	# The cases have made pools of their own on the device.
	mkfs.leasefs -f --data="$DEVICE" "$PMEM/devdax" >"$OUT/load.log" 2>&1
	touch "$OUT/loading"
	write_until_killed >>"$OUT/load.log" 2>&1
	exit 1
	;;
second)
	mount_media
	for name in "${POOLS[@]}"; do
		case_run "$name/after_power_cut" left_by_the_killed "$name"
	done
	;;
esac
