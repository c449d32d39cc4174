// SPDX-License-Identifier: BSD-2-Clause
/*
 * pin.c - pins that are not inline: of leases without a line of their own, of ranges.
 *
 * A lease that was cut, is managed, or whose session has no pin file, is pinned under its lock: one
 * count in the line of each of its pieces, or, without lines, one pin of the daemon's for each,
 * as long as slow_pins is above zero. All of its pieces are pinned or none.
 *
 * The pin file is mapped in chunks that stay until the session is closed, so that a line's address
 * never changes; a daemon that reclaims the session goes on with the same file.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lfs.h"

/* ---- lines ----------------------------------------------------------------------------------- */

static char *map_chunk(struct leasefs_session *s, unsigned chunk)
{
	int fd = open(s->hello.pin_file, O_RDWR | O_CLOEXEC);
	char *lines;

	if (fd < 0)
		return NULL;
	lines = mmap(NULL, LFS_CHUNK_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		(off_t)chunk * LFS_CHUNK_BYTES);
	close(fd);
	return lines == MAP_FAILED ? NULL : lines;
}

/* NULL: there is none, and pins go by the daemon. */
struct leasefs_pin_line *lfs_line_of(struct leasefs_session *s, uint32_t slot)
{
	uint64_t at = (uint64_t)slot * sizeof(struct leasefs_pin_line);
	unsigned chunk = (unsigned)(at / LFS_CHUNK_BYTES);
	char *lines = NULL;

	if (slot == LEASEFS_NO_SLOT || chunk >= LFS_CHUNKS)
		return NULL;
	pthread_mutex_lock(&s->lock);
	if ((s->hello.features & LEASEFS_FEATURE_SLOT_PINS) &&
		at + sizeof(struct leasefs_pin_line) <= s->pin_file_bytes) {
		if (!s->chunks[chunk])
			s->chunks[chunk] = map_chunk(s, chunk);
		lines = s->chunks[chunk];
	}
	pthread_mutex_unlock(&s->lock);
	return lines ? (struct leasefs_pin_line *)(lines + at % LFS_CHUNK_BYTES) : NULL;
}

void lfs_unmap_lines(struct leasefs_session *s)
{
	struct lfs_old_chunk *old;

	for (unsigned i = 0; i < LFS_CHUNKS; i++)
		if (s->chunks[i])
			munmap(s->chunks[i], LFS_CHUNK_BYTES);
	while ((old = LIST_FIRST(&s->old_chunks))) {
		LIST_REMOVE(old, link);
		munmap(old->lines, LFS_CHUNK_BYTES);
		free(old);
	}
}

/* Another session's file from now on; the chunks of the old one stay where leases point at them. */
void lfs_forget_lines(struct leasefs_session *s, const struct leasefs_hello *hello)
{
	struct lfs_old_chunk *old;

	pthread_mutex_lock(&s->lock);
	for (unsigned i = 0; i < LFS_CHUNKS; i++) {
		if (!s->chunks[i])
			continue;
		old = malloc(sizeof(*old));
		if (old) {
			old->lines = s->chunks[i];
			LIST_INSERT_HEAD(&s->old_chunks, old, link);
		}
		s->chunks[i] = NULL;
	}
	s->hello = *hello;
	s->pin_file_bytes = hello->pin_file_bytes;
	pthread_mutex_unlock(&s->lock);
}

static bool is_counted(const struct leasefs_pin_line *line)
{
	return line && __atomic_load_n(&line->pins, __ATOMIC_SEQ_CST) != 0;
}

bool lfs_is_pinned_locked(const struct leasefs_lease *l)
{
	const struct lfs_piece *p;

	if (l->slow_pins || l->range_pins)
		return true;
	LIST_FOREACH(p, &l->pieces, link)
		if (is_counted(p->line))
			return true;
	return false;
}

/* ---- pins of the whole ----------------------------------------------------------------------- */

static void unpin_piece(struct leasefs_session *s, struct lfs_piece *p)
{
	struct leasefs_unpinned told = {.lease = p->id};
	struct leasefs_unpin unpin = {.pin = p->slow_pin};

	if (!p->line) {
		(void)lfs_call(s, LEASEFS_IOC_UNPIN, &unpin);
		p->slow_pin = 0;
	} else if (!__atomic_sub_fetch(&p->line->pins, 1, __ATOMIC_SEQ_CST) &&
		   __atomic_load_n(&p->line->recall, __ATOMIC_SEQ_CST)) {
		(void)lfs_call(s, LEASEFS_IOC_UNPINNED, &told);
	}
}

static int pin_piece(struct leasefs_session *s, struct lfs_piece *p)
{
	struct leasefs_pin pin = {.lease = p->id, .offset = p->offset, .length = p->length};
	int error;

	if (!p->line) {
		error = lfs_call(s, LEASEFS_IOC_PIN, &pin);
		if (!error)
			p->slow_pin = pin.pin;
		return error == -ENOENT ? -EAGAIN : error;
	}
	__atomic_add_fetch(&p->line->pins, 1, __ATOMIC_SEQ_CST);
	if (!__atomic_load_n(&p->line->recall, __ATOMIC_SEQ_CST))
		return 0;
	unpin_piece(s, p);
	return -EAGAIN;
}

/* The pieces before `end` in the list; NULL: all. */
static void unpin_pieces_locked(struct leasefs_lease *l, const struct lfs_piece *end)
{
	struct lfs_piece *p;

	for (p = LIST_FIRST(&l->pieces); p != end; p = LIST_NEXT(p, link))
		if (!p->coming)
			unpin_piece(l->session, p);
}

/* Of a managed lease all is direct, but for what lies past the end of file. */
static bool is_whole_locked(struct leasefs_lease *l)
{
	uint64_t at = l->offset;
	const struct lfs_piece *p;

	while ((p = lfs_next_piece_locked(l, at))) {
		if (p->offset > at)
			return false;
		at = p->offset + p->length;
	}
	return at > l->offset;
}

static int pin_pieces_locked(struct leasefs_lease *l)
{
	struct lfs_piece *p;
	int error = LIST_EMPTY(&l->pieces) || (l->managed && !is_whole_locked(l)) ? -EAGAIN : 0;

	if (error)
		return error;

	LIST_FOREACH(p, &l->pieces, link) {
		error = p->ghost || p->recalled || p->coming ? -EAGAIN : pin_piece(l->session, p);
		if (error) {
			unpin_pieces_locked(l, p);
			break;
		}
	}
	return error;
}

void lfs_inherit_pins_locked(struct leasefs_lease *l, struct lfs_piece *p)
{
	/* Nobody has seen the piece yet: it cannot be recalled in a way that matters. */
	if (l->slow_pins && pin_piece(l->session, p) && p->line)
		__atomic_add_fetch(&p->line->pins, 1, __ATOMIC_SEQ_CST);
}

int leasefs_pin_slowly(struct leasefs_lease *lease)
{
	int error = lfs_check_session(lease->session);

	if (error)
		return error;
	do {
		pthread_mutex_lock(&lease->lock);
		error = 0;
		if (!lease->managed && lease->head.line && !lease->head.slowly)
			error = -EAGAIN; /* the line itself said so: it is recalled */
		else if (!lease->slow_pins)
			error = pin_pieces_locked(lease);
		if (!error)
			lease->slow_pins++;
		pthread_mutex_unlock(&lease->lock);
	} while (error == -ENOTCONN && !lfs_await_daemon(lease->session));
	return error;
}

int leasefs_tell_unpinned(struct leasefs_lease *lease)
{
	struct lfs_piece *p;
	int error = lfs_check_session(lease->session);

	if (error)
		return error;
	pthread_mutex_lock(&lease->lock);
	LIST_FOREACH(p, &lease->pieces, link) {
		struct leasefs_unpinned told = {.lease = p->id};

		if (p->line && p->line == lease->head.line)
			error = lfs_call(lease->session, LEASEFS_IOC_UNPINNED, &told);
	}
	pthread_mutex_unlock(&lease->lock);
	/* A daemon that is not there, or has no such lease any more, does not wait for it. */
	return error == -ENOENT || error == -ENOTCONN ? 0 : error;
}

/* The last one of a managed lease: what was recalled meanwhile is given back by the thread. */
static void let_go_locked(struct leasefs_lease *l)
{
	if (l->managed && !l->slow_pins && !l->range_pins)
		lfs_wake(l->session);
}

int leasefs_unpin_slowly(struct leasefs_lease *lease)
{
	struct leasefs_pin_line *line = NULL;
	int error = lfs_check_session(lease->session);

	if (error)
		return error;
	pthread_mutex_lock(&lease->lock);
	if (lease->slow_pins) {
		if (--lease->slow_pins == 0)
			unpin_pieces_locked(lease, NULL);
		let_go_locked(lease);
	} else if (is_counted(lease->head.line)) {
		line = lease->head.line; /* counted inline; a return was being tried meanwhile */
	} else {
		error = -EINVAL;
	}
	pthread_mutex_unlock(&lease->lock);
	if (line && !__atomic_sub_fetch(&line->pins, 1, __ATOMIC_SEQ_CST) &&
		__atomic_load_n(&line->recall, __ATOMIC_SEQ_CST))
		error = leasefs_tell_unpinned(lease);
	return error;
}

/* ---- pins of ranges -------------------------------------------------------------------------- */

int leasefs_pin_range(struct leasefs_lease *lease, uint64_t offset, uint64_t length, unsigned flags,
	uint64_t *pin)
{
	struct leasefs_pin p = {.offset = offset, .length = length, .flags = flags};
	int error = lfs_check_session(lease->session);
	struct lfs_piece *piece;

	if (!error && (flags & ~LEASEFS_PIN_UNBREAKABLE))
		error = -EINVAL;
	if (offset == 0 && length == 0) {
		p.offset = lease->offset;
		p.length = lease->length;
	}
	if (!error && (p.length == 0 || p.offset < lease->offset ||
			      p.offset - lease->offset >= lease->length ||
			      p.length > lease->length - (p.offset - lease->offset)))
		error = -EINVAL;
	if (error)
		return error;
	do {
		pthread_mutex_lock(&lease->lock);
		piece = lfs_piece_at_locked(lease, p.offset);
		error = -EAGAIN;
		if (piece && !piece->recalled && !piece->coming) {
			p.lease = piece->id;
			error = lfs_call(lease->session, LEASEFS_IOC_PIN, &p);
		} else if (!piece && !lease->managed) {
			error = -ENOENT;
		}
		if (!error)
			lease->range_pins++;
		pthread_mutex_unlock(&lease->lock);
	} while (error == -ENOTCONN && !lfs_await_daemon(lease->session));
	if (!error)
		*pin = p.pin;
	return error;
}

int leasefs_unpin_range(struct leasefs_lease *lease, uint64_t pin)
{
	struct leasefs_unpin unpin = {.pin = pin};
	int error = lfs_check_session(lease->session);

	if (error)
		return error;
	do {
		pthread_mutex_lock(&lease->lock);
		error = lfs_call(lease->session, LEASEFS_IOC_UNPIN, &unpin);
		if (!error && lease->range_pins)
			lease->range_pins--;
		let_go_locked(lease);
		pthread_mutex_unlock(&lease->lock);
	} while (error == -ENOTCONN && !lfs_await_daemon(lease->session));
	return error;
}
