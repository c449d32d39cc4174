# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause

describe_asan() { echo "unit tests under AddressSanitizer and UndefinedBehaviorSanitizer"; }
lane_asan() {
	if ! CC=gcc build asan build-asan -Db_sanitize=address,undefined; then
		record fail build
		return
	fi
	UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
		meson_suite build-asan unit 400 --timeout-multiplier 4
}
