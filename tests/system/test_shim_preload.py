# SPDX-License-Identifier: LGPL-2.1-or-later
"""LD_PRELOAD: the shim beside others' libraries, where an environment omits it, and in programs that cannot load it."""
import platform
import subprocess
import unittest

from pool import BUILD, not_sanitized
from shim_case import ShimCase, python

TIMEOUT = 200

# As `ssi shell` has it where there are 32-bit programs: by this path each kind of process loads what it can.
SHIM = str(BUILD / "shim/libasan.so.d/$LIB/libssi-shim.so")


class Preload(ShimCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.preload["LD_PRELOAD"] = SHIM
        cls.shell = ["sh", "-c", "heavy a b; :"]

    def bare(self, *more, **changed):
        """A Python program that makes a shell in an environment of its own, which the test finds things by."""
        env = {"PATH": f"{self.tools}:/usr/bin:/bin", **changed}
        return python(f"import os; os.execve('/bin/sh', {[*self.shell, *more]!r}, {env!r})")

    def set_reinject(self, value):
        self.home.configure(self.config.replace("[defaults]\n", f'[defaults]\nreinject = "{value}"\n'))
        self.compile_list()

    def test_the_shell_has_it_so(self):
        done = self.home.run(BUILD / "cli/ssi", "shell", "echo $LD_PRELOAD", env=self.env)
        self.assertEqual(done.stdout.decode(), SHIM + "\n")

    def test_it_comes_along(self):
        """Where the new environment merely omits LD_PRELOAD, and even HOME; by each kind of call, any number of times."""
        self.diverted(*self.bare())
        self.diverted(*self.bare(XDG_STATE_HOME=str(self.home.dir / "state")))
        self.diverted(*self.bare(XDG_STATE_HOME="/tmp", HOME="/"))
        env = {"PATH": f"{self.tools}:/usr/bin:/bin"}
        for call in (f"os.execve('/bin/sh', W, {env})", f"os.execvpe('sh', W, {env})",
                     f"os.waitpid(os.posix_spawn('/bin/sh', W, {env}), 0)", f"os.waitpid(os.posix_spawnp('sh', W, {env}), 0)",
                     f"subprocess.run(W, env={env})", f"subprocess.run(W, env={env}, close_fds=False)",
                     "os.unsetenv('LD_PRELOAD'); os.execv('/bin/sh', W)", "os.unsetenv('LD_PRELOAD'); os.execvp('sh', W)"):
            with self.subTest(call=call):
                self.diverted(*python(f"import os, subprocess; W = {self.shell!r}; {call}"))
        self.diverted("env", "-i", f"PATH={env['PATH']}", "env", "-i", f"PATH={env['PATH']}", *self.shell)
        self.diverted("env", "-i", f"PATH={env['PATH']}", "heavy", "a", "b")
        program = self.compile("omits", 'int main() { char* none[] = {getenv("P"), NULL}; char* words[] = {"sh", "-c", "heavy a b; :", NULL};'
                               'execve("/bin/sh", words, none); }', compiler="musl-gcc")
        self.diverted(program, env={"P": f"PATH={env['PATH']}"})

    def test_what_is_added(self):
        """Ours, at the end, and the table's place only where it would not be found."""
        printed = lambda env: self.run_with(*python(f"import os; os.execve('/usr/bin/env', ['env'], {env!r})")).stdout.decode().split()
        table = f"SSI_ALLOW_TABLE={self.table}"
        self.assertEqual(printed({"A": "b"}), ["A=b", f"LD_PRELOAD={SHIM}", table])
        state = {"XDG_STATE_HOME": str(self.home.dir / "state")}
        self.assertEqual(printed(state), [f"XDG_STATE_HOME={state['XDG_STATE_HOME']}", f"LD_PRELOAD={SHIM}"])

    def test_where_it_is_not_added(self):
        env_of = lambda env, name="env": f"import os; os.execve({name!r}, ['env'], {env!r})"
        run = lambda code, **options: self.run_with(*python(code), **options).stdout.decode().split()
        self.assertEqual(run(env_of({}, "/usr/bin/env")), [])
        self.assertEqual(run(env_of({"A": "b", "LD_PRELOAD": ""}, "/usr/bin/env")), ["A=b", "LD_PRELOAD="])
        self.assertEqual(run(env_of({"A": "b", "SSI_DISABLE": "1"}, "/usr/bin/env")), ["A=b", "SSI_DISABLE=1"])
        self.assertEqual(run(env_of({"A": "b"}, "/usr/bin/env"), env={"SSI_DISABLE": "1"}), ["A=b"])
        for name in ("bwrap", "flatpak", "snap", "chroot", "unshare", "docker", "ssh", "sudo"):
            (self.tools / name).symlink_to("/usr/bin/env")
            self.assertEqual(run(env_of({"A": "b"}, str(self.tools / name))), ["A=b"], name)
            self.assertEqual(self.run_with("sh", "-c", f"unset LD_PRELOAD; exec {name}").stdout.count(b"LD_PRELOAD"), 0, name)
            (self.tools / name).unlink()
        # A program that has the shim by other ways than LD_PRELOAD is not told where it is: nothing to add.
        self.assertEqual(self.home.run(*python(env_of({"A": "b"}, "/usr/bin/env")), env=self.env).stdout, b"A=b\n")

    def test_it_can_be_switched_off(self):
        self.addCleanup(self.set_reinject, "auto")
        self.set_reinject("never")
        self.passed(*self.bare())
        self.diverted(*self.shell)
        self.set_reinject("auto")
        self.diverted(*self.bare())

    def test_an_environment_that_is_just_not_too_long(self):
        """With our variables it would be; then it goes without."""
        text = r"""
int main(int argc, char** argv) {
  struct rlimit limit = {400 << 10, 400 << 10}; setrlimit(RLIMIT_STACK, &limit);
  static char big[100000] = "A=", more[100000] = "B="; memset(big + 2, 'a', 90000); memset(more + 2, 'b', 90000);
  char *words[] = {"env", NULL}, *env[] = {big, more, NULL};
  for (int size = 60000; size > 0; size -= 8) { more[size] = 0; execve("/usr/bin/env", words, env); if (errno != E2BIG) return 3; }
  return 4;
}"""
        program = self.compile("longest", text)
        done = self.same(program)
        self.assertGreater(len(done.stdout), 100000)

    def test_other_libraries_are_kept(self):
        shim, show = "ssi-shim", "heavy a b; cat /proc/self/maps"
        libraries = {"stdbuf": ("stdbuf", "-oL"), "fakeroot": ("fakeroot", "--"), "eatmydata": ("eatmydata",)}
        for name, prefix in libraries.items():
            with self.subTest(name=name):
                done = self.run_with(*prefix, "sh", "-c", show)
                self.assertEqual((done.returncode, done.stderr), (0, b""), done)
                self.assertTrue(done.stdout.startswith(f"<{self.tools}/heavy><a><b>a b\n".encode()), done.stdout[:200])
                self.assertIn(b"lib" + name.encode(), done.stdout)
                self.assertIn(shim.encode(), done.stdout)
        done = self.run_with("fakeroot", "sh", "-c", "touch f; chown 123 f; stat -c %u f; heavy a b")
        self.assertEqual(done.stdout.split(b"\n", 1), [b"123", f"<{self.tools}/heavy><a><b>a b\n".encode()])

    def test_next_is_another_preloads(self):
        """What is not diverted goes through libraries behind ours; what is, too."""
        library = self.compile("spy.so", r"""
#include <dlfcn.h>
#define SPY(name, ...) { int (*next)() = dlsym(RTLD_NEXT, name); write(2, name " ", sizeof name); return next(__VA_ARGS__); }
int execve(const char* path, char* const* argv, char* const* envp) SPY("execve", path, argv, envp)
int execvp(const char* path, char* const* argv) SPY("execvp", path, argv)
int posix_spawn(pid_t* pid, const char* path, const posix_spawn_file_actions_t* actions, const posix_spawnattr_t* attributes,
                char* const* argv, char* const* envp) SPY("posix_spawn", pid, path, actions, attributes, argv, envp)
""", "-shared", "-fPIC")
        env = {"LD_PRELOAD": f"{SHIM}:{library}"}
        self.assertIn(b"execve ", self.run_with("dash", "-c", "exec light a", env=env).stderr)
        program = self.compile("vp", 'int main(int argc, char** argv) { execvp(argv[1], argv + 1); }')
        self.assertEqual(self.run_with(program, "light", env=env).stderr, b"execvp ")
        self.assertIn(b"execve ", self.run_with(program, "heavy", env=env).stderr)
        for name in ("light", "heavy"):
            spawn = python(f"import os; os.waitpid(os.posix_spawn('{self.tools}/{name}', ['a'], os.environ), 0)")
            self.assertIn(b"posix_spawn ", self.run_with(*spawn, env=env).stderr)

    @not_sanitized("its programs are built with clang's")
    def test_address_sanitizer(self):
        """gcc's is a library that wants to be the first one, and aborts the program else."""
        program = self.compile("asan", 'int main() { char* words[] = {"heavy", "a", "b", NULL}; free(malloc(3)); execvp("heavy", words); }', "-fsanitize=address")
        self.assertIn("libasan.so", subprocess.check_output(["readelf", "-d", program], text=True))
        self.diverted(program)
        plain = self.run_with(program, env={"LD_PRELOAD": str(self.dir / "libssi-shim.so")})
        self.assertIn(b"ASan runtime does not come first", plain.stderr)

    @unittest.skipUnless(platform.machine() == "x86_64", "gcc -m32 is x86-64's")
    def test_32_bits(self):
        """Nothing on stderr; the program runs, and what it starts is diverted."""
        program = self.compile("narrow", 'int main() { char* words[] = {"sh", "-c", "heavy a b; :", NULL}; execvp("sh", words); }', "-m32")
        done = self.diverted(program)
        self.assertEqual(done.stderr, b"")
        plain = self.run_with(program, env={"LD_PRELOAD": str(self.dir / "libssi-shim.so")})
        self.assertIn(b"wrong ELF class", plain.stderr)

    def test_static_programs_and_environments_pass_it_on(self):
        program = self.compile("static", 'int main() { char* words[] = {"sh", "-c", "heavy a b; :", NULL}; execvp("sh", words); }', "-static")
        self.diverted(program)

    def test_dlerror_is_the_programs(self):
        """musl lacks execveat, which we have asked it for."""
        for compiler in ("gcc", "musl-gcc"):
            program = self.compile(f"dl-{compiler}", '#include <dlfcn.h>\nint main() { char* error = dlerror(); puts(error ? error : "none"); }', compiler=compiler)
            self.assertEqual(self.same(program).stdout, b"none\n")


if __name__ == "__main__":
    unittest.main()
