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

#include "inheritance.h"
#include "log.h"
#include "options.h"

/* ---- counts ---------------------------------------------------------------------------------- */

struct holder *holder_new(struct arbiter *a)
{
	struct holder *h = calloc(1, sizeof(*h));

	if (!h)
		return NULL;
	h->arbiter = a;
	atomic_init(&h->references, 1);
	h->pidfd = h->pin_fd = h->mapped_fd = -1;
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

void holder_put(struct holder *h)
{
	if (atomic_fetch_sub(&h->references, 1) > 1)
		return;
	assert(!h->session && !h->watch && h->closed && TAILQ_EMPTY(&h->readers));
	if (h->pin_fd >= 0)
		close(h->pin_fd);
	if (h->mapped_fd >= 0)
		close(h->mapped_fd);
	if (h->pidfd >= 0)
		close(h->pidfd);
	if (h->poll)
		fuse_pollhandle_destroy(h->poll);
	free(h);
}

/* ---- pin lines ------------------------------------------------------------------------------- */

static void pin_name(const struct holder *h, char out[40])
{
	snprintf(out, 40, "pins.%llx", (unsigned long long)h->id);
}

void holder_pin_path(const struct holder *h, char *out, size_t bytes)
{
	char name[40];
	int n;

	out[0] = '\0';
	if (h->pin_fd < 0)
		return;
	pin_name(h, name);
	n = snprintf(out, bytes, "%s/run/%s", h->arbiter->daemon->options->pool_path, name);
	if (n < 0 || (size_t)n >= bytes)
		out[0] = '\0';
}

/* Best effort: without it the session has no slot pins. */
static void make_pin_file(struct holder *h)
{
	int run_fd = core_run_dir_fd(h->arbiter->daemon->core);
	char name[40];
	int fd;

	pin_name(h, name);
	if (unlinkat(run_fd, name, 0) && errno != ENOENT)
		return;
	fd = openat(run_fd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		goto failed;
	if ((h->uid != geteuid() && fchown(fd, h->uid, (gid_t)-1)) ||
		posix_fallocate(fd, 0, PIN_LINES_FIRST * sizeof(struct leasefs_pin_line))) {
		close(fd);
		unlinkat(run_fd, name, 0);
		goto failed;
	}
	h->pin_fd = fd;
	h->lines = PIN_LINES_FIRST;
	return;
failed:
	log_warning("session %llu of uid %u has no pin lines: %s", (unsigned long long)h->id,
		h->uid, strerror(errno));
}

void holder_grow_pins(struct holder *h)
{
	struct arbiter *a = h->arbiter;
	uint32_t lines, used;

	arbiter_lock(a);
	lines = h->lines;
	used = h->lines_used;
	arbiter_unlock(a);
	if (h->pin_fd < 0 || used + PIN_LINES_FIRST / 2 <= lines || lines >= PIN_LINES_MAX)
		return;
	pthread_mutex_lock(&a->start_lock);
	if (h->lines == lines &&
		!posix_fallocate(
			h->pin_fd, 0, (off_t)lines * 2 * (off_t)sizeof(struct leasefs_pin_line))) {
		arbiter_lock(a);
		h->lines = lines * 2;
		arbiter_unlock(a);
	}
	pthread_mutex_unlock(&a->start_lock);
}

static off_t line_at(uint32_t slot)
{
	return (off_t)slot * (off_t)sizeof(struct leasefs_pin_line);
}

static bool line_is_zero(const struct holder *h, uint32_t slot)
{
	struct leasefs_pin_line line;

	return pread(h->pin_fd, &line, sizeof(line), line_at(slot)) == (ssize_t)sizeof(line) &&
	       line.pins == 0;
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
	const struct holder *h = owner;

	if (h->pin_fd < 0 || slot >= h->lines)
		return false; /* no client was ever told of that line */
	/* The recall word was written before: a pin that it missed is seen here. */
	atomic_thread_fence(memory_order_seq_cst);
	return !line_is_zero(h, slot) || !line_is_zero(h, slot);
}

void holder_slot_recall(void *context, void *owner, uint32_t slot, bool recalled)
{
	const struct holder *h = owner;
	uint32_t word = recalled;

	if (h->pin_fd < 0 || slot >= h->lines)
		return;
	/* If it fails (no space after a client's truncation), pins may rise, and count. */
	if (pwrite(h->pin_fd, &word, sizeof(word),
		    line_at(slot) + (off_t)offsetof(struct leasefs_pin_line, recall)) < 0)
		log_warning("session %llu: cannot write pin line %u: %s", (unsigned long long)h->id,
			slot, strerror(errno));
	atomic_thread_fence(memory_order_seq_cst);
}

void holder_slot_fresh(void *context, void *owner, uint32_t slot, bool used_before)
{
	struct holder *h = owner;
	static const struct leasefs_pin_line zero;

	if (slot >= h->lines_used)
		h->lines_used = slot + 1;
	if (h->pin_fd >= 0 && slot < h->lines && used_before &&
		pwrite(h->pin_fd, &zero, sizeof(zero), line_at(slot)) < 0)
		log_warning("session %llu: cannot clear pin line %u: %s", (unsigned long long)h->id,
			slot, strerror(errno));
}

/* ---- what is mapped -------------------------------------------------------------------------- */

void holder_slot_split(void *context, void *owner, uint32_t from, uint32_t to)
{
	const struct holder *h = owner;
	int error = h->mapped_fd < 0 ? 0 : mapped_copy(h->mapped_fd, from, to);

	if (error)
		log_warning("run/%s: %s: blocks of session %llu would not survive a restart",
			h->mapped_name, strerror(-error), (unsigned long long)h->id);
}

void holder_slot_free(void *context, void *owner, uint32_t slot)
{
	const struct holder *h = owner;

	if (h->mapped_fd >= 0)
		mapped_clear(h->mapped_fd, slot);
}

/* ---- effects and their delivery -------------------------------------------------------------- */

static void tell_later(struct holder *h)
{
	if (h->is_told)
		return;
	h->is_told = true;
	holder_get(h);
	STAILQ_INSERT_TAIL(&h->arbiter->told, h, told);
}

void holder_ready(void *context, void *owner)
{
	tell_later(owner);
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
	tell_later(h);
}

/* `is_told` stays until it is really taken, so that the link is never in two lists. */
void holder_take_told(struct arbiter *a, struct holder_list *out)
{
	STAILQ_CONCAT(out, &a->told);
}

static bool process_lives(const struct holder *h)
{
	struct pollfd p = {.fd = h->pidfd, .events = POLLIN};

	return h->pidfd >= 0 && poll(&p, 1, 0) == 0;
}

/*
 * Its session is over for good: what it had besides memory goes. But when it is the daemon that
 * ends, mappings of a process that lives are left to the next one.
 */
static void bury(struct holder *h)
{
	struct arbiter *a = h->arbiter;
	int run_fd = core_run_dir_fd(a->daemon->core);
	struct engine_watch *watch;
	char name[40];

	pin_name(h, name);
	if (h->pin_fd >= 0)
		unlinkat(run_fd, name, 0);
	if (h->mapped_fd >= 0 && !(a->stopping && process_lives(h)))
		unlinkat(run_fd, h->mapped_name, 0);
	arbiter_lock(a);
	watch = h->watch;
	h->watch = NULL;
	arbiter_review_leasing(a);
	arbiter_unlock(a);
	if (watch)
		engine_unwatch(a->engine, watch);
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

	arbiter_lock(a);
	if (h->session)
		lm_session_process_gone(h->session, arbiter_now());
	arbiter_unlock(a);
}

static int open_process(struct holder *h, uint32_t pid, int *pidfd, struct engine_watch **watch)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	int error;

	if (fd < 0)
		return errno == EINVAL ? -ESRCH : -errno;
	error = engine_watch_process(h->arbiter->engine, fd, on_process_gone, h, watch);
	if (error) {
		close(fd);
		return error;
	}
	*pidfd = fd;
	return 0;
}

/* With start_lock held, and leasing. */
static int make_session(struct holder *h, uint32_t pid, uint32_t uid)
{
	struct arbiter *a = h->arbiter;
	struct engine_watch *watch;
	struct lm_session *session;
	uint64_t cookie[2];
	int pidfd, error;

	if (getrandom(cookie, sizeof(cookie), 0) != (ssize_t)sizeof(cookie))
		return -EIO;
	if (!a->daemon->options->read_only) { /* where nothing is freed, nothing need be known */
		error = mapped_create(a, ++a->mapped_files, pid, h->mapped_name, &h->mapped_fd);
		if (error)
			return error;
	}
	error = open_process(h, pid, &pidfd, &watch);
	if (error)
		goto no_file;
	arbiter_lock(a);
	error = lm_session_open(a->lm, pid, uid, h, &session);
	if (!error) {
		holder_get(h); /* the session's */
		h->id = lm_session_id(session);
		h->uid = uid;
		h->pid = pid;
		h->pidfd = pidfd;
		h->watch = watch;
		memcpy(h->cookie, cookie, sizeof(cookie));
	}
	arbiter_unlock(a);
	if (error) {
		engine_unwatch(a->engine, watch);
		close(pidfd);
		goto no_file;
	}
	make_pin_file(h);
	arbiter_lock(a);
	h->session = session; /* only now others find it */
	LIST_INSERT_HEAD(&a->cookies[cookie[0] % ARBITER_COOKIES], h, cookies);
	arbiter_unlock(a);
	return 0;
no_file:
	if (h->mapped_fd >= 0) {
		unlinkat(core_run_dir_fd(a->daemon->core), h->mapped_name, 0);
		close(h->mapped_fd);
		h->mapped_fd = -1;
	}
	return error;
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

int holder_set_process(struct holder *h, uint32_t pid)
{
	struct arbiter *a = h->arbiter;
	struct engine_watch *watch, *old_watch;
	int pidfd, old_pidfd, error;

	pthread_mutex_lock(&a->start_lock);
	error = open_process(h, pid, &pidfd, &watch);
	if (!error) {
		arbiter_lock(a);
		old_watch = h->watch;
		old_pidfd = h->pidfd;
		h->watch = watch;
		h->pidfd = pidfd;
		h->pid = pid;
		lm_session_set_process(h->session, pid, arbiter_now());
		arbiter_unlock(a);
		engine_unwatch(a->engine, old_watch);
		close(old_pidfd);
	}
	pthread_mutex_unlock(&a->start_lock);
	return error;
}

void holder_close(struct holder *h)
{
	struct arbiter *a = h->arbiter;

	arbiter_lock(a);
	h->closed = true;
	if (h->session) {
		LIST_REMOVE(h, cookies);
		lm_session_close(h->session, arbiter_now());
	} else {
		LIST_REMOVE(h, all);
	}
	arbiter_unlock(a);
	holder_put(h);
}
