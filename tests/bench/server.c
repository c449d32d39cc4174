// SPDX-License-Identifier: BSD-2-Clause
/*
 * server.c - starts, watches and ends the daemons of a benchmark; see server.h.
 *
 * Invariants
 *  1. A server stands in `known` from its first start until it is discarded, so that an exit at
 *     any point takes it and its pool away.
 *  2. Whether a mount is up is asked of the mount itself (its device number differs from the
 *     directory's below, and it answers statvfs), never guessed from time.
 */
#include "server.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "series.h"

#define SERVERS_MAX 8
#define READY_WAIT_NS 60000000000ull /* recovery of a big pool is part of it */
#define END_WAIT_NS 60000000000ull
#define BUSY_WAIT_NS 10000000000ull
#define POLL_INTERVAL_US 200

static struct server *known[SERVERS_MAX];
static struct {
	char leasefs[4200];
	char mkfs[4200];
	char null_server[4200];
} programs;

/* ---- programs -------------------------------------------------------------------------------- */

static int find_program(char *out, size_t bytes, const char *built, const char *name)
{
	char own[4096], *path, *dir, *next = NULL;
	ssize_t n = readlink("/proc/self/exe", own, sizeof(own) - 1);
	int result = -1;

	if (n > 0) {
		own[n] = '\0';
		snprintf(out, bytes, "%s/%s", dirname(own), built);
		if (access(out, X_OK) == 0)
			return 0;
	}
	path = strdup(getenv("PATH") != NULL ? getenv("PATH") : "/usr/sbin:/usr/bin");
	for (dir = path != NULL ? strtok_r(path, ":", &next) : NULL; dir != NULL && result != 0;
		dir = strtok_r(NULL, ":", &next)) {
		snprintf(out, bytes, "%s/%s", dir, name);
		result = access(out, X_OK);
	}
	free(path);
	if (result != 0)
		fprintf(stderr, "leasebench: %s is neither built nor in PATH\n", name);
	return result;
}

int server_find_programs(void)
{
	if (find_program(programs.leasefs, sizeof(programs.leasefs), "../../fs/fuse/leasefs",
		    "leasefs") != 0 ||
		find_program(programs.mkfs, sizeof(programs.mkfs), "../../tools/mkfs.leasefs",
			"mkfs.leasefs") != 0 ||
		find_program(programs.null_server, sizeof(programs.null_server), "null_server",
			"null_server") != 0)
		return -1;
	return 0;
}

/* Runs in the child: output to the log, pinned, then the program. */
static void become(const char *log, int cpu, char *const argv[])
{
	int fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	int none = open("/dev/null", O_RDONLY | O_CLOEXEC);

	/* A benchmark that is killed takes its servers along; they unmount. */
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (fd < 0 || none < 0 || dup2(none, 0) < 0 || dup2(fd, 1) < 0 || dup2(fd, 2) < 0)
		_exit(126);
	if (cpu >= 0 && server_pin(0, cpu, -1) != 0)
		_exit(126);
	execvp(argv[0], argv);
	perror(argv[0]);
	_exit(127);
}

static int run_to_end(const char *log, char *const argv[])
{
	int status;
	pid_t pid = fork();

	if (pid < 0)
		return -1;
	if (pid == 0)
		become(log, -1, argv);
	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return -1;
	}
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	fprintf(stderr, "leasebench: %s failed (status %d); its output is in %s\n", argv[0], status,
		log);
	return -1;
}

/* ---- start ----------------------------------------------------------------------------------- */

static void remember(struct server *s)
{
	for (int i = 0; i < SERVERS_MAX; i++) {
		if (known[i] == NULL) {
			known[i] = s;
			return;
		}
	}
	fprintf(stderr, "leasebench: more than %d servers at once\n", SERVERS_MAX);
	abort();
}

static void forget(const struct server *s)
{
	for (int i = 0; i < SERVERS_MAX; i++) {
		if (known[i] == s)
			known[i] = NULL;
	}
}

static void print_log(const char *log)
{
	char line[512];
	FILE *f = fopen(log, "r");

	if (f == NULL)
		return;
	while (fgets(line, sizeof(line), f) != NULL)
		fprintf(stderr, "    %s", line);
	fclose(f);
}

static int wait_ready(struct server *s, dev_t below, uint64_t begin)
{
	struct statvfs vfs;
	struct stat st;
	int status;

	for (;;) {
		if (stat(s->mount, &st) == 0 && st.st_dev != below && statvfs(s->mount, &vfs) == 0)
			break;
		if (waitpid(s->pid, &status, WNOHANG) == s->pid) {
			fprintf(stderr, "leasebench: the server of %s ended at its start:\n",
				s->mount);
			print_log(s->log);
			s->pid = 0;
			return -1;
		}
		if (now_ns() - begin > READY_WAIT_NS) {
			fprintf(stderr, "leasebench: %s did not come up\n", s->mount);
			server_kill(s);
			return -1;
		}
		usleep(POLL_INTERVAL_US);
	}
	s->start_seconds = (double)(now_ns() - begin) / 1e9;
	return 0;
}

static int start(struct bench *b, struct server *s, char *const argv[])
{
	uint64_t begin;
	struct stat st;

	if (mkdir(s->mount, 0755) != 0 && errno != EEXIST) {
		perror(s->mount);
		return -1;
	}
	if (stat(s->mount, &st) != 0) {
		perror(s->mount);
		return -1;
	}
	begin = now_ns();
	s->pid = fork();
	if (s->pid < 0) {
		s->pid = 0;
		perror("leasebench: fork");
		return -1;
	}
	if (s->pid == 0)
		become(s->log, b->cpu, argv);
	return wait_ready(s, st.st_dev, begin);
}

static void name_files(struct bench *b, struct server *s, const char *name)
{
	*s = (struct server){0};
	remember(s);
	snprintf(s->mount, sizeof(s->mount), "%s/%s", b->work, name);
	snprintf(s->log, sizeof(s->log), "%s/%s.log", b->work, name);
}

int server_restart(struct bench *b, struct server *s)
{
	char foreground[] = "-f", option[] = "-o";
	char *ours[] = {programs.leasefs, foreground, s->pool, s->mount,
		s->options != NULL ? option : NULL, (char *)(uintptr_t)s->options, NULL};
	char *null[] = {programs.null_server, s->mount, NULL};

	return start(b, s, s->pool[0] != '\0' ? ours : null);
}

int server_start_ours(struct bench *b, struct server *s, const char *name, uint64_t pool_bytes)
{
	return server_start_with(b, s, name, pool_bytes, NULL, NULL);
}

int server_start_with(struct bench *b, struct server *s, const char *name, uint64_t pool_bytes,
	const char *options, const char *data)
{
	char size[32], size_option[] = "-s", data_option[] = "-D";
	char *by_size[] = {programs.mkfs, size_option, size, s->pool, NULL};
	char *by_data[] = {programs.mkfs, data_option, (char *)(uintptr_t)data, s->pool, NULL};

	name_files(b, s, name);
	s->options = options;
	s->data = data;
	snprintf(s->pool, sizeof(s->pool), "%s/leasebench.%d.%s", b->pool_dir, (int)getpid(), name);
	snprintf(size, sizeof(size), "%lluM", (unsigned long long)(pool_bytes >> 20));
	if (run_to_end(s->log, data != NULL ? by_data : by_size) != 0) {
		print_log(s->log);
		return -1;
	}
	return server_restart(b, s);
}

int server_start_null(struct bench *b, struct server *s, const char *name)
{
	name_files(b, s, name);
	return server_restart(b, s);
}

int server_use_directory(struct bench *b, struct server *s, const char *name, const char *parent)
{
	name_files(b, s, name);
	snprintf(s->mount, sizeof(s->mount), "%s/leasebench.%d.%s", parent, (int)getpid(), name);
	if (mkdir(s->mount, 0755) != 0) {
		perror(s->mount);
		return -1;
	}
	snprintf(s->pool, sizeof(s->pool), "%s", s->mount); /* goes when it is discarded */
	return 0;
}

/* ---- end ------------------------------------------------------------------------------------- */

static int unmount(const char *mount, int lazy)
{
	char tool[] = "fusermount3", plain[] = "-u", zealous[] = "-uz", quiet[] = "-q";
	char *argv[] = {tool, quiet, lazy ? zealous : plain, (char *)(uintptr_t)mount, NULL};
	uint64_t begin = now_ns();

	/* Whoever looks at all mounts (df, say) makes this one busy for a moment. */
	while (umount2(mount, lazy ? MNT_DETACH : 0) != 0) {
		if (geteuid() != 0)
			return run_to_end("/dev/null", argv);
		if (errno != EBUSY || now_ns() - begin > BUSY_WAIT_NS) {
			if (!lazy)
				perror(mount);
			return -1;
		}
		usleep(POLL_INTERVAL_US);
	}
	return 0;
}

static int wait_end(struct server *s)
{
	uint64_t begin = now_ns();
	int status;

	while (waitpid(s->pid, &status, WNOHANG) != s->pid) {
		if (now_ns() - begin > END_WAIT_NS) {
			fprintf(stderr, "leasebench: the server of %s did not end\n", s->mount);
			return -1;
		}
		usleep(POLL_INTERVAL_US);
	}
	s->pid = 0;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	fprintf(stderr, "leasebench: the server of %s ended badly (status %d):\n", s->mount,
		status);
	print_log(s->log);
	return -1;
}

int server_stop(struct server *s)
{
	if (s->pid == 0)
		return 0;
	if (unmount(s->mount, 0) != 0 || wait_end(s) != 0) {
		if (s->pid != 0)
			server_kill(s);
		return -1;
	}
	return 0;
}

int server_kill(struct server *s)
{
	int status;

	if (s->pid == 0)
		return 0;
	kill(s->pid, SIGKILL);
	umount2(s->mount,
		MNT_FORCE | MNT_DETACH); /* root only: also ends what hangs in the kernel */
	while (waitpid(s->pid, &status, 0) < 0 && errno == EINTR)
		continue;
	s->pid = 0;
	unmount(s->mount, 1);
	return 0;
}

void server_discard(struct server *s)
{
	char tool[] = "rm", options[] = "-rf", end[] = "--";
	char *argv[] = {tool, options, end, s->pool, NULL};

	server_kill(s);
	if (s->pool[0] != '\0')
		run_to_end("/dev/null", argv);
	rmdir(s->mount);
	unlink(s->log);
	forget(s);
}

int server_end(struct server *s)
{
	int result;

	if (s->mount[0] == '\0')
		return 0;
	result = server_stop(s);
	server_discard(s);
	return result;
}

void server_discard_all(void)
{
	for (int i = 0; i < SERVERS_MAX; i++) {
		if (known[i] != NULL)
			server_discard(known[i]);
	}
}

/* ---- a server from outside ------------------------------------------------------------------- */

int64_t server_memory_bytes(const struct server *s)
{
	char path[64], line[256];
	long long kib = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)s->pid);
	f = fopen(path, "r");
	if (f == NULL)
		return -1;
	while (fgets(line, sizeof(line), f) != NULL && sscanf(line, "RssAnon: %lld", &kib) != 1)
		continue;
	fclose(f);
	return kib < 0 ? -1 : kib * 1024;
}

static int pin_thread(pid_t tid, const cpu_set_t *set)
{
	if (sched_setaffinity(tid, sizeof(*set), set) == 0 || errno == ESRCH)
		return 0;
	perror("leasebench: sched_setaffinity");
	return -1;
}

int server_pin(pid_t pid, int cpu, int second_cpu)
{
	struct dirent *entry;
	char path[64];
	int result = 0;
	cpu_set_t set;
	DIR *tasks;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (second_cpu >= 0)
		CPU_SET(second_cpu, &set);
	if (pid == 0)
		return pin_thread(0, &set);
	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	tasks = opendir(path);
	if (tasks == NULL)
		return -1;
	while ((entry = readdir(tasks)) != NULL) {
		if (entry->d_name[0] != '.' && pin_thread(atoi(entry->d_name), &set) != 0)
			result = -1;
	}
	closedir(tasks);
	return result;
}
