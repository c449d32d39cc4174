// SPDX-License-Identifier: BSD-2-Clause
/*
 * control_pins.c - pins of ranges, and what a client says of its pin lines.
 *
 * A range pin is written down before it is answered (records.h), so that it holds across a restart.
 */
#include <errno.h>

#include "control_calls.h"
#include "crash_point.h"

int call_pin(const struct call *call, void *data)
{
	struct leasefs_pin *p = data;
	struct arbiter *a = call->daemon->arbiter;
	struct holder *h = call->holder;
	struct lm_lease_info info;
	struct range_pin_record pin = {0};
	uint64_t start = 0, end = 0;
	int error;

	if ((p->flags & ~LEASEFS_PIN_UNBREAKABLE) || p->pad ||
		!all_zero(p->reserved, sizeof(p->reserved)))
		return -EINVAL;
	error = holder_make_ranges(h);
	if (error)
		return error;
	arbiter_lock(a);
	error = lm_lease_info(h->session, p->lease, &info);
	if (!error)
		error = call_range(p->offset, p->length, &info, &start, &end);
	if (!error)
		error = lm_pin(h->session, p->lease, start, end, p->flags ? LM_PIN_UNBREAKABLE : 0,
			&pin.pin);
	if (!error) {
		pin.lease = p->lease;
		pin.start = start;
		pin.end = end;
		pin.flags = p->flags;
		crash_point("pin_entered");
		error = holder_note_pin(h, &pin);
		if (error)
			lm_unpin(h->session, pin.pin, arbiter_now());
	}
	arbiter_unlock(a);
	crash_point("pin_done");
	if (!error)
		p->pin = pin.pin;
	return error;
}

int call_unpin(const struct call *call, void *data)
{
	const struct leasefs_unpin *u = data;
	struct arbiter *a = call->daemon->arbiter;
	int error;

	if (!all_zero(u->reserved, sizeof(u->reserved)))
		return -EINVAL;
	arbiter_lock(a);
	error = lm_unpin(call->holder->session, u->pin, arbiter_now());
	arbiter_unlock(a);
	return error;
}

int call_unpinned(const struct call *call, void *data)
{
	const struct leasefs_unpinned *u = data;
	struct arbiter *a = call->daemon->arbiter;
	int error;

	if (!all_zero(u->reserved, sizeof(u->reserved)))
		return -EINVAL;
	arbiter_lock(a);
	error = lm_unpinned(call->holder->session, u->lease, arbiter_now());
	arbiter_unlock(a);
	return error;
}
