# SPDX-License-Identifier: LGPL-2.1-or-later
"""Real commands, each in a directory of its own, and what must have become of one: all that a run at home leaves and says, or a status
that is not 0, one line that says what happened, and inputs that nobody touched."""
import hashlib
import pathlib
import shutil
import subprocess
import time

COMMANDS = {  # name: (shell script, whether files that exist before may be changed by it)
    "encode": ("ffmpeg -v error -threads 1 -i in.mkv -c:v libx264 -threads 1 -x264-params mbtree=0 -bitexact out.mp4", False),
    "picture": ("convert picture.png -resize 200x200 -blur 0x4 +set date:create +set date:modify -define png:exclude-chunks=date,time out.png", False),
    "compile": ("gcc -O2 -c one.c -o one.o && gcc -O2 -c two.c -o two.o && gcc one.o two.o -o program && ./program", False),
    "sort": ("tar cf - --sort=name --mtime=@0 texts | md5sum; cat texts/* | sort -n | tee sorted | md5sum", False),
    "database": ("sqlite3 db \"pragma journal_mode=delete; create table t(a); insert into t values(1),(2),(3); update t set a=a*2; select sum(a) from t\"; rm db", False),
    "edit": ("for i in 1 2 3 4 5; do sed -i s/word$i/changed$i/ edited; sleep 0.1; done; sort -o edited edited; mv edited renamed", True),
    "append": ("for i in $(seq 60); do echo line $i >>log; sleep 0.01; done; tail -n 1 log", True),
    "tree": ("mkdir -p a/b; for i in $(seq 40); do echo $i >a/b/$i; done; rm a/b/1*; ln a/b/2 hard; ln -s a/b soft; mv a c; rm old; chmod 600 kept; ls -R", True),
}

FULL = ("No space left on device", "disk is full", "I/O error", "unable to write")  # sqlite, dash, convert


def prepare(directory):
    """The inputs of all commands, once."""
    directory.mkdir()
    run = lambda *words: subprocess.run(words, cwd=directory, check=True, capture_output=True)
    run("ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc=size=320x240:rate=10:duration=2", "-c:v", "ffv1", "in.mkv")
    run("convert", "-size", "400x400", "-seed", "5", "plasma:", "picture.png")
    (directory / "one.c").write_text("int twice(int a) { return 2 * a; }\n")
    (directory / "two.c").write_text("#include <stdio.h>\nint twice(int);\nint main(void) { printf(\"%d\\n\", twice(21)); return 3; }\n")
    (directory / "texts").mkdir()
    for number in range(30):
        (directory / f"texts/{number}").write_text("".join(f"{(number * 7919 + line * 104729) % 10007}\n" for line in range(300)))
    (directory / "edited").write_text("".join(f"word{line} {line}\n" for line in range(400)))
    (directory / "log").write_text("before\n")
    (directory / "old").write_text("old\n")
    (directory / "kept").write_text("kept\n")


def tree(directory):
    """What is where: kind, mode, content, and which names are one file."""
    found, first = {}, {}
    for path in sorted(directory.rglob("*")):
        name, status = str(path.relative_to(directory)), path.lstat()
        if path.is_symlink():
            found[name] = ("link", path.readlink())
        elif path.is_dir():
            found[name] = ("directory", status.st_mode)
        else:
            same = first.setdefault(status.st_ino, name)
            found[name] = ("file", status.st_mode, hashlib.sha256(path.read_bytes()).hexdigest(), same)
    return found


class Expected:
    """Of each command, run at home."""

    def __init__(self, inputs, area):
        self.inputs, self.area, self.number = inputs, area, 0
        self.before = tree(inputs)
        self.of = {}
        for name, (script, _) in COMMANDS.items():
            work = self.fresh()
            done = subprocess.run(["sh", "-c", script], cwd=work, capture_output=True, stdin=subprocess.DEVNULL)
            self.of[name] = (done.returncode, done.stdout, tree(work))
            shutil.rmtree(work)

    def fresh(self):
        self.number += 1
        work = self.area / f"job{self.number}"
        while True:
            try:
                shutil.copytree(self.inputs, work, symlinks=True)
                return work
            except OSError:  # the disk is full, but not for long
                shutil.rmtree(work, ignore_errors=True)
                time.sleep(0.1)

    def verdict(self, name, work, status, out, errors, was_killed, was_full):
        """"equal", "named" (it failed, and said so), "killed" (its caller was), "full" (the disk was, and a program said so), or what is wrong."""
        now = tree(work)
        if (status, out, now) == self.of[name]:
            return "equal"
        if was_killed and status < 0:
            return "killed"
        if not COMMANDS[name][1] and (touched := sorted(path for path, what in self.before.items() if now.get(path) != what)):
            return f"WRONG: inputs were touched: {touched}"
        if was_full and any(sign in errors for sign in FULL):
            return "full"
        if status == 0 or status == self.of[name][0] and out == self.of[name][1]:
            differs = sorted(path for path in now.keys() | self.of[name][2].keys() if now.get(path) != self.of[name][2].get(path))
            return f"WRONG: status {status}, but {'its output' if not differs else differs} differs"
        if status != 125 or not errors.startswith("ssirun: ") and "\nssirun: " not in errors:
            return f"WRONG: status {status} and no line that says why"
        return "named"
