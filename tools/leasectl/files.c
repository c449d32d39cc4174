// SPDX-License-Identifier: BSD-2-Clause
/* files.c - what is asked of a file itself: its layout and its policy. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "leasectl.h"

static const char *const states[] = {
	[LEASEFS_EXTENT_WRITTEN] = "written",
	[LEASEFS_EXTENT_UNWRITTEN] = "unwritten",
	[LEASEFS_EXTENT_HOLE] = "hole",
};

static void show_extent(const struct leasefs_extent *e, json_object *rows)
{
	const char *state = e->state <= LEASEFS_EXTENT_HOLE ? states[e->state] : "?";
	json_object *o;

	if (!rows) {
		printf("%14llu %14llu  ", (unsigned long long)e->offset,
			(unsigned long long)e->length);
		if (e->state == LEASEFS_EXTENT_HOLE)
			printf("%6s %16s  %s\n", "-", "-", state);
		else
			printf("%6u %16llu  %s\n", e->region, (unsigned long long)e->region_offset,
				state);
		return;
	}
	o = json_object_new_object();
	add_number(o, "offset", e->offset);
	add_number(o, "length", e->length);
	add_text(o, "state", state);
	if (e->state != LEASEFS_EXTENT_HOLE) {
		add_number(o, "region", e->region);
		add_number(o, "region_offset", e->region_offset);
	}
	json_object_array_add(rows, o);
}

int do_layout(const struct request *r)
{
	const char *file = r->words[0];
	json_object *rows = as_json ? json_object_new_array() : NULL;
	int fd = open(file, O_RDONLY | O_CLOEXEC), result = 0;
	struct leasefs_extents page = {0};

	if (fd < 0) {
		json_object_put(rows);
		return failed(file);
	}
	if (!rows)
		printf("%14s %14s  %6s %16s  state\n", "offset", "length", "region", "at");
	do {
		page.offset = page.next;
		if (ioctl(fd, LEASEFS_IOC_EXTENTS, &page)) {
			result = failed(file);
			break;
		}
		for (uint32_t i = 0; i < page.count; i++)
			show_extent(&page.extents[i], rows);
	} while (page.next < page.end);
	close(fd);
	if (result)
		json_object_put(rows);
	else if (rows)
		print_json(rows);
	return result;
}

/* ---- policy ---------------------------------------------------------------------------------- */

#define OWNERS_XATTR "user.leasefs.policy"
#define ADMINISTRATORS_XATTR "trusted.leasefs.policy"

static int show_policy(const char *file)
{
	static const char *const names[] = {ADMINISTRATORS_XATTR, OWNERS_XATTR};
	char policy[257];
	ssize_t n = -1;

	for (int i = 0; i < 2 && n < 0; i++) {
		n = getxattr(file, names[i], policy, sizeof(policy) - 1);
		if (n < 0 && errno != ENODATA)
			return failed(file);
	}
	snprintf(policy + (n < 0 ? 0 : n), sizeof(policy) - (n < 0 ? 0 : (size_t)n), "%s", "");
	if (as_json)
		print_json(add_text(json_object_new_object(), "policy", policy));
	else
		printf("%s\n", n < 0 ? "none of its own: the mount's" : policy);
	return 0;
}

/* Rungs that signal or kill are the administrator's; an empty policy takes both away. */
static int set_policy(const char *file, const char *policy)
{
	bool privileged = strstr(policy, "signal") || strstr(policy, "kill");

	if (!policy[0]) {
		if (removexattr(file, OWNERS_XATTR) && errno != ENODATA)
			return failed(file);
		if (removexattr(file, ADMINISTRATORS_XATTR) && errno != ENODATA && errno != EPERM)
			return failed(file);
		return 0;
	}
	if (setxattr(file, privileged ? ADMINISTRATORS_XATTR : OWNERS_XATTR, policy, strlen(policy),
		    0)) {
		if (errno == EINVAL) {
			fprintf(stderr,
				"leasectl: '%s' is not a policy; try recall:2s/busy, wait, or"
				" recall:1s/signal=SIGBUS:500ms/kill:500ms/orphan\n",
				policy);
			return 1;
		}
		return failed(file);
	}
	return 0;
}

int do_policy(const struct request *r)
{
	return r->count == 1 ? show_policy(r->words[0]) : set_policy(r->words[0], r->words[1]);
}
