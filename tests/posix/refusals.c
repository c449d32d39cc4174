// SPDX-License-Identifier: BSD-2-Clause
/*
 * refusals.c - each request to a daemon, with each allocation that it makes for it refused once.
 *
 *	refusals MOUNT FILE      FILE is what the daemon has as REFUSE (refuse.h)
 *
 * A request that was refused memory is done all the same, or fails with ENOMEM; then it can be
 * done. Prints how many were refused. The mount's policy should be a short one: one request is a
 * truncate that waits for a lease.
 */
#include <errno.h>
#include <fcntl.h>
#include <dirent.h>
#include <linux/falloc.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "leasefs/control.h"
#include "refuse.h"

#define REFUSALS_MAX 200u /* of one request */
#define FILE_BYTES 65536

static struct refuse *refuse;
static int file = -1, control = -1;
static struct leasefs_hello hello;
static struct leasefs_grant lease;
static uint64_t range_pin;
static char bytes[FILE_BYTES];

static void give_up(const char *what)
{
	fprintf(stderr, "refusals: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void must(int result, const char *what)
{
	if (result < 0)
		give_up(what);
}

/* ---- requests: 0 or -1 with errno ------------------------------------------------------------ */

static int close_if(int fd)
{
	return fd < 0 ? -1 : close(fd);
}

static int do_open(void)
{
	return close_if(open("file", O_RDWR));
}

static int do_stat(void)
{
	struct stat st;

	return stat("dir/inside", &st);
}

static int do_create(void)
{
	return close_if(open("new", O_RDWR | O_CREAT, 0600));
}

static int do_mkdir(void)
{
	return mkdir("new.d", 0700);
}

static int do_symlink(void)
{
	return symlink("somewhere", "new.s");
}

static int do_link(void)
{
	return link("file", "new.l");
}

static int do_rename(void)
{
	return rename("dir/inside", "dir/moved");
}

static int do_unlink(void)
{
	return unlink("victim");
}

static int do_readdir(void)
{
	DIR *dir = opendir("dir");

	if (!dir)
		return -1;
	errno = 0;
	while (readdir(dir))
		;
	int error = errno;
	closedir(dir);
	errno = error;
	return error ? -1 : 0;
}

static int do_write(void)
{
	return pwrite(file, bytes, 30000, FILE_BYTES) == 30000 ? fsync(file) : -1;
}

static int do_read(void)
{
	posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
	return pread(file, bytes, sizeof(bytes), 0) < 0 ? -1 : 0;
}

static int do_truncate(void)
{
	return ftruncate(file, 10000);
}

static int do_allocate(void)
{
	return fallocate(file, 0, 0, 4 * FILE_BYTES);
}

static int do_punch(void)
{
	return fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 5000, 20000);
}

static int do_setxattr(void)
{
	return fsetxattr(file, "user.name", bytes, 3000, 0);
}

static int do_getxattr(void)
{
	return getxattr("file", "user.there", bytes, sizeof(bytes)) < 0 ? -1 : 0;
}

static int do_chmod(void)
{
	return fchmod(file, 0640);
}

static int do_policy(void)
{
	return fsetxattr(file, "user.leasefs.policy", "recall:10ms/busy", 16, 0);
}

static int say_hello(int fd)
{
	hello = (struct leasefs_hello){
		.abi = LEASEFS_ABI,
		.features = LEASEFS_FEATURE_SLOT_PINS | LEASEFS_FEATURE_RANGE_PINS,
	};
	return ioctl(fd, LEASEFS_IOC_HELLO, &hello);
}

static int do_session(void)
{
	int fd = open(LEASEFS_CONTROL_PATH, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return -1;
	int result = say_hello(fd), error = errno;

	close(fd);
	errno = error;
	return result;
}

static int do_grant(void)
{
	lease = (struct leasefs_grant){.length = FILE_BYTES, .mode = LEASEFS_MODE_WRITE};
	memcpy(lease.cookie, hello.cookie, sizeof(lease.cookie));
	return ioctl(file, LEASEFS_IOC_GRANT, &lease);
}

static int do_return(void)
{
	struct leasefs_return r = {.lease = lease.lease, .offset = 8192, .length = 8192};

	return ioctl(control, LEASEFS_IOC_RETURN, &r);
}

static int do_commit(void)
{
	struct leasefs_commit r = {.lease = lease.lease, .length = 8192, .size = FILE_BYTES};

	return ioctl(control, LEASEFS_IOC_COMMIT, &r);
}

static int do_pin(void)
{
	struct leasefs_pin r = {.lease = lease.lease, .length = 4096};
	int result = ioctl(control, LEASEFS_IOC_PIN, &r);

	range_pin = r.pin;
	return result;
}

static int do_unpin(void)
{
	struct leasefs_unpin r = {.pin = range_pin};

	return ioctl(control, LEASEFS_IOC_UNPIN, &r);
}

static int do_downgrade(void)
{
	struct leasefs_downgrade r = {.lease = lease.lease};

	return ioctl(control, LEASEFS_IOC_DOWNGRADE, &r);
}

static int do_leases(void)
{
	static struct leasefs_leases r;

	memset(&r, 0, sizeof(r));
	return ioctl(control, LEASEFS_IOC_LEASES, &r);
}

static int do_status(void)
{
	struct leasefs_status r = {0};

	return ioctl(control, LEASEFS_IOC_STATUS, &r);
}

/* ---- what stands before each ----------------------------------------------------------------- */

static void end_session(void)
{
	if (control >= 0)
		close(control);
	control = -1;
}

static void set_up(bool session, bool leased)
{
	static const char *const made[] = {"new", "new.s", "new.l"};

	end_session();
	for (unsigned i = 0; i < sizeof(made) / sizeof(made[0]); i++)
		unlink(made[i]);
	rmdir("new.d");
	rename("dir/moved", "dir/inside");
	must(close_if(open("victim", O_WRONLY | O_CREAT, 0600)), "victim");
	/* The blocks of the last lease may be waiting for the end of it. */
	must(ftruncate(file, 0), "truncate");
	must((int)pwrite(file, bytes, sizeof(bytes), 0), "write");
	if (!session)
		return;
	control = open(LEASEFS_CONTROL_PATH, O_RDWR | O_CLOEXEC);
	must(control, LEASEFS_CONTROL_PATH);
	must(say_hello(control), "hello");
	if (leased)
		must(do_grant(), "grant");
}

static const struct request {
	const char *name;
	int (*run)(void);
	bool session, leased;
} requests[] = {
	{"open", do_open, false, false},
	{"stat", do_stat, false, false},
	{"create", do_create, false, false},
	{"mkdir", do_mkdir, false, false},
	{"symlink", do_symlink, false, false},
	{"link", do_link, false, false},
	{"rename", do_rename, false, false},
	{"unlink", do_unlink, false, false},
	{"readdir", do_readdir, false, false},
	{"write", do_write, false, false},
	{"read", do_read, false, false},
	{"truncate", do_truncate, false, false},
	{"allocate", do_allocate, false, false},
	{"punch", do_punch, false, false},
	{"setxattr", do_setxattr, false, false},
	{"getxattr", do_getxattr, false, false},
	{"chmod", do_chmod, false, false},
	{"policy", do_policy, false, false},
	{"session", do_session, false, false},
	{"grant", do_grant, true, false},
	{"return", do_return, true, true},
	{"commit", do_commit, true, true},
	{"pin", do_pin, true, true},
	{"downgrade", do_downgrade, true, true},
	{"leases", do_leases, true, true},
	{"status", do_status, true, true},
	{"truncate against a lease", do_truncate, true, true},
	{"punch against a lease", do_punch, true, true},
};

static bool refused_once(const struct request *r, unsigned n)
{
	uint32_t before;
	int result, error;

	set_up(r->session, r->leased);
	before = atomic_load(&refuse->came);
	atomic_store(&refuse->memory, n);
	result = r->run();
	error = errno;
	atomic_store(&refuse->memory, 0);
	if (result < 0 && error != ENOMEM) {
		errno = error;
		give_up(r->name);
	}
	if (result < 0 && r->run() < 0) {
		fprintf(stderr, "allocation %u was refused, and then:\n", n);
		give_up(r->name);
	}
	if (r->run == do_pin && do_unpin() < 0)
		give_up("unpin");
	return atomic_load(&refuse->came) > before;
}

int main(int argc, char **argv)
{
	unsigned refusals = 0;
	int fd = argc == 3 ? open(argv[2], O_RDWR | O_CLOEXEC) : -1;

	if (argc != 3)
		return 2;
	must(fd, argv[2]);
	refuse = mmap(NULL, sizeof(*refuse), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (refuse == MAP_FAILED)
		give_up(argv[2]);
	must(chdir(argv[1]), argv[1]);
	file = open("file", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	must(file, "file");
	must(fsetxattr(file, "user.there", "x", 1, 0), "setxattr");
	must(mkdir("dir", 0700), "dir");
	must(close_if(open("dir/inside", O_WRONLY | O_CREAT, 0600)), "inside");
	for (unsigned i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
		unsigned n = 1;

		while (n <= REFUSALS_MAX && refused_once(&requests[i], n))
			n++;
		printf("%s: %u\n", requests[i].name, n - 1);
		refusals += n - 1;
	}
	end_session();
	printf("%u allocations refused\n", refusals);
	return refusals >= 20 ? 0 : 1;
}
