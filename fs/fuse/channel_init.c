// SPDX-License-Identifier: BSD-2-Clause
/*
 * channel_init.c - what the kernel is told and asked beside libfuse.
 *
 * HANDLE_KILLPRIV_V2 (setuid clearing is ours, the kernel says in each request whether the caller
 * is exempt; and it need not ask for security.capability before every write) and
 * DIRECT_IO_ALLOW_MMAP are asked for as any capability where libfuse knows them, and with
 * without=handles NO_EXPORT_SUPPORT: a kernel that knows no way from a handle to a file.
 * Libfuse 3.14 does not know them: there INIT's reply passes through channel_writev(), which adds
 * the flags if the kernel offered them. FUSE over io_uring is asked for in the same way, and its
 * replies are taken out there; so it needs a libfuse with custom io, which is a matter of how that
 * was built. TMPFILE and STATX, whose bodies begin as CREATE's and GETATTR's, are shown to libfuse
 * as those, with a note.
 */
#include "channel_impl.h"

#include <assert.h>
#include <errno.h>
#include <fuse_lowlevel.h>
#include <linux/fuse.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "daemon.h"
#include "log.h"
#include "options.h"
#include "uring.h"

#define SMALL_WRITE (128u << 10) /* what the kernel carried before Linux 4.20 */
#define BACKGROUND_REQUESTS 128u

/* Of the protocol's later versions (linux/fuse.h of 6.6). */
#define OPCODE_TMPFILE 51u
#define OPCODE_STATX 52u
#define FLAGS2_DIRECT_IO_ALLOW_MMAP (1u << 4) /* bit 36 */
#define FLAGS2_NO_EXPORT_SUPPORT (1u << 6)    /* bit 38, since 6.8 */
#define FATTR_KILL_PRIVILEGES (1u << 11)

#if defined(FUSE_CAP_HANDLE_KILLPRIV_V2) && defined(FUSE_CAP_DIRECT_IO_ALLOW_MMAP)
#define LIBRARY_KNOWS_FLAGS 1
#else
#define LIBRARY_KNOWS_FLAGS 0
#endif
#ifdef FUSE_CAP_NO_EXPORT_SUPPORT
#define LIBRARY_KNOWS_NO_EXPORT 1
#else
#define LIBRARY_KNOWS_NO_EXPORT 0
#endif

static _Thread_local struct channel_note note;

const struct channel_note *channel_note(void)
{
	return &note;
}

void channel_set_state(struct channel *ch, enum channel_state state)
{
	enum channel_state before = CHANNEL_STARTING;
	uint64_t one = 1;

	if (state == CHANNEL_READY)
		(void)atomic_compare_exchange_strong(&ch->state, &before, state);
	else
		atomic_store(&ch->state, state);
	ssize_t n = write(ch->event_fd, &one, sizeof(one));
	assert(n == (ssize_t)sizeof(one));
}

/* ---- INIT ------------------------------------------------------------------------------------ */

static void ask_for_flags(struct channel *ch, struct fuse_conn_info *conn)
{
#if LIBRARY_KNOWS_FLAGS
	ch->kills_privileges = conn->capable & FUSE_CAP_HANDLE_KILLPRIV_V2;
	conn->want |= conn->capable & FUSE_CAP_HANDLE_KILLPRIV_V2;
	if (ch->direct_mmap)
		conn->want |= conn->capable & FUSE_CAP_DIRECT_IO_ALLOW_MMAP;
#endif
#if LIBRARY_KNOWS_NO_EXPORT
	if (ch->no_handles)
		conn->want |= conn->capable & FUSE_CAP_NO_EXPORT_SUPPORT;
#endif
}

static void add_flags2(struct fuse_init_out *out, uint32_t flags2)
{
	out->flags |= FUSE_INIT_EXT;
	out->flags2 |= flags2;
}

static void init_reply(struct channel *ch, struct iovec *vector, int count)
{
	struct fuse_init_out *out;

	if (count < 2 || vector[1].iov_len < offsetof(struct fuse_init_out, unused))
		return;
	out = vector[1].iov_base;
	if (!LIBRARY_KNOWS_FLAGS && (ch->offered & FUSE_HANDLE_KILLPRIV_V2)) {
		out->flags |= FUSE_HANDLE_KILLPRIV_V2;
		ch->kills_privileges = true;
	}
	if (!LIBRARY_KNOWS_FLAGS && ch->direct_mmap && (ch->offered2 & FLAGS2_DIRECT_IO_ALLOW_MMAP))
		add_flags2(out, FLAGS2_DIRECT_IO_ALLOW_MMAP);
	if (!LIBRARY_KNOWS_NO_EXPORT && ch->no_handles && (ch->offered2 & FLAGS2_NO_EXPORT_SUPPORT))
		add_flags2(out, FLAGS2_NO_EXPORT_SUPPORT);
	if (ch->uring != NULL && (ch->offered2 & URING_INIT_FLAGS2)) {
		add_flags2(out, URING_INIT_FLAGS2);
		atomic_store(&ch->over_uring, true);
	}
}

static ssize_t channel_writev(int fd, struct iovec *vector, int count, void *userdata)
{
	struct channel *ch = ((struct daemon *)userdata)->channel;
	int bytes;

	if (ch->uring != NULL && uring_reply(ch->uring, vector, count, &bytes))
		return bytes;
	if (atomic_load_explicit(&ch->state, memory_order_relaxed) == CHANNEL_STARTING &&
		!atomic_exchange(&ch->init_answered, true)) {
		const struct fuse_out_header *header = vector[0].iov_base;
		if (header->error == 0)
			init_reply(ch, vector, count);
	}
	return writev(fd, vector, count);
}

static ssize_t channel_read(int fd, void *buffer, size_t bytes, void *userdata)
{
	return read(fd, buffer, bytes); /* not called: workers receive by themselves */
}

int channel_hook_replies(struct daemon *d)
{
	static const struct fuse_custom_io io = {.writev = channel_writev, .read = channel_read};

	bool handles = LIBRARY_KNOWS_NO_EXPORT || !(d->options->without & OPTIONS_WITHOUT_HANDLES);

	if (LIBRARY_KNOWS_FLAGS && handles && d->channel->uring == NULL)
		return 0;
	int result = fuse_session_custom_io(d->session, &io, d->channel->fd);
	if (result != 0 && d->channel->uring != NULL)
		log_error("option io_uring: libfuse %s here is built without custom io",
			fuse_pkgversion());
	return result;
}

/* After INIT's reply: lets the queues' workers begin, or go. */
static void tell_uring(struct channel *ch)
{
	if (ch->uring == NULL)
		return;
	if (atomic_load(&ch->over_uring))
		atomic_store(&ch->desks_open, ch->desks_count);
	else
		log_warning("the kernel does not offer FUSE over io_uring: serving without");
	for (unsigned i = 1; i < ch->desks_count; i++)
		sem_post(&ch->uring_agreed);
}

void channel_init_done(struct daemon *d)
{
	struct channel *ch = d->channel;
	bool ready = atomic_load(&ch->negotiated) && !fuse_session_exited(d->session);

	if (ready)
		atomic_store(&ch->was_ready, true);
	tell_uring(ch);
	channel_set_state(ch, ready ? CHANNEL_READY : CHANNEL_ENDED);
}

void channel_negotiate(struct daemon *d, struct fuse_conn_info *conn)
{
	bool large = !(d->options->without & OPTIONS_WITHOUT_LARGE_REQUESTS);

	d->channel->direct_mmap = !(d->options->without & OPTIONS_WITHOUT_DIRECT_MMAP);
	d->channel->no_handles = d->options->without & OPTIONS_WITHOUT_HANDLES;
	if (d->channel->no_handles) {
		conn->want &= ~(unsigned)FUSE_CAP_EXPORT_SUPPORT;
		if (!(d->channel->offered2 & FLAGS2_NO_EXPORT_SUPPORT))
			log_warning("option without=handles: this kernel has handles all the same");
	}
	conn->max_write = large ? CHANNEL_WRITE_MAX : SMALL_WRITE;
	conn->max_background = BACKGROUND_REQUESTS;
	conn->congestion_threshold = BACKGROUND_REQUESTS * 3 / 4;
	/* The two versions exclude each other. */
	if (d->channel->offered & FUSE_HANDLE_KILLPRIV_V2)
		conn->want &= ~(unsigned)FUSE_CAP_HANDLE_KILLPRIV;
	ask_for_flags(d->channel, conn);
	atomic_store(&d->channel->negotiated, true);
}

bool channel_kills_privileges(const struct daemon *d)
{
	return d->channel->kills_privileges;
}

/* ---- notes of requests ----------------------------------------------------------------------- */

static void note_init(struct channel *ch, const void *body, size_t bytes)
{
	struct fuse_init_in in = {0};

	memcpy(&in, body, bytes < sizeof(in) ? bytes : sizeof(in));
	ch->offered = in.flags;
	ch->offered2 = bytes >= sizeof(in) && (in.flags & FUSE_INIT_EXT) ? in.flags2 : 0;
}

void channel_note_request(struct channel *ch, char *buffer, size_t bytes)
{
	struct fuse_in_header *header = (struct fuse_in_header *)buffer;
	const void *body = header + 1;

	note = (struct channel_note){0};
	switch (header->opcode) {
	case FUSE_WRITE:
		note.kill_privileges =
			((const struct fuse_write_in *)body)->write_flags & FUSE_WRITE_KILL_SUIDGID;
		break;
	case FUSE_SETATTR:
		note.kill_privileges =
			((const struct fuse_setattr_in *)body)->valid & FATTR_KILL_PRIVILEGES;
		break;
	case FUSE_OPEN:
		note.kill_privileges =
			((const struct fuse_open_in *)body)->open_flags & FUSE_OPEN_KILL_SUIDGID;
		break;
	case OPCODE_TMPFILE:
		note.tmpfile = true;
		header->opcode = FUSE_CREATE;
		break;
	case OPCODE_STATX:
		note.statx = true;
		header->opcode = FUSE_GETATTR;
		break;
	case FUSE_INIT:
		note_init(ch, body, bytes - sizeof(*header));
		break;
	default:
		break;
	}
}
