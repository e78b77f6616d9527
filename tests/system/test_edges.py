# SPDX-License-Identifier: LGPL-2.1-or-later
"""At the edge: what is full or used up is said once, costs a job its errno or its guest, and no daemon its life."""
import contextlib
import os
import pathlib
import resource
import shlex
import signal
import socket
import subprocess
import time
import unittest

from pool import Pool, SSIRUN, inits, is_zombie, wait_until

GROUPS = pathlib.Path("/sys/fs/cgroup/memory")
OUT = b"out of descriptors"
pool = None


def setUpModule():
    global pool
    pool = Pool(1)
    pool.__enter__()


def tearDownModule():
    pool.__exit__(None)


def deputies(of):
    return [pid for pid in of.processes() if pathlib.Path(f"/proc/{pid}/comm").read_text() == "ssi-deputy\n" and not is_zombie(pid)]


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def log_of(of, name):
    return "".join(log.read_text(errors="replace") for log in (of.dir / "state").rglob(f"{name}.log"))


class Lowered:
    """A process that can open so many descriptors more. It must not have turned in a loop meanwhile."""

    def __init__(self, test, pid, more):
        self.test, self.pid, self.more = test, pid, more

    def __enter__(self):
        used = {int(number) for number in os.listdir(f"/proc/{self.pid}/fd")}
        free = [number for number in range(max(used) + self.more + 2) if number not in used]
        self.before = resource.prlimit(self.pid, resource.RLIMIT_NOFILE)
        self.cpu = cpu_seconds(self.pid)
        resource.prlimit(self.pid, resource.RLIMIT_NOFILE, (free[self.more], self.before[1]))
        return self

    def __exit__(self, *_):
        resource.prlimit(self.pid, resource.RLIMIT_NOFILE, self.before)
        self.test.assertLess(cpu_seconds(self.pid) - self.cpu, 0.5)


class Descriptors(unittest.TestCase):
    def assert_runs(self):
        began = time.monotonic()
        done = pool.ssirun("echo", "hello", timeout=20)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, b"hello\n", b""))
        self.assertLess(time.monotonic() - began, 2)

    def assert_recovered(self):
        self.assertTrue(wait_until(lambda: pool.ssirun("--remote", "true").returncode == 0, 5))

    def fill(self, deputy, held, more):
        """Callers that say nothing take all but so many."""
        def caller():
            one = held.enter_context(socket.socket(socket.AF_UNIX))
            one.connect(str(pool.dir / "run/ssi/deputy.sock"))
            return one
        limit = resource.prlimit(deputy, resource.RLIMIT_NOFILE)[0]
        # What the last job had open is closed a moment behind it.
        counts = [len(os.listdir(f"/proc/{deputy}/fd"))]
        while len(counts) < 4 or len(set(counts[-4:])) > 1:
            time.sleep(0.1)
            counts.append(len(os.listdir(f"/proc/{deputy}/fd")))
        for _ in range(limit - len(os.listdir(f"/proc/{deputy}/fd")) - more):
            caller()
        self.assertTrue(wait_until(lambda: len(os.listdir(f"/proc/{deputy}/fd")) == limit - more, 5))
        if not more:
            self.assertEqual(caller().recv(1), b"")

    def test_the_deputy_has_none_left(self):
        pool.ssirun("--remote", "true")
        one, = deputies(pool)
        for more in (0, 1, 2, 3, 4, 8, 16):
            with self.subTest(more), contextlib.ExitStack() as held, Lowered(self, one, 30):
                self.fill(one, held, more)
                self.assert_runs()
                done = pool.ssirun("--remote", "true", timeout=20)
                self.assertEqual((done.returncode, done.stderr.count(b"\n")), (125, 1), done.stderr)
                self.assertTrue(OUT in done.stderr or more < 2, done.stderr)
            self.assert_recovered()
        self.assertEqual(deputies(pool), [one])
        self.assertEqual(log_of(pool, "deputy").count("connections are closed: out of descriptors"), 1)

    def test_a_deputy_that_starts_with_few(self):
        """libuv and libzmq abort when they get none."""
        for limit in (8, 14, 18, 22, 26, 30, 40):
            with self.subTest(limit):
                pool.end_deputy()
                done = pool.run("sh", "-c", f"ulimit -n {limit}; exec {SSIRUN} -v echo hello", timeout=20)
                self.assertEqual((done.returncode, done.stdout), (0, b"hello\n"), done.stderr)
                self.assertIn(OUT, done.stderr)
        pool.end_deputy()
        self.assert_recovered()

    def test_the_agent_has_none_left(self):
        """What is accepted there belongs to a session: the others go on, and it runs at home."""
        agent = pool.guest_pid(1)
        for more in (0, 1, 3, 4, 5, 6, 8):
            pool.end_deputy()
            with self.subTest(more), Lowered(self, agent, more):
                self.assert_runs()
            pool.end_deputy()
            self.assert_recovered()
        self.assertIn("connections are closed: out of descriptors", log_of(pool, "guest1"))
        self.assertIn("a session cannot begin: socketpair: Too many open files", log_of(pool, "guest1"))

    def test_the_scheduler_has_none_left(self):
        pool.end_deputy()
        time.sleep(0.2)  # until it has heard of that
        with Lowered(self, pool.record["scheduler"]["pid"], 0):
            self.assert_runs()
            time.sleep(4)
        self.assertIn("no new connections for a while: out of descriptors", log_of(pool, "scheduler"))
        # It had hung up on the guest, for longer than one may be silent.
        self.assertTrue(wait_until(lambda: pool.ssi("status").returncode == 0, 2))
        states = set()
        for _ in range(30):
            states.add(pool.status()["guest1"]["state"])
            time.sleep(0.1)
        self.assertEqual(states, {"up"})
        self.assert_recovered()


class Watches(unittest.TestCase):
    """Of a user namespace of its own, in which the deputy lives: this machine's limits stay as they are."""

    def test_none_can_be_had(self):
        for limit, many in (("max_inotify_instances", 0), ("max_inotify_watches", 0), ("max_inotify_watches", 2)):
            with self.subTest(limit, many=many):
                self.fresh(limit, many)

    def fresh(self, limit, many):
        pool.end_deputy()
        said = log_of(pool, "deputy").count("can be watched")
        file = pool.work / "watched"
        file.write_text("0\n")
        # What cat says comes in one piece: it must not be asked for a change while it still reads. What was opened for the line before is not
        # looked up again.
        script = 'exec 3<watched; while read line; do stat -L -c %s /dev/fd/3; exec 3<watched; stat -c %s watched; echo "$(cat watched)"; done'
        command = f"echo {many} >/proc/sys/user/{limit} && exec {SSIRUN} --remote sh -c {shlex.quote(script)}"
        with subprocess.Popen(["unshare", "--user", "--map-root-user", "sh", "-c", command], cwd=pool.work, env=pool.env,
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as job:
            def ask(text, opened):
                job.stdin.write("\n")
                job.stdin.flush()
                self.assertEqual([job.stdout.readline() for _ in "123"], [f"{len(opened)}\n", f"{len(text)}\n", text])
            text = "0\n"
            for turn in range(1, 5):
                time.sleep(0.05)  # what was changed only now is not believed in anyway
                ask(text, text)
                before, text = text, str(turn) * (turn + 1) + "\n"
                if turn % 2:
                    before = text
                    file.write_text(text)
                else:
                    (pool.work / "other").write_text(text)
                    (pool.work / "other").rename(file)
                ask(text, before)
            job.stdin.close()
            self.assertEqual((job.wait(20), job.stderr.read()), (0, ""))
        pool.end_deputy()
        self.assertEqual(log_of(pool, "deputy").count("can be watched"), said + 1)


def fill(directory):
    with open(directory / "filler", "wb", buffering=0) as filler:
        for size in (4096, 1):
            try:
                while filler.write(bytes(size)):
                    pass
            except OSError:
                pass


class Small(unittest.TestCase):
    def mounted(self, path, size):
        path.mkdir(exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "ssi-test", path], check=True)
        self.addCleanup(subprocess.run, ["umount", "--lazy", path], check=True)

    def test_a_full_disk_at_home(self):
        """The job hears of it; what was kept to undo its changes makes room first."""
        work = pool.dir / "small"
        self.mounted(work, "8m")
        (work / "old").write_bytes(os.urandom(4 << 20))
        begun = "dd if=/dev/zero of=old bs=64k count=64 conv=notrunc status=none; "
        for script, status, error in (
                (begun + "dd if=/dev/zero of=new bs=64k count=64 status=none", 0, ""),
                ("dd if=/dev/zero of=more bs=64k count=1 status=none", 1, "dd: error writing 'more': No space left on device\n"),
                ("head -c 100000 /dev/zero", 1, "head: error writing 'standard output': No space left on device\n")):
            with open(work / "out", "ab") as out:
                done = subprocess.run([SSIRUN, "--remote", "sh", "-c", script], cwd=work, env=pool.env, stdout=out,
                                      stderr=subprocess.PIPE, text=True, timeout=30)
            self.assertEqual((done.returncode, done.stderr), (status, error))
        self.assertEqual((work / "new").stat().st_size, 4 << 20)
        self.assertEqual(log_of(pool, "deputy").count("what was kept to undo jobs' changes makes room"), 1)

    def test_a_full_guest(self):
        root = pathlib.Path(f"/proc/{pool.guest_pid(1)}/root")
        pool.end_deputy()
        fill(root)
        self.addCleanup((root / "filler").unlink)
        script = "echo hello; dd if=/dev/zero of=/dev/shm/all bs=1M count=2 status=none; stat -c %s /dev/shm/all"
        self.assertEqual(pool.ssirun("--remote", "sh", "-c", script).stdout, b"hello\n2097152\n")

    def test_a_full_state_directory(self):
        small = Pool(1)
        state = small.dir / "state"
        disk = pool.dir / "disk"  # not below what that pool finds empty when it ends
        self.mounted(disk, "2m")
        state.rmdir()
        state.symlink_to(disk)
        with small:
            self.assertEqual(small.ssirun("--remote", "true").returncode, 0)
            fill(state)
            for _ in range(12):
                done = small.ssirun("--remote", "sh", "-c", "echo hello; echo > made; rm made")
                self.assertEqual((done.returncode, done.stdout, done.stderr), (0, b"hello\n", b""))
            one, = deputies(small)
            (state / "filler").write_bytes(b"")
            self.assertEqual(small.ssirun("--remote", "true").returncode, 0)
            self.assertEqual(deputies(small), [one])
            small.end_deputy()
            self.assertLessEqual(log_of(small, "deputy").count("jobs are not recorded"), 1)
            self.assertEqual(small.ssi("history").stdout.count(b"  true\n"), 2)
            self.assertEqual(small.ssi("history").stdout.count(b"  sh\n"), 12, "kept until there was room")
            self.start_without_room(small, state)

    def start_without_room(self, small, state):
        """Of the deputy's log there is nothing to be seen."""
        key = state / "ssi/keys/deputy.key"
        key.rename(key.with_suffix(".kept"))
        fill(state)
        done = small.ssirun("-v", "echo", "hello")
        self.assertEqual((done.returncode, done.stdout), (0, b"hello\n"))
        done = small.ssirun("--remote", "echo", "hello")
        self.assertEqual((done.returncode, done.stderr.count(b"\n")), (125, 1), done.stderr)
        self.assertIn(b"deputy.key: No space left on device", done.stderr)
        (state / "filler").unlink()
        key.with_suffix(".kept").rename(key)
        self.assertEqual(small.ssirun("--remote", "true").returncode, 0)


@unittest.skipUnless((GROUPS / "memory.limit_in_bytes").exists() and os.access(GROUPS, os.W_OK), "no memory cgroup (v1)")
class Memory(unittest.TestCase):
    def is_removed(self, group):
        """Its processes go back to where all are; some are just ending."""
        with contextlib.suppress(ProcessLookupError):
            for pid in (group / "cgroup.procs").read_text().split():
                (GROUPS / "cgroup.procs").write_text(pid)
        with contextlib.suppress(OSError):
            group.rmdir()
        return not group.exists()

    def test_the_kernel_does_not_choose_the_agent(self):
        """Although each process of the job is smaller."""
        pool.ssirun("--remote", "true")
        self.assertTrue(wait_until(lambda: inits(pool.guest_pid(1)), 5))
        inside = subprocess.run(["pgrep", "--ns", str(pool.guest_pid(1)), "--nslist", "net"], capture_output=True, text=True).stdout.split()
        of_guest = [pid for pid in inside if int(pid) not in inits(pool.guest_pid(1))]
        self.assertEqual(len(of_guest), 4, "parent, reporter, home, stem")
        group = GROUPS / f"ssi-test-{os.getpid()}"
        group.mkdir()
        self.addCleanup(lambda: self.assertTrue(wait_until(lambda: self.is_removed(group), 5)))
        (group / "memory.limit_in_bytes").write_text(str(32 << 20))
        for pid in inside:  # the next job's init too
            (group / "cgroup.procs").write_text(pid)
        eats = "i=0; while [ $i -lt 100 ]; do (x=$(head -c 1000000 /dev/zero | tr '\\0' x); exec 1>&- 2>&-; read y <fifo) & i=$((i + 1)); done; wait"
        os.mkfifo(pool.work / "fifo")
        job = subprocess.Popen([SSIRUN, "--on", "guest1", "sh", "-c", "mkfifo mine; " + eats.replace("fifo)", "mine)")], cwd=pool.work, env=pool.env,
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            def killed():
                return "oom_kill 0" not in (group / "memory.oom_control").read_text()
            self.assertTrue(wait_until(killed, 20))
            time.sleep(0.5)
        finally:
            job.send_signal(signal.SIGTERM)
            job.wait(20)
        self.assertEqual([pid for pid in of_guest if is_zombie(int(pid))], [])
        (group / "memory.limit_in_bytes").write_text("-1")
        # It may have been too short of memory to report.
        self.assertTrue(wait_until(lambda: pool.status().get("guest1", {}).get("state") == "up", 10))
        self.assertEqual(pool.ssirun("--on", "guest1", "echo", "fine").stdout, b"fine\n")


if __name__ == "__main__":
    unittest.main()
