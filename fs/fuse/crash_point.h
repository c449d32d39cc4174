// SPDX-License-Identifier: BSD-2-Clause
/*
 * crash_point.h - named places between two steps of the daemon, for tests that kill it there.
 *
 * Nothing in the daemon that is installed: the tests build another one from the same sources with
 * LEASEFS_CRASH_POINTS, whose option crash_at=NAME ends it by SIGKILL the first time that it comes
 * to that point. Each call site names its point by what has just been done; the story that reaches
 * all of them, and what must hold after each, is tests/restart/kill_points.c.
 */
#ifndef FUSE_CRASH_POINT_H
#define FUSE_CRASH_POINT_H

#ifdef LEASEFS_CRASH_POINTS
void crash_point(const char *done);
void crash_point_choose(const char *name); /* copied */
#else
static inline void crash_point(const char *done)
{
}
#endif

#endif
