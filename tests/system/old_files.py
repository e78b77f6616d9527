# SPDX-License-Identifier: LGPL-2.1-or-later
"""Files that have not changed for long, which is what guests keep content of."""
import pathlib
import re
import subprocess
import tempfile


class OldFiles:
    """An ext4 of our own with {name: content}: on one that is mounted no ctime can be set."""

    def __init__(self, files):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="ssi-test-disk-"))
        image, source = self.dir / "image", self.dir / "source"
        self.path = self.dir / "disk"
        self.path.mkdir()
        source.mkdir()
        for name, content in files.items():
            (source / name).write_bytes(content)
        subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", source, image, "32m"], check=True, stdout=subprocess.DEVNULL)
        sets = "".join(f"sif /{name} {time} 20200102030405\n" for name in files for time in ("ctime", "mtime"))
        subprocess.run(["debugfs", "-w", "-f", "-", image], input=sets.encode(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
        subprocess.run(["mount", "-o", "loop", image, self.path], check=True)

    def close(self):
        subprocess.run(["umount", "-l", self.path], check=True)
        subprocess.run(["rm", "-r", self.dir], check=True)


def sums(*files):
    return ["md5sum", *map(str, files)]


def read_here(*files):
    return subprocess.run(sums(*files), capture_output=True, check=True).stdout


def read_in(pool, guest, *files):
    """What a job sees (sums), and how many bytes home has sent it."""
    done = pool.ssirun("-v", "--on", guest, *sums(*files))
    assert done.returncode == 0, done.stderr
    return done.stdout, int(re.search(rb"(\d+) bytes in", done.stderr)[1])
