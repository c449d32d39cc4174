// SPDX-License-Identifier: BSD-2-Clause
/*
 * mapped.h - one file seen two ways: through libleasefs, and as a bare mapping of the region's file
 * at the very same bytes.
 *
 * Functions return 0, or -1 after a message.
 */
#ifndef BENCH_MAPPED_H
#define BENCH_MAPPED_H

#include <stddef.h>
#include <stdint.h>

#include "bench.h"
#include "leasefs/leasefs.h"
#include "server.h"

struct mapped {
	struct server *server;
	struct leasefs_session *session;
	struct leasefs_lease *lease;
	struct leasefs_extent *extents;
	unsigned extent_count;
	int file;
	int region;   /* the region's file; extents of one region alone are supported */
	void *leased; /* by libleasefs; NULL: not mapped */
	void *bare;   /* by ourselves; NULL: not mapped */
	size_t bytes; /* of the file and of each mapping */
};

/* A session on the server's mount, and its file `name`, which is made if it is not there. */
int mapped_open(struct mapped *m, struct server *s, const char *name);
/* A lease on all of the file, and the list of its extents. */
int mapped_lease(struct mapped *m, size_t bytes, unsigned flags);
int mapped_map_leased(struct mapped *m);
int mapped_map_bare(struct mapped *m); /* an mmap(2) for each extent, at one reserved address */
int mapped_unmap_leased(struct mapped *m);
int mapped_unmap_bare(struct mapped *m);
void mapped_close(struct mapped *m); /* of all that there is; also of {0} */

#endif
