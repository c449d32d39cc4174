// SPDX-License-Identifier: BSD-2-Clause
/* virtual_xattrs.c - see virtual_xattrs.h. */
#include "virtual_xattrs.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arbiter.h"
#include "format.h"
#include "holder.h"

/* Pin lines are read one by one, under the arbiter's lock. */
#define LINES_READ_MAX 4096u

struct text {
	char *bytes;
	size_t used;
	bool full; /* an xattr ends at XATTR_SIZE_MAX: what does not fit is left out, whole lines */
};

static void add_line(struct text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void add_line(struct text *t, const char *format, ...)
{
	va_list list;
	int n;

	if (t->full)
		return;
	va_start(list, format);
	n = vsnprintf(t->bytes + t->used, XATTR_SIZE_MAX - t->used, format, list);
	va_end(list);
	t->full = n < 0 || (size_t)n >= XATTR_SIZE_MAX - t->used;
	if (!t->full)
		t->used += (size_t)n;
}

static void add_lease(struct text *t, const struct lm_lease_info *l, uint64_t now_ns)
{
	add_line(t,
		"lease=%" PRIx64 " session=%" PRIu64 " pid=%u uid=%u range=%" PRIu64 "-%" PRIu64
		" mode=%s%s%s%s%s age=%.3fs\n",
		l->lease, l->session, l->pid, l->uid, l->start, l->end,
		l->mode == LM_WRITE ? "write" : "read",
		l->flags & LM_LEASE_EXCLUSIVE ? ",exclusive" : "",
		l->flags & LM_LEASE_RECALLED ? ",recalled" : "",
		l->flags & LM_LEASE_REVOKED ? ",revoked" : "",
		l->flags & LM_LEASE_PINNED ? ",pinned" : "",
		(double)(now_ns - l->granted_ns) / 1e9);
}

static void add_leases(struct text *t, const struct lm *lm, uint64_t ino, uint64_t now_ns)
{
	struct lm_cursor at = {0};
	struct lm_lease_info l;

	while (!t->full && lm_next_lease_of(lm, ino, &at, &l))
		add_lease(t, &l, now_ns);
}

static void add_pins(struct text *t, const struct lm *lm, uint64_t ino)
{
	struct lm_cursor at = {0};
	struct lm_lease_info l;
	struct lm_pin_info p;

	while (!t->full && lm_next_pin_of(lm, ino, &at, &p))
		add_line(t,
			"lease=%" PRIx64 " session=%" PRIu64 " pid=%u range=%" PRIu64 "-%" PRIu64
			"%s\n",
			p.lease, p.session, p.pid, p.start, p.end,
			p.flags & LM_PIN_UNBREAKABLE ? " unbreakable" : "");
	at = (struct lm_cursor){0};
	for (unsigned n = 0; n < LINES_READ_MAX && lm_next_lease_of(lm, ino, &at, &l); n++) {
		uint32_t count = holder_slot_pins(l.owner, l.slot);

		if (count)
			add_line(t,
				"lease=%" PRIx64 " session=%" PRIu64 " pid=%u range=%" PRIu64
				"-%" PRIu64 " count=%u\n",
				l.lease, l.session, l.pid, l.start, l.end, count);
	}
}

static void add_conflict(struct text *t, const struct arbiter *a, uint64_t ino, uint64_t now_ns)
{
	for (uint64_t i = 0; i < ARBITER_CONFLICTS && i < a->conflict_count; i++) {
		const struct lm_conflict *c =
			&a->conflicts[(a->conflict_count - 1 - i) % ARBITER_CONFLICTS];

		if (c->ino != ino)
			continue;
		add_line(t,
			"operation=%s pid=%u uid=%u ago=%.3fs waited=%.3fs holder_pid=%u"
			" holder_uid=%u session=%" PRIu64 " lease=%" PRIx64 " pin=%" PRIu64
			"-%" PRIu64 "%s age=%.3fs\n",
			c->operation, c->pid, c->uid, (double)(now_ns - c->when_ns) / 1e9,
			(double)c->waited_ns / 1e9, c->holder_pid, c->holder_uid, c->session,
			c->lease, c->pin_start, c->pin_end, c->unbreakable ? ",unbreakable" : "",
			(double)c->lease_age_ns / 1e9);
		return;
	}
}

enum shown { SHOWN_NOT, SHOWN_LEASES, SHOWN_PINS, SHOWN_CONFLICT };

static enum shown which(const char *name)
{
	if (strcmp(name, "user.leasefs.leases") == 0)
		return SHOWN_LEASES;
	if (strcmp(name, "user.leasefs.pins") == 0)
		return SHOWN_PINS;
	return strcmp(name, "user.leasefs.conflict") == 0 ? SHOWN_CONFLICT : SHOWN_NOT;
}

bool virtual_xattr_is(const char *name)
{
	return which(name) != SHOWN_NOT;
}

ssize_t virtual_xattr_get(struct daemon *d, uint64_t ino, const char *name, char **out)
{
	struct text t = {.bytes = malloc(XATTR_SIZE_MAX)};
	struct arbiter *a = d->arbiter;
	enum shown shown = which(name);
	uint64_t now_ns;

	if (!t.bytes)
		return -ENOMEM;
	arbiter_lock(a);
	now_ns = arbiter_now();
	if (shown == SHOWN_CONFLICT)
		add_conflict(&t, a, ino, now_ns);
	else if (shown == SHOWN_LEASES)
		add_leases(&t, a->lm, ino, now_ns);
	else
		add_pins(&t, a->lm, ino);
	arbiter_unlock(a);
	if (!t.used) {
		free(t.bytes);
		return -ENODATA;
	}
	*out = t.bytes;
	return (ssize_t)t.used;
}
