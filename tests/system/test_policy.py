# SPDX-License-Identifier: LGPL-2.1-or-later
"""The export policy as jobs meet it: what is hidden sends them home, what is read-only stays as it is; and as `ssi doctor` shows it."""
import json
import os
import re
import shutil
import subprocess
import time
import unittest

from pool import Pool, SSIRUN, wait_until

pool = None


def setUpModule():
    global pool
    pool = Pool(1)
    work = pool.work
    (work / "keys/deep").mkdir(parents=True)
    (work / "keys/deep/id").write_text("secret\n")
    shutil.copy("/bin/true", work / "keys/program")
    (work / "area/vault").mkdir(parents=True)
    (work / "area/vault/id").write_text("secret\n")
    (work / "bin").mkdir()
    (work / "bin/tool").write_text("tool\n")
    (work / "rc").write_text("rc\n")
    (pool.dir / "config/ssi").mkdir(mode=0o700)
    (pool.dir / "config/ssi/config.toml").write_text(
        f'[defaults]\npolicy = "remote"\nmin_seconds = 0\n[export]\nhidden = ["{work}/keys", "{work}/later*", "{work}/area/vault"]\n'
        f'read_only = ["{work}/rc", "{work}/bin"]\n')
    pool.__enter__()


def tearDownModule():
    pool.__exit__(None)


class Hidden(unittest.TestCase):
    def test_a_job_that_meets_it_goes_home(self):
        """Nothing was done yet: it runs once more, at home. The next time it does not even start in a guest."""
        script = "x=$(cat keys/deep/id); echo got $x"
        done = pool.ssirun("-v", "sh", "-c", script)
        self.assertEqual((done.returncode, done.stdout), (0, b"got secret\n"), done.stderr)
        needs = f"needs {pool.work}/keys, which is hidden from guests".encode()
        self.assertIn(b"home: guest1: it " + needs, done.stderr)
        done = pool.ssirun("-v", "sh", "-c", script)
        self.assertEqual((done.returncode, done.stdout), (0, b"got secret\n"), done.stderr)
        self.assertIn(b"home: last time it needed " + needs[6:], done.stderr)
        self.assertIn(b"guest1: ", pool.ssirun("-v", "sh", "-c", "echo other").stderr)  # other arguments are another command
        self.assertTrue(pool.end_deputy())  # the next one reads it from the history
        self.assertTrue(wait_until(lambda: b"home: last time it needed" in pool.ssirun("--dry-run", "sh", "-c", script).stdout, 5))
        done = pool.ssirun("--remote", "sh", "-c", script)
        self.assertEqual((done.returncode, done.stdout), (125, b""))
        self.assertEqual(done.stderr, b"ssirun: sh " + needs + b": run it with --local\n")

    def test_at_once_when_it_is_named(self):
        for words in (["cat", "keys/deep/id"], ["dd", f"if={pool.work}/keys/deep/id"]):
            done = pool.ssirun("-v", *words)
            self.assertEqual((done.returncode, done.stdout), (0, b"secret\n"), done.stderr)
            self.assertRegex(done.stderr, rb"home: it needs \S*keys/deep/id, which is hidden from guests")
        done = pool.ssirun("-v", "cat", "id", cwd=pool.work / "keys/deep")
        self.assertIn(b"home: its directory is hidden from guests", done.stderr)

    def test_its_own_program(self):
        """Which it waits for before it has begun."""
        done = pool.ssirun("--remote", "keys/program", timeout=20)
        self.assertEqual((done.returncode, done.stdout), (125, b""))
        self.assertEqual(done.stderr.decode(), f"ssirun: program needs {pool.work}/keys, which is hidden from guests: run it with --local\n")

    def test_one_that_said_something_does_not_run_twice(self):
        start = time.monotonic()
        done = pool.ssirun("sh", "-c", "echo out; cat keys/deep/id")
        self.assertEqual((done.returncode, done.stdout), (125, b"out\n"))
        self.assertIn(b"which is hidden from guests: run it with --local", done.stderr)
        self.assertLess(time.monotonic() - start, 4)

    def test_one_that_changed_files_is_undone_first(self):
        done = pool.ssirun("sh", "-c", "echo once >> made; cat keys/deep/id")
        self.assertEqual((done.returncode, done.stdout), (0, b"secret\n"), done.stderr)
        self.assertEqual((pool.work / "made").read_text(), "once\n")

    def test_what_shows_it_not(self):
        """Listing does not need it, and a name that is not there is only that."""
        done = pool.ssirun("--remote", "sh", "-c", "ls -a; find . -name id; cat later1; echo *; ls /run/user; du -s .")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertNotIn(b"keys", done.stdout)
        self.assertIn(b"cat: later1: No such file", done.stderr)
        self.assertIn(b"cannot access '/run/user'", done.stderr)

    def test_making_it_goes_home(self):
        done = pool.ssirun("-v", "sh", "-c", "echo made > later2; cat later2")
        self.assertEqual((done.returncode, done.stdout), (0, b"made\n"), done.stderr)
        self.assertEqual((pool.work / "later2").read_text(), "made\n")
        self.assertIn(b"later2, which is hidden from guests", done.stderr)

    def test_who_outlives_its_leader_sees_nothing_there(self):
        done = pool.ssirun("--remote", "sh", "-c", "(sleep 1; cat keys/deep/id; echo $? > status) >&- 2>&- <&- & echo out")
        self.assertEqual((done.returncode, done.stdout), (0, b"out\n"))
        self.assertTrue(wait_until(lambda: (pool.work / "status").exists() and (pool.work / "status").read_text() == "1\n", 8))

    def ways_around(self):
        """Commands that would show the secret, each through another way; made at home meanwhile."""
        work = pool.work
        os.link(work / "keys/deep/id", work / "linked")
        os.symlink("keys", work / "symlink")
        for name in ("bound", "bound-deep", "moved-to"):
            (work / name).mkdir()
        subprocess.run(["mount", "--bind", work / "area", work / "bound"], check=True)
        subprocess.run(["mount", "--bind", work / "keys/deep", work / "bound-deep"], check=True)
        (work / "bound-file").write_text("")
        subprocess.run(["mount", "--bind", work / "keys/deep/id", work / "bound-file"], check=True)
        self.addCleanup(lambda: [subprocess.run(["umount", work / name], check=True) for name in ("bound-file", "bound-deep", "bound")])
        return ["linked", "symlink/deep/id", "bound/vault/id", "bound-deep/id", "bound-file", "bin/../keys/deep/id",
                f"/proc/self/root{work}/keys/deep/id", "/proc/self/cwd/keys/deep/id", "/proc/$$/cwd/linked"]

    def test_ways_around(self):
        """Each is tried in a job that began before the way was made, and in one that began after."""
        script = ("while [ ! -e go ]; do sleep 0.1; done; read way < go; eval cat $way")
        for name in ("go", "linked", "symlink", "bound-file"):
            if os.path.lexists(pool.work / name):
                os.remove(pool.work / name)
        started = subprocess.Popen([SSIRUN, "--remote", "sh", "-c", script], cwd=pool.work, env=pool.env, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE)
        time.sleep(1)
        ways = self.ways_around()
        (pool.work / "go").write_text("linked\n")
        output, errors = started.communicate(timeout=20)
        self.assertEqual((started.returncode, output), (125, b""), errors)
        for way in ways:
            with self.subTest(way):
                done = pool.ssirun("--remote", "sh", "-c", f"eval cat '{way}'")
                self.assertEqual((done.returncode, done.stdout), (125, b""), done.stderr)
        # A directory that is moved while a job runs stays hidden, whoever asks.
        (pool.work / "go").unlink()
        started = subprocess.Popen([SSIRUN, "--remote", "sh", "-c", script], cwd=pool.work, env=pool.env, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE)
        time.sleep(1)
        (pool.work / "keys").rename(pool.work / "moved-to/renamed")
        try:
            self.assertEqual(pool.ssirun("--remote", "cat", "moved-to/renamed/deep/id").stdout, b"")
            (pool.work / "go").write_text("moved-to/renamed/deep/id\n")
            output, errors = started.communicate(timeout=20)
            self.assertEqual((started.returncode, output), (125, b""), errors)
        finally:
            (pool.work / "moved-to/renamed").rename(pool.work / "keys")


class ReadOnly(unittest.TestCase):
    CHANGES = ("echo x >> {0}", "echo x > {0}", "rm -f {0}", "mv {0} elsewhere", "echo x > new; mv new {0}", "chmod 777 {0}", "touch {0}",
               "truncate -s 0 {0}", "ln {0} another", "setfattr -n user.x -v y {0}", "cp /dev/null {0}",
               "python3 -c 'import mmap,os; f=os.open(\"{0}\", os.O_RDWR); mmap.mmap(f, 2)[0]=65'")

    def test_changes(self):
        os.path.exists(pool.work / "rc-linked") or os.link(pool.work / "bin/tool", pool.work / "rc-linked")
        os.path.lexists(pool.work / "rc-symlink") or os.symlink("rc", pool.work / "rc-symlink")
        script = ""
        for name in ("rc", "bin/tool", "rc-linked"):
            for change in self.CHANGES:
                script += f"({change.format(name)}) 2>&- && echo '{name}: {change.format(name)}' | tr -d '\\n' && echo\n"
        script += "for f in rc-symlink; do (echo x > $f) 2>&- && echo $f; done\n"
        script += "(mv bin other) 2>&- && echo bin; (touch bin/new) 2>&- && echo new; (rmdir bin; rm -r bin) 2>&- && echo gone\n"
        done = pool.ssirun("--remote", "sh", "-c", script)
        self.assertEqual(done.stdout, b"", done.stderr)
        self.assertEqual([(pool.work / name).read_text() for name in ("rc", "bin/tool", "rc-linked")], ["rc\n", "tool\n", "tool\n"])
        self.assertFalse((pool.work / "another").exists() or (pool.work / "elsewhere").exists())

    def test_what_the_caller_opened_is_his(self):
        """A shell's >> at home is home's own doing."""
        before = (pool.work / "rc").read_text()
        done = subprocess.run(f"{SSIRUN} --remote echo more >> rc", shell=True, cwd=pool.work, env=pool.env, timeout=20)
        self.assertEqual(done.returncode, 0)
        self.assertEqual((pool.work / "rc").read_text(), before + "more\n")
        (pool.work / "rc").write_text(before)


class Doctor(unittest.TestCase):
    def setUp(self):
        self.config = str(pool.dir / "config/ssi/config.toml")
        for name in ("later-a", "later-b"):
            (pool.work / name).touch()
            self.addCleanup((pool.work / name).unlink)

    def test_json(self):
        done = pool.ssi("doctor", "--json")
        self.assertEqual((done.returncode, done.stderr), (0, b""), done.stdout)
        said = json.loads(done.stdout)
        self.assertEqual(list(said), ["findings", "policy"])
        for finding in said["findings"]:
            self.assertEqual(list(finding), ["for", "what", "verdict", "cure"])
            self.assertIn(finding["verdict"], ("ok", "note"))
        kept = {rule["path"]: (rule["kept"], rule["from"], set(rule["matches"])) for rule in said["policy"]}
        work = pool.work
        for path, word in (("keys", "hidden"), ("area/vault", "hidden"), ("rc", "read-only"), ("bin", "read-only")):
            self.assertEqual(kept.pop(f"{work}/{path}"), (word, self.config, {f"{work}/{path}"}))
        word, source, matches = kept.pop(f"{work}/later*")
        self.assertEqual((word, source), ("hidden", self.config))
        self.assertEqual(matches, {str(path) for path in work.glob("later*")})
        self.assertEqual({source for _, source, _ in kept.values()}, {"default"})
        state = str(pool.dir / "state/ssi")
        self.assertEqual(kept[state], ("absent", "default", {state}))
        home = pool.env["HOME"]
        self.assertEqual([kept[f"{home}/{name}"][0] for name in (".ssh", ".gnupg", ".bashrc", ".local/bin")], ["hidden"] * 2 + ["read-only"] * 2)

    def test_text(self):
        done = pool.ssi("doctor")
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        policy = done.stdout.decode().split("do not get as they are")[1]
        for word, path, now in (("hidden", "keys", ""), ("hidden", "later*", ".*later-[ab].*"), ("read-only", "rc", "")):
            self.assertRegex(policy, rf"(?m)^{word} +{re.escape(f'{pool.work}/{path}')} +{re.escape(self.config)} *{now}$")
        self.assertRegex(policy, r"\n\d+ more of the defaults match nothing now\n")

    def test_a_configuration_that_cannot_be_read(self):
        """Nothing is said of a policy that is not known, and the finding says where it is wrong."""
        (pool.work / "broken/ssi").mkdir(parents=True)
        (pool.work / "broken/ssi/config.toml").write_text("[export]\nhidden = 5\n")
        done = pool.ssi("doctor", "--json", env={"XDG_CONFIG_HOME": str(pool.work / "broken")})
        self.assertEqual(done.returncode, 1)
        said = json.loads(done.stdout)
        self.assertEqual(said["policy"], [])
        missing = [finding["cure"] for finding in said["findings"] if finding["verdict"] == "missing"]
        self.assertEqual(len(missing), 1)
        self.assertIn(f"{pool.work}/broken/ssi/config.toml:2", missing[0])


if __name__ == "__main__":
    unittest.main()
