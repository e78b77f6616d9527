# SPDX-License-Identifier: LGPL-2.1-or-later
"""FIFOs and Unix sockets in the view: a job that needs one of home's goes home, or says so; it never hangs."""
import os
import socket
import subprocess
import sys
import threading
import time
import unittest

from pool import Pool, SSIRUN, wait_until

BESIDE = 13

pool = None

CONNECT = "import socket; s = socket.socket(socket.AF_UNIX); s.connect('k'); print(s.recv(9).decode())"


def setUpModule():
    global pool
    pool = Pool(2)
    # Short commands too go to a guest, whatever is known of them.
    (pool.dir / "config/ssi").mkdir(mode=0o700)
    (pool.dir / "config/ssi/config.toml").write_text('[defaults]\npolicy = "remote"\nmin_seconds = 0\n')
    pool.__enter__()


def tearDownModule():
    pool.__exit__(None)


class Specials(unittest.TestCase):
    def setUp(self):
        subprocess.run(["rm", "-rf", pool.work / "d"])
        self.dir = pool.work / "d"
        self.dir.mkdir()
        os.mkfifo(self.dir / "p")

    def run_(self, *words, **options):
        start = time.monotonic()
        done = pool.ssirun(*words, cwd=self.dir, timeout=20, **options)
        self.seconds = time.monotonic() - start
        return done

    def feed(self, text, after=0.5):
        """Writes to the FIFO, once somebody may have opened it for a while."""
        thread = threading.Thread(target=lambda: (time.sleep(after), (self.dir / "p").write_text(text)))
        thread.start()
        self.addCleanup(thread.join)

    def serve(self, name):
        """A server at home that says hello to each who comes."""
        server = socket.socket(socket.AF_UNIX)
        self.addCleanup(server.close)
        os.chdir(self.dir)
        server.bind(name)
        server.listen()
        server.settimeout(30)

        def accept():
            try:
                while True:
                    with server.accept()[0] as peer:
                        peer.sendall(b"hello")
            except OSError:
                pass
        threading.Thread(target=accept, daemon=True).start()

    def test_names_of_fifos_are_like_any_other(self):
        script = ("ls -l p | cut -c1; stat -c %F p; test -p p; echo $?; find . -type p; tar cf - p | tar tf -; cp -a p q; mv q r; ln p s;"
                  "stat -c %h s; chmod 600 p; touch p; rm r s; mkfifo t; ls; [ -r p ] && [ -w t ] && echo both; rm p t")
        at_home = pool.run("bash", "-c", script, cwd=self.dir)
        os.mkfifo(self.dir / "p")
        there = self.run_("--remote", "bash", "-c", script)
        self.assertEqual((there.returncode, there.stdout, there.stderr), (at_home.returncode, at_home.stdout, at_home.stderr))

    def test_openings_that_open_nothing(self):
        script = ("import os\nfor flags in (os.O_PATH, os.O_DIRECTORY, os.O_CREAT | os.O_EXCL):\n"
                  "    try: print(os.close(os.open('p', flags)))\n    except OSError as error: print(error.errno)\n")
        at_home = pool.run(sys.executable, "-c", script, cwd=self.dir)
        self.assertEqual(self.run_("--remote", sys.executable, "-c", script).stdout, at_home.stdout)

    def test_a_job_has_its_own(self):
        done = self.run_("--remote", "sh", "-c", "mkfifo j; (echo through > j) & cat j; mv j k; (cat k) & echo again > k; wait; rm k")
        self.assertEqual((done.returncode, done.stdout), (0, b"through\nagain\n"), done.stderr)
        script = ("import os, socket\nfor kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):\n"
                  "    s = socket.socket(socket.AF_UNIX, kind); s.bind('own')\n"
                  "    if kind == socket.SOCK_STREAM: s.listen()\n"
                  "    if not os.fork():\n"
                  "        c = socket.socket(socket.AF_UNIX, kind); c.connect('own'); c.send(b'hi'); os._exit(0)\n"
                  "    print((s.accept()[0] if kind == socket.SOCK_STREAM else s).recv(9)); os.remove('own'); os.wait()\n")
        done = self.run_("--remote", sys.executable, "-c", script)
        self.assertEqual((done.returncode, done.stdout), (0, b"b'hi'\nb'hi'\n"), done.stderr)

    def test_what_one_job_made_another_cannot_use(self):
        self.assertEqual(self.run_("--remote", "mkfifo", "j").returncode, 0)
        self.assertEqual(self.run_("--remote", "cat", "j").returncode, 125)

    def test_goes_home_from_the_guest(self):
        for words in (["sh", "-c", "cat p"], ["sh", "-c", "exec 3<>p; read x <&3; echo $x"]):
            self.feed("through\n")
            done = self.run_("-v", *words)
            self.assertEqual((done.returncode, done.stdout), (0, b"through\n"), done.stderr)
            self.assertRegex(done.stderr, rb"home: guest\d: it opens the FIFO p")
        done = subprocess.run("(sleep 0.5; echo through > p) & printf 'one\\ntwo\\n' > in; "
                              f"{SSIRUN} sh -c 'read x; echo $x $(cat p); cat' < in | cat", shell=True, cwd=self.dir, env=pool.env,
                              stdout=subprocess.PIPE, timeout=20)
        self.assertEqual(done.stdout, b"one through\ntwo\n")  # nothing of its input was lost

    def test_one_that_goes_home_from_the_guest_has_its_descriptors(self):
        """In their places, and the jobserver of its make's too, which no guest got."""
        show = "x=$(cat p); readlink /proc/self/fd/3 /proc/self/fd/4 /proc/self/fd/5; echo $MAKEFLAGS; echo $x"
        script = ("mkfifo j; exec 3<>j 6<j 4>j 3<&6 6<&-; rm j; exec 5>f; export MAKEFLAGS=' -j3 --jobserver-auth=3,4'\n"
                  f"for run in '' '{SSIRUN} -v'; do (sleep 0.5; echo through >p) & $run sh -c '{show}'; wait; done")
        done = subprocess.run(["bash", "-c", script], cwd=self.dir, env=pool.env, capture_output=True, timeout=20)
        self.assertIn(b"it opens the FIFO p", done.stderr)
        lines = done.stdout.splitlines()
        self.assertEqual(len(lines), 10, done)
        self.assertEqual(lines[:5], lines[5:])

    def test_goes_home_before_it_starts(self):
        self.feed("through\n")
        done = self.run_("-v", "cat", "p")
        self.assertEqual((done.returncode, done.stdout), (0, b"through\n"), done.stderr)
        self.assertIn(b"home: p is a FIFO", done.stderr)
        self.assertIn(b"home: p is a FIFO", self.run_("--dry-run", "dd", "if=p").stdout)

    def test_writing_goes_home_too(self):
        reader = subprocess.Popen(["cat", "p"], cwd=self.dir, stdout=subprocess.PIPE)
        self.addCleanup(reader.stdout.close)
        self.assertEqual(self.run_("sh", "-c", "echo from the job > p").returncode, 0)
        self.assertEqual((reader.stdout.read(), reader.wait()), (b"from the job\n", 0))

    def test_sockets(self):
        self.serve("k")
        done = self.run_("-v", "sh", "-c", f'exec {sys.executable} -c "{CONNECT}"')
        self.assertEqual((done.returncode, done.stdout), (0, b"hello\n"), done.stderr)
        self.assertRegex(done.stderr, rb"home: guest\d: it connects to the socket k")
        done = self.run_("--remote", sys.executable, "-c", CONNECT)
        self.assertEqual(done.returncode, 125)
        self.assertIn(b"connects to the socket k, which only home can serve: run it with --local", done.stderr)

    def test_the_name_services_sockets_are_done_without(self):
        os.makedirs(self.dir / "nscd")
        os.chdir(self.dir)
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("nscd/socket")
            server.listen()
            done = self.run_("--remote", sys.executable, "-c", CONNECT.replace("'k'", "'nscd/socket'"))
            self.assertEqual(done.returncode, 1)
            self.assertIn(b"ConnectionRefusedError", done.stderr)

    def test_forbidden_to_go_home(self):
        done = self.run_("--remote", "cat", "p")
        self.assertEqual((done.returncode, done.stdout), (125, b""))
        self.assertEqual(done.stderr, b"ssirun: cat opens the FIFO p, which only home can serve: run it with --local\n")
        self.assertLess(self.seconds, 2)

    def test_what_it_had_changed_is_undone_first(self):
        (self.dir / "log").write_text("before\n")
        self.feed("from home\n", after=2)
        done = self.run_("sh", "-c", "echo line >>log; mkdir made; cat p")  # a second mkdir would fail
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, b"from home\n", b""))
        self.assertEqual((self.dir / "log").read_text(), "before\nline\n")
        self.assertTrue((self.dir / "made").is_dir())

    def test_what_cannot_be_run_again_does_not(self):
        for before, output in (("echo out", b"out\n"), ("exec 2>&-; sleep 0.3", b"")):
            with self.subTest(before):
                done = self.run_("sh", "-c", f"{before}; cat p")
                self.assertEqual((done.returncode, done.stdout), (125, output))
                if "2>&-" not in before:  # ssirun closes its stderr, too, a moment after the job has
                    self.assertIn(b"opens the FIFO p, which only home can serve", done.stderr)
                self.assertLess(self.seconds, 2)

    def test_nothing_is_left_in_the_guest(self):
        for _ in range(3):
            self.assertEqual(self.run_("--remote", "sh", "-c", "cat p & cat p & wait").returncode, 125)
        # What outlives its leader is ended, when nobody is there who could be told.
        self.assertEqual(self.run_("--on", "guest1", "sh", "-c", "(sleep 2; cat p) >&- 2>&- <&- & echo out").stdout, b"out\n")
        jobs = lambda: [job for guest in pool.status().values() for job in guest["jobs"]]
        self.assertTrue(wait_until(jobs, 5))
        self.assertTrue(wait_until(lambda: not jobs(), 10), pool.status())


if __name__ == "__main__":
    unittest.main()
