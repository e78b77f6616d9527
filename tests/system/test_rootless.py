# SPDX-License-Identifier: LGPL-2.1-or-later
"""Agent and pool of an ordinary user: user namespaces with one id, home's network."""
import ctypes
import os
import pathlib
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
import unittest

import pool as lab
from pool import Home, Pool, is_zombie, programs_for, wait_until

UID, GID, GROUP = 31007, 31008, 31009  # nobody's here
USER = ["setpriv", "--reuid", str(UID), "--regid", str(GID), "--groups", str(GROUP), "--inh-caps", "-all"]
fuse = None  # our own node, if home's is not for everybody


def setUpModule():
    """Debian's /dev/fuse is 0666. Where it is not, this process and what it starts see one that is."""
    global fuse
    if stat.S_IMODE(os.stat("/dev/fuse").st_mode) & 0o666 == 0o666:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(0x00020000):  # CLONE_NEWNS
        raise OSError(ctypes.get_errno(), "unshare")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    fuse = pathlib.Path(f"/dev/ssi-test-fuse-{os.getpid()}")
    os.mknod(fuse, stat.S_IFCHR | 0o666, os.makedev(10, 229))
    fuse.chmod(0o666)
    subprocess.run(["mount", "--bind", fuse, "/dev/fuse"], check=True)


def tearDownModule():
    if fuse:
        subprocess.run(["umount", "-l", "/dev/fuse"])
        fuse.unlink()


class User:
    """Of a Home or Pool: everything in it belongs to, and runs as, the ordinary user."""

    def become(self):
        self.dir.chmod(0o755)
        for name in ("state", "run", "config", "work"):
            os.chown(self.dir / name, UID, GID)
        self.env.update(HOME=str(self.work), USER="rootless")
        self.build = programs_for(USER, self.dir)

    def run(self, *command, **options):
        return super().run(*USER, *command, **options)

    def ssi(self, *words, **options):
        return self.run(self.build / "cli/ssi", *words, **options)

    def ssirun(self, *words, **options):
        return self.run(self.build / "shim/ssirun", *words, **options)

    def start(self, *command):
        return subprocess.Popen([*USER, *map(str, command)], env=self.env, cwd=self.work, stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)


class UserHome(User, Home):
    def __init__(self):
        super().__init__()
        self.become()


class UserPool(User, Pool):
    def __init__(self, guests=2):
        super().__init__(guests)
        self.become()


def text(done):
    return (done.stdout + done.stderr).decode(errors="replace")


def users_processes(word):
    """Pids of the user's processes, also of those in namespaces of their own, whose command line has this word."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and f"\nUid:\t{UID}\t" in (entry / "status").read_text() and not is_zombie(entry.name) \
                    and word in (entry / "cmdline").read_text().split("\0"):
                found.append(int(entry.name))
        except OSError:
            pass
    return found


class Jobs(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.pool = UserPool(2)
        cls.addClassCleanup(cls.pool.__exit__, None)
        cls.pool.__enter__()

    def remote(self, *words, **options):
        return self.pool.ssirun("--remote", *words, **options)

    def both(self, script):
        """A script's output and status in a guest, which are to be those that it has at home."""
        local = self.pool.run("sh", "-c", script)
        remote = self.remote("sh", "-c", script)
        self.assertEqual((remote.returncode, remote.stdout, remote.stderr), (local.returncode, local.stdout, local.stderr))
        return remote

    def test_a_guest_is_namespaces_of_the_user(self):
        for number in (1, 2):
            pid = self.pool.guest_pid(number)
            self.assertEqual(os.stat(f"/proc/{pid}").st_uid, UID)
            self.assertIn(f"--name\0guest{number}\0", pathlib.Path(f"/proc/{pid}/cmdline").read_text())
            self.assertEqual(pathlib.Path(f"/proc/{pid}/uid_map").read_text().split(), ["0", str(UID), "1"])
            for space in ("user", "pid", "mnt", "uts", "ipc"):
                self.assertNotEqual(os.readlink(f"/proc/{pid}/ns/{space}"), os.readlink(f"/proc/self/ns/{space}"))
            self.assertEqual(os.readlink(f"/proc/{pid}/ns/net"), os.readlink("/proc/self/ns/net"))
            mounts = pathlib.Path(f"/proc/{pid}/mountinfo").read_text()
            self.assertNotIn(" ext4 ", mounts)
            self.assertEqual(len([line for line in mounts.splitlines() if line.split()[4] == "/"]), 1, mounts)
        self.assertTrue(self.pool.record["address"].startswith("127.0.0.1:"))
        self.assertIn("127.0.0.1", (self.pool.dir / "state/ssi/pool/pool.toml").read_text())

    def test_fifos_and_locks(self):
        done = self.remote("sh", "-c", "mkfifo own; (echo through > own) & cat own; rm own")
        self.assertEqual((done.returncode, done.stdout), (0, b"through\n"), text(done))
        self.pool.run("mkfifo", "p")
        done = self.remote("cat", "p", timeout=20)
        self.assertEqual(done.returncode, 125, text(done))
        self.assertIn(b"cat opens the FIFO p, which only home can serve", done.stderr)
        with subprocess.Popen(["flock", "f", "sh", "-c", "echo; cat"], cwd=self.pool.work, stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE) as holder:
            holder.stdout.readline()
            self.assertEqual(self.remote("flock", "-n", "f", "true").returncode, 1)
        self.assertEqual(self.remote("flock", "-n", "f", "true").returncode, 0)

    def test_a_job_runs_in_the_guest_that_was_asked_for(self):
        for guest in ("guest1", "guest2"):
            done = self.pool.ssirun("-v", "--remote", "--on", guest, "cat", "/proc/self/uid_map")
            self.assertEqual(done.stdout.split(), [str(UID).encode(), b"0", b"1"], text(done))
            self.assertIn(guest.encode(), done.stderr)

    def test_ids(self):
        script = "id -u; id -g; touch mine; mkdir dir; ln -s mine link; stat -c '%u %g' mine dir link"
        done = self.remote("sh", "-c", script)
        self.assertEqual(done.stdout.decode().split("\n")[:-1], [str(UID), str(GID)] + [f"{UID} {GID}"] * 3, text(done))
        for name in ("mine", "dir", "link"):
            made = os.lstat(self.pool.work / name)
            self.assertEqual((made.st_uid, made.st_gid), (UID, GID))
        # Squashed: in a guest all files look as if they were the user's.
        self.assertEqual(self.remote("stat", "-c", "%u %g", "/etc/passwd").stdout.decode(), f"{UID} {GID}\n")
        self.assertEqual(self.pool.run("stat", "-c", "%u %g", "/etc/passwd").stdout, b"0 0\n")

    def test_no_capabilities_in_a_job(self):
        done = self.remote("grep", "-E", "Cap|NoNewPrivs", "/proc/self/status")
        facts = dict(line.split() for line in done.stdout.decode().splitlines())
        self.assertEqual({int(value, 16) for name, value in facts.items() if name.startswith("Cap")}, {0}, facts)
        self.assertEqual(facts["NoNewPrivs:"], "1")
        done = self.remote("sh", "-c", "mount -t tmpfs x /mnt; hostname other; echo > /proc/sys/vm/drop_caches; ls /view/usr")
        self.assertNotEqual(done.returncode, 0)
        for word in ("mount: /mnt", "hostname: ", "drop_caches", "/view/usr"):  # home may have a /view: any agent that was started on it
            self.assertIn(word, text(done))

    def test_agents_processes_that_parse_have_no_rights(self):
        self.remote("true")
        lone = [pid for pid in users_processes("guest1") if pid != self.pool.guest_pid(1)]
        without = [pid for pid in lone if "\nCapEff:\t0000000000000000\n" in pathlib.Path(f"/proc/{pid}/status").read_text()]
        self.assertGreaterEqual(len(without), 1, lone)  # the reporter at least
        for pid in without:
            self.assertNotEqual(os.readlink(f"/proc/{pid}/ns/user"), os.readlink(f"/proc/{self.pool.guest_pid(1)}/ns/user"))

    def test_results_are_the_same(self):
        done = self.both("seq 1 200000 | gzip -n | sha256sum; find /usr/share/doc -maxdepth 1 | sort | sha256sum; uname -n; pwd; umask")
        self.assertEqual(done.returncode, 0, text(done))
        (self.pool.work / "seq").write_bytes(b"".join(b"%d\n" % number for number in range(300000)))
        for where, runner in (("home", self.pool.run), ("guest", self.remote)):
            done = runner("sh", "-c", f"gzip -n < seq > {where}.gz && tar -C /usr/share/zoneinfo -c Europe | sort > {where}.tar")
            self.assertEqual(done.returncode, 0, text(done))
        for kind in ("gz", "tar"):
            home, guest = ((self.pool.work / f"{where}.{kind}").read_bytes() for where in ("home", "guest"))
            self.assertGreater(len(home), 10000)
            if kind == "gz":
                self.assertEqual(guest, home)
            else:
                self.assertEqual(len(guest), len(home))  # tar writes owners down: those are squashed

    def test_an_encode_is_the_same(self):
        encode = ["ffmpeg", "-y", "-nostdin", "-loglevel", "error", "-f", "lavfi", "-i", "testsrc=size=320x240:rate=25:duration=2",
                  "-c:v", "libx264", "-preset", "ultrafast", "-threads", "1", "-fflags", "+bitexact", "-flags:v", "+bitexact"]
        for where, runner in (("home", self.pool.run), ("guest", self.remote)):
            done = runner(*encode, f"{where}.mp4")
            self.assertEqual(done.returncode, 0, text(done))
        home = (self.pool.work / "home.mp4").read_bytes()
        self.assertGreater(len(home), 1000)
        self.assertEqual((self.pool.work / "guest.mp4").read_bytes(), home)

    def test_rights_in_directories_of_others(self):
        for name, mode in (("open", 0o777), ("sticky", 0o1777), ("closed", 0o755)):
            directory = self.pool.dir / name
            directory.mkdir()
            directory.chmod(mode)
            for file, bits in (("readable", 0o644), ("secret", 0o600), ("writable", 0o666), ("program", 0o755)):
                (directory / file).write_text("#!/bin/sh\necho theirs\n")
                (directory / file).chmod(bits)
        group = self.pool.dir / "group"  # only a supplementary group may enter and write
        group.mkdir()
        os.chown(group, 0, GROUP)
        group.chmod(0o2770)
        script = f"""
            exec 2>&1
            for at in open sticky closed group; do
              cd {self.pool.dir}/$at && echo at $at
              echo made > made && cat made && mv made moved && chmod 640 moved && stat -c '%a %s' moved
              mkdir sub && echo x > sub/x && cat sub/x && rm -r sub
              cat readable; cat secret; ./program; test -r secret || echo unreadable; test -w readable || echo unwritable
              echo more >> writable && cat writable && echo no >> readable; echo no > secret; ls
              touch -d @1 readable; chmod 777 readable; rm -f readable moved; ls
            done
            cat /etc/shadow; echo x > /etc/not-allowed; touch /etc/passwd; ls /root; mkdir /not-allowed
            """
        before = {path.name: self.contents(path) for path in self.pool.dir.glob("*") if path.name in ("open", "sticky", "closed", "group")}
        local = self.pool.run("sh", "-c", script)
        after = {name: self.contents(self.pool.dir / name) for name in before}
        for name, tree in before.items():
            shutil.rmtree(self.pool.dir / name)
            self.restore(self.pool.dir / name, tree)
        remote = self.remote("sh", "-c", script)
        self.assertEqual(remote.stdout.decode(), local.stdout.decode(), remote.stderr)
        self.assertEqual({name: self.contents(self.pool.dir / name) for name in before}, after)
        self.assertIn(b"at sticky\nmade\n640 5\nx\n", local.stdout)
        self.assertIn(b"at group\nmade\n640 5\nx\n", local.stdout)
        self.assertGreaterEqual(local.stdout.count(b"ermission denied"), 10)

    @staticmethod
    def contents(directory):
        def facts(path):
            info = path.lstat()
            return info.st_mode, info.st_uid, info.st_gid, path.read_bytes() if path.is_file() else b""
        return {str(path.relative_to(directory)): facts(path) for path in [directory, *directory.rglob("*")]}

    @staticmethod
    def restore(directory, tree):
        for name, (mode, uid, gid, data) in tree.items():
            path = directory / name
            path.mkdir() if stat.S_ISDIR(mode) else path.write_bytes(data)
            os.chown(path, uid, gid)
            path.chmod(stat.S_IMODE(mode))

    def test_files_made_among_others_are_the_users(self):
        directory = self.pool.dir / "theirs"
        directory.mkdir()
        directory.chmod(0o1777)
        done = self.remote("sh", "-c", f"echo a > {directory}/a; mkdir {directory}/b; mkfifo {directory}/c; stat -c %s {directory}/a")
        self.assertEqual(done.stdout, b"2\n", text(done))
        self.assertEqual({path.name: (path.lstat().st_uid, path.lstat().st_gid) for path in directory.iterdir()},
                         {name: (UID, GID) for name in "abc"})

    def test_exit_status_and_signals(self):
        self.both("exit 7")
        self.assertEqual(self.remote("sh", "-c", "kill -KILL $$").returncode, -9)
        self.assertEqual(self.remote("/no/such/program").returncode, 127)
        job = self.pool.start(self.pool.build / "shim/ssirun", "--remote", "sh", "-c", "trap 'echo got it; exit 3' TERM; echo up; while :; do sleep 0.1; done")
        self.assertEqual(job.stdout.readline(), b"up\n")
        job.send_signal(signal.SIGTERM)
        said = job.communicate(timeout=20)
        self.assertEqual((job.returncode, said[0]), (3, b"got it\n"), said)
        done = self.remote("cat", input=b"through a pipe\n", stdin=None)
        self.assertEqual(done.stdout, b"through a pipe\n")

    def test_devices_processors_and_processes(self):
        self.both("nproc; grep -c ^processor /proc/cpuinfo; head -c 3 /dev/zero | od -An -tx1; echo x > /dev/null; head -c 8 /dev/urandom | wc -c")
        self.assertEqual(self.remote("sh", "-c", "echo $$; ls -d /proc/[0-9]* | wc -l").stdout.split()[0], b"3")  # behind its init, and who made its process group
        self.assertEqual(self.remote("sh", "-c", "echo x > /dev/shm/y && cat /dev/shm/y; ls /dev/shm").stdout, b"x\ny\n")

    def test_a_home_of_root_can_use_it_too(self):
        """Whoever is admitted: the one id is his."""
        with Home() as home:
            key = home.ssi("key", "show").stdout.decode().strip()
            (self.pool.dir / "state/ssi/pool/admit/root.pub").write_text(f"deputy {key}\n")
            scheduler = {"SSI_SCHEDULER": f"{self.pool.record['address']}#{self.pool.record['key']}"}
            done = home.ssirun("--remote", "sh", "-c", "id -u; id -g; echo x > made; cat made; cat /proc/self/uid_map", env=scheduler)
            self.assertEqual(done.stdout.split(), [b"0", b"0", b"x", b"0", b"0", b"1"], text(done))
            self.assertEqual((home.work / "made").stat().st_uid, 0)


class Life(unittest.TestCase):
    def test_what_up_and_doctor_say(self):
        with UserHome() as home:
            published = pathlib.Path("/run/ssi/pool.toml")
            before = published.read_text() if published.exists() else None
            up = home.ssi("pool", "up")
            try:
                self.assertEqual(up.returncode, 0, text(up))
                note = [line for line in up.stdout.decode().splitlines() if "note" in line]
                self.assertEqual(len(note), 1, text(up))
                self.assertIn(f"uid {UID} and gid {GID}", note[0])
                doctor = home.ssi("doctor")
                self.assertEqual(doctor.returncode, 0, text(doctor))
                said = doctor.stdout.decode()
                self.assertIn(f"note     ids: without root a guest has one user id and one group id: its jobs have uid {UID} and gid {GID}", said)
                self.assertRegex(said, r"ok +/dev/fuse\n")
                self.assertRegex(said, r"ok +namespaces\n")
                self.assertRegex(said, r"ok +FUSE in a user namespace\n")
                self.assertNotIn("sudo", said)
                self.assertEqual(home.ssi("pool", "up").stdout, b"pool: up already, with 2 guests\n")
                self.assertEqual(published.read_text() if published.exists() else None, before)
            finally:
                down = home.ssi("pool", "down")
            self.assertEqual((down.returncode, down.stdout), (0, b"pool: down\n"), text(down))
            self.assertFalse(users_processes("guest1") + users_processes("guest2"))
            self.assertFalse(users_processes(str(home.build / "scheduler/ssi-scheduler")))
            self.assertEqual([path.name for path in (home.dir / "state/ssi/pool").iterdir() if path.name in ("pool.json", "pool.toml")], [])
            self.assertEqual(list((home.dir / "state/ssi/pool/root").iterdir()), [])

    def test_a_machine_that_does_not_allow_it(self):
        if not fuse:
            self.skipTest("this machine's own /dev/fuse is for everybody")
        fuse.chmod(0o600)
        try:
            with UserHome() as home:
                up = home.ssi("pool", "up")
                self.assertEqual(up.returncode, 1, text(up))
                self.assertIn("/dev/fuse: open /dev/fuse: Permission denied: as root: modprobe fuse; chmod 666 /dev/fuse", text(up))
                self.assertNotIn("ids", text(up))
                self.assertIn("missing  /dev/fuse", text(home.ssi("doctor")))
                self.assertEqual(list(home.dir.rglob("pool.json")), [])
        finally:
            fuse.chmod(0o666)

    def test_ones_own_pool_comes_before_roots(self):
        with Pool(1), UserPool(1) as mine:
            self.assertTrue(mine.record["address"].startswith("127.0.0.1:"))
            done = mine.ssirun("--remote", "cat", "/proc/self/uid_map")
            self.assertEqual(done.stdout.split(), [str(UID).encode(), b"0", b"1"], text(done))
            self.assertEqual(mine.ssi("pool", "down").stdout, b"pool: down\n")
            mine.record = None
            again = mine.ssi("pool", "down")
            self.assertEqual(again.returncode, 0)
            self.assertIn(b"/run/ssi/pool.toml is root's: sudo ssi pool down", again.stdout)

    def test_pools_that_come_up_at_once_do_not_take_each_others_ports(self):
        homes = [UserHome() for _ in range(4)]
        for home in homes:
            self.addCleanup(home.close)
        ups = [home.start(home.build / "cli/ssi", "pool", "up", "--guests", "3") for home in homes]
        said = [up.communicate(timeout=60) for up in ups]
        downs = [home.ssi("pool", "down") for home in homes]
        self.assertEqual([up.returncode for up in ups], [0] * 4, said)
        self.assertEqual([down.stdout for down in downs], [b"pool: down\n"] * 4)
        addresses = re.findall(r"127\.0\.0\.1:\d+", b"".join(out for out, _ in said).decode())
        self.assertEqual((len(addresses), len(set(addresses))), (16, 16), said)

    def test_a_killed_agent_leaves_no_process(self):
        with UserPool(1) as pool:
            job = pool.start(pool.build / "shim/ssirun", "--remote", "sh", "-c", "echo up; sleep 4711 & sleep 4711")
            self.assertEqual(job.stdout.readline(), b"up\n")
            self.assertTrue(wait_until(lambda: len(users_processes("4711")) == 2, 5), users_processes("4711"))
            os.kill(pool.guest_pid(1), signal.SIGKILL)
            self.assertTrue(wait_until(lambda: not users_processes("4711"), 10), users_processes("4711"))
            said = job.communicate(timeout=20)
            self.assertEqual(job.returncode, 125, said)
            self.assertTrue(wait_until(lambda: not users_processes("guest1"), 5), users_processes("guest1"))

    def test_an_agent_started_outright(self):
        """It makes its namespaces itself; takes the place of the pool's guest."""
        with UserPool(1) as pool:
            agent = pool.start(*self.instead_of_guest(pool))
            try:
                self.assertTrue(wait_until(lambda: self.takes_jobs(pool), 15), pool.status())
                job = pool.start(pool.build / "shim/ssirun", "--remote", "sh", "-c", f"id -u; stat -c %u /etc/passwd; cat /proc/self/uid_map; ls -d /view; sleep 4712")
                lines = [job.stdout.readline().split() for _ in range(3)]
                self.assertEqual(lines, [[str(UID).encode()], [str(UID).encode()], [str(UID).encode(), b"0", b"1"]])
                self.assertTrue(wait_until(lambda: users_processes("4712"), 5))
                agent.send_signal(signal.SIGINT)  # SIGTERM would let the job end
                self.assertEqual(agent.wait(10), 0)
                self.assertTrue(wait_until(lambda: not users_processes("4712"), 5), users_processes("4712"))
                job.communicate(timeout=20)
                self.assertEqual(job.returncode, 125)
            finally:
                if agent.poll() is None:
                    agent.kill()
                agent.communicate()
            self.assertTrue(wait_until(lambda: not users_processes("guest1"), 5), users_processes("guest1"))
            pool.ssi("pool", "down")
            pool.record = None

    def test_an_agent_goes_on_without_what_it_cannot_bind(self):
        """/srv is mounted when it is needed, by a server that is gone."""
        mount = ("import ctypes, os, sys\n"
                 "server, kernel = os.pipe()\n"
                 "libc = ctypes.CDLL(None, use_errno=True)\n"
                 "options = f'fd={kernel},pgrp={os.getpgrp()},minproto=5,maxproto=5,direct'\n"
                 "if libc.mount(b'gone', b'/srv', b'autofs', 0, options.encode()):\n"
                 "    sys.exit('mount: ' + os.strerror(ctypes.get_errno()))\n"
                 "os.setsid()  # that group would see through it\n"
                 "os.execvp(sys.argv[1], sys.argv[1:])\n")
        with UserPool(1) as pool:
            command = [*USER, *map(str, self.instead_of_guest(pool))]
            agent = subprocess.Popen(["unshare", "-m", sys.executable, "-c", mount, *command], env=pool.env, cwd=pool.work,
                                     stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            try:
                self.assertTrue(wait_until(lambda: self.takes_jobs(pool), 15), pool.status())
            finally:
                agent.terminate()
                said = agent.communicate(timeout=10)[1].decode()
            self.assertRegex(said, "warning: bind /srv: .*; goes on without it\n")
            self.assertEqual(said.count("goes on without it"), 1, said)
            pool.ssi("pool", "down")
            pool.record = None

    def instead_of_guest(self, pool):
        """Kills the pool's guest; the command of an agent that has its name, address and key."""
        arguments = pathlib.Path(f"/proc/{pool.guest_pid(1)}/cmdline").read_text().split("\0")[1:-1]
        os.kill(pool.guest_pid(1), signal.SIGKILL)
        self.assertTrue(wait_until(lambda: is_zombie(pool.guest_pid(1)), 5))
        key = pool.dir / "state/ssi/pool/guest1.key"
        return [pool.build / "agent/ssi-agent", *(str(key) if word == "/etc/ssi/agent.key" else word for word in arguments)]

    @staticmethod
    def takes_jobs(pool):
        time.sleep(0.2)
        return pool.ssirun("--remote", "true").returncode == 0

    def test_kill_9_of_up_is_cleaned_away_by_the_next_command(self):
        with UserHome() as home:
            up = home.start(home.build / "cli/ssi", "pool", "up", "--guests", "3")
            record = home.dir / "state/ssi/pool/pool.json"
            self.assertTrue(wait_until(record.exists, 10))
            up.kill()
            up.communicate()
            done = home.ssi("pool", "down")
            self.assertEqual(done.returncode, 0, text(done))
            self.assertTrue(wait_until(lambda: not users_processes("guest1"), 5))


if __name__ == "__main__":
    unittest.main()
