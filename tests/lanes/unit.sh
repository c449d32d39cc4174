# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause

describe_unit() { echo "unit tests"; }
lane_unit() { need_gcc_build && meson_suite build unit 300; }
