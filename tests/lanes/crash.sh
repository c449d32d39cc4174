# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause

describe_crash() { echo "the daemon killed, and the power cut, at recorded steps"; }
lane_crash() { need_gcc_build && meson_suite build crash 580; }
