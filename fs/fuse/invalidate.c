// SPDX-License-Identifier: BSD-2-Clause
/*
 * invalidate.c - the invalidating thread and its queue.
 *
 * Invariant: a notification is sent by this thread alone, with no lock held.
 * The queue is bounded by its users: one entry for each commit or return under way.
 */
#include "invalidate.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "daemon.h"
#include "log.h"

struct notice {
	struct notice *next;
	uint64_t ino;
	uint64_t start, end;
	void (*done)(void *context);
	void *context;
};

struct invalidator {
	pthread_t thread;
	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t filled;
	struct notice *first;
	struct notice **last;
	bool stopping;
};

static void notice_send(struct daemon *d, const struct notice *n)
{
	/* A length of 0 is "to the end"; a negative offset is "attributes alone". */
	int64_t offset = n->start == n->end ? -1 : (int64_t)n->start;
	int64_t length = n->end > INT64_MAX ? 0 : (int64_t)(n->end - n->start);
	int error = fuse_lowlevel_notify_inval_inode(d->session, n->ino, offset, length);

	/* ENOENT: not cached. ENODEV, ENOTCONN, EBADF: the mount has gone. */
	if (error != 0 && error != -ENOENT && error != -ENODEV && error != -ENOTCONN &&
		error != -EBADF)
		log_warning("could not invalidate the kernel's pages of inode %llu: %s",
			(unsigned long long)n->ino, strerror(-error));
}

static void *invalidate_run(void *argument)
{
	struct daemon *d = argument;
	struct invalidator *v = d->invalidator;

	pthread_mutex_lock(&v->lock);
	for (;;) {
		while (v->first == NULL && !v->stopping)
			pthread_cond_wait(&v->filled, &v->lock);
		if (v->first == NULL)
			break;
		struct notice *n = v->first;
		bool stopping = v->stopping;
		v->first = n->next;
		if (v->first == NULL)
			v->last = &v->first;
		pthread_mutex_unlock(&v->lock);
		if (!stopping)
			notice_send(d, n);
		if (n->done != NULL)
			n->done(n->context);
		free(n);
		pthread_mutex_lock(&v->lock);
	}
	pthread_mutex_unlock(&v->lock);
	return NULL;
}

int invalidate_start(struct daemon *d)
{
	struct invalidator *v = calloc(1, sizeof(*v));

	if (v == NULL)
		return -ENOMEM;
	v->last = &v->first;
	pthread_mutex_init(&v->lock, NULL);
	pthread_cond_init(&v->filled, NULL);
	d->invalidator = v;
	int error = pthread_create(&v->thread, NULL, invalidate_run, d);
	if (error != 0) {
		d->invalidator = NULL;
		pthread_cond_destroy(&v->filled);
		pthread_mutex_destroy(&v->lock);
		free(v);
	}
	return -error;
}

void invalidate_stop(struct daemon *d)
{
	struct invalidator *v = d->invalidator;

	if (v == NULL)
		return;
	pthread_mutex_lock(&v->lock);
	v->stopping = true;
	pthread_cond_signal(&v->filled);
	pthread_mutex_unlock(&v->lock);
	int error = pthread_join(v->thread, NULL);
	assert(error == 0);
	pthread_cond_destroy(&v->filled);
	pthread_mutex_destroy(&v->lock);
	free(v);
	d->invalidator = NULL;
}

int invalidate_pages(struct daemon *d, uint64_t ino, uint64_t start, uint64_t end,
	void (*done)(void *context), void *context)
{
	struct invalidator *v = d->invalidator;
	struct notice *n = malloc(sizeof(*n));

	assert(start <= end);
	if (n == NULL)
		return -ENOMEM;
	*n = (struct notice){
		.ino = ino, .start = start, .end = end, .done = done, .context = context};
	pthread_mutex_lock(&v->lock);
	*v->last = n;
	v->last = &n->next;
	pthread_cond_signal(&v->filled);
	pthread_mutex_unlock(&v->lock);
	return 0;
}
