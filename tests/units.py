# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs the unit tests of a build directory, counts their test cases, and writes "PASSED FAILED" to a file."""
import json
import pathlib
import re
import subprocess
import sys

SUMMARY = re.compile(r"test cases:\s*\d+ \|\s*(\d+) passed \|\s*(\d+) failed")


def count(test):
    """Test cases of one meson test: doctest tells; any other program, or one that crashed, is one."""
    ok = test["result"] == "OK"
    found = SUMMARY.findall(test.get("stdout") or "")
    if not found:
        return (1, 0) if ok else (0, 1)
    passed, failed = map(int, found[-1])
    return passed, failed if ok or failed else 1


def main():
    build, result = sys.argv[1:]
    log = pathlib.Path(build, "meson-logs/testlog.json")
    log.unlink(missing_ok=True)
    subprocess.run(["meson", "test", "-C", build, "--no-rebuild", "--quiet"], stdout=subprocess.DEVNULL)
    passed = failed = 0
    for line in log.read_text().splitlines() if log.exists() else []:
        test = json.loads(line)
        good, bad = count(test)
        passed += good
        failed += bad
        print(f"{'ok  ' if not bad else 'FAIL'} {test['name']}: {good} passed, {bad} failed  {test['duration']:.1f} s")
        if bad:
            print("\n".join("     " + text for text in ((test.get("stdout") or "") + (test.get("stderr") or "")).splitlines()))
    if not passed + failed:
        print("FAIL no unit test was run")
        failed = 1
    pathlib.Path(result).write_text(f"{passed} {failed}\n")


main()
