// SPDX-License-Identifier: BSD-2-Clause
/* status.c - a pool or a mount at a glance. */
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "core.h"
#include "leasectl.h"

static const char *media_promise(uint32_t media, uint32_t durability)
{
	if (media == REGION_PMEM)
		return "nothing acknowledged is lost, by a crash of the daemon or of power";
	if (media == REGION_VOLATILE)
		return "nothing is lost by a crash of the daemon; all by a reboot";
	return durability == DURABILITY_STRICT
		       ? "nothing acknowledged is lost, by a crash of the daemon or of power"
		       : "nothing is lost by a crash of the daemon; power loss goes back to the "
			 "last sync";
}

static void show_size(const char *name, uint64_t bytes)
{
	char text[32];

	printf("%-18s %s\n", name, size_text(bytes, text));
}

json_object *status_json(const struct leasefs_status *s, const char *mount)
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
		return o;
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
	return o;
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

struct pieces {
	bool known; /* an older daemon does not say */
	uint64_t count, largest_bytes;
};

static void add_pieces(struct pieces *p, uint64_t count, uint64_t largest_bytes)
{
	p->count += count;
	if (largest_bytes > p->largest_bytes)
		p->largest_bytes = largest_bytes;
}

static void mount_pieces(int control, struct pieces *out)
{
	struct leasefs_space page = {0};

	do {
		page = (struct leasefs_space){.cursor = page.cursor};
		if (ioctl(control, LEASEFS_IOC_SPACE, &page))
			return;
		add_pieces(out, page.free_extents, page.largest_bytes);
	} while (page.cursor);
	out->known = true;
}

static void pool_pieces(struct core *c, struct pieces *out)
{
	struct core_runs_place place = {0};
	struct core_free_runs runs;

	do {
		if (core_count_free_runs(c, &place, &runs))
			return;
		add_pieces(out, runs.runs, runs.largest_bytes);
	} while (place.region != CORE_RUNS_END);
	out->known = true;
}

static void show_status(const struct leasefs_status *s, const char *mount, const struct pieces *p)
{
	json_object *o;
	char text[32];

	if (!as_json) {
		status_text(s, mount);
		if (p->known)
			printf("%-18s %llu, the largest of %s\n", "free extents",
				(unsigned long long)p->count, size_text(p->largest_bytes, text));
		return;
	}
	o = status_json(s, mount);
	if (p->known) {
		add_number(o, "free_extents", p->count);
		add_number(o, "largest_free_bytes", p->largest_bytes);
	}
	print_json(o);
}

static int pool_status(const char *pool)
{
	struct core_options options = {.pool = pool, .read_only = true};
	struct leasefs_status s = {.abi = LEASEFS_ABI};
	struct diag d = {.text = ""};
	struct pieces pieces = {0};
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
	pool_pieces(c, &pieces);
	core_close(c);
	show_status(&s, NULL, &pieces);
	return 0;
}

static int mount_status(int control, const char *mount)
{
	struct leasefs_status s = {0};
	struct pieces pieces = {0};

	if (ioctl(control, LEASEFS_IOC_STATUS, &s))
		return failed(mount);
	mount_pieces(control, &pieces);
	show_status(&s, mount, &pieces);
	return 0;
}

int do_status(const struct request *r)
{
	return r->control < 0 ? pool_status(r->where) : mount_status(r->control, r->where);
}
