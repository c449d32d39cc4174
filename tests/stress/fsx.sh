#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
#
# fsx.sh BUILD [fsxtest options] - fsxtest on a fresh mount, and fsck.leasefs after it.

set -euo pipefail
build=$1
shift
[ -w /dev/fuse ] || {
	echo "skipped: /dev/fuse is not there or not for us"
	exit 77
}
base=/dev/shm
[ -w $base ] || base=${TMPDIR:-/tmp}
dir=$(mktemp -d "$base/fsx-XXXXXX")
mounted=

finish() {
	if [ -n "$mounted" ]; then
		fusermount3 -u "$dir/mnt" 2>/dev/null || umount -l "$dir/mnt" 2>/dev/null ||
			fusermount3 -uz "$dir/mnt" 2>/dev/null || true
	fi
	rm -rf --one-file-system "$dir"
}
trap finish EXIT

mkdir "$dir/mnt"
"$build/tools/mkfs.leasefs" -s 64M "$dir/pool" >/dev/null
"$build/fs/fuse/leasefs" "$dir/pool" "$dir/mnt"
mounted=1
"$build/tests/stress/fsxtest" "$@" "$dir/mnt"
# Anybody who looks at all mounts, as df does, keeps this one busy for a moment.
for _ in 1 2 3 4 5 6 7 8 9 10; do
	fusermount3 -u "$dir/mnt" && mounted= && break
	sleep 0.2
done
[ -z "$mounted" ]
"$build/tools/fsck.leasefs" -n "$dir/pool"
