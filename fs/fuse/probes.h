// SPDX-License-Identifier: BSD-2-Clause
/*
 * probes.h - points that tracers (bpftrace, perf, SystemTap, gdb) may attach to, as the provider
 * `leasefs`. Where <sys/sdt.h> was there at build time each is one `nop` and a note in the program;
 * where not, nothing at all. docs/tracing.md lists them with their arguments: six, because bpftrace
 * reads no more.
 */
#ifndef FUSE_PROBES_H
#define FUSE_PROBES_H

#ifdef HAVE_SYS_SDT_H
#include <sys/sdt.h>
#define PROBE_LEASE(name, r)                                                                       \
	DTRACE_PROBE6(leasefs, name, (r)->session, (r)->lease, (r)->ino, (r)->start, (r)->end,     \
		(r)->mode)
#define PROBE_STEP(name, r)                                                                        \
	DTRACE_PROBE6(leasefs, name, (r)->session, (r)->lease, (r)->ino, (r)->number, (r)->value,  \
		(r)->pid)
#else
#define PROBE_LEASE(name, r) ((void)(r))
#define PROBE_STEP(name, r) ((void)(r))
#endif

#endif
