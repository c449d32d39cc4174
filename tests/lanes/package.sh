# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause

describe_package() { echo "Debian packages: built, installed in a clean root, used, purged"; }
lane_package() {
	timeout --kill-after=10 1200 tests/package.sh >"$SCRATCH/package.tap" 2>"$SCRATCH/package.log"
	local status=$? before=$FAILED
	record_results tap "$SCRATCH/package.tap" || record fail "no results (exit status $status)"
	if [ "$status" -ne 0 ] && [ "$FAILED" -eq "$before" ]; then
		record fail "exit status $status"
	fi
	[ "$FAILED" -eq "$before" ] || show_tail "$SCRATCH/package.tap" 80
}
