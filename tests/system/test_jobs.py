# SPDX-License-Identifier: LGPL-2.1-or-later
"""Jobs on a real pool of two guests: streams, status, signals, surroundings. Each is compared with the same command at home."""
import fcntl
import hashlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import time
import unittest

from pool import Pool, SSIRUN, not_sanitized, wait_until

BESIDE = 28

pool = None


def setUpModule():
    global pool
    pool = Pool(2)
    pool.__enter__()


def tearDownModule():
    pool.__exit__(None)


def comm(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


class JobCase(unittest.TestCase):
    maxDiff = 2000

    def remote(self, *words, **options):
        return pool.ssirun("--remote", *words, **options)

    def same(self, *words, **options):
        """Runs at home and in a guest; status, stdout and stderr must be equal. Returns the guest's."""
        here, there = pool.run(*words, **options), self.remote(*words, **options)
        self.assertEqual((there.returncode, there.stdout, there.stderr), (here.returncode, here.stdout, here.stderr))
        return there

    def popen(self, *words, **options):
        return subprocess.Popen([SSIRUN, "--remote", *words], env=pool.env, cwd=pool.work, **options)


class Status(JobCase):
    def test_exit_codes(self):
        for code in (0, 1, 2, 77, 125, 126, 127, 128, 255):
            self.assertEqual(self.same("sh", "-c", f"exit {code}").returncode, code)

    def test_death_by_signal_is_death_by_the_same_signal(self):
        for name in ("KILL", "TERM", "SEGV", "INT", "USR1", "PIPE"):
            done = self.same("sh", "-c", f"ulimit -c 0; kill -{name} $$")
            self.assertEqual(done.returncode, -getattr(signal, f"SIG{name}"))

    def test_not_found_and_not_executable(self):
        (pool.work / "plain").write_text("no program")
        missing, plain = self.remote("./missing"), self.remote("./plain")
        self.assertEqual((missing.returncode, plain.returncode), (127, 126))
        for done in (missing, plain):
            self.assertEqual(done.stderr.count(b"\n"), 1)
            self.assertTrue(done.stderr.startswith(b"ssirun: "), done.stderr)
        self.assertEqual(self.remote("no-such-program-anywhere").returncode, 127)

    def test_a_named_guest_runs_it_or_nobody(self):
        names = {pool.ssirun("--on", name, "-v", "true").stderr.split(b":")[1].strip() for name in ("guest1", "guest2")}
        self.assertEqual(names, {b"guest1", b"guest2"})
        none = pool.ssirun("--on", "guest9", "true")
        self.assertEqual(none.returncode, 125)
        self.assertIn(b"guest9", none.stderr)
        self.assertEqual(none.stderr.count(b"\n"), 1)

    def test_dry_run_runs_nothing(self):
        done = self.remote("--dry-run", "touch", "never-made")
        self.assertEqual((done.returncode, done.stdout.count(b"\n")), (0, 1))
        self.assertTrue(done.stdout.startswith(b"guest"), done.stdout)
        self.assertFalse((pool.work / "never-made").exists())


class Kill(JobCase):
    def test_a_signal_for_a_job_by_its_number(self):
        for signals, status in (([], -signal.SIGTERM), (["-s", "KILL"], -signal.SIGKILL), (["--signal", "SIGUSR1"], 3)):
            job = self.popen("sh", "-c", "trap 'exit 3' USR1; echo ready; sleep 60 & wait", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            self.assertEqual(job.stdout.read(6), b"ready\n")
            job.stdout.close()
            number = wait_until(lambda: [it["id"] for it in json.loads(pool.ssi("ps", "--json").stdout)["jobs"] if it["command"] == "sh"], 10)
            done = pool.ssi("kill", number[0], *signals)
            self.assertEqual((done.returncode, done.stdout, done.stderr), (0, b"", b""))
            self.assertEqual(job.wait(10), status)
            self.assertTrue(wait_until(lambda: json.loads(pool.ssi("ps", "--json").stdout)["jobs"] == [], 10))

    def test_what_is_no_job(self):
        for words, status, says in ((["1"], 1, b"no job 1 of yours runs"), ([], 2, b"which job?"), (["x"], 2, b"'x' is not a job's number"),
                                    (["1", "-s", "NONSENSE"], 2, b"--signal NONSENSE")):
            done = pool.ssi("kill", *words)
            self.assertEqual(done.returncode, status, done.stderr)
            self.assertIn(says, done.stderr)
            self.assertEqual(done.stderr.count(b"\n"), 1)


class InTheGuest(JobCase):
    def test_root_is_the_view(self):
        lines = self.remote("cat", "/proc/self/mountinfo").stdout.decode().splitlines()
        root = next(line for line in lines if line.split()[4] == "/")
        self.assertIn("fuse", root.split(" - ")[1])

    def test_nothing_of_the_guest_or_home_is_seen_but_the_view(self):
        pids = self.remote("sh", "-c", "ls /proc").stdout.split()
        self.assertLess(len([pid for pid in pids if pid.isdigit()]), 6)
        self.assertEqual(self.same("hostname").returncode, 0)
        self.assertEqual(sorted(self.remote("ls", "/dev").stdout.split()),
                         sorted(b"fd full null ptmx pts random shm stderr stdin stdout tty urandom zero".split()))
        self.assertEqual(self.remote("find", "/sys", "-maxdepth", "3").stdout.split(),
                         b"/sys /sys/devices /sys/devices/system /sys/devices/system/node /sys/devices/system/cpu".split())
        self.same("nproc")
        for space in ("net", "mnt", "uts", "pid", "ipc", "user"):
            self.assertNotEqual(self.remote("readlink", f"/proc/self/ns/{space}").stdout.decode().strip(),
                                os.readlink(f"/proc/self/ns/{space}"))

    def test_served_bytes_are_at_least_the_input(self):
        size = 3_000_000
        (pool.work / "input").write_bytes(os.urandom(size))
        done = self.remote("-v", "sha256sum", "input")
        line = done.stderr.decode().splitlines()[-1]
        served = int(line.split(" bytes in")[0].split()[-1])
        self.assertGreaterEqual(served, size, line)

    def test_a_rightless_job(self):
        status = self.remote("cat", "/proc/self/status").stdout.decode()
        facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        self.assertEqual(facts["NoNewPrivs"].strip(), "1")
        self.assertEqual(facts["Seccomp"].strip(), "2")
        # Of root's capabilities a job of root keeps those over its own files and ids, in its user namespace.
        self.assertEqual(int(facts["CapBnd"], 16) & ~0xff, 0)
        self.assertNotEqual(self.remote("mount", "-t", "tmpfs", "x", "/mnt").returncode, 0)


class Streams(JobCase):
    def test_64_mib_through_stdin_and_stdout(self):
        data = os.urandom(1 << 20) * 64
        done = self.remote("cat", input=data, stdin=None)
        self.assertEqual(hashlib.sha256(done.stdout).digest(), hashlib.sha256(data).digest())

    def test_order_of_stdout_and_stderr_on_one_pipe(self):
        script = "for i in $(seq 300); do echo out $i; echo err $i >&2; done"
        self.same("sh", "-c", script, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def test_half_close(self):
        self.assertEqual(self.remote("sh", "-c", "cat; echo end", input=b"abc", stdin=None).stdout, b"abcend\n")

    def test_a_reader_that_goes_gives_sigpipe(self):
        for words in (["yes"], ["sh", "-c", "yes; echo $? >yes-status; exit 3"]):
            ends = []
            for prefix in ([], [SSIRUN, "--remote"]):
                job = subprocess.Popen([*prefix, *words], env=pool.env, cwd=pool.work, stdout=subprocess.PIPE)
                job.stdout.read(10)
                job.stdout.close()
                ends.append(job.wait(20))
            self.assertEqual(ends[1], ends[0])
        self.assertEqual((pool.work / "yes-status").read_text(), f"{128 + signal.SIGPIPE}\n")

    @not_sanitized("AddressSanitizer keeps what was freed, up to 256 MiB of it")
    def test_memory_is_bounded_when_nobody_reads(self):
        job = self.popen("yes", stdout=subprocess.PIPE)
        time.sleep(2)
        for pid in pool.processes():
            for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith("VmRSS"):
                    self.assertLess(int(line.split()[1]), 200_000, f"kB of {pid}")
        job.kill()
        job.wait(10)
        job.stdout.close()

    def test_a_file_as_stdin_is_left_where_the_job_stopped(self):
        (pool.work / "lines").write_bytes(b"".join(b"line %d\n" % i for i in range(10_000)))
        for prefix in ("", f"{SSIRUN} --remote "):
            done = pool.run("bash", "-c", f"exec <lines; {prefix}dd bs=70 count=1 status=none >/dev/null; read x; echo $x")
            self.assertEqual(done.stdout, b"line 10\n", prefix)

    def test_output_to_a_file_appends_at_its_offset(self):
        pool.run("sh", "-c", f"(echo one; {SSIRUN} --remote echo two; echo three) >out; {SSIRUN} --remote echo four >>out")
        self.assertEqual((pool.work / "out").read_bytes(), b"one\ntwo\nthree\nfour\n")

    def test_closed_streams(self):
        for closed in ("<&-", ">&-", "2>&-"):
            script = "sh -c 'ls -l /proc/self/fd | grep -c -E \" [012] -> (pipe|/dev/null|/)\" >count' "
            here = pool.run("sh", "-c", f"{script} {closed}; cat count").stdout
            there = pool.run("sh", "-c", f"{SSIRUN} --remote {script} {closed}; cat count").stdout
            self.assertEqual(there, here, closed)

    def test_a_background_child_keeps_the_stream_open(self):
        began = time.monotonic()
        done = self.remote("sh", "-c", "(sleep 1; echo late) & echo now")
        self.assertEqual(done.stdout, b"now\nlate\n")
        self.assertGreater(time.monotonic() - began, 0.9)

    def test_dev_stdout_and_dev_stdin_open(self):
        self.same("sh", "-c", "cat </dev/stdin >/dev/stdout; echo e >/dev/stderr", input=b"through\n", stdin=None)


    def test_devices_as_streams(self):
        for script in ("head -c 5 </dev/zero | od -c", "head -c 5 </dev/urandom | wc -c"):
            self.assertEqual(pool.run("sh", "-c", f"{SSIRUN} --remote {script}").stdout, pool.run("sh", "-c", script).stdout)
        full = pool.run("sh", "-c", f"{SSIRUN} --remote echo x >/dev/full")
        self.assertNotEqual(full.returncode, 0)
        self.assertIn(b"No space left", full.stderr)
        self.assertEqual(pool.ssirun("--remote", "echo", "alive").stdout, b"alive\n")

    def test_a_socket_as_stdout_keeps_its_flags(self):
        ours, theirs = socket.socketpair()
        done = self.remote("echo", "through", stdout=theirs, stderr=subprocess.DEVNULL)
        self.assertEqual((done.returncode, ours.recv(100)), (0, b"through\n"))
        self.assertFalse(fcntl.fcntl(theirs, fcntl.F_GETFL) & os.O_NONBLOCK)
        for end in (ours, theirs):
            end.close()

    def test_the_status_does_not_wait_for_a_background_child(self):
        """The window is full when the leader ends, and a child holds the pipe for long."""
        job = self.popen("sh", "-c", "sleep 20 & head -c 1144000 /dev/zero", stdout=subprocess.PIPE)
        time.sleep(1)
        began = time.monotonic()
        self.assertEqual(len(job.stdout.read(1144000)), 1144000)
        self.assertEqual(job.wait(10), 0)
        self.assertLess(time.monotonic() - began, 5)
        job.stdout.close()

    def test_background_children_keep_home_s_files(self):
        mark = pool.work / "from-the-background"
        mark.unlink(missing_ok=True)
        done = self.remote("sh", "-c", "(sleep 1; echo late >from-the-background) >/dev/null 2>&1 </dev/null &")
        self.assertEqual((done.returncode, mark.exists()), (0, False))
        self.assertTrue(wait_until(lambda: mark.exists() and mark.read_text() == "late\n", 10))

    def test_the_deputy_keeps_no_descriptor_of_a_job(self):
        def descriptors():
            return sum(1 for pid in pool.processes() if comm(pid) == "ssi-deputy" for fd in os.listdir(f"/proc/{pid}/fd")
                       if os.readlink(f"/proc/{pid}/fd/{fd}").startswith(("socket:", "pipe:")))
        script = f"{SSIRUN} --remote sh -c '(sleep .2; exec yes) & exit 0' 2>/dev/null | head -1; {SSIRUN} --remote sh -c 'yes; exit 0' | head -1"
        pool.run("sh", "-c", script)
        time.sleep(0.5)
        before = descriptors()
        for _ in range(4):
            pool.run("sh", "-c", script)
        self.assertTrue(wait_until(lambda: descriptors() <= before, 5), f"{before} -> {descriptors()}")


class Signals(JobCase):
    def test_catchable_signals_reach_the_job(self):
        script = ("trap 'echo TERM' TERM; trap 'echo INT' INT; trap 'echo USR1' USR1; trap 'echo HUP' HUP; "
                  "trap 'echo bye; exit 5' USR2; echo ready; while :; do sleep 0.05; done")
        job = self.popen("bash", "-c", script, stdout=subprocess.PIPE)
        self.assertEqual(job.stdout.readline(), b"ready\n")
        for name in ("TERM", "INT", "USR1", "HUP"):
            job.send_signal(getattr(signal, f"SIG{name}"))
            self.assertEqual(job.stdout.readline().decode().strip(), name)
        job.send_signal(signal.SIGUSR2)
        self.assertEqual((job.stdout.read(), job.wait(10)), (b"bye\n", 5))
        job.stdout.close()

    def test_a_signal_that_kills_the_job_kills_ssirun(self):
        job = self.popen("sh", "-c", "echo ready; exec sleep 60", stdout=subprocess.PIPE)
        job.stdout.readline()
        job.terminate()
        self.assertEqual(job.wait(10), -signal.SIGTERM)
        job.stdout.close()

    def test_ignored_signals_stay_ignored(self):
        self.same("sh", "-c", "trap '' INT; sh -c 'kill -INT $$; echo alive'")
        done = pool.run("sh", "-c", f"trap '' USR1; exec {SSIRUN} --remote sh -c 'kill -USR1 $$; echo alive'")
        self.assertEqual(done.stdout, b"alive\n")

    def test_killing_ssirun_kills_the_job_and_all_its_children(self):
        beat = pool.work / "heartbeat"
        beat.unlink(missing_ok=True)
        job = self.popen("sh", "-c", "(while :; do echo x >>heartbeat; sleep 0.05; done) & sleep 60")
        self.assertTrue(wait_until(lambda: beat.exists() and beat.stat().st_size > 4, 10))
        job.kill()
        job.wait(10)
        time.sleep(1)
        size = beat.stat().st_size
        time.sleep(0.5)
        self.assertEqual(beat.stat().st_size, size)
        self.assertTrue(wait_until(lambda: not any(guest["jobs"] for guest in pool.status().values()), 5))


class Surroundings(JobCase):
    def test_its_process_group(self):
        """It leads one when the command does at home, or else is the only member of one."""
        what = """import os
group = os.getpgrp()
print(group == os.getpid(), os.killpg(group, 0))
os.setpgid(0, 0)
print(os.getpgrp() == os.getpid())"""
        for leads in (False, True):
            options = {"process_group": 0} if leads else {}
            done = self.same("python3", "-c", what, **options)
            self.assertEqual(done.stdout.split()[0], str(leads).encode())

    def test_ids_groups_umask_cwd_limits_environment(self):
        odd = pool.work / "a dir\nwith 'odd' \x01 name"
        odd.mkdir(exist_ok=True)
        script = "id; umask; pwd; ulimit -a; nice; env | sort; locale 2>/dev/null; date +%Z"
        env = {"ODD": "a\tb\"c'", "EMPTY": "", "TZ": "Asia/Tokyo"}
        self.same("bash", "-c", f"umask 027; ulimit -n 777 -f 4096; {script}", cwd=odd, env=env)
        done = pool.run("bash", "-c", f"umask 027; ulimit -n 777 -f 4096; cd '{pool.work}'; nice -n 3 {SSIRUN} --remote "
                        "bash -c 'umask; ulimit -n; ulimit -f; nice'")
        self.assertEqual(done.stdout, b"0027\n777\n4096\n3\n")

    def test_our_own_variables_are_gone_and_nothing_else(self):
        env = {"SSI_LOG": "debug", "SSI_OTHER": "stays", "LD_PRELOAD": "", "SSI_ALLOW_TABLE": "/none", "SSI_SHIM": "x:1"}
        there = self.remote("env", "-0", env=env).stdout.split(b"\0")
        self.assertIn(b"SSI_OTHER=stays", there)
        self.assertFalse([word for word in there if word.startswith((b"SSI_LOG=", b"SSI_DISABLE=", b"SSI_CONFIG=", b"SSI_ALLOW_TABLE=", b"SSI_SHIM="))])

    def test_arguments_of_any_bytes_and_size(self):
        odd = [b"", b"a\nb", b"\xff\xfe", b"'", b"x" * 100_000]
        here = subprocess.run(["printf", "%s\\0", *odd], capture_output=True)
        there = subprocess.run([SSIRUN, "--remote", "printf", "%s\\0", *odd], capture_output=True, env=pool.env, cwd=pool.work)
        self.assertEqual(there.stdout, here.stdout)
        many = [str(i) * 10 for i in range(30_000)]
        done = self.remote("sh", "-c", "echo $#", "sh", *many)
        self.assertEqual(done.stdout, b"30000\n")

    def test_argv0_and_scripts(self):
        script = pool.work / "script.sh"
        script.write_text("#!/bin/sh\necho \"$0\" \"$@\"\n")
        script.chmod(0o755)
        self.same("./script.sh", "a", "b c")
        self.same(str(script), "x")
        self.same("bash", "-c", "exec -a other-name sh -c 'cat /proc/$$/cmdline | tr \"\\0\" .'")

    def test_a_deleted_cwd(self):
        gone = pool.work / "gone"
        for prefix, status in ((f"{SSIRUN}", 0), (f"{SSIRUN} --remote", 125)):
            gone.mkdir()
            done = pool.run("sh", "-c", f"cd gone && rmdir ../gone && {prefix} true")
            self.assertEqual(done.returncode, status, done.stderr)
            if status:
                self.assertIn(b"directory has been deleted", done.stderr)
                self.assertEqual(done.stderr.count(b"\n"), 1)


class Many(JobCase):
    def test_80_at_once_on_a_cold_guest(self):
        pool.end_deputy()
        jobs = [self.popen("--on", "guest1", "true") for _ in range(80)]
        self.assertEqual([job.wait(60) for job in jobs], [0] * 80)

    def test_a_pipeline_longer_than_the_slots_at_home(self):
        stages = " | ".join([f"{SSIRUN} cat"] * 6)
        env = {"SSI_SCHEDULER": "127.0.0.1:1#" + pool.ssi("key", "show").stdout.decode().strip()}
        began = time.monotonic()
        done = pool.run("sh", "-c", f"{SSIRUN} sh -c 'yes | head -c 300000' | {stages} | wc -c", env=env)
        self.assertEqual(done.stdout.strip(), b"300000")
        self.assertLess(time.monotonic() - began, 9)

    def test_50_in_a_row(self):
        for i in range(50):
            self.assertEqual(self.remote("echo", str(i)).stdout, b"%d\n" % i)

    def test_8_at_once_use_both_guests(self):
        jobs = [subprocess.Popen([SSIRUN, "--remote", "-v", "sh", "-c", f"sleep 0.5; echo {i} >made-{i}; cat made-{i}"], env=pool.env,
                                 cwd=pool.work, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for i in range(8)]
        ends = [job.communicate(timeout=60) for job in jobs]
        self.assertEqual([out for out, _ in ends], [b"%d\n" % i for i in range(8)], [(job.returncode, *end) for job, end in zip(jobs, ends)])
        guests = {err.decode().split(": ")[1] for _, err in ends}
        self.assertEqual(guests, {"guest1", "guest2"})

    def test_jobs_of_a_pipeline_run_together(self):
        run = f"{SSIRUN} --remote"
        done = pool.run("sh", "-c", f"{run} seq 100000 | {run} sort -rn | {run} head -3")
        self.assertEqual(done.stdout, b"100000\n99999\n99998\n")


class Diverted(JobCase):
    """The shim, as bash and make load it, sends allow-listed commands to a guest, and nothing else."""

    @classmethod
    def setUpClass(cls):
        config = pool.dir / "config/ssi"
        config.mkdir(mode=0o700, exist_ok=True)
        (config / "config.toml").write_text('[[app]]\nmatch = ["readlink", "gcc"]\nnot_args = ["--version"]\npolicy = "remote"\n')

    @classmethod
    def tearDownClass(cls):
        (pool.dir / "config/ssi/config.toml").unlink()

    def test_from_bash(self):
        done = pool.ssi("shell", "readlink /proc/self/ns/net; cat /proc/self/comm; ls /nowhere; readlink --version | wc -l")
        lines = done.stdout.decode().splitlines()
        self.assertTrue(lines[0].startswith("net:["), done)
        self.assertNotEqual(lines[0], os.readlink("/proc/self/ns/net"))
        self.assertEqual((lines[1], int(lines[2]) > 5), ("cat", True))

    def test_from_make(self):
        source = pool.work / "make"
        source.mkdir(exist_ok=True)
        for name in "abcd":
            (source / f"{name}.c").write_text(f"int {name}(void) {{ return {ord(name)}; }}\n")
        (source / "main.c").write_text("int a(void); int d(void); int main(void) { return a() + d() == 197 ? 0 : 1; }\n")
        (source / "Makefile").write_text("prog: a.o b.o c.o d.o main.o\n\tgcc -o $@ $^\n%.o: %.c\n\tgcc -c -o $@ $<\n"
                                         "where:\n\t@readlink /proc/self/ns/net\n")
        done = pool.ssi("shell", "make -j4 prog && ./prog && make where", cwd=source)
        self.assertEqual(done.returncode, 0, done)
        self.assertNotEqual(done.stdout.decode().splitlines()[-1], os.readlink("/proc/self/ns/net"))

    def test_disabled(self):
        done = pool.ssi("shell", "readlink /proc/self/ns/net", env={"SSI_DISABLE": "1"})
        self.assertEqual(done.stdout.decode().strip(), os.readlink("/proc/self/ns/net"))


class Waiting(JobCase):
    def test_wait_ends(self):
        """Both guests have a job for each processor; one that may wait for a second gives up then, one that waits longer runs."""
        fill = lambda guest: [self.popen("--cpus", "1", "--on", guest, "sh", "-c", "echo runs; exec sleep 60", stdout=subprocess.PIPE)
                              for _ in range(pool.status()[guest]["cpus"])]
        filling = {guest: fill(guest) for guest in ("guest1", "guest2")}
        for job in filling["guest1"] + filling["guest2"]:
            self.assertEqual(job.stdout.readline(), b"runs\n")
        began = time.monotonic()
        done = pool.ssirun("--wait=1", "--remote", "true")
        self.assertEqual(done.returncode, 125)
        self.assertIn(b"no guest was free within 1 s", done.stderr)
        self.assertLess(time.monotonic() - began, 10)
        waiting = self.popen("--wait", "echo", "ran", stdout=subprocess.PIPE)
        time.sleep(1)
        self.assertIsNone(waiting.poll())
        for job in filling["guest2"]:
            job.terminate()
        self.assertEqual(waiting.communicate(timeout=20)[0], b"ran\n")
        for job in filling["guest1"]:
            self.assertIsNone(job.poll())
            job.terminate()
        for job in filling["guest1"] + filling["guest2"]:
            job.communicate(timeout=20)


if __name__ == "__main__":
    unittest.main()
