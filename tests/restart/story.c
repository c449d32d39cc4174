// SPDX-License-Identifier: BSD-2-Clause
/* story.c - see story.h. */
#include "story.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

struct client client = {.control = -1};

/* ---- calls ----------------------------------------------------------------------------------- */

bool done(int result, const char *what)
{
	int error = errno;

	if (result == 0)
		return true;
	if ((error == ENOTCONN || error == ECONNABORTED) && stand_is_dead())
		return false;
	stand_fail("%s: %s", what, strerror(error));
}

static bool call(unsigned long number, void *argument, const char *what)
{
	return done(ioctl(client.control, number, argument), what);
}

int open_in(const char *name, int flags)
{
	char path[160];

	stand_path(name, path);
	return open(path, flags | O_CLOEXEC, 0644);
}

/* ---- leases ---------------------------------------------------------------------------------- */

bool hello(void)
{
	client.hello = (struct leasefs_hello){.abi = LEASEFS_ABI,
		.features = LEASEFS_FEATURE_SLOT_PINS | LEASEFS_FEATURE_RANGE_PINS |
			    LEASEFS_FEATURE_RECLAIM};
	client.control = open_in(LEASEFS_CONTROL_PATH, O_RDWR | O_NONBLOCK);
	if (client.control < 0)
		stand_fail("control file: %s", strerror(errno));
	return call(LEASEFS_IOC_HELLO, &client.hello, "HELLO");
}

static bool map_region(void)
{
	struct leasefs_region r = {0};
	int fd;

	if (client.region)
		return true;
	if (!call(LEASEFS_IOC_REGION, &r, "REGION"))
		return false;
	fd = open(r.path, O_RDWR | O_CLOEXEC);
	client.region_bytes = r.bytes;
	client.region = fd < 0 ? MAP_FAILED
			       : mmap(NULL, r.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (client.region == MAP_FAILED)
		stand_fail("%s: %s", r.path, strerror(errno));
	close(fd);
	return true;
}

/* Its blocks are the client's from now on. */
static void add_pieces(uint64_t lease, uint64_t inode, const struct leasefs_extent *e, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		if (e[i].state == LEASEFS_EXTENT_HOLE || e[i].region != 0 || client.count == PIECES)
			stand_fail("not an extent for this test");
		client.pieces[client.count++] = (struct piece){.lease = lease,
			.inode = inode,
			.offset = e[i].offset,
			.length = e[i].length,
			.at = e[i].region_offset};
	}
}

static void split_at(uint64_t inode, uint64_t offset)
{
	for (unsigned i = 0; i < client.count; i++) {
		struct piece *p = &client.pieces[i], behind = *p;

		if (p->inode != inode || offset <= p->offset || offset >= p->offset + p->length)
			continue;
		if (client.count == PIECES)
			stand_fail("too many pieces");
		p->length = offset - p->offset;
		behind.offset += p->length;
		behind.at += p->length;
		behind.length -= p->length;
		client.pieces[client.count++] = behind;
	}
}

static bool is_in(const struct piece *p, uint64_t inode, uint64_t offset, uint64_t end)
{
	return p->inode == inode && p->offset >= offset && p->offset < end;
}

/* [offset, end) of the file is not mapped any more. */
static void drop_pieces(uint64_t inode, uint64_t offset, uint64_t end)
{
	split_at(inode, offset);
	split_at(inode, end);
	for (unsigned i = client.count; i-- > 0;)
		if (is_in(&client.pieces[i], inode, offset, end))
			client.pieces[i] = client.pieces[--client.count];
}

/* It is still mapped, but may be the client's no more. */
static void doubt_pieces(uint64_t inode, uint64_t offset, uint64_t end)
{
	split_at(inode, offset);
	split_at(inode, end);
	for (unsigned i = 0; i < client.count; i++)
		if (is_in(&client.pieces[i], inode, offset, end))
			client.pieces[i].doubtful = true;
}

static bool grant(const char *name, uint64_t length, uint64_t *lease, uint64_t *inode)
{
	struct leasefs_grant g = {.length = length, .mode = LEASEFS_MODE_WRITE};
	struct stat st;
	int fd = open_in(name, O_RDWR);
	bool ok;

	if (fd < 0 || fstat(fd, &st))
		return done(-1, name);
	memcpy(g.cookie, client.hello.cookie, sizeof(g.cookie));
	ok = done(ioctl(fd, LEASEFS_IOC_GRANT, &g), "GRANT");
	close(fd);
	if (!ok)
		return false;
	*lease = g.lease;
	*inode = st.st_ino;
	if (g.next != length)
		stand_fail("too many extents for this test");
	add_pieces(g.lease, st.st_ino, g.extents, g.count);
	return true;
}

bool give_back(uint64_t lease, uint64_t offset, uint64_t length)
{
	struct leasefs_return r = {.lease = lease, .offset = offset, .length = length};

	return call(LEASEFS_IOC_RETURN, &r, "RETURN");
}

/* ---- others ---------------------------------------------------------------------------------- */

static int take_events(uint64_t *revoked)
{
	struct leasefs_event e[8];
	ssize_t n = read(client.control, e, sizeof(e));

	for (ssize_t i = 0; i < n / (ssize_t)sizeof(e[0]); i++)
		if (e[i].kind == LEASEFS_EVENT_REVOKED)
			*revoked = e[i].lease;
	return n < 0 && errno != EAGAIN ? -1 : 0;
}

bool truncate_by_another(const char *name, uint64_t size, int *error, uint64_t *revoked)
{
	char path[160];
	struct pollfd wait[2];
	pid_t child;
	int status;

	stand_path(name, path);
	child = fork();
	if (child == 0)
		_exit(truncate(path, (off_t)size) ? errno : 0);
	wait[0] = (struct pollfd){.fd = (int)syscall(SYS_pidfd_open, child, 0), .events = POLLIN};
	wait[1] = (struct pollfd){.fd = client.control, .events = POLLIN};
	while (!(wait[0].revents & POLLIN)) {
		if (poll(wait, 2, PATIENCE_MS) <= 0)
			stand_fail("truncate of %s does not end", name);
		if (wait[1].revents && take_events(revoked))
			wait[1].fd = -1; /* the daemon has gone; the child hears of it too */
	}
	close(wait[0].fd);
	if (waitpid(child, &status, 0) != child || !WIFEXITED(status))
		stand_fail("the truncating process was killed");
	*error = errno = WEXITSTATUS(status);
	return (*error != ECONNABORTED && *error != ENOTCONN) || done(-1, "truncate");
}

/* ---- the story ------------------------------------------------------------------------------- */

static bool begin(uint64_t *f, uint64_t *f_inode, uint64_t *h, uint64_t *h_inode)
{
	struct leasefs_pin pin = {.offset = 3 * MiB, .length = 4096};

	if (!hello() || !map_region())
		return false;
	memcpy(client.cookie, client.hello.cookie, sizeof(client.cookie));
	memcpy(client.boot, client.hello.boot, sizeof(client.boot));
	if (!grant("f", 4 * MiB, f, f_inode) || !grant("h", 1 * MiB, h, h_inode))
		return false;
	pin.lease = *f;
	if (!call(LEASEFS_IOC_PIN, &pin, "PIN"))
		return false;
	client.pin = pin.pin;
	return true;
}

/* The deadline passes: what is truncated is revoked. */
static bool lose_half_of_h(uint64_t h_inode)
{
	struct leasefs_ack ack = {0};
	int error;

	doubt_pieces(h_inode, MiB / 2, MiB);
	if (!truncate_by_another("h", MiB / 2, &error, &ack.lease))
		return false;
	if (error)
		stand_fail("truncate of h: %s", strerror(error));
	while (!ack.lease) {
		struct pollfd news = {.fd = client.control, .events = POLLIN};

		if (poll(&news, 1, PATIENCE_MS) <= 0)
			stand_fail("nobody says that h was revoked");
		if (take_events(&ack.lease))
			return done(-1, "read");
	}
	drop_pieces(h_inode, MiB / 2, MiB);
	return call(LEASEFS_IOC_ACK, &ack, "ACK");
}

bool tell_the_story(bool to_its_end)
{
	uint64_t f, f_inode, h, h_inode, revoked = 0;
	struct leasefs_unpin unpin = {0};
	struct leasefs_commit commit = {0};
	int error;

	if (!begin(&f, &f_inode, &h, &h_inode))
		return false;
	if (!to_its_end)
		return true;
	commit.lease = f;
	if (!call(LEASEFS_IOC_COMMIT, &commit, "COMMIT"))
		return false;
	drop_pieces(f_inode, 1 * MiB, 2 * MiB);
	if (!give_back(f, 1 * MiB, 1 * MiB) || !lose_half_of_h(h_inode))
		return false;
	if (!truncate_by_another("f", 5 * MiB / 2, &error, &revoked))
		return false;
	if (error != EBUSY)
		stand_fail("truncate of a pinned range: %s", strerror(error));
	unpin.pin = client.pin;
	drop_pieces(f_inode, 2 * MiB, 4 * MiB);
	drop_pieces(h_inode, 0, MiB);
	return call(LEASEFS_IOC_UNPIN, &unpin, "UNPIN") && give_back(h, 0, 0);
}
