# SPDX-License-Identifier: LGPL-2.1-or-later
"""`ssi desktop`, and with SSI_TEST_FULL hugin's window, started from its .desktop entry, whose stitching goes to guests."""
import filecmp
import json
import os
import pathlib
import shlex
import signal
import subprocess
import unittest

from pool import SSI, Pool, is_zombie, not_sanitized, wait_until
from shim_case import ShimCase

TIMEOUT = 600
FULL = os.environ.get("SSI_TEST_FULL")
ENTRY = "[Desktop Entry]\nType=Application\nName=A\nMimeType=application/x-ssi-test;\nExec={} %F\nActions=x;\n\n[Desktop Action x]\nName=X\nExec={} x\n"


class Entries(ShimCase):
    def setUp(self):
        self.data, self.system = self.home.dir / "data", self.home.dir / "system"
        self.own, self.theirs = self.data / "applications", self.system / "applications"
        (self.theirs / "kde").mkdir(parents=True)
        for name, program in (("app", self.tools / "heavy"), ("kde/other", "heavy")):
            (self.theirs / f"{name}.desktop").write_text(ENTRY.format(program, program))
        (self.home.work / "relative/applications").mkdir(parents=True, exist_ok=True)  # where a relative entry would lead
        (self.home.work / "relative/applications/app.desktop").write_text(ENTRY.format("wrong", "wrong"))
        (self.theirs / "link.desktop").write_text("[Desktop Entry]\nType=Link\nURL=x\n")
        self.addCleanup(lambda: subprocess.run(["rm", "-r", self.data, self.system]))
        self.data.mkdir()

    def desktop(self, *words, **env):
        return self.home.run(self.dir / "ssi", "desktop", *words,
                             env={**self.env, "XDG_DATA_HOME": str(self.data), "XDG_DATA_DIRS": f"relative:/nowhere:{self.system}", **env})

    def done(self, *words):
        done = self.desktop(*words)
        self.assertEqual((done.returncode, done.stderr), (0, b""), done)
        return done.stdout.decode()

    def start(self, name, *words):
        """What a desktop does, in an environment that has little."""
        line = (self.own / name).read_text().split("\nExec=")[1].split("\n")[0].replace("%F", shlex.join(words))
        return self.home.run(*shlex.split(line), env={"PATH": self.env["PATH"], "DISPLAY": ":9"})

    def entries(self):
        return sorted(name for name in os.listdir(self.own) if name.endswith(".desktop"))

    def test_what_they_open_is_in_the_index(self):
        """Of the folder in which the entry is found: else the copy takes the application out of "Open with"."""
        index = self.own / "mimeinfo.cache"
        self.done("install", "app")
        self.assertIn("application/x-ssi-test=app.desktop;\n", index.read_text())
        self.done("remove", "app")
        self.assertNotIn("app.desktop", index.read_text())

    def test_copies_are_made_and_removed(self):
        self.assertEqual(self.done("install", "app", "kde-other.desktop"), f"2 copies in {self.own}\n")
        self.assertEqual(self.entries(), ["app.desktop", "kde-other.desktop"])
        text = (self.own / "app.desktop").read_text()
        self.assertIn(f"X-Ssi-Copy-Of={self.theirs}/app.desktop\nDBusActivatable=false\nTryExec={self.tools}/heavy\n", text)
        self.assertEqual(text.count(f"\nExec={self.dir}/ssi desktop run {self.tools}/heavy "), 2)
        self.assertEqual((self.own / "app.desktop").stat().st_mode & 0o7777, 0o644)
        (self.theirs / "app.desktop").write_text(ENTRY.format("newer", "newer"))
        self.done("install", "app")
        self.assertIn("desktop run newer %F\n", (self.own / "app.desktop").read_text())
        (self.own / "mine.desktop").write_text(ENTRY.format("a", "a"))
        self.assertEqual(self.done("remove", "app.desktop"), f"1 copy removed from {self.own}\n")
        self.assertEqual(self.done("remove"), f"1 copy removed from {self.own}\n")
        self.assertEqual(self.entries(), ["mine.desktop"])

    def test_in_the_usual_places(self):
        done = self.desktop("install", "app", XDG_DATA_HOME="", HOME=str(self.data))
        self.assertEqual(done.stdout, f"1 copy in {self.data}/.local/share/applications\n".encode(), done)
        # Its own folder among the system's: the copy is not copied.
        for _ in range(2):
            self.desktop("install", "app", XDG_DATA_DIRS=f"{self.data}:{self.system}")
        self.assertEqual((self.own / "app.desktop").read_text().count("desktop run"), 2)

    def test_what_is_not_ours_is_never_overwritten(self):
        self.own.mkdir()
        (self.own / "app.desktop").write_text("mine")
        (self.data / "elsewhere").write_text("[Desktop Entry]\nX-Ssi-Copy-Of=/x\n")
        (self.own / "kde-other.desktop").symlink_to(self.data / "elsewhere")
        (self.own / "link.desktop").mkdir()
        for words in (("install", "app"), ("install", "kde-other"), ("install", "link"), ("remove", "app"), ("remove", "kde-other"), ("remove", "no")):
            done = self.desktop(*words)
            self.assertEqual((done.returncode, done.stderr.count(b"\n")), (1, 1), done)
            self.assertIn(b"nothing was changed", done.stderr)
        self.assertEqual(self.done("remove"), f"0 copies removed from {self.own}\n")
        self.assertEqual((self.own / "app.desktop").read_text(), "mine")

    def test_all_or_nothing(self):
        for wrong in ("no-such", "link", "kde/other"):
            done = self.desktop("install", "app", wrong)
            self.assertEqual((done.returncode, done.stderr.count(b"\n")), (2 if "/" in wrong else 1, 1), done)
        self.assertFalse(self.own.exists())

    def test_bad_input_is_one_line(self):
        for words in ((), ("what",), ("install",), ("install", ""), ("install", "a/b"), ("install", "a\tb"), ("remove", ""), ("run",), ("run", "--"),
                      ("run", "--no"), ("install", "--no")):
            done = self.desktop(*words)
            self.assertEqual((done.returncode, done.stderr.count(b"\n"), done.stdout), (2, 1, b""), (words, done))
        self.data.rmdir()
        self.data.write_text("")
        done = self.desktop("install", "app")
        self.assertEqual((done.returncode, done.stderr.count(b"\n")), (1, 1), done)

    def test_what_it_starts_is_diverted(self):
        self.done("install", "app", "kde-other")
        for name in ("app.desktop", "kde-other.desktop"):
            self.assertEqual(self.start(name, "a b", "$c").stdout, f"<{self.tools}/heavy><a b><$c>a b $c\n".encode())

    def test_words_stay_as_they_are(self):
        self.put("tools/two words", '#!/bin/sh\nprintf "<%s>" "$0" "$@"\nexit 5\n')
        for prefix in (("run",), ("run", "--")):
            done = self.desktop(*prefix, "two words", "--help", "", "$x *", "--")
            self.assertEqual((done.stdout.decode(), done.returncode), (f"<{self.tools}/two words><--help><><$x *><-->", 5))
            self.assertEqual(self.desktop(*prefix, "two words").returncode, 5)
        self.assertEqual(self.desktop("run", "no-such-program").returncode, 127)

    def test_it_starts_also_when_nothing_can_be_diverted(self):
        file = self.home.dir / "config/ssi/config.toml"
        text = file.read_text()
        file.write_text("[[app]\n")
        try:
            done = self.desktop("run", "heavy", "a", "b")
        finally:
            file.write_text(text)
        self.assertEqual((done.stdout, done.returncode, done.stderr.count(b"\n")), (b"a b\n", 0, 1), done)
        self.assertRegex(done.stderr, rb"^ssi desktop: .*config.toml:.*; nothing is diverted\n$")


PHOTOGRAPH = "/usr/share/backgrounds/picosdeeuropa_by_Aitzol_Berasategi.jpg"
# Each step that the stitching has goes to a guest, however short it is.
REMOTE = '[defaults]\npolicy = "remote"\n'
# Else a panorama has other bytes each time: enblend rounds by chance, but not to floating point; nona's threads share their chance.
SAME = "--depth=r32", {"OMP_NUM_THREADS": "1"}
# The window with the menus; no tip of the day.
HUGIN = "GuiLevel=2\n[MainFrame]\nShowStartTip=0\n[GLPreviewFrame]\nisShown=0\n"
# What a desktop notes when one has chosen.
DEFAULT = "[Default Applications]\napplication/x-ptoptimizer-script=hugin.desktop\n"


class Screen:
    """An X server of a test's own, and a hand on its keyboard."""

    def __init__(self, home):
        reading, writing = os.pipe()
        self.home, self.server = home, subprocess.Popen(
            ["Xvfb", "-displayfd", str(writing), "-screen", "0", "1400x1000x24", "-nolisten", "tcp", "-noreset"],
            pass_fds=[writing], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(writing)
        with open(reading) as number:
            self.name = ":" + number.readline().strip()

    def do(self, *words):
        return self.home.run("xdotool", *words, env={"DISPLAY": self.name}).stdout.decode().split()

    def shown(self, title):
        return self.do("search", "--onlyvisible", "--name", title)

    def window(self, title, seconds=60):
        """Of one that is shown; None: there is none in time."""
        found = wait_until(lambda: self.shown(title), seconds)
        return found[0] if found else None

    def press(self, window, key, is_done):
        """Once more if nothing comes of it: a window that is shown may not listen yet. No window manager gives it the keyboard."""
        def once():
            self.do("windowfocus", window)
            self.do("key", key)
            return wait_until(is_done, 10)

        return wait_until(once, 60)

    def close(self):
        self.server.terminate()
        self.server.wait()


@not_sanitized("it is slow, and nothing of ssi runs there that other tests do not run")
@unittest.skipUnless(FULL, "hugin and an X server: with tests/run --full")
class Hugin(unittest.TestCase):
    known = set()  # jobs

    @classmethod
    def setUpClass(cls):
        cls.pool = Pool(2).__enter__()
        cls.addClassCleanup(cls.pool.__exit__, None)
        cls.screen = Screen(cls.pool)
        cls.addClassCleanup(cls.screen.close)
        cls.pool.configure(REMOTE)
        (cls.pool.dir / "config/hugin.conf").write_text(HUGIN)
        (cls.pool.dir / "config/mimeapps.list").write_text(DEFAULT)
        cls.user = cls.pool.dir / "user"
        cls.user.mkdir()
        cls.photographs()

    @classmethod
    def photographs(cls):
        """Three that overlap, and hugin's project of them."""
        for number, place in enumerate(("700x900+0+100", "700x900+450+120", "700x900+900+90")):
            cls.at_home("convert", PHOTOGRAPH, "-resize", "1600x", "-crop", place, "+repage", f"{number}.jpg")
        cls.at_home("pto_gen", "-o", "p.pto", "-f", "40", "0.jpg", "1.jpg", "2.jpg")
        cls.at_home("cpfind", "--multirow", "-o", "p.pto", "p.pto")
        cls.at_home("autooptimiser", "-a", "-m", "-l", "-s", "-o", "p.pto", "p.pto")
        cls.at_home("pano_modify", "--canvas=AUTO", "--crop=AUTO", "-o", "p.pto", "p.pto")
        project = cls.pool.work / "p.pto"
        project.write_text(project.read_text().replace("#hugin_enblendOptions", f"#hugin_enblendOptions {SAME[0]}"))

    @classmethod
    def at_home(cls, *words):
        done = cls.pool.run(*words)
        assert done.returncode == 0, done

    def start(self, *words):
        """In the environment that a desktop gives, which is bare, and without a terminal."""
        env = {name: self.pool.env[name] for name in ("PATH", "XDG_STATE_HOME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME")}
        env.update(HOME=str(self.user), DISPLAY=self.screen.name, LANG="C.UTF-8", **SAME[1])
        started = subprocess.Popen(words, cwd="/", env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(started.wait)

    def shows(self, title, program):
        """Waits for a window: (it, whether its process has the shim)."""
        window = self.screen.window(title)
        self.assertTrue(window, f"no window {title}")
        pid = int(self.screen.do("getwindowpid", window)[0])
        self.assertEqual(pathlib.Path(f"/proc/{pid}/comm").read_text(), program + "\n")
        self.addCleanup(lambda: is_zombie(pid) or os.kill(pid, signal.SIGTERM))
        return window, "libssi-shim.so" in pathlib.Path(f"/proc/{pid}/maps").read_text()

    def stitch(self, image, *words):
        """By hugin's window, started by these words. Which of the two programs with windows had the shim."""
        self.start(*words, self.pool.work / "p.pto")
        hugin, *one = self.shows("p.pto - Hugin", "hugin")
        prefix = self.screen.press(hugin, "ctrl+i", lambda: self.screen.shown("Specify output prefix"))  # "Stitch", of the menu "Output"
        self.assertTrue(prefix, "no dialog came")
        before = self.images()
        self.assertTrue(self.screen.press(prefix[0], "Return", lambda: not self.screen.shown("Specify output prefix")), "its dialog stays")
        _, *other = self.shows(" - Stitching", "hugin_stitch_pr")
        self.assertTrue(wait_until(lambda: not self.screen.shown(" - Stitching"), 200), "it does not end")
        made = self.images() - before
        self.assertEqual(len(made), 1, made)
        made.pop().rename(self.pool.work / image)
        self.assertTrue(self.screen.press(hugin, "ctrl+q", lambda: not self.screen.shown("Hugin")), "its window stays")
        return one + other

    def new_in_guests(self):
        """{command: the guest where it ran}, of what has run since the last time and not at home."""
        jobs = [job for job in json.loads(self.pool.ssi("history", "--json").stdout)["jobs"] if job["id"] not in self.known]
        self.known |= {job["id"] for job in jobs}
        for job in jobs:
            if job["guest"] == "home":  # it asks which enblend it has
                self.assertIn("argument '--version' is in not_args", job["reason"])
        return {job["command"]: job["guest"] for job in jobs if job["guest"] != "home"}

    def images(self):
        return set(self.pool.work.glob("*.tif"))

    def test_the_window_stitches_in_guests(self):
        double_click = "gio", "open"  # the project, by the application's entry that counts
        self.assertEqual(self.stitch("at-home", *double_click), [False, False])
        self.assertEqual(self.new_in_guests(), {})
        done = self.pool.ssi("desktop", "install", "hugin", env={"HOME": str(self.user), "XDG_DATA_HOME": ""})
        self.assertEqual(done.returncode, 0, done)
        for name, words in (("by-entry", double_click), ("by-shell", (SSI, "shell", "hugin"))):
            with self.subTest(name):
                self.assertEqual(self.stitch(name, *words), [True, True])
                self.assertTrue(filecmp.cmp(self.pool.work / name, self.pool.work / "at-home", shallow=False), "another panorama")
                guests = self.new_in_guests()
                self.assertEqual(guests.keys(), {"nona", "enblend"})
                self.assertTrue(set(guests.values()) <= {"guest1", "guest2"}, guests)


if __name__ == "__main__":
    unittest.main()
