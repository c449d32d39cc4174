// SPDX-License-Identifier: BSD-2-Clause
/*
 * pmem_log.c - an append-only log that lives in a direct mapping.
 *
 *     pmem_log FILE append TEXT...     a record for each TEXT
 *     pmem_log FILE fill COUNT         so many numbered records, each said when it is durable
 *     pmem_log FILE show               checks the log and prints its records
 *
 * A record is a header and its payload, stored and persisted with no system call on pmem; it is
 * there when its checksum fits. The log may be killed at any instruction: what it said to be
 * durable is there in the next run, and a record half written is not.
 *
 * The file is made longer a segment of zeros at a time, and only a commit makes it so: stores
 * behind the end of file would go with the lease. Ordinary readers see the records after a commit.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <leasefs/leasefs.h>

#define SEGMENT_BYTES ((uint64_t)1 << 20)
#define PAYLOAD_MAX 4096u
#define ALIGNMENT 8u

struct record {
	uint32_t checksum; /* of all that follows, the payload included */
	uint32_t bytes;    /* of the payload; 0: the log ends here */
	uint64_t number;   /* 1, 2, ... */
	char payload[];
};

struct log {
	const char *path;
	int fd;
	struct leasefs_session *session;
	struct leasefs_lease *lease;
	char *memory;
	uint64_t size; /* of the file; all of it is leased */
	uint64_t end;  /* of the records */
	uint64_t last; /* number */
};

static void check(int result, const char *what)
{
	if (result >= 0)
		return;
	fprintf(stderr, "pmem_log: %s: %s\n", what, strerror(-result));
	exit(1);
}

/* FNV-1a. */
static uint32_t checksum(const struct record *r)
{
	const unsigned char *byte = (const unsigned char *)&r->bytes;
	uint32_t sum = 2166136261u;

	for (size_t n = sizeof(*r) - sizeof(r->checksum) + r->bytes; n > 0; n--)
		sum = (sum ^ *byte++) * 16777619u;
	return sum;
}

static uint64_t record_bytes(uint32_t payload)
{
	return (sizeof(struct record) + payload + ALIGNMENT - 1) & ~(uint64_t)(ALIGNMENT - 1);
}

static uint64_t segments(uint64_t bytes)
{
	return (bytes + SEGMENT_BYTES - 1) / SEGMENT_BYTES * SEGMENT_BYTES;
}

/* The record at the log's end, or NULL: there is none, or it never got whole. */
static const struct record *next_record(const struct log *log)
{
	const struct record *r = (const struct record *)(log->memory + log->end);

	if (log->end + sizeof(*r) > log->size || r->bytes == 0 || r->bytes > PAYLOAD_MAX ||
		log->end + record_bytes(r->bytes) > log->size)
		return NULL;
	return r->number == log->last + 1 && r->checksum == checksum(r) ? r : NULL;
}

/* Leases and maps [0, size); what the file is shorter by becomes zeros. */
static void lease_up_to(struct log *log, uint64_t size)
{
	if (log->lease)
		check(leasefs_return_lease(log->lease), log->path);
	check(leasefs_wait_lease(log->session, log->fd, 0, size,
		      LEASEFS_TAKE_WRITE | LEASEFS_TAKE_EXCLUSIVE, 10000000000u, &log->lease),
		log->path);
	check(leasefs_map_lease(log->lease, 0, (void **)&log->memory), log->path);
	check(leasefs_commit_range(log->lease, 0, 0, size), log->path);
	log->size = size;
}

static void open_log(struct log *log, const char *path)
{
	struct stat st;

	*log = (struct log){.path = path};
	log->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
	check(log->fd < 0 || fstat(log->fd, &st) ? -errno : 0, path);
	check(leasefs_open_session_at(log->fd, 0, &log->session), path);
	lease_up_to(log, st.st_size == 0 ? SEGMENT_BYTES : segments((uint64_t)st.st_size));
	for (const struct record *r; (r = next_record(log));) {
		log->end += record_bytes(r->bytes);
		log->last = r->number;
	}
	/* What a run that was killed left half written must not look like anything later. */
	if (log->end < log->size) {
		memset(log->memory + log->end, 0, log->size - log->end);
		check(leasefs_persist_range(
			      log->lease, log->memory + log->end, log->size - log->end),
			path);
	}
}

/* Durable, as far as the media can, when this returns. */
static void append(struct log *log, const char *text)
{
	uint32_t bytes = (uint32_t)strnlen(text, PAYLOAD_MAX);
	struct record *r;

	if (bytes == 0)
		return;
	if (log->end + record_bytes(bytes) > log->size)
		lease_up_to(log, log->size + SEGMENT_BYTES);
	check(leasefs_pin_lease(log->lease), log->path);
	r = (struct record *)(log->memory + log->end);
	r->bytes = bytes;
	r->number = log->last + 1;
	memcpy(r->payload, text, bytes);
	r->checksum = checksum(r);
	check(leasefs_persist_range(log->lease, r, record_bytes(bytes)), log->path);
	log->end += record_bytes(bytes);
	log->last = r->number;
	check(leasefs_unpin_lease(log->lease), log->path);
}

static void close_log(struct log *log)
{
	check(leasefs_commit_range(log->lease, 0, 0, 0), log->path);
	check(leasefs_return_lease(log->lease), log->path);
	check(leasefs_close_session(log->session), log->path);
	close(log->fd);
}

static void fill(struct log *log, unsigned long count)
{
	char text[64];

	for (unsigned long i = 0; i < count; i++) {
		snprintf(text, sizeof(text), "record %llu of the log",
			(unsigned long long)log->last + 1);
		append(log, text);
		printf("durable %llu\n", (unsigned long long)log->last);
		fflush(stdout);
	}
}

static void show(struct log *log)
{
	uint64_t records = log->last;

	log->end = log->last = 0;
	for (const struct record *r; (r = next_record(log));) {
		printf("%llu: %.*s\n", (unsigned long long)r->number, (int)r->bytes, r->payload);
		log->end += record_bytes(r->bytes);
		log->last = r->number;
	}
	printf("%llu records, %llu bytes\n", (unsigned long long)records,
		(unsigned long long)log->end);
}

int main(int argc, char **argv)
{
	struct log log;

	if (argc < 3 || !(!strcmp(argv[2], "show")         ? argc == 3
				: !strcmp(argv[2], "fill") ? argc == 4
							   : !strcmp(argv[2], "append"))) {
		fprintf(stderr, "usage: pmem_log FILE append TEXT... | fill COUNT | show\n");
		return 2;
	}
	open_log(&log, argv[1]);
	if (!strcmp(argv[2], "show"))
		show(&log);
	else if (!strcmp(argv[2], "fill"))
		fill(&log, strtoul(argv[3], NULL, 10));
	else
		for (int i = 3; i < argc; i++)
			append(&log, argv[i]);
	close_log(&log);
	return 0;
}
