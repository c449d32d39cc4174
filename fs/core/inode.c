// SPDX-License-Identifier: BSD-2-Clause
/*
 * inode.c - the inode cache: handles, their counts, their locks.
 *
 * A hash table in SHARDS parts, each with a lock and buckets of its own that double when there is
 * more than one entry a bucket. Entries are found by number; at most one entry of a number is not
 * dying. (A dying one may meet its number's next life: the number is free on media a moment before
 * the entry goes.)
 *
 * A record that is not in the cache is read under the shard's lock: nobody changes it then
 * (inode.h, invariant 4), and nobody else can bring it in meanwhile.
 */
#include "inode.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "extent.h"
#include "pool.h"

#define SHARDS 64u /* enough that threads seldom meet on one; a power of two */
#define SHARD_SHIFT 58
#define BUCKETS_FIRST 64u

struct shard {
	_Alignas(64) pthread_mutex_t lock;
	pthread_cond_t died; /* a dying entry has gone */
	/* Guarded by lock. */
	struct inode **buckets;
	uint64_t mask;
	uint64_t entries;
};

struct icache {
	struct shard shards[SHARDS];
};

static uint64_t hash_ino(uint64_t ino)
{
	return ino * 0x9e3779b97f4a7c15ull;
}

static struct shard *shard_of(struct core *c, uint64_t ino)
{
	return &c->icache->shards[hash_ino(ino) >> SHARD_SHIFT];
}

static void shard_lock(struct shard *s)
{
	int error = pthread_mutex_lock(&s->lock);

	assert(!error);
	(void)error;
}

static void shard_unlock(struct shard *s)
{
	int error = pthread_mutex_unlock(&s->lock);

	assert(!error);
	(void)error;
}

static struct inode **bucket_of(const struct shard *s, uint64_t ino)
{
	return &s->buckets[(hash_ino(ino) >> 16) & s->mask];
}

int icache_open(struct core *c, struct icache **out)
{
	struct icache *cache = aligned_alloc(64, sizeof(*cache));
	unsigned i;

	if (!cache)
		return -ENOMEM;
	memset(cache, 0, sizeof(*cache));
	for (i = 0; i < SHARDS; i++) {
		struct shard *s = &cache->shards[i];

		s->buckets = calloc(BUCKETS_FIRST, sizeof(*s->buckets));
		if (!s->buckets || pthread_mutex_init(&s->lock, NULL)) {
			free(s->buckets);
			goto undo;
		}
		if (pthread_cond_init(&s->died, NULL)) {
			pthread_mutex_destroy(&s->lock);
			free(s->buckets);
			goto undo;
		}
		s->mask = BUCKETS_FIRST - 1;
	}
	*out = cache;
	return 0;
undo:
	while (i--) {
		pthread_cond_destroy(&cache->shards[i].died);
		pthread_mutex_destroy(&cache->shards[i].lock);
		free(cache->shards[i].buckets);
	}
	free(cache);
	return -ENOMEM;
}

static void inode_destroy(struct inode *ip)
{
	int error = pthread_rwlock_destroy(&ip->lock);

	assert(!error);
	(void)error;
	free(ip);
}

void icache_close(struct icache *cache)
{
	if (!cache)
		return;
	for (unsigned i = 0; i < SHARDS; i++) {
		struct shard *s = &cache->shards[i];

		for (uint64_t b = 0; b <= s->mask; b++) {
			struct inode *ip = s->buckets[b], *next;

			for (; ip; ip = next) {
				next = ip->next;
				inode_destroy(ip);
			}
		}
		pthread_cond_destroy(&s->died);
		pthread_mutex_destroy(&s->lock);
		free(s->buckets);
	}
	free(cache);
}

uint64_t icache_entries(struct icache *cache)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < SHARDS; i++) {
		shard_lock(&cache->shards[i]);
		n += cache->shards[i].entries;
		shard_unlock(&cache->shards[i]);
	}
	return n;
}

/* Without the memory for a larger table it stays as it is, and chains grow. */
static void grow_locked(struct shard *s)
{
	uint64_t old = s->mask + 1;
	struct inode **from = s->buckets;
	struct inode **to = calloc(old * 2, sizeof(*to));

	if (!to)
		return;
	s->buckets = to;
	s->mask = old * 2 - 1;
	for (uint64_t b = 0; b < old; b++) {
		struct inode *ip = from[b], *next;

		for (; ip; ip = next) {
			struct inode **head = bucket_of(s, ip->ino);

			next = ip->next;
			ip->next = *head;
			*head = ip;
		}
	}
	free(from);
}

static void insert_locked(struct shard *s, struct inode *ip)
{
	struct inode **head;

	if (s->entries > s->mask)
		grow_locked(s);
	head = bucket_of(s, ip->ino);
	ip->next = *head;
	*head = ip;
	ip->hashed = true;
	s->entries++;
}

static void remove_locked(struct shard *s, struct inode *ip)
{
	struct inode **at;

	if (!ip->hashed)
		return;
	for (at = bucket_of(s, ip->ino); *at != ip; at = &(*at)->next)
		assert(*at);
	*at = ip->next;
	ip->hashed = false;
	s->entries--;
}

/* -ENOENT: not in the cache; -ESTALE: dying. Counted. */
static int find_locked(struct shard *s, uint64_t ino, struct inode **out)
{
	int result = -ENOENT;

	for (struct inode *ip = *bucket_of(s, ino); ip; ip = ip->next) {
		if (ip->ino != ino)
			continue;
		if (ip->dying) {
			result = -ESTALE;
			continue;
		}
		ip->count++;
		*out = ip;
		return 0;
	}
	return result;
}

/*
 * The same, but waits until a dying entry has gone: its number may have begun its next life by
 * then, which is not stale. Who ends it needs no lock that the caller may have.
 */
static int find_wait_locked(struct shard *s, uint64_t ino, struct inode **out)
{
	int result;

	while ((result = find_locked(s, ino, out)) == -ESTALE) {
		int error = pthread_cond_wait(&s->died, &s->lock);

		assert(!error);
		(void)error;
	}
	return result;
}

static int locate(struct core *c, uint64_t ino, uint64_t *record)
{
	struct media_group g;

	if (ino == 0 || ino / INODES_PER_GROUP > UINT32_MAX)
		return -ESTALE;
	if (space_group(c->inodes, (uint32_t)(ino / INODES_PER_GROUP), &g) ||
		ino % INODES_PER_GROUP >= g.units)
		return -ESTALE;
	*record = g.table + ino % INODES_PER_GROUP * INODE_SIZE;
	return 0;
}

static struct inode *inode_new(uint64_t ino, uint64_t record, uint32_t generation)
{
	struct inode *ip = calloc(1, sizeof(*ip));
	pthread_rwlockattr_t attr;

	if (!ip)
		return NULL;
	pthread_rwlockattr_init(&attr);
	/* A stream of readers must not keep a writer out; nobody reads twice at once. */
	pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	if (pthread_rwlock_init(&ip->lock, &attr)) {
		free(ip);
		return NULL;
	}
	pthread_rwlockattr_destroy(&attr);
	ip->ino = ino;
	ip->record = record;
	ip->generation = generation;
	ip->goal = SPACE_ANYWHERE;
	ip->count = 1;
	return ip;
}

/* What every reader of the record relies on, beyond its checksum. */
static int check_record(const struct media_inode *m, uint64_t ino)
{
	bool payload;

	if (m->ino != ino)
		return -EUCLEAN;
	switch (m->mode & S_IFMT) {
	case S_IFREG:
		payload = m->payload == PAYLOAD_TREE ||
			  (m->payload == PAYLOAD_INLINE && m->payload_count <= INODE_EXTENTS);
		break;
	case S_IFDIR:
		payload = m->payload == PAYLOAD_TREE;
		break;
	case S_IFLNK:
		payload = m->payload == PAYLOAD_TREE ||
			  (m->payload == PAYLOAD_SYMLINK && m->payload_count <= SYMLINK_INLINE_MAX);
		break;
	case S_IFIFO:
	case S_IFSOCK:
	case S_IFCHR:
	case S_IFBLK:
		payload = m->payload == PAYLOAD_NONE;
		break;
	default:
		return -EUCLEAN;
	}
	if (!payload || m->trim_start > m->trim_end || m->trim_end > FILE_BLOCKS_MAX)
		return -EUCLEAN;
	if (!S_ISREG(m->mode) && m->trim_start != m->trim_end)
		return -EUCLEAN;
	if (S_ISREG(m->mode) && m->size > FILE_BYTES_MAX)
		return -EUCLEAN;
	return 0;
}

static int load_locked(struct core *c, struct shard *s, uint64_t ino, uint64_t record, bool orphans,
	struct inode **out)
{
	const struct media_inode *m;
	struct inode *ip;
	const void *view;
	int error;

	error = meta_verify(c->meta, record, MAGIC_INODE);
	if (!error)
		error = tx_view(c->meta, NULL, record, MAGIC_INODE, &view);
	if (error)
		return error;
	m = view;
	if (m->mode == 0 || (m->nlink == 0 && !orphans))
		return -ESTALE;
	error = check_record(m, ino);
	if (error)
		return error;
	ip = inode_new(ino, record, m->generation);
	if (!ip)
		return -ENOMEM;
	ip->orphan = m->nlink == 0;
	insert_locked(s, ip);
	*out = ip;
	return 0;
}

static int get(struct core *c, uint64_t ino, bool orphans, struct inode **out)
{
	struct shard *s = shard_of(c, ino);
	uint64_t record;
	bool used;
	int error;

	for (;;) {
		shard_lock(s);
		error = find_wait_locked(s, ino, out);
		shard_unlock(s);
		if (error != -ENOENT)
			return error;
		error = locate(c, ino, &record);
		if (error)
			return error;
		/* A number that was never in use has no record yet: what stands there means
		 * nothing. */
		error = space_test(c->inodes, ino, &used);
		if (error)
			return error == -ENOENT ? -ESTALE : error;
		if (!used)
			return -ESTALE;
		shard_lock(s);
		error = find_locked(s, ino, out);
		if (error == -ENOENT)
			error = load_locked(c, s, ino, record, orphans, out);
		else if (error == -ESTALE)
			error = -EAGAIN; /* came and went meanwhile */
		shard_unlock(s);
		if (error != -EAGAIN)
			return error;
	}
}

int inode_get(struct core *c, uint64_t ino, struct inode **out)
{
	return get(c, ino, false, out);
}

int inode_get_orphan(struct core *c, uint64_t ino, struct inode **out)
{
	return get(c, ino, true, out);
}

void inode_hold(struct core *c, struct inode *ip, uint64_t n)
{
	struct shard *s = shard_of(c, ip->ino);

	shard_lock(s);
	assert(ip->count > 0 && ip->count + n >= n);
	ip->count += n;
	shard_unlock(s);
}

/* The last count went and nobody holds it: does the committed record have no links left? */
static bool is_orphan_locked(struct core *c, const struct inode *ip)
{
	const struct media_inode *m;

	if (!ip->orphan || !ip->hashed || c->options.read_only)
		return false;
	return inode_view(c, NULL, ip, &m) == 0 && m->mode != 0 && m->nlink == 0;
}

void inode_put(struct core *c, struct inode *ip, uint64_t n)
{
	struct shard *s = shard_of(c, ip->ino);

	shard_lock(s);
	assert(ip->count >= n);
	ip->count -= n;
	if (ip->count > 0) {
		shard_unlock(s);
		return;
	}
	if (is_orphan_locked(c, ip)) {
		ip->dying = true;
		shard_unlock(s);
		/* What could not be freed stays an orphan on media, for recovery. */
		(void)inode_free(c, ip);
		shard_lock(s);
		pthread_cond_broadcast(&s->died);
	}
	remove_locked(s, ip);
	shard_unlock(s);
	inode_destroy(ip);
}

void inode_discard(struct core *c, struct inode *ip)
{
	struct shard *s = shard_of(c, ip->ino);
	bool last;

	shard_lock(s);
	assert(ip->count > 0);
	remove_locked(s, ip);
	last = --ip->count == 0;
	shard_unlock(s);
	if (last)
		inode_destroy(ip);
}

/* ---- locks ----------------------------------------------------------------------------------- */

void inode_lock_read(struct inode *ip)
{
	int error = pthread_rwlock_rdlock(&ip->lock);

	assert(!error);
	(void)error;
}

void inode_lock_write(struct inode *ip)
{
	int error = pthread_rwlock_wrlock(&ip->lock);

	assert(!error);
	(void)error;
}

void inode_unlock(struct inode *ip)
{
	int error = pthread_rwlock_unlock(&ip->lock);

	assert(!error);
	(void)error;
}

void inode_lock_many(struct inode **inodes, int count)
{
	for (int i = 1; i < count; i++) {
		struct inode *ip = inodes[i];
		int at = i;

		/* NULLs go last. */
		for (; at > 0 && ip && (!inodes[at - 1] || inodes[at - 1]->ino > ip->ino); at--)
			inodes[at] = inodes[at - 1];
		inodes[at] = ip;
	}
	for (int i = 0; i < count; i++)
		if (inodes[i] && (i == 0 || inodes[i] != inodes[i - 1]))
			inode_lock_write(inodes[i]);
}

void inode_unlock_many(struct inode **inodes, int count)
{
	for (int i = count - 1; i >= 0; i--)
		if (inodes[i] && (i == 0 || inodes[i] != inodes[i - 1]))
			inode_unlock(inodes[i]);
}

/* ---- the record ------------------------------------------------------------------------------ */

int inode_view(
	struct core *c, struct tx *tx, const struct inode *ip, const struct media_inode **out)
{
	const void *view;
	int error = tx_view(c->meta, tx, ip->record, MAGIC_INODE, &view);

	if (error)
		return error;
	*out = view;
	return 0;
}

int inode_edit(struct core *c, struct tx *tx, const struct inode *ip, struct media_inode **out)
{
	void *shadow;
	int error = tx_edit(tx, ip->record, MAGIC_INODE, &shadow);

	if (error)
		return error;
	*out = shadow;
	return 0;
}

struct btree inode_tree(struct core *c, const struct inode *ip)
{
	return (struct btree){.meta = c->meta, .heap = c->heap, .owner = ip->ino};
}

/* A new inode enters the cache before its transaction commits: see inode_alloc(). */
int icache_add(struct core *c, uint64_t ino, uint32_t generation, bool orphan, struct inode **out)
{
	struct shard *s = shard_of(c, ino);
	struct inode *ip;
	uint64_t record;
	int error;

	error = locate(c, ino, &record);
	if (error)
		return -EUCLEAN;
	ip = inode_new(ino, record, generation);
	if (!ip)
		return -ENOMEM;
	ip->orphan = orphan;
	shard_lock(s);
	insert_locked(s, ip);
	shard_unlock(s);
	*out = ip;
	return 0;
}

/* ---- for the layers above -------------------------------------------------------------------- */

int core_get(struct core *c, uint64_t ino, struct inode **out)
{
	return inode_get(c, ino, out);
}

void core_hold_inode(struct core *c, struct inode *ip, uint64_t n)
{
	inode_hold(c, ip, n);
}

void core_put(struct core *c, struct inode *ip, uint64_t n)
{
	inode_put(c, ip, n);
}

uint64_t core_ino(const struct inode *ip)
{
	return ip->ino;
}

_Atomic uint64_t *core_inode_word(struct inode *ip)
{
	return &ip->word;
}

uint32_t core_generation(const struct inode *ip)
{
	return ip->generation;
}
