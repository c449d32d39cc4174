// SPDX-License-Identifier: BSD-2-Clause
/*
 * test_options.c - the daemon's command line: what is understood, refused, passed on and passed
 * over.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "options.h"

#define ARGUMENTS_MAX 16

/* Splits at blanks. */
static int parse(struct options *o, struct diag *d, const char *line)
{
	char copy[512], *rest = copy, *word, *argv[ARGUMENTS_MAX + 1];
	int argc = 0;

	*d = (struct diag){.text = ""};
	assert_true(strlen(line) < sizeof(copy));
	strcpy(copy, line);
	while ((word = strsep(&rest, " ")) != NULL) {
		assert_true(argc < ARGUMENTS_MAX);
		argv[argc++] = word;
	}
	argv[argc] = NULL;
	return options_parse(o, argc, argv, d);
}

static void accepts(struct options *o, const char *line)
{
	struct diag d;
	int result = parse(o, &d, line);

	if (result != 0)
		print_message("%s: %s\n", line, d.text);
	assert_int_equal(result, 0);
}

static void refuses(const char *line, const char *wanted)
{
	struct options o;
	struct diag d;

	assert_int_equal(parse(&o, &d, line), -EINVAL);
	if (strstr(d.text, wanted) == NULL)
		print_message("%s: %s\n", line, d.text);
	assert_non_null(strstr(d.text, wanted));
	options_free(&o);
}

/* Is that among what libfuse is told, as one -o argument? */
static bool passes(const struct options *o, const char *text)
{
	for (int i = 0; i < o->session_args.argc; i++) {
		if (strcmp(o->session_args.argv[i], text) == 0)
			return true;
	}
	return false;
}

static void defaults_are_relaxed_and_checked_by_the_kernel(void **state)
{
	struct options o;

	accepts(&o, "leasefs /pool /mnt");
	assert_string_equal(o.pool, "/pool");
	assert_string_equal(o.pool_path, "/pool");
	assert_string_equal(o.mountpoint, "/mnt");
	assert_int_equal(o.durability, DURABILITY_RELAXED);
	assert_int_equal(o.lock_wait_ms, OPTIONS_LOCK_WAIT_MS);
	assert_int_equal(o.grace_ns, OPTIONS_GRACE_S * 1000000000ull);
	assert_false(o.foreground || o.debug || o.read_only || o.nonempty);
	assert_true(o.threads_max >= 1 && o.threads_idle_max >= 1);
	assert_true(passes(&o, "fsname=/pool"));
	assert_true(passes(&o, "subtype=leasefs"));
	assert_int_equal(passes(&o, "allow_other"), geteuid() == 0);
	options_free(&o);
}

static void relative_paths_become_absolute_and_the_source_stays(void **state)
{
	char directory[4096];
	struct options o;

	assert_non_null(getcwd(directory, sizeof(directory)));
	accepts(&o, "leasefs pool mnt");
	assert_string_equal(o.pool, "pool");
	assert_true(passes(&o, "fsname=pool"));
	assert_memory_equal(o.pool_path, directory, strlen(directory));
	assert_string_equal(o.pool_path + strlen(directory), "/pool");
	assert_string_equal(o.mountpoint + strlen(directory), "/mnt");
	options_free(&o);
}

static void commas_in_the_source_are_escaped(void **state)
{
	struct options o;

	accepts(&o, "leasefs /a,b\\c /mnt");
	assert_true(passes(&o, "fsname=/a\\,b\\\\c"));
	options_free(&o);
}

static void own_options_are_set(void **state)
{
	struct options o;

	accepts(&o, "leasefs -f -o durability=strict,ro,nonempty /pool -omax_threads=3 /mnt "
		    "-o lock_wait_ms=0,max_idle_threads=2,grace=250ms");
	assert_int_equal(o.durability, DURABILITY_STRICT);
	assert_true(o.read_only && o.nonempty && o.foreground);
	assert_int_equal(o.threads_max, 3);
	assert_int_equal(o.threads_idle_max, 2);
	assert_int_equal(o.lock_wait_ms, 0);
	assert_int_equal(o.grace_ns, 250000000);
	assert_true(passes(&o, "ro"));
	options_free(&o);
}

static void features_are_left_out_by_name(void **state)
{
	struct options o;

	accepts(&o, "leasefs -o without=large_requests:direct_mmap /pool /mnt");
	assert_int_equal(o.without, OPTIONS_WITHOUT_LARGE_REQUESTS | OPTIONS_WITHOUT_DIRECT_MMAP);
	options_free(&o);
	accepts(&o, "leasefs -o without=parallel_writes /pool /mnt");
	assert_int_equal(o.without, OPTIONS_WITHOUT_PARALLEL_WRITES);
	options_free(&o);
	accepts(&o, "leasefs -o without=handles /pool /mnt");
	assert_int_equal(o.without, OPTIONS_WITHOUT_HANDLES);
	options_free(&o);
	refuses("leasefs -o without=parallel /pool /mnt", "parallel_writes");
}

static void an_escaped_comma_belongs_to_the_value(void **state)
{
	struct options o;

	accepts(&o, "leasefs /pool /mnt -o fsname=a\\,b,ro");
	assert_true(o.read_only);
	assert_true(passes(&o, "fsname=a\\,b"));
	options_free(&o);
}

static void generic_options_are_passed_over(void **state)
{
	struct options o;

	accepts(&o, "leasefs /pool /mnt -o rw,relatime,strictatime,nodiratime,noauto,user,_netdev "
		    "-o x-systemd.automount,comment=hello,defaults,,");
	assert_false(passes(&o, "rw") || passes(&o, "relatime") || passes(&o, "strictatime"));
	options_free(&o);
}

static void what_was_asked_comes_after_the_defaults(void **state)
{
	struct options o;
	int dev_at = -1, nodev_at = -1;

	accepts(&o, "leasefs /pool /mnt -o nodev,nosuid");
	for (int i = 0; i < o.session_args.argc; i++) {
		if (strstr(o.session_args.argv[i], "dev,suid") == o.session_args.argv[i])
			dev_at = i;
		if (strcmp(o.session_args.argv[i], "nodev") == 0)
			nodev_at = i;
	}
	assert_true(nodev_at > dev_at);
	assert_int_equal(dev_at >= 0, geteuid() == 0);
	options_free(&o);
}

static void what_is_not_understood_is_refused(void **state)
{
	refuses("leasefs /pool /mnt -o nonsense", "unknown option 'nonsense'; understood are");
	refuses("leasefs /pool /mnt -o nonsense=1", "unknown option 'nonsense=1'");
	refuses("leasefs /pool /mnt -o durabilit=strict", "unknown option");
	refuses("leasefs /pool /mnt -o durability=maybe", "strict or relaxed");
	refuses("leasefs /pool /mnt -o durability", "needs a value");
	refuses("leasefs /pool /mnt -o nonempty=1", "takes no value");
	refuses("leasefs /pool /mnt -o max_threads=0", "from 1 to");
	refuses("leasefs /pool /mnt -o max_threads=-1", "from 1 to");
	refuses("leasefs /pool /mnt -o max_threads=1025", "from 1 to 1024");
	refuses("leasefs /pool /mnt -o max_threads=99999999999999999999", "from 1 to");
	refuses("leasefs /pool /mnt -o max_threads=2x", "from 1 to");
	refuses("leasefs /pool /mnt -o lock_wait_ms=", "from 0 to");
	refuses("leasefs /pool /mnt -o grace=-1", "grace is a time");
	refuses("leasefs /pool /mnt -o grace=5m", "grace is a time");
	refuses("leasefs /pool /mnt -o grace=3601", "grace is a time");
	refuses("leasefs /pool /mnt -o policy=recall:2s", "policy is a ladder");
	refuses("leasefs /pool /mnt -o policy=", "policy is a ladder");
	refuses("leasefs /pool /mnt -o crash_at=x", "unknown option 'crash_at=x'");
	refuses("leasefs /pool", "usage");
	refuses("leasefs", "usage");
	refuses("leasefs /pool /mnt /other", "one argument too many");
	refuses("leasefs -x /pool /mnt", "unknown option '-x'");
	refuses("leasefs /pool /mnt -o", "-o needs options");
}

static void help_and_version_need_nothing_else(void **state)
{
	struct options o;

	accepts(&o, "leasefs --help");
	assert_true(o.help);
	options_free(&o);
	accepts(&o, "leasefs -V");
	assert_true(o.version);
	options_free(&o);
}

static void names_after_two_dashes_may_begin_with_one(void **state)
{
	struct options o;

	accepts(&o, "leasefs -o ro -- -pool /mnt");
	assert_string_equal(o.pool, "-pool");
	options_free(&o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults_are_relaxed_and_checked_by_the_kernel),
		cmocka_unit_test(relative_paths_become_absolute_and_the_source_stays),
		cmocka_unit_test(commas_in_the_source_are_escaped),
		cmocka_unit_test(own_options_are_set),
		cmocka_unit_test(features_are_left_out_by_name),
		cmocka_unit_test(an_escaped_comma_belongs_to_the_value),
		cmocka_unit_test(generic_options_are_passed_over),
		cmocka_unit_test(what_was_asked_comes_after_the_defaults),
		cmocka_unit_test(what_is_not_understood_is_refused),
		cmocka_unit_test(help_and_version_need_nothing_else),
		cmocka_unit_test(names_after_two_dashes_may_begin_with_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
