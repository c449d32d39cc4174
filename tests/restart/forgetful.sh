#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# A daemon that knows nothing of the one before it: kill_points must notice. The daemon is in
# LEASEFS; the pool is the last argument but one.
pool=
last=
for argument in "$@"; do
	pool=$last
	last=$argument
done
rm -f "$pool"/run/leases.*
exec "$LEASEFS" "$@"
