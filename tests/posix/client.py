# SPDX-License-Identifier: BSD-2-Clause
"""A client of the control file, as far as the cases of tools.sh need one."""

import fcntl
import os
import struct

MAGIC = 0xF5
RECORDS = 28
KINDS = ["", "session-open", "session-close", "session-exit", "session-gone", "grant", "return",
         "recall", "cancel", "revoke", "signal", "park", "complete", "busy", "interrupt",
         "quarantine", "release", "drain"]


def call(fd, number, data):
    """An ioctl that copies `data` (a bytearray) both ways."""
    fcntl.ioctl(fd, 3 << 30 | len(data) << 16 | MAGIC << 8 | number, data)
    return data


class Session:
    def __init__(self, mount):
        self.fd = os.open(mount + "/.leasefs/control", os.O_RDWR)
        data = bytearray(3176)
        struct.pack_into("<I", data, 0, 1)
        call(self.fd, 1, data)
        self.number, *self.cookie = struct.unpack_from("<3Q", data, 48)

    def grant(self, file, offset=0, length=0, write=True):
        """(lease, [(offset, length, region_offset, region, state)])"""
        data = bytearray(344)
        struct.pack_into("<4Q2I", data, 0, *self.cookie, offset, length, 2 if write else 1, 0)
        call(file, 2, data)
        count = struct.unpack_from("<I", data, 84)[0]
        extents = [struct.unpack_from("<3Q2I", data, 88 + 32 * i) for i in range(count)]
        return struct.unpack_from("<Q", data, 56)[0], extents

    def give_back(self, lease):
        data = bytearray(56)
        struct.pack_into("<Q", data, 0, lease)
        call(self.fd, 5, data)

    def region_path(self, region):
        data = bytearray(3120)
        struct.pack_into("<I", data, 0, region)
        call(self.fd, 4, data)
        return data[48:].split(b"\0")[0].decode()


def history(fd, start=0, watch=False):
    """(records, next, lost, end): one page; a record is (seq, kind, session, lease)."""
    data = bytearray(96 + 128 * RECORDS)
    struct.pack_into("<3QI", data, 0, start, 0, 0, 1 if watch else 0)
    call(fd, 26, data)
    count = struct.unpack_from("<I", data, 28)[0]
    lost, end = struct.unpack_from("<2Q", data, 64)
    records = []
    for i in range(count):
        seq, _, kind, _, session, lease = struct.unpack_from("<2Q2I2Q", data, 96 + 128 * i)
        records.append((seq, KINDS[kind], session, lease))
    return records, struct.unpack_from("<Q", data, 0)[0], lost, end
