# SPDX-License-Identifier: LGPL-2.1-or-later
"""Plays one case once, with a prefix or without, and tells what came of it: Outcome."""
import dataclasses
import fcntl
import hashlib
import os
import pathlib
import pty
import re
import select
import shutil
import signal
import stat
import struct
import subprocess
import sys
import termios
import threading
import time


@dataclasses.dataclass
class Outcome:
    status: object = "cannot start"  # as Popen.returncode: -n is a death by signal n; or a word
    out: bytes = b""
    err: bytes = b""
    tree: dict = dataclasses.field(default_factory=dict)
    seconds: float = 0
    notes: list = dataclasses.field(default_factory=list)  # what is wrong whatever the other side gives


def pattern(length):
    """That many bytes, always the same, which do not compress."""
    out, i = bytearray(), 0
    while len(out) < length:
        out += hashlib.sha512(str(i).encode()).digest() * 64
        i += 1
    return bytes(out[:length])


def tree(directory):
    """What lies below: {path: [type and mode, target or size, digest]}."""
    found = {}
    for base, folders, files in os.walk(os.fsencode(directory)):
        for name in folders + files:
            path = os.path.join(base, name)
            state = os.lstat(path)
            entry = [oct(state.st_mode)]
            if stat.S_ISLNK(state.st_mode):
                entry.append(os.fsdecode(os.readlink(path)))
            elif stat.S_ISREG(state.st_mode):
                with open(path, "rb") as file:
                    entry += [state.st_size, hashlib.file_digest(file, "sha256").hexdigest()[:16]]
            found[os.fsdecode(os.path.relpath(path, os.fsencode(directory)))] = entry
    return found


def size(path):
    try:
        return os.path.getsize(path)
    except OSError:
        return -1


def kill_case(work):
    """Whatever is left of a case in this session, also in process groups of its own. A deputy has a session of its own."""
    mark = f"CASE={work}".encode()
    for entry in pathlib.Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and os.getsid(int(entry.name)) == os.getsid(0) and mark in (entry / "environ").read_bytes().split(b"\0"):
                os.kill(int(entry.name), signal.SIGKILL)
        except OSError:  # it has gone
            pass


def stdin_of(case):
    """(what Popen wants, the bytes to feed or None)."""
    if "stdin_gen" in case:
        return subprocess.PIPE, pattern(case["stdin_gen"])
    if "stdin_seq" in case:
        return subprocess.PIPE, "".join(f"{i}\n" for i in range(case["stdin_seq"])).encode()
    if case.get("stdin", "null") == "null":
        return subprocess.DEVNULL, None
    if case["stdin"] == "closed":
        return None, None
    return subprocess.PIPE, case["stdin"].encode()


class Streams:
    """Feeds a child and gathers what it says, each stream in a thread of its own."""

    def __init__(self, child, data):
        self.child, self.out, self.err = child, bytearray(), bytearray()
        self.readers = [threading.Thread(target=self.gather, args=stream, daemon=True)
                        for stream in ((child.stdout, self.out), (child.stderr, self.err))]
        for reader in self.readers:
            reader.start()
        if data is not None:
            threading.Thread(target=self.feed, args=(data,), daemon=True).start()

    @staticmethod
    def gather(stream, into):
        while chunk := os.read(stream.fileno(), 65536):
            into += chunk

    def feed(self, data):
        try:
            self.child.stdin.write(data)
            self.child.stdin.close()
        except OSError:  # it reads no more
            pass

    def ended(self):
        return self.child.poll() is not None and not any(reader.is_alive() for reader in self.readers)

    def wait(self, seconds):
        deadline = time.monotonic() + seconds
        for reader in self.readers:
            reader.join(max(0, deadline - time.monotonic()))
        while self.child.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        return self.ended()


def send(child, what, work, notes):
    """One step of `send`."""
    if what.startswith("check-stopped:"):
        file = os.path.join(work, what.split(":")[1])
        time.sleep(0.3)
        before = size(file)
        time.sleep(0.7)
        if size(file) != before or before < 0:
            notes.append(f"not stopped: {before} -> {size(file)}")
        return
    to_group, name = what.startswith("group:"), what.removeprefix("group:")
    number = getattr(signal, "SIG" + name)
    try:
        os.killpg(child.pid, number) if to_group else os.kill(child.pid, number)
    except ProcessLookupError:
        notes.append("gone before " + name)


def signals(case, child, streams, work, notes):
    """Signals start only when the job is known to run."""
    deadline = time.monotonic() + 10
    while (time.monotonic() < deadline and child.poll() is None
           and not (b"ready\n" in streams.out or size(os.path.join(work, "hb")) > 0)):
        time.sleep(0.02)
    time.sleep(0.2)
    for delay, what in case["send"]:
        time.sleep(delay)
        send(child, what, work, notes)


def check_after(rule, work, notes):
    """`after`: the file has ceased to grow within the seconds that the rule gives."""
    _, name, seconds = rule.split(":")
    file, deadline = os.path.join(work, name), time.monotonic() + float(seconds)
    while True:
        before = size(file)
        time.sleep(1)
        if size(file) == before:
            return
        if time.monotonic() > deadline:
            return notes.append(f"the job still runs after the prefix has ended: {before} -> {size(file)}")


def environment(prefix, work, **more):
    return {**os.environ, "P": prefix, "CASE": work, "PWD": work, "PYTHONPATH": os.path.dirname(os.path.abspath(__file__)), "PYTHONDONTWRITEBYTECODE": "1", **more}


def command(case, prefix):
    kind = case.get("kind", "sh")
    if kind == "argv":
        return prefix.split() + case["argv"]
    if kind == "python":
        return [sys.executable, "-c", "from caller import *\n" + case["script"]]
    if "script" in case:
        return ["bash", "-c", case["script"]]
    return prefix.split() + ["sh", "-c", case["cmd"]]


def play_pipes(case, prefix, work, limit):
    outcome = Outcome()
    stdin, data = stdin_of(case)
    closed = (lambda: os.close(0)) if case.get("stdin") == "closed" else None
    began = time.monotonic()
    try:
        child = subprocess.Popen(command(case, prefix), cwd=work, env=environment(prefix, work), stdin=stdin,
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE, process_group=0, preexec_fn=closed)
    except OSError as error:
        outcome.status = f"cannot start: {error}"
        return outcome
    streams = Streams(child, data)
    if case.get("kind") == "signal":
        signals(case, child, streams, work, outcome.notes)
    if streams.wait(limit):
        outcome.status = child.returncode
    else:
        outcome.status = "timeout"
        outcome.notes.append(f"TIMEOUT {limit} s")
    outcome.seconds = time.monotonic() - began
    if "after" in case:
        check_after(case["after"], work, outcome.notes)
    kill_case(work)
    streams.wait(5)
    outcome.out, outcome.err = bytes(streams.out), bytes(streams.err)
    return outcome


class Terminal:
    """A pty with a child that leads a session on it."""

    def __init__(self, argv, env, rows, columns, cwd):
        self.master, self.slave = pty.openpty()
        self.resize(rows, columns)
        self.before = self.settings()
        self.child = subprocess.Popen(argv, cwd=cwd, env=env, stdin=self.slave, stdout=self.slave, stderr=self.slave,
                                      start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))

    def resize(self, rows, columns):
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def settings(self):
        return termios.tcgetattr(self.slave)[:4]

    def read(self, seconds):
        if not select.select([self.master], [], [], seconds)[0]:
            return b""
        return os.read(self.master, 65536)

    def close(self):
        os.close(self.slave)
        os.close(self.master)
        try:
            os.killpg(self.child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.child.wait()


def play_terminal(case, prefix, work, limit):
    """Keys start when the job has asked for them, if it is known to ask."""
    outcome = Outcome()
    argv = case["outer"].split() if "outer" in case else command(case, prefix)
    began = time.monotonic()
    terminal = Terminal(argv, environment(prefix, work, TERM="dumb"), case.get("rows", 24), case.get("cols", 80), work)
    steps = [*case.get("keys", []), *([case["resize"]] if "resize" in case else [])]
    asks = "echo ready" in case.get("cmd", "") or "pw: " in case.get("cmd", "")
    due = float("inf") if asks else began
    ended = None
    while ended is None or time.monotonic() - ended < 0.3:  # what it said last may still come
        chunk = terminal.read(0.05)
        outcome.out += chunk
        now = time.monotonic()
        if due == float("inf") and (b"ready" in outcome.out or b"pw: " in outcome.out or now - began > 10):
            due = now
        if steps and now >= due + steps[0][0]:
            _, *what = steps.pop(0)
            terminal.resize(*what) if len(what) == 2 else os.write(terminal.master, what[0].encode())
            due = now
        if chunk and ended is not None or ended is None and terminal.child.poll() is not None:
            ended = now
        if now - began > limit:
            outcome.notes.append(f"TIMEOUT {limit} s")
            break
    outcome.status = "timeout" if terminal.child.poll() is None else terminal.child.returncode
    outcome.seconds = time.monotonic() - began
    if case.get("check_termios") and prefix and terminal.settings() != terminal.before:
        outcome.notes.append("terminal settings not restored")
    terminal.close()
    for line in case.get("grep_out", []):
        if not re.search(b"(?m)^" + line.encode(), outcome.out.replace(b"\r", b"")):
            outcome.notes.append("no line " + line)
    return outcome


def play(case, prefix, work):
    """In the fresh directory `work`, which is removed again."""
    limit = case.get("timeout", 20)
    shutil.rmtree(work, ignore_errors=True)
    os.makedirs(work)
    if "setup" in case:
        subprocess.run(["bash", "-c", case["setup"]], cwd=work, check=True)
    outcome = (play_terminal if case.get("kind") == "pty" else play_pipes)(case, prefix, work, limit)
    outcome.tree = tree(work)
    shutil.rmtree(work, ignore_errors=True)
    return outcome
