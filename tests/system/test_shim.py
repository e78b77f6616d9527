# SPDX-License-Identifier: LGPL-2.1-or-later
"""libssi-shim.so in real programs, `ssi allow` and `ssi shell`."""
import os
import shutil
import subprocess
import unittest

from pool import BUILD, not_sanitized
from shim_case import ShimCase, python

TIMEOUT = 300

class Shim(ShimCase):
    """In real programs, `ssi allow` and `ssi shell`."""

    def test_it_needs_no_library(self):
        text = subprocess.check_output(["readelf", "-d", BUILD / "shim/libssi-shim.so"], text=True)
        self.assertIn("INIT_ARRAY", text)
        self.assertNotIn("NEEDED", text)
        symbols = subprocess.check_output(["nm", "-D", "--undefined-only", BUILD / "shim/libssi-shim.so"], text=True)
        self.assertEqual(symbols.split()[1::2], ["__errno_location", "dlerror", "dlsym", "environ"])

    @not_sanitized("they link libgcc and libm into every program")
    def test_ssirun_needs_libc_only(self):
        """And not even that where there is a static one."""
        needed = subprocess.check_output(["readelf", "-d", BUILD / "shim/ssirun"], text=True)
        self.assertIn([line.split("[")[1] for line in needed.splitlines() if "NEEDED" in line], ([], ["libc.so.6]"]))

    def test_bash_and_dash(self):
        for shell in ("bash", "dash"):
            self.diverted(shell, "-c", "heavy a b; :")
            self.diverted(shell, "-c", f"exec {self.tools}/heavy a b")
            self.passed(shell, "-c", "light a b; :")

    def test_make(self):
        (self.home.work / "Makefile").write_text("all:\n\t@heavy a b\n")
        self.diverted("make", "-s")
        (self.home.work / "Makefile").write_text("all:\n\t@heavy a b; :\n")
        self.diverted("make", "-s")

    def test_python(self):
        self.diverted(*python("import subprocess; subprocess.run(['heavy', 'a', 'b'])"))
        self.diverted(*python("import subprocess; subprocess.run(['heavy', 'a', 'b'], close_fds=False)"))
        for call in ("os.execvp('heavy', W)", f"os.execv('{self.tools}/heavy', W)",
                     f"os.execve('{self.tools}/heavy', W, dict(os.environ))",
                     f"os.waitpid(os.posix_spawn('{self.tools}/heavy', W, os.environ), 0)",
                     "os.waitpid(os.posix_spawnp('heavy', W, os.environ), 0)",
                     f"os.waitpid(os.posix_spawn('{self.tools}/heavy', W, os.environ,"
                     " file_actions=[(os.POSIX_SPAWN_CLOSE, 0)]), 0)"):
            self.diverted(*python(f"import os; W = ['heavy', 'a', 'b']; {call}"))

    def test_env_xargs_find_nice(self):
        self.diverted("env", "heavy", "a", "b")
        self.diverted("nice", "heavy", "a", "b")
        self.diverted("xargs", "heavy", stdin=None, input=b"a b")
        self.diverted("find", "/", "-maxdepth", "0", "-exec", "heavy", "a", "b", ";")

    def test_failures_are_as_without_the_shim(self):
        # bash runs what has no format by itself, not by sh.
        self.assertEqual(self.run_with("bash", "-c", "formless; :").stdout, b"bash: yes\n")
        for shell_line in ("plain", "folder", "./no/heavy"):
            self.assertEqual(self.run_with("bash", "-c", shell_line).returncode,
                             self.home.run("bash", "-c", shell_line, env=self.env).returncode)

    def test_the_environment_that_is_passed_may_disable(self):
        self.passed("env", "SSI_DISABLE=1", "sh", "-c", "heavy a b")
        self.passed(*python("import os; os.execvpe('heavy', ['heavy', 'a', 'b'], dict(os.environ, SSI_DISABLE='1'))"))

    def test_arguments_come_through_unchanged(self):
        words = ["a b", "", "$HOME", "*", "new\nline", "\\", "-n", "--", "\udcff", "é"]
        code = f"import os; os.execvp('heavy', ['heavy'] + {words!r})"
        expected = "".join(f"<{word}>" for word in [f"{self.tools}/heavy", *words]) + " ".join(words) + "\n"
        self.assertEqual(self.run_with(*python(code)).stdout, expected.encode("utf-8", "surrogateescape"))

    def test_too_many_arguments_pass(self):
        for count, prefix in ((4095, b"<"), (4096, b"a")):
            done = self.run_with(*python(f"import os; os.execvp('heavy', ['heavy'] + ['a'] * {count})"))
            self.assertTrue(done.stdout.startswith(prefix))
            self.assertTrue(done.stdout.endswith(b" ".join([b"a"] * count) + b"\n"))

    def test_without_ssirun_the_command_runs_all_the_same(self):
        hidden = self.dir / "hidden"
        (self.dir / "ssirun").rename(hidden)
        try:
            self.passed("bash", "-c", "heavy a b; :")
            self.passed(*python("import os; os.waitpid(os.posix_spawnp('heavy', ['heavy', 'a', 'b'], os.environ), 0)"))
        finally:
            hidden.rename(self.dir / "ssirun")

    def test_tables_that_are_not_to_be_trusted(self):
        table = self.home.dir / "state/ssi/allow.table"
        good = table.read_bytes()

        def write(data, mode=0o644):
            table.unlink(missing_ok=True)
            table.write_bytes(data)
            table.chmod(mode)

        try:
            write(good)
            self.diverted("sh", "-c", "heavy a b; :")
            for mode in (0o666, 0o664):
                write(good, mode)
                self.passed("sh", "-c", "heavy a b; :")
            if os.geteuid() == 0:
                write(good)
                os.chown(table, 12345, 12345)
                self.passed("sh", "-c", "heavy a b; :")
            for wrong in (b"", b"x" * 10, good[:-1], good + b"\0", good[:40], b"\0" * 65536, b"\xff" * 65536, good[:8] + b"\1" + good[9:]):
                write(wrong)
                self.passed("sh", "-c", "heavy a b; :")
            table.unlink()
            self.passed("sh", "-c", "heavy a b; :")
            # Every byte of the header and of the used slots wrong in turn: never a crash.
            for at in range(0, len(good), 3):
                write(good[:at] + b"\xff" + good[at + 1:])
                done = self.run_with("sh", "-c", "heavy a b; :")
                self.assertEqual(done.returncode, 0, (at, done))
                self.assertTrue(done.stdout.endswith(b"a b\n"), (at, done))
        finally:
            write(good)

    def test_a_job_of_ssirun_at_home_is_not_diverted_again(self):
        shutil.copy(BUILD / "shim/ssirun", self.dir / "real")
        script = self.dir / "ssirun"
        text = script.read_bytes()
        os.replace(self.dir / "real", script)
        try:
            self.passed("bash", "-c", "heavy a b; :")
            self.passed(self.dir / "ssirun", "heavy", "a", "b")
        finally:
            script.unlink()
            script.write_bytes(text)
            script.chmod(0o755)

    def test_ssi_shell(self):
        run = lambda *words, **options: self.home.run(self.dir / "ssi", "shell", *words, env={**self.env, **options})
        self.assertEqual(run("heavy a b; :").stdout, f"<{self.tools}/heavy><a><b>a b\n".encode())
        self.assertEqual(run("heavy", "a", "b").stdout, f"<{self.tools}/heavy><a><b>a b\n".encode())
        self.assertEqual(run("exit 5").returncode, 5)
        self.assertEqual(run(SHELL="/bin/pwd").stdout, f"{self.home.work}\n".encode())
        self.assertEqual(run("echo $LD_PRELOAD", LD_PRELOAD="/lib/x86_64-linux-gnu/libm.so.6").stdout,
                         f"{self.dir}/libssi-shim.so:/lib/x86_64-linux-gnu/libm.so.6\n".encode())

    def test_allow_check(self):
        check = lambda *words: self.home.run(self.dir / "ssi", "allow", "check", *words, env=self.env).stdout.decode()
        self.assertIn('rule 1 ("heavy"): runs in a guest', check("heavy", "a"))
        self.assertIn(f"{self.tools}/heavy", check("heavy", "a"))
        self.assertIn("no rule matches: runs at home", check("heavy", "-x"))
        self.assertIn("rule 1 (\"heavy\"): does not match: argument '-x' is in not_args", check("heavy", "-x"))
        self.assertIn("no rule matches", check("/bin/ls", "--help"))
        self.assertIn('rule 2 ("stays"): runs at home', check("/bin/stays"))
        self.assertNotIn("table", check("heavy", "a"))
        self.table.chmod(0o664)
        try:
            self.assertIn(f"{self.table}: others may write to it: chmod go-w {self.table}; till then the shim diverts nothing", check("heavy", "a"))
            self.assertEqual(self.run_with(self.tools / "heavy", "a").stdout, b"a\n")
        finally:
            self.table.chmod(0o644)
        kept = self.table.rename(self.table.with_suffix(".kept"))
        os.mkfifo(self.table, 0o600)
        try:
            self.assertIn(f"{self.table}: is no file; remove it; till then the shim diverts nothing", check("heavy", "a"))
        finally:
            kept.rename(self.table)
        done = self.home.run(self.dir / "ssi", "allow", "what")
        self.assertEqual((done.returncode, done.stderr.count(b"\n")), (2, 1))

    def test_a_broken_configuration_is_one_line(self):
        file = self.home.dir / "config/ssi/config.toml"
        text = file.read_text()
        table = (self.home.dir / "state/ssi/allow.table").read_bytes()
        file.write_text(text + "[[app]\n")
        try:
            for words in (("allow", "compile"), ("shell", "true")):
                done = self.home.run(self.dir / "ssi", *words)
                self.assertEqual((done.returncode, done.stderr.count(b"\n")), (1, 1), done)
                self.assertIn(b"config.toml:", done.stderr)
            self.assertEqual((self.home.dir / "state/ssi/allow.table").read_bytes(), table)
        finally:
            file.write_text(text)


if __name__ == "__main__":
    unittest.main()
