// SPDX-License-Identifier: BSD-2-Clause
/* inheritance.c - see inheritance.h. */
#include "inheritance.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "crash_point.h"
#include "log.h"
#include "mappers.h"
#include "options.h"

/* ---- finding ----------------------------------------------------------------------------------
 */

static int compare_numbers(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

struct found {
	uint64_t *numbers;
	size_t count, capacity;
};

static int note_number(struct found *f, uint64_t number)
{
	if (f->count == f->capacity) {
		size_t capacity = f->capacity * 2 + 16;
		uint64_t *numbers = realloc(f->numbers, capacity * sizeof(*numbers));

		if (!numbers)
			return -ENOMEM;
		f->numbers = numbers;
		f->capacity = capacity;
	}
	f->numbers[f->count++] = number;
	return 0;
}

/* All numbers of sessions that run/ has a file of, each once, in order. */
static int list_sessions(int run_fd, struct found *out)
{
	int fd = openat(run_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	enum record_kind kind;
	struct dirent *e;
	uint64_t number;
	size_t unique = 0;
	int error = 0;

	if (!dir) {
		error = -errno;
		if (fd >= 0)
			close(fd);
		return error;
	}
	while (!error && (e = readdir(dir)))
		if (record_file_parse(e->d_name, &kind, &number))
			error = note_number(out, number);
	closedir(dir);
	if (out->count)
		qsort(out->numbers, out->count, sizeof(out->numbers[0]), compare_numbers);
	for (size_t i = 0; i < out->count; i++)
		if (i == 0 || out->numbers[i] != out->numbers[unique - 1])
			out->numbers[unique++] = out->numbers[i];
	out->count = unique;
	return error;
}

/* ---- waiting --------------------------------------------------------------------------------- */

static bool waits(struct holder *h)
{
	return h->session && lm_session_is_inherited(h->session);
}

/* With start_lock held, so that nobody adopts it meanwhile; but it may end. pid 0: nobody is left.
 */
static void wait_for(struct holder *h, uint32_t pid)
{
	struct arbiter *a = h->arbiter;
	struct engine_watch *useless = NULL;
	bool watched = pid && holder_watch(h, pid) == 0;

	arbiter_lock(a);
	if (!waits(h)) {
		useless = h->watch;
		h->watch = NULL;
	} else if (watched) {
		lm_session_set_process(h->session, pid, arbiter_now());
	} else {
		lm_session_process_gone(h->session, arbiter_now());
	}
	arbiter_unlock(a);
	if (useless)
		engine_unwatch(a->engine, useless);
	if (watched && !useless)
		log_notice("session %llu: process %u has its blocks mapped, or may have",
			(unsigned long long)h->id, pid);
}

/* A worker's: another process that has the blocks mapped is waited for, or nobody is left. */
static void seek_mapper(struct work *work)
{
	struct holder *h = (struct holder *)((char *)work - offsetof(struct holder, seek));
	struct arbiter *a = h->arbiter;
	uint32_t pid = 0, uid;
	bool waiting;
	int fd, error;

	arbiter_lock(a);
	fd = dup(h->leases_fd); /* the session may be adopted meanwhile */
	uid = h->uid;
	arbiter_unlock(a);
	error = fd < 0 ? -EMFILE : mappers_find(a->daemon->core, fd, uid, &pid);
	if (fd >= 0)
		close(fd);
	if (error)
		log_error("session %llu: cannot find out who has its blocks mapped (%s): they wait"
			  " for an administrator's release",
			(unsigned long long)h->id, strerror(-error));
	pthread_mutex_lock(&a->start_lock);
	arbiter_lock(a);
	h->seeking = false;
	waiting = !error && waits(h);
	arbiter_unlock(a);
	if (waiting)
		wait_for(h, pid);
	pthread_mutex_unlock(&a->start_lock);
	holder_put(h);
}

void inheritance_process_gone(struct holder *h)
{
	struct arbiter *a = h->arbiter;
	bool seek;

	arbiter_lock(a);
	seek = !h->seeking && waits(h);
	if (seek) {
		h->seeking = true;
		holder_get(h);
	}
	arbiter_unlock(a);
	if (seek) {
		h->seek.run = seek_mapper;
		workers_give(a->workers, &h->seek);
	}
}

static int watch_all(struct arbiter *a)
{
	struct holder *h;

	/* No request is served yet: the list is ours. */
	LIST_FOREACH(h, &a->holders, all) {
		int error = holder_watch_of_old(h);

		if (error == -ESRCH)
			inheritance_process_gone(h);
		else if (error)
			return error;
	}
	return 0;
}

/* ---- life ------------------------------------------------------------------------------------ */

static int restore_all(struct arbiter *a, const struct found *f, struct diag *diag)
{
	int run_fd = core_run_dir_fd(a->daemon->core), error;
	bool kept;

	for (size_t i = 0; i < f->count; i++) {
		error = restore_session(a, f->numbers[i], &kept);
		crash_point("session_restored");
		if (error == -ENOENT || (!error && !kept)) {
			for (unsigned k = 0; k < RECORD_KINDS; k++)
				record_file_remove(run_fd, (enum record_kind)k, f->numbers[i]);
			continue;
		}
		if (error == -EUCLEAN) /* not what fsck looks at */
			return diag_set(diag, -EBADMSG,
				"cannot take over run/leases.%llx: damaged. Once no process has its"
				" blocks mapped, remove what is in run/",
				(unsigned long long)f->numbers[i]);
		if (error)
			return diag_set(diag, error, "cannot take over run/leases.%llx: %s",
				(unsigned long long)f->numbers[i], strerror(-error));
	}
	return 0;
}

int inheritance_start(struct arbiter *a, struct diag *diag)
{
	int run_fd = core_run_dir_fd(a->daemon->core), error;
	struct found f = {0};
	uint64_t now_ns;

	if (run_fd < 0 || a->daemon->options->read_only)
		return 0;
	error = list_sessions(run_fd, &f);
	if (error)
		diag_set(diag, error, "cannot read the pool's run/: %s", strerror(-error));
	if (error || !f.count)
		goto out;
	pthread_mutex_lock(&a->start_lock);
	error = arbiter_begin_leasing(a);
	if (error) {
		diag_set(diag, error, "cannot start what leases need: %s", strerror(-error));
		goto unlock;
	}
	error = restore_all(a, &f, diag);
	if (!error) {
		arbiter_lock(a);
		now_ns = arbiter_now();
		error = lm_grace_begin(a->lm, now_ns + a->daemon->options->grace_ns, now_ns);
		arbiter_unlock(a);
		if (!error)
			error = watch_all(a);
		crash_point("grace_begun");
		if (error)
			diag_set(diag, error, "cannot wait for leases to be reclaimed: %s",
				strerror(-error));
	}
	arbiter_end_opening(a);
unlock:
	pthread_mutex_unlock(&a->start_lock);
out:
	free(f.numbers);
	return error;
}

/* ---- adopting -------------------------------------------------------------------------------- */

static bool is_same(const uint64_t a[2], const uint64_t b[2])
{
	return a[0] == b[0] && a[1] == b[1];
}

/* Under the lock. -ESTALE: nobody of that daemon is known; -EPERM: others, not this one. */
static int find_of_old(
	struct arbiter *a, const struct record_name *name, uint32_t uid, struct holder **out)
{
	struct holder *h;
	int result = -ESTALE;

	if (is_same(name->boot, a->boot) || (!name->boot[0] && !name->boot[1]))
		return -ESTALE;
	LIST_FOREACH(h, &a->holders, all) {
		for (unsigned i = 0; i < 2 && h->session; i++) {
			if (!is_same(h->names[i].boot, name->boot))
				continue;
			result = -EPERM;
			if (!is_same(h->names[i].cookie, name->cookie))
				continue;
			*out = h;
			return uid == h->uid ? 0 : -EPERM;
		}
	}
	return result;
}

/* On media first: whoever asks the daemon after this one may use the name of now, or that one. */
static int rename_session(struct holder *h, struct holder *old, const struct record_name *name)
{
	struct session_record r;

	holder_describe(h, &r);
	r.number = old->id;
	r.lines = old->lines;
	r.names[0] = (struct record_name){.boot = {h->arbiter->boot[0], h->arbiter->boot[1]},
		.cookie = {h->cookie[0], h->cookie[1]}};
	r.names[1] = *name;
	return session_record_write(old->leases_fd, &r);
}

#define SWAP(a, b)                                                                                 \
	do {                                                                                       \
		__typeof__(a) swapped = (a);                                                       \
		(a) = (b);                                                                         \
		(b) = swapped;                                                                     \
	} while (0)

/* With start_lock and the lock held. */
static void exchange(struct holder *h, struct holder *old, const struct record_name *name)
{
	uint64_t now_ns = arbiter_now();

	SWAP(h->session, old->session);
	SWAP(h->id, old->id);
	SWAP(h->pin_fd, old->pin_fd);
	SWAP(h->leases_fd, old->leases_fd);
	SWAP(h->ranges_fd, old->ranges_fd);
	SWAP(h->lines, old->lines);
	SWAP(h->lines_used, old->lines_used);
	SWAP(h->lines_lost, old->lines_lost);
	SWAP(h->line_words, old->line_words);
	SWAP(h->record_words, old->record_words);
	h->names[0] = (struct record_name){.boot = {h->arbiter->boot[0], h->arbiter->boot[1]},
		.cookie = {h->cookie[0], h->cookie[1]}};
	h->names[1] = *name;
	memset(old->names, 0, sizeof(old->names));
	lm_session_set_owner(old->session, old);
	lm_session_close(old->session, now_ns); /* it is empty */
	lm_session_adopt(h->session, h->pid, h, now_ns);
}

int inheritance_adopt(struct holder *h, const struct record_name *name)
{
	struct arbiter *a = h->arbiter;
	struct holder *old = NULL;
	int error;

	pthread_mutex_lock(&a->start_lock);
	arbiter_lock(a);
	error = h->session && !h->closed ? find_of_old(a, name, h->uid, &old) : -EBADF;
	if (error || old == h)
		goto unlock;
	if (!lm_session_is_inherited(old->session) || h->names[1].boot[0] || h->names[1].boot[1] ||
		!lm_session_is_empty(h->session))
		error = -EBUSY;
	else
		error = rename_session(h, old, name);
	crash_point("name_written");
	if (!error)
		exchange(h, old, name);
unlock:
	arbiter_unlock(a);
	pthread_mutex_unlock(&a->start_lock);
	return error;
}
