// SPDX-License-Identifier: BSD-2-Clause
/*
 * client.c - see client.h.
 */
#include "client.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

int client_open(struct client *c, const char *mount)
{
	char path[4352];

	*c = (struct client){
		.hello = {.abi = LEASEFS_ABI,
			.features = LEASEFS_FEATURE_SLOT_PINS | LEASEFS_FEATURE_RANGE_PINS}};
	snprintf(path, sizeof(path), "%s/%s", mount, LEASEFS_CONTROL_PATH);
	c->control = open(path, O_RDWR | O_CLOEXEC);
	if (c->control < 0 || ioctl(c->control, LEASEFS_IOC_HELLO, &c->hello) != 0) {
		perror(path);
		client_close(c);
		return -1;
	}
	return 0;
}

void client_close(struct client *c)
{
	if (c->control >= 0)
		close(c->control);
	c->control = -1;
}

int client_grant(struct client *c, int fd, uint64_t offset, uint64_t length, uint32_t mode,
	struct leasefs_grant *out)
{
	*out = (struct leasefs_grant){.offset = offset, .length = length, .mode = mode};
	memcpy(out->cookie, c->hello.cookie, sizeof(out->cookie));
	return ioctl(fd, LEASEFS_IOC_GRANT, out) == 0 ? 0 : -errno;
}

int client_return(struct client *c, uint64_t lease)
{
	struct leasefs_return r = {.lease = lease};

	return ioctl(c->control, LEASEFS_IOC_RETURN, &r) == 0 ? 0 : -errno;
}

int client_pin(struct client *c, uint64_t lease, uint64_t *pin)
{
	struct leasefs_pin p = {.lease = lease};

	if (ioctl(c->control, LEASEFS_IOC_PIN, &p) != 0)
		return -errno;
	*pin = p.pin;
	return 0;
}

int client_unpin(struct client *c, uint64_t pin)
{
	struct leasefs_unpin u = {.pin = pin};

	return ioctl(c->control, LEASEFS_IOC_UNPIN, &u) == 0 ? 0 : -errno;
}

int client_event(struct client *c, struct leasefs_event *out)
{
	ssize_t n = read(c->control, out, sizeof(*out));

	if (n < 0)
		return -errno;
	return n == (ssize_t)sizeof(*out) ? 0 : -EIO;
}
