# SPDX-License-Identifier: LGPL-2.1-or-later
"""ssirun without a pool: its command line, what it runs at home, and how it starts its deputy."""
import os
import pathlib
import resource
import signal
import subprocess
import sys
import textwrap
import time
import unittest

import handover_peer
from pool import Home, wait_until, without_deputy

TIMEOUT = 300

home = None
bin = None


def setUpModule():
    global home, bin
    home = Home()
    bin = without_deputy(home)


def tearDownModule():
    home.close()


def ssirun(*words, **options):
    return home.run(bin / "ssirun", *words, **options)


def python(code):
    return [sys.executable, "-c", textwrap.dedent(code)]


class OneLine(unittest.TestCase):
    def fails(self, status, text, *words, **options):
        done = ssirun(*words, **options)
        self.assertEqual((done.returncode, done.stdout), (status, b""), done)
        self.assertTrue(done.stderr.startswith(b"ssirun: "), done.stderr)
        self.assertEqual(done.stderr.count(b"\n"), 1, done.stderr)
        self.assertIn(text, done.stderr.decode())


class CommandLine(OneLine):
    def test_wrong_options(self):
        self.fails(125, "'--nonsense'", "--nonsense", "true")
        self.fails(125, "'-x'", "-vx", "true")
        self.fails(125, "--cpus", "--cpus")
        self.fails(125, "--local", "--local=3", "true")
        self.fails(125, "command is missing")
        self.fails(125, "contradict", "--local", "--remote", "true")
        for wrong in ("--cpus=0", "--cpus=-1", "--cpus=x", "--mem=4Q", "--mem=", "--mem=99999999999G", "--retries=1.5",
                      "--wait=-3", "--on="):
            self.fails(125, wrong.split("=")[0], wrong, "true")

    def test_help_and_version(self):
        for word in ("--help", "--version"):
            done = ssirun(word)
            self.assertEqual((done.returncode, done.stderr), (0, b""))
            self.assertTrue(done.stdout)
        for option in ("--on", "--local", "--remote", "--wait", "--cpus", "--mem", "--retries", "--dry-run", "-v"):
            self.assertIn(option, ssirun("--help").stdout.decode())

    def test_options_end_at_the_command(self):
        done = ssirun("echo", "--local", "-v", "--")
        self.assertEqual(done.stdout, b"--local -v --\n")
        self.assertEqual(ssirun("--", "echo", "-n").stdout, b"")


class AtHome(OneLine):
    def test_it_is_as_if_ssirun_had_not_been_typed(self):
        script = "echo out; echo err >&2; cat; pwd; umask; nice; trap; exit 7"
        here = home.run("sh", "-c", script, stdin=None, input=b"in")
        for options in ((), ("--local",), ("--wait", "--cpus", "2", "--mem", "1G", "--retries", "0")):
            there = ssirun(*options, "sh", "-c", script, stdin=None, input=b"in")
            self.assertEqual((there.returncode, there.stdout, there.stderr), (7, here.stdout, here.stderr))

    def test_environment_is_untouched(self):
        ours = {"SSI_LOG": "debug", "SSI_CONFIG": "/x", "LD_PRELOAD": str(bin / "libssi-shim.so")}
        self.assertEqual(sorted(ssirun("env", env=ours).stdout.split()), sorted(home.run("env", env=ours).stdout.split()))

    def test_death_by_signal(self):
        self.assertEqual(ssirun("sh", "-c", "kill -TERM $$").returncode, -signal.SIGTERM)

    def test_same_process_and_signals_as_before(self):
        code = python("import signal,os; print(signal.getsignal(signal.SIGUSR1) == signal.SIG_IGN,"
                      "signal.pthread_sigmask(signal.SIG_BLOCK, []) == {signal.SIGUSR2}, os.listdir('/proc/self/fd'))")

        def change():
            signal.signal(signal.SIGUSR1, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_SETMASK, [signal.SIGUSR2])

        here = home.run(*code, preexec_fn=change).stdout
        self.assertIn(b"True True", here)
        self.assertEqual(ssirun(*code, preexec_fn=change).stdout, here)

    def test_verbose_and_dry_run_tell_why(self):
        done = ssirun("-v", "--local", "true")
        self.assertEqual((done.returncode, done.stderr), (0, b"ssirun: home: --local\n"))
        done = ssirun("--dry-run", "touch", "made")
        self.assertEqual((done.returncode, done.stdout), (0, b"home: ssi-deputy is not installed\n"))
        self.assertFalse((home.work / "made").exists())
        self.assertEqual(ssirun("--dry-run", "true", env={"SSI_DISABLE": "1"}).stdout, b"home: SSI_DISABLE is set\n")

    def test_never_at_home(self):
        self.fails(125, "not installed", "--remote", "touch", "made")
        self.fails(125, "not installed", "--on", "guest1", "touch", "made")
        self.fails(125, "SSI_DISABLE", "--remote", "touch", "made", env={"SSI_DISABLE": "1"})
        self.assertFalse((home.work / "made").exists())

    def test_not_found_and_not_executable(self):
        (home.work / "plain").write_text("no program")
        (home.work / "folder").mkdir(exist_ok=True)
        for local in ((), ("--local",)):
            self.fails(127, "no-such: command not found", *local, "no-such")
            self.fails(127, "./no-such: No such file", *local, "./no-such")
            self.fails(127, ": command not found", *local, "")
            self.fails(126, "./plain: Permission denied", *local, "./plain")
            self.fails(126, "./folder: Permission denied", *local, "./folder")
            self.fails(126, "plain: Permission denied", *local, "plain", env={"PATH": f"/nowhere:{home.work}"})
            self.fails(126, "Not a directory", *local, "./plain/x")

    def test_path_is_searched_as_execvp_does(self):
        for name in ("a", "b"):
            (home.work / name).mkdir(exist_ok=True)
        tool = home.work / "b/ssi-tool"
        (home.work / "a/ssi-tool").write_text("not executable")
        tool.write_text("#!/bin/sh\necho ran $0\n")
        tool.chmod(0o755)
        self.assertEqual(ssirun("ssi-tool", env={"PATH": "a:b"}).stdout, b"ran b/ssi-tool\n")
        self.assertEqual(ssirun("ssi-tool", env={"PATH": ""}, cwd=home.work / "b").stdout, b"ran ssi-tool\n")
        # No format: a shell script, as for execvp.
        tool.write_text("echo formless $1")
        self.assertEqual(ssirun("./b/ssi-tool", "x").stdout, b"formless x\n")
        self.assertEqual(ssirun("--exec", "b/ssi-tool", "--", "other", "x").stdout, b"formless x\n")

    def test_exec_form_keeps_argv0(self):
        self.assertEqual(ssirun("--exec", "/bin/sh", "--", "name", "-c", "echo $0").stdout, b"name\n")
        self.fails(127, "/no/such", "--exec", "/no/such", "--", "x")

    def test_deleted_directory(self):
        gone = home.work / "gone"
        gone.mkdir()
        script = f"cd {gone}; rmdir {gone}; {bin}/ssirun sh -c 'echo ran; exit 3'"
        done = home.run("sh", "-c", script)
        self.assertEqual((done.returncode, done.stdout), (3, b"ran\n"))

    def test_closed_streams_stay_closed(self):
        script = "for f in 0 1 2; do [ -e /proc/self/fd/$f ] || echo $f; done >list"
        for closed in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
            home.run("sh", "-c", f"sh -c '{script}' {closed}; mv list here; {bin}/ssirun sh -c '{script}' {closed}")
            self.assertEqual((home.work / "list").read_text(), (home.work / "here").read_text())

    def test_large_arguments(self):
        text = "x" * 120_000
        done = ssirun("sh", "-c", "echo ${#1} $#", "sh", *[text] * 15)
        self.assertEqual(done.stdout, b"120000 15\n")

    def test_foreign_runtime_directory_is_not_used(self):
        wrong = home.dir / "wrong"
        (wrong / "ssi").mkdir(parents=True)
        (wrong / "ssi").chmod(0o777)
        env = {"XDG_RUNTIME_DIR": str(wrong)}
        done = ssirun("echo", "x", env=env)
        self.assertEqual((done.returncode, done.stdout), (0, b"x\n"))
        self.assertIn(b"chmod 700", done.stderr)
        self.assertEqual(ssirun("--exec", "/bin/echo", "--", "echo", env=env).stderr, b"")
        self.fails(125, "chmod 700", "--remote", "true", env=env)

    def test_a_dead_socket_is_no_deputy(self):
        listener = handover_peer.Listener(str(home.dir / "run"))
        listener.socket.close()
        try:
            self.assertEqual(ssirun("echo", "x").stdout, b"x\n")
            self.fails(125, "not installed", "--remote", "true")
        finally:
            os.unlink(listener.path)


FAKE_DEPUTY = f"""#!{sys.executable}
import os, resource, signal, sys, time
sys.path.insert(0, {str(pathlib.Path(__file__).parent)!r})
import handover_peer
state = repr(dict(argv=sys.argv, env=dict(os.environ), cwd=os.getcwd(), sid=os.getsid(0) != os.getppid(),
        fds=sorted(fd for fd in range(64) if os.path.exists(f"/proc/self/fd/{{fd}}") and fd != 3),
        null=[os.readlink(f"/proc/self/fd/{{fd}}") for fd in range(3)], leader=os.getsid(0) != int(CALLER_SID),
        ignored=[n for n in (1, 2, 15, 10) if signal.getsignal(n) == signal.SIG_IGN],
        blocked=list(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
        nofile=resource.getrlimit(resource.RLIMIT_NOFILE)))
with open("MARK", "a") as mark:
    mark.write(state + "\\n")
BEHAVE
"""
SERVE = """
listener = handover_peer.Listener(os.environ["XDG_RUNTIME_DIR"])
os.write(3, bytes(1))
try:
    while True:
        peer = listener.accept()
        run = peer.run()
        peer.exited(11 << 8)
        listener.socket.settimeout(1)
except TimeoutError:
    listener.close()
"""


class StartingTheDeputy(OneLine):
    def setUp(self):
        self.mark = home.dir / "mark"
        self.deputy = bin / "ssi-deputy"

    def tearDown(self):
        self.deputy.unlink(missing_ok=True)
        self.mark.unlink(missing_ok=True)
        socket = home.dir / "run/ssi/deputy.sock"
        self.assertTrue(wait_until(lambda: not socket.exists(), 10))

    def install(self, behave):
        text = FAKE_DEPUTY.replace("BEHAVE", behave).replace("MARK", str(self.mark))
        self.deputy.write_text(text.replace("CALLER_SID", str(os.getsid(0))))
        self.deputy.chmod(0o755)

    def starts(self):
        return [eval(line) for line in self.mark.read_text().splitlines()]

    def test_it_starts_with_clean_state(self):
        self.install(SERVE)

        def change():
            resource.setrlimit(resource.RLIMIT_NOFILE, (100, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_SETMASK, [signal.SIGUSR2])
            os.dup2(1, 20)

        done = ssirun("true", env={"SECRET": "x", "LC_ALL": "C", "SSI_CONFIG": "/c"}, preexec_fn=change)
        self.assertEqual(done.returncode, 11, done)
        (start,) = self.starts()
        self.assertEqual(start["argv"][1:], ["--ready-fd", "3"])
        self.assertEqual((start["cwd"], start["leader"]), ("/", True))
        self.assertEqual((start["fds"], start["null"]), ([0, 1, 2], ["/dev/null"] * 3))
        self.assertEqual((start["ignored"], start["blocked"]), ([], []))
        self.assertEqual(start["nofile"][0], start["nofile"][1])
        self.assertEqual(start["env"]["XDG_RUNTIME_DIR"], str(home.dir / "run"))
        self.assertEqual(start["env"]["LC_ALL"], "C")
        self.assertFalse(start["env"].keys() & {"SECRET", "SSI_CONFIG", "LD_PRELOAD"})

    def test_many_at_once_start_one(self):
        self.install(SERVE)
        children = [subprocess.Popen([bin / "ssirun", "true"], env=home.env) for _ in range(8)]
        self.assertEqual([child.wait(20) for child in children], [11] * 8)
        self.assertEqual(len(self.starts()), 1)

    def test_one_that_ends_at_once(self):
        self.install("sys.exit(1)")
        self.assertEqual(ssirun("echo", "home").stdout, b"home\n")
        self.fails(125, "ended at its start", "--remote", "true")

    def test_one_that_is_never_ready(self):
        self.install("time.sleep(5)")
        began = time.monotonic()
        self.assertEqual(ssirun("echo", "home").stdout, b"home\n")
        self.assertLess(time.monotonic() - began, 4.5)
        time.sleep(2.5)


if __name__ == "__main__":
    unittest.main()
