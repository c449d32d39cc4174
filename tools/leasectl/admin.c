// SPDX-License-Identifier: BSD-2-Clause
/* admin.c - what only an administrator may ask: to have leases given back, or forgotten. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "leasectl.h"

bool parse_number(const char *text, uint64_t *out)
{
	char *end;

	errno = 0;
	*out = strtoull(text, &end, 0);
	return !errno && end != text && !*end && text[0] != '-';
}

/* The sentence of an answer that is none of errno's plain ones. */
static int refused(const char *what)
{
	if (errno == EBUSY)
		fprintf(stderr,
			"leasectl: %s: something is pinned and still held; see 'conflicts'\n",
			what);
	else
		return failed(what);
	return LEASECTL_FAILED;
}

int do_recall(const struct request *r)
{
	const char *offset = r->words[1], *length = r->words[2];
	struct leasefs_recall recall = {.inode = r->inode};

	if (offset && (!parse_number(offset, &recall.offset) || !length ||
			      !parse_number(length, &recall.length))) {
		fprintf(stderr, "leasectl: recall takes an offset and a length in bytes\n");
		return LEASECTL_FAILED;
	}
	return ioctl(r->control, LEASEFS_IOC_RECALL, &recall) ? refused("recall") : 0;
}

int do_drain(const struct request *r)
{
	struct leasefs_drain drain = {0};

	return ioctl(r->control, LEASEFS_IOC_DRAIN, &drain) ? refused("drain") : 0;
}

int do_release(const struct request *r)
{
	const char *session = r->words[0];
	struct leasefs_release release = {0};

	if (!parse_number(session, &release.session)) {
		fprintf(stderr,
			"leasectl: release takes the number of a session; see 'quarantine'\n");
		return LEASECTL_FAILED;
	}
	if (!ioctl(r->control, LEASEFS_IOC_RELEASE, &release))
		return 0;
	if (errno == EBUSY) {
		fprintf(stderr, "leasectl: session %s is open: only a closed one can be released\n",
			session);
		return LEASECTL_FAILED;
	}
	if (errno == ENOENT) {
		fprintf(stderr, "leasectl: there is no session %s; see 'quarantine'\n", session);
		return LEASECTL_FAILED;
	}
	return failed("release");
}
