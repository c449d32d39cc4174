# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
#
# quickstart.sh - tools/quickstart: again, interrupted, with nowhere to go.

# Its build is this one, its pool one of this case's.
quickstart() {
	timeout 120 "$SOURCE/tools/quickstart" "$@"
}

use_quickstart() {
	need_pool
	mkdir "$CASE_DIR/builds"
	ln -s "$BUILD" "$CASE_DIR/builds/build"
	export LEASEFS_BUILD_ROOT=$CASE_DIR/builds LEASEFS_POOL=$POOLS/quickstart
	[ -d /usr/include/linux ] || [ -d /usr/share/doc ] || skip "no tree to copy"
}

# The name stands in mountinfo with its blanks escaped.
quickstart_is_mounted() { findmnt -rn -S "$LEASEFS_POOL" >/dev/null; }

case_twice() {
	use_quickstart
	mkdir "$CASE_DIR/here"
	(cd "$CASE_DIR/here" && quickstart "a b")
	[ -d "$CASE_DIR/here/a b/include" ] || [ -d "$CASE_DIR/here/a b/doc" ] ||
		fail "not mounted where it was called"
	quickstart "$CASE_DIR/here/a b" >"$CASE_DIR/second"
	grep -q "the last run is still mounted" "$CASE_DIR/second"
	# In use: said, and left as it is.
	exec 5<"$CASE_DIR/here/a b"
	refuses "is in use: see 'fuser -vm $CASE_DIR/here/a\\\\ b'" quickstart --down
	exec 5<&-
	quickstart --down | grep -q "^unmounted $CASE_DIR/here/a b"
	quickstart --down | grep -q "nothing is mounted"
	wait_until 20 fsck.leasefs -n "$LEASEFS_POOL"
}

# Ctrl-C at each stage: what it leaves is found and taken away by the next one.
case_interrupted() {
	local stage pid
	use_quickstart
	for stage in "making a pool" "mounting it" "copying" "comparing" "a truncate meets"; do
		: >"$CASE_DIR/log" # here: the one of before must not be read again
		setsid "$SOURCE/tools/quickstart" "$CASE_DIR/mnt" >"$CASE_DIR/log" 2>&1 &
		pid=$!
		wait_until 60 grep -q "== $stage" "$CASE_DIR/log" || fail "no stage '$stage'"
		# SIGTERM: whoever is started in the background ignores SIGINT.
		kill -TERM -- "-$pid"
		wait_until 20 is_gone "$pid" || fail "does not end in '$stage'"
		wait
	done
	quickstart "$CASE_DIR/mnt" >"$CASE_DIR/log" 2>&1 || fail "$(tail -n 5 "$CASE_DIR/log")"
	quickstart_is_mounted || fail "not mounted"
	quickstart --down
	! quickstart_is_mounted || fail "still mounted"
	fsck.leasefs -n "$LEASEFS_POOL"
}

# By a link to it, or to its directory, and with a CDPATH: it finds the tree that it is of.
case_called_by_a_link() {
	use_quickstart
	ln -s "$SOURCE/tools" "$CASE_DIR/programs"
	ln -s "$SOURCE/tools/quickstart" "$CASE_DIR/quick start"
	mkdir -p "$CASE_DIR/elsewhere/tools"
	"$CASE_DIR/programs/quickstart" --down | grep -q "nothing is mounted"
	"./quick start" --down | grep -q "nothing is mounted"
	(cd "$SOURCE" && CDPATH=$CASE_DIR/elsewhere tools/quickstart --down) |
		grep -q "nothing is mounted"
}

# What the compiler says is shown, without a terminal too.
case_build_that_fails() {
	use_quickstart
	mkdir -p "$CASE_DIR/builds.bad/build/meson-logs" "$CASE_DIR/bin"
	: >"$CASE_DIR/builds.bad/build/build.ninja"
	cat >"$CASE_DIR/bin/ninja" <<-'END'
		#!/bin/sh
		echo "super.c:7: error: no such thing"
		echo "ninja: build stopped: subcommand failed."
		exit 1
	END
	chmod +x "$CASE_DIR/bin/ninja"
	LEASEFS_BUILD_ROOT=$CASE_DIR/builds.bad PATH=$CASE_DIR/bin:$PATH \
		refuses "error: no such thing" quickstart "$CASE_DIR/mnt"
	LEASEFS_BUILD_ROOT=/proc/nowhere refuses "LEASEFS_BUILD_ROOT names another place" \
		quickstart "$CASE_DIR/mnt"
}

case_nowhere_to_go() {
	use_quickstart
	need_root
	unshare --mount true 2>/dev/null || skip "no mount namespaces here"
	mkdir "$CASE_DIR/full" "$CASE_DIR/mnt"
	# shellcheck disable=SC2016 # expands inside
	in_namespace '
		. "$HERE/mount.sh"
		mount -t tmpfs -o size=20M none "$1/full"
		export LEASEFS_POOL=$1/full/pool
		refuses "full has only [0-9]+ MiB free" timeout 60 "$SOURCE/tools/quickstart" "$1/mnt"
		[ -z "$(ls -A "$1/full")" ] || fail "leaves something behind"
	' "$CASE_DIR"
	echo mine >"$CASE_DIR/mnt/file"
	refuses "is not empty" quickstart "$CASE_DIR/mnt"
	[ ! -e "$LEASEFS_POOL" ] || fail "made a pool before it looked"
	refuses "not a directory|exists" quickstart "$CASE_DIR/mnt/file"
	refuses "no mount point" quickstart --down "$CASE_DIR/mnt"
	refuses "usage" quickstart --nonsense
	if command -v setpriv >/dev/null && as_nobody test -x "$SOURCE/tools/quickstart"; then
		refuses "HOME: is not set" as_nobody env -u HOME "$SOURCE/tools/quickstart" --down
	fi
	# Another mount of the same pool is in the way, and its daemon named.
	pool_make held 64M
	pool_mount held
	LEASEFS_POOL=$(pool_path held) quickstart --down | grep -q "^unmounted $MNT"
	rm "$CASE_DIR/held.mounted"
}
