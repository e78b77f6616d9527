#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs the system tests: run.py RESULT [NAME...]

Every test_*.py (unittest) and test_*.sh (one test, by its exit status) beside this file, each in a process of its own
with a time limit (a test_*.py's variable TIMEOUT, in seconds). One line for each test. Those with a line "BESIDE = SECONDS"
mostly wait, and run two at a time, the longest first. Then looks that nothing was left behind.
Writes "PASSED FAILED" to the file RESULT. NAME: only files and tests whose name has it.
"""
import concurrent.futures
import importlib.util
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
TIMEOUT = 600
COUNTED, LIMIT = "#counted ", "#limit "  # what a child says to us among its lines


def report(verdict, name, seconds, text=""):
    print(f"{verdict:<4} {name}  {seconds:.1f} s", flush=True)
    for line in text.rstrip().splitlines():
        print("     " + line, flush=True)


class Lines(unittest.TestResult):
    """One line for each test, what went wrong below it."""

    def __init__(self, file):
        super().__init__()
        self.file, self.passed, self.failed = file, 0, 0

    def startTest(self, test):
        super().startTest(test)
        self.began, self.wrong, self.skip, self.fine = time.monotonic(), [], None, False

    def stopTest(self, test):
        super().stopTest(test)
        name = f"{self.file}: {test.id().rsplit('.', 1)[-1]}"
        seconds = time.monotonic() - self.began
        if self.wrong:
            self.failed += 1
            report("FAIL", name, seconds, "\n".join(self.wrong))
        elif self.skip is not None:
            report("skip", name, seconds, self.skip)
        elif self.fine:
            self.passed += 1
            report("ok", name, seconds)
        else:
            self.failed += 1
            report("FAIL", name, seconds, "interrupted")

    def addSuccess(self, test):
        self.fine = True

    def addExpectedFailure(self, test, error):
        self.fine = True

    def _bad(self, test, error):
        text = self._exc_info_to_string(error, test)
        if isinstance(error[1], subprocess.CalledProcessError):
            for stream in (error[1].stdout, error[1].stderr):
                text += (stream.decode(errors="replace") if isinstance(stream, bytes) else stream or "")
        if hasattr(self, "wrong") and not isinstance(test, unittest.suite._ErrorHolder):
            self.wrong.append(text)
        else:  # setUpClass, tearDownClass, an import
            self.failed += 1
            report("FAIL", f"{self.file}: {test}", 0, text)

    def addError(self, test, error):
        self._bad(test, error)

    def addFailure(self, test, error):
        self._bad(test, error)

    def addSubTest(self, test, subtest, error):
        if error:
            self._bad(subtest, error)

    def addSkip(self, test, reason):
        if hasattr(self, "wrong") and not isinstance(test, unittest.suite._ErrorHolder):
            self.skip = reason
        else:
            report("skip", f"{self.file}: {test}", 0, reason)

    def addUnexpectedSuccess(self, test):
        self.wrong.append("passed, although it was expected to fail")


def chosen(suite, names):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from chosen(test, names)
        elif not names or any(name in test.id() for name in names):
            yield test


def run_one(path, names):
    """The tests of one file, in the child."""
    result = Lines(path.name)
    try:
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[path.stem] = module
        spec.loader.exec_module(module)
        print(f"{LIMIT}{getattr(module, 'TIMEOUT', TIMEOUT)}", flush=True)
        tests = unittest.defaultTestLoader.loadTestsFromModule(module)
        unittest.TestSuite(chosen(tests, names)).run(result)
    except Exception as error:
        result.failed += 1
        report("FAIL", path.name, 0, f"cannot be loaded: {error!r}")
    print(COUNTED + json.dumps([result.passed, result.failed]), flush=True)


def end(child):
    """Ends a test that has hung: first so that it can take its pool down, then for certain."""
    for number, patience in ((signal.SIGTERM, 30), (signal.SIGKILL, 10)):
        try:
            os.killpg(child.pid, number)
            child.wait(patience)
            return
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue


class TimeLimit:
    """Ends a child that has hung."""

    def __init__(self, child):
        self.child, self.over = child, False
        self.timer = None
        self.set(TIMEOUT)

    def set(self, seconds):
        """Counts anew, from now."""
        self.cancel()
        self.seconds, self.timer = seconds, threading.Timer(seconds, self._end)
        self.timer.daemon = True  # Ctrl-C must not wait for it
        self.timer.start()

    def cancel(self):
        if self.timer:
            self.timer.cancel()

    def _end(self):
        self.over = True
        end(self.child)


running = set()


def run_file(path, names, say=lambda line: print(line, end="", flush=True)):
    """(passed, failed) of one file, run in a session of its own."""
    is_shell = path.suffix == ".sh"
    command = ["bash", str(path)] if is_shell else [sys.executable, __file__, "--one", str(path), *names]
    began, counted, said = time.monotonic(), None, []
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                             text=True, errors="replace", start_new_session=True)
    limit = TimeLimit(child)
    running.add(child)

    def read():
        nonlocal counted
        for line in child.stdout:
            if line.startswith(LIMIT):
                limit.set(float(line[len(LIMIT):]))
            elif line.startswith(COUNTED):
                counted = json.loads(line[len(COUNTED):])
            elif is_shell:
                said.append(line)
            else:
                say(line)

    # Read until the child ends, not until end of file: a daemon that it leaks may hold the pipe open.
    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        status = child.wait()
    except KeyboardInterrupt:  # the child has a session of its own: the terminal's Ctrl-C has not reached it
        end(child)
        raise
    finally:
        running.discard(child)
    reader.join(2)
    limit.cancel()
    seconds = time.monotonic() - began
    if is_shell and not limit.over:
        report("FAIL" if status else "ok", path.name, seconds, "".join(said) if status else "")
        return (0, 1) if status else (1, 0)
    if counted and not limit.over:
        return counted
    why = f"took longer than {limit.seconds:.0f} s" if limit.over else f"ended with status {status}"
    report("FAIL", path.name, seconds, why)
    return (counted or [0, 0])[0], (counted or [0, 0])[1] + 1


def run_two_at_a_time(work):
    """[(passed, failed)] of (path, names). What a file says comes when it has ended."""
    def run(path, names):
        lines = []
        try:
            return run_file(path, names, lines.append)
        finally:
            print("".join(lines), end="", flush=True)

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        ends = [pool.submit(run, *each) for each in work]
        try:
            return [each.result() for each in ends]
        except KeyboardInterrupt:  # Ctrl-C: as in run_file
            pool.shutdown(wait=False, cancel_futures=True)
            for child in [*running]:
                end(child)
            raise


def traces():
    """What this project leaves on a machine when something goes wrong."""
    found = set()
    for entry in pathlib.Path("/proc").iterdir():
        try:
            if not entry.name.isdigit() or not (entry / "comm").read_text().startswith("ssi"):
                continue
            if (entry / "stat").read_text().rsplit(")", 1)[1].split()[0] != "Z":  # init reaps when it likes
                found.add(f"process {entry.name} {(entry / 'cmdline').read_bytes().replace(bytes(1), b' ').decode(errors='replace')}")
        except OSError:
            pass
    found |= {f"mount {line.split()[4]}" for line in open("/proc/self/mountinfo") if "ssi" in line}
    found |= {f"device {name}" for name in os.listdir("/sys/class/net") if name.startswith("ssi")}
    found |= {f"file /tmp/{name}" for name in os.listdir("/tmp") if name.startswith("ssi-") and not name.startswith("ssi-results-")}
    found |= {str(path) for path in pathlib.Path("/run").glob("ssi/*")}
    return found


def check_nothing_left(before):
    began, left = time.monotonic(), set()
    while time.monotonic() - began < 5:
        left = traces() - before
        if not left:
            break
        time.sleep(0.2)
    report("FAIL" if left else "ok", "the suite leaves nothing behind", time.monotonic() - began, "\n".join(sorted(left)))
    return (0, 1) if left else (1, 0)


def main():
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))  # so that `with` and tearDown run
    if sys.argv[1] == "--one":
        return run_one(pathlib.Path(sys.argv[2]), sys.argv[3:])
    result, names = pathlib.Path(sys.argv[1]), sys.argv[2:]
    before, alone, beside = traces(), [], []
    for path in sorted([*HERE.glob("test_*.py"), *HERE.glob("test_*.sh")]):
        text = path.read_text(errors="replace")
        if names and not any(name in path.name or name in text for name in names):
            continue
        chosen_names = [] if any(name in path.name for name in names) else names
        if waits := re.search(r"^BESIDE = (\d+)$", text, re.M):
            beside.append((int(waits[1]), path, chosen_names))
        else:
            alone.append((path, chosen_names))
    counts = [run_file(*each) for each in alone] + run_two_at_a_time([each for _, *each in sorted(beside, reverse=True)])
    passed, failed = (sum(count[i] for count in counts) for i in (0, 1))
    if not passed + failed:
        failed = 1
        report("FAIL", " ".join(["no test ran:", *names]), 0)
    good, bad = check_nothing_left(before)
    result.write_text(f"{passed + good} {failed + bad}\n")
    return 1 if failed + bad else 0


if __name__ == "__main__":
    sys.exit(main())
