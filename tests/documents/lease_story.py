#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""lease_story.py - lease_client.py on a mount, everything that docs/lease-protocol.md speaks of.

    lease_story.py MOUNT        (documents.sh)

The mount's policy is recall:400ms/busy. `restart` on standard output asks whoever runs this to kill
the daemon and mount again, and to answer with a line.
"""
import concurrent.futures
import errno
import os
import select
import signal
import subprocess
import sys
import threading
import time

from lease_client import *  # noqa: F403 - all of it is what this is about

BLOCK = 4096
MOUNT = sys.argv[1]
RECALL_S = 0.4
PATIENT = b"recall:20s/busy"  # what takes less than PLAIN_S then has waited for nobody's deadline
PLAIN_S = 10


def path(name):
    return os.path.join(MOUNT, name)


def open_file(name, mode=os.O_RDWR, content=b""):
    if content:
        with open(path(name), "wb") as file:
            file.write(content)
    return os.open(path(name), mode | os.O_CREAT, 0o644)


def read_file(name):
    with open(path(name), "rb") as file:
        return file.read()


def set_policy(name, ladder):
    os.setxattr(path(name), "user.leasefs.policy", ladder)


def expect(number, function, *arguments, **named):
    try:
        function(*arguments, **named)
    except OSError as error:
        assert error.errno == number, "%s, not %s" % (error, errno.errorcode[number])
    else:
        raise AssertionError("not refused: %s instead of success" % errno.errorcode[number])


class Other:
    """An operation by another process, which may have to wait."""

    def __init__(self, *command):
        self.began = time.monotonic()
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE)
        self.pid = self.process.pid

    def ends(self, busy=False):
        """How long it took."""
        _, words = self.process.communicate(timeout=20)
        if busy:
            assert self.process.returncode and b"busy" in words, (self.process.returncode, words)
        else:
            assert self.process.returncode == 0, words
        return time.monotonic() - self.began


def truncate(name, size):
    return Other("truncate", "-s", str(size), path(name))


def punch(name, offset, length):
    return Other("fallocate", "-p", "-o", str(offset), "-l", str(length), path(name))


# ---- the story, section by section ------------------------------------------------------------


def session_and_grant():
    session = Session(MOUNT)
    told = session.number, session.cookie, session.boot
    session.hello()
    assert (session.number, session.cookie, session.boot) == told, "a second HELLO"
    assert session.pid == os.getpid() and session.features & SLOT_PINS
    call(session.control, "process")
    expect(errno.EINVAL, call, session.control, "hello", abi=ABI, flags=1)

    file = open_file("first")
    lease = session.grant(file, 100, 60000, WRITE)
    assert (lease.offset, lease.length) == (0, 61440), (lease.offset, lease.length)
    assert sum(extent.length for extent in lease.extents) == lease.length
    lease.map()
    lease.store(5000, b"by a store")
    session.commit(lease, size=5010)
    assert read_file("first") == b"\0" * 5000 + b"by a store"
    session.commit(lease, size=10)  # never shrinks
    assert os.fstat(file).st_size == 5010
    expect(errno.EINVAL, session.commit, lease, 0, 0, 70000)
    lease.give_back()
    expect(errno.ENOENT, call, session.control, "return", lease=lease.id)
    session.close()


def errors():
    control = os.open(path(".leasefs/control"), os.O_RDWR)
    assert ".leasefs" not in os.listdir(MOUNT)
    expect(errno.EBADF, call, control, "layout", lease=1)
    session = Session(MOUNT)
    file = open_file("errors", content=b"content")
    reading = os.open(path("errors"), os.O_RDONLY)
    expect(errno.ENOTTY, call, session.control, "grant", cookie=session.cookie, mode=READ)
    expect(errno.ENOTTY, call, file, "layout", lease=1)
    expect(errno.EBADF, session.grant, reading, 0, 0, WRITE)
    expect(errno.EINVAL, session.grant, file, 0, 0, 3)
    expect(errno.EINVAL, session.grant, open_file("empty"), 0, 0, READ)
    expect(errno.ENOTTY, session.grant, os.open(MOUNT, os.O_RDONLY), 0, 4096, READ)
    expect(errno.EINVAL, session.grant, file, 0, 0, READ, 64)
    expect(errno.EPERM, call, file, "grant", cookie=(1, 2), mode=READ)
    expect(errno.ENOENT, call, session.control, "layout", lease=12345)
    expect(errno.ENOENT, call, session.control, "region", region=99)
    expect(errno.ENOENT, call, session.control, "ack", lease=12345)
    expect(errno.EAGAIN, os.read, session.control, 4096)
    lease = session.grant(reading, 0, 0, READ)
    expect(errno.EBADF, session.commit, lease)
    expect(errno.EINVAL, call, session.control, "return", lease=lease.id, offset=8192, length=4096)
    lease.give_back()
    for one in (control, file, reading):
        os.close(one)
    session.close()


def truncate_meets_a_pin():
    session = Session(MOUNT)
    content = os.urandom(100000)
    file = open_file("pinned", content=content)
    set_policy("pinned", b"recall:1s/busy")
    lease = session.grant(file, 0, 0, WRITE)
    lease.map()
    with lease.pinned():
        other = truncate("pinned", 4096)
        event = session.wait(RECALL)
        assert (event.lease, event.offset, event.length) == (lease.id, 4096, lease.length - 4096)
        assert event.pid == other.pid and event.mode == WRITE
        left = event.deadline_ns - time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        assert 0 < left < 1e9, left
        assert not lease.try_pin(), "a pin under a recall"
        expect(errno.EAGAIN, session.pin, lease)
        # A failed pin's UNPINNED must not end the pin that was there before.
        assert other.ends(busy=True) >= 1
        session.wait(RECALL_CANCELLED, lease=lease.id)
        assert lease.try_pin(), "the lease is whole again"
        lease.unpin()
    assert read_file("pinned") == content and lease.load(0, 100000) == content
    lease.give_back()
    set_policy("pinned", PATIENT)
    assert truncate("pinned", 4096).ends() < PLAIN_S
    session.close()


def prompt_return():
    """A thread gives way: the truncate goes on long before the deadline."""
    session = Session(MOUNT)
    file = open_file("prompt", content=b"p" * 10 * BLOCK)
    set_policy("prompt", PATIENT)
    told = threading.Event()
    lease = session.grant(file, 0, 0, WRITE)
    lease.map()

    def give_way():
        event = session.wait(RECALL)
        told.set()
        while session.line(lease.slot).pins:
            time.sleep(0.001)
        lease.give_back(event.offset, event.length)

    with concurrent.futures.ThreadPoolExecutor() as threads:
        with lease.pinned():
            other = truncate("prompt", 3 * BLOCK)
            thread = threads.submit(give_way)
            assert told.wait(10)
        assert other.ends() < PLAIN_S
        thread.result(10)
    assert lease.length == 3 * BLOCK and lease.load(0, 4) == b"pppp"
    # The lease that is left is as good as before.
    assert lease.try_pin()
    lease.unpin()
    session.commit(lease)
    lease.give_back()
    session.close()


def revocation():
    """Nobody answers: what is not pinned is cut off at the deadline."""
    session = Session(MOUNT)
    file = open_file("revoked", content=b"r" * 8 * BLOCK)
    lease = session.grant(file, 0, 0, WRITE)
    lease.map()
    other = punch("revoked", 2 * BLOCK, 3 * BLOCK)
    assert RECALL_S <= other.ends()
    event = session.wait(REVOKED)
    assert event.origin == lease.id and event.lease != lease.id and event.rest, event.origin
    assert (event.offset, event.length) == (2 * BLOCK, 3 * BLOCK)
    assert lease.load(2 * BLOCK, 3) == b"rrr", "in quarantine, what was there"
    assert read_file("revoked")[2 * BLOCK:2 * BLOCK + 3] == b"\0\0\0"
    expect(errno.ESTALE, call, session.control, "layout", lease=event.lease)
    rest = lease.revoked(event)
    expect(errno.ENOENT, session.acknowledge, event.lease)
    assert (lease.length, rest.offset, rest.length) == (2 * BLOCK, 5 * BLOCK, 3 * BLOCK)
    assert lease.load(0, 3) + rest.load(5 * BLOCK, 3) == b"rrrrrr"
    rest.give_back()
    # At the front: the lease stays what is behind.
    punch("revoked", 0, BLOCK).ends()
    event = session.wait(REVOKED)
    assert event.origin == lease.id != event.lease and not event.rest
    lease.revoked(event)
    assert (lease.offset, lease.length) == (BLOCK, BLOCK) and lease.load(BLOCK, 3) == b"rrr"
    assert lease.try_pin()
    lease.unpin()
    # The session's own process asks nobody.
    os.truncate(path("revoked"), 0)
    event = session.wait(REVOKED)
    assert event.flags & OWN and event.lease == lease.id and not event.rest
    lease.revoked(event)
    session.close()


def policies_of_a_file():
    """orphan: the operation goes on, the blocks stay with the pin."""
    session = Session(MOUNT)
    file = open_file("orphan", content=b"o" * 4 * BLOCK)
    set_policy("orphan", b"recall:100ms/orphan")
    lease = session.grant(file, 0, 0, WRITE)
    lease.map()
    assert lease.try_pin()
    truncate("orphan", 0).ends()
    event = session.wait(REVOKED)
    assert event.lease == lease.id and read_file("orphan") == b""
    lease.store(0, b"still mine")
    expect(errno.EBUSY, session.acknowledge, lease.id)
    lease.unpin()
    lease.revoked(event)
    session.close()


def parts():
    session = Session(MOUNT)
    file = open_file("parts", content=bytes(range(256)) * 256)
    lease = session.grant(file, 0, 0, WRITE)
    lease.map()
    set_policy("parts", PATIENT)
    rest = lease.give_back(4 * BLOCK, 4 * BLOCK)
    assert (lease.offset, lease.length) == (0, 4 * BLOCK) and lease.slot != rest.slot
    assert (rest.offset, rest.length) == (8 * BLOCK, 8 * BLOCK)
    assert punch("parts", 4 * BLOCK, 4 * BLOCK).ends() < PLAIN_S
    assert rest.load(9 * BLOCK + 3, 2) == b"\3\4"
    # From the front.
    assert rest.give_back(8 * BLOCK, BLOCK) is None and rest.offset == 9 * BLOCK
    assert rest.load(9 * BLOCK + 3, 2) == b"\3\4"
    expect(errno.EINVAL, rest.give_back, 9 * BLOCK + 1, BLOCK)
    # A pin of a part.
    set_policy("parts", b"recall:1s/busy")
    pin = session.pin(rest, 10 * BLOCK, BLOCK)
    expect(errno.EBUSY, rest.give_back)
    other = punch("parts", 10 * BLOCK, BLOCK)
    session.wait(RECALL, lease=rest.id)
    assert other.ends(busy=True) >= 1
    session.wait(RECALL_CANCELLED)
    set_policy("parts", b"recall:100ms/busy")
    # A recall that is over before it was read is never seen.
    assert punch("parts", 10 * BLOCK, BLOCK).ends(busy=True) >= 0.1
    expect(errno.EAGAIN, os.read, session.control, 4096)
    session.unpin(pin)
    expect(errno.ENOENT, session.unpin, pin)
    set_policy("parts", PATIENT)
    pin = session.pin(rest, 10 * BLOCK, BLOCK, UNBREAKABLE)
    assert punch("parts", 10 * BLOCK, BLOCK).ends(busy=True) < PLAIN_S
    assert session.wait(RECALL).flags & ADVISORY
    session.unpin(pin)
    session.downgrade(rest)
    expect(errno.EBADF, session.commit, rest)
    session.close()  # with leases


def exclusion():
    one, two = Session(MOUNT), Session(MOUNT)
    file = open_file("exclusive", content=b"e" * BLOCK)
    set_policy("exclusive", PATIENT)
    held = one.grant(file, 0, 0, WRITE, EXCLUSIVE)
    expect(errno.EAGAIN, two.grant, file, 0, 0, READ)
    assert one.wait(RECALL).lease == held.id
    held.give_back()
    event = two.wait(AVAILABLE)
    assert event.inode == os.fstat(file).st_ino
    held = two.grant(file, 0, 0, WRITE, EXCLUSIVE)
    two.downgrade(held, SHARE)
    expect(errno.EBADF, two.commit, held)
    one.grant(file, 0, 0, READ).give_back()
    one.close()
    two.close()


def layouts():
    """More extents than a page has, holes between them, and one that is filled."""
    session = Session(MOUNT)
    file = open_file("layout")
    for i in range(150):
        os.pwrite(file, b"%d" % i, i * 2 * BLOCK)
    os.truncate(path("layout"), 300 * BLOCK)
    lease = session.grant(file, 0, 0, READ)
    assert [extent.state for extent in lease.extents] == [WRITTEN, HOLE] * 150
    lease.map()
    assert all(lease.load(i * 2 * BLOCK, 3).rstrip(b"\0") == b"%d" % i for i in range(150))
    told = call(file, "extents")
    seen = told.extents[:told.count]
    while told.next < told.end:
        told = call(file, "extents", offset=told.next)
        seen += told.extents[:told.count]
    assert [bytes(extent) for extent in seen] == [bytes(extent) for extent in lease.extents]
    os.pwrite(file, b"filled", BLOCK)
    event = session.wait(LAYOUT_CHANGED)
    assert event.lease == lease.id and event.offset <= BLOCK < event.offset + event.length
    lease.unmap()
    lease.extents = []
    session.fetch(lease, lease.offset)
    lease.map()
    assert lease.load(BLOCK, 6) == b"filled"
    session.close()


def restart():
    """The daemon is killed: what was leased is there, recalls come again; one forsakes its lease."""
    session, forsaken = Session(MOUNT), Session(MOUNT)
    content = os.urandom(8 * BLOCK)
    file = open_file("kept", content=content)
    set_policy("kept", b"recall:1s/busy")
    lease, unheard = (session.grant(file, at * BLOCK, 4 * BLOCK, WRITE) for at in (0, 4))
    lease.map()
    part = session.pin(lease, BLOCK, BLOCK)
    assert lease.try_pin()
    lost = forsaken.grant(open_file("lost", content=content), 0, 0, WRITE)
    lost.map()
    id, number = lease.id, session.number
    del session.leases[unheard.id]  # as if its GRANT had not been answered
    print("restart", flush=True)
    assert sys.stdin.readline() == "restarted\n"

    poll = select.poll()
    poll.register(session.control, select.POLLIN)
    assert poll.poll(0)[0][1] & select.POLLERR
    expect(errno.ENOTCONN, session.hello)
    lease.store(0, b"after the daemon's end")
    waiting = truncate("kept", 0)  # for the grace period first
    stranger = Session(MOUNT)
    assert stranger.boot != session.boot
    grace = call(stranger.control, "grace")
    assert grace.left_ns and grace.inherited == 3, (grace.left_ns, grace.inherited)
    old = session.cookie, session.boot
    expect(errno.EPERM, call, stranger.control, "reclaim", cookie=(1, 2), boot=old[1])
    expect(errno.ESTALE, call, stranger.control, "reclaim", cookie=old[0], boot=(1, 2))
    again = session.reclaim(MOUNT)
    assert [(one.lease, one.offset, one.length, one.range_pins) for one in again] == [
        (id, 0, 4 * BLOCK, 1), (unheard.id, 4 * BLOCK, 4 * BLOCK, 0)], again
    assert session.number == number and again[0].slot == lease.slot
    expect(errno.EBUSY, call, stranger.control, "reclaim", cookie=old[0], boot=old[1], lease=id)
    assert session.line(lease.slot).pins == 1
    event = session.wait(RECALL, lease=id)
    assert event.pid == waiting.pid
    assert waiting.ends(busy=True) >= 1
    session.wait(RECALL_CANCELLED, lease=id)
    lease.unpin()
    session.unpin(part)
    os.close(file)
    file = open_file("kept")
    session.commit(lease)
    assert read_file("kept") == b"after the daemon's end" + content[22:]
    session.grant(file, 0, 0, READ).give_back()
    lease.give_back()

    # Grace is over for the other.
    while call(stranger.control, "grace").left_ns:
        time.sleep(0.02)
    before = forsaken.cookie, forsaken.boot
    late = Session(MOUNT)
    expect(errno.ESTALE, call, late.control, "reclaim", cookie=before[0], boot=before[1],
           lease=lost.id)
    set_policy("lost", PATIENT)
    assert truncate("lost", 0).ends() < PLAIN_S
    assert lost.load(0, 8 * BLOCK) == content, "in quarantine"
    lost.unmap()
    late.acknowledge(lost.id)
    for one in (session, stranger, late):
        one.close()


def drain():
    """The administrator's: holders are told, then there are no new leases."""
    session = Session(MOUNT)
    file = open_file("drained", content=b"d")
    set_policy("drained", PATIENT)
    lease = session.grant(file, 0, 0, WRITE)
    # By another process: what its own holds would be cut off at once.
    other = Other("leasectl", MOUNT, "drain")
    session.wait(DRAIN)
    assert session.wait(RECALL).lease == lease.id
    lease.give_back()
    assert other.ends() < PLAIN_S
    expect(errno.ESHUTDOWN, session.grant, file, 0, 0, READ)


def main():
    signal.alarm(60)
    for part in (session_and_grant, errors, truncate_meets_a_pin, prompt_return, revocation,
                 policies_of_a_file, parts, exclusion, layouts, restart, drain):
        began = time.monotonic()
        part()
        print("%s: %.2f s" % (part.__name__, time.monotonic() - began), flush=True)


if __name__ == "__main__":
    main()
