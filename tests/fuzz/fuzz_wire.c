// SPDX-License-Identifier: BSD-2-Clause
/*
 * fuzz_wire.c - sequences of calls on the control file and on leased files, by hostile processes.
 *
 * An input is a program: an opcode byte and its operands, until the bytes end. Numbers are taken
 * from a table of extremes, from ids and cookies that the daemon gave, or as they stand. Whatever
 * comes, the daemon answers everything (what waits is interrupted at the end, and must be answered
 * within its policy's time), dies of nothing, and gives a lease to whoever asks properly
 * afterwards.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fuse.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "leasefs/control.h"
#include "target.h"
#include "wire.h"

#define SLOTS 4u
#define FILES 2u
#define IDS 16u
#define OPS_MAX 200u
#define SETTLE_MS 10000u /* far more than the policies below take */

static uint64_t control_node, leasefs_node, file_node[FILES];
static const char *const file_name[FILES] = {"a", "b"};

static struct {
	bool open;
	uint64_t fh;
	struct leasefs_hello hello;
} session[SLOTS];
static struct {
	bool open;
	uint64_t fh;
	unsigned file;
} handle[SLOTS];
static uint64_t ids[IDS]; /* of leases and pins, live or not */
static unsigned id_count;

/* ---- operands -------------------------------------------------------------------------------- */

static const uint8_t *at, *end;

static uint8_t next(void)
{
	return at < end ? *at++ : 0;
}

static uint64_t number(void)
{
	static const uint64_t extremes[] = {0, 1, 4095, 4096, 4097, 8192, 1u << 20, 2u << 20,
		1ull << 31, 1ull << 32, 1ull << 55, 1ull << 62, INT64_MAX, 1ull << 63,
		UINT64_MAX - 4095, UINT64_MAX};
	uint8_t how = next();
	uint64_t value = 0;

	switch (how >> 6) {
	case 0:
		return (uint64_t)(how & 63) * 4096;
	case 1:
		return extremes[how & 15];
	case 2:
		return id_count ? ids[how % id_count] + (how >> 5 & 1) : 0;
	default:
		for (unsigned i = 0; i <= (how & 7u); i++)
			value = value << 8 | next();
		return value;
	}
}

static void remember(uint64_t id)
{
	if (id_count < IDS)
		ids[id_count++] = id;
	else
		ids[id % IDS] = id;
}

/* ---- files ----------------------------------------------------------------------------------- */

static void make_file(unsigned i)
{
	struct fuse_create_in in = {.flags = O_RDWR | O_CREAT, .mode = S_IFREG | 0666};
	struct wire_reply reply;
	struct fuse_entry_out entry;
	struct fuse_open_out out;
	struct fuse_write_in write = {.size = 16384};
	struct fuse_release_in release = {0};
	static const uint8_t bytes[16384] = {1};

	wire_call(FUSE_CREATE, FUSE_ROOT_ID, &in, sizeof(in), file_name[i],
		strlen(file_name[i]) + 1, &reply);
	MUST(reply.error == 0 && reply.bytes >= sizeof(entry) + sizeof(out));
	memcpy(&entry, reply.body, sizeof(entry));
	memcpy(&out, reply.body + sizeof(entry), sizeof(out));
	file_node[i] = entry.nodeid;
	write.fh = release.fh = out.fh;
	wire_call(FUSE_WRITE, entry.nodeid, &write, sizeof(write), bytes, sizeof(bytes), &reply);
	MUST(reply.error == 0);
	wire_call(FUSE_RELEASE, entry.nodeid, &release, sizeof(release), NULL, 0, &reply);
}

static void drop_file(unsigned i)
{
	struct wire_reply reply;

	wire_call(
		FUSE_UNLINK, FUSE_ROOT_ID, file_name[i], strlen(file_name[i]) + 1, NULL, 0, &reply);
	wire_forget(file_node[i], 1);
}

static bool open_node(uint64_t node, uint32_t flags, uint64_t *fh)
{
	struct fuse_open_in in = {.flags = flags};
	struct wire_reply reply;
	struct fuse_open_out out;

	wire_call(FUSE_OPEN, node, &in, sizeof(in), NULL, 0, &reply);
	if (reply.error)
		return false;
	memcpy(&out, reply.body, sizeof(out));
	*fh = out.fh;
	return true;
}

static void release_node(uint64_t node, uint64_t fh)
{
	struct fuse_release_in in = {.fh = fh};
	struct wire_reply reply;

	wire_call(FUSE_RELEASE, node, &in, sizeof(in), NULL, 0, &reply);
}

static int call(uint64_t node, uint64_t fh, uint32_t command, void *data, size_t bytes)
{
	struct fuse_ioctl_in in = {.fh = fh,
		.cmd = command,
		.in_size = (uint32_t)bytes,
		.out_size = (uint32_t)_IOC_SIZE(command)};
	struct wire_reply reply;

	wire_call(FUSE_IOCTL, node, &in, sizeof(in), data, bytes, &reply);
	if (reply.error)
		return reply.error;
	MUST(reply.bytes >= sizeof(struct fuse_ioctl_out));
	reply.bytes -= sizeof(struct fuse_ioctl_out);
	memcpy(data, reply.body + sizeof(struct fuse_ioctl_out),
		reply.bytes < bytes ? reply.bytes : bytes);
	return 0;
}

/* ---- operations ------------------------------------------------------------------------------ */

static void open_session(unsigned s)
{
	struct leasefs_hello hello = {.abi = LEASEFS_ABI, .features = number()};

	if (session[s].open || !open_node(control_node, O_RDWR, &session[s].fh))
		return;
	session[s].open = true;
	if (call(control_node, session[s].fh, LEASEFS_IOC_HELLO, &hello, sizeof(hello)) == 0)
		session[s].hello = hello;
}

/* Nothing of ours touches the blocks: what it leaves behind may go at once. */
static void close_session(unsigned s)
{
	struct leasefs_release in = {.session = session[s].hello.session};
	uint64_t fh;

	if (!session[s].open)
		return;
	session[s].open = false;
	/* The kernel sends no RELEASE while somebody is in read(2). */
	MUST(wire_settle(SETTLE_MS));
	release_node(control_node, session[s].fh);
	if (open_node(control_node, O_RDWR, &fh)) {
		wire_as(0);
		(void)call(control_node, fh, LEASEFS_IOC_RELEASE, &in, sizeof(in));
		release_node(control_node, fh);
	}
	memset(&session[s], 0, sizeof(session[s]));
}

static void grant(void)
{
	unsigned s = next() % SLOTS, h = next() % SLOTS;
	struct leasefs_grant in = {.offset = number(), .length = number()};
	uint8_t how = next();

	memcpy(in.cookie, session[s].hello.cookie, sizeof(in.cookie));
	if (how & 0x80)
		in.cookie[0] = number();
	if (how & 0x40)
		in.reserved[0] = number();
	in.mode = how & 3;
	in.flags = how >> 2 & 3;
	if (handle[h].open && call(file_node[handle[h].file], handle[h].fh, LEASEFS_IOC_GRANT, &in,
				      sizeof(in)) == 0) {
		MUST(in.count <= LEASEFS_GRANT_EXTENTS);
		remember(in.lease);
	}
}

static const uint32_t commands[] = {LEASEFS_IOC_HELLO, LEASEFS_IOC_LAYOUT, LEASEFS_IOC_REGION,
	LEASEFS_IOC_RETURN, LEASEFS_IOC_DOWNGRADE, LEASEFS_IOC_COMMIT, LEASEFS_IOC_ACK,
	LEASEFS_IOC_PIN, LEASEFS_IOC_UNPIN, LEASEFS_IOC_UNPINNED, LEASEFS_IOC_PROCESS,
	LEASEFS_IOC_STATUS, LEASEFS_IOC_LEASES, LEASEFS_IOC_CONFLICTS, LEASEFS_IOC_RELEASE,
	LEASEFS_IOC_PINS, LEASEFS_IOC_EXTENTS, LEASEFS_IOC_GRANT, LEASEFS_IOC_SESSIONS,
	LEASEFS_IOC_OPERATIONS, LEASEFS_IOC_HISTORY, LEASEFS_IOC_RECLAIM, LEASEFS_IOC_GRACE,
	LEASEFS_IOC_HELD, LEASEFS_IOC_SPACE};

/* Fields are numbers at chance places; the first is what most calls begin with, an id. */
static void any_call(bool on_file)
{
	uint8_t data[4096] = {0};
	unsigned slot = next() % SLOTS;
	uint32_t command = commands[next() % (sizeof(commands) / sizeof(commands[0]))];
	uint8_t how = next();
	size_t bytes = _IOC_SIZE(command);
	uint64_t value = number();

	memcpy(data, &value, sizeof(value));
	for (unsigned i = 0; i < (how & 3u); i++) {
		size_t place = next() * 4u % bytes;

		value = number();
		memcpy(data + place, &value, sizeof(value));
	}
	if (how & 0x80)
		memcpy(data, session[slot].hello.cookie, sizeof(session[slot].hello.cookie));
	if ((how & 0x7c) == 0x7c)
		command ^= 1u << next() % 32;
	if (on_file && handle[slot].open)
		(void)call(file_node[handle[slot].file], handle[slot].fh, command, data, bytes);
	else if (session[slot].open &&
		 call(control_node, session[slot].fh, command, data, bytes) == 0 &&
		 command == LEASEFS_IOC_PIN)
		remember(((struct leasefs_pin *)(void *)data)->pin);
}

static void change_size(void)
{
	struct fuse_setattr_in in = {.valid = FATTR_SIZE};
	uint64_t node = file_node[next() % FILES];

	in.size = number() % (8u << 20);
	wire_post(FUSE_SETATTR, node, &in, sizeof(in), NULL, 0);
}

static void change_space(void)
{
	static const uint32_t modes[] = {0, FALLOC_FL_KEEP_SIZE,
		FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, FALLOC_FL_ZERO_RANGE};
	unsigned h = next() % SLOTS;
	struct fuse_fallocate_in in = {.mode = modes[next() % 4]};

	in.offset = number() % (4u << 20);
	in.length = 1 + number() % (4u << 20);
	in.fh = handle[h].fh;
	if (handle[h].open)
		wire_post(FUSE_FALLOCATE, file_node[handle[h].file], &in, sizeof(in), NULL, 0);
}

static void write_bytes(void)
{
	static const uint8_t bytes[8192] = {2};
	unsigned h = next() % SLOTS;
	struct fuse_write_in in = {.offset = number() % (4u << 20), .size = 1 + next() * 32u};

	in.fh = handle[h].fh;
	if (handle[h].open)
		wire_post(FUSE_WRITE, file_node[handle[h].file], &in, sizeof(in), bytes, in.size);
}

static void read_events(void)
{
	unsigned s = next() % SLOTS;
	struct fuse_read_in in = {.size = next() * 32u, .flags = O_RDWR};
	struct wire_reply reply;

	if (!session[s].open)
		return;
	in.fh = session[s].fh;
	if (next() & 1) { /* waits */
		wire_post(FUSE_READ, control_node, &in, sizeof(in), NULL, 0);
		return;
	}
	in.flags |= O_NONBLOCK;
	wire_call(FUSE_READ, control_node, &in, sizeof(in), NULL, 0, &reply);
	MUST(reply.error || reply.bytes % sizeof(struct leasefs_event) == 0);
}

static void poll_events(void)
{
	unsigned s = next() % SLOTS;
	struct fuse_poll_in in = {.kh = 1 + s, .flags = next() & 1, .events = POLLIN};
	struct wire_reply reply;

	in.fh = session[s].fh;
	if (session[s].open)
		wire_call(FUSE_POLL, control_node, &in, sizeof(in), NULL, 0, &reply);
}

static void scribble(void)
{
	unsigned s = next() % SLOTS;
	uint64_t offset = number() % (1u << 16), value = number();
	int fd = session[s].hello.pin_file[0] ? open(session[s].hello.pin_file, O_RDWR | O_CLOEXEC)
					      : -1;

	if (fd < 0)
		return;
	/* Shorter, as well: the daemon must bear that. */
	if (next() == 255)
		(void)!ftruncate(fd, (off_t)offset);
	else
		(void)!pwrite(fd, &value, sizeof(value), (off_t)offset);
	close(fd);
}

static void set_policy(void)
{
	static const char *const texts[] = {"recall:1ms/busy", "recall:1ms/orphan", "busy",
		"orphan", "wait", "recall:2ms/wait", "nonsense", ""};
	struct fuse_setxattr_in in = {0};
	char tail[64] = "user.leasefs.policy";
	const char *text = texts[next() % 8];
	size_t name = strlen(tail) + 1;
	struct wire_reply reply;

	in.size = (uint32_t)strlen(text);
	memcpy(tail + name, text, strlen(text));
	wire_call(FUSE_SETXATTR, file_node[next() % FILES], &in, FUSE_COMPAT_SETXATTR_IN_SIZE, tail,
		name + strlen(text), &reply);
}

static void show_xattr(void)
{
	static const char *const names[] = {
		"user.leasefs.leases", "user.leasefs.pins", "user.leasefs.conflict"};
	struct fuse_getxattr_in in = {.size = next() * 64u};
	const char *name = names[next() % 3];
	struct wire_reply reply;

	wire_call(FUSE_GETXATTR, file_node[next() % FILES], &in, sizeof(in), name, strlen(name) + 1,
		&reply);
}

static void open_or_close(uint8_t what)
{
	unsigned slot = next() % SLOTS;

	switch (what) {
	case 0:
		open_session(slot);
		break;
	case 1:
		close_session(slot);
		break;
	case 2:
		if (handle[slot].open)
			break;
		handle[slot].file = next() % FILES;
		handle[slot].open = open_node(file_node[handle[slot].file],
			next() & 1 ? O_RDWR : O_RDONLY, &handle[slot].fh);
		break;
	default:
		if (!handle[slot].open)
			break;
		MUST(wire_settle(SETTLE_MS));
		release_node(file_node[handle[slot].file], handle[slot].fh);
		handle[slot].open = false;
	}
}

static void run_one(void)
{
	uint8_t op = next();

	switch (op % 20) {
	case 0 ... 3:
		open_or_close(op % 20);
		break;
	case 4 ... 6:
		grant();
		break;
	case 7 ... 10:
		any_call(false);
		break;
	case 11:
		any_call(true);
		break;
	case 12:
		change_size();
		break;
	case 13:
		change_space();
		break;
	case 14:
		write_bytes();
		break;
	case 15:
		read_events();
		break;
	case 16:
		poll_events();
		break;
	case 17:
		scribble();
		break;
	case 18:
		op & 0x80 ? set_policy() : show_xattr();
		break;
	default:
		op & 0x80 ? wire_interrupt() : wire_as(op & 0x40 ? 0 : 1000 + (op >> 5 & 1));
	}
}

/* ---- an input -------------------------------------------------------------------------------- */

/* Whoever asks properly gets a lease, and nobody is waiting any more. */
static void behave(void)
{
	struct leasefs_grant in = {.length = 4096, .mode = LEASEFS_MODE_WRITE};
	struct leasefs_return out = {0};
	struct leasefs_status status = {0};
	uint64_t fh = 0;

	wire_as(0);
	open_session(0);
	MUST(session[0].open && session[0].hello.session);
	memcpy(in.cookie, session[0].hello.cookie, sizeof(in.cookie));
	MUST(open_node(file_node[0], O_RDWR, &fh));
	MUST(call(file_node[0], fh, LEASEFS_IOC_GRANT, &in, sizeof(in)) == 0);
	out.lease = in.lease;
	MUST(call(control_node, session[0].fh, LEASEFS_IOC_RETURN, &out, sizeof(out)) == 0);
	MUST(call(control_node, session[0].fh, LEASEFS_IOC_STATUS, &status, sizeof(status)) == 0);
	MUST(status.parked == 0 && status.leases == 0 && status.range_pins == 0);
	release_node(file_node[0], fh);
	close_session(0);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct wire_reply reply;
	struct fuse_entry_out entry;

	wire_start("policy=recall:1ms/busy");
	wire_call(FUSE_LOOKUP, FUSE_ROOT_ID, ".leasefs", sizeof(".leasefs"), NULL, 0, &reply);
	MUST(reply.error == 0);
	memcpy(&entry, reply.body, sizeof(entry));
	leasefs_node = entry.nodeid;
	wire_call(FUSE_LOOKUP, leasefs_node, "control", sizeof("control"), NULL, 0, &reply);
	MUST(reply.error == 0);
	memcpy(&entry, reply.body, sizeof(entry));
	control_node = entry.nodeid;
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	at = data;
	end = data + size;
	id_count = 0;
	wire_as(0);
	for (unsigned i = 0; i < FILES; i++)
		make_file(i);
	for (unsigned i = 0; i < OPS_MAX && at < end; i++)
		run_one();
	MUST(wire_settle(SETTLE_MS));
	wire_as(0);
	for (unsigned i = 0; i < SLOTS; i++) {
		close_session(i);
		if (handle[i].open)
			release_node(file_node[handle[i].file], handle[i].fh);
		handle[i].open = false;
	}
	MUST(wire_settle(SETTLE_MS));
	behave();
	for (unsigned i = 0; i < FILES; i++)
		drop_file(i);
	return 0;
}
