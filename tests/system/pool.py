# SPDX-License-Identifier: LGPL-2.1-or-later
"""An embedded pool of a test's own, with private state: `with Pool() as pool: pool.ssirun("--remote", "true")`."""
import atexit
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

BUILD = pathlib.Path(os.environ.get("SSI_BUILD") or pathlib.Path(__file__).resolve().parents[2] / "build")
SSI = str(BUILD / "cli/ssi")
SSIRUN = str(BUILD / "shim/ssirun")

# What a sanitizer says, also when it cannot write its report.
REPORT = re.compile(r"^.*(?:(?:Address|Leak|Thread|UndefinedBehavior)Sanitizer|: runtime error: |ERROR: Can't open file).*$", re.M)


def is_sanitized():
    options = BUILD / "meson-info/intro-buildoptions.json"
    return options.exists() and any(option["name"] == "b_sanitize" and option["value"] != "none"
                                    for option in json.loads(options.read_text()))


SANITIZED = is_sanitized()


def not_sanitized(why):
    """Decorates a test that cannot pass on a sanitized build."""
    return unittest.skipIf(SANITIZED, f"not with sanitizers: {why}")


open_homes = []


@atexit.register
def close_all():
    """A test that was interrupted, or that died between setUp and tearDown, still leaves nothing."""
    for home in open_homes[::-1]:
        home.__exit__(None)


class Home:
    """Private state, configuration and sockets. `env` is the environment for what belongs to it."""

    def __init__(self):
        # Short: a socket's path has 108 bytes.
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="ssi-test-", dir="/tmp"))
        for name in ("state", "run", "config", "work"):
            (self.dir / name).mkdir(mode=0o700)
        open_homes.append(self)
        self.work = self.dir / "work"
        self.env = {key: value for key, value in os.environ.items() if not key.startswith("SSI_")}
        self.env.update(XDG_STATE_HOME=str(self.dir / "state"), XDG_RUNTIME_DIR=str(self.dir / "run"),
                        XDG_CONFIG_HOME=str(self.dir / "config"))
        if SANITIZED:  # the programs at home; a guest's environment is its own, and its stderr a log of the pool's
            (self.dir / "reports").mkdir(mode=0o777)
            for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS"):
                self.env[name] = f"log_path={self.dir}/reports/{name}"
            # It lives for one command and frees nothing on purpose.
            (self.dir / "suppressed").write_text("leak:ssirun\n")
            self.env["LSAN_OPTIONS"] = f"suppressions={self.dir}/suppressed:print_suppressions=0"

    def run(self, *command, **options):
        """subprocess.run with this home's environment and a time limit; output as bytes, status not checked."""
        options.setdefault("timeout", 120)
        options.setdefault("cwd", self.work)
        options.setdefault("stdin", subprocess.DEVNULL)
        env = {**self.env, **options.pop("env", {})}
        if not options.keys() & {"stdout", "stderr"}:
            options.setdefault("capture_output", True)
        done = subprocess.run([str(word) for word in command], env=env, **options)
        # A job's init already has the job's stderr.
        said = SANITIZED and REPORT.search(str((done.stdout, done.stderr)))
        assert not said, f"a sanitizer reports: {done.stderr}"
        return done

    def configure(self, text):
        """Replaces this user's configuration; deputies read it for each job."""
        directory = self.dir / "config/ssi"
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        (directory / "config.toml").write_text(text)

    def ssi(self, *words, **options):
        return self.run(SSI, *words, **options)

    def ssirun(self, *words, **options):
        return self.run(SSIRUN, *words, **options)

    def processes(self):
        """Pids of this home's processes, by the socket directory in their environment."""
        mark, found = f"XDG_RUNTIME_DIR={self.dir}/run".encode(), []
        for entry in pathlib.Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
            except OSError:
                pass
        return found

    def reports(self):
        """What the sanitizers found in this home's processes: in files of their own, or in the daemons' logs."""
        if not SANITIZED:
            return ""
        files = [*(self.dir / "reports").iterdir(), *self.dir.rglob("*.log")]
        texts = [(file, file.read_text(errors="replace")) for file in files if file.is_file()]
        return "\n".join(f"--- {file.name}\n{text[-10000:]}" for file, text in texts if REPORT.search(text))

    def end_deputy(self):
        """SIGTERM to the deputy, and waits for it. The pid is one of this home's processes, found a moment before."""
        for pid in self.processes():
            try:
                if pathlib.Path(f"/proc/{pid}/comm").read_text().strip() == "ssi-deputy":
                    os.kill(pid, signal.SIGTERM)
            except OSError:
                pass
        return wait_until(lambda: not [pid for pid in self.processes() if not is_zombie(pid)], 5)

    def close(self):
        if self not in open_homes:
            return
        open_homes.remove(self)
        self.end_deputy()
        left = [describe(pid) for pid in self.processes() if not is_zombie(pid)]
        mounts = [line.split()[4] for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines() if str(self.dir) in line]
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)
        for mount in reversed(mounts):
            subprocess.run(["umount", "-l", mount])
        reports = self.reports()
        shutil.rmtree(self.dir, ignore_errors=True)
        assert not reports, f"a sanitizer reports:\n{reports}"
        assert not left, f"processes left running: {left}"
        assert not mounts, f"left mounted: {mounts}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Pool(Home):
    """A home with a pool that is up. At the end it is taken down, and must have left nothing."""

    def __init__(self, guests=2):
        super().__init__()
        self.guests, self.record = guests, None

    def __enter__(self):
        done = self.ssi("pool", "up", *(["--guests", self.guests] if self.guests else ["--scheduler-only"]))
        if done.returncode:
            self.close()
            raise AssertionError(f"ssi pool up: {(done.stdout + done.stderr).decode(errors='replace')}")
        self.record = json.loads((self.dir / "state/ssi/pool/pool.json").read_text())
        self.bridge = self.bridge_index()
        return self

    def bridge_index(self):
        """Of root's pool's bridge, whose name another pool takes when it is gone; None: it has none."""
        try:
            return int(pathlib.Path(f"/sys/class/net/{self.record['bridge']}/ifindex").read_text())
        except OSError:
            return None

    def guest_pid(self, number):
        """The pid at home of guest K's first process: look into the guest with nsenter -t."""
        return self.record["guests"][number - 1]["pid"]

    def status(self):
        done = self.ssi("status", "--json")
        assert done.returncode == 0, done.stderr
        return {guest["name"]: guest for guest in json.loads(done.stdout)["guests"]}

    def scheduler(self):
        """(address, key) of its scheduler."""
        return self.record["address"], self.record["key"]

    def logs(self):
        return "".join(f"--- {log.name}\n{log.read_text(errors='replace')}" for log in sorted(self.dir.rglob("*.log")))

    def __exit__(self, kind, *_):
        if self not in open_homes:
            return
        if kind is not None:
            print(self.logs()[-20000:])
        try:
            done = self.ssi("pool", "down")
            said = (done.stdout + done.stderr).decode(errors="replace")
            if self.record:
                assert done.returncode == 0, said
                for process in [self.record["scheduler"], *self.record["guests"]]:
                    assert not pathlib.Path(f"/proc/{process['pid']}").exists() or is_zombie(process["pid"]), said
                assert self.bridge is None or self.bridge_index() != self.bridge, said
                assert not (self.dir / "state/ssi/pool/pool.json").exists(), said
        finally:
            self.close()


def programs_for(user, directory):
    """A build directory whose programs `user` (a command prefix) may run: BUILD, or a copy when that lies below /root."""
    if not subprocess.run([*user, "test", "-x", BUILD / "cli/ssi"]).returncode:
        return BUILD
    build = directory / "build"
    for name in ("cli/ssi", "shim/ssirun", "shim/libssi-shim.so", "deputy/ssi-deputy", "agent/ssi-agent", "scheduler/ssi-scheduler"):
        (build / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(BUILD / name, build / name)
    return build


def without_deputy(home):
    """A directory with ssirun and the shim, and no deputy beside them."""
    bin = home.dir / "bin"
    bin.mkdir()
    for name in ("shim/ssirun", "shim/libssi-shim.so"):
        shutil.copy(BUILD / name, bin)
    return bin


def wait_until(is_so, seconds):
    deadline = time.monotonic() + seconds
    while not (true := is_so()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return true


def is_zombie(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def inits(guest):
    """The first processes of pid namespaces inside a guest: those of its jobs, and the one that waits for the next job."""
    inside = subprocess.run(["pgrep", "--ns", str(guest), "--nslist", "net"], capture_output=True, text=True).stdout.split()
    def is_first(pid):
        try:
            status = pathlib.Path(f"/proc/{pid}/status").read_text()
        except OSError:
            return False
        return int(pid) != guest and re.search(r"^NSpid:.*\t1$", status, re.M) and not is_zombie(pid)
    return [int(pid) for pid in inside if is_first(pid)]


def describe(pid):
    try:
        return f"{pid} {pathlib.Path(f'/proc/{pid}/cmdline').read_bytes().replace(bytes(1), b' ').decode(errors='replace')}"
    except OSError:
        return f"{pid}"
