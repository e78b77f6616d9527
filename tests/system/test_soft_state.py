# SPDX-License-Identifier: LGPL-2.1-or-later
"""Schedulers that die: nothing that runs or waits is lost, a spare one takes over, nothing is placed twice."""
import contextlib
import json
import os
import re
import select
import signal
import socket
import subprocess
import threading
import time
import unittest

from pool import BUILD, Pool, SSI, SSIRUN, is_zombie, wait_until
from terminal import Line
from test_joining import VIEW, Agent, free_port

BESIDE = 60


class Scheduler:
    """One that a test starts and kills by itself."""

    def __init__(self, pool, address, key, admit):
        self.command = [BUILD / "scheduler/ssi-scheduler", "--listen", address, "--key", key, "--admit", admit]
        self.pool, self.log = pool, pool.dir / f"scheduler-{address.rsplit(':', 1)[1]}-{time.monotonic_ns()}.log"
        self.start()

    def start(self):
        self.process = subprocess.Popen(self.command, env=self.pool.env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=self.log.open("ab"))

    def kill(self, number=signal.SIGKILL):
        self.process.send_signal(number)
        if number == signal.SIGKILL:
            self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()


def restarted(pool):
    """The pool's scheduler, killed and started again."""
    state = pool.dir / "state/ssi/pool"
    pid = pool.record["scheduler"]["pid"]
    os.kill(pid, signal.SIGKILL)
    assert wait_until(lambda: is_zombie(pid), 5)
    return Scheduler(pool, pool.record["address"], state / "scheduler.key", state / "admit")


class Jobs:
    def start(self, *words):
        job = subprocess.Popen([SSIRUN, *words], env=self.pool.env, cwd=self.pool.work, stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(job.kill)
        return job


class OneScheduler(Jobs, unittest.TestCase):
    def setUp(self):
        self.pool = Pool(2)
        self.pool.__enter__()
        self.addCleanup(self.pool.__exit__, None)

    def drain(self, guest):
        drain = subprocess.Popen([SSI, "drain", guest], env=self.pool.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(drain.kill)
        return drain

    def states(self):
        done = self.pool.ssi("status", "--json")
        return [] if done.returncode else [guest["state"] for guest in json.loads(done.stdout)["guests"]]

    def test_killed_under_jobs_that_run_and_jobs_that_wait(self):
        running = [self.start("--remote", "sh", "-c", f": >ran-{i}; sleep 8; echo {i}") for i in range(20)]
        self.assertTrue(wait_until(lambda: len(list(self.pool.work.glob("ran-*"))) == 20, 30))
        # A drained guest is as good as a full one for who waits, and never free by chance.
        drains = [self.drain(guest) for guest in ("guest1", "guest2")]
        self.assertTrue(wait_until(lambda: self.states() == ["draining"] * 2, 10))
        for drain in drains:
            drain.kill()
            drain.communicate()
        waiting = []
        for i in range(10):
            waiting.append(self.start("--wait", "--remote", "sh", "-c", f"echo {i} >>order; echo {i}"))
            time.sleep(0.1)
        with restarted(self.pool):
            self.assertTrue(wait_until(lambda: self.states() == ["draining"] * 2, 10), "the guests have remembered it")
            time.sleep(1)  # the deputy asks again by then
            self.assertEqual([job.poll() for job in waiting], [None] * 10)
            for i, job in enumerate(running):
                out, error = job.communicate(timeout=30)
                self.assertEqual((job.returncode, out, error), (0, f"{i}\n".encode(), b""))
            for guest in ("guest1", "guest2"):
                self.assertEqual(self.pool.ssi("resume", guest).returncode, 0)
            for i, job in enumerate(waiting):
                out, error = job.communicate(timeout=30)
                self.assertEqual((job.returncode, out, error), (0, f"{i}\n".encode(), b""))
            order = [int(word) for word in (self.pool.work / "order").read_text().split()]
            self.assertEqual(sorted(order), list(range(10)))  # none twice

    def test_a_job_placed_before_it_died_counts_for_the_next_one(self):
        """Its home says so: no report lists what has not begun. A home waits 3 s for a guest, so on a busy machine it is tried again."""
        stopped = self.pool.guest_pid(1)
        self.addCleanup(os.kill, stopped, signal.SIGCONT)
        with restarted(self.pool) as scheduler:
            for _ in range(5):
                self.assertTrue(wait_until(lambda: self.states() == ["up"] * 2, 10))
                self.pool.end_deputy()
                os.kill(stopped, signal.SIGSTOP)  # takes no session, while its reporter goes on
                asked = lambda: scheduler.log.read_text().count("guest1 was asked for")
                before, began = asked(), time.monotonic()
                job = self.start("--on", "guest1", "echo", "ran")
                self.assertTrue(wait_until(lambda: asked() > before, 10))
                scheduler.kill()
                scheduler.start()
                self.assertTrue(wait_until(lambda: self.states() == ["up"] * 2, 10))
                drain = self.drain("guest1")
                said = b""
                if select.select([drain.stderr], [], [], 1)[0]:
                    said = drain.stderr.readline()
                os.kill(stopped, signal.SIGCONT)
                seconds = time.monotonic() - began
                out, error = job.communicate(timeout=15)
                if seconds < 2.5:
                    break
                drain.communicate(timeout=10)
                self.assertEqual(self.pool.ssi("resume", "guest1").returncode, 0)
            self.assertEqual((out, error), (b"ran\n", b""))
        self.assertEqual(said, b"guest1: 1 job runs\n")

    def test_a_session_outlives_the_scheduler(self):
        self.assertEqual(self.pool.ssirun("--on", "guest1", "true").returncode, 0)
        began = lambda: (self.pool.dir / "state/ssi/pool/guest1.log").read_text().count("session of")
        before = began()
        with restarted(self.pool):
            self.assertTrue(wait_until(lambda: self.states() == ["up"] * 2, 10))
            self.assertEqual(self.pool.ssirun("--on", "guest1", "true").returncode, 0)
            self.assertEqual(began(), before)

    def test_a_job_for_a_guest_is_placed_by_a_scheduler_that_has_just_begun(self):
        self.assertEqual(self.pool.ssirun("--remote", "true").returncode, 0)
        host, port = self.pool.record["address"].rsplit(":", 1)
        with restarted(self.pool):
            def listens():
                with contextlib.suppress(OSError):
                    socket.create_connection((host, int(port)), 1).close()
                    return True
            self.assertTrue(wait_until(listens, 5))
            done = self.pool.ssirun("--remote", "echo", "there")
            self.assertEqual((done.returncode, done.stdout), (0, b"there\n"), done.stderr)

    def test_a_job_that_waits_shows_its_place_on_a_terminal(self):
        for guest in ("guest1", "guest2"):
            self.assertEqual(self.pool.ssi("drain", guest).returncode, 0)
        wait = lambda: Line([SSIRUN, "--wait", "--remote", "echo", "ran"], self.pool.env, self.pool.work)
        with wait() as first, wait() as second:
            self.assertTrue(first.shows(r"\rssirun: waiting for a guest: [01] before it\x1b\[K"))
            self.assertTrue(second.shows(r"\rssirun: waiting for a guest: [01] before it\x1b\[K"))
            with wait() as third:
                self.assertTrue(third.shows("2 before it"))
                first.type("\x03")
                self.assertEqual(first.child.wait(5), -signal.SIGINT)
                self.assertTrue(third.shows("1 before it"))
                with restarted(self.pool):
                    time.sleep(2)
                    self.assertIsNone(third.child.poll())
                    second.type("\x03")
                    self.assertTrue(third.shows(r"\rssirun: waiting for a guest: 0 before it\x1b\[K"))
                    self.assertEqual(self.pool.ssi("resume", "guest2").returncode, 0)
                    self.assertTrue(third.shows(r"\r\x1b\[Kran"), third.text())
                    self.assertEqual(third.child.wait(5), 0)


class TwoSchedulers(Jobs, unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.made_view = not VIEW.exists()

    @classmethod
    def tearDownClass(cls):
        if cls.made_view:
            with contextlib.suppress(OSError):
                VIEW.rmdir()

    def setUp(self):
        stack = contextlib.ExitStack()
        self.addCleanup(stack.close)
        self.pool = stack.enter_context(Pool(0))
        state, keys = self.pool.dir / "state/ssi/pool", []
        self.schedulers, addresses = [], []
        for name in ("a", "b"):
            # A scheduler's key file is made as a deputy's is, and that one can be shown.
            (self.pool.dir / name).mkdir(mode=0o700)
            shown = self.pool.ssi("key", "show", env={"XDG_STATE_HOME": str(self.pool.dir / name)})
            keys.append(shown.stdout.decode().strip())
            addresses.append(f"127.0.0.1:{free_port()}")
            self.schedulers.append(stack.enter_context(
                Scheduler(self.pool, addresses[-1], self.pool.dir / name / "ssi/keys/deputy.key", state / "admit")))
        config = self.pool.dir / "config/ssi"
        config.mkdir()
        (config / "config.toml").write_text(f"scheduler = {json.dumps(addresses)}\nscheduler_key = {json.dumps(keys)}\n")
        self.assertTrue(wait_until(lambda: not self.pool.ssi("status").returncode, 10))
        token = self.pool.ssi("guests", "token").stdout.decode().strip()
        told = {"scheduler": addresses, "scheduler_key": keys}
        self.agents = [stack.enter_context(Agent(self.pool, name, token, listen=f"127.0.0.1:{free_port()}", **told))
                       for name in ("one", "two")]
        for agent in self.agents:
            self.assertTrue(wait_until(lambda: agent.log.read_text().count("joined as") == 2, 15), agent.log.read_text())
        self.assertTrue(wait_until(lambda: len(self.pool.status()) == 2, 10))
        time.sleep(1.5)  # the schedulers agree on epochs by then
        self.assertEqual(self.pool.ssirun("--remote", "true").returncode, 0)

    def test_the_second_takes_over(self):
        times, wrong, stop = {}, [], threading.Event()

        def place(worker):
            for number in range(1000):
                if stop.is_set():
                    return
                began = time.monotonic()
                done = self.pool.ssirun("--remote", "sh", "-c", f"echo x >>ran-{worker}-{number}")
                times[worker, number] = time.monotonic() - began
                if done.returncode or done.stderr:
                    wrong.append((worker, number, done))

        workers = [threading.Thread(target=place, args=(worker,)) for worker in range(3)]
        for worker in workers:
            worker.start()
        time.sleep(4)
        before = len(times)
        self.schedulers[0].kill()
        time.sleep(4)
        after = len(times)
        stop.set()
        for worker in workers:
            worker.join()
        self.assertFalse(wrong)
        self.assertGreater(after, before + 3)
        for worker, number in times:
            self.assertEqual((self.pool.work / f"ran-{worker}-{number}").read_text(), "x\n")
        began = sum(len(re.findall("session of .* began", agent.log.read_text())) for agent in self.agents)
        self.assertEqual(began, len(self.agents), "no session was begun anew")
        self.schedulers[0].start()
        self.assertTrue(wait_until(lambda: self.asked(0), 20), "the first one is asked again")

    def asked(self, number):
        """Whether a job of now is placed by this scheduler."""
        log, before = self.schedulers[number].log, self.schedulers[number].log.read_text().count("job=")
        self.assertEqual(self.pool.ssirun("--remote", "true").returncode, 0)
        time.sleep(0.3)
        return log.read_text().count("job=") > before

    def test_one_that_hangs_costs_its_300_ms_once(self):
        self.assertTrue(self.asked(0))
        self.schedulers[0].kill(signal.SIGSTOP)
        placed = []
        for _ in range(10):
            began = time.monotonic()
            done = self.pool.ssirun("--dry-run", "--remote", "true")
            placed.append(time.monotonic() - began)
            self.assertEqual(done.returncode, 0, done.stderr)
        usual = sorted(placed)[4]
        self.assertGreater(placed[0], 0.3)
        self.assertLess(placed[0] - usual, 0.6)
        self.assertLess(sorted(placed)[-2] - usual, 0.25, placed)
        self.schedulers[0].kill(signal.SIGCONT)
        self.assertTrue(wait_until(lambda: self.asked(0), 20), "the first one is asked again")

    def test_what_one_that_hung_places_late_is_given_back(self):
        """Else it would count there as a job that is about to start, for 35 s."""
        self.assertTrue(self.asked(0))
        self.schedulers[0].kill(signal.SIGSTOP)
        done = self.pool.ssirun("--remote", "sh", "-c", "echo x >>ran")
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        placed = lambda: self.schedulers[0].log.read_text().count("is expected to end first")
        before = placed()
        self.schedulers[0].kill(signal.SIGCONT)
        self.assertTrue(wait_until(lambda: placed() > before, 10), "it answers what it was asked")
        for agent in self.agents:  # waits for what is placed there too
            done = self.pool.ssi("drain", agent.name, timeout=20)
            self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual((self.pool.work / "ran").read_text(), "x\n")

    def test_a_guest_is_revoked_at_all_of_them(self):
        self.assertEqual(self.pool.ssi("guests", "revoke", "one").stdout, b"one is revoked\n")
        self.schedulers[1].kill()
        done = self.pool.ssi("guests", "revoke", "two")
        self.assertEqual((done.returncode, done.stdout), (1, b""))
        self.assertRegex(done.stderr, rb"^ssi guests: two is revoked, but not everywhere: scheduler 127.0.0.1:\d+: [^\n]*\n$")

    def test_who_waits_goes_on_waiting_at_the_second(self):
        for agent in self.agents:
            done = self.pool.ssi("drain", agent.name)
            self.assertEqual(done.returncode, 0, done.stderr)
        job = self.start("--wait", "--remote", "echo", "ran")
        time.sleep(1)
        self.schedulers[0].kill()
        time.sleep(1)
        self.assertIsNone(job.poll())
        self.assertEqual({guest["state"] for guest in self.pool.status().values()}, {"draining"})  # the second one's word
        self.assertEqual(self.pool.ssi("resume", "two").returncode, 0)
        out, error = job.communicate(timeout=10)
        self.assertEqual((job.returncode, out, error), (0, b"ran\n", b""))


if __name__ == "__main__":
    unittest.main()
