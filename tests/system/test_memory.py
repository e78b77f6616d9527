# SPDX-License-Identifier: LGPL-2.1-or-later
"""A guest that kills a job for want of memory says so, and the job is run where there is more."""
import os
import pathlib
import subprocess
import unittest

from pool import Pool, SSIRUN, wait_until

GROUPS = pathlib.Path("/sys/fs/cgroup/memory")


@unittest.skipUnless((GROUPS / "memory.limit_in_bytes").exists() and os.access(GROUPS, os.W_OK), "no memory cgroup (v1)")
class Memory(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.pool = Pool(2).__enter__()
        cls.addClassCleanup(cls.pool.__exit__, None)

    def blamed(self):
        log = self.pool.dir / "state/ssi/deputy.log"
        return log.read_text().count("killed by a guest without memory") if log.exists() else 0

    def limited(self, script, *options):
        """A job that waits for its limit, 32 MiB, then runs `script`. The limit is not there when the job is run again."""
        group = GROUPS / f"ssi-test-{os.getpid()}"
        group.mkdir()
        try:
            (group / "memory.limit_in_bytes").write_text(str(32 << 20))
            job = subprocess.Popen([SSIRUN, *(options or ("--on", "guest1")), "sh", "-c", f"read go; {script}"], cwd=self.pool.work,
                                   env={**self.pool.env, "SSI_MEMORY_TEST": "1"},
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            home = os.readlink("/proc/self/ns/pid")
            inside = []

            def found():
                for pid in subprocess.run(["pgrep", "-f", "read go; "], capture_output=True, text=True).stdout.split():
                    try:
                        marked = b"SSI_MEMORY_TEST=1" in pathlib.Path(f"/proc/{pid}/environ").read_bytes()
                        if marked and os.readlink(f"/proc/{pid}/ns/pid") != home:
                            inside.append(pid)
                    except OSError:
                        pass
                return inside

            self.assertTrue(wait_until(found, 10))
            (group / "cgroup.procs").write_text(inside[0])
            out, error = job.communicate(b"\n", timeout=60)
            return job.returncode, out, error
        finally:
            self.assertTrue(wait_until(lambda: not (group / "cgroup.procs").read_text(), 5))
            group.rmdir()

    def test_killed_for_want_of_memory(self):
        eats = "exec python3 -c 'x = bytearray(200 << 20)'"
        before = self.blamed()
        self.limited(eats)
        self.assertEqual(self.blamed(), before + 1)
        self.limited(eats.replace("exec ", "") + "; exit $?")  # a shell that says so of its command
        self.assertEqual(self.blamed(), before + 2)

    def test_it_is_run_again_elsewhere(self):
        """Although its death closes its streams, as an end of its own would."""
        status, out, errors = self.limited("echo begun; python3 -c 'print(len(bytearray(200 << 20)))'; exit $?", "--remote", "-v")
        self.assertEqual((status, out), (0, b"begun\n209715200\n"), errors)
        self.assertRegex(errors.decode(), r"run again: guest\d ran out of memory")

    def test_killed_otherwise(self):
        before = self.blamed()
        self.assertEqual(self.limited("kill -9 $$")[0], -9)
        self.assertEqual(self.blamed(), before)


if __name__ == "__main__":
    unittest.main()
