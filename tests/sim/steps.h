// SPDX-License-Identifier: BSD-2-Clause
/*
 * steps.h - what a schedule is made of: an operation and four random numbers, which pick its
 * objects from what there is when it runs. Each step does the same to leasemgr and to the model.
 */
#ifndef SIM_STEPS_H
#define SIM_STEPS_H

#include "model.h"

struct step {
	uint8_t op;
	uint32_t a, b, c, d;
};

/* Of those that fit, by a random number; NULL or -1: none does. */
enum want_lease { LIVE, GHOST, MAKING, INHERITED };
struct m_lease *pick_lease(struct model *m, uint32_t r, enum want_lease want);
int pick_session(struct model *m, uint32_t r, bool open);
struct m_change *pick_change(struct model *m, uint32_t r, enum m_state state);
void pick_range(uint32_t b, uint32_t c, int *start, int *end);

/* The session's want, or one whose `available` was read, for the same; NULL: there is none. */
struct m_want *find_want(struct model *m, const struct m_want *like);
struct m_want *find_told(struct model *m, const struct m_want *like);

void step_open(struct model *m, const struct step *s);
void step_close(struct model *m, const struct step *s);
void step_process_gone(struct model *m, const struct step *s);
void step_set_process(struct model *m, const struct step *s);
void step_release(struct model *m, const struct step *s);
void step_grant(struct model *m, const struct step *s);
void step_finish_grant(struct model *m, const struct step *s);
void step_return(struct model *m, const struct step *s);
void step_downgrade(struct model *m, const struct step *s);
void step_commit(struct model *m, const struct step *s);
void step_end_use(struct model *m, const struct step *s);
void step_ack(struct model *m, const struct step *s);
void step_slot_pin(struct model *m, const struct step *s);
void step_slot_unpin(struct model *m, const struct step *s);
void step_pin(struct model *m, const struct step *s);
void step_unpin(struct model *m, const struct step *s);
void step_change(struct model *m, const struct step *s);
void step_end_change(struct model *m, const struct step *s);
void step_interrupt(struct model *m, const struct step *s);
void step_time(struct model *m, const struct step *s);
void step_event(struct model *m, const struct step *s);
void step_restart(struct model *m, const struct step *s);
void step_records(struct model *m, const struct step *s);
void step_adopt(struct model *m, const struct step *s);
void step_tell_again(struct model *m, const struct step *s);
void step_reclaim(struct model *m, const struct step *s);

#endif
