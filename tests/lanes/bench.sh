# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause

describe_bench() { echo "leasebench --quick runs and its rows are JSON (never judged by time)"; }
lane_bench() {
	local bench=$BUILD_ROOT/build/tests/bench/leasebench log=$SCRATCH/bench.log
	local plot=$SCRATCH/bench.svg
	need_gcc_build || return
	if [ ! -x "$bench" ]; then
		record skip leasebench "leasebench is not built"
	elif [ ! -w /dev/fuse ]; then
		record skip leasebench "/dev/fuse is not there or not for us"
	elif ! timeout --kill-after=30 300 "$bench" --quick --json --plot "$plot" \
		--peer "scratch=$SCRATCH" >"$SCRATCH/bench.json" 2>"$log"; then
		record fail "leasebench --quick --json"
		show_tail "$log"
	elif python3 - "$SCRATCH/bench.json" "$plot" <<-'PYTHON'; then
		import json, sys
		import xml.etree.ElementTree as xml
		fields = {"group", "name", "unit", "ours", "baseline_name", "baseline", "ratio",
		          "spread", "target", "ok"}
		rows = [json.loads(line) for line in open(sys.argv[1])]
		assert rows and all(set(row) == fields for row in rows)
		assert all(type(row["ok"]) is bool or row["name"] == "two_writers" for row in rows)
		assert {"data", "metadata", "lease", "mapping", "arbitration", "scale", "features"} == \
		    {row["group"] for row in rows}
		assert any(row["baseline_name"] == "scratch" for row in rows)
		texts = [e.text for e in xml.parse(sys.argv[2]).iter() if e.tag.endswith("text")]
		assert all(row["name"] in texts for row in rows)
	PYTHON
		record pass "leasebench --quick --json"
	else
		record fail "leasebench --json: not one object a row with the agreed fields, or no picture"
		show_tail "$SCRATCH/bench.json"
	fi
}
