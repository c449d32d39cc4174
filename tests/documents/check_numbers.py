#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""check_numbers.py - section 13 of docs/lease-protocol.md against control.h and lease_client.py.

    check_numbers.py SOURCE    prints C that compiles where all structures and calls are alike
"""
import re
import sys

import lease_client


def structures(text):
    """{name: (size, fields)} of the notation that the page explains."""
    found = {}
    for line in re.sub(r"\n\s+(?=\S+:)", " ", text).split("\n"):
        match = re.fullmatch(r"\s*(\w+) (\d+)((?: \w+:\w+)+)", line)
        if match:
            found[match[1]] = int(match[2]), match[3].split()
    return found


def field_bytes(kind, known):
    """An integer, a text or a structure, and how many."""
    if kind.startswith("text"):
        return int(kind[4:])
    one, count = re.fullmatch(r"(\d|\w+?)(?:x(\d+))?", kind).groups()
    return (int(one) if one.isdigit() else known[one][0]) * int(count or 1)


def main():
    with open(sys.argv[1] + "/docs/lease-protocol.md") as file:
        page = file.read().split("## 13.")[1]
    known = structures(page)
    for name, fields in structures(lease_client.STRUCTURES).items():
        assert known[name] == fields, "lease_client.py has another %s" % name
    print("#include <stddef.h>\n#include <leasefs/control.h>")
    for name, (size, fields) in known.items():
        at = 0
        print('_Static_assert(sizeof(struct leasefs_%s) == %d, "%s");' % (name, size, name))
        for field in fields:
            member, kind = field.split(":")
            print('_Static_assert(offsetof(struct leasefs_%s, %s) == %d, "%s.%s");' % (
                name, member, at, name, member))
            at += field_bytes(kind, known)
        assert at == size, "%s: fields of %d bytes" % (name, at)
    calls = re.findall(r"\| ([A-Z]+) \| (\d+) \| ([13]) \|", page)
    assert len(calls) == 27, calls
    for name, number, direction in calls:
        value = "%su << 30 | %du << 16 | 0xf5u << 8 | %s" % (
            direction, known[name.lower()][0], number)
        print('_Static_assert(LEASEFS_IOC_%s == (%s), "%s");' % (name, value, name))
        ours = lease_client.CALLS.get(name.lower())
        assert ours in (None, (int(number), direction == "3")), "lease_client.py: " + name
    with open(sys.argv[1] + "/include/leasefs/control.h") as file:
        header = file.read()
    assert set(re.findall(r"\nstruct leasefs_(\w+) \{", header)) == known.keys(), "structures"
    assert len(re.findall(r"#define LEASEFS_IOC_\w+ _IO", header)) == len(calls), "calls"


if __name__ == "__main__":
    main()
