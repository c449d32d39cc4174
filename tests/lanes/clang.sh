# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause

describe_clang() { echo "build with clang, warnings are errors"; }
lane_clang() {
	if ! command -v clang >/dev/null 2>&1; then
		record skip build "clang is not installed"
	elif CC=clang build clang build-clang; then
		record pass build
	else
		record fail build
	fi
}
