// SPDX-License-Identifier: BSD-2-Clause
/*
 * main.c - leasefs POOL MOUNTPOINT: the command.
 *
 * In the background the child serves and the parent waits for one byte from it: the exit status,
 * sent when the mount is usable or cannot be. Until then the child keeps the terminal, so that what
 * is wrong is said there; a child that dies without a byte is an error too.
 *
 * Exit status: 0 mounted (in the foreground: unmounted cleanly), 1 not, 2 the command line is
 * wrong.
 */
#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "log.h"
#include "mountpoint.h"
#include "options.h"
#include "process.h"
#include "session.h"
#include "supervisor.h"

#define EXIT_USAGE 2

struct parent {
	int fd; /* -1: none waits */
};

struct process {
	struct options options;
	struct parent parent;
	struct supervisor supervisor;
};

static void tell_parent(struct parent *p, int status)
{
	char byte = (char)status;

	if (p->fd < 0)
		return;
	/* A parent that is gone needs no answer. */
	(void)!write(p->fd, &byte, 1);
	close(p->fd);
	p->fd = -1;
}

static void leave_terminal(struct parent *p)
{
	if (p->fd < 0)
		return;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	log_to_syslog();
	tell_parent(p, EXIT_SUCCESS);
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
		if (null >= 0)
			dup2(null, fd);
		else
			close(fd);
	}
	if (null > STDERR_FILENO)
		close(null);
}

static void is_usable(void *context)
{
	struct process *p = context;

	leave_terminal(&p->parent);
	supervisor_ready(&p->supervisor, p->options.pool_path, p->options.mountpoint);
}

static void is_ending(void *context)
{
	struct process *p = context;

	supervisor_stopping(&p->supervisor);
}

/*
 * The kernel knows nothing of the new root but that it is a directory, and takes it for root's
 * until somebody asks: a chmod by its owner would fail. (Not the daemon: see mountpoint.h.)
 */
static void ask_for_root(const char *mountpoint)
{
	struct stat st;

	(void)!stat(mountpoint, &st);
}

static int wait_for_child(int fd, pid_t child, const char *mountpoint)
{
	char byte;
	ssize_t n;
	int status;

	do {
		n = read(fd, &byte, 1);
	} while (n < 0 && errno == EINTR);
	if (n == 1 && byte == EXIT_SUCCESS)
		ask_for_root(mountpoint);
	if (n == 1)
		return byte;
	if (waitpid(child, &status, 0) == child && WIFSIGNALED(status))
		log_error("the daemon died of signal %d (%s)", WTERMSIG(status),
			strsignal(WTERMSIG(status)));
	else
		log_error("the daemon ended before the mount was usable");
	return EXIT_FAILURE;
}

/* In the child: 0, with p->fd set. In the parent: does not return. */
static int go_background(struct parent *p, const char *mountpoint)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) != 0)
		return -errno;
	pid_t child = fork();
	if (child < 0)
		return -errno;
	if (child > 0) {
		close(ends[1]);
		_exit(wait_for_child(ends[0], child, mountpoint));
	}
	close(ends[0]);
	p->fd = ends[1];
	if (setsid() < 0 || chdir("/") != 0)
		return -errno;
	return 0;
}

/* Mounts and serves. 0 or an errno with its sentence, as session_run(). */
static int serve(struct process *p, struct diag *d)
{
	const struct session_hooks hooks = {.usable = is_usable, .ending = is_ending, .context = p};
	int result = mountpoint_check(&p->options, d);

	if (result == 0 && !p->options.foreground) {
		result = go_background(&p->parent, p->options.mountpoint);
		if (result != 0)
			diag_set(d, result, "cannot go to the background: %s", strerror(-result));
	}
	if (result == 0)
		result = session_run(&p->options, &hooks, d);
	return result;
}

/*
 * glibc gives each new thread a heap of its own, up to eight a processor, and each keeps the most
 * that it ever had to hold. More of them than threads can run at once save no waiting.
 */
static void limit_heaps(void)
{
#ifdef M_ARENA_MAX
	long processors = sysconf(_SC_NPROCESSORS_ONLN);

	(void)mallopt(M_ARENA_MAX, processors > 1 ? (int)processors : 1);
#endif
}

/* What to do about it, where the sentence itself does not say. */
static void log_advice(const struct options *o, int error)
{
	if (error == -EUCLEAN)
		log_error("'fsck.leasefs -n %s' says what is damaged, -y repairs it", o->pool);
	else if (error == -EROFS && !o->read_only)
		log_error("where nothing can be written, -o ro mounts it to be read");
	else if (error == -EBUSY)
		log_error("'leasectl %s status' tells more; a pool has one mount", o->pool);
}

int main(int argc, char **argv)
{
	struct process p = {.parent.fd = -1};
	struct diag d = {.text = ""};
	int result;

	if (process_begin() != 0)
		return EXIT_FAILURE; /* there is nothing to say it on */
	limit_heaps();
	result = options_parse(&p.options, argc, argv, &d);
	log_start("leasefs", p.options.debug, p.options.foreground);
	if (result != 0) {
		log_error("%s", d.text);
		options_free(&p.options);
		return EXIT_USAGE;
	}
	if (p.options.help || p.options.version) {
		if (p.options.help)
			options_print_help(stdout, argv[0]);
		else
			printf("leasefs %s, libfuse %s\n", LEASEFS_VERSION, fuse_pkgversion());
		options_free(&p.options);
		return EXIT_SUCCESS;
	}
	supervisor_find(&p.supervisor);
	result = serve(&p, &d);
	if (result != 0) {
		log_error("%s", d.text);
		log_advice(&p.options, result);
	}
	int status = result == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
	tell_parent(&p.parent, status);
	supervisor_close(&p.supervisor);
	options_free(&p.options);
	return status;
}
