// SPDX-License-Identifier: BSD-2-Clause
/* history.c - reads the daemon's log page by page: of one daemon, that of the control file. */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "leasectl.h"

int history_open(struct history_reader *h, const struct request *r, bool from_now)
{
	*h = (struct history_reader){.control = r->control,
		.page = {.next = from_now ? UINT64_MAX : 0,
			.inode = r->inode,
			.session = r->session,
			.flags = LEASEFS_HISTORY_WATCH}};
	if (!from_now)
		return 0;
	/* Behind the end is the end. */
	if (ioctl(h->control, LEASEFS_IOC_HISTORY, &h->page))
		return -errno;
	h->page.count = 0;
	return 0;
}

static int read_page(struct history_reader *h)
{
	struct leasefs_history *p = &h->page;

	p->count = 0;
	h->at = 0;
	return ioctl(h->control, LEASEFS_IOC_HISTORY, p) ? -errno : 0;
}

int history_next(struct history_reader *h, const struct leasefs_record **out, uint64_t *lost)
{
	*lost = 0;
	while (h->at >= h->page.count) {
		int error = read_page(h);

		if (error)
			return error;
		*lost += h->page.lost;
		if (h->page.count == 0 && h->page.next >= h->page.end)
			return 0;
	}
	*out = &h->page.records[h->at++];
	return 1;
}

uint64_t history_wall_ns(const struct history_reader *h, uint64_t time_ns)
{
	return h->page.realtime_ns - (h->page.now_ns - time_ns);
}
