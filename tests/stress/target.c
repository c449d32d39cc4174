// SPDX-License-Identifier: BSD-2-Clause
/* target.c - which of a target's functions an operation is for. */
#include "target.h"

int64_t target_run(
	const struct target_kind *kind, struct target *t, const struct op *op, void *read_bytes)
{
	switch (op->kind) {
	case OP_CREATE:
	case OP_MKDIR:
	case OP_MKNOD:
	case OP_SYMLINK:
		return kind->make(t, op);
	case OP_LINK:
		return kind->make_link(t, op);
	case OP_UNLINK:
	case OP_RMDIR:
		return kind->remove_name(t, op);
	case OP_RENAME:
		return kind->rename_name(t, op);
	case OP_FILL:
	case OP_DRAIN:
		return kind->crowd(t, op);
	case OP_SETXATTR:
	case OP_DELXATTR:
	case OP_CHMOD:
	case OP_CHOWN:
	case OP_UTIMENS:
		return kind->change_attributes(t, op);
	case OP_OPEN:
	case OP_TMPFILE:
		return kind->hold(t, op);
	case OP_CLOSE:
		return kind->close_slot(t, op);
	case OP_CRASH:
		return kind->crash(t);
	case OP_REMOUNT:
		return kind->remount(t);
	case OP_COMPARE:
		return 0;
	default:
		return kind->data(t, op, read_bytes);
	}
}
