#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""read_pool.py - reads a leasefs pool that nobody has open, without any of leasefs' code.

    read_pool.py POOL                   one line of JSON for each inode
    read_pool.py POOL --tree            names, like ls -l
    read_pool.py POOL --cat PATH        a file's bytes
    read_pool.py POOL --export DIR      everything into a directory that is not there yet
    read_pool.py POOL --log             what had to be replayed

Written from docs/format.md alone, whose headings the comments name: an example for other readers,
and the proof that the page is enough. It changes nothing: the log is applied to a private mapping.
Every object on the way is verified, and in the end that each set bit of each bitmap has exactly one
owner. What is wrong ends it with a sentence and status 1. It holds the whole tree in memory.
"""
import argparse
import ctypes
import fcntl
import hashlib
import json
import mmap
import os
import stat
import struct
import sys
from collections import namedtuple

BLOCK = 4096
INODE = 256
INODES_IN_GROUP = 4032
UNITS_IN_GROUP = 32256
PIECE = 1024  # of extended attributes and of long symbolic links
UNKNOWN = 2**64 - 1

SUPER, JOURNAL, RECORD, ROOTS, BITMAP, INODE_MAGIC, NODE, TAG = (
    b"LFSP", b"LFSJ", b"LFSR", b"LFST", b"LFSG", b"LFSI", b"LFSN", b"LFSD")
TAGS = 1  # of the incompatible features
WRITE, SET_BITS, CLEAR_BITS = 1, 2, 3
NOTHING, EXTENTS, TREE, TARGET = 0, 1, 2, 3  # an inode's payload

xxhash = ctypes.CDLL("libxxhash.so.0")
xxhash.XXH3_64bits_withSeed.restype = ctypes.c_uint64
xxhash.XXH3_64bits_withSeed.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint64]


def xxh3(data, seed):
    return xxhash.XXH3_64bits_withSeed(data, len(data), seed)


class Damaged(Exception):
    """What stands in the pool is not what the format says."""


def require(what, sentence, *arguments):
    if not what:
        raise Damaged(sentence % arguments)


Super = namedtuple("Super", "major minor block_size compat ro_compat incompat uuid generation "
                   "meta_bytes journal_offset journal_bytes heap_offset heap_blocks pool_bytes "
                   "domains lease_gid creator_uid hash_seed created_sec label")
Region = namedtuple("Region", "uuid bytes kind owner shift path")
Extent = namedtuple("Extent", "block at region length unwritten")
Inode = namedtuple("Inode", "ino generation mode uid gid nlink size blocks times_ns parent "
                   "xattr_root trim rdev payload payload_count acls payload_bytes")


class Meta:
    """The metadata region: its objects, verified, and its log, applied."""

    def __init__(self, path):
        with open(path, "rb") as file:
            self.map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        self.superblock = self.choose_superblock()
        self.levels = 0  # of the highest tree
        self.replay()

    # ---- Objects and their heads

    def object(self, offset, magic, bytes=BLOCK, covered=None, seed=None):
        """The object at offset, when magic and checksum are right."""
        require(0 <= offset <= len(self.map) - bytes, "an object at %d, outside the region", offset)
        found = self.map[offset:offset + bytes]
        require(found[:4] == magic, "no %s at %d", magic.decode(), offset)
        blank = found[:8] + bytes_of_zero(8) + found[16:covered]
        checksum = struct.unpack_from("<Q", found, 8)[0]
        require(checksum == xxh3(blank, offset if seed is None else seed),
                "the checksum at %d is wrong", offset)
        return found

    # ---- Superblock

    def choose_superblock(self):
        found, reasons = [], []
        for offset in (0, len(self.map) - BLOCK):
            try:
                found.append(self.read_superblock(offset))
            except Damaged as reason:
                reasons.append(str(reason))
        require(found, "no superblock: %s", "; ".join(reasons))
        return max(found, key=lambda superblock: superblock.generation)

    def read_superblock(self, offset):
        block = self.object(offset, SUPER)
        it = Super(*struct.unpack_from("<HHIQQQ16sQQQQQQQIII4xQQ32s", block, 16))
        require(it.major == 1, "format %d.%d", it.major, it.minor)
        require(it.incompat & ~TAGS == 0, "incompatible features %#x", it.incompat)
        require(it.block_size == BLOCK, "blocks of %d bytes", it.block_size)
        require(it.meta_bytes == len(self.map), "meta has %d bytes, not %d", len(self.map),
                it.meta_bytes)
        require(2 * BLOCK <= it.journal_offset and
                it.journal_offset + it.journal_bytes <= it.heap_offset and
                it.heap_offset + it.heap_blocks * BLOCK <= it.meta_bytes - BLOCK, "geometry")
        return it._replace(label=it.label.split(b"\0")[0])

    # ---- Journal

    def replay(self):
        header = self.object(BLOCK, JOURNAL, covered=64)
        commit, tail, synced = (struct.unpack_from("<Q", header, at)[0] for at in (64, 128, 192))
        with open("/proc/sys/kernel/random/boot_id") as file:
            this_boot = bytes.fromhex(file.read().strip().replace("-", ""))
        other_boot = header[256:272] != this_boot
        self.clean = struct.unpack_from("<I", header, 272)[0] == 1
        went_down = other_boot and not self.clean and synced != UNKNOWN
        end = synced if went_down else commit
        require(tail <= min(synced, end) and end - tail <= self.superblock.journal_bytes and
                (went_down or synced == UNKNOWN or synced <= end) and not (tail | end) % 64,
                "the log's positions: %d, %d, %d", tail, synced, commit)
        self.records = list(self.read_records(tail, end))  # all verified before any is applied
        for record in self.records:
            self.apply(record)

    def read_records(self, position, end):
        journal_bytes = self.superblock.journal_bytes
        while position < end:
            offset = self.superblock.journal_offset + position % journal_bytes
            length, operations = struct.unpack_from("<II", self.map, offset + 32)
            require(length >= 64 and length % 64 == 0 and
                    position % journal_bytes + length <= journal_bytes,
                    "a record of %d bytes at position %d", length, position)
            record = self.object(offset, RECORD, length if operations else 40, seed=position)
            require(struct.unpack_from("<Q", record, 16)[0] == position, "a record out of place")
            if operations:
                yield record
            position += length
        require(position == end, "a record reaches past the log's end")

    def apply(self, record):
        at = 40
        for _ in range(struct.unpack_from("<I", record, 36)[0]):
            offset, kind, first, count = struct.unpack_from("<QHHI", record, at)
            at += 16
            if kind == WRITE:
                require(offset + count <= len(self.map) and at + count <= len(record), "a write")
                self.map[offset:offset + count] = record[at:at + count]
                at += (count + 7) // 8 * 8
            else:
                require(kind in (SET_BITS, CLEAR_BITS), "an operation of kind %d", kind)
                self.change_bits(offset, first, count, kind == SET_BITS)

    def change_bits(self, offset, first, count, value):
        require(first + count <= UNITS_IN_GROUP, "bits past a bitmap's end")
        mask = ((1 << count) - 1) << first
        bits = int.from_bytes(self.map[offset + 64:offset + BLOCK], "little")
        bits = bits | mask if value else bits & ~mask
        self.map[offset + 64:offset + BLOCK] = bits.to_bytes(BLOCK - 64, "little")
        block = self.map[offset:offset + BLOCK]
        blank = block[:8] + bytes_of_zero(8) + block[16:]
        self.map[offset + 8:offset + 16] = struct.pack("<Q", xxh3(blank, offset))

    # ---- Spaces, groups, bitmaps

    def bitmap(self, offset, space, group):
        """The bits of a group, as one number."""
        block = self.object(offset, BITMAP)
        require(struct.unpack_from("<II", block, 16) == (space, group), "another group's bitmap")
        return int.from_bytes(block[64:], "little")

    # ---- B+trees

    def walk(self, root, owner, seen=None):
        """(key, value) of a tree, by rising key; the offsets of its nodes are added to seen."""
        offset, height = struct.unpack_from("<QI", root)
        self.levels = max(self.levels, height)
        if offset:
            yield from self.walk_node(offset, height - 1, owner, seen)

    def walk_node(self, offset, level, owner, seen):
        node = self.object(offset, NODE)
        node_owner, node_level, count, low = struct.unpack_from("<QHHH", node, 16)
        require((node_owner, node_level) == (owner, level), "the node at %d is another's", offset)
        require(32 + 16 * count <= low, "the slots at %d", offset)
        if seen is not None:
            seen.append(offset)
        last = -1
        for slot in range(count):
            key, at, length = struct.unpack_from("<QHH", node, 32 + 16 * slot)
            require(key > last or (level and not slot), "keys at %d do not rise", offset)
            require(low <= at and at % 8 == 0 and at + length <= BLOCK, "a value at %d", offset)
            last = key
            if level:
                child = struct.unpack_from("<Q", node, at)[0]
                yield from self.walk_node(child, level - 1, owner, seen)
            else:
                yield key, node[at:at + length]


def bytes_of_zero(count):
    return b"\0" * count


def bits_of(number):
    """The positions of the bits that are set."""
    text = bin(number)[:1:-1]
    at = text.find("1")
    while at >= 0:
        yield at
        at = text.find("1", at + 1)


class Pool:
    def __init__(self, directory):
        self.directory = directory
        self.lock = open(os.path.join(directory, "run/lock"), "rb")
        try:
            fcntl.lockf(self.lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            raise Damaged("the pool is in use by process %s" % self.lock.read().decode().strip())
        self.meta = Meta(os.path.join(directory, "meta"))
        self.superblock = self.meta.superblock
        self.owned = {}  # offset in meta: owner, of every block that was met
        self.read_roots()
        self.inodes = dict(self.read_inodes())

    def own(self, offsets, owner):
        for offset in offsets:
            require(offset not in self.owned, "the block at %d has two owners", offset)
            self.owned[offset] = owner

    def tree(self, root, owner):
        """The (key, value) of a tree whose nodes then have an owner."""
        seen = []
        pairs = list(self.meta.walk(root, owner, seen))
        self.own(seen, owner)
        return pairs

    # ---- Roots, space tree, region tree

    def read_roots(self):
        offset = self.superblock.heap_offset + BLOCK
        roots = self.meta.object(offset, ROOTS)
        self.own([offset], 0)
        self.spaces = {}
        for key, value in self.tree(roots[16:32], 0):
            bitmap, table, units = struct.unpack("<QQI4x", value)
            self.own([bitmap], 0)
            self.own((range(table, table + 252 * BLOCK, BLOCK) if table else ()), 0)
            self.spaces[key >> 32, key & 0xffffffff] = bitmap, table, units
        self.regions = {number: self.read_region(number, value)
                        for number, value in self.tree(roots[32:48], 0)}
        if self.superblock.incompat & TAGS:
            for number in self.regions:
                self.check_tag(number, struct.unpack_from("<QQ", roots, 48))

    def read_region(self, number, value):
        uuid, bytes, kind, owner, shift, length = struct.unpack_from("<16sQIIII", value)
        path = value[40:40 + length] if kind else b"data.%d" % number
        return Region(uuid, bytes, kind, owner, shift,
                      os.path.join(os.fsencode(self.directory), path))

    # ---- Tags of data regions

    def check_tag(self, number, stamps):
        region = self.regions[number]
        tag = self.region_bytes(number, region.bytes // BLOCK, 1)
        sound = tag[:8] + bytes_of_zero(8) + tag[16:64]
        require(tag[:4] == TAG and struct.unpack_from("<Q", tag, 8)[0] == xxh3(sound, region.bytes),
                "there is no tag in %s", os.fsdecode(region.path))
        require(struct.unpack_from("<16s16sIIQ", tag, 16) ==
                (self.superblock.uuid, region.uuid, number, 0, region.bytes),
                "%s is another region", os.fsdecode(region.path))
        require(struct.unpack_from("<Q", tag, 64)[0] in stamps,
                "%s or meta is an old copy", os.fsdecode(region.path))

    def region_bytes(self, number, block, count):
        require(number in self.regions, "there is no region %d", number)
        # By mmap, since a device knows nothing else.
        with open(self.regions[number].path, "rb") as file:
            with mmap.mmap(file.fileno(), count * BLOCK, access=mmap.ACCESS_READ,
                           offset=block * BLOCK) as window:
                return window[:]

    # ---- Inodes

    def read_inodes(self):
        for (space, group), (bitmap, table, units) in sorted(self.spaces.items()):
            if space != 1:
                continue
            bits = self.meta.bitmap(bitmap, space, group)
            attention = bits >> INODES_IN_GROUP
            for at in bits_of(bits & ((1 << INODES_IN_GROUP) - 1)):
                number = group * INODES_IN_GROUP + at
                inode = number and self.read_inode(number, table + at * INODE)
                if inode:
                    require(attention >> at & 1 or (inode.nlink and not any(inode.trim)),
                            "inode %d needs attention", number)
                    yield number, inode

    def read_inode(self, number, offset):
        record = self.meta.object(offset, INODE_MAGIC, INODE)
        fixed = struct.unpack_from("<QIIIII4xQQ", record, 16)
        seconds = struct.unpack_from("<4q", record, 64)
        nanoseconds = struct.unpack_from("<4I", record, 96)
        require(fixed[0] == number, "inode %d stands where %d should", fixed[0], number)
        return Inode(*fixed, times_ns=[s * 10**9 + n for s, n in zip(seconds, nanoseconds)],
                     parent=struct.unpack_from("<Q", record, 112)[0], xattr_root=record[120:136],
                     trim=struct.unpack_from("<QQ", record, 136),
                     rdev=struct.unpack_from("<II", record, 152),
                     payload=struct.unpack_from("<H", record, 160)[0],
                     payload_count=struct.unpack_from("<H", record, 162)[0],
                     acls=struct.unpack_from("<I", record, 164)[0], payload_bytes=record[168:256])

    def extents(self, inode):
        if inode.payload == EXTENTS:
            found = [struct.unpack_from("<QQII", inode.payload_bytes, 24 * i)
                     for i in range(inode.payload_count)]
        elif inode.payload == TREE:
            found = [(key, *struct.unpack("<QII", value))
                     for key, value in self.tree(inode.payload_bytes, inode.ino)]
        else:
            require(inode.payload == NOTHING, "inode %d is no file", inode.ino)
            found = []
        extents = [Extent(block, at, region, length & 0x7fffffff, length >> 31)
                   for block, at, region, length in found]
        for one, next in zip(extents, extents[1:]):
            require(one.block + one.length <= next.block, "extents of %d overlap", inode.ino)
        return extents

    def content(self, inode, extents):
        """(offset, bytes) of what is not a hole, up to the end of file."""
        for extent in extents:
            offset = extent.block * BLOCK
            if extent.unwritten or offset >= inode.size:
                continue
            data = bytearray(self.region_bytes(extent.region, extent.at, extent.length))
            start, end = (min(max(b - extent.block, 0), extent.length) * BLOCK for b in inode.trim)
            data[start:end] = bytes_of_zero(end - start)
            yield offset, bytes(data[:inode.size - offset])

    # ---- Directories

    def names(self, inode):
        """name: (inode number, type) of a directory."""
        names, keys = {}, {}
        for key, value in self.tree(inode.payload_bytes, inode.ino):
            number, type, length = struct.unpack_from("<QBB", value)
            name = value[10:10 + length]
            require(key >> 8 == (xxh3(name, self.superblock.hash_seed) >> 9 or 1),
                    "%r has another name's key", name)
            require(name not in names, "%r is there twice", name)
            names[name] = number, type
        require(len(names) == inode.size, "%d names in %d", len(names), inode.ino)
        return names

    # ---- Symbolic links

    def target(self, inode):
        if inode.payload == TARGET:
            return inode.payload_bytes[:inode.payload_count]
        return b"".join(piece for _, piece in self.tree(inode.payload_bytes, inode.ino))

    # ---- Extended attributes

    def xattrs(self, inode):
        found, last = {}, None
        for key, value in self.tree(inode.xattr_root, inode.ino):
            if key & 0xff == 0:
                last = key
                length, name_length = struct.unpack_from("<IH", value)
                name = value[8:8 + name_length]
                require(key >> 16 == xxh3(name, self.superblock.hash_seed) >> 17,
                        "the attribute %r has another name's key", name)
                found[name] = length, value[8 + name_length:]
            else:
                require(last is not None and key >> 8 == last >> 8, "a piece of no attribute")
                found[name] = length, found[name][1] + value
        for name, (length, value) in found.items():
            require(len(value) == length, "the value of %r", name)
        return {name: value for name, (length, value) in found.items()}

    # ---- Invariants

    def check_bitmaps(self, extents):
        """Each set bit has one owner, and each owner's bit is set."""
        heap, first = self.superblock.heap_offset, 0
        for group in range((self.superblock.heap_blocks + UNITS_IN_GROUP - 1) // UNITS_IN_GROUP):
            offset = heap + group * UNITS_IN_GROUP * BLOCK
            self.own([offset], 0)
            end = min(offset + UNITS_IN_GROUP * BLOCK,
                      heap + self.superblock.heap_blocks * BLOCK)
            used = {(at - offset) // BLOCK for at in self.owned if offset <= at < end}
            self.compare_bits("the heap", used, self.meta.bitmap(offset, 0, group))
        used = {}
        for extent in extents:
            for block in range(extent.at, extent.at + extent.length):
                blocks = used.setdefault((extent.region, block // UNITS_IN_GROUP), set())
                require(block % UNITS_IN_GROUP not in blocks, "block %d has two owners", block)
                blocks.add(block % UNITS_IN_GROUP)
        for (space, group), (bitmap, _, units) in self.spaces.items():
            if space > 1:
                self.compare_bits("region %d" % (space - 2), used.pop((space - 2, group), set()),
                                  self.meta.bitmap(bitmap, space, group))
        require(not used, "blocks of groups that are not there")

    def compare_bits(self, what, used, bits):
        marked = set(bits_of(bits))
        require(used == marked, "bits of %s: %d without an owner, %d not set", what,
                len(marked - used), len(used - marked))


# ---- the whole pool --------------------------------------------------------------------------


def acl_text(value):
    """The kernel's format: a version, then entries of tag, permissions and id."""
    tags = {1: "u:", 2: "u:%d", 4: "g:", 8: "g:%d", 16: "m:", 32: "o:"}
    entries = []
    for tag, permissions, who in struct.iter_unpack("<HHI", value[4:]):
        name = tags[tag] % who if tag in (2, 8) else tags[tag]
        entries.append(name + ":" + "".join(
            letter if permissions & bit else "-" for letter, bit in zip("rwx", (4, 2, 1))))
    return ",".join(entries)


class Everything:
    """All inodes of a pool, with what belongs to each, and all names."""

    def __init__(self, pool):
        self.pool = pool
        self.paths = {number: [] for number in pool.inodes}
        self.names, self.extents, self.targets, self.xattrs = {}, {}, {}, {}
        for number, inode in pool.inodes.items():
            self.xattrs[number] = pool.xattrs(inode)
            has = [b"system.posix_acl_" + kind in self.xattrs[number]
                   for kind in (b"access", b"default")]
            require(inode.acls == has[0] + 2 * has[1], "ACLs of %d", number)
            if stat.S_ISDIR(inode.mode):
                self.names[number] = pool.names(inode)
            elif stat.S_ISREG(inode.mode):
                self.extents[number] = pool.extents(inode)
            elif stat.S_ISLNK(inode.mode):
                self.targets[number] = pool.target(inode)
                require(len(self.targets[number]) == inode.size, "the target of %d", number)
        self.walk()
        pool.check_bitmaps([one for extents in self.extents.values() for one in extents])

    def walk(self):
        self.paths[1].append(b"/")
        below = [(1, b"/")]
        while below:
            number, path = below.pop()
            for name, (child, type) in self.names[number].items():
                require(child in self.pool.inodes, "%r leads nowhere", path + name)
                inode = self.pool.inodes[child]
                require(inode.mode >> 12 == type, "the type of %r", path + name)
                self.paths[child].append(path + name)
                if child in self.names:
                    require(inode.parent == number, "the parent of %r", path + name)
                    below.append((child, path + name + b"/"))
        for number, paths in self.paths.items():
            inode = self.pool.inodes[number]
            links = len(paths)
            if number in self.names and links:
                links = 2 + sum(type == 4 for _, type in self.names[number].values())
            require(inode.nlink == links, "inode %d has %d links, not %d", number, links,
                    inode.nlink)

    def content(self, number):
        return self.pool.content(self.pool.inodes[number], self.extents[number])

    def sha256(self, number):
        inode, digest, at = self.pool.inodes[number], hashlib.sha256(), 0
        for offset, data in self.content(number):
            digest.update(bytes_of_zero(offset - at) + data)
            at = offset + len(data)
        digest.update(bytes_of_zero(inode.size - at))
        return digest.hexdigest()

    def describe(self, number):
        inode = self.pool.inodes[number]
        size = (inode.size + 2) * 32 if number in self.names else inode.size  # as stat(2) has it
        text = {"ino": number, "generation": inode.generation, "mode": inode.mode,
                "uid": inode.uid, "gid": inode.gid, "nlink": inode.nlink, "size": size,
                "blocks": inode.blocks, "rdev": inode.rdev,
                "atime_ns": inode.times_ns[0], "mtime_ns": inode.times_ns[1],
                "ctime_ns": inode.times_ns[2], "btime_ns": inode.times_ns[3],
                "paths": sorted(os.fsdecode(path) for path in self.paths[number]),
                "xattrs": {os.fsdecode(name): value.hex()
                           for name, value in sorted(self.xattrs[number].items())}}
        acls = {os.fsdecode(name): acl_text(value) for name, value in self.xattrs[number].items()
                if name.startswith(b"system.posix_acl_")}
        if acls:
            text["acls"] = acls
        if number in self.targets:
            text["target"] = os.fsdecode(self.targets[number])
        if number in self.extents:
            text["extents"] = self.extents[number]
            text["sha256"] = self.sha256(number)
        return text

    # ---- what is asked for

    def print_json(self):
        for number in sorted(self.pool.inodes):
            print(json.dumps(self.describe(number)))

    def print_tree(self):
        for path, number in sorted((path, n) for n, paths in self.paths.items() for path in paths):
            inode = self.pool.inodes[number]
            target = b" -> " + self.targets[number] if number in self.targets else b""
            print("%8d %s %3d %6d %6d %12d %s" % (
                number, stat.filemode(inode.mode), inode.nlink, inode.uid, inode.gid, inode.size,
                os.fsdecode(path + target)))

    def print_log(self):
        meta = self.pool.meta
        print("%s; %d records to replay; trees of up to %d levels" % (
            "closed" if meta.clean else "not closed", len(meta.records), meta.levels))

    def cat(self, path):
        number = 1
        for name in filter(None, os.fsencode(path).split(b"/")):
            require(name in self.names.get(number, ()), "there is no %s", path)
            number = self.names[number][name][0]
        require(number in self.extents, "%s is no file", path)
        at = 0
        for offset, data in self.content(number):
            sys.stdout.buffer.write(bytes_of_zero(offset - at) + data)
            at = offset + len(data)
        sys.stdout.buffer.write(bytes_of_zero(self.pool.inodes[number].size - at))

    def export(self, directory):
        """Parents come before what is in them, and get their times after it."""
        top = os.fsencode(directory)
        order = sorted((paths for paths in self.paths.items() if paths[1]), key=lambda p: min(p[1]))
        for number, paths in order:
            places = [top + path.rstrip(b"/") for path in sorted(paths)]
            self.make(number, places[0])
            for place in places[1:]:
                os.link(places[0], place, follow_symlinks=False)
        for number, paths in reversed(order):
            self.dress(number, top + min(paths).rstrip(b"/"))

    def make(self, number, place):
        inode = self.pool.inodes[number]
        if number in self.names:
            os.mkdir(place)
        elif number in self.targets:
            os.symlink(self.targets[number], place)
        elif number in self.extents:
            with open(place, "xb") as file:
                for offset, data in self.content(number):
                    file.seek(offset)
                    file.write(data)
                file.truncate(inode.size)
        else:
            os.mknod(place, inode.mode, os.makedev(*inode.rdev))

    def dress(self, number, place):
        inode = self.pool.inodes[number]
        if os.geteuid() == 0:
            os.chown(place, inode.uid, inode.gid, follow_symlinks=False)
        if number not in self.targets:
            os.chmod(place, stat.S_IMODE(inode.mode))
        for name, value in self.xattrs[number].items():
            os.setxattr(place, name, value, follow_symlinks=False)
        os.utime(place, ns=tuple(inode.times_ns[:2]), follow_symlinks=False)


def main():
    parser = argparse.ArgumentParser(description="Reads a leasefs pool that nobody has open.")
    parser.add_argument("pool")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--tree", action="store_true", help="names, like ls -l")
    what.add_argument("--cat", metavar="PATH", help="a file's bytes")
    what.add_argument("--log", action="store_true", help="what had to be replayed")
    what.add_argument("--export", metavar="DIR", help="everything, into a new directory")
    arguments = parser.parse_args()
    try:
        everything = Everything(Pool(arguments.pool))
        if arguments.tree:
            everything.print_tree()
        elif arguments.cat:
            everything.cat(arguments.cat)
        elif arguments.export:
            everything.export(arguments.export)
        elif arguments.log:
            everything.print_log()
        else:
            everything.print_json()
    except (Damaged, OSError, struct.error) as reason:
        sys.exit("read_pool.py: %s" % reason)


if __name__ == "__main__":
    main()
