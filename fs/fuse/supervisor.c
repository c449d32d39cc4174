// SPDX-License-Identifier: BSD-2-Clause
/*
 * supervisor.c - see supervisor.h. Best effort: a manager that does not hear of it runs into its
 * own time limit, and says so.
 */
#include "supervisor.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define STATUS_BYTES 1024 /* of a datagram; a longer path is cut */

void supervisor_find(struct supervisor *s)
{
	const char *name = getenv("NOTIFY_SOCKET");
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	s->fd = -1;
	if (name == NULL || (name[0] != '/' && name[0] != '@'))
		return;
	size_t bytes = strlen(name);
	if (bytes >= sizeof(address.sun_path))
		return;
	memcpy(address.sun_path, name, bytes);
	if (name[0] == '@') /* an abstract name has no end but its length's */
		address.sun_path[0] = '\0';
	s->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (s->fd < 0)
		return;
	if (connect(s->fd, (struct sockaddr *)&address,
		    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + bytes)) != 0)
		supervisor_close(s);
}

static void supervisor_say(const struct supervisor *s, const char *text)
{
	if (s->fd >= 0)
		(void)!send(s->fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT);
}

void supervisor_ready(const struct supervisor *s, const char *pool, const char *mountpoint)
{
	char text[STATUS_BYTES];

	snprintf(text, sizeof(text), "READY=1\nSTATUS=serving %s at %s", pool, mountpoint);
	supervisor_say(s, text);
}

void supervisor_stopping(const struct supervisor *s)
{
	supervisor_say(s, "STOPPING=1\nSTATUS=writing back");
}

void supervisor_close(struct supervisor *s)
{
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
}
