// SPDX-License-Identifier: BSD-2-Clause
/*
 * options.c - the command line.
 *
 * Mount options are of three kinds: the filesystem's own, those that the kernel's mount takes
 * (handed to libfuse), and generic ones of mount(8) and fstab(5) that have nothing to say here and
 * are passed over. What is in no list is refused, with the list of what is understood: a
 * misspelt option must not be a silent default.
 */
#include "options.h"
#include "crash_point.h"
#include "uring.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STRINGIFY_(x) #x
#define STRINGIFY(x) STRINGIFY_(x)

/* ---- the filesystem's own -------------------------------------------------------------------- */

typedef int (*option_setter)(struct options *o, const char *value, struct diag *d);

static int set_durability(struct options *o, const char *value, struct diag *d)
{
	if (strcmp(value, "strict") == 0)
		o->durability = DURABILITY_STRICT;
	else if (strcmp(value, "relaxed") == 0)
		o->durability = DURABILITY_RELAXED;
	else
		return diag_set(d, -EINVAL, "durability is strict or relaxed, not '%s'", value);
	return 0;
}

static int set_policy(struct options *o, const char *value, struct diag *d)
{
	if (lm_policy_parse(value, &o->policy))
		return diag_set(d, -EINVAL,
			"policy is a ladder such as %s or"
			" recall:1s/signal=SIGBUS:500ms/kill:500ms/orphan, not '%s'",
			LM_POLICY_DEFAULT, value);
	return 0;
}

static int parse_number(const char *name, const char *value, unsigned long min, unsigned long max,
	unsigned *out, struct diag *d)
{
	char *end;

	errno = 0;
	unsigned long n = strtoul(value, &end, 10);
	if (errno != 0 || end == value || *end != '\0' || value[0] == '-' || n < min || n > max)
		return diag_set(d, -EINVAL, "%s is a number from %lu to %lu, not '%s'", name, min,
			max, value);
	*out = (unsigned)n;
	return 0;
}

static int set_threads(struct options *o, const char *value, struct diag *d)
{
	return parse_number("max_threads", value, 1, OPTIONS_THREADS_MAX, &o->threads_max, d);
}

static int set_idle_threads(struct options *o, const char *value, struct diag *d)
{
	return parse_number(
		"max_idle_threads", value, 1, OPTIONS_THREADS_MAX, &o->threads_idle_max, d);
}

static int set_lock_wait(struct options *o, const char *value, struct diag *d)
{
	return parse_number("lock_wait_ms", value, 0, 3600000, &o->lock_wait_ms, d);
}

/* Seconds, or with a unit. */
static int set_grace(struct options *o, const char *value, struct diag *d)
{
	char *end;

	errno = 0;
	unsigned long n = strtoul(value, &end, 10);
	bool ms = strcmp(end, "ms") == 0;
	if (errno != 0 || value[0] < '0' || value[0] > '9' ||
		!(ms || *end == '\0' || strcmp(end, "s") == 0) ||
		n > OPTIONS_GRACE_S_MAX * (ms ? 1000 : 1))
		return diag_set(d, -EINVAL,
			"grace is a time up to %lus, such as 5s or 500ms, not '%s'",
			OPTIONS_GRACE_S_MAX, value);
	o->grace_ns = (uint64_t)n * (ms ? 1000000u : 1000000000u);
	return 0;
}

#ifdef LEASEFS_CRASH_POINTS
static int set_crash_at(struct options *o, const char *value, struct diag *d)
{
	crash_point_choose(value);
	return 0;
}
#endif

static int set_hardening(struct options *o, const char *value, struct diag *d)
{
	if (strcmp(value, "on") != 0 && strcmp(value, "off") != 0)
		return diag_set(d, -EINVAL, "hardening is on or off, not '%s'", value);
	o->hardening = strcmp(value, "on") == 0;
	return 0;
}

static int set_nonempty(struct options *o, const char *value, struct diag *d)
{
	o->nonempty = true;
	return 0;
}

static int set_source(struct options *o, const char *value, struct diag *d)
{
	if (value[0] == '\0')
		return diag_set(d, -EINVAL, "fsname= needs the name to show as the source");
	char *source = strdup(value);

	if (source == NULL)
		return diag_set(d, -ENOMEM, "out of memory");
	free(o->source);
	o->source = source;
	return 0;
}

static int set_plain_type(struct options *o, const char *value, struct diag *d)
{
	o->plain_type = true;
	return 0;
}

/* A list with colons between. */
static int set_without(struct options *o, const char *value, struct diag *d)
{
	static const char *const names[] = {
		"large_requests", "parallel_writes", "direct_mmap", "handles"};
	size_t count = sizeof(names) / sizeof(names[0]), i;

	while (*value != '\0') {
		size_t length = strcspn(value, ":");

		for (i = 0; i < count; i++) {
			if (strlen(names[i]) == length && memcmp(names[i], value, length) == 0)
				break;
		}
		if (i == count)
			return diag_set(d, -EINVAL,
				"without=: '%.*s' is none of large_requests, parallel_writes,"
				" direct_mmap and handles",
				(int)length, value);
		o->without |= 1u << i;
		value += length + (value[length] == ':');
	}
	return 0;
}

static int set_io_uring(struct options *o, const char *value, struct diag *d)
{
	o->io_uring = true;
	return uring_check(d);
}

static int set_debug(struct options *o, const char *value, struct diag *d)
{
	o->debug = o->foreground = true;
	return 0;
}

static const struct own_option {
	const char *name;
	bool valued;
	option_setter set;
	const char *help;
} own_options[] = {
	{"durability", true, set_durability,
		"strict: nothing acknowledged is lost with the power;\n"
		"                           relaxed (default): back to the last sync (fsync, or "
		"every 5 s)"},
	{"policy", true, set_policy, "what to do about leases in the way of a change"},
	{"max_threads", true, set_threads, "worker threads at most"},
	{"max_idle_threads", true, set_idle_threads,
		"how many of them wait for a request (" STRINGIFY(OPTIONS_THREADS_IDLE_MAX) ")"},
	{"lock_wait_ms", true, set_lock_wait,
		"how long to wait for a daemon that is just ending (" STRINGIFY(
			OPTIONS_LOCK_WAIT_MS) ")"},
	{"grace", true, set_grace,
		"how long the leases of a daemon that died wait to be\n"
		"                           reclaimed (" STRINGIFY(OPTIONS_GRACE_S) "s)"},
	{"hardening", true, set_hardening,
		"off: keep privileges, system calls and core dumps, to\n"
		"                           debug the daemon (on)"},
	{"nonempty", false, set_nonempty, "mount over a directory that is not empty"},
	{"fsname", true, set_source, "show NAME as the source instead of the pool"},
	{"plain_type", false, set_plain_type, "show the type as 'fuse', not as 'fuse.leasefs'"},
	{"without", true, set_without,
		"leave out large_requests, parallel_writes, direct_mmap (for\n"
		"                           measurements) or handles (for overlays), with colons\n"
		"                           between them"},
	{"io_uring", false, set_io_uring,
		"take requests over io_uring: quicker, see docs/performance.md"},
	{"debug", false, set_debug, "as -d"},
#ifdef LEASEFS_CRASH_POINTS
	{"crash_at", true, set_crash_at, "for tests: end by SIGKILL at that point"},
#endif
};

/* ---- the mount's and everybody's ------------------------------------------------------------- */

/* Taken by the kernel's mount, through libfuse. */
static const char *const mount_options[] = {"ro", "allow_other", "allow_root", "auto_unmount",
	"dev", "nodev", "suid", "nosuid", "exec", "noexec", "sync", "async", "dirsync", "noatime"};

/* Understood, with nothing to do: the default, or for mount(8) and fstab(5). */
static const char *const passed_options[] = {"rw", "defaults", "default_permissions", "atime",
	"relatime", "norelatime", "strictatime", "nostrictatime", "diratime", "nodiratime",
	"lazytime", "nolazytime", "auto", "noauto", "nofail", "_netdev", "user", "nouser", "users",
	"nousers", "owner", "noowner", "group", "nogroup", "nomand", "silent", "loud"};
static const char *const passed_prefixes[] = {"x-", "X-",
	"comment=", "user=", "subtype=", "context=", "rootcontext=", "fscontext=", "defcontext="};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static bool in_list(const char *word, const char *const *list, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (strcmp(word, list[i]) == 0)
			return true;
	}
	return false;
}

static bool is_passed(const char *word)
{
	if (in_list(word, passed_options, COUNT(passed_options)))
		return true;
	for (size_t i = 0; i < COUNT(passed_prefixes); i++) {
		if (strncmp(word, passed_prefixes[i], strlen(passed_prefixes[i])) == 0)
			return true;
	}
	return false;
}

static int refuse_option(const char *word, struct diag *d)
{
	char known[sizeof(d->text)] = "";
	size_t used = 0;

	for (size_t i = 0; i < COUNT(own_options); i++)
		used += (size_t)snprintf(known + used, sizeof(known) - used, "%s%s%s",
			i == 0 ? "" : ", ", own_options[i].name, own_options[i].valued ? "=" : "");
	for (size_t i = 0; i < COUNT(mount_options) && used < sizeof(known); i++)
		used += (size_t)snprintf(
			known + used, sizeof(known) - used, ", %s", mount_options[i]);
	return diag_set(d, -EINVAL, "unknown option '%s'; understood are %s, and mount(8)'s own",
		word, known);
}

static int add_session_option(struct options *o, const char *format, const char *value)
{
	char *text;
	int result = 0;

	if (asprintf(&text, format, value) < 0)
		return -ENOMEM;
	if (fuse_opt_add_arg(&o->session_args, "-o") != 0 ||
		fuse_opt_add_arg(&o->session_args, text) != 0)
		result = -ENOMEM;
	free(text);
	return result;
}

static int apply_option(struct options *o, char *word, struct diag *d)
{
	char *value = strchr(word, '=');
	size_t name_bytes = value == NULL ? strlen(word) : (size_t)(value - word);

	if (word[0] == '\0' || is_passed(word))
		return 0;
	for (size_t i = 0; i < COUNT(own_options); i++) {
		const struct own_option *own = &own_options[i];
		if (strlen(own->name) != name_bytes || strncmp(own->name, word, name_bytes) != 0)
			continue;
		if (own->valued != (value != NULL))
			return diag_set(d, -EINVAL, "option %s %s", own->name,
				own->valued ? "needs a value" : "takes no value");
		return own->set(o, value == NULL ? NULL : value + 1, d);
	}
	if (!in_list(word, mount_options, COUNT(mount_options)))
		return refuse_option(word, d);
	if (strcmp(word, "ro") == 0)
		o->read_only = true;
	if (strcmp(word, "allow_root") == 0 || strcmp(word, "allow_other") == 0) {
		if (o->allow_other)
			return 0;
		o->allow_other = true;
	}
	if (add_session_option(o, "%s", word) != 0)
		return diag_set(d, -ENOMEM, "out of memory");
	return 0;
}

/* Splits at commas; a backslash keeps the character after it. */
static int apply_options(struct options *o, const char *list, struct diag *d)
{
	char *copy = strdup(list), *out, *word;
	int result = 0;

	if (copy == NULL)
		return diag_set(d, -ENOMEM, "out of memory");
	word = out = copy;
	for (const char *in = list; result == 0; in++) {
		if (*in == ',' || *in == '\0') {
			*out = '\0';
			result = apply_option(o, word, d);
			word = out = copy;
			if (*in == '\0')
				break;
		} else {
			if (*in == '\\' && in[1] != '\0')
				in++;
			*out++ = *in;
		}
	}
	free(copy);
	return result;
}

/* ---- defaults and paths ---------------------------------------------------------------------- */

static int add_source(struct options *o)
{
	const char *source = o->source == NULL ? o->pool : o->source;
	char *escaped = malloc(strlen(source) * 2 + 1), *out = escaped;
	int result;

	if (escaped == NULL)
		return -ENOMEM;
	for (const char *in = source; *in != '\0'; in++) {
		if (*in == ',' || *in == '\\')
			*out++ = '\\';
		*out++ = *in;
	}
	*out = '\0';
	result = add_session_option(o, "fsname=%s", escaped);
	free(escaped);
	return result;
}

/* The mount's own defaults come first, so that what was asked for overrides them. */
static int add_defaults(struct options *o, const char *program)
{
	if (fuse_opt_add_arg(&o->session_args, program) != 0 ||
		add_session_option(o, "%s", "default_permissions") != 0)
		return -ENOMEM;
	if (geteuid() == 0 && add_session_option(o, "%s", "dev,suid") != 0)
		return -ENOMEM;
	return 0;
}

/* Absolute, but no link resolved: whether the path is what it seems is core's to check. */
static char *absolute_path(const char *path)
{
	char directory[PATH_MAX], *out;

	if (path[0] == '/')
		return strdup(path);
	if (getcwd(directory, sizeof(directory)) == NULL)
		return NULL;
	return asprintf(&out, "%s/%s", directory, path) < 0 ? NULL : out;
}

static int parse_arguments(struct options *o, int argc, char **argv, const char **lists,
	int *list_count, struct diag *d)
{
	bool only_names = false;

	*list_count = 0;
	for (int i = 1; i < argc; i++) {
		const char *a = argv[i];
		if (only_names || a[0] != '-' || a[1] == '\0') {
			char **where = o->pool == NULL ? &o->pool : &o->mountpoint;
			if (a[0] == '\0')
				return diag_set(d, -EINVAL, "%s is an empty name",
					o->pool == NULL ? "POOL" : "MOUNTPOINT");
			if (*where != NULL)
				return diag_set(d, -EINVAL, "one argument too many: '%s'", a);
			*where = strdup(a);
			if (*where == NULL)
				return diag_set(d, -ENOMEM, "out of memory");
		} else if (strcmp(a, "--") == 0) {
			only_names = true;
		} else if (strcmp(a, "-h") == 0 || strcmp(a, "--help") == 0) {
			o->help = true;
		} else if (strcmp(a, "-V") == 0 || strcmp(a, "--version") == 0) {
			o->version = true;
		} else if (strcmp(a, "-f") == 0) {
			o->foreground = true;
		} else if (strcmp(a, "-d") == 0) {
			o->debug = o->foreground = true;
		} else if (strncmp(a, "-o", 2) == 0) {
			if (a[2] == '\0' && i + 1 == argc)
				return diag_set(d, -EINVAL, "-o needs options");
			lists[(*list_count)++] = a[2] != '\0' ? a + 2 : argv[++i];
		} else {
			return diag_set(d, -EINVAL, "unknown option '%s'; see --help", a);
		}
	}
	return 0;
}

int options_parse(struct options *o, int argc, char **argv, struct diag *d)
{
	long processors = sysconf(_SC_NPROCESSORS_ONLN);
	const char **lists = calloc((size_t)argc, sizeof(*lists));
	int list_count, result;

	*o = (struct options){.durability = DURABILITY_RELAXED,
		.hardening = true,
		.lock_wait_ms = OPTIONS_LOCK_WAIT_MS,
		.grace_ns = OPTIONS_GRACE_S * 1000000000ull};
	lm_policy_parse(LM_POLICY_DEFAULT, &o->policy);
	/* fsync and page faults block a worker; twice as many as processors, and a few more. */
	o->threads_max = (unsigned)(processors < 1 ? 1 : processors) * 2 + 14;
	if (o->threads_max > OPTIONS_THREADS_MAX)
		o->threads_max = OPTIONS_THREADS_MAX;
	o->threads_idle_max = OPTIONS_THREADS_IDLE_MAX;
	if (lists == NULL)
		return diag_set(d, -ENOMEM, "out of memory");
	result = parse_arguments(o, argc, argv, lists, &list_count, d);
	if (result != 0 || o->help || o->version)
		goto out;
	if (o->mountpoint == NULL) {
		result = diag_set(
			d, -EINVAL, "usage: leasefs POOL MOUNTPOINT [-o options]; see --help");
		goto out;
	}
	char *mountpoint = absolute_path(o->mountpoint);
	o->pool_path = absolute_path(o->pool);
	if (mountpoint == NULL || o->pool_path == NULL || add_defaults(o, argv[0]) != 0) {
		free(mountpoint);
		result = diag_set(d, -ENOMEM, "out of memory");
		goto out;
	}
	free(o->mountpoint);
	o->mountpoint = mountpoint;
	for (int i = 0; i < list_count && result == 0; i++)
		result = apply_options(o, lists[i], d);
	if (result == 0)
		result = add_source(o);
	if (result == 0 && !o->plain_type)
		result = add_session_option(o, "%s", "subtype=leasefs");
	if (result == 0 && geteuid() == 0 && !o->allow_other) {
		o->allow_other = true;
		result = add_session_option(o, "%s", "allow_other");
	}
	if (result == 0 && o->debug && fuse_opt_add_arg(&o->session_args, "-d") != 0)
		result = diag_set(d, -ENOMEM, "out of memory");
out:
	free(lists);
	return result;
}

void options_free(struct options *o)
{
	free(o->pool);
	free(o->source);
	free(o->pool_path);
	free(o->mountpoint);
	fuse_opt_free_args(&o->session_args);
}

static const char first_steps[] =
	"Mounts POOL, a directory that mkfs.leasefs made, on the directory MOUNTPOINT, and serves "
	"it\n"
	"until it is unmounted. It returns when the mount can be used. First steps:\n"
	"\n"
	"    mkfs.leasefs -s 8G /var/tmp/pool    make a pool (on /dev/shm: fast, and gone at "
	"reboot)\n"
	"    leasefs /var/tmp/pool /mnt          mount it, as root or as an ordinary user\n"
	"    leasectl /mnt status                see what it is, and what is held in it\n"
	"    umount /mnt                         end (an ordinary user: fusermount3 -u /mnt)\n"
	"    fsck.leasefs -n /var/tmp/pool       check it\n"
	"\n"
	"At every boot, a line in /etc/fstab:  POOL MOUNTPOINT fuse.leasefs defaults 0 0\n"
	"or the unit leasefs@NAME.service, for /etc/leasefs/NAME.conf: see leasefs(8).\n"
	"What leases and pins are is in leasefs(7).\n";

void options_print_help(FILE *out, const char *program)
{
	fprintf(out,
		"usage: %s POOL MOUNTPOINT [-o options] [-f] [-d]\n"
		"\n"
		"%s"
		"\n"
		"    -f                   stay in the foreground, speak on stderr\n"
		"    -d                   the same, and print every request\n"
		"    -o option[,...]      options, see below\n"
		"    -h, --help           this text\n"
		"    -V, --version        versions\n"
		"\n"
		"Options of the filesystem:\n",
		program, first_steps);
	for (size_t i = 0; i < COUNT(own_options); i++)
		fprintf(out, "    %s%-*s %s\n", own_options[i].name,
			(int)(22 - strlen(own_options[i].name)), own_options[i].valued ? "=" : "",
			own_options[i].help);
	fprintf(out, "\nOptions of the mount:\n   ");
	for (size_t i = 0; i < COUNT(mount_options); i++)
		fprintf(out, " %s", mount_options[i]);
	fprintf(out, "\n");
}
