// SPDX-License-Identifier: BSD-2-Clause
/*
 * audit.c - processes that map a part of a region that no lease of theirs covers: children that
 * have inherited a mapping, holders that kept one after the lease was revoked or returned. What the
 * kernel itself holds (registered buffers, RDMA) is not in /proc, and not seen here.
 *
 * Leases are read before the mappings, and come and go meanwhile; so only what is found twice
 * counts.
 */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "claims.h"

#define FINDINGS_MAX 65536u

struct finding {
	uint32_t pid, uid;
	uint32_t region;
	uint64_t address;
	uint64_t start, end; /* of the region: what is not covered */
	/* Why, as far as leases tell; 0: they do not. */
	uint64_t revoked_lease, inode;
	uint32_t leased_pid;
};

struct audit {
	struct claims claims;
	struct finding *findings;
	size_t count, room;
	size_t unreadable; /* processes whose mappings could not be read */
};

static int add_finding(struct audit *a, const struct finding *f)
{
	if (a->count == a->room) {
		size_t room = a->room ? a->room * 2 : 64;
		struct finding *grown =
			room > FINDINGS_MAX ? NULL : realloc(a->findings, room * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		a->findings = grown;
		a->room = room;
	}
	a->findings[a->count++] = *f;
	return 0;
}

static void find_reason(const struct audit *a, struct finding *f)
{
	const struct claim *claim = claims_find(&a->claims, f->region, f->start, f->end);

	for (size_t i = 0; i < a->claims.now.lease_count; i++) {
		const struct leasefs_lease_info *l = &a->claims.now.leases[i];

		if (l->pid == f->pid && (l->flags & LEASEFS_LEASE_REVOKED)) {
			f->revoked_lease = l->lease;
			f->inode = l->inode;
			return;
		}
	}
	if (claim && claim->pid != f->pid) {
		f->leased_pid = claim->pid;
		f->inode = claim->inode;
	}
}

/* One mapping of a region: every part of it without a lease is a finding. */
static int look_at_mapping(struct audit *a, struct finding *f, uint64_t offset, uint64_t bytes)
{
	uint64_t at = offset, address = f->address;
	int error = 0;

	while (!error &&
		claims_gap(&a->claims, f->region, f->pid, at, offset + bytes, &f->start, &f->end)) {
		f->address = address + (f->start - offset);
		f->revoked_lease = f->inode = f->leased_pid = 0;
		find_reason(a, f);
		error = add_finding(a, f);
		at = f->end;
	}
	return error;
}

/* Some filesystems show another device in maps than in stat(2): then the name has to do. */
static bool find_region(
	const struct audit *a, dev_t device, uint64_t inode, const char *line, uint32_t *out)
{
	for (size_t i = 0; i < a->claims.region_count; i++) {
		const struct region_file *r = &a->claims.regions[i];

		if (r->inode == inode && (r->device == device || strstr(line, r->path))) {
			*out = (uint32_t)i;
			return true;
		}
	}
	return false;
}

/* The daemon, and the process that it has beside it, which never touches what it has inherited. */
static bool is_the_daemons(const struct audit *a, uint32_t pid)
{
	uint64_t daemon = a->claims.now.status.daemon_pid;
	char path[64], line[256];
	unsigned parent = 0;
	FILE *status;

	snprintf(path, sizeof(path), "/proc/%u/status", pid);
	status = fopen(path, "re");
	while (status && fgets(line, sizeof(line), status))
		if (sscanf(line, "PPid: %u", &parent) == 1)
			break;
	if (status)
		fclose(status);
	return pid == daemon || parent == daemon;
}

static int look_at_process(struct audit *a, uint32_t pid)
{
	char path[64], *line = NULL;
	size_t room = 0;
	struct stat st;
	int error = 0;
	FILE *maps;

	snprintf(path, sizeof(path), "/proc/%u", pid);
	if (stat(path, &st))
		return 0; /* gone */
	snprintf(path, sizeof(path), "/proc/%u/maps", pid);
	maps = fopen(path, "re");
	if (!maps) {
		a->unreadable += errno != ENOENT && errno != ESRCH;
		return 0;
	}
	while (!error && getline(&line, &room, maps) > 0) {
		unsigned major_number, minor_number;
		uint64_t start, end, offset, inode;
		struct finding f = {.pid = pid, .uid = st.st_uid};

		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %*s %" SCNx64 " %x:%x %" SCNu64, &start,
			    &end, &offset, &major_number, &minor_number, &inode) != 6 ||
			!find_region(
				a, makedev(major_number, minor_number), inode, line, &f.region))
			continue;
		f.address = start;
		error = look_at_mapping(a, &f, offset, end - start);
	}
	free(line);
	fclose(maps);
	return error;
}

static int look_at_all(int control, struct audit *a)
{
	struct dirent *entry;
	DIR *proc;
	int error = claims_read(control, &a->claims);

	if (error)
		return error;
	proc = opendir("/proc");
	if (!proc)
		return -errno;
	while (!error && (entry = readdir(proc))) {
		uint64_t pid;

		if (parse_number(entry->d_name, &pid) && pid <= UINT32_MAX &&
			!is_the_daemons(a, (uint32_t)pid))
			error = look_at_process(a, (uint32_t)pid);
	}
	closedir(proc);
	return error;
}

static bool is_in(const struct audit *a, const struct finding *f)
{
	for (size_t i = 0; i < a->count; i++) {
		const struct finding *g = &a->findings[i];

		if (g->pid == f->pid && g->region == f->region && g->address == f->address &&
			g->start == f->start)
			return true;
	}
	return false;
}

static void reason_text(const struct finding *f, char out[160])
{
	char name[32];

	if (f->revoked_lease)
		snprintf(out, 160, "kept though lease %" PRIx64 " of inode %" PRIu64 " was revoked",
			f->revoked_lease, f->inode);
	else if (f->leased_pid)
		snprintf(out, 160,
			"the lease there, on inode %" PRIu64 ", is that of process %u (%s)",
			f->inode, f->leased_pid, process_name(f->leased_pid, name));
	else
		snprintf(out, 160, "nobody leases it");
}

static void show(const struct audit *a, const struct finding *f, json_object *rows)
{
	const char *path = a->claims.regions[f->region].path;
	char name[32], reason[160];
	json_object *o;

	reason_text(f, reason);
	process_name(f->pid, name);
	if (!rows) {
		printf("process %u (%s, uid %u) maps [%" PRIu64 ", %" PRIu64 ") of %s at %" PRIx64
		       ": %s\n",
			f->pid, name, f->uid, f->start, f->end, path, f->address, reason);
		return;
	}
	o = json_object_new_object();
	add_number(o, "pid", f->pid);
	add_text(o, "command", name);
	add_number(o, "uid", f->uid);
	add_text(o, "file", path);
	add_number(o, "region", f->region);
	add_number(o, "offset", f->start);
	add_number(o, "length", f->end - f->start);
	add_number(o, "address", f->address);
	if (f->inode)
		add_number(o, "inode", f->inode);
	add_text(o, "reason", reason);
	json_object_array_add(rows, o);
}

static int report(const struct audit *first, const struct audit *second)
{
	json_object *rows = as_json ? json_object_new_array() : NULL;
	size_t count = 0;

	for (size_t i = 0; i < second->count; i++) {
		if (!is_in(first, &second->findings[i]))
			continue;
		show(second, &second->findings[i], rows);
		count++;
	}
	if (rows)
		print_json(rows);
	else if (!count)
		printf("no process maps what it holds no lease on\n");
	if (second->unreadable)
		fprintf(stderr, "leasectl: the mappings of %zu process%s could not be read\n",
			second->unreadable, second->unreadable == 1 ? "" : "es");
	return count ? LEASECTL_FOUND : LEASECTL_DONE;
}

static void audit_free(struct audit *a)
{
	claims_free(&a->claims);
	free(a->findings);
}

int do_audit(const struct request *r)
{
	struct audit first = {0}, second = {0};
	int result = LEASECTL_DONE, error;

	if (geteuid() != 0) {
		errno = EPERM;
		return failed("audit");
	}
	error = look_at_all(r->control, &first);
	if (!error)
		error = look_at_all(r->control, &second);
	errno = -error;
	result = error ? failed("audit") : report(&first, &second);
	audit_free(&first);
	audit_free(&second);
	return result;
}
