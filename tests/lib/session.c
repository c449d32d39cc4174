// SPDX-License-Identifier: BSD-2-Clause
/* session.c - see session.h. */
#include "session.h"

struct leasefs_session *session;

int session_open(void **state)
{
	return leasefs_open_session(bed_mount, 0, &session);
}

int session_close(void **state)
{
	return leasefs_close_session(session);
}

struct leasefs_lease *take(int fd, uint64_t offset, uint64_t length, unsigned flags)
{
	struct leasefs_lease *lease = NULL;

	assert_int_equal(leasefs_take_lease(session, fd, offset, length, flags, &lease), 0);
	return lease;
}

unsigned char *map(struct leasefs_lease *lease, unsigned flags)
{
	void *memory = NULL;

	assert_int_equal(leasefs_map_lease(lease, flags, &memory), 0);
	return memory;
}

struct leasefs_lease *manage(
	int fd, uint64_t offset, uint64_t length, unsigned flags, unsigned char **memory)
{
	struct leasefs_lease *lease = NULL;
	void *address = NULL;

	assert_int_equal(
		leasefs_map_managed(session, fd, offset, length, flags, &lease, &address), 0);
	*memory = address;
	return lease;
}

struct leasefs_lease_state state_of(struct leasefs_lease *lease)
{
	struct leasefs_lease_state s;

	assert_int_equal(leasefs_get_lease(lease, &s), 0);
	return s;
}

struct goal {
	struct leasefs_lease *lease;
	uint64_t held_bytes;
};

static bool is_held(void *context)
{
	struct goal *g = context;

	return state_of(g->lease).held_bytes == g->held_bytes;
}

void wait_for_bytes(struct leasefs_lease *lease, uint64_t held_bytes)
{
	struct goal g = {lease, held_bytes};

	wait_until(is_held, &g, "the mapping to be direct, or not");
}

void take_away(struct leasefs_session *other, int fd, uint64_t offset, uint64_t length)
{
	const unsigned flags = LEASEFS_TAKE_READ | LEASEFS_TAKE_EXCLUSIVE;
	struct leasefs_lease *lease;

	assert_int_equal(leasefs_wait_lease(other, fd, offset, length, flags,
				 BED_PATIENCE_MS * 1000000ull, &lease),
		0);
	assert_int_equal(leasefs_return_lease(lease), 0);
}
