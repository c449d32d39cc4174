// SPDX-License-Identifier: BSD-2-Clause
/*
 * operation.c - from the request through arbitration to the reply.
 */
#include "operation.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon.h"

static void operation_free(struct operation *op)
{
	if (op->drop != NULL)
		op->drop(op);
	core_put(op->daemon->core, op->inode, 1);
	free(op);
}

static void operation_resume(void *context, int verdict, struct ticket *ticket)
{
	struct operation *op = context;
	struct daemon *d = op->daemon;
	int result = verdict == 0 ? op->run(op) : verdict;

	if (verdict == 0)
		arbitrate_end(d, ticket);
	op->reply(op, result);
	operation_free(op);
}

static int operation_copy(const struct operation *op, struct operation **out)
{
	struct operation *copy = malloc(op->bytes);

	if (copy == NULL)
		return -ENOMEM;
	memcpy(copy, op, op->bytes);
	int result = copy->keep == NULL ? 0 : copy->keep(copy);
	if (result != 0) {
		free(copy);
		return result;
	}
	core_hold_inode(op->daemon->core, op->inode, 1);
	*out = copy;
	return 0;
}

void operation_start(struct operation *op, const struct change *change)
{
	struct change asked = *change;
	struct operation *copy;
	struct ticket *ticket = NULL;

	assert(op->bytes >= sizeof(*op) && change->start <= change->end);
	asked.ino = core_ino(op->inode);
	asked.pid = op->caller.pid;
	asked.uid = op->caller.cred.uid;
	if (asked.start == asked.end || arbitrate_try(op->daemon, &asked, &ticket)) {
		int result = op->run(op);
		arbitrate_end(op->daemon, ticket);
		op->reply(op, result);
		return;
	}
	int result = operation_copy(op, &copy);
	if (result != 0) {
		op->reply(op, result);
		return;
	}
	arbitrate(op->daemon, op->req, &asked, operation_resume, copy);
}
