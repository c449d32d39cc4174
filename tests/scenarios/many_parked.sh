#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# More truncates wait at once than the daemon has threads, on a private mount.
#   many_parked.sh MKFS LEASEFS FSCK PROGRAM COUNT
set -u
mkfs=$1 leasefs=$2 fsck=$3 program=$4 count=$5
[ -w /dev/fuse ] || { echo "skipped: /dev/fuse is not there or not for us"; exit 77; }
dir=$(mktemp -d "${TMPDIR:-/tmp}/leasefs-parked.XXXXXX")
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
"$leasefs" -f -o policy=recall:100s/busy "$dir/pool" "$dir/mnt" 2>"$dir/log" &
daemon=$!
for _ in $(seq 100); do mountpoint -q "$dir/mnt" && break; sleep 0.1; done
mountpoint -q "$dir/mnt" || { cat "$dir/log"; exit 1; }
timeout 150 "$program" "$dir/mnt" "$count" || { tail -40 "$dir/log"; exit 1; }
fusermount3 -u "$dir/mnt" || exit 1
wait "$daemon" || { echo "the daemon ended with $?"; exit 1; }
daemon=
"$fsck" -n "$dir/pool"
