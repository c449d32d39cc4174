// SPDX-License-Identifier: BSD-2-Clause
/*
 * sim.c - drives leasemgr and the model with a random schedule, and shrinks it when they part.
 *
 *   sim [--seed N] [--steps N] [--seconds N] [--quick-check]
 *
 * A schedule is a list of steps, each an operation and four random numbers that pick its objects
 * from what there is when it runs; so steps can be left out and the others still mean something.
 * An episode is a fresh world and EPISODE steps; episode k of seed s is the same for ever. When one
 * fails, parts of it are left out as long as it fails, and what is left is printed, with the state
 * of the clock at each step, and the numbers that repeat it.
 *
 * Exit status: 0 all steps passed, 1 a failure was found.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "model.h"
#include "steps.h"

#define EPISODE 1500
#define TRIES 3000 /* replays that shrinking may take: a second or two */

static struct model world;
static sigjmp_buf on_failure;
static char failure[512];
static bool check_invariants = true;

_Noreturn void fail(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(failure, sizeof(failure), format, args);
	va_end(args);
	siglongjmp(on_failure, 1);
}

static void on_abort(int number)
{
	snprintf(failure, sizeof(failure), "an assertion of leasemgr failed");
	siglongjmp(on_failure, 1);
}

/* ---- schedules ------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	void (*run)(struct model *m, const struct step *s);
	unsigned weight;
} operations[] = {
	{"open", step_open, 3},
	{"close", step_close, 2},
	{"process_gone", step_process_gone, 2},
	{"set_process", step_set_process, 1},
	{"release", step_release, 1},
	{"grant", step_grant, 14},
	{"finish_grant", step_finish_grant, 5},
	{"return", step_return, 6},
	{"downgrade", step_downgrade, 2},
	{"commit", step_commit, 4},
	{"end_use", step_end_use, 4},
	{"ack", step_ack, 5},
	{"slot_pin", step_slot_pin, 5},
	{"slot_unpin", step_slot_unpin, 7},
	{"pin", step_pin, 4},
	{"unpin", step_unpin, 6},
	{"change", step_change, 9},
	{"end_change", step_end_change, 10},
	{"interrupt", step_interrupt, 3},
	{"time", step_time, 8},
	{"event", step_event, 14},
	{"restart", step_restart, 1},
	{"records", step_records, 1},
	{"adopt", step_adopt, 3},
	{"tell_again", step_tell_again, 1},
	{"reclaim", step_reclaim, 5},
};
#define OPERATIONS (sizeof(operations) / sizeof(operations[0]))

static uint64_t rng;

static uint32_t roll(void)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return (uint32_t)(rng >> 16);
}

static void make_schedule(struct step *steps, uint64_t seed)
{
	unsigned total = 0;

	rng = (seed + 1) * 0x9e3779b97f4a7c15ull;
	for (size_t i = 0; i < OPERATIONS; i++)
		total += operations[i].weight;
	for (int i = 0; i < EPISODE; i++) {
		unsigned r = roll() % total, op = 0;

		while (r >= operations[op].weight)
			r -= operations[op++].weight;
		steps[i] = (struct step){(uint8_t)op, roll(), roll(), roll(), roll()};
	}
}

/* How many steps passed; `count` if all did. A failed world is left as it is: its memory too. */
static int run(const struct step *steps, const int steps_count, uint64_t seed)
{
	static volatile int i;
	const volatile int count = steps_count; /* lives over the jump */

	failure[0] = '\0';
	if (sigsetjmp(on_failure, 1))
		return i;
	i = 0;
	model_init(&world, seed, check_invariants);
	for (; i < count; i = i + 1) {
		operations[steps[i].op].run(&world, &steps[i]);
		if (world.dead)
			model_restart(&world);
		model_check(&world);
	}
	model_end(&world);
	return count;
}

static bool fails(const struct step *steps, int count, uint64_t seed)
{
	return run(steps, count, seed) < count;
}

/* Leaves out parts, halves first and single steps last, as long as it still fails. */
static int shrink(struct step *steps, int count, uint64_t seed)
{
	static struct step without[EPISODE];
	int tries = 0;

	for (int part = count / 2; part >= 1; part /= 2) {
		for (int at = 0; at + part <= count && tries < TRIES;) {
			memcpy(without, steps, (size_t)at * sizeof(*steps));
			memcpy(without + at, steps + at + part,
				(size_t)(count - at - part) * sizeof(*steps));
			tries++;
			if (fails(without, count - part, seed)) {
				count -= part;
				memcpy(steps, without, (size_t)count * sizeof(*steps));
			} else {
				at += part;
			}
		}
	}
	return count;
}

static void print_world(const struct model *m)
{
	printf("the model then, at %llu ns:\n", (unsigned long long)m->now);
	for (int i = 0; i < LEASES; i++) {
		const struct m_lease *l = &m->leases[i];

		if (l->used)
			printf("  %s%s %llx of session %d: %d [%d, %d)%s%s%s%s\n",
				l->inherited ? "inherited " : "", l->live ? "lease" : "ghost",
				(unsigned long long)l->id, l->session, l->ino, l->start, l->end,
				l->write ? " write" : " read", l->exclusive ? " exclusive" : "",
				l->in_use ? " in use" : "",
				m_pinned(m, l, 0, UNITS) ? " pinned" : "");
	}
	for (int i = 0; i < CHANGES; i++) {
		const struct m_change *c = &m->changes[i];

		if (c->state != M_NONE)
			printf("  %s change of kind %d by process %u: %d [%d, %d), %s, began "
			       "%llu\n",
				c->state == M_PARKED ? "parked" : "active", c->kind, c->pid, c->ino,
				c->start, c->end, policy_texts[c->policy],
				(unsigned long long)c->began_ns);
	}
	for (int i = 0; i < WANTS; i++) {
		const struct m_want *w = &m->wants[i];

		if (w->used)
			printf("  want of session %d: %d [%d, %d)%s, %s, began %llu\n", w->session,
				w->ino, w->start, w->end, w->exclusive ? " exclusive" : "",
				policy_texts[w->policy], (unsigned long long)w->began_ns);
	}
}

static void report(struct step *steps, int count, uint64_t seed, uint64_t episode)
{
	int passed;

	count = shrink(steps, count, episode);
	passed = run(steps, count, episode);
	printf("FAILED: %s\n", failure);
	print_world(&world);
	printf("repeat with --seed %llu --steps %d; shortened to %d steps:\n",
		(unsigned long long)seed, EPISODE, passed + 1);
	for (int i = 0; i <= passed && i < count; i++)
		printf("  %3d %-12s %u %u %u %u\n", i, operations[steps[i].op].name, steps[i].a,
			steps[i].b, steps[i].c, steps[i].d);
}

int main(int argc, char **argv)
{
	static struct step steps[EPISODE];
	uint64_t seed = 1, total = 300000, done = 0;
	double seconds = 0;
	clock_t began = clock();

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--quick-check"))
			check_invariants = false;
		else if (i + 1 < argc && !strcmp(argv[i], "--seed"))
			seed = strtoull(argv[++i], NULL, 0);
		else if (i + 1 < argc && !strcmp(argv[i], "--steps"))
			total = strtoull(argv[++i], NULL, 0);
		else if (i + 1 < argc && !strcmp(argv[i], "--seconds"))
			seconds = strtod(argv[++i], NULL);
		else {
			fprintf(stderr, "usage: sim [--seed N] [--steps N] [--seconds N]"
					" [--quick-check]\n");
			return 2;
		}
	}
	signal(SIGABRT, on_abort);
	for (uint64_t episode = seed; done < total; episode++) {
		int passed;

		make_schedule(steps, episode);
		passed = run(steps, EPISODE, episode);
		if (passed < EPISODE) {
			report(steps, passed + 1, episode, episode);
			/* Failed worlds keep their memory: nothing here is for a leak checker,
			 * whose abort() would jump back into run(). */
			fflush(stdout);
			_exit(1);
		}
		done += EPISODE;
		if (seconds > 0 && (double)(clock() - began) / CLOCKS_PER_SEC > seconds)
			break;
	}
	signal(SIGABRT, SIG_DFL); /* a leak checker's, from here on */
	printf("sim: %llu steps from seed %llu\n", (unsigned long long)done,
		(unsigned long long)seed);
	return 0;
}
