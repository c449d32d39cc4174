// SPDX-License-Identifier: BSD-2-Clause
/* wire.c - see wire.h. */
#include "wire.h"

#include <errno.h>
#include <linux/fuse.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "core.h"
#include "log.h"
#include "options.h"
#include "scratch.h"
#include "session.h"
#include "target.h"

#define POOL_BYTES (64ull << 20)
#define OUTSTANDING_MAX 512u
#define REPLY_LIMIT_MS 20000 /* no call but a posted one waits for anybody */

static int ours; /* end of the pair */
static char pool_path[600];
static struct options options;
static pthread_t daemon_thread;
static uint32_t uid;
static uint64_t last_unique;
static uint64_t outstanding[OUTSTANDING_MAX];
static unsigned outstanding_count;

/* ---- messages -------------------------------------------------------------------------------- */

static uint64_t send_request(uint32_t opcode, uint64_t node, const void *head, size_t head_bytes,
	const void *tail, size_t tail_bytes)
{
	struct fuse_in_header header = {
		.len = (uint32_t)(sizeof(header) + head_bytes + tail_bytes),
		.opcode = opcode,
		.unique = (last_unique += 2) | (opcode == FUSE_INTERRUPT),
		.nodeid = node,
		.uid = uid,
		.gid = uid,
		.pid = (uint32_t)getpid(),
	};
	struct iovec parts[] = {{&header, sizeof(header)}, {(void *)(uintptr_t)head, head_bytes},
		{(void *)(uintptr_t)tail, tail_bytes}};

	MUST(writev(ours, parts, 3) == (ssize_t)header.len);
	return header.unique;
}

static void note_answer(uint64_t unique)
{
	for (unsigned i = 0; i < outstanding_count; i++)
		if (outstanding[i] == unique) {
			outstanding[i] = outstanding[--outstanding_count];
			return;
		}
	MUST(!"an answer to something that was not asked");
}

/* Takes one message; returns whose answer it is, 0: a notification, or none came in time. */
static uint64_t take_message(int milliseconds, struct wire_reply *reply)
{
	static uint8_t rest[1u << 17];
	struct fuse_out_header header;
	struct iovec parts[] = {{&header, sizeof(header)}, {reply->body, sizeof(reply->body)},
		{rest, sizeof(rest)}};
	struct pollfd event = {.fd = ours, .events = POLLIN};
	ssize_t n;

	reply->bytes = 0;
	if (poll(&event, 1, milliseconds) <= 0)
		return 0;
	n = readv(ours, parts, 3);
	MUST(n >= (ssize_t)sizeof(header)); /* 0: the daemon has ended */
	MUST(header.len == (size_t)n);
	MUST(header.unique == 0 || (header.error <= 0 && header.error > -4096));
	MUST(!(header.unique & 1) || header.error == -EAGAIN);
	MUST(header.unique == 0 || header.error == 0 || (size_t)n == sizeof(header));
	reply->error = header.error;
	reply->bytes = (size_t)n - sizeof(header);
	if (reply->bytes > sizeof(reply->body))
		reply->bytes = sizeof(reply->body);
	/* To an interrupt: that there is no such request (any more). */
	return header.unique & 1 ? 0 : header.unique;
}

void wire_call(uint32_t opcode, uint64_t node, const void *head, size_t head_bytes,
	const void *tail, size_t tail_bytes, struct wire_reply *reply)
{
	uint64_t mine = send_request(opcode, node, head, head_bytes, tail, tail_bytes), got;
	struct pollfd event = {.fd = ours, .events = POLLIN};

	while ((got = take_message(REPLY_LIMIT_MS, reply)) != mine) {
		if (got != 0)
			note_answer(got);
		else
			MUST(poll(&event, 1, REPLY_LIMIT_MS) > 0); /* else it never answers */
	}
}

void wire_post(uint32_t opcode, uint64_t node, const void *head, size_t head_bytes,
	const void *tail, size_t tail_bytes)
{
	struct wire_reply reply;
	uint64_t got;

	if (outstanding_count == OUTSTANDING_MAX)
		return;
	outstanding[outstanding_count++] =
		send_request(opcode, node, head, head_bytes, tail, tail_bytes);
	while ((got = take_message(0, &reply)) != 0)
		note_answer(got);
}

static void interrupt_one(uint64_t unique)
{
	struct fuse_interrupt_in in = {.unique = unique};

	send_request(FUSE_INTERRUPT, 0, &in, sizeof(in), NULL, 0);
}

void wire_interrupt(void)
{
	if (outstanding_count > 0)
		interrupt_one(outstanding[outstanding_count - 1]);
}

bool wire_settle(unsigned milliseconds)
{
	struct wire_reply reply;
	struct pollfd event = {.fd = ours, .events = POLLIN};

	for (unsigned i = 0; i < outstanding_count; i++)
		interrupt_one(outstanding[i]);
	while (outstanding_count > 0) {
		uint64_t got = take_message((int)milliseconds, &reply);

		if (got != 0)
			note_answer(got);
		else if (poll(&event, 1, (int)milliseconds) <= 0)
			return false;
	}
	return true;
}

void wire_forget(uint64_t node, uint64_t count)
{
	struct fuse_forget_in in = {.nlookup = count};

	send_request(FUSE_FORGET, node, &in, sizeof(in), NULL, 0);
}

void wire_as(uint32_t user)
{
	uid = user;
}

const char *wire_pool(void)
{
	return pool_path;
}

/* ---- the daemon ------------------------------------------------------------------------------ */

static void ignore(void *context)
{
}

static void *run_daemon(void *argument)
{
	static const struct session_hooks hooks = {.usable = ignore, .ending = ignore};
	struct diag d = {.text = ""};
	int error = session_run(&options, &hooks, &d);

	fprintf(stderr, "the daemon ended: %d %s\n", error, d.text);
	return NULL;
}

static void make_pool(void)
{
	struct core_format format = {.pool = pool_path, .pool_bytes = POOL_BYTES};
	struct diag d;

	snprintf(pool_path, sizeof(pool_path), "%s/pool", scratch_directory("/dev/shm"));
	MUST(core_format_pool(&format, &d) == 0);
}

static void say_hello_to_the_daemon(void)
{
	struct fuse_init_in in = {.major = FUSE_KERNEL_VERSION,
		.minor = FUSE_KERNEL_MINOR_VERSION,
		.max_readahead = 1u << 17,
		.flags = ~0u};
	struct wire_reply reply;

	wire_call(FUSE_INIT, 0, &in, sizeof(in), NULL, 0, &reply);
	MUST(reply.error == 0);
}

void wire_start(const char *list)
{
	const char *arguments[] = {"leasefs", "-f", "-o", list, pool_path, "/", NULL};
	struct diag d;
	int ends[2], bytes = 4 << 20;
	char device[32];

	make_pool();
	MUST(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
	for (int i = 0; i < 2; i++)
		(void)setsockopt(ends[i], SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes));
	ours = ends[0];
	MUST(options_parse(&options, 6, (char **)(uintptr_t)arguments, &d) == 0);
	/* libfuse's name for a device that is open already. */
	snprintf(device, sizeof(device), "/dev/fd/%d", ends[1]);
	free(options.mountpoint);
	options.mountpoint = strdup(device);
	MUST(options.mountpoint);
	log_start("leasefs", false, true);
	MUST(pthread_create(&daemon_thread, NULL, run_daemon, NULL) == 0);
	say_hello_to_the_daemon();
}
