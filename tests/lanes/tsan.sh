# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause

# ThreadSanitizer of the compilers in use knows only the address space layout of older kernels:
# setarch -R runs the tests without address randomisation, as it needs.
describe_tsan() { echo "unit tests that use threads, under ThreadSanitizer"; }
lane_tsan() {
	local suite=threads
	if ! CC=gcc build tsan build-tsan -Db_sanitize=thread; then
		record fail build
		return
	fi
	suite_has_tests "$BUILD_ROOT/build-tsan" threads || suite=unit
	if ! setarch -R true 2>/dev/null; then
		record skip "$suite" "setarch -R is not allowed here"
		return
	fi
	TSAN_OPTIONS=halt_on_error=1 meson_suite build-tsan "$suite" 400 \
		--wrap='setarch -R' --timeout-multiplier 6
	if TSAN_OPTIONS=halt_on_error=1 timeout --kill-after=10 200 setarch -R \
		"$BUILD_ROOT/build-tsan/tests/stress/stress" --seed 1 --ops 300 --rounds 1 \
		>"$SCRATCH/stress-tsan.log" 2>&1; then
		record pass "stress --ops 300"
	else
		record fail "stress --ops 300"
		show_tail "$SCRATCH/stress-tsan.log" 80
	fi
}
