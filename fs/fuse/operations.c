// SPDX-License-Identifier: BSD-2-Clause
/*
 * operations.c - the table of operations, and what the connection is to be.
 *
 * Not there on purpose: getlk, setlk and flock (locks are the kernel's; a blocking one in a worker
 * would be its end), access (default_permissions), flush (nothing to do on close), bmap.
 */
#include "channel.h"
#include "ops.h"

static void want(struct fuse_conn_info *conn, unsigned capability, bool wanted)
{
	conn->want &= ~capability;
	if (wanted)
		conn->want |= conn->capable & capability;
}

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
	struct daemon *d = userdata;

	want(conn, FUSE_CAP_ASYNC_READ, true);
	/*
	 * Asynchronous direct writes leave in the kernel's cache what was read while they were
	 * under way: buffered readers would go on seeing old bytes.
	 */
	want(conn, FUSE_CAP_ASYNC_DIO, false);
	want(conn, FUSE_CAP_ATOMIC_O_TRUNC, true);
	want(conn, FUSE_CAP_EXPORT_SUPPORT, true);
	want(conn, FUSE_CAP_PARALLEL_DIROPS, true);
	want(conn, FUSE_CAP_READDIRPLUS, true);
	want(conn, FUSE_CAP_READDIRPLUS_AUTO, true);
	want(conn, FUSE_CAP_IOCTL_DIR, true);
	want(conn, FUSE_CAP_CACHE_SYMLINKS, true);
	/* Either both or none: with ACLs the umask is ours to apply. */
	bool acl = (conn->capable & FUSE_CAP_POSIX_ACL) && (conn->capable & FUSE_CAP_DONT_MASK);
	want(conn, FUSE_CAP_POSIX_ACL, acl);
	want(conn, FUSE_CAP_DONT_MASK, true);
	/* The daemon is the only writer: it says when pages are out of date. */
	want(conn, FUSE_CAP_AUTO_INVAL_DATA, false);
	want(conn, FUSE_CAP_EXPLICIT_INVAL_DATA, true);
	want(conn, FUSE_CAP_WRITEBACK_CACHE, false);
	/* Version 2 is asked for by channel_init.c; without it the kernel clears setuid itself. */
	want(conn, FUSE_CAP_HANDLE_KILLPRIV, false);
	want(conn, FUSE_CAP_SPLICE_READ, false); /* channel.c receives */
	want(conn, FUSE_CAP_SPLICE_WRITE, false);
	want(conn, FUSE_CAP_SPLICE_MOVE, false);
	conn->time_gran = 1;
	channel_negotiate(d, conn);
}

const struct fuse_lowlevel_ops operations = {
	.init = op_init,
	.lookup = op_lookup,
	.forget = op_forget,
	.forget_multi = op_forget_multi,
	.mknod = op_mknod,
	.mkdir = op_mkdir,
	.symlink = op_symlink,
	.readlink = op_readlink,
	.link = op_link,
	.unlink = op_unlink,
	.rmdir = op_rmdir,
	.rename = op_rename,
	.readdir = op_readdir,
	.readdirplus = op_readdirplus,
	.getattr = op_getattr,
	.setattr = op_setattr,
	.statfs = op_statfs,
	.setxattr = op_setxattr,
	.getxattr = op_getxattr,
	.listxattr = op_listxattr,
	.removexattr = op_removexattr,
	.create = op_create,
	.open = op_open,
	.release = op_release,
	.fsync = op_fsync,
	.fsyncdir = op_fsyncdir,
	.ioctl = op_ioctl,
	.poll = op_poll,
	.read = op_read,
	.write_buf = op_write_buf,
	.fallocate = op_fallocate,
	.lseek = op_lseek,
	.copy_file_range = op_copy_file_range,
};
