# SPDX-License-Identifier: LGPL-2.1-or-later
"""The deputy's side of common/handover.h, played by a test: what ssirun does when the deputy answers this or that, or dies
in the middle, which a real deputy cannot be brought to do on demand."""
import array
import os
import signal
import socket
import struct

RUN, SIGNAL, WITNESS, WINDOW, HANGUP, FOREGROUND_IS, HOME, EXITED, FAILED, PLACED, STARTED, STOPPED, MODES = 1, 2, 3, 4, 5, 7, 16, 17, 18, 19, 20, 22, 23
REMOTE, DRY_RUN, VERBOSE, WAIT, DIVERTED, HAS_CWD, TERMINAL, GROUP_LEADER = 1, 2, 4, 8, 16, 32, 64, 128
LEADER, GROUP, FOREGROUND = 0, 1, 2
FIXED = struct.Struct("@7IiIIQqQQ32Q4I32s4H")


class Run:
    def __init__(self, body, fds):
        (self.version, self.flags, argc, envc, size, count, self.umask, self.nice, self.cpus, self.retries,
         self.memory, self.wait_seconds, self.blocked, self.ignored, *rest) = FIXED.unpack_from(body)
        self.limits = list(zip(rest[:32:2], rest[1:32:2]))
        self.modes, self.window = rest[32:36], rest[37:]
        numbers = struct.unpack_from(f"@{2 * count}I", body, FIXED.size)
        self.terminals = {number for number, terminal in zip(numbers[::2], numbers[1::2]) if terminal}
        words = body[FIXED.size + 8 * count:]
        assert len(words) == size and words.endswith(b"\0"), (len(words), size)
        words = words[:-1].split(b"\0")
        self.path, self.cwd, self.guest, self.config, self.scheduler = words[:5]
        self.argv, self.env = words[5:5 + argc], words[5 + argc:]
        assert len(self.env) == envc
        self.channel = socket.socket(fileno=fds.pop()) if self.flags & TERMINAL else None
        self.fds = dict(zip(numbers[::2], fds))
        assert len(self.fds) == len(fds)

    def close_fds(self):
        for fd in self.fds.values():
            os.close(fd)
        self.fds = {}
        if self.channel:
            self.channel.close()


class Peer:
    """One conversation."""

    def __init__(self, connection):
        self.socket = connection
        connection.settimeout(10)

    def _bytes(self, count, fds=None):
        data = b""
        while len(data) < count:
            piece, control, _, _ = self.socket.recvmsg(min(count - len(data), 1 << 20), 256)
            if not piece:
                raise EOFError
            for level, kind, payload in control:
                if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                    fds.extend(array.array("i", payload))
            data += piece
        return data

    def message(self):
        fds = []
        kind, length = struct.unpack("@II", self._bytes(8, fds))
        return kind, self._bytes(length, fds), fds

    def run(self):
        kind, body, fds = self.message()
        assert kind == RUN, kind
        return Run(body, fds)

    def news(self):
        """The next message but that of the witness, whose pid is noted."""
        kind, body, _ = self.message()
        if kind == WITNESS:
            self.witness = struct.unpack("@i", body)[0]
            kind, body, _ = self.message()
        return kind, body

    def signal_to(self):
        kind, body = self.news()
        assert kind == SIGNAL, kind
        return struct.unpack("@iI", body)

    def signal(self):
        return self.signal_to()[0]

    def say(self, kind, body=b"", fds=()):
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        self.socket.sendmsg([struct.pack("@II", kind, len(body)) + body], rights)

    def started(self, run, guest=b"guest1"):
        self.say(STARTED, guest)

    def exited(self, status, text=b"", typed=b"", taken=1 << 63):
        self.say(EXITED, struct.pack("@iIQ", status, len(typed), taken) + typed + text)

    def wants_terminal(self):
        """The job reads its terminal: it is given to it."""
        self.stopped(signal.SIGTTIN)
        assert self.news() == (FOREGROUND_IS, struct.pack("@i", 1))
        assert self.signal_to() == (signal.SIGCONT, GROUP)

    def stopped(self, number):
        self.say(STOPPED, struct.pack("@i", number))

    def close(self):
        self.socket.close()


class Listener:
    """The deputy's socket in `runtime`, a directory that stands for XDG_RUNTIME_DIR."""

    def __init__(self, runtime):
        self.path = os.path.join(runtime, "ssi", "deputy.sock")
        os.makedirs(os.path.dirname(self.path), mode=0o700, exist_ok=True)
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(self.path)
        self.socket.listen(16)
        self.socket.settimeout(10)

    def accept(self):
        return Peer(self.socket.accept()[0])

    def close(self):
        self.socket.close()
        os.unlink(self.path)
