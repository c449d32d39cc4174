// SPDX-License-Identifier: BSD-2-Clause
/*
 * control.c - the control file: opening, closing, and which ioctl goes where.
 *
 * ioctls on a mount are "restricted": the kernel copies as many bytes in and out as the number
 * says, so that no client can make the daemon read beyond what it was given. Sizes are checked
 * again all the same.
 */
#include "control.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cached_pages.h"
#include "control_calls.h"
#include "inheritance.h"
#include "invalidate.h"
#include "log.h"

#define CALL_BYTES_MAX 4000u

static const struct {
	unsigned cmd;
	int (*run)(const struct call *call, void *data);
	bool needs_session;
} calls[] = {
	{LEASEFS_IOC_HELLO, call_hello, false},
	{LEASEFS_IOC_PROCESS, call_process, true},
	{LEASEFS_IOC_LAYOUT, call_layout, true},
	{LEASEFS_IOC_REGION, call_region, false},
	{LEASEFS_IOC_RETURN, call_return, true},
	{LEASEFS_IOC_DOWNGRADE, call_downgrade, true},
	{LEASEFS_IOC_COMMIT, call_commit, true},
	{LEASEFS_IOC_ACK, call_ack, true},
	{LEASEFS_IOC_PIN, call_pin, true},
	{LEASEFS_IOC_UNPIN, call_unpin, true},
	{LEASEFS_IOC_UNPINNED, call_unpinned, true},
	{LEASEFS_IOC_STATUS, call_status, false},
	{LEASEFS_IOC_LEASES, call_leases, false},
	{LEASEFS_IOC_CONFLICTS, call_conflicts, false},
	{LEASEFS_IOC_RELEASE, call_release, false},
	{LEASEFS_IOC_PINS, call_pins, false},
	{LEASEFS_IOC_RECLAIM, call_reclaim, true},
	{LEASEFS_IOC_GRACE, call_grace, false},
	{LEASEFS_IOC_SESSIONS, call_sessions, false},
	{LEASEFS_IOC_OPERATIONS, call_operations, false},
	{LEASEFS_IOC_HISTORY, call_history, false},
	{LEASEFS_IOC_HELD, call_held, false},
	{LEASEFS_IOC_SPACE, call_space, false},
};
#define CALLS (sizeof(calls) / sizeof(calls[0]))

static struct holder *holder_of(const struct fuse_file_info *fi)
{
	return (struct holder *)(uintptr_t)fi->fh;
}

int control_start(struct daemon *d, struct diag *diag)
{
	return inheritance_start(d->arbiter, diag);
}

/* No request runs any more. Files that the kernel never released are released now. */
void control_stop(struct daemon *d)
{
	struct arbiter *a = d->arbiter;
	struct holder *h;

	arbitrate_cancel(d);
	/* What is held now is for the next daemon: from here on nothing is written down. */
	arbiter_lock(a);
	LIST_FOREACH(h, &a->holders, all)
		h->keep = h->session && !lm_session_is_empty(h->session);
	arbiter_unlock(a);
	for (;;) {
		arbiter_lock(a);
		LIST_FOREACH(h, &a->holders, all)
			if (!h->closed)
				break;
		arbiter_unlock(a);
		if (!h)
			break;
		holder_close(h);
	}
	/* What is left waits for processes to end or for its drain: nobody does so any longer. */
	for (;;) {
		arbiter_lock(a);
		h = LIST_FIRST(&a->holders);
		if (h && h->session)
			lm_session_release(h->session, arbiter_now());
		arbiter_unlock(a);
		if (!h)
			break;
	}
}

void control_open(struct daemon *d, fuse_req_t req, struct fuse_file_info *fi)
{
	struct holder *h = holder_new(d->arbiter);

	if (!h) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	fi->fh = (uintptr_t)h;
	fi->direct_io = 1;
	fi->nonseekable = 1;
	if (fuse_reply_open(req, fi) != 0)
		holder_close(h); /* interrupted: no release comes */
}

void control_release(struct daemon *d, fuse_req_t req, struct fuse_file_info *fi)
{
	holder_close(holder_of(fi));
	fuse_reply_err(req, 0);
}

void control_write(struct daemon *d, fuse_req_t req, const void *bytes, size_t count,
	struct fuse_file_info *fi)
{
	fuse_reply_err(req, EINVAL);
}

/* An answer that waits until the kernel has forgotten what the call made stale. */
struct answer {
	struct daemon *daemon;
	fuse_req_t req;
	struct forgetting forget;
	size_t bytes;
	unsigned char data[];
};

static void end_forgetting(struct daemon *d, const struct forgetting *f)
{
	if (f->start < f->end)
		cached_forgotten(core_inode_word(f->inode));
	core_put(d->core, f->inode, 1);
}

static void send_answer(void *context)
{
	struct answer *answer = context;

	end_forgetting(answer->daemon, &answer->forget);
	fuse_reply_ioctl(answer->req, 0, answer->data, answer->bytes);
	free(answer);
}

/* Without memory nothing is forgotten now; the next call will find that it is due. */
static void give_up_forgetting(struct daemon *d, const struct forgetting *f)
{
	log_warning("no memory to let the kernel forget pages of inode %llu",
		(unsigned long long)core_ino(f->inode));
	if (f->start < f->end)
		cached_note(core_inode_word(f->inode), f->start, f->end);
	end_forgetting(d, f);
}

/*
 * Copies out. The kernel's forgetting may wait for pages that are locked by requests which other
 * workers have yet to serve, so no worker waits for it: the invalidating thread replies.
 */
static void reply_call(const struct call *call, unsigned cmd, unsigned char *data, int result)
{
	size_t bytes = _IOC_DIR(cmd) & _IOC_READ ? _IOC_SIZE(cmd) : 0;
	const struct forgetting *f = call->forget;
	struct answer *answer;

	if (result) {
		assert(!f->inode);
		fuse_reply_err(call->req, -result);
		return;
	}
	answer = f->inode ? malloc(sizeof(*answer) + bytes) : NULL;
	if (answer) {
		*answer = (struct answer){
			.daemon = call->daemon, .req = call->req, .forget = *f, .bytes = bytes};
		memcpy(answer->data, data, bytes);
		if (!invalidate_pages(call->daemon, core_ino(f->inode), f->start, f->end,
			    send_answer, answer))
			return;
		free(answer);
	}
	if (f->inode)
		give_up_forgetting(call->daemon, f);
	fuse_reply_ioctl(call->req, 0, data, bytes);
}

static bool copy_in(
	unsigned cmd, const void *in, size_t in_bytes, size_t out_bytes, unsigned char *data)
{
	size_t bytes = _IOC_SIZE(cmd);

	assert(bytes <= CALL_BYTES_MAX);
	if (in_bytes != bytes || ((_IOC_DIR(cmd) & _IOC_READ) && out_bytes < bytes))
		return false;
	memcpy(data, in, bytes);
	return true;
}

void control_ioctl(struct daemon *d, fuse_req_t req, unsigned cmd, struct fuse_file_info *fi,
	unsigned flags, const void *in, size_t in_bytes, size_t out_bytes)
{
	struct forgetting forget = {0};
	struct call call = {.daemon = d, .req = req, .holder = holder_of(fi), .forget = &forget};
	_Alignas(8) unsigned char data[CALL_BYTES_MAX];
	size_t i = 0;
	int result;

	if (cmd == LEASEFS_IOC_DRAIN || cmd == LEASEFS_IOC_RECALL) {
		/* They reply when it is over. */
		(cmd == LEASEFS_IOC_DRAIN ? control_drain : control_recall)(d, req, in, in_bytes);
		return;
	}
	while (i < CALLS && calls[i].cmd != cmd)
		i++;
	if (i == CALLS) {
		fuse_reply_err(req, ENOTTY);
		return;
	}
	if (!copy_in(cmd, in, in_bytes, out_bytes, data))
		result = -EINVAL;
	else if (calls[i].needs_session && !call.holder->session)
		result = -EBADF;
	else
		result = calls[i].run(&call, data);
	reply_call(&call, cmd, data, result);
}

void control_file_ioctl(struct daemon *d, fuse_req_t req, struct inode *ip, int open_flags,
	unsigned cmd, unsigned flags, const void *in, size_t in_bytes, size_t out_bytes)
{
	struct forgetting forget = {0};
	struct call call = {.daemon = d, .req = req, .forget = &forget};
	_Alignas(8) unsigned char data[CALL_BYTES_MAX];
	int result;

	if (cmd != LEASEFS_IOC_GRANT && cmd != LEASEFS_IOC_EXTENTS) {
		fuse_reply_err(req, ENOTTY);
		return;
	}
	if (!copy_in(cmd, in, in_bytes, out_bytes, data))
		result = -EINVAL;
	else if (cmd == LEASEFS_IOC_GRANT)
		result = call_grant(&call, ip, open_flags, data);
	else
		result = call_extents(&call, ip, open_flags, data);
	reply_call(&call, cmd, data, result);
}
