// SPDX-License-Identifier: BSD-2-Clause
/*
 * model.h - what arbitration means, said as plainly as possible: arrays, looked through from end to
 * end. The simulator drives leasemgr and this model with the same steps; after each of them
 * model_check() compares the two and the invariants.
 *
 * A file is UNITS blocks, each a hole or a block of the media. A lease of the model knows which
 * blocks its client has mapped, and keeps knowing it when it is a ghost: so reuse of a block that
 * somebody could still touch is seen the moment it becomes free, by whatever way.
 *
 * The invariants of DESIGN, as they look here
 *   1, 8  no block is free while a client that lives has it mapped, or a dead one's DMA may run
 *   2     a change that fails has found a pin in its way (or its own), and its time was over
 *   3, 7  a change that goes on has nobody else's lease over it, and no pin
 *   4     no change waits longer than its ladder
 *   5     no lease is granted over a change; nobody waits for a lease with nothing in the way, and
 *         no holder is left without the news of a recall
 *   6     a restart, between any two things that are written down, finds every lease, pin and block
 *         that a client was told of; and nothing that needs one of them goes on before it was
 *         reclaimed, or its time is over; what cannot be written down is not done
 */
#ifndef SIM_MODEL_H
#define SIM_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "leasemgr.h"

#define UNIT 4096ull
#define UNITS 20
#define INODES 2
#define SESSIONS 5
#define SLOTS 64
#define LEASES 128
#define CHANGES 12
#define PINS 64
#define WANTS 32
#define TOLD 256 /* as many as a session may have */
#define BLOCKS 256
#define DRAIN_NS 2000u
#define GRACE_NS 800000u

/* What outlives the daemon. */
struct m_record {
	struct lm_lease_record lm; /* lease 0: none */
	uint8_t blocks[UNITS];     /* its extents */
};
struct m_pin_record {
	uint64_t pin, lease; /* 0: none */
	int start, end;
	bool unbreakable;
};

struct m_want {
	bool used;
	int session, ino, start, end;
	bool exclusive, write;
	int policy;
	uint64_t began_ns; /* when it was first asked for */
};

struct m_session {
	struct lm_session *lm; /* NULL: free */
	struct m_record records[SLOTS];
	struct m_pin_record pin_records[SLOTS];
	bool inherited; /* nobody has adopted it since the restart; closed, then */
	uint64_t id;
	uint32_t pid;
	bool closed, process_gone;
	uint64_t drain_ns; /* when its DMA is over; 0: not dying */
	uint32_t pins[SLOTS];
	bool recall[SLOTS];
	bool drain_told;
	struct m_want told[TOLD]; /* `available` was read, and it was not asked for again; a ring */
	unsigned told_at;
};

struct m_lease {
	bool used, live, exclusive, write, making;
	bool inherited;               /* not reclaimed yet */
	int session, ino, start, end; /* units */
	int in_use;
	uint64_t id;     /* 0: not yet known (a part that was cut) */
	uint64_t origin; /* a ghost: of the lease that it was cut from */
	uint32_t slot;
	bool told;                /* the client read that it is recalled: */
	int told_start, told_end; /* ... that much of it */
	bool slot_known;          /* the client may pin by it */
	uint8_t blocks[UNITS];    /* 0: not mapped */
};

struct m_pin {
	bool used, unbreakable;
	int lease, start, end;
	uint64_t id;
};

enum m_state { M_NONE, M_PARKED, M_ACTIVE };
struct m_change {
	enum m_state state;
	struct lm_change *lm;
	enum lm_kind kind;
	int ino, start, end;
	uint32_t pid;
	uint64_t began_ns; /* its ladder */
	int policy;
	bool grace; /* it waits for inherited leases: the ladder has not begun */
	bool alone; /* leasemgr need not hear what it frees */
};

struct model {
	struct lm *lm;
	uint64_t seed;
	bool check;
	uint64_t now;
	struct m_session sessions[SESSIONS];
	struct m_lease leases[LEASES];
	struct m_pin pins[PINS];
	struct m_change changes[CHANGES];
	struct m_want wants[WANTS];
	uint8_t files[INODES][UNITS]; /* 0: hole */
	uint8_t held[BLOCKS];         /* how often */
	uint64_t grace_end_ns;
	unsigned crash_in;          /* so many writes from now the daemon is killed; 0: it is not */
	bool dead;                  /* it has been: nothing is written any more */
	bool full;                  /* records of leases are refused */
	struct m_change *beginning; /* in lm_change_begin() */
};

#define POLICIES 6
extern const char *const policy_texts[POLICIES];
extern struct lm_policy policies[POLICIES];

extern const struct lm_ops model_ops;

/* restart.c */
int on_persist(void *context, void *owner, const struct lm_lease_record *record);
void on_pin_moved(void *context, void *owner, uint64_t pin, uint64_t lease);
void on_pin_gone(void *context, void *owner, uint64_t pin);
int record_copy(struct model *m, struct m_session *s, uint32_t from, uint32_t to);
void record_clear(struct model *m, struct m_session *s, uint32_t slot);
/* A ghost whose record says that it is a lease. */
bool m_is_unwritten(const struct model *m, const struct m_lease *l);
/* False: the daemon was killed before: the client gets no answer. */
bool record_grant(struct model *m, const struct m_lease *l);
bool record_pin(struct model *m, const struct m_pin *p);
/* The daemon's memory goes, and the next one puts back what was written down. */
void model_restart(struct model *m);
void m_drain(struct model *m);      /* what is over by now */
void m_grace_over(struct model *m); /* as far as the model knows of it, before leasemgr does */
struct lm *model_create(struct model *m, uint64_t seed, uint64_t first_id);
bool m_waits_for_grace(const struct model *m, const struct m_change *c);

/* Says what is wrong, and does not return. */
_Noreturn void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

void model_init(struct model *m, uint64_t seed, bool check);
void model_end(struct model *m);
void model_check(struct model *m);
/* Leases revoked for the sake of other leases: leasemgr tells nobody but their holders. */
void explain_ghosts(struct model *m);
/* Learns the ids of what was just cut, before it is cut again. */
void learn_ids(struct model *m);

bool m_pinned(const struct model *m, const struct m_lease *l, int start, int end);
bool m_conflicts(const struct model *m, const struct m_change *c, const struct m_lease *l);
bool m_own(const struct model *m, const struct m_change *c, const struct m_lease *l);
/* Has it to write something down, before it goes on? */
bool m_has_to_write(const struct model *m, const struct m_change *c);
/* What a verdict must be true of, and what follows from it. */
void m_verdict(struct model *m, struct m_change *c, int verdict);
struct m_lease *m_new_lease(struct model *m);
/* [start, end) of a live lease becomes a ghost; `whole`: all of it. */
void m_revoke(struct model *m, struct m_lease *l, int start, int end, bool whole);
void m_end_lease(struct model *m, struct m_lease *l);
/* Takes [start, end) out of a lease; the part behind becomes one of its own. */
struct m_lease *m_cut(struct model *m, struct m_lease *l, int start, int end);
uint8_t m_free_block(const struct model *m); /* 0: none */
/* A session's end, as far as the model knows of it by now. */
void m_wind_up(struct model *m, int session);
void m_drop_session(struct model *m, int session);

#endif
