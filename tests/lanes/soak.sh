# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause

describe_soak() { echo "everything at once for a while: nothing is kept, and what is kept is found"; }

# soak_run LOG [options]: its exit status.
soak_run() {
	local build=$BUILD_ROOT/build log=$1
	shift
	timeout --kill-after=30 180 "$build/tests/soak/soak" "$@" \
		--leasefs "$build/fs/fuse/leasefs" --mkfs "$build/tools/mkfs.leasefs" \
		--fsck "$build/tools/fsck.leasefs" >"$log" 2>&1
}

# soak_expect_leak LEAK FIGURE STATUS: a run that had the leak must have failed for that.
soak_expect_leak() {
	local log=$SCRATCH/soak-$1.log
	if [ "$3" -eq 3 ] && grep -q "^at work *$2.*NOT FLAT$" "$log" && grep -q '^not flat$' "$log"; then
		record pass "a leak of $1 is found"
	else
		record fail "a leak of $1 is found: status $3"
		show_tail "$log"
	fi
}

# All at the same time: each does little in a second.
lane_soak() {
	local leak status=0 pids=() statuses=() leaks=(descriptors memory quarantine)
	need_gcc_build || return
	for leak in "${leaks[@]}"; do
		soak_run "$SCRATCH/soak-$leak.log" --seconds 8 --rate 10 --slack 2 --seed 2 --leak "$leak" &
		pids+=($!)
	done
	soak_run "$SCRATCH/soak.log" --seconds 16 --rate 50 --slack 4 --seed 1 || status=$?
	for leak in "${!leaks[@]}"; do
		wait "${pids[$leak]}"
		statuses[leak]=$?
	done
	if [ "$status" -eq 77 ]; then
		record skip "flat" "$(grep -m1 '^skipped: ' "$SCRATCH/soak.log" | sed 's/^skipped: //')"
		return
	fi
	if [ "$status" -eq 0 ]; then
		record pass "flat"
		grep -E '^[0-9]+ s, seed ' "$SCRATCH/soak.log" | sed 's/^/   /'
	else
		record fail "flat: status $status"
		show_tail "$SCRATCH/soak.log"
	fi
	soak_expect_leak descriptors descriptors "${statuses[0]}"
	soak_expect_leak memory "anonymous memory" "${statuses[1]}"
	soak_expect_leak quarantine quarantine "${statuses[2]}"
}
