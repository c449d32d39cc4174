// SPDX-License-Identifier: BSD-2-Clause
/*
 * story.h - the daemon's log, put together: what became of each lease and of each operation. The
 * log may begin in the middle: what began before it is drawn from its first record on.
 */
#ifndef LEASECTL_STORY_H
#define LEASECTL_STORY_H

#include "leasectl.h"

#define STORY_ROWS_MAX 60u /* the latest ones: a picture of more cannot be read */
#define STORY_MARKS_MAX 4096u

enum story_end {
	STORY_OPEN, /* it goes on */
	STORY_RETURNED,
	STORY_REVOKED,
	STORY_SESSION_ENDED,
	STORY_COMPLETE,
	STORY_BUSY,
	STORY_INTERRUPTED,
};

struct story_row {
	bool is_operation;
	uint64_t id; /* of the lease; of the operation */
	uint64_t inode, offset, length;
	uint64_t session;
	uint32_t pid; /* the holder's; who asks */
	uint32_t mode;
	char operation[28];
	uint64_t begin_ns, end_ns; /* end 0: it goes on */
	uint64_t last_ns;          /* its latest record */
	enum story_end end;
	bool begun;                 /* its beginning is in the log */
	uint64_t kept_ns, freed_ns; /* in quarantine; 0: not, or still */
	uint64_t kept_bytes;
	uint64_t value_ns; /* how long an operation took */
	unsigned row;      /* where it is drawn */
};

enum mark_kind { MARK_RECALL, MARK_RETURN, MARK_CANCEL, MARK_REVOKE, MARK_SIGNAL };
struct story_mark {
	enum mark_kind kind;
	uint64_t time_ns;
	uint64_t lease, number; /* between which rows; 0: none */
	uint64_t value;         /* a recall's deadline, a signal's number */
	uint64_t until_ns;      /* of a recall: when it was over; 0: it goes on */
};

struct story {
	struct story_row *rows;
	size_t row_count, row_room;
	struct story_mark *marks;
	size_t mark_count, mark_room;
	uint64_t now_ns, now_wall_ns;
	uint64_t lost;
	size_t left_out; /* rows that are older than what is kept */
};

/* Of the request's file or session. -errno; -ENOENT: the log says nothing of it. */
int story_read(const struct request *r, struct story *out);
void story_free(struct story *s);
struct story_row *story_find(const struct story *s, bool is_operation, uint64_t id);

#endif
