# SPDX-License-Identifier: LGPL-2.1-or-later
"""The [[app]] rules on a real pool: what each key does to a command that the shim diverts, and the rules that come with ssi."""
import pathlib
import re
import shutil
import subprocess
import time
import unittest

from pool import SSI, SSIRUN, Pool

TIMEOUT = 300
TOP = pathlib.Path(__file__).resolve().parents[2]
CONVERT = "/usr/bin/convert"

pool = None


def setUpModule():
    global pool
    pool = Pool(4).__enter__()


def tearDownModule():
    pool.__exit__(None, None, None)


def configure(text):
    file = pool.dir / "config/ssi/config.toml"
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)


class Keys(unittest.TestCase):
    """Diverted as the shim does it, with -v for the reason."""

    @classmethod
    def setUpClass(cls):
        cls.heavy = pool.work / "heavy"
        shutil.copy("/bin/sh", cls.heavy)

    def setUp(self):
        self.addCleanup(configure, "")

    def run_heavy(self, *words, env={}, options=(), script="echo $* ran", **more):
        """What it wrote, and what ssirun -v said of it (the host's name is home's in both places)."""
        done = pool.ssirun("-v", *options, "--exec", self.heavy, "--", "heavy", "-c", script, *words, env=env, **more)
        said = done.stderr.decode()
        self.assertEqual(done.returncode, 0, said)
        self.assertEqual(said.count("\n"), 1, said)
        return done.stdout.decode().strip(), said

    def in_guest(self, *words, **options):
        wrote, said = self.run_heavy(*words, **options)
        self.assertRegex(said, r"^ssirun: guest\d: ")
        return wrote

    def at_home(self, reason, *words, **options):
        wrote, said = self.run_heavy(*words, **options)
        self.assertTrue(said.startswith("ssirun: home: "), said)
        self.assertIn(reason, said)
        return wrote

    def rule(self, text, before=""):
        configure(f'{before}\n[[app]]\nmatch = ["heavy"]\npolicy = "remote"\n{text}\n')

    def test_no_rule(self):
        configure("")
        self.at_home("no rule diverts this heavy")
        self.rule("")
        self.in_guest()

    def test_arguments(self):
        self.rule('not_args = ["--no*"]\nwhen_args = ["go", "--also"]')
        self.in_guest("go")
        self.at_home("rule 1: argument '--nothing' is in not_args", "go", "--nothing")
        self.at_home("rule 1: no argument is in when_args ('go', '--also')", "stay")

    def test_environment(self):
        self.rule('when_env = { SSI_CLASS = "batch*" }\nnot_env = ["SSI_LOCAL"]')
        self.in_guest(env={"SSI_CLASS": "batch-1"})
        self.at_home("when_env wants SSI_CLASS=batch*", env={"SSI_CLASS": "other"})
        self.at_home("SSI_LOCAL is set (not_env)", env={"SSI_CLASS": "batch-1", "SSI_LOCAL": "1"})

    def test_folder(self):
        inside = pool.work / "inside/deep"
        inside.mkdir(parents=True, exist_ok=True)
        self.rule(f'cwd_under = ["{pool.work}/in*"]')
        self.in_guest(cwd=inside)
        self.at_home("is not in cwd_under", cwd=pool.work)

    def test_input(self):
        (pool.work / "large").write_bytes(bytes(2_100_000))
        (pool.work / "small").write_bytes(bytes(1_000_000))
        self.rule("min_input_mb = 3")
        self.in_guest("large", pool.work / "small", "no such file")
        self.at_home("the input has 2.1 MB, min_input_mb is 3", "large", "--small")

    def test_policy_and_gui(self):
        self.rule("gui = true")
        self.at_home("config.toml: rule 1 says that it shows windows (gui)")
        configure('[[app]]\nmatch = ["nothing"]\n[[app]]\nmatch = ["heavy"]\npolicy = "local"\n')
        self.at_home("config.toml: rule 2 says local")
        self.in_guest(options=["--remote"])  # what is typed for one command comes before its rule

    def test_remote_goes_to_a_guest_though_home_is_faster(self):
        configure('[[app]]\nmatch = ["heavy"]\nmin_seconds = 0\nresources = { cpus = 1 }\n')
        busy = [subprocess.Popen([SSIRUN, "--on", f"guest{guest}", "sleep", "60"], env=pool.env, cwd=pool.work)
                for guest in (1, 2, 3, 4) for _ in range(4)]
        try:
            deadline = time.monotonic() + 30
            while sum(len(guest["jobs"]) for guest in pool.status().values()) < 16:
                self.assertLess(time.monotonic(), deadline)
                time.sleep(0.1)
            self.at_home("home is expected to end first")
            self.rule("resources = { cpus = 1 }")
            self.in_guest()
        finally:
            for process in busy:
                process.terminate()
                process.wait()

    def test_resources(self):
        self.rule('resources = { mem = "100000G" }')
        self.at_home("memory free")
        self.in_guest(options=["--mem", "1M"])

    def test_fallback(self):
        self.rule('resources = { mem = "100000G" }\nfallback = "fail"')
        done = pool.ssirun("--exec", self.heavy, "--", "heavy", "-c", "echo ran")
        self.assertEqual((done.returncode, done.stdout, done.stderr.count(b"\n")), (125, b"", 1), done.stderr)

    def test_fallback_wait(self):
        # More than any guest has free, less than one has in all: whoever waits, waits.
        total = min(guest["memory_total"] for guest in pool.status().values())
        self.rule(f"resources = {{ mem = {total - 1} }}")
        self.at_home("of memory free")
        self.rule(f'resources = {{ mem = {total - 1} }}\nfallback = "wait"')
        with self.assertRaises(subprocess.TimeoutExpired):
            self.run_heavy(timeout=2)
        self.rule(f'resources = {{ mem = {2 * total} }}\nfallback = "wait"')  # nobody will ever have as much
        self.at_home("of memory free")

    def test_env_drop(self):
        self.rule('env_drop = ["DISPLAY", "MY_*"]')
        script = 'echo "${DISPLAY-none} ${MY_X-none} ${KEPT-none}"'
        env = {"DISPLAY": ":7", "MY_X": "1", "KEPT": "yes"}
        self.assertEqual(self.in_guest(script=script, env=env), "none none yes")
        self.rule('env_drop = ["DISPLAY"]\ngui = true')  # at home nothing is touched
        self.assertEqual(self.at_home("gui", script=script, env=env), ":7 1 yes")

    def test_bad_rules_are_one_line(self):
        file = pool.dir / "config/ssi/config.toml"
        for rule, complaint in {
                "min_input_mb = -1": "'min_input_mb' must be a number that is not negative",
                "when_env = { A = 1 }": "'when_env' must be a table of strings",
                "cwd_under = 7": "'cwd_under' must be a string or an array of strings",
                "resources = { cpus = 0 }": "'cpus' must be a whole number from 1 to 4096",
                'gui = "yes"': "'gui' must be true or false",
                "env_dorp = []": "unknown key 'env_dorp'"}.items():
            with self.subTest(rule=rule):
                configure(f'[[app]]\nmatch = ["heavy"]\n{rule}\n')
                done = pool.ssi("allow", "check", "heavy")
                self.assertEqual((done.returncode, done.stderr.count(b"\n")), (1, 1), done)
                self.assertIn(f"{file}:3: {complaint}", done.stderr.decode())
                self.at_home(f"{file}:3: {complaint}")


class Shipped(unittest.TestCase):
    """A fresh configuration: nobody has written a rule."""

    def setUp(self):
        configure("")
        self.addCleanup(configure, "")

    def started(self, line):
        """What the deputy's log says of the commands of a shell line under `ssi shell`."""
        log = pool.dir / "state/ssi/deputy.log"
        before = log.stat().st_size if log.exists() else 0
        done = pool.run(SSI, "shell", line)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done, re.findall(r"guest=(guest\d) started: (.*)", log.read_bytes()[before:].decode())

    def test_ffmpeg_and_convert_are_diverted(self):
        configure('[defaults]\npolicy = "remote"\n')  # or a machine that is idle may think itself faster
        make = "ffmpeg -v error -nostdin -y -f lavfi -i testsrc2=s=320x240:d=1 -c:v libx264 -threads 1 -bitexact"
        _, started = self.started(f"{make} there.mkv; {CONVERT} rose: there.png; ffmpeg -version; {CONVERT} -list format; :")
        self.assertEqual([command.split()[-1] for _, command in started], ["there.mkv", "there.png"])
        pool.run("sh", "-c", f"{make} here.mkv")
        self.assertEqual((pool.work / "there.mkv").read_bytes(), (pool.work / "here.mkv").read_bytes())

    def test_they_can_be_switched_off(self):
        configure('[defaults]\npolicy = "remote"\nshipped = false\n')
        self.assertEqual(self.started(f"{CONVERT} rose: x.png")[1], [])
        configure('[defaults]\npolicy = "remote"\n[[app]]\nmatch = ["convert"]\npolicy = "local"\n')
        self.assertEqual(self.started(f"{CONVERT} rose: x.png")[1], [])
        self.assertNotEqual(self.started("/usr/bin/composite rose: rose: x.png")[1], [])

    def test_check_tells_why_and_why_not(self):
        check = lambda *words: pool.ssi("allow", "check", *words).stdout.decode()
        self.assertIn('/usr/bin/ffmpeg: shipped ffmpeg.toml: rule 1 ("ffmpeg"): runs in a guest when that is faster', check("ffmpeg", "-i", "a", "b"))
        told = check("/usr/bin/ffmpeg", "-version")
        self.assertIn("shipped ffmpeg.toml: rule 1 (\"ffmpeg\"): does not match: argument '-version' is in not_args", told)
        self.assertIn("no rule matches: runs at home", told)
        configure('[[app]]\nmatch = ["ffmpeg"]\nwhen_args = ["-slow"]\npolicy = "local"\n[[app]]\nmatch = ["ff*"]\nfallback = "fail"\n')
        told = check("/usr/bin/ffmpeg", "-fast")
        self.assertIn("config.toml: rule 1 (\"ffmpeg\"): does not match: no argument is in when_args ('-slow')", told)
        self.assertIn('config.toml: rule 2 ("ff*"): runs in a guest when that is faster, fails with status 125', told)
        self.assertIn('config.toml: rule 1 ("ffmpeg"): runs at home', check("/usr/bin/ffmpeg", "-slow"))

    def test_check_in_a_folder_that_was_removed(self):
        configure('[[app]]\nmatch = ["ffmpeg"]\ncwd_under = ["/*"]\npolicy = "local"\n')
        done = pool.run("sh", "-c", 'mkdir gone && cd gone && rmdir ../gone && exec "$0" allow check ffmpeg -i a b', SSI)
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        self.assertIn("is not in cwd_under", done.stdout.decode())
        self.assertIn("shipped ffmpeg.toml: rule 1", done.stdout.decode())

    def test_compile_counts_them(self):
        done = pool.ssi("allow", "compile")
        self.assertRegex(done.stdout.decode(), r"^\d\d names are diverted\n$")

    def test_a_cache_hit_never_leaves_home(self):
        """Links to ccache, distcc and icecc stay; the compiler that they start goes, and only when they start one."""
        configure('[defaults]\npolicy = "remote"\n')
        (pool.work / "hit.c").write_text("int hit(void) { return 42; }\n")
        # Without the others of their kind.
        alone = f"CCACHE_DIR={pool.work}/ccache DISTCC_HOSTS=localhost DISTCC_DIR={pool.work}/distcc ICECC=no PATH=/usr/bin:/bin"
        compiles = lambda link, to: f"{alone} {link} -c hit.c -o {to}.o"
        _, started = self.started(compiles("/usr/lib/ccache/gcc", "first"))
        self.assertEqual([command.split()[0] for _, command in started], ["/usr/bin/gcc"])
        _, started = self.started(compiles("/usr/lib/ccache/gcc", "second") + f"; {alone} ccache gcc -c hit.c -o third.o")
        self.assertEqual(started, [])
        for name in ("second", "third"):
            self.assertEqual((pool.work / f"{name}.o").read_bytes(), (pool.work / "first.o").read_bytes())
        for link in ("/usr/lib/distcc/gcc", "/usr/lib/icecc/bin/gcc"):
            _, started = self.started(compiles(link, "other"))
            self.assertEqual([command.split()[0].endswith("gcc") for _, command in started], [True], (link, started))

    def test_a_compiler_that_links_too(self):
        configure('[defaults]\npolicy = "remote"\n')
        (pool.work / "both.c").write_text("int main(void) { return 0; }\n")
        _, started = self.started("/usr/bin/gcc both.c -o both && ./both && /usr/bin/gcc -E both.c && /usr/bin/gcc -c -march=native both.c && /usr/bin/gcc --version")
        self.assertEqual([pathlib.Path(command.split()[0]).name for _, command in started], ["cc1", "cc1"])

    def test_make_of_photographs_spreads(self):
        """A small examples/photos: same makefile, every guest takes some, the bytes are home's."""
        for number, photo in enumerate(sorted(pathlib.Path("/usr/share/backgrounds").glob("*.jpg"))[:6]):
            (pool.work / "in").mkdir(exist_ok=True)
            (pool.work / f"in/{number}.jpg").symlink_to(photo)
        for out in ("there", "here"):
            (pool.work / out).mkdir()
        make = f"make -s -f {TOP}/examples/photos.mk IN=in SIZES='1280 640' CONVERT={CONVERT}"
        _, started = self.started(f"{make} -j8 OUT=there")
        self.assertEqual({guest for guest, _ in started}, {"guest1", "guest2", "guest3", "guest4"})
        self.assertGreaterEqual(len(started), 6)
        self.assertEqual(pool.run("sh", "-c", f"{make} -j2 OUT=here").returncode, 0)
        pictures = sorted(path.name for path in (pool.work / "here").iterdir())
        self.assertEqual(len(pictures), 12)
        for picture in pictures:
            self.assertEqual((pool.work / "there" / picture).read_bytes(), (pool.work / "here" / picture).read_bytes(), picture)


if __name__ == "__main__":
    unittest.main()
