// SPDX-License-Identifier: BSD-2-Clause
/*
 * engine.h - one thread with one io_uring, for what happens by itself: deadlines that pass and
 * processes that end. The daemon's only caller of liburing.
 *
 * Callbacks run on the engine's thread, with none of its locks held; they must not block for long.
 *
 * Threads: every function but create and destroy may be called from any thread, callbacks included.
 * The engine's lock is a leaf.
 */
#ifndef ENGINE_ENGINE_H
#define ENGINE_ENGINE_H

#include <stdint.h>

struct engine;
struct engine_watch;

/* -ENOMEM, -EMFILE, -EPERM or -ENOSYS (no io_uring here), -EAGAIN. */
int engine_create(void (*deadline)(void *context), void *context, struct engine **out);
/* No callback comes any more when it returns. Watches need not have been ended. */
void engine_destroy(struct engine *e);

/*
 * `deadline` is called at that time (CLOCK_MONOTONIC, UINT64_MAX: never) or later, once. The last
 * call counts.
 */
void engine_set_deadline(struct engine *e, uint64_t deadline_ns);

/*
 * Calls gone(context) once the process of that pidfd has ended, or never, after unwatch. The pidfd
 * is the caller's, and stays open until then. -ENOMEM.
 */
int engine_watch_process(struct engine *e, int pidfd, void (*gone)(void *context), void *context,
	struct engine_watch **out);
/* Also after gone() was called, also from it. Elsewhere it waits until gone() is not running. */
void engine_unwatch(struct engine *e, struct engine_watch *w);

#endif
