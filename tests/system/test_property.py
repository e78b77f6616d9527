# SPDX-License-Identifier: LGPL-2.1-or-later
"""300 random sequences of writes, signals, closes and sleeps, to a child at home and to one behind ssirun: no difference.

RC_PARAMS="seed=N" tries the same again; the seed is in what the test prints when it fails.
"""
import re
import unittest

from pool import BUILD, SANITIZED, Home, Pool, SSIRUN

PROGRAMS = BUILD / "tests/system"
COUNT = 100 if SANITIZED else 300


class Property(unittest.TestCase):
    def check(self, home, *prefix):
        done = home.run(PROGRAMS / "proxy-property", PROGRAMS / "proxy-child", *prefix, timeout=300,
                        env={} if "RC_PARAMS" in home.env else {"RC_PARAMS": f"max_success={COUNT}"})
        said = (done.stdout + done.stderr).decode(errors="replace")
        print(re.search("Using configuration.*", said)[0])
        self.assertEqual(done.returncode, 0, said)
        self.assertIn("OK, passed", said)

    def test_the_sequences_are_definite(self):
        """Two runs at home are the same, so a difference is ssirun's."""
        with Home() as home:
            self.check(home)

    def test_behind_ssirun_it_is_as_at_home(self):
        with Pool(1) as pool:
            self.assertEqual(pool.ssirun("--remote", "true").returncode, 0)
            self.check(pool, SSIRUN, "--remote")


if __name__ == "__main__":
    unittest.main()
