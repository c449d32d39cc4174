#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""tree_on_mount.py - what a pool's reader is tried on (documents.sh).

    tree_on_mount.py fill DIR                      every kind of thing that a tree can have
    tree_on_mount.py fill-many DIR                 beside it, a large directory and many inodes
    tree_on_mount.py churn DIR                     changes of both, for the log
    tree_on_mount.py show DIR [FD...]              one line of JSON for each inode, as a mount
                                                   shows it; FD: open files without a name
    tree_on_mount.py show-content DIR              the same of any directory
    tree_on_mount.py compare SHOWN READ            with what read_pool.py printed
    tree_on_mount.py compare-content SHOWN SHOWN   two trees, but for numbers and what can't be set
"""
import ctypes
import errno
import fcntl
import hashlib
import json
import os
import random
import socket
import stat
import struct
import sys

BLOCK = 4096
LARGE = 2600  # names in one directory: three levels of nodes
MANY = 4032   # more than a group of inodes, with the others
libc = ctypes.CDLL(None, use_errno=True)
ROOT = os.geteuid() == 0

# ---- filling ---------------------------------------------------------------------------------


def write_at(path, *pieces):
    with open(path, "r+b" if os.path.exists(path) else "xb") as file:
        for offset, data in pieces:
            file.seek(offset)
            file.write(data)


def fallocate(path, mode, offset, length):
    with open(path, "r+b") as file:
        if libc.fallocate(file.fileno(), mode, ctypes.c_long(offset), ctypes.c_long(length)):
            raise OSError(ctypes.get_errno(), "fallocate " + path)


def fill_files(top):
    chance = random.Random(1)
    for size in (0, 1, 4095, 4096, 4097, 3 * 2**20 + 17):
        write_at(top + "/plain%d" % size, (0, chance.randbytes(size)))
    write_at(top + "/sparse", (5 * 2**20, b"in the middle"))
    os.truncate(top + "/sparse", 40 * 2**20 + 123)
    # More extents than an inode holds, and than one node of a tree does.
    write_at(top + "/spilled", *((i * 2 * BLOCK, chance.randbytes(BLOCK)) for i in range(300)))
    write_at(top + "/unwritten", (0, b"x" * 3 * BLOCK))
    fallocate(top + "/unwritten", 0, 2 * BLOCK, 50 * BLOCK)
    write_at(top + "/unwritten", (20 * BLOCK + 7, b"y" * 99))
    fallocate(top + "/unwritten", 3, 30 * BLOCK, 5 * BLOCK)  # keep the size, punch a hole
    write_at(top + "/preallocated", (0, b"short"))
    fallocate(top + "/preallocated", 1, 0, 64 * BLOCK)  # keep the size
    write_at(top + "/cut", (0, chance.randbytes(9 * BLOCK)))
    os.truncate(top + "/cut", 3 * BLOCK + 5)
    os.truncate(top + "/cut", 6 * BLOCK)


def fill_many(top):
    os.mkdir(top + "/large")
    for i in range(3):
        write_at(top + "/linked%d" % i, (0, b"linked %d" % i))
    for i in range(LARGE):
        os.link(top + "/linked%d" % (i % 3), top + "/large/" + "n" * 240 + "%d" % i)
    for i in range(0, LARGE, 5):
        os.unlink(top + "/large/" + "n" * 240 + "%d" % i)
    os.mkdir(top + "/many")  # inodes of a second group
    for i in range(MANY):
        os.mkfifo(top + "/many/%d" % i)


def fill_directories(top):
    write_at(top + "/links", (0, b"a file of many names\n"))
    for i in range(100):
        os.link(top + "/links", top + "/links%d" % i)
    deep = top
    for i in range(20):
        deep += "/" + "%d" % i * (i * 6 // len("%d" % i) + 1)
        os.mkdir(deep)
    write_at(deep + "/" + "\u00e9" * 127 + "e", (0, b"255 bytes of name"))
    write_at(os.fsencode(deep) + b"/\xff\xfe\n\\", (0, b"no text"))
    os.mkdir(top + "/.hidden")
    for i, mode in enumerate((0o700, 0o1777, 0o2755, 0o000 if ROOT else 0o500)):
        os.mkdir(top + "/mode%d" % i)
        os.chmod(top + "/mode%d" % i, mode)


def fill_others(top):
    for length in (1, 87, 88, 89, 1023, 1024, 1025, 2049, 4095):
        os.symlink(("/" + "t" * length)[:length], top + "/symlink%d" % length)
    with socket.socket(socket.AF_UNIX) as one:
        here = os.getcwd()
        os.chdir(top)
        one.bind("socket")
        os.chdir(here)
    if ROOT:
        os.mknod(top + "/char", stat.S_IFCHR | 0o620, os.makedev(4, 64))
        os.mknod(top + "/block", stat.S_IFBLK | 0o660, os.makedev(4095, 1048575))
    for name, seconds in (("past", -2**31), ("future", 2**34), ("epoch", 0)):
        write_at(top + "/" + name, (0, b""))
        os.utime(top + "/" + name, ns=(seconds * 10**9 + 123456789, seconds * 10**9 + 999999999))


def fill_attributes(top):
    chance = random.Random(2)
    for name in ("attributes", "attributes_dir"):
        path = top + "/" + name
        if name.endswith("dir"):
            os.mkdir(path)
        else:
            write_at(path, (0, b"has attributes"))
        for size in (0, 1, 500, 1000, 1001, 1002, 1008, 1016, 1024, 2040, 5000, 30000, 65536):
            os.setxattr(path, "user.size%d" % size, chance.randbytes(size))
        os.setxattr(path, "user." + "x" * 250, b"a long name")
        for i in range(100):
            os.setxattr(path, "user.many%d" % i, b"%d" % i)
        os.removexattr(path, "user.many50")
        if ROOT:
            os.setxattr(path, "trusted.secret", b"\0\1\2")
        # A version, then tag, permissions, id: owner, user 1234, group, mask, others.
        acl = struct.pack("<I" + "HHI" * 5, 2, 1, 7, 2**32 - 1, 2, 6, 1234, 4, 5, 2**32 - 1, 16, 7,
                          2**32 - 1, 32, 1, 2**32 - 1)
        os.setxattr(path, "system.posix_acl_access", acl)
        if name.endswith("dir"):
            os.setxattr(path, "system.posix_acl_default", acl)
            os.mkdir(path + "/inherits")
    if ROOT:
        os.symlink("nowhere", top + "/symlink_with")
        os.setxattr(top + "/symlink_with", "trusted.on_a_link", b"v" * 2000, follow_symlinks=False)


def fill_owners(top):
    for uid in (1, 1000, 65534, 2**32 - 10):
        path = top + "/of%d" % uid
        write_at(path, (0, b"%d " % uid * 5000), (2**20, b"end"))
        os.chown(path, uid, uid // 2)
        write_at(path, (2**19, b"after its owner changed"))


def fill(top):
    fill_files(top)
    fill_directories(top)
    fill_others(top)
    fill_attributes(top)
    if ROOT:
        fill_owners(top)


def churn(top):
    chance = random.Random(3)
    for i in range(0, LARGE, 7):
        if i % 5:
            os.unlink(top + "/large/" + "n" * 240 + "%d" % i)
    for i in range(0, 300, 3):
        write_at(top + "/spilled", (i * 2 * BLOCK + 100, chance.randbytes(5000)))
    os.truncate(top + "/spilled", 200 * 2 * BLOCK + 77)
    os.rename(top + "/plain4097", top + "/.hidden/renamed")
    os.rename(top + "/cut", top + "/sparse")
    os.symlink("t" * 3000, top + "/.hidden/late")
    os.setxattr(top + "/attributes", "user.size5000", b"shorter")
    os.removexattr(top + "/attributes", "user.size30000")
    os.unlink(top + "/symlink1025")
    os.rmdir(top + "/mode0")
    fallocate(top + "/plain%d" % (3 * 2**20 + 17), 3, 2**20 + 1, 2**20)
    for i in range(0, MANY, 3):
        os.unlink(top + "/many/%d" % i)
    for i in range(300):
        write_at(top + "/many/new%d" % i, (0, b"%d" % i * i))


# ---- showing ---------------------------------------------------------------------------------


def birth_ns(path):
    """statx(2), which Python does not have."""
    answer = ctypes.create_string_buffer(256)
    if libc.statx(-100, os.fsencode(path), 0x100, 0x800, answer):
        raise OSError(ctypes.get_errno(), "statx")
    seconds, nanoseconds = struct.unpack_from("<qI", answer, 80)
    return seconds * 10**9 + nanoseconds


def extents(file, size):
    """{block: [region, its block there, unwritten]} below the end of file, by EXTENTS."""
    layout = struct.Struct("<QQQQQII")
    one = struct.Struct("<QQQII")
    number = 3 << 30 | (layout.size + 120 * one.size) << 16 | 0xf5 << 8 | 23
    found, offset, end = {}, 0, (size + BLOCK - 1) // BLOCK * BLOCK
    while offset < end:
        call = bytearray(layout.size + 120 * one.size)
        layout.pack_into(call, 0, offset, end, 0, 0, 0, 0, 0)
        fcntl.ioctl(file, number, call)
        *_, offset, count, _ = layout.unpack_from(call)
        for i in range(count):
            at, length, there, region, state = one.unpack_from(call, layout.size + one.size * i)
            for step in range(0, length if state < 2 else 0, BLOCK):
                found["%d" % ((at + step) // BLOCK)] = [region, (there + step) // BLOCK, state]
    return found


def show_one(path, status):
    shown = {"ino": status.st_ino, "mode": status.st_mode, "uid": status.st_uid,
             "gid": status.st_gid, "nlink": status.st_nlink, "size": status.st_size,
             "blocks": status.st_blocks * 512 // BLOCK,
             "rdev": [os.major(status.st_rdev), os.minor(status.st_rdev)],
             "atime_ns": status.st_atime_ns, "mtime_ns": status.st_mtime_ns,
             "ctime_ns": status.st_ctime_ns, "btime_ns": birth_ns(path), "paths": [],
             "xattrs": {name: os.getxattr(path, name, follow_symlinks=False).hex()
                        for name in os.listxattr(path, follow_symlinks=False)}}
    if stat.S_ISLNK(status.st_mode):
        shown["target"] = os.readlink(path)
    return shown


def add_content(shown, file, with_extents=True):
    shown["sha256"] = hashlib.sha256(file.read()).hexdigest()
    if with_extents:
        shown["extents"] = extents(file, shown["size"])


def show(top, descriptors=(), with_extents=True):
    found = {}
    below = [top]
    while below:
        path = below.pop()
        status = os.lstat(path)
        if status.st_ino not in found:
            found[status.st_ino] = show_one(path, status)
            if stat.S_ISREG(status.st_mode):
                with open(path, "rb") as file:
                    add_content(found[status.st_ino], file, with_extents)
        found[status.st_ino]["paths"].append(path[len(top):] or "/")
        if stat.S_ISDIR(status.st_mode):
            below += (path + "/" + name for name in os.listdir(path))
    for descriptor in descriptors:
        status = os.fstat(descriptor)
        with os.fdopen(os.dup(descriptor), "rb") as file:
            file.seek(0)
            shown = {"ino": status.st_ino, "mode": status.st_mode, "nlink": 0, "paths": [],
                     "size": status.st_size}
            add_content(shown, file)
            found[status.st_ino] = shown
    for shown in found.values():
        shown["paths"].sort()
    return found


# ---- comparing -------------------------------------------------------------------------------


def load(path):
    with open(path) as file:
        return {one["ino"]: one for one in map(json.loads, file)}


def by_block(shown):
    """What read_pool.py prints of extents, as extents() above has it."""
    end = (shown["size"] + BLOCK - 1) // BLOCK
    return {"%d" % (block + i): [region, at + i, unwritten]
            for block, at, region, length, unwritten in shown["extents"]
            for i in range(length) if block + i < end}


def differences(shown, read):
    for number in sorted(shown.keys() | read.keys()):
        if number not in shown or number not in read:
            yield "inode %d: only %s" % (number, "read" if number in read else "shown")
            continue
        for field, value in shown[number].items():
            other = read[number].get(field)
            if field == "extents":
                other = by_block(read[number])
            if value != other:
                yield "inode %d (%.60s): %s is %.300s, read %.300s" % (
                    number, shown[number]["paths"], field, value, other)


def by_path(tree):
    """Without numbers, and times that nobody can set; a link to an inode is its other names."""
    unlike = ("ino", "extents", "blocks", "ctime_ns", "btime_ns", "generation", "acls")
    return {path: {field: value for field, value in one.items() if field not in unlike
                   and not (field == "size" and stat.S_ISDIR(one["mode"]))}
            for one in tree.values() for path in one["paths"]}


def report(found):
    found = list(found)
    print("\n".join(found[:20]) or "no difference")
    sys.exit(1 if found else 0)


def main():
    verb, arguments = sys.argv[1], sys.argv[2:]
    if verb == "fill":
        fill(arguments[0])
    elif verb == "fill-many":
        fill_many(arguments[0])
    elif verb == "churn":
        churn(arguments[0])
    elif verb in ("show", "show-content"):
        for one in show(arguments[0], [int(n) for n in arguments[1:]], verb == "show").values():
            print(json.dumps(one))
    elif verb == "compare":
        report(differences(load(arguments[0]), load(arguments[1])))
    elif verb == "compare-content":
        one, other = (by_path(load(path)) for path in arguments)
        report("%.60s: %.300s and %.300s" % (path, one.get(path), other.get(path))
               for path in sorted(one.keys() | other.keys()) if one.get(path) != other.get(path))


if __name__ == "__main__":
    main()
