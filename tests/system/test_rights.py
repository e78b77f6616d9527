# SPDX-License-Identifier: LGPL-2.1-or-later
"""Whose rights a job has: ACLs, quotas, several users, programs with set-id bits. What is the same for every file system
is in tests/conformance/rights_*.c."""
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import unittest

from pool import SSIRUN, Pool, is_zombie, programs_for, wait_until

USER = 54321
pool = None


def setUpModule():
    global pool
    pool = Pool(1)
    pool.__enter__()
    for path in (pool.dir, pool.work):
        path.chmod(0o755)  # other users work there too


def tearDownModule():
    pool.__exit__(None)


def remote(*words, **options):
    return pool.ssirun("--remote", *words, **options)


def as_user(command):
    """A command prefix, in a job of root's or at home."""
    return ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "sh", "-c", command]


def unread(path):
    """A program of root's that others may run and not read. At the path."""
    shutil.copy("/bin/echo", path)
    path.chmod(0o711)
    return path


class Rights(unittest.TestCase):
    def test_getfacl_and_setfacl(self):
        script = f"""umask 077; mkdir d; setfacl -m u:{USER}:rwx,g:{USER}:r-x,m::rwx d; setfacl -d -m u:{USER}:rw-,o::r-- d
            touch d/file; mkdir d/dir; chmod g-w d/file; setfacl -x g:{USER} d; getfacl -R d; ls -ld d d/file d/dir | cut -c1-11
            setfacl -b d/file; getfacl d/file; cp -p d/file d/copy; getfacl d/copy"""
        said = []
        for name, run in (("home", pool.run), ("job", remote)):
            where = pool.work / f"acl-{name}"
            where.mkdir()
            done = run("sh", "-c", script, cwd=where)
            said.append((done.returncode, done.stdout, done.stderr))
        self.assertEqual(said[1], said[0])
        self.assertIn(b"user:%d:rw-" % USER, said[0][1])

    def test_blocks_that_are_reserved_for_root(self):
        """Root's deputy writes for a user whom a job of root's became, and must not be excused as root is: nor from quotas."""
        image, path = pool.dir / "image", pool.work / "half"
        with open(image, "wb") as file:
            file.truncate(8 << 20)
        subprocess.run(["mkfs.ext4", "-q", "-m", "50", image], check=True)
        path.mkdir()
        subprocess.run(["mount", "-o", "loop", image, path], check=True)
        self.addCleanup(subprocess.run, ["umount", "--lazy", path], check=True)
        path.chmod(0o1777)
        fill = f"dd if=/dev/zero of={path}/file bs=64k count=128 2>&1 | grep -c 'No space left'; stat -c %s {path}/file; rm {path}/file"
        full, user, root = pool.run(*as_user(fill)), remote(*as_user(fill)), remote("sh", "-c", fill)
        self.assertEqual(user.stdout, full.stdout, user.stderr)
        self.assertTrue(user.stdout.startswith(b"1\n"), user.stdout)
        self.assertGreater(int(root.stdout.split()[1]), 2 * int(user.stdout.split()[1]))

    def test_a_directory_is_closed_at_once(self):
        """The guest's kernel knows the name, and must not lead past the directory."""
        script = "mkdir c; echo x > c/f; cat c/f; chmod 0 c; cat c/f 2>&1; chmod 700 c; cat c/f"
        where = pool.work / "closed"
        where.mkdir()
        os.chown(where, USER, USER)
        done = remote(*as_user(script), cwd=where)
        self.assertEqual(done.stdout, b"x\ncat: c/f: Permission denied\nx\n", done.stderr)

    def test_a_program_that_may_be_run_and_not_read(self):
        """Root's deputy has it run as at home, and no better read."""
        path = unread(pool.work / "unread")
        script = f"{path} ran; cat {path} 2>&1; cp {path} copy 2>&1; cat {path} 2>&1"
        at_home = pool.run(*as_user(script))
        self.assertTrue(at_home.stdout.startswith(b"ran\ncat: "), at_home.stdout)
        self.assertEqual(remote(*as_user(script)).stdout, at_home.stdout)
        path.chmod(0o700)
        self.assertEqual(remote(*as_user(f"{path}; echo $?")).stdout, b"126\n")


class SetId(unittest.TestCase):
    def program(self, name, mode):
        path = pool.work / name
        shutil.copy(shutil.which("true"), path)
        os.chown(path, USER, USER)
        path.chmod(mode)
        return path

    def test_that_it_has_no_effect_is_said_once(self):
        path = self.program("inner", 0o4755)
        done = remote("sh", "-c", f"{path}; {path} && echo ran")
        self.assertEqual((done.returncode, done.stdout), (0, b"ran\n"))
        self.assertEqual(done.stderr.decode(), f"ssirun: the set-user-ID bit of {path} has no effect in a guest\n")
        path.chmod(0o755)
        self.assertEqual(remote("sh", "-c", f"{path}; true").stderr, b"")

    def test_such_a_command_stays_home(self):
        for mode, what in ((0o4755, "user"), (0o2755, "group")):
            path = self.program(f"command-{what}", mode)
            reason = f"the set-{what}-ID bit of {path} has no effect in a guest"
            self.assertEqual(pool.ssirun("--dry-run", path).stdout.decode(), f"home: {reason}\n")
            done = remote(path)
            self.assertEqual((done.returncode, done.stderr.decode()), (0, f"ssirun: {reason}\n"))


class TwoUsers(unittest.TestCase):
    def user(self):
        """Another user of this machine, with a deputy of his own on root's pool: his ssirun, its environment and place."""
        work = pathlib.Path(tempfile.mkdtemp(prefix="user", dir=pool.dir))
        for name in ("state", "run", "config/ssi"):
            (work / name).mkdir(parents=True)
        (work / "config/ssi/config.toml").write_text('[defaults]\npolicy = "remote"\nmin_seconds = 0\n')
        for path in (work, *work.rglob("*")):
            os.chown(path, USER, USER)
            path.chmod(0o700)
        env = {"XDG_STATE_HOME": f"{work}/state", "XDG_RUNTIME_DIR": f"{work}/run", "XDG_CONFIG_HOME": f"{work}/config", "HOME": str(work)}
        prefix = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--bounding-set=-all", "--inh-caps=-all"]
        build = programs_for(prefix, work)
        key = pool.run(*prefix, build / "cli/ssi", "key", "show", env=env).stdout.decode().strip()
        (pool.dir / "state/ssi/pool/admit" / f"{work.name}.pub").write_text(f"deputy {key}\n")
        address, key = pool.scheduler()
        env["SSI_SCHEDULER"] = f"{address}#{key}"
        self.addCleanup(self.end_deputy, f"XDG_RUNTIME_DIR={work}/run")
        return [*prefix, build / "shim/ssirun", "--remote"], env, work

    def end_deputy(self, mark):
        for pid in subprocess.run(["pgrep", "-x", "-u", str(USER), "ssi-deputy"], capture_output=True, text=True).stdout.split():
            try:
                is_ours = mark.encode() in pathlib.Path(f"/proc/{pid}/environ").read_bytes()
            except OSError:  # it has just ended
                continue
            if is_ours:
                os.kill(int(pid), signal.SIGTERM)
                self.assertTrue(wait_until(lambda: is_zombie(pid), 5))

    def test_they_never_see_each_other_s_view(self):
        """Jobs of two homes on one guest at the same time. In his own, neither finds the other's processes; and what he may
        not read at home he cannot read there, although the other's job has just read it there."""
        secret = pool.work / "secret"
        secret.write_text("of root's home")
        secret.chmod(0o600)
        job = subprocess.Popen([SSIRUN, "--remote", "sh", "-c", f"exec 5<{secret}; cat <&5 >/dev/null; readlink /proc/self/ns/user /proc/self/ns/mnt; exec sleep 61"],
                               env=pool.env, stdout=subprocess.PIPE, cwd=pool.work)
        try:
            inside = [job.stdout.readline().decode().strip() for _ in range(2)]
            ssirun, env, work = self.user()
            look = f"""cat {secret}; for p in /proc/[0-9]*; do cat $p/cmdline $p/fd/5 $p/root{secret}; done
                echo; ls -d /proc/[0-9]* | wc -l; readlink /proc/self/ns/user /proc/self/ns/mnt"""
            done = pool.run(*ssirun, "sh", "-c", look, env=env, cwd=work)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertNotIn(b"of root's home", done.stdout)
            self.assertNotIn(b"sleep", done.stdout)
            count, user, mnt = done.stdout.decode().splitlines()[-3:]
            self.assertLess(int(count), 6)
            self.assertEqual(len({user, mnt, *inside}), 4)
        finally:
            job.kill()
            job.wait()
            job.stdout.close()

    def test_a_program_that_only_home_can_read(self):
        """The user's deputy cannot give it to a guest: the job goes home, if it has done nothing yet, or one line says why it ends."""
        path = unread(pool.work / "unread-too")
        ssirun, env, work = self.user()
        needs = f"sh needs {path}, which may be run but not read: run it with --local"
        done = pool.run(*ssirun, "sh", "-c", f"{path} ran; echo on", env=env, cwd=work)
        self.assertEqual((done.returncode, done.stdout, done.stderr.decode()), (125, b"", f"ssirun: {needs}\n"))
        for why in "home: guest1: it needs", "home: last time it needed":
            done = pool.run(*ssirun[:-1], "-v", "sh", "-c", f"{path} ran; echo further", env=env, cwd=work)
            self.assertEqual((done.returncode, done.stdout), (0, b"ran\nfurther\n"), done.stderr)
            self.assertIn(f"{why} {path}, which may be run but not read\n", done.stderr.decode())
        done = pool.run(*ssirun, path, "ran", env=env, cwd=work)
        self.assertEqual((done.returncode, done.stdout), (125, b""), done.stderr)
        self.assertEqual(done.stderr.decode(), f"ssirun: unread-too needs {path}, which may be run but not read: run it with --local\n")
        done = pool.run(*ssirun[:-1], path, "ran", env=env, cwd=work)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, b"ran\n", b""))
