# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause

describe_model() { echo "the lease protocol's model: every interleaving within small bounds, by spin"; }
lane_model() { need_gcc_build && meson_suite build model 270; }
