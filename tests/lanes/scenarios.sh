# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause

describe_scenarios() { echo "truncate-versus-pin conflicts written as leasescript"; }
lane_scenarios() { need_gcc_build && meson_suite build scenarios 300; }
