// SPDX-License-Identifier: BSD-2-Clause
/*
 * client.h - a session of the control file, as bare as the interface allows, so that what is timed
 * is the call and nothing around it.
 *
 * Functions return 0 or -errno and print nothing, but for client_open(), which returns -1 after a
 * message. One thread at a time.
 */
#ifndef BENCH_CLIENT_H
#define BENCH_CLIENT_H

#include <stdint.h>

#include "leasefs/control.h"

struct client {
	int control; /* -1: not open */
	struct leasefs_hello hello;
};

int client_open(struct client *c, const char *mount);
void client_close(struct client *c); /* also of one that was never opened: {.control = -1} */

/* `fd` is the file's own. */
int client_grant(struct client *c, int fd, uint64_t offset, uint64_t length, uint32_t mode,
	struct leasefs_grant *out);
int client_return(struct client *c, uint64_t lease);
int client_pin(struct client *c, uint64_t lease, uint64_t *pin);
int client_unpin(struct client *c, uint64_t pin);
/* Waits for the next event. */
int client_event(struct client *c, struct leasefs_event *out);

#endif
