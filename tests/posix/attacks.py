#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""attacks.py - users of one pool with --domains=uid who attack each other (security.sh).

    attacks.py NAME MOUNT POOL DAEMON_PID

As root. Alice has files that everybody may read and write; Bob and Carol want what the kernel did
not give them: her region, her session, her leases, the daemon. An attack is a function; it ends
with an exception where a promise of docs/security.md is broken.
"""
import ctypes
import errno
import fcntl
import mmap
import os
import random
import struct
import sys
import time
import traceback

ALICE, BOB, CAROL = 12001, 12002, 12003
BLOCK = 4096
libc = ctypes.CDLL(None, use_errno=True)


# ---- the control file (include/leasefs/control.h) ------------------------------------------------

def number(nr, size, out=True):
    return (3 if out else 1) << 30 | size << 16 | 0xF5 << 8 | nr


def call(fd, nr, size, data=b"", out=True):
    buffer = bytearray(data.ljust(size, b"\0"))
    fcntl.ioctl(fd, number(nr, size, out), buffer)
    return bytes(buffer)


class Session:
    def __init__(self, top):
        self.fd = os.open(top + "/.leasefs/control", os.O_RDWR | os.O_NONBLOCK)
        answer = call(self.fd, 1, 3176, struct.pack("<IIQ", 1, 0, 3))
        self.cookie = answer[56:72]
        self.boot = answer[72:88]
        self.pin_file = answer[104:].split(b"\0")[0].decode()

    def grant(self, fd, offset=0, length=BLOCK, write=True, cookie=None):
        """(lease id, [(offset, length, region offset, region, state)])"""
        g = call(fd, 2, 344, (cookie or self.cookie) +
                 struct.pack("<QQII", offset, length, 2 if write else 1, 0))
        lease, = struct.unpack_from("<Q", g, 56)
        count, = struct.unpack_from("<I", g, 84)
        return lease, [struct.unpack_from("<QQQII", g, 88 + 32 * i) for i in range(count)]

    def region_path(self, region):
        r = call(self.fd, 4, 3120, struct.pack("<I", region))
        return r[48:].split(b"\0")[0].decode()

    def give_back(self, lease):
        call(self.fd, 5, 56, struct.pack("<Q", lease))

    def pin(self, lease):
        return struct.unpack_from("<Q", call(self.fd, 9, 56, struct.pack("<QQQ", lease, 0, 0)), 48)[0]

    def unpin(self, pin):
        call(self.fd, 10, 24, struct.pack("<Q", pin), out=False)


# ---- who does what -------------------------------------------------------------------------------

def become(uid):
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


class As:
    """A child of that user: runs a function, then more of them when told to."""

    def __init__(self, uid, function, *args):
        self.read_fd, write_fd = os.pipe()
        go_fd, self.go_fd = os.pipe()
        self.pid = os.fork()
        if self.pid:
            os.close(write_fd)
            os.close(go_fd)
            return
        status = 1
        try:
            become(uid)
            steps = function(*args)
            if steps is not None:  # a generator: a step a byte
                for _ in steps:
                    os.write(write_fd, b".")
                    os.read(go_fd, 1)
            status = 0
        except BaseException:
            traceback.print_exc()
        os._exit(status)

    def reached(self):
        assert os.read(self.read_fd, 1) == b".", "the other user's part failed"

    def go_on(self):
        os.write(self.go_fd, b".")

    def join(self):
        os.close(self.go_fd)
        assert os.waitpid(self.pid, 0)[1] == 0, "the other user's part failed"


def run_as(uid, function, *args):
    As(uid, function, *args).join()


def refused(numbers, function, *args, **named):
    names = numbers if isinstance(numbers, tuple) else (numbers,)
    try:
        function(*args, **named)
    except OSError as e:
        assert e.errno in names, "%s with %s" % (function, e)
        return
    raise AssertionError("%s%r was not refused" % (function.__name__, args))


def alices_file(top, name="shared", content=b"alice's" * 3000):
    path = os.path.join(top, name)

    def make():
        with open(path, "wb") as f:
            f.write(content)
        os.chmod(path, 0o666)
    run_as(ALICE, make)
    return path


def bobs_file(top, content=b"bob's" * 3000):
    path = os.path.join(top, "bobs")

    def make():
        with open(path, "wb") as f:
            f.write(content)
        os.chmod(path, 0o666)
    run_as(BOB, make)
    return path


# ---- attacks -------------------------------------------------------------------------------------

def region_files(top, pool, daemon):
    """Nobody opens another's region or the metadata, or changes what names stand in the pool."""
    alices_file(top)
    bobs_file(top)
    names = [n for n in os.listdir(pool) if n.startswith("data.")]
    owners = {n: os.stat(os.path.join(pool, n)) for n in names}
    assert {st.st_uid for st in owners.values()} >= {ALICE, BOB}, owners
    assert all(st.st_mode & 0o777 == 0o600 for st in owners.values()), owners

    def attack(uid):
        for name in names:
            path = os.path.join(pool, name)
            if owners[name].st_uid == uid:
                os.close(os.open(path, os.O_RDWR))
                continue
            for flags in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR):
                refused(errno.EACCES, os.open, path, flags)
            refused((errno.EACCES, errno.EPERM), os.truncate, path, 0)
            refused((errno.EACCES, errno.EPERM), os.chmod, path, 0o666)
        for name in ("meta", "run/lock"):
            refused(errno.EACCES, os.open, os.path.join(pool, name), os.O_RDONLY)
        for directory in (pool, pool + "/run"):
            refused(errno.EACCES, os.listdir, directory)
            refused(errno.EACCES, os.symlink, "/etc/passwd", directory + "/planted")
            refused(errno.EACCES, os.open, directory + "/planted", os.O_CREAT | os.O_WRONLY)
        for name in names:
            refused((errno.EACCES, errno.EPERM), os.unlink, os.path.join(pool, name))
            refused((errno.EACCES, errno.EPERM), os.rename, os.path.join(pool, name), pool + "/x")
    for uid in (ALICE, BOB, CAROL):
        run_as(uid, attack, uid)


def leases_on_others_files(top, pool, daemon):
    """Who may write a file by its mode has ordinary I/O, and no lease in another's region."""
    path = alices_file(top)

    def attack():
        fd, session = os.open(path, os.O_RDWR), Session(top)
        os.pwrite(fd, b"plain", 0)
        assert os.pread(fd, 5, 0) == b"plain"
        refused(errno.EACCES, session.grant, fd, write=True)
        refused(errno.EACCES, session.grant, fd, write=False)
        os.ftruncate(fd, 100)  # nothing of theirs is in the way
    run_as(BOB, attack)
    run_as(CAROL, attack)


def cookies(top, pool, daemon):
    """A session is used by those alone who have its cookie, and a cookie opens no region."""
    path, bobs = alices_file(top), bobs_file(top)
    cookie_read, cookie_write = os.pipe()

    def alice():
        session = Session(top)
        session.grant(os.open(path, os.O_RDWR))
        os.write(cookie_write, session.cookie + session.boot)
        yield

    def bob():
        rng, session = random.Random(5), Session(top)
        hers = os.read(cookie_read, 32)
        fd, own = os.open(path, os.O_RDWR), os.open(bobs, os.O_RDWR)
        for _ in range(200):
            refused(errno.EPERM, session.grant, own, cookie=rng.randbytes(16))
        flipped = bytes([hers[0] ^ 1]) + hers[1:16]
        refused(errno.EPERM, session.grant, own, cookie=flipped)
        refused(errno.EPERM, session.grant, own, cookie=bytes(16))
        # Even hers, were it stolen, is not a right to her region, nor to take her session over.
        refused(errno.EACCES, session.grant, fd, cookie=hers[:16])
        other = os.open(top + "/.leasefs/control", os.O_RDWR)
        refused((errno.EPERM, errno.ESTALE, errno.EEXIST, errno.EBUSY, errno.EINVAL, errno.EBADF),
                call, other, 27, 120, hers)
    a = As(ALICE, alice)
    a.reached()
    run_as(BOB, bob)
    a.go_on()
    a.join()


def lease_ids(top, pool, daemon):
    """Another's lease and pin ids are unknown numbers to everybody else's session."""
    path, bobs = alices_file(top), bobs_file(top)
    ids_read, ids_write = os.pipe()

    def alice():
        session = Session(top)
        fd = os.open(path, os.O_RDWR)
        lease, _ = session.grant(fd)
        pin = session.pin(lease)
        os.write(ids_write, struct.pack("<QQ", lease, pin))
        yield
        session.unpin(pin)
        session.give_back(lease)

    def attack():
        lease, pin = struct.unpack("<QQ", ids)
        session = Session(top)
        if os.getuid() == BOB:
            session.grant(os.open(bobs, os.O_RDWR))
        one = struct.pack("<Q", lease)
        for nr, size, out in ((3, 3888, True), (5, 56, True), (6, 32, False), (7, 48, False),
                              (8, 24, False), (9, 56, True), (11, 24, False)):
            refused((errno.ENOENT, errno.EINVAL), call, session.fd, nr, size, one, out)
        refused(errno.ENOENT, call, session.fd, 10, 24, struct.pack("<Q", pin), False)
        for near in range(1, 64):
            refused((errno.ENOENT, errno.EINVAL), call, session.fd, 5, 56,
                    struct.pack("<QQQ", lease ^ near, 0, BLOCK))
    a = As(ALICE, alice)
    a.reached()
    ids = os.read(ids_read, 16)
    run_as(BOB, attack)
    run_as(CAROL, attack)
    a.go_on()
    a.join()


def pin_pages(top, pool, daemon):
    """Pin lines are their user's own; nonsense in them counts as pinned and hurts no one else."""
    path, bobs = alices_file(top), bobs_file(top)
    name_read, name_write = os.pipe()

    def alice():
        session = Session(top)
        fd = os.open(path, os.O_RDWR)
        session.grant(fd)
        os.write(name_write, session.pin_file.encode())
        yield
        pins = os.open(session.pin_file, os.O_RDWR)
        os.pwrite(pins, b"\xff" * 4096, 0)
        refused(errno.EBUSY, os.ftruncate, fd, 0)
        os.ftruncate(pins, 0)
        refused(errno.EBUSY, os.ftruncate, fd, 0)

    def attack():
        for flags in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR):
            refused(errno.EACCES, os.open, pin_file, flags)
        refused(errno.EACCES, os.listdir, os.path.dirname(pin_file))
        refused((errno.EACCES, errno.EPERM), os.unlink, pin_file)
    def leases_own():
        Session(top).grant(os.open(bobs, os.O_RDWR))
    a = As(ALICE, alice)
    a.reached()
    pin_file = os.read(name_read, 3072).decode()
    assert os.stat(pin_file).st_uid == ALICE and os.stat(pin_file).st_mode & 0o77 == 0
    run_as(BOB, attack)
    run_as(CAROL, attack)
    a.go_on()
    a.join()
    run_as(BOB, leases_own)


def looking(top, pool, daemon):
    """The queries show an ordinary user what is theirs, and nothing of others."""
    path = alices_file(top)

    def alice():
        session = Session(top)
        session.pin(session.grant(os.open(path, os.O_RDWR))[0])
        yield

    def attack():
        fd = os.open(top + "/.leasefs/control", os.O_RDWR)
        leases = call(fd, 14, 3568)
        assert struct.unpack_from("<I", leases, 40)[0] == 0, "leases of others are shown"
        pins = call(fd, 22, 3408, struct.pack("<Q", os.stat(path).st_ino))
        assert struct.unpack_from("<I", pins, 40)[0] == 0, "pins of others are shown"
    a = As(ALICE, alice)
    a.reached()
    run_as(BOB, attack)
    a.go_on()
    a.join()


def administrators_calls(top, pool, daemon):
    """drain, recall and release are the administrator's."""
    path = alices_file(top)

    def attack():
        fd = os.open(top + "/.leasefs/control", os.O_RDWR)
        refused(errno.EPERM, call, fd, 16, 32, b"", False)
        refused(errno.EPERM, call, fd, 20, 40, struct.pack("<Q", os.stat(path).st_ino), False)
        refused(errno.EPERM, call, fd, 21, 24, struct.pack("<Q", 1), False)
        refused((errno.EPERM, errno.EACCES), os.setxattr, path, "trusted.leasefs.policy",
                b"recall:1ms/kill:1ms/busy")
        refused((errno.EPERM, errno.EACCES, errno.EINVAL), os.setxattr, path, "user.leasefs.policy",
                b"recall:1ms/kill:1ms/busy")
    run_as(BOB, attack)


def daemons_process(top, pool, daemon):
    """No way into the daemon through /proc, ptrace, signals or its descriptors."""
    def attack():
        base = "/proc/%d/" % daemon
        for name in ("mem", "maps", "environ", "auxv", "syscall", "stack"):
            refused((errno.EACCES, errno.EPERM, errno.ENOENT),
                    lambda p: os.read(os.open(p, os.O_RDONLY), 1), base + name)
        refused((errno.EACCES, errno.EPERM), os.listdir, base + "fd")
        for name in ("root", "cwd", "exe"):
            refused((errno.EACCES, errno.EPERM), os.readlink, base + name)
        refused(errno.EPERM, os.kill, daemon, 15)
        pidfd = os.pidfd_open(daemon)
        for fd in range(3, 20):
            r = libc.syscall(438, pidfd, fd, 0)  # pidfd_getfd
            assert r == -1 and ctypes.get_errno() == errno.EPERM, "a descriptor was taken"
        r = libc.ptrace(16, daemon, 0, 0)
        assert r == -1 and ctypes.get_errno() == errno.EPERM, "attached to the daemon"
    for uid in (ALICE, BOB):
        run_as(uid, attack)


def own_region_cut(top, pool, daemon):
    """Who cuts their own region's file loses their own bytes, and nobody else's."""
    alices, bobs = alices_file(top), bobs_file(top)
    regions = [os.path.join(pool, n) for n in os.listdir(pool) if n.startswith("data.")]
    his = [p for p in regions if os.stat(p).st_uid == BOB][0]

    def cut():
        os.truncate(his, 0)
        fd = os.open(bobs, os.O_RDWR)
        for _ in range(3):
            try:
                os.pread(fd, 100, 0)
                os.pwrite(fd, b"x" * 5000, 0)
                os.fsync(fd)
            except OSError as e:
                assert e.errno == errno.EIO, e
        refused(errno.EIO, os.fsync, fd)
    run_as(BOB, cut)
    assert open(alices, "rb").read() == b"alice's" * 3000
    alices_file(top, "new")
    os.kill(daemon, 0)


def races_with_chown(top, pool, daemon):
    """A file goes back and forth between owners while one of them leases, maps and reads it."""
    path = alices_file(top, content=b"A" * BLOCK)
    stop_read, stop_write = os.pipe()
    count_read, count_write = os.pipe()
    os.set_blocking(stop_read, False)
    os.set_blocking(count_read, False)

    def stopped():
        try:
            return os.read(stop_read, 1) == b""
        except BlockingIOError:
            return False

    def alice():
        os.close(stop_write)
        session = Session(top)
        while not stopped():
            fd = os.open(path, os.O_RDWR)
            try:
                lease, extents = session.grant(fd, write=False)
            except OSError as e:
                assert e.errno in (errno.EACCES, errno.EAGAIN, errno.EINVAL, errno.ENOBUFS), e
                os.close(fd)
                continue
            for _, length, at, region, state in extents:
                if state == 2:
                    continue
                try:
                    r = os.open(session.region_path(region), os.O_RDONLY)
                except PermissionError:
                    continue  # moved since: the kernel has the last word
                with mmap.mmap(r, length, mmap.MAP_SHARED, mmap.PROT_READ, offset=at) as m:
                    for _ in range(20):
                        assert b"BOB" not in m[:], "another's bytes in her own region"
                os.close(r)
                os.write(count_write, b".")
            try:
                session.give_back(lease)
            except OSError as e:
                assert e.errno in (errno.ENOENT, errno.ESTALE, errno.EBUSY), e
            os.close(fd)

    a, granted, end = As(ALICE, alice), 0, time.monotonic() + 60
    while granted < 30 and time.monotonic() < end:
        os.chown(path, BOB, -1)
        with open(path, "r+b") as f:
            f.write(b"BOB" * 1365)
        with open(path, "r+b") as f:
            f.write(b"A" * BLOCK)
        os.chown(path, ALICE, -1)
        try:
            granted += len(os.read(count_read, 100))
        except BlockingIOError:
            pass
    os.close(stop_write)
    a.join()
    assert granted > 0, "she never had a lease"


def accountable_process(top, pool, daemon):
    """Policies signal who said HELLO or PROCESS; no call names another process."""
    alices_file(top)

    def alice():
        yield

    def attack():
        session = Session(top)
        for field in range(24 // 4):
            data = bytearray(24)
            struct.pack_into("<I", data, field * 4, victim)
            try:
                answer = call(session.fd, 12, 24, bytes(data))
            except OSError as e:
                assert e.errno == errno.EINVAL
                continue
            assert struct.unpack_from("<I", answer, 4)[0] == os.getpid()
    a = As(ALICE, alice)
    a.reached()
    victim = a.pid
    run_as(BOB, attack)
    a.go_on()
    a.join()


if __name__ == "__main__":
    attack, mount_point, pool_path, pid = sys.argv[1:]
    globals()[attack](mount_point, pool_path, int(pid))
