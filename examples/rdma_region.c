// SPDX-License-Identifier: BSD-2-Clause
/*
 * rdma_region.c - a range of a file as an RDMA memory region.
 *
 *     rdma_region FILE [SECONDS]
 *
 * Leases all of FILE for writing, maps it, and registers the mapping with the first RDMA device:
 * peers that are given the key may then read and write the file's blocks, and no processor of this
 * machine takes part. On a recall the region is deregistered, which waits for the device to let go,
 * and then the lease is returned: the same order as uring_receive's.
 *
 * Needs an RDMA device (a card, or rdma_rxe over an ordinary network interface): without one it
 * says so and exits with 77. The exchange of keys with a peer is left to the application.
 */
#include <errno.h>
#include <fcntl.h>
#include <infiniband/verbs.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <leasefs/leasefs.h>

#define EXIT_NO_DEVICE 77

static void check(int result, const char *what)
{
	if (result >= 0)
		return;
	fprintf(stderr, "rdma_region: %s: %s\n", what, strerror(-result));
	exit(1);
}

static struct ibv_context *open_device(void)
{
	int count = 0;
	struct ibv_device **devices = ibv_get_device_list(&count);
	struct ibv_context *context = count > 0 ? ibv_open_device(devices[0]) : NULL;

	if (context)
		printf("device %s\n", ibv_get_device_name(devices[0]));
	if (devices)
		ibv_free_device_list(devices);
	return context;
}

/* 1: the lease is recalled; 0: it is not, and the time is over. */
static int wait_for_recall(struct leasefs_session *session, int milliseconds)
{
	struct pollfd wait = {.fd = leasefs_get_event_fd(session), .events = POLLIN};
	struct leasefs_event event;
	struct leasefs_lease *lease;

	while (poll(&wait, 1, milliseconds) > 0)
		while (leasefs_next_event(session, &event, &lease) > 0)
			if (event.kind == LEASEFS_EVENT_RECALL || event.kind == LEASEFS_EVENT_DRAIN)
				return 1;
	return 0;
}

int main(int argc, char **argv)
{
	struct leasefs_session *session;
	struct leasefs_lease *lease;
	struct leasefs_lease_state state;
	struct ibv_context *device;
	struct ibv_pd *domain;
	struct ibv_mr *region;
	void *memory;
	int fd;

	if (argc < 2 || argc > 3) {
		fprintf(stderr, "usage: rdma_region FILE [SECONDS]\n");
		return 2;
	}
	device = open_device();
	if (!device) {
		fprintf(stderr,
			"rdma_region: there is no RDMA device here; rdma_rxe makes one of a "
			"network interface: rdma link add rxe0 type rxe netdev eth0\n");
		return EXIT_NO_DEVICE;
	}
	fd = open(argv[1], O_RDWR | O_CLOEXEC);
	check(fd < 0 ? -errno : 0, argv[1]);
	check(leasefs_open_session_at(fd, 0, &session), argv[1]);
	check(leasefs_take_lease(session, fd, 0, 0, LEASEFS_TAKE_WRITE, &lease), "a lease");
	check(leasefs_map_lease(lease, 0, &memory), "a mapping");
	check(leasefs_get_lease(lease, &state), "the lease");
	check(leasefs_pin_lease(lease), "a pin");

	domain = ibv_alloc_pd(device);
	check(domain ? 0 : -errno, "a protection domain");
	region = ibv_reg_mr(domain, memory, state.length,
		IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_WRITE);
	check(region ? 0 : -errno,
		"registering the mapping (fsdax and page cache allow no long-term pins)");
	printf("registered %llu bytes at %p, rkey %#x\n", (unsigned long long)state.length, memory,
		region->rkey);
	fflush(stdout);

	printf("%s\n", wait_for_recall(session, argc > 2 ? 1000 * atoi(argv[2]) : -1)
			       ? "recalled: giving way"
			       : "done");
	check(-ibv_dereg_mr(region), "deregistering");
	check(leasefs_commit_range(lease, 0, 0, 0), "a commit");
	check(leasefs_unpin_lease(lease), "unpin");
	check(leasefs_return_lease(lease), "returning the lease");
	check(-ibv_dealloc_pd(domain), "the protection domain");
	check(-ibv_close_device(device), "the device");
	check(leasefs_close_session(session), "closing the session");
	return 0;
}
