# SPDX-License-Identifier: LGPL-2.1-or-later
"""What home refuses reaches the job at the call that asked for it, or its caller: never silence, never status 0."""
import os
import pathlib
import resource
import shutil
import subprocess
import sys
import tempfile
import unittest

from pool import BUILD, Pool, SSIRUN

# Dirties a mapping of 4 MiB, of which the file system takes one at most, and ends in one of many ways.
MAPS = r"""
import errno, mmap, os, signal, sys
how, size = sys.argv[1], 4 << 20
fd = os.open('mapped', os.O_RDWR | os.O_CREAT)
os.ftruncate(fd, size)
map = mmap.mmap(fd, size)
map[:] = b'x' * size
def fails(f, *args):
    try:
        f(*args)
        return False
    except OSError as error:
        print(how, errno.errorcode[error.errno], flush=True)
        return True
if how == 'msync':
    assert fails(map.flush)
elif how == 'fsync':
    assert fails(os.fsync, fd)
elif how == 'close':
    assert fails(os.close, os.dup(fd))
elif how == 'munmap':
    map.close()
elif how == 'child':
    if not os.fork():
        os._exit(0)
    os.wait()
elif how == 'killed':
    os.kill(os.getpid(), signal.SIGKILL)
elif how == 'fsync after munmap':
    other = os.open('mapped', os.O_RDWR)
    map.close()
    assert fails(os.fsync, other)
os._exit(0)
"""
# Every call on every file of a file system in which something always fails; prints what each said.
CALLS = r"""
import errno, os
def tell(what, f, *args):
    try:
        result = f(*args)
        print(what, result if isinstance(result, int) else len(result) if result is not None else None)
    except OSError as error:
        print(what, errno.errorcode[error.errno])
for name in sorted(os.listdir('.')):
    for flags in os.O_RDWR, os.O_WRONLY | os.O_APPEND:
        try:
            fd = os.open(name, flags)
        except OSError as error:
            print(name, errno.errorcode[error.errno])
            continue
        if flags == os.O_RDWR:
            tell(name + ' read', os.pread, fd, 50000, 0)
            tell(name + ' read', os.pread, fd, 50000, 110000)
            tell(name + ' write', os.pwrite, fd, b'x' * 50000, 0)
            tell(name + ' write', os.pwrite, fd, b'x' * 50000, 75000)
            tell(name + ' truncate', os.ftruncate, fd, 300000)
        else:
            tell(name + ' append', os.write, fd, b'x' * 5000)
        tell(name + ' fsync', os.fsync, fd)
        tell(name + ' fdatasync', os.fdatasync, fd)
        tell(name + ' close a copy', os.close, os.dup(fd))
        tell(name + ' close', os.close, fd)
    tell(name + ' truncate', os.truncate, name, 300000)
"""
pool = None


def setUpModule():
    global pool
    pool = Pool(1)
    pool.__enter__()


def tearDownModule():
    pool.__exit__(None)


def mounted(test, *options, kind="tmpfs", source="ssi-test"):
    path = pathlib.Path(tempfile.mkdtemp(prefix="ssi-late-", dir="/var/tmp"))
    test.addCleanup(shutil.rmtree, path, ignore_errors=True)
    done = subprocess.run(["mount", "-t", kind, "-o", ",".join(options), source, path], capture_output=True, text=True)
    if done.returncode:
        test.skipTest(f"no such file system here: {done.stderr}")
    test.addCleanup(subprocess.run, ["umount", "--lazy", path], check=True)
    return path


def job(work, *words, **options):
    return subprocess.run([SSIRUN, "--remote", *words], env=pool.env, cwd=work, capture_output=True, text=True, timeout=120, **options)


class Mappings(unittest.TestCase):
    def test_a_full_disk(self):
        """At home such a job dies of SIGBUS. In a guest its last words are the kernel's; its caller hears of them."""
        for how, says in {"exit": "", "munmap": "", "child": "", "killed": "", "msync": "msync ENOSPC\n", "fsync": "fsync ENOSPC\n",
                          "close": "close ENOSPC\n", "fsync after munmap": "fsync after munmap ENOSPC\n"}.items():
            with self.subTest(how):
                work = mounted(self, "size=1m")
                done = job(work, sys.executable, "-c", MAPS, how)
                self.assertEqual((done.returncode, done.stdout), (125, says), done.stderr)
                self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
                self.assertIn(f"the job's changes to {work}/mapped could not be written: No space left on device", done.stderr)

    def test_output_into_a_deleted_file_on_a_full_disk(self):
        """It is a stream: the job has written all of it, and home cannot."""
        work = mounted(self, "size=1m")
        with open(work / "out", "wb") as out:
            (work / "out").unlink()
            done = subprocess.run([SSIRUN, "--remote", "head", "-c", "3000000", "/dev/zero"], env=pool.env, cwd=pool.work,
                                  stdout=out, stderr=subprocess.PIPE, text=True, timeout=60)
        self.assertEqual(done.returncode, 125, done.stderr)
        self.assertRegex(done.stderr, r"^ssirun: guest1: the job's output could not be written: No space left on device\n$")

    def test_another_job_is_not_blamed(self):
        work, other = mounted(self, "size=1m"), pool.work
        with subprocess.Popen([SSIRUN, "--remote", "sh", "-c", "exec 3> innocent; echo; read line; echo done >&3"], env=pool.env, cwd=other,
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as innocent:
            self.assertEqual(innocent.stdout.readline(), b"\n")
            self.assertEqual(job(work, sys.executable, "-c", MAPS, "exit").returncode, 125)
            said = innocent.communicate(b"\n", timeout=60)
            self.assertEqual((innocent.returncode, said), (0, (b"", b"")))

    def test_what_fits_is_no_error(self):
        work = mounted(self, "size=16m")
        done = job(work, sys.executable, "-c", MAPS, "exit")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual((work / "mapped").read_bytes(), b"x" * (4 << 20))


class Calls(unittest.TestCase):
    def test_each_says_what_it_says_at_home(self):
        """EIO, EDQUOT, ENFILE, EFBIG: at the call, at fsync or at close, as that file system has it."""
        where = pool.work / "faulty"
        where.mkdir()
        subprocess.run([BUILD / "tests/system/faulty", where], check=True, timeout=20)
        self.addCleanup(subprocess.run, ["umount", "--lazy", where], check=True)
        said = [subprocess.run([*prefix, sys.executable, "-c", CALLS], env=pool.env, cwd=where, capture_output=True, text=True, timeout=60)
                for prefix in ([], [SSIRUN, "--remote"])]
        self.assertIn("EDQUOT", said[0].stdout)
        self.assertEqual((said[1].returncode, said[1].stderr), (0, ""))
        self.assertEqual(said[1].stdout.splitlines(), said[0].stdout.splitlines())

    def test_a_disk_that_is_full_underneath(self):
        """An image that cannot grow: write(2) takes it all, and fsync(2) says that it is not there."""
        small = mounted(self, "size=8m")
        with open(small / "image", "wb") as image:
            image.truncate(64 << 20)
        subprocess.run(["mkfs.ext4", "-q", "-O", "^has_journal", small / "image"], check=True)
        disk = mounted(self, "loop", kind="ext4", source=small / "image")
        done = job(disk, "dd", "if=/dev/zero", "of=big", "bs=1M", "count=30", "conv=fsync", "status=none")
        self.assertEqual((done.returncode, done.stderr), (1, "dd: fsync failed for 'big': No space left on device\n"))

    def test_the_deputy_is_out_of_descriptors(self):
        """The job's own limit is its kernel's to say, EMFILE; that home has no more of them is ENFILE."""
        script = "import errno, os\nheld = []\nwhile True:\n    try:\n        held.append(os.open('held', os.O_WRONLY | os.O_CREAT))\n" \
                 "    except OSError as error:\n        print(len(held) > 50, errno.errorcode[error.errno], flush=True)\n        os._exit(0)\n"
        (pool.work / "many.py").write_text(script)
        done = job(pool.work, "sh", "-c", f"ulimit -n 100; exec {sys.executable} many.py")
        self.assertEqual((done.returncode, done.stdout), (0, "True EMFILE\n"), done.stderr)
        deputy = [pid for pid in pool.processes() if pathlib.Path(f"/proc/{pid}/comm").read_text() == "ssi-deputy\n"]
        limits = resource.prlimit(deputy[0], resource.RLIMIT_NOFILE)
        self.addCleanup(resource.prlimit, deputy[0], resource.RLIMIT_NOFILE, limits)
        used = len(os.listdir(f"/proc/{deputy[0]}/fd"))
        resource.prlimit(deputy[0], resource.RLIMIT_NOFILE, (used + 200, limits[1]))
        done = job(pool.work, "sh", "-c", f"ulimit -n 1000; exec {sys.executable} many.py")
        self.assertEqual((done.returncode, done.stdout), (0, "True ENFILE\n"), done.stderr)


if __name__ == "__main__":
    unittest.main()
