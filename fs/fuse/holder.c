// SPDX-License-Identifier: BSD-2-Clause
/* holder.c - see holder.h. */
#include "holder.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "crash_point.h"
#include "event_readers.h"
#include "inheritance.h"
#include "log.h"
#include "machine.h"
#include "options.h"

/* ---- counts ---------------------------------------------------------------------------------- */

struct holder *holder_new(struct arbiter *a)
{
	struct holder *h = calloc(1, sizeof(*h));

	if (!h)
		return NULL;
	h->arbiter = a;
	h->opened_ns = arbiter_now();
	atomic_init(&h->references, 1);
	h->pidfd = h->pin_fd = h->leases_fd = h->ranges_fd = -1;
	TAILQ_INIT(&h->readers);
	arbiter_lock(a);
	LIST_INSERT_HEAD(&a->holders, h, all);
	arbiter_unlock(a);
	return h;
}

void holder_get(struct holder *h)
{
	atomic_fetch_add(&h->references, 1);
}

static void close_all(struct holder *h)
{
	int *all[] = {&h->pidfd, &h->pin_fd, &h->leases_fd, &h->ranges_fd};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		if (*all[i] >= 0)
			close(*all[i]);
		*all[i] = -1;
	}
	mapped_file_unmap(&h->line_words);
	mapped_file_unmap(&h->record_words);
}

void holder_put(struct holder *h)
{
	if (atomic_fetch_sub(&h->references, 1) > 1)
		return;
	assert(!h->session && !h->watch && h->closed && TAILQ_EMPTY(&h->readers));
	close_all(h);
	if (h->poll)
		fuse_pollhandle_destroy(h->poll);
	free(h);
}

/* ---- pin lines ------------------------------------------------------------------------------- */

void holder_pin_path(const struct holder *h, char *out, size_t bytes)
{
	char name[RECORD_NAME_BYTES];
	int n;

	out[0] = '\0';
	if (h->pin_fd < 0)
		return;
	record_file_name(RECORD_LINES, h->id, name);
	n = snprintf(out, bytes, "%s/run/%s", h->arbiter->daemon->options->pool_path, name);
	if (n < 0 || (size_t)n >= bytes)
		out[0] = '\0';
}

static off_t line_at(uint32_t slot)
{
	return (off_t)slot * (off_t)sizeof(struct leasefs_pin_line);
}

/*
 * Under the lock, or before others find the session. Best effort. The records' file has no blocks
 * reserved: a store that there are none for fails.
 */
static void map_words(struct holder *h)
{
	size_t bytes = lease_records_bytes(h->lines);
	struct stat st;

	mapped_file_map(&h->line_words, h->pin_fd, (size_t)line_at(h->lines));
	if (h->leases_fd < 0 || fstat(h->leases_fd, &st))
		return;
	if (st.st_size >= (off_t)bytes || ftruncate(h->leases_fd, (off_t)bytes) == 0)
		mapped_file_map(&h->record_words, h->leases_fd, bytes);
}

/* Best effort: without it the session has no slot pins. */
static void make_pin_file(struct holder *h)
{
	int run_fd = core_run_dir_fd(h->arbiter->daemon->core), fd;
	int error = record_file_create(run_fd, RECORD_LINES, h->id, &fd);

	if (!error && h->uid != geteuid() && fchown(fd, h->uid, (gid_t)-1))
		error = -errno;
	if (!error)
		error = -posix_fallocate(fd, 0, PIN_LINES_FIRST * sizeof(struct leasefs_pin_line));
	if (!error) {
		h->pin_fd = fd;
		h->lines = PIN_LINES_FIRST;
		return;
	}
	log_warning("session %llu of uid %u has no pin lines: %s", (unsigned long long)h->id,
		h->uid, strerror(-error));
	if (error != -EEXIST) {
		record_file_remove(run_fd, RECORD_LINES, h->id);
		close(fd);
	}
}

bool holder_short_of_lines(const struct holder *h)
{
	return h->pin_fd >= 0 && h->lines_used + PIN_LINES_FIRST / 2 > h->lines &&
	       h->lines < PIN_LINES_MAX;
}

void holder_grow_pins(struct holder *h)
{
	struct arbiter *a = h->arbiter;
	uint32_t lines;
	bool is_short;

	pthread_mutex_lock(&a->start_lock);
	arbiter_lock(a);
	lines = h->lines;
	is_short = holder_short_of_lines(h);
	arbiter_unlock(a);
	if (is_short && !posix_fallocate(h->pin_fd, 0,
				(off_t)lines * 2 * (off_t)sizeof(struct leasefs_pin_line))) {
		struct session_record r;

		arbiter_lock(a);
		h->lines = lines * 2;
		holder_describe(h, &r);
		if (h->leases_fd >= 0 && session_record_write(h->leases_fd, &r))
			h->lines = lines; /* the next daemon would not know of the others */
		map_words(h);
		arbiter_unlock(a);
	}
	pthread_mutex_unlock(&a->start_lock);
}

static bool line_is_zero(const struct holder *h, uint32_t slot)
{
	struct leasefs_pin_line line;

	return pread(h->pin_fd, &line, sizeof(line), line_at(slot)) == (ssize_t)sizeof(line) &&
	       line.pins == 0;
}

static size_t word_at(uint32_t slot, size_t member)
{
	return (size_t)line_at(slot) + member;
}

uint32_t holder_slot_pins(const struct holder *h, uint32_t slot)
{
	struct leasefs_pin_line line;

	if (h->pin_fd < 0 || slot >= h->lines)
		return 0;
	if (pread(h->pin_fd, &line, sizeof(line), line_at(slot)) != (ssize_t)sizeof(line))
		return 1;
	return line.pins;
}

bool holder_slot_pinned(void *context, void *owner, uint32_t slot)
{
	struct holder *h = owner;
	uint32_t pins;

	if (h->lines_lost)
		return true;
	if (h->pin_fd < 0 || slot >= h->lines)
		return false; /* no client was ever told of that line */
	/* The recall word was written before: a pin that it missed is seen here. */
	atomic_thread_fence(memory_order_seq_cst);
	if (mapped_file_load32(
		    &h->line_words, word_at(slot, offsetof(struct leasefs_pin_line, pins)), &pins))
		return pins != 0;
	return !line_is_zero(h, slot) || !line_is_zero(h, slot);
}

void holder_slot_recall(void *context, void *owner, uint32_t slot, bool recalled)
{
	struct holder *h = owner;
	const size_t at = word_at(slot, offsetof(struct leasefs_pin_line, recall));
	uint32_t word = recalled;

	if (h->pin_fd < 0 || slot >= h->lines || h->keep)
		return;
	/* If it fails (no space after a client's truncation), pins may rise, and count. */
	if (!mapped_file_store32(&h->line_words, at, word) &&
		pwrite(h->pin_fd, &word, sizeof(word), (off_t)at) < 0)
		log_warning("session %llu: cannot write pin line %u: %s", (unsigned long long)h->id,
			slot, strerror(errno));
	atomic_thread_fence(memory_order_seq_cst);
	crash_point(recalled ? "recall_word_set" : "recall_word_cleared");
}

void holder_slot_fresh(void *context, void *owner, uint32_t slot, bool used_before)
{
	struct holder *h = owner;
	static const struct leasefs_pin_line zero;

	if (slot >= h->lines_used)
		h->lines_used = slot + 1;
	if (h->pin_fd >= 0 && slot < h->lines && used_before &&
		!mapped_file_copy(&h->line_words, (size_t)line_at(slot), &zero, sizeof(zero)) &&
		pwrite(h->pin_fd, &zero, sizeof(zero), line_at(slot)) < 0)
		log_warning("session %llu: cannot clear pin line %u: %s", (unsigned long long)h->id,
			slot, strerror(errno));
}

/* ---- what is written down -------------------------------------------------------------------- */

void holder_describe(const struct holder *h, struct session_record *out)
{
	*out = (struct session_record){.uid = h->uid,
		.number = h->id,
		.pid = h->pid,
		.start_time = h->start_time,
		.lines = h->lines,
		.names = {h->names[0], h->names[1]}};
}

/* EIO, whatever it was: what wants it written down does not happen. */
static int say_unwritten(const struct holder *h, int error)
{
	if (error)
		log_warning("session %llu cannot be written down in run/: %s",
			(unsigned long long)h->id, strerror(-error));
	return error ? -EIO : 0;
}

/* While the daemon ends, what is written down stays as it is: it is the next one's. */
static bool is_written(const struct holder *h)
{
	return h->leases_fd >= 0 && !h->keep;
}

int holder_slot_split(void *context, void *owner, uint32_t from, uint32_t to)
{
	const struct holder *h = owner;
	int error = 0;

	if (is_written(h))
		error = say_unwritten(h, lease_record_copy(h->leases_fd, from, to));
	crash_point("part_copied");
	return error;
}

void holder_slot_free(void *context, void *owner, uint32_t slot)
{
	struct holder *h = owner;

	if (is_written(h) && !lease_record_wipe(&h->record_words, slot))
		lease_record_clear(h->leases_fd, slot);
	crash_point("lease_cleared");
}

int holder_note_lease(struct holder *h, uint32_t slot, const struct lease_record *r)
{
	return lease_record_store(&h->record_words, slot, r)
		       ? 0
		       : lease_record_write(h->leases_fd, slot, r);
}

int holder_persist(void *context, void *owner, const struct lm_lease_record *record)
{
	const struct holder *h = owner;
	int error = 0;

	if (is_written(h))
		error = say_unwritten(
			h, lease_record_update(h->leases_fd, record_slot(record->lease), record));
	crash_point(record->flags & LM_LEASE_REVOKED ? "ghost_written" : "cut_written");
	return error;
}

void holder_pin_moved(void *context, void *owner, uint64_t pin, uint64_t lease)
{
	const struct holder *h = owner;

	if (is_written(h) && h->ranges_fd >= 0)
		(void)say_unwritten(h, range_pin_record_move(h->ranges_fd, pin, lease));
}

void holder_pin_gone(void *context, void *owner, uint64_t pin)
{
	const struct holder *h = owner;

	if (is_written(h) && h->ranges_fd >= 0)
		range_pin_record_clear(h->ranges_fd, pin);
	crash_point("pin_cleared");
}

int holder_make_ranges(struct holder *h)
{
	struct arbiter *a = h->arbiter;
	int fd, error = 0;

	if (h->ranges_fd >= 0 || h->leases_fd < 0)
		return 0;
	pthread_mutex_lock(&a->start_lock);
	if (h->ranges_fd < 0) {
		error = record_file_create(
			core_run_dir_fd(a->daemon->core), RECORD_RANGES, h->id, &fd);
		arbiter_lock(a);
		if (!error)
			h->ranges_fd = fd;
		arbiter_unlock(a);
	}
	pthread_mutex_unlock(&a->start_lock);
	return error;
}

int holder_note_pin(struct holder *h, const struct range_pin_record *pin)
{
	return is_written(h) ? range_pin_record_write(h->ranges_fd, pin) : 0;
}

/* ---- effects and their delivery -------------------------------------------------------------- */

void holder_tell(struct holder *h)
{
	if (h->is_told)
		return;
	h->is_told = true;
	holder_get(h);
	STAILQ_INSERT_TAIL(&h->arbiter->told, h, told);
}

void holder_ready(void *context, void *owner)
{
	holder_tell(owner);
}

void holder_signal(void *context, void *owner, int number)
{
	struct holder *h = owner;

	/* The pidfd, so that a process that happens to have the number now is left alone. */
	if (h->pidfd >= 0 && syscall(SYS_pidfd_send_signal, h->pidfd, number, NULL, 0) == 0)
		log_notice("session %llu: process %u got signal %d for its pins",
			(unsigned long long)h->id, h->pid, number);
}

void holder_session_gone(void *context, void *owner)
{
	struct holder *h = owner;

	h->session = NULL;
	h->gone = true;
	LIST_REMOVE(h, all);
	holder_tell(h);
}

/* `is_told` stays until it is really taken, so that the link is never in two lists. */
void holder_take_told(struct arbiter *a, struct holder_list *out)
{
	STAILQ_CONCAT(out, &a->told);
}

/*
 * Its session is over for good: what it had besides memory goes. But when it is the daemon that
 * ends, its files are left to the next one.
 */
static void bury(struct holder *h)
{
	struct arbiter *a = h->arbiter;
	int run_fd = core_run_dir_fd(a->daemon->core);
	struct engine_watch *watch;

	if (h->pin_fd >= 0 && !h->keep)
		record_file_remove(run_fd, RECORD_LINES, h->id);
	if (h->ranges_fd >= 0 && !h->keep)
		record_file_remove(run_fd, RECORD_RANGES, h->id);
	if (h->leases_fd >= 0 && !h->keep)
		record_file_remove(run_fd, RECORD_LEASES, h->id);
	arbiter_lock(a);
	watch = h->watch;
	h->watch = NULL;
	arbiter_review_leasing(a);
	arbiter_unlock(a);
	if (watch)
		engine_unwatch(a->engine, watch);
	event_readers_end(h);
	holder_put(h); /* the session's */
}

void holder_tell_all(struct holder_list *told)
{
	struct holder *h;

	while ((h = STAILQ_FIRST(told))) {
		struct arbiter *a = h->arbiter;
		bool gone;

		STAILQ_REMOVE_HEAD(told, told);
		arbiter_lock(a);
		h->is_told = false;
		gone = h->gone;
		h->gone = false;
		arbiter_unlock(a);
		if (gone)
			bury(h);
		else
			holder_deliver(h);
		holder_put(h);
	}
}

/* ---- sessions -------------------------------------------------------------------------------- */

struct holder *holder_by_cookie(struct arbiter *a, const uint64_t cookie[2])
{
	struct holder *h;

	LIST_FOREACH(h, &a->cookies[cookie[0] % ARBITER_COOKIES], cookies)
		if (h->cookie[0] == cookie[0] && h->cookie[1] == cookie[1])
			return h;
	return NULL;
}

/* On the engine's thread. */
static void on_process_gone(void *context)
{
	struct holder *h = context;
	struct arbiter *a = h->arbiter;
	bool inherited;

	arbiter_lock(a);
	inherited = h->session && lm_session_is_inherited(h->session);
	if (h->session && !inherited) {
		lm_session_process_gone(h->session, arbiter_now());
		/* It may have read events that another process with the session needs. */
		if (h->session && !h->closed)
			lm_session_tell_again(h->session);
	}
	arbiter_unlock(a);
	if (inherited)
		inheritance_process_gone(h);
}

static int watch(struct holder *h, int pidfd, struct engine_watch **out)
{
	int error = engine_watch_process(h->arbiter->engine, pidfd, on_process_gone, h, out);

	if (error)
		close(pidfd);
	return error;
}

static int open_process(
	struct holder *h, uint32_t pid, uint64_t *start_time, int *pidfd, struct engine_watch **out)
{
	int fd, error = machine_process_start(pid, start_time);

	if (!error)
		error = machine_open_process(pid, *start_time, &fd);
	if (!error)
		error = watch(h, fd, out);
	if (!error)
		*pidfd = fd;
	return error;
}

/* Its file among the records, without a lease yet. */
static int make_records(struct holder *h)
{
	struct session_record r;
	int error = record_file_create(
		core_run_dir_fd(h->arbiter->daemon->core), RECORD_LEASES, h->id, &h->leases_fd);

	holder_describe(h, &r);
	return error ? error : session_record_write(h->leases_fd, &r);
}

/* Nobody has seen it: it is buried as it is closed, and the open file is as before. */
static void undo_session(struct holder *h, struct lm_session *session)
{
	struct arbiter *a = h->arbiter;

	arbiter_lock(a);
	lm_session_close(session, arbiter_now());
	LIST_INSERT_HEAD(&a->holders, h, all);
	arbiter_unlock(a);
	close_all(h);
	h->lines = h->lines_used = 0;
	memset(h->names, 0, sizeof(h->names));
}

/* With start_lock held, and leasing. */
static int make_session(struct holder *h, uint32_t pid, uint32_t uid)
{
	struct arbiter *a = h->arbiter;
	struct lm_session *session;
	uint64_t cookie[2];
	int error;

	if (getrandom(cookie, sizeof(cookie), 0) != (ssize_t)sizeof(cookie))
		return -EIO;
	error = open_process(h, pid, &h->start_time, &h->pidfd, &h->watch);
	if (error)
		return error;
	arbiter_lock(a);
	error = lm_session_open(a->lm, pid, uid, h, &session);
	if (!error) {
		holder_get(h); /* the session's */
		h->id = lm_session_id(session);
		h->uid = uid;
		h->pid = pid;
		memcpy(h->cookie, cookie, sizeof(cookie));
		memcpy(h->names[0].cookie, cookie, sizeof(cookie));
		memcpy(h->names[0].boot, a->boot, sizeof(a->boot));
	}
	arbiter_unlock(a);
	if (error) {
		engine_unwatch(a->engine, h->watch);
		h->watch = NULL;
		close_all(h);
		return error;
	}
	make_pin_file(h);
	crash_point("lines_made");
	if (!a->daemon->options->read_only) /* where nothing is freed, nothing need be known */
		error = make_records(h);
	if (error) {
		undo_session(h, session);
		return error;
	}
	crash_point("session_written");
	if (h->pin_fd >= 0)
		map_words(h);
	arbiter_lock(a);
	h->session = session; /* only now others find it */
	LIST_INSERT_HEAD(&a->cookies[cookie[0] % ARBITER_COOKIES], h, cookies);
	arbiter_unlock(a);
	return 0;
}

int holder_begin_session(struct holder *h, uint32_t pid, uint32_t uid)
{
	struct arbiter *a = h->arbiter;
	int error = 0;

	pthread_mutex_lock(&a->start_lock);
	if (!h->session) {
		error = arbiter_begin_leasing(a);
		if (!error) {
			error = make_session(h, pid, uid);
			arbiter_end_opening(a);
		}
	}
	pthread_mutex_unlock(&a->start_lock);
	return error;
}

int holder_watch(struct holder *h, uint32_t pid)
{
	struct arbiter *a = h->arbiter;
	struct engine_watch *new_watch, *old_watch;
	uint64_t start_time;
	int pidfd, old_pidfd;
	int error = open_process(h, pid, &start_time, &pidfd, &new_watch);

	if (error)
		return error;
	arbiter_lock(a);
	old_watch = h->watch;
	old_pidfd = h->pidfd;
	h->watch = new_watch;
	h->pidfd = pidfd;
	h->pid = pid;
	h->start_time = start_time;
	arbiter_unlock(a);
	if (old_watch)
		engine_unwatch(a->engine, old_watch);
	if (old_pidfd >= 0)
		close(old_pidfd);
	return 0;
}

int holder_set_process(struct holder *h, uint32_t pid)
{
	struct arbiter *a = h->arbiter;
	struct session_record r;
	int error;

	pthread_mutex_lock(&a->start_lock);
	error = h->session ? holder_watch(h, pid) : -EBADF;
	if (!error) {
		arbiter_lock(a);
		holder_describe(h, &r);
		if (h->leases_fd >= 0)
			(void)say_unwritten(h, session_record_write(h->leases_fd, &r));
		lm_session_set_process(h->session, pid, arbiter_now());
		arbiter_unlock(a);
	}
	pthread_mutex_unlock(&a->start_lock);
	return error;
}

struct holder *holder_of_old(struct arbiter *a, const struct session_record *r, int leases_fd)
{
	struct holder *h = holder_new(a);

	if (!h) {
		close(leases_fd);
		return NULL;
	}
	h->closed = true;
	h->leases_fd = leases_fd;
	h->id = r->number;
	h->uid = r->uid;
	h->pid = r->pid;
	h->start_time = r->start_time;
	h->lines = r->lines;
	memcpy(h->names, r->names, sizeof(h->names));
	return h;
}

int holder_watch_of_old(struct holder *h)
{
	int error = machine_open_process(h->pid, h->start_time, &h->pidfd);

	if (!error)
		error = watch(h, h->pidfd, &h->watch);
	if (error)
		h->pidfd = -1;
	return error;
}

void holder_close(struct holder *h)
{
	struct arbiter *a = h->arbiter;

	arbiter_lock(a);
	h->closed = true;
	(void)history_watch(a, h, 0, 0);
	if (h->session) {
		LIST_REMOVE(h, cookies);
		lm_session_close(h->session, arbiter_now());
	} else {
		LIST_REMOVE(h, all);
	}
	arbiter_unlock(a);
	holder_put(h);
}
