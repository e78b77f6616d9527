# SPDX-License-Identifier: LGPL-2.1-or-later
"""`ssi pool`, `ssi status`, `ssi doctor`, `ssi key`: up, down, twice, interrupted, broken."""
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import time
import unittest

import pool as lab


def text(done):
    return (done.stdout + done.stderr).decode()


def bridges():
    return {name for name in os.listdir("/sys/class/net") if re.fullmatch(r"ssi\d+(-g\d+)?", name)}


class Lines(unittest.TestCase):
    """What a failed command says: one line, and the right status."""

    def check(self, done, status, *parts):
        self.assertEqual(done.returncode, status, text(done))
        lines = done.stderr.decode().splitlines()
        self.assertEqual(len(lines), 1, text(done))
        for part in parts:
            self.assertIn(part, lines[0])


class WithoutPool(Lines):
    def setUp(self):
        self.home = lab.Home()
        self.addCleanup(self.home.close)

    def need_no_other_pool(self):
        if pathlib.Path("/run/ssi/pool.toml").exists():
            self.skipTest("another pool is up on this machine: /run/ssi/pool.toml")

    def test_usage_errors_are_one_line_and_status_2(self):
        for words in ([], ["bogus"], ["--bogus"], ["pool"], ["pool", "sideways"], ["pool", "up", "--guests", "0"],
                      ["pool", "up", "--guests", "65"], ["pool", "up", "--guests", "two"], ["pool", "up", "--gusts"],
                      ["pool", "down", "--guests", "2"], ["pool", "up", "--guests", "2", "--scheduler-only"],
                      ["status", "--jason"], ["status", "all"], ["doctor", "-x"], ["key"], ["key", "hide"]):
            with self.subTest(words=words):
                self.check(self.home.ssi(*words), 2, "--help'")

    def test_help_and_version(self):
        for words in (["--help"], ["-h"], ["pool", "--help"], ["status", "--help"], ["doctor", "--help"]):
            done = self.home.ssi(*words)
            self.assertEqual((done.returncode, done.stderr), (0, b""))
            self.assertIn(b"usage: ssi", done.stdout)
        self.assertRegex(self.home.ssi("--version").stdout, rb"^ssi \d+\.\d+\.\d+\n$")

    def test_down_when_down(self):
        done = self.home.ssi("pool", "down")
        self.assertEqual((done.returncode, done.stdout), (0, b"pool: none is up\n"), text(done))

    def test_status_tells_how_to_get_a_pool(self):
        self.need_no_other_pool()
        self.check(self.home.ssi("status"), 1, "ssi pool up")

    def test_status_of_an_unreachable_scheduler(self):
        began = time.monotonic()
        self.check(self.home.ssi("status", env={"SSI_SCHEDULER": f"127.0.0.1:1#{self.any_key()}"}), 1, "127.0.0.1:1")
        self.assertLess(time.monotonic() - began, 3)
        self.check(self.home.ssi("status", env={"SSI_SCHEDULER": "127.0.0.1:1"}), 1, "key")

    def any_key(self):
        return self.home.ssi("key", "show").stdout.decode().strip()

    def test_a_broken_config_names_file_and_line(self):
        config = self.home.dir / "config/ssi/config.toml"
        config.parent.mkdir()
        config.write_text("[defaults]\n\npolciy = 3\n")
        config.chmod(0o600)
        self.check(self.home.ssi("status"), 1, f"{config}:3")

    def test_key_show_is_stable_and_private(self):
        self.assertRegex(self.any_key(), r"^[0-9a-f]{64}$")
        self.assertEqual(self.any_key(), self.any_key())
        file = self.home.dir / "state/ssi/keys/deputy.key"
        self.assertEqual(file.stat().st_mode & 0o777, 0o600)
        file.chmod(0o644)
        self.check(self.home.ssi("key", "show"), 1, str(file))

    def test_doctor_names_a_cure_for_what_is_missing(self):
        self.need_no_other_pool()
        done = self.home.ssi("doctor")
        self.assertEqual(done.returncode, 1, text(done))
        missing = [line for line in done.stdout.decode().splitlines() if line.startswith("missing")]
        self.assertEqual(len(missing), 1, text(done))
        self.assertIn("ssi pool up", missing[0])


class WithPool(Lines):
    def test_a_scheduler_for_other_machines(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{probe.getsockname()[1]}"
        with lab.Home() as home:
            up = ("pool", "up", "--scheduler-only", "--listen")
            try:
                for bad in ("192.0.2.1:7700", "nonsense", "127.0.0.1:0", "0.0.0.0:7700"):
                    self.check(home.ssi(*up, bad), 1, "--listen", bad)
                self.assertEqual(home.ssi(*up, address).returncode, 0)
                self.assertEqual(json.loads((home.dir / "state/ssi/pool/pool.json").read_text())["address"], address)
                self.assertEqual(home.ssi("status").returncode, 0)
                self.check(home.ssi(*up, "127.0.0.1:7777"), 1, address, "ssi pool down")
            finally:
                self.assertEqual(home.ssi("pool", "down").returncode, 0)

    def test_up_twice_and_down_twice(self):
        with lab.Pool(guests=1) as pool:
            again = pool.ssi("pool", "up")
            self.assertEqual((again.returncode, again.stdout), (0, b"pool: up already, with 1 guest\n"), text(again))
            self.check(pool.ssi("pool", "up", "--guests", "2"), 1, "ssi pool down")
            self.assertEqual(pool.ssi("pool", "down").stdout, b"pool: down\n")
            self.assertEqual(pool.ssi("pool", "down").stdout, b"pool: none is up\n")
            pool.record = None

    def test_keys_outlive_the_pool(self):
        with lab.Pool(guests=1) as pool:
            self.assertEqual(pool.ssi("pool", "down").returncode, 0)
            up = pool.ssi("pool", "up", "--guests", "1")
            self.assertEqual(up.returncode, 0, text(up))
            again = json.loads((pool.dir / "state/ssi/pool/pool.json").read_text())
            self.assertEqual(again["key"], pool.record["key"])
            pool.record = again

    def test_status(self):
        with lab.Pool(guests=2) as pool:
            done = pool.ssi("status", "--json")
            guests = json.loads(done.stdout)["guests"]
            self.assertEqual([guest["name"] for guest in guests], ["guest1", "guest2"])
            for guest in guests:
                self.assertLessEqual({"name", "state", "cpus", "speed", "load", "steal", "memory", "jobs"}, set(guest))
                self.assertEqual((guest["state"], guest["jobs"]), ("up", []))
                self.assertGreater(guest["speed"], 0)
                self.assertGreaterEqual(guest["cpus"], 1)
                self.assertGreater(guest["memory"], 1 << 20)
            self.assertIn(b"guest2", pool.ssi("status").stdout)
            self.assertEqual(pool.ssi("doctor").returncode, 0, text(pool.ssi("doctor")))

    def test_a_stranger_is_refused(self):
        with lab.Pool(guests=1) as pool, lab.Home() as stranger:
            address = f"{pool.record['address']}#{pool.record['key']}"
            began = time.monotonic()
            self.check(stranger.ssi("status", env={"SSI_SCHEDULER": address}), 1, "refused our key")
            wrong = f"{pool.record['address']}#{stranger.ssi('key', 'show').stdout.decode().strip()}"
            self.check(pool.ssi("status", env={"SSI_SCHEDULER": wrong}), 1, "is not the scheduler")
            self.assertLess(time.monotonic() - began, 6)

    def test_a_dead_guest_is_seen_and_cleaned_away(self):
        with lab.Pool(guests=2) as pool:
            os.kill(pool.guest_pid(2), signal.SIGKILL)
            # Its leader is a zombie at once, but the kernel empties the pid namespace first.
            self.assertTrue(lab.wait_until(lambda: pool.ssi("pool", "up").returncode == 1, 5))
            self.check(pool.ssi("pool", "up"), 1, "guest2", "ssi pool down")
            self.assertTrue(lab.wait_until(lambda: pool.status()["guest2"]["state"] == "gone", 6))

    def test_ctrl_c_takes_everything_down(self):
        before = bridges()
        with lab.Home() as home:
            for delay in (0.02, 0.1, 0.2, 0.4):
                child = subprocess.Popen([lab.SSI, "pool", "up", "--guests", "3"], env=home.env, stdout=subprocess.PIPE,
                                         stderr=subprocess.STDOUT, start_new_session=True)
                time.sleep(delay)
                os.killpg(child.pid, signal.SIGINT)
                said = child.communicate(timeout=30)[0]
                if child.returncode == 0:  # it was faster
                    self.assertEqual(home.ssi("pool", "down").returncode, 0)
                self.assertEqual(bridges() - before, set(), said)
                self.assertFalse((home.dir / "state/ssi/pool/pool.json").exists(), said)

    def test_kill_9_of_up_is_cleaned_away_by_the_next_command(self):
        before = bridges()
        with lab.Home() as home:
            child = subprocess.Popen([lab.SSI, "pool", "up", "--guests", "3"], env=home.env, stdout=subprocess.DEVNULL,
                                     stderr=subprocess.DEVNULL)
            record = home.dir / "state/ssi/pool/pool.json"
            self.assertTrue(lab.wait_until(lambda: record.exists() and len(json.loads(record.read_text())["guests"]) > 1, 10))
            child.kill()
            child.wait()
            done = home.ssi("pool", "down")
            self.assertEqual(done.returncode, 0, text(done))
            self.assertTrue(lab.wait_until(lambda: bridges() == before, 3), bridges())

    def test_two_pools_at_once(self):
        with lab.Pool(guests=1) as one, lab.Pool(guests=1) as other:
            self.assertNotEqual(one.record["bridge"], other.record["bridge"])
            self.assertEqual(list(one.status()), ["guest1"])
            self.assertEqual(list(other.status()), ["guest1"])

    def test_those_in_other_network_namespaces_are_left_alone(self):
        """Their bridges have the same number, and the cgroups may be the same ones."""
        apart = ["unshare", "-n", "-m", "sh", "-c"]
        up = "ip link set lo up && mkdir -p /run/ssi && mount -t tmpfs none /run/ssi && ssi pool up --guests 1 >&2 && "
        with lab.Home() as one, lab.Home() as other:
            first = subprocess.Popen([*apart, up + "echo up; read go; ssirun --on guest1 echo lives; ssi pool down >&2"], env=one.env, cwd=one.work, text=True,
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            self.assertEqual(first.stdout.readline(), "up\n")
            second = other.run(*apart, up + "ssi pool down", timeout=60)
            self.assertEqual(second.returncode, 0, text(second))
            said, errors = first.communicate("go\n", timeout=60)
            self.assertEqual((said, first.returncode), ("lives\n", 0), errors)

    def test_a_guest_holds_nothing_of_homes(self):
        with lab.Pool(guests=1) as pool:
            root = pathlib.Path(f"/proc/{pool.guest_pid(1)}/root")
            files = {str(path.relative_to(root)) for top in ("etc", "sbin", "view", "run", "tmp", "var")
                     for path in (root / top).rglob("*") if path.is_file()}
            self.assertEqual(files, {"etc/ssi/agent.key", "sbin/ssi-agent"})
            # Libraries, and nothing but what the agent is linked with.
            ldd = subprocess.run(["ldd", lab.BUILD / "agent/ssi-agent"], capture_output=True, text=True).stdout
            wanted = set(re.findall(r"(/\S+)", ldd))
            self.assertEqual({"/" + str(path.relative_to(root)) for top in ("lib", "lib64", "usr") if (root / top).exists()
                              for path in (root / top).rglob("*") if path.is_file()}, wanted)
            mounts = pathlib.Path(f"/proc/{pool.guest_pid(1)}/mountinfo").read_text()
            self.assertNotIn(" ext4 ", mounts)
            self.assertEqual({line.split(" - ")[1].split()[0] for line in mounts.splitlines()} -
                             {"tmpfs", "proc", "sysfs", "devpts", "cgroup2", "fuse", "fuse.ssi"}, set(), mounts)
            for space in ("net", "mnt", "uts", "pid", "ipc"):
                self.assertNotEqual(os.readlink(f"/proc/{pool.guest_pid(1)}/ns/{space}"), os.readlink(f"/proc/self/ns/{space}"))
            environment = pathlib.Path(f"/proc/{pool.guest_pid(1)}/environ").read_bytes()
            self.assertNotIn(b"XDG_", environment)
            name = subprocess.run(["nsenter", "-t", str(pool.guest_pid(1)), "-u", "uname", "-n"], capture_output=True)
            self.assertEqual(name.stdout, b"guest1\n")


if __name__ == "__main__":
    unittest.main()
