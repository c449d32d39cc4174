// SPDX-License-Identifier: BSD-2-Clause
/*
 * driver.c - runs a fuzz target without libFuzzer: for compilers that have none, and for inputs
 * that are to be tried again under a debugger or valgrind.
 *
 *     fuzz_X [-runs=N] [-max_total_time=SECONDS] [-seed=N] [-max_len=N] [FILE|DIRECTORY]...
 *
 * Every file is an input, tried as it is; then N of them are tried with chance changes: flipped
 * bits, numbers at their extremes, pieces cut out, doubled, or taken from another. There is no
 * guidance by coverage in that. An input that ends the process is found again by the seed and
 * number that were printed last, or in the file fuzz-last, which holds it.
 *
 * The options are libFuzzer's, so that one script runs both.
 */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "target.h"

#define INPUTS_MAX 4096u
#define MAX_LEN_DEFAULT 4096u

struct input {
	uint8_t *bytes;
	size_t size;
};

static struct input inputs[INPUTS_MAX];
static size_t input_count;
static uint64_t rng;

static uint64_t roll(void)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return rng;
}

/* ---- inputs ---------------------------------------------------------------------------------- */

static bool add_file(const char *path, size_t max_len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct input *in = &inputs[input_count];
	ssize_t n;

	if (fd < 0 || input_count == INPUTS_MAX)
		return false;
	in->bytes = malloc(max_len);
	MUST(in->bytes);
	n = read(fd, in->bytes, max_len);
	close(fd);
	if (n < 0)
		return false;
	in->size = (size_t)n;
	input_count++;
	return true;
}

static bool add_directory(const char *path, size_t max_len)
{
	struct dirent **entries;
	int n = scandir(path, &entries, NULL, alphasort);
	bool good = n >= 0;

	for (int i = 0; i < n; i++) {
		char name[PATH_MAX];

		if (entries[i]->d_name[0] != '.') {
			snprintf(name, sizeof(name), "%s/%s", path, entries[i]->d_name);
			good = add_file(name, max_len) && good;
		}
		free(entries[i]);
	}
	if (n >= 0)
		free(entries);
	return good;
}

static bool add(const char *path, size_t max_len)
{
	struct stat st;

	if (stat(path, &st))
		return false;
	return S_ISDIR(st.st_mode) ? add_directory(path, max_len) : add_file(path, max_len);
}

/* ---- changes --------------------------------------------------------------------------------- */

static void put_number(uint8_t *to, size_t room)
{
	static const uint64_t extremes[] = {0, 1, 255, 4095, 4096, 65535, 1ull << 31, UINT32_MAX,
		1ull << 62, INT64_MAX, 1ull << 63, UINT64_MAX};
	uint64_t value = extremes[roll() % (sizeof(extremes) / sizeof(extremes[0]))];
	size_t width = (size_t)1 << roll() % 4;

	memcpy(to, &value, width < room ? width : room);
}

/* Takes a piece of `from` into `to` at `at`, moving what follows. */
static size_t insert(uint8_t *to, size_t size, size_t max, size_t at, const struct input *from)
{
	size_t begin = from->size ? roll() % from->size : 0, n = from->size - begin;

	n = n ? 1 + roll() % n : 0;
	if (n > max - size)
		n = max - size;
	memmove(to + at + n, to + at, size - at);
	memcpy(to + at, from->bytes + begin, n);
	return size + n;
}

static size_t change(uint8_t *bytes, size_t size, size_t max)
{
	size_t at = size ? roll() % size : 0, n;

	switch (size ? roll() % 6 : 4) {
	case 0:
		bytes[at] ^= (uint8_t)(1u << roll() % 8);
		return size;
	case 1:
		bytes[at] = (uint8_t)roll();
		return size;
	case 2:
		put_number(bytes + at, size - at);
		return size;
	case 3:
		n = 1 + roll() % (size - at);
		memmove(bytes + at, bytes + at + n, size - at - n);
		return size - n;
	case 4:
		return insert(bytes, size, max, at, &inputs[roll() % input_count]);
	default:
		return at;
	}
}

/* The input is where whoever looks for the reason finds it, even if the process just ends. */
static void try(int last, const uint8_t *bytes, size_t size)
{
	if (last >= 0) {
		MUST(pwrite(last, bytes, size, 0) == (ssize_t)size);
		MUST(ftruncate(last, (off_t)size) == 0);
	}
	(void)LLVMFuzzerTestOneInput(bytes, size);
}

static bool is_over(time_t end)
{
	return end && time(NULL) >= end;
}

int main(int argc, char **argv)
{
	unsigned long runs = 0, done = 0, seconds = 0;
	size_t max_len = MAX_LEN_DEFAULT;
	uint64_t seed = 1;
	bool good = true;

	LLVMFuzzerInitialize(&argc, &argv);
	for (int i = 1; i < argc; i++) {
		if (sscanf(argv[i], "-runs=%lu", &runs) == 1 ||
			sscanf(argv[i], "-max_total_time=%lu", &seconds) == 1 ||
			sscanf(argv[i], "-seed=%lu", &seed) == 1 ||
			sscanf(argv[i], "-max_len=%zu", &max_len) == 1 || argv[i][0] == '-')
			continue;
		if (!add(argv[i], max_len)) {
			fprintf(stderr, "cannot read %s\n", argv[i]);
			good = false;
		}
	}
	if (!good)
		return 2;
	if (input_count == 0)
		inputs[input_count++] = (struct input){.bytes = malloc(1)};
	rng = seed * 0x9e3779b97f4a7c15ull | 1;
	int last = open("fuzz-last", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	uint8_t *bytes = malloc(max_len);
	MUST(bytes && max_len > 0);
	printf("seed %lu, %zu inputs\n", (unsigned long)seed, input_count);
	fflush(stdout);
	time_t end = seconds ? time(NULL) + (time_t)seconds : 0;
	for (size_t i = 0; i < input_count; i++)
		try(last, inputs[i].bytes, inputs[i].size);
	for (; (done < runs || (seconds && !runs)) && !is_over(end); done++) {
		const struct input *in = &inputs[roll() % input_count];
		size_t size = in->size;

		memcpy(bytes, in->bytes, size);
		for (unsigned n = 1 + (unsigned)(roll() % 6); n > 0; n--)
			size = change(bytes, size, max_len);
		try(last, bytes, size);
	}
	printf("Done %lu runs\n", done + input_count);
	if (last >= 0)
		unlink("fuzz-last");
	for (size_t i = 0; i < input_count; i++)
		free(inputs[i].bytes);
	free(bytes);
	return 0;
}
