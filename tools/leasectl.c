// SPDX-License-Identifier: BSD-2-Clause
/*
 * leasectl.c - what a pool or a mount is doing.
 *
 *   leasectl POOL-or-MOUNT status [--json]
 *   leasectl MOUNT leases [--json] [FILE]      FILE: its leases alone
 *   leasectl MOUNT conflicts [--json] [FILE]   what failed with EBUSY lately, and who held
 *
 * A mount is asked through its control file. A pool that is mounted somewhere is asked through that
 * mount; one that is not is opened read-only.
 *
 * Exit status: 0; 1 with a sentence; 2 for a wrong command line.
 */
#include <errno.h>
#include <fcntl.h>
#include <json.h>
#include <mntent.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core.h"
#include "leasefs/control.h"

static bool as_json;

/* ---- rows: the same for people and for programs ---------------------------------------------- */

static json_object *add_number(json_object *o, const char *name, uint64_t value)
{
	json_object_object_add(o, name, json_object_new_uint64(value));
	return o;
}

static json_object *add_text(json_object *o, const char *name, const char *value)
{
	json_object_object_add(o, name, json_object_new_string(value));
	return o;
}

static void print_json(json_object *o)
{
	printf("%s\n", json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY |
		JSON_C_TO_STRING_SPACED | JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(o);
}

static const char *size_text(uint64_t bytes, char out[32])
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
	double n = (double)bytes;
	int unit = 0;

	while (n >= 1024 && unit < 4) {
		n /= 1024;
		unit++;
	}
	snprintf(out, 32, unit && n < 100 ? "%.1f %s" : "%.0f %s", n, units[unit]);
	return out;
}

static const char *media_promise(uint32_t media, uint32_t durability)
{
	if (media == REGION_PMEM)
		return "nothing acknowledged is lost, by a crash of the daemon or of power";
	if (media == REGION_VOLATILE)
		return "nothing is lost by a crash of the daemon; all by a reboot";
	return durability == DURABILITY_STRICT ?
		"nothing acknowledged is lost, by a crash of the daemon or of power" :
		"nothing is lost by a crash of the daemon; power loss goes back to the last sync";
}

/* ---- status ---------------------------------------------------------------------------------- */

static void show_size(const char *name, uint64_t bytes)
{
	char text[32];

	printf("%-18s %s\n", name, size_text(bytes, text));
}

static void status_json(const struct leasefs_status *s, const char *mount)
{
	json_object *o = json_object_new_object(), *leases = json_object_new_object();

	add_text(o, "pool", s->pool);
	if (mount)
		add_text(o, "mount", mount);
	add_text(o, "uuid", s->uuid);
	add_text(o, "label", s->label);
	add_number(o, "format_major", s->format_major);
	add_number(o, "format_minor", s->format_minor);
	add_text(o, "media", region_media_name((enum region_media)s->media));
	add_text(o, "durability", s->durability == DURABILITY_STRICT ? "strict" : "relaxed");
	add_text(o, "domains", s->domains ? "uid" : "single");
	add_number(o, "regions", s->regions);
	add_number(o, "pool_bytes", s->pool_bytes);
	add_number(o, "free_bytes", s->free_bytes);
	add_number(o, "pending_bytes", s->pending_bytes);
	add_number(o, "meta_bytes", s->meta_bytes);
	add_number(o, "meta_free_bytes", s->meta_free_bytes);
	add_number(o, "inodes_used", s->inodes_used);
	json_object_object_add(o, "mounted", json_object_new_boolean(mount != NULL));
	if (!mount) {
		json_object_put(leases);
		print_json(o);
		return;
	}
	add_number(o, "inodes_cached", s->inodes_cached);
	add_number(o, "daemon_pid", s->daemon_pid);
	add_text(o, "policy", s->policy);
	json_object_object_add(o, "draining", json_object_new_boolean(s->draining));
	add_number(leases, "sessions", s->sessions);
	add_number(leases, "leases", s->leases);
	add_number(leases, "revoked", s->revoked);
	add_number(leases, "range_pins", s->range_pins);
	add_number(leases, "parked", s->parked);
	add_number(leases, "wants", s->wants);
	add_number(leases, "quarantine_bytes", s->quarantine_bytes);
	add_number(leases, "quarantine_leaked_bytes", s->quarantine_leaked_bytes);
	add_number(leases, "inherited_bytes", s->inherited_bytes);
	add_number(leases, "grants", s->grants);
	add_number(leases, "returns", s->returns);
	add_number(leases, "recalls", s->recalls);
	add_number(leases, "revocations", s->revocations);
	add_number(leases, "busy", s->busy);
	json_object_object_add(o, "arbitration", leases);
	print_json(o);
}

static void status_text(const struct leasefs_status *s, const char *mount)
{
	printf("%-18s %s\n", "pool", s->pool);
	if (mount)
		printf("%-18s %s, daemon %llu\n", "mounted at", mount,
			(unsigned long long)s->daemon_pid);
	else
		printf("%-18s no\n", "mounted");
	printf("%-18s %s%s%s\n", "uuid", s->uuid, s->label[0] ? ", label " : "", s->label);
	printf("%-18s %u.%u, domains=%s, %u data region%s\n", "format", s->format_major,
		s->format_minor, s->domains ? "uid" : "single", s->regions,
		s->regions == 1 ? "" : "s");
	printf("%-18s %s, durability=%s: %s\n", "media",
		region_media_name((enum region_media)s->media),
		s->durability == DURABILITY_STRICT ? "strict" : "relaxed",
		media_promise(s->media, s->durability));
	show_size("size", s->pool_bytes);
	show_size("free", s->free_bytes);
	show_size("metadata", s->meta_bytes);
	show_size("metadata free", s->meta_free_bytes);
	printf("%-18s %llu\n", "inodes", (unsigned long long)s->inodes_used);
	if (!mount)
		return;
	printf("%-18s %s%s\n", "policy", s->policy, s->draining ? ", draining" : "");
	printf("%-18s %llu in %llu sessions, %llu range pins, %llu revoked\n", "leases",
		(unsigned long long)s->leases, (unsigned long long)s->sessions,
		(unsigned long long)s->range_pins, (unsigned long long)s->revoked);
	printf("%-18s %llu operations, %llu lease requests\n", "waiting",
		(unsigned long long)s->parked, (unsigned long long)s->wants);
	show_size("quarantine", s->quarantine_bytes + s->quarantine_leaked_bytes);
	if (s->inherited_bytes)
		show_size("inherited", s->inherited_bytes);
	printf("%-18s %llu granted, %llu returned, %llu recalled, %llu revoked, %llu EBUSY\n",
		"since start", (unsigned long long)s->grants, (unsigned long long)s->returns,
		(unsigned long long)s->recalls, (unsigned long long)s->revocations,
		(unsigned long long)s->busy);
}

static int pool_status(const char *pool)
{
	struct core_options options = {.pool = pool, .read_only = true};
	struct leasefs_status s = {.abi = LEASEFS_ABI};
	struct diag d = {.text = ""};
	struct core_info info;
	struct core *c;
	int error = core_open(&options, &c, &d);

	if (error) {
		fprintf(stderr, "leasectl: %s\n", d.text[0] ? d.text : strerror(-error));
		return 1;
	}
	core_get_info(c, &info);
	s.format_major = info.format_major;
	s.format_minor = info.format_minor;
	s.regions = info.regions;
	s.media = (uint32_t)info.meta_media;
	s.durability = (uint32_t)info.durability;
	s.domains = info.domains;
	s.pool_bytes = info.pool_bytes;
	s.free_bytes = info.free_bytes;
	s.pending_bytes = info.pending_bytes;
	s.meta_bytes = info.meta_bytes;
	s.meta_free_bytes = info.meta_free_bytes;
	s.inodes_used = info.inodes_used;
	snprintf(s.uuid, sizeof(s.uuid), "%s", info.uuid);
	snprintf(s.label, sizeof(s.label), "%s", info.label);
	snprintf(s.pool, sizeof(s.pool), "%.*s", (int)sizeof(s.pool) - 1, pool);
	core_close(c);
	if (as_json)
		status_json(&s, NULL);
	else
		status_text(&s, NULL);
	return 0;
}

static int failed(const char *what)
{
	fprintf(stderr, "leasectl: %s: %s\n", what, strerror(errno));
	return 1;
}

static int mount_status(int control, const char *mount)
{
	struct leasefs_status s = {0};

	if (ioctl(control, LEASEFS_IOC_STATUS, &s))
		return failed(mount);
	if (as_json)
		status_json(&s, mount);
	else
		status_text(&s, mount);
	return 0;
}

/* ---- leases and conflicts -------------------------------------------------------------------- */

static const char *flags_text(uint32_t flags, char out[96])
{
	snprintf(out, 96, "%s%s%s%s%s", flags & LEASEFS_LEASE_EXCLUSIVE ? " exclusive" : "",
		flags & LEASEFS_LEASE_RECALLED ? " recalled" : "",
		flags & LEASEFS_LEASE_REVOKED ? " revoked" : "",
		flags & LEASEFS_LEASE_PINNED ? " pinned" : "",
		flags & LEASEFS_LEASE_ORPHANED ? " orphaned" : "");
	return out[0] ? out + 1 : out;
}

static void show_lease(const struct leasefs_lease_info *l, json_object *rows)
{
	const char *mode = l->mode == LEASEFS_MODE_WRITE ? "write" : "read";
	char flags[96];
	json_object *o;

	if (!rows) {
		printf("%-12llx %8llu %8u %6u %10llu [%llu, %llu) %s %s\n",
			(unsigned long long)l->lease, (unsigned long long)l->session, l->pid,
			l->uid, (unsigned long long)l->inode, (unsigned long long)l->offset,
			(unsigned long long)(l->offset + l->length), mode,
			flags_text(l->flags, flags));
		return;
	}
	o = json_object_new_object();
	add_number(o, "lease", l->lease);
	add_number(o, "session", l->session);
	add_number(o, "pid", l->pid);
	add_number(o, "uid", l->uid);
	add_number(o, "inode", l->inode);
	add_number(o, "offset", l->offset);
	add_number(o, "length", l->length);
	add_text(o, "mode", mode);
	add_text(o, "flags", flags_text(l->flags, flags));
	add_number(o, "range_pins", l->range_pins);
	add_number(o, "age_ns", l->age_ns);
	add_number(o, "recall_left_ns", l->recall_left_ns);
	add_number(o, "quarantine_bytes", l->quarantine_bytes);
	json_object_array_add(rows, o);
}

static int list_leases(int control, uint64_t inode)
{
	json_object *rows = as_json ? json_object_new_array() : NULL;
	struct leasefs_leases page = {.inode = inode};

	if (!rows)
		printf("%-12s %8s %8s %6s %10s range\n", "lease", "session", "process", "uid",
			"inode");
	do {
		page.count = 0;
		if (ioctl(control, LEASEFS_IOC_LEASES, &page)) {
			json_object_put(rows);
			return failed("leases");
		}
		for (uint32_t i = 0; i < page.count; i++)
			show_lease(&page.leases[i], rows);
	} while (page.count > 0);
	if (rows)
		print_json(rows);
	return 0;
}

static void show_conflict(const struct leasefs_conflict *c, json_object *rows)
{
	json_object *o;

	if (!rows) {
		printf("%.1f s ago: %s of inode %llu from %llu by process %u (uid %u) failed after"
		       " %.3f s: %s [%llu, %llu) by session %llu, process %u (uid %u), lease %llx,"
		       " then %.1f s old\n",
			(double)c->ago_ns / 1e9, c->operation, (unsigned long long)c->inode,
			(unsigned long long)c->offset, c->pid, c->uid, (double)c->waited_ns / 1e9,
			c->own ? "its own pin" : c->unbreakable ? "pinned unbreakably" : "pinned",
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

static int list_conflicts(int control, uint64_t inode)
{
	json_object *rows = as_json ? json_object_new_array() : NULL;
	struct leasefs_conflicts page = {.inode = inode};

	do {
		page.count = 0;
		if (ioctl(control, LEASEFS_IOC_CONFLICTS, &page)) {
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

/* ---- finding the mount ----------------------------------------------------------------------- */

static int open_control(const char *mount)
{
	char path[4096 + sizeof(LEASEFS_CONTROL_PATH)];

	snprintf(path, sizeof(path), "%s/%s", mount, LEASEFS_CONTROL_PATH);
	return open(path, O_RDWR | O_CLOEXEC);
}

/* `where` becomes the mount point if it is a pool that is mounted. -1: ask the pool itself. */
static int find_control(char where[4096])
{
	struct mntent *m;
	int fd = open_control(where);
	FILE *mounts;

	if (fd >= 0)
		return fd;
	mounts = setmntent("/proc/self/mounts", "r");
	while (mounts && (m = getmntent(mounts))) {
		if (!strncmp(m->mnt_type, "fuse.leasefs", 12) && !strcmp(m->mnt_fsname, where)) {
			fd = open_control(m->mnt_dir);
			if (fd >= 0) {
				snprintf(where, 4096, "%s", m->mnt_dir);
				break;
			}
		}
	}
	if (mounts)
		endmntent(mounts);
	return fd;
}

static int usage(void)
{
	fprintf(stderr, "usage: leasectl POOL-or-MOUNT status [--json]\n"
			"       leasectl MOUNT leases|conflicts [--json] [FILE]\n");
	return 2;
}

static int run(char where[4096], const char *verb, const char *file)
{
	int control = find_control(where), result;
	struct stat st = {.st_ino = 0};

	if (file && stat(file, &st))
		return failed(file);
	if (!strcmp(verb, "status"))
		result = control < 0 ? pool_status(where) : mount_status(control, where);
	else if (control < 0)
		result = failed("not a mount of leasefs");
	else if (!strcmp(verb, "leases"))
		result = list_leases(control, st.st_ino);
	else
		result = list_conflicts(control, st.st_ino);
	if (control >= 0)
		close(control);
	return result;
}

int main(int argc, char **argv)
{
	const char *words[3] = {NULL};
	char where[4096];
	int n = 0;

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--json"))
			as_json = true;
		else if (argv[i][0] == '-' || n == 3)
			return usage();
		else
			words[n++] = argv[i];
	}
	if (n < 2 || (strcmp(words[1], "status") && strcmp(words[1], "leases") &&
		strcmp(words[1], "conflicts")) || (n == 3 && !strcmp(words[1], "status")))
		return usage();
	if (!realpath(words[0], where))
		return failed(words[0]);
	return run(where, words[1], words[2]);
}
