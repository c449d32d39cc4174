// SPDX-License-Identifier: BSD-2-Clause
/*
 * extremes.c - every call of the control file, with each of its fields in turn at its extremes.
 *
 *   extremes MKFS FSCK LEASEFS
 *
 * A call is made right at first: its session, lease, range pin and cookie are there. Then
 *   - each reserved word that is not 0 is EINVAL, and leases and pins are as before;
 *   - each word of what goes in (the first INPUT bytes) is set to each of `values`: the daemon may
 *     do what it likes with the caller's own things, but answers, with no error that would mean
 *     that it is gone;
 *   - after each kind of call another client gets a lease and gives it back at once.
 * DRAIN is left out of the second: it is right whatever is in it.
 *
 * Exit status: 0 all held, 1 something did not, 77 no /dev/fuse.
 */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "stand.h"

#define MiB (1024 * 1024ull)
#define INPUT 128u

static struct client {
	int control, file;
	uint64_t inode;
	struct leasefs_hello hello;
	uint64_t lease, pin;
} client = {.control = -1, .file = -1}, other = {.control = -1, .file = -1};

union argument {
	uint32_t words[1024];
	struct leasefs_hello hello;
	struct leasefs_process process;
	struct leasefs_grant grant;
	struct leasefs_layout layout;
	struct leasefs_region region;
	struct leasefs_return back;
	struct leasefs_downgrade downgrade;
	struct leasefs_commit commit;
	struct leasefs_ack ack;
	struct leasefs_pin pin;
	struct leasefs_unpin unpin;
	struct leasefs_unpinned unpinned;
	struct leasefs_pins pins;
	struct leasefs_leases leases;
	struct leasefs_recall recall;
	struct leasefs_release release;
	struct leasefs_reclaim reclaim;
	struct leasefs_held held;
};

static const uint32_t values[] = {0, 1, 4095, 4096, 0x7fffffff, 0x80000000, 0xfffff000, 0xffffffff};

#define CALL(name, type)                                                                           \
	{                                                                                          \
#name, LEASEFS_IOC_##name, offsetof(struct leasefs_##type, reserved),              \
			sizeof(((struct leasefs_##type *)0)->reserved)                             \
	}
static const struct call {
	const char *name;
	unsigned long number;
	size_t reserved, reserved_bytes;
} calls[] = {
	CALL(HELLO, hello),
	CALL(GRANT, grant),
	CALL(LAYOUT, layout),
	CALL(REGION, region),
	CALL(RETURN, return ),
	CALL(DOWNGRADE, downgrade),
	CALL(COMMIT, commit),
	CALL(ACK, ack),
	CALL(PIN, pin),
	CALL(UNPIN, unpin),
	CALL(UNPINNED, unpinned),
	CALL(PROCESS, process),
	CALL(STATUS, status),
	CALL(LEASES, leases),
	CALL(CONFLICTS, conflicts),
	CALL(DRAIN, drain),
	CALL(RECALL, recall),
	CALL(RELEASE, release),
	CALL(PINS, pins),
	CALL(EXTENTS, extents),
	CALL(SESSIONS, sessions),
	CALL(OPERATIONS, operations),
	CALL(HISTORY, history),
	CALL(RECLAIM, reclaim),
	CALL(GRACE, grace),
	CALL(HELD, held),
};
#define CALLS (sizeof(calls) / sizeof(calls[0]))

static void join(struct client *c, const char *name)
{
	struct stat st;

	c->file = stand_open(name, O_RDWR | O_CREAT);
	c->control = stand_open(LEASEFS_CONTROL_PATH, O_RDWR | O_NONBLOCK);
	c->hello = (struct leasefs_hello){.abi = LEASEFS_ABI,
		.features = LEASEFS_FEATURE_SLOT_PINS | LEASEFS_FEATURE_RANGE_PINS};
	if (fstat(c->file, &st) || ioctl(c->control, LEASEFS_IOC_HELLO, &c->hello))
		stand_fail("HELLO: %s", strerror(errno));
	c->inode = st.st_ino;
}

static void give_back(uint64_t lease)
{
	struct leasefs_return r = {.lease = lease};
	struct leasefs_ack ack = {.lease = lease};

	if (ioctl(client.control, LEASEFS_IOC_RETURN, &r))
		ioctl(client.control, LEASEFS_IOC_ACK, &ack);
}

static void unpin(uint64_t pin)
{
	struct leasefs_unpin u = {.pin = pin};

	ioctl(client.control, LEASEFS_IOC_UNPIN, &u);
}

/* Whatever the last call has done: a lease, and a pin in it. */
static void begin(void)
{
	struct leasefs_grant g = {.length = MiB, .mode = LEASEFS_MODE_WRITE};
	struct leasefs_pin p = {.length = 4096};

	unpin(client.pin);
	give_back(client.lease);
	memcpy(g.cookie, client.hello.cookie, sizeof(g.cookie));
	if (ioctl(client.file, LEASEFS_IOC_GRANT, &g))
		stand_fail("GRANT: %s", strerror(errno));
	client.lease = p.lease = g.lease;
	if (ioctl(client.control, LEASEFS_IOC_PIN, &p))
		stand_fail("PIN: %s", strerror(errno));
	client.pin = p.pin;
}

/* What a call has got that was not refused. */
static void undo(const struct call *call, const union argument *u)
{
	if (call->number == LEASEFS_IOC_GRANT)
		give_back(u->grant.lease);
	if (call->number == LEASEFS_IOC_PIN)
		unpin(u->pin.pin);
	if (call->number == LEASEFS_IOC_RETURN && u->back.rest)
		give_back(u->back.rest);
}

/* As a client that means well would ask. */
static void prepare(const struct call *call, union argument *u)
{
	memset(u, 0, sizeof(*u));
	switch (call->number) {
	case LEASEFS_IOC_HELLO:
		u->hello.abi = LEASEFS_ABI;
		break;
	case LEASEFS_IOC_GRANT:
		memcpy(u->grant.cookie, client.hello.cookie, sizeof(u->grant.cookie));
		u->grant.length = MiB;
		u->grant.mode = LEASEFS_MODE_READ;
		break;
	case LEASEFS_IOC_RECLAIM:
		memcpy(u->reclaim.cookie, client.hello.cookie, sizeof(u->reclaim.cookie));
		memcpy(u->reclaim.boot, client.hello.boot, sizeof(u->reclaim.boot));
		break;
	case LEASEFS_IOC_PIN:
		u->pin.lease = client.lease;
		u->pin.length = 4096;
		break;
	case LEASEFS_IOC_UNPIN:
		u->unpin.pin = client.pin;
		break;
	case LEASEFS_IOC_RECALL:
		u->recall.inode = client.inode;
		break;
	case LEASEFS_IOC_RELEASE:
		u->release.session = client.hello.session;
		break;
	case LEASEFS_IOC_LAYOUT:
	case LEASEFS_IOC_RETURN:
	case LEASEFS_IOC_DOWNGRADE:
	case LEASEFS_IOC_COMMIT:
	case LEASEFS_IOC_ACK:
	case LEASEFS_IOC_UNPINNED:
		u->layout.lease = client.lease; /* first in all of them */
		break;
	default:
		break;
	}
}

static int make(const struct call *call, union argument *u)
{
	bool on_file = call->number == LEASEFS_IOC_GRANT || call->number == LEASEFS_IOC_EXTENTS;
	int result = ioctl(on_file ? client.file : client.control, call->number, u) ? errno : 0;

	if (result == ENOTCONN || result == ECONNABORTED || result == ENODEV || result == ENOTTY)
		stand_fail("%s: %s", call->name, strerror(result));
	return result;
}

static void get_counts(uint64_t *leases, uint64_t *pins)
{
	struct leasefs_status s = {0};

	if (ioctl(other.control, LEASEFS_IOC_STATUS, &s))
		stand_fail("STATUS: %s", strerror(errno));
	*leases = s.leases;
	*pins = s.range_pins;
}

static void fill_reserved_words(const struct call *call)
{
	uint64_t leases, pins, leases_now, pins_now;
	union argument u;

	get_counts(&leases, &pins);
	for (size_t i = 0; i < call->reserved_bytes / sizeof(uint32_t); i++) {
		int error;

		prepare(call, &u);
		u.words[call->reserved / sizeof(uint32_t) + i] = 1u << (i * 7 % 32);
		error = make(call, &u);
		if (error != EINVAL)
			stand_fail("%s with reserved word %zu: %s", call->name, i, strerror(error));
	}
	get_counts(&leases_now, &pins_now);
	if (leases_now != leases || pins_now != pins)
		stand_fail("%s did something although it was refused", call->name);
}

static void set_each_word(const struct call *call)
{
	size_t bytes = _IOC_SIZE(call->number);
	union argument u;

	for (size_t i = 0; i < (bytes < INPUT ? bytes : INPUT) / sizeof(uint32_t); i++) {
		for (size_t k = 0; k < sizeof(values) / sizeof(values[0]); k++) {
			begin();
			prepare(call, &u);
			u.words[i] = values[k];
			if (!make(call, &u))
				undo(call, &u);
		}
	}
}

static void serve_another(void)
{
	struct leasefs_grant g = {.offset = MiB, .length = MiB, .mode = LEASEFS_MODE_WRITE};
	struct leasefs_return r = {0};

	memcpy(g.cookie, other.hello.cookie, sizeof(g.cookie));
	if (ioctl(other.file, LEASEFS_IOC_GRANT, &g))
		stand_fail("another client's lease: %s", strerror(errno));
	r.lease = g.lease;
	if (ioctl(other.control, LEASEFS_IOC_RETURN, &r))
		stand_fail("another client's return: %s", strerror(errno));
}

int main(int argc, char **argv)
{
	if (argc != 4) {
		fprintf(stderr, "usage: extremes MKFS FSCK LEASEFS\n");
		return 1;
	}
	if (access("/dev/fuse", R_OK | W_OK))
		return 77;
	stand_make(argv[1], argv[2], "32M");
	if (!stand_start(argv[3], "policy=recall:20ms/busy"))
		stand_fail("the daemon does not start");
	join(&other, "g");
	join(&client, "f");
	for (size_t i = 0; i < CALLS; i++) {
		begin();
		fill_reserved_words(&calls[i]);
		if (calls[i].number != LEASEFS_IOC_DRAIN)
			set_each_word(&calls[i]);
		serve_another();
	}
	close(client.control);
	close(other.control);
	close(client.file);
	close(other.file);
	stand_end();
	return 0;
}
