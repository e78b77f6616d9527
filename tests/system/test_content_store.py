# SPDX-License-Identifier: LGPL-2.1-or-later
"""What one session has read the next one has: the agent keeps content, for the state of a file that home vouches for."""
import os
import unittest

from old_files import OldFiles, read_here, read_in
from pool import Pool, wait_until

TEXT = bytes(range(256)) * 4096  # 1 MiB


class ContentStore(unittest.TestCase):
    def disk(self, **files):
        disk = OldFiles(files)
        self.addCleanup(disk.close)
        return disk.path

    def anew(self, pool):
        self.assertTrue(pool.end_deputy())

    def kept(self, pool, file):
        """Whether the guest keeps content of this file."""
        cache = f"/proc/{pool.guest_pid(1)}/root/var/cache/ssi"
        store = next(name for name in os.listdir(cache) if name != "boot")
        stored = os.listdir(f"{cache}/{store}")
        return any(name.split("-")[1] == f"{os.stat(file).st_ino:x}" for name in stored)

    def test_a_new_session(self):
        disk = self.disk(one=TEXT, two=TEXT[:5000])
        with Pool(1) as pool:
            first, sent = read_in(pool, "guest1", disk / "one", disk / "two")
            self.assertGreaterEqual(sent, len(TEXT))
            self.anew(pool)
            again, sent = read_in(pool, "guest1", disk / "one", disk / "two")
            self.assertEqual(again, first)
            self.assertLess(sent, 4096)

    def test_what_has_changed_meanwhile(self):
        """Also when it looks the same but for its ctime."""
        disk = self.disk(one=TEXT)
        with Pool(1) as pool:
            read_in(pool, "guest1", disk / "one")
            self.assertTrue(wait_until(lambda: self.kept(pool, disk / "one"), 5))
            self.anew(pool)
            before = os.stat(disk / "one")
            with open(disk / "one", "r+b") as file:
                file.write(b"X")
            os.utime(disk / "one", ns=(before.st_atime_ns, before.st_mtime_ns))
            seen, sent = read_in(pool, "guest1", disk / "one")
            self.assertEqual(seen, read_here(disk / "one"))
            self.assertGreaterEqual(sent, len(TEXT))

    def test_what_may_still_change_unseen(self):
        """A mapping that is written moves the times once in half a minute."""
        disk = self.disk(old=TEXT)
        (disk / "young").write_bytes(TEXT)
        with Pool(1) as pool:
            read_in(pool, "guest1", disk / "young", disk / "old")
            self.assertTrue(wait_until(lambda: self.kept(pool, disk / "old"), 5))
            self.assertFalse(self.kept(pool, disk / "young"))


if __name__ == "__main__":
    unittest.main()
