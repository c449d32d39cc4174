# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
#
# suites.sh - public suites that are installed elsewhere, named by environment variables; see
# docs/testing.md.

# PJDFSTEST: a built pjdfstest, the directory that holds the program and tests/.
case_pjdfstest() {
	local status=0
	[ -n "${PJDFSTEST:-}" ] || skip "PJDFSTEST names no build of pjdfstest"
	[ -x "$PJDFSTEST/pjdfstest" ] || fail "no pjdfstest program in PJDFSTEST=$PJDFSTEST"
	need_root
	need_program prove
	use_mount 1G
	cd "$MNT" || exit
	prove -rQ "$PJDFSTEST/tests" >"$CASE_DIR/prove.log" 2>&1 || status=$?
	cd "$CASE_DIR" || exit
	tail -n 60 prove.log
	[ "$status" -eq 0 ] || fail "pjdfstest: status $status"
}

# XFSTESTS: a built xfstests. XFSTESTS_ARGS: what to run (-g quick).
case_xfstests() {
	local status=0 name arguments
	[ -n "${XFSTESTS:-}" ] || skip "XFSTESTS names no build of xfstests"
	[ -x "$XFSTESTS/check" ] || fail "no check in XFSTESTS=$XFSTESTS"
	need_root
	need_pool
	need_mount_helper
	read -ra arguments <<<"${XFSTESTS_ARGS:--g quick}"
	# xfstests looks for these names among all mounts.
	for name in "test-$$" "scratch-$$"; do
		pool_make "$name" 4G
		mkdir "$CASE_DIR/$name"
	done
	# xfstests wants sources that are names, not paths that are there.
	cat >"$CASE_DIR/helper" <<-HELPER
		#!/bin/sh
		source=\$1
		shift
		exec "$WORK/bin/mount.fuse.leasefs" "$POOLS/\$source" "\$@" -o "fsname=\$source"
	HELPER
	chmod +x "$CASE_DIR/helper"
	cat >"$CASE_DIR/config" <<-CONFIG
		export FSTYP=fuse
		export FUSE_SUBTYP=.leasefs
		export TEST_DEV=test-$$
		export TEST_DIR=$CASE_DIR/test-$$
		export SCRATCH_DEV=scratch-$$
		export SCRATCH_MNT=$CASE_DIR/scratch-$$
		export RESULT_BASE=$CASE_DIR/results
	CONFIG
	# shellcheck disable=SC2016 # expands inside
	with_mount_helper 'ln -sf "$CASE_DIR/helper" "$(readlink -f /sbin)/mount.fuse.leasefs"
		cd "$1" && shift && HOST_OPTIONS=$CASE_DIR/config ./check "$@"' \
		"$XFSTESTS" "${arguments[@]}" >"$CASE_DIR/xfstests.log" 2>&1 || status=$?
	tail -n 40 "$CASE_DIR/xfstests.log"
	[ "$status" -eq 0 ] || fail "xfstests: status $status"
}
