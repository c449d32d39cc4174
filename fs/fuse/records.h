// SPDX-License-Identifier: BSD-2-Clause
/*
 * records.h - sessions, leases and range pins as the next daemon of this boot finds them.
 *
 * A client's mappings and pins outlive the daemon. So before a grant or a pin is answered, it is
 * written down in run/:
 *
 *   leases.N   of session N: a header (256 bytes), then a record (256 bytes) for each slot
 *   ranges.N   its range pins: a record (64 bytes) for each slot of theirs; made by the first
 *   pins.N     its pin lines (see holder.h), the only file of these that clients can open
 *   ids        a number above all that were given to sessions, leases and pins
 *
 * leases.N and ranges.N are the daemon's alone (0600). They are written with pwrite, whole records
 * within a page, by a process that may be killed between any two of these: not within one. But a
 * lease's record comes and goes through a mapping where there is one: its first word, which makes
 * it one, is the last that is written, and the only one that is taken away. They need not survive
 * the machine: another boot's are removed.
 *
 * A record says what the lease is, and which extents its holder may map. It has room for
 * RECORD_EXTENTS; of more, those with the smallest gaps between them are taken as one, whose file
 * offset is then RECORD_LOOSE. That keeps too much back after a restart, never too little. A part
 * that was cut off has a copy of all extents: what counts of them lies within its range.
 *
 * A record that cannot be written is an error, and what it was to say does not happen (L11 of
 * leasemgr.h): so nothing is freed under a lease whose record does not say that it is a ghost's.
 *
 * Threads: calls for one slot are made under arbiter.lock, or by the one call that makes the lease
 * in that slot.
 */
#ifndef FUSE_RECORDS_H
#define FUSE_RECORDS_H

#include <stdbool.h>
#include <stdint.h>

#include "leasefs/control.h"
#include "leasemgr.h"
#include "machine.h"
#include "mapped_file.h"

#define RECORD_EXTENTS 7u
#define RECORD_LOOSE UINT64_MAX

struct record_extent {
	uint64_t offset; /* in the file, or RECORD_LOOSE */
	uint64_t region_offset;
	uint32_t blocks;
	uint32_t region;
};

struct lease_record {
	uint64_t lease; /* 0: none in this slot */
	uint64_t origin, rest;
	uint64_t ino;
	uint64_t start, end;
	uint32_t generation; /* of the inode */
	uint32_t mode;
	uint32_t flags; /* as struct lm_lease_record */
	uint32_t count;
	struct record_extent extents[RECORD_EXTENTS];
	uint64_t pad[3];
};
_Static_assert(sizeof(struct lease_record) == 256, "of a slot");

/* A session by the words that its clients have for it: the latest first. */
struct record_name {
	uint64_t boot[2]; /* the daemon's verifier; 0, 0: none */
	uint64_t cookie[2];
};

struct session_record {
	uint64_t magic;
	uint32_t version;
	uint32_t uid;
	uint64_t number;
	uint32_t pid;   /* accountable */
	uint32_t lines; /* 1: it has pin lines */
	uint64_t start_time;
	char machine[MACHINE_BOOT_BYTES];
	struct record_name names[2];
	uint64_t pad[13];
};
_Static_assert(sizeof(struct session_record) == 256, "as a lease's");

struct range_pin_record {
	uint64_t pin; /* 0: none in this slot */
	uint64_t lease;
	uint64_t start, end;
	uint32_t flags;
	uint32_t pad;
	uint64_t pad2[3];
};
_Static_assert(sizeof(struct range_pin_record) == 64, "of a slot");

#define RECORD_NAME_BYTES 32u
enum record_kind { RECORD_LEASES, RECORD_RANGES, RECORD_LINES, RECORD_KINDS };
void record_file_name(enum record_kind kind, uint64_t number, char out[RECORD_NAME_BYTES]);
/* Is it one of these names, and which? */
bool record_file_parse(const char *name, enum record_kind *kind, uint64_t *number);
/* New, empty. -errno. */
int record_file_create(int run_fd, enum record_kind kind, uint64_t number, int *fd);
int record_file_open(int run_fd, enum record_kind kind, uint64_t number, int *fd);
void record_file_remove(int run_fd, enum record_kind kind, uint64_t number);

/* The session's header. -EUCLEAN, when read: it is not of this boot, or nothing that we wrote. */
int session_record_write(int fd, const struct session_record *r);
int session_record_read(int fd, struct session_record *out);

/* Adds the extents that are no holes. -ENOLCK: too many regions at once. */
int lease_record_add(struct lease_record *r, const struct leasefs_extent *extents, uint32_t count);
int lease_record_write(int fd, uint32_t slot, const struct lease_record *r);
/* Those of them that are not in it yet, too. As the first, and -errno of reading and writing. */
int lease_record_note(int fd, uint32_t slot, const struct leasefs_extent *extents, uint32_t count);
/* What it is, from now on; extents and generation stay. */
int lease_record_update(int fd, uint32_t slot, const struct lm_lease_record *r);
int lease_record_copy(int fd, uint32_t from, uint32_t to); /* the extents, for a part */
void lease_record_clear(int fd, uint32_t slot);
/* The same of a record that none is in, and of one that is, through the file's mapping. */
bool lease_record_store(struct mapped_file *f, uint32_t slot, const struct lease_record *r);
bool lease_record_wipe(struct mapped_file *f, uint32_t slot);
/* The bytes of the file with as many slots. */
size_t lease_records_bytes(uint32_t slots);
/* From *slot on, the next one that is there; *slot comes out behind it. -ENOENT: no more. */
int lease_record_next(int fd, uint32_t *slot, struct lease_record *out);

int range_pin_record_write(int fd, const struct range_pin_record *r);
int range_pin_record_move(int fd, uint64_t pin, uint64_t lease);
void range_pin_record_clear(int fd, uint64_t pin);
int range_pin_record_next(int fd, uint32_t *slot, struct range_pin_record *out);

static inline uint32_t record_slot(uint64_t id)
{
	return (uint32_t)(id & ((1u << LM_SLOT_BITS) - 1));
}

/*
 * run/ids: numbers are reserved there a good many at a time, so that no call has to write, and none
 * is given twice in one boot of the machine. `first` is 1 when nothing is known.
 */
#define IDS_AT_ONCE (1ull << 24) /* more than twice what one call can use */
int ids_read(int run_fd, uint64_t *first);
int ids_reserve(int run_fd, uint64_t end);

#endif
