// SPDX-License-Identifier: BSD-2-Clause
/*
 * campaign.c - kills the daemon under load, again and again, and has everything checked.
 *
 *     campaign --leasefs FILE --mkfs FILE --fsck FILE [--kills N] [--seed N] [--directory DIR]
 *
 * Two workers on ordinary files, two holders of leases, one managed mapping and two that truncate
 * and punch under them; SIGKILL at a random moment, sometimes while the next daemon recovers; every
 * tenth time the pool is checked before it is mounted again. At the end the daemon is told to end,
 * and the pool must be clean. The last line says how many there were of what.
 *
 * Every wait here has a limit; on any failure the mount and the processes go.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kill.h"

#define FUSE_MAGIC 0x65735546
#define START_MS_MAX 20000
#define END_MS_MAX 30000
#define KILL_AFTER_US_MAX 250000u
#define CHECK_EVERY 10u
#define WORKERS (2 + HELD_FILES + 2)

static struct {
	const char *leasefs, *mkfs, *fsck, *directory;
	unsigned long kills;
	uint64_t seed;
	char top[200], pool[256], mount[256];
	pid_t daemon;
	struct worker worker[WORKERS];
	pid_t pid[WORKERS];
	unsigned workers;
	pid_t owner;
} campaign = {.kills = 200, .seed = 1, .directory = "/dev/shm"};

/* ---- what workers use ------------------------------------------------------------------------ */

uint64_t roll(struct worker *w)
{
	w->rng ^= w->rng << 13;
	w->rng ^= w->rng >> 7;
	w->rng ^= w->rng << 17;
	return w->rng;
}

void wrong(const struct worker *w, const char *format, ...)
{
	va_list arguments;

	fprintf(stderr, "worker %u, after kill %lu: ", w->number, atomic_load(&w->board->kills));
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fprintf(stderr, "\n");
	_exit(1);
}

bool is_gone(int error)
{
	return error == -ENOTCONN || error == -ECONNABORTED || error == -ENODEV || error == -EIO ||
	       error == -EINTR || error == -ENOENT || error == -ESTALE || error == -EBADF ||
	       error == -ENOTDIR;
}

int open_mount(struct worker *w)
{
	while (!atomic_load(&w->board->stop) || getppid() == campaign.owner) {
		int fd = open(w->mount, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		struct statfs st;

		if (fd >= 0 && fstatfs(fd, &st) == 0 && st.f_type == FUSE_MAGIC)
			return fd;
		if (fd >= 0)
			close(fd);
		if (getppid() != campaign.owner)
			_exit(1);
		(void)poll(NULL, 0, 2);
	}
	return -1;
}

/* ---- processes ------------------------------------------------------------------------------- */

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void clean_up(void)
{
	char command[300];

	if (getpid() != campaign.owner)
		return;
	for (unsigned i = 0; i < campaign.workers; i++)
		if (campaign.pid[i] > 0)
			kill(campaign.pid[i], SIGKILL);
	if (campaign.daemon > 0)
		kill(campaign.daemon, SIGKILL);
	while (campaign.mount[0] && umount2(campaign.mount, MNT_DETACH) == 0)
		;
	if (campaign.top[0]) {
		snprintf(command, sizeof(command), "rm -rf --one-file-system '%s'", campaign.top);
		(void)!system(command);
	}
}

static void give_up(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));
static void give_up(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fprintf(stderr, "\n");
	exit(1);
}

static pid_t start(const char *const *arguments)
{
	pid_t pid = fork();

	if (pid == 0) {
		execv(arguments[0], (char *const *)(uintptr_t)arguments);
		_exit(127);
	}
	if (pid < 0)
		give_up("fork: %s", strerror(errno));
	return pid;
}

/* Its wait status, or -1: not within that time. */
static int wait_for(pid_t pid, uint64_t milliseconds)
{
	uint64_t end = now_ms() + milliseconds;
	int status;

	for (;;) {
		pid_t got = waitpid(pid, &status, WNOHANG);

		if (got == pid)
			return status;
		if (got < 0 || now_ms() > end)
			return -1;
		(void)poll(NULL, 0, 2);
	}
}

static void run(const char *what, const char *const *arguments)
{
	int status = wait_for(start(arguments), END_MS_MAX);

	if (status != 0)
		give_up("%s: status %d", what, status);
}

static void check_pool(void)
{
	run("fsck", (const char *[]){campaign.fsck, "-n", campaign.pool, NULL});
}

/* ---- the daemon ------------------------------------------------------------------------------ */

static bool is_mounted(void)
{
	struct statfs st;
	struct stat root;

	return statfs(campaign.mount, &st) == 0 && st.f_type == FUSE_MAGIC &&
	       stat(campaign.mount, &root) == 0;
}

static void start_daemon(void)
{
	campaign.daemon = start((const char *[]){campaign.leasefs, "-f", "-o",
		"policy=recall:50ms/busy,grace=2s", campaign.pool, campaign.mount, NULL});
}

static void await_mount(void)
{
	uint64_t end = now_ms() + START_MS_MAX;

	while (!is_mounted()) {
		if (waitpid(campaign.daemon, NULL, WNOHANG) == campaign.daemon) {
			campaign.daemon = 0;
			give_up("the daemon ended instead of mounting");
		}
		if (now_ms() > end)
			give_up("not mounted within %d ms", START_MS_MAX);
		(void)poll(NULL, 0, 2);
	}
}

/* Where its threads wait in the kernel. */
static void say_stacks(pid_t pid)
{
	char command[200];

	snprintf(command, sizeof(command),
		"for t in /proc/%d/task/*; do cat $t/comm $t/wchan $t/stack; done >&2", pid);
	(void)!system(command);
}

static void kill_daemon(void)
{
	kill(campaign.daemon, SIGKILL);
	if (wait_for(campaign.daemon, END_MS_MAX) < 0) {
		say_stacks(campaign.daemon);
		give_up("the killed daemon does not end");
	}
	campaign.daemon = 0;
	while (umount2(campaign.mount, MNT_DETACH) == 0)
		;
	atomic_fetch_add(&campaign.worker[0].board->kills, 1);
}

/* ---- workers --------------------------------------------------------------------------------- */

static void start_worker(struct board *board, unsigned number, void (*work)(struct worker *))
{
	unsigned i = campaign.workers;
	struct worker *w = &campaign.worker[i];

	*w = (struct worker){.board = board,
		.mount = campaign.mount,
		.number = number,
		.rng = (campaign.seed * 1000 + i + 1) * 0x9e3779b97f4a7c15ull | 1};
	campaign.pid[i] = fork();
	if (campaign.pid[i] < 0)
		give_up("fork: %s", strerror(errno));
	if (campaign.pid[i] == 0) {
		work(w);
		_exit(0);
	}
	campaign.workers++;
}

static void look_after_workers(void)
{
	for (unsigned i = 0; i < campaign.workers; i++) {
		int status = 0;

		if (waitpid(campaign.pid[i], &status, WNOHANG) != 0) {
			campaign.pid[i] = 0;
			give_up("worker process %u has found something, or died of it: %#x", i,
				(unsigned)status);
		}
	}
}

static void end_workers(struct board *board)
{
	atomic_store(&board->stop, true);
	for (unsigned i = 0; i < campaign.workers; i++) {
		int status = wait_for(campaign.pid[i], END_MS_MAX);

		if (status >= 0)
			campaign.pid[i] = 0;
		if (status != 0)
			give_up("worker process %u ended with %d", i, status);
	}
}

static void make_held_files(void)
{
	char name[300];

	for (unsigned i = 0; i < HELD_FILES; i++) {
		int fd;

		snprintf(name, sizeof(name), "%s/held.%u", campaign.mount, i);
		fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
		if (fd < 0 || ftruncate(fd, HELD_BYTES))
			give_up("%s: %s", name, strerror(errno));
		close(fd);
	}
}

static void start_workers(struct board *board)
{
	for (unsigned i = 0; i < 2; i++)
		start_worker(board, i, run_files);
	for (unsigned i = 0; i < HELD_FILES; i++)
		start_worker(board, i, i + 1 < HELD_FILES ? run_holder : run_managed);
	for (unsigned i = 0; i < 2; i++)
		start_worker(board, i, run_changer);
}

/* ---- the campaign ---------------------------------------------------------------------------- */

static void say(const struct board *b, uint64_t began_ms)
{
	printf("%lu kills, %.0f s: %lu operations, %lu stores under leases, %lu changes under them "
	       "and %lu EBUSY, %lu revocations, %lu restarts met by holders, %lu leases "
	       "reclaimed\n",
		b->kills, (double)(now_ms() - began_ms) / 1000, b->operations, b->stores,
		b->changes, b->busy, b->revoked, b->reconnects, b->reclaimed);
	fflush(stdout);
}

static void make_pool(void)
{
	snprintf(campaign.top, sizeof(campaign.top), "%s/leasefs-kill.XXXXXX", campaign.directory);
	if (!mkdtemp(campaign.top))
		give_up("%s: %s", campaign.top, strerror(errno));
	snprintf(campaign.pool, sizeof(campaign.pool), "%s/pool", campaign.top);
	snprintf(campaign.mount, sizeof(campaign.mount), "%s/mnt", campaign.top);
	if (mkdir(campaign.mount, 0555))
		give_up("%s: %s", campaign.mount, strerror(errno));
	run("mkfs", (const char *[]){campaign.mkfs, "-s", "128M", campaign.pool, NULL});
}

static void run_campaign(struct board *board)
{
	struct worker self = {.rng = campaign.seed * 0x9e3779b97f4a7c15ull | 1};
	uint64_t began_ms = now_ms();

	make_pool();
	start_daemon();
	await_mount();
	make_held_files();
	start_workers(board);
	while (atomic_load(&board->kills) < campaign.kills) {
		/* Some die while they recover. */
		if (roll(&self) % 8)
			await_mount();
		usleep((useconds_t)(roll(&self) % KILL_AFTER_US_MAX));
		look_after_workers();
		kill_daemon();
		if (atomic_load(&board->kills) % CHECK_EVERY == 0)
			check_pool();
		start_daemon();
		if (atomic_load(&board->kills) % 50 == 0)
			say(board, began_ms);
	}
	await_mount();
	end_workers(board);
	kill(campaign.daemon, SIGTERM);
	int status = wait_for(campaign.daemon, END_MS_MAX);
	campaign.daemon = 0;
	if (status != 0)
		give_up("the daemon did not end well: %d", status);
	check_pool();
	say(board, began_ms);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"leasefs", required_argument, NULL, 'l'},
		{"mkfs", required_argument, NULL, 'm'}, {"fsck", required_argument, NULL, 'f'},
		{"kills", required_argument, NULL, 'k'}, {"seed", required_argument, NULL, 's'},
		{"directory", required_argument, NULL, 'd'}, {NULL, 0, NULL, 0}};
	struct board *board = mmap(
		NULL, sizeof(*board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'l':
			campaign.leasefs = optarg;
			break;
		case 'm':
			campaign.mkfs = optarg;
			break;
		case 'f':
			campaign.fsck = optarg;
			break;
		case 'k':
			campaign.kills = strtoul(optarg, NULL, 10);
			break;
		case 's':
			campaign.seed = strtoull(optarg, NULL, 10);
			break;
		case 'd':
			campaign.directory = optarg;
			break;
		default:
			return 2;
		}
	}
	if (!campaign.leasefs || !campaign.mkfs || !campaign.fsck) {
		fprintf(stderr, "usage: campaign --leasefs FILE --mkfs FILE --fsck FILE "
				"[--kills N] [--seed N] [--directory DIR]\n");
		return 2;
	}
	if (access("/dev/fuse", R_OK | W_OK) || geteuid() != 0) {
		printf("skipped: needs /dev/fuse, and root to detach dead mounts\n");
		return 77;
	}
	if (board == MAP_FAILED)
		give_up("mmap: %s", strerror(errno));
	campaign.owner = getpid();
	atexit(clean_up);
	printf("seed %llu, %lu kills\n", (unsigned long long)campaign.seed, campaign.kills);
	fflush(stdout);
	run_campaign(board);
	return 0;
}
