// SPDX-License-Identifier: BSD-2-Clause
/*
 * machine.h - which boot of the machine this is, and which process a number means.
 *
 * Process numbers are used again; with the time of its start, and the boot, one names one process.
 */
#ifndef FUSE_MACHINE_H
#define FUSE_MACHINE_H

#include <stdint.h>

#define MACHINE_BOOT_BYTES 48u

int machine_boot(char out[MACHINE_BOOT_BYTES]); /* padded with zeroes; -errno */
/* In clock ticks since the boot. -ESRCH. */
int machine_process_start(uint32_t pid, uint64_t *out);
/* A pidfd of the process that has the number and started then. -ESRCH, or another -errno. */
int machine_open_process(uint32_t pid, uint64_t start_time, int *pidfd);

#endif
