# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause

describe_gcc() { echo "builds with gcc, for debugging and for release; warnings are errors"; }
lane_gcc() {
	if CC=gcc build gcc build; then record pass build; else record fail build; fi
	# gcc sees most when it optimises most. Compiled, not run; and without what is optional.
	if CC=gcc build gcc-release build-release --buildtype=release -Dseccomp=disabled; then
		record pass release
	else
		record fail release
	fi
}
