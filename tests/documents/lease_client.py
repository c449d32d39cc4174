# SPDX-License-Identifier: BSD-2-Clause
"""lease_client.py - a client of the lease protocol, without any of leasefs' code.

Written from docs/lease-protocol.md alone, whose sections the comments name: an example for clients
in other languages, and the proof that the page is enough. lease_story.py uses all of it.

    session = Session("/mnt/lease")
    file = os.open("/mnt/lease/file", os.O_RDWR)
    lease = session.grant(file, 0, 65536, WRITE)
    lease.map()
    with lease.pinned():
        lease.store(0, b"content")
    session.commit(lease, size=7)
    session.wait(RECALL)  # in a thread of its own, where others may want the range
    lease.give_back()

Errors are OSError with the protocol's errno. A Session's calls may be made by several threads.
"""
import contextlib
import ctypes
import fcntl
import mmap
import os
import select
import struct
import time

# ---- section 13: structures and numbers ------------------------------------------------------

# name, bytes; then fields in order, without gaps: name:bytes[xcount], name:text of so many bytes,
# or name:structure xcount.
STRUCTURES = """
hello 3176 abi:4 flags:4 features:8 reserved:8x4 session:8 cookie:8x2 boot:8x2 pid:4
    pin_line_bytes:4 pin_file_bytes:8 pin_file:text3072
process 24 flags:4 pid:4 reserved:8x2
extent 32 offset:8 length:8 region_offset:8 region:4 state:4
grant 344 cookie:8x2 offset:8 length:8 mode:4 flags:4 reserved:8x2 lease:8 pin_file_bytes:8 next:8
    slot:4 count:4 extents:extentx8
layout 3888 lease:8 offset:8 reserved:8x2 next:8 count:4 pad:4 extents:extentx120
region 3120 region:4 flags:4 reserved:8x2 bytes:8 alignment:8 media:4 owner_uid:4 path:text3072
return 56 lease:8 offset:8 length:8 reserved:8x2 rest:8 rest_slot:4 pad:4
downgrade 32 lease:8 flags:4 pad:4 reserved:8x2
commit 48 lease:8 offset:8 length:8 size:8 reserved:8x2
ack 24 lease:8 reserved:8x2
reclaim 120 cookie:8x2 boot:8x2 lease:8 reserved:8x2 session:8 inode:8 offset:8 length:8
    pin_file_bytes:8 mode:4 flags:4 slot:4 range_pins:4 left:4 pad:4
grace 64 reserved:8x2 boot:8x2 left_ns:8 inherited:8 reclaimed:8 revoked:8
pin_line 64 pins:4 recall:4 reserved:4x14
pin 56 lease:8 offset:8 length:8 flags:4 pad:4 reserved:8x2 pin:8
unpin 24 pin:8 reserved:8x2
unpinned 24 lease:8 reserved:8x2
event 88 kind:4 flags:4 lease:8 origin:8 rest:8 inode:8 offset:8 length:8 deadline_ns:8 pid:4
    mode:4 reserved:8x2
drain 32 reserved:8x4
extents 3888 offset:8 end:8 reserved:8x2 next:8 count:4 pad:4 extents:extentx120
"""

# The ioctl's number, and whether anything comes back.
CALLS = {"hello": (1, True), "grant": (2, True), "layout": (3, True), "region": (4, True),
         "return": (5, True), "downgrade": (6, False), "commit": (7, False), "ack": (8, False),
         "pin": (9, True), "unpin": (10, False), "unpinned": (11, False), "process": (12, True),
         "drain": (16, False), "extents": (23, True), "reclaim": (27, True), "grace": (28, True)}
MAGIC = 0xf5

ABI = 1
SLOT_PINS, RANGE_PINS, EXCLUSIVE_LEASES, WATCHING, RECLAIMING = (1 << bit for bit in range(5))
READ, WRITE = 1, 2
EXCLUSIVE = 1  # flag of a grant
SHARE = 1      # flag of a downgrade
UNBREAKABLE = 1
WRITTEN, UNWRITTEN, HOLE = range(3)
NO_SLOT = 0xffffffff
RECALL, RECALL_CANCELLED, LAYOUT_CHANGED, REVOKED, AVAILABLE, DRAIN = range(1, 7)
ADVISORY, OWN, AVAILABLE_EXCLUSIVE = 1, 2, 4  # flags of events
SEQ_CST = 5    # of the compiler's atomics


def make_structures():
    made = {}
    for line in STRUCTURES.replace("\n    ", " ").split("\n"):
        if not line:
            continue
        name, size, *fields = line.split()
        types = {"8": ctypes.c_uint64, "4": ctypes.c_uint32, **made}
        members = []
        for field in fields:
            member, kind = field.split(":")
            if kind.startswith("text"):
                members.append((member, ctypes.c_char * int(kind[4:])))
            else:
                kind, _, count = kind.partition("x") if "extent" not in kind else (
                    "extent", "x", kind[len("extentx"):])
                members.append((member, types[kind] * int(count) if count else types[kind]))
        made[name] = type(name, (ctypes.LittleEndianStructure,), {"_fields_": members})
        assert ctypes.sizeof(made[name]) == int(size), name
    return made


TYPES = make_structures()


def call(descriptor, name, **inputs):
    """An ioctl: its structure, with what came back."""
    number, answers = CALLS[name]
    argument = TYPES[name]()
    for field, value in inputs.items():
        if isinstance(value, tuple):
            value = type(getattr(argument, field))(*value)
        setattr(argument, field, value)
    direction = 3 if answers else 1
    fcntl.ioctl(descriptor,
                direction << 30 | ctypes.sizeof(argument) << 16 | MAGIC << 8 | number, argument)
    return argument


class Session:
    """Section 2: an open file description of the control file."""

    def __init__(self, mount):
        self.mount = mount
        self.control = os.open(os.path.join(mount, ".leasefs/control"), os.O_RDWR | os.O_CLOEXEC |
                               os.O_NONBLOCK)
        self.leases, self.events, self.regions = {}, [], {}
        self.pin_file, self.old_pin_files = None, []
        self.hello()

    def hello(self):
        answer = call(self.control, "hello", abi=ABI, features=SLOT_PINS | RANGE_PINS |
                      EXCLUSIVE_LEASES | RECLAIMING)
        if answer.abi != ABI:
            raise OSError("the daemon speaks version %d" % answer.abi)
        self.number, self.features = answer.session, answer.features
        self.cookie, self.boot = tuple(answer.cookie), tuple(answer.boot)
        self.pid, self.line_bytes = answer.pid, answer.pin_line_bytes
        if not self.pin_file:
            self.map_pins(answer.pin_file.decode(), answer.pin_file_bytes)

    def close(self):
        os.close(self.control)

    # ---- section 3

    def grant(self, file, offset, length, mode, flags=0):
        answer = call(file, "grant", cookie=self.cookie, offset=offset, length=length, mode=mode,
                      flags=flags)
        lease = Lease(self, answer.lease, answer.offset, answer.length, mode, answer.slot)
        self.map_pins(self.pin_path, answer.pin_file_bytes)
        lease.extents = list(answer.extents[:answer.count])
        self.fetch(lease, answer.next)
        self.leases[lease.id] = lease
        return lease

    def fetch(self, lease, next):
        while next < lease.offset + lease.length:
            page = call(self.control, "layout", lease=lease.id, offset=next)
            lease.extents += page.extents[:page.count]
            next = page.next

    # ---- section 4

    def region(self, number):
        """A descriptor of the region, and what REGION says of it."""
        if number not in self.regions:
            told = call(self.control, "region", region=number)
            try:
                descriptor = os.open(told.path, os.O_RDWR | os.O_CLOEXEC)
            except PermissionError:
                descriptor = os.open(told.path, os.O_RDONLY | os.O_CLOEXEC)
            self.regions[number] = descriptor, told
        return self.regions[number]

    # ---- section 5

    def map_pins(self, path, bytes):
        """The pin file, again if it has grown; who still has a line's address keeps the old map."""
        if bytes and (not self.pin_file or len(self.pin_file) < bytes):
            self.pin_path = path
            self.old_pin_files.append(self.pin_file)
            with open(path, "r+b") as file:
                self.pin_file = mmap.mmap(file.fileno(), bytes)

    def line(self, slot):
        return TYPES["pin_line"].from_buffer(self.pin_file, slot * self.line_bytes)

    def pin(self, lease, offset=0, length=0, flags=0):
        return call(self.control, "pin", lease=lease.id, offset=offset, length=length,
                    flags=flags).pin

    def unpin(self, pin):
        call(self.control, "unpin", pin=pin)

    # ---- section 6

    def read_events(self):
        try:
            text = os.read(self.control, 46 * ctypes.sizeof(TYPES["event"]))
        except BlockingIOError:
            return
        size = ctypes.sizeof(TYPES["event"])
        self.events += (TYPES["event"].from_buffer_copy(text, at)
                        for at in range(0, len(text), size))

    def wait(self, *kinds, lease=None, seconds=10):
        """The next event of these kinds, of that lease; others are kept for who asks for them."""
        poll = select.poll()
        poll.register(self.control, select.POLLIN)
        deadline = time.monotonic() + seconds
        while True:
            self.read_events()
            for event in self.events:
                if event.kind in kinds and lease in (None, event.lease, event.origin):
                    self.events.remove(event)
                    return event
            left = deadline - time.monotonic()
            if left < 0:
                raise TimeoutError("no event of %s; there are %s" % (
                    kinds, [(event.kind, event.lease) for event in self.events]))
            poll.poll(left * 1000)

    # ---- section 7

    def commit(self, lease, offset=0, length=0, size=0):
        call(self.control, "commit", lease=lease.id, offset=offset, length=length, size=size)

    def downgrade(self, lease, flags=0):
        call(self.control, "downgrade", lease=lease.id, flags=flags)
        lease.mode = READ

    def acknowledge(self, id):
        call(self.control, "ack", lease=id)

    # ---- section 9

    def reclaim(self, mount):
        """After the daemon's end, on the new mount: the leases that are ours again."""
        before = self.control, self.cookie, self.boot
        self.control = os.open(os.path.join(mount, ".leasefs/control"), os.O_RDWR | os.O_CLOEXEC |
                               os.O_NONBLOCK)
        os.close(before[0])
        self.hello()
        again = []
        for id in [*self.leases, 0]:
            with contextlib.suppress(FileNotFoundError):
                while True:
                    told = call(self.control, "reclaim", cookie=before[1], boot=before[2], lease=id)
                    self.number = told.session
                    self.map_pins(self.pin_path, told.pin_file_bytes)
                    again.append(told)
                    if id:
                        break
        return again


class Lease:
    def __init__(self, session, id, offset, length, mode, slot):
        self.session, self.id, self.mode, self.slot = session, id, mode, slot
        self.offset, self.length = offset, length
        self.extents, self.maps = [], []

    # ---- section 4

    def map(self):
        """Each extent, as [file offset, length, map, where in the map it begins]."""
        for extent in self.extents:
            if extent.state == HOLE:
                continue
            descriptor, region = self.session.region(extent.region)
            unit = max(region.alignment, mmap.ALLOCATIONGRANULARITY)
            begin = extent.region_offset // unit * unit  # what is in front belongs to others
            end = (extent.region_offset + extent.length + unit - 1) // unit * unit
            protection = mmap.PROT_READ | (mmap.PROT_WRITE if self.mode == WRITE else 0)
            one = mmap.mmap(descriptor, end - begin, flags=mmap.MAP_SHARED, prot=protection,
                            offset=begin)
            one.madvise(mmap.MADV_DONTFORK)
            self.maps.append([extent.offset, extent.length, one, extent.region_offset - begin])

    def unmap(self):
        for one in self.maps:
            one[2].close()
        self.maps = []

    def cut(self, begin, end):
        """The lease's range is [begin, end) now: its extents are those, mapped if they were."""
        mapped = bool(self.maps)
        self.unmap()
        self.offset, self.length = begin, end - begin
        extents, self.extents = self.extents, []
        for extent in extents:
            first = max(begin, extent.offset)
            last = min(end, extent.offset + extent.length)
            if first < last:
                self.extents.append(TYPES["extent"](
                    first, last - first, extent.state != HOLE and
                    extent.region_offset + first - extent.offset, extent.region, extent.state))
        if mapped and self.length:
            self.map()

    def pieces(self, offset, length):
        for begin, bytes, one, at in self.maps:
            start, end = max(offset, begin), min(offset + length, begin + bytes)
            if start < end:
                yield start - offset, one, at + start - begin, end - start

    def store(self, offset, data):
        for at, one, there, length in self.pieces(offset, len(data)):
            one[there:there + length] = data[at:at + length]

    def load(self, offset, length):
        return b"".join(one[there:there + count]
                        for _, one, there, count in self.pieces(offset, length))

    # ---- section 5

    def try_pin(self):
        """A slot pin; False while the lease is recalled. What a revocation left has no slot."""
        line = self.session.line(self.slot)
        add(line, 1)
        if load_recall(line) == 0:
            return True
        self.unpin()
        return False

    def unpin(self):
        line = self.session.line(self.slot)
        if add(line, -1) == 0 and load_recall(line):
            call(self.session.control, "unpinned", lease=self.id)

    @contextlib.contextmanager
    def pinned(self):
        if not self.try_pin():
            raise BlockingIOError("recalled")
        try:
            yield
        finally:
            self.unpin()

    # ---- section 7

    def give_back(self, offset=0, length=0):
        """The whole lease, or a part: then what is left behind it, or None."""
        begin, end, all_end = offset, offset + length, self.offset + self.length
        if not length:
            begin, end = self.offset, all_end
        mapped, extents = bool(self.maps), self.extents
        self.unmap()  # all: Python's mmap can't unmap a part, as munmap(2) does
        try:
            told = call(self.session.control, "return", lease=self.id, offset=offset, length=length)
        except OSError:
            if mapped:
                self.map()
            raise
        rest = None
        if told.rest:
            rest = self.behind(told.rest, told.rest_slot, end, extents, mapped)
        self.extents = extents
        if begin == self.offset:  # what is behind the front stays this lease
            self.cut(end, all_end)
        else:
            self.cut(self.offset, begin)
        if mapped and self.length:
            self.map()
        if not self.length:
            del self.session.leases[self.id]
        return rest

    def behind(self, id, slot, begin, extents, mapped):
        """The lease that a cut has left behind it."""
        rest = Lease(self.session, id, begin, 0, self.mode, slot)
        rest.extents = extents
        rest.cut(begin, self.offset + self.length)
        if mapped:
            rest.map()
        self.session.leases[id] = rest
        return rest

    def revoked(self, event):
        """A REVOKED event of this lease: its range is gone, and acknowledged as unmapped."""
        mapped, extents = bool(self.maps), self.extents
        self.unmap()
        rest = None
        if event.rest:
            rest = self.behind(event.rest, NO_SLOT, event.offset + event.length, extents, mapped)
        if event.offset == self.offset and event.lease != self.id:
            self.cut(event.offset + event.length, self.offset + self.length)
        else:
            self.cut(self.offset, event.offset)
        if mapped and self.length:
            self.map()
        if not self.length:
            self.session.leases.pop(self.id, None)
        self.session.acknowledge(event.lease)
        return rest


# ---- atomics, which Python does not have: those of the compiler's library ----------------------

atomic = ctypes.CDLL("libatomic.so.1")


def add(line, count):
    """Adds to the line's pins; what they are then."""
    pins = ctypes.byref(line, TYPES["pin_line"].pins.offset)
    before = getattr(atomic, "__atomic_fetch_add_4")(pins, count, SEQ_CST)
    return (before + count) & 0xffffffff


def load_recall(line):
    recall = ctypes.byref(line, TYPES["pin_line"].recall.offset)
    return getattr(atomic, "__atomic_load_4")(recall, SEQ_CST)
