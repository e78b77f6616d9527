# SPDX-License-Identifier: LGPL-2.1-or-later
"""ssirun, and a deputy that the test plays."""
import signal
import subprocess
import unittest

import handover_peer
from pool import Home, without_deputy


class HandoverCase(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.home = Home()
        cls.bin = without_deputy(cls.home)

    @classmethod
    def tearDownClass(cls):
        cls.home.close()

    def setUp(self):
        def too_late(*_):
            raise TimeoutError("a read in this test does not end")

        signal.signal(signal.SIGALRM, too_late)
        signal.alarm(20)
        self.addCleanup(signal.alarm, 0)
        self.listener = handover_peer.Listener(str(self.home.dir / "run"))
        self.children, self.peers, self.runs = [], [], []

    def tearDown(self):
        self.listener.close()
        for peer in self.peers:
            peer.close()
        for run in self.runs:
            run.close_fds()
        for child in self.children:
            child.kill()
            child.wait()
            for stream in (child.stdin, child.stdout, child.stderr):
                if stream:
                    stream.close()

    def accept(self):
        peer = self.listener.accept()
        self.peers.append(peer)
        run = peer.run()
        self.runs.append(run)
        return peer, run

    def start(self, *words, env={}, **options):
        for name in ("stdin", "stdout", "stderr"):
            options.setdefault(name, subprocess.PIPE)
        child = subprocess.Popen([self.bin / "ssirun", *words], env={**self.home.env, **env}, cwd=self.home.work, **options)
        self.children.append(child)
        peer, run = self.accept()
        return child, peer, run

    def ended(self, child, status):
        self.assertEqual(child.wait(10), status)
