# SPDX-License-Identifier: LGPL-2.1-or-later
"""Home's files as a job in a guest sees and changes them."""
import filecmp
import os
import pathlib
import subprocess
import unittest

from pool import Pool, SSIRUN

pool = None


def setUpModule():
    global pool
    pool = Pool(2)
    pool.__enter__()


def tearDownModule():
    pool.__exit__(None)


def remote(*words, **options):
    return pool.ssirun("--remote", *words, **options)


def listing(directory):
    """Names, types, modes, links, sizes and times of a tree."""
    return subprocess.run(["find", ".", "-printf", "%p %y %m %n %s %T@ %l %U %G\\n"], cwd=directory, capture_output=True).stdout


class Milestone(unittest.TestCase):
    def test_cat_a_file(self):
        path = pool.work / "hello"
        path.write_bytes(b"from home\n")
        done = pool.ssirun("--remote", "--on", "guest1", "cat", path)
        self.assertEqual((done.returncode, done.stdout), (0, b"from home\n"), done.stderr)


class Files(unittest.TestCase):
    def both(self, script):
        """Runs a script in a fresh directory at home and through the view: output and resulting trees must be equal."""
        results = []
        for runner in (pool.run, remote):
            directory = pool.work / "both"
            subprocess.run(["rm", "-rf", directory])
            directory.mkdir()
            done = runner("bash", "-c", script, cwd=directory)
            tree = subprocess.run(["find", ".", "-printf", "%p %y %m %n %s %l %U %G\\n"], cwd=directory,
                                  capture_output=True).stdout
            sums = subprocess.run("find . -type f -size -100M -print0 | sort -z | xargs -0r sha256sum", shell=True,
                                  cwd=directory, capture_output=True).stdout
            results.append((done.returncode, done.stdout, done.stderr, sorted(tree.splitlines()), sums))
        self.assertEqual(results[1], results[0])
        return results[1]

    def test_empty_and_sparse_files(self):
        (pool.work / "empty").touch()
        self.assertEqual(remote("sh", "-c", "cat empty; stat -c %s empty; cp empty copy").stdout, b"0\n")
        self.assertEqual((pool.work / "copy").stat().st_size, 0)
        with open(pool.work / "sparse", "wb") as sparse:
            sparse.truncate(5 << 30)
            sparse.seek((5 << 30) - 6)
            sparse.write(b"at end")
        done = remote("sh", "-c", "tail -c 6 sparse; stat -c ' %s %b' sparse; dd if=sparse bs=1M skip=4000 count=1 status=none | tr -d '\\0' | wc -c")
        blocks = (pool.work / "sparse").stat().st_blocks
        self.assertEqual(done.stdout, b"at end %d %d\n0\n" % (5 << 30, blocks))
        remote("truncate", "-s", "5G", "sparse2")
        self.assertEqual((pool.work / "sparse2").stat().st_size, 5 << 30)
        self.assertEqual((pool.work / "sparse2").stat().st_blocks, 0)

    def test_times_that_the_wire_cannot_say(self):
        """A file from the year 2286: 2262 is the last that 64 bits of nanoseconds reach, and no other is shown."""
        (pool.work / "later").touch()
        os.utime(pool.work / "later", (10**10, 10**10))
        last = (1 << 63) // 10**9
        self.assertEqual(remote("stat", "-c", "%X %Y", "later").stdout, b"%d %d\n" % (last, last))
        remote("touch", "-d", "2300-01-01", "later")
        self.assertEqual(int((pool.work / "later").stat().st_mtime), last)

    def test_names_that_are_not_utf8(self):
        directory = os.fsencode(pool.work / "names")
        os.makedirs(directory, exist_ok=True)
        for name in (b"\xff\xfe", b"caf\xe9", b"new\nline", b" ", b"-n", b"x" * 255):
            with open(directory + b"/" + name, "wb") as file:
                file.write(name)
        here = subprocess.run("ls -1 -U | sort | od -c; cat ./* | sha256sum", shell=True, cwd=directory, capture_output=True).stdout
        there = remote("sh", "-c", "ls -1 -U | sort | od -c; cat ./* | sha256sum", cwd=directory).stdout
        self.assertEqual(there, here)
        remote("sh", "-c", "printf x >\"$(printf 'made\\351')\"", cwd=directory)
        self.assertTrue(os.path.exists(directory + b"/made\xe9"))

    def test_a_directory_of_10000_entries(self):
        directory = pool.work / "ten-thousand"
        directory.mkdir(exist_ok=True)
        for i in range(10_000):
            (directory / f"file-{i}").touch()
        script = "ls | sha256sum; ls -f | wc -l; find . -type f -printf '%i %f\\n' | sort | sha256sum"
        self.assertEqual(remote("bash", "-c", script, cwd=directory).stdout, pool.run("bash", "-c", script, cwd=directory).stdout)
        remote("sh", "-c", "rm -r ten-thousand")
        self.assertFalse(directory.exists())

    def test_ordinary_operations(self):
        self.both("""
            umask 022; mkdir -p a/b/c; echo one >a/one; cp a/one a/b/two; ln a/one a/hard; ln -s one a/soft; mv a/b/two a/b/c/three
            chmod 600 a/one; cat a/soft; readlink a/soft; echo more >>a/hard; cat a/one; truncate -s 3 a/b/c/three; rm a/hard
            mkdir gone; rmdir gone; rmdir a 2>&1; rm nothing 2>&1; cat a 2>&1; mkdir a 2>&1; ls nowhere 2>&1
            touch -d '2001-02-03 04:05:06.789' a/one; stat -c '%Y %y %s %a %h' a/one; chmod u+s a/one; stat -c %A a/one
            exec 5<a/one; rm a/one; cat <&5; stat -L -c %h /proc/self/fd/5; mkfifo pipe; test -p pipe; echo $?; mv -n a/soft a/b/; find . | sort""")

    def test_programs_that_look_closely(self):
        self.both("""
            seq 20000 >numbers; sort -R --random-source=numbers numbers >shuffled; sort -n -S 64k -T . shuffled | cmp - numbers
            tar cf all.tar numbers shuffled --mtime=@0 --owner=0 --group=0; mkdir out; tar xf all.tar -C out; cmp numbers out/numbers
            gzip -n -k numbers; zcat numbers.gz | cmp - numbers; split -n 7 numbers part-; cat part-* | cmp - numbers
            sed -i s/1/one/ numbers; head -3 numbers; dd if=shuffled of=patched bs=1000 count=3 seek=5 conv=notrunc status=none
            cp --sparse=always /dev/stdin holes < <(head -c 1000000 /dev/zero); rm -rf out; ls""")

    def test_extended_attributes(self):
        self.both("""python3 - <<'P'
import os
open('f','w').close()
os.setxattr('f','user.colour',b'blue\\0x'); os.setxattr('f','user.empty',b'')
print(sorted(n for n in os.listxattr('f') if n.startswith('user.')), os.getxattr('f','user.colour'))
os.removexattr('f','user.empty')
for call in (lambda: os.getxattr('f','user.empty'), lambda: os.setxattr('f','user.colour',b'',os.XATTR_CREATE)):
    try: call()
    except OSError as e: print(e.errno)
P""")

    def test_shared_mappings_and_fsync(self):
        self.both("""python3 - <<'P'
import mmap,os
f=open('m','w+b'); f.truncate(300000); m=mmap.mmap(f.fileno(),300000); m[100000:100005]=b'hello'; m.flush(); os.fsync(f.fileno())
f.seek(99998); print(f.read(9)); m[0:3]=b'abc'; m.close(); f.close(); print(open('m','rb').read(4))
P""")

    def test_what_a_job_wrote_is_home_when_it_ends_and_what_home_wrote_is_seen_by_the_next(self):
        path = pool.work / "turns"
        path.write_text("0")
        for turn in range(1, 25):
            done = remote("sh", "-c", "cat turns; stat -c ' %s' turns; test -e made-by-home; echo $?; echo g$(cat turns) >from-guest")
            expected = "x" * (turn - 1) + "0"
            made = (pool.work / "made-by-home").exists()
            self.assertEqual(done.stdout.decode(), f"{expected} {len(expected)}\n{0 if made else 1}\n", turn)
            self.assertEqual((pool.work / "from-guest").read_text(), f"g{expected}\n")
            path.write_text("x" * turn + "0")
            if turn % 2:
                (pool.work / "made-by-home").touch()
            else:
                (pool.work / "made-by-home").unlink()

    def test_rewrites_of_the_same_size_are_seen(self):
        path = pool.work / "same-size"
        for turn in range(30):
            path.write_text(f"{turn:08}")
            self.assertEqual(remote("cat", "same-size").stdout.decode(), f"{turn:08}")

    def test_rights_and_secrets(self):
        secret = pathlib.Path(pool.env["XDG_STATE_HOME"]) / "ssi/keys/deputy.key"
        self.assertTrue(secret.exists())
        for path in (secret, secret.parent):
            self.assertNotEqual(remote("ls", path).returncode, 0)
        self.assertNotIn(b".ssh", remote("ls", "-a", os.path.expanduser("~")).stdout)

    def test_errors_are_home_s_errors(self):
        full = pool.work / "full"
        full.mkdir(exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", full], check=True)
        try:
            done = remote("sh", "-c", "dd if=/dev/zero of=full/big bs=64k count=64 2>&1; echo $?")
            self.assertIn(b"No space left on device", done.stdout)
            self.assertTrue(done.stdout.endswith(b"1\n"))
        finally:
            pool.end_deputy()
            subprocess.run(["umount", full], check=True)

    def test_file_systems_differ_as_at_home(self):
        other = pool.work / "other"
        other.mkdir(exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "none", other], check=True)
        try:
            (other / "inside").write_text("there")
            self.assertEqual(remote("cat", "other/inside").stdout, b"there")
            self.assertEqual(remote("find", ".", "-xdev", "-name", "inside").stdout, b"")
            done = remote("sh", "-c", "ln other/inside linked 2>&1; mv other/inside moved && cat moved")
            self.assertIn(b"Invalid cross-device link", done.stdout)
            self.assertTrue(done.stdout.endswith(b"there"))
        finally:
            pool.end_deputy()
            subprocess.run(["umount", other], check=True)

    def test_a_file_system_that_home_replaces(self):
        other = pool.work / "replaced"
        other.mkdir(exist_ok=True)
        (other / "below").write_text("below")
        for content in ("first", "second"):
            subprocess.run(["mount", "-t", "tmpfs", "none", other], check=True)
            try:
                (other / "inside").write_text(content)
                self.assertEqual(remote("cat", "replaced/inside").stdout.decode(), content)
            finally:
                subprocess.run(["umount", other], check=True)
            self.assertEqual(remote("sh", "-c", "cat replaced/below; ls replaced").stdout, b"belowbelow\n")

    def test_sixty_file_systems(self):
        many = pool.work / "many"
        many.mkdir(exist_ok=True)
        mounted = []
        try:
            for number in range(60):
                (many / str(number)).mkdir(exist_ok=True)
                subprocess.run(["mount", "-t", "tmpfs", "none", many / str(number)], check=True)
                mounted.append(many / str(number))
                (many / str(number) / "name").write_text(f"{number} ")
            done = remote("sh", "-c", "cat many/*/name | wc -w")
            self.assertEqual(done.stdout, b"60\n", done.stderr)
        finally:
            for mount in mounted:
                subprocess.run(["umount", mount], check=True)

    def test_both_guests_append_to_one_file(self):
        run = f"{SSIRUN} --on"
        pool.run("bash", "-c", f"""rm -f log; for g in guest1 guest2; do
            {run} $g bash -c 'for i in $(seq 200); do echo '$g' $i >>log; done' & done; for i in $(seq 200); do echo home $i >>log; done; wait""")
        lines = (pool.work / "log").read_text().splitlines()
        self.assertEqual(len(lines), 600)
        for who in ("guest1", "guest2", "home"):
            self.assertEqual([line for line in lines if line.startswith(who)], [f"{who} {i}" for i in range(1, 201)])


class RealPrograms(unittest.TestCase):
    def test_gcc_makes_the_same_object(self):
        (pool.work / "prog.c").write_text("#include <stdio.h>\n#include <math.h>\nint main(void){printf(\"%f\\n\",sin(1));return 0;}\n")
        subprocess.run(["gcc", "-O2", "-c", "prog.c", "-o", "here.o"], cwd=pool.work, check=True)
        done = remote("gcc", "-O2", "-c", "prog.c", "-o", "there.o")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertTrue(filecmp.cmp(pool.work / "here.o", pool.work / "there.o", shallow=False))
        self.assertEqual(remote("sh", "-c", "gcc there.o -o prog -lm && ./prog").stdout, b"0.841471\n")

    def test_ffmpeg_encodes_the_same_bytes(self):
        # One thread: x264's mbtree gives other bytes from run to run with more, at home too (6 of 12 alike here).
        encode = ["ffmpeg", "-nostdin", "-v", "error", "-y", "-f", "lavfi", "-i", "testsrc2=s=320x240:r=25:d=4", "-c:v", "libx264",
                  "-threads", "1", "-preset", "fast"]
        subprocess.run([*encode, "here.mp4"], cwd=pool.work, check=True)
        done = remote(*encode, "there.mp4")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertTrue(filecmp.cmp(pool.work / "here.mp4", pool.work / "there.mp4", shallow=False))


class TheViewIsReal(unittest.TestCase):
    def test_without_the_view_no_job_runs(self):
        """Unmounts the view inside a guest of its own pool: if jobs ran at home, they would go on."""
        with Pool(1) as own:
            (own.work / "f").write_text("x")
            self.assertEqual(own.ssirun("--remote", "cat", "f").stdout, b"x")
            stems = subprocess.run(["pgrep", "--ns", str(own.guest_pid(1)), "--nslist", "net", "-f", "ssi-agent"], capture_output=True, text=True).stdout.split()
            view = [pid for pid in stems if " /view " in pathlib.Path(f"/proc/{pid}/mountinfo").read_text()]
            self.assertTrue(view)
            # The guest holds no umount(8), and nothing else but the agent: so this program does it.
            unmount = """import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
spaces = [os.open(f"/proc/{sys.argv[1]}/ns/{kind}", os.O_RDONLY) for kind in ("user", "mnt")]
assert all(libc.setns(space, 0) == 0 for space in spaces), os.strerror(ctypes.get_errno())
assert libc.umount2(b"/view", 2) == 0, os.strerror(ctypes.get_errno())"""
            subprocess.run(["python3", "-c", unmount, view[0]], check=True)
            own.ssirun("--remote", "true")  # perhaps in what was prepared for the next job
            done = own.ssirun("--remote", "cat", "f")
            self.assertEqual((done.returncode, done.stdout), (125, b""))


if __name__ == "__main__":
    unittest.main()
