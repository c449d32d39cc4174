/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * wire.h - the kernel's side of a FUSE connection, in the daemon's own process.
 *
 * The daemon's session runs in a thread and serves one end of a socket pair as it would serve
 * /dev/fuse; requests are written to the other end. So the whole daemon is under the fuzzer's eyes,
 * no mount is needed, and nothing that a request does can hang a process of this machine.
 *
 * One thread uses these functions. Requests are well formed, as the kernel's are: what a hostile
 * process can choose is in their fields.
 */
#ifndef TESTS_FUZZ_WIRE_H
#define TESTS_FUZZ_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WIRE_REPLY_BYTES 8192u /* of a reply's body, that is kept */

struct wire_reply {
	int error; /* 0 or -errno */
	size_t bytes;
	uint8_t body[WIRE_REPLY_BYTES];
};

/* Makes a pool and starts the daemon on it, with that mount option list. */
void wire_start(const char *options);
const char *wire_pool(void);

void wire_as(uint32_t uid); /* who asks from now on */

/*
 * Sends a request of two parts and waits for its answer. `parked_ok`: it may be one that waits for
 * others; then it is left alone, and answered some time: wire_settle().
 */
void wire_call(uint32_t opcode, uint64_t node, const void *head, size_t head_bytes,
	const void *tail, size_t tail_bytes, struct wire_reply *reply);
void wire_post(uint32_t opcode, uint64_t node, const void *head, size_t head_bytes,
	const void *tail, size_t tail_bytes);
void wire_interrupt(void); /* the request that was posted last */
/* Interrupts what is posted and not answered, and waits for the answers; false: one never came. */
bool wire_settle(unsigned milliseconds);
void wire_forget(uint64_t node, uint64_t count);

#endif
