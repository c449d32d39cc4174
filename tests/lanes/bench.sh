# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause

describe_bench() { echo "leasebench --quick runs and its rows are JSON (never judged by time)"; }
lane_bench() {
	local bench=$BUILD_ROOT/build/tests/bench/leasebench log=$SCRATCH/bench.log
	need_gcc_build || return
	if [ ! -x "$bench" ]; then
		record skip leasebench "leasebench is not built"
	elif [ ! -w /dev/fuse ]; then
		record skip leasebench "/dev/fuse is not there or not for us"
	elif ! timeout --kill-after=30 300 "$bench" --quick --json >"$SCRATCH/bench.json" 2>"$log"; then
		record fail "leasebench --quick --json"
		show_tail "$log"
	elif python3 - "$SCRATCH/bench.json" <<-'PYTHON'; then
		import json, sys
		fields = {"group", "name", "unit", "ours", "baseline_name", "baseline", "ratio",
		          "spread", "target", "ok"}
		rows = [json.loads(line) for line in open(sys.argv[1])]
		assert rows and all(set(row) == fields for row in rows)
	PYTHON
		record pass "leasebench --quick --json"
	else
		record fail "leasebench --json: not one object a row with the agreed fields"
		show_tail "$SCRATCH/bench.json"
	fi
}
