# SPDX-License-Identifier: LGPL-2.1-or-later
"""While a job runs it sees what happens at home and in other guests: soon, and at once when something tells it to look."""
import os
import pathlib
import signal
import statistics
import subprocess
import time
import unittest

from pool import Pool, SSIRUN, wait_until

# Does what it is told, one line each. seen() looks again and again until it finds something else, and says when and what:
# the clock is that of this machine, which is home and guest.
ACTOR = r"""
import mmap, os, sys, time
kept = {}
def stat(path, *fields):
    try:
        status = os.stat(path)
    except OSError as error:
        return error.strerror
    return [getattr(status, 'st_' + field) for field in fields or ('ino', 'size', 'mode', 'nlink', 'mtime_ns')]
def read(path):
    with open(path) as file:
        return file.read()
def write(path, text, how='w'):
    with open(path, how) as file:
        file.write(text)
def opens(path):
    kept[path] = open(path)
def maps(path):
    kept[path] = mmap.mmap(os.open(path, os.O_RDONLY), 0, mmap.MAP_SHARED, mmap.PROT_READ)
def seen(look):
    first = look()
    print('looking', flush=True)
    end = time.monotonic() + 5
    while (now := look()) == first and time.monotonic() < end:
        time.sleep(0.001)
    return time.monotonic(), now
for line in sys.stdin:
    print(repr(eval(line)), flush=True)
"""

pool = None


def setUpModule():
    global pool
    pool = Pool(2)
    pool.__enter__()


def tearDownModule():
    pool.__exit__(None)


class Actor:
    """A job that looks and changes as it is told."""

    def __init__(self, guest, test):
        self.job = subprocess.Popen([SSIRUN, "--remote", "--on", guest, "python3", "-c", ACTOR], cwd=pool.work, env=pool.env, text=True,
                                    stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        test.addCleanup(self.end)
        assert self("1") == 1

    def tell(self, line):
        self.job.stdin.write(line + "\n")
        self.job.stdin.flush()

    def answer(self):
        return eval(self.job.stdout.readline())

    def __call__(self, line):
        self.tell(line)
        return self.answer()

    def seen(self, look, change):
        """What it sees when `change` has been made, and how many seconds later."""
        self.tell(f"seen(lambda: {look})")
        assert self.job.stdout.readline() == "looking\n"
        time.sleep(0.03)  # it has looked, and its kernel believes what it saw
        change()
        changed = time.monotonic()
        when, now = self.answer()
        return now, when - changed

    def end(self):
        self.job.stdin.close()
        self.job.stdout.close()
        if self.job.wait(20):
            raise AssertionError(f"the job ended with {self.job.returncode}")


def put(path, text):
    """One change: a job that looks all the time sees nothing in the middle of it."""
    with open(path, "r+b", buffering=0) as file:
        file.write(text.encode())


class AtHome(unittest.TestCase):
    def setUp(self):
        self.dir = pool.work / self.id().rsplit(".", 1)[1]
        self.dir.mkdir()
        (self.dir / "unseen").mkdir()
        self.job = Actor("guest1", self)
        self.job(f"os.chdir({str(self.dir)!r})")
        self.late = []

    def sees(self, look, change, expected):
        now, late = self.job.seen(look, change)
        self.assertEqual(now, expected, look)
        self.late.append(late)

    def test_every_kind_of_change_is_seen_within_milliseconds(self):
        d = self.dir
        for name in ("file", "mapped", "linked", "gone", "moved", "mode"):
            (d / name).write_text("text")
        os.link(d / "linked", d / "unseen" / "other")
        (d / "made").write_text("is")
        time.sleep(0.05)
        self.job("maps('mapped'), opens('linked'), opens('gone')")
        self.sees("stat('file', 'size')", lambda: put(d / "file", "longer"), [6])
        self.sees("read('file')", lambda: put(d / "file", "LONGER"), "LONGER")
        self.sees("bytes(kept['mapped'])", lambda: put(d / "mapped", "TEXT"), b"TEXT")
        self.sees("os.pread(kept['linked'].fileno(), 9, 0)", lambda: put(d / "unseen/other", "TEXT"), b"TEXT")
        self.sees("os.fstat(kept['linked'].fileno()).st_nlink", lambda: os.link(d / "linked", d / "unseen/third"), 3)
        self.sees("stat('none', 'size')", lambda: (d / "made").rename(d / "none"), [2])
        self.sees("stat('moved', 'size')", lambda: (d / "moved").rename(d / "there"), "No such file or directory")
        self.sees("stat('gone', 'size')", lambda: (d / "gone").unlink(), "No such file or directory")
        self.sees("stat('mode', 'mode')", lambda: (d / "mode").chmod(0o600), [0o100600])
        self.sees("sorted(os.listdir('unseen'))", lambda: (d / "unseen/fourth").touch(), ["fourth", "other", "third"])
        before = (d / "unseen").stat().st_mtime_ns
        self.sees("stat('unseen', 'nlink')", lambda: (d / "unseen/dir").mkdir(), [3])
        self.assertNotEqual(self.job("stat('unseen', 'mtime_ns')"), [before])
        self.sees("stat('there', 'size')", lambda: os.rename(d / "file", d / "there"), [6])
        self.sees("stat('unseen/dir/x', 'size')", lambda: ((d / "unseen/dir").rename(d / "dir"), (d / "unseen/dir").mkdir(),
                                                           (d / "unseen/dir/x").touch()), [0])
        print(f"seen after {1e3 * statistics.median(self.late):.1f} ms in the middle, {1e3 * max(self.late):.1f} ms at most")
        self.assertLess(statistics.median(self.late), 0.05)
        self.assertLess(max(self.late), 0.6, self.late)  # without being told, most would take up to a second

    def test_who_is_told_to_look_sees_what_was_done_before(self):
        """A line of input comes behind the change that it speaks of: to a file's content, its name, what is not there."""
        for turn in range(100):
            (self.dir / "data").write_text(f"{turn:03}")
            (self.dir / "new").write_text(f"{turn:03}")
            (self.dir / "new").rename(self.dir / "name")
            there = turn % 2
            (self.dir / "flag").touch() if there else (self.dir / "flag").unlink(missing_ok=True)
            self.assertEqual(self.job("read('data'), read('name'), os.path.exists('flag')"), (f"{turn:03}", f"{turn:03}", bool(there)))

    def test_more_events_than_the_kernel_keeps(self):
        (self.dir / "file").write_text("text")
        deputies = [pid for pid in pool.processes() if pathlib.Path(f"/proc/{pid}/comm").read_text() == "ssi-deputy\n"]
        self.job("opens('file'), os.path.exists('none'), maps('file'), bytes(kept['file'])")
        for pid in deputies:
            os.kill(pid, signal.SIGSTOP)
        try:
            for i in range(20_000):
                os.utime(self.dir / ("file" if i % 2 else "unseen"))
            (self.dir / "file").write_text("TEXT")
            (self.dir / "none").touch()
        finally:
            for pid in deputies:
                os.kill(pid, signal.SIGCONT)
        self.assertEqual(self.job("read('file'), os.path.exists('none'), bytes(kept['file'])"), ("TEXT", True, b"TEXT"))

    def test_tail_follows_a_file_that_grows_at_home(self):
        log = self.dir / "log"
        log.write_text("first\n")
        with subprocess.Popen([SSIRUN, "--remote", "tail", "-n", "+1", "-f", log], cwd=pool.work, env=pool.env, text=True,
                              stdout=subprocess.PIPE) as tail:
            for line in ("first", "second", "third"):
                self.assertEqual(tail.stdout.readline(), line + "\n")
                with open(log, "a") as file:
                    file.write({"first": "second\n", "second": "third\n"}.get(line, ""))
            tail.terminate()


class Unwatched(unittest.TestCase):
    def test_what_home_cannot_watch_is_looked_at_each_time(self):
        """A FUSE file system at home: what changes beneath it happens unseen."""
        below, mount = pool.work / "below", pool.work / "mount"
        below.mkdir()
        mount.mkdir()
        (below / "file").write_text("text")
        subprocess.run(["bindfs", "-o", "attr_timeout=0,entry_timeout=0,negative_timeout=0", below, mount], check=True)
        # Home can, as soon as no job runs any more.
        self.addCleanup(lambda: self.assertTrue(wait_until(lambda: not subprocess.run(["umount", mount]).returncode, 2)))
        job = Actor("guest1", self)
        job(f"os.chdir({str(mount)!r})")
        for turn in range(10):
            (below / "file").write_text(f"{turn:0{turn + 1}}")
            (below / "flag").touch() if turn % 2 else (below / "flag").unlink(missing_ok=True)
            self.assertEqual(job("read('file'), stat('file', 'size'), os.path.exists('flag')"),
                             (f"{turn:0{turn + 1}}", [turn + 1], bool(turn % 2)))
        now, late = job.seen("stat('file', 'size')", lambda: (below / "file").write_text(""))
        self.assertEqual(now, [0])
        self.assertLess(late, 0.6)


class BetweenGuests(unittest.TestCase):
    def test_one_guests_changes_are_seen_by_the_other(self):
        one, other = Actor("guest1", self), Actor("guest2", self)
        for turn in range(30):
            one(f"write('shared', '{turn:03}'), write('new', '{turn:03}'), os.rename('new', 'moved')")
            one(f"write('flag', '')" if turn % 2 else "os.path.exists('flag') and os.unlink('flag')")
            self.assertEqual(other("read('shared'), read('moved'), os.path.exists('flag')"), (f"{turn:03}", f"{turn:03}", bool(turn % 2)))
        late = []
        for turn in range(5):
            now, seconds = other.seen("stat('shared', 'size')", lambda: one("write('shared', 'x', 'a')"))
            self.assertEqual(now, [4 + turn])
            late.append(seconds)
        self.assertLess(statistics.median(late), 0.05, late)

    def test_what_one_appends_just_after_the_other_has_written_is_seen(self):
        """Although the other's kernel asks for no size after a write by a mapping."""
        one, other = Actor("guest1", self), Actor("guest2", self)
        one("write('grown', 'x' * 9000)")
        for turn in range(1, 11):
            one("(m := mmap.mmap(os.open('grown', os.O_RDWR), 4096), m.write(b'y'), m.close())[1]")
            other("os.write(os.open('grown', os.O_WRONLY | os.O_APPEND), b'more')")
            # No stat(2), which would ask.
            look = "len(os.read(os.open('grown', os.O_RDONLY), 20000))"
            self.assertTrue(wait_until(lambda: one(look) == 9000 + 4 * turn, 0.5), f"{turn}: {one(look)}")

    def test_a_hard_link_that_one_makes_is_seen_by_the_other(self):
        """Home's kernel tells of it who watches the file itself, not who watches its directory."""
        one, other = Actor("guest1", self), Actor("guest2", self)
        (pool.work / "apart").mkdir()
        late = []
        for turn in range(3):
            (pool.work / f"once{turn}").write_text("text")
            time.sleep(0.05)
            now, seconds = other.seen(f"stat('once{turn}', 'nlink')", lambda: one(f"os.link('once{turn}', 'apart/again{turn}')"))
            self.assertEqual(now, [2])
            late.append(seconds)
        self.assertLess(statistics.median(late), 0.2, late)


if __name__ == "__main__":
    unittest.main()
