// SPDX-License-Identifier: BSD-2-Clause
/*
 * log.c - the daemon's log. Also takes over what libfuse has to say.
 *
 * In the foreground a line to the journal, where standard error is its stream, begins with its
 * level, as sd-daemon(3) has it.
 *
 * The state changes only while the process has one thread (log_start) and once before the terminal
 * is let go of (log_to_syslog); readers need no lock.
 */
#include "log.h"

#include <fuse_log.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

static const char *log_program = "leasefs";
static atomic_bool log_detached;
static bool log_foreground = true;
static bool log_journal;
static bool log_debugging;

static void log_line(int priority, const char *format, va_list arguments)
{
	char line[1024];
	int length = vsnprintf(line, sizeof(line), format, arguments);

	if (length < 0)
		return;
	/* libfuse ends its lines by itself. */
	line[strcspn(line, "\n")] = '\0';
	if (line[0] == '\0')
		return;
	if (!log_foreground && (priority >= LOG_NOTICE ||
				       atomic_load_explicit(&log_detached, memory_order_relaxed)))
		syslog(priority, "%s", line);
	else if (log_journal)
		fprintf(stderr, "<%d>%s\n", priority, line); /* it adds the program itself */
	else
		fprintf(stderr, "%s: %s\n", log_program, line);
}

static void log_fuse(enum fuse_log_level level, const char *format, va_list arguments)
{
	log_line((int)level, format, arguments); /* the levels are syslog's */
}

/* systemd.exec(5): JOURNAL_STREAM is the device and inode of the journal's end of a stream. */
static bool stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long device, inode;
	struct stat st;

	return stream != NULL && sscanf(stream, "%llu:%llu", &device, &inode) == 2 &&
	       fstat(STDERR_FILENO, &st) == 0 && st.st_dev == device && st.st_ino == inode;
}

void log_start(const char *program, bool debug, bool foreground)
{
	log_program = program;
	log_debugging = debug;
	log_foreground = foreground;
	log_journal = stderr_is_journal();
	if (!foreground)
		openlog(program, LOG_PID, LOG_DAEMON);
	fuse_set_log_func(log_fuse);
}

void log_to_syslog(void)
{
	atomic_store(&log_detached, true);
}

#define LOG_FUNCTION(name, priority)                                                               \
	void name(const char *format, ...)                                                         \
	{                                                                                          \
		va_list arguments;                                                                 \
		va_start(arguments, format);                                                       \
		log_line(priority, format, arguments);                                             \
		va_end(arguments);                                                                 \
	}

LOG_FUNCTION(log_error, LOG_ERR)
LOG_FUNCTION(log_warning, LOG_WARNING)
LOG_FUNCTION(log_notice, LOG_NOTICE)

void log_debug(const char *format, ...)
{
	va_list arguments;

	if (!log_debugging)
		return;
	va_start(arguments, format);
	log_line(LOG_DEBUG, format, arguments);
	va_end(arguments);
}
