// SPDX-License-Identifier: BSD-2-Clause
/*
 * test_crash_file.c - operations on files, cut off at any store to metadata or data, and recovered.
 *
 * A run makes, writes, cuts, punches, allocates and removes a few files of a whole pool, while the
 * recorder sees both regions. Then a power cut is tried at points of the trace, as machine.h
 * has it. The pool must open, the checker must find nothing, and:
 *   - a file that no operation was changing is, byte for byte, what it was acknowledged as;
 *   - one that was being changed has the size of before or after, and each byte is what it was
 *     before or what it was to be: so no byte of another file, or of an earlier life of the block.
 *
 * A run whose data is not flushed before the commit must be found out.
 */
#include "scratch_pool.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "machine.h"
#include "scratch.h"
#include "verify.h"

#define MIB (1ull << 20)
#define FILES 3u
#define FILE_MAX (96u * 1024)
#define OPERATIONS 120u
/* About so many crashes are tried, of some thousands that could be; the second argument. */
static unsigned crashes = 30;

struct file {
	bool there;
	uint64_t size;
	uint8_t bytes[FILE_MAX];
};

struct world {
	struct scratch_pool pool;
	struct inode *root;
	struct inode *handles[FILES];
	struct file files[OPERATIONS + 1][FILES]; /* after each operation */
	unsigned changed[OPERATIONS + 1];         /* the file that it changes */
};

enum { META, DATA, REGIONS };

struct event {
	int region; /* REGIONS: a mark */
	struct trace_event event;
};
#define MARK_BEGIN 1u
#define MARK_END 2u

static struct {
	const struct region *regions[REGIONS];
	uint64_t bytes[REGIONS];
	struct event *events;
	size_t count;
	size_t room;
	bool forget_data_flushes;
} record;

static unsigned seed = 7;

static uint64_t below(uint64_t n)
{
	return ((uint64_t)rand_r(&seed) << 20 ^ (uint64_t)rand_r(&seed)) % n;
}

/* ---- the record ------------------------------------------------------------------------------ */

static struct trace_event *add(int region)
{
	if (record.count == record.room) {
		record.room = record.room ? record.room * 2 : 4096;
		record.events = realloc(record.events, record.room * sizeof(*record.events));
		assert_non_null(record.events);
	}
	record.events[record.count] = (struct event){.region = region};
	return &record.events[record.count++].event;
}

static int region_index(const struct region *r)
{
	for (int i = 0; i < REGIONS; i++)
		if (record.regions[i] == r)
			return i;
	return -1;
}

static void saw_store(
	void *context, const struct region *r, uint64_t offset, const void *bytes, uint64_t count)
{
	int region = region_index(r);

	if (region < 0)
		return;
	struct trace_event *e = add(region);
	e->kind = TRACE_STORE;
	e->offset = offset;
	e->count = count;
	e->bytes = calloc(1, count);
	assert_non_null(e->bytes);
	if (bytes)
		memcpy(e->bytes, bytes, count);
}

static void saw_flush(void *context, const struct region *r, uint64_t offset, uint64_t count)
{
	int region = region_index(r);

	if (region < 0 || (region == DATA && record.forget_data_flushes))
		return;
	struct trace_event *e = add(region);
	e->kind = TRACE_FLUSH;
	e->offset = offset;
	e->count = count;
}

/* A fence orders what was flushed, whatever the region. */
static void saw_fence(void *context, const struct region *r)
{
	for (int i = 0; i < REGIONS; i++)
		add(i)->kind = TRACE_FENCE;
}

static void mark(uint64_t what, uint64_t operation)
{
	struct trace_event *e = add(REGIONS);

	e->kind = TRACE_MARK;
	e->offset = what;
	e->count = operation;
}

static void forget_record(void)
{
	for (size_t i = 0; i < record.count; i++)
		free(record.events[i].event.bytes);
	free(record.events);
	memset(&record, 0, sizeof(record));
}

/* ---- the run --------------------------------------------------------------------------------- */

static const char *name_of(unsigned file)
{
	static const char *const names[FILES] = {"first", "second", "third"};

	return names[file];
}

static const struct core_cred root_cred = {.fsetid = true};

static void do_write(struct world *w, struct file *f, struct inode *ip, unsigned operation)
{
	uint64_t offset = below(FILE_MAX), length = 1 + below(below(2) ? 20000 : 600);
	uint8_t bytes[20000];

	if (length > FILE_MAX - offset)
		length = FILE_MAX - offset;
	for (uint64_t i = 0; i < length; i++)
		bytes[i] = (uint8_t)(operation * 2 + 1);
	assert_int_equal(core_write(w->pool.c, ip, bytes, length, offset, NULL), length);
	memcpy(f->bytes + offset, bytes, length);
	if (offset + length > f->size)
		f->size = offset + length;
}

static void do_truncate(struct world *w, struct file *f, struct inode *ip)
{
	uint64_t size = below(4) ? below(FILE_MAX) : 0;

	assert_int_equal(core_truncate(w->pool.c, ip, size, NULL), 0);
	if (size < f->size)
		memset(f->bytes + size, 0, f->size - size);
	f->size = size;
}

static void do_fallocate(struct world *w, struct file *f, struct inode *ip)
{
	static const int modes[] = {0, FALLOC_FL_KEEP_SIZE,
		FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, FALLOC_FL_ZERO_RANGE};
	uint64_t offset = below(FILE_MAX), length = 1 + below(40000);
	int mode = modes[below(4)];

	if (length > FILE_MAX - offset)
		length = FILE_MAX - offset;
	assert_int_equal(core_fallocate(w->pool.c, ip, mode, offset, length, NULL), 0);
	if (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
		memset(f->bytes + offset, 0, length);
	if (!(mode & FALLOC_FL_KEEP_SIZE) && offset + length > f->size)
		f->size = offset + length;
}

static void do_prepare(struct world *w, struct file *f, struct inode *ip)
{
	uint64_t offset = below(FILE_MAX), length = 1 + below(FILE_MAX - offset);

	assert_int_equal(core_prepare_layout(w->pool.c, ip, offset, length, NULL), 0);
}

static void do_create(struct world *w, unsigned file)
{
	assert_int_equal(core_create(w->pool.c, w->root, name_of(file), S_IFREG | 0644, 0,
				 &root_cred, &w->handles[file]),
		0);
}

/* The handle goes first, so that the name's end is the file's. */
static void do_unlink(struct world *w, unsigned file)
{
	core_put(w->pool.c, w->handles[file], 1);
	w->handles[file] = NULL;
	assert_int_equal(core_unlink(w->pool.c, w->root, name_of(file), NULL), 0);
}

static void operate(struct world *w, unsigned operation)
{
	unsigned file = (unsigned)below(FILES);
	struct file *f = &w->files[operation][file];

	memcpy(w->files[operation], w->files[operation - 1], sizeof(w->files[0]));
	w->changed[operation] = file;
	if (!f->there) {
		do_create(w, file);
		f->there = true;
		return;
	}
	switch (below(9)) {
	case 0:
	case 1:
	case 2:
	case 3:
		do_write(w, f, w->handles[file], operation);
		break;
	case 4:
		do_truncate(w, f, w->handles[file]);
		break;
	case 5:
	case 6:
		do_fallocate(w, f, w->handles[file]);
		break;
	case 7:
		do_prepare(w, f, w->handles[file]);
		break;
	default:
		do_unlink(w, file);
		memset(f, 0, sizeof(*f));
		break;
	}
}

static struct region *region_of(struct core *c, int region)
{
	return region == META ? c->meta_region : tables_region(c, 0)->region;
}

static void run(struct world *w, struct machine *machines[REGIONS])
{
	static const struct region_recorder recorder = {
		.store = saw_store, .flush = saw_flush, .fence = saw_fence};

	assert_int_equal(core_get(w->pool.c, ROOT_INO, &w->root), 0);
	assert_int_equal(core_sync(w->pool.c), 0);
	assert_int_equal(journal_checkpoint(w->pool.c->journal), 0);
	for (int i = 0; i < REGIONS; i++) {
		struct region *r = region_of(w->pool.c, i);

		record.regions[i] = r;
		record.bytes[i] = region_bytes(r);
		machines[i] =
			machine_new(region_durable_at(r, 0, region_bytes(r)), region_bytes(r), 64);
	}
	region_set_recorder(&recorder);
	for (unsigned i = 1; i <= OPERATIONS; i++) {
		mark(MARK_BEGIN, i);
		operate(w, i);
		mark(MARK_END, i);
	}
	region_set_recorder(NULL);
	core_abandon(w->pool.c);
	w->pool.c = NULL;
}

/* ---- crashes --------------------------------------------------------------------------------- */

static void put_image(struct world *w, const struct machine *m, int region, enum crash_luck luck,
	uint64_t bytes, uint8_t *image)
{
	char path[600];
	int fd;

	machine_crash(m, luck, &seed, image);
	snprintf(path, sizeof(path), "%s/%s", w->pool.path, region == META ? "meta" : "data.0");
	fd = open(path, O_WRONLY);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, image, bytes, 0), bytes);
	close(fd);
}

static bool same(const struct file *f, const uint8_t *bytes, uint64_t size)
{
	return f->there && f->size == size && memcmp(f->bytes, bytes, size) == 0;
}

static bool between(
	const struct file *before, const struct file *after, const uint8_t *bytes, uint64_t size)
{
	if (size != before->size && size != after->size)
		return false;
	for (uint64_t i = 0; i < size; i++)
		if (bytes[i] != before->bytes[i] && bytes[i] != after->bytes[i])
			return false;
	return true;
}

/* `before` and `after` are the same while no operation is under way. */
static bool file_holds(struct world *w, unsigned file, const struct file *before,
	const struct file *after, const char **why)
{
	static uint8_t bytes[FILE_MAX];
	struct core *c = w->pool.c;
	struct inode *root, *ip;
	struct stat st;
	bool holds;

	assert_int_equal(core_get(c, ROOT_INO, &root), 0);
	int error = core_lookup(c, root, name_of(file), &ip);
	core_put(c, root, 1);
	if (error) {
		*why = "its name is gone";
		return error == -ENOENT && (!before->there || !after->there);
	}
	assert_int_equal(core_getattr(c, ip, &st, NULL), 0);
	*why = "its content is neither";
	holds = st.st_size <= FILE_MAX &&
		core_read(c, ip, bytes, FILE_MAX, 0) == (ssize_t)st.st_size;
	if (holds && before == after)
		holds = same(before, bytes, (uint64_t)st.st_size);
	else if (holds)
		holds = between(before, after, bytes, (uint64_t)st.st_size) &&
			(before->there || after->there);
	core_put(c, ip, 1);
	return holds;
}

static void say_finding(void *context, const struct verify_finding *finding)
{
	print_message("%s\n", finding->text);
}

static bool crash_holds(struct world *w, unsigned begun, unsigned ended, bool quiet)
{
	const struct core_options options = {.pool = w->pool.path};
	const struct verify_options verify = {.found = quiet ? NULL : say_finding};
	struct verify_report report;
	struct diag d = {{0}};
	bool holds = true;

	if (core_open(&options, &w->pool.c, &d)) {
		if (!quiet)
			print_message("%s\n", d.text);
		return false;
	}
	for (unsigned i = 0; i < FILES; i++) {
		const struct file *before = &w->files[ended][i];
		const struct file *after = w->changed[begun] == i ? &w->files[begun][i] : before;
		const char *why;

		if (begun == ended)
			after = before;
		if (file_holds(w, i, before, after, &why))
			continue;
		if (!quiet)
			print_message("operation %u: file %u: %s\n", begun, i, why);
		holds = false;
	}
	assert_int_equal(verify_core(w->pool.c, &verify, &report), 0);
	holds &= report.found == 0;
	core_abandon(w->pool.c);
	w->pool.c = NULL;
	return holds;
}

/* How many of the crashes left something that must not be? One is enough where it is expected. */
static unsigned crash_everywhere(struct world *w, struct machine *machines[REGIONS], bool quiet)
{
	unsigned begun = 0, ended = 0, bad = 0;
	uint8_t *image;

	image = malloc(
		record.bytes[META] > record.bytes[DATA] ? record.bytes[META] : record.bytes[DATA]);
	assert_non_null(image);
	for (size_t i = 0; i < record.count; i++) {
		const struct event *e = &record.events[i];

		if (e->region == REGIONS && e->event.offset == MARK_BEGIN)
			begun = (unsigned)e->event.count;
		else if (e->region == REGIONS)
			ended = (unsigned)e->event.count;
		else
			machine_step(machines[e->region], &e->event);
		if (below(record.count) >= crashes || (bad && quiet))
			continue;
		enum crash_luck luck = (enum crash_luck)below(LUCK_TORN + 1);
		for (int r = 0; r < REGIONS; r++)
			put_image(w, machines[r], r, luck, record.bytes[r], image);
		bad += !crash_holds(w, begun, ended, quiet);
	}
	free(image);
	return bad;
}

static unsigned try(bool forget_data_flushes)
{
	struct machine *machines[REGIONS];
	struct world *w = calloc(1, sizeof(*w));
	unsigned bad;

	assert_non_null(w);
	record.forget_data_flushes = forget_data_flushes;
	scratch_pool_make(&w->pool, 1 * MIB, 0);
	run(w, machines);
	bad = crash_everywhere(w, machines, forget_data_flushes);
	for (int i = 0; i < REGIONS; i++)
		machine_free(machines[i]);
	forget_record();
	scratch_remove(w->pool.directory);
	free(w);
	return bad;
}

static void no_crash_shows_bytes_that_nobody_wrote(void **state)
{
	assert_int_equal(try(false), 0);
}

static void data_that_is_not_flushed_is_found_out(void **state)
{
	assert_int_not_equal(try(true), 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_crash_shows_bytes_that_nobody_wrote),
		cmocka_unit_test(data_that_is_not_flushed_is_found_out),
	};

	if (argc > 1)
		seed = (unsigned)strtoul(argv[1], NULL, 10);
	if (argc > 2)
		crashes = (unsigned)strtoul(argv[2], NULL, 10);
	return cmocka_run_group_tests_name("crash_file", tests, NULL, NULL);
}
