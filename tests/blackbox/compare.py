# SPDX-License-Identifier: LGPL-2.1-or-later
"""Compares cases at home and behind a prefix: Comparison(prefix, root).run(load_cases()) yields a Verdict for each."""
import concurrent.futures
import contextlib
import dataclasses
import json
import os
import pathlib
import re
import shutil
import subprocess
import time
import tomllib

from play import Outcome, play

HERE = pathlib.Path(__file__).resolve().parent
MOST_EXCEPTIONS = 6


@dataclasses.dataclass
class Verdict:
    id: str
    verdict: str  # PASS NEAR FAIL SKIP
    why: list
    local: Outcome
    here: Outcome


def show(value):
    return repr(value)[:90] if not isinstance(value, bytes) or len(value) < 200 else f"{len(value)} bytes"


def differences(case, local, here):
    """(what differs, whether a death by signal came as 128+n)."""
    why, near = [], False
    for part in case.get("cmp", ["status", "out", "err", "tree"]):
        a, b = getattr(local, part), getattr(here, part)
        if a == b:
            continue
        if part == "status" and isinstance(a, int) and a < 0 and b == 128 - a:
            near = True
        elif part == "tree":
            paths = [path for path in sorted({*a, *b}) if a.get(path) != b.get(path)]
            why.append("tree differs: " + ", ".join(f"{path}: {a.get(path)} -> {b.get(path)}" for path in paths[:3])[:160])
        else:
            why.append(f"{part}: local {show(a)}, here {show(b)}")
    return why, near


def oracle_errors(case, local):
    """What the case expects of both, and the local run did not give."""
    for part, wanted in case.get("expect", {}).items():
        got = getattr(local, part)
        got = got if part == "status" else got.decode("utf-8", "replace")
        if got != wanted:
            yield f"ORACLE {part}: expected {wanted!r}, local gave {got!r}"[:200]


def judge(case, local, here, prefix):
    if local.out.strip() == b"SKIP":
        return Verdict(case["id"], "SKIP", [], local, here)
    why, near = differences(case, local, here)
    why += [*oracle_errors(case, local), *(here.notes if prefix else local.notes)]
    if "max_s" in case and here.seconds > local.seconds + case["max_s"]:
        why.append(f"took {here.seconds:.1f} s, local {local.seconds:.1f} s")
    return Verdict(case["id"], "FAIL" if why else "NEAR" if near else "PASS", why, local, here)


def compare(case, prefix, root):
    """Both runs of one case, in a process of the executor's."""
    work = os.path.join(root, case["id"])
    local = play(case, "", work)
    skip = local.out.strip() == b"SKIP"
    return judge(case, local, play(case, prefix, work) if prefix and not skip else local, prefix)


class Places:
    """Where jobs ran, by the deputy's history. A row is written a moment after its job's end."""

    def __init__(self, prefix):
        self.known = shutil.which("ssi") if "ssirun" in prefix else None
        self.before = self.ids()

    def jobs(self):
        done = subprocess.run(["ssi", "history", "--json", "--limit", "100000"], capture_output=True) if self.known else None
        return json.loads(done.stdout)["jobs"] if done and done.returncode == 0 else []

    def ids(self):
        return {job["id"] for job in self.jobs()}

    def since(self):
        """(jobs in guests, jobs at home) since the last call."""
        if self.known:
            time.sleep(0.5)
        new = [job for job in self.jobs() if job["id"] not in self.before]
        self.before |= {job["id"] for job in new}
        return [job for job in new if job["guest"] != "home"], [job for job in new if job["guest"] == "home"]


@contextlib.contextmanager
def small_file_system(root):
    """SSI_SMALLFS: a file system of 2 MiB, to be filled. Without root there is none, unless the caller has one."""
    place = root / "small"
    if os.environ.get("SSI_SMALLFS") or os.getuid():
        yield
        return
    place.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "ssi-small", place], check=True)
    os.environ["SSI_SMALLFS"] = str(place)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", place])  # lazily: whoever served it may still hold it
        del os.environ["SSI_SMALLFS"]


def load_cases(files=None, only="."):
    cases = [case for file in files or [HERE / "cases.toml", HERE / "more.toml"] for case in tomllib.loads(file.read_text())["case"]]
    repeated = {case["id"] for case in cases if [other["id"] for other in cases].count(case["id"]) > 1}
    assert not repeated, f"two cases of one id: {repeated}"
    return [case for case in cases if re.search(only, case["id"])]


def load_exceptions(file):
    found = {exception["id"]: exception for exception in tomllib.loads(file.read_text()).get("exception", [])}
    assert len(found) <= MOST_EXCEPTIONS, f"{len(found)} exceptions, at most {MOST_EXCEPTIONS} are allowed"
    return found


class Comparison:
    """All cases: those for guests several at a time, then the exceptions."""

    def __init__(self, prefix, root, jobs=4, exceptions=HERE / "exceptions.toml"):
        self.prefix, self.jobs = prefix, jobs
        self.root = pathlib.Path(root).absolute()
        # Only what says --remote would fail where home is the right place.
        self.exceptions = load_exceptions(exceptions) if "--remote" in prefix.split() else {}
        self.guest_cases = self.home_cases = self.guest_jobs = self.home_jobs = 0

    def run(self, cases):
        """Yields verdicts as they come."""
        with small_file_system(self.root), concurrent.futures.ProcessPoolExecutor(self.jobs) as executor:
            places = Places(self.prefix)
            ordinary = [case for case in cases if case["id"] not in self.exceptions]
            for batch in [ordinary] if self.jobs > 1 else [[case] for case in ordinary]:
                futures = [executor.submit(compare, case, self.prefix, str(self.root)) for case in batch]
                for future in concurrent.futures.as_completed(futures):
                    yield future.result()
                self.count(len(batch), *places.since())
            for case in cases:
                if case["id"] in self.exceptions:
                    yield self.exception(case, places, executor)

    def exception(self, case, places, executor):
        plain = " ".join(word for word in self.prefix.split() if word != "--remote")
        verdict = executor.submit(compare, case, plain, str(self.root)).result()
        guest, home = places.since()
        self.count(1, guest, home)
        reasons = sorted({job["reason"] for job in home})
        if places.known and verdict.verdict == "PASS" and not home:
            verdict.verdict = "FAIL"
            verdict.why.append("ran in a guest: no exception is needed")
        verdict.why += [f"at home: {reason}" for reason in reasons]
        return verdict

    def summary(self):
        return (f"in a guest: {self.guest_cases} cases, {self.guest_jobs} jobs; "
                f"at home: {self.home_cases} cases, {self.home_jobs} jobs")

    def count(self, cases, guest, home):
        """A case of which a job ran at home ran at home. Of several at once nobody knows which it was."""
        self.guest_jobs += len(guest)
        self.home_jobs += len(home)
        if home and cases == 1:
            self.home_cases += 1
        elif guest:
            self.guest_cases += cases
