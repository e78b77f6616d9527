# SPDX-License-Identifier: LGPL-2.1-or-later
"""ssirun and a deputy that the test plays: the hand-over, streams and signals between the two."""
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import sys
import time
import unittest

import handover_peer
from handover_case import HandoverCase
from pool import wait_until

TIMEOUT = 300


class Handover(HandoverCase):
    def test_what_is_handed_over(self):
        def change():
            os.umask(0o077)
            os.nice(3)
            resource.setrlimit(resource.RLIMIT_NOFILE, (100, 200))
            signal.signal(signal.SIGUSR1, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_SETMASK, [signal.SIGUSR2])
            os.close(0)
            os.dup2(1, 7)

        env = {"SSI_LOG": "x", "SSI_CONFIG": "/c", "SSI_SCHEDULER": "h:1", "SSI_OTHER": "kept", "EMPTY": "",
               "LD_PRELOAD": f"{self.bin}/libssi-shim.so"}
        child, peer, run = self.start("--on", "guest2", "-v", "--cpus", "3", "--mem", "2G", "--wait=5", "echo", "a b", "",
                                      env=env, preexec_fn=change, close_fds=False)
        self.assertEqual((run.path, run.argv), (shutil.which("echo").encode(), [b"echo", b"a b", b""]))
        self.assertEqual((run.cwd, run.guest), (str(self.home.work).encode(), b"guest2"))
        self.assertEqual((run.config, run.scheduler), (b"/c", b"h:1"))
        self.assertEqual((run.umask, run.cpus, run.memory, run.wait_seconds), (0o077, 3, 2 << 30, 5))
        self.assertEqual(run.nice, os.nice(0) + 3)
        self.assertEqual(run.limits[resource.RLIMIT_NOFILE], (100, 200))
        self.assertTrue(run.ignored & 1 << signal.SIGUSR1 - 1)
        self.assertEqual(run.blocked, 1 << signal.SIGUSR2 - 1)
        self.assertEqual(sorted(run.fds), [1, 2, 7])
        wanted = handover_peer.REMOTE | handover_peer.VERBOSE | handover_peer.WAIT | handover_peer.HAS_CWD
        self.assertEqual(run.flags, wanted)
        # SSI_OTHER is the user's own.
        expected = {f"{k}={v}".encode() for k, v in {**self.home.env, "SSI_OTHER": "kept", "EMPTY": ""}.items()
                    if k != "LD_PRELOAD"}
        self.assertEqual(set(run.env), expected)
        peer.started(run)
        peer.exited(0, b"guest2: it was fine")
        self.ended(child, 0)
        run.close_fds()
        self.assertEqual(child.stderr.read(), b"ssirun: guest2: it was fine\n")

    def test_only_our_entry_leaves_ld_preload(self):
        for before, after in (("/a.so:X:/b.so", b"/a.so:/b.so"), ("X /a.so", b"/a.so"), ("X", None),
                              ("/a.so /b.so", b"/a.so /b.so"), ("/notlibssi-shim.so", b"/notlibssi-shim.so")):
            # ld.so says on stderr that it cannot load these.
            env = {"LD_PRELOAD": before.replace("X", f"{self.bin}/libssi-shim.so")}
            child, peer, run = self.start("true", env=env)
            found = [it[11:] for it in run.env if it.startswith(b"LD_PRELOAD=")]
            self.assertEqual(found, [after] if after else [])
            peer.exited(0)
            self.ended(child, 0)

    def test_the_exec_form_is_diverted_and_ps_shows_the_command(self):
        child, peer, run = self.start("--exec", "/bin/sleep", "--", "sleep", "77")
        self.assertTrue(run.flags & handover_peer.DIVERTED)
        self.assertEqual((run.path, run.argv), (b"/bin/sleep", [b"sleep", b"77"]))
        peer.started(run)
        proc = pathlib.Path(f"/proc/{child.pid}")
        self.assertTrue(wait_until(lambda: proc.joinpath("comm").read_text() == "sleep\n", 5))
        self.assertEqual(proc.joinpath("cmdline").read_bytes().rstrip(b"\0"), b"sleep\x0077")
        peer.exited(0)
        self.ended(child, 0)

    def test_exit_status_and_death(self):
        for code in (0, 1, 125, 255):
            child, peer, run = self.start("true")
            peer.started(run)
            peer.exited(code << 8)
            self.ended(child, code)
            run.close_fds()
            self.assertEqual(child.stderr.read(), b"")
        for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV, signal.SIGPIPE, signal.SIGINT, 40):
            child, peer, run = self.start("true")
            peer.started(run)
            peer.exited(int(number))
            self.ended(child, -number)

    def test_failed_and_placed(self):
        child, peer, run = self.start("true")
        peer.say(handover_peer.FAILED, (125).to_bytes(4, "little") + b"no guest is up")
        self.ended(child, 125)
        run.close_fds()
        self.assertEqual(child.stderr.read(), b"ssirun: no guest is up\n")
        child, peer, run = self.start("--dry-run", "true")
        self.assertTrue(run.flags & handover_peer.DRY_RUN)
        peer.say(handover_peer.PLACED, b"guest1: idle")
        self.ended(child, 0)
        run.close_fds()
        self.assertEqual(child.stdout.read(), b"guest1: idle\n")

    def test_home(self):
        child, peer, run = self.start("-v", "sh", "-c", "cat; echo err >&2; exit 4")
        peer.say(handover_peer.HOME, b"all guests are busy", list(run.fds.values()))
        run.close_fds()
        out, err = child.communicate(b"input", 10)
        self.assertEqual((child.returncode, out, err), (4, b"input", b"ssirun: home: all guests are busy\nerr\n"))

    def test_home_after_the_start_puts_the_streams_back(self):
        child, peer, run = self.start("sh", "-c", "cat; echo $0 $1 >&2; exit 4", "zero", "one")
        peer.started(run)
        self.assertTrue(wait_until(lambda: not os.path.exists(f"/proc/{child.pid}/fd/0"), 5))
        peer.say(handover_peer.HOME, b"the guest was lost", list(run.fds.values()))
        run.close_fds()
        out, err = child.communicate(b"input", 10)
        self.assertEqual((child.returncode, out, err), (4, b"input", b"zero one\n"))

    def test_a_dying_deputy(self):
        child, peer, run = self.start("echo", "at home")
        peer.close()
        run.close_fds()
        self.assertEqual((child.stdout.read(), child.wait(10)), (b"at home\n", 0))
        child, peer, run = self.start("--remote", "echo", "at home")
        peer.close()
        run.close_fds()
        self.assertEqual((child.stdout.read(), child.wait(10)), (b"", 125))
        child, peer, run = self.start("echo", "at home")
        peer.started(run)
        peer.close()
        self.ended(child, 125)
        run.close_fds()
        self.assertEqual(child.stdout.read(), b"")
        self.assertEqual(child.stderr.read(), b"ssirun: the deputy died\n")

    def test_a_deputy_that_talks_nonsense(self):
        child, peer, run = self.start("echo", "at home")
        peer.socket.sendall(b"\xff" * 8)
        run.close_fds()
        self.assertEqual((child.stdout.read(), child.wait(10)), (b"at home\n", 0))

    def test_streams_belong_to_the_job_alone(self):
        child, peer, run = self.start("cat")
        peer.started(run)
        os.close(run.fds.pop(1))
        self.assertEqual(child.stdout.read(), b"")  # end of file, though ssirun lives
        os.close(run.fds.pop(0))
        # ssirun closes its own a moment after the start.
        self.assertTrue(wait_until(lambda: not os.path.exists(f"/proc/{child.pid}/fd/0"), 5))
        with self.assertRaises(BrokenPipeError):
            os.write(child.stdin.fileno(), b"x")
        self.assertIsNone(child.poll())
        peer.exited(0)
        self.ended(child, 0)

    def test_signals_are_forwarded(self):
        child, peer, run = self.start("true", preexec_fn=lambda: signal.signal(signal.SIGUSR1, signal.SIG_IGN))
        peer.started(run)
        self.assertTrue(wait_until(lambda: not os.path.exists(f"/proc/{child.pid}/fd/0"), 5))
        child.send_signal(signal.SIGUSR1)  # ignored, as the caller has it
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR2, signal.SIGPIPE,
                       signal.SIGWINCH, signal.SIGSEGV, signal.SIGALRM, 34, 35, 36, 64):  # 34 is one that musl keeps to itself
            child.send_signal(number)
            self.assertEqual(peer.signal(), number)
        self.assertIsNone(child.poll())
        peer.exited(9 << 8)
        self.ended(child, 9)

    def test_a_signal_right_behind_the_start_is_forwarded(self):
        for _ in range(30):
            child, peer, run = self.start("true")
            os.kill(child.pid, signal.SIGSTOP)
            os.waitid(os.P_PID, child.pid, os.WSTOPPED | os.WNOWAIT)
            peer.started(run)
            child.send_signal(signal.SIGTERM)
            child.send_signal(signal.SIGCONT)
            got = {peer.signal()}
            if got == {signal.SIGCONT}:
                got.add(peer.signal())
            self.assertIn(signal.SIGTERM, got)
            peer.exited(0)
            self.ended(child, 0)

    def test_who_is_continued_goes_on_before_it_hears_anything_else(self):
        """A job may stop itself at what it hears: that it is continued must not come behind."""
        child, peer, run = self.start("true", process_group=0)
        peer.started(run)
        self.assertTrue(wait_until(lambda: not os.path.exists(f"/proc/{child.pid}/fd/0"), 5))
        os.kill(child.pid, signal.SIGSTOP)
        self.assertTrue(os.waitid(os.P_PID, child.pid, os.WSTOPPED))
        subprocess.run(["kill", "-USR2", str(child.pid)], check=True)
        subprocess.run(["kill", "-CONT", str(child.pid)], check=True)  # from us it would be the deputy's
        self.assertEqual([peer.signal(), peer.signal()], [signal.SIGCONT, signal.SIGUSR2])
        peer.exited(0)
        self.ended(child, 0)

    def test_a_signal_before_the_start_does_what_it_does(self):
        child, peer, run = self.start("true")
        child.send_signal(signal.SIGWINCH)
        child.send_signal(signal.SIGTERM)
        self.ended(child, -signal.SIGTERM)
        with self.assertRaises(EOFError):
            peer.news()

    def test_blocked_signals_reach_who_runs_in_the_end(self):
        block = lambda: signal.pthread_sigmask(signal.SIG_SETMASK, [signal.SIGTERM])
        child, peer, run = self.start("true", preexec_fn=block)
        child.send_signal(signal.SIGTERM)
        peer.started(run)
        self.assertEqual(peer.signal(), signal.SIGTERM)
        peer.exited(0)
        self.ended(child, 0)
        show = [sys.executable, "-c", "import signal; print(signal.sigpending())"]
        child, peer, run = self.start(*show, preexec_fn=block)
        child.send_signal(signal.SIGTERM)
        time.sleep(0.1)
        peer.say(handover_peer.HOME, b"busy")
        run.close_fds()
        self.assertIn(b"SIGTERM", child.communicate(timeout=10)[0])

    def test_glibcs_first_real_time_signal(self):
        """34, which musl keeps to itself: blocked, ignored and fatal as any other."""
        def block_and_ignore():
            signal.signal(34, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_SETMASK, [34])
        child, peer, run = self.start("grep", "Sig[BI]", "/proc/self/status", preexec_fn=block_and_ignore)
        self.assertEqual((run.blocked >> 33 & 1, run.ignored >> 33 & 1), (1, 1))
        peer.say(handover_peer.HOME, b"busy")
        run.close_fds()
        said = dict(line.split(b":\t") for line in child.communicate(timeout=10)[0].splitlines())
        self.assertEqual([int(said[name], 16) >> 33 & 1 for name in (b"SigBlk", b"SigIgn")], [1, 1])
        child, peer, run = self.start("true")
        peer.started(run)
        peer.exited(34)
        self.ended(child, -34)

    def test_it_stops_when_the_job_does(self):
        # In a process group of its own whose leader's parent, this process, is of the same session: not orphaned.
        child, peer, run = self.start("true", process_group=0)
        peer.started(run)
        for number in (signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGSTOP):
            if number != signal.SIGSTOP:
                child.send_signal(number)
                self.assertEqual(peer.signal(), number)
            time.sleep(0.05)
            self.assertIsNone(os.waitid(os.P_PID, child.pid, os.WSTOPPED | os.WNOHANG))  # the job may have caught it
            peer.stopped(number)
            self.assertEqual(os.waitid(os.P_PID, child.pid, os.WSTOPPED).si_status, number)
            subprocess.run(["kill", "-CONT", str(child.pid)])  # from us it would be the deputy's
            self.assertEqual(peer.signal(), signal.SIGCONT)
        peer.exited(0)
        self.ended(child, 0)

    def test_an_orphaned_process_group_does_not_stop(self):
        child, peer, run = self.start("true", start_new_session=True)
        peer.started(run)
        child.send_signal(signal.SIGTSTP)
        self.assertEqual(peer.signal(), signal.SIGTSTP)
        peer.stopped(signal.SIGTSTP)
        self.assertEqual(peer.signal(), signal.SIGCONT)  # nor does the job
        peer.exited(0)
        self.ended(child, 0)

    def test_a_signal_to_the_group_is_told_from_one_to_the_command(self):
        child, peer, run = self.start("true", process_group=0)
        peer.started(run)
        self.assertTrue(wait_until(lambda: not os.path.exists(f"/proc/{child.pid}/fd/0"), 5))
        for number in (signal.SIGTERM, signal.SIGHUP, 40, signal.SIGCHLD):
            child.send_signal(number)
            self.assertEqual(peer.signal_to(), (number, handover_peer.LEADER))
            os.killpg(child.pid, number)
            self.assertEqual(peer.signal_to(), (number, handover_peer.GROUP))
        for _ in range(3):
            os.killpg(child.pid, 41)
        child.send_signal(41)
        self.assertEqual([peer.signal_to()[1] for _ in range(4)], [handover_peer.GROUP] * 3 + [handover_peer.LEADER])
        peer.exited(0)
        self.ended(child, 0)

    def test_the_witness_ends_with_ssirun(self):
        for end in (lambda child, peer: peer.exited(0), lambda child, peer: child.kill(), lambda child, peer: peer.close()):
            child, peer, run = self.start("true", process_group=0)
            peer.started(run)
            child.send_signal(signal.SIGUSR1)
            self.assertEqual(peer.signal(), signal.SIGUSR1)
            self.assertEqual(os.getpgid(peer.witness), child.pid)
            self.assertEqual(os.listdir(f"/proc/{peer.witness}/fd").__len__(), 1)
            end(child, peer)
            child.wait(10)
            self.assertTrue(wait_until(lambda: not os.path.exists(f"/proc/{peer.witness}"), 5))

    def test_large_arguments_and_environment(self):
        words = ["x" * 120_000] * 20
        env = {f"BIG{i}": "y" * 100_000 for i in range(10)}

        def unlimited():
            resource.setrlimit(resource.RLIMIT_STACK, (64 << 20, resource.getrlimit(resource.RLIMIT_STACK)[1]))

        child, peer, run = self.start("true", *words, env=env, preexec_fn=unlimited)
        self.assertEqual([len(word) for word in run.argv[1:]], [120_000] * 20)
        self.assertEqual(sum(it.startswith(b"BIG") for it in run.env), 10)
        peer.exited(0)
        self.ended(child, 0)


if __name__ == "__main__":
    unittest.main()
