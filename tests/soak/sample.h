/* SPDX-License-Identifier: BSD-2-Clause */
/* sample.h - what a daemon holds, in numbers: of its process, its leases, and its space. */
#ifndef TESTS_SOAK_SAMPLE_H
#define TESTS_SOAK_SAMPLE_H

enum figure {
	FIGURE_ANONYMOUS, /* KiB */
	FIGURE_RESIDENT,  /* KiB, with the pool's pages that it maps */
	FIGURE_DESCRIPTORS,
	FIGURE_THREADS,
	FIGURE_MAPPINGS,
	FIGURE_SESSIONS,
	FIGURE_LEASES,
	FIGURE_REVOKED,
	FIGURE_PINS,
	FIGURE_QUARANTINE, /* KiB */
	FIGURE_FREE,       /* KiB */
	FIGURE_FREE_EXTENTS,
	FIGURE_FREE_LARGEST, /* KiB */
	FIGURE_META_USED,    /* KiB */
	/* At rest alone. */
	FIGURE_UNACCOUNTED,  /* KiB that are neither free nor a file's */
	FIGURE_LOST_INODES,  /* in use, and no name leads there */
	FIGURE_FILE_EXTENTS, /* a file, on average */
	FIGURE_NEW_EXTENTS,  /* of a file of 4 MiB written just now */
	FIGURES
};
extern const char *const figure_names[FIGURES];

struct sample {
	double at_s;
	double figure[FIGURES];
};

/* The first figures. 0 or -errno. */
int sample_take(int control, struct sample *out);
/* The last ones too: nothing may go on in the mount meanwhile. */
int sample_rest(int control, const char *mount, struct sample *out);

#endif
