# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause

describe_scripts() { echo "shell scripts are clean for bash -n, and for shellcheck where it is there"; }
lane_scripts() {
	local script
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
