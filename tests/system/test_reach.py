# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a preload cannot reach: `ssi shims`, `ssi shell --deep` and `ssi shell --trace`."""
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import textwrap
import time
import unittest

import test_rootless
from pool import BUILD, SSI, SSIRUN, Home, Pool, wait_until
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


def script(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n" + text + "\n")
    path.chmod(0o755)
    return path


class PoolShims(unittest.TestCase):
    """A link on PATH, for callers that no preload reaches."""

    def test_a_static_caller_is_diverted_by_a_link(self):
        with RootsPool(1) as pool:
            tools, links = pool.dir / "tools", pool.dir / "links"
            callers(tools)
            pool.configure(REMOTE)
            self.assertEqual(pool.ssi("shims", "install", links).returncode, 0)
            env = {"PATH": f"{links}:{tools}:{pool.env['PATH']}"}
            for words in (("caller", "vfork"), ("gocaller", "0")):
                done = pool.run("env", *words, "heavy", "-c", Reached.WHERE + "; exit 3", env=env)
                self.assertEqual((done.stdout, done.returncode, done.stderr), (b"ssi-agent\n", 3, b""))
            done = pool.run(SSIRUN, "--remote", "heavy", "-c", Reached.WHERE, env=env)
            self.assertEqual((done.stdout, done.stderr), (b"ssi-agent\n", b""))
            # A job finds the link as well, in a guest, where it is the program behind it.
            done = pool.run(SSIRUN, "--remote", "sh", "-c", f"heavy -c '{Reached.WHERE}'", env=env)
            self.assertEqual((done.stdout, done.stderr), (b"ssi-agent\n", b""))


class Shims(unittest.TestCase):
    """Links on PATH. Nothing is asked of a deputy here: SSI_DISABLE."""

    def setUp(self):
        self.dir = home.dir / self.id().rsplit(".", 1)[-1][:20]
        self.links, self.real = self.dir / "links", self.dir / "real"
        script(self.real / "heavy", 'echo "heavy $0 $*"')
        self.path = f"{self.links}:{self.real}:/usr/bin:/bin"
        self.env = {"PATH": self.path, "SSI_DISABLE": "1"}
        home.configure('[defaults]\nshipped = false\n[[app]]\nmatch = ["heavy", "gcc"]\n')

    def install(self, *names):
        done = home.ssi("shims", "install", self.links, *names)
        self.assertEqual(done.returncode, 0, done)
        return done

    def executed(self, *words, path):
        """What runs, one after the other: the paths of the successful execve(2) in /tmp and in the wrappers' directories."""
        log = self.dir / "strace"
        done = home.run("strace", "-f", "-qq", "-s", "300", "-e", "trace=execve", "-o", log, *words,
                        env={**self.env, "PATH": path, "CCACHE_DIR": str(self.dir / "cache"), "DISTCC_HOSTS": "localhost",
                             "DISTCC_DIR": str(self.dir), "DISTCC_NO_REWRITE_CROSS": "1",
                             "HOME": str(self.dir), "ICECC_VERSION": "", "ICECC": "disable"})
        self.assertEqual(done.returncode, 0, done)
        paths = re.findall(r'execve\("([^"]+)".* = 0$', log.read_text(), re.M)
        names = {self.links: "shim", self.real: "real"}
        return [names.get(pathlib.Path(path).parent) or path.split("/")[3] for path in paths
                if pathlib.Path(path).parent in names or path.startswith(("/usr/lib/ccache/", "/usr/lib/distcc/", "/usr/lib/icecc/"))]

    def test_links_are_made_and_removed(self):
        done = self.install()
        self.assertIn(f"2 links in {self.links}".encode(), done.stdout)
        self.assertIn(f'PATH="{self.links}:$PATH"'.encode(), done.stdout)
        self.assertEqual(sorted(os.listdir(self.links)), ["gcc", "heavy"])
        self.assertEqual(os.readlink(self.links / "gcc"), SSIRUN)
        (self.links / "gcc").unlink()
        (self.links / "gcc").symlink_to("/no/longer/there/ssirun")
        (self.links / "else").write_text("mine")
        self.install()
        self.assertEqual(os.readlink(self.links / "gcc"), SSIRUN)
        done = home.ssi("shims", "remove", self.links, "gcc")
        self.assertEqual((done.returncode, done.stdout), (0, f"1 link removed from {self.links}\n".encode()))
        self.assertEqual(home.ssi("shims", "remove", self.links).returncode, 0)
        self.assertEqual(os.listdir(self.links), ["else"])

    def test_what_is_not_ours_is_never_overwritten(self):
        self.links.mkdir()
        (self.links / "heavy").symlink_to(self.real / "heavy")
        for words in (("install", self.links), ("install", self.links, "x", "heavy"), ("remove", self.links, "heavy")):
            done = home.ssi("shims", *words)
            self.assertEqual((done.returncode, done.stderr.count(b"\n")), (1, 1), done)
            self.assertIn(b"heavy: is ", done.stderr)
        self.assertEqual({name: os.readlink(self.links / name) for name in os.listdir(self.links)},
                         {"heavy": str(self.real / "heavy")})

    def test_bad_input_is_one_line(self):
        for words in ((), ("what",), ("install",), ("remove",), ("install", ""), ("install", self.links, "a/b"),
                      ("install", self.links, "ssirun"), ("install", self.links, "ssi-deputy"), ("install", self.links, ""),
                      ("install", f"{self.links}:a"), ("install", "--no")):
            done = home.ssi("shims", *words)
            self.assertEqual((done.returncode, done.stderr.count(b"\n"), done.stdout), (2, 1, b""), (words, done))
        self.assertFalse(self.links.exists())
        for words in (("install", self.real / "heavy"), ("remove", self.links)):
            done = home.ssi("shims", *words)
            self.assertEqual((done.returncode, done.stderr.count(b"\n")), (1, 1), done)

    def test_the_next_program_on_path_runs(self):
        self.install("heavy")
        said = f"heavy {self.real}/heavy a b\n".encode()
        self.assertEqual(home.run("heavy", "a", "b", env=self.env).stdout, said)
        self.assertEqual(home.run(self.links / "heavy", "a", "b", env=self.env).stdout, said)
        self.assertEqual(home.run("sh", "-c", "cd links && ./heavy a b", env=self.env, cwd=self.dir).stdout, said)
        # Also where the links are found by another way, and twice.
        (self.dir / "again").symlink_to(self.links)
        path = f"{self.dir}/again:{self.path}"
        self.assertEqual(home.run("heavy", "a", "b", env={**self.env, "PATH": path}).stdout, said)
        more = self.dir / "more"
        self.assertEqual(home.ssi("shims", "install", more, "heavy").returncode, 0)
        self.assertEqual(home.run("heavy", "a", "b", env={**self.env, "PATH": f"{more}:{self.path}"}).stdout, said)

    def test_ssiruns_words_are_the_programs_here(self):
        self.install("heavy")
        self.assertEqual(home.run("heavy", "--remote", "--exec", "--version", env=self.env).stdout,
                         f"heavy {self.real}/heavy --remote --exec --version\n".encode())

    def test_argv_0_is_kept(self):
        self.install("cat")
        shutil.copy("/bin/cat", self.real / "cat")
        line = "exec -a other cat /proc/self/cmdline"
        self.assertEqual(home.run("bash", "-c", line, env=self.env).stdout, b"other\0/proc/self/cmdline\0")

    def test_a_link_called_by_its_path_gives_the_programs_path(self):
        self.install("cat")
        shutil.copy("/bin/cat", self.real / "cat")
        done = home.run(self.links / "cat", "/proc/self/cmdline", env=self.env)
        self.assertEqual(done.stdout, f"{self.real}/cat\0/proc/self/cmdline\0".encode())

    def test_a_script_whose_interpreter_is_a_link(self):
        self.install("heavy")
        text = self.dir / "text"
        text.write_text(f"#!{self.links}/heavy\n")
        text.chmod(0o755)
        self.assertEqual(home.run(text, env=self.env).stdout, f"heavy {self.real}/heavy {text}\n".encode())

    def test_nothing_behind_the_link(self):
        self.install("nothing")
        done = home.run("nothing", env=self.env)
        self.assertEqual((done.returncode, done.stderr), (127, b"ssirun: nothing: command not found\n"))
        (self.real / "nothing").write_text("")
        done = home.run("nothing", env=self.env)
        self.assertEqual((done.returncode, done.stderr), (126, b"ssirun: nothing: Permission denied\n"))

    def compile_by(self, *directories):
        (self.dir / "a.c").write_text("int main(void) { return 0; }\n")
        script(self.real / "gcc", 'exec /usr/bin/gcc "$@"')
        self.install("gcc")
        path = ":".join(map(str, [*directories, self.real, "/usr/bin", "/bin"]))
        shown = self.executed("gcc", "--version", path=path)
        compiled = self.executed("gcc", "-c", self.dir / "a.c", "-o", self.dir / "a.o", path=path)
        self.assertTrue((self.dir / "a.o").exists())
        return shown, compiled

    def test_ccache_behind_the_links(self):
        """ccache gets PATH without them, so what it takes for the compiler, and judges by its time, is the compiler."""
        shown, compiled = self.compile_by(self.links, "/usr/lib/ccache")
        self.assertEqual(shown, ["shim", "ccache", "real"])
        self.assertEqual(compiled[:3], ["shim", "ccache", "real"])
        self.assertEqual(set(compiled[3:]) - {"real"}, set())

    def test_ccache_before_the_links(self):
        shown, compiled = self.compile_by("/usr/lib/ccache", self.links)
        self.assertEqual(shown, ["ccache", "shim", "real"])
        self.assertEqual(compiled, ["ccache"] + ["shim", "real"] * (len(compiled) // 2))

    def test_distcc_on_either_side(self):
        for directories, order in (((self.links, "/usr/lib/distcc"), ["shim", "distcc", "real"]),
                                   (("/usr/lib/distcc", self.links), ["distcc", "shim", "real"])):
            self.assertEqual(self.compile_by(*directories)[1], order)

    def test_a_chain_of_three(self):
        for directories, order in (((self.links, "/usr/lib/ccache", "/usr/lib/distcc"), ["shim", "ccache", "distcc", "real"]),
                                   (("/usr/lib/ccache", self.links, "/usr/lib/distcc"), ["ccache", "shim", "distcc", "real"]),
                                   (("/usr/lib/distcc", self.links, "/usr/lib/ccache"), ["distcc", "shim", "ccache", "real"])):
            self.assertEqual(self.compile_by(*directories)[0], order)

    def test_icecc_on_either_side(self):
        for directories, order in (((self.links, "/usr/lib/icecc/bin"), ["shim", "icecc", "real"]),
                                   (("/usr/lib/icecc/bin", self.links), ["icecc", "shim", "real"])):
            self.assertEqual(self.compile_by(*directories)[0], order)

    def test_a_wrapper_that_nobody_knows_goes_round_ten_times_at_most(self):
        """It looks for the next of its name that it isn't itself, and finds the link."""
        self.install("heavy")
        wrap = self.dir / "wrap"
        script(wrap / "heavy", f'echo wrap\nIFS=:\nfor d in $PATH; do [ "$d" = {wrap} ] || [ ! -x "$d/heavy" ] || exec "$d/heavy" "$@"; done')
        done = home.run("heavy", "a", env={**self.env, "PATH": f"{self.links}:{wrap}:{self.real}:/usr/bin:/bin"})
        self.assertEqual(done.stdout, b"wrap\n" * 11 + f"heavy {self.real}/heavy a\n".encode())



C_CALLER = r"""
#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
extern char** environ;
int main(int argc, char** argv) {  /* WAY PROGRAM ARGUMENT... */
  pid_t pid = 0;
  char** words = argv + 2;
  errno = 0;
  if (!strcmp(argv[1], "exec")) execve(words[0], words, environ);
  else if (!strcmp(argv[1], "bare")) { char* none[] = {NULL}; execve(words[0], words, none); }
  else if (!strcmp(argv[1], "spawn")) errno = posix_spawnp(&pid, words[0], NULL, NULL, words, environ);
  else if (!strcmp(argv[1], "vfork")) { if (!(pid = vfork())) { execvp(words[0], words); _exit(errno); } }
  else if (!strcmp(argv[1], "fork")) { if (!(pid = fork())) { execvp(words[0], words); _exit(errno); } }
  else if (!strcmp(argv[1], "execveat")) { if (!(pid = fork())) { syscall(SYS_execveat, -100, words[0], words, environ, 0); _exit(errno); } }
  if (errno) return errno;
  int status = 0;
  waitpid(pid, &status, 0);
  if (WIFSIGNALED(status)) return 200 + WTERMSIG(status);
  return WEXITSTATUS(status);
}
"""

GO_CALLER = r"""
package main

import (
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
)

// COUNT PROGRAM ARGUMENT...: so many at once; 0: becomes it.
func main() {
	count := 0
	fmt.Sscan(os.Args[1], &count)
	path, err := exec.LookPath(os.Args[2])
	if err != nil {
		panic(err)
	}
	if count == 0 {
		panic(syscall.Exec(path, os.Args[2:], os.Environ()))
	}
	var all sync.WaitGroup
	status := make([]int, count)
	for i := 0; i < count; i++ {
		all.Add(1)
		go func(i int) {
			defer all.Done()
			command := exec.Command(path, os.Args[3:]...)
			command.Stdout, command.Stderr = os.Stdout, os.Stderr
			if command.Run() != nil {
				status[i] = command.ProcessState.ExitCode()
			}
		}(i)
	}
	all.Wait()
	fmt.Println(status)
}
"""


def said_by(pid, file):
    try:
        return pathlib.Path(f"/proc/{pid}/{file}").read_bytes()
    except OSError:  # it has ended
        return b""


REMOTE = '[defaults]\nshipped = false\n[[app]]\nmatch = ["heavy"]\npolicy = "remote"\n'
HOST = pathlib.Path("/proc/1/comm").read_text()


def compile_callers(folder):
    """Static programs that start others, in C and in Go."""
    folder.mkdir()
    (folder / "caller.c").write_text(C_CALLER)
    subprocess.run(["gcc", "-static", "-O1", "-w", folder / "caller.c", "-o", folder / "caller"], check=True)
    (folder / "gocaller.go").write_text(GO_CALLER)
    subprocess.run(["go", "build", "-o", folder / "gocaller", folder / "gocaller.go"], check=True, cwd=folder,
                   env={**os.environ, "GOFLAGS": "-mod=mod", "GOCACHE": str(home.dir / "gocache"), "CGO_ENABLED": "0", "HOME": str(folder)})
    for name in ("heavy", "light"):
        shutil.copy("/bin/dash", folder / name)


def callers(folder):
    """These programs in a folder of a test's own, for any user; compiled once."""
    compiled = home.dir / "callers"
    if not compiled.exists():
        compile_callers(compiled)
    shutil.copytree(compiled, folder)


class Reached:
    """What both shells do: a `heavy` that anybody starts runs in the guest; it prints who its first process is."""

    WHERE = "read name < /proc/1/comm; echo $name"

    @classmethod
    def setUpClass(cls):
        cls.pool = cls.make_pool()
        cls.addClassCleanup(cls.pool.__exit__, None)
        cls.pool.__enter__()
        cls.tools = cls.pool.dir / "tools"
        callers(cls.tools)
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
                self.both("caller", way, program, "-c", self.WHERE + "; exit 3", said=b"ssi-agent\n", status=3)
                self.both("caller", way, program, "-c", "kill -KILL $$", said=b"", status=209)
        for way in ("exec", "bare"):
            self.both("caller", way, self.tools / "heavy", "-c", self.WHERE + "; exit 4", said=b"ssi-agent\n", status=4)
        self.assertEqual(self.shell("caller", "exec", self.tools / "heavy", "-c", "kill -TERM $$").returncode, -15)

    def test_a_go_caller(self):
        self.both("gocaller", 1, "heavy", "-c", self.WHERE + "; exit 5", said=b"ssi-agent\n[5]\n")
        self.both("gocaller", 6, "heavy", "-c", self.WHERE, said=b"ssi-agent\n" * 6 + b"[0 0 0 0 0 0]\n")
        self.both("gocaller", 0, "heavy", "-c", self.WHERE + "; exit 6", said=b"ssi-agent\n", status=6)

    def test_dynamic_callers_as_ever(self):
        self.both(f"heavy -c '{self.WHERE}'; exit 7", said=b"ssi-agent\n", status=7)
        self.both("env", "-i", self.tools / "heavy", "-c", self.WHERE, said=b"ssi-agent\n")

    def test_what_is_not_on_the_list_is_untouched(self):
        for words in (("caller", "vfork"), ("gocaller", 0), ("gocaller", 0, "caller", "exec")):
            done = self.shell(*words, self.tools / "light", "-c", self.WHERE + "; readlink /proc/$$/exe; exit 3")
            self.assertEqual((done.stdout.decode(), done.returncode), (f"{HOST}{self.tools}/light\n", 3))
        # And fails as it does outside.
        for name in ("missing", self.tools / "caller.c", self.tools):
            for way in ("exec", "vfork", "spawn"):
                outside = self.pool.run(self.tools / "caller", way, name, env=self.env)
                self.assertEqual(self.shell("caller", way, name).returncode, outside.returncode, (way, name))

    def test_at_home_it_is_the_program_itself(self):
        for words in (("caller", "exec", self.tools / "heavy"), ("caller", "vfork", "heavy"), ("gocaller", 0, "heavy")):
            done = self.shell(*words, "-c", self.WHERE + "; cat /proc/$$/cmdline; readlink /proc/$$/exe; exit 3", "a b", env={"SSI_DISABLE": "1"})
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
            done = self.shell(self.pool.build / "cli/ssi", "shell", *words, "caller", "vfork", "heavy", "-c", self.WHERE)
            self.assertEqual((done.stdout, done.returncode), (b"ssi-agent\n", 0), done)

    def test_a_job_knows_nothing_of_it(self):
        self.both("caller", "vfork", "heavy", "-c", "echo ${SSI_TRACE-no} ${SSI_SHIM-no} ${LD_PRELOAD-no} /proc/self/fd/*",
                  said=b"no no no /proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2 /proc/self/fd/3\n")

    def test_no_deputy_is_started_inside(self):
        """It would stand where no caller outside stands, and in a deep shell serve ssirun for the programs. Outside one is, by a keeper."""
        bare = f"caller bare {self.tools}/heavy -c '{self.WHERE}'"
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

    def test_the_history_has_it(self):
        self.shell("caller", "vfork", "heavy", "-c", "exit 17")
        jobs = json.loads(self.pool.ssi("history", "--json", "--limit", "1").stdout)
        jobs = jobs["jobs"] if isinstance(jobs, dict) else jobs
        self.assertIn("guest1", json.dumps(jobs[0]))
        self.assertIn("17", json.dumps(jobs[0]))


def open_shell(words, env, work):
    return subprocess.Popen([str(word) for word in words], env=env, cwd=work, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


class RootsPool(Pool):
    build, prefix = BUILD, []

    def start_shell(self, *words, env):
        return open_shell([*self.prefix, self.build / "cli/ssi", "shell", *words], env, self.work)


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
                          f"\nos.execv('{self.tools}/caller', ['caller', 'vfork', 'heavy', '-c', '{self.WHERE}'])")

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

    def test_a_traced_caller_is_left_to_its_tracer(self):
        done = self.shell("strace", "-f", "-o", "/dev/null", self.tools / "caller", "vfork", "heavy", "-c", self.WHERE + "; exit 3")
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
        script(self.pool.dir / "here/heavy", self.WHERE + "; echo $0 $1")
        self.both(f"cd {self.pool.dir}/here; caller fork ./heavy a", said=b"ssi-agent\n./heavy a\n")
        self.both(f"cd {self.pool.dir}; caller execveat here/heavy a", said=b"ssi-agent\nhere/heavy a\n")

    def test_what_outlives_the_shell_runs_at_home(self):
        began = time.monotonic()
        done = self.shell(f"(sleep 5; exec caller vfork heavy -c '{self.WHERE}') > {self.pool.dir}/late 2>&1 & exit 3")
        self.assertEqual(done.returncode, 3)
        self.assertLess(time.monotonic() - began, 4)
        late = self.pool.dir / "late"
        self.assertTrue(wait_until(late.read_text, 15))
        self.assertEqual(late.read_text(), HOST)
        self.assertTrue(wait_until(lambda: not any(b"--trace" in said_by(pid, "cmdline") for pid in self.pool.processes()), 5))

    def test_many_at_once(self):
        done = self.shell(f"seq 40 | xargs -P 8 -I N caller vfork heavy -c '{self.WHERE}'")
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
        for words in (("--deep", "--trace"), ("--what",), ("--deep", "--trace=1"), ("--trace", "-x")):
            done = home.ssi("shell", *words)
            self.assertEqual((done.returncode, done.stderr.count(b"\n"), done.stdout), (2, 1, b""), done)
        self.assertEqual(home.ssi("shell", "--", "exit 7").returncode, 7)
        for words in ("--deep", "--trace", "no_new_privs", "set-id"):
            self.assertIn(words.encode(), home.ssi("shell", "--help").stdout)


class DeepAsRoot(AtATerminal, Deep, unittest.TestCase):
    make_pool = staticmethod(lambda: RootsPool(1))

    def test_what_is_mounted_inside_keeps_jobs_home(self):
        """The deputy would serve other files than those that the caller sees."""
        line = f"mount -t tmpfs none {self.pool.work}; caller vfork heavy -c '{self.WHERE}'; ssirun -v true"
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
