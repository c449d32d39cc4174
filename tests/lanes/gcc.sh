# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause

describe_gcc() { echo "build with gcc, warnings are errors"; }
lane_gcc() { if CC=gcc build gcc build; then record pass build; else record fail build; fi; }
