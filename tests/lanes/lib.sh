# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause

# On mounts: as it is, and again with library, tests and daemon under sanitizers. The library
# catches what it does not know and passes a fault on, so sanitizers leave SIGBUS alone.
describe_lib() { echo "the client library on mounts, plain and under ASan, UBSan and TSan"; }
lane_lib() {
	need_gcc_build && meson_suite build lib 300
	if CC=gcc build asan build-asan -Db_sanitize=address,undefined; then
		ASAN_OPTIONS=handle_sigbus=0 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
			meson_suite build-asan lib 400 --timeout-multiplier 4
	else
		record fail "asan build"
	fi
	if ! CC=gcc build tsan build-tsan -Db_sanitize=thread; then
		record fail "tsan build"
	elif ! setarch -R true 2>/dev/null; then
		record skip lib "TSan: setarch -R is not allowed here"
	else
		TSAN_OPTIONS=halt_on_error=1:handle_sigbus=0:suppressions=$SOURCE/tests/lib/tsan.supp \
			meson_suite build-tsan lib 400 \
			--wrap='setarch -R' --timeout-multiplier 6
	fi
}
