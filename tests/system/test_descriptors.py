# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a job inherits: regular files at any number, with the offset that it shares with the caller; what only home has; and
GNU make's jobserver. Scripts run at home and on a real pool of two guests, and must leave the same output and files."""
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import unittest

from pool import SSIRUN, Pool

BESIDE = 17

pool = None


def setUpModule():
    global pool
    pool = Pool(2).__enter__()


def tearDownModule():
    pool.__exit__(None, None, None)


def tree(folder):
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


class DescriptorCase(unittest.TestCase):
    maxDiff = 2000

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(dir=pool.work))

    def tearDown(self):
        shutil.rmtree(self.folder)

    def shell(self, name, script, run, **options):
        """`script` in a folder of its own, with $RUN before its commands."""
        shutil.rmtree(self.folder / name, ignore_errors=True)
        (self.folder / name).mkdir()
        return pool.run("bash", "-c", script, cwd=self.folder / name, env={"RUN": run}, timeout=60, **options)

    def same(self, script, run=f"{SSIRUN} --remote"):
        here, there = self.shell("here", script, ""), self.shell("there", script, run)
        self.assertEqual((there.returncode, there.stdout, there.stderr), (here.returncode, here.stdout, here.stderr))
        self.assertEqual(tree(self.folder / "there"), tree(self.folder / "here"))
        return there

    def reason(self, *words, **options):
        """Why it runs at home: from ssirun -v."""
        done = pool.ssirun("-v", *words, cwd=self.folder, **options)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stderr.decode().strip()


class Files(DescriptorCase):
    def test_it_is_the_file_itself(self):
        self.same('$RUN stat -L -c "%F %i" /dev/stdin < /etc/passwd > out; $RUN sh -c "readlink /proc/self/fd/0 >&3" 3>&1 >out2 </etc/passwd')
        self.same('$RUN sh -c "test /dev/stdout -ef out && echo same" > out')

    def test_the_commands_before_and_behind_share_the_offset(self):
        self.same('(echo a; $RUN echo b; echo c) > f; cat f')
        self.same('($RUN echo a; $RUN sh -c "echo b; echo e >&2"; echo c) > f 2>&1; cat f')
        self.same('seq 9 > n; ($RUN cat n; $RUN cat n; echo x) > f; ($RUN dd if=n bs=3; $RUN true; echo y) >> f 2>/dev/null')

    def test_what_a_job_leaves_unread_is_there_for_the_next(self):
        self.same('seq 100 > n; ($RUN head -n1; cat) < n')
        self.same('seq 100 > n; ($RUN sh -c "read x; echo \\$x"; $RUN sh -c "read x; echo \\$x"; cat) < n')
        self.same('seq 30 | shuf --random-source=/etc/passwd > n; $RUN sort -n < n')

    def test_scripts_on_stdin(self):
        self.same('printf "echo hi\\nread x; echo got \\$x\\ndata\\necho end\\n" > s; $RUN bash < s; $RUN dash < s')

    def test_other_numbers(self):
        self.same('exec 3>g; $RUN sh -c "echo via3 >&3"; echo more >&3')
        self.same('seq 5 > n; exec 3<n; $RUN sh -c "read a <&3; echo \\$a"; read b <&3; echo $b')
        self.same('echo old > g; exec 9>>g; $RUN sh -c "echo job >&9"; echo home >&9; $RUN sh -c "echo job >&9"')
        self.same('exec 3>h 9>&3; $RUN sh -c "echo x >&3; echo y >&9; echo z >&3"; echo w >&9')
        self.same('exec 3</; $RUN sh -c "cd /proc/self/fd/3 && pwd -P"')

    def test_read_and_written(self):
        self.same('printf abcdefgh > i; exec 3<>i; $RUN sh -c "dd bs=2 count=1 status=none <&3; printf XY >&3"; printf Z >&3')
        self.same('printf abcdefgh > i; $RUN sh -c "printf 12" 1<>i; $RUN dd bs=1 seek=4 conv=notrunc status=none if=/etc/hostname count=1 1<>i')

    def test_seeking_and_truncating(self):
        script = "import os; os.write(1, b'12345'); os.lseek(1, 1, 0); os.write(1, b'x'); os.pwrite(1, b'y', 3); os.ftruncate(1, 4)"
        self.same(f'(printf start; $RUN python3 -c "{script}"; printf end) > f; cat f')

    def test_their_flags(self):
        """What fcntl(2) says of them, whichever way the job's init came by them; and they can be changed."""
        script = "import fcntl, sys; at = lambda: print(oct(fcntl.fcntl(3, fcntl.F_GETFL)), file=sys.stderr); at()"
        script += "; [(fcntl.fcntl(3, fcntl.F_SETFL, flags), at()) for flags in (2048, 0)]"
        for how in "<", ">", ">>", "<>":
            self.same(f'echo 1 > f; $RUN python3 -c "{script}" 3{how} f')

    def test_here_documents(self):
        self.same('$RUN cat <<X\nhere\nX\n$RUN wc -c <<X\n$(seq 40000)\nX')

    def test_files_without_a_name(self):
        self.same('exec 1>f; exec 3<f; rm f; echo a; $RUN echo b 3<&-; echo c; cat <&3 >g')
        with tempfile.TemporaryFile(dir=self.folder) as file:
            number = file.fileno()
            self.assertEqual(self.reason("true", pass_fds=[number]), f"ssirun: home: descriptor {number} is a file without a name")
            self.assertEqual(pool.ssirun("--remote", "true", pass_fds=[number]).returncode, 125)

    def test_a_lock_on_a_description_is_its_holders(self):
        self.same('(flock 9; $RUN flock -w 2 9 && echo ours) 9>l; (flock 9; $RUN true; flock -n l true || echo held) 9>l')

    def test_writers_at_home_and_in_guests_share_one_description(self):
        lines = 'i=0; while [ \\$i -lt 200 ]; do echo {}-\\$i >&3; i=\\$((i+1)); done'
        jobs = "\n".join(f'$RUN sh -c "{lines.format(f"job{number}")}" &' for number in range(4))
        done = self.shell("there", f'exec 3>f\n{jobs}\nsh -c "{lines.format("home")}"\nwait\necho tail >&3', f"{SSIRUN} --remote")
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        found = (self.folder / "there/f").read_text().splitlines()
        self.assertEqual(sorted(found[:-1]), sorted(f"{who}-{i}" for who in ("home", "job0", "job1", "job2", "job3") for i in range(200)))
        self.assertEqual(found[-1], "tail")

    def test_survivors_write_on(self):
        self.same('($RUN sh -c "(sleep 0.7; echo late) & echo soon"; echo home; sleep 1.5; echo end) > f; cat f')


class OnlyAtHome(DescriptorCase):
    def test_the_reason_names_number_and_kind(self):
        reasons = {}
        left, right = socket.socketpair()
        reasons[left.fileno()] = "a socket"
        memory = os.memfd_create("memory")
        reasons[memory] = "a memfd"
        event = os.eventfd(0) if hasattr(os, "eventfd") else None
        if event:
            reasons[event] = "something that only this machine's kernel has"
        device = os.open("/dev/fuse", os.O_RDWR)
        reasons[device] = "a device"
        os.mkfifo(self.folder / "fifo")
        fifo = os.open(self.folder / "fifo", os.O_RDWR)
        reasons[fifo] = "a FIFO opened for reading and writing"
        path = os.open("/", os.O_PATH)
        reasons[path] = "opened with O_PATH"
        try:
            for number, kind in reasons.items():
                self.assertEqual(self.reason("true", pass_fds=[number]), f"ssirun: home: descriptor {number} is {kind}")
        finally:
            for number in reasons:
                if number != left.fileno():
                    os.close(number)
            left.close()
            right.close()

    def test_a_rule_may_keep_pipes_at_home(self):
        read, write = os.pipe()
        config = pool.dir / "config/ssi/config.toml"
        config.parent.mkdir(exist_ok=True)
        try:
            for word, where in (("true", "guest"), ("false", f"home: descriptor {write} is a pipe, and its rule says pipes = false")):
                config.write_text(f'[[app]]\nmatch = ["sh"]\npolicy = "remote"\npipes = {word}\n')
                self.assertTrue(self.reason("sh", "-c", f"echo x >&{write}", pass_fds=[write]).startswith(f"ssirun: {where}"), (word, where))
                self.assertEqual(os.read(read, 10), b"x\n")
        finally:
            config.unlink()
            os.close(read)
            os.close(write)


class Make(DescriptorCase):
    def make(self, makefile, *words, **options):
        (self.folder / "Makefile").write_text(makefile)
        return pool.run("make", *words, cwd=self.folder, env={"RUN": f"{SSIRUN} --remote", "SSIRUN": SSIRUN}, timeout=100, **options)

    # Each target counts, in `counts`, who is at work while it is.
    PARALLEL = """
all: {targets}
{targets}:
	{run} sh -c 'mkdir -p run; touch run/$@; ls run | wc -l >> counts; sleep 0.3; rm run/$@'
"""

    def at_once(self):
        return max(int(line) for line in (self.folder / "counts").read_text().split())

    def test_never_more_at_a_time_than_it_was_told(self):
        targets = " ".join(f"t{number}" for number in range(9))
        text = self.PARALLEL.format(targets=targets, run="$(RUN)") + "all: plain\nplain:\n\techo 'int f(void){return 0;}' | gcc -xc -c -o plain.o -\n"
        done = self.make(text, "-j3")
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        self.assertEqual(self.at_once(), 3)

    def test_a_make_in_a_guest_has_a_jobserver_of_its_own(self):
        targets = " ".join(f"t{number}" for number in range(8))
        (self.folder / "Makefile").write_text(self.PARALLEL.format(targets=targets, run=""))
        done = pool.ssirun("--remote", "make", "-s", "-j4", cwd=self.folder, timeout=100)
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        self.assertEqual(self.at_once(), 4)

    def test_a_make_of_a_make_stays_with_its_tokens(self):
        (self.folder / "sub").mkdir()
        targets = " ".join(f"t{number}" for number in range(6))
        (self.folder / "sub/Makefile").write_text(self.PARALLEL.format(targets=targets, run=""))
        done = self.make("all:\n\t+$(SSIRUN) -v make -C sub\n", "-s", "-j2")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stderr, b"ssirun: home: it shares its make's jobserver\n")
        shutil.copy(self.folder / "sub/counts", self.folder)
        self.assertEqual(self.at_once(), 2)

    def test_sent_away_all_the_same_it_runs_one_thing_at_a_time(self):
        (self.folder / "sub").mkdir()
        targets = " ".join(f"t{number}" for number in range(3))
        (self.folder / "sub/Makefile").write_text(self.PARALLEL.format(targets=targets, run=""))
        done = self.make("all:\n\t+$(RUN) make -C sub\n", "-s", "-j3")
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        shutil.copy(self.folder / "sub/counts", self.folder)
        self.assertEqual(self.at_once(), 1)

    def test_other_commands_see_no_jobserver(self):
        text = "all:\n\t+$(RUN) sh -c 'echo \"[$$MAKEFLAGS][$$MFLAGS]\"; ls /proc/self/fd | sort -n | tr \"\\n\" \" \"'\n"
        done = self.make(text, "-s", "-k", "-j2", "A=b")
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        self.assertEqual(done.stdout, b"[ks -- A=b][-ks]\n0 1 2 3 ")

    def test_a_compiler_that_wants_tokens_is_not_stuck(self):
        (self.folder / "a.c").write_text("int main(void) { return 0; }\n")
        done = self.make("a: a.c\n\t+$(RUN) gcc -O2 -flto=jobserver a.c -o a\n", "-s", "-j2")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(pool.run(self.folder / "a").returncode, 0)

    def test_a_jobserver_that_is_a_fifo(self):
        """As GNU make 4.4 has it; Debian 12 has 4.3, so the FIFO is made by hand."""
        fifo = self.folder / "fifo"
        os.mkfifo(fifo)
        env = {"MAKEFLAGS": f" -j2 --jobserver-auth=fifo:{fifo}"}
        self.assertEqual(pool.ssirun("--dry-run", "make", env=env).stdout, b"home: it shares its make's jobserver\n")
        done = pool.ssirun("--remote", "sh", "-c", 'echo "[$MAKEFLAGS]"', env=env)
        self.assertEqual((done.returncode, done.stdout), (0, b"[]\n"))


if __name__ == "__main__":
    unittest.main()
