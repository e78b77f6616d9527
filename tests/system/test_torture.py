# SPDX-License-Identifier: LGPL-2.1-or-later
"""Programs that start others, each in its own way, say the same with and without the shim, while `true` and `echo` are diverted.

ssirun's place is taken by a program that becomes the command, and notes which of its ancestors have the shim mapped: so each run
shows that it was diverted, and by whom.
"""
import re
import shutil
import subprocess
import unittest

from pool import BUILD, not_sanitized
from shim_case import ShimCase

TIMEOUT = 300

STAND_IN = r"""
static int parent_of(int pid) {
  char path[64], text[600] = ""; snprintf(path, sizeof path, "/proc/%d/stat", pid);
  FILE* file = fopen(path, "r"); if (!file) return 0;
  fread(text, 1, sizeof text - 1, file); fclose(file);
  int parent = 0; sscanf(strrchr(text, ')') + 1, " %*c %d", &parent); return parent;
}
int main(int argc, char** argv) {
  char path[64], line[4200], comm[64], note[2000] = "diverted";
  const int end = argc > 5 && !strcmp(argv[3], "--runtime") ? 5 : 3;
  if (argc < end + 2 || strcmp(argv[1], "--exec") || strcmp(argv[end], "--")) return 99;
  for (int pid = parent_of(getpid()); pid > 1; pid = parent_of(pid)) {
    snprintf(path, sizeof path, "/proc/%d/maps", pid);
    FILE* file = fopen(path, "r"); int has = 0; if (!file) break;
    while (fgets(line, sizeof line, file)) has |= strstr(line, "libssi-shim.so") != NULL;
    fclose(file); if (!has) continue;
    snprintf(path, sizeof path, "/proc/%d/comm", pid); file = fopen(path, "r"); if (!file) break;
    fgets(comm, sizeof comm, file); fclose(file); comm[strcspn(comm, "\n")] = 0;
    snprintf(note + strlen(note), sizeof note - strlen(note), "|%s", comm);
  }
  strcat(note, "\n");
  int fd = open(NOTES, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644); write(fd, note, strlen(note));
  syscall(SYS_execve, argv[2], argv + end + 1, environ);
  return 98;
}
"""

SHELL = """
/bin/echo one; /bin/true && /bin/echo two; x=$(/bin/echo three | cat); printf '%s\\n' "$x"
(exec /bin/echo four); /bin/echo five & wait; if /bin/true; then /bin/echo six >&2; fi
for i in 1 2 3; do /bin/echo $i; done | while read i; do env echo "<$i>"; done
/bin/echo seven | cat <<END - | sort
$(/bin/echo eight)
END
trap '/bin/echo nine' EXIT; false || { /bin/echo "$?"; (exit 7); }; exit 3
"""

PYTHON = """
import multiprocessing, os, subprocess
def work(number):
    return subprocess.check_output(["echo", str(number)]) + subprocess.run("true; /bin/echo $?", shell=True, capture_output=True).stdout
if __name__ == "__main__":
    for close in (True, False):
        print(subprocess.run(["/bin/echo", "a"], close_fds=close, stdout=subprocess.PIPE).stdout)
        print(subprocess.run(["echo", "a"], close_fds=close, start_new_session=True, stdout=subprocess.PIPE).stdout)
        with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, close_fds=close) as cat:
            subprocess.run(["echo", "to cat"], stdout=cat.stdin, close_fds=close)
            print(cat.communicate())
    print(subprocess.run(["echo", "a"], preexec_fn=lambda: os.chdir("/"), stdout=subprocess.PIPE).stdout)
    print(os.popen("/bin/echo b").read(), os.system("/bin/true"), os.spawnvp(os.P_WAIT, "true", ["true"]))
    try:
        subprocess.run(["./true"])
    except OSError as error:
        print(error)
    for method in ("fork", "spawn", "forkserver"):
        with multiprocessing.get_context(method).Pool(3) as pool:
            print(method, pool.map(work, range(9)))
"""

PERL = """
$| = 1; print `/bin/echo a b`; system "/bin/echo", "c d"; system "/bin/echo 'e;' f; exit 3"; print $? >> 8, "\\n";
open my $from, "-|", "echo", "g" or die; print <$from>; close $from; open my $to, "|-", "cat" or die; print $to "h\\n"; close $to;
system "./true"; print "$!\\n"; if (!(my $pid = fork)) { exec "echo", "i" } else { waitpid $pid, 0 } exec {"/bin/echo"} "argv0", "j";
"""

GIT = """
set -e; export GIT_CONFIG_GLOBAL=/dev/null GIT_AUTHOR_DATE='2026-01-01T00:00:00Z' GIT_COMMITTER_DATE='2026-01-01T00:00:00Z'
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
git init -q -b main origin; cd origin; for i in 1 2 3 4; do echo $i > f$i; git add f$i; git commit -qm "commit $i"; done
cd ..; git clone -q file://$PWD/origin copy 2>&1; cd copy; printf '#!/bin/sh\\n/bin/echo hook\\n' > .git/hooks/pre-commit; chmod +x .git/hooks/pre-commit
git checkout -qb side HEAD~2; echo s > s; git add s; git commit -m side; GIT_SEQUENCE_EDITOR=true GIT_EDITOR=true git rebase -i -x '/bin/true && /bin/echo x' main 2>&1
git -c alias.say='!/bin/echo' say said; GIT_EDITOR=/bin/true git commit --amend 2>&1; git gc -q 2>&1; git fsck 2>&1; git log --oneline --all
git -c core.pager='/bin/echo no' --no-pager log -1 --format=%s; git bisect start HEAD HEAD~3 >/dev/null; git bisect run /bin/true | tail -3
"""

NINJA = "rule r\n command = /bin/echo $out > $out && /bin/true\n" + "".join(f"build out{i}: r\n" for i in range(12))
MAKE = "all: " + " ".join(f"out{i}" for i in range(12)) + "\n\t@cat $^\n\t@true\n\t@echo done\nout%:\n\t@echo $@ > $@\n\t@true\n"
CMAKE = """cmake_minimum_required(VERSION 3.16)
project(torture NONE)
execute_process(COMMAND echo configured OUTPUT_VARIABLE said)
message(STATUS "${said}")
foreach(i RANGE 5)
  add_custom_command(OUTPUT out${i} COMMAND /bin/echo ${i} > out${i} COMMAND true)
  list(APPEND outs out${i})
endforeach()
add_custom_target(everything ALL DEPENDS ${outs} COMMAND echo built)
"""

# Name: (what must have the shim and lead to a diversion; the files it needs; a line for sh)
CASES = {
    "bash": ("bash", {"s": SHELL}, "bash s"),
    "dash": ("dash", {"s": SHELL}, "dash s"),
    "zsh": ("zsh", {"s": SHELL}, "zsh s"),
    "make": ("make", {"Makefile": MAKE}, "make -j4"),
    "ninja": ("ninja", {"build.ninja": NINJA}, "ninja --quiet -j4 && cat out*"),
    "cmake": ("cmake", {"CMakeLists.txt": CMAKE}, "cmake -S . -B build && cmake --build build && cat build/out*"),
    "python": ("python3", {"p.py": PYTHON}, "python3 p.py"),
    "perl": ("perl", {"p": PERL}, "perl p"),
    "git": ("git", {"s": GIT}, "sh s"),
    "vim": ("vim", {}, "vim -u NONE -i NONE -N -es -c '!/bin/true' -c 'r !/bin/echo read' -c 'call append(0, system(\"/bin/echo called\"))'"
            " -c '%!/bin/echo filtered; cat' -c 'w out' -c 'qa!'; echo $?; cat out"),
    "tmux": ("tmux: server", {"s": "/bin/echo in the pane > out; /bin/true && tmux wait-for -S done\nsleep 100\n"},
             "TMUX_TMPDIR=$PWD; export TMUX_TMPDIR; unset TMUX; tmux -f /dev/null new-session -d 'sh s'; timeout 20 tmux wait-for done;"
             " timeout 20 tmux run-shell '/bin/echo from the server'; tmux kill-server; cat out"),
    "gdb": ("gdb", {}, "gdb -nx -batch -ex 'shell /bin/echo said' -ex 'break main' -ex run -ex continue debugged"),
    "gdb of a shell": ("bash", {}, "gdb -nx -batch -ex run --args bash -c '/bin/echo a; /bin/true; exec ./debugged'"),
    "find": ("find", {"a": "", "b": ""}, "find . -type f -exec echo {} ';' | sort; find . -exec true {} + -print | sort"),
    "xargs": ("xargs", {}, "seq 40 | xargs -P 4 -n 3 echo | sort; seq 5 | xargs -I % sh -c '/bin/echo %; exit 255' 2>&1"),
    "parallel": ("parallel", {}, "seq 8 | parallel --will-cite -j 4 -k /bin/echo number {}"),
    "script": ("script", {}, "script -qec '/bin/echo in a terminal; /bin/true' /dev/null"),
    "gawk": ("gawk", {}, "gawk 'BEGIN { system(\"/bin/echo a\"); \"/bin/echo b\" | getline x; print x; print \"c\" | \"cat; /bin/true\" }'"),
    "mawk": ("mawk", {}, "mawk 'BEGIN { system(\"/bin/echo a\"); \"/bin/echo b\" | getline x; print x; print \"c\" | \"cat; /bin/true\" }'"),
    "tclsh": ("tclsh", {"t": 'puts [exec echo a | cat]\nputs [exec /bin/echo b]\ncatch {exec ./true} error\nputs $error\nexec true &\n'}, "tclsh t"),
    "strace": (  # what it traces stays as it is; where its log goes is not traced
        "strace", {}, "strace -f -e trace=execve -o '|(/bin/echo log:; grep -o \"execve(.[^,]*\" | sort) > log' sh -c '/bin/echo a; /bin/true; env echo b'; cat log"),
    "env": (None, {}, "env -u X A=b echo a; env -i PATH=\"$PATH\" echo b; env echo c"),
    "timeout": ("timeout", {}, "timeout 10 echo a; timeout 10 true; echo $?; timeout 0.2 sh -c '/bin/true; exec sleep 9'; echo $?"),
    "nice": (None, {}, "nice -n 3 echo a; nice nohup setsid -w stdbuf -oL echo b; ionice -c 3 echo c; setpriv echo d; flock . echo e; time -p true"),
}


@not_sanitized("no part of ssi but the shim runs, and that is not")
class Torture(ShimCase):
    config = '[defaults]\nshipped = false\n[[app]]\nmatch = ["true", "echo", "debugged"]\n'
    names = 3

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.notes = cls.dir / "notes"
        (cls.dir / "ssirun").unlink()
        cls.compile("ssirun", STAND_IN, "-static", f'-DNOTES="{cls.notes}"')
        cls.compile("debugged", 'int main() { puts("debugged"); return 0; }', "-g")
        cls.env = {"HOME": str(cls.home.work), "SHELL": "/bin/bash", "TERM": "dumb", "LANG": "C.UTF-8"}
        cls.preload = {**cls.env, "LD_PRELOAD": str(BUILD / "shim/libasan.so.d/$LIB/libssi-shim.so")}

    def play(self, files, line, env):
        """What it said, and how it ended; without the numbers of processes."""
        folder = self.home.work / "case"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for name, text in files.items():
            (folder / name).write_text(text)
        shutil.copy(self.dir / "debugged", folder)
        done = self.home.run("sh", "-c", line, cwd=folder, env=env, timeout=60)
        said = [re.sub(r"(process|\(LWP|Thread) \d+", r"\1 N", text.decode(errors="replace")) for text in (done.stdout, done.stderr)]
        return done.returncode, *said

    def check(self, name):
        who, files, line = CASES[name]
        self.notes.unlink(missing_ok=True)
        without = self.play(files, line, self.env)
        self.assertFalse(self.notes.exists())
        self.assertEqual(self.play(files, line, self.preload), without)
        self.assertTrue(self.notes.exists(), f"nothing was diverted; it says {without}")
        notes = [note.split("|")[1:] for note in self.notes.read_text().splitlines()]
        self.assertTrue(not who or any(who in note for note in notes), notes)
        return without


for case in CASES:
    setattr(Torture, "test_" + re.sub(r"\W", "_", case), lambda self, case=case: self.check(case))


if __name__ == "__main__":
    unittest.main()
