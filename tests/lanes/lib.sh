# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause

# On mounts: as it is, and again with library, tests and daemon under sanitizers; there the examples
# and the library to be preloaded too, whose plain runs are the posix lane's. The library catches what
# it does not know and passes a fault on, so sanitizers leave SIGBUS alone.
describe_lib() { echo "the client library, its examples and the preloaded one, plain and under ASan, UBSan and TSan"; }

# lib_programs_begin DIR NAME [WRAPPER...]: the examples and other people's programs, with what is in
# that build, beside what else runs; they wait more than they work. lib_programs_end NAME: counts them.
lib_programs_begin() {
	local dir=$BUILD_ROOT/$1 name=$2
	shift 2
	timeout --kill-after=10 300 "$@" tests/posix/run --build "$dir" 'examples/*' 'preload/*' \
		>"$SCRATCH/programs-$name.tap" 2>&1 &
	LIB_PROGRAMS=$!
}

lib_programs_end() {
	local tap=$SCRATCH/programs-$1.tap status=0 before=$FAILED
	wait "$LIB_PROGRAMS" || status=$?
	record_results tap "$tap" || record fail "$1: no results (exit status $status)"
	[ "$status" -lt 124 ] || record fail "$1: ended by its time limit or a signal ($status)"
	[ "$FAILED" -eq "$before" ] || grep -v '^ok' "$tap" | sed 's/^/    | /'
}

lib_under_asan() {
	export ASAN_OPTIONS=handle_sigbus=0 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
	lib_programs_begin build-asan asan
	meson_suite build-asan lib 400 --timeout-multiplier 4
	lib_programs_end asan
	unset ASAN_OPTIONS UBSAN_OPTIONS
}

lib_under_tsan() {
	export TSAN_OPTIONS=halt_on_error=1:handle_sigbus=0:suppressions=$SOURCE/tests/lib/tsan.supp
	lib_programs_begin build-tsan tsan setarch -R
	meson_suite build-tsan lib 400 --wrap='setarch -R' --timeout-multiplier 6
	lib_programs_end tsan
	unset TSAN_OPTIONS
}

lane_lib() {
	need_gcc_build && meson_suite build lib 300
	if CC=gcc build asan build-asan -Db_sanitize=address,undefined; then
		lib_under_asan
	else
		record fail "asan build"
	fi
	if ! CC=gcc build tsan build-tsan -Db_sanitize=thread; then
		record fail "tsan build"
	elif ! setarch -R true 2>/dev/null; then
		record skip lib "TSan: setarch -R is not allowed here"
	else
		lib_under_tsan
	fi
}
