# SPDX-License-Identifier: LGPL-2.1-or-later
"""ssirun and a deputy that the test plays: the terminal between the two."""
import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import textwrap
import time
import unittest

import handover_peer
from handover_case import HandoverCase
from pool import wait_until

TIMEOUT = 300


class HandoverTerminal(HandoverCase):
    def terminal(self, **options):
        master, slave = pty.openpty()
        self.addCleanup(os.close, master)

        def control():
            os.setsid()
            fcntl.ioctl(slave, termios.TIOCSCTTY, 0)

        child, peer, run = self.start("cat", stdin=slave, preexec_fn=control, **options)
        self.addCleanup(run.close_fds)
        os.close(slave)
        return master, child, peer, run

    def test_a_terminal_is_read_by_ssirun_only(self):
        master, child, peer, run = self.terminal()
        self.assertEqual(run.terminals, {0})
        os.write(master, b"early\n")
        run.channel.setblocking(False)
        with self.assertRaises(BlockingIOError):  # nothing is taken before the job runs: it may still go home
            time.sleep(0.2)
            run.channel.recv(100)
        run.channel.settimeout(10)
        peer.started(run)
        peer.wants_terminal()
        self.assertEqual(run.channel.recv(100), b"early\n")
        # The job's own terminal edits lines.
        self.assertTrue(wait_until(lambda: not termios.tcgetattr(master)[3] & (termios.ICANON | termios.ECHO), 5))
        os.write(master, b"x\x7f\x04")
        self.assertEqual(run.channel.recv(100), b"x\x7f\x04")
        peer.exited(0)
        self.ended(child, 0)
        self.assertTrue(termios.tcgetattr(master)[3] & termios.ICANON)

    def test_a_terminal_comes_home(self):
        master, child, peer, run = self.terminal()
        os.write(master, b"early\n\x04")
        peer.say(handover_peer.HOME, b"busy")
        run.close_fds()
        self.assertEqual(child.stdout.read(), b"early\n")
        self.ended(child, 0)

    def test_output_for_the_terminal_and_what_was_typed_ahead(self):
        master, child, peer, run = self.terminal()
        peer.started(run)
        peer.wants_terminal()
        self.assertTrue(wait_until(lambda: not termios.tcgetattr(master)[3] & termios.ICANON, 5))
        run.channel.sendall(b"one\r\ntwo\r")
        run.channel.sendall(b"\nthree\rfour\r\r\n")
        shown = b""
        while not shown.endswith(b"four\r\r\n"):
            shown += os.read(master, 100)
        self.assertEqual(shown, b"one\r\ntwo\r\nthree\rfour\r\r\n")  # \r\n as the terminal here makes it of \n
        run.channel.sendall(b"last")
        peer.exited(0, typed=b"ahead")
        self.ended(child, 0)
        self.assertTrue(os.read(master, 100).startswith(b"last"))

    def test_only_what_was_typed_is_typed_again(self):
        for typed, taken, again in ((b"me\n", 6, b"me\r\n"), (b"rm\n", 6, b""), (b"", 3, b"me\r\n"), (b"", 1 << 64 - 1, b""), (b"", 6, b"")):
            master, child, peer, run = self.terminal()
            peer.started(run)
            peer.wants_terminal()
            self.assertTrue(wait_until(lambda: not termios.tcgetattr(master)[3] & termios.ICANON, 5))
            os.write(master, b"xy\n" b"me\n")
            self.assertEqual(run.channel.recv(100), b"xy\nme\n")
            peer.exited(0, typed=typed, taken=taken)
            self.ended(child, 0)
            os.set_blocking(master, False)
            time.sleep(0.05)
            try:
                shown = os.read(master, 100)
            except BlockingIOError:
                shown = b""
            self.assertEqual(shown, again, (typed, taken))

    def test_a_terminal_that_is_closed_while_output_waits(self):
        master, child, peer, run = self.terminal()
        peer.started(run)
        run.channel.setblocking(False)
        with self.assertRaises(BlockingIOError):
            while True:
                run.channel.send(b"x" * 4096)
        os.dup2(os.open("/dev/null", os.O_RDWR), master)
        run.channel.settimeout(10)
        with self.assertRaises(OSError):  # not a time-out: nobody takes it any more
            while True:
                run.channel.send(b"x" * 4096)
        peer.exited(0)
        self.ended(child, 0)

    def test_modes_of_the_job_are_the_terminals(self):
        master, child, peer, run = self.terminal()
        before = termios.tcgetattr(master)
        peer.started(run)
        peer.wants_terminal()
        local = lambda: termios.tcgetattr(master)[3]
        self.assertTrue(wait_until(lambda: not local() & termios.ICANON, 5))
        self.assertTrue(local() & termios.ISIG)
        raw = struct.pack("@4I32s", run.modes[0], run.modes[1] & ~termios.OPOST, run.modes[2], run.modes[3] & ~termios.ISIG, bytes(32))
        peer.say(handover_peer.MODES, raw)
        self.assertTrue(wait_until(lambda: not local() & termios.ISIG, 5))
        self.assertFalse(termios.tcgetattr(master)[1] & termios.OPOST)
        child.kill()  # then the witness puts it right
        child.wait(10)
        self.assertTrue(wait_until(lambda: termios.tcgetattr(master)[:4] == before[:4], 5))

    def test_a_job_that_does_not_read_its_terminal_ends(self):
        master, child, peer, run = self.terminal()
        peer.started(run)
        peer.wants_terminal()
        for _ in range(3):
            os.write(master, b"x" * 4000 + b"\n")
            time.sleep(0.05)
        peer.exited(5 << 8)
        self.ended(child, 5)

    def test_a_terminal_that_is_closed(self):
        master, child, peer, run = self.terminal()
        signals = {}
        peer.started(run)
        peer.wants_terminal()
        os.write(master, b"x")
        self.assertEqual(run.channel.recv(1), b"x")
        os.dup2(os.open("/dev/null", os.O_RDWR), master)
        for _ in range(2):
            kind, body = peer.news()
            signals[kind] = body
        self.assertIn(handover_peer.HANGUP, signals)
        self.assertEqual(struct.unpack("@iI", signals[handover_peer.SIGNAL])[0], signal.SIGHUP)
        peer.exited(0)
        self.ended(child, 0)

    def test_in_the_background_the_terminal_is_not_read(self):
        # A session leader that keeps the foreground for itself and runs ssirun in a group of its own.
        master, slave = pty.openpty()
        self.addCleanup(os.close, master)
        code = f"""
            import fcntl, os, signal, subprocess, sys, termios
            os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0)
            signal.signal(signal.SIGTTOU, signal.SIG_IGN)
            child = subprocess.Popen([{str(self.bin / "ssirun")!r}, "cat"], process_group=0, stdout=0)
            sys.stdin.readline()
            os.tcsetpgrp(0, child.pid)
            sys.exit(child.wait())
        """
        leader = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdin=slave, env=self.home.env, cwd=self.home.work)
        os.close(slave)
        self.children.append(leader)
        peer, run = self.accept()
        peer.started(run)
        os.write(master, b"for the leader\n")  # which alone may have it
        time.sleep(0.3)
        os.write(master, b"for the job\n")
        run.channel.settimeout(10)
        self.assertEqual(run.channel.recv(100), b"for the job\n")
        peer.exited(6 << 8)
        self.ended(leader, 6)


if __name__ == "__main__":
    unittest.main()
