# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is acknowledged to a job before home has done it: home does it in the same order, and who learns of it from the job finds it done."""
import os
import pathlib
import re
import signal
import subprocess
import time
import unittest

from pool import Pool, SSIRUN, wait_until

# Makes files in a directory of its own a second after it has said so; how long that took is one of them. Once before, so that all pages of
# Python that it takes are in the guest.
MAKES = r"""
import os, sys, time
print('begun', flush=True)
sys.stdin.readline()
def make(folder):
    for number in range(3):
        with open(f'{folder}/{number}', 'x') as file:
            file.write('x' * 1000)
            file.flush()
            os.utime(file.fileno(), (1, 2))
            os.chmod(file.fileno(), 0o640)
    os.symlink('0', f'{folder}/link')
    os.unlink(f'{folder}/2')
    with open(f'{folder}/took', 'x') as file:
        file.write(str(time.monotonic() - began))
began = time.monotonic()
os.mkdir('own')
os.mkdir('own/before')
make('own/before')
os.mkdir('own/now')
os.close(os.open('own/now/first', os.O_WRONLY | os.O_CREAT | os.O_EXCL))
os.stat('own/now/first')
print('ready', flush=True)
time.sleep(1)
began = time.monotonic()
make('own/now')
"""
# What is told of a file before it is at home, and behind it.
TELLS = r"""
import os, sys
os.mkdir('own')
for number in range(int(sys.argv[1])):
    name = f'own/{number}'
    fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
    told = os.fstat(fd)
    os.write(fd, b'12345')
    os.pwrite(fd, b'67', 3)
    again = os.fstat(fd)
    os.close(fd)
    by_name = os.lstat(name)
    assert told.st_size == 0 and again.st_size == by_name.st_size == 5, (told, again, by_name)
    assert told.st_ino == again.st_ino == by_name.st_ino != 0, (told, again, by_name)
    assert again == by_name, (again, by_name)
    print(name, by_name.st_ino, oct(by_name.st_mode), by_name.st_mtime_ns, by_name.st_uid)
    with open(name) as file:
        assert file.read() == '12367'
"""
# Data, and then its flag.
FLAGS = r"""
import os
os.mkdir('own')
for number in range(200):
    with open(f'own/data{number}', 'x') as file:
        file.write('x' * (number * 997))
    with open(f'own/flag{number}', 'x') as file:
        pass
"""
# Each is there while it is there, whoever looks at it; and the last two stay.
REMOVES = r"""
import os
os.mkdir('own')
for number in range(200):
    name = f'own/{number}'
    with open(name, 'w') as file:
        file.write('x' * 5000)
    if number % 50 == 1:
        with open(name) as file:
            os.unlink(name)
            assert file.read() == 'x' * 5000
    elif number % 50 == 2:
        os.link(name, name + '.copy')
        os.unlink(name)
        with open(name + '.copy') as file:
            assert file.read() == 'x' * 5000
        os.unlink(name + '.copy')
    elif number < 198:
        os.unlink(name)
    assert os.path.exists(name) == (number >= 198)
assert sorted(os.listdir('own')) == ['198', '199']
for _ in range(20):
    os.mkdir('own/folder')
    os.close(os.open('own/short', os.O_WRONLY | os.O_CREAT))
    os.unlink('own/short')
    os.rmdir('own/folder')
    assert os.stat('own').st_nlink == 2
"""
# Closed before another file is.
CLOSES = r"""
import os, sys
os.mkdir('own')
other = open('/etc/passwd')
with open('own/made', 'w') as file:
    file.write('x')
other.close()
print('closed', flush=True)
sys.stdin.readline()
"""
SAYS = r"""
import os
for number in range(100):
    with open(f'said{number}', 'w') as file:
        file.write('x' * 100_000)
    still_open = os.open(f'open{number}', os.O_WRONLY | os.O_CREAT)
    for _ in range(10):
        os.write(still_open, b'x' * 100)
    print(number, flush=True)
"""
# Changes of a file that home is asked for first, between some that it is not.
SIZES = r"""
import mmap, os
os.mkdir('own')
for number in range(20):
    fd = os.open(f'own/{number}', os.O_RDWR | os.O_CREAT | os.O_EXCL)
    os.write(fd, b'x' * 100)
    os.ftruncate(fd, 5000)
    os.fchmod(fd, 0o640)
    with mmap.mmap(fd, 5000) as map:
        assert map[4500] == 0
        map[4500] = 1
    os.fchmod(fd, 0o600)
    assert os.fstat(fd).st_size == 5000
    os.posix_fallocate(fd, 5000, 5000)
    os.utime(fd, (1, 2))
    assert os.lseek(fd, 0, os.SEEK_END) == 10000
    assert os.pread(fd, 10, 4495) == bytes(5) + b'\1' + bytes(4)
    os.close(fd)
"""
# Writes here and there, and reads it back, as linkers do. Then somebody else writes.
READS_BACK = r"""
import os, random, sys
choice = random.Random(1)
file = open(sys.argv[1], 'w+b', buffering=0)
held = bytearray()
for turn in range(300):
    at, written = choice.randrange(200_000), choice.randbytes(choice.randrange(1, 6000))
    file.seek(at)
    file.write(written)
    held += bytes(max(0, at - len(held)))
    held[at:at + len(written)] = written
    at = choice.randrange(len(held))
    file.seek(at)
    assert file.read(5000) == held[at:at + 5000], (turn, at)
    assert file.seek(0, os.SEEK_END) == len(held)
print('read', flush=True)
sys.stdin.readline()
file.seek(0)
print(file.read(5), os.fstat(file.fileno()).st_size == len(held), flush=True)
with open(sys.argv[1], 'rb') as again:
    assert again.read()[5:] == held[5:]
"""
# Claims names by O_EXCL, one after the other.
CLAIMS = r"""
import os, sys
claimed = 0
for number in range(300):
    try:
        os.close(os.open(f'own/{number}', os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        claimed += 1
    except FileExistsError:
        pass
print(claimed)
"""


class Ahead(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.pool = Pool(2)
        cls.pool.__enter__()
        cls.addClassCleanup(lambda: cls.pool.__exit__(None))

    def setUp(self):
        """A folder in which home has changed nothing: elsewhere it is asked first for a while."""
        self.work = self.pool.work / self._testMethodName
        self.work.mkdir()

    def start(self, guest, script, *words, **streams):
        streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
        return subprocess.Popen([SSIRUN, "--on", f"guest{guest}", "/usr/bin/python3", "-c", script, *words], env=self.pool.env,
                                cwd=self.work, text=True, **streams)

    def deputy(self):
        return [pid for pid in self.pool.processes() if pathlib.Path(f"/proc/{pid}/comm").read_text().strip() == "ssi-deputy"]

    def standing_still(self, meanwhile=lambda: None, before=lambda: None):
        """MAKES, while its deputy stands still for two seconds."""
        job = self.start(1, MAKES)
        self.assertEqual(job.stdout.readline(), "begun\n")
        before()
        job.stdin.write("\n")
        job.stdin.flush()
        self.assertEqual(job.stdout.readline(), "ready\n")
        deputies = self.deputy()
        self.assertTrue(deputies)
        for pid in deputies:
            os.kill(pid, signal.SIGSTOP)
        try:
            time.sleep(2)
            self.assertEqual(sorted(os.listdir(self.work / "own/now")), ["first"])
            meanwhile()
        finally:
            for pid in deputies:
                os.kill(pid, signal.SIGCONT)
        out, errors = job.communicate(timeout=30)
        return job.returncode, errors

    def test_the_job_goes_on_while_home_stands_still(self):
        self.assertEqual(self.standing_still(), (0, ""))
        own = self.work / "own/now"
        self.assertEqual(sorted(os.listdir(own)), ["0", "1", "first", "link", "took"])
        self.assertEqual(os.readlink(own / "link"), "0")
        self.assertLess(float((own / "took").read_text()), 0.5)
        for name in "01":
            status = (own / name).stat()
            self.assertEqual((status.st_size, status.st_mode & 0o777, status.st_mtime), (1000, 0o640, 2))

    def test_where_home_is_at_work_it_is_asked_first(self):
        """In what the job makes there too: home may be about to do the same."""
        self.assertEqual(self.standing_still(before=(self.work / "by home").touch), (0, ""))
        self.assertGreater(float((self.work / "own/now/took").read_text()), 0.9)

    def test_what_home_refuses_later(self):
        """The job has ended well; 125, and its file is named."""
        own = self.work / "own/now"
        try:
            status, errors = self.standing_still(lambda: subprocess.run(["chattr", "+i", own], check=True))
        finally:
            subprocess.run(["chattr", "-i", own], check=True)
        self.assertEqual(status, 125)
        self.assertRegex(errors, rf"^ssirun: guest1: the job's changes to {own}/0 could not be written: Operation not permitted\n$")
        self.assertEqual(os.listdir(own), ["first"])

    def test_what_is_told_of_a_file(self):
        """Its inode number before home has made it, and all else once that matters."""
        done = self.pool.ssirun("--on", "guest1", "/usr/bin/python3", "-c", TELLS, "100", cwd=self.work)
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        lines = done.stdout.decode().splitlines()
        self.assertEqual(len(lines), 100)
        for line in lines:
            name, inode, mode, mtime, uid = line.split()
            status = (self.work / name).stat()
            self.assertEqual((int(inode), mode, int(mtime), int(uid)),
                             (status.st_ino, oct(status.st_mode), status.st_mtime_ns, status.st_uid))

    def test_sizes_that_home_has_the_say_of(self):
        done = self.pool.ssirun("--on", "guest1", "/usr/bin/python3", "-c", SIZES, cwd=self.work)
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        for file in (self.work / "own").iterdir():
            self.assertEqual((file.stat().st_size, file.stat().st_mtime), (10000, 2))

    def test_what_it_has_written_it_reads_by_itself(self):
        (self.work / "there").write_bytes(b"before" * 100_000)
        for name in "made", "there":
            with self.subTest(name=name):
                job = subprocess.Popen([SSIRUN, "-v", "--on", "guest1", "/usr/bin/python3", "-c", READS_BACK, name], env=self.pool.env, cwd=self.work, text=True,
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
                self.assertEqual(job.stdout.readline(), "read\n")
                with open(self.work / name, "r+b") as file:
                    file.write(b"HELLO")
                out, errors = job.communicate("go\n", timeout=30)
                self.assertEqual((job.returncode, out), (0, "b'HELLO' True\n"), errors)
                trips = int(re.search(r"files: (\d+) round trips", errors)[1])
        self.assertLess(trips, 100)  # 1200 calls; the first job's are also what starts python

    def test_home_sees_things_in_the_order_in_which_they_were_done(self):
        job = self.start(1, FLAGS)
        own, seen = self.work / "own", 0
        while seen < 200:
            self.assertTrue(wait_until((own / f"flag{seen}").exists, 20), (seen, job.poll()))
            self.assertEqual((own / f"data{seen}").stat().st_size, seen * 997)
            seen += 1
        self.assertEqual(job.communicate(timeout=20), ("", ""))
        self.assertEqual(job.returncode, 0)

    def test_what_is_made_and_removed_at_once_does_not_travel(self):
        done = self.pool.ssirun("-v", "--on", "guest1", "/usr/bin/python3", "-c", REMOVES, cwd=self.work)
        self.assertEqual(done.returncode, 0, done.stderr)
        sent = int(re.search(rb"(\d+) bytes out", done.stderr)[1])
        self.assertGreaterEqual(sent, 10 * 5000)  # those that somebody had open or linked, and those that stay
        self.assertLess(sent, 60 * 5000)  # of 200; the machine may stand still for a moment
        self.assertEqual({name: (self.work / "own" / name).read_bytes() for name in os.listdir(self.work / "own")},
                         {name: b"x" * 5000 for name in ("198", "199")})

    def test_what_it_has_closed_is_closed_at_home(self):
        self.pool.ssirun("--on", "guest1", "cat", "/etc/passwd")
        job = self.start(1, CLOSES)
        self.assertEqual(job.stdout.readline(), "closed\n")

        made = self.work / "own/made"

        def open_for_writing(pid, fd):
            flags = re.search(r"flags:\s+(\d+)", pathlib.Path(f"/proc/{pid}/fdinfo/{fd}").read_text())[1]
            return int(flags, 8) & os.O_ACCMODE

        def is_open():
            return [entry for pid in self.pool.processes() for entry in pathlib.Path(f"/proc/{pid}/fd").iterdir()
                    if entry.exists() and os.path.samestat(entry.stat(), made.stat()) and pathlib.Path(f"/proc/{pid}/comm").read_text() == "ssi-deputy\n"
                    and open_for_writing(pid, entry.name)]
        self.assertTrue(made.exists())
        self.assertTrue(wait_until(lambda: not is_open(), 2), is_open())
        job.communicate("\n", timeout=20)

    def test_who_reads_its_output_finds_what_it_did(self):
        job = self.start(1, SAYS)
        for line in job.stdout:
            self.assertEqual((self.work / f"said{line.strip()}").stat().st_size, 100_000)
            self.assertEqual((self.work / f"open{line.strip()}").stat().st_size, 1000)
        self.assertEqual(job.wait(20), 0)
        job.communicate()

    def test_two_guests_claim_names(self):
        """The directory is the first one's own until the other comes by: each name is had once."""
        first = self.start(1, "import os, sys\nos.mkdir('own')\nprint('ready', flush=True)\nsys.stdin.readline()\n" + CLAIMS)
        self.assertEqual(first.stdout.readline(), "ready\n")
        second = self.start(2, CLAIMS)
        first.stdin.write("\n")
        first.stdin.flush()
        results = [job.communicate(timeout=60) for job in (first, second)]
        self.assertEqual([(job.returncode, result[1]) for job, result in zip((first, second), results)], [(0, "")] * 2)
        self.assertEqual(sum(int(out) for out, _ in results), 300)
        self.assertEqual(len(list((self.work / "own").iterdir())), 300)


if __name__ == "__main__":
    unittest.main()
