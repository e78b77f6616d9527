# SPDX-License-Identifier: LGPL-2.1-or-later
"""The works of the benchmark: a table, and what prepares them. All paths are below the lab's work folder."""
import dataclasses
import shlex
import subprocess


class Missing(Exception):
    """Something that a work needs cannot be had here."""


@dataclasses.dataclass
class Work:
    """`text` is a command, or with `shell` a shell's; the words of a column (ssirun ...) come where {on} stands."""
    name: str
    text: str
    shell: bool = False
    pipe: str = None  # the same for ssh, which has no files: {ssh} is ssh with its options, hosts are guest1, guest2 ...
    peers: tuple = ()
    setup: object = None  # called with the lab, once a lab
    before: str = None  # of a shell, before each run, untimed
    check: str = None  # of a shell, after the first run; must print what it prints after home's own
    clear: str = None  # of a shell, at the end
    share: float = None  # of a processor, for home and each guest
    spread: bool = False  # over all guests
    times: int = 1  # so many runs a round
    limit: float = None  # seconds


def command(work, prefix, by_pipe):
    text = work.pipe if by_pipe else work.text
    words = shlex.join(map(str, prefix))
    text = text.replace("{on} ", words + " " if words else "").replace("{ssh}", words)
    return ["sh", "-c", text] if work.shell or by_pipe and "|" in text or "<" in text else shlex.split(text)


def prepare(work, lab):
    if work.setup:
        work.setup(lab)


def clear(work, lab):
    if work.clear:
        subprocess.run(["sh", "-c", work.clear], cwd=lab.work, check=True)


def fetch(wanted):
    pass


WORKS = [
    Work("true", "{on} true", pipe="{ssh} guest1 true", peers=("ssh", "sshfs"), times=7),
    Work("ffmpeg -version", "{on} ffmpeg -version", pipe="{ssh} guest1 ffmpeg -version", peers=("ssh", "sshfs"), times=3),
]
