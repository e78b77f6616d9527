# SPDX-License-Identifier: LGPL-2.1-or-later
"""The jobs that tests/xen/run gives to guests. Small ones: they are emulated."""
import dataclasses
import pathlib
import re
import shutil
import subprocess
import time

from pool import SSIRUN

PHOTO = "/usr/share/backgrounds/sunset_by_Aitzol_Berasategi.jpg"
CONVERT = "/usr/bin/convert"
# One thread: with another number x264 and ImageMagick give other bytes. mbtree is not the same from run to run.
COMMANDS = {
    "encode": ["ffmpeg", "-y", "-nostdin", "-hide_banner", "-loglevel", "error", "-i", "clip.mkv", "-c:v", "libx264", "-preset",
               "veryfast", "-threads", "1", "-x264-params", "mbtree=0", "-map_metadata", "-1", "-fflags", "+bitexact", "-flags:v",
               "+bitexact", "-f", "mp4", "made"],
    "photo": ["env", "MAGICK_THREAD_LIMIT=1", "OMP_NUM_THREADS=1", CONVERT, "photo.jpg", "-strip", "-resize", "50%", "-quality", "85", "jpg:made"],
    "compile": ["gcc", "-O2", "-c", "registers.c", "-o", "made"],
}
PATIENCE = 900


@dataclasses.dataclass
class Done:
    status: int
    out: str
    err: str
    same: bool = True


class LongJob:
    def __init__(self, process):
        self.process, self.out = process, ""

    def __enter__(self):
        return self

    def finish(self):
        self.out, _ = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode

    def said(self):
        return self.out

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class Steps(LongJob):
    """Says and appends the same lines, one after the other."""
    COUNT = 60
    SCRIPT = f"rm -f steps; for i in $(seq {COUNT}); do echo $i; echo $i >>steps; sleep 0.3; done"

    def __init__(self, process, file):
        super().__init__(process)
        self.file = file

    def has_begun(self):
        for _ in range(600):
            if self.file.exists() and self.file.read_text().count("\n") > 3:
                return True
            time.sleep(0.1)
        return False

    def is_whole(self):
        lines = "".join(f"{number}\n" for number in range(1, self.COUNT + 1))
        return self.file.read_text() == lines and self.out.startswith(lines)


class Jobs:
    def __init__(self, home):
        self.home, self.work = home, home.work

    def prepare(self):
        """Real pictures, reduced; a clip of them; sources."""
        for command in (
                [CONVERT, PHOTO, "-resize", "480x", "-quality", "95", "photo.jpg"],
                ["ffmpeg", "-y", "-nostdin", "-loglevel", "error", "-loop", "1", "-i", "photo.jpg", "-vf",
                 "crop=240:136:x=4*n:y=2*n,format=yuv420p", "-frames:v", "12", "-c:v", "ffv1", "clip.mkv"]):
            done = self.home.run(*command)
            assert done.returncode == 0, done
        shutil.copy(pathlib.Path(__file__).parent / "registers.c", self.work)
        done = self.home.run("gcc", "-O2", "-static", "-o", "registers", "registers.c")
        assert done.returncode == 0, done
        (self.work / "Makefile").write_text(
            "program: main.o part.o\n\tcc -o $@ $^\n%.o: %.c\n\tgcc -c -o $@ $<\nkernel:\n\tuname -r\n")
        (self.work / "main.c").write_text("int part(void); int main(void) { return part(); }\n")
        (self.work / "part.c").write_text("int part(void) { return 0; }\n")

    def on(self, guest, *command, **options):
        try:
            done = self.home.ssirun("-v", "--on", guest, *command, timeout=PATIENCE, **options)
        except subprocess.TimeoutExpired:
            return Done(255, "", f"no end after {PATIENCE} s: {command}")
        return Done(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))

    def kernel(self, guest):
        return self.on(guest, "uname", "-r")

    def compare(self, what, guest):
        """(how it went there, seconds there, seconds at home)"""
        made = self.work / "made"
        began = time.monotonic()
        at_home = self.home.run(*COMMANDS[what])
        home_seconds, wanted = time.monotonic() - began, made.read_bytes() if at_home.returncode == 0 else b""
        made.unlink(missing_ok=True)
        began = time.monotonic()
        there = self.on(guest, *COMMANDS[what])
        seconds = time.monotonic() - began
        there.same = bool(wanted) and made.exists() and made.read_bytes() == wanted
        made.unlink(missing_ok=True)
        return there, seconds, home_seconds

    def make(self):
        done = self.home.ssi("shell", "make -j2 program kernel && ./program", timeout=PATIENCE)
        return Done(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))

    def memory(self, guest):
        """(all, available) MiB in the guest"""
        text = self.on(guest, "cat", "/proc/meminfo").out
        found = [re.search(rf"{name}: +(\d+)", text) for name in ("MemTotal", "MemAvailable")]
        return tuple(int(one.group(1)) // 1024 if one else 0 for one in found)

    def start(self, guest, *command):
        return subprocess.Popen([SSIRUN, "-v", "--on", guest, *command], cwd=self.work, env=self.home.env, stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def registers(self, guests):
        started = [self.start(guest, "./registers", str(number), "10") for number, guest in enumerate(guests)]
        return [Done(one.wait(PATIENCE), one.stdout.read(), "") for one in started]

    def steps(self, guest):
        (self.work / "steps").unlink(missing_ok=True)
        return Steps(self.start(guest, "sh", "-c", Steps.SCRIPT), self.work / "steps")

    def long(self, guest):
        """A job that works for half a minute, and then has something to tell."""
        return LongJob(self.start(guest, "./registers", "7", "40"))
