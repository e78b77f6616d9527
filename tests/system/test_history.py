# SPDX-License-Identifier: LGPL-2.1-or-later
"""ssi ps, ssi why, ssi history, and what is learned from them, on a real pool."""
import json
import os
import pathlib
import signal
import stat
import subprocess
import time
import unittest

from pool import Pool, SSIRUN, is_zombie, wait_until

# Burns a processor in a child of the job's leader until its stdin ends.
BURN = ["sh", "-c", "(while :; do :; done) & read line; kill $!; exit 3"]
KEYS = {"id", "user", "home", "guest", "command", "cpu", "memory", "seconds"}
MORE = KEYS | {"status", "reason", "started", "bytes_in", "bytes_out", "round_trips", "cache_hits", "file_wait"}


def jobs(home, *words):
    done = home.ssi(*words, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["jobs"]


def history(home, *words):
    return jobs(home, "history", *words)


def newest(home, command):
    """The newest ended job of a command: its row is written a moment after ssirun's end."""
    return wait_until(lambda: next((job for job in history(home) if job["command"] == command), None), 5)


def why(home, job):
    done = home.ssi("why", job)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode()


def deputy_pid(home):
    return next(pid for pid in home.processes() if pathlib.Path(f"/proc/{pid}/comm").read_text().strip() == "ssi-deputy")


class History(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.pool = Pool(2).__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.pool.__exit__(None)

    def start(self, *words):
        job = subprocess.Popen([SSIRUN, *words], env=self.pool.env, cwd=self.pool.work, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        self.addCleanup(job.wait)
        self.addCleanup(job.stdin.close)
        return job

    def end(self, job):
        job.stdin.close()
        return job.wait(30)

    def running(self, command):
        return next((job for job in jobs(self.pool, "ps") if job["command"] == command), None)

    def test_ps_shows_a_running_job_and_its_rising_use(self):
        self.assertEqual(jobs(self.pool, "ps"), [])
        self.assertEqual(self.pool.ssi("ps").stdout.decode().split(), "JOB USER HOME GUEST CPU MEMORY SECONDS COMMAND".split())
        job = self.start("--on", "guest2", *BURN)
        seen = wait_until(lambda: (found := self.running("sh")) and found["cpu"] > 0 and found, 10)
        self.assertTrue(seen, self.pool.logs())
        self.assertEqual(set(seen), KEYS)
        self.assertEqual(seen["user"], subprocess.run(["id", "-un"], capture_output=True, text=True).stdout.strip())
        self.assertEqual((seen["home"], seen["guest"]), (os.uname().nodename, "guest2"))
        self.assertGreater(seen["memory"], 100_000)
        later = wait_until(lambda: (found := self.running("sh")) and found["cpu"] > seen["cpu"] and found, 10)
        self.assertTrue(later)
        self.assertGreater(later["seconds"], seen["seconds"])
        self.assertLess(later["cpu"], later["seconds"] * 2)
        self.assertIn(str(seen["id"]), self.pool.ssi("ps").stdout.decode())
        self.assertIn("it has not ended", why(self.pool, seen["id"]))
        self.assertEqual(self.end(job), 3)
        self.assertTrue(wait_until(lambda: self.running("sh") is None, 5))
        ended = wait_until(lambda: next((one for one in history(self.pool) if one["id"] == seen["id"]), None), 5)
        self.assertEqual(set(ended), MORE)
        self.assertEqual((ended["status"], ended["guest"], ended["user"], ended["home"], ended["command"]),
                         (3, "guest2", seen["user"], seen["home"], "sh"))
        self.assertAlmostEqual(ended["started"], time.time() - ended["seconds"], delta=20)
        self.assertGreater(ended["cpu"], 0)
        self.assertGreater(ended["bytes_in"], 0)
        self.assertIn("on guest2: guest2 was asked for", why(self.pool, seen["id"]))
        self.assertIn("(status 3)", why(self.pool, seen["id"]))

    def test_a_known_short_command_stays_home(self):
        script = "i=0; while [ $i -lt 3000 ]; do i=$((i+1)); done"
        self.assertIn(b"expected to end first", self.pool.ssirun("--dry-run", "sh", "-c", script).stdout)
        self.assertEqual(self.pool.ssirun("--remote", "sh", "-c", script).returncode, 0)
        second = self.pool.ssirun("--dry-run", "sh", "-c", script)
        self.assertRegex(second.stdout.decode(), r"^home: predicted [0-9.e-]+ s, below min_seconds 2\n$")
        self.assertEqual(self.pool.ssirun("sh", "-c", script).returncode, 0)
        home = wait_until(lambda: next((job for job in history(self.pool) if job["guest"] == "home" and job["command"] == "sh"), None), 5)
        self.assertTrue(home)
        self.assertEqual(set(home), MORE)
        self.assertGreaterEqual(home["id"], 1 << 33)
        self.assertIsNone(home["status"])
        self.assertIsNone(home["cpu"])
        self.assertLess(home["seconds"], 20)
        self.assertRegex(why(self.pool, home["id"]), r"ran at home: predicted .* below min_seconds 2; .*; it took [0-9.]+ s\n$")
        for forced in (["--remote"], ["--on", "guest1"]):
            self.assertIn(b"ssirun: guest", self.pool.ssirun("-v", *forced, "sh", "-c", script).stderr)
        other = self.pool.ssirun("--dry-run", "sh", "-e", "-c", script)  # other options: nobody knows it
        self.assertIn(b"expected to end first", other.stdout)
        config = self.pool.dir / "config/ssi/config.toml"
        config.parent.mkdir(mode=0o700, exist_ok=True)
        self.addCleanup(config.unlink)
        config.write_text("[[app]]\nmatch = [\"sh\"]\nmin_seconds = 0\n")
        config.chmod(0o600)
        self.assertNotIn(b"min_seconds", self.pool.ssirun("--dry-run", "sh", "-c", script).stdout)
        config.write_text("[[app]]\nmatch = [\"sh\"]\npolicy = \"remote\"\n")
        self.assertTrue(self.pool.ssirun("--dry-run", "sh", "-c", script).stdout.startswith(b"guest"))
        config.write_text("[[app]]\nmatch = [\"sh\"]\nmin_seconds = 700\n")
        self.assertIn(b"below min_seconds 700", self.pool.ssirun("--dry-run", "sh", "-c", script).stdout)

    def test_a_known_short_command_does_not_wait_for_a_processor_of_home(self):
        command = ["sh", "-u", "-c", "i=0; while [ $i -lt 700000 ]; do i=$((i+1)); done"]
        self.assertEqual(self.pool.ssirun("--remote", *command).returncode, 0)
        self.assertIn(b"below min_seconds", self.pool.ssirun("--dry-run", *command).stdout)
        config = self.pool.dir / "config/ssi/config.toml"
        config.parent.mkdir(mode=0o700, exist_ok=True)
        self.addCleanup(config.unlink)
        config.write_text('[[app]]\nmatch = ["perl"]\npolicy = "local"\n')
        config.chmod(0o600)
        busy = [subprocess.Popen([SSIRUN, "perl", "-e", "1 while 1"], env=self.pool.env, cwd=self.pool.work) for _ in range(os.cpu_count())]
        try:
            elsewhere = wait_until(lambda: self.pool.ssirun("--dry-run", *command).stdout.startswith(b"guest"), 5)
        finally:
            for one in busy:
                one.kill()
                one.wait()
        self.assertTrue(elsewhere)
        self.assertTrue(wait_until(lambda: b"below min_seconds" in self.pool.ssirun("--dry-run", *command).stdout, 5))

    def test_a_failure_teaches_nothing(self):
        for _ in range(2):
            self.assertEqual(self.pool.ssirun("--remote", "sh", "-c", "exit 7", "failure").returncode, 7)
        self.assertIn(b"expected to end first", self.pool.ssirun("--dry-run", "sh", "-c", "exit 7", "failure").stdout)

    def test_signals_show_as_in_a_shell(self):
        self.pool.ssirun("--remote", "bash", "-c", "kill -TERM $$")
        self.assertEqual(newest(self.pool, "bash")["status"], 128 + signal.SIGTERM)

    def test_bad_words(self):
        for words, status, part in ((["why"], 2, "which job?"), (["why", "x"], 2, "'x' is no job's number"),
                                    (["why", "-5"], 2, "unknown option"), (["why", "12345678901"], 1, "no job 12345678901"),
                                    (["history", "--limit", "many"], 2, "many"), (["history", "x"], 2, "one word too many"),
                                    (["ps", "x"], 2, "one word too many")):
            done = self.pool.ssi(*words)
            self.assertEqual(done.returncode, status, words)
            self.assertIn(part, done.stderr.decode())
            self.assertEqual(done.stderr.count(b"\n"), 1)

    def test_the_file_outlives_a_killed_deputy_and_needs_none(self):
        self.pool.ssirun("--remote", "expr", "1")
        kept = newest(self.pool, "expr")
        job = self.start("--remote", *BURN)
        running = wait_until(lambda: self.running("sh"), 10)["id"]
        self.assertTrue(wait_until(lambda: self.pool.ssi("why", running).returncode == 0, 5))
        os.kill(deputy_pid(self.pool), signal.SIGKILL)
        self.assertEqual(job.wait(30), 125)
        self.assertIn(kept, history(self.pool))  # no deputy runs
        self.assertIn("it has not ended", why(self.pool, running))
        self.pool.ssirun("--remote", "true")
        self.assertTrue(wait_until(lambda: "its end was not seen" in why(self.pool, running), 5))
        self.assertIn(kept, history(self.pool))
        self.assertEqual([job["id"] for job in history(self.pool, "--limit", "1")], [history(self.pool)[0]["id"]])
        file = self.pool.dir / "state/ssi/history.sqlite"
        self.assertEqual(stat.S_IMODE(file.stat().st_mode), 0o600)


class NewScheduler(unittest.TestCase):
    def test_what_runs_is_known_again_after_its_restart(self):
        with Pool(1) as pool:
            job = subprocess.Popen([SSIRUN, "--remote", *BURN], env=pool.env, cwd=pool.work, stdin=subprocess.PIPE)
            try:
                before = wait_until(lambda: jobs(pool, "ps"), 10)[0]
                pid = pool.record["scheduler"]["pid"]
                command = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:-1]
                os.kill(pid, signal.SIGKILL)
                self.assertTrue(wait_until(lambda: is_zombie(pid), 5))
                again = subprocess.Popen(command, env=pool.env, stderr=subprocess.DEVNULL)
                try:
                    after = wait_until(lambda: pool.ssi("ps").returncode == 0 and jobs(pool, "ps"), 10)[0]
                    self.assertEqual([after[key] for key in ("id", "user", "home", "guest", "command")],
                                     [before[key] for key in ("id", "user", "home", "guest", "command")])
                finally:
                    again.terminate()
                    again.wait()
            finally:
                job.stdin.close()
                self.assertEqual(job.wait(30), 3)


class NoHistory(unittest.TestCase):
    """A file that cannot be written stops no job, and is one line in the log."""

    def test_a_broken_full_or_read_only_file(self):
        with Pool(1) as pool:
            log, disk = pool.dir / "state/ssi/deputy.log", pool.dir / "disk"
            disk.mkdir()
            subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "ssi-test", disk], check=True)
            try:
                for trouble in (self.broken, self.full, self.read_only):
                    pool.end_deputy()
                    trouble(pool, disk)
                    log.write_text("")
                    for _ in range(3):
                        self.assertEqual(pool.ssirun("--remote", "true").returncode, 0, trouble)
                    self.assertTrue(wait_until(lambda: "jobs are not recorded" in log.read_text(), 5), trouble)
                    pool.end_deputy()
                    self.assertEqual(log.read_text().count("not recorded"), 1, log.read_text())
                # What was written before is there to be read.
                self.assertEqual([job["command"] for job in history(pool)], ["expr"])
            finally:
                pool.end_deputy()
                subprocess.run(["umount", "-l", disk], check=True)

    def broken(self, pool, _):
        (pool.dir / "state/ssi/history.sqlite").write_bytes(b"")  # made, not filled yet
        self.assertEqual(history(pool), [])
        (pool.dir / "state/ssi/history.sqlite").write_bytes(b"x" * 5000)
        self.assertIn(b"file is not a database", pool.ssi("history").stderr)

    def full(self, pool, disk):
        file = pool.dir / "state/ssi/history.sqlite"
        file.unlink()
        file.symlink_to(disk / "history.sqlite")
        self.assertEqual(pool.ssirun("--remote", "expr", "1").returncode, 0)
        self.assertTrue(newest(pool, "expr"))
        pool.end_deputy()
        with open(disk / "filler", "wb", buffering=0) as filler:
            try:
                while True:
                    filler.write(bytes(4096))
            except OSError:
                pass

    def read_only(self, _, disk):
        (disk / "filler").unlink()
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)


if __name__ == "__main__":
    unittest.main()
