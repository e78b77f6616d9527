# SPDX-License-Identifier: LGPL-2.1-or-later
"""Random sequences of operations on files by up to four processes, at home and in jobs on two guests, beside the same sequences by
processes that are all at home: each answer, and at the end all files, must be the same. With SSI_TEST_FULL 10 000 sequences.

RC_PARAMS="seed=N" tries the same again; the seed is in what the test prints.
"""
import os
import re
import unittest

from pool import BUILD, SANITIZED, Home, Pool, SSIRUN

TIMEOUT = 3600
PROGRAMS = BUILD / "tests/system"
COUNT = 10_000 if os.environ.get("SSI_TEST_FULL") and not SANITIZED else 200


class ViewProperty(unittest.TestCase):
    def check(self, home, *places, count):
        (home.work / "property").mkdir()
        done = home.run(PROGRAMS / "view-property", home.work / "property", PROGRAMS / "view-actor", SSIRUN, *places, timeout=3000,
                        env={} if "RC_PARAMS" in home.env else {"RC_PARAMS": f"max_success={count}"})
        said = (done.stdout + done.stderr).decode(errors="replace")
        print(re.search("Using configuration.*", said)[0])
        self.assertEqual(done.returncode, 0, said)
        self.assertIn("OK, passed", said)

    def test_the_sequences_are_definite(self):
        """Two runs at home are the same, so a difference is the view's."""
        with Home() as home:
            self.check(home, "home", "home", "home", "home", count=100)

    def test_jobs_of_two_guests_and_processes_at_home(self):
        with Pool(2) as pool:
            for guest in ("guest1", "guest2"):
                self.assertEqual(pool.ssirun("--on", guest, "true").returncode, 0)
            self.check(pool, "guest1", "guest1", "guest2", "home", "home", count=COUNT)


if __name__ == "__main__":
    unittest.main()
