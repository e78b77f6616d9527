# SPDX-License-Identifier: LGPL-2.1-or-later
"""Each function of libc that executes, in glibc and musl programs: what is diverted, and that the rest is as libc has it."""
import os
import subprocess
import unittest

from pool import BUILD
from shim_case import ShimCase, python

TIMEOUT = 300

WRAPPED = ["__execvpe", "execl", "execle", "execlp", "execv", "execve", "execveat", "execvp", "execvpe", "fexecve", "posix_spawn",
           "posix_spawnp"]

# entries ENTRY FOLDER NAME: runs FOLDER/NAME with "a b", and ends with errno, or as the child did.
ENTRIES = r"""
#include <wordexp.h>
int __execvpe(const char*, char* const*, char* const*) __attribute__((weak));
int execveat(int, const char*, char* const*, char* const*, int) __attribute__((weak));
static int at(int fd, const char* path, char** words, int flags) {
  return execveat ? execveat(fd, path, words, environ, flags) : syscall(SYS_execveat, fd, path, words, environ, flags);
}
static int copy(const char* path, int to) {
  char bytes[65536]; int from = open(path, O_RDONLY); ssize_t length;
  while ((length = read(from, bytes, sizeof bytes)) > 0) write(to, bytes, length);
  close(from); return to;
}
int main(int argc, char** argv) {
  const char *entry = argv[1], *folder = argv[2], *name = argv[3];
  char path[4096]; snprintf(path, sizeof path, "%s/%s", folder, name);
  char* words[] = {"heavy", "a", "b", NULL};
  pid_t pid = 0;
  posix_spawn_file_actions_t actions; posix_spawn_file_actions_init(&actions);
  if (strstr(entry, "actions")) posix_spawn_file_actions_addclose(&actions, 0); /* it allocates */
#define IS(x) else if (!strcmp(entry, x))
  if (0);
  IS("execve") execve(path, words, environ);
  IS("execv") execv(path, words);
  IS("execl") execl(path, "heavy", "a", "b", NULL);
  IS("execle") execle(path, "heavy", "a", "b", NULL, environ);
  IS("execlp") execlp(name, "heavy", "a", "b", NULL);
  IS("execvp") execvp(name, words);
  IS("execvpe") execvpe(name, words, environ);
  IS("execvp of a path") execvp(path, words);
  IS("__execvpe") (__execvpe ? __execvpe : execvpe)(name, words, environ);
  IS("fexecve") fexecve(open(path, O_RDONLY), words, environ);
  IS("fexecve, O_PATH") fexecve(open(path, O_PATH | O_CLOEXEC), words, environ);
  IS("execveat") at(AT_FDCWD, path, words, 0);
  IS("execveat of a descriptor") at(open(path, O_PATH), "", words, AT_EMPTY_PATH);
  IS("posix_spawn") errno = posix_spawn(&pid, path, NULL, NULL, words, environ);
  IS("posix_spawnp") errno = posix_spawnp(&pid, name, NULL, NULL, words, environ);
  IS("posix_spawn with actions") errno = posix_spawn(&pid, path, &actions, NULL, words, environ);
  IS("posix_spawnp with actions") errno = posix_spawnp(&pid, name, &actions, NULL, words, environ);
  IS("vfork, execv") { if (!(pid = vfork())) { execv(path, words); _exit(errno); } errno = 0; }
  IS("vfork, execvp") { if (!(pid = vfork())) { execvp(name, words); _exit(errno); } errno = 0; }
  IS("vfork, execl") { if (!(pid = vfork())) { execl(path, "heavy", "a", "b", NULL); _exit(errno); } errno = 0; }
  IS("vfork, fexecve") { if (!(pid = vfork())) { fexecve(open(path, O_RDONLY), words, environ); _exit(errno); } errno = 0; }
  IS("fexecve of a memfd") fexecve(copy(path, memfd_create("heavy", 0)), words, environ);
  IS("fexecve of what was deleted") {
    copy(path, open("heavy", O_WRONLY | O_CREAT, 0755)); int fd = open("heavy", O_RDONLY); unlink("heavy");
    for (int other = 3; other < fd; other++) close(other); /* ETXTBSY */
    fexecve(fd, words, environ);
  }
  IS("fexecve of what another took the place of") {
    copy(path, open("heavy", O_WRONLY | O_CREAT, 0755)); int fd = open("heavy", O_RDONLY); unlink("heavy");
    for (int other = 3; other < fd; other++) close(other);
    symlink("/bin/false", "heavy (deleted)");
    fexecve(fd, words, environ);
  }
  IS("system") { char line[5000]; snprintf(line, sizeof line, "%s a b", path); return WEXITSTATUS(system(line)); }
  IS("popen") {
    char line[5000]; snprintf(line, sizeof line, "%s a b", path); FILE* from = popen(line, "r");
    while (fgets(line, sizeof line, from)) fputs(line, stdout);
    return WEXITSTATUS(pclose(from));
  }
  IS("wordexp") {
    char line[5000]; snprintf(line, sizeof line, "$(%s a b)", path); wordexp_t found;
    if (wordexp(line, &found, 0) || found.we_wordc != 2) return 102;
    printf("%s %s\n", found.we_wordv[0], found.we_wordv[1]); return 0;
  }
  IS("execveat in a folder") at(open(folder, O_RDONLY), name, words, 0);
  IS("execveat, AT_SYMLINK_NOFOLLOW") at(AT_FDCWD, path, words, AT_SYMLINK_NOFOLLOW);
  IS("execve, no argv") execve(path, NULL, environ);
  IS("execv, empty argv") execv(path, words + 3);
  IS("execvp, no name") execvp(NULL, words);
  IS("execvp, empty name") execvp("", words);
  IS("fexecve, no argv") fexecve(open(path, O_RDONLY), NULL, environ);
  IS("fexecve, no descriptor") fexecve(-1, words, environ);
  IS("execve, empty environment") { char* none[] = {NULL}; execve(path, words, none); }
  IS("posix_spawn, no argv") errno = posix_spawn(&pid, path, NULL, NULL, NULL, environ);
  else return 100;
  if (errno) return errno;
  int status; waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 101;
}
"""

DIVERTED = ["execve", "execv", "execl", "execle", "execlp", "execvp", "execvpe", "execvp of a path", "__execvpe", "fexecve",
            "fexecve, O_PATH", "execveat", "execveat of a descriptor", "posix_spawn", "posix_spawnp", "posix_spawn with actions",
            "posix_spawnp with actions", "vfork, execv", "vfork, execvp", "vfork, execl", "vfork, fexecve", "execve, empty environment"]
BY_A_SHELL = ["system", "popen", "wordexp"]  # which is shimmed itself
LEFT_ALONE = ["fexecve of a memfd", "fexecve of what was deleted", "fexecve of what another took the place of",
              "execveat in a folder", "execveat, AT_SYMLINK_NOFOLLOW", "execve, no argv", "execv, empty argv", "execvp, no name", "execvp, empty name",
              "fexecve, no argv", "fexecve, no descriptor", "posix_spawn, no argv"]
# Without argv musl and glibc differ, and glibc's functions do among each other: none of these may crash where libc does not.


class Entries(ShimCase):
    def programs(self, name, text, *flags):
        return [self.compile(f"{name}-{compiler}", text, *flags, compiler=compiler) for compiler in ("gcc", "musl-gcc")]

    def test_what_is_wrapped(self):
        symbols = subprocess.check_output(["nm", "-D", "--defined-only", BUILD / "shim/libssi-shim.so"], text=True)
        self.assertEqual(sorted(line.split()[2] for line in symbols.splitlines()), WRAPPED)

    def test_every_entry(self):
        for program in self.programs("entries", ENTRIES):
            for entry in DIVERTED + BY_A_SHELL:
                with self.subTest(program=program.name, entry=entry):
                    self.diverted(program, entry, self.tools, "heavy")
                    self.passed(program, entry, self.tools, "light")
                    if "empty" not in entry:
                        self.passed(program, entry, self.tools, "heavy", env={"SSI_DISABLE": "1"})

    def test_what_is_left_alone(self):
        for program in self.programs("entries", ENTRIES):
            for entry in LEFT_ALONE:
                with self.subTest(program=program.name, entry=entry):
                    self.same(program, entry, self.tools, "heavy")
            # The interpreter is told /dev/fd/N, which ssirun's would not be.
            for entry in ("fexecve", "execveat of a descriptor"):
                self.assertEqual(self.same(program, entry, self.tools, "script").stdout, b"a b\n")

    def test_what_cannot_be_executed_fails_as_in_libc(self):
        """Errno and all; what has no format is sh's for some functions, and not for others, nor in musl."""
        for program in self.programs("entries", ENTRIES):
            for entry in DIVERTED:
                for name in ("missing", "plain", "formless", "folder"):
                    with self.subTest(program=program.name, entry=entry, name=name):
                        self.same(program, entry, self.tools, name)

    def test_the_walk_of_path_is_libcs(self):
        """Directories that are no directories, files that may not be executed, and entries that are empty."""
        first = self.dir / "first"
        first.mkdir()
        self.put("first/heavy", "no program", 0o644)
        self.addCleanup(subprocess.run, ["rm", "-r", first])
        (self.home.work / "heavy").symlink_to(self.tools / "heavy")
        self.addCleanup((self.home.work / "heavy").unlink)
        for program in self.programs("entries", ENTRIES):
            for entry in ("execvp", "execlp", "execvpe", "posix_spawnp"):
                with self.subTest(program=program.name, entry=entry):
                    self.diverted(program, entry, self.tools, "heavy", env={"PATH": f"/none:/etc/passwd:{first}:{self.tools}"})
                    done = self.run_with(program, entry, self.tools, "heavy", env={"PATH": f"{first}::/bin"})
                    self.assertEqual(done.stdout, b"<heavy><a><b>a b\n")
                    self.same(program, entry, self.tools, "heavy", env={"PATH": str(first)})

    def test_4096_arguments(self):
        """Diverted; one more is not. Both come through whole."""
        program = r"""
int main(int argc, char** argv) {
  int count = atoi(argv[2]), status; pid_t pid = 0; char** words = malloc(sizeof *words * (count + 1));
  for (int i = 0; i < count; i++) words[i] = i ? "a" : "heavy";
  words[count] = NULL;
  if (*argv[1] == 's') posix_spawnp(&pid, "heavy", NULL, NULL, words, environ);
  else if (!(pid = vfork())) { execvp("heavy", words); _exit(errno); }
  waitpid(pid, &status, 0);
  return WEXITSTATUS(status);
}"""
        for program in self.programs("many", program):
            for way in ("spawn", "vfork"):
                for count, start in ((4096, f"<{self.tools}/heavy><a>".encode()), (4097, b"a a")):
                    done = self.run_with(program, way, count)
                    self.assertTrue(done.stdout.startswith(start), done.stdout[:100])
                    self.assertTrue(done.stdout.endswith(b" ".join([b"a"] * (count - 1)) + b"\n"))

    def test_e2big(self):
        """Where the command still fits, and ssirun with its words more does not, the command is run. And what does not fit
        fails with the same size as without the shim."""
        text = r"""
static char* words[] = {"heavy", NULL, "x", NULL};
static int exec(int spawn, int* status) {
  pid_t pid = 0; int error = 0;
  if (spawn) error = posix_spawn(&pid, spawn == 2 ? "heavy" : getenv("HEAVY"), NULL, NULL, words, environ);
  else { int ends[2]; pipe2(ends, O_CLOEXEC); if (!(pid = fork())) { execvp("heavy", words); write(ends[1], &errno, sizeof errno); _exit(1); }
    close(ends[1]); if (read(ends[0], &error, sizeof error) < 1) error = 0; close(ends[0]); if (error) waitpid(pid, status, 0); }
  if (!error) waitpid(pid, status, 0);
  return error;
}
int main(int argc, char** argv) {
  struct rlimit limit = {400 << 10, 400 << 10}; setrlimit(RLIMIT_STACK, &limit); /* so that 128 KiB of arguments are too many */
  static char big[100000], more[100000]; memset(big, 'b', sizeof big - 1); memset(more, 'm', 20000); words[1] = big; words[2] = more;
  int status = 0, size = 40000, error;
  for (int step = 1024; step >= 8; step /= 8) { /* to the largest size that fits, to 8 bytes */
    if (step < 1024) size += 8 * step;
    do memset(more, 'm', size), more[size] = 0, error = exec(atoi(argv[1]), &status), size -= step; while (error == E2BIG && size > 0);
    size += step;
  }
  fprintf(stderr, "%d %s %d\n", size, strerror(error), status);
  for (int i = 0; i < 40; i++) { size -= 8; more[size] = 0; exec(atoi(argv[1]), &status); }
  return 0;
}"""
        for program in self.programs("big", text):
            for way in (0, 1):
                with self.subTest(program=program.name, way=way):
                    env = {"HEAVY": str(self.tools / "heavy")}
                    # A variable of the same size: the environment counts too.
                    here = self.home.run(program, way, env={**self.env, **env, "LD_PREL0AD": self.preload["LD_PRELOAD"]})
                    there = self.run_with(program, way, env=env)
                    self.assertEqual(there.stderr, here.stderr)
                    self.assertIn(b"Success 0" if b"Success" in here.stderr else b"No error information 0", here.stderr)
                    lines = there.stdout.splitlines()
                    self.assertEqual(len(lines), 43)
                    self.assertTrue(lines[2].startswith(b"bbb"))  # at home, at the limit
                    self.assertTrue(lines[-1].startswith(b"<"))  # diverted, a little below

    def test_a_spawn_leaves_errno_alone(self):
        """Also when ssirun could not be spawned."""
        text = r"""
int main() {
  char* words[] = {"heavy", "a", "b", NULL}; pid_t pid; errno = 77;
  if (posix_spawnp(&pid, "heavy", NULL, NULL, words, environ)) return 1;
  int error = errno;
  waitpid(pid, NULL, 0);
  return error == 77 ? 0 : 2;
}"""
        (self.dir / "ssirun").rename(self.dir / "hidden")
        self.addCleanup((self.dir / "hidden").rename, self.dir / "ssirun")
        for program in self.programs("spawn", text):
            self.assertEqual(self.same(program).stdout, b"a b\n")

    def test_a_librarys_constructor(self):
        """It runs before the shim's own, which stands in front of it."""
        self.compile("libearly.so", r"""
__attribute__((constructor)) static void early(void) {
  pid_t pid; char* words[] = {"echo", "early", NULL}; int status;
  if ((errno = posix_spawnp(&pid, "echo", NULL, NULL, words, environ))) { perror("posix_spawnp"); return; }
  waitpid(pid, &status, 0);
  if (!vfork()) { execvp("echo", words); _exit(errno); }
  wait(&status);
}""", "-shared", "-fPIC")
        program = self.compile("late", 'int main() { puts("late"); }', "-Wl,--no-as-needed", self.dir / "libearly.so")
        self.assertEqual(self.same(program).stdout, b"early\nearly\nlate\n")

    def test_no_allocation(self):
        """Counted by a library that is preloaded as well. A vfork child's are its parent's: same memory."""
        counter = r"""
int allocations;
void* __libc_malloc(size_t); void* __libc_calloc(size_t, size_t); void* __libc_realloc(void*, size_t);
void* malloc(size_t size) { allocations++; return __libc_malloc(size); }
void* calloc(size_t count, size_t size) { allocations++; return __libc_calloc(count, size); }
void* realloc(void* old, size_t size) { allocations++; return __libc_realloc(old, size); }
"""
        text = ENTRIES.replace("int main(", "int entries(") + r"""
extern int allocations __attribute__((weak));
int main(int argc, char** argv) {
  void* volatile some = malloc(1); int before = allocations, status; pid_t pid;
  if (!before) return 102;
  if (!(pid = vfork())) { close(1); close(2); _exit(entries(argc, argv)); }
  printf("%d\n", allocations - before);
  waitpid(pid, &status, 0);
  return WEXITSTATUS(status);
}"""
        library = self.compile("counter.so", counter, "-shared", "-fPIC")
        program = self.compile("counted", text)
        preload = {"LD_PRELOAD": f"{self.preload['LD_PRELOAD']}:{library}"}
        for entry in DIVERTED:
            if "actions" in entry:
                continue
            for name in ("heavy", "light", "missing"):
                with self.subTest(entry=entry, name=name):
                    done = self.run_with(program, entry, self.tools, name, env=preload)
                    self.assertEqual(done.stdout, b"0\n", done)

    def test_eight_threads(self):
        """Spawn, and vfork and exec, each 60 times, while the list is replaced again and again. Each child tells by its status
        that its arguments were right."""
        text = r"""
static char* path;
static void* spawn_many(void* number) {
  long failed = 0;
  for (int i = 0; i < 60; i++) {
    char word[16]; int want = ((long)number * 60 + i) % 250 + 1, status = 0; snprintf(word, sizeof word, "%d", want);
    char* words[] = {"heavy", word, NULL};
    pid_t pid = 0;
    errno = 77;
    switch (i % 4) {
      case 0: posix_spawn(&pid, path, NULL, NULL, words, environ); break;
      case 1: posix_spawnp(&pid, "heavy", NULL, NULL, words, environ); break;
      case 2: if (!(pid = vfork())) { execvp("heavy", words); _exit(251); } break;
      case 3: if (!(pid = fork())) { execl(path, "heavy", word, NULL); _exit(251); } break;
    }
    if (errno != 77) failed += 1000;
    if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status) != want) failed++;
  }
  return (void*)failed;
}
int main(int argc, char** argv) {
  path = argv[1]; pthread_t threads[8]; long failed = 0;
  for (long i = 0; i < 8; i++) pthread_create(&threads[i], NULL, spawn_many, (void*)i);
  for (int i = 0; i < 8; i++) { void* result; pthread_join(threads[i], &result); failed += (long)result; }
  printf("%ld failed\n", failed);
  return 0;
}"""
        # --exec PATH -- heavy NUMBER
        self.addCleanup(self.put, "ssirun", self.ssirun)
        stand_in = 'int main(int argc, char** argv) { return argc == 6 && !strcmp(argv[4], "heavy") ? atoi(argv[5]) : 252; }'
        (self.dir / "ssirun").unlink()
        self.compile("ssirun", stand_in)
        both = self.table.read_bytes(), self.table.read_bytes().replace(b"plain\0", b"pl4in\0")
        for program in self.programs("threads", text, "-pthread"):
            child = subprocess.Popen([program, self.tools / "heavy"], env={**self.home.env, **self.preload}, stdout=subprocess.PIPE)
            turns = 0
            while child.poll() is None:
                turns += 1
                self.replace_table(both[turns % 2])
            self.assertEqual(child.stdout.read(), b"0 failed\n")
            child.stdout.close()
            self.assertGreater(turns, 10)

    @classmethod
    def replace_table(cls, table):
        """As `ssi allow compile` does it."""
        beside = cls.table.with_suffix(".beside")
        beside.write_bytes(table)
        with open(cls.table, "r+b") as old:
            os.replace(beside, cls.table)
            old.seek(28)
            old.write(b"\1")


if __name__ == "__main__":
    unittest.main()
