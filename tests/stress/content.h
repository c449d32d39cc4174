// SPDX-License-Identifier: BSD-2-Clause
/*
 * content.h - the bytes of a model's file: a sparse array of 4 KiB chunks, what is absent is zero.
 */
#ifndef STRESS_CONTENT_H
#define STRESS_CONTENT_H

#include <stddef.h>
#include <stdint.h>

#define CHUNK_BYTES 4096u

struct chunk {
	uint64_t number;
	uint8_t *bytes;
};

struct content {
	struct chunk *chunks; /* sorted by number */
	size_t count;
	size_t capacity;
};

void content_clear(struct content *c);
void content_write(struct content *c, uint64_t offset, const void *bytes, size_t count);
void content_read(const struct content *c, uint64_t offset, void *out, size_t count);
void content_zero(struct content *c, uint64_t offset, uint64_t count);
/* Index of the first chunk whose number is at least `number`; count if there is none. */
size_t content_from(const struct content *c, uint64_t number);

#endif
