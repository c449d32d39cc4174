# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause

describe_scripts() { echo "C code as clang-format has it; shell scripts clean for bash -n and shellcheck"; }

# Each version of clang-format has a mind of its own: 14 is the one that decides.
check_format() {
	local files
	mapfile -t files < <(git ls-files '*.c' '*.h' '*.cpp' 2>/dev/null)
	if [ "${#files[@]}" -eq 0 ]; then
		record skip clang-format "not in a git checkout"
	elif ! clang-format --version 2>/dev/null | grep -q ' version 14\.'; then
		record skip clang-format "clang-format 14 is not installed"
	elif clang-format --dry-run -Werror "${files[@]}" >"$SCRATCH/format.log" 2>&1; then
		record pass clang-format
	else
		record fail clang-format
		grep error: "$SCRATCH/format.log" | show_tail -
	fi
}

lane_scripts() {
	local script
	check_format
	while read -r script; do
		if ! bash -n "$script"; then
			record fail "$script"
		elif ! command -v shellcheck >/dev/null 2>&1; then
			record pass "$script"
		elif shellcheck -x -S warning "$script" >"$SCRATCH/shellcheck.log" 2>&1; then
			record pass "$script"
		else
			record fail "$script"
			show_tail "$SCRATCH/shellcheck.log"
		fi
	done < <(find .ci tests tools -type f -not -path '*/build*' -exec \
		grep -lE -m1 '^#!/(usr/bin/env bash|bin/bash|bin/sh)|^# shellcheck shell=' {} + | sort)
}
