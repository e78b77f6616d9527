# SPDX-License-Identifier: LGPL-2.1-or-later
"""Machines that join a pool by themselves: a real agent, told by its configuration file, in namespaces of its own."""
import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import time
import unittest

from old_files import OldFiles, read_in
from pool import BUILD, Home, Pool, SSIRUN, wait_until

VIEW = pathlib.Path("/view")  # where an agent mounts; its own mount namespace sees what is on it, the empty folder stays


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Agent:
    """ssi-agent on a machine that nobody has prepared; it dials out unless it is told to listen."""

    def __init__(self, pool, name="newcomer", token="", key=None, **more):
        self.pool, self.name = pool, name
        self.dir = pool.dir / f"agent-{name}-{time.monotonic_ns()}"
        self.dir.mkdir(mode=0o700)
        self.key = pathlib.Path(key or self.dir / "agent.key")
        address, scheduler_key = pool.scheduler()
        told = {"name": name, "scheduler": address, "scheduler_key": scheduler_key, "key": str(self.key), "token": token,
                "cache": str(self.dir / "cache"), **more}
        if "listen" not in told:
            told["dial"] = "out"
        config = self.dir / "agent.toml"
        config.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in told.items()))
        config.chmod(0o600)
        self.log = self.dir / "console"
        # /dev/fuse for everybody, as it is on Debian and in guests; on this machine it may be root's alone.
        script = 'mknod -m 666 "$0/fuse" c 10 229 && mount --bind "$0/fuse" /dev/fuse && exec "$@"'
        command = ["unshare", "--mount-proc", "--pid", "--fork", "--kill-child=SIGKILL", "sh", "-c", script, self.dir,
                   BUILD / "agent/ssi-agent", "--config", config, "--name", name]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.log.open("wb"), stderr=subprocess.STDOUT, env=pool.env)

    def says(self, words, seconds=15):
        return wait_until(lambda: words in self.log.read_text(), seconds)

    def fingerprint(self):
        assert self.says("key=")
        return self.log.read_text().split("key=")[1].split()[0]

    def end(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()


class Joining(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.made_view = not VIEW.exists()
        cls.pool = Pool(0)
        cls.pool.__enter__()
        cls.port = free_port()
        config = cls.pool.dir / "config/ssi"
        config.mkdir()
        (config / "config.toml").write_text(f'[home]\nlisten = "127.0.0.1:{cls.port}"\n')

    @classmethod
    def tearDownClass(cls):
        cls.pool.__exit__(None)
        if cls.made_view:
            with contextlib.suppress(OSError):
                VIEW.rmdir()

    def guests(self, home=None):
        done = (home or self.pool).ssi("guests", "list", "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)["guests"]

    def one(self, fingerprint, state=None):
        found = [guest for guest in self.guests() if guest["fingerprint"] == fingerprint and state in (None, guest["state"])]
        return found[0] if found else None

    def token(self, *words):
        done = self.pool.ssi("guests", "token", *words)
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        return done.stdout.decode().strip()

    def runs_a_job(self, name):
        (self.pool.work / "question").write_text("6 x 7\n")
        done = self.pool.ssirun("--on", name, "sh", "-c", "cat question; echo 42 >answer")
        self.assertEqual((done.returncode, done.stdout), (0, b"6 x 7\n"), done.stderr)
        self.assertEqual((self.pool.work / "answer").read_text(), "42\n")

    def refused(self, done, *words):
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stderr.count(b"\n"), 1, done.stderr)
        for word in words:
            self.assertIn(word.encode(), done.stderr)

    def test_with_a_token_it_joins_and_runs_jobs_by_calling_this_home(self):
        token = self.token("--for", "5m")
        with Agent(self.pool, "byself", token) as first, Agent(self.pool, "byself", token) as copy:
            self.assertTrue(first.says("joined as byself") and copy.says("joined as byself"), first.log.read_text() + copy.log.read_text())
            names = {agent.log.read_text().split("joined as ")[1].split()[0] for agent in (first, copy)}
            self.assertEqual(names, {"byself", "byself-2"})  # a copy is another guest
            for name in names:
                self.assertTrue(wait_until(lambda: name in self.pool.status(), 5))
                self.runs_a_job(name)
            self.assertNotIn(token, subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout)

    def test_a_broken_call_is_made_again(self):
        """The connection of a guest that dials out is reset under a job: it is asked to call once more, and the session goes on."""
        with Agent(self.pool, "broken", self.token("--for", "5m")) as agent:
            self.assertTrue(agent.says("joined as broken"))
            self.assertTrue(wait_until(lambda: "broken" in self.pool.status(), 5))
            script = "for i in $(seq 40); do echo $i; echo $i >>steps; sleep 0.05; done"
            job = subprocess.Popen([SSIRUN, "-v", "--on", "broken", "sh", "-c", script], env=self.pool.env, cwd=self.pool.work,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            self.assertTrue(wait_until((self.pool.work / "steps").exists, 10))
            ended = subprocess.run(["ss", "-K", "-Htn", "sport", "=", str(self.port), "dst", "127.0.0.1"], capture_output=True, text=True)
            self.assertTrue(ended.stdout.strip())
            out, errors = job.communicate(timeout=30)
            steps = "".join(f"{number}\n" for number in range(1, 41))
            self.assertEqual((job.returncode, out, (self.pool.work / "steps").read_text()), (0, steps, steps), errors)
            self.assertIn("its link was broken for", errors)

    def test_what_it_has_read_it_has_when_it_is_started_again(self):
        disk = OldFiles({"old": bytes(range(256)) * 4096})
        self.addCleanup(disk.close)
        with Agent(self.pool, "keeper", self.token()) as agent:
            self.assertTrue(agent.says("joined as keeper"))
            self.assertTrue(wait_until(lambda: "keeper" in self.pool.status(), 5))
            first, sent = read_in(self.pool, "keeper", disk.path / "old")
            self.assertGreater(sent, 1 << 20)
        with Agent(self.pool, "keeper", key=agent.key, cache=str(agent.dir / "cache")) as again:
            self.assertTrue(again.says("joined as keeper"))
            self.assertTrue(wait_until(lambda: "keeper" in self.pool.status(), 5))
            second, sent = read_in(self.pool, "keeper", disk.path / "old")
            self.assertEqual(second, first)
            self.assertLess(sent, 1 << 19)  # what it asks of directories is as much as they hold

    def test_without_one_it_waits_for_approval(self):
        with Agent(self.pool, "waiting") as agent:
            self.assertTrue(agent.says(f"pending: waits for 'ssi guests approve {agent.fingerprint()}'"))
            self.assertEqual(self.one(agent.fingerprint())["state"], "pending")
            self.assertEqual(self.pool.ssirun("--on", "waiting", "true").returncode, 125)
            done = self.pool.ssi("guests", "approve", agent.fingerprint())
            self.assertEqual((done.returncode, done.stdout), (0, b"waiting is admitted\n"), done.stderr)
            self.assertTrue(agent.says("joined as waiting", 2), "an approval is told at once")
            self.assertTrue(wait_until(lambda: "waiting" in self.pool.status(), 5))
            self.runs_a_job("waiting")

    def test_wrong_and_expired_tokens_are_refused_and_it_goes_on_trying(self):
        short = self.token("--for", "1s")
        time.sleep(2.1)
        for name, token, why in (("liar", "0" * 32, "the token is not one of this scheduler's"), ("late", short, "the token has expired")):
            with Agent(self.pool, name, token) as agent:
                self.assertTrue(agent.says(f"refused: {why}"), agent.log.read_text())
                entry = self.one(agent.fingerprint())
                self.assertEqual(entry["state"], "refused")
                self.assertIn(why, entry["reason"])
                time.sleep(1.5)  # it tries again meanwhile
                log = (self.pool.dir / "state/ssi/pool/scheduler.log").read_text()
                lines = [line for line in log.splitlines() if agent.fingerprint() in line and "refused" in line]
                self.assertEqual(len(lines), 1, log)
                self.pool.ssi("guests", "approve", agent.fingerprint())
                self.assertTrue(agent.says(f"joined as {name}"), "it must still be trying")

    def test_revoked_and_taken_back(self):
        with Agent(self.pool, "outcast", self.token()) as agent:
            self.assertTrue(agent.says("joined as outcast"))
            self.assertTrue(wait_until(lambda: "outcast" in self.pool.status(), 5))
            self.assertEqual(self.pool.ssi("guests", "revoke", "outcast").returncode, 0)
            self.assertTrue(agent.says("refused: outcast was revoked"), agent.log.read_text())
            self.assertNotIn("outcast", self.pool.status())
            self.assertIn(b"outcast", self.pool.ssirun("--on", "outcast", "true").stderr)
            self.assertIn("revoked", self.one(agent.fingerprint())["reason"])
            self.assertEqual(self.pool.ssi("guests", "approve", "outcast").returncode, 0)
            self.assertTrue(wait_until(lambda: "outcast" in self.pool.status(), 10))
            self.runs_a_job("outcast")

    def test_two_guests_with_one_key(self):
        with Agent(self.pool, "twin", self.token()) as elder:
            self.assertTrue(elder.says("joined as twin"))
            with Agent(self.pool, "twin", key=elder.key) as younger:
                self.assertTrue(younger.says("joined as twin"))
                self.assertTrue(elder.says("two guests have the key of twin"), elder.log.read_text())
                self.assertTrue(self.one(elder.fingerprint(), "refused"))
                self.assertTrue(self.one(elder.fingerprint(), "up"))

    def test_only_an_administrator_lets_guests_in(self):
        with Home() as other:
            key = other.ssi("key", "show").stdout.decode().strip()
            (self.pool.dir / "state/ssi/pool/admit/other.pub").write_text(f"deputy {key}\n")
            address, scheduler_key = self.pool.scheduler()
            env = {"SSI_SCHEDULER": f"{address}#{scheduler_key}"}
            self.assertEqual(other.ssi("guests", "list", env=env).returncode, 0)
            for words in (("token",), ("approve", "0123456789abcdef"), ("revoke", "twin")):
                self.refused(other.ssi("guests", *words, env=env), "only an administrator may")
        self.refused(self.pool.ssi("guests", "approve", "nobody"), "no guest 'nobody' waits", "ssi guests list")
        self.refused(self.pool.ssi("guests", "revoke", "nobody"), "no guest 'nobody' is admitted")
        self.assertEqual(self.pool.ssi("guests", "token", "--for", "30").returncode, 2)
        self.assertEqual(self.pool.ssi("guests", "approve").returncode, 2)

    def test_a_home_that_listens_nowhere_cannot_use_a_guest_that_dials_out(self):
        with Agent(self.pool, "caller", self.token()) as agent:
            self.assertTrue(agent.says("joined as caller"))
            self.assertTrue(wait_until(lambda: "caller" in self.pool.status(), 5))
            empty = self.pool.dir / "empty.toml"
            empty.write_text("")
            done = self.pool.ssirun("--on", "caller", "true", env={"SSI_CONFIG": str(empty)})
            self.assertEqual(done.returncode, 125)
            self.assertIn(b"dials out and cannot reach this home", done.stderr)

    def test_a_home_that_cannot_be_reached_finds_that_out_once(self):
        with Home() as other, Agent(self.pool, "callingback", self.token()) as agent:
            self.assertTrue(agent.says("joined as callingback"))
            key = other.ssi("key", "show").stdout.decode().strip()
            (self.pool.dir / "state/ssi/pool/admit/unreachable.pub").write_text(f"deputy {key}\n")
            address, scheduler_key = self.pool.scheduler()
            (other.dir / "config/ssi").mkdir()
            (other.dir / "config/ssi/config.toml").write_text(
                f'scheduler = "{address}"\nscheduler_key = "{scheduler_key}"\n'
                f'[home]\nlisten = "127.0.0.1:{free_port()}"\naddress = "127.0.0.1:1"\n')
            self.assertIn(b"wait for a call of callingback", other.ssirun("--on", "callingback", "true").stderr)
            began = time.monotonic()
            self.assertIn(b"cannot reach this home", other.ssirun("--on", "callingback", "true").stderr)
            self.assertEqual(other.ssirun("echo", "home").stdout, b"home\n")
            self.assertLess(time.monotonic() - began, 3)
            self.assertTrue(agent.says("Connection refused"))

    def test_a_guest_that_listens(self):
        address = f"127.0.0.1:{free_port()}"
        with Agent(self.pool, "listener", self.token(), listen=address) as agent:
            self.assertTrue(agent.says("joined as listener"))
            self.assertTrue(wait_until(lambda: "listener" in self.pool.status(), 5))
            self.assertEqual(self.one(agent.fingerprint())["address"], address)
            self.runs_a_job("listener")


class AgentConfig(unittest.TestCase):
    def test_what_is_wrong_is_one_line(self):
        agent = str(BUILD / "agent/ssi-agent")
        with Home() as home:
            config = home.dir / "agent.toml"
            for text, words in (("dial = \"up\"\n", (f"{config}:1", "dial")), ("colour = 1\n", ("unknown key 'colour'",)), ("", ("name", "--help"))):
                config.write_text(text)
                done = home.run(agent, "--config", config)
                self.assertEqual((done.returncode, done.stderr.count(b"\n")), (1, 1), done.stderr)
                for word in words:
                    self.assertIn(word.encode(), done.stderr)
            self.assertIn(b"No such file", home.run(agent, "--config", "/none").stderr)


if __name__ == "__main__":
    unittest.main()
