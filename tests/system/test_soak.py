# SPDX-License-Identifier: LGPL-2.1-or-later
"""Ten minutes of parallel callers with random kills: no orphan, no descriptor leaked, flat memory. Only with SSI_TEST_FULL.

SSI_SOAK_SECONDS sets how long, SSI_SOAK_SEED repeats the choices (not their timing).
"""
import os
import pathlib
import random
import signal
import subprocess
import threading
import time
import unittest

from pool import SANITIZED, Pool, SSIRUN, describe, is_zombie, wait_until

TIMEOUT = 1500
SECONDS = float(os.environ.get("SSI_SOAK_SECONDS") or (60 if SANITIZED else 600))
CALLERS = 8

# What a caller runs, what it feeds, and what must come when nobody is killed.
WORK = {
    "true": (["true"], b"", b""),
    "bytes through": (["cat"], bytes(range(256)) * 8192, bytes(range(256)) * 8192),
    "stdin unread": (["sh", "-c", "exit 0"], b"x" * 300_000, b""),
    "children": (["sh", "-c", "for i in 1 2 3; do (sleep 0.3; echo x >>f$SOAK) & done; wait; cat f$SOAK"], b"", b"x\nx\nx\n"),
    "files": (["sh", "-c", "mkdir d$SOAK && cd d$SOAK && for i in 1 2 3 4 5; do echo $i >$i; done; cat *"], b"", b"1\n2\n3\n4\n5\n"),
    "long": (["sh", "-c", "trap 'exit 0' TERM; (setsid sleep 60 &); sleep 60 & wait"], b"", None),
}


def comm(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


class Caller(threading.Thread):
    """Runs one job after the other, and sometimes kills ssirun or the job's leader."""

    def __init__(self, soak, seed):
        super().__init__()
        self.soak, self.chance, self.done, self.wrong, self.jobs = soak, random.Random(seed), False, [], 0
        self.place = soak.pool.work / str(seed)
        self.place.mkdir()

    def run(self):
        while not self.done:
            self.one(*self.chance.choice(list(WORK.items())))
            self.jobs += 1

    def one(self, name, work):
        command, given, wanted = work
        # A long one has children that live on without their leader, as they would at home.
        victim = "ssirun" if name == "long" else self.chance.choice(["ssirun", "leader", None, None])
        job = self.soak.job(self.place, command)
        killer = threading.Timer(self.chance.uniform(0, 0.6), self.kill, (job, victim)) if victim else None
        if killer:
            killer.start()
        out = b""
        try:
            out = job.communicate(given, timeout=60)[0]
        except subprocess.TimeoutExpired:
            self.wrong.append(f"{name}: hangs")
            job.kill()
            job.communicate()
        if killer:
            killer.cancel()
            killer.join()
        # A deputy that was killed gives 125, or 0 and all of it: never 0 and a part.
        if job.returncode not in (0, 125, -signal.SIGKILL):
            self.wrong.append(f"{name}: status {job.returncode}")
        if job.returncode == 0 and wanted is not None and out != wanted:
            self.wrong.append(f"{name}: status 0 and {len(out)} of {len(wanted)} bytes")
        if job.returncode == 125 and not self.soak.deputy_killed_since(job.began):
            self.wrong.append(f"{name}: 125, and nobody had killed the deputy")

    def kill(self, job, victim):
        try:
            if victim == "ssirun":
                job.kill()
            else:
                os.kill(self.soak.leader(job), signal.SIGKILL)
        except OSError:
            pass


class Soak(unittest.TestCase):
    def job(self, place, command):
        began, name = time.monotonic(), str(time.monotonic_ns())
        job = subprocess.Popen([SSIRUN, "--remote", *command], cwd=place, env={**self.pool.env, "SOAK": name},
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        job.began, job.name = began, name
        return job

    def marked(self, name=""):
        """The processes of one job, or of all, with their ssirun: those in the guests are seen from home."""
        place, found = f"XDG_RUNTIME_DIR={self.pool.dir}/run".encode(), []
        for entry in pathlib.Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and not is_zombie(entry.name):
                    variables = (entry / "environ").read_bytes().split(b"\0")
                    if place in variables and any(one.startswith(f"SOAK={name}".encode()) for one in variables) and comm(entry.name) != "ssi-deputy":
                        found.append(int(entry.name))
            except OSError:
                pass
        return found

    def leader(self, job):
        """Its parent, the job's init, is an agent."""
        for pid in self.marked(job.name):
            try:
                parent = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1]
            except OSError:
                continue
            if comm(parent) == "ssi-agent":
                return pid
        raise ProcessLookupError

    def deputy(self):
        return next((pid for pid in self.pool.processes() if comm(pid) == "ssi-deputy" and not is_zombie(pid)), None)

    def deputy_killed_since(self, moment):
        return self.killed_deputy > moment - 1

    def daemons(self):
        """The deputy, and all agents in the guests. No job runs."""
        found = [self.deputy()]
        for number in range(1, self.pool.guests + 1):
            inside = subprocess.run(["pgrep", "--ns", str(self.pool.guest_pid(number)), "--nslist", "net"], capture_output=True, text=True)
            found += [int(pid) for pid in inside.stdout.split() if comm(pid) == "ssi-agent"]
        return [pid for pid in found if pid]

    def use(self):
        """{pid: (descriptors, KiB resident)} of the daemons, when they have come to rest."""
        def now():
            seen = {}
            for pid in self.daemons():
                try:
                    status = pathlib.Path(f"/proc/{pid}/status").read_text()
                    seen[pid] = len(os.listdir(f"/proc/{pid}/fd")), int(status.split("VmRSS:")[1].split()[0])
                except (OSError, IndexError):
                    pass
            return seen
        last = now()
        for _ in range(20):
            time.sleep(0.5)
            following = now()
            if {pid: use[0] for pid, use in following.items()} == {pid: use[0] for pid, use in last.items()}:
                break
            last = following
        return following

    def warm(self):
        for guest in range(1, self.pool.guests + 1):
            self.assertTrue(wait_until(lambda: self.pool.ssirun("--on", f"guest{guest}", "true").returncode == 0, 15))

    def call(self, seconds, seed, deputy_every=None):
        """Callers for so long; then nothing of any job may be left. Returns the number of jobs."""
        callers = [Caller(self, seed * 100 + number) for number in range(CALLERS)]
        for caller in callers:
            caller.start()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(min(deputy_every or 1, max(0, end - time.monotonic())))
            if deputy_every and (pid := self.deputy()):
                self.killed_deputy = time.monotonic()
                os.kill(pid, signal.SIGKILL)
                self.killed_deputy = time.monotonic()
        for caller in callers:
            caller.done = True
        for caller in callers:
            caller.join()
        wrong = [text for caller in callers for text in caller.wrong]
        self.assertFalse(wrong, wrong[:20])
        self.assertTrue(wait_until(lambda: not self.marked(), 5), [describe(pid) for pid in self.marked()])
        for caller in callers:
            subprocess.run(["rm", "-rf", caller.place])
        return sum(caller.jobs for caller in callers)

    @unittest.skipUnless(os.environ.get("SSI_TEST_FULL"), "ten minutes: with tests/run --full")
    def test_callers_and_random_kills(self):
        seed = int(os.environ.get("SSI_SOAK_SEED") or random.randrange(10**6))
        print(f"SSI_SOAK_SEED={seed} SSI_SOAK_SECONDS={SECONDS:g}")
        self.killed_deputy = 0
        with Pool(2) as self.pool:
            self.warm()
            lasting = self.use()  # parents and reporters live through it all
            jobs = self.call(SECONDS / 2, seed, deputy_every=5)
            # The second half is for one deputy and its sessions: a part of it first, so that every cache and buffer has been used.
            self.warm()
            jobs += self.call(SECONDS / 8, seed + 1)
            self.warm()
            before = self.use()
            counted = self.call(SECONDS * 3 / 8, seed + 2)
            self.warm()
            after = self.use()
            print(f"{jobs + counted} jobs; descriptors, KiB: {lasting}, {before}, {after}")
            self.assertEqual(set(before), set(after))
            self.assertGreaterEqual(len(set(lasting) & set(after)), 4)
            for earlier in lasting, before:
                self.assertEqual({pid: earlier[pid][0] for pid in earlier if pid in after}, {pid: after[pid][0] for pid in earlier if pid in after})
            # Buffers of eight jobs at once, a window of 1 MiB each way, may still be with the allocator; beyond them not 256 bytes a job.
            # A sanitizer keeps what was freed for a while.
            bound = 16 * 1024 * (8 if SANITIZED else 1) + counted / 4
            for pid, (_, resident) in after.items():
                self.assertLess(resident - before[pid][1], bound, f"{comm(pid)} {pid}: {before[pid]} -> {after[pid]} in {counted} jobs")


if __name__ == "__main__":
    unittest.main()
