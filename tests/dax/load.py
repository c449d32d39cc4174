#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""load.py - a mixed load that is cut off, and a look at what is left of it.

    load.py write DIR LOG SEED   until it is killed
    load.py check DIR LOG

Before an operation a line "begin" is appended to LOG, after it "done": LOG must be on what survives.
Every operation that is done must be there, whole, with no fsync; the one that was under way may be
there or not. Prints how many there were.
"""
import json
import os
import random
import subprocess
import sys


def content(seed, length):
    return random.Random(seed).randbytes(length)


class Log:
    def __init__(self, path):
        self.fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def line(self, record):
        os.write(self.fd, (json.dumps(record) + "\n").encode())


def carry_out(top, op):
    path = os.path.join(top, op["name"])
    kind = op["kind"]
    if kind == "create":
        with open(path + ".new", "wb", buffering=0) as f:
            f.write(content(op["seed"], op["length"]))
        os.rename(path + ".new", path)
    elif kind == "append":
        with open(path, "ab", buffering=0) as f:
            f.write(content(op["seed"], op["length"]))
    elif kind == "truncate":
        os.truncate(path, op["length"])
    elif kind == "rename":
        os.rename(path, os.path.join(top, op["to"]))
    elif kind == "unlink":
        os.unlink(path)
    elif kind == "direct":  # stores through a mapping of the region, and a commit
        with open(path, "wb", buffering=0) as f:
            f.truncate(op["length"])
        subprocess.run(["hold", "--fill", str(op["seed"] % 256), path], check=True,
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def follow(state, op):
    """What the directory must hold after the operation."""
    kind, name = op["kind"], op["name"]
    if kind == "create":
        state[name] = content(op["seed"], op["length"])
    elif kind == "append":
        state[name] += content(op["seed"], op["length"])
    elif kind == "truncate":
        state[name] = state[name][: op["length"]].ljust(op["length"], b"\0")
    elif kind == "rename":
        state[op["to"]] = state.pop(name)
    elif kind == "unlink":
        del state[name]
    elif kind == "direct":
        state[name] = bytes([op["seed"] % 256]) * op["length"]


def next_op(state, n, rng):
    kind = rng.choice(["create", "create", "append", "truncate", "rename", "unlink", "direct"])
    old = [name for name in sorted(state) if not name.startswith("direct")]
    if kind not in ("create", "direct") and len(old) < 8:
        kind = "create"
    if kind in ("create", "direct") and len(state) > 40:
        kind = "unlink"
    op = {"n": n, "kind": kind, "seed": rng.randrange(1 << 30)}
    if kind == "create":
        op.update(name="file.%d" % n, length=rng.randrange(300000))
    elif kind == "direct":
        op.update(name="direct.%d" % n, length=rng.choice([4096, 65536, 2 << 20]))
    elif kind == "unlink":
        op.update(name=rng.choice(sorted(state)))
    else:
        op.update(name=rng.choice(old), length=rng.randrange(200000))
        if kind == "rename":
            op.update(to=rng.choice(old + ["moved.%d" % n]))
            if op["to"] == op["name"]:
                op["to"] = "moved.%d" % n
    return op


def write(top, log, seed):
    log, rng, state = Log(log), random.Random(seed), {}
    os.mkdir(top)
    for n in range(1 << 30):
        op = next_op(state, n, rng)
        log.line({"begin": op})
        carry_out(top, op)
        follow(state, op)
        log.line({"done": n})


def check(top, log):
    lines = [json.loads(line) for line in open(log)]
    state, done, last = {}, 0, None
    for line in lines:
        if "begin" in line:
            last = line["begin"]
        else:
            assert last["n"] == line["done"]
            follow(state, last)
            done, last = done + 1, None
    touched = {last["name"], last["name"] + ".new", last.get("to")} if last else set()
    found = {name for name in os.listdir(top)}
    wrong = [name for name in found ^ set(state) if name not in touched]
    for name in sorted(found & set(state) - touched):
        with open(os.path.join(top, name), "rb") as f:
            if f.read() != state[name]:
                wrong.append(name)
    for name in found & touched:  # whatever of it is there can be read
        with open(os.path.join(top, name), "rb") as f:
            f.read()
    assert not wrong, "not as they were acknowledged: %s" % wrong
    assert done > 0, "nothing was acknowledged"
    print("%d operations acknowledged, %d files as they must be%s" %
          (done, len(state), ", %s under way" % last["kind"] if last else ""))


if __name__ == "__main__":
    if sys.argv[1] == "write":
        write(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    else:
        check(sys.argv[2], sys.argv[3])
