#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""nfs4.py - an NFSv4.0 client in user space, small enough to see what a server answers.

Shell tools retry and remount behind one's back; this sends one COMPOUND (RFC 7530, section 16) at a
time, with raw file handles and the anonymous stateid, and prints the status of it.

    nfs4.py SERVER VERB [WORD...]     exit status 0: the server said NFS4_OK

    handle PATH             prints the file handle, in hex
    size HANDLE             prints the size
    read HANDLE             prints the first 64 KiB
    write HANDLE TEXT       at offset 0, FILE_SYNC
    truncate HANDLE SIZE
    mkdir PATH NAME | remove PATH NAME | rename PATH OLD NEW | link PATH OLD NEW
    put HANDLE FILE         writes the local FILE's contents
    fill HANDLE MIB         writes so many MiB; ends early with the server's error

A status that is not NFS4_OK is printed by its name. No answer within LIMIT_S is the status HANG.
"""
import os
import socket
import struct
import sys

LIMIT_S = 60.0  # far beyond every deadline of the tests' recalls
STATUS = {
    0: "NFS4_OK", 1: "PERM", 2: "NOENT", 5: "IO", 13: "ACCESS", 17: "EXIST", 20: "NOTDIR",
    21: "ISDIR", 22: "INVAL", 27: "FBIG", 28: "NOSPC", 30: "ROFS", 66: "NOTEMPTY", 70: "STALE",
    10001: "BADHANDLE", 10006: "SERVERFAULT", 10008: "DELAY", 10012: "LOCKED", 10013: "GRACE",
    10016: "WRONGSEC", 10019: "MOVED", 10023: "STALE_STATEID", 10046: "FILE_OPEN",
}
PROGRAM, VERSION, COMPOUND, AUTH_SYS, AUTH_NONE = 100003, 4, 1, 1, 0
(CREATE, GETATTR, GETFH, LINK, LOOKUP, PUTFH, PUTROOTFH, READ, REMOVE, RENAME, SAVEFH, SETATTR,
 WRITE) = 6, 9, 10, 11, 15, 22, 24, 25, 28, 29, 32, 34, 38
FILE_SYNC, NF4DIR, ATTR_SIZE, ATTR_MODE = 2, 2, 4, 33
ANONYMOUS = bytes(16)
WRITE_BYTES = 1 << 17


def word(*numbers):
    return b"".join(struct.pack(">I", n) for n in numbers)


def opaque(data):
    return word(len(data)) + data + bytes(-len(data) % 4)


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def word(self):
        self.at += 4
        return struct.unpack_from(">I", self.data, self.at - 4)[0]

    def opaque(self):
        n = self.word()
        self.at += n + -n % 4
        return self.data[self.at - n - -n % 4:][:n]


class Failed(Exception):
    pass


class Client:
    def __init__(self, server):
        self.socket = socket.create_connection((server, 2049), timeout=LIMIT_S)
        self.xid = struct.unpack(">I", os.urandom(4))[0]

    def receive(self, count):
        data = b""
        while len(data) < count:
            part = self.socket.recv(count - len(data))
            if not part:
                raise Failed("CLOSED")
            data += part
        return data

    def record(self):
        data, last = b"", False
        while not last:
            mark = struct.unpack(">I", self.receive(4))[0]
            last = bool(mark & 0x80000000)
            data += self.receive(mark & 0x7fffffff)
        return data

    def compound(self, *operations):
        """Sends (number, arguments) each; a Reader that stands at the last result's body."""
        self.xid = (self.xid + 1) & 0xffffffff
        credential = opaque(word(0) + opaque(b"test") + word(0, 0, 0))
        call = word(self.xid, 0, 2, PROGRAM, VERSION, COMPOUND, AUTH_SYS) + credential
        call += word(AUTH_NONE, 0) + opaque(b"") + word(0, len(operations))
        for number, arguments in operations:
            call += word(number) + arguments
        self.socket.sendall(word(0x80000000 | len(call)) + call)
        reply = Reader(self.record())
        if (reply.word(), reply.word(), reply.word()) != (self.xid, 1, 0):
            raise Failed("RPC")
        reply.word()
        reply.opaque()
        if reply.word() != 0:
            raise Failed("RPC")
        status = reply.word()
        reply.opaque()
        if status:
            raise Failed(STATUS.get(status, str(status)))
        results = reply.word()
        for _ in range(results - 1):  # those before the last have no body but SAVEFH's and such
            reply.word()
            reply.word()
        reply.word()
        reply.word()
        return reply

    @staticmethod
    def walk(path):
        names = [name for name in path.split("/") if name]
        return [(PUTROOTFH, b"")] + [(LOOKUP, opaque(name.encode())) for name in names]

    def handle(self, path):
        print(self.compound(*self.walk(path), (GETFH, b"")).opaque().hex())

    def size(self, handle):
        reply = self.compound((PUTFH, opaque(bytes.fromhex(handle))),
                              (GETATTR, word(1, 1 << ATTR_SIZE)))
        for _ in range(reply.word()):
            reply.word()
        print(struct.unpack(">Q", reply.opaque())[0])

    def read(self, handle):
        reply = self.compound((PUTFH, opaque(bytes.fromhex(handle))),
                              (READ, ANONYMOUS + struct.pack(">QI", 0, 65536)))
        reply.word()
        sys.stdout.write(reply.opaque().decode())

    def write_at(self, handle, offset, data):
        self.compound((PUTFH, opaque(bytes.fromhex(handle))),
                      (WRITE, ANONYMOUS + struct.pack(">QI", offset, FILE_SYNC) + opaque(data)))

    def write(self, handle, text):
        self.write_at(handle, 0, text.encode())

    def put(self, handle, path):
        with open(path, "rb") as source:
            offset = 0
            while data := source.read(WRITE_BYTES):
                self.write_at(handle, offset, data)
                offset += len(data)

    def fill(self, handle, mib):
        for offset in range(0, int(mib) << 20, WRITE_BYTES):
            self.write_at(handle, offset, b"x" * WRITE_BYTES)

    def truncate(self, handle, size):
        attributes = word(1, 1 << ATTR_SIZE) + opaque(struct.pack(">Q", int(size)))
        self.compound((PUTFH, opaque(bytes.fromhex(handle))), (SETATTR, ANONYMOUS + attributes))

    def mkdir(self, path, name):
        attributes = word(2, 0, 1 << (ATTR_MODE - 32)) + opaque(word(0o755))
        self.compound(*self.walk(path), (CREATE, word(NF4DIR) + opaque(name.encode()) + attributes))

    def remove(self, path, name):
        self.compound(*self.walk(path), (REMOVE, opaque(name.encode())))

    def rename(self, path, old, new):
        self.compound(*self.walk(path), (SAVEFH, b""), *self.walk(path),
                      (RENAME, opaque(old.encode()) + opaque(new.encode())))

    def link(self, path, old, new):
        self.compound(*self.walk(path + "/" + old), (SAVEFH, b""), *self.walk(path),
                      (LINK, opaque(new.encode())))


def main():
    server, verb, *words = sys.argv[1:]
    try:
        getattr(Client(server), verb)(*words)
    except Failed as failed:
        print(failed)
        return 1
    except TimeoutError:
        print("HANG")
        return 1
    except OSError as error:
        print("NO_SERVER", error)
        return 1
    return 0


sys.exit(main())
