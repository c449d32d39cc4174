// SPDX-License-Identifier: BSD-2-Clause
/*
 * tx.c - shadows, and how they become one journal record.
 *
 * Each thread has one struct tx, made with its first transaction and freed with the thread: a
 * mapping that holds the shadows, the bit ranges and the list of writes, of which only what is
 * used ever takes memory. Shadows are found by a small open-addressed table keyed by offset.
 *
 * The record of a full transaction fits JOURNAL_RECORD_MAX of an area of TX_JOURNAL_BYTES: writes
 * are cut into runs only where the gap saves more than the operation's header costs, so an object
 * never takes more than its size and one header.
 *
 * Order at the end of a transaction: the record is committed and applied, then completions run in
 * the order of the calls, all under journal.lock; after an abort they run in reverse order.
 */
#include "tx.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

#include "meta_impl.h"
#include "plant.h"

#define TABLE_SLOTS 512u /* a power of two, at least twice TX_OBJECTS_MAX */
#define ARENA_BYTES (TX_OBJECTS_MAX * BLOCK_SIZE)
/* A gap of equal bytes shorter than this is written along: cheaper than another operation. */
#define GAP_MIN 24u
/* Most runs of one block: one word that differs, then a gap. */
#define RUNS_MAX (BLOCK_SIZE / (GAP_MIN + 8) + 1)
#define WRITES_MAX (TX_OBJECTS_MAX * RUNS_MAX + TX_BITS_MAX)
#define TX_JOURNAL_BYTES (4ull << 20)

static_assert(GAP_MIN > sizeof(struct media_operation), "a cut never makes a record longer");
static_assert(sizeof(struct media_record) +
			      TX_OBJECTS_MAX * (BLOCK_SIZE + sizeof(struct media_operation)) +
			      TX_BITS_MAX * sizeof(struct media_operation) + 64 <=
		      JOURNAL_RECORD_MAX(TX_JOURNAL_BYTES),
	"the record of a full transaction fits");
static_assert(TABLE_SLOTS >= 2 * TX_OBJECTS_MAX && !(TABLE_SLOTS & (TABLE_SLOTS - 1)), "table");
static_assert(INODE_SIZE % 64 == 0 && BLOCK_SIZE % 64 == 0, "objects are compared by lines");
static_assert(TX_OBJECTS_MAX < UINT8_MAX, "a slot holds a shadow's number and none");

struct shadow {
	uint64_t offset;
	uint8_t *copy;
	const uint8_t *home;
	uint32_t magic;
	uint32_t bytes;
};

struct tx {
	struct meta *meta; /* NULL: no transaction under way */
	uint32_t shadow_count;
	uint32_t bits_count;
	uint32_t arena_used;
	uint32_t write_count;
	uint8_t table[TABLE_SLOTS]; /* 0: free, else the shadow's number + 1 */
	struct shadow shadows[TX_OBJECTS_MAX];
	struct tx_bits bits[TX_BITS_MAX];
	struct journal_write writes[WRITES_MAX];
	uint8_t arena[ARENA_BYTES] __attribute__((aligned(BLOCK_SIZE)));
};

static pthread_key_t thread_key;
static pthread_once_t thread_key_once = PTHREAD_ONCE_INIT;
static int thread_key_error;
static __thread struct tx *thread_tx;

static void free_thread_tx(void *tx)
{
	munmap(tx, sizeof(struct tx));
}

static void make_thread_key(void)
{
	thread_key_error = pthread_key_create(&thread_key, free_thread_tx);
}

static int make_thread_tx(void)
{
	void *at;

	pthread_once(&thread_key_once, make_thread_key);
	if (thread_key_error)
		return -ENOMEM;
	at = mmap(NULL, sizeof(struct tx), PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (at == MAP_FAILED)
		return -ENOMEM;
	if (pthread_setspecific(thread_key, at)) {
		munmap(at, sizeof(struct tx));
		return -ENOMEM;
	}
	thread_tx = at;
	return 0;
}

int tx_begin(struct meta *m, struct tx **out)
{
	struct tx *tx = thread_tx;

	if (!tx) {
		int error = make_thread_tx();

		if (error)
			return error;
		tx = thread_tx;
	}
	assert(!tx->meta); /* one at a time */
	tx->meta = m;
	tx->shadow_count = 0;
	tx->bits_count = 0;
	tx->arena_used = 0;
	memset(tx->table, 0, sizeof(tx->table));
	*out = tx;
	return 0;
}

/* ---- shadows --------------------------------------------------------------------------------- */

/* The slot of that object's shadow, or the free one where it would go. */
static uint8_t *find_slot(struct tx *tx, uint64_t offset)
{
	uint32_t slot = (uint32_t)((offset / INODE_SIZE) * 0x9e3779b97f4a7c15ull >> 40);

	for (;; slot++) {
		uint8_t *at = &tx->table[slot % TABLE_SLOTS];

		if (*at == 0 || tx->shadows[*at - 1].offset == offset)
			return at;
	}
}

static int add_shadow(struct tx *tx, uint8_t *slot, uint64_t offset, uint32_t magic,
	const void *home, struct shadow **out)
{
	struct shadow *shadow = &tx->shadows[tx->shadow_count];
	uint32_t bytes = (uint32_t)object_bytes(magic);

	if (tx->shadow_count == TX_OBJECTS_MAX)
		return -E2BIG;
	*shadow = (struct shadow){
		.offset = offset,
		.copy = tx->arena + tx->arena_used,
		.home = home,
		.magic = magic,
		.bytes = bytes,
	};
	tx->arena_used += bytes;
	*slot = (uint8_t)++tx->shadow_count;
	*out = shadow;
	return 0;
}

int tx_view(struct meta *m, struct tx *tx, uint64_t offset, uint32_t magic, const void **out)
{
	if (tx) {
		uint8_t *slot = find_slot(tx, offset);

		assert(tx->meta == m);
		if (*slot) {
			struct shadow *shadow = &tx->shadows[*slot - 1];

			if (shadow->magic != magic)
				return -EUCLEAN;
			*out = shadow->copy;
			return 0;
		}
	}
	return meta_view(m, offset, magic, out);
}

int tx_edit(struct tx *tx, uint64_t offset, uint32_t magic, void **out)
{
	uint8_t *slot = find_slot(tx, offset);
	struct shadow *shadow;
	const void *home;
	int error;

	assert(tx->meta && magic != MAGIC_GROUP);
	if (*slot) {
		shadow = &tx->shadows[*slot - 1];
		if (shadow->magic != magic)
			return -EUCLEAN;
		*out = shadow->copy;
		return 0;
	}
	error = meta_view(tx->meta, offset, magic, &home);
	if (!error)
		error = add_shadow(tx, slot, offset, magic, home, &shadow);
	if (error)
		return error;
	memcpy(shadow->copy, home, shadow->bytes);
	*out = shadow->copy;
	return 0;
}

int tx_create(struct tx *tx, uint64_t offset, uint32_t magic, void **out)
{
	uint8_t *slot = find_slot(tx, offset);
	struct media_head *head;
	struct shadow *shadow;
	const void *home;
	int error;

	assert(tx->meta);
	error = meta_home(tx->meta, offset, magic, &home);
	if (error)
		return error;
	if (*slot) {
		/* Freed and taken again in one transaction. */
		shadow = &tx->shadows[*slot - 1];
		if (shadow->bytes != object_bytes(magic))
			return -EUCLEAN;
		shadow->magic = magic;
	} else {
		error = add_shadow(tx, slot, offset, magic, home, &shadow);
		if (error)
			return error;
	}
	memset(shadow->copy, 0, shadow->bytes);
	head = (struct media_head *)shadow->copy;
	head->magic = magic;
	*out = shadow->copy;
	return 0;
}

int tx_bits(struct tx *tx, const struct tx_bits *bits)
{
	const void *home;
	int error;

	assert(tx->meta && bits->count > 0 && bits->count <= GROUP_BITS &&
		bits->first <= GROUP_BITS - bits->count);
	if (tx->bits_count == TX_BITS_MAX)
		return -E2BIG;
	/* Now, so that the commit cannot fail on it. A bitmap made by this transaction is intact.
	 */
	error = tx_view(tx->meta, tx, bits->bitmap, MAGIC_GROUP, &home);
	if (error)
		return error;
	tx->bits[tx->bits_count++] = *bits;
	return 0;
}

bool tx_has_room(const struct tx *tx)
{
	return tx->shadow_count <= TX_OBJECTS_MAX / 2 && tx->bits_count <= TX_BITS_MAX / 2;
}

/* ---- the end --------------------------------------------------------------------------------- */

static void add_write(struct tx *tx, const struct shadow *shadow, uint32_t from, uint32_t to)
{
	assert(tx->write_count < WRITES_MAX);
	tx->writes[tx->write_count++] = (struct journal_write){
		.operation.offset = shadow->offset + from,
		.operation.kind = RECORD_WRITE,
		.operation.bytes = to - from,
		.bytes = shadow->copy + from,
	};
}

/* Of 64 bytes; without a branch in between, as vectors where the processor has them. */
static bool same_line(const uint64_t *a, const uint64_t *b)
{
	typedef uint64_t pair __attribute__((vector_size(16), aligned(8), may_alias));
	const pair *x = (const pair *)a, *y = (const pair *)b;
	pair differ = (x[0] ^ y[0]) | (x[1] ^ y[1]) | (x[2] ^ y[2]) | (x[3] ^ y[3]);

	return (differ[0] | differ[1]) == 0;
}

/* Words that differ become writes; runs that are closer than GAP_MIN become one. */
static void diff_shadow(struct tx *tx, const struct shadow *shadow)
{
	const uint64_t *copy = (const uint64_t *)(const void *)shadow->copy;
	const uint64_t *home = (const uint64_t *)(const void *)shadow->home;
	uint32_t words = shadow->bytes / 8, from = 0, to = 0; /* run [from, to), in words */

	for (uint32_t line = 0; line < words; line += 8) {
		if (same_line(copy + line, home + line))
			continue;
		for (uint32_t i = line; i < line + 8; i++) {
			if (copy[i] == home[i])
				continue;
			if (to == 0 || i - to >= GAP_MIN / 8) {
				if (to)
					add_write(tx, shadow, from * 8, to * 8);
				from = i;
			}
			to = i + 1;
		}
	}
	if (to)
		add_write(tx, shadow, from * 8, to * 8);
}

static void seal_shadow(struct tx *tx, struct shadow *shadow)
{
	struct media_head *head = (struct media_head *)shadow->copy;

	assert(head->magic == shadow->magic);
	/* What was edited and put back as it was writes nothing. */
	if (memcmp(shadow->copy, shadow->home, shadow->bytes) == 0 && head->checksum)
		return;
	if (planted(PLANT_FIELD_NOT_LOGGED) && shadow->magic == MAGIC_INODE)
		region_apply(meta_region(tx->meta),
			shadow->offset + offsetof(struct media_inode, size),
			shadow->copy + offsetof(struct media_inode, size), sizeof(uint64_t));
	head->checksum = 0;
	head->checksum = object_checksum_unset(shadow->copy, shadow->bytes, shadow->offset);
	diff_shadow(tx, shadow);
}

static void run_completions(void *context, uint64_t position)
{
	struct tx *tx = context;

	for (uint32_t i = 0; i < tx->shadow_count; i++)
		if (tx->shadows[i].magic != MAGIC_INODE)
			meta_set_verified(tx->meta, tx->shadows[i].offset);
	for (uint32_t i = 0; i < tx->bits_count; i++) {
		const struct tx_bits *bits = &tx->bits[i];

		if (bits->done)
			bits->done(bits->context, bits, true, position);
	}
}

void tx_abort(struct tx *tx)
{
	assert(tx->meta);
	for (uint32_t i = tx->bits_count; i > 0; i--) {
		const struct tx_bits *bits = &tx->bits[i - 1];

		if (bits->done)
			bits->done(bits->context, bits, false, 0);
	}
	tx->meta = NULL;
}

int tx_commit(struct tx *tx)
{
	int error;

	assert(tx->meta);
	tx->write_count = 0;
	for (uint32_t i = 0; i < tx->shadow_count; i++)
		seal_shadow(tx, &tx->shadows[i]);
	for (uint32_t i = 0; i < tx->bits_count; i++) {
		const struct tx_bits *bits = &tx->bits[i];

		tx->writes[tx->write_count++] = (struct journal_write){
			.operation.offset = bits->bitmap,
			.operation.kind = bits->set ? RECORD_SET : RECORD_CLEAR,
			.operation.first = (uint16_t)bits->first,
			.operation.bytes = bits->count,
		};
	}
	/* Without a change there is no bit range either, so no completion is left out. */
	if (tx->write_count) {
		error = journal_commit(
			meta_journal(tx->meta), tx->writes, tx->write_count, run_completions, tx);
		if (error) {
			tx_abort(tx);
			return error;
		}
	}
	tx->meta = NULL;
	return 0;
}
