# SPDX-License-Identifier: LGPL-2.1-or-later
"""The guest image in a real Xen, under emulation: tests/xen/run, which see."""
import os
import pathlib
import subprocess
import unittest

from pool import not_sanitized

TIMEOUT = 2500
BESIDE = 110
TOP = pathlib.Path(__file__).resolve().parents[2]


class Xen(unittest.TestCase):
    @not_sanitized("an emulated guest of 256 MiB is too small and too slow for it")
    def test_guests_in_a_real_xen(self):
        guests = "2" if os.environ.get("SSI_TEST_FULL") else "1"
        done = subprocess.run([str(TOP / "tests/xen/run"), "--guests", guests], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True)
        print(done.stdout)
        last = done.stdout.rstrip().rsplit("\n", 1)[-1]
        self.assertRegex(last, r"^[1-9][0-9]* passed, 0 failed$", done.stdout)
        self.assertEqual(done.returncode, 0)


if __name__ == "__main__":
    unittest.main()
