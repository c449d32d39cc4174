#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""results.py - turns a harness's output into one line a test case, for tests/run.

    results.py meson FILE   FILE is meson's testlog.json
    results.py tap FILE     FILE is TAP

prints "pass NAME", "fail NAME" or "skip NAME # REASON". A meson test whose standard output is TAP
counts as its cases; any other counts as one. A test that died, or that failed without naming a
failed case, adds one failure of its own name.
"""
import json
import re
import sys

TAP_LINE = re.compile(r"^\s*(not ok|ok)\b\s*(\d+)?\s*(?:- ?)?(.*?)\s*$")
TAP_SKIP = re.compile(r"^(.*?)\s*#\s*skip\w*\s*(.*)$", re.IGNORECASE)


def tap_cases(text, prefix=""):
    cases = []
    for line in text.splitlines():
        match = TAP_LINE.match(line)
        if not match:
            continue
        name = prefix + (match.group(3) or match.group(2) or "case")
        skip = TAP_SKIP.match(match.group(3))
        if skip and skip.group(1):
            cases.append(("skip", prefix + skip.group(1), skip.group(2)))
        elif skip:  # cmocka says "not ok 4 # SKIP name", and no reason
            cases.append(("skip", prefix + skip.group(2), "the test finds that it can't run here"))
        else:
            cases.append(("pass" if match.group(1) == "ok" else "fail", name, ""))
    return cases


def meson_cases(path):
    cases = []
    with open(path, encoding="utf-8", errors="replace") as log:
        for line in log:
            test = json.loads(line)
            name = test["name"].split(" / ")[-1]
            result = test["result"]
            output = test.get("stdout", "")
            if result == "SKIP":
                reason = output.strip().splitlines() or test.get("stderr", "").strip().splitlines()
                cases.append(("skip", name, reason[-1] if reason else "the test says so"))
                continue
            # Of a test that is to fail, what its own output calls failed has been asked for.
            inner = tap_cases(output, name + ": ") if result != "EXPECTEDFAIL" else []
            good = result in ("OK", "EXPECTEDFAIL")
            if good and not inner:
                inner = [("pass", name, "")]
            if not good and not any(case[0] == "fail" for case in inner):
                inner.append(("fail", "%s (%s)" % (name, result.lower()), ""))
            cases += inner
    return cases


def main():
    kind, path = sys.argv[1:]
    if kind == "meson":
        cases = meson_cases(path)
    else:
        with open(path, encoding="utf-8", errors="replace") as tap:
            cases = tap_cases(tap.read())
    for verdict, name, reason in cases:
        print(verdict, name + (" # " + reason if verdict == "skip" else ""))


main()
