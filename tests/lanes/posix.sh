# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause

describe_posix() { echo "ordinary programs, bad input, users and crashes on real mounts"; }
lane_posix() {
	need_gcc_build || return
	timeout --kill-after=30 900 tests/posix/run --build "$BUILD_ROOT/build" \
		>"$SCRATCH/posix.tap" 2>&1
	local status=$? before=$FAILED
	record_results tap "$SCRATCH/posix.tap" || record fail "no results (exit status $status)"
	[ "$status" -lt 124 ] || record fail "ended by its time limit or a signal ($status)"
	[ "$FAILED" -eq "$before" ] || grep -v '^ok' "$SCRATCH/posix.tap" | sed 's/^/    | /'
}
