# SPDX-License-Identifier: LGPL-2.1-or-later
"""`ssi shims`: links on PATH, for callers that no preload reaches."""
import os
import pathlib
import re
import shutil
import unittest

from callers import REMOTE, RootsPool, WHERE, callers, script
from pool import SSIRUN, Home

TIMEOUT = 400

home = None


def setUpModule():
    global home
    home = Home()


def tearDownModule():
    home.close()


class PoolShims(unittest.TestCase):
    """A link on PATH, for callers that no preload reaches."""

    def test_a_static_caller_is_diverted_by_a_link(self):
        with RootsPool(1) as pool:
            tools, links = pool.dir / "tools", pool.dir / "links"
            callers(home, tools)
            pool.configure(REMOTE)
            self.assertEqual(pool.ssi("shims", "install", links).returncode, 0)
            env = {"PATH": f"{links}:{tools}:{pool.env['PATH']}"}
            for words in (("caller", "vfork"), ("gocaller", "0")):
                done = pool.run("env", *words, "heavy", "-c", WHERE + "; exit 3", env=env)
                self.assertEqual((done.stdout, done.returncode, done.stderr), (b"ssi-agent\n", 3, b""))
            done = pool.run(SSIRUN, "--remote", "heavy", "-c", WHERE, env=env)
            self.assertEqual((done.stdout, done.stderr), (b"ssi-agent\n", b""))
            # A job finds the link as well, in a guest, where it is the program behind it.
            done = pool.run(SSIRUN, "--remote", "sh", "-c", f"heavy -c '{WHERE}'", env=env)
            self.assertEqual((done.stdout, done.stderr), (b"ssi-agent\n", b""))


class Shims(unittest.TestCase):
    """Links on PATH. Nothing is asked of a deputy here: SSI_DISABLE."""

    def setUp(self):
        self.dir = home.dir / self.id().rsplit(".", 1)[-1][:20]
        self.links, self.real = self.dir / "links", self.dir / "real"
        script(self.real / "heavy", 'echo "heavy $0 $*"')
        self.path = f"{self.links}:{self.real}:/usr/bin:/bin"
        self.env = {"PATH": self.path, "SSI_DISABLE": "1"}
        home.configure('[defaults]\nshipped = false\n[[app]]\nmatch = ["heavy", "gcc"]\n')

    def install(self, *names):
        done = home.ssi("shims", "install", self.links, *names)
        self.assertEqual(done.returncode, 0, done)
        return done

    def executed(self, *words, path):
        """What runs, one after the other: the paths of the successful execve(2) in /tmp and in the wrappers' directories."""
        log = self.dir / "strace"
        done = home.run("strace", "-f", "-qq", "-s", "300", "-e", "trace=execve", "-o", log, *words,
                        env={**self.env, "PATH": path, "CCACHE_DIR": str(self.dir / "cache"), "DISTCC_HOSTS": "localhost",
                             "DISTCC_DIR": str(self.dir), "DISTCC_NO_REWRITE_CROSS": "1",
                             "HOME": str(self.dir), "ICECC_VERSION": "", "ICECC": "disable"})
        self.assertEqual(done.returncode, 0, done)
        paths = re.findall(r'execve\("([^"]+)".* = 0$', log.read_text(), re.M)
        names = {self.links: "shim", self.real: "real"}
        return [names.get(pathlib.Path(path).parent) or path.split("/")[3] for path in paths
                if pathlib.Path(path).parent in names or path.startswith(("/usr/lib/ccache/", "/usr/lib/distcc/", "/usr/lib/icecc/"))]

    def test_links_are_made_and_removed(self):
        done = self.install()
        self.assertIn(f"2 links in {self.links}".encode(), done.stdout)
        self.assertIn(f'PATH="{self.links}:$PATH"'.encode(), done.stdout)
        self.assertEqual(sorted(os.listdir(self.links)), ["gcc", "heavy"])
        self.assertEqual(os.readlink(self.links / "gcc"), SSIRUN)
        (self.links / "gcc").unlink()
        (self.links / "gcc").symlink_to("/no/longer/there/ssirun")
        (self.links / "else").write_text("mine")
        self.install()
        self.assertEqual(os.readlink(self.links / "gcc"), SSIRUN)
        done = home.ssi("shims", "remove", self.links, "gcc")
        self.assertEqual((done.returncode, done.stdout), (0, f"1 link removed from {self.links}\n".encode()))
        self.assertEqual(home.ssi("shims", "remove", self.links).returncode, 0)
        self.assertEqual(os.listdir(self.links), ["else"])

    def test_a_shipped_rules_program_has_a_link_where_it_is_installed(self):
        """Or a configure script would be told that it is there."""
        home.configure('[[app]]\nmatch = ["heavy", "nowhere"]\n')
        for _ in range(2):  # what the links themselves lead to does not count
            done = home.ssi("shims", "install", self.links, env={"PATH": self.path})
            self.assertEqual(done.returncode, 0, done)
            links = set(os.listdir(self.links))
            self.assertTrue({"heavy", "nowhere", "gcc", "xz"} <= links, links)
            self.assertEqual({name for name in links if not shutil.which(name, path="/usr/bin:/bin")}, {"heavy", "nowhere"})

    def test_what_is_not_ours_is_never_overwritten(self):
        self.links.mkdir()
        (self.links / "heavy").symlink_to(self.real / "heavy")
        for words in (("install", self.links), ("install", self.links, "x", "heavy"), ("remove", self.links, "heavy")):
            done = home.ssi("shims", *words)
            self.assertEqual((done.returncode, done.stderr.count(b"\n")), (1, 1), done)
            self.assertIn(b"heavy: is ", done.stderr)
        self.assertEqual({name: os.readlink(self.links / name) for name in os.listdir(self.links)},
                         {"heavy": str(self.real / "heavy")})

    def test_bad_input_is_one_line(self):
        for words in ((), ("what",), ("install",), ("remove",), ("install", ""), ("install", self.links, "a/b"),
                      ("install", self.links, "ssirun"), ("install", self.links, "ssi-deputy"), ("install", self.links, ""),
                      ("install", f"{self.links}:a"), ("install", "--no")):
            done = home.ssi("shims", *words)
            self.assertEqual((done.returncode, done.stderr.count(b"\n"), done.stdout), (2, 1, b""), (words, done))
        self.assertFalse(self.links.exists())
        for words in (("install", self.real / "heavy"), ("remove", self.links)):
            done = home.ssi("shims", *words)
            self.assertEqual((done.returncode, done.stderr.count(b"\n")), (1, 1), done)

    def test_the_next_program_on_path_runs(self):
        self.install("heavy")
        said = f"heavy {self.real}/heavy a b\n".encode()
        self.assertEqual(home.run("heavy", "a", "b", env=self.env).stdout, said)
        self.assertEqual(home.run(self.links / "heavy", "a", "b", env=self.env).stdout, said)
        self.assertEqual(home.run("sh", "-c", "cd links && ./heavy a b", env=self.env, cwd=self.dir).stdout, said)
        # Also where the links are found by another way, and twice.
        (self.dir / "again").symlink_to(self.links)
        path = f"{self.dir}/again:{self.path}"
        self.assertEqual(home.run("heavy", "a", "b", env={**self.env, "PATH": path}).stdout, said)
        more = self.dir / "more"
        self.assertEqual(home.ssi("shims", "install", more, "heavy").returncode, 0)
        self.assertEqual(home.run("heavy", "a", "b", env={**self.env, "PATH": f"{more}:{self.path}"}).stdout, said)

    def test_ssiruns_words_are_the_programs_here(self):
        self.install("heavy")
        self.assertEqual(home.run("heavy", "--remote", "--exec", "--version", env=self.env).stdout,
                         f"heavy {self.real}/heavy --remote --exec --version\n".encode())

    def test_argv_0_is_kept(self):
        self.install("cat")
        shutil.copy("/bin/cat", self.real / "cat")
        line = "exec -a other cat /proc/self/cmdline"
        self.assertEqual(home.run("bash", "-c", line, env=self.env).stdout, b"other\0/proc/self/cmdline\0")

    def test_a_link_gives_the_programs_path(self):
        self.install("cat")
        shutil.copy("/bin/cat", self.real / "cat")
        for words in ([self.links / "cat"], ["cat"], [SSIRUN, "cat"]):
            done = home.run(*words, "/proc/self/cmdline", env=self.env)
            self.assertEqual(done.stdout, f"{self.real}/cat\0/proc/self/cmdline\0".encode(), words)

    def test_gcc_finds_its_parts(self):
        """Beside itself, by its name on PATH, where the link stands first."""
        self.install("gcc", "cc1")
        (self.dir / "a.c").write_text("int main(void) { return 0; }\n")
        for words in (["gcc"], [self.links / "gcc"], [SSIRUN, "gcc"]):
            done = home.run(*words, "a.c", "-o", "a", cwd=self.dir, env={**self.env, "PATH": f"{self.links}:/usr/bin:/bin"})
            self.assertEqual((done.returncode, done.stderr), (0, b""), words)

    def test_a_script_whose_interpreter_is_a_link(self):
        self.install("heavy")
        text = self.dir / "text"
        text.write_text(f"#!{self.links}/heavy\n")
        text.chmod(0o755)
        self.assertEqual(home.run(text, env=self.env).stdout, f"heavy {self.real}/heavy {text}\n".encode())

    def test_nothing_behind_the_link(self):
        self.install("nothing")
        done = home.run("nothing", env=self.env)
        self.assertEqual((done.returncode, done.stderr), (127, b"ssirun: nothing: command not found\n"))
        (self.real / "nothing").write_text("")
        done = home.run("nothing", env=self.env)
        self.assertEqual((done.returncode, done.stderr), (126, b"ssirun: nothing: Permission denied\n"))

    def compile_by(self, *directories):
        (self.dir / "a.c").write_text("int main(void) { return 0; }\n")
        script(self.real / "gcc", 'exec /usr/bin/gcc "$@"')
        self.install("gcc")
        path = ":".join(map(str, [*directories, self.real, "/usr/bin", "/bin"]))
        shown = self.executed("gcc", "--version", path=path)
        compiled = self.executed("gcc", "-c", self.dir / "a.c", "-o", self.dir / "a.o", path=path)
        self.assertTrue((self.dir / "a.o").exists())
        return shown, compiled

    def test_ccache_behind_the_links(self):
        """ccache gets PATH without them, so what it takes for the compiler, and judges by its time, is the compiler."""
        shown, compiled = self.compile_by(self.links, "/usr/lib/ccache")
        self.assertEqual(shown, ["shim", "ccache", "real"])
        self.assertEqual(compiled[:3], ["shim", "ccache", "real"])
        self.assertEqual(set(compiled[3:]) - {"real"}, set())

    def test_ccache_before_the_links(self):
        shown, compiled = self.compile_by("/usr/lib/ccache", self.links)
        self.assertEqual(shown, ["ccache", "shim", "real"])
        self.assertEqual(compiled, ["ccache"] + ["shim", "real"] * (len(compiled) // 2))

    def test_distcc_on_either_side(self):
        for directories, order in (((self.links, "/usr/lib/distcc"), ["shim", "distcc", "real"]),
                                   (("/usr/lib/distcc", self.links), ["distcc", "shim", "real"])):
            self.assertEqual(self.compile_by(*directories)[1], order)

    def test_a_chain_of_three(self):
        for directories, order in (((self.links, "/usr/lib/ccache", "/usr/lib/distcc"), ["shim", "ccache", "distcc", "real"]),
                                   (("/usr/lib/ccache", self.links, "/usr/lib/distcc"), ["ccache", "shim", "distcc", "real"]),
                                   (("/usr/lib/distcc", self.links, "/usr/lib/ccache"), ["distcc", "shim", "ccache", "real"])):
            self.assertEqual(self.compile_by(*directories)[0], order)

    def test_icecc_on_either_side(self):
        for directories, order in (((self.links, "/usr/lib/icecc/bin"), ["shim", "icecc", "real"]),
                                   (("/usr/lib/icecc/bin", self.links), ["icecc", "shim", "real"])):
            self.assertEqual(self.compile_by(*directories)[0], order)

    def test_a_wrapper_that_nobody_knows_goes_round_ten_times_at_most(self):
        """It looks for the next of its name that it isn't itself, and finds the link."""
        self.install("heavy")
        wrap = self.dir / "wrap"
        script(wrap / "heavy", f'echo wrap\nIFS=:\nfor d in $PATH; do [ "$d" = {wrap} ] || [ ! -x "$d/heavy" ] || exec "$d/heavy" "$@"; done')
        done = home.run("heavy", "a", env={**self.env, "PATH": f"{self.links}:{wrap}:{self.real}:/usr/bin:/bin"})
        self.assertEqual(done.stdout, b"wrap\n" * 11 + f"heavy {self.real}/heavy a\n".encode())


if __name__ == "__main__":
    unittest.main()
