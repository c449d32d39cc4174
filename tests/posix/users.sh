# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
#
# users.sh - who may do what, and who may mount.

# Root's mount is for all users, and the modes say who may do what.
case_other_user() {
	need_root
	need_program setpriv
	use_mount 64M
	chmod 755 "$MNT"
	printf secret >"$MNT/secret"
	chmod 600 "$MNT/secret"
	printf public >"$MNT/public"
	chmod 644 "$MNT/public"
	mkdir -m 1777 "$MNT/shared"
	mkdir -m 2775 "$MNT/group"
	chgrp 23456 "$MNT/group"
	printf mine >"$MNT/shared/roots"

	refuses "permission denied" as_nobody cat "$MNT/secret"
	[ "$(as_nobody cat "$MNT/public")" = public ] || fail "may not read a public file"
	refuses "permission denied" as_nobody sh -c "echo x >>'$MNT/public'"
	refuses "permission denied" as_nobody touch "$MNT/new"
	refuses "not permitted|permission denied" as_nobody chmod 777 "$MNT/public"
	refuses "not permitted|permission denied" as_nobody rm -f "$MNT/shared/roots"
	refuses "permission denied" as_nobody mv "$MNT/public" "$MNT/shared/stolen"
	as_nobody sh -c "echo own >'$MNT/shared/own'"
	[ "$(stat -c %u:%g "$MNT/shared/own")" = 65534:65534 ] || fail "owner of a new file"
	refuses "not permitted" as_nobody chown 0 "$MNT/shared/own"
	as_nobody rm "$MNT/shared/own"

	refuses "permission denied" as_nobody touch "$MNT/group/file"
	setpriv --reuid=65534 --regid=65534 --groups=23456 touch "$MNT/group/file" ||
		fail "supplementary groups are not seen"
	[ "$(stat -c %g "$MNT/group/file")" = 23456 ] || fail "SGID directory: group of a new file"
	if command -v setfacl >/dev/null 2>&1; then
		setfacl -m u:65534:r "$MNT/secret"
		[ "$(as_nobody cat "$MNT/secret")" = secret ] || fail "an ACL does not open a file"
		setfacl -b "$MNT/secret"
		refuses "permission denied" as_nobody cat "$MNT/secret"
	fi
}

# A write or chown by somebody else takes the privilege bits away.
case_setuid_cleared() {
	need_root
	need_program setpriv
	use_mount 64M
	cp /bin/true "$MNT/program"
	chown 65534:65534 "$MNT/program"
	chmod 6755 "$MNT/program"
	as_nobody sh -c "echo >>'$MNT/program'"
	[ "$(stat -c %a "$MNT/program")" = 755 ] || fail "write: $(stat -c %a "$MNT/program")"
	chmod 6755 "$MNT/program"
	as_nobody truncate -s 10 "$MNT/program"
	[ "$(stat -c %a "$MNT/program")" = 755 ] || fail "truncate: $(stat -c %a "$MNT/program")"
	chmod 6755 "$MNT/program"
	chown 0:0 "$MNT/program"
	[ "$(stat -c %a "$MNT/program")" = 755 ] || fail "chown: $(stat -c %a "$MNT/program")"
}

# An ordinary user makes a pool, mounts it through fusermount3, uses it and unmounts it.
case_ordinary_user_mounts() {
	local status=0
	need_pool
	need_program fusermount3
	[ -u "$(command -v fusermount3)" ] || skip "fusermount3 is not setuid"
	if [ "$(id -u)" -ne 0 ]; then
		pool_make pool 64M
		pool_mount pool
		echo content >"$MNT/file"
		return 0
	fi
	need_program setpriv
	unshare --mount true 2>/dev/null || skip "no mount namespaces here"
	mkdir "$CASE_DIR/home"
	chown 65534:65534 "$CASE_DIR/home"
	cat >"$CASE_DIR/script" <<-'SCRIPT'
		set -eEu -o pipefail
		. "$HERE_COPY/mount.sh"
		cd "$1"
		mkdir mnt
		mkfs.leasefs -s 64M "$1/pool"
		leasefs -f "$1/pool" "$1/mnt" -o lock_wait_ms=200 >log 2>&1 &
		pid=$!
		wait_until 20 mounted_or_gone "$1/mnt" $pid || fail "did not come up"
		is_mounted "$1/mnt" || { cat log; fail "did not mount"; }
		echo content >mnt/file
		ln -s file mnt/link
		[ "$(cat mnt/link)" = content ]
		[ "$(stat -c %u mnt/file)" = 65534 ]
		fusermount3 -u "$1/mnt"
		wait_until 20 is_gone $pid || fail "the daemon lives on"
		! command -v fsck.leasefs >/dev/null || fsck.leasefs -n "$1/pool"
	SCRIPT
	mkdir "$CASE_DIR/copy"
	cp "$HERE/mount.sh" "$CASE_DIR/copy/"
	# shellcheck disable=SC2154 # of mount.sh
	HERE_COPY=$CASE_DIR/copy in_namespace "$nobodys_fuse"'
		exec setpriv --reuid=65534 --regid=65534 --clear-groups bash "$@"' \
		"$CASE_DIR" "$CASE_DIR/script" "$CASE_DIR/home" || status=$?
	[ "$status" -eq 0 ] || fail "as nobody: status $status"
}

# Without fusermount3 an ordinary user is told what is missing.
case_missing_fusermount3() {
	need_pool
	need_root
	need_program setpriv
	unshare --mount true 2>/dev/null || skip "no mount namespaces here"
	mkdir "$CASE_DIR/home"
	chown 65534:65534 "$CASE_DIR/home"
	# shellcheck disable=SC2016 # expands inside
	refuses "fusermount3" timeout 30 unshare --mount --propagation private \
		bash -euc "$nobodys_fuse"'
		: >"$2/nothing"
		mount --bind "$2/nothing" "$(command -v fusermount3)"
		cd "$1"
		exec setpriv --reuid=65534 --regid=65534 --clear-groups sh -euc "
			mkdir mnt
			mkfs.leasefs -s 64M pool >/dev/null
			exec leasefs -f pool mnt"' bash "$CASE_DIR" "$CASE_DIR/home" "$CASE_DIR"
}

# mount(8) finds the helper: the source is shown as given, remount and umount work.
case_mount_helper() {
	need_pool
	need_root
	need_mount_helper
	pool_make pool 64M
	mkdir "$CASE_DIR/mnt"
	# shellcheck disable=SC2016 # expands inside
	with_mount_helper '
		mount -t fuse.leasefs "$1" "$2" -o rw,relatime,nosuid,lock_wait_ms=5000
		stat -f "$2" >/dev/null
		line=$(grep -F " $2 " /proc/self/mountinfo)
		echo "$line"
		grep -Eq " - fuse(\.leasefs)? $1 " <<<"$line" || fail "type or source"
		grep -q nosuid <<<"$line" || fail "nosuid was asked for"
		! grep -q nodev <<<"$line" || fail "nodev was not asked for"
		echo content >"$2/file"
		mount -t fuse.leasefs -o remount,ro "$1" "$2"
		refuses "read-only" touch "$2/new"
		mount -t fuse.leasefs -o remount,rw "$1" "$2"
		touch "$2/new"
		for i in 1 2 3; do
			umount "$2"
			mount -t fuse.leasefs "$1" "$2"
			[ "$(cat "$2/file")" = content ]
		done
		umount "$2"
		refuses "nonsense_option" mount -t fuse.leasefs "$1" "$2" -o nonsense_option
	' "$(pool_path pool)" "$CASE_DIR/mnt"
}
