/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * lease.pml - grant, recall, pin slot, return, revocation, daemon restart and reclaim, for spin.
 *
 * Spin visits every interleaving within the bounds that tests/model/run gives. Numbers are those of
 * the design's invariants, which the project's documents quote; each check below names its own:
 *   I1  a block under a live pin is never reused                      monitor(), lease_revoke()
 *   I2  an operation that failed has changed nothing                  truncater()
 *   I3  an operation that succeeded is whole                          truncater()
 *   I4  no wait is left without anything that could end it            no invalid end state
 *   I5  no grant that a pending recall has missed                     monitor()
 *       no lost wake-up: verdict, UNPINNED, `available`               no invalid end state
 *   I6  I1 to I3 and I8 with the daemon killed between any two steps  the same, with CRASHES > 0
 *       no reuse before reclaim, grace or acknowledgement             monitor()
 *       who asks in time is not refused, by either of its names       reclaim()
 *       a lease that is whole, reclaimed or not, has the file's block monitor()
 *   I8  a block that a mapping may still touch is not reused          monitor()
 * I7 (metadata out of reach, hostile input) is no question of order, and not here.
 *
 * What is modelled
 *   One file, one range of it, one lease for each client. CLIENTS processes, each with a main thread
 *   that asks for a lease, returns it, acknowledges a revocation, closes the session or dies, and
 *   after a restart reclaims or does not, and PINNERS threads that pin and unpin the lease's line, without end, or stop whenever they like.
 *   CHANGES truncates of that range, which may be interrupted. Ladders recall:T/busy (POLICY 0),
 *   recall:T/wait (1), recall:T/orphan (2), or without the recall's time (IMMEDIATE). The deadline
 *   may come at any time. CRASHES kills of the daemon, each followed by a start that finds what was
 *   written down in run/ and the pin lines, and by a grace period that may end at any time.
 *   The line is two words of memory. The clients' add, subtract and load are steps of their own, and
 *   so are the daemon's store of `recall` and load of `pins`. Everything else the daemon does under
 *   its lock between two of these is one step; making a grant's layout, its record in run/,
 *   and freeing of blocks are steps outside the lock, as they are in the daemon.
 *
 * What is left out, and so not shown
 *   - Sub-ranges: cuts, splits, partial returns, range pins, unbreakable pins. The simulation has
 *     them. Exclusive leases, overwrites, downgrade, commit, drain, and the asker's own leases too.
 *   - That the C code does what this says: it is written after leasemgr and fs/fuse/holder.c and
 *     inheritance.c by hand, as are the names here.
 *   - Weak memory: spin's memory is sequentially consistent. The protocol asks for that; that pread
 *     and pwrite of a line give it, and whole words, is an assumption.
 *   - A client that scribbles over its line, or pins without a lease, or in one thread while it
 *     returns the lease in another. The main thread here stops its pinners before that.
 *   - A client that dies within its own call dies right after it here.
 *   - Strangers who reclaim: verifiers and cookies that were never the session's (tests/restart).
 *   - That DMA ends within the drain time: this is assumed (see hardware()).
 *   - Times, and fairness: what must come to an end in infinite runs is progress.pml's.
 *   - More clients, threads, changes and crashes than the bounds.
 *
 * PLANT selects a fault (see below); spin must then find an error.
 */

#ifndef CLIENTS
#define CLIENTS 1
#endif
#ifndef PINNERS
#define PINNERS 1
#endif
#ifndef CHANGES
#define CHANGES 1
#endif
#ifndef CRASHES
#define CRASHES 0
#endif
#ifndef POLICY
#define POLICY 0
#endif
#define BUSY_POLICY (POLICY == 0)
#define WAIT_POLICY (POLICY == 1)
#define ORPHAN_POLICY (POLICY == 2)
#ifndef IMMEDIATE
#define IMMEDIATE 0
#endif
#ifndef INTERRUPTS
#define INTERRUPTS 0 /* with them, nobody who waits for ever is noticed */
#endif
#ifndef DEATHS
#define DEATHS 1
#endif

/* Faults. */
#define READ_BEFORE_RECALL 1      /* the counts are read before the recall words are written */
#define UNPIN_SILENT 2            /* the unpin that makes zero does not say UNPINNED */
#define FAILED_PIN_SILENT 3       /* taking a failed pin away makes zero, and does not say it */
#define UNPINNED_IGNORED 4        /* the daemon decides nothing on UNPINNED */
#define GRANT_OVER_RECALL 5       /* a grant looks at active changes alone, not at parked ones */
#define AVAILABLE_LOST 6          /* the end of a change tells no want */
#define REUSE_AFTER_RESTART 7     /* the new daemon does not hold what was freed under a ghost */
#define RECORD_AFTER_REPLY 8      /* run/leases.* is written after the grant was answered */
#define NO_DRAIN 9                /* what the dead had pinned is let go at once */
#define NO_QUARANTINE 10          /* blocks freed under a ghost are not held */
#define HOLD_AFTER_FREE 11        /* they are held, but after they were freed */
#define RECALL_DROPPED_EARLY 12   /* a change that ends clears the recall that another needs */
#define FREE_THEN_BUSY 13         /* the deadline frees the blocks, then finds the pin */
#define PIN_UNCHECKED 14          /* the client does not look at the recall word after its add */
#define DECIDED_WHILE_MAKING 15   /* a change does not wait for a grant that is being made */
#define RETURN_SILENT 16          /* a return decides nothing */
#define GRACE_IGNORED 17          /* a change does not wait for inherited leases */
#define RECLAIM_REVOKED 18        /* a lease that was revoked can be reclaimed */
#define ONE_NAME 19               /* a session that was adopted is known by its new name alone */
#define GRACE_FREES 20            /* what was not reclaimed in time ends, and is no ghost */
#define LADDER_NOT_BEGUN 21       /* the end of the grace period decides nothing */
#ifndef PLANT
#define PLANT 0
#endif

#define BLOCKS 2
#define NO_BLOCK BLOCKS
#define BIT(b) (1 << (b))

/* ---- the media and what is true ------------------------------------------------------------------ */

byte file_block = 0;      /* the block that the range has; NO_BLOCK: a hole */
/* run/leases.*, which outlives the daemon: the lease's state, its blocks, two names of the session. */
byte written[CLIENTS];
byte mapped[CLIENTS];
#if CRASHES > 0
byte name[CLIENTS], old_name[CLIENTS];
#endif

byte touch[CLIENTS];      /* blocks that the client has mapped, or the kernel for it */
byte live_pins[CLIENTS];  /* threads that believe that they have a pin */
byte dma[CLIENTS];        /* blocks that DMA of a dead client may still reach */
bool dead[CLIENTS];
bool drained[CLIENTS];    /* dead for longer than the drain time */

/* ---- the line ------------------------------------------------------------------------------------ */

byte pins[CLIENTS];
bool word[CLIENTS]; /* `recall` */

/* ---- the client's own memory --------------------------------------------------------------------- */

bool leased[CLIENTS];     /* threads may pin */
byte lease_epoch[CLIENTS]; /* of its latest HELLO that was answered */
byte in_line[CLIENTS];    /* threads with a pin, or within a pin or unpin */

/* ---- the daemon's memory ------------------------------------------------------------------------- */

#define NO_LEASE 0
#define MAKING 1
#define HELD 2
#define GHOST 3
#define INHERITED 4
#define IDLE 0
#define PARKED 1
#define ACTIVE 2
#define DONE 3
#define NO_RESULT 0
#define OK 1
#define EBUSY 2
#define EINTR 3

bool up = true;
byte epoch = 0; /* the boot verifier */
bool lock;      /* arbiter.lock */
byte lease[CLIENTS];
bool recalled[CLIENTS];
bool in_tree[CLIENTS];     /* a ghost's: what is freed now may be mapped by it */
byte held[CLIENTS];        /* blocks in quarantine for it */
bool want[CLIENTS], available[CLIENTS];
byte change[CHANGES];
byte result[CHANGES];
bool grace[CHANGES];       /* its ladder has not begun */
bool time_over[CHANGES];
bool last_chance[CHANGES];
bool freed[CHANGES];

#define is_live(i) (lease[i] == HELD || lease[i] == MAKING || lease[i] == INHERITED)
#if CHANGES == 1
#define some_change(state) (change[0] == state)
#else
#define some_change(state) (change[0] == state || change[1] == state)
#endif
#if CLIENTS == 1
#define kept_back(b) (held[0] & BIT(b))
#define in_grace (lease[0] == INHERITED)
#else
#define kept_back(b) ((held[0] | held[1]) & BIT(b))
#define in_grace (lease[0] == INHERITED || lease[1] == INHERITED)
#endif
#define is_connected(i) (lease_epoch[i] == epoch)
/* The allocator may give it to any file. */
#define is_reusable(b) (file_block != b && !kept_back(b))

/* ---- leasemgr ------------------------------------------------------------------------------------ */

#define lock_it() atomic { up && !lock -> lock = true; my_epoch = epoch }
#define unlock_it() lock = false
/* Again, in a call: the daemon's end ends the call (see each `unless`). */
#define lock_same() atomic { !lock -> lock = true }

/* A lease or ghost is no more; its slot is free, and nothing is held for it. */
inline lease_end(who)
{
	d_step {
		lease[who] = NO_LEASE;
		recalled[who] = false;
		in_tree[who] = false;
		held[who] = 0;
		mapped[who] = 0;
		written[who] = NO_LEASE
	}
}

/* Nobody waits for it any more; what is freed under it is held. On media before it is decided. */
inline make_ghost(who)
{
	lease[who] = GHOST;
	written[who] = GHOST;
	in_tree[who] = true;
	recalled[who] = false;
	word[who] = true
}

/* I1: only `orphan` takes a lease away from under a pin. */
inline lease_revoke(who)
{
	d_step {
		assert(ORPHAN_POLICY || live_pins[who] == 0 || dead[who]);
		assert(lease[who] != INHERITED); /* its grace period is not over */
		make_ghost(who)
	}
}

/* Wants are told when no change is there any more. */
inline tell_available()
{
	d_step {
		if
		:: !some_change(PARKED) && !some_change(ACTIVE) && PLANT != AVAILABLE_LOST ->
			for (j : 0 .. CLIENTS - 1) {
				if
				:: want[j] -> want[j] = false; available[j] = true
				:: else
				fi
			}
		:: else
		fi;
		j = 0
	}
}

/* The change is no more: what only it has recalled is whole again. */
inline let_go()
{
	for (j : 0 .. CLIENTS - 1) {
		atomic {
			if
#if PLANT == RECALL_DROPPED_EARLY
			:: is_live(j) && recalled[j] -> recalled[j] = false; word[j] = false
#else
			:: is_live(j) && recalled[j] && !some_change(PARKED) ->
				recalled[j] = false;
				word[j] = false
#endif
			:: else
			fi
		}
	}
	tell_available()
}

inline fail(k, error)
{
	atomic {
		assert(change[k] == PARKED); /* one verdict, and one only */
		change[k] = DONE;
		result[k] = error;
#if PLANT == FREE_THEN_BUSY
		if
		:: error == EBUSY && file_block != NO_BLOCK -> file_block = NO_BLOCK; freed[k] = true
		:: else
		fi
#endif
	}
	let_go()
}

inline approve(k)
{
	atomic {
		assert(change[k] == PARKED);
		for (j : 0 .. CLIENTS - 1) {
			if
			:: is_live(j) -> lease_revoke(j)
			:: else
			fi
		}
		change[k] = ACTIVE;
		j = 0
	}
}

/* Who is in the way: others, in_use, pinned. Each count is read in a step of its own. */
inline look(with_pins)
{
	d_step {
		others = false;
		in_use = false;
		pinned = false;
		for (j : 0 .. CLIENTS - 1) {
			if
			:: is_live(j) -> others = true
			:: else
			fi;
#if PLANT != DECIDED_WHILE_MAKING
			if
			:: lease[j] == MAKING -> in_use = true
			:: else
			fi
#endif
		}
		j = 0
	}
	if
	:: with_pins && others ->
		for (j : 0 .. CLIENTS - 1) {
			atomic {
				if
				:: is_live(j) && pins[j] != 0 -> pinned = true
				:: else
				fi
			}
		}
		j = 0
	:: else
	fi
}

/* At `busy` and `orphan`; after look(). */
inline last_rung(k)
{
	if
	:: BUSY_POLICY && pinned -> fail(k, EBUSY)
	:: WAIT_POLICY && pinned
	:: (!pinned || ORPHAN_POLICY) && in_use -> last_chance[k] = true
	:: (!pinned || ORPHAN_POLICY) && !in_use -> approve(k)
	fi
}

inline recall_all()
{
	for (j : 0 .. CLIENTS - 1) {
		atomic {
			if
			:: is_live(j) -> recalled[j] = true; word[j] = true
			:: else
			fi
		}
	}
	j = 0
}

/* Its ladder begins. */
inline climb(k)
{
#if PLANT == READ_BEFORE_RECALL
	look(time_over[k]);
	recall_all();
#else
	recall_all();
	look(time_over[k]);
#endif
	if
	:: !others -> approve(k)
	:: others && time_over[k] -> last_rung(k)
	:: else
	fi
}

inline decide(k)
{
	if
#if CRASHES > 0
	:: change[k] == PARKED && in_grace && PLANT != GRACE_IGNORED
	:: change[k] == PARKED && grace[k] && !(in_grace && PLANT != GRACE_IGNORED) ->
		grace[k] = false;
		climb(k)
	:: change[k] == PARKED && !grace[k] && !(in_grace && PLANT != GRACE_IGNORED) ->
#else
	:: change[k] == PARKED ->
#endif
		look(time_over[k]);
		if
		:: !others -> approve(k)
		:: others && last_chance[k] -> last_rung(k)
		:: others && !last_chance[k] && time_over[k] && !pinned && !in_use -> approve(k)
		:: else
		fi
	:: else
	fi
}

/* After whatever may let a change go on. */
inline settle()
{
	decide(0);
#if CHANGES > 1
	decide(1);
#endif
	tell_available()
}

inline forget_scratch()
{
	d_step { others = false; in_use = false; pinned = false; j = 0 }
}

/* ---- operations on the file ---------------------------------------------------------------------- */

inline change_begin(k)
{
	d_step {
		change[k] = PARKED;
		time_over[k] = IMMEDIATE;
		last_chance[k] = false;
		freed[k] = false;
		grace[k] = in_grace && PLANT != GRACE_IGNORED;
		result[k] = NO_RESULT
	}
	if
	:: grace[k] -> recall_all()
	:: else -> climb(k)
	fi
}

/* Verdict 0: blocks that somebody may have mapped are held, then freed. I3, I5: no lease is there. */
inline hold_freed()
{
	d_step {
		if
		:: file_block != NO_BLOCK && PLANT != NO_QUARANTINE ->
			for (j : 0 .. CLIENTS - 1) {
				if
				:: is_live(j) || in_tree[j] -> held[j] = held[j] | BIT(block)
				:: else
				fi
			}
		:: else
		fi;
		j = 0
	}
}

inline free_blocks(k)
{
	block = file_block;
#if PLANT == HOLD_AFTER_FREE
	atomic { file_block = NO_BLOCK; freed[k] = true }
	lock_same();
	hold_freed();
	unlock_it();
#else
	lock_same();
	hold_freed();
	unlock_it();
	d_step {
		for (j : 0 .. CLIENTS - 1) {
			assert(!is_live(j))
		}
		j = 0;
		file_block = NO_BLOCK; /* the transaction: all or nothing, and it lasts */
		freed[k] = true
	}
#endif
}

/* Ghosts leave the tree, if this change alone can have freed what they had mapped. */
inline change_end(k)
{
	d_step {
		change[k] = DONE;
		result[k] = OK;
		if
		:: !some_change(ACTIVE) ->
			for (j : 0 .. CLIENTS - 1) {
				in_tree[j] = false
			}
		:: else
		fi;
		j = 0
	}
	settle()
}

proctype truncater(byte k)
{
	byte my_epoch, j, block;
	bool others, in_use, pinned;

	do
	:: lock_it();
		{
			change_begin(k);
			forget_scratch();
			unlock_it();
			/* Parked: no thread waits for it; the caller may be interrupted. */
			do
#if INTERRUPTS
			:: atomic { change[k] == PARKED && !lock -> lock = true };
				fail(k, EINTR);
				unlock_it();
				break
#endif
			:: change[k] == ACTIVE || change[k] == DONE -> break
			od;
			if
			:: change[k] == ACTIVE ->
				free_blocks(k);
				lock_same();
				change_end(k);
				forget_scratch();
				unlock_it()
			:: else
			fi;
			d_step {
				assert(result[k] == OK || !freed[k]); /* I2 */
				assert(result[k] != OK || freed[k]);  /* I3 */
				change[k] = IDLE;
				result[k] = NO_RESULT;
				freed[k] = false;
				block = 0;
				j = 0
			}
		} unless {
			d_step { epoch != my_epoch -> others = false; in_use = false; pinned = false; j = 0; block = 0 }
		}
	:: break
	od
}

/* ---- clients ------------------------------------------------------------------------------------- */

inline say_unpinned(i)
{
	my_epoch = lease_epoch[i];
	{
		/* ENOENT, if the lease is no more; ENOTCONN, if the daemon is. */
		atomic { up && !lock && my_epoch == epoch -> lock = true; calling = true };
#if PLANT != UNPINNED_IGNORED
		settle();
#endif
		forget_scratch();
		d_step { unlock_it(); calling = false; my_epoch = 0 }
	} unless {
		d_step {
			my_epoch != epoch ->
			calling = false; others = false; in_use = false; pinned = false; j = 0; my_epoch = 0
		}
	}
}

/* Takes one away, and tells if that makes zero under a recall. */
inline take_away(i, silent)
{
	d_step { pins[i] = pins[i] - 1; zero = (pins[i] == 0) }
	if
	:: zero && word[i] && !(silent) -> zero = false; say_unpinned(i)
	:: else -> zero = false
	fi
}

proctype pinner(byte i)
{
	byte my_epoch, j;
	bool zero, has_pin, calling, others, in_use, pinned;

	{
		do
		:: atomic { leased[i] && !has_pin -> in_line[i]++ };
			pins[i] = pins[i] + 1;
			atomic {
				if
				:: word[i] && PLANT != PIN_UNCHECKED
				:: else -> has_pin = true; live_pins[i]++
				fi
			};
			if
			:: !has_pin ->
				take_away(i, PLANT == FAILED_PIN_SILENT);
				in_line[i]--
			:: else
			fi
		:: has_pin ->
			d_step { live_pins[i]--; has_pin = false };
			take_away(i, PLANT == UNPIN_SILENT);
			in_line[i]--
		/* It may stop, with a pin too, unless the policy would wait for that for ever. */
		:: !has_pin || !WAIT_POLICY -> break
		od
	} unless {
		dead[i] && !calling /* what has reached the daemon goes on there */
	}
}

/* The session's, here one for each lease; it was written down before. */
inline hello(i)
{
#if CRASHES > 0
	name[i] = epoch;
	old_name[i] = epoch
#else
	skip
#endif
}

inline ask(i)
{
	lock_it();
	{
		atomic {
			if
			:: some_change(ACTIVE) ||
				(some_change(PARKED) && PLANT != GRANT_OVER_RECALL) ->
				want[i] = true;
				got = false
			:: else ->
				lease[i] = MAKING;
				pins[i] = 0;
				word[i] = false;
				lease_epoch[i] = epoch;
				hello(i);
				got = true
			fi;
			unlock_it()
		};
		if
		:: !got -> /* EAGAIN: `available` comes, or the daemon ends */
			available[i] -> available[i] = false
		:: got ->
			/* A hole is filled; ENOSPC, if both blocks are in use or held. */
			d_step {
				if
				:: file_block != NO_BLOCK
				:: file_block == NO_BLOCK && is_reusable(0) -> file_block = 0
				:: file_block == NO_BLOCK && !is_reusable(0) && is_reusable(1) ->
					file_block = 1
				:: else -> got = false
				fi;
				block = file_block
			};
#if PLANT != RECORD_AFTER_REPLY
			if
			:: got -> d_step { mapped[i] = BIT(block); written[i] = HELD }
			:: else
			fi;
#endif
			lock_same();
			if
			:: got -> lease[i] = HELD
			:: else -> lease_end(i)
			fi;
			settle();
			forget_scratch();
			/* The answer, and the mapping that is made after it. */
			atomic {
				unlock_it();
				if
				:: got ->
					touch[i] = touch[i] | BIT(block);
					leased[i] = true
				:: else
				fi
			}
#if PLANT == RECORD_AFTER_REPLY
			if
			:: got -> d_step { mapped[i] = BIT(block); written[i] = HELD }
			:: else
			fi;
#endif
		fi;
		d_step { got = false; block = 0 }
	} unless {
		d_step {
			epoch != my_epoch ->
			got = false; block = 0; others = false; in_use = false; pinned = false; j = 0
		}
	}
}

/* The threads have let go: unmaps, then returns the lease, or acknowledges that it was revoked. */
inline give_back(i)
{
	touch[i] = 0;
	my_epoch = lease_epoch[i];
	if
	:: my_epoch == epoch ->
		{
			lock_same();
			/* Zero: only this client's threads could raise it. */
			if
			:: pins[i] == 0 && lease[i] != NO_LEASE -> lease_end(i)
			:: else
			fi;
#if PLANT != RETURN_SILENT
			settle();
#endif
			forget_scratch();
			unlock_it()
		} unless {
			d_step {
				epoch != my_epoch ->
				others = false; in_use = false; pinned = false; j = 0
			}
		}
	:: else
	fi
}

/* The control file is closed, the process lives: its mapping may stay, so its lease is a ghost. */
inline close_session(i)
{
	my_epoch = lease_epoch[i];
	if
	:: my_epoch == epoch ->
		{
			lock_same();
			if
			:: lease[i] == HELD ->
				d_step { make_ghost(i) }
			:: else
			fi;
			settle();
			forget_scratch();
			unlock_it()
		} unless {
			d_step {
				epoch != my_epoch ->
				others = false; in_use = false; pinned = false; j = 0
			}
		}
	:: else
	fi
}

#if CRASHES > 0
/*
 * RECLAIM, with the name that the client knows, in the next daemon. The new name is written down
 * before the session has changed hands. A lease that it never heard of is one of its own as well;
 * one that was revoked it will unmap and acknowledge.
 */
inline reclaim(i)
{
	lock_it();
	{
		assert(lease_epoch[i] == name[i] || (lease_epoch[i] == old_name[i] && PLANT != ONE_NAME));
		d_step { old_name[i] = lease_epoch[i]; name[i] = epoch };
		if
		:: lease[i] == INHERITED -> lease[i] = HELD; settle()
#if PLANT == RECLAIM_REVOKED
		:: lease[i] == GHOST -> lease[i] = HELD; word[i] = false
#endif
		:: else
		fi;
		forget_scratch();
		atomic {
			unlock_it();
			lease_epoch[i] = epoch;
			touch[i] = touch[i] | mapped[i];
			leased[i] = true
		}
	} unless {
		d_step { epoch != my_epoch -> others = false; in_use = false; pinned = false; j = 0 }
	}
}
#endif

proctype client(byte i)
{
	byte my_epoch, j, block;
	bool got, others, in_use, pinned;

	do
	:: !leased[i] && lease[i] == NO_LEASE -> ask(i)
	:: atomic { leased[i] && in_line[i] == 0 -> leased[i] = false }; give_back(i)
	:: leased[i] -> leased[i] = false; close_session(i); break
#if CRASHES > 0
	:: up && !is_connected(i) && (lease[i] == INHERITED || lease[i] == GHOST) -> reclaim(i)
#endif
#if DEATHS
	:: d_step {
		!dead[i] ->
		dead[i] = true;
		leased[i] = false;
		dma[i] = (live_pins[i] > 0 -> touch[i] : 0);
		touch[i] = 0;
		live_pins[i] = 0;
		drained[i] = false
	}
		break
#endif
	:: break /* it stays as it is, and never answers */
	od
}

/* What the kernel does for a process that is gone is over after the drain time: an assumption. */
proctype hardware(byte i)
{
end:	d_step { dead[i] && !drained[i] -> drained[i] = true; dma[i] = 0 }
}

/* ---- the daemon's own doings --------------------------------------------------------------------- */

#define timer_due(k) (up && !lock && change[k] == PARKED && !time_over[k] && !grace[k])
/* What was an earlier daemon's drains, whatever its line says. */
#define need_not_drain(i) ((pins[i] == 0 && is_connected(i)) || PLANT == NO_DRAIN)
#define death_due(i) (up && !lock && dead[i] && (lease[i] == HELD || lease[i] == INHERITED || \
	(lease[i] == GHOST && (need_not_drain(i) || drained[i]))))

inline deadline(k)
{
	time_over[k] = true;
	look(true);
	last_rung(k);
	forget_scratch();
	unlock_it()
}

inline bury(i)
{
	if
	:: lease[i] == GHOST || need_not_drain(i) -> lease_end(i)
	:: else -> d_step { make_ghost(i) }
	fi;
	settle();
	forget_scratch();
	unlock_it()
}

/* The grace period is over. */
inline give_up()
{
	for (j : 0 .. CLIENTS - 1) {
		if
		:: lease[j] == INHERITED && PLANT == GRACE_FREES -> lease_end(j)
		:: lease[j] == INHERITED && PLANT != GRACE_FREES -> d_step { make_ghost(j) }
		:: else
		fi
	}
	j = 0;
#if PLANT != LADDER_NOT_BEGUN
	settle();
#endif
	forget_scratch();
	unlock_it()
}

proctype engine()
{
	byte my_epoch, j, k, i;
	bool others, in_use, pinned;

end:	do
	:: atomic { timer_due(0) -> lock = true; my_epoch = epoch; k = 0 };
		{ deadline(k) } unless {
			d_step { epoch != my_epoch -> others = false; in_use = false; pinned = false; j = 0 }
		}
#if CHANGES > 1
	:: atomic { timer_due(1) -> lock = true; my_epoch = epoch; k = 1 };
		{ deadline(k) } unless {
			d_step { epoch != my_epoch -> others = false; in_use = false; pinned = false; j = 0 }
		}
#endif
#if CRASHES > 0
	:: atomic { up && !lock && in_grace -> lock = true; my_epoch = epoch };
		{ give_up() } unless {
			d_step { epoch != my_epoch -> others = false; in_use = false; pinned = false; j = 0 }
		}
#endif
#if DEATHS
	:: atomic { death_due(0) -> lock = true; my_epoch = epoch; i = 0 };
		{ bury(i) } unless {
			d_step { epoch != my_epoch -> others = false; in_use = false; pinned = false; j = 0 }
		}
#if CLIENTS > 1
	:: atomic { death_due(1) -> lock = true; my_epoch = epoch; i = 1 };
		{ bury(i) } unless {
			d_step { epoch != my_epoch -> others = false; in_use = false; pinned = false; j = 0 }
		}
#endif
#endif
	od
}

/*
 * SIGKILL, and a new daemon some time later, which reads run/ before it serves anybody. What was
 * written is a ghost if it was one, or if its file has lost any of it; what was lost is held.
 */
proctype crasher()
{
	byte j, count;

	do
	:: count < CRASHES ->
		d_step {
			count++;
			epoch++;
			up = false;
			lock = false;
			for (j : 0 .. CLIENTS - 1) {
				/* Held by nobody's memory; nobody allocates until the next daemon does. */
				lease[j] = NO_LEASE;
				recalled[j] = false;
				in_tree[j] = false;
				held[j] = 0;
				want[j] = false;
				available[j] = false
			}
			for (j : 0 .. CHANGES - 1) {
				change[j] = IDLE;
				result[j] = NO_RESULT;
				grace[j] = false;
				time_over[j] = false;
				last_chance[j] = false;
				freed[j] = false
			}
			j = 0
		};
		d_step {
			for (j : 0 .. CLIENTS - 1) {
				if
				:: written[j] != NO_LEASE ->
					held[j] = (PLANT == REUSE_AFTER_RESTART -> 0 :
						mapped[j] & ~BIT(file_block));
					lease[j] = (written[j] == GHOST || (mapped[j] & ~BIT(file_block)) ->
						GHOST : INHERITED);
					in_tree[j] = (lease[j] == GHOST);
					word[j] = (lease[j] == GHOST)
				:: else
				fi
			}
			j = 0;
			up = true
		}
	:: break
	od
}

/* ---- what must never be -------------------------------------------------------------------------- */

#define blocks_of(i) (touch[i] | dma[i])
#define pinned_blocks_of(i) (live_pins[i] > 0 -> blocks_of(i) : dma[i])
#define reused(set) \
	((is_reusable(0) && ((set) & BIT(0))) || (is_reusable(1) && ((set) & BIT(1))))
#define missed(i) \
	(up && !lock && is_live(i) && some_change(PARKED) && !(recalled[i] && word[i]))
#define not_whole(i) (up && lease[i] == HELD && leased[i] && is_connected(i) && \
	(touch[i] & ~BIT(file_block)))
#define granted_over(i) (up && is_live(i) && some_change(ACTIVE))

/* Steps only from a state that is wrong already, so it adds none. */
proctype monitor(byte i)
{
end:	if
	:: atomic { up && reused(pinned_blocks_of(i)) -> printf("violated: I1\n"); assert(false) }
	:: atomic { up && reused(blocks_of(i)) -> printf("violated: I8\n"); assert(false) }
	:: atomic { not_whole(i) -> printf("violated: a lease without its blocks\n"); assert(false) }
	:: atomic { missed(i) || granted_over(i) -> printf("violated: I5\n"); assert(false) }
	fi
}

init {
	byte i, p;

	atomic {
		for (i : 0 .. CLIENTS - 1) {
			run client(i);
#if PINNERS > 0
			for (p : 1 .. PINNERS) {
				run pinner(i)
			}
#endif
#if DEATHS
			run hardware(i);
#endif
			run monitor(i)
		}
		for (i : 0 .. CHANGES - 1) {
			run truncater(i)
		}
		run engine();
#if CRASHES > 0
		run crasher();
#endif
		i = 0;
		p = 0
	}
}
