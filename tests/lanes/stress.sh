# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause

describe_stress() { echo "random operations against a model, fsx-like tester, concurrency"; }
lane_stress() { need_gcc_build && meson_suite build stress 420; }
