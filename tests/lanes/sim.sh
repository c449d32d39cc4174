# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause

# Besides the short run among the unit tests; a seed a processor, ten million steps in all.
describe_sim() { echo "the arbiter's deterministic simulation, ten million steps"; }
lane_sim() {
	local seed pids=() sim=$BUILD_ROOT/build/tests/sim/sim
	need_gcc_build || return
	for seed in 1 2; do
		timeout --kill-after=10 300 "$sim" --seed "$seed" --steps 5000000 \
			>"$SCRATCH/sim-$seed.log" 2>&1 &
		pids+=($!)
	done
	for seed in 1 2; do
		if wait "${pids[seed - 1]}"; then
			record pass "seed $seed"
		else
			record fail "seed $seed"
			show_tail "$SCRATCH/sim-$seed.log"
		fi
	done
}
