# SPDX-License-Identifier: LGPL-2.1-or-later
"""Programs that start others, each in its own way, say the same with and without the shim, while `true` and `echo` are diverted.

ssirun's place is taken by a program that becomes the command, and notes which of its ancestors have the shim mapped: so each run
shows that it was diverted, and by whom. What takes long, or is large to install, is for SSI_TEST_FULL; there what is missing is a failure.
"""
import os
import re
import shutil
import unittest

from pool import BUILD, not_sanitized
from shim_case import ShimCase

FULL = os.environ.get("SSI_TEST_FULL")
TIMEOUT = 900 if FULL else 300

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

NODE = r"""
const { exec, execFile, execFileSync, execSync, fork, spawn, spawnSync } = require("child_process");
const { isMainThread, parentPort, Worker } = require("worker_threads");
const said = promise => promise.then(value => console.log(value), error => console.log(error.code, error.message));
const end = child => new Promise(done => child.on("close", (code, signal) => done([code, signal])));
const call = (how, ...words) => new Promise(done => how(...words, (error, ...said) => done([error && [error.code, error.message], ...said])));
const hear = who => new Promise(done => who.on("message", done));

async function main() {
  console.log(execSync("/bin/echo a b; /bin/true && /bin/echo c").toString(), execFileSync("echo", ["d e"]).toString());
  console.log(spawnSync("echo", ["f"], { stdio: "inherit" }).status, spawnSync("true").status, spawnSync("./true").error.code);
  await said(call(exec, "/bin/echo $X; exit 3", { env: { X: "only this" } }));
  await said(call(execFile, "/bin/echo", ["g"], { cwd: "/" }));
  for (const options of [{ detached: true }, { shell: true }, { shell: "/bin/bash" }, { argv0: "other" }, { uid: process.getuid() }])
    await said(end(spawn("/bin/echo", ["h"], { stdio: "inherit", ...options })));
  const cat = spawn("cat", { stdio: ["pipe", "inherit", "inherit"] });
  await end(spawn("echo", ["to cat"], { stdio: ["ignore", cat.stdin, "inherit"] }));
  cat.stdin.end();
  await said(end(cat));
  const child = fork(__filename, ["child"]);
  child.send(["from", "a fork"]);
  await said(hear(child));
  await said(hear(new Worker(__filename)));
  await said(Promise.all([...Array(9).keys()].map(i => call(exec, `/bin/echo ${i}; /bin/true`))));
}

if (process.argv[2] === "child")
  process.on("message", words => process.send(execFileSync("/bin/echo", words).toString(), () => process.disconnect()));
else if (!isMainThread) parentPort.postMessage(execSync("/bin/echo in a thread; /bin/true").toString());
else main();
"""

NPM = """{"name": "torture", "version": "1.0.0", "scripts": {
  "prego": "/bin/echo before", "go": "/bin/echo one && /bin/true && node -e \\"require('child_process').execSync('/bin/echo two', {stdio: 'inherit'})\\"",
  "postgo": "npm run --silent inner -- 'and more'", "inner": "/bin/echo inner", "fail": "/bin/true; exit 3"}}
"""

JAVA = r"""
import java.io.*;
import java.util.*;
import java.util.concurrent.*;

public class Torture {
  static String read(Process process) throws Exception {
    String said = new String(process.getInputStream().readAllBytes());
    return said + process.waitFor();
  }
  public static void main(String[] words) throws Exception {
    System.out.println(new ProcessBuilder("/bin/echo", "a", "b c").inheritIO().start().waitFor());
    System.out.println(new ProcessBuilder("true").inheritIO().start().waitFor());
    System.out.println(read(Runtime.getRuntime().exec("echo d e")));
    ProcessBuilder other = new ProcessBuilder("sh", "-c", "/bin/echo $X $Y; pwd; /bin/echo wrong >&2; exit 3").directory(new File("/"));
    other.environment().clear();
    other.environment().put("X", "only this");
    System.out.println(read(other.redirectErrorStream(true).start()));
    System.out.println(new ProcessBuilder("echo", "to a file").redirectOutput(new File("out")).start().waitFor());
    System.out.println(new ProcessBuilder("cat").redirectInput(new File("out")).redirectOutput(ProcessBuilder.Redirect.INHERIT).start().waitFor());
    List<Process> line = ProcessBuilder.startPipeline(List.of(new ProcessBuilder("echo", "piped"), new ProcessBuilder("cat")));
    System.out.println(read(line.get(1)));
    try {
      new ProcessBuilder("./true").start();
    } catch (IOException error) {
      System.out.println(error.getMessage());
    }
    ExecutorService four = Executors.newFixedThreadPool(4);
    List<Future<String>> said = new ArrayList<>();
    for (int i = 0; i < 12; i++) {
      String number = "" + i;
      said.add(four.submit(() -> read(new ProcessBuilder("/bin/echo", number).start())));
    }
    for (Future<String> each : said) System.out.println(each.get());
    four.shutdown();
  }
}
"""

CARGO = {
    "Cargo.toml": '[package]\nname = "torture"\nversion = "0.1.0"\nedition = "2021"\nbuild = "build.rs"\n[[bin]]\nname = "torture"\npath = "main.rs"\n',
    "build.rs": r"""
use std::process::{Command, Stdio};
fn main() {
    let said = Command::new("echo").args(["built", "by a script"]).output().unwrap();
    println!("cargo:rustc-env=SAID={}", String::from_utf8(said.stdout).unwrap().trim());
    println!("cargo:warning=true: {}", Command::new("/bin/true").status().unwrap());
    println!("cargo:warning=cleared: {:?}", Command::new("/bin/echo").env_clear().arg("x").stdin(Stdio::null()).output().unwrap());
}
""",
    "main.rs": r"""
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
fn main() {
    println!("{}", env!("SAID"));
    println!("{:?}", Command::new("./true").status().map_err(|error| error.kind()));
    let mut cat = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
    let echo = Command::new("echo").arg("to cat").stdout(cat.stdin.take().unwrap()).status().unwrap();
    println!("{echo} {}", cat.wait().unwrap());
    let all: Vec<_> = (0..8).map(|i| std::thread::spawn(move || Command::new("echo").arg(i.to_string()).output().unwrap().stdout)).collect();
    for each in all { println!("{:?}", each.join().unwrap()); }
    println!("{:?}", unsafe { Command::new("/bin/echo").arg("forked").pre_exec(|| Ok(())) }.output().unwrap());
    panic!("{}", Command::new("echo").arg("in its place").exec());
}
""",
}

VALGRIND = r"""
#define _GNU_SOURCE
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
extern char** environ;
static void ended(int pid) { int status; waitpid(pid, &status, 0); printf("%d\n", status); fflush(stdout); }
int main(void) {
  char* words[] = {"echo", "a b", "c", NULL}; char* little[] = {"X=y", NULL}; char text[64] = ""; int pid, pipes[2];
  for (int i = 0; i < 5; i++)
    if ((pid = i == 4 ? vfork() : fork())) ended(pid);
    else {
      if (i == 0) execvp("echo", words);
      if (i == 1) execl("/bin/echo", "echo", "l", NULL);
      if (i == 2) execvpe("echo", words, little);
      if (i == 3) execv("./true", words);
      if (i == 4) execve("/bin/echo", words, environ);
      _exit(9);
    }
  posix_spawnp(&pid, "echo", NULL, NULL, words, environ); ended(pid);
  pipe(pipes); posix_spawn_file_actions_t actions; posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, pipes[1], 1);
  posix_spawn(&pid, "/bin/echo", &actions, NULL, words, little); ended(pid);
  posix_spawn_file_actions_destroy(&actions); read(pipes[0], text, sizeof text - 1); printf("%s", text);
  printf("%d %d\n", posix_spawn(&pid, "./true", NULL, NULL, words, environ), system("/bin/echo by sh; /bin/true; exit 3")); fflush(stdout);
  FILE* file = popen("/bin/echo opened", "r"); fgets(text, sizeof text, file); printf("%s", text); ended(-1); pclose(file); return 0;
}
"""

PAGE = """<!doctype html><title>t</title><p id=p>before</p><script>
document.getElementById("p").textContent = [1, 2, 3].map(x => x * x).join();
fetch("data:text/plain,fetched").then(answer => answer.text()).then(text => document.title = text);
</script>
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


# The same, of what takes long; and something that it has to say. A renderer of chromium's has a wrapper before it, as with --renderer-cmd-prefix="xterm -e gdb --args".
HEADLESS = ("chromium --headless --no-sandbox --disable-gpu --no-first-run --user-data-dir=$PWD/profile --virtual-time-budget=3000"
            " --renderer-cmd-prefix=$PWD/wrapper --dump-dom file://$PWD/page.html 2>/dev/null")
LONG = {
    "node": ("node", {"n.js": NODE}, "node n.js", "in a thread"),
    "npm": ("npm run go", {"package.json": NPM}, "export npm_config_cache=$PWD/cache npm_config_update_notifier=false;"
            " npm run go; npm run --silent fail; echo $?", "inner and more\n3\n"),
    "java": ("java", {"Torture.java": JAVA}, "java Torture.java", "piped"),  # all by jspawnhelper
    "java's other ways": ("java", {"Torture.java": JAVA}, "javac Torture.java;"
                          " for m in FORK VFORK; do java -Djdk.lang.Process.launchMechanism=$m Torture; done", "piped"),
    "cargo": ("build-script-bu", CARGO, "PATH=/usr/bin:/bin; cargo build --offline --color never 2>&1 | sed 's/ in [0-9.]*s$//';"
              " cargo run --offline -q; echo $?", "in its place\n0\n"),
    "valgrind": ("memcheck-amd64-", {"v.c": VALGRIND}, "cc -w -g v.c -o v && valgrind -q --error-exitcode=9 ./v", "opened"),
    "valgrind of children": ("memcheck-amd64-", {"v.c": VALGRIND}, "cc -w -g v.c -o v && valgrind -q --error-exitcode=9 --trace-children=yes ./v", "opened"),
    "chromium": ("chromium", {"page.html": PAGE}, "printf '#!/bin/sh\\nexec \"$@\"\\n' > wrapper; chmod +x wrapper; timeout -k 5 100 " + HEADLESS,
                 '<title>fetched</title></head><body><p id="p">1,4,9</p>'),
}


@not_sanitized("no part of ssi but the shim runs, and that is not")
class Case(ShimCase):
    config = '[defaults]\nshipped = false\n[[app]]\nmatch = ["true", "echo", "debugged", "wrapper"]\n'
    names = 4

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.notes = cls.dir / "notes"
        (cls.dir / "ssirun").unlink()
        # With musl, as ssirun itself: valgrind finds fault with glibc's start of a static program.
        cls.compile("ssirun", STAND_IN, "-static", f'-DNOTES="{cls.notes}"', compiler="musl-gcc")
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
        done = self.home.run("sh", "-c", line, cwd=folder, env=env, timeout=120)
        said = [re.sub(r"(process|\(LWP|Thread) \d+", r"\1 N", text.decode(errors="replace")) for text in (done.stdout, done.stderr)]
        return done.returncode, *said

    def check(self, who, files, line, says=""):
        self.notes.unlink(missing_ok=True)
        without = self.play(files, line, self.env)
        self.assertFalse(self.notes.exists())
        self.assertIn(says, without[1])
        self.assertEqual(self.play(files, line, self.preload), without)
        self.assertTrue(self.notes.exists(), f"nothing was diverted; it says {without}")
        notes = [note.split("|")[1:] for note in self.notes.read_text().splitlines()]
        self.assertTrue(any(who in note if who else note for note in notes), notes)  # who: its own name, or what it became


class Torture(Case):
    pass


@unittest.skipUnless(FULL, "large programs: with tests/run --full")
class LongTorture(Case):
    pass


def add(kind, cases):
    for name, case in cases.items():
        setattr(kind, "test_" + re.sub(r"\W", "_", name), lambda self, case=case: self.check(*case))


add(Torture, CASES)
add(LongTorture, LONG)


if __name__ == "__main__":
    unittest.main()
