#!/usr/bin/env python3
"""What ctest did, counted by test case: what was skipped is listed by name and counted as nothing else.

deploy/test_report.py STAGE REPORT.xml     REPORT.xml: of `ctest --output-junit` with whole outputs

Exit code 1: the report holds no test that ran.
"""
import re
import sys
import xml.etree.ElementTree

GTEST_RAN = re.compile(r"^\[=+\] (\d+) tests? from \d+ test suites? ran\.", re.M)
GTEST_SKIPPED = re.compile(r"^\[  SKIPPED \] (\S+) \(\d+ ms\)$")
UNITTEST_RAN = re.compile(r"^Ran (\d+) tests? in ", re.M)
UNITTEST_SKIPPED = re.compile(r"^(?:(\w+) \([\w.]+\)(?: .*?)?)?.*\.\.\. skipped (['\"])(.*)\2$")


def gtest_skips(text):
    """(case, reason) of each; the reason is what was said since the case began."""
    found, said = [], []
    for line in text.splitlines():
        if line.startswith("[ RUN "):
            said = []
        elif match := GTEST_SKIPPED.match(line):
            found.append((match[1], " ".join(l for l in said if l and not l.endswith(": Skipped"))))
        else:
            said.append(line.strip())
    return found


def unittest_skips(text):
    """(case, reason) of each; a case with a docstring has its name on the line before."""
    found, name = [], "?"
    for line in text.splitlines():
        if begun := re.match(r"(\w+) \([\w.]+\)", line):
            name = begun[1]
        if match := UNITTEST_SKIPPED.match(line):
            found.append((name, match[3]))
    return found


def read(path):
    """Of each program: (name, "run", "fail" or "skipped", cases, [(skipped case, reason)])."""
    for case in xml.etree.ElementTree.parse(path).getroot().iter("testcase"):
        text = case.findtext("system-out") or ""
        status = case.get("status")
        if status in ("notrun", "disabled") or case.find("skipped") is not None:
            reason = case.find("skipped")
            yield case.get("name"), "skipped", 0, [("all of it", reason.get("message") or "" if reason is not None else "")]
            continue
        skips = gtest_skips(text) + unittest_skips(text)
        ran = sum(map(int, GTEST_RAN.findall(text) + UNITTEST_RAN.findall(text))) or 1
        yield case.get("name"), status, max(ran - len(skips), 0), skips


def main():
    if len(sys.argv) != 3:
        sys.exit(f"test_report.py: expected STAGE REPORT.xml, got {sys.argv[1:]}")
    programs = list(read(sys.argv[2]))
    failed = [name for name, status, _, _ in programs if status == "fail"]
    passed = [p for p in programs if p[1] == "run"]
    skips = [(name, *skip) for name, _, _, skipped in programs for skip in skipped]
    print(f"stage {sys.argv[1]}: {len(passed)} of {len(programs)} test programs passed with "
          f"{sum(p[2] for p in passed)} cases; {len(failed)} failed; {len(skips)} cases skipped")
    for name in failed:
        print(f"  failed:  {name}")
    for name, case, reason in skips:
        print(f"  skipped: {name}: {case}: {reason}")
    sys.exit(0 if passed else 1)


main()
