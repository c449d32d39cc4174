# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause

NFS_NEEDS=(
	program:ganesha.nfsd:nfs-ganesha
	'file:/usr/lib/*/ganesha/libfsalvfs.so:nfs-ganesha-vfs'
	program:nfs-cat:libnfs-utils
	program:ip:iproute2
)

describe_nfs() { echo "a mount exported by NFS-Ganesha, from another network namespace"; }
lane_nfs() {
	local missing
	need_gcc_build || return
	missing=$(packages_missing "${NFS_NEEDS[@]}" | paste -sd ' ' -)
	if [ -n "$missing" ] && [ -d /run/systemd/system ]; then
		# The package of a server starts it.
		record skip nfs "not installed, and not for a test to install here: $missing"
		return
	fi
	if ! packages_install "${NFS_NEEDS[@]}" >"$SCRATCH/nfs.log" 2>&1; then
		record skip nfs "cannot be installed: $missing"
		return
	fi
	timeout --kill-after=10 400 tests/nfs/run --build "$BUILD_ROOT/build" \
		>"$SCRATCH/nfs.tap" 2>"$SCRATCH/nfs.log"
	local status=$? before=$FAILED
	record_results tap "$SCRATCH/nfs.tap" || record fail "no results (exit status $status)"
	if [ "$status" -ne 0 ] && [ "$FAILED" -eq "$before" ]; then
		record fail "exit status $status"
	fi
	[ "$FAILED" -eq "$before" ] || show_tail "$SCRATCH/nfs.tap"
}
