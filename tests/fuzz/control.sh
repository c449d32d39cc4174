#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# Hostile clients on a private mount; the daemon must live, and the pool be clean afterwards.
#   control.sh MKFS LEASEFS FSCK FUZZ [SECONDS [SEED]]
set -u
mkfs=$1 leasefs=$2 fsck=$3 fuzz=$4 seconds=${5:-5} seed=${6:-1}
[ -w /dev/fuse ] || { echo "skipped: /dev/fuse is not there or not for us"; exit 77; }
dir=$(mktemp -d "${TMPDIR:-/tmp}/leasefs-fuzz.XXXXXX")
daemon=
cleanup() {
	fusermount3 -u "$dir/mnt" 2>/dev/null || umount -l "$dir/mnt" 2>/dev/null
	[ -z "$daemon" ] || kill "$daemon" 2>/dev/null
	wait
	rm -rf "$dir"
}
trap cleanup EXIT
mkdir "$dir/mnt"
"$mkfs" -s 64M "$dir/pool" >"$dir/log" 2>&1 || { cat "$dir/log"; exit 1; }
"$leasefs" -f -o policy=recall:20ms/busy "$dir/pool" "$dir/mnt" 2>"$dir/log" &
daemon=$!
for _ in $(seq 100); do mountpoint -q "$dir/mnt" && break; sleep 0.1; done
mountpoint -q "$dir/mnt" || { cat "$dir/log"; exit 1; }
failed=0
for n in 0 1; do
	timeout $((seconds + 60)) "$fuzz" "$dir/mnt" "$dir/mnt/f$n" "$seconds" $((seed * 2 + n)) &
	pids[n]=$!
done
for n in 0 1; do wait "${pids[n]}" || failed=1; done
kill -0 "$daemon" 2>/dev/null || { echo "the daemon died"; failed=1; }
fusermount3 -u "$dir/mnt" || failed=1
wait "$daemon"
status=$?
daemon=
[ "$status" = 0 ] || { echo "the daemon ended with $status"; failed=1; }
"$fsck" -n "$dir/pool" || { echo "fsck: $?"; failed=1; }
[ "$failed" = 0 ] || grep -v EBUSY "$dir/log" | tail -40
exit "$failed"
