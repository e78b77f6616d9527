# SPDX-License-Identifier: LGPL-2.1-or-later
"""Programs that no preload reaches: they start others from a static C program, or from Go."""
import os
import pathlib
import shutil
import subprocess

from pool import BUILD, Pool

C_CALLER = r"""
#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
extern char** environ;
int main(int argc, char** argv) {  /* WAY PROGRAM ARGUMENT... */
  pid_t pid = 0;
  char** words = argv + 2;
  errno = 0;
  if (!strcmp(argv[1], "exec")) execve(words[0], words, environ);
  else if (!strcmp(argv[1], "bare")) { char* none[] = {NULL}; execve(words[0], words, none); }
  else if (!strcmp(argv[1], "spawn")) errno = posix_spawnp(&pid, words[0], NULL, NULL, words, environ);
  else if (!strcmp(argv[1], "vfork")) { if (!(pid = vfork())) { execvp(words[0], words); _exit(errno); } }
  else if (!strcmp(argv[1], "fork")) { if (!(pid = fork())) { execvp(words[0], words); _exit(errno); } }
  else if (!strcmp(argv[1], "execveat")) { if (!(pid = fork())) { syscall(SYS_execveat, -100, words[0], words, environ, 0); _exit(errno); } }
  if (errno) return errno;
  int status = 0;
  waitpid(pid, &status, 0);
  if (WIFSIGNALED(status)) return 200 + WTERMSIG(status);
  return WEXITSTATUS(status);
}
"""

GO_CALLER = r"""
package main

import (
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
)

// COUNT PROGRAM ARGUMENT...: so many at once; 0: becomes it.
func main() {
	count := 0
	fmt.Sscan(os.Args[1], &count)
	path, err := exec.LookPath(os.Args[2])
	if err != nil {
		panic(err)
	}
	if count == 0 {
		panic(syscall.Exec(path, os.Args[2:], os.Environ()))
	}
	var all sync.WaitGroup
	status := make([]int, count)
	for i := 0; i < count; i++ {
		all.Add(1)
		go func(i int) {
			defer all.Done()
			command := exec.Command(path, os.Args[3:]...)
			command.Stdout, command.Stderr = os.Stdout, os.Stderr
			if command.Run() != nil {
				status[i] = command.ProcessState.ExitCode()
			}
		}(i)
	}
	all.Wait()
	fmt.Println(status)
}
"""


REMOTE = '[defaults]\nshipped = false\n[[app]]\nmatch = ["heavy"]\npolicy = "remote"\n'
WHERE = "read name < /proc/1/comm; echo $name"  # the first process: the agent, in a guest
HOST = pathlib.Path("/proc/1/comm").read_text()


def compile_callers(home, folder):
    """Static programs that start others, in C and in Go."""
    folder.mkdir()
    (folder / "caller.c").write_text(C_CALLER)
    subprocess.run(["gcc", "-static", "-O1", "-w", folder / "caller.c", "-o", folder / "caller"], check=True)
    (folder / "gocaller.go").write_text(GO_CALLER)
    subprocess.run(["go", "build", "-o", folder / "gocaller", folder / "gocaller.go"], check=True, cwd=folder,
                   env={**os.environ, "GOFLAGS": "-mod=mod", "GOCACHE": str(home.dir / "gocache"), "CGO_ENABLED": "0", "HOME": str(folder)})
    for name in ("heavy", "light"):
        shutil.copy("/bin/dash", folder / name)


def callers(home, folder):
    """These programs in a folder of a test's own, for any user; compiled once."""
    compiled = home.dir / "callers"
    if not compiled.exists():
        compile_callers(home, compiled)
    shutil.copytree(compiled, folder)


def script(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n" + text + "\n")
    path.chmod(0o755)
    return path


def said_by(pid, file):
    try:
        return pathlib.Path(f"/proc/{pid}/{file}").read_bytes()
    except OSError:  # it has ended
        return b""


def open_shell(words, env, work):
    return subprocess.Popen([str(word) for word in words], env=env, cwd=work, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


class RootsPool(Pool):
    build, prefix = BUILD, []

    def start_shell(self, *words, env):
        return open_shell([*self.prefix, self.build / "cli/ssi", "shell", *words], env, self.work)
