// SPDX-License-Identifier: BSD-2-Clause
/*
 * harden.c - see harden.h; docs/security.md says what it is good for.
 *
 *   no new privileges   no program run from here gains any; ender.c is there for those that must
 *   capabilities        those in `kept`, if root had them; an ordinary user's daemon has none
 *   core dumps          none, and no other process of the same user looks into this one: the
 *                       daemon's memory holds cookies and other users' data
 *   system calls        those in `calls`. Any other is answered ENOSYS, as by a kernel that has no
 *                       such call: a newer libc then takes an older one. What only an intruder
 *                       would call ends the daemon: `deadly`.
 *
 * Not under a sanitizer, whose runtime makes calls of its own: the filter; it says so.
 */
#include "harden.h"

#include <errno.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "log.h"

#ifdef HAVE_SECCOMP
#include <seccomp.h>
#endif

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) ||                         \
	__has_feature(memory_sanitizer)
#define SANITIZER 1
#endif
#endif

/* ---- privileges ------------------------------------------------------------------------------ */

#define CAP(name) (1ull << (name))

static const uint64_t kept = CAP(CAP_CHOWN) |        /* a region of an owner's own, pin pages */
			     CAP(CAP_DAC_OVERRIDE) | /* opening those again */
			     CAP(CAP_FOWNER) |       /* and their modes */
			     CAP(CAP_KILL) |         /* the policies' rungs `signal` and `kill` */
			     CAP(CAP_SYS_PTRACE) |   /* /proc/PID/maps: who maps a region still */
			     CAP(CAP_SYS_RESOURCE); /* the root's reserve of the filesystem below */

static int keep_capabilities(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	if (syscall(SYS_capget, &header, data) != 0)
		return -errno;
	for (int i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) {
		data[i].permitted &= (uint32_t)(kept >> (32 * i));
		data[i].effective = data[i].permitted;
		data[i].inheritable = 0;
	}
	return syscall(SYS_capset, &header, data) != 0 ? -errno : 0;
}

static int dump_no_core(void)
{
	const struct rlimit none = {0, 0};

	/* The limit does not count where cores go to a pipe, the flag does. */
	return setrlimit(RLIMIT_CORE, &none) != 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0
		       ? -errno
		       : 0;
}

/* ---- system calls ---------------------------------------------------------------------------- */

#if defined(HAVE_SECCOMP) && !defined(SANITIZER)

/* By name: not every architecture and not every libseccomp knows each of them. */
static const char *const calls[] = {
	/* regions, records, /dev/fuse, /proc */
	"access", "faccessat", "faccessat2", "open", "openat", "openat2", "close", "close_range",
	"read", "readv", "pread64", "preadv", "preadv2", "write", "writev", "pwrite64", "pwritev",
	"pwritev2", "lseek", "_llseek", "stat", "stat64", "lstat", "lstat64", "fstat", "fstat64",
	"newfstatat", "fstatat64", "statx", "statfs", "statfs64", "fstatfs", "fstatfs64",
	"readlink", "readlinkat", "getdents", "getdents64", "getcwd", "fcntl", "fcntl64", "flock",
	"dup", "dup2", "dup3", "ioctl", "fallocate", "truncate", "ftruncate", "ftruncate64",
	"fsync", "fdatasync", "sync_file_range", "syncfs", "copy_file_range", "splice", "vmsplice",
	"tee", "sendfile", "sendfile64", "unlink", "unlinkat", "mkdir", "mkdirat", "rmdir",
	"rename", "renameat", "renameat2", "link", "linkat", "chmod", "fchmod", "fchmodat",
	"fchmodat2", "chown", "fchown", "fchownat", "utimensat", "umask", "pipe", "pipe2",
	"inotify_init1", "inotify_add_watch", "inotify_rm_watch", "fgetxattr", "fsetxattr",
	"memfd_create", "fadvise64", "readahead",
	/* memory */
	"brk", "mmap", "mmap2", "munmap", "mremap", "mprotect", "msync", "madvise", "mincore",
	"mlock", "mlock2", "munlock", "membarrier", "pkey_mprotect",
	/* threads and time; clone is below */
	"futex", "futex_time64", "futex_waitv", "set_robust_list", "get_robust_list",
	"set_tid_address", "rseq", "gettid", "exit", "exit_group", "sched_yield",
	"sched_getaffinity", "sched_setaffinity", "sched_getparam", "sched_getscheduler", "getcpu",
	"arch_prctl", "nanosleep", "clock_nanosleep", "clock_nanosleep_time64", "clock_gettime",
	"clock_gettime64", "clock_getres", "gettimeofday", "time", "times", "timerfd_create",
	"timerfd_settime", "timerfd_gettime", "restart_syscall",
	/* waiting */
	"poll", "ppoll", "ppoll_time64", "select", "pselect6", "epoll_create1", "epoll_ctl",
	"epoll_wait", "epoll_pwait", "epoll_pwait2", "eventfd2", "signalfd4", "io_uring_setup",
	"io_uring_enter", "io_uring_register",
	/* signals and processes */
	"rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "rt_sigpending", "rt_sigtimedwait",
	"rt_sigqueueinfo", "sigaltstack", "kill", "tgkill", "tkill", "pidfd_open",
	"pidfd_send_signal", "wait4", "waitid", "getpid", "getppid", "getpgrp", "getpgid", "getsid",
	"getuid", "geteuid", "getgid", "getegid", "getgroups", "getresuid", "getresgid", "capget",
	"prctl", "getrlimit", "setrlimit", "prlimit64", "getrusage", "uname", "sysinfo",
	"getrandom",
	/* syslog and a service manager, on sockets of this machine; socket is below */
	"connect", "sendto", "sendmsg", "recvfrom", "recvmsg", "getsockopt", "setsockopt",
	"getsockname", "getpeername", "shutdown"};

static const char *const deadly[] = {"execve", "execveat", "fork", "vfork", "ptrace",
	"process_vm_readv", "process_vm_writev", "mount", "umount", "umount2", "move_mount",
	"fsopen", "fsmount", "open_tree", "pivot_root", "chroot", "setns", "unshare", "bpf",
	"perf_event_open", "userfaultfd", "init_module", "finit_module", "delete_module",
	"kexec_load", "kexec_file_load", "reboot", "swapon", "setuid", "setgid", "setreuid",
	"setregid", "setresuid", "setresgid", "setgroups", "capset", "keyctl", "add_key",
	"request_key", "personality", "open_by_handle_at", "mknod", "mknodat", "pidfd_getfd",
	"iopl", "ioperm"};

static int add_list(scmp_filter_ctx filter, uint32_t action, const char *const *names, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		int number = seccomp_syscall_resolve_name(names[i]);
		int error = number < 0 ? 0 : seccomp_rule_add(filter, action, number, 0);

		/* -EDOM: not on this architecture. */
		if (error != 0 && error != -EDOM)
			return error;
	}
	return 0;
}

/* Threads yes, processes no; clone3 hides which: libc falls back to clone when it is not there. */
static int add_conditional(scmp_filter_ctx filter)
{
	int error = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
		SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));

	if (error == 0)
		error = seccomp_rule_add(
			filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1, SCMP_A0(SCMP_CMP_EQ, AF_UNIX));
	return error;
}

static int filter_calls(void)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
	int error;

	if (filter == NULL)
		return -ENOMEM;
	error = add_list(filter, SCMP_ACT_ALLOW, calls, sizeof(calls) / sizeof(calls[0]));
	if (error == 0)
		error = add_list(
			filter, SCMP_ACT_KILL_PROCESS, deadly, sizeof(deadly) / sizeof(deadly[0]));
	if (error == 0)
		error = add_conditional(filter);
	/* A tree of comparisons: a call costs the same wherever it stands in the list. */
	if (error == 0)
		(void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (error == 0)
		error = seccomp_load(filter);
	seccomp_release(filter);
	if (error == -EINVAL || error == -ENOSYS) {
		log_warning("the kernel has no filters for system calls: serving without one");
		error = 0;
	}
	return error;
}

#else

static int filter_calls(void)
{
#ifdef SANITIZER
	log_warning("built with a sanitizer: serving without a filter for system calls");
#else
	log_debug("built without libseccomp: serving without a filter for system calls");
#endif
	return 0;
}

#endif

int harden(struct diag *d)
{
	int error;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return diag_set(d, -errno, "no_new_privs: %s", strerror(errno));
	error = keep_capabilities();
	if (error != 0)
		return diag_set(d, error, "capabilities cannot be dropped: %s", strerror(-error));
	error = dump_no_core();
	if (error != 0)
		return diag_set(d, error, "core dumps cannot be turned off: %s", strerror(-error));
	error = filter_calls();
	if (error != 0)
		return diag_set(d, error, "the filter for system calls cannot be loaded: %s",
			strerror(-error));
	return 0;
}
