// SPDX-License-Identifier: BSD-2-Clause
/*
 * mapping_calls.h - counts what libleasefs asks of the system: leasebench is linked so that the
 * library's ioctl(2) and mmap(2) pass through here.
 */
#ifndef BENCH_MAPPING_CALLS_H
#define BENCH_MAPPING_CALLS_H

struct mapping_calls {
	unsigned ioctls;
	unsigned maps; /* of files to their place: no address space, no pin lines of a session */
};

struct mapping_calls mapping_calls_now(void);

#endif
