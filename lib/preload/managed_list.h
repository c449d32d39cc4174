/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * managed_list.h - the process's mappings that are managed, by address and by file.
 *
 * All functions may be called from any thread; errno is left as it was, but where it says so.
 */
#ifndef PRELOAD_MANAGED_LIST_H
#define PRELOAD_MANAGED_LIST_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/*
 * A managed mapping instead of mmap(2)'s. NULL: this is no case for one, or it could not be had:
 * then the kernel's is to be made.
 */
void *managed_make(size_t length, int prot, int fd, off_t offset);

/*
 * munmap(2), mremap(2), mprotect(2) or mmap(MAP_FIXED) is about to change [address, + length): a
 * managed mapping that is all in it ends (`all`), others become ordinary ones, which the kernel can
 * change in part.
 */
void managed_give_up(const void *address, size_t length, bool all);

/* Stores in the range, or to the file, are to be durable and seen: 0 or -errno. */
int managed_commit_range(const void *address, size_t length);
int managed_commit_file(int fd);

/* Somebody is to have record locks on the file: its mappings become ordinary, now and for good. */
void managed_note_locks(int fd);

#endif
