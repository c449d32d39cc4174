// SPDX-License-Identifier: BSD-2-Clause
/*
 * mapped_file.h - words of a file that somebody else may cut short, or that its filesystem may have
 * no space for, through a mapping: an access that would be SIGBUS fails.
 *
 * A system call for each of them would take longer than most of what is done with them. What fails
 * here is to be done with pread(2) or pwrite(2), which say why it cannot be. After one failure the
 * mapping is *lost*: everything fails from then on.
 *
 * Whatever is stored here is in the file at once for every process, in the order of the calls, and
 * stays there if this process is killed. Bytes past the end of the file, but in its last page, read
 * as zeroes.
 *
 * Threads: the caller serialises all calls on one file.
 */
#ifndef FUSE_MAPPED_FILE_H
#define FUSE_MAPPED_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mapped_file {
	uint8_t *at; /* NULL: not mapped, and everything fails */
	size_t bytes;
	volatile bool lost;
};

/* The first `bytes` of it, at least as many as before. If it cannot be mapped it stays as it is. */
void mapped_file_map(struct mapped_file *f, int fd, size_t bytes);
void mapped_file_unmap(struct mapped_file *f);

/* False: nothing may have been done. `offset` is aligned to the word. */
bool mapped_file_load32(struct mapped_file *f, size_t offset, uint32_t *out);
bool mapped_file_store32(struct mapped_file *f, size_t offset, uint32_t word);
bool mapped_file_store64(struct mapped_file *f, size_t offset, uint64_t word);
bool mapped_file_copy(struct mapped_file *f, size_t offset, const void *bytes, size_t count);

#endif
