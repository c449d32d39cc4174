// SPDX-License-Identifier: BSD-2-Clause
/* workers.c - see workers.h. The lock guards every field but the threads. */
#include "workers.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

struct workers {
	pthread_mutex_t lock;
	pthread_cond_t given;
	struct work *first;
	struct work **last;
	bool ending;
	unsigned count;
	pthread_t threads[WORKERS_MAX];
};

static void *work_loop(void *context)
{
	struct workers *w = context;

	pthread_mutex_lock(&w->lock);
	for (;;) {
		struct work *work;

		while (!w->first && !w->ending)
			pthread_cond_wait(&w->given, &w->lock);
		work = w->first;
		if (!work)
			break;
		w->first = work->next;
		if (!w->first)
			w->last = &w->first;
		pthread_mutex_unlock(&w->lock);
		work->run(work);
		pthread_mutex_lock(&w->lock);
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

int workers_create(unsigned threads, const char *name, struct workers **out)
{
	struct workers *w = calloc(1, sizeof(*w));

	assert(threads >= 1 && threads <= WORKERS_MAX);
	if (!w)
		return -ENOMEM;
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->given, NULL);
	w->last = &w->first;
	for (; w->count < threads; w->count++) {
		int error = pthread_create(&w->threads[w->count], NULL, work_loop, w);

		if (error) {
			workers_destroy(w);
			return -error;
		}
		pthread_setname_np(w->threads[w->count], name);
	}
	*out = w;
	return 0;
}

void workers_give(struct workers *w, struct work *work)
{
	work->next = NULL;
	pthread_mutex_lock(&w->lock);
	*w->last = work;
	w->last = &work->next;
	pthread_cond_signal(&w->given);
	pthread_mutex_unlock(&w->lock);
}

void workers_destroy(struct workers *w)
{
	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	w->ending = true;
	pthread_cond_broadcast(&w->given);
	pthread_mutex_unlock(&w->lock);
	for (unsigned i = 0; i < w->count; i++)
		pthread_join(w->threads[i], NULL);
	assert(!w->first);
	pthread_cond_destroy(&w->given);
	pthread_mutex_destroy(&w->lock);
	free(w);
}
