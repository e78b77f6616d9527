# SPDX-License-Identifier: LGPL-2.1-or-later
"""Nothing of a job outlives what it belongs to: ssirun, the deputy, the agent; and its leader's death is the caller's at once."""
import json
import os
import pathlib
import signal
import subprocess
import time
import unittest

from pool import Pool, SSIRUN, inits, is_zombie, wait_until

# A leader with all that is hard to kill: a child that ignores signals, one in a session of its own, an orphan, a stopped one, and
# one that always has a request to home under way.
FAMILY = """
trap '' HUP TERM INT
(trap '' HUP TERM INT; while :; do sleep 0.1; done) &
setsid sh -c 'while :; do sleep 0.1; done' &
(setsid sleep 1000 &)
sleep 1000 & kill -STOP $!
(while :; do echo x >>beat; done) &
: >ready
while :; do sleep 0.1; done
"""


class Job:
    """A job whose processes are found by a mark in their environment; a pool's guests are seen from home."""

    def __init__(self, pool, *command, **options):
        self.pool, self.mark = pool, f"MARK={time.monotonic_ns()}"
        (pool.work / "ready").unlink(missing_ok=True)
        key, value = self.mark.split("=")
        self.caller = subprocess.Popen([SSIRUN, "--remote", "--on", "guest1", *command], cwd=pool.work, env={**pool.env, key: value},
                                       stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, **options)

    def processes(self):
        found = []
        for entry in pathlib.Path("/proc").iterdir():
            try:
                if (entry.name.isdigit() and int(entry.name) != self.caller.pid and not is_zombie(entry.name)
                        and self.mark.encode() in (entry / "environ").read_bytes().split(b"\0")):
                    found.append(int(entry.name))
            except OSError:
                pass
        return found

    def inside(self):
        """Those in the guest: what stands for the job at home has the mark too."""
        def network(pid):
            try:
                return os.readlink(f"/proc/{pid}/ns/net")
            except OSError:
                return network("self")
        return [pid for pid in self.processes() if network(pid) != network("self")]

    def leader(self):
        """The one whose parent is not of the job."""
        ours = wait_until(self.inside, 5)  # none at all in the moment of an exec
        parent = lambda pid: int(pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
        return min(pid for pid in ours if parent(pid) not in ours)


def agent_home(guest):
    """The agent's process of a session in a guest, by its first process's pid: it has /dev/fuse open."""
    inside = subprocess.run(["pgrep", "--ns", str(guest), "--nslist", "net"], capture_output=True, text=True).stdout.split()
    def has_fuse(pid):
        try:
            return any(os.readlink(link) == "/dev/fuse" for link in pathlib.Path(f"/proc/{pid}/fd").iterdir())
        except OSError:
            return False
    return [int(pid) for pid in inside if has_fuse(pid)]


class LifeAndDeath(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.pool = Pool(1).__enter__()
        cls.addClassCleanup(cls.pool.__exit__, None)

    def setUp(self):
        # A deputy that is there already does not have the mark.
        self.assertTrue(wait_until(lambda: self.pool.ssirun("--remote", "true").returncode == 0, 10))

    def start(self, *command):
        job = Job(self.pool, *command)
        self.addCleanup(job.caller.stderr.close)
        self.addCleanup(job.caller.wait)
        self.addCleanup(job.caller.kill)
        self.assertTrue(wait_until((self.pool.work / "ready").exists, 10))
        return job

    def family(self):
        job = self.start("sh", "-c", FAMILY)
        self.assertTrue(wait_until(lambda: len(job.inside()) >= 9, 5), job.inside())
        return job

    def deputy(self):
        return next(pid for pid in self.pool.processes() if pathlib.Path(f"/proc/{pid}/comm").read_text().strip() == "ssi-deputy")

    def assert_gone(self, job):
        self.assertTrue(wait_until(lambda: not job.processes(), 5), f"live on: {job.processes()}")

    def test_ssirun_is_killed(self):
        job = self.family()
        job.caller.kill()
        self.assert_gone(job)

    def test_ssirun_is_killed_while_it_is_stopped(self):
        job = self.family()
        job.caller.send_signal(signal.SIGSTOP)
        time.sleep(0.5)
        job.caller.kill()
        self.assert_gone(job)

    def test_the_deputy_is_killed(self):
        job = self.family()
        os.kill(self.deputy(), signal.SIGKILL)
        self.assert_gone(job)
        self.assertEqual(job.caller.wait(5), 125)
        self.assertEqual(job.caller.stderr.read().count(b"\n"), 1)

    def test_the_agent_s_home_process_is_killed(self):
        job = self.family()
        homes = agent_home(self.pool.guest_pid(1))
        self.assertEqual(len(homes), 1)
        os.kill(homes[0], signal.SIGKILL)
        self.assert_gone(job)
        self.assertEqual(job.caller.wait(5), 125)
        self.assertTrue(wait_until(lambda: self.pool.ssirun("--remote", "true").returncode == 0, 5))

    def test_the_leader_is_killed(self):
        job = self.start("sh", "-c", ": >ready; exec sleep 1000")
        os.kill(job.leader(), signal.SIGKILL)
        self.assertEqual(job.caller.wait(5), -signal.SIGKILL)
        self.assert_gone(job)

    def test_the_leader_is_killed_and_survivors_live_on(self):
        """As at home; the next test's death of a session would end them."""
        job = self.start("sh", "-c", "sleep 1000 & : >ready; wait")
        leader = job.leader()
        child = [pid for pid in job.inside() if pid != leader]
        self.assertEqual(len(child), 1)
        os.kill(leader, signal.SIGKILL)
        self.assertEqual(job.caller.wait(5), -signal.SIGKILL)
        time.sleep(1)
        self.assertEqual(job.inside(), child)
        os.kill(child[0], signal.SIGKILL)
        self.assert_gone(job)

    def test_ssi_kill(self):
        """To the job's processes, by its number."""
        for name, status in ("USR1", 9), ("KILL", -signal.SIGKILL):
            job = self.start("sh", "-c", "trap 'exit 9' USR1; : >ready; while :; do sleep 0.1; done")
            number = wait_until(lambda: next((row["id"] for row in self.jobs() if row["command"] == "sh"), None), 10)
            self.assertTrue(number)
            done = self.pool.ssi("kill", number, "-s", name)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(job.caller.wait(10), status)
            self.assert_gone(job)

    def jobs(self):
        return json.loads(self.pool.ssi("ps", "--json").stdout)["jobs"]


class TheNextJobsInit(unittest.TestCase):
    """A guest keeps one ready for each home: its namespaces are made, its mounts done."""

    def setUp(self):
        self.pool = Pool(1).__enter__()
        self.addCleanup(self.pool.__exit__, None)

    def spare(self):
        self.assertEqual(self.pool.ssirun("--remote", "true").returncode, 0)
        self.assertTrue(wait_until(lambda: len(inits(self.pool.guest_pid(1))) == 1, 5))
        return inits(self.pool.guest_pid(1))[0]

    def test_the_next_job_has_it_and_it_is_no_job(self):
        spare = self.spare()
        self.assertEqual(json.loads(self.pool.ssi("ps", "--json").stdout)["jobs"], [])
        time.sleep(0.1)  # it must be ready, too
        job = Job(self.pool, "sh", "-c", ": >ready; exec sleep 1000")
        self.addCleanup(job.caller.stderr.close)
        self.addCleanup(job.caller.wait)
        self.addCleanup(job.caller.kill)
        self.assertTrue(wait_until((self.pool.work / "ready").exists, 10))
        parent = int(pathlib.Path(f"/proc/{job.leader()}/stat").read_text().rsplit(")", 1)[1].split()[1])
        self.assertEqual(parent, spare)

    def test_it_ends_with_the_session(self):
        self.spare()
        self.assertTrue(self.pool.end_deputy())
        self.assertTrue(wait_until(lambda: not inits(self.pool.guest_pid(1)), 5), inits(self.pool.guest_pid(1)))

    def test_one_that_is_killed_is_not_missed(self):
        os.kill(self.spare(), signal.SIGKILL)
        self.assertTrue(wait_until(lambda: not inits(self.pool.guest_pid(1)), 5))
        done = self.pool.ssirun("--remote", "echo", "here")
        self.assertEqual((done.returncode, done.stdout), (0, b"here\n"), done)

    def test_it_does_not_know_what_is_mounted_later(self):
        self.spare()
        other = self.pool.work / "other"
        other.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "none", other], check=True)
        try:
            (other / "inside").write_text("there")
            self.assertEqual(self.pool.ssirun("--remote", "cat", "other/inside").stdout, b"there")
        finally:
            self.pool.end_deputy()
            subprocess.run(["umount", other], check=True)


if __name__ == "__main__":
    unittest.main()
