# SPDX-License-Identifier: LGPL-2.1-or-later
"""What else runs a command elsewhere, from Debian: ssh, sshfs, distcc, icecc. Each is started once a lab, and ends with it.

A peer's guest is the network namespace of ours with the machine's file system, where all programs are installed as a peer
needs them, and home's work folder is hidden. At home its daemons run in the cgroup that home's processor is counted by.
"""
import os
import shlex
import subprocess
import time

from lab import Failed, wait_until

# What has to be installed: package, and a program of it.
PACKAGES = {"ssh": [("openssh-server", "/usr/sbin/sshd"), ("openssh-client", "/usr/bin/ssh")],
            "sshfs": [("openssh-server", "/usr/sbin/sshd"), ("openssh-client", "/usr/bin/ssh"), ("sshfs", "/usr/bin/sshfs")],
            "distcc": [("distcc", "/usr/bin/distccd")],
            "icecc": [("icecc", "/usr/sbin/iceccd")]}
NAMES = list(PACKAGES)
# Fewer bytes than this through the cable: no unit has gone to a guest, whatever the status says.
COMPILERS = {"distcc": 100_000, "icecc": 100_000}
SSH_PORT, FOLDER_PORT, DISTCC_PORT, ICECC_PORT, ICECC_SCHEDULER_PORT = 2200, 2201, 3632, 10245, 8765
JOBS = 2  # at once in a guest: as many processors as it sees


def installed(names):
    """Those of them that are installed; says what the others lack."""
    found = []
    for name in names:
        lacking = [package for package, program in PACKAGES[name] if not os.path.exists(program)]
        if lacking:
            print(f"{name}: left out, not installed: apt-get install {' '.join(lacking)}", flush=True)
        else:
            found.append(name)
    return found


def plain_environment(lab, **more):
    """Without what marks the processes of ssi's home."""
    env = {key: value for key, value in os.environ.items() if not key.startswith(("SSI_", "XDG_", "SSH_", "DISTCC_", "ICECC_"))}
    return {**env, "HOME": str(lab.dir), **more}


def in_guest(lab, number, script, *arguments):
    """Starts a shell's script as a process of guest NUMBER's: its network, and mounts of its own that hide home's work."""
    log = open(lab.dir / f"peer-{number}.log", "ab")
    # Bash reads root's .bashrc for sshd's commands, which may take seconds.
    prepare = 'mount -t tmpfs none "$0" && mount -t tmpfs none /root && ip link set lo up && '
    process = lab.start(["nsenter", "-t", lab.guest_pid(number), "-n", "unshare", "-m", "--propagation", "private", "sh", "-c", prepare + script,
                         lab.work, *arguments], stdout=log, stderr=log, env=plain_environment(lab), stack=lab.peers)
    # Started from home, it would be counted as home's.
    lab.cpu.leave(process.pid)
    lab.guest_pids[number].append(process.pid)
    return process


def at_home(lab, command):
    log = open(lab.dir / "peer-home.log", "ab")
    process = lab.start(command, stdout=log, stderr=log, env=plain_environment(lab), stack=lab.peers)
    lab.daemons.append(process.pid)
    return process


def succeeds(command, env=None, cwd=None):
    return not subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env, cwd=cwd,
                              timeout=120).returncode


class Ssh:
    """One connection to each guest for all commands (mux), by a key and a configuration of our own."""

    def __init__(self, lab, is_folder=False):
        self.lab, self.env, self.is_folder = lab, plain_environment(lab), is_folder
        self.dir = lab.dir / ("sshfs" if is_folder else "ssh")
        self.dir.mkdir(mode=0o700)
        self.config = self.dir / "config"
        self.client = ["ssh", "-F", str(self.config)]
        self.port = FOLDER_PORT if is_folder else SSH_PORT
        for name in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.dir / name], check=True)
        os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
        hosts = {f"guest{number}": lab.guest_address(number) for number in range(1, lab.guests + 1)}
        self.config.write_text("".join(f"Host {name}\n  HostName {address}\n  Port {self.port}\n" for name, address in
                                       {**hosts, "home": lab.home_address()}.items()) +
                               f"Host *\n  User root\n  IdentityFile {self.dir}/user\n  IdentitiesOnly yes\n  StrictHostKeyChecking no\n"
                               f"  UserKnownHostsFile /dev/null\n  LogLevel ERROR\n  Compression no\n"
                               f"Host guest*\n  ControlMaster auto\n  ControlPath {self.dir}/%h\n  ControlPersist yes\n")
        for number in self.numbers():
            self.start_guest(number)
        for number in self.numbers():
            if not wait_until(lambda: succeeds([*self.client, f"guest{number}", "true"], self.env), 30):
                raise Failed(f"ssh does not reach guest{number}")
            lab.peers.callback(succeeds, [*self.client, "-O", "exit", f"guest{number}"], self.env)

    def numbers(self):
        return [1] if self.is_folder else range(1, self.lab.guests + 1)

    def daemon(self, address, *more):
        options = [f"HostKey={self.dir}/host", f"AuthorizedKeysFile={self.dir}/user.pub", "PidFile=none", "PermitRootLogin=yes", "StrictModes=no",
                   "UsePAM=no", "MaxSessions=100", "Subsystem=sftp internal-sftp", f"ListenAddress={address}:{self.port}", *more]
        return ["/usr/sbin/sshd", "-D", "-e", "-f", "/dev/null", *[word for option in options for word in ("-o", option)]]

    def start_guest(self, number):
        in_guest(self.lab, number, 'exec "$@"', *self.daemon(self.lab.guest_address(number)))

    def prefix(self):
        return self.client


class Sshfs(Ssh):
    """The first guest has home's work folder mounted where home has it, with sshfs's own defaults."""

    def __init__(self, lab):
        super().__init__(lab, is_folder=True)

    def start_guest(self, number):
        at_home(self.lab, self.daemon(self.lab.home_address()))
        mount = f'sshfs -F {self.config} "home:$0" "$0" && exec "$@"'
        command = self.daemon(self.lab.guest_address(number), f'ForceCommand=cd {self.lab.work} && '
                                                                            f'eval "exec timeout {self.lab.limit:.0f} $SSH_ORIGINAL_COMMAND"')
        wait_until(lambda: succeeds([*self.client, "home", "true"], self.env), 20)
        in_guest(self.lab, number, mount, *command)

    def prefix(self):
        return [*self.client, "guest1"]


class Distcc:
    def __init__(self, lab):
        self.lab = lab
        hosts = " ".join(f"{lab.guest_address(number)}:{DISTCC_PORT}/{JOBS},lzo" for number in range(1, lab.guests + 1))
        (lab.dir / "distcc").mkdir(mode=0o700)
        self.env = plain_environment(lab, DISTCC_HOSTS=hosts, DISTCC_DIR=str(lab.dir / "distcc"), DISTCC_FALLBACK="0", DISTCC_BACKOFF_PERIOD="0")
        for number in range(1, lab.guests + 1):
            in_guest(lab, number, 'exec "$@"', "/usr/bin/distccd", "--daemon", "--no-detach", "--user", "nobody", "--allow-private",
                     "--allow", lab.home_address(), "--listen", lab.guest_address(number), "--port", DISTCC_PORT, "--jobs", JOBS,
                     "--enable-tcp-insecure", "--log-stderr")
        warm_up(self)

    def prefix(self):
        return ["distcc"]


class Icecc:
    """Its scheduler is at home, as ssi's is; home's daemon compiles nothing."""

    def __init__(self, lab):
        self.lab, self.env = lab, plain_environment(lab, ICECC_TEST_REMOTEBUILD="0")
        # Its socket has one path only; and its daemons give up root, so that what they keep cannot be below our folder.
        private = "mkdir -p /run/icecc && mount -t tmpfs -o mode=777 none /run/icecc"
        subprocess.run(["sh", "-c", private], check=True)
        scheduler = at_home(lab, ["/usr/sbin/icecc-scheduler", "-n", "ssi-bench", "-p", str(ICECC_SCHEDULER_PORT)])
        lab.cpu.leave(scheduler.pid)  # nor is ssi's scheduler counted
        daemon = ["/usr/sbin/iceccd", "-n", "ssi-bench", "-s", f"{lab.home_address()}:{ICECC_SCHEDULER_PORT}", "-u", "icecc", "-b", "/run/icecc/base"]
        at_home(lab, [*daemon, "-N", "home", "-m", "0"])
        for number in range(1, lab.guests + 1):
            in_guest(lab, number, private + ' && exec "$@"', *daemon, "-N", f"guest{number}", "-m", JOBS)
        time.sleep(3)  # until the scheduler knows all of them
        warm_up(self)

    def prefix(self):
        return ["icecc"]


def warm_up(peer):
    """Some compiles, so that nothing is measured that only a first one does: icecc packs its compiler, and unpacks it in the guests."""
    directory = peer.lab.dir / "warm-up"
    directory.mkdir(exist_ok=True)
    (directory / "unit.cc").write_text("#include <vector>\nint size(std::vector<int>& v) { return int(v.size()); }\n")
    command = shlex.join([*peer.prefix(), "g++", "-c", "unit.cc"])
    script = f"for n in 1 2 3 4; do {command} -o $n.o || exit; done"
    # Again, for a peer whose daemons have not all begun.
    if not wait_until(lambda: succeeds(["sh", "-c", script], peer.env, directory), 30):
        done = subprocess.run(["sh", "-c", script], cwd=directory, env=peer.env, capture_output=True, timeout=120, text=True)
        raise Failed(done.stderr.strip()[-500:])


KINDS = {"ssh": Ssh, "sshfs": Sshfs, "distcc": Distcc, "icecc": Icecc}


def start(lab, names, wanted):
    """Name -> peer, of those that some work wants and that do start."""
    running = {}
    for name in names:
        if name not in wanted:
            continue
        try:
            running[name] = KINDS[name](lab)
        except (Failed, OSError, subprocess.SubprocessError) as failure:
            print(f"{name}: left out, does not start: {failure}", flush=True)
    return running
