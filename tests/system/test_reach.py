# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a preload cannot reach: `ssi shell --deep` and `ssi shell --trace`."""
import json
import os
import pathlib
import signal
import socket
import subprocess
import textwrap
import time
import unittest

import test_rootless
from callers import HOST, REMOTE, RootsPool, WHERE, callers, said_by, script
from pool import BUILD, SSI, Home, wait_until
from terminal import Screen
from test_rootless import UserPool

TIMEOUT = 400

home = None


def setUpModule():
    global home
    home = Home()
    test_rootless.setUpModule()


def tearDownModule():
    home.close()
    test_rootless.tearDownModule()


class Reached:
    """What both shells do: a `heavy` that anybody starts runs in the guest; it prints who its first process is."""

    @classmethod
    def setUpClass(cls):
        cls.pool = cls.make_pool()
        cls.addClassCleanup(cls.pool.__exit__, None)
        cls.pool.__enter__()
        cls.tools = cls.pool.dir / "tools"
        callers(home, cls.tools)
        cls.pool.configure(REMOTE)
        if hasattr(cls.pool, "become"):
            for path in (cls.pool.dir / "config").rglob("*"):
                os.chown(path, test_rootless.UID, test_rootless.GID)
        cls.env = {"PATH": f"{cls.tools}:{cls.pool.env['PATH']}"}

    def shell(self, *words, **options):
        env = {**self.env, **options.pop("env", {})}
        return self.pool.ssi("shell", self.OPTION, *words, env=env, **options)

    def both(self, *words, said, status=0):
        done = self.shell(*words)
        self.assertEqual((done.stdout, done.returncode, done.stderr), (said, status, b""), words)

    def test_a_static_c_caller(self):
        for way in ("fork", "vfork", "spawn", "execveat"):
            with self.subTest(way=way):
                program = self.tools / "heavy" if way == "execveat" else "heavy"
                self.both("caller", way, program, "-c", WHERE + "; exit 3", said=b"ssi-agent\n", status=3)
                self.both("caller", way, program, "-c", "kill -KILL $$", said=b"", status=209)
        for way in ("exec", "bare"):
            self.both("caller", way, self.tools / "heavy", "-c", WHERE + "; exit 4", said=b"ssi-agent\n", status=4)
        self.assertEqual(self.shell("caller", "exec", self.tools / "heavy", "-c", "kill -TERM $$").returncode, -15)

    def test_a_go_caller(self):
        self.both("gocaller", 1, "heavy", "-c", WHERE + "; exit 5", said=b"ssi-agent\n[5]\n")
        self.both("gocaller", 6, "heavy", "-c", WHERE, said=b"ssi-agent\n" * 6 + b"[0 0 0 0 0 0]\n")
        self.both("gocaller", 0, "heavy", "-c", WHERE + "; exit 6", said=b"ssi-agent\n", status=6)

    def test_dynamic_callers_as_ever(self):
        self.both(f"heavy -c '{WHERE}'; exit 7", said=b"ssi-agent\n", status=7)
        self.both("env", "-i", self.tools / "heavy", "-c", WHERE, said=b"ssi-agent\n")

    def test_what_is_not_on_the_list_is_untouched(self):
        for words in (("caller", "vfork"), ("gocaller", 0), ("gocaller", 0, "caller", "exec")):
            done = self.shell(*words, self.tools / "light", "-c", WHERE + "; readlink /proc/$$/exe; exit 3")
            self.assertEqual((done.stdout.decode(), done.returncode), (f"{HOST}{self.tools}/light\n", 3))
        # And fails as it does outside.
        for name in ("missing", self.tools / "caller.c", self.tools):
            for way in ("exec", "vfork", "spawn"):
                outside = self.pool.run(self.tools / "caller", way, name, env=self.env)
                self.assertEqual(self.shell("caller", way, name).returncode, outside.returncode, (way, name))

    def test_at_home_it_is_the_program_itself(self):
        for words in (("caller", "exec", self.tools / "heavy"), ("caller", "vfork", "heavy"), ("gocaller", 0, "heavy")):
            done = self.shell(*words, "-c", WHERE + "; cat /proc/$$/cmdline; readlink /proc/$$/exe; exit 3", "a b", env={"SSI_DISABLE": "1"})
            said = done.stdout.decode()
            self.assertTrue(said.startswith(f"{HOST}{words[-1]}\0-c\0"), said)
            self.assertTrue(said.endswith(f"\0a b\0{self.original}\n"), said)
            self.assertEqual(done.returncode, 3)

    def test_the_shells_own_end(self):
        self.assertEqual(self.shell("exit 5").returncode, 5)
        self.assertEqual(self.shell("kill -TERM $$").returncode, -15)
        self.assertEqual(self.shell("echo $0; cat", env={"SHELL": "/bin/sh"}, input=b"in", stdin=None).stdout, b"/bin/sh\nin")

    def test_shells_in_it(self):
        for words in ((), ("--deep",), ("--trace",)):
            done = self.shell(self.pool.build / "cli/ssi", "shell", *words, "caller", "vfork", "heavy", "-c", WHERE)
            self.assertEqual((done.stdout, done.returncode), (b"ssi-agent\n", 0), done)

    def test_a_job_knows_nothing_of_it(self):
        self.both("caller", "vfork", "heavy", "-c", "echo ${SSI_TRACE-no} ${SSI_SHIM-no} ${LD_PRELOAD-no} /proc/self/fd/*",
                  said=b"no no no /proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2 /proc/self/fd/3\n")

    def test_no_deputy_is_started_inside(self):
        """It would stand where no caller outside stands, and in a deep shell serve ssirun for the programs. Outside one is, by a keeper."""
        bare = f"caller bare {self.tools}/heavy -c '{WHERE}'"
        shell = self.pool.start_shell(self.OPTION, f"echo up; read go; {bare}; ssirun -v echo end; read go; {bare}",
                                      env={**self.pool.env, **self.env, "PATH": f"{self.pool.build}/shim:{self.env['PATH']}"})
        with shell:
            self.assertEqual(shell.stdout.readline(), b"up\n")
            socket = self.pool.dir / "run/ssi/deputy.sock"
            keepers = [pid for pid in self.pool.processes() if said_by(pid, "comm") == b"ssi\n" and os.getsid(pid) == pid]
            self.assertEqual(len(keepers), 1)
            os.kill(keepers[0], signal.SIGSTOP)
            for pid in self.pool.processes():
                if said_by(pid, "comm") == b"ssi-deputy\n":
                    os.kill(pid, signal.SIGTERM)
            self.assertTrue(wait_until(lambda: not socket.exists(), 5))
            shell.stdin.write(b"go\n")
            shell.stdin.flush()
            self.assertEqual([shell.stdout.readline().decode() for _ in range(2)], [HOST, "end\n"])
            os.kill(keepers[0], signal.SIGCONT)
            self.assertTrue(wait_until(socket.exists, 10))
            said, wrong = shell.communicate(b"go\n", 20)
        self.assertEqual(said, b"ssi-agent\n")
        self.assertTrue(wait_until(lambda: not said_by(keepers[0], "comm"), 5))
        self.assertIn(f"home: no deputy runs, and 'ssi shell {self.OPTION}' is no place to start one".encode(), wrong)

    def test_a_killed_deputy_is_replaced(self):
        """Which leaves its socket."""
        at = str(self.pool.dir / "run/ssi/deputy.sock")

        def answers():
            with socket.socket(socket.AF_UNIX) as link:
                return link.connect_ex(at) == 0

        with self.pool.start_shell(self.OPTION, f"echo up; read go; heavy -c '{WHERE}'", env={**self.pool.env, **self.env}) as shell:
            self.assertEqual(shell.stdout.readline(), b"up\n")
            self.assertTrue(answers())
            for pid in self.pool.processes():
                if said_by(pid, "comm") == b"ssi-deputy\n":
                    os.kill(pid, signal.SIGKILL)
            self.assertTrue(wait_until(lambda: not answers(), 0.9))
            self.assertTrue(os.path.exists(at))
            self.assertTrue(wait_until(answers, 10))
            self.assertEqual(shell.communicate(b"go\n", 20)[0], b"ssi-agent\n")

    def test_the_history_has_it(self):
        self.shell("caller", "vfork", "heavy", "-c", "exit 17")
        jobs = json.loads(self.pool.ssi("history", "--json", "--limit", "1").stdout)
        jobs = jobs["jobs"] if isinstance(jobs, dict) else jobs
        self.assertIn("guest1", json.dumps(jobs[0]))
        self.assertIn("17", json.dumps(jobs[0]))


class UsersPool(UserPool):
    prefix, start_shell = test_rootless.USER, RootsPool.start_shell


class AtATerminal:
    def test_stops_and_keys(self):
        """For the shell around it, and for one inside."""
        env = {**self.pool.env, **self.env, "HISTFILE": "/dev/null", "SHELL": "/bin/bash"}
        for before in ([], [f"{SSI} shell {self.OPTION} -- bash --norc --noprofile"]):
            with self.subTest(before=before), Screen(env, self.pool.work) as screen:
                self.assertTrue(screen.prompt())
                for line in before:
                    screen.line(line)
                    self.assertTrue(screen.prompt(), screen.text())
                command = "sleep 100" if before else f"{SSI} shell {self.OPTION} sleep 100"
                screen.line("clear; echo now; " + command)
                self.assertTrue(screen.shows("^now$"))
                time.sleep(0.3)
                screen.type("C-z")
                self.assertTrue(screen.shows("Stopped"), screen.text())
                screen.line("fg")
                time.sleep(0.3)
                screen.type("C-c").line("echo status=$?")
                self.assertTrue(screen.shows("^status=130$"), screen.text())
                for _ in before:
                    screen.line("exit 7").line("echo inner=$?")
                    self.assertTrue(screen.shows("^inner=7$"), screen.text())


class Deep(Reached):
    OPTION = "--deep"

    @property
    def original(self):
        return f"{self.pool.dir}/state/ssi/deep/home{self.tools}/heavy"

    def test_nothing_of_it_is_seen_outside(self):
        done = self.shell(f"wc -c < {self.tools}/heavy; wc -c < {self.original}")
        self.assertEqual(done.stdout.split(), [str(os.path.getsize(path)).encode() for path in (self.pool.build / "shim/ssirun", "/bin/dash")])
        self.assertNotIn("deep", pathlib.Path("/proc/self/mountinfo").read_text())
        self.assertEqual(os.path.getsize(self.tools / "heavy"), os.path.getsize("/bin/dash"))

    def test_the_originals_cannot_be_harmed(self):
        done = self.shell(f"rm -rf {self.original} {self.tools}/heavy; (: > {self.original}); echo end")
        self.assertEqual(done.stdout, b"end\n")
        self.assertEqual(os.path.getsize(self.tools / "heavy"), os.path.getsize("/bin/dash"))


class Trace(Reached):
    OPTION = "--trace"

    @property
    def original(self):
        return f"{self.tools}/heavy"


class TraceAsRoot(AtATerminal, Trace, unittest.TestCase):
    make_pool = staticmethod(lambda: RootsPool(1))

    def python(self, code):
        return self.shell("python3", "-c", "import ctypes, os, sys\nlibc = ctypes.CDLL(None)\n" + textwrap.dedent(code) +
                          f"\nos.execv('{self.tools}/caller', ['caller', 'vfork', 'heavy', '-c', '{WHERE}'])")

    def test_sandboxes_keep_jobs_home(self):
        """Outside, where the deputy is, a job would have what the sandbox denies."""
        self.assertEqual(self.python("").stdout, b"ssi-agent\n")
        allow_all = """
            words = ctypes.create_string_buffer(bytes([6, 0, 0, 0, 0, 0, 0xff, 0x7f]))
            class Program(ctypes.Structure):
                _fields_ = [("length", ctypes.c_ushort), ("words", ctypes.c_void_p)]
            program = Program(1, ctypes.addressof(words))
            assert libc.prctl(22, 2, ctypes.byref(program)) == 0"""
        self.assertEqual(self.python(allow_all).stdout.decode(), HOST)
        self.assertEqual(self.python("libc.syscall(446, -1, 0)  # landlock_restrict_self").stdout.decode(), HOST)
        by_32_bits = """
            import mmap  # push rbx; mov ebx, -1; xor ecx, ecx; mov eax, 446; int 0x80; pop rbx; ret
            code = mmap.mmap(-1, 4096, prot=7)
            code.write(bytes.fromhex("53 bbffffffff 31c9 b8be010000 cd80 5b c3"))
            assert ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))() == -9"""
        self.assertEqual(self.python(by_32_bits).stdout.decode(), HOST)

    def test_a_traced_caller_is_left_to_its_tracer(self):
        done = self.shell("strace", "-f", "-o", "/dev/null", self.tools / "caller", "vfork", "heavy", "-c", WHERE + "; exit 3")
        self.assertEqual((done.stdout.decode(), done.returncode), (HOST, 3))

    def test_no_descriptor_left(self):
        """Then it runs as it is, and has not one less."""
        self.both(f"ulimit -n 4; exec caller exec {self.tools}/heavy -c 'echo /proc/self/fd/*; exit 3'",
                  said=b"/proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2 /proc/self/fd/3\n", status=3)

    def test_no_descriptor_more(self):
        line = "caller vfork {} -c 'echo /proc/self/fd/*'"
        here, there = [self.shell(line.format(name), env={"SSI_DISABLE": "1"}).stdout for name in ("light", "heavy")]
        self.assertEqual(here, there)

    def test_relative_paths_and_scripts(self):
        (self.pool.dir / "here").mkdir()
        script(self.pool.dir / "here/heavy", WHERE + "; echo $0 $1")
        self.both(f"cd {self.pool.dir}/here; caller fork ./heavy a", said=b"ssi-agent\n./heavy a\n")
        self.both(f"cd {self.pool.dir}; caller execveat here/heavy a", said=b"ssi-agent\nhere/heavy a\n")

    def test_what_outlives_the_shell_runs_at_home(self):
        began = time.monotonic()
        done = self.shell(f"(sleep 5; exec caller vfork heavy -c '{WHERE}') > {self.pool.dir}/late 2>&1 & exit 3")
        self.assertEqual(done.returncode, 3)
        self.assertLess(time.monotonic() - began, 4)
        late = self.pool.dir / "late"
        self.assertTrue(wait_until(late.read_text, 15))
        self.assertEqual(late.read_text(), HOST)
        self.assertTrue(wait_until(lambda: not any(b"--trace" in said_by(pid, "cmdline") for pid in self.pool.processes()), 5))

    def test_many_at_once(self):
        done = self.shell(f"seq 40 | xargs -P 8 -I N caller vfork heavy -c '{WHERE}'")
        self.assertEqual((done.stdout, done.stderr), (b"ssi-agent\n" * 40, b""))

    def test_signals_to_the_shell_reach_the_command(self):
        shell = subprocess.Popen([str(word) for word in (BUILD / "cli/ssi", "shell", "--trace", "trap 'exit 9' TERM; echo up; while :; do sleep 0.05; done")],
                                 env={**self.pool.env, **self.env}, stdout=subprocess.PIPE)
        self.assertEqual(shell.stdout.readline(), b"up\n")
        shell.terminate()
        self.assertEqual(shell.wait(5), 9)
        shell.stdout.close()


class TraceAsUser(Trace, unittest.TestCase):
    make_pool = staticmethod(lambda: UsersPool(1))


class WrongWords(unittest.TestCase):
    def test_another_programs_listener(self):
        """The deputy would take that one's filter for ours."""
        code = """
            import ctypes, os, sys
            libc = ctypes.CDLL(None)
            words = ctypes.create_string_buffer(bytes([6, 0, 0, 0, 0, 0, 0xff, 0x7f]))
            class Program(ctypes.Structure):
                _fields_ = [("length", ctypes.c_ushort), ("words", ctypes.c_void_p)]
            program = Program(1, ctypes.addressof(words))
            libc.prctl(38, 1, 0, 0, 0)
            os.set_inheritable(libc.syscall(317, 1, 8, ctypes.byref(program)), True)  # seccomp, NEW_LISTENER
            os.execv(sys.argv[1], ["ssi", "shell", "--trace", "echo run"])"""
        done = home.run("python3", "-c", textwrap.dedent(code), BUILD / "cli/ssi", timeout=20)
        self.assertEqual((done.returncode, done.stdout, done.stderr),
                         (1, b"", b"ssi shell: another program listens to execve(2) here already, and one only can\n"))

    def test_one_line(self):
        for words in (("--deep", "--trace"), ("--what",), ("--deep", "--trace=1"), ("--trace", "-x"), ("--tr", "true"), ("--de", "--tr", "true")):
            done = home.ssi("shell", *words)
            self.assertEqual((done.returncode, done.stderr.count(b"\n"), done.stdout), (2, 1, b""), done)
        self.assertEqual(home.ssi("shell", "--", "exit 7").returncode, 7)
        self.assertEqual(home.ssi("shell", "-", "true").returncode, 127)  # a word, as anywhere
        for words in ("--deep", "--trace", "no_new_privs", "set-id"):
            self.assertIn(words.encode(), home.ssi("shell", "--help").stdout)


class DeepAsRoot(AtATerminal, Deep, unittest.TestCase):
    make_pool = staticmethod(lambda: RootsPool(1))

    def test_what_is_mounted_inside_keeps_jobs_home(self):
        """The deputy would serve other files than those that the caller sees."""
        line = f"mount -t tmpfs none {self.pool.work}; caller vfork heavy -c '{WHERE}'; ssirun -v true"
        done = self.shell(line)
        self.assertEqual(done.stdout.decode(), HOST)
        self.assertIn(f"what is mounted at {self.pool.work} is not the same", done.stderr.decode())


class DeepAsUser(Deep, unittest.TestCase):
    make_pool = staticmethod(lambda: UsersPool(1))

    def test_ids_stay(self):
        inside = self.shell("id -u; id -g; cat /proc/self/uid_map | tr -s ' '; grep CapEff /proc/self/status").stdout.decode().split()
        self.assertEqual(inside, [str(test_rootless.UID), str(test_rootless.GID), str(test_rootless.UID), str(test_rootless.UID), "1", "CapEff:", "0" * 16])


if __name__ == "__main__":
    unittest.main()
