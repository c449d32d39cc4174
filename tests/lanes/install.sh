# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause

describe_install() { echo "meson install, and what shells complete"; }
lane_install() {
	local script
	need_gcc_build || return
	for script in install completion; do
		timeout --kill-after=10 300 "tests/$script.sh" "$BUILD_ROOT/build" \
			>"$SCRATCH/$script.tap" 2>&1
		local status=$? before=$FAILED
		record_results tap "$SCRATCH/$script.tap" ||
			record fail "$script: no results (exit status $status)"
		if [ "$status" -ne 0 ] && [ "$FAILED" -eq "$before" ]; then
			record fail "$script: exit status $status"
		fi
		[ "$FAILED" -eq "$before" ] || show_tail "$SCRATCH/$script.tap"
	done
}
