# SPDX-License-Identifier: LGPL-2.1-or-later
"""`ssi drain`, `ssi resume`, and an agent that is told to end: new jobs go elsewhere, those that run end."""
import os
import signal
import subprocess
import time
import unittest

from pool import Pool, SSI, SSIRUN, is_zombie, wait_until
from terminal import Line

BESIDE = 40


class Draining(unittest.TestCase):
    def setUp(self):
        self.pool = Pool(2)
        self.pool.__enter__()
        self.addCleanup(self.pool.__exit__, None)

    def start(self, script, *options):
        """A job that says when it runs, by a file."""
        mark = self.pool.work / f"started-{time.monotonic_ns()}"
        job = subprocess.Popen([SSIRUN, *options, "sh", "-c", f": >{mark}; {script}"], env=self.pool.env, cwd=self.pool.work,
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(job.kill)
        self.assertTrue(wait_until(mark.exists, 15))
        return job

    def ended(self, job, status, out=b"", seconds=15):
        said, error = job.communicate(timeout=seconds)
        self.assertEqual((job.returncode, said), (status, out), error)
        return error

    def state(self, guest):
        return self.pool.status()[guest]["state"]

    def where(self, *options):
        done = self.pool.ssirun("--remote", *options, "uname", "-n")
        self.assertEqual(done.returncode, 0, done.stderr)
        return self.pool.ssirun("--remote", "--dry-run", *options, "true").stdout.decode().split(":")[0]

    def test_it_waits_for_the_jobs_that_run_and_gets_no_others(self):
        job = self.start("sleep 3; echo done", "--on", "guest1")
        drain = subprocess.Popen([SSI, "drain", "guest1"], env=self.pool.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(drain.kill)
        self.assertTrue(wait_until(lambda: self.state("guest1") == "draining", 5))
        self.assertIsNone(drain.poll())
        self.assertIn(b"draining", self.pool.ssi("status").stdout)
        self.assertEqual([self.where() for _ in range(4)], ["guest2"] * 4)
        named = self.pool.ssirun("--on", "guest1", "true")
        self.assertEqual(named.returncode, 125)
        self.assertIn(b"guest1 is draining", named.stderr)
        self.ended(job, 0, b"done\n")
        said, error = drain.communicate(timeout=5)
        self.assertEqual((drain.returncode, said, error), (0, b"guest1 is drained\n", b"guest1: 1 job runs\n"))
        self.assertEqual(self.state("guest1"), "draining")
        self.assertEqual(self.pool.ssi("resume", "guest1").stdout, b"guest1 takes jobs\n")
        self.assertEqual(self.where("--on", "guest1"), "guest1")

    def test_both_drained_means_home_and_a_waiting_job_waits(self):
        for guest in ("guest1", "guest2"):
            self.assertEqual(self.pool.ssi("drain", guest).returncode, 0)
        done = self.pool.ssirun("-v", "echo", "here")
        self.assertEqual(done.stdout, b"here\n")
        self.assertIn(b"home: all guests are draining", done.stderr)
        self.assertEqual(self.pool.ssirun("--remote", "true").returncode, 125)
        waiting = subprocess.Popen([SSIRUN, "--wait", "--remote", "echo", "there"], env=self.pool.env, cwd=self.pool.work,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(waiting.kill)
        time.sleep(1)
        self.assertIsNone(waiting.poll())
        self.assertEqual(self.pool.ssi("resume", "guest2").returncode, 0)
        self.assertEqual(self.ended(waiting, 0, b"there\n"), b"")  # no terminal: nothing is shown

    def test_now(self):
        job = self.start("sleep 60", "--on", "guest1")
        other = self.start("sleep 2; echo done", "--on", "guest2")
        began = time.monotonic()
        done = self.pool.ssi("drain", "guest1", "--now")
        self.assertEqual((done.returncode, done.stdout), (0, b"guest1 is draining; its jobs were ended\n"), done.stderr)
        self.assertIn(b"guest1", self.ended(job, 125))
        self.assertLess(time.monotonic() - began, 3)
        self.assertEqual((self.state("guest1"), self.state("guest2")), ("draining", "up"))
        self.ended(other, 0, b"done\n")
        self.assertEqual(self.pool.ssi("resume", "guest1").returncode, 0)
        self.assertEqual(self.where("--on", "guest1"), "guest1")

    def test_interrupted_it_leaves_the_guest_draining(self):
        job = self.start("sleep 4; echo done", "--on", "guest1")
        with Line([SSI, "drain", "guest1"], self.pool.env, self.pool.work) as line:
            self.assertTrue(line.shows("guest1: 1 job runs"), line.text())
            line.type("\x03")
            self.assertEqual(line.child.wait(5), -signal.SIGINT)
        self.assertEqual(self.state("guest1"), "draining")
        self.ended(job, 0, b"done\n")

    def test_what_cannot_be_drained(self):
        for word in ("drain", "resume"):
            done = self.pool.ssi(word, "guest9")
            self.assertEqual((done.returncode, done.stderr.count(b"\n")), (1, 1), done.stderr)
            self.assertIn(b"no guest named guest9 is up", done.stderr)
        for words in (("drain",), ("resume",), ("drain", "guest1", "guest2"), ("resume", "guest1", "--now")):
            self.assertEqual(self.pool.ssi(*words).returncode, 2)

    # ----------------------------------------------------------------------------------------- an agent that ends

    def ends(self, number, seconds):
        return wait_until(lambda: is_zombie(self.pool.guest_pid(number)), seconds)

    def test_an_agent_that_is_to_end_lets_its_jobs_end(self):
        job = self.start("sleep 2; dd if=/dev/zero bs=1M count=20 2>/dev/null; echo done >result", "--on", "guest1")
        os.kill(self.pool.guest_pid(1), signal.SIGTERM)
        self.assertTrue(wait_until(lambda: self.state("guest1") == "draining", 2))
        self.assertEqual([self.where() for _ in range(3)], ["guest2"] * 3)
        refused = self.pool.ssi("resume", "guest1")
        self.assertEqual(refused.returncode, 1)
        self.assertIn(b"its agent is ending", refused.stderr)
        self.assertEqual(self.ended(job, 0, bytes(20 << 20)), b"")
        self.assertEqual((self.pool.work / "result").read_text(), "done\n")
        self.assertTrue(self.ends(1, 3))

    def test_an_agent_that_is_to_end_does_not_wait_for_ever(self):
        job = self.start("sleep 60", "--on", "guest1")
        os.kill(self.pool.guest_pid(1), signal.SIGTERM)
        time.sleep(8)
        self.assertFalse(is_zombie(self.pool.guest_pid(1)))
        self.assertTrue(self.ends(1, 6))  # 10 s, and a little
        self.assertIn(b"guest1", self.ended(job, 125))

    def test_it_waits_until_home_has_heard_the_end(self):
        """Its kernel has the words for long, but the cable is cut; and a guest that is shut down takes its kernel along."""
        device = f"{self.pool.record['bridge']}-g1"
        self.ended(self.start("sleep 0.1; echo done", "--on", "guest1"), 0, b"done\n")  # so its programs' pages are there
        job = self.start("sleep 2; echo done", "--on", "guest1")
        time.sleep(0.5)
        os.kill(self.pool.guest_pid(1), signal.SIGTERM)
        subprocess.run(["ip", "link", "set", device, "down"], check=True)
        time.sleep(3.5)
        self.assertFalse(is_zombie(self.pool.guest_pid(1)))
        subprocess.run(["ip", "link", "set", device, "up"], check=True)
        self.assertEqual(self.ended(job, 0, b"done\n"), b"")
        self.assertTrue(self.ends(1, 5))

    def test_an_agent_without_jobs_ends_at_once(self):
        self.assertEqual(self.where("--on", "guest1"), "guest1")  # it has a session
        began = time.monotonic()
        os.kill(self.pool.guest_pid(1), signal.SIGTERM)
        self.assertTrue(self.ends(1, 3))
        self.assertLess(time.monotonic() - began, 1.5)
        self.assertEqual(self.where(), "guest2")  # the scheduler knew it at once

    def test_asked_twice_it_does_not_wait(self):
        for second in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(second=second):
                number = 1 if second == signal.SIGTERM else 2
                job = self.start("sleep 60", "--on", f"guest{number}")
                os.kill(self.pool.guest_pid(number), signal.SIGTERM)
                time.sleep(0.5)
                self.assertFalse(is_zombie(self.pool.guest_pid(number)))
                os.kill(self.pool.guest_pid(number), second)
                self.assertTrue(self.ends(number, 2))
                self.ended(job, 125)

    def test_the_pool_goes_down_quickly_with_a_job(self):
        job = self.start("sleep 60", "--on", "guest1")
        began = time.monotonic()
        self.assertEqual(self.pool.ssi("pool", "down").returncode, 0)
        self.assertLess(time.monotonic() - began, 5)
        self.ended(job, 125)


if __name__ == "__main__":
    unittest.main()
