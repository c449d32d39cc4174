// SPDX-License-Identifier: BSD-2-Clause
/*
 * log.h - where the daemon's sentences go: stderr in the foreground, with their level if that is
 * the journal; else syslog, but for warnings and errors until the mount is usable, which are for
 * whoever mounts. Any thread. One line a call, without a newline.
 */
#ifndef FUSE_LOG_LINES_H
#define FUSE_LOG_LINES_H

#include <stdbool.h>

void log_start(const char *program, bool debug, bool foreground);
void log_to_syslog(void); /* once, when the process leaves its terminal */

void log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_warning(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_notice(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
