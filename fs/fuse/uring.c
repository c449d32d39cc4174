// SPDX-License-Identifier: BSD-2-Clause
/*
 * uring.c - see uring.h.
 *
 * An entry is memory for one request and its reply, which the kernel knows: a page, with the
 * protocol's headers and what is ours, then the payload.
 *
 *   idle --completion--> served --uring_reply()--> answered --ring_enter()--> idle
 *                              \--by another thread--> handed over --queue's thread--> answered
 *
 * A parked request keeps its entry. So that one is always idle, more are made as they are used
 * (SPARE), each a mebibyte of addresses, of which two pages are touched by a parked truncate.
 * They are never given back to the kernel, which has no call for that.
 *
 * The headers are moved to the end of the first page, so that with the payload they read as one
 * piece, as from /dev/fuse: libfuse takes them like that, and a write's bytes are not copied.
 *
 * The kernel fills an entry in the context of the thread that submitted it. So nobody but a
 * queue's own threads submits, and they live as long as the mount. One of them that waits for a
 * lock does it all the same (the kernel wakes it for that); one that is in a system call which
 * can't be interrupted, an fsync, does it afterwards.
 *
 * Locks: a bucket's and `answers_lock` are innermost; no two at once.
 */
#include "uring.h"

#include <assert.h>
#include <errno.h>
#include <linux/fuse.h>
#include <linux/io_uring.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "log.h"
#include "ring.h"

/* ---- the protocol: include/uapi/linux/fuse.h since 6.14 -------------------------------------- */

#define CMD_REGISTER 1u
#define CMD_COMMIT_AND_FETCH 2u

struct command {
	uint64_t flags;
	uint64_t commit_id;
	uint16_t queue;
	uint8_t padding[6];
};

struct entry_header {
	char in_out[128]; /* fuse_in_header, fuse_out_header */
	char in[128];     /* the operation's own part of the request */
	uint64_t flags;
	uint64_t commit_id;
	uint32_t payload_bytes;
	uint32_t padding;
	uint64_t reserved;
};

_Static_assert(sizeof(struct command) == 24, "the kernel's");
_Static_assert(sizeof(struct entry_header) == 288, "the kernel's");

#define PARAMETER "/sys/module/fuse/parameters/enable_uring"

/* ---- ours ------------------------------------------------------------------------------------ */

#define PAGE 4096u
#define PAYLOAD_BYTES (1u << 20) /* as many as max_write and max_pages allow */
#define SPARE 8u                 /* made at a time; half of them idle at least */
#define ENTRIES_MAX 65536u       /* of a queue; beyond, its requests wait for the parked ones */
#define CQ_ENTRIES 1024u         /* the kernel keeps what does not fit */
#define BUCKETS 256u
#define QUEUES_MAX 4096u
#define WAKE 0u /* user_data of the read from wake_fd; an entry's is its address */

struct entry {
	struct entry_header header; /* first: at the page's begin */
	struct iovec vector[2];     /* for CMD_REGISTER: header and payload */
	struct queue *queue;
	uint64_t unique;
	struct entry *next; /* in a bucket, or in answers */
	bool known;         /* to the kernel: was registered */
};

struct queue {
	struct uring *uring;
	struct ring ring;
	unsigned number;
	unsigned made;      /* entries; by the thread that receives */
	bool full;          /* no more can be made */
	atomic_uint served; /* of them, not idle */
	int wake_fd;
	uint64_t wake_value; /* read into */
	pthread_mutex_t answers_lock;
	struct entry *answers; /* handed over */
};

struct bucket {
	pthread_mutex_t lock;
	struct entry *first;
};

struct slab { /* SPARE entries */
	struct slab *next;
	char *memory;
};

struct uring {
	int fd;
	unsigned count;
	cpu_set_t allowed;
	struct queue *queues;
	pthread_mutex_t slabs_lock;
	struct slab *slabs;
	struct bucket buckets[BUCKETS]; /* served, by what they are called */
};

static _Thread_local struct {
	struct queue *queue;
	bool prepared; /* something is not submitted */
} self;

/* ---- what is there --------------------------------------------------------------------------- */

/* One queue for each that could ever be; they are numbered without gaps. 0: not known. */
static unsigned possible_processors(void)
{
	FILE *f = fopen("/sys/devices/system/cpu/possible", "re");
	unsigned first = 1, last = 0;
	int found = f == NULL ? 0 : fscanf(f, "%u-%u", &first, &last);
	bool ended = f != NULL && fgetc(f) == '\n';

	if (f != NULL)
		fclose(f);
	return found < 1 || first != 0 || !ended || last >= QUEUES_MAX ? 0 : last + 1;
}

int uring_check(struct diag *d)
{
	FILE *f = fopen(PARAMETER, "re");
	int enabled = f == NULL ? EOF : fgetc(f);

	if (f != NULL)
		fclose(f);
	if (enabled == EOF)
		return diag_set(d, -EOPNOTSUPP,
			"option io_uring: this kernel has no FUSE over io_uring (Linux 6.14, built "
			"with "
			"CONFIG_FUSE_IO_URING)");
	if (enabled != 'Y' && enabled != '1')
		return diag_set(d, -EOPNOTSUPP,
			"option io_uring: FUSE over io_uring is switched off; as root: echo Y "
			">" PARAMETER);
	if (possible_processors() == 0)
		return diag_set(d, -EOPNOTSUPP,
			"option io_uring: the processors here are not numbered from 0 without "
			"gaps");
	return 0;
}

/* ---- entries --------------------------------------------------------------------------------- */

static char *payload_of(struct entry *e)
{
	return (char *)e + PAGE;
}

static void fill_command(struct io_uring_sqe *sqe, void *context)
{
	struct entry *e = context;
	struct command command = {.queue = (uint16_t)e->queue->number};

	sqe->opcode = IORING_OP_URING_CMD;
	sqe->fd = e->queue->uring->fd;
	sqe->user_data = (uintptr_t)e;
	if (e->known) {
		sqe->cmd_op = CMD_COMMIT_AND_FETCH;
		command.commit_id = e->header.commit_id;
	} else {
		sqe->cmd_op = CMD_REGISTER;
		sqe->addr = (uintptr_t)e->vector;
		sqe->len = 2;
	}
	memcpy((char *)sqe + offsetof(struct io_uring_sqe, cmd), &command, sizeof(command));
}

static void fill_wake(struct io_uring_sqe *sqe, void *context)
{
	struct queue *q = context;

	sqe->opcode = IORING_OP_READ;
	sqe->fd = q->wake_fd;
	sqe->addr = (uintptr_t)&q->wake_value;
	sqe->len = sizeof(q->wake_value);
	sqe->user_data = WAKE;
}

static void prepare(struct entry *e)
{
	ring_prepare(&e->queue->ring, fill_command, e);
	self.prepared = true;
}

/* What cannot be now goes along with the next. */
static void submit(struct queue *q)
{
	self.prepared = false;
	while (ring_enter(&q->ring, false) == -EINTR)
		;
}

/* Not touched, it takes no memory. */
static char *make_slab(struct uring *u)
{
	const size_t bytes = (size_t)SPARE * (PAGE + PAYLOAD_BYTES);
	struct slab *s = malloc(sizeof(*s));
	char *memory;

	if (s == NULL)
		return NULL;
	memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (memory == MAP_FAILED) {
		free(s);
		return NULL;
	}
	(void)madvise(memory, bytes, MADV_DONTFORK);
	s->memory = memory;
	pthread_mutex_lock(&u->slabs_lock);
	s->next = u->slabs;
	u->slabs = s;
	pthread_mutex_unlock(&u->slabs_lock);
	return memory;
}

/* SPARE more, to be submitted. */
static void make_entries(struct queue *q)
{
	char *memory = q->full || q->made >= ENTRIES_MAX ? NULL : make_slab(q->uring);

	if (memory == NULL) {
		if (!q->full)
			log_warning("io_uring: %u requests of processor %u are parked: no room for "
				    "more",
				q->made, q->number);
		q->full = true;
		return;
	}
	for (unsigned i = 0; i < SPARE; i++) {
		struct entry *e =
			(struct entry *)(void *)(memory + (size_t)i * (PAGE + PAYLOAD_BYTES));
		e->queue = q;
		e->vector[0] = (struct iovec){&e->header, sizeof(e->header)};
		e->vector[1] = (struct iovec){payload_of(e), PAYLOAD_BYTES};
		prepare(e);
	}
	q->made += SPARE;
}

/* ---- requests by their unique ---------------------------------------------------------------- */

static struct bucket *bucket_of(struct uring *u, uint64_t unique)
{
	return &u->buckets[(unique >> 1) % BUCKETS]; /* a request's is even */
}

static void remember(struct uring *u, struct entry *e)
{
	struct bucket *b = bucket_of(u, e->unique);

	pthread_mutex_lock(&b->lock);
	e->next = b->first;
	b->first = e;
	pthread_mutex_unlock(&b->lock);
}

static struct entry *find(struct uring *u, uint64_t unique)
{
	struct bucket *b = bucket_of(u, unique);
	struct entry **link, *e;

	pthread_mutex_lock(&b->lock);
	for (link = &b->first; *link != NULL && (*link)->unique != unique; link = &(*link)->next)
		;
	e = *link;
	if (e != NULL)
		*link = e->next;
	pthread_mutex_unlock(&b->lock);
	return e;
}

/* ---- replies --------------------------------------------------------------------------------- */

static void hand_over(struct entry *e)
{
	struct queue *q = e->queue;
	const uint64_t one = 1;

	pthread_mutex_lock(&q->answers_lock);
	bool first = q->answers == NULL;
	e->next = q->answers;
	q->answers = e;
	pthread_mutex_unlock(&q->answers_lock);
	if (first)
		(void)!write(q->wake_fd, &one, sizeof(one));
}

static void take_answers(struct queue *q)
{
	struct entry *e, *next;

	pthread_mutex_lock(&q->answers_lock);
	e = q->answers;
	q->answers = NULL;
	pthread_mutex_unlock(&q->answers_lock);
	for (; e != NULL; e = next) {
		next = e->next;
		atomic_fetch_sub(&q->served, 1);
		prepare(e);
	}
}

/* The reply's bytes, where the kernel takes them from. -1: more than it can have asked for. */
static int put_reply(struct entry *e, const struct iovec *vector, int count)
{
	char *payload = payload_of(e);
	size_t bytes = 0;

	for (int i = 1; i < count; i++) {
		if (vector[i].iov_len > PAYLOAD_BYTES - bytes)
			return -1;
		memcpy(payload + bytes, vector[i].iov_base, vector[i].iov_len);
		bytes += vector[i].iov_len;
	}
	memcpy(e->header.in_out, vector[0].iov_base, sizeof(struct fuse_out_header));
	e->header.payload_bytes = (uint32_t)bytes;
	return (int)bytes;
}

bool uring_reply(struct uring *u, const struct iovec *vector, int count, int *bytes)
{
	const struct fuse_out_header *out = vector[0].iov_base;
	struct entry *e = out->unique == 0 ? NULL : find(u, out->unique);

	if (e == NULL)
		return false;
	assert(vector[0].iov_len == sizeof(*out));
	int payload = put_reply(e, vector, count);
	if (payload < 0) {
		struct fuse_out_header failed = {
			.len = sizeof(failed), .error = -EIO, .unique = out->unique};
		struct iovec header = {&failed, sizeof(failed)};
		payload = put_reply(e, &header, 1);
	}
	*bytes = (int)sizeof(*out) + payload;
	if (self.queue != e->queue) {
		hand_over(e);
		return true;
	}
	atomic_fetch_sub(&e->queue->served, 1);
	prepare(e);
	submit(e->queue);
	return true;
}

/* ---- receiving ------------------------------------------------------------------------------- */

/* Moves the headers to where they precede the payload. */
static void lay_out(struct entry *e, char **request, size_t *bytes)
{
	struct fuse_in_header in;
	size_t own;

	memcpy(&in, e->header.in_out, sizeof(in));
	own = in.len - sizeof(in) - e->header.payload_bytes;
	assert(own <= sizeof(e->header.in));
	*request = payload_of(e) - own - sizeof(in);
	*bytes = in.len;
	memcpy(*request, &in, sizeof(in));
	memcpy(*request + sizeof(in), e->header.in, own);
	e->unique = in.unique;
}

/* A request came, or an entry ended. 1: it is a request; 0: go on; or -errno. */
static int completed(struct entry *e, int result)
{
	struct queue *q = e->queue;

	switch (result) {
	case 0:
		e->known = true;
		atomic_fetch_add(&q->served, 1);
		return 1;
	case -EAGAIN:
	case -EINTR:
		prepare(e);
		return 0;
	case -ENOTCONN:
	case -ECONNABORTED:
		return -ENODEV;
	case -ENOENT: /* answered too late: the connection is ending */
		return 0;
	default:
		if (e->known)
			log_error("io_uring: a request's end: %s", strerror(-result));
		else if (q->made > SPARE)
			log_warning("io_uring: no more entries: %s", strerror(-result));
		else
			return -EOPNOTSUPP;
		q->full = true;
		return 0;
	}
}

static int next_request(struct uring *u, struct queue *q, struct entry **out)
{
	uint64_t user_data;
	int result;

	while (ring_take(&q->ring, &user_data, &result)) {
		if (user_data == WAKE) {
			ring_prepare(&q->ring, fill_wake, q);
			self.prepared = true;
			take_answers(q);
			continue;
		}
		*out = (struct entry *)(uintptr_t)user_data;
		result = completed(*out, result);
		if (result != 0)
			return result;
	}
	return 0;
}

int uring_receive(struct uring *u, char **request, size_t *bytes)
{
	struct queue *q = self.queue;
	struct entry *e;
	int result;

	for (;;) {
		result = next_request(u, q, &e);
		if (result != 0)
			break;
		/*
		 * First submitted, then waited: whoever gets its reply often has the next request
		 * ready before this thread has gone to sleep.
		 */
		if (self.prepared) {
			submit(q);
			continue;
		}
		result = ring_enter(&q->ring, true);
		if (result == -EBUSY || result == -EAGAIN) /* no memory for it just now */
			return -EINTR;
		if (result != 0)
			return result;
	}
	if (result < 0)
		return result;
	lay_out(e, request, bytes);
	remember(u, e);
	if (q->made - atomic_load(&q->served) < SPARE / 2 && !q->full)
		make_entries(q);
	if (self.prepared)
		submit(q);
	return 0;
}

void uring_join(struct uring *u, unsigned queue, bool first)
{
	struct queue *q = &u->queues[queue];
	cpu_set_t own;

	self.queue = q;
	/* Near to who asks; unless the daemon was told to run elsewhere. */
	if (queue < CPU_SETSIZE && CPU_ISSET(queue, &u->allowed)) {
		CPU_ZERO(&own);
		CPU_SET(queue, &own);
		(void)sched_setaffinity(0, sizeof(own), &own);
	}
	if (!first)
		return;
	ring_prepare(&q->ring, fill_wake, q);
	make_entries(q);
	submit(q);
}

/* ---- life ------------------------------------------------------------------------------------ */

static int open_queue(struct uring *u, unsigned number)
{
	struct queue *q = &u->queues[number];
	int result;

	q->uring = u;
	q->number = number;
	q->wake_fd = eventfd(0, EFD_CLOEXEC);
	if (q->wake_fd < 0)
		return -errno;
	result = ring_open(&q->ring, CQ_ENTRIES);
	if (result != 0) {
		close(q->wake_fd);
		return result;
	}
	pthread_mutex_init(&q->answers_lock, NULL);
	return 0;
}

int uring_open(struct uring **out, int fd)
{
	struct uring *u = calloc(1, sizeof(*u));
	unsigned count = possible_processors();
	int result = 0;

	assert(count > 0); /* uring_check() */
	if (u == NULL)
		return -ENOMEM;
	u->fd = fd;
	pthread_mutex_init(&u->slabs_lock, NULL);
	for (unsigned i = 0; i < BUCKETS; i++)
		pthread_mutex_init(&u->buckets[i].lock, NULL);
	(void)sched_getaffinity(0, sizeof(u->allowed), &u->allowed);
	u->queues = calloc(count, sizeof(*u->queues));
	if (u->queues == NULL)
		result = -ENOMEM;
	for (; result == 0 && u->count < count; u->count += result == 0)
		result = open_queue(u, u->count);
	if (result != 0) {
		uring_close(u);
		return result;
	}
	*out = u;
	return 0;
}

void uring_close(struct uring *u)
{
	struct slab *s;

	for (unsigned i = 0; i < u->count; i++) {
		ring_close(&u->queues[i].ring);
		close(u->queues[i].wake_fd);
		pthread_mutex_destroy(&u->queues[i].answers_lock);
	}
	free(u->queues);
	while ((s = u->slabs) != NULL) {
		u->slabs = s->next;
		munmap(s->memory, (size_t)SPARE * (PAGE + PAYLOAD_BYTES));
		free(s);
	}
	for (unsigned i = 0; i < BUCKETS; i++)
		pthread_mutex_destroy(&u->buckets[i].lock);
	pthread_mutex_destroy(&u->slabs_lock);
	free(u);
}

unsigned uring_queues(const struct uring *u)
{
	return u->count;
}
