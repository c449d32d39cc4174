# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause

describe_kill() { echo "the daemon killed two hundred times under load, with holders that go on"; }
lane_kill() {
	local build=$BUILD_ROOT/build log=$SCRATCH/kill.log status=0
	need_gcc_build || return
	timeout --kill-after=30 600 "$build/tests/kill/campaign" --kills 200 --seed 1 \
		--leasefs "$build/fs/fuse/leasefs" --mkfs "$build/tools/mkfs.leasefs" \
		--fsck "$build/tools/fsck.leasefs" >"$log" 2>&1 || status=$?
	case $status in
	0)
		record pass "200 kills"
		sed -n 's/^200 kills/   &/p' "$log" | tail -n 1
		;;
	77) record skip "200 kills" "$(grep -m1 '^skipped: ' "$log" | sed 's/^skipped: //')" ;;
	*)
		record fail "200 kills: status $status"
		show_tail "$log"
		;;
	esac
}
