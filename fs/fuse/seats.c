// SPDX-License-Identifier: BSD-2-Clause
/*
 * seats.c - see seats.h.
 *
 * Both counts change as one word, so that each step sees all of the others. Who calls somebody
 * counts him as sitting, and the semaphore carries one token for each who was called. At the end
 * all are called; they see that and get up again.
 */
#include "seats.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>

#define SITTING_ONE 1ull
#define STANDING_ONE (1ull << 31)
#define COUNT_MASK ((1ull << 31) - 1)
#define ENDED (1ull << 63)

static uint64_t sitting(uint64_t state)
{
	return state & COUNT_MASK;
}

static uint64_t standing(uint64_t state)
{
	return state / STANDING_ONE & COUNT_MASK;
}

int seats_init(struct seats *s, uint32_t max)
{
	assert(max > 0 && max < COUNT_MASK);
	s->max = max;
	atomic_init(&s->state, 0);
	return sem_init(&s->standby, 0, 0) == 0 ? 0 : -errno;
}

void seats_destroy(struct seats *s)
{
	uint64_t state = atomic_load(&s->state);

	assert(sitting(state) == 0 && standing(state) == 0);
	sem_destroy(&s->standby);
}

static void call(struct seats *s, uint64_t count)
{
	for (; count > 0; count--) {
		int error = sem_post(&s->standby);

		assert(error == 0);
		(void)error;
	}
}

bool seats_sit(struct seats *s)
{
	uint64_t state = atomic_load_explicit(&s->state, memory_order_relaxed), next;

	do {
		if (state & ENDED)
			return false;
		next = state + (sitting(state) < s->max ? SITTING_ONE : STANDING_ONE);
	} while (!atomic_compare_exchange_weak(&s->state, &state, next));
	if (sitting(next) > sitting(state))
		return true;
	while (sem_wait(&s->standby) != 0)
		assert(errno == EINTR);
	if (!(atomic_load(&s->state) & ENDED))
		return true;
	atomic_fetch_sub(&s->state, SITTING_ONE);
	return false;
}

bool seats_leave(struct seats *s)
{
	uint64_t before = atomic_fetch_sub(&s->state, SITTING_ONE);

	assert(sitting(before) > 0);
	return sitting(before) > 1;
}

bool seats_taken(struct seats *s)
{
	return sitting(atomic_load(&s->state)) > 0;
}

bool seats_call(struct seats *s)
{
	uint64_t state = atomic_load_explicit(&s->state, memory_order_relaxed), next;

	do {
		if (sitting(state) > 0)
			return true;
		if (standing(state) == 0)
			return false;
		next = state - STANDING_ONE + SITTING_ONE;
	} while (!atomic_compare_exchange_weak(&s->state, &state, next));
	call(s, 1);
	return true;
}

void seats_end(struct seats *s)
{
	uint64_t state = atomic_load_explicit(&s->state, memory_order_relaxed), next;

	do {
		next = ENDED | (sitting(state) + standing(state));
	} while (!atomic_compare_exchange_weak(&s->state, &state, next));
	call(s, standing(state));
}
