// SPDX-License-Identifier: BSD-2-Clause
/*
 * uring_receive.c - receives a stream from a socket straight into a file's blocks.
 *
 *     uring_receive SOCKET-PATH FILE [MIB]
 *
 * The file's leased mapping, MIB (16) at a time, is registered as a buffer of an io_uring: the
 * kernel pins its pages for as long, as a network card's memory region would be. The bytes of a
 * stream socket are received into it, without any copy in this program.
 *
 * When somebody wants blocks of the window back (a truncate in mid-stream), the receive under way
 * is cancelled, the buffer unregistered, what has come is committed, and the lease returned. Then
 * the stream goes on behind whatever is left of the file. A program that unmapped before the ring
 * had let go, or returned before it had unmapped, would have the kernel write into somebody else's
 * file.
 *
 * Order of giving way: stop the transfers, wait for their ends, unregister, commit, unpin, return.
 */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <leasefs/leasefs.h>

#define RECEIVE_BYTES_MAX ((uint64_t)1 << 20) /* of one request */
#define WAIT_NS 30000000000ull

enum { TAG_RECEIVE = 1, TAG_EVENT, TAG_CANCEL };

struct receiver {
	const char *path;
	int file, socket;
	struct io_uring ring;
	struct leasefs_session *session;
	/* The window: leased, mapped, registered, pinned. NULL: there is none. */
	struct leasefs_lease *lease;
	char *memory;
	uint64_t start, length;
	uint64_t filled; /* of it */
	uint64_t total, gave_way;
	bool receiving; /* a request is under way */
	bool recalled, ended;
};

static void check(int result, const char *what)
{
	if (result >= 0)
		return;
	fprintf(stderr, "uring_receive: %s: %s\n", what, strerror(-result));
	exit(1);
}

static int accept_one(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), fd;

	check(listening < 0 ? -errno : 0, "socket");
	check(strlen(path) < sizeof(address.sun_path) ? 0 : -ENAMETOOLONG, path);
	strcpy(address.sun_path, path);
	check(bind(listening, (struct sockaddr *)&address, sizeof(address)) ? -errno : 0, path);
	check(listen(listening, 1) ? -errno : 0, path);
	printf("listening\n");
	fflush(stdout);
	fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
	check(fd < 0 ? -errno : 0, "accept");
	close(listening);
	unlink(path);
	return fd;
}

/* ---- the window ------------------------------------------------------------------------------ */

static void note_way_given(struct receiver *r)
{
	printf("recalled after %llu bytes: gave way\n", (unsigned long long)r->total);
	fflush(stdout);
	r->gave_way++;
	r->recalled = false;
}

/* Leases what comes behind the end of the file, and pins it. Whoever recalled us may be at it
 * still, or come again before there is a pin: look again when it is ours, and nobody can shorten
 * the file. */
static void lease_behind_end(struct receiver *r)
{
	struct stat st;
	int error;

	for (;;) {
		check(fstat(r->file, &st) ? -errno : 0, r->path);
		r->start = (uint64_t)st.st_size;
		check(leasefs_wait_lease(r->session, r->file, r->start, r->length,
			      LEASEFS_TAKE_WRITE, WAIT_NS, &r->lease),
			"a lease");
		error = leasefs_pin_lease(r->lease);
		if (error != -EAGAIN) {
			check(error, "a pin");
			check(fstat(r->file, &st) ? -errno : 0, r->path);
			if ((uint64_t)st.st_size == r->start)
				return;
			check(leasefs_unpin_lease(r->lease), "unpin");
		}
		check(leasefs_return_lease(r->lease), "returning the lease");
		if (error == -EAGAIN)
			note_way_given(r);
	}
}

static void open_window(struct receiver *r)
{
	struct leasefs_lease_state state;
	struct iovec buffer;
	int error;

	lease_behind_end(r);
	check(leasefs_map_lease(r->lease, 0, (void **)&r->memory), "a mapping");
	/* Leases are of whole blocks: the first may begin before the end of the file. */
	check(leasefs_get_lease(r->lease, &state), "the lease");
	r->memory += r->start - state.offset;
	r->filled = 0;
	buffer = (struct iovec){.iov_base = r->memory, .iov_len = r->length};
	error = io_uring_register_buffers(&r->ring, &buffer, 1);
	if (error == -EFAULT || error == -EOPNOTSUPP)
		fprintf(stderr, "uring_receive: the kernel allows no long-term pins of this pool's "
				"memory: it needs one on tmpfs, hugetlbfs or /dev/dax\n");
	check(error, "registering the mapping as a buffer");
}

static void close_window(struct receiver *r)
{
	check(io_uring_unregister_buffers(&r->ring), "unregistering the buffer");
	if (r->filled > 0)
		check(leasefs_commit_range(r->lease, 0, 0, r->start + r->filled), "a commit");
	check(leasefs_unpin_lease(r->lease), "unpin");
	check(leasefs_return_lease(r->lease), "returning the lease");
	r->lease = NULL;
}

/* ---- requests -------------------------------------------------------------------------------- */

static struct io_uring_sqe *request(struct receiver *r)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&r->ring);

	check(sqe ? 0 : -EBUSY, "the ring is full");
	return sqe;
}

static void receive_more(struct receiver *r)
{
	uint64_t room = r->length - r->filled;
	struct io_uring_sqe *sqe = request(r);

	io_uring_prep_read_fixed(sqe, r->socket, r->memory + r->filled,
		(unsigned)(room < RECEIVE_BYTES_MAX ? room : RECEIVE_BYTES_MAX), 0, 0);
	io_uring_sqe_set_data64(sqe, TAG_RECEIVE);
	r->receiving = true;
}

static void watch_events(struct receiver *r)
{
	struct io_uring_sqe *sqe = request(r);

	io_uring_prep_poll_add(sqe, leasefs_get_event_fd(r->session), POLLIN);
	io_uring_sqe_set_data64(sqe, TAG_EVENT);
}

static void cancel_receive(struct receiver *r)
{
	struct io_uring_sqe *sqe = request(r);

	io_uring_prep_cancel64(sqe, TAG_RECEIVE, 0);
	io_uring_sqe_set_data64(sqe, TAG_CANCEL);
}

static void take_events(struct receiver *r)
{
	struct leasefs_event event;
	struct leasefs_lease *lease;

	while (leasefs_next_event(r->session, &event, &lease) > 0) {
		if (event.kind != LEASEFS_EVENT_RECALL || lease != r->lease || !lease)
			continue;
		r->recalled = true;
	}
}

/* Takes one completion. */
static void step(struct receiver *r)
{
	struct io_uring_cqe *cqe;
	uint64_t tag;
	int result;

	check(io_uring_submit_and_wait(&r->ring, 1), "io_uring");
	check(io_uring_wait_cqe(&r->ring, &cqe), "io_uring");
	tag = io_uring_cqe_get_data64(cqe);
	result = cqe->res;
	io_uring_cqe_seen(&r->ring, cqe);

	if (tag == TAG_RECEIVE) {
		r->receiving = false;
		if (result > 0) {
			r->filled += (uint64_t)result;
			r->total += (uint64_t)result;
		} else if (result == 0) {
			r->ended = true;
		} else if (result != -ECANCELED && result != -EINTR) {
			check(result, "receiving");
		}
	} else if (tag == TAG_EVENT) {
		take_events(r);
		watch_events(r);
		if (r->recalled && r->receiving)
			cancel_receive(r);
	}
}

static void run(struct receiver *r)
{
	watch_events(r);
	while (!r->ended) {
		open_window(r);
		while (!r->ended && !r->recalled && r->filled < r->length) {
			if (!r->receiving)
				receive_more(r);
			step(r);
		}
		while (r->receiving)
			step(r);
		close_window(r);
		if (r->recalled)
			note_way_given(r);
	}
}

int main(int argc, char **argv)
{
	struct receiver r = {.length = (argc > 3 ? strtoull(argv[3], NULL, 10) : 16) << 20};

	if (argc < 3 || argc > 4 || r.length == 0) {
		fprintf(stderr, "usage: uring_receive SOCKET-PATH FILE [MIB]\n");
		return 2;
	}
	r.path = argv[2];
	r.file = open(r.path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
	check(r.file < 0 ? -errno : 0, r.path);
	check(leasefs_open_session_at(r.file, 0, &r.session), r.path);
	check(io_uring_queue_init(16, &r.ring, 0), "io_uring");
	r.socket = accept_one(argv[1]);
	run(&r);
	printf("%llu bytes received; gave way %llu times\n", (unsigned long long)r.total,
		(unsigned long long)r.gave_way);
	io_uring_queue_exit(&r.ring);
	check(leasefs_close_session(r.session), "closing the session");
	return 0;
}
