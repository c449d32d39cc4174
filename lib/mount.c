// SPDX-License-Identifier: BSD-2-Clause
/*
 * mount.c - from an open file to the mount that it is on.
 *
 * The file's device number stands in /proc/self/mountinfo, with the mount points that show the
 * filesystem's root: bind mounts of directories below it don't, and are passed over. The control
 * file is opened by path there, and must be on the same device: something else may be mounted over.
 * A control file that answers HELLO's size check is known by LEASEFS_IOC_STATUS, which needs no
 * session. What has no such file is not leasefs.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "lfs.h"

int lfs_open_control(const char *root)
{
	char *path = NULL;
	int fd;

	if (asprintf(&path, "%s/%s", root, LEASEFS_CONTROL_PATH) < 0)
		return -ENOMEM;
	fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 && errno == EROFS) /* there are leases on a mount with -o ro, too */
		fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		fd = -errno;
	free(path);
	return fd;
}

/* The kernel writes blanks and the like as \ooo. */
static void unescape(char *text)
{
	char *out = text;

	for (; *text; text++) {
		if (text[0] == '\\' && text[1] >= '0' && text[1] <= '3' && text[2] && text[3]) {
			*out++ = (char)((text[1] - '0') << 6 | (text[2] - '0') << 3 |
					(text[3] - '0'));
			text += 3;
		} else {
			*out++ = *text;
		}
	}
	*out = '\0';
}

/* Is it leasefs's, and on that device? */
static int check_control(int fd, dev_t device)
{
	struct leasefs_status status = {0};
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	if (st.st_dev != device)
		return -ENOTTY;
	return ioctl(fd, LEASEFS_IOC_STATUS, &status) ? -errno : 0;
}

/* The mount point in a line of mountinfo, if it shows the root of that device; else NULL. */
static char *mount_point_of(char *line, dev_t device)
{
	unsigned major, minor;
	int root_at = 0, point_at = 0, point_end = 0;

	if (sscanf(line, "%*d %*d %u:%u %n%*s %n%*s%n", &major, &minor, &root_at, &point_at,
		    &point_end) < 2 ||
		point_end == 0 || makedev(major, minor) != device ||
		strncmp(line + root_at, "/ ", 2) != 0)
		return NULL;
	line[point_end] = '\0';
	unescape(line + point_at);
	return line + point_at;
}

static int search_mounts(FILE *mounts, dev_t device, char **root, int *control)
{
	char *line = NULL, *point;
	size_t room = 0;
	int result = -ENOTTY;

	while (result && getline(&line, &room, mounts) > 0) {
		int fd, error;

		point = mount_point_of(line, device);
		if (!point)
			continue;
		fd = lfs_open_control(point);
		error = fd < 0 ? fd : check_control(fd, device);
		if (!error)
			*root = strdup(point);
		if (!error && !*root)
			error = -ENOMEM;
		if (!error)
			*control = fd;
		else if (fd >= 0)
			close(fd);
		/* Of several, the error that says most: ENOENT is any other filesystem's. */
		if (error != -ENOENT && error != -ENOTDIR)
			result = error;
	}
	free(line);
	return result;
}

int lfs_find_mount(int fd, char **root, int *control)
{
	struct stat st;
	FILE *mounts;
	int result;

	if (fstat(fd, &st))
		return -errno;
	if (major(st.st_dev) != 0)
		return -ENOTTY; /* on a disk of its own */
	mounts = fopen("/proc/self/mountinfo", "re");
	if (!mounts)
		return errno == ENOENT ? -ENOTTY : -errno;
	result = search_mounts(mounts, st.st_dev, root, control);
	fclose(mounts);
	return result;
}
