// SPDX-License-Identifier: BSD-2-Clause
/* bed.c - see bed.h. */
#include "bed.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "huge.h"

char bed_mount[4096];
static char pool[4096];
static const char *data_path; /* the data region's place; NULL: in the pool */
static char mount_options[256];
static pid_t daemon_pid;
static bool fences_forbidden;
static pid_t owner; /* who cleans up: not a child of it */

static void fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
static void fail(const char *format, ...)
{
	va_list list;

	va_start(list, format);
	fprintf(stderr, "bed: ");
	vfprintf(stderr, format, list);
	fprintf(stderr, "\n");
	va_end(list);
	exit(99);
}

void skip_all(const char *reason)
{
	printf("1..0 # SKIP %s\n", reason);
	exit(77);
}

uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- processes ------------------------------------------------------------------------------- */

static const char *program(const char *variable)
{
	const char *path = getenv(variable);

	if (!path)
		fail("%s is not set: run it by `meson test`", variable);
	return path;
}

static pid_t spawn(const char *const argv[], bool quiet)
{
	pid_t pid = fork();

	if (pid < 0)
		fail("fork: %s", strerror(errno));
	if (pid)
		return pid;
	/* A sanitizer ends a process without a word; its daemon is not to stay. */
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (quiet) {
		int null = open("/dev/null", O_WRONLY);

		dup2(null, STDOUT_FILENO);
		dup2(null, STDERR_FILENO);
	} else {
		dup2(STDERR_FILENO, STDOUT_FILENO);
	}
	execvp(argv[0], (char *const *)argv);
	_exit(127);
}

/* The exit status; 128 and the signal; fails after the patience. */
static int reap(pid_t pid, const char *name)
{
	struct pollfd p = {.fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN};
	int status;

	if (p.fd < 0 || poll(&p, 1, BED_PATIENCE_MS) <= 0)
		fail("%s (%d) did not end", name, (int)pid);
	close(p.fd);
	if (waitpid(pid, &status, 0) != pid)
		fail("waitpid of %s: %s", name, strerror(errno));
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int run(const char *const argv[], bool quiet)
{
	return reap(spawn(argv, quiet), argv[0]);
}

pid_t bed_other_start(const char *verb, const char *path, uint64_t a, uint64_t b)
{
	char x[32], y[32];
	const char *argv[] = {program("LEASEFS_OTHER"), verb, path, x, y, NULL};

	snprintf(x, sizeof(x), "%llu", (unsigned long long)a);
	snprintf(y, sizeof(y), "%llu", (unsigned long long)b);
	return spawn(argv, false);
}

int bed_other_wait(pid_t pid)
{
	return reap(pid, "the other process");
}

int bed_other(const char *verb, const char *path, uint64_t a, uint64_t b)
{
	return bed_other_wait(bed_other_start(verb, path, a, b));
}

/* ---- the mount ------------------------------------------------------------------------------- */

static bool is_mounted(void)
{
	char parent[4200];
	struct stat up, at;

	snprintf(parent, sizeof(parent), "%s/..", bed_mount);
	return !stat(bed_mount, &at) && !stat(parent, &up) && at.st_dev != up.st_dev;
}

static void start_daemon(void)
{
	const char *argv[] = {
		program("LEASEFS_DAEMON"), "-f", "-o", mount_options, pool, bed_mount, NULL};
	struct pollfd mounts = {
		.fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC), .events = POLLPRI};
	uint64_t until = now_ns() + BED_PATIENCE_MS * 1000000ull;
	int status;

	daemon_pid = spawn(argv, getenv("BED_VERBOSE") == NULL);
	while (!is_mounted()) {
		if (waitpid(daemon_pid, &status, WNOHANG) == daemon_pid) {
			daemon_pid = 0;
			fail("the daemon ended with %x", status);
		}
		if (now_ns() > until)
			fail("the daemon did not mount");
		/* Mounting changes the table; being ready comes a moment later. */
		poll(&mounts, 1, 5);
	}
	close(mounts.fd);
}

static void unmount(bool lazily)
{
	const char *argv[] = {"fusermount3", lazily ? "-uz" : "-u", bed_mount, NULL};

	if (umount2(bed_mount, lazily ? MNT_DETACH : 0) && run(argv, lazily) && !lazily)
		fail("could not unmount %s", bed_mount);
}

static void remove_all(void)
{
	const char *pool_argv[] = {"rm", "-rf", pool, NULL};

	if (pool[0])
		run(pool_argv, true);
	if (bed_mount[0])
		rmdir(bed_mount);
	pool[0] = bed_mount[0] = '\0';
}

static void clean_up(void)
{
	if (getpid() != owner)
		return;
	/* MNT_FORCE ends the connection: a daemon that waits in the kernel for itself can die then.
	 */
	if (bed_mount[0])
		umount2(bed_mount, MNT_FORCE | MNT_DETACH);
	if (daemon_pid > 0)
		kill(daemon_pid, SIGKILL);
	if (daemon_pid > 0)
		waitpid(daemon_pid, NULL, 0);
	daemon_pid = 0;
	remove_all();
	huge_return();
}

/* A sanitizer's report or a failed assert of the library: the rest of the process is not to be
 * trusted, but the mount must not stay. */
static void on_abort(int number)
{
	clean_up();
	signal(number, SIG_DFL);
	raise(number);
}

static void take_ownership(void)
{
	if (owner)
		return;
	owner = getpid();
	atexit(clean_up);
	signal(SIGABRT, on_abort);
	signal(SIGTERM, on_abort);
}

void bed_use_huge_pages(uint64_t bytes)
{
	const char *why;

	take_ownership();
	data_path = huge_borrow(bytes, &why);
	if (!data_path)
		skip_all(why);
}

void bed_start(const char *options, const char *pool_bytes)
{
	const char *inside[] = {program("LEASEFS_MKFS"), "-s", pool_bytes, pool, NULL};
	/* -f: a device may have been another test's. */
	const char *beside[] = {program("LEASEFS_MKFS"), "-f", "--data", NULL, pool, NULL};
	const char *dir = getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp";
	const char *pools = getenv("LEASEFS_TEST_POOLS");

	if (access("/dev/fuse", R_OK | W_OK))
		skip_all("no access to /dev/fuse");
	take_ownership();
	if (!data_path)
		data_path = getenv("LEASEFS_TEST_DATA");
	beside[3] = data_path;
	snprintf(mount_options, sizeof(mount_options), "%s",
		options ? options : "lock_wait_ms=10000");
	snprintf(pool, sizeof(pool), "%s/leasefs-lib.XXXXXX", pools ? pools : "/dev/shm");
	snprintf(bed_mount, sizeof(bed_mount), "%s/leasefs-lib.XXXXXX", dir);
	if (!mkdtemp(pool) || !mkdtemp(bed_mount))
		fail("mkdtemp: %s", strerror(errno));
	if (run(data_path ? beside : inside, true))
		fail("mkfs.leasefs failed");
	start_daemon();
}

uint32_t bed_media(void)
{
	const char *name = getenv("LEASEFS_TEST_MEDIA");

	return name && !strcmp(name, "pmem") ? LEASEFS_MEDIA_PMEM : LEASEFS_MEDIA_VOLATILE;
}

void bed_stop(void)
{
	const char *fsck[] = {program("LEASEFS_FSCK"), "-n", pool, NULL};
	int status;

	unmount(false);
	status = reap(daemon_pid, "the daemon");
	daemon_pid = 0;
	if (status)
		fail("the daemon ended with %d", status);
	status = run(fsck, true);
	if (status)
		fail("fsck says %d", status);
	remove_all();
}

void bed_kill(void)
{
	kill(daemon_pid, SIGKILL);
	reap(daemon_pid, "the daemon");
	daemon_pid = 0;
}

void bed_restart(void)
{
	unmount(true);
	start_daemon();
}

/* ---- files ----------------------------------------------------------------------------------- */

const char *bed_path(const char *name)
{
	static char paths[8][5000];
	static unsigned next;
	char *path = paths[next++ % 8];

	snprintf(path, sizeof(paths[0]), "%s/%s", bed_mount, name);
	return path;
}

/* Not the same at any two blocks of the same number modulo 2^16, nor at neighbouring bytes. */
unsigned char pattern(uint64_t offset)
{
	return (unsigned char)(offset * 131 + (offset >> 12) * 7 + (offset >> 20) * 13 + 1);
}

int64_t differs(const void *memory, uint64_t from, uint64_t length)
{
	const unsigned char *bytes = memory;

	for (uint64_t i = 0; i < length; i++)
		if (bytes[i] != pattern(from + i))
			return (int64_t)i;
	return -1;
}

int bed_file(const char *name, uint64_t bytes)
{
	int fd = open(bed_path(name), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	static unsigned char buffer[1 << 20];

	if (fd < 0)
		fail("%s: %s", name, strerror(errno));
	for (uint64_t at = 0; at < bytes;) {
		size_t n = bytes - at < sizeof(buffer) ? (size_t)(bytes - at) : sizeof(buffer);

		for (size_t i = 0; i < n; i++)
			buffer[i] = pattern(at + i);
		if (write(fd, buffer, n) != (ssize_t)n)
			fail("writing %s: %s", name, strerror(errno));
		at += n;
	}
	return fd;
}

/* ---- waiting --------------------------------------------------------------------------------- */

struct leasefs_lease *expect_event(
	struct leasefs_session *s, uint32_t kind, struct leasefs_event *out)
{
	struct pollfd p = {.fd = leasefs_get_event_fd(s), .events = POLLIN};
	uint64_t until = now_ns() + BED_PATIENCE_MS * 1000000ull;
	struct leasefs_lease *lease = NULL;
	int r;

	for (;;) {
		r = leasefs_next_event(s, out, &lease);
		if (r < 0)
			fail("leasefs_next_event: %s", strerror(-r));
		if (r > 0 && out->kind == kind)
			return lease;
		if (now_ns() > until)
			fail("no event of kind %u came", kind);
		if (r == 0)
			poll(&p, 1, 100);
	}
}

static bool is_quiet(void *context)
{
	struct pollfd p = {.fd = leasefs_get_event_fd(context), .events = POLLIN};

	return poll(&p, 1, 0) == 0;
}

void expect_no_event(struct leasefs_session *s)
{
	struct leasefs_event event;
	struct leasefs_lease *lease;

	/* What is over may still be about to be merged with what it was. */
	wait_until(is_quiet, s, "events to be over");
	if (leasefs_next_event(s, &event, &lease) != 0)
		fail("an event that should not be");
}

void wait_until(bool (*done)(void *context), void *context, const char *what)
{
	uint64_t until = now_ns() + BED_PATIENCE_MS * 1000000ull;

	while (!done(context)) {
		if (now_ns() > until)
			fail("waited too long for %s", what);
		poll(NULL, 0, 1);
	}
}

/* userfaultfd(2), and the ioctl of /dev/userfaultfd that does the same, are EPERM. */
void bed_forbid_fences(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_userfaultfd, 4, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 2),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0xaa00, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
	};
	struct sock_fprog program = {sizeof(filter) / sizeof(filter[0]), filter};

	/* An ordinary user's filter would take fusermount3's privileges too. */
	if (getuid() != 0 ? can_come_back() : prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		skip_all("userfaultfd cannot be forbidden here");
	fences_forbidden = true;
}

bool can_come_back(void)
{
	int fd;

	if (fences_forbidden)
		return false;
	fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
	if (fd < 0)
		fd = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
	if (fd >= 0)
		close(fd);
	return fd >= 0;
}
