# SPDX-License-Identifier: LGPL-2.1-or-later
"""Random work in a job, by the programs of tests/stress: on one file, which must be as a copy in memory says, and on a tree,
which must be the same from every side."""
import difflib
import os
import re
import subprocess
import time
import unittest

from pool import BUILD, SANITIZED, SSIRUN, Pool

FILE, TREE = str(BUILD / "tests/stress/stress-file"), str(BUILD / "tests/stress/stress-tree")
FULL = bool(os.environ.get("SSI_TEST_FULL"))
SEEDS, OPERATIONS = (100, 100_000) if FULL else (2, 1000) if SANITIZED else (8, 2000)
SECONDS = 120 if FULL else 4
TIMEOUT = 20_000 if FULL else 600
pool = None


def setUpModule():
    global pool
    pool = Pool(2)
    pool.__enter__()


def tearDownModule():
    pool.__exit__(None)


def tree_as_seen_by(prefix, directory):
    done = subprocess.run([*prefix, TREE, "list", directory], env=pool.env, cwd="/", capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


class OneFile(unittest.TestCase):
    def play(self, *how):
        """All seeds in one job; what each prints of its copy is what home then has."""
        work = pool.work / f"file{'-'.join(how)}"
        work.mkdir()
        script = f'for seed in $(seq {SEEDS}); do echo "seed $seed: $({FILE} $seed $seed {OPERATIONS} {" ".join(how)})"; done'
        done = subprocess.run([SSIRUN, "--remote", "sh", "-c", script], env=pool.env, cwd=work, capture_output=True, text=True,
                              timeout=20_000 if FULL else 300)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        said = [tuple(line.split()) for line in re.findall(r"^seed (.*)$", done.stdout.replace(":", ""), re.M)]
        has = [(line.split()[0][2:], line.split()[3], line.split()[5]) for line in tree_as_seen_by([], work)[1:]]
        self.assertEqual(len(said), SEEDS)
        self.assertEqual(sorted(said), sorted(has))

    def test_calls(self):
        self.play()

    def test_calls_and_mappings(self):
        self.play("maps")


class Tree(unittest.TestCase):
    def play(self, name, places, seconds):
        """From all the places at once; then each of them sees the same tree."""
        work = pool.work / name
        work.mkdir()
        running = [subprocess.Popen([*place, TREE, "run", work, str(seed + int(time.time())), "4", str(seconds), *["elsewhere"][:len(places) - 1]], env=pool.env,
                                    cwd="/", stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
                   for seed, place in enumerate(places)]
        said = [process.communicate(timeout=seconds + 120) for process in running]
        for process, (out, errors) in zip(running, said):
            self.assertEqual(process.returncode, 0, errors)
        home = tree_as_seen_by([], work)
        self.assertGreater(len(home), 20)
        if len(places) == 1:  # the job that did it saw it so at its end
            self.assertEqual(said[0][0].splitlines(), home)
        for guest in "guest1", "guest2":
            seen = tree_as_seen_by([SSIRUN, "--on", guest], work)
            self.assertTrue(seen == home, "\n".join([f"{guest} sees another tree than home:", *[*difflib.unified_diff(home, seen, "home", guest, n=0)][:60]]))

    def test_one_job(self):
        self.play("one", [[SSIRUN, "--remote"]], SECONDS)

    def test_two_guests_and_home(self):
        self.play("three", [[SSIRUN, "--on", "guest1"], [SSIRUN, "--on", "guest2"], []], SECONDS)


if __name__ == "__main__":
    unittest.main()
