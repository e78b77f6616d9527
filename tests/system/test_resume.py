# SPDX-License-Identifier: LGPL-2.1-or-later
"""Links that break under a running job: it goes on, and nothing of it is lost or comes twice."""
import hashlib
import os
import pathlib
import re
import signal
import subprocess
import threading
import time
import unittest

from pool import Pool, SSIRUN, wait_until
from test_losses import processes_of_jobs

BESIDE = 70

# Reads its input to the end, and meanwhile appends, writes, renames and locks: requests of which none may be done twice or not at all.
WORK = r"""
import fcntl, hashlib, os, sys, time
digest, log = hashlib.sha256(), open("log", "ab", 0)
for number in range(int(sys.argv[1])):
    time.sleep(0.002)  # half a second of it is sure, however fast all else is
    piece = sys.stdin.buffer.read(20_000)
    digest.update(piece)
    log.write(b"line %d\n" % number)
    fcntl.flock(log, fcntl.LOCK_EX)
    with open(f"new{number}", "wb") as new:
        new.write(piece)
    os.rename(f"new{number}", f"done{number}")
    os.mkdir(f"d{number}")
    fcntl.flock(log, fcntl.LOCK_UN)
    sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()
sys.stderr.write(digest.hexdigest())
sys.exit(7)
"""
COUNT = 250


def deputy(pool):
    return next(pid for pid in pool.processes() if pathlib.Path(f"/proc/{pid}/comm").read_text().strip() == "ssi-deputy")


def all_of_guest(pool):
    found = subprocess.run(["pgrep", "--ns", str(pool.guest_pid(1)), "--nslist", "net"], capture_output=True, text=True)
    return [int(pid) for pid in found.stdout.split()]


class Cuts(unittest.TestCase):
    def work(self, pool, harm, *options):
        """Plays WORK in guest 1 while `harm` is done to it; all that it did must be there once."""
        pool.run("sh", "-c", "rm -rf log done* d* new*")
        data = os.urandom(20_000 * COUNT)
        job = subprocess.Popen([SSIRUN, "--on", "guest1", *options, "python3", "-c", WORK, str(COUNT)], env=pool.env, cwd=pool.work,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        feeder = threading.Thread(target=lambda: (job.stdin.write(data), job.stdin.close()), daemon=True)
        out = []
        reader = threading.Thread(target=lambda: out.append(job.stdout.read()), daemon=True)
        feeder.start()
        reader.start()
        harm(job)
        reader.join(120)
        said = job.stderr.read().decode()
        self.assertEqual(job.wait(10), 7, said)
        feeder.join()
        job.stdout.close()
        job.stderr.close()
        self.assertEqual(hashlib.sha256(out[0]).hexdigest(), hashlib.sha256(data).hexdigest())
        self.assertTrue(said.startswith(hashlib.sha256(data).hexdigest()), said)
        self.assertEqual((pool.work / "log").read_text(), "".join(f"line {number}\n" for number in range(COUNT)))
        for number in range(COUNT):
            self.assertEqual((pool.work / f"done{number}").read_bytes(), data[number * 20_000:(number + 1) * 20_000])
        return said

    def connections(self, pool):
        """Ends the TCP connections of home with guest 1, as `ss -K` does; how many there were."""
        text = (pool.dir / "state/ssi/pool/guest1.log").read_text()
        address = re.search(r"takes sessions on ([\d.]+):(\d+)", text)
        done = subprocess.run(["ss", "-K", "-Htn", "dst", address[1], "dport", "=", address[2]], capture_output=True, text=True)
        return len(done.stdout.splitlines())

    def test_connections_that_are_reset(self):
        with Pool(1) as pool:
            broken = 0

            def harm(job):
                nonlocal broken
                self.assertTrue(wait_until((pool.work / "done0").exists, 20))
                while not (pool.work / f"done{COUNT - 20}").exists() and job.poll() is None:
                    time.sleep(0.05)
                    broken += self.connections(pool)
            said = self.work(pool, harm, "-v")
            self.assertGreater(broken, 3)
            self.assertRegex(said, r"its link was broken for \d+\.\d s\n$")

    def test_a_job_that_stops_and_goes_on_while_nobody_listens(self):
        """Home hears of both at once: the caller, who stops as well, must not stay so."""
        script = """
import os, signal, time
job = os.getpid()
if os.fork() == 0:
    time.sleep(0.5)
    os.kill(job, signal.SIGSTOP)
    time.sleep(0.3)
    os.kill(job, signal.SIGCONT)
    os._exit(0)
print("begun", flush=True)
os.wait()
print("end")
"""
        with Pool(1) as pool:
            job = subprocess.Popen([SSIRUN, "--remote", "python3", "-c", script], env=pool.env, cwd=pool.work, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            self.addCleanup(job.kill)
            self.assertEqual(job.stdout.readline(), b"begun\n")
            os.kill(deputy(pool), signal.SIGSTOP)
            time.sleep(1.2)
            os.kill(deputy(pool), signal.SIGCONT)
            self.assertEqual(job.communicate(timeout=10), (b"end\n", b""))
            self.assertEqual(job.returncode, 0)

    def test_silence_of_several_kinds(self):
        """Side by side, since each takes longer than a link may be silent."""
        failures = []

        def run(trial, pool):
            try:
                trial(pool)
            except BaseException as error:
                failures.append(error)
        trials = self.cable, self.guest_stands_still, self.home_stands_still, self.given_up
        with Pool(1) as one, Pool(1) as two, Pool(1) as three, Pool(1) as four:
            threads = [threading.Thread(target=run, args=pair) for pair in zip(trials, (one, two, three, four))]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            if failures:
                raise failures[0]

    def cable(self, pool):
        device = f"{pool.record['bridge']}-g1"

        def harm(job):
            self.assertTrue(wait_until((pool.work / "done20").exists, 20))
            subprocess.run(["ip", "link", "set", device, "down"], check=True)
            time.sleep(20)
            self.assertIsNone(job.poll())
            subprocess.run(["ip", "link", "set", device, "up"], check=True)
        self.work(pool, harm)

    def stand_still(self, pool, processes):
        def harm(job):
            self.assertTrue(wait_until((pool.work / "done20").exists, 20))
            pids = processes(pool)
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            time.sleep(18)
            for pid in pids:
                os.kill(pid, signal.SIGCONT)
        self.work(pool, harm)

    def guest_stands_still(self, pool):
        self.stand_still(pool, all_of_guest)

    def home_stands_still(self, pool):
        self.stand_still(pool, lambda pool: [deputy(pool)])

    def given_up(self, pool):
        """Comes back after the grace: its job changes nothing any more, and is ended, since its agent is told; it would wait for home as long again."""
        pool.configure('[[app]]\nmatch = ["sh"]\ngrace = 10\n')
        job = subprocess.Popen([SSIRUN, "--on", "guest1", "sh", "-c", "while :; do echo x >>beat; sleep 0.05; done"], env=pool.env, cwd=pool.work,
                               stderr=subprocess.PIPE)
        self.assertTrue(wait_until((pool.work / "beat").exists, 10))
        pids = all_of_guest(pool)
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        self.assertEqual(job.wait(45), 125)
        self.assertIn(b"guest1 was lost", job.stderr.read())
        job.stderr.close()
        size = (pool.work / "beat").stat().st_size
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
        self.assertTrue(wait_until(lambda: not processes_of_jobs(pool, 1), 6), processes_of_jobs(pool, 1))
        self.assertEqual((pool.work / "beat").stat().st_size, size)
        self.assertTrue(wait_until(lambda: pool.status()["guest1"]["state"] == "up", 10))
        self.assertEqual(pool.ssirun("--remote", "echo", "again").stdout, b"again\n")


if __name__ == "__main__":
    unittest.main()
