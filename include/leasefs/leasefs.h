/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * leasefs.h - libleasefs: direct mappings of files on leasefs, with leases that can be recalled.
 *
 *     struct leasefs_session *session;
 *     struct leasefs_lease *lease;
 *     void *memory;
 *
 *     leasefs_open_session_at(fd, 0, &session);
 *     leasefs_take_lease(session, fd, 0, length, LEASEFS_TAKE_WRITE, &lease);
 *     leasefs_map_lease(lease, 0, &memory);
 *     ... stores to `memory` are stores to the file's blocks ...
 *     leasefs_commit_range(lease, 0, 0, length);
 *     leasefs_return_lease(lease);
 *     leasefs_close_session(session);
 *
 * The model is in leasefs(7) and leasefs-mapping(7); the binary interface below this library, whose
 * structures some calls pass on, in leasefs/control.h.
 *
 * Returns
 *   0 or a positive value as described, or -errno; outputs are written on success only. Errors that
 *   every call with a session or lease may return, besides those named with it:
 *     -ECHILD    the caller is a child of fork(2), and the session its parent's
 *     -ENOTCONN  the daemon has gone, and is not there again within LEASEFS_RECONNECT_NS (or the
 *                session has no thread); it stays so until LEASEFS_EVENT_RECONNECTED
 *     -EINVAL    unknown flags, or a range that is empty, wraps or lies outside
 *     -ENOMEM    memory, or address space (RLIMIT_AS), or the number of mappings (vm.max_map_count)
 *     -EIO       the daemon answered what it never should, or could not write down what was asked
 *   The library prints nothing, installs no signal handler (but leasefs_enable_guard()), changes no
 *   signal mask but its own thread's, and never ends the process.
 *
 * Units and ranges
 *   Offsets are bytes in the file, whatever the mapping's address. A length of 0 with an offset of
 *   0 is all of the lease where it says "0, 0: all". Times are nanoseconds of CLOCK_MONOTONIC.
 *
 * Threads
 *   Everything may be called from any thread at any time, but the ends of lives: nobody may use a
 *   lease while or after it is returned, or a session while or after it is closed. Each session has
 *   a thread of the library's, with signals blocked: it reads events, answers for managed mappings,
 *   and takes the session up again with a new daemon. Managed mappings have up to two more, which
 *   take leases again. LEASEFS_SESSION_NO_THREAD does without all of it.
 *
 * Ownership
 *   Handles belong to the caller until leasefs_return_lease() and leasefs_close_session(). The
 *   descriptors that are passed in stay the caller's, and may be closed at once.
 *
 * fork(2)
 *   Mappings of leases are not inherited (MADV_DONTFORK), unless LEASEFS_MAP_FORK. In the child
 *   handles may be given to leasefs_close_session() alone, which frees the child's memory and
 *   descriptors and leaves the session as it is; everything else says -ECHILD (the inline pins do
 *   not look: they are the parent's). The child's copy of the session's descriptor is closed by
 *   execve(2) or that call; the session ends when its accountable process does, in any case.
 */
#ifndef LEASEFS_LEASEFS_H
#define LEASEFS_LEASEFS_H

#include <leasefs/control.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LEASEFS_VERSION_MAJOR 1
#define LEASEFS_VERSION_MINOR 0

/* How long a call, or the library's thread, waits for a daemon to come again: a mount with a large
 * pool to recover is there within it. */
#define LEASEFS_RECONNECT_NS 10000000000ull

struct leasefs_session;
struct leasefs_lease;

/* ---- sessions -------------------------------------------------------------------------------- */

/* No thread: no callback, no managed mappings, no reclaim. leasefs_next_event() reads the daemon.
 */
#define LEASEFS_SESSION_NO_THREAD 1u
/* A daemon's end is the session's end, reported as LEASEFS_EVENT_DISCONNECTED. */
#define LEASEFS_SESSION_NO_RECLAIM 2u

/*
 * Opens a session on the mount that `path`, or the open file `fd`, is on. The calling process
 * becomes accountable for it: named in messages, signalled by policies.
 * -ENOTTY: that is not on leasefs, or the root of its mount can't be reached by any path of this
 * process. -EPROTO: the daemon speaks no version of the protocol that this library does. -EMFILE,
 * -ENFILE: too many sessions or descriptors. -ESRCH: this process is not visible to the daemon
 * (another pid namespace). -EACCES, -ENOENT and others: as open(2) of `path`. -EBADF.
 */
int leasefs_open_session(const char *path, unsigned flags, struct leasefs_session **out);
int leasefs_open_session_at(int fd, unsigned flags, struct leasefs_session **out);

/*
 * The same of a session that another process has passed on, by the descriptor that
 * leasefs_get_session_fd() gave there. Both hold the session then: each knows the leases that it
 * took itself, and each event is read by one of them, so in general only one should go on. The
 * caller becomes accountable. -ENOTTY: not such a descriptor. Others as above.
 */
int leasefs_adopt_session(int control_fd, unsigned flags, struct leasefs_session **out);

/* The session's descriptor, to be passed on with SCM_RIGHTS. It stays the library's. */
int leasefs_get_session_fd(const struct leasefs_session *session);

/* What HELLO said: session number, features, pid, boot verifier. */
int leasefs_get_session(struct leasefs_session *session, struct leasefs_hello *out);

/*
 * Takes every mapping of its leases away, returns them, and ends the session. What is still pinned
 * is not returned: its blocks are not reused before this process has ended. All handles of the
 * session end with it. -EDEADLK: from the session's callback.
 */
int leasefs_close_session(struct leasefs_session *session);

/* ---- leases ---------------------------------------------------------------------------------- */

#define LEASEFS_TAKE_READ 1u
#define LEASEFS_TAKE_WRITE 2u     /* no holes: allocated now, so that no store fails later */
#define LEASEFS_TAKE_EXCLUSIVE 4u /* nobody else's lease overlaps it */

/*
 * Leases [offset, offset + length) of the open file, rounded outward to blocks (or what the region
 * needs). Length 0: to the end of file. The descriptor's open mode is the permission.
 * -EAGAIN: somebody is in the way, or a recall is under way: LEASEFS_EVENT_AVAILABLE will say when
 * to ask again. -EACCES: the kernel does not let the caller open the region: ordinary I/O works.
 * -EBADF: not open for that. -ENOTTY: not on leasefs, -EXDEV: on another mount than the session.
 * -EOPNOTSUPP: not a regular file. -ENOSPC: for the holes. -EFBIG: past the largest size of a file.
 * -ENOLCK: too many leases, -ENOBUFS: too many requests that wait. -ESHUTDOWN: the mount drains.
 */
int leasefs_take_lease(struct leasefs_session *session, int fd, uint64_t offset, uint64_t length,
	unsigned flags, struct leasefs_lease **out);

/*
 * The same, but waits while it is -EAGAIN, or -ENOBUFS: not longer than timeout_ns (UINT64_MAX: for
 * ever). -ETIMEDOUT. -EDEADLK: from the session's callback. -EOPNOTSUPP: a session without thread.
 */
int leasefs_wait_lease(struct leasefs_session *session, int fd, uint64_t offset, uint64_t length,
	unsigned flags, uint64_t timeout_ns, struct leasefs_lease **out);

/*
 * Gives all that is left of the lease back, after taking its mapping away, and frees the handle.
 * Revoked parts are acknowledged. -EBUSY: pinned; the lease and its mapping are as before. When the
 * daemon has gone it succeeds. From the callback too.
 */
int leasefs_return_lease(struct leasefs_lease *lease);

/*
 * Gives a part back: whole blocks inside the lease. Its part of the mapping becomes inaccessible
 * (managed: a mapping of the file). -EBUSY: pinned. -EINVAL: not whole blocks. -ENOENT: there is
 * nothing of the lease in that range any more. -ENOLCK.
 */
int leasefs_return_range(struct leasefs_lease *lease, uint64_t offset, uint64_t length);

/* To a read lease; its mapping becomes read-only. -EBUSY: pinned. -EOPNOTSUPP: managed. */
int leasefs_downgrade_lease(struct leasefs_lease *lease, unsigned flags /* LEASEFS_DOWNGRADE_* */);

/*
 * The answer to LEASEFS_EVENT_REVOKED: makes every revoked part of the mapping inaccessible, and
 * tells the daemon that it is: its blocks may be reused then. Before it, loads and stores there
 * still work, and reach blocks that belong to no file. -EBUSY: still pinned.
 */
int leasefs_acknowledge_lease(struct leasefs_lease *lease);

struct leasefs_lease_state {
	uint64_t offset; /* of the range as granted, rounded */
	uint64_t length;
	uint64_t held_bytes;    /* of it, not returned nor revoked */
	uint64_t revoked_bytes; /* of it, not acknowledged yet */
	uint64_t inode;         /* st_ino */
	void *address;          /* of `offset`; NULL: not mapped */
	uint32_t mode;          /* LEASEFS_MODE_* */
	uint32_t managed;       /* 0 or 1 */
	uint64_t gave_way;      /* managed: how many times a range was swapped out, and in again */
	uint64_t came_back;
	int error; /* managed: why it is not all direct (-errno), 0: it is, or waits to be */
	uint32_t reserved[9];
};
int leasefs_get_lease(struct leasefs_lease *lease, struct leasefs_lease_state *out);

/* A pointer of the caller's, kept with the lease. */
static inline void leasefs_set_lease_data(struct leasefs_lease *lease, void *data);
static inline void *leasefs_get_lease_data(const struct leasefs_lease *lease);

/* ---- where the bytes are --------------------------------------------------------------------- */

/*
 * The layout from `offset` on, for those who program hardware: fills up to `count` extents, in
 * order and without gaps but for what was given back, and says in *next where to go on (the lease's
 * end: complete). Returns how many. -ESTALE: revoked.
 */
int leasefs_get_layout(struct leasefs_lease *lease, uint64_t offset, struct leasefs_extent *extents,
	unsigned count, uint64_t *next);

/* A region's path, size, alignment and media. -ENOENT. */
int leasefs_get_region(
	struct leasefs_session *session, uint32_t number, struct leasefs_region *out);

/* ---- mappings -------------------------------------------------------------------------------- */

#define LEASEFS_MAP_FORK 0x100u     /* a child of fork(2) has it too. Not managed */
#define LEASEFS_MAP_POPULATE 0x200u /* fault it in now */

/*
 * Maps all of the lease at one contiguous address, whatever the number of extents and regions; the
 * output is the address of the lease's offset, congruent to the place of the first extent modulo
 * 2 MiB, so that huge pages are possible. Read-only for a read lease. Holes of a read lease, and
 * blocks that nobody has written yet, read as zeros. A lease has one mapping; until
 * leasefs_unmap_lease() the same address comes again.
 * -EACCES: the kernel does not let the caller open the region. -ESTALE: revoked.
 */
int leasefs_map_lease(struct leasefs_lease *lease, unsigned flags, void **address);

/* The lease is kept. -EOPNOTSUPP: managed. -EBUSY: pinned. */
int leasefs_unmap_lease(struct leasefs_lease *lease);

/*
 * After LEASEFS_EVENT_LAYOUT_CHANGED: maps what has become of the lease's holes, at the same place.
 * Managed: takes what is not direct now and could be.
 */
int leasefs_refresh_lease(struct leasefs_lease *lease);

/*
 * Makes stores to [address, address + length) of the mapping durable as far as the media can, as
 * pmem_persist(3): flushes and a fence on pmem, msync(2) on page cache, a fence on volatile media.
 * -EINVAL: not in the mapping.
 */
int leasefs_persist_range(struct leasefs_lease *lease, const void *address, size_t length);

/*
 * Of a write lease (0, 0: all): persists as the media needs, grows the file to `size` if that is
 * more (0: leave it; never shrinks), sets its times, and lets ordinary reads and mappings of others
 * see what was stored before. -EBADF: a read lease. -ENOSPC, -EFBIG, -EIO. -ESTALE: of the range
 * nothing is held any more.
 */
int leasefs_commit_range(
	struct leasefs_lease *lease, uint64_t offset, uint64_t length, uint64_t size);

/* ---- managed mappings ------------------------------------------------------------------------ */

/*
 * The memory is not handed to system calls or hardware by threads that do not pin it: the mapping
 * may become direct again where the system lets this process handle page faults of user mode only.
 */
#define LEASEFS_MANAGED_USER_FAULTS 0x400u

/*
 * Maps [offset, offset + length) of an open file at one address and looks after it. At first, and
 * whenever it can be had, it is a direct mapping under a lease (flags: LEASEFS_TAKE_*, and
 * LEASEFS_MAP_POPULATE). When somebody needs the lease back and it is not pinned, the library puts
 * a mapping of the file itself at the same address, in one step, and gives the lease back; when the
 * range is available again, it puts the direct pages there again. Only what was recalled is given
 * back. Pointers stay valid, no store is lost, and no access fails but past the end of file, where
 * the mapping raises SIGBUS as mmap(2) does: leasefs_enable_guard() helps there.
 *
 * A range that is pinned is not given back: LEASEFS_EVENT_RECALL goes to the application, which is
 * to unpin; the library does the rest. Pins need the direct pages: -EAGAIN while there are none.
 *
 * What can't be leased is a mapping of the file, and works: leasefs_get_lease() says why.
 * Past the end of file there is no lease: leasefs_refresh_lease() takes what the file has grown by.
 * A write lease comes again only where userfaultfd(2) is allowed: with CAP_SYS_PTRACE or
 * vm.unprivileged_userfaultfd, or read access to /dev/userfaultfd, or the flag above.
 *
 * -EINVAL: offset not a multiple of the page size. -EBADF: not open for that mode. -EOPNOTSUPP: the
 * session has no thread, it is no regular file, or its pages are not 4 KiB. -ENOTTY, -EXDEV as
 * leasefs_take_lease(). As the state's `error`: -EACCES: the caller may not open the region or, for
 * writing, the file again; -EOPNOTSUPP: the kernel can't map files that are open for direct I/O
 * (before Linux 6.6); -EPERM: no userfaultfd(2).
 *
 * After a daemon's end the direct parts stay as they are; the rest raises SIGBUS until the new
 * daemon is there and the file is found again at its path.
 */
int leasefs_map_managed(struct leasefs_session *session, int fd, uint64_t offset, uint64_t length,
	unsigned flags, struct leasefs_lease **out, void **address);

/*
 * Ends a managed mapping but leaves the memory: from now on it is an ordinary mapping of the file,
 * at the same address, and the caller's to munmap(2). The lease is given back and the handle freed.
 * -EOPNOTSUPP: not managed. -EBUSY: pinned; -ENOTCONN, -ENOMEM: nothing has changed for the caller.
 */
int leasefs_leave_mapping(struct leasefs_lease *lease);

/* ---- pins ------------------------------------------------------------------------------------ */

/*
 * "Something may touch these bytes, and I can't give them back yet." Counted, of the whole lease,
 * in memory shared with the daemon: nanoseconds, and no system call unless a recall is under way.
 * -EAGAIN: it is recalled, revoked or (managed) not direct: not pinned. -ENOLCK.
 */
static inline int leasefs_pin_lease(struct leasefs_lease *lease);
static inline int leasefs_unpin_lease(struct leasefs_lease *lease);

/*
 * A counted pin of a range (0, 0: all), by the daemon; LEASEFS_PIN_UNBREAKABLE: an operation that
 * would free it fails at once. The range must be in one piece: what a lease that was cut has left
 * on both sides of a gap takes two. -EAGAIN: recalled, or (managed) not direct. -ENOLCK, -ENOENT.
 */
int leasefs_pin_range(struct leasefs_lease *lease, uint64_t offset, uint64_t length, unsigned flags,
	uint64_t *pin);
int leasefs_unpin_range(struct leasefs_lease *lease, uint64_t pin);

/* ---- events ---------------------------------------------------------------------------------- */

/* Of the library, besides LEASEFS_EVENT_* of control.h. */
#define LEASEFS_EVENT_DISCONNECTED 0x10000u /* the daemon has gone; mappings and pins stay */
#define LEASEFS_EVENT_RECONNECTED 0x10001u  /* with a new daemon; what was lost came as REVOKED */
/* Managed: [offset, offset + length) could be neither direct nor a mapping of the file (`flags` is
 * the errno), and is inaccessible. */
#define LEASEFS_EVENT_LOST 0x10002u

/*
 * A descriptor that polls readable (POLLIN; poll, epoll, io_uring's POLL_ADD) while there are
 * events. It is the library's, is good until the session is closed, and is not to be read.
 */
int leasefs_get_event_fd(const struct leasefs_session *session);

/*
 * The next event, without waiting: 1, or 0 if there is none. *lease is what it is about, NULL if
 * that is none of this session's handles: LEASEFS_EVENT_AVAILABLE, _DRAIN, _DISCONNECTED,
 * _RECONNECTED. For leases that are not managed the application answers: recall ->
 * leasefs_return_range() or _lease(), until the deadline; revoked -> leasefs_acknowledge_lease();
 * layout_changed -> leasefs_refresh_lease(). Events are kept until they are taken; one that
 * is over before (a recall that was cancelled) is not seen. Events of a lease go when it is
 * returned.
 */
int leasefs_next_event(
	struct leasefs_session *session, struct leasefs_event *event, struct leasefs_lease **lease);

/*
 * Instead: the library's thread calls back, with no lock held; events that wait already come first.
 * NULL: no more. The callback may call everything but what says -EDEADLK. leasefs_return_lease()
 * by another thread waits for a callback about that lease to end. -EOPNOTSUPP: no thread.
 */
typedef void leasefs_callback(
	void *context, const struct leasefs_event *event, struct leasefs_lease *lease);
int leasefs_set_callback(
	struct leasefs_session *session, leasefs_callback *callback, void *context);

/* ---- the guard: SIGBUS as an error ----------------------------------------------------------- */

/*
 * Installs a handler for SIGBUS, process-wide, that turns a fault inside a guard into a return, and
 * hands every other SIGBUS to the handler that was there before. Called again it does nothing,
 * unless another handler has taken its place: then that one is the one before.
 */
int leasefs_enable_guard(void);

/* Copies; -EFAULT: a fault on either side, some of it copied. -EPERM: not enabled. */
int leasefs_copy_guarded(void *to, const void *from, size_t length);

/*
 *     struct leasefs_guard guard;
 *
 *     if (leasefs_begin_guard(&guard) == 0)
 *             ... loads and stores, nothing that takes a lock or allocates ...
 *     else
 *             ... a fault: -EFAULT ...
 *     leasefs_end_guard(&guard);
 *
 * In one function, by one thread; guards nest. Variables that change inside must be volatile.
 */
struct leasefs_guard {
	struct leasefs_guard *outer;
	sigjmp_buf back;
};
void leasefs_push_guard(struct leasefs_guard *guard);
void leasefs_end_guard(struct leasefs_guard *guard);
#define leasefs_begin_guard(guard) (leasefs_push_guard(guard), sigsetjmp((guard)->back, 1))

/* ---- inline ---------------------------------------------------------------------------------- */

/* How a lease begins, for the inline functions alone. */
struct leasefs_lease_head {
	struct leasefs_pin_line *line; /* NULL: there is none */
	uint32_t slowly;               /* it was cut, or is managed, or gone: ask the library */
	uint32_t reserved;
	void *data;
};

int leasefs_pin_slowly(struct leasefs_lease *lease);
int leasefs_unpin_slowly(struct leasefs_lease *lease);
/* The line's count has come to zero under a recall. */
int leasefs_tell_unpinned(struct leasefs_lease *lease);

static inline void leasefs_set_lease_data(struct leasefs_lease *lease, void *data)
{
	((struct leasefs_lease_head *)lease)->data = data;
}

static inline void *leasefs_get_lease_data(const struct leasefs_lease *lease)
{
	return ((const struct leasefs_lease_head *)lease)->data;
}

static inline int leasefs_pin_lease(struct leasefs_lease *lease)
{
	struct leasefs_lease_head *head = (struct leasefs_lease_head *)lease;
	struct leasefs_pin_line *line = head->line;

	if (!line)
		return leasefs_pin_slowly(lease);
	/* Count first, look then: control.h says why that is safe against a recall. */
	__atomic_add_fetch(&line->pins, 1, __ATOMIC_SEQ_CST);
	if (!(__atomic_load_n(&line->recall, __ATOMIC_SEQ_CST) |
		    __atomic_load_n(&head->slowly, __ATOMIC_SEQ_CST)))
		return 0;
	if (!__atomic_sub_fetch(&line->pins, 1, __ATOMIC_SEQ_CST) &&
		__atomic_load_n(&line->recall, __ATOMIC_SEQ_CST))
		leasefs_tell_unpinned(lease);
	return leasefs_pin_slowly(lease);
}

static inline int leasefs_unpin_lease(struct leasefs_lease *lease)
{
	struct leasefs_lease_head *head = (struct leasefs_lease_head *)lease;
	struct leasefs_pin_line *line = head->line;

	if (!line || __atomic_load_n(&head->slowly, __ATOMIC_SEQ_CST))
		return leasefs_unpin_slowly(lease);
	if (__atomic_sub_fetch(&line->pins, 1, __ATOMIC_SEQ_CST) ||
		!__atomic_load_n(&line->recall, __ATOMIC_SEQ_CST))
		return 0;
	return leasefs_tell_unpinned(lease);
}

#ifdef __cplusplus
}
#endif

#endif
