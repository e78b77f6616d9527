# SPDX-License-Identifier: LGPL-2.1-or-later
"""Standard input on a real pool: never a byte is taken that the job did not read. Compared with the same at home."""
import hashlib
import os
import signal
import socket
import subprocess
import time
import unittest

from pool import Pool, SSIRUN, wait_until

BESIDE = 17

pool = None


def setUpModule():
    global pool
    pool = Pool(1)
    pool.__enter__()


def tearDownModule():
    pool.__exit__(None)


class StreamCase(unittest.TestCase):
    maxDiff = 2000

    def same(self, script, **options):
        """Runs a shell script in which $RUN is nothing, and `ssirun --remote`: all that it says must be equal."""
        here, there = (pool.run("bash", "-c", script, env={"RUN": run}, **options) for run in ("", f"{SSIRUN} --remote"))
        self.assertEqual((there.returncode, there.stdout, there.stderr), (here.returncode, here.stdout, here.stderr))
        return there.stdout

    def popen(self, *words, **options):
        return subprocess.Popen([SSIRUN, "--remote", *words], env=pool.env, cwd=pool.work, **options)


class NotTaken(StreamCase):
    """What the job left is there for who reads on."""

    def test_a_job_that_reads_nothing(self):
        self.assertEqual(self.same("printf 'a\\nb\\nc\\n' | ($RUN true; cat)"), b"a\nb\nc\n")
        self.same("(printf 'a\\n'; sleep 0.2; printf 'b\\n') | ($RUN sleep 0.1; cat)")

    def test_a_loop_that_reads_what_its_jobs_do_not(self):
        out = self.same("seq 5 | while read l; do $RUN echo got $l; done")
        self.assertEqual(out.count(b"got"), 5)
        self.same("seq 20 >lines; while read l; do $RUN echo got $l; done <lines")

    def test_two_jobs_on_one_input(self):
        self.same("seq 100000 | ($RUN dd bs=1000 count=7 status=none; wc -l)")
        self.same("seq 100000 | ($RUN dd bs=7 count=1000 status=none; $RUN dd bs=100 count=1 status=none; $RUN md5sum)")
        self.same("seq 9 | ($RUN sh -c 'read a; echo $a'; $RUN sh -c 'read b; echo $b'; cat)")
        self.same("seq 9 >lines; ($RUN sed -u 3q; $RUN dd bs=2 count=2 status=none; cat) <lines")

    def test_after_the_end_of_the_input(self):
        # The writer is gone, and the guest knows, before the job reads.
        self.same("head -c 50000 /dev/zero | (sleep 0.1; $RUN sh -c 'sleep 0.3; head -c 100 | wc -c; exec dd bs=99 count=1 status=none' | wc -c; wc -c)")

    def test_a_socket(self):
        for prefix in ([], [SSIRUN, "--remote"]):
            mine, its = socket.socketpair()
            with mine, its:
                mine.sendall(b"abcdef")
                done = pool.run(*prefix, "dd", "bs=4", "count=1", "status=none", stdin=its, stdout=subprocess.PIPE)
                self.assertEqual((done.stdout, its.recv(100)), (b"abcd", b"ef"))

    def test_no_flag_leaks(self):
        read, write = os.pipe()
        job = self.popen("sleep", "0.3", stdin=read)
        time.sleep(0.15)
        self.assertTrue(os.get_blocking(read))
        self.assertEqual(job.wait(), 0)
        os.close(read), os.close(write)


class Amounts(StreamCase):
    def test_64_mib(self):
        data = os.urandom(1 << 20) * 64
        for options in ({"bufsize": 0}, {"bufsize": 1 << 16}):  # one write of all; many
            job = self.popen("sha256sum", stdin=subprocess.PIPE, stdout=subprocess.PIPE, **options)
            out, _ = job.communicate(data, timeout=60)
            self.assertEqual(out.split()[0].decode(), hashlib.sha256(data).hexdigest())

    def test_one_write_that_fills_the_pipe_behind_unread_bytes(self):
        job = self.popen("sh", "-c", "sleep 0.5; exec wc -c", stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        job.stdin.write(b"first")
        time.sleep(0.2)
        out, _ = job.communicate(bytes(3 << 20), timeout=30)
        self.assertEqual(int(out), 5 + (3 << 20))

    def test_a_slow_reader_slows_the_writer(self):
        job = self.popen("sleep", "30", stdin=subprocess.PIPE)
        os.set_blocking(job.stdin.fileno(), False)
        written, deadline = 0, time.monotonic() + 3
        while time.monotonic() < deadline:
            try:
                written += os.write(job.stdin.fileno(), bytes(1 << 16))
            except BlockingIOError:
                time.sleep(0.05)
        self.assertLessEqual(written, 4 << 20)  # the pipe's size: nothing is taken that the job did not read
        job.kill()
        job.wait()


class Ends(StreamCase):
    def test_a_job_that_never_reads_ends_at_once(self):
        began = time.monotonic()
        job = self.popen("true", stdin=subprocess.PIPE)
        self.assertEqual(job.wait(timeout=20), 0)
        self.assertLess(time.monotonic() - began, 10)

    def test_the_writer_gets_sigpipe_when_the_job_closes_its_input_and_lives_on(self):
        for blocked in (False, True):  # writes now and then; waits for room in a full pipe
            writer = subprocess.Popen(["yes"] if blocked else ["sh", "-c", "while echo; do sleep 0.05; done"], stdout=subprocess.PIPE)
            job = self.popen("sh", "-c", "sleep 0.3; exec <&-; sleep 20", stdin=writer.stdout)
            writer.stdout.close()
            try:
                self.assertEqual(writer.wait(timeout=10), -signal.SIGPIPE)
                self.assertIsNone(job.poll())
            finally:
                job.kill()
                job.wait()

    def test_what_a_closed_input_left_stays(self):
        self.same("seq 5 | ($RUN sh -c 'read a; exec <&-; sleep 0.2; echo $a'; cat)")

    def test_half_close(self):
        self.same("echo abc | $RUN sh -c 'cat; sleep 0.1; echo end'")
        self.same("$RUN cat </dev/null; : | $RUN wc -c")


class OnePeeker(StreamCase):
    def test_a_second_job_on_the_same_pipe_runs_at_home(self):
        read, write = os.pipe()
        first = self.popen("sleep", "20", stdin=read)
        self.assertTrue(wait_until(lambda: b"sleep" in pool.ssi("ps").stdout, 10))
        second = pool.ssirun("-v", "uname", stdin=read)  # unknown yet, so not predicted to be short
        self.assertEqual(second.returncode, 0)
        self.assertIn(b"home: another job reads its standard input", second.stderr)
        never = pool.ssirun("--remote", "true", stdin=read)
        self.assertEqual((never.returncode, never.stderr.count(b"\n")), (125, 1))
        self.assertIn(b"another job reads its standard input", never.stderr)
        first.kill()
        first.wait()
        self.assertTrue(wait_until(lambda: pool.ssirun("--remote", "true", stdin=read).returncode == 0, 5))
        # Nobody can read from it any more: what make gives all of its jobs but one.
        os.close(write)
        jobs = [self.popen("sleep", "0.2", stdin=read) for _ in range(3)]
        self.assertEqual([job.wait() for job in jobs], [0, 0, 0])
        os.close(read)


if __name__ == "__main__":
    unittest.main()
