# SPDX-License-Identifier: LGPL-2.1-or-later
"""The cases of tests/blackbox, each at home and by `ssirun --remote` on a pool of two guests, and compared. One test for each case."""
import os
import pathlib
import sys
import unittest

from pool import Pool, SSI, SSIRUN

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "blackbox"))
from compare import HERE, Comparison, load_cases, load_exceptions  # noqa: E402

TIMEOUT = 900
CASES = load_cases()


class BlackBox(unittest.TestCase):
    """Some cases sleep for seconds, so all are played before the first test, four at a time."""

    @classmethod
    def setUpClass(cls):
        cls.pool = Pool(2).__enter__()
        cls.addClassCleanup(cls.pool.__exit__, None)
        # The suite's process is this file's alone.
        os.environ.update(cls.pool.env, PATH=f"{pathlib.Path(SSIRUN).parent}:{pathlib.Path(SSI).parent}:{os.environ['PATH']}")
        cls.comparison = Comparison("ssirun --remote", cls.pool.work / "bb")
        cls.verdicts = {verdict.id: verdict for verdict in cls.comparison.run(CASES)}
        print(cls.comparison.summary())

    def check(self, case):
        verdict = self.verdicts[case]
        self.assertEqual(verdict.verdict, "PASS", f"{'; '.join(verdict.why)}\nlocal: {verdict.local}\nhere:  {verdict.here}"[:3000])

    def test_what_is_no_exception_ran_in_guests(self):
        exceptions = load_exceptions(HERE / "exceptions.toml")
        self.assertLessEqual(set(exceptions), {case["id"] for case in CASES})
        self.assertEqual(self.comparison.guest_cases, len(CASES) - len(exceptions))
        self.assertEqual(self.comparison.home_cases, len(exceptions))


for each in CASES:
    setattr(BlackBox, "test_" + each["id"].replace("-", "_"), lambda self, case=each["id"]: self.check(case))

if __name__ == "__main__":
    unittest.main()
