# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause

describe_dax() { echo "persistent memory of a virtual machine: fsdax, /dev/dax, a power cut"; }
lane_dax() {
	need_gcc_build || return
	timeout --kill-after=30 900 tests/dax/run --build "$BUILD_ROOT/build" >"$SCRATCH/dax.tap" 2>&1
	local status=$? before=$FAILED
	if [ "$status" -eq 77 ]; then
		record skip dax "$(sed -n 's/^1\.\.0 # SKIP //p' "$SCRATCH/dax.tap")"
		return
	fi
	record_results tap "$SCRATCH/dax.tap" || record fail "no results (exit status $status)"
	[ "$status" -lt 124 ] || record fail "ended by its time limit or a signal ($status)"
	if [ "$FAILED" -ne "$before" ]; then
		sed 's/^/    | /' "$SCRATCH/dax.tap"
	else # the kernel's times beside ours, and what was left after the power cut
		grep '^#' "$SCRATCH/dax.tap"
	fi
}
