# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause

describe_fuzz() { echo "pools, control calls, policies and scripts as no honest program makes them"; }
lane_fuzz() {
	local dir=build options=()
	if command -v clang >/dev/null 2>&1 &&
		echo 'int LLVMFuzzerTestOneInput(void) { return 0; }' |
		clang -fsanitize=fuzzer,address -x c - -o "$SCRATCH/has-fuzzer" 2>/dev/null; then
		dir=build-fuzz
		options=(-Dfuzz=true '-Db_sanitize=address,undefined' -Db_lundef=false)
		if ! TARGETS=fuzzers CC=clang build fuzz "$dir" "${options[@]}"; then
			record fail build
			return
		fi
	else
		need_gcc_build || return
		echo "   (this clang has no libFuzzer: the seeds are changed by chance instead)"
	fi
	timeout --kill-after=10 900 tests/fuzz/run --build "$BUILD_ROOT/$dir" \
		>"$SCRATCH/fuzz.tap" 2>"$SCRATCH/fuzz.log"
	local status=$? before=$FAILED
	record_results tap "$SCRATCH/fuzz.tap" || record fail "no results (exit status $status)"
	sed -n 's/^# /   /p' "$SCRATCH/fuzz.tap"
	[ "$FAILED" -eq "$before" ] || show_tail "$SCRATCH/fuzz.log" 80
}
