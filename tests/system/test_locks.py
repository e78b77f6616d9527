# SPDX-License-Identifier: LGPL-2.1-or-later
"""Locks that a job takes are home's own: they hold against home's processes, and against jobs on other guests."""
import select
import signal
import subprocess
import sys
import time
import unittest

from pool import Pool, SSIRUN, wait_until

BESIDE = 26

# Does what it is told, one line each, on the file `f`; answers with the result or the errno's name.
ACTOR = r"""
import errno, fcntl, os, signal, struct, sys, time
from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, LOCK_UN
files = {}
def opens(name, mode='r+'):
    files[name] = open('f', mode)
def closes(name):
    files.pop(name).close()
def dups(name, copy):
    files[copy] = os.fdopen(os.dup(files[name].fileno()), 'r+')
def posix(name, how, length=0, start=0):
    fcntl.lockf(files[name], how, length, start)
def flock(name, how):
    fcntl.flock(files[name], how)
def ofd(name, type, start=0, length=0, command=37):  # F_OFD_SETLK
    fcntl.fcntl(files[name], command, struct.pack('hhqqi4x', type, 0, start, length, 0))
def who(name, start=0, length=0):
    lock = fcntl.fcntl(files[name], fcntl.F_GETLK, struct.pack('hhqqi4x', fcntl.F_WRLCK, 0, start, length, 0))
    return struct.unpack('hhqqi4x', lock)[0::2]
def child(line):  # of ours, which has our descriptors
    read, write = os.pipe()
    if not os.fork():
        os.write(write, repr(answer(line)).encode())
        os._exit(0)
    os.close(write)
    os.wait()
    return eval(os.read(read, 1000))
def answer(line):
    try:
        return eval(line)
    except OSError as error:
        return errno.errorcode[error.errno]
def interrupted(seconds, line):  # by a signal whose handler raises no exception, and which restarts nothing
    class Came(Exception):
        pass
    def come(*_):
        raise Came
    signal.signal(signal.SIGALRM, come)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        return eval(line)
    except Came:
        return 'interrupted'
for line in sys.stdin:
    print(repr(answer(line)), flush=True)
"""

NOW = "LOCK_EX | LOCK_NB"
pool = None


def setUpModule():
    global pool
    pool = Pool(2)
    pool.__enter__()
    (pool.work / "actor.py").write_text(ACTOR)


def tearDownModule():
    pool.__exit__(None)


class Actor:
    """A process at home, or a job on a guest."""

    def __init__(self, test, where):
        words = [sys.executable, "actor.py"]
        self.process = subprocess.Popen([SSIRUN, "--on", where, *words] if where != "home" else words, cwd=pool.work,
                                        env=pool.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        test.addCleanup(self.end)
        self.does("opens('a')")

    def begins(self, line):
        self.process.stdin.write(line.encode() + b"\n")

    def said(self):
        if not select.select([self.process.stdout], [], [], 60)[0]:
            return "silent"
        line = self.process.stdout.readline()
        return eval(line) if line else "ended"

    def does(self, line):
        self.begins(line)
        return self.said()

    def end(self):
        self.process.stdin.close()
        self.process.kill()
        self.process.wait(20)
        self.process.stdout.close()


class Locks(unittest.TestCase):
    def setUp(self):
        (pool.work / "f").write_text("0123456789" * 10)

    def pairs(self):
        """The places from which two can quarrel: a job with home, home with a job, with the other guest's, with its own's."""
        for one, other in (("guest1", "home"), ("home", "guest1"), ("guest1", "guest2"), ("guest2", "guest2")):
            with self.subTest(f"{one} and {other}"):
                actors = Actor(self, one), Actor(self, other)
                yield actors
                for actor in actors:
                    actor.end()

    def eventually(self, actor, line, answer=None):
        self.assertTrue(wait_until(lambda: actor.does(line) == answer, 5), line)

    def test_of_a_file_that_is_closed_in_silence(self):
        """Read before, and unchanged since: the guest's kernel does not tell of its close(2)."""
        time.sleep(2.1)  # till its time is settled
        for one, other in self.pairs():
            self.assertIsNone(one.does("closes('a')"))
            for _ in range(2):
                self.assertIsNone(one.does("opens('r', 'r') or closes('r')"))
            self.assertIsNone(one.does("opens('r', 'r') or posix('r', LOCK_SH | LOCK_NB)"))
            self.assertEqual(other.does(f"posix('a', {NOW})"), "EAGAIN")
            self.assertIsNone(one.does("closes('r')"))
            self.eventually(other, f"posix('a', {NOW})")

    def test_exclusive_locks_of_each_kind(self):
        for lock, unlock in ((f"posix('a', {NOW})", "posix('a', LOCK_UN)"), (f"flock('a', {NOW})", "flock('a', LOCK_UN)"),
                             ("ofd('a', fcntl.F_WRLCK)", "ofd('a', fcntl.F_UNLCK)")):
            for one, other in self.pairs():
                self.assertIsNone(one.does(lock))
                self.assertEqual(other.does(lock), "EAGAIN", lock)
                self.assertIsNone(one.does(unlock))
                self.assertIsNone(other.does(lock), lock)
                self.assertEqual(one.does(lock), "EAGAIN", lock)

    def test_read_and_write_locks(self):
        for lock in ("posix", "flock"):
            for one, other in self.pairs():
                self.assertIsNone(one.does(f"{lock}('a', LOCK_SH | LOCK_NB)"))
                self.assertIsNone(other.does(f"{lock}('a', LOCK_SH | LOCK_NB)"))
                self.assertEqual(other.does(f"{lock}('a', {NOW})"), "EAGAIN")
                self.assertIsNone(one.does(f"{lock}('a', LOCK_UN)"))
                self.assertIsNone(other.does(f"{lock}('a', {NOW})"))
                self.assertEqual(one.does(f"{lock}('a', LOCK_SH | LOCK_NB)"), "EAGAIN")

    def test_ranges(self):
        for one, other in self.pairs():
            self.assertIsNone(one.does(f"posix('a', {NOW}, 10, 0)"))
            self.assertIsNone(other.does(f"posix('a', {NOW}, 10, 10)"))
            self.assertEqual(other.does(f"posix('a', {NOW}, 2, 9)"), "EAGAIN")
            self.assertEqual(one.does(f"posix('a', {NOW}, 0, 19)"), "EAGAIN")
            self.assertIsNone(one.does("posix('a', LOCK_UN, 5, 0)"))
            self.assertIsNone(other.does(f"posix('a', {NOW}, 5, 0)"))
            self.assertEqual(other.does(f"posix('a', {NOW}, 1, 5)"), "EAGAIN")
            self.assertEqual(other.does("who('a', 0, 0)[:1] + who('a')[1:2]"), (1, 5))  # F_WRLCK, from 5

    def test_the_mode_of_the_descriptor_counts(self):
        one = Actor(self, "guest1")
        one.does("opens('r', 'r')")
        one.does("opens('w', 'a')")
        self.assertEqual(one.does(f"posix('r', {NOW})"), "EBADF")
        self.assertEqual(one.does("posix('w', LOCK_SH | LOCK_NB)"), "EBADF")
        self.assertIsNone(one.does("posix('r', LOCK_SH | LOCK_NB, 10, 0)"))
        self.assertIsNone(one.does(f"posix('w', {NOW}, 5, 0)"))  # the same process: its read lock becomes a write lock
        home = Actor(self, "home")
        self.assertEqual(home.does("posix('a', LOCK_SH | LOCK_NB, 1, 4)"), "EAGAIN")
        self.assertIsNone(home.does("posix('a', LOCK_SH | LOCK_NB, 1, 5)"))
        self.assertEqual(home.does(f"posix('a', {NOW}, 1, 5)"), "EAGAIN")

    def test_two_processes_of_one_job(self):
        one = Actor(self, "guest1")
        self.assertIsNone(one.does(f"posix('a', {NOW}, 10, 0)"))
        self.assertEqual(one.does(f"child(\"posix('a', {NOW}, 10, 5)\")"), "EAGAIN")  # a lock is not inherited
        self.assertEqual(one.does("child(\"who('a', 5)\")[2]"), one.does("os.getpid()"))
        self.assertIsNone(one.does(f"child(\"posix('a', {NOW}, 10, 10)\")"))
        self.assertIsNone(one.does(f"posix('a', {NOW}, 10, 10)"))  # the child's ended with it
        self.assertIsNone(one.does(f"flock('a', {NOW})"))
        self.assertIsNone(one.does(f"child(\"flock('a', {NOW})\")"))  # but this one belongs to what both have open
        self.assertEqual(one.does("child(\"opens('b') or flock('b', LOCK_SH | LOCK_NB)\")"), "EAGAIN")

    def test_closing(self):
        for mode in ("r+", "r"):
            with self.subTest(mode):
                one, home = Actor(self, "guest1"), Actor(self, "home")
                one.does(f"opens('b', '{mode}')")
                self.assertIsNone(one.does("posix('a', LOCK_EX | LOCK_NB)"))
                one.does("closes('b')")  # any descriptor of the file
                self.assertIsNone(home.does(f"posix('a', {NOW})"))
                home.does("posix('a', LOCK_UN)")
                one.does(f"opens('c', '{mode}')")
                self.assertIsNone(one.does("posix('c', LOCK_SH | LOCK_NB)"))
                self.assertEqual(home.does(f"posix('a', {NOW})"), "EAGAIN")
                one.does("closes('c')")
                self.assertIsNone(home.does(f"posix('a', {NOW})"))
                home.end()

    def test_flock_and_ofd_locks_belong_to_the_copies_too(self):
        one, home = Actor(self, "guest1"), Actor(self, "home")
        one.does("dups('a', 'b')")
        self.assertIsNone(one.does(f"flock('a', {NOW})"))
        self.assertIsNone(one.does("ofd('a', fcntl.F_WRLCK)"))
        one.does("closes('a')")
        self.assertEqual(home.does(f"flock('a', {NOW})"), "EAGAIN")
        self.assertEqual(home.does("ofd('a', fcntl.F_RDLCK)"), "EAGAIN")
        one.does("closes('b')")
        self.eventually(home, f"flock('a', {NOW})")  # the kernel does not wait for RELEASE
        self.eventually(home, "ofd('a', fcntl.F_WRLCK)")

    def test_waiting_is_granted(self):
        for lock in ("posix('a', LOCK_EX)", "flock('a', LOCK_EX)", "ofd('a', fcntl.F_WRLCK, command=38)"):
            for one, other in self.pairs():
                self.assertIsNone(one.does(lock))
                other.begins(lock)
                time.sleep(0.3)
                one.does("files['a'].close()")
                start = time.monotonic()
                self.assertIsNone(other.said(), lock)
                self.assertLess(time.monotonic() - start, 5)

    def test_many_wait(self):
        home, one = Actor(self, "home"), Actor(self, "guest1")
        self.assertIsNone(home.does(f"posix('a', {NOW})"))
        one.begins("[os.fork() or (posix('a', LOCK_EX, 1, n % 10), os._exit(7)) for n in range(100)] and "
                   "[os.waitstatus_to_exitcode(os.wait()[1]) for n in range(100)] == [7] * 100")
        time.sleep(1)
        self.assertEqual(pool.ssirun("--on", "guest1", "cat", "f").stdout, b"0123456789" * 10)  # nothing is held up
        home.does("posix('a', LOCK_UN)")
        self.assertIs(one.said(), True)

    def test_waiting_is_interrupted_by_a_signal(self):
        for lock in ("posix('a', LOCK_EX)", "flock('a', LOCK_EX)"):
            home, one = Actor(self, "home"), Actor(self, "guest1")
            self.assertIsNone(home.does(lock))
            start = time.monotonic()
            self.assertEqual(one.does(f'interrupted(0.5, "{lock}")'), "interrupted")
            self.assertLess(time.monotonic() - start, 5)
            home.does("closes('a')")  # nobody is left who would be granted it
            self.assertIsNone(Actor(self, "home").does(f"{lock[:-1]} | LOCK_NB)"))
            self.assertEqual(one.does("'alive'"), "alive")

    def test_a_job_that_waits_can_be_killed(self):
        home, one = Actor(self, "home"), Actor(self, "guest1")
        self.assertIsNone(home.does(f"posix('a', {NOW})"))
        one.begins("posix('a', LOCK_EX)")
        time.sleep(0.3)
        one.process.send_signal(signal.SIGTERM)
        self.assertEqual(one.process.wait(5), -signal.SIGTERM)
        home.does("closes('a')")
        self.assertIsNone(Actor(self, "guest2").does(f"posix('a', {NOW})"))

    def test_released_at_the_end(self):
        for end in ("os._exit(0)", "os.kill(os.getpid(), 9)", None):
            with self.subTest(end):
                one, home = Actor(self, "guest1"), Actor(self, "home")
                for lock in (f"posix('a', {NOW})", f"flock('a', {NOW})"):
                    self.assertIsNone(one.does(lock))
                    self.assertEqual(home.does(lock), "EAGAIN")
                if end:
                    one.begins(end)
                else:
                    one.process.kill()  # ssirun
                one.process.wait(10)
                self.eventually(home, f"posix('a', {NOW})")
                self.eventually(home, f"flock('a', {NOW})")
                home.end()

    def test_what_others_wrote_is_seen_under_the_lock(self):
        """Two guests and home count in one file of constant size: neither its times nor its size tell of all changes."""
        (pool.work / "f").write_text("%10d" % 0)
        count = ("[(posix('a', LOCK_EX), files['a'].seek(0), (n := int(os.pread(files['a'].fileno(), 10, 0))), "
                 "os.pwrite(files['a'].fileno(), b'%10d' % (n + 1), 0), posix('a', LOCK_UN)) for _ in range(200)] and None")
        actors = [Actor(self, where) for where in ("home", "guest1", "guest2", "guest2")]
        for actor in actors:
            actor.begins(count)
        for actor in actors:
            self.assertIsNone(actor.said())
        self.assertEqual(int((pool.work / "f").read_text()), 800)

    def test_what_was_read_before_the_lock_is_read_again(self):
        one, home = Actor(self, "guest1"), Actor(self, "home")
        for lock, unlock in (("posix('a', LOCK_EX)", "posix('a', LOCK_UN)"), ("flock('a', LOCK_SH)", "flock('a', LOCK_UN)")):
            for text in (b"first", b"again"):
                self.assertIsNotNone(one.does("(os.path.exists('beside'), os.pread(files['a'].fileno(), 5, 0))"))
                self.assertIsNone(home.does(lock))
                home.does(f"os.pwrite(files['a'].fileno(), {text}, 0), open('beside', 'w').close()")
                self.assertIsNone(home.does(unlock))
                self.assertIsNone(one.does(lock))
                self.assertEqual(one.does("(os.path.exists('beside'), os.pread(files['a'].fileno(), 5, 0))"), (True, text))
                self.assertIsNone(one.does(unlock))
                home.does("os.remove('beside')")

    def test_sqlite_with_a_writer_on_each_side(self):
        script = ("import sqlite3, sys\n"
                  "db = sqlite3.connect('db', timeout=60, isolation_level=None)\n"
                  "for _ in range(30):\n"
                  "    db.execute('begin immediate')\n"
                  "    n = db.execute('select n from counter').fetchone()[0]\n"
                  "    db.execute('update counter set n = ?', (n + 1,))\n"
                  "    db.execute('insert into log values (?)', (sys.argv[1],))\n"
                  "    db.execute('commit')\n")
        setup = ("import sqlite3\ndb = sqlite3.connect('db')\n"
                 "db.executescript('create table counter (n); insert into counter values (0); create table log (who)')\n")
        self.assertEqual(pool.run(sys.executable, "-c", setup).returncode, 0)
        words = [sys.executable, "-c", script]
        writers = [subprocess.Popen([str(word) for word in prefix + words + [name]], cwd=pool.work, env=pool.env)
                   for prefix, name in (([], "home"), ([SSIRUN, "--on", "guest1"], "one"), ([SSIRUN, "--on", "guest2"], "two"))]
        self.assertEqual([writer.wait(100) for writer in writers], [0, 0, 0])
        check = ("import sqlite3; db = sqlite3.connect('db'); print(db.execute('select n from counter').fetchone(), "
                 "db.execute('select who, count(*) from log group by who order by who').fetchall(), "
                 "db.execute('pragma integrity_check').fetchone())")
        for run in (pool.run, pool.ssirun):
            self.assertEqual(run(sys.executable, "-c", check).stdout,
                             b"(90,) [('home', 30), ('one', 30), ('two', 30)] ('ok',)\n")


if __name__ == "__main__":
    unittest.main()
