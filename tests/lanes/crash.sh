# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause

# Of its limit the explorer needs about a third on two quiet processors.
describe_crash() { echo "every short sequence of operations, crashed at every fence; planted faults found"; }
lane_crash() { need_gcc_build && meson_suite build crash 900; }
