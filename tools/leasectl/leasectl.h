// SPDX-License-Identifier: BSD-2-Clause
/*
 * leasectl.h - what the parts of leasectl share.
 *
 * A verb gets a request and returns the exit status: LEASECTL_DONE, or another one after a sentence
 * on standard error that says what to do about it. With --json each prints one document; those that
 * go on print one a line.
 */
#ifndef LEASECTL_H
#define LEASECTL_H

#include <json.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "leasefs/control.h"

enum leasectl_status {
	LEASECTL_DONE = 0,
	LEASECTL_FAILED = 1,
	LEASECTL_USAGE = 2, /* the command line is wrong */
	LEASECTL_FOUND = 3, /* audit: there is something to look at */
};

#define WORDS_MAX 3

struct request {
	const char *words[WORDS_MAX]; /* after the verb */
	int count;
	char where[4096]; /* the mount point; a pool that is not mounted */
	int control;      /* -1: not mounted */
	uint64_t inode;   /* of words[0], if the verb takes a file there; 0: none */
	bool svg, once, all;
	const char *out;   /* a file instead of standard output */
	const char *sort;  /* a column */
	uint64_t session;  /* 0: all */
	double interval_s; /* 0: as the verb likes */
};

extern bool as_json;

/* verbs.c. The usages return LEASECTL_DONE on standard output, LEASECTL_USAGE elsewhere. */
struct verb;
const struct verb *find_verb(const char *name); /* NULL */
bool verb_takes_file(const struct verb *verb);
bool verb_takes_pool(const struct verb *verb);                       /* that is not mounted */
bool verb_accepts(const struct verb *verb, const struct request *r); /* words and options */
int verb_run(const struct verb *verb, const struct request *r);
int verb_usage(const struct verb *verb, FILE *out);
int verbs_usage(FILE *out);

/* mounts.c: -1 if it is no mount, nor a pool that is mounted. `where` becomes the mount point. */
int find_control(char where[4096], const char *typed);
bool find_mount_of(const char *file, char where[4096]);
unsigned find_only_mount(char where[4096]); /* how many there are; `where` is the first one */

/* output.c. The adders return `o`. */
json_object *add_number(json_object *o, const char *name, uint64_t value);
json_object *add_text(json_object *o, const char *name, const char *value);
json_object *add_bool(json_object *o, const char *name, bool value);
void print_json(json_object *o);      /* and puts it */
void print_json_line(json_object *o); /* and puts it */
const char *size_text(uint64_t bytes, char out[32]);
/* "[0, 65536)"; length 0: to the end */
const char *range_text(uint64_t offset, uint64_t length, char out[64]);
const char *process_name(uint32_t pid, char out[32]); /* its command, "-" if it is gone */
FILE *open_output(const struct request *r);           /* NULL, after saying why */
int close_output(const struct request *r, FILE *out);
int failed(const char *what); /* "leasectl: what: errno's words"; LEASECTL_FAILED */

/* status.c */
int do_status(const struct request *r);
json_object *status_json(const struct leasefs_status *s, const char *mount); /* NULL: a pool */

/* holders.c */
int do_leases(const struct request *r);
int do_quarantine(const struct request *r);
int do_pins(const struct request *r);
int do_conflicts(const struct request *r);
const char *lease_flags_text(uint32_t flags, char out[96]);
json_object *lease_json(const struct leasefs_lease_info *l);

/* files.c */
int do_layout(const struct request *r);
int do_policy(const struct request *r);

/* admin.c */
int do_recall(const struct request *r);
int do_drain(const struct request *r);
int do_release(const struct request *r);
bool parse_number(const char *text, uint64_t *out);

/* snapshot.c: everything that there is, at one moment as near as separate calls come to it. */
struct snapshot {
	uint64_t taken_ns; /* CLOCK_MONOTONIC */
	struct leasefs_status status;
	struct leasefs_session_info *sessions;
	struct leasefs_lease_info *leases;
	struct leasefs_operation *operations;
	struct leasefs_pin_info *pins; /* of ranges; those of `inode` alone */
	size_t session_count, lease_count, operation_count, pin_count;
};
/* inode 0: of all files, without range pins. At most `most` of each list. -errno. */
int snapshot_take(int control, uint64_t inode, size_t most, struct snapshot *out);
void snapshot_free(struct snapshot *s);
json_object *snapshot_json(const struct snapshot *s, const char *mount);

/* history.c: the daemon's log of what has happened. */
struct history_reader {
	int control;
	struct leasefs_history page;
	uint32_t at;
};
/* From the oldest record on, or from now on. */
int history_open(struct history_reader *h, const struct request *r, bool from_now);
/*
 * 1: *out is the next record, and *lost more were missed before it. 0: no more for now. -errno.
 */
int history_next(struct history_reader *h, const struct leasefs_record **out, uint64_t *lost);
/* What a record's time is on the wall, in nanoseconds since 1970. */
uint64_t history_wall_ns(const struct history_reader *h, uint64_t time_ns);

/* record.c */
const char *record_name(uint32_t kind);
void record_print(const struct leasefs_record *r, uint64_t wall_ns, FILE *out);
json_object *record_json(const struct leasefs_record *r, uint64_t wall_ns);

/* watch.c, top.c, metrics.c, map.c, timeline.c, audit.c */
int do_watch(const struct request *r);
int do_top(const struct request *r);
int do_metrics(const struct request *r);
int do_map(const struct request *r);
int do_timeline(const struct request *r);
int do_audit(const struct request *r);

#endif
