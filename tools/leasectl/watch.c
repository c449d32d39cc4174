// SPDX-License-Identifier: BSD-2-Clause
/*
 * watch.c - the daemon's log as it grows. poll(2) on the control file says when there is more; the
 * timeout is there for a mount that ends without a word.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>

#include "leasectl.h"

#define POLL_MS 1000

static void tell_lost(uint64_t lost)
{
	if (as_json)
		print_json_line(add_number(
			add_text(json_object_new_object(), "event", "lost"), "count", lost));
	else
		printf("                (%llu events are lost: more happened than was read)\n",
			(unsigned long long)lost);
}

/* All that there is by now. 0 or -errno. */
static int show_new(struct history_reader *h)
{
	const struct leasefs_record *record;
	uint64_t lost;
	int result;

	while ((result = history_next(h, &record, &lost)) != 0) {
		if (result < 0)
			return result;
		if (lost)
			tell_lost(lost);
		if (as_json)
			print_json_line(record_json(record, history_wall_ns(h, record->time_ns)));
		else
			record_print(record, history_wall_ns(h, record->time_ns), stdout);
	}
	return fflush(stdout) ? -errno : 0;
}

int do_watch(const struct request *r)
{
	struct pollfd p = {.fd = r->control, .events = POLLIN};
	struct history_reader h;
	int error = history_open(&h, r, !r->all && !r->once);

	while (!error) {
		error = show_new(&h);
		if (error || r->once)
			break;
		if (poll(&p, 1, POLL_MS) < 0 && errno != EINTR)
			error = -errno;
	}
	if (error) {
		errno = -error;
		return failed("watch");
	}
	return LEASECTL_DONE;
}
