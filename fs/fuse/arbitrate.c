// SPDX-License-Identifier: BSD-2-Clause
/*
 * arbitrate.c - arbitration while there are no leases: nothing is ever in the way.
 */
#include "arbitrate.h"

#include <stddef.h>

bool arbitrate_try(struct daemon *d, const struct change *change, struct ticket **ticket)
{
	*ticket = NULL;
	return true;
}

void arbitrate(struct daemon *d, fuse_req_t req, const struct change *change,
	void (*resume)(void *operation, int verdict, struct ticket *ticket), void *operation)
{
	resume(operation, 0, NULL);
}

void arbitrate_end(struct daemon *d, struct ticket *ticket)
{
}

bool arbitrate_direct_io(struct daemon *d, uint64_t ino)
{
	return false;
}

int arbitrate_start(struct daemon *d, struct diag *diag)
{
	return 0;
}

void arbitrate_cancel(struct daemon *d)
{
}

void arbitrate_stop(struct daemon *d)
{
}
