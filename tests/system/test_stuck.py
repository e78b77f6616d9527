# SPDX-License-Identifier: LGPL-2.1-or-later
"""Nobody is stuck: not behind a home that is stopped, a link that is frozen, a full table of descriptors, a busy mount."""
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
import unittest

from pool import Pool, SSIRUN, is_zombie, wait_until

# Asks home for something new all the time, and dies of SIGINT (shells catch it, and a stat(2) is not interrupted for that).
ASKS = ("import itertools, os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); open(sys.argv[1], 'w'); "
        "[os.path.exists(f'{sys.argv[1]}{i}') for i in itertools.count()]")
# After so many seconds of silence a link counts as broken (common/session.cc), looked at each 2 s; then the grace begins.
GRACE = 15 + 2 + 3 + 2


def guest_processes(pool, number, *words):
    """Pids at home of those processes of guest K whose arguments hold all of the words."""
    found = subprocess.run(["pgrep", "--ns", str(pool.guest_pid(number)), "--nslist", "net"], capture_output=True, text=True).stdout.split()

    def matches(pid):
        try:
            arguments = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
        except OSError:
            return False
        return not is_zombie(pid) and "ssi-agent" not in arguments and all(word in arguments for word in words)
    return [int(pid) for pid in found if matches(pid)]


def deputy(pool):
    return next(pid for pid in pool.processes() if pathlib.Path(f"/proc/{pid}/comm").read_text().strip() == "ssi-deputy")


class Stuck(unittest.TestCase):
    def asking(self, pool, guest, mark):
        job = subprocess.Popen([SSIRUN, "--on", f"guest{guest}", sys.executable, "-c", ASKS, mark], env=pool.env, cwd=pool.work,
                               stderr=subprocess.PIPE, process_group=0)
        self.addCleanup(job.stderr.close)
        self.addCleanup(lambda: job.poll() is None and job.kill())
        self.assertTrue(wait_until((pool.work / mark).exists, 20))
        time.sleep(0.2)  # it is there before its open(2) returns, during which no other task is let into the directory
        return job

    def assert_killable(self, pool, guest, mark, number):
        pids = guest_processes(pool, guest, mark)
        self.assertTrue(pids)
        for pid in pids:
            os.kill(pid, number)
        self.assertTrue(wait_until(lambda: not guest_processes(pool, guest, mark), 8), f"{mark} does not hear signal {number}")

    def freeze(self, pool):
        """A job of guest 1, whose link is cut; one of guest 2 goes on all the time."""
        jobs = {mark: self.asking(pool, 1, mark) for mark in ("killed", "interrupted", "patient")}
        other = self.asking(pool, 2, "other")
        device = f"{pool.record['bridge']}-g1"
        subprocess.run(["ip", "link", "set", device, "down"], check=True)
        began = time.monotonic()
        time.sleep(0.3)
        self.assert_killable(pool, 1, "killed", signal.SIGKILL)
        self.assert_killable(pool, 1, "interrupted", signal.SIGINT)
        self.assertEqual(pool.ssirun("--on", "guest2", "echo", "fine").stdout, b"fine\n")
        for mark, job in jobs.items():
            self.assertEqual(job.wait(GRACE + 8), 125, mark)
            self.assertIn(b"guest1 was lost", job.stderr.read())
        self.assertTrue(wait_until(lambda: not guest_processes(pool, 1, "patient"), GRACE + 8 - (time.monotonic() - began)))
        self.assertIsNone(other.poll())
        other.terminate()
        other.wait(5)
        subprocess.run(["ip", "link", "set", device, "up"], check=True)

    def stop(self, pool):
        jobs = {mark: self.asking(pool, 1, mark) for mark in ("killed", "interrupted", "patient")}
        home = deputy(pool)
        os.kill(home, signal.SIGSTOP)
        try:
            time.sleep(0.3)
            self.assert_killable(pool, 1, "killed", signal.SIGKILL)
            self.assert_killable(pool, 1, "interrupted", signal.SIGINT)
            self.assertTrue(guest_processes(pool, 1, "patient"))
            self.assertTrue(wait_until(lambda: not guest_processes(pool, 1, "patient"), GRACE + 5))
            jobs["killed"].kill()  # ssirun itself waits for nobody
            self.assertEqual(jobs["killed"].wait(2), -signal.SIGKILL)
        finally:
            os.kill(home, signal.SIGCONT)
        self.assertEqual(jobs["patient"].wait(5), 125)
        self.assertEqual(pool.ssirun("--remote", "echo", "again").stdout, b"again\n")

    def test_a_frozen_link_and_a_stopped_home(self):
        """Both at the same time, since both take as long as a link may be silent."""
        failures = []

        def run(trial, pool):
            try:
                trial(pool)
            except BaseException as error:
                failures.append(error)
        with Pool(2) as one, Pool(1) as other:
            for pool in one, other:
                pool.configure("[defaults]\ngrace = 3\n")
            threads = [threading.Thread(target=run, args=pair) for pair in ((self.freeze, one), (self.stop, other))]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            if failures:
                raise failures[0]


class Bounds(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.pool = Pool(1)
        cls.pool.__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.pool.__exit__(None)

    def test_1_descriptors(self):
        """A deputy that may have few of them serves many files; those that lie open keep theirs."""
        limit, count = 500, 2000
        for number in range(count):
            (self.pool.work / f"f{number}").write_text(f"{number}\n")
        self.assertTrue(self.pool.end_deputy())
        script = "exec 7<f1; cat f* | sort -n | md5sum; ls -l f* | wc -l; rm f1; cat <&7; cat f1999"
        job = subprocess.Popen(["prlimit", f"--nofile={limit}:{limit}", SSIRUN, "--remote", "sh", "-c", script], env=self.pool.env,
                               cwd=self.pool.work, stdout=subprocess.PIPE)
        most = 0
        while job.poll() is None:
            try:
                most = max(most, len(os.listdir(f"/proc/{deputy(self.pool)}/fd")))
            except (StopIteration, OSError):
                pass
            time.sleep(0.02)
        expected = subprocess.run(["sh", "-c", f"seq 0 {count - 1} | md5sum; echo {count}; echo 1; echo 1999"], capture_output=True).stdout
        with job.stdout:
            self.assertEqual(job.stdout.read(), expected)
        self.assertGreater(most, limit // 4)  # it was seen at work
        self.assertLessEqual(most, limit - 50)
        self.assertLess(len(os.listdir(f"/proc/{deputy(self.pool)}/fd")), 60)  # and nothing is kept when no job runs

    def test_2_unmounting_at_home(self):
        disk = self.pool.work / "disk"
        disk.mkdir()
        for _ in range(3):
            subprocess.run(["mount", "-t", "tmpfs", "none", disk], check=True)
            (disk / "d/e").mkdir(parents=True)
            (disk / "d/e/f").write_text("there\n")
            try:
                self.assertEqual(self.pool.ssirun("--remote", "sh", "-c", "cd disk/d; cat e/f; ls -R . >/dev/null; exec 5<e/f").stdout, b"there\n")
            finally:
                done = subprocess.run(["umount", disk], capture_output=True)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(self.pool.ssirun("--remote", "ls", "disk").stdout, b"")

    def test_3_the_agent_does_not_touch_its_own_view(self):
        """What serves it can never wait for itself: it has no view in its mount namespace, nor anything of one open."""
        job = subprocess.Popen([SSIRUN, "--remote", "sleep", "60"], env=self.pool.env, cwd=self.pool.work)
        try:
            self.assertTrue(wait_until(lambda: guest_processes(self.pool, 1, "sleep"), 10))
            servers = []
            for entry in pathlib.Path("/proc").iterdir():
                try:
                    if entry.name.isdigit() and os.readlink(entry / "ns/net") == os.readlink(f"/proc/{self.pool.guest_pid(1)}/ns/net"):
                        links = [os.readlink(link) for link in (entry / "fd").iterdir()]
                        if "/dev/fuse" in links and "anon_inode:[eventpoll]" in links:
                            servers.append((entry, links))
                except OSError:
                    pass
            self.assertEqual(len(servers), 1)
            entry, links = servers[0]
            self.assertNotIn("fuse", [line.split(" - ")[1].split()[0] for line in (entry / "mountinfo").read_text().splitlines()])
            self.assertEqual([os.readlink(entry / name) for name in ("cwd", "root")], ["/", "/"])
            self.assertFalse([link for link in links if str(self.pool.work) in link])
        finally:
            job.kill()
            job.wait()


if __name__ == "__main__":
    unittest.main()
