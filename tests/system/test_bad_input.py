# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a user gets wrong, or finds broken: one clear line, the right exit status, nothing lost."""
import re
import time
import unittest

from pool import Home, Pool

pool = None


def setUpModule():
    global pool
    pool = Pool(1)
    pool.__enter__()


def tearDownModule():
    pool.__exit__(None)


class BadInput(unittest.TestCase):
    def refused(self, done, status, *words):
        """One line on stderr that starts with who speaks and has each of the words."""
        text = done.stderr.decode()
        self.assertEqual((done.returncode, done.stdout, text.count("\n")), (status, b"", 1), text)
        self.assertRegex(text, r"^(ssirun|ssi[ a-z]*): ")
        for word in words:
            self.assertIn(word, text)

    def falls_home(self, env, *words):
        """Without --remote the command runs at home all the same; with -v the reason is told."""
        done = pool.ssirun("-v", "echo", "ran", env=env)
        self.assertEqual((done.returncode, done.stdout), (0, b"ran\n"))
        text = done.stderr.decode()
        self.assertIn("ssirun: home: ", text)
        for word in words:
            self.assertIn(word, text)

    def test_options(self):
        self.refused(pool.ssirun("--bogus", "true"), 125, "--bogus", "--help")
        self.refused(pool.ssirun("--cpus", "many", "true"), 125, "--cpus", "many")
        self.refused(pool.ssirun("--local", "--remote", "true"), 125, "--local")
        self.refused(pool.ssirun(), 125, "--help")
        self.refused(pool.ssi("bogus"), 2, "bogus", "--help")
        self.refused(pool.ssi("pool", "up", "--guests", "none"), 2, "none")

    def test_programs(self):
        (pool.work / "plain").write_text("no program\n")
        for prefix in ([], ["--remote"]):
            self.refused(pool.ssirun(*prefix, "no-such-program"), 127, "no-such-program")
            self.refused(pool.ssirun(*prefix, "./missing"), 127, "./missing")
            self.refused(pool.ssirun(*prefix, "./plain"), 126, "./plain")
            self.refused(pool.ssirun(*prefix, "/"), 126, "/")
        self.assertEqual((pool.work / "plain").read_text(), "no program\n")

    def test_a_broken_config_names_file_line_and_what(self):
        broken = {"[defaults]\npolciy = \"auto\"\n": ("2", "polciy", "policy"), "[[app]\n": ("1",),
                  "[defaults]\nmin_seconds = \"two\"\n": ("2", "min_seconds")}
        for number, (text, words) in enumerate(broken.items()):
            path = pool.work / f"broken{number}.toml"
            path.write_text(text)
            env = {"SSI_CONFIG": str(path)}
            self.refused(pool.ssirun("--remote", "true", env=env), 125, f"{path}:{words[0]}", *words[1:])
            self.refused(pool.ssi("status", env=env), 1, f"{path}:{words[0]}", *words[1:])
            done = pool.ssirun("echo", "ran", env=env)
            self.assertEqual((done.returncode, done.stdout), (0, b"ran\n"))
            self.assertRegex(done.stderr.decode(), rf"^ssirun: {re.escape(str(path))}:{words[0]}.*running at home\n$")
        self.refused(pool.ssirun("--remote", "true", env={"SSI_CONFIG": str(pool.work / "none.toml")}), 125, "none.toml")
        path.chmod(0o666)
        path.write_text("")
        self.refused(pool.ssirun("--remote", "true", env={"SSI_CONFIG": str(path)}), 125, str(path))

    def test_an_unreachable_scheduler(self):
        key = pool.ssi("key", "show").stdout.decode().strip()
        for address in ("127.0.0.1:1", "198.18.255.254:7700"):  # refuses; does not answer
            env = {"SSI_SCHEDULER": f"{address}#{key}"}
            began = time.monotonic()
            self.refused(pool.ssirun("--remote", "true", env=env), 125, address)
            self.falls_home(env, address)
            self.assertLess(time.monotonic() - began, 2)

    def test_a_wrong_key_of_the_scheduler(self):
        address = (pool.dir / "state/ssi/pool/pool.toml").read_text().split('"')[1]
        other = pool.ssi("key", "show").stdout.decode().strip()
        env = {"SSI_SCHEDULER": f"{address}#{other}"}
        self.refused(pool.ssirun("--remote", "true", env=env), 125, address, "is not the scheduler with key", other[:16])
        self.falls_home(env, address)
        self.refused(pool.ssirun("--remote", "true", env={"SSI_SCHEDULER": f"{address}#zz"}), 125, "SSI_SCHEDULER")

    def test_a_key_that_the_scheduler_does_not_know(self):
        key = pool.dir / "state/ssi/keys/deputy.key"
        saved = key.read_bytes()
        pool.end_deputy()
        key.unlink()
        try:
            self.refused(pool.ssirun("--remote", "true"), 125, "refused our key")
        finally:
            pool.end_deputy()
            key.unlink()
            key.write_bytes(saved)
            key.chmod(0o600)
        self.assertEqual(pool.ssirun("--remote", "true").returncode, 0)

    def test_a_key_that_others_may_read(self):
        key = pool.dir / "state/ssi/keys/deputy.key"
        for _ in range(20):  # who comes right behind a deputy that did not start does not meet that one
            pool.end_deputy()
            key.chmod(0o644)
            try:
                done = pool.ssirun("--remote", "true")
                self.assertEqual(done.returncode, 125)
                self.assertEqual(done.stderr.count(b"\n"), 1)
            finally:
                key.chmod(0o600)
            done = pool.ssirun("--remote", "true")
            self.assertEqual(done.returncode, 0, done.stderr)

    def test_no_pool(self):
        with Home() as own:
            done = own.ssirun("echo", "ran")
            self.assertEqual((done.returncode, done.stdout, done.stderr), (0, b"ran\n", b""))

    def test_a_deputy_that_outlives_its_pool_finds_the_next_one(self):
        with Pool(1) as own:
            self.assertEqual(own.ssirun("--remote", "true").returncode, 0)
            self.assertEqual(own.ssi("pool", "down").returncode, 0)
            self.refused(own.ssirun("--remote", "true"), 125)
            self.assertEqual(own.ssirun("echo", "home").stdout, b"home\n")
            self.assertEqual(own.ssi("pool", "up", "--guests", "1").returncode, 0)
            done = own.ssirun("--remote", "echo", "again")
            self.assertEqual((done.returncode, done.stdout), (0, b"again\n"), done.stderr)


if __name__ == "__main__":
    unittest.main()
