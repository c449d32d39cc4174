#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# What leasescript says of scenarios that do not hold, of scripts that are none, and of odd blanks.
#   told.sh LEASESCRIPT
set -u
leasescript=$(realpath "$1")
[ -w /dev/fuse ] || { echo "skipped: /dev/fuse is not there or not for us"; exit 77; }
dir=$(mktemp -d "${TMPDIR:-/tmp}/leasefs-told.XXXXXX")
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 1
failures=0

# The one line that it prints, whole, as a regular expression; the script is with escapes.
tells() { # STATUS LINE SCRIPT
	local out status
	printf '%b' "$3" >s
	out=$(timeout 60 "$leasescript" s 2>errors </dev/null)
	status=$?
	if [ $status -ne "$1" ] || ! grep -qxE "$2" <<<"$out" || [ "$(wc -l <<<"$out")" -ne 1 ]; then
		echo "expected $1: $2"
		echo "came     $status: $out"
		cat errors
		echo "of:"
		cat -A s
		failures=$((failures + 1))
	fi
}
holds() { tells 0 "ok s" "$1"; }
fails() { tells 1 "not ok s:$1" "$2"; }

# ---- blanks, comments, numbers
holds '\n \t\n  sparse\tf   1M \t# a hole\n# size f 2M\nsize f 1M#glued\r\nsize f 1024K'
holds 'pool 64M\r\nsparse f 4K\r\ntruncate A f 0 => OK in 0..60s\r\nsize f 0\r\n'
holds "sparse f 1G$(printf '%5000s' ' ')\nsize f 1073741824 # $(printf '%070000d' 7)\n"
holds 'file f 1000001 seed 18446744073709551615\nsize f 1000001\ndata f 4095 2 seed 18446744073709551615\n'
holds 'sleep 1000us\nsleep 1ms\nsleep 0 in 0..60s\nrepeat 2\nrepeat 0\nsize nothing 0\nend\nend\n'
holds 'dir d\nsparse d/f 4K\ntruncate A d/f 0 =>OK\n'
for size in 1T -1 1.5M 4KB 0x10 1k K 1e3 99999999999G 18446744073709551616; do
	fails '2:.*it should be: sparse F SIZE' "pool 64M\nsparse f $size\n"
done
for time in 10 1m 1ns -1s s 1S 99999999999999999999s; do
	fails '1:.*it should be: sleep TIME' "sleep $time\n"
done
for name in a-b '"f"' "'f'" 'f*' a@b ä "$(printf 'n%.0s' {1..256})"; do
	fails '1:.*it should be: sparse F SIZE' "sparse $name 4K\n"
done

# ---- what is not in the language
fails "3: 'frobnicate' is not a statement" 'sparse f 4K\n\nfrobnicate A f\n'
fails "1: 'Sparse' is not a statement" 'Sparse f 4K\n'
fails '2: a zero byte' 'sparse f 4K\n\0size f 4K\n'
fails '1: a line of more than .*' "sparse f $(printf '%0100000d' 7)\n"
fails '1: it should be: truncate A F SIZE' 'truncate A f 0 0\n'
fails '1: it should be: truncate A F SIZE' 'truncate A f 0 in 0-1s\n'
fails '1: it should be: pool .*' 'pool 1T\n'
fails "1: 'EFOO' is neither OK .*" 'truncate A f 0 => EFOO\n'
fails "1: '16' is neither OK .*" 'truncate A f 0 => 16\n'
fails '1: two results .*' 'truncate A f 0 => OK => OK\n'
for range in 0..100 2s..1s 0.. ..1s 0...1s; do
	fails "1: 'in' takes LO..HI .*" "truncate A f 0 => OK in $range\n"
done
fails '2: end without a repeat' 'sparse f 4K\nend\n'
fails '2: repeat without an end' 'sparse f 4K\nrepeat 2\nsize f 4K\n'
fails '1: start takes .*' 'start truncate A f 0\n'
fails '1: start takes .*' 'start t:\n'
fails "1: 'stop' cannot run in the background" 'start t: stop A\n'
fails "2: 'end' has no result to expect" 'repeat 1\nend => OK\n'
fails '1: nothing was started as t' 'wait t => OK\n'
fails '3: no lease is named L' 'sparse f 4K\nopen A f rw\nreturn A L\n'
fails '3: no pin is named P' 'sparse f 4K\nopen A f rw\nunpin A P\n'

# ---- the place of what is wrong with a pool or a mount
fails '1: mkfs.leasefs failed: .*' 'pool 64M --nonsense\n\nsparse f 4K\n'
fails '2: the daemon did not start: .*' 'pool 64M\nmount policy=frob\n\nsparse f 4K\n'
fails '2: pool comes after .*' 'sparse f 4K\npool 64M\n'
fails '2: the daemon is running' 'sparse f 4K\ndaemon start\n'
fails '3: the daemon is not running' 'sparse f 4K\ndaemon kill\ndaemon kill\n'

# ---- scenarios that do not hold
lease='mount policy=recall:400ms/busy\nfile f 64K seed 1\nopen A f rw\nlease A L f write 0 64K\npin A P L\n'
fails '2: size of f was expected to be 8192, it is 4096' 'sparse f 4K\nsize f 8K\n'
fails '1: size f: No such file .*' 'size f 0\n'
fails '2: size: expected ENOENT, came OK .*' 'sparse f 4K\nsize f 4K => ENOENT\n'
fails '2: blocks of f .*' 'sparse f 4K\nblocks f 4K\n'
fails '3: data f: seed 1 .* byte 4096 is .*' 'file f 64K seed 1\nwrite A f 4K 1 seed 2\ndata f 0 64K seed 1\n'
fails '2: data f: .* the file ends at 65536' 'file f 64K seed 1\ndata f 0 65K seed 1\n'
fails '1: leases was expected to be 1, it is 0' 'leases 1\n'
fails '1: quarantine was expected to be 4096, it is 0' 'quarantine 4K\n'
fails '1: truncate: expected OK, came ENOENT .*' 'truncate A f 0\n'
fails '2: truncate: expected EBUSY, came OK .*' 'sparse f 4K\ntruncate A f 0 => EBUSY\n'
fails '2: truncate: expected OK in 40000.0..50000.0 ms, it took .*' \
	'sparse f 4K\ntruncate A f 0 => OK in 40s..50s\n'
fails '6: truncate: expected EBUSY in 0.0..100.0 ms, it took [4-9].*' \
	"${lease}truncate T f 0 => EBUSY in 0..100ms\n"
fails '7: wait: expected OK, came EBUSY .*' "${lease}start t: truncate T f 0\nwait t\n"
fails '6: truncate: expected OK, came EBUSY .*' "${lease}start t: truncate T f 0 => OK\nwait t => EBUSY\n"
fails '6: truncate: expected OK, came EBUSY .*' "${lease}start t: truncate T f 0 => OK\n"
fails '7: t was expected to be parked, but ended with EBUSY .*' \
	"${lease}start t: truncate T f 0\nparked t for 30s\n"
fails '6: recall L was expected to reach A within 100.0 ms, but nothing came' \
	"${lease}expect A recall L within 100ms\n"
fails '6: recall L was expected to reach A within 1000.0 ms, but nothing came' \
	"${lease}expect A recall L\n"
fails '7: nothing was expected to reach A, but recall of .*' \
	"${lease}start t: truncate T f 0\nexpect A nothing for 30s\n"
fails '7: revoked L .* but what came is: recall recall_cancelled' \
	"${lease}truncate T f 0 => EBUSY\nexpect A revoked L\n"
fails '9: the last conflict on f was expected to name B .*' \
	"${lease}open B f ro\ntruncate T f 0 => EBUSY\nholder f A\nholder f B\n"
fails '3: size of f was expected to be 0, it is 4096' 'sparse f 0\nrepeat 2\nsize f 0\ntruncate A f 4K\nend\n'

# ---- several files: a line each, in order, and the worst of them is the status
printf 'size f 0\n' >bad
printf 'sparse f 0\n' >good
out=$("$leasescript" good bad ./good none 2>&1)
status=$?
if [ $status -ne 1 ] || [ "$(cut -d: -f1,2 <<<"$out" )" != $'ok good\nnot ok bad:1\nok ./good\nnot ok none:0' ]; then
	echo "several files: $out"
	failures=$((failures + 1))
fi
# ---- a user who is not root is told before the first step
chmod -R a+rX .
as_other="setpriv --reuid 65534 --regid 65534 --clear-groups"
if [ "$(id -u)" = 0 ] && $as_other test -x "$leasescript" -a -r .; then
	printf 'chown A f 65534\nuser A 65534\n' >user
	chmod a+r user
	out=$($as_other "$leasescript" user 2>&1)
	status=$?
	if [ $status -ne 0 ] || [ "$out" != "ok user # SKIP 'user' needs root" ]; then
		echo "as another user: $out"
		failures=$((failures + 1))
	fi
fi
[ $failures -eq 0 ]
