// SPDX-License-Identifier: BSD-2-Clause
/* snapshot.c - what there is, gathered by several calls. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#include "leasectl.h"

/* Appends `count` rows of `bytes` each; *rows grows. */
static int append(void **rows, size_t *have, const void *page, size_t count, size_t bytes)
{
	void *grown = realloc(*rows, (*have + count) * bytes);

	if (!grown)
		return -ENOMEM;
	memcpy((char *)grown + *have * bytes, page, count * bytes);
	*rows = grown;
	*have += count;
	return 0;
}

static int take_sessions(int control, size_t most, struct snapshot *s)
{
	struct leasefs_sessions page = {0};
	int error = 0;

	do {
		page.count = 0;
		if (ioctl(control, LEASEFS_IOC_SESSIONS, &page))
			return -errno;
		if (page.count)
			error = append((void **)&s->sessions, &s->session_count, page.sessions,
				page.count, sizeof(page.sessions[0]));
	} while (!error && page.count && s->session_count < most);
	return error;
}

static int take_leases(int control, uint64_t inode, size_t most, struct snapshot *s)
{
	struct leasefs_leases page = {.inode = inode};
	int error = 0;

	do {
		page.count = 0;
		if (ioctl(control, LEASEFS_IOC_LEASES, &page))
			return -errno;
		if (page.count)
			error = append((void **)&s->leases, &s->lease_count, page.leases,
				page.count, sizeof(page.leases[0]));
	} while (!error && page.count && s->lease_count < most);
	return error;
}

static int take_operations(int control, size_t most, struct snapshot *s)
{
	struct leasefs_operations page = {0};
	int error = 0;

	do {
		page.count = 0;
		if (ioctl(control, LEASEFS_IOC_OPERATIONS, &page))
			return -errno;
		if (page.count)
			error = append((void **)&s->operations, &s->operation_count,
				page.operations, page.count, sizeof(page.operations[0]));
	} while (!error && page.count && s->operation_count < most);
	return error;
}

static int take_pins(int control, uint64_t inode, size_t most, struct snapshot *s)
{
	struct leasefs_pins page = {.inode = inode};
	int error = 0;

	do {
		if (ioctl(control, LEASEFS_IOC_PINS, &page))
			return -errno;
		if (page.count)
			error = append((void **)&s->pins, &s->pin_count, page.pins, page.count,
				sizeof(page.pins[0]));
	} while (!error && page.count && s->pin_count < most);
	return error;
}

int snapshot_take(int control, uint64_t inode, size_t most, struct snapshot *out)
{
	struct snapshot s = {0};
	struct timespec t;
	int error = 0;

	clock_gettime(CLOCK_MONOTONIC, &t);
	s.taken_ns = (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
	if (ioctl(control, LEASEFS_IOC_STATUS, &s.status))
		return -errno;
	error = take_sessions(control, most, &s);
	if (!error)
		error = take_leases(control, inode, most, &s);
	if (!error)
		error = take_operations(control, most, &s);
	if (!error && inode)
		error = take_pins(control, inode, most, &s);
	if (error)
		snapshot_free(&s);
	else
		*out = s;
	return error;
}

void snapshot_free(struct snapshot *s)
{
	free(s->sessions);
	free(s->leases);
	free(s->operations);
	free(s->pins);
	*s = (struct snapshot){0};
}

static json_object *session_json(const struct leasefs_session_info *n)
{
	json_object *o = json_object_new_object();

	add_number(o, "session", n->session);
	add_number(o, "pid", n->pid);
	add_number(o, "uid", n->uid);
	add_number(o, "leases", n->leases);
	add_number(o, "revoked", n->revoked);
	add_number(o, "range_pins", n->range_pins);
	add_number(o, "wants", n->wants);
	add_number(o, "age_ns", n->age_ns);
	add_bool(o, "closed", n->flags & LEASEFS_SESSION_CLOSED);
	add_bool(o, "process_gone", n->flags & LEASEFS_SESSION_DEAD);
	return o;
}

static json_object *operation_json(const struct leasefs_operation *p)
{
	json_object *o = json_object_new_object();

	add_number(o, "number", p->number);
	add_text(o, "operation", p->operation);
	add_number(o, "inode", p->inode);
	add_number(o, "offset", p->offset);
	add_number(o, "length", p->length);
	add_number(o, "pid", p->pid);
	add_number(o, "uid", p->uid);
	add_number(o, "waited_ns", p->waited_ns);
	add_number(o, "left_ns", p->left_ns);
	add_number(o, "lease", p->lease);
	add_number(o, "session", p->session);
	add_number(o, "holder_pid", p->holder_pid);
	add_number(o, "holder_uid", p->holder_uid);
	return o;
}

json_object *snapshot_json(const struct snapshot *s, const char *mount)
{
	json_object *o = status_json(&s->status, mount), *operations = json_object_new_array(),
		    *sessions = json_object_new_array(), *leases = json_object_new_array();

	for (size_t i = 0; i < s->operation_count; i++)
		json_object_array_add(operations, operation_json(&s->operations[i]));
	for (size_t i = 0; i < s->session_count; i++)
		json_object_array_add(sessions, session_json(&s->sessions[i]));
	for (size_t i = 0; i < s->lease_count; i++)
		json_object_array_add(leases, lease_json(&s->leases[i]));
	json_object_object_add(o, "operations", operations);
	json_object_object_add(o, "sessions", sessions);
	json_object_object_add(o, "leases", leases);
	return o;
}
