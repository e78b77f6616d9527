# SPDX-License-Identifier: LGPL-2.1-or-later
"""How much memory and how many descriptors a pool's daemons have, looked at from time to time. They are killed and started again, so it is the
largest of a kind that is compared, early and late."""
import collections
import pathlib
import threading
import time

EACH = 5  # seconds
DAEMONS = ("ssi-agent", "ssi-deputy", "ssi-scheduler")


def size_of(pid):
    """(its daemon's name, private memory in KiB, descriptors), or None."""
    try:
        process = pathlib.Path(f"/proc/{pid}")
        words = (process / "cmdline").read_bytes().split(b"\0")
        name = pathlib.Path(words[0].decode(errors="replace")).name
        status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
        return (name, int(status["RssAnon"].split()[0]), len(list((process / "fd").iterdir()))) if name in DAEMONS else None
    except (OSError, KeyError):  # it has just ended
        return None


class Sizes(threading.Thread):
    """`pids` says which processes there are. Until stop()."""

    def __init__(self, pids):
        super().__init__(daemon=True)
        self.pids, self.ended = pids, threading.Event()
        self.found = []  # (when, name, memory, descriptors)

    def run(self):
        while not self.ended.wait(EACH):
            self.found += [(time.monotonic(), *size) for size in map(size_of, self.pids()) if size]

    def stop(self):
        self.ended.set()
        self.join()

    def grown(self):
        """Prints the largest of each daemon in the first quarter and in the last; returns what is more than a little larger."""
        begin, end = self.found[0][0], self.found[-1][0]
        first, last = (collections.defaultdict(lambda: (0, 0)) for _ in range(2))
        for when, name, *size in self.found:
            for quarter, belongs in ((first, when - begin <= (end - begin) / 4), (last, end - when <= (end - begin) / 4)):
                if belongs:
                    quarter[name] = tuple(map(max, quarter[name], size))
        for name in DAEMONS:
            print(f"{name}: {first[name][0]} KiB and {first[name][1]} descriptors at most in the first quarter, "
                  f"{last[name][0]} and {last[name][1]} in the last")
        return [name for name in DAEMONS if last[name][0] > 1.25 * first[name][0] + 4096 or last[name][1] > 1.25 * first[name][1] + 16]
