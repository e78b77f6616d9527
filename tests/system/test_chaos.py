# SPDX-License-Identifier: LGPL-2.1-or-later
"""tests/chaos/run for a short while; with --full an hour, in which each kind of fault comes often."""
import os
import pathlib
import subprocess
import sys
import unittest

FULL = bool(os.environ.get("SSI_TEST_FULL"))
SECONDS = int(os.environ.get("SSI_CHAOS_SECONDS", 3600 if FULL else 30))
TIMEOUT = SECONDS + 400


class Chaos(unittest.TestCase):
    def test_jobs_end_as_at_home_or_say_why_not(self):
        # In so short a run one dead deputy, which takes its jobs along, is much.
        least = "0.95" if FULL else "0.8"
        run = pathlib.Path(__file__).resolve().parent.parent / "chaos/run"
        often = "20" if FULL else "0"
        done = subprocess.run([sys.executable, run, "--seconds", str(SECONDS), "--least", least, "--often", often], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True)
        print(done.stdout, flush=True)
        self.assertEqual(done.returncode, 0, done.stdout)


if __name__ == "__main__":
    unittest.main()
