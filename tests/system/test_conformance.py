# SPDX-License-Identifier: LGPL-2.1-or-later
"""The programs of tests/conformance, one for each rule of a file system: at home, then in a job on the same file system.
What they print (which fallocate(2) it knows, where its holes begin) must be the same."""
import pathlib
import platform
import re
import shutil
import subprocess
import tempfile
import unittest

from pool import BUILD, SSIRUN, Pool

SOURCES = pathlib.Path(__file__).resolve().parents[1] / "conformance"
PROGRAMS = [BUILD / "tests/conformance" / f"conformance-{path.stem}" for path in sorted(SOURCES.glob("*.c"))]
LINUX = tuple(map(int, re.match(r"(\d+)\.(\d+)", platform.release()).groups()))
SMALL, READ_ONLY = "full", "readonly"  # that want a file system of their own kind
BIG = ("rights_modes", "rights_owners", "rights_sticky")  # thousands of calls, which depend on no kind of file system
pool = None


def setUpModule():
    global pool
    pool = Pool(1)
    pool.__enter__()


def tearDownModule():
    pool.__exit__(None)


class Conformance(unittest.TestCase):
    def directory(self, *options):
        """A new one: on a tmpfs that is mounted with these options, or without any on home's own disk."""
        path = pathlib.Path(tempfile.mkdtemp(prefix="ssi-conformance-", dir="/var/tmp"))
        self.addCleanup(shutil.rmtree, path)
        if options:
            subprocess.run(["mount", "-t", "tmpfs", "-o", ",".join(options), "ssi-test", path], check=True)
            self.addCleanup(subprocess.run, ["umount", "--lazy", path], check=True)
        return path

    def play(self, program, where):
        """The same program on the same file system, at home and in a job; each in a directory of its own."""
        said = []
        for prefix in [], [SSIRUN, "--remote"]:
            work = where
            if where.name != READ_ONLY:
                work = where / ("job" if prefix else "home")
                work.mkdir()
            done = subprocess.run([*prefix, program, work], env=pool.env, cwd="/", capture_output=True, text=True, timeout=120)
            said.append((done.returncode, done.stdout, done.stderr))
            if where.name != READ_ONLY:
                shutil.rmtree(work)
        self.assertEqual(said[0][0], 0, said[0])
        if LINUX < (6, 2):  # docs/view.md; the pool's guests have home's kernel
            said[0] = (0, said[0][1].replace("O_TMPFILE: 0\n", "O_TMPFILE: EOPNOTSUPP\n"), said[0][2])
        self.assertEqual(said[1], said[0])


def add(program, kind, options):
    def test(self):
        where = self.directory(*options)
        if kind == READ_ONLY:
            (where / READ_ONLY).mkdir()
            where = where / READ_ONLY
            (where / "file").write_text("12345")
            (where / "dir").mkdir()
            subprocess.run(["mount", "-o", "remount,ro", where.parent], check=True)
        self.play(program, where)

    name = program.name.removeprefix("conformance-")
    setattr(Conformance, f"test_{name}_{kind}", test)


for each in PROGRAMS:
    name = each.name.removeprefix("conformance-")
    if name == SMALL:
        add(each, "on_a_small_tmpfs", ["size=2m"])
    elif name == READ_ONLY:
        add(each, READ_ONLY, ["size=2m"])
    else:
        if name not in BIG:
            add(each, "on_disk", [])
        add(each, "on_a_tmpfs", ["size=1g"])
