// SPDX-License-Identifier: BSD-2-Clause
/* world.c - see world.h. */
#include "world.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int fail(struct world *w, int error, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
static int fail(struct world *w, int error, const char *format, ...)
{
	va_list list;

	va_start(list, format);
	vsnprintf(w->why, sizeof(w->why), format, list);
	va_end(list);
	return error;
}

static void join_path(char *out, const char *dir, const char *name)
{
	size_t n = strlen(dir);

	assert(n + 1 + strlen(name) < PATH_MAX);
	memmove(out, dir, n);
	out[n] = '/';
	strcpy(out + n + 1, name);
}

/* ---- programs -------------------------------------------------------------------------------- */

/* Where the build and an installation put the others, seen from this program's own directory. */
static const char *const program_places[] = {"", "../sbin/", "../fs/fuse/", NULL};

static void find_program(const char *name, char *out)
{
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (n > 0) {
		self[n] = 0;
		*strrchr(self, '/') = 0;
		for (int i = 0; program_places[i]; i++) {
			char relative[64];

			snprintf(relative, sizeof(relative), "%s%s", program_places[i], name);
			join_path(out, self, relative);
			if (!access(out, X_OK))
				return;
		}
	}
	strcpy(out, name); /* execvp looks in PATH */
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Reads what a child prints until it closes its end, keeping the beginning. */
static int drain_output(int fd, char *output, size_t bytes, int64_t until_ms)
{
	size_t have = 0;
	char rest[4096];

	for (;;) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		int64_t left = until_ms - now_ms();
		ssize_t n;

		if (left <= 0 || poll(&p, 1, (int)left) <= 0)
			return -ETIMEDOUT;
		n = read(fd, rest, sizeof(rest));
		if (n <= 0)
			return 0;
		if (output && have + 1 < bytes) {
			size_t take = (size_t)n < bytes - 1 - have ? (size_t)n : bytes - 1 - have;

			memcpy(output + have, rest, take);
			have += take;
			output[have] = 0;
		}
	}
}

static int wait_child(pid_t pid, int64_t until_ms)
{
	for (;;) {
		int status;
		pid_t got = waitpid(pid, &status, WNOHANG);

		if (got == pid)
			return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
		if (got < 0)
			return -errno;
		if (now_ms() >= until_ms)
			return -ETIMEDOUT;
		nanosleep(&(struct timespec){.tv_nsec = 500000}, NULL);
	}
}

int world_run(struct world *w, const char *const argv[], char *output, size_t bytes)
{
	int64_t until = now_ms() + WORLD_PATIENCE_MS;
	char program[PATH_MAX];
	int ends[2], status;
	pid_t pid;

	if (output)
		output[0] = 0;
	find_program(argv[0], program);
	if (pipe2(ends, O_CLOEXEC))
		return -errno;
	pid = fork();
	if (pid < 0) {
		int error = errno;

		close(ends[0]);
		close(ends[1]);
		return -error;
	}
	if (!pid) {
		dup2(ends[1], STDOUT_FILENO);
		dup2(ends[1], STDERR_FILENO);
		execvp(program, (char *const *)argv);
		dprintf(STDERR_FILENO, "cannot run %s: %s\n", argv[0], strerror(errno));
		_exit(127);
	}
	close(ends[1]);
	status = drain_output(ends[0], output, bytes, until);
	close(ends[0]);
	if (status)
		kill(pid, SIGKILL);
	else
		status = wait_child(pid, until);
	if (status == -ETIMEDOUT)
		return fail(
			w, -ETIMEDOUT, "%s did not end in %d s", argv[0], WORLD_PATIENCE_MS / 1000);
	return status;
}

static void first_line(char *text)
{
	text[strcspn(text, "\n")] = 0;
}

/* ---- the daemon ------------------------------------------------------------------------------ */

/* The daemon is ours to wait for (child subreaper) once its parent has returned. */
static int find_daemon(struct world *w)
{
	char path[PATH_MAX], text[32] = "";
	int fd;
	ssize_t n;

	join_path(path, w->pool, "run/lock");
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return fail(w, -errno, "%s: %s", path, strerror(errno));
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	w->daemon = n > 0 ? atoi(text) : 0;
	return w->daemon > 0 ? 0 : fail(w, -ESRCH, "%s does not name the daemon", path);
}

static void detach_mount(struct world *w)
{
	if (umount2(w->mount, MNT_DETACH) && errno == EPERM)
		world_run(w, (const char *const[]){"fusermount3", "-u", "-z", "-q", w->mount, NULL},
			NULL, 0);
}

int world_start_daemon(struct world *w)
{
	const char *argv[8] = {"leasefs", w->pool, w->mount};
	char output[512];
	int r, n = 3;

	assert(!w->standing);
	if (w->daemon)
		return fail(w, -EALREADY, "the daemon is running");
	if (w->stale)
		detach_mount(w);
	w->stale = false;
	if (w->options[0]) {
		argv[n++] = "-o";
		argv[n++] = w->options;
	}
	if (w->more_options) {
		argv[n++] = "-o";
		argv[n++] = w->more_options;
	}
	r = world_run(w, argv, output, sizeof(output));
	if (r < 0)
		return r;
	if (r > 0) {
		first_line(output);
		return fail(w, -EIO, "the daemon did not start: %.400s", output);
	}
	return find_daemon(w);
}

int world_kill_daemon(struct world *w)
{
	int r;

	if (!w->daemon)
		return fail(w, -ESRCH, "the daemon is not running");
	if (kill(w->daemon, SIGKILL))
		return fail(w, -errno, "kill: %s", strerror(errno));
	r = wait_child(w->daemon, now_ms() + WORLD_PATIENCE_MS);
	if (r < 0)
		return fail(w, r, "the killed daemon is still there");
	w->daemon = 0;
	w->stale = true; /* as a crash leaves it: what is asked there is ENOTCONN */
	return 0;
}

/* ---- beginning and end ----------------------------------------------------------------------- */

static int make_top(struct world *w, const char *parent)
{
	join_path(w->top, parent, "leasescript.XXXXXX");
	if (!mkdtemp(w->top)) {
		int error = errno;

		w->top[0] = 0;
		return fail(
			w, -error, "cannot make a directory in %s: %s", parent, strerror(error));
	}
	/* Actors of other users must get through. */
	return chmod(w->top, 0755) ? -errno : 0;
}

/* tmpfs first: the kernel refuses long-term pins of page cache, and scenarios want to take them. */
static const char *parent_for_pools(void)
{
	const char *given = getenv("TMPDIR");

	if (!access("/dev/shm", W_OK | X_OK))
		return "/dev/shm";
	return given && given[0] == '/' ? given : "/tmp";
}

/* Options are split at blanks; there is no quoting in the language. */
static int make_pool(struct world *w)
{
	char size[32], options[sizeof(w->mkfs_options)], output[512];
	const char *argv[32] = {"mkfs.leasefs", w->data ? "-f" : "-s"};
	char *save = NULL;
	int n = 2, r;

	snprintf(size, sizeof(size), "%llu", (unsigned long long)w->pool_bytes);
	if (w->data) {
		argv[n++] = "-D";
		argv[n++] = w->data;
	} else {
		argv[n++] = size;
	}
	strcpy(options, w->mkfs_options);
	for (char *t = strtok_r(options, " ", &save); t; t = strtok_r(NULL, " ", &save)) {
		if (n == 30)
			return fail(w, -E2BIG, "too many mkfs options");
		argv[n++] = t;
	}
	argv[n] = w->pool;
	r = world_run(w, argv, output, sizeof(output));
	if (r < 0)
		return r;
	first_line(output);
	return r ? fail(w, -EIO, "mkfs.leasefs failed: %.400s", output) : 0;
}

int world_make(struct world *w)
{
	char output[PATH_MAX];
	int r;

	if (w->made)
		return 0;
	if (w->standing) {
		strcpy(output, w->mount);
		r = make_top(w, output);
		if (r)
			return r;
		strcpy(w->mount, w->top);
		w->made = true;
		return chmod(w->mount, 01777) ? -errno : 0;
	}
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	r = make_top(w, w->pools ? w->pools : parent_for_pools());
	if (r)
		return r;
	w->made = true;
	join_path(w->pool, w->top, "pool");
	join_path(w->mount, w->top, "mnt");
	if (mkdir(w->mount, 0755))
		return fail(w, -errno, "%s: %s", w->mount, strerror(errno));
	w->line = w->pool_line;
	r = make_pool(w);
	if (r)
		return r;
	w->line = w->mount_line;
	r = world_start_daemon(w);
	if (r)
		return r;
	w->line = 0;
	/* Actors of any user make files there. */
	return chmod(w->mount, 01777) ? fail(w, -errno, "chmod: %s", strerror(errno)) : 0;
}

/* The files of processes that have just ended may be closed a moment after them: EBUSY till then.
 */
#define BUSY_MS 5000

static int try_unmount(struct world *w, char *output, size_t bytes)
{
	if (geteuid() == 0)
		return umount2(w->mount, 0) ? -errno : 0;
	return world_run(
		w, (const char *const[]){"fusermount3", "-u", w->mount, NULL}, output, bytes);
}

static int unmount(struct world *w)
{
	int64_t until = now_ms() + BUSY_MS;
	char output[512] = "";
	int r;

	while ((r = try_unmount(w, output, sizeof(output))) && now_ms() < until)
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	if (r) {
		first_line(output);
		return fail(w, -EBUSY, "the mount did not come off: %.300s",
			output[0] ? output : strerror(r < 0 ? -r : EIO));
	}
	r = wait_child(w->daemon, now_ms() + WORLD_PATIENCE_MS);
	if (r) {
		if (r == -ETIMEDOUT)
			return fail(w, r, "the daemon did not end after the unmount");
		return fail(w, -EIO, "the daemon ended with status %d", r);
	}
	w->daemon = 0;
	return 0;
}

int world_end(struct world *w)
{
	char output[512];
	int r;

	if (w->standing || !w->made)
		return 0;
	if (w->daemon) {
		r = unmount(w);
		if (r)
			return r;
	}
	if (w->stale)
		detach_mount(w);
	w->stale = false;
	r = world_run(w, (const char *const[]){"fsck.leasefs", "-n", w->pool, NULL}, output,
		sizeof(output));
	if (r < 0)
		return r;
	first_line(output);
	return r ? fail(w, -EUCLEAN, "fsck.leasefs -n: %.400s", output) : 0;
}

void world_remove(struct world *w)
{
	if (!w->top[0])
		return;
	if (!w->standing) {
		if (w->daemon) {
			kill(w->daemon, SIGKILL);
			wait_child(w->daemon, now_ms() + WORLD_PATIENCE_MS);
			w->daemon = 0;
		}
		detach_mount(w);
	}
	if (w->keep)
		fprintf(stderr, "kept %s\n", w->top);
	else
		world_run(w, (const char *const[]){"rm", "-rf", "--one-file-system", w->top, NULL},
			NULL, 0);
	w->top[0] = 0;
	w->made = false;
}
