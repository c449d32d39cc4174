// SPDX-License-Identifier: BSD-2-Clause
/*
 * verify_xattr.c - the extended attributes of an inode: every piece in its place, every name under
 * its own key, and the record's ACL flags as the attributes are.
 */
#include "xattr.h"

#include <errno.h>
#include <string.h>

#include "acl.h"
#include "verify_impl.h"

static uint32_t flag_of(const struct media_xattr *x)
{
	static const char *const names[2] = {ACL_XATTR_ACCESS, ACL_XATTR_DEFAULT};
	static const uint32_t flags[2] = {INODE_ACL_ACCESS, INODE_ACL_DEFAULT};

	for (unsigned i = 0; i < 2; i++)
		if (x->name_bytes == strlen(names[i]) &&
			memcmp(x->name, names[i], x->name_bytes) == 0)
			return flags[i];
	return 0;
}

static bool begin(struct verify *v, struct xattr_pieces *p, const struct btree_item *item)
{
	const struct media_xattr *x;

	if (xattr_decode(item, &x) < 0)
		return false;
	if (xattr_hash(v->core->super.hash_seed, (const char *)x->name, x->name_bytes) >> 16 !=
		item->key >> 16)
		return false;
	p->key = item->key;
	p->bytes = 0;
	p->wanted = sizeof(*x) + x->name_bytes + x->value_bytes;
	p->acl_flag = flag_of(x);
	return true;
}

enum piece_state verify_piece(
	struct verify *v, struct xattr_pieces *p, const struct btree_item *item, bool *cut_off)
{
	unsigned piece = item->key & 0xff;
	bool follows = piece > 0 && piece == p->next && p->key >> 8 == item->key >> 8;

	*cut_off = p->next > 0 && !follows;
	p->next = 0;
	if (piece > 0 ? !follows : !begin(v, p, item))
		return PIECE_BAD;
	p->bytes += item->bytes;
	if (p->bytes > p->wanted)
		return PIECE_BAD;
	if (p->bytes == p->wanted) {
		p->acl_flags |= p->acl_flag;
		return PIECE_WHOLE;
	}
	if (piece + 1 == XATTR_PIECES_MAX)
		return PIECE_BAD;
	p->next = piece + 1;
	return PIECE_MORE;
}

struct check {
	struct verify *v;
	struct xattr_pieces pieces;
	uint64_t bad;
};

static int on_item(void *context, const struct btree_item *item)
{
	struct check *k = context;
	bool cut_off;

	k->bad += verify_piece(k->v, &k->pieces, item, &cut_off) == PIECE_BAD;
	k->bad += cut_off;
	return 0;
}

int verify_attributes(struct verify *v, uint64_t ino, const struct media_inode *record)
{
	struct check k = {.v = v};
	bool damaged, repair;
	int r = verify_tree(v, ino, &record->xattrs, "extended attributes",
		"cut out: attributes are lost", on_item, &k, &damaged, &repair);

	if (r < 0)
		return r;
	k.bad += k.pieces.next > 0;
	if (!damaged && k.bad > 0)
		repair = verify_found(v, ino, "removed",
			"inode %llu%s: extended attributes that are not whole, or not in their "
			"place",
			(unsigned long long)ino, verify_path(v, ino).text);
	if (repair)
		return verify_queue(v, &(struct repair){.kind = REPAIR_XATTRS, .ino = ino});
	if (damaged || k.bad > 0 || k.pieces.acl_flags == record->acl_flags)
		return 0;
	if (verify_found(v, ino, "corrected",
		    "inode %llu%s: its record does not say which ACLs it has",
		    (unsigned long long)ino, verify_path(v, ino).text))
		return verify_queue(
			v, &(struct repair){
				   .kind = REPAIR_ACL_FLAGS, .ino = ino, .a = k.pieces.acl_flags});
	return 0;
}
