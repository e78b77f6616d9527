# SPDX-License-Identifier: LGPL-2.1-or-later
"""Terminals for tests: `Screen` is a window of a private tmux server, `Line` a bare pty with a program that leads a session on it."""
import os
import pathlib
import re
import subprocess
import sys
import time

from pool import wait_until

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "blackbox"))
from play import Terminal  # noqa: E402


class Screen:
    """With `with`: a server of its own, with one window that runs a shell."""

    def __init__(self, env, cwd, shell="bash --norc --noprofile", columns=80, rows=24):
        self.name = f"ssi-test-{os.getpid()}-{time.monotonic_ns()}"
        # A shell that takes a variable for its prompt takes ours.
        self.env = {**{key: value for key, value in env.items() if not key.startswith("TMUX")}, "PS1": "ready> ", "TERM": "screen", "LC_ALL": "C.UTF-8"}
        self.tmux("-f", "/dev/null", "new-session", "-d", "-x", columns, "-y", rows, "-c", cwd, f"exec env PS1='ready> ' {shell}")

    def tmux(self, *words):
        return subprocess.run(["tmux", "-L", self.name, *map(str, words)], env=self.env, capture_output=True, text=True, timeout=20)

    def type(self, *keys):
        """Names of keys (Enter, C-c, Up), or words to be typed."""
        for key in keys:
            named = re.fullmatch(r"[CM]-.|Enter|Escape|Up|Down|Left|Right|Space|F\d+", key)
            assert self.tmux("send-keys", *([] if named else ["-l"]), key).returncode == 0
        return self

    def line(self, text):
        return self.type(text, "Enter")

    def text(self):
        return self.tmux("capture-pane", "-p").stdout

    def shows(self, pattern, seconds=10):
        return bool(wait_until(lambda: re.search(pattern, self.text(), re.M), seconds))

    def prompt(self):
        """The shell asks for its next command, below whatever there is."""
        return self.shows(r"^ready>\s*\Z")

    def resize(self, columns, rows):
        self.tmux("resize-window", "-x", columns, "-y", rows)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.tmux("kill-server")


class Line:
    """A pty, byte by byte."""

    def __init__(self, argv, env, cwd, rows=24, columns=80):
        self.terminal = Terminal([str(word) for word in argv], {**env, "TERM": "dumb", "PS1": "ready> "}, rows, columns, cwd)
        self.child, self.said, self.is_open = self.terminal.child, b"", True
        self.before = self.terminal.before

    def type(self, text):
        os.write(self.terminal.master, text.encode())
        return self

    def shows(self, pattern, seconds=10):
        """Waits for something that has not been matched yet, and is what comes after from then on."""
        deadline = time.monotonic() + seconds
        while not (found := re.search(pattern.encode(), self.said)):
            if time.monotonic() > deadline:
                return False
            try:
                self.said += self.terminal.read(0.05)
            except OSError:  # nobody has the other end any more
                return bool(re.search(pattern.encode(), self.said))
        self.said = self.said[found.end():]
        return True

    def forget(self):
        """What has been said until now is not looked at again."""
        while chunk := self.terminal.read(0.1):
            self.said += chunk
        self.said = b""
        return self

    def text(self):
        return repr(self.said)

    def is_as_before(self, seconds=5):
        """The settings are those of the beginning."""
        return wait_until(lambda: self.terminal.settings() == self.before, seconds)

    def hang_up(self):
        """As when a terminal's window is closed."""
        self.is_open = False
        os.close(self.terminal.slave)
        os.close(self.terminal.master)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.is_open:
            self.terminal.close()
        else:
            self.child.kill()
            self.child.wait()
