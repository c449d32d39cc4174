// SPDX-License-Identifier: BSD-2-Clause
/*
 * virtual_xattrs.h - what arbitration knows of a file, as xattrs of it that are nowhere stored.
 *
 *   user.leasefs.leases    a line for each lease and each revoked one that is not acknowledged
 *   user.leasefs.pins      a line for each pin
 *   user.leasefs.conflict  the last operation on the file that failed with EBUSY, and who held
 *
 * Whoever may read the file's xattrs may read these: who was told EBUSY has a right to know by
 * whom. They answer to their names and are not listed, so that no backup copies them; they cannot
 * be set. Each is empty (ENODATA) while there is nothing to say.
 */
#ifndef FUSE_VIRTUAL_XATTRS_H
#define FUSE_VIRTUAL_XATTRS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct daemon;

bool virtual_xattr_is(const char *name);
/* The value's length, and the value in *out, which the caller frees. -ENODATA, -ENOMEM. */
ssize_t virtual_xattr_get(struct daemon *d, uint64_t ino, const char *name, char **out);

#endif
