// SPDX-License-Identifier: BSD-2-Clause
/*
 * session.c - a mount's life.
 *
 *   ender -> pool opened -> arbiter -> mounted -> channel -> hardened -> control -> workers
 *   -> INIT answered: usable
 *   ended by    umount(8): the kernel answers ENODEV to the workers
 *               SIGTERM, SIGINT, SIGHUP: parked operations end, what mappings left dirty is
 *               written back, the mount is detached; all this while workers still serve it
 *   then        workers gone -> invalidator, control, arbiter -> descriptor closed -> pool closed
 *
 * Hardened before there is a second thread (harden.h); from then on only the ender can unmount.
 *
 * The main thread does nothing but wait for the channel's state and for signals, which are
 * blocked in every other thread.
 */
#include "session.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "arbitrate.h"
#include "channel.h"
#include "control.h"
#include "daemon.h"
#include "ender.h"
#include "format.h"
#include "guardian.h"
#include "harden.h"
#include "invalidate.h"
#include "log.h"
#include "mountpoint.h"
#include "ops.h"

/* What a power loss may take back when nobody calls fsync: as the kernel's own filesystems do. */
#define RELAXED_SYNC_MS 5000
#define DETACH_WAIT_MS 1000 /* for the kernel to let go, once the mount is detached */

/* ---- mounting -------------------------------------------------------------------------------- */

static int open_pool(struct daemon *d, struct diag *diag)
{
	struct core_options options = {
		.pool = d->options->pool_path,
		.durability = d->options->durability,
		.read_only = d->options->read_only,
		.lock_wait_ms = d->options->lock_wait_ms,
	};
	struct core_info info;
	int result = core_open(&options, &d->core, diag);

	if (result != 0)
		return result;
	core_get_info(d->core, &info);
	d->owner_moves_data = info.domains == DOMAINS_UID;
	/* The kernel has one lookup of the root, and never had to ask for it; the other is ours. */
	result = core_get(d->core, FUSE_ROOT_ID, &d->root);
	if (result != 0) {
		core_close(d->core);
		return diag_set(
			diag, result, "cannot read the root directory: %s", strerror(-result));
	}
	core_hold_inode(d->core, d->root, 1);
	return 0;
}

/* After the terminal was let go of: a mount that succeeds says nothing there. */
static void log_recovery(struct daemon *d)
{
	struct core_info info;

	core_get_info(d->core, &info);
	if (info.recovered_records != 0 || info.recovered_inodes != 0)
		log_notice("recovered %llu records and %llu inodes in %.3f s",
			(unsigned long long)info.recovered_records,
			(unsigned long long)info.recovered_inodes, info.open_seconds);
}

static void log_refused(struct daemon *d)
{
	struct core_region_info region;

	for (uint32_t i = 0; core_next_region(d->core, i, &i) == 0; i++)
		if (core_get_region(d->core, i, &region) == 0 && region.refused[0] != '\0')
			log_error("%s. Until then files of user %u cannot be read or written",
				region.refused, region.owner_uid);
}

static int close_pool(struct daemon *d)
{
	core_put(d->core, d->root, 2);
	return core_close(d->core);
}

static int mount_session(struct daemon *d, struct diag *diag)
{
	/* libfuse keeps the arguments it does not know: ours are all its own. */
	struct fuse_args args =
		FUSE_ARGS_INIT(d->options->session_args.argc, d->options->session_args.argv);

	d->session = fuse_session_new(&args, &operations, sizeof(operations), d);
	if (d->session == NULL) {
		fuse_opt_free_args(&args);
		return diag_set(diag, -EINVAL, "libfuse refused the options");
	}
	fuse_opt_free_args(&args);
	if (fuse_session_mount(d->session, d->options->mountpoint) != 0) {
		int error = errno != 0 ? errno : EPERM;
		fuse_session_destroy(d->session);
		return diag_set(diag, -error, "cannot mount at %s", d->options->mountpoint);
	}
	int result = channel_open(d);
	if (result != 0) {
		fuse_session_unmount(d->session);
		fuse_session_destroy(d->session);
		return diag_set(diag, result, "cannot serve the mount: %s", strerror(-result));
	}
	return 0;
}

/* ---- serving --------------------------------------------------------------------------------- */

/* Told to end, with the mount still there; what is above it by now, if so, is not ours to undo. */
static void end_mount(struct daemon *d, uint64_t device)
{
	struct pollfd event = {.fd = channel_event_fd(d), .events = POLLIN};
	uint64_t found;

	arbitrate_cancel(d);
	if (mountpoint_device(d->options->mountpoint, &found) == 0 && found == device) {
		ender_write_back(&d->ender);
		ender_detach(&d->ender);
	}
	/* Who still has files open there loses them. */
	while (channel_state(d) != CHANNEL_ENDED && poll(&event, 1, DETACH_WAIT_MS) > 0)
		;
}

struct waiting {
	int signal_fd;
	const struct session_hooks *hooks;
	uint64_t device;
	struct guardian guardian;
	bool ready;
};

static void became_ready(struct daemon *d, struct waiting *w)
{
	w->ready = true;
	(void)mountpoint_device(d->options->mountpoint, &w->device);
	w->hooks->usable(w->hooks->context);
	log_recovery(d);
	log_refused(d);
}

/* How long to wait before everything is synced once more; -1: no media here needs it. */
static int sync_interval(const struct daemon *d)
{
	struct core_info info;

	core_get_info(d->core, &info);
	return info.meta_media == REGION_PAGE_CACHE && info.durability == DURABILITY_RELAXED &&
			       !d->options->read_only
		       ? RELAXED_SYNC_MS
		       : -1;
}

static void is_ending(const struct waiting *w)
{
	if (w->ready)
		w->hooks->ending(w->hooks->context);
}

static int serve(struct daemon *d, struct waiting *w, struct diag *diag)
{
	int interval_ms = sync_interval(d);
	struct pollfd fds[] = {{.fd = channel_event_fd(d), .events = POLLIN},
		{.fd = w->signal_fd, .events = POLLIN}};

	for (;;) {
		enum channel_state state = channel_state(d);
		if (!w->ready && channel_was_ready(d))
			became_ready(d, w);
		if (state == CHANNEL_ENDED)
			break;
		int events = poll(fds, 2, interval_ms);
		if (events < 0 && errno != EINTR)
			return diag_set(diag, -errno, "poll: %s", strerror(errno));
		if (events == 0 && core_sync(d->core) != 0)
			log_error("could not make the pool durable: see the media's own log");
		if (fds[1].revents & POLLIN) {
			struct signalfd_siginfo info;
			if (read(w->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
				log_debug("ending on signal %u", info.ssi_signo);
				is_ending(w);
				end_mount(d, w->device);
				if (!w->ready)
					return diag_set(diag, -EINTR,
						"told to end before the mount was usable");
				return 0;
			}
		}
	}
	is_ending(w);
	if (!w->ready)
		return diag_set(
			diag, -EPROTO, "the kernel and libfuse did not agree on a protocol");
	return 0;
}

/* From here to the end the mount exists. */
static int run_mounted(struct daemon *d, struct waiting *w, struct diag *diag)
{
	int result = invalidate_start(d);

	if (result == 0) {
		result = channel_start(d);
		if (result == 0) {
			result = serve(d, w, diag);
			channel_stop(d);
		} else {
			diag_set(diag, result, "cannot start a thread: %s", strerror(-result));
		}
	} else {
		diag_set(diag, result, "cannot start a thread: %s", strerror(-result));
	}
	return result;
}

static void start_guardian(struct daemon *d, struct waiting *w)
{
	uint64_t device;
	int result = mountpoint_device(d->options->mountpoint, &device);

	if (result == 0)
		result = guardian_start(&w->guardian, device);
	if (result != 0)
		log_debug("no guardian (%s): if the daemon is killed, the mount may need umount -f",
			strerror(-result));
}

/* What needs no right that is given up, and all that starts threads. */
static int run_hardened(struct daemon *d, struct waiting *w, struct diag *diag)
{
	int result = d->options->hardening ? harden(diag) : 0;

	if (result != 0)
		return result;
	result = control_start(d, diag);
	if (result == 0)
		result = run_mounted(d, w, diag);
	control_stop(d);
	invalidate_stop(d);
	return result;
}

static int run_pool(struct daemon *d, struct waiting *w, struct diag *diag)
{
	int result = arbitrate_start(d, diag);

	if (result != 0)
		return result;
	result = mount_session(d, diag);
	if (result != 0)
		goto stop_arbiter;
	start_guardian(d, w);
	result = run_hardened(d, w, diag);
	arbitrate_stop(d);
	guardian_stop(&w->guardian);
	/*
	 * libfuse unmounts whatever is at the mount point, unless the connection has ended; and it
	 * would need what is given up. A mount that never was usable is there still.
	 */
	if (channel_state(d) == CHANNEL_ENDED)
		fuse_session_unmount(d->session);
	else if (!w->ready)
		ender_detach(&d->ender);
	channel_close(d);
	fuse_session_destroy(d->session);
	return result;
stop_arbiter:
	arbitrate_stop(d);
	return result;
}

static int block_signals(void)
{
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGHUP);
	signal(SIGPIPE, SIG_IGN);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);
	return signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void raise_limits(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit); /* regions and pidfds; no inode has one */
	}
}

int session_run(const struct options *o, const struct session_hooks *hooks, struct diag *diag)
{
	struct daemon d = {.options = o};
	struct waiting w = {.hooks = hooks};

	umask(0);
	raise_limits();
	w.signal_fd = block_signals();
	if (w.signal_fd < 0)
		return diag_set(diag, -errno, "signalfd: %s", strerror(errno));
	int result = ender_start(&d.ender, o->mountpoint);
	if (result != 0) {
		close(w.signal_fd);
		return diag_set(diag, result, "cannot start a process: %s", strerror(-result));
	}
	result = open_pool(&d, diag);
	if (result == 0) {
		result = run_pool(&d, &w, diag);
		int closed = close_pool(&d);
		if (result == 0 && closed != 0)
			result = diag_set(
				diag, closed, "could not close the pool: %s", strerror(-closed));
	}
	ender_stop(&d.ender);
	close(w.signal_fd);
	return result;
}
