# SPDX-License-Identifier: LGPL-2.1-or-later
"""Home and guests as network namespaces with a long cable between them: `with Lab(guests=4, round_trip_ms=5) as lab: lab.sample(...)`.

This process itself is home: it enters a network and a mount namespace of its own, brings a pool up there, and moves the guests'
ends of their cables into a third namespace, the hub, which `cable` joins to home. As root; cgroup v1 for what processors do.
"""
import contextlib
import ctypes
import dataclasses
import os
import pathlib
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from pool import BUILD, Pool, wait_until

CACHE = BUILD / "bench-cache"
CGROUPS = pathlib.Path("/sys/fs/cgroup")
GIGABIT = 1000
PERIOD_US = 50_000
CLONE_NEWNS, CLONE_NEWNET = 0x00020000, 0x40000000


class Failed(Exception):
    """A command did not do what it should."""


class TooLong(Exception):
    """A command did not end within its limit."""


@dataclasses.dataclass
class Sample:
    """What a run took: seconds, seconds of processor at home, and what went through home's end of the cable, both ways."""
    seconds: float
    cpu: float
    bytes: int
    packets: int


def ip(*words, pid=None):
    where = ["nsenter", "-t", str(pid), "-n"] if pid else []
    subprocess.run([*where, "ip", *map(str, words)], check=True)


def leave_the_machine():
    """Into namespaces of our own: nothing that is made from here on can be seen from the machine, or stays when this process ends."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS | CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "unshare (this needs root)")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    # Where root's pool is named to everybody: neither is ours the machine's, nor the other way round.
    pathlib.Path("/run/ssi").mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "none", "/run/ssi"], check=True)
    ip("link", "set", "lo", "up")


def build_cable():
    program, source = CACHE / "cable", pathlib.Path(__file__).with_name("cable.cc")
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        CACHE.mkdir(parents=True, exist_ok=True)
        subprocess.run(["c++", "-O2", "-std=c++20", "-pthread", "-o", program, source], check=True)
    return program


def descendants(pid):
    found = [pid]
    for parent in found:
        with contextlib.suppress(OSError):
            for task in pathlib.Path(f"/proc/{parent}/task").iterdir():
                found += [int(child) for child in (task / "children").read_text().split()]
    return found


class Cgroup:
    """Of one controller of cgroup v1, removed by close(); what is in it then goes back to the root."""

    def __init__(self, controller, name):
        self.top = CGROUPS / controller
        self.dir = self.top / f"ssi-bench-{os.getpid()}-{name}"
        self.dir.mkdir()

    def enter(self, *pids):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                (self.dir / "cgroup.procs").write_text(str(pid))

    def leave(self, pid):
        (self.top / "cgroup.procs").write_text(str(pid))

    def limit(self, share):
        """So many processors, and much weight: what else runs on this machine is not to be measured."""
        (self.dir / "cpu.cfs_period_us").write_text(str(PERIOD_US))
        (self.dir / "cpu.cfs_quota_us").write_text(str(int(share * PERIOD_US)))
        (self.dir / "cpu.shares").write_text("20480")

    def close(self):
        for _ in range(100):
            for pid in (self.dir / "cgroup.procs").read_text().split():
                with contextlib.suppress(OSError):
                    (self.top / "cgroup.procs").write_text(pid)
            with contextlib.suppress(OSError):
                self.dir.rmdir()
                return
            time.sleep(0.05)


class Lab(Pool):
    def __init__(self, guests, round_trip_ms, limit=60):
        """`limit`: seconds, after which what a peer runs in a guest is ended there."""
        leave_the_machine()
        super().__init__(guests)
        self.round_trip_ms, self.limit = round_trip_ms, limit
        self.closing, self.peers = contextlib.ExitStack(), contextlib.ExitStack()
        self.guest_pids = {number: [] for number in range(1, guests + 1)}  # processes of peers there
        self.daemons = []  # of peers at home
        self.errors = tempfile.TemporaryFile()
        self.cpu, self.quota = None, None
        self.made = set()  # of materials.py, in the work folder

    def __enter__(self):
        super().__enter__()
        try:
            self.lay_cable(build_cable())
            self.cpu = Cgroup("cpuacct", "home")
            self.closing.callback(self.cpu.close)
            self.cpu.enter(os.getpid())
            if not wait_until(self.all_up, 20):
                raise Failed("the guests do not report through the cable")
        except BaseException:
            self.__exit__(None)
            raise
        return self

    def __exit__(self, kind, *rest):
        if kind and not issubclass(kind, Exception):
            kind = None  # interrupted: nobody asks for the logs
        with self.closing:  # the cable last: what is still to be said goes through it
            try:
                self.peers.close()
            finally:
                super().__exit__(kind, *rest)

    def bridge_index(self):
        return None  # /sys shows the machine's devices; ours go with their namespaces

    def all_up(self):
        return all(guest["state"] == "up" for guest in self.status().values())

    def start(self, command, stack=None, **options):
        """A process that is ended with the lab."""
        options.setdefault("stdin", subprocess.DEVNULL)
        process = subprocess.Popen([str(word) for word in command], **options)
        (stack or self.closing).callback(end, process)
        return process

    def lay_cable(self, cable):
        bridge = self.record["bridge"]
        hub = self.start(["unshare", "-n", "cat"], stdin=subprocess.PIPE)  # the namespace ends with this process, however that ends
        own = os.readlink("/proc/self/ns/net")
        wait_until(lambda: os.readlink(f"/proc/{hub.pid}/ns/net") != own, 5)
        ip("link", "add", "hub", "type", "bridge", pid=hub.pid)
        ip("link", "set", "hub", "up", pid=hub.pid)
        process = self.start([cable, "/proc/self/ns/net", f"/proc/{hub.pid}/ns/net", "cable", self.round_trip_ms * 500, GIGABIT],
                             stdout=subprocess.PIPE)
        if process.stdout.readline() != b"ready\n":
            raise Failed("the cable does not start")
        ip("link", "set", "cable", "master", "hub", "up", pid=hub.pid)
        for number in range(1, self.guests + 1):
            end_of_guest = f"{bridge}-g{number}"
            ip("link", "set", end_of_guest, "netns", hub.pid)
            ip("link", "set", end_of_guest, "master", "hub", "up", pid=hub.pid)
        ip("link", "set", "cable", "master", bridge, "up")

    def guest_address(self, number):
        return self.record["address"].rpartition(".")[0] + f".{10 + number}"

    def home_address(self):
        return self.record["address"].rpartition(":")[0]

    def measured_round_trip(self):
        """Milliseconds: the best of some TCP handshakes with the first guest's agent."""
        times = []
        for _ in range(20):
            began = time.perf_counter()
            socket.create_connection((self.guest_address(1), 7701)).close()
            times.append(time.perf_counter() - began)
        return min(times) * 1000

    def begin_anew(self):
        """Ends the deputy, and waits until the guests have nothing of its session but the content that they keep."""
        if not self.end_deputy() or not wait_until(lambda: not self.sessions(), 20):
            raise Failed("the session with a guest does not end")

    def make_cold(self):
        """The guests know nothing of this home."""
        self.begin_anew()
        for number in range(1, self.guests + 1):
            for store in pathlib.Path(f"/proc/{self.guest_pid(number)}/root/var/cache/ssi").glob("*/"):
                shutil.rmtree(store)

    def sessions(self):
        """Processes of the agents that serve this home: children of their parent that have children of their own, or a view."""
        return [pid for number in range(1, self.guests + 1) for pid in descendants(self.guest_pid(number))
                if "/view" in read(f"/proc/{pid}/mounts") and "ssi-agent" == read(f"/proc/{pid}/comm").strip()]

    @contextlib.contextmanager
    def shares(self, share):
        """Meanwhile each guest has so many processors, and home as many for commands; its deputy and daemons have what is left."""
        if share is None:
            yield
            return
        with contextlib.ExitStack() as groups:
            def group(name, share, pids):
                made = Cgroup("cpu", name)
                groups.callback(made.close)
                made.limit(share)
                made.enter(*pids)
                return made
            for number, others in self.guest_pids.items():
                group(f"guest{number}", share, [pid for top in [self.guest_pid(number), *others] for pid in descendants(top)])
            group("daemons", os.cpu_count(), [pid for top in [*self.daemons, self.record["scheduler"]["pid"], *self.processes()]
                                              for pid in descendants(top)])
            self.quota = group("home", share, [])
            for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us"):  # as the deputy sees it, so that home takes no more than its part
                subprocess.run(["mount", "--bind", self.quota.dir / name, self.quota.top / name], check=True)
                groups.callback(subprocess.run, ["umount", self.quota.top / name], check=True)
            try:
                yield
            finally:
                self.quota = None

    def sample(self, command, env, limit):
        """A Sample of a command; Failed with its words, or TooLong."""
        if self.quota:
            command = ["sh", "-c", 'echo $$ > "$0" && exec "$@"', str(self.quota.dir / "cgroup.procs"), *command]
        self.errors.seek(0)
        self.errors.truncate()
        before, own = self.counters(), time.process_time()
        began = time.perf_counter()
        process = subprocess.Popen(command, env=env, cwd=self.work, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self.errors,
                                   start_new_session=True)
        try:
            ended = wait_for(process, limit)
        finally:
            took = time.perf_counter() - began
            end_group(process)
        if not ended:
            raise TooLong()
        time.sleep(0.05)  # for what the deputy writes down afterwards
        own = time.process_time() - own
        after = self.counters()
        if process.returncode:
            self.errors.seek(0)
            raise Failed(f"status {process.returncode}: {self.errors.read().decode(errors='replace').strip()[-500:]}")
        return Sample(took, (after[0] - before[0]) / 1e9 - own, after[1] - before[1], after[2] - before[2])

    def counters(self):
        """Nanoseconds of processor at home, bytes and packets through the cable."""
        used = int((self.cpu.dir / "cpuacct.usage").read_text())
        line = next(line for line in read("/proc/self/net/dev").splitlines() if line.strip().startswith("cable:"))
        fields = [int(field) for field in line.partition(":")[2].split()]
        return used, fields[0] + fields[8], fields[1] + fields[9]


def read(path):
    try:
        return pathlib.Path(path).read_text(errors="replace")
    except OSError:
        return ""


def wait_for(process, limit):
    """Whether it ended within so many seconds; Popen.wait() with a limit looks every so often, up to 50 ms late."""
    handle = os.pidfd_open(process.pid)
    try:
        ended = bool(select.select([handle], [], [], limit)[0])
    finally:
        os.close(handle)
    if ended:
        process.wait()
    return ended


def end(process):
    with contextlib.suppress(OSError):
        process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def end_group(process):
    """A command that has its own session, and its children; nothing when it has ended."""
    if process.poll() is not None:
        return
    for number, patience in ((signal.SIGTERM, 5), (signal.SIGKILL, 30)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience)
            return
