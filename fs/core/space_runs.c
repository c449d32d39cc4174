// SPDX-License-Identifier: BSD-2-Clause
/*
 * space_runs.c - in how many pieces the free units are: what fragmentation is measured by.
 *
 * A run never crosses groups, as space_alloc() never does; so groups are looked at one by one, and
 * no lock is held for longer than a bitmap of 4 KiB takes.
 */
#include "space_impl.h"

#include <errno.h>

static uint64_t busy_word(const struct group *g, uint32_t word)
{
	return g->used[word] | (g->held ? g->held[word] : 0);
}

/* A word at a time where it is all free or all busy, which most are. */
static void count_locked(const struct group *g, struct space_free_runs *out)
{
	uint64_t run = 0;

	for (uint32_t w = 0; w < g->space->words; w++) {
		uint64_t busy = busy_word(g, w);

		for (uint32_t left = 64; left > 0;) {
			uint32_t n = busy ? (uint32_t)__builtin_ctzll(busy) : left;

			n = n < left ? n : left;
			out->runs += n > 0 && run == 0;
			out->units += n;
			run += n;
			if (run > out->largest)
				out->largest = run;
			left -= n;
			if (left == 0)
				break;
			busy >>= n;
			n = ~busy ? (uint32_t)__builtin_ctzll(~busy) : left;
			n = n < left ? n : left;
			run = 0;
			left -= n;
			busy = n < 64 ? busy >> n : 0;
		}
	}
}

int space_add_free_runs(struct space *s, uint32_t number, struct space_free_runs *sum)
{
	struct group *g = space_group_at(s, number);
	int error;

	if (!g)
		return -ENOENT;
	error = group_ready(g);
	if (error == -EUCLEAN)
		return 0; /* nothing is handed out there */
	if (error)
		return error;
	pthread_mutex_lock(&g->lock);
	count_locked(g, sum);
	pthread_mutex_unlock(&g->lock);
	return 0;
}
