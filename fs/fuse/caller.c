// SPDX-License-Identifier: BSD-2-Clause
/*
 * caller.c - credentials. The process waits for our reply, so that what /proc says of it holds.
 */
#include "caller.h"

#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "channel.h"
#include "daemon.h"

#define GROUPS_AT_ONCE 64

static bool caller_in_group(const struct core_cred *cred, uint32_t gid)
{
	gid_t some[GROUPS_AT_ONCE], *list = some;
	bool found = cred->gid == gid;

	if (found)
		return true;
	int count = fuse_req_getgroups(cred->context, GROUPS_AT_ONCE, some);
	if (count > GROUPS_AT_ONCE) {
		list = malloc((size_t)count * sizeof(*list));
		if (list == NULL)
			return false;
		int again = fuse_req_getgroups(cred->context, count, list);
		count = again < count ? again : count;
	}
	for (int i = 0; i < count && !found; i++)
		found = list[i] == gid;
	if (list != some)
		free(list);
	return found;
}

static bool process_has_fsetid(uint32_t pid, uint32_t uid)
{
	char path[64], line[256];
	unsigned long long effective = 0;
	bool known = false;

	snprintf(path, sizeof(path), "/proc/%u/status", pid);
	FILE *status = fopen(path, "re");
	if (status == NULL)
		return uid == 0; /* of another pid namespace */
	while (!known && fgets(line, sizeof(line), status) != NULL)
		known = sscanf(line, "CapEff: %llx", &effective) == 1;
	fclose(status);
	return known ? (effective >> CAP_FSETID & 1) != 0 : uid == 0;
}

void caller_init(struct caller *caller, fuse_req_t req, bool fsetid)
{
	const struct fuse_ctx *context = fuse_req_ctx(req);

	*caller = (struct caller){
		.cred = {.uid = context->uid,
			.gid = context->gid,
			.umask = context->umask,
			.fsetid = fsetid,
			.in_group = caller_in_group,
			.context = req},
		.pid = (uint32_t)context->pid,
	};
}

void caller_init_noted(struct caller *caller, fuse_req_t req)
{
	bool fsetid = channel_kills_privileges(daemon_of(req)) ? !channel_note()->kill_privileges
							       : fuse_req_ctx(req)->uid == 0;

	caller_init(caller, req, fsetid);
}

void caller_init_asked(struct caller *caller, fuse_req_t req, struct inode *ip)
{
	struct stat st;

	caller_init(caller, req, true);
	if (core_getattr(daemon_of(req)->core, ip, &st, NULL) == 0 &&
		(st.st_mode & (S_ISUID | S_ISGID)) != 0)
		caller->cred.fsetid = process_has_fsetid(caller->pid, caller->cred.uid);
}
