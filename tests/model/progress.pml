/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * progress.pml - what must come to an end, whatever the others go on doing, for spin.
 *
 * lease.pml shows that nothing bad happens between any two steps. Here runs are infinite, and each
 * property at the end of this file says of all of them that something good happens in time:
 *   parked      a parked truncate is completed, or fails with EBUSY (invariant 4)
 *   recalled    a recall ends: returned, cancelled or revoked (4)
 *   told        who waits for a lease is told `available` (5), although the reader that took the
 *               event may die with it in its hands
 *   grace       what an earlier daemon granted is reclaimed, revoked or gone (4, 6)
 *   buried      a lease of a process that is gone ends (4)
 *
 * What is modelled
 *   One range, one lease for each client; storms without end of truncates, of pins and of grants.
 *   A client may be prompt, slow for ever, dead, or silent after a restart; a pin may stay for
 *   ever, unless POLICY is 1 (wait). CRASHES kills of the daemon, at any time; leases survive.
 *   HELPERS processes share the first client's session and read its events.
 *   Fairness is weak: a step that stays possible is made some time. Time is only that.
 *
 * What is left out
 *   - What lies within the daemon's lock: each call is one step here, so that the lock's own
 *     fairness is no question. Blocks and records too. lease.pml has these.
 *   - Interrupts: nobody has to press Ctrl-C here for anything to end.
 *   - That a grant succeeds in the end: `available` is a hint, and under a storm of truncates whoever
 *     asks may be late each time. More than one truncate at a time, as those that overlap for ever
 *     keep a grantee waiting for ever.
 *
 * PLANT selects a fault; spin must then find a run without end that breaks the property.
 */

#ifndef CLIENTS
#define CLIENTS 1
#endif
#ifndef CRASHES
#define CRASHES 0
#endif
#ifndef HELPERS
#define HELPERS 0
#endif
#ifndef POLICY
#define POLICY 0
#endif
#define BUSY_POLICY (POLICY == 0)
#define WAIT_POLICY (POLICY == 1)
#define ORPHAN_POLICY (POLICY == 2)

#define DEADLINE_LOST 1     /* a change's timer is never set */
#define BUSY_FORGOTTEN 2    /* at `busy` with a pin there, nothing is decided */
#define UNPIN_SILENT 3      /* the unpin that makes zero does not say UNPINNED */
#define UNPINNED_IGNORED 4  /* the daemon decides nothing on UNPINNED */
#define RECALL_KEPT 5       /* after EBUSY the recall stays */
#define AVAILABLE_LOST 6    /* the end of a change tells no want */
#define TOLD_ONCE 7         /* what a reader died with is not told again */
#define GRACE_ENDLESS 8     /* the grace period has no timer */
#define LADDER_NOT_BEGUN 9  /* the end of the grace period decides nothing */
#define DEATH_UNSEEN 10     /* nobody watches the holder's process */
#define RECLAIM_SILENT 11   /* a reclaim decides nothing */
#ifndef PLANT
#define PLANT 0
#endif

/* ---- the daemon's memory, and what it finds again ------------------------------------------------ */

#define NO_LEASE 0
#define HELD 1
#define GHOST 2
#define INHERITED 3
#define IDLE 0
#define PARKED 1
#define ACTIVE 2

bool up = true;
byte epoch;
byte lease[CLIENTS];
bool recalled[CLIENTS];
bool want[CLIENTS];
bool available[CLIENTS]; /* the event: there to be read */
byte change;
bool time_over;
bool grace; /* the change's ladder has not begun */

/* ---- the line, and the clients' own -------------------------------------------------------------- */

byte pins[CLIENTS];
bool word[CLIENTS];
bool leased[CLIENTS];      /* threads may pin */
byte lease_epoch[CLIENTS]; /* the daemon that the client talks to */
byte in_line[CLIENTS];     /* threads with a pin, or within a pin or unpin */
bool dead[CLIENTS];
bool waiting[CLIENTS];     /* for `available` */
#if HELPERS
bool in_hands;             /* the helper has read it, and not passed it on */
bool helper_dead;
#endif

#define is_live(i) (lease[i] == HELD || lease[i] == INHERITED)
#if CLIENTS == 1
#define some_live is_live(0)
#define some_inherited (lease[0] == INHERITED)
#define some_pinned (is_live(0) && pins[0] > 0)
#else
#define some_live (is_live(0) || is_live(1))
#define some_inherited (lease[0] == INHERITED || lease[1] == INHERITED)
#define some_pinned ((is_live(0) && pins[0] > 0) || (is_live(1) && pins[1] > 0))
#endif
#define is_connected(i) (up && lease_epoch[i] == epoch)

/* ---- leasemgr; all of it within a step ----------------------------------------------------------- */

inline tell_available()
{
	for (j : 0 .. CLIENTS - 1) {
		if
		:: change == IDLE && want[j] && PLANT != AVAILABLE_LOST ->
			want[j] = false;
			available[j] = true
		:: else
		fi
	}
	j = 0
}

inline recall_all()
{
	for (j : 0 .. CLIENTS - 1) {
		if
		:: is_live(j) -> recalled[j] = true; word[j] = true
		:: else
		fi
	}
	j = 0
}

inline approve()
{
	change = ACTIVE;
	for (j : 0 .. CLIENTS - 1) {
		if
		:: is_live(j) -> lease[j] = GHOST; recalled[j] = false; word[j] = true
		:: else
		fi
	}
	j = 0
}

inline fail()
{
	change = IDLE;
	for (j : 0 .. CLIENTS - 1) {
		if
		:: is_live(j) && PLANT != RECALL_KEPT -> recalled[j] = false; word[j] = false
		:: else
		fi
	}
	tell_available()
}

inline settle()
{
	if
	:: change == PARKED && !some_inherited && PLANT != LADDER_NOT_BEGUN && grace ->
		grace = false;
		recall_all()
	:: else
	fi;
	if
	:: change == PARKED && !grace && (!some_live || (time_over && !some_pinned)) -> approve()
	:: else
	fi;
	tell_available()
}

/* ---- operations on the file ---------------------------------------------------------------------- */

proctype truncater()
{
	byte j, my_epoch;

	do
	:: atomic {
		up ->
		my_epoch = epoch;
		change = PARKED;
		time_over = false;
		grace = some_inherited;
		recall_all();
		settle()
	};
		if
		:: atomic { my_epoch == epoch && change == ACTIVE -> change = IDLE; settle() }
		:: my_epoch != epoch || change == IDLE
		fi
	od
}

/* ---- clients ------------------------------------------------------------------------------------- */

inline unpin(i)
{
	d_step { pins[i] = pins[i] - 1; zero = (pins[i] == 0) }
	if
	:: zero && word[i] && PLANT != UNPIN_SILENT ->
		atomic {
			if
			:: is_connected(i) && PLANT != UNPINNED_IGNORED -> settle()
			:: else /* ENOTCONN: the next daemon will read the line */
			fi;
			zero = false
		}
	:: else -> zero = false
	fi;
	in_line[i]--
}

proctype pinner(byte i)
{
	byte j;
	bool zero, has_pin;

	{
		do
		:: atomic { leased[i] && !has_pin -> in_line[i]++ };
			pins[i] = pins[i] + 1;
			if
			:: word[i] -> unpin(i)
			:: else -> has_pin = true
			fi
		:: has_pin -> has_pin = false; unpin(i)
		:: !has_pin || !WAIT_POLICY -> break
		od
	} unless {
		dead[i]
	}
}

/* Threads let go first; one that stopped with its pin keeps the lease for ever. */
inline let_threads_go(i)
{
	leased[i] = false;
	in_line[i] == 0
}

proctype client(byte i)
{
	byte j, my_epoch;

	do
	:: atomic {
		up && !leased[i] && lease[i] == NO_LEASE ->
		my_epoch = epoch;
		if
		:: change == IDLE ->
			lease[i] = HELD;
			lease_epoch[i] = epoch;
			leased[i] = true;
			pins[i] = 0;
			word[i] = false
		:: else -> want[i] = true; waiting[i] = true
		fi
	};
		if
		:: atomic { waiting[i] && available[i] -> available[i] = false; waiting[i] = false }
		:: atomic { waiting[i] && my_epoch != epoch -> waiting[i] = false }
		:: !waiting[i]
		fi
	/* A return, or the acknowledgement of a revocation. */
	:: leased[i] && is_connected(i) ->
		let_threads_go(i);
		atomic {
			if
			:: is_connected(i) -> lease[i] = NO_LEASE; recalled[i] = false; settle()
			:: else -> leased[i] = true
			fi
		}
	:: atomic {
		up && leased[i] && lease_epoch[i] != epoch ->
		lease_epoch[i] = epoch;
		if
		:: lease[i] == INHERITED -> lease[i] = HELD
		:: else
		fi;
		if
		:: PLANT != RECLAIM_SILENT -> settle()
		:: else
		fi
	}
	:: leased[i] -> break /* and never looks again */
	:: leased[i] -> d_step { dead[i] = true; leased[i] = false }; break
	od
}

#if HELPERS
/* Shares the first client's session: reads, and passes on what it has read, or dies with it. */
proctype helper()
{
	do
	:: atomic { available[0] -> available[0] = false; in_hands = true };
		if
		:: atomic { in_hands = false; waiting[0] = false }
		:: helper_dead = true; break
		fi
	od
}
#endif

/* ---- the daemon's own doings --------------------------------------------------------------------- */

proctype deadlines()
{
	byte j;

	do
	:: atomic {
		up && change == PARKED && !grace && !time_over && PLANT != DEADLINE_LOST ->
		time_over = true;
		if
		:: !some_pinned || ORPHAN_POLICY -> approve()
		:: some_pinned && BUSY_POLICY && PLANT != BUSY_FORGOTTEN -> fail()
		:: else
		fi
	}
	od
}

proctype grace_end()
{
	byte j;

	do
	:: atomic {
		up && some_inherited && PLANT != GRACE_ENDLESS ->
		for (j : 0 .. CLIENTS - 1) {
			if
			:: lease[j] == INHERITED -> lease[j] = GHOST; recalled[j] = false; word[j] = true
			:: else
			fi
		}
		j = 0;
		settle()
	}
	od
}

proctype watch(byte i)
{
	byte j;

	do
	/* Pinned or not: what it had drains, and is in nobody's way. */
	:: atomic {
		up && dead[i] && lease[i] != NO_LEASE && PLANT != DEATH_UNSEEN ->
		lease[i] = NO_LEASE;
		recalled[i] = false;
		settle()
	}
#if HELPERS
	:: atomic {
		up && helper_dead && in_hands && PLANT != TOLD_ONCE ->
		in_hands = false;
		available[0] = true
	}
#endif
	od
}

proctype crasher()
{
	byte j, count;

	do
	:: count < CRASHES ->
		d_step {
			count++;
			epoch++;
			up = false;
			change = IDLE;
			time_over = false;
			grace = false;
			for (j : 0 .. CLIENTS - 1) {
				recalled[j] = false;
				want[j] = false;
				available[j] = false;
				lease[j] = (lease[j] == HELD -> INHERITED : lease[j]);
				word[j] = (lease[j] == GHOST)
			}
			j = 0
		};
		up = true
	:: break
	od
}

init {
	byte i;

	atomic {
		for (i : 0 .. CLIENTS - 1) {
			run client(i);
			run pinner(i);
			run watch(i)
		}
		run truncater();
		run deadlines();
#if CRASHES > 0
		run grace_end();
		run crasher();
#endif
#if HELPERS
		run helper();
#endif
		i = 0
	}
}

ltl parked { [] (change == PARKED -> <> (change != PARKED)) }
ltl recalled { [] (recalled[0] -> <> !recalled[0]) }
ltl told { [] (waiting[0] -> <> !waiting[0]) }
ltl grace { [] (lease[0] == INHERITED -> <> (lease[0] != INHERITED)) }
ltl buried { [] ((dead[0] && lease[0] != NO_LEASE) -> <> (lease[0] == NO_LEASE)) }
