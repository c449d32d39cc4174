// SPDX-License-Identifier: BSD-2-Clause
/* holders.c - who holds what, and who was in whose way. */
#include <inttypes.h>
#include <sys/ioctl.h>

#include "leasectl.h"

/* ---- leases ---------------------------------------------------------------------------------- */

const char *lease_flags_text(uint32_t flags, char out[96])
{
	snprintf(out, 96, "%s%s%s%s%s%s", flags & LEASEFS_LEASE_EXCLUSIVE ? " exclusive" : "",
		flags & LEASEFS_LEASE_RECALLED ? " recalled" : "",
		flags & LEASEFS_LEASE_REVOKED ? " revoked" : "",
		flags & LEASEFS_LEASE_PINNED ? " pinned" : "",
		flags & LEASEFS_LEASE_ORPHANED ? " orphaned" : "",
		flags & LEASEFS_LEASE_INHERITED ? " inherited" : "");
	return out[0] ? out + 1 : out;
}

json_object *lease_json(const struct leasefs_lease_info *l)
{
	json_object *o = json_object_new_object();
	char flags[96];

	add_number(o, "lease", l->lease);
	add_number(o, "session", l->session);
	add_number(o, "pid", l->pid);
	add_number(o, "uid", l->uid);
	add_number(o, "inode", l->inode);
	add_number(o, "offset", l->offset);
	add_number(o, "length", l->length);
	add_text(o, "mode", l->mode == LEASEFS_MODE_WRITE ? "write" : "read");
	add_text(o, "flags", lease_flags_text(l->flags, flags));
	add_number(o, "range_pins", l->range_pins);
	add_number(o, "age_ns", l->age_ns);
	add_number(o, "recall_left_ns", l->recall_left_ns);
	add_number(o, "quarantine_bytes", l->quarantine_bytes);
	return o;
}

static void print_lease(const struct leasefs_lease_info *l, bool revoked)
{
	char flags[96], held[32], range[64];

	printf("%-12" PRIx64 " %8" PRIu64 " %8u %6u %10" PRIu64, l->lease, l->session, l->pid,
		l->uid, l->inode);
	if (revoked)
		printf(" %10s", size_text(l->quarantine_bytes, held));
	printf(" %s %s %s\n", range_text(l->offset, l->length, range),
		l->mode == LEASEFS_MODE_WRITE ? "write" : "read",
		lease_flags_text(l->flags, flags));
}

static int list_holders(int control, uint64_t inode, bool revoked)
{
	json_object *rows = as_json ? json_object_new_array() : NULL;
	struct leasefs_leases page = {.inode = inode};

	if (!rows && revoked)
		printf("%-12s %8s %8s %6s %10s %10s range\n", "lease", "session", "process", "uid",
			"inode", "held");
	else if (!rows)
		printf("%-12s %8s %8s %6s %10s range\n", "lease", "session", "process", "uid",
			"inode");
	do {
		page.count = 0;
		if (ioctl(control, LEASEFS_IOC_LEASES, &page)) {
			json_object_put(rows);
			return failed("leases");
		}
		for (uint32_t i = 0; i < page.count; i++) {
			const struct leasefs_lease_info *l = &page.leases[i];

			if (revoked && !(l->flags & LEASEFS_LEASE_REVOKED))
				continue;
			if (rows)
				json_object_array_add(rows, lease_json(l));
			else
				print_lease(l, revoked);
		}
	} while (page.count > 0);
	if (rows)
		print_json(rows);
	return 0;
}

int do_leases(const struct request *r)
{
	return list_holders(r->control, r->inode, false);
}

int do_quarantine(const struct request *r)
{
	struct leasefs_status s = {0};
	char text[32];
	int result = list_holders(r->control, 0, true);

	if (result || as_json)
		return result;
	if (ioctl(r->control, LEASEFS_IOC_STATUS, &s))
		return failed("status");
	printf("%s in quarantine", size_text(s.quarantine_bytes, text));
	if (s.quarantine_leaked_bytes)
		printf(", and %s until the next mount", size_text(s.quarantine_leaked_bytes, text));
	printf("\n");
	return 0;
}

/* ---- pins ------------------------------------------------------------------------------------ */

static void show_pin(
	const struct leasefs_pin_info *p, uint64_t inode, uint32_t count, json_object *rows)
{
	json_object *o;

	if (!rows) {
		printf("%-12llx %8llu %8u %6u %10llu [%llu, %llu)%s", (unsigned long long)p->lease,
			(unsigned long long)p->session, p->pid, p->uid, (unsigned long long)inode,
			(unsigned long long)p->offset, (unsigned long long)(p->offset + p->length),
			p->flags & LEASEFS_PIN_UNBREAKABLE ? " unbreakable" : "");
		if (!p->pin)
			printf(" whole lease, %u times", count);
		printf("\n");
		return;
	}
	o = json_object_new_object();
	add_number(o, "pin", p->pin);
	add_number(o, "lease", p->lease);
	add_number(o, "session", p->session);
	add_number(o, "pid", p->pid);
	add_number(o, "uid", p->uid);
	add_number(o, "inode", inode);
	add_number(o, "offset", p->offset);
	add_number(o, "length", p->length);
	add_number(o, "count", count);
	add_bool(o, "unbreakable", p->flags & LEASEFS_PIN_UNBREAKABLE);
	json_object_array_add(rows, o);
}

static int show_range_pins(int control, uint64_t inode, json_object *rows)
{
	struct leasefs_pins page = {.inode = inode};

	do {
		if (ioctl(control, LEASEFS_IOC_PINS, &page))
			return failed("pins");
		for (uint32_t i = 0; i < page.count; i++)
			show_pin(&page.pins[i], inode, 1, rows);
	} while (page.count > 0);
	return 0;
}

/* The pins of whole leases come with the leases; range pins are asked for, once for each inode. */
int do_pins(const struct request *r)
{
	json_object *rows = as_json ? json_object_new_array() : NULL;
	struct leasefs_leases page = {.inode = r->inode};
	uint64_t last = 0;
	int result = 0;

	if (!rows)
		printf("%-12s %8s %8s %6s %10s range\n", "lease", "session", "process", "uid",
			"inode");
	do {
		page.count = 0;
		if (ioctl(r->control, LEASEFS_IOC_LEASES, &page)) {
			result = failed("leases");
			break;
		}
		for (uint32_t i = 0; i < page.count && !result; i++) {
			const struct leasefs_lease_info *l = &page.leases[i];
			struct leasefs_pin_info whole = {.lease = l->lease,
				.session = l->session,
				.offset = l->offset,
				.length = l->length,
				.pid = l->pid,
				.uid = l->uid};

			if (l->slot_pins)
				show_pin(&whole, l->inode, l->slot_pins, rows);
			if (l->range_pins && l->inode != last)
				result = show_range_pins(r->control, l->inode, rows);
			last = l->inode;
		}
	} while (page.count > 0 && !result);
	if (result)
		json_object_put(rows);
	else if (rows)
		print_json(rows);
	return result;
}

/* ---- conflicts ------------------------------------------------------------------------------- */

static void show_conflict(const struct leasefs_conflict *c, json_object *rows)
{
	json_object *o;

	if (!rows) {
		printf("%.1f s ago: %s of inode %llu from %llu by process %u (uid %u) failed after"
		       " %.3f s: %s [%llu, %llu) by session %llu, process %u (uid %u), lease %llx,"
		       " then %.1f s old\n",
			(double)c->ago_ns / 1e9, c->operation, (unsigned long long)c->inode,
			(unsigned long long)c->offset, c->pid, c->uid, (double)c->waited_ns / 1e9,
			c->own           ? "its own pin"
			: c->unbreakable ? "pinned unbreakably"
					 : "pinned",
			(unsigned long long)c->pin_offset,
			(unsigned long long)(c->pin_offset + c->pin_length),
			(unsigned long long)c->session, c->holder_pid, c->holder_uid,
			(unsigned long long)c->lease, (double)c->lease_age_ns / 1e9);
		return;
	}
	o = json_object_new_object();
	add_number(o, "inode", c->inode);
	add_text(o, "operation", c->operation);
	add_number(o, "offset", c->offset);
	add_number(o, "length", c->length);
	add_number(o, "pid", c->pid);
	add_number(o, "uid", c->uid);
	add_number(o, "session", c->session);
	add_number(o, "lease", c->lease);
	add_number(o, "holder_pid", c->holder_pid);
	add_number(o, "holder_uid", c->holder_uid);
	add_number(o, "pin_offset", c->pin_offset);
	add_number(o, "pin_length", c->pin_length);
	add_number(o, "lease_age_ns", c->lease_age_ns);
	add_number(o, "waited_ns", c->waited_ns);
	add_number(o, "ago_ns", c->ago_ns);
	json_object_object_add(o, "unbreakable", json_object_new_boolean((int)c->unbreakable));
	json_object_object_add(o, "own", json_object_new_boolean((int)c->own));
	json_object_array_add(rows, o);
}

int do_conflicts(const struct request *r)
{
	json_object *rows = as_json ? json_object_new_array() : NULL;
	struct leasefs_conflicts page = {.inode = r->inode};

	do {
		page.count = 0;
		if (ioctl(r->control, LEASEFS_IOC_CONFLICTS, &page)) {
			json_object_put(rows);
			return failed("conflicts");
		}
		for (uint32_t i = 0; i < page.count; i++)
			show_conflict(&page.conflicts[i], rows);
		page.skip += page.count;
	} while (page.count > 0);
	if (rows)
		print_json(rows);
	return 0;
}
