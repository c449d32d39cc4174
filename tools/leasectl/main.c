// SPDX-License-Identifier: BSD-2-Clause
/*
 * main.c - leasectl: what a pool or a mount is doing, and what an administrator can do about it.
 *
 * A mount is asked through its control file. A pool that is mounted somewhere is asked through that
 * mount; one that is not is opened read-only, for `status` alone.
 *
 * Exit status: 0; 1 with a sentence; 2 for a wrong command line.
 */
#include <errno.h>
#include <fcntl.h>
#include <mntent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "leasectl.h"

/* ---- finding the mount ----------------------------------------------------------------------- */

static int open_control(const char *mount)
{
	char path[4096 + sizeof(LEASEFS_CONTROL_PATH)];

	snprintf(path, sizeof(path), "%s/%s", mount, LEASEFS_CONTROL_PATH);
	return open(path, O_RDWR | O_CLOEXEC);
}

/*
 * `where` becomes the mount point if it is a pool that is mounted, by the name that it was mounted
 * by (`typed`, perhaps). -1: ask the pool itself.
 */
static int find_control(char where[4096], const char *typed)
{
	struct mntent *m;
	int fd = open_control(where);
	FILE *mounts;

	if (fd >= 0)
		return fd;
	mounts = setmntent("/proc/self/mounts", "r");
	while (mounts && (m = getmntent(mounts))) {
		if (!strncmp(m->mnt_type, "fuse", 4) &&
			(!strcmp(m->mnt_fsname, where) || !strcmp(m->mnt_fsname, typed))) {
			fd = open_control(m->mnt_dir);
			if (fd >= 0) {
				snprintf(where, 4096, "%s", m->mnt_dir);
				break;
			}
		}
	}
	if (mounts)
		endmntent(mounts);
	return fd;
}

/* ---- verbs ----------------------------------------------------------------------------------- */

struct request {
	const char *typed;
	char where[4096];
	const char *words[3]; /* after the verb */
	int count;
	int control;    /* -1: not mounted */
	uint64_t inode; /* of words[0], if the verb takes a file there */
};

static int do_status(const struct request *r)
{
	return r->control < 0 ? pool_status(r->where) : mount_status(r->control, r->where);
}

static int do_leases(const struct request *r)
{
	return list_leases(r->control, r->inode);
}

static int do_pins(const struct request *r)
{
	return list_pins(r->control, r->inode);
}

static int do_quarantine(const struct request *r)
{
	return list_quarantine(r->control);
}

static int do_conflicts(const struct request *r)
{
	return list_conflicts(r->control, r->inode);
}

static int do_layout(const struct request *r)
{
	return show_layout(r->words[0]);
}

static int do_recall(const struct request *r)
{
	return recall_file(r->control, r->inode, r->words[1], r->words[2]);
}

static int do_drain(const struct request *r)
{
	return drain_mount(r->control);
}

static int do_release(const struct request *r)
{
	return release_session(r->control, r->words[0]);
}

static int do_policy(const struct request *r)
{
	return r->count == 1 ? show_policy(r->words[0]) : set_policy(r->words[0], r->words[1]);
}

static const struct verb {
	const char *name;
	int (*run)(const struct request *r);
	int least, most; /* words */
	bool takes_file; /* the first word is a file */
	const char *words, *help;
} verbs[] = {
	{"status", do_status, 0, 0, false, "",
		"the pool, its media, and what is held and waited for"},
	{"leases", do_leases, 0, 1, true, "[FILE]", "who holds which range"},
	{"pins", do_pins, 0, 1, true, "[FILE]", "what is pinned, and how often"},
	{"quarantine", do_quarantine, 0, 0, false, "",
		"revoked leases, and the space kept for them"},
	{"conflicts", do_conflicts, 0, 1, true, "[FILE]",
		"what failed with EBUSY lately, and who held"},
	{"layout", do_layout, 1, 1, true, "FILE", "the extents of a file"},
	{"recall", do_recall, 1, 3, true, "FILE [OFFSET LENGTH]",
		"ask the holders of a file to give it back"},
	{"drain", do_drain, 0, 0, false, "", "recall everything, grant nothing any more"},
	{"release", do_release, 1, 1, false, "SESSION",
		"a closed session touches nothing any more: free its quarantine"},
	{"policy", do_policy, 1, 2, true, "FILE [POLICY]",
		"show or set what meets the leases of a file; '' unsets"},
};
#define VERBS (sizeof(verbs) / sizeof(verbs[0]))

static int usage(FILE *out)
{
	fprintf(out, "usage: leasectl POOL-or-MOUNT VERB [WORD...] [--json]\n\n");
	for (size_t i = 0; i < VERBS; i++)
		fprintf(out, "  %-10s %-21s %s\n", verbs[i].name, verbs[i].words, verbs[i].help);
	fprintf(out,
		"\nA pool that is not mounted has a status alone. recall, drain and release are"
		" for the administrator.\n");
	return out == stdout ? 0 : 2;
}

static const struct verb *find_verb(const char *name)
{
	for (size_t i = 0; i < VERBS; i++)
		if (!strcmp(verbs[i].name, name))
			return &verbs[i];
	return NULL;
}

static int run(struct request *r, const struct verb *verb)
{
	struct stat st;
	int result;

	if (verb->takes_file && r->count > 0) {
		if (stat(r->words[0], &st))
			return failed(r->words[0]);
		r->inode = st.st_ino;
	}
	r->control = find_control(r->where, r->typed);
	if (r->control < 0 && verb->run != do_status) {
		fprintf(stderr,
			"leasectl: %s is not a mount of leasefs, nor a pool that is mounted\n",
			r->where);
		return 1;
	}
	result = verb->run(r);
	if (r->control >= 0)
		close(r->control);
	return result;
}

int main(int argc, char **argv)
{
	const char *words[5] = {NULL};
	struct request r = {.control = -1};
	const struct verb *verb;
	int n = 0;

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--json"))
			as_json = true;
		else if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))
			return usage(stdout);
		else if (!strcmp(argv[i], "--version") || !strcmp(argv[i], "-V"))
			return puts("leasectl " LEASEFS_VERSION) < 0;
		else if (argv[i][0] == '-' || n == 5)
			return usage(stderr);
		else
			words[n++] = argv[i];
	}
	verb = n >= 2 ? find_verb(words[1]) : NULL;
	if (!verb || n - 2 < verb->least || n - 2 > verb->most)
		return usage(stderr);
	r.count = n - 2;
	r.typed = words[0];
	memcpy(r.words, words + 2, sizeof(r.words));
	if (!realpath(words[0], r.where))
		return failed(words[0]);
	return run(&r, verb);
}
