# SPDX-License-Identifier: LGPL-2.1-or-later
"""A guest is lost under a job: it is rolled back and run again, on another guest or at home, or it says why not. One case for each
condition of the failure contract."""
import os
import signal
import subprocess
import threading
import time
import unittest

from pool import Pool, SSIRUN, wait_until

BESIDE = 110

FAST = "[defaults]\ngrace = 2\n"


def tree(directory):
    return {str(path.relative_to(directory)): path.read_bytes() if path.is_file() else None for path in directory.rglob("*")}


class Jobs(unittest.TestCase):
    guests = 2

    def setUp(self):
        self.pool = Pool(self.guests)
        self.pool.__enter__()
        self.addCleanup(lambda: self.pool.__exit__(None))
        self.pool.configure(FAST)
        self.marks = 0

    def start(self, script, *options, **streams):
        """A job in sh, which calls `pause` where its guest is to be lost: there it waits, but only in the first run."""
        self.marks += 1
        self.mark = self.pool.dir / f"mark{self.marks}"
        self.sleep = f"sleep 1{self.marks:05}"
        script = f"pause() {{ [ -e {self.mark} ] || {self.sleep}; }}; {script.replace('{mark}', str(self.mark))}"
        streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
        return subprocess.Popen([SSIRUN, *(options or ("--remote",)), "sh", "-c", script], env=self.pool.env, cwd=self.pool.work, **streams)

    def where(self):
        """The guest in which the job waits; 0: it does not."""
        for number in range(1, self.guests + 1):
            found = subprocess.run(["pgrep", "-fx", "--ns", str(self.pool.guest_pid(number)), "--nslist", "net", self.sleep], capture_output=True)
            if found.returncode == 0:
                return number
        return 0

    def lose(self):
        """Kills the guest when the job has come to its pause; which one it was."""
        self.assertTrue(wait_until(self.where, 20))
        guest = self.where()
        self.mark.write_text("")
        os.kill(self.pool.guest_pid(guest), signal.SIGKILL)
        return guest

    def kill_init(self):
        """Kills the first process of the job's own when it has come to its pause, and so all of them."""
        self.assertTrue(wait_until(self.where, 20))
        guest = self.where()
        self.mark.write_text("")
        pid = subprocess.check_output(["pgrep", "-fx", "--ns", str(self.pool.guest_pid(guest)), "--nslist", "net", self.sleep], text=True)
        for _ in range(2):  # sleep, sh
            pid = subprocess.check_output(["ps", "-o", "ppid=", "-p", pid.strip()], text=True)
        os.kill(int(pid), signal.SIGKILL)
        return guest

    def ended(self, job, timeout=40):
        out, errors = job.communicate(timeout=timeout)
        return job.returncode, out, errors.decode()


class Again(Jobs):
    def test_one_that_has_done_nothing_yet(self):
        job = self.start("pause; echo done", "--remote", "-v")
        lost = self.lose()
        status, out, errors = self.ended(job)
        self.assertEqual((status, out), (0, b"done\n"), errors)
        self.assertRegex(errors, rf"^ssirun: guest{3 - lost}: .*, run again: guest{lost} was lost while the job ran")

    def test_what_it_had_changed_is_undone_first(self):
        """Late enough that the policy has looked again which files are kept from guests: not those that the undo keeps."""
        work, copy = self.pool.work, self.pool.dir / "copy"
        (work / "edited").write_text("one\ntwo\n")
        (work / "removed").write_text("was there\n")
        os.link(work / "removed", work / "other name")
        (work / "log").write_text("before\n")
        (work / "twice").write_text("x" * 300_000)
        script = ("sed -i s/one/1/ edited; sleep 1.2; rm removed; mv 'other name' moved; echo line >>log; echo short >twice; mkdir d; echo new >d/new; "
                  "echo more >>edited; pause; cat edited; ls; cat log")
        subprocess.run(["cp", "-a", work, copy], check=True)
        expected = subprocess.run(["sh", "-c", script.replace("pause; ", "")], cwd=copy, capture_output=True).stdout
        job = self.start(script)
        self.lose()
        self.assertEqual(self.ended(job), (0, expected, ""))
        self.assertEqual(tree(work), tree(copy))

    def test_its_first_process_is_killed(self):
        """No status of its own: nobody knows how far it has come."""
        job = self.start("echo x >>made; pause; echo y >>made", stdout=subprocess.DEVNULL)
        self.kill_init()
        status, _, errors = self.ended(job)
        self.assertEqual((status, (self.pool.work / "made").read_text()), (0, "x\ny\n"), errors)
        job = self.start("pause", "--remote", "--retries", "0")
        self.kill_init()
        status, _, errors = self.ended(job)
        self.assertEqual(status, 125)
        self.assertRegex(errors, r"^ssirun: guest\d killed the job's first process; it is not run again, since [^\n]*\n$")

    def test_output_that_was_delivered_is_not_repeated(self):
        job = self.start("seq 50000; pause; seq 50001 100000")
        self.lose()
        status, out, errors = self.ended(job)
        self.assertEqual((status, errors), (0, ""))
        self.assertEqual(out, "".join(f"{number}\n" for number in range(1, 100001)).encode())

    def test_output_that_differs(self):
        job = self.start("date +%s%N; pause; echo end")
        self.lose()
        status, out, errors = self.ended(job)
        self.assertEqual(status, 125)
        self.assertRegex(errors, r"^ssirun: guest\d was lost while the job ran .*; run again on guest\d its output differs from what had been delivered; .*\n$")
        self.assertNotIn(b"end", out)
        self.doCleanups()
        self.setUp()
        job = self.start("[ -e {mark} ] || echo only at first; pause; exit 0")
        self.lose()
        status, out, errors = self.ended(job)
        self.assertEqual((status, out), (125, b"only at first\n"), errors)
        self.assertIn("its output differs from what had been delivered", errors)

    def test_input_from_a_pipe(self):
        job = self.start("head -c 3000000 | md5sum; pause; md5sum", stdin=subprocess.PIPE)
        data = os.urandom(6_000_000)  # more than pipe and window hold
        feeder = threading.Thread(target=lambda: (job.stdin.write(data), job.stdin.close()))
        feeder.start()
        self.lose()
        out = job.stdout.read()
        self.assertEqual((job.wait(40), job.stderr.read()), (0, b""))
        feeder.join()
        job.stdout.close()
        job.stderr.close()
        expected = subprocess.run(["sh", "-c", "head -c 3000000 | md5sum; md5sum"], input=data, capture_output=True).stdout
        self.assertEqual(out, expected)

    def test_input_from_a_file(self):
        (self.pool.work / "in").write_text("a\nb\nc\n")
        with open(self.pool.work / "in") as source:
            job = self.start("read one; echo $one; pause; read two; echo $two", stdin=source)
            self.lose()
            self.assertEqual(self.ended(job), (0, b"a\nb\n", ""))

    def test_input_from_a_file_that_is_deleted(self):
        """A stream, not a file of the view's."""
        path = self.pool.work / "in"
        path.write_text("a\nb\nc\n")
        with open(path) as source:
            path.unlink()
            job = self.start("read one; echo $one; pause; read two; echo $two", stdin=source)
            self.lose()
            self.assertEqual(self.ended(job), (0, b"a\nb\n", ""))

    def test_output_into_a_file(self):
        with open(self.pool.work / "out", "w") as into, open(self.pool.work / "appended", "a") as log:
            log.write("before\n")
            log.flush()
            job = self.start("echo one; echo two >&2; pause; echo three; echo four >&2", stdout=into, stderr=log)
            self.lose()
            self.assertEqual(job.wait(40), 0)
        self.assertEqual((self.pool.work / "out").read_text(), "one\nthree\n")
        self.assertEqual((self.pool.work / "appended").read_text(), "before\ntwo\nfour\n")

    def test_at_home_when_there_is_no_other_guest(self):
        self.assertTrue(wait_until(lambda: self.pool.status()["guest1"]["state"] == "up", 5))
        os.kill(self.pool.guest_pid(2), signal.SIGKILL)
        self.assertTrue(wait_until(lambda: self.pool.status()["guest2"]["state"] == "gone", 8))
        self.pool.configure(FAST + 'policy = "remote"\n')
        job = self.start("echo x >made; pause; cat made; echo y >>made", "-v")
        self.lose()
        status, out, errors = self.ended(job)
        self.assertEqual((status, out), (0, b"x\n"), errors)
        self.assertEqual((self.pool.work / "made").read_text(), "x\ny\n")

    def test_not_at_home_when_it_has_said_something(self):
        """Nobody would stand between, to leave that out. Nor again in the guest that has failed it, though that is up."""
        self.pool.configure(FAST + 'policy = "remote"\n')
        self.assertEqual(self.pool.ssi("drain", "guest2").returncode, 0)
        job = self.start("echo said; pause; echo more", "-v")
        self.kill_init()
        status, out, errors = self.ended(job)
        self.assertEqual((status, out), (125, b"said\n"), errors)
        self.assertRegex(errors, r"^ssirun: guest1 killed the job's first process[^\n]*at home it would repeat what it had said")

    def test_not_again(self):
        """Each with one line that says why, and what it had written left as it is. (The end of a stream is told 50 ms later.)"""
        for options, script, why in ((("--on", "guest1"), "echo x >made; pause", "--on names its guest"),
                                     (("--remote", "--retries", "0"), "echo x >made; pause", "--retries allows no more"),
                                     (("--remote",), "echo x >made; exec >&-; sleep 0.3; pause", "it has closed one of its streams")):
            with self.subTest(why):
                job = self.start(script, *options)
                lost = self.lose()
                status, out, errors = self.ended(job)
                self.assertEqual((status, out), (125, b""))
                self.assertEqual(errors.count("\n"), 1, errors)
                self.assertIn(why, errors)
                self.assertEqual((self.pool.work / "made").read_text(), "x\n")
            self.doCleanups()
            self.setUp()

    def test_it_overwrites_more_than_its_rule_keeps(self):
        self.pool.configure(FAST + 'undo = "1M"\n')
        (self.pool.work / "big").write_bytes(b"x" * 3_000_000)
        job = self.start("head -c 2000000 /dev/zero 1<>big; pause")
        self.lose()
        status, out, errors = self.ended(job)
        self.assertEqual((status, errors.count("\n")), (125, 1), errors)
        self.assertIn("it changed more than can be undone (1 MiB)", errors)
        self.assertEqual((self.pool.work / "big").read_bytes()[:2_000_000].count(0), 2_000_000)

    def test_somebody_else_has_changed_it_too(self):
        path = self.pool.work / "shared"
        path.write_text("before\n")
        job = self.start("echo line >>shared; pause")
        self.assertTrue(wait_until(self.where, 20))
        with open(path, "a") as shared:
            shared.write("mine\n")
        self.lose()
        status, out, errors = self.ended(job)
        self.assertEqual(status, 125, errors)
        self.assertIn(f"{path} is not as the job left it", errors)
        self.assertEqual(path.read_text(), "before\nline\nmine\n")


class OfFour(Jobs):
    """Whose fault it is."""
    guests = 4

    def placed_at(self, *guests):
        """Where a job goes when no others are to be had; 0: nowhere."""
        for number in {1, 2, 3, 4} - set(guests):
            self.assertEqual(self.pool.ssi("drain", f"guest{number}").returncode, 0)
        done = self.pool.ssirun("--dry-run", "--remote", "true").stdout.decode()
        return int(done.split(":")[0].removeprefix("guest")) if done else 0

    def test_its_guest_is_set_aside_once_it_has_ended_well_elsewhere(self):
        job = self.start("pause; echo done")
        failed = self.kill_init()
        self.assertEqual(self.ended(job)[:2], (0, b"done\n"))
        self.assertEqual(self.placed_at(failed), 0)

    def test_a_job_that_fails_everywhere_blames_no_guest(self):
        job = self.start("sleep 1%05d; :" % (self.marks + 1))
        failed = []
        for _ in range(3):  # and not a fourth time
            self.assertTrue(wait_until(lambda: self.where() not in (0, *failed), 20), failed)
            failed.append(self.kill_init())
        status, _, errors = self.ended(job)
        self.assertEqual(status, 125, errors)
        self.assertIn("it is not run again, since --retries allows no more", errors)
        self.assertEqual(sorted(set(failed)), sorted(failed))
        self.assertIn(self.placed_at(*failed[:2]), failed)


if __name__ == "__main__":
    unittest.main()
