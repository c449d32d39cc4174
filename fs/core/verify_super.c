// SPDX-License-Identifier: BSD-2-Clause
/*
 * verify_super.c - phase 1: the pair of superblocks, the journal, the roots; and verify_rescue(),
 * for a pool that does not even open.
 *
 * An open core has a journal that was replayed, and roots that could be read; what is left to look
 * at is the superblock that was not used.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "verify_impl.h"

int verify_supers(struct verify *v)
{
	struct core *c = v->core;
	struct media_super copy;
	struct diag why = {0};

	for (unsigned i = 0; i < 2; i++) {
		int r = super_read_copy(c->meta_region, i, &copy, &why);

		if (r == 0 && copy.generation == c->super.generation)
			continue;
		if (r == 0)
			diag_set(&why, 0, "superblock %u has generation %llu, the other %llu", i,
				(unsigned long long)copy.generation,
				(unsigned long long)c->super.generation);
		if (verify_found(v, 0, "written again from the other one", "%s", why.text))
			return verify_queue(v, &(struct repair){.kind = REPAIR_SUPERS});
	}
	return 0;
}

/* ---- a pool that does not open --------------------------------------------------------------- */

static int clear_journal(struct core *c, struct diag *d)
{
	struct journal_config config;
	int r;

	core_journal_config(c, &config);
	r = journal_format(&config);
	return r < 0 ? diag_set(d, r, "the journal could not be cleared") : 0;
}

static int rescue(struct core *c, struct verify *v, struct diag *d)
{
	bool was_read_only = c->options.read_only;
	int r = core_open_pool(c, d);

	if (r == 0)
		r = core_open_meta(c, d);
	if (r == -EUCLEAN)
		verify_found(v, 0, NULL, "%s", d->text);
	if (r < 0)
		return r;
	r = core_open_journal(c, d);
	if (r == -EUCLEAN) {
		if (verify_found(v, 0,
			    "cleared: changes that had not reached their places are lost",
			    "the journal cannot be replayed: %s", d->text) &&
			!was_read_only) {
			d->text[0] = '\0';
			r = clear_journal(c, d);
			v->report->repaired += r == 0;
		}
		return r;
	}
	if (r < 0)
		return r;
	v->phase = VERIFY_SPACES;
	r = core_open_spaces(c, d);
	if (r == -EUCLEAN)
		verify_found(v, 0, NULL, "%s", d->text);
	/* 0: whatever kept core_open() from it has gone. */
	return r;
}

int verify_rescue(const struct core_options *pool, const struct verify_options *options,
	struct verify_report *report, struct diag *d)
{
	struct verify v = {.options = options, .report = report, .phase = VERIFY_SUPERS};
	struct core *c;
	int r = core_new(pool, &c, d);

	if (r < 0)
		return r;
	v.core = c;
	r = rescue(c, &v, d);
	report->left = v.pass_findings;
	core_free(c);
	free(v.answers);
	return r;
}
