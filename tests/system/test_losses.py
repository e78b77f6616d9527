# SPDX-License-Identifier: LGPL-2.1-or-later
"""Parts that die under a running job: the caller hears of it, and nothing of the job lives on."""
import os
import pathlib
import signal
import subprocess
import time
import unittest

from pool import Pool, SSIRUN, is_zombie, programs_for, wait_until


def processes_of_jobs(pool, number):
    """Pids at home of guest K's processes that are not the agent's own."""
    def is_job(pid):
        try:
            return not is_zombie(pid) and b"ssi-agent" not in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return False
    found = subprocess.run(["pgrep", "--ns", str(pool.guest_pid(number)), "--nslist", "net"], capture_output=True, text=True).stdout
    return [int(pid) for pid in found.split() if is_job(pid)]


class Losses(unittest.TestCase):
    def running_job(self, pool):
        """A job that writes its heartbeat twenty times a second, from a child of its own."""
        beat = pool.work / "heartbeat"
        beat.unlink(missing_ok=True)
        job = subprocess.Popen([SSIRUN, "--remote", "--on", "guest1", "sh", "-c", "(while :; do echo x >>heartbeat; sleep 0.05; done) & wait"],
                               env=pool.env, cwd=pool.work, stderr=subprocess.PIPE, process_group=0)
        self.assertTrue(wait_until(lambda: beat.exists() and beat.stat().st_size > 4, 10))
        return job, beat

    def assert_stopped(self, beat, within=5):
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            size = beat.stat().st_size
            time.sleep(0.5)
            if beat.stat().st_size == size:
                return
        self.fail("the job still writes")

    def assert_125(self, job, word):
        error = job.communicate(timeout=20)[1].decode()
        self.assertEqual(job.returncode, 125, error)
        self.assertEqual(error.count("\n"), 1, error)
        self.assertIn(word, error)

    def deputy(self, pool):
        return next(pid for pid in pool.processes() if pathlib.Path(f"/proc/{pid}/comm").read_text().strip() == "ssi-deputy")

    def test_the_deputy_is_killed(self):
        with Pool(1) as pool:
            job, beat = self.running_job(pool)
            os.kill(self.deputy(pool), signal.SIGKILL)
            self.assert_125(job, "deputy")
            self.assert_stopped(beat)
            self.assertTrue(wait_until(lambda: not pool.status()["guest1"]["jobs"], 5))
            self.assertEqual(pool.ssirun("--remote", "echo", "next").stdout, b"next\n")

    def test_the_agent_is_killed(self):
        with Pool(2) as pool:
            job, beat = self.running_job(pool)
            os.kill(pool.guest_pid(1), signal.SIGKILL)
            self.assert_125(job, "guest1")
            self.assert_stopped(beat)
            self.assertTrue(wait_until(lambda: pool.status()["guest1"]["state"] == "gone", 6))
            done = pool.ssirun("-v", "--remote", "true")
            self.assertEqual(done.returncode, 0)
            self.assertIn(b"guest2", done.stderr)

    def test_the_guest_of_a_job_that_stands_still(self):
        """What waits for ssirun, which stands still like its job, hears of the end."""
        with Pool(1) as pool:
            job = subprocess.Popen([SSIRUN, "--on", "guest1", "sh", "-c", "kill -STOP $$; echo not"], env=pool.env, cwd=pool.work,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            self.addCleanup(job.kill)
            self.assertEqual(os.WSTOPSIG(os.waitpid(job.pid, os.WUNTRACED)[1]), signal.SIGSTOP)
            os.kill(pool.guest_pid(1), signal.SIGKILL)
            self.assert_125(job, "guest1")

    def test_the_job_s_leader_is_killed(self):
        with Pool(1) as pool:
            job, beat = self.running_job(pool)
            inside = subprocess.run(["pgrep", "--ns", str(pool.guest_pid(1)), "--nslist", "net", "-f", "heartbeat"], capture_output=True, text=True)
            os.kill(min(map(int, inside.stdout.split())), signal.SIGKILL)
            self.assertEqual(job.wait(10), -signal.SIGKILL)
            job.stderr.close()

    def test_the_scheduler_is_killed_under_a_job(self):
        with Pool(1) as pool:
            job, beat = self.running_job(pool)
            os.kill(pool.record["scheduler"]["pid"], signal.SIGKILL)
            size = beat.stat().st_size
            self.assertTrue(wait_until(lambda: beat.stat().st_size > size + 10, 5))
            began = time.monotonic()
            self.assertEqual(pool.ssirun("echo", "home").stdout, b"home\n")
            self.assertLess(time.monotonic() - began, 1.5)
            os.killpg(job.pid, signal.SIGTERM)
            self.assertEqual(job.wait(10), -signal.SIGTERM)
            job.stderr.close()
            self.assert_stopped(beat)

    def test_a_stopped_scheduler_is_not_waited_for(self):
        with Pool(1) as pool:
            self.assertEqual(pool.ssirun("--remote", "true").returncode, 0)
            scheduler = pool.record["scheduler"]["pid"]
            os.kill(scheduler, signal.SIGSTOP)
            try:
                began = time.monotonic()
                done = pool.ssirun("-v", "echo", "home")
                self.assertEqual(done.stdout, b"home\n")
                self.assertIn(b"300 ms", done.stderr)
                self.assertLess(time.monotonic() - began, 1)
            finally:
                os.kill(scheduler, signal.SIGCONT)

    def test_a_dead_home_leaves_no_process_of_a_job_in_the_guest(self):
        with Pool(1) as pool:
            job, beat = self.running_job(pool)
            os.kill(self.deputy(pool), signal.SIGSTOP)  # requests of the job hang now
            time.sleep(0.3)
            os.kill(self.deputy(pool), signal.SIGKILL)
            self.assert_125(job, "deputy")
            self.assertTrue(wait_until(lambda: not processes_of_jobs(pool, 1), 5), processes_of_jobs(pool, 1))


class ManyHomes(unittest.TestCase):
    def test_another_user_of_this_machine(self):
        """A user who is not root brings his own deputy; his job has his ids and his rights."""
        with Pool(1) as pool:
            work = pool.dir / "user"
            for name in ("", "state", "run", "config"):
                (work / name).mkdir(mode=0o700)
                os.chown(work / name, 65534, 65534)
            pool.dir.chmod(0o755)
            env = {"XDG_STATE_HOME": f"{work}/state", "XDG_RUNTIME_DIR": f"{work}/run", "XDG_CONFIG_HOME": f"{work}/config", "HOME": str(work)}
            as_user = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--bounding-set", "-all", "--inh-caps", "-all"]
            build = programs_for(as_user, pool.dir)
            key = pool.run(*as_user, build / "cli/ssi", "key", "show", env=env).stdout.decode().strip()
            self.assertEqual(len(key), 64)
            (pool.dir / "state/ssi/pool/admit/nobody.pub").write_text(f"deputy {key}\n")
            text = (pool.dir / "state/ssi/pool/pool.toml").read_text().split('"')
            env["SSI_SCHEDULER"] = f"{text[1]}#{text[3]}"
            script = "id -u; id -g; touch made; stat -c '%u %g' made; cat /etc/shadow; touch /etc/not-allowed; chown 0 made; grep Cap /proc/self/status"
            done = pool.run(*as_user, build / "shim/ssirun", "--remote", "sh", "-c", script, env=env, cwd=work)
            lines = done.stdout.decode().splitlines()
            self.assertEqual(lines[:3], ["65534", "65534", "65534 65534"], done.stderr)
            self.assertEqual(done.stderr.count(b"ermission denied") + done.stderr.count(b"not permitted"), 3, done.stderr)
            self.assertFalse([line for line in lines if line.startswith("Cap") and int(line.split()[1], 16)])
            for pid in subprocess.run(["pgrep", "-u", "65534", "ssi-deputy"], capture_output=True, text=True).stdout.split():
                if f"XDG_RUNTIME_DIR={work}/run".encode() in pathlib.Path(f"/proc/{pid}/environ").read_bytes():
                    os.kill(int(pid), signal.SIGTERM)
                    self.assertTrue(wait_until(lambda: is_zombie(pid), 5))


if __name__ == "__main__":
    unittest.main()
