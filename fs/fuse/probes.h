// SPDX-License-Identifier: BSD-2-Clause
/*
 * probes.h - points that tracers (bpftrace, perf, SystemTap, gdb) may attach to, as the provider
 * `leasefs`. Where <sys/sdt.h> was there at build time each is one `nop` and a note in the program;
 * where not, nothing at all. docs/tracing.md lists them with their arguments.
 */
#ifndef FUSE_PROBES_H
#define FUSE_PROBES_H

#ifdef HAVE_SYS_SDT_H
#include <sys/sdt.h>
#define PROBE(name, r)                                                                             \
	DTRACE_PROBE8(leasefs, name, (r)->session, (r)->lease, (r)->ino, (r)->start, (r)->end,     \
		(r)->pid, (r)->number, (r)->value)
#else
#define PROBE(name, r) ((void)(r))
#endif

#endif
