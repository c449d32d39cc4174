# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause

# Two modules that are quick enough for it; ASan has the rest.
VALGRIND_TESTS='test_tx test_policy test_range_tree'
describe_valgrind() { echo "two unit tests under valgrind's memcheck"; }
lane_valgrind() {
	local test count=0 log=$SCRATCH/valgrind.log
	if ! command -v valgrind >/dev/null 2>&1; then
		record skip memcheck "valgrind is not installed"
		return
	fi
	need_gcc_build || return
	for test in $VALGRIND_TESTS; do
		[ -x "$BUILD_ROOT/build/tests/$test" ] || continue
		[ "$count" -lt 2 ] || break
		count=$((count + 1))
		if timeout 150 valgrind -q --error-exitcode=99 --leak-check=full \
			--errors-for-leak-kinds=definite "$BUILD_ROOT/build/tests/$test" \
			>"$log" 2>&1; then
			record pass "$test"
		else
			record fail "$test"
			show_tail "$log"
		fi
	done
	[ "$count" -gt 0 ] || record skip memcheck "none of $VALGRIND_TESTS is there"
}
