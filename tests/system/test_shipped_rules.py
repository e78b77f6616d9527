# SPDX-License-Identifier: LGPL-2.1-or-later
"""The rules that come with ssi, each once with the real program: under `ssi shell` it runs in a guest and makes what it makes at home,
and a command line that the rule keeps at home stays there. Only with SSI_TEST_FULL: the programs are 3 GB of packages."""
import contextlib
import json
import os
import pathlib
import platform
import shutil
import signal
import socket
import unittest

from pool import SSI, Pool, wait_until

TIMEOUT = 1800
FULL = os.environ.get("SSI_TEST_FULL")
PHOTOS = sorted(pathlib.Path("/usr/share/backgrounds").glob("*.jpg"))
CONVERT = "/usr/bin/convert"
TARGET = f"{platform.machine()}-linux-gnu"

SCENE = """import bpy
render = bpy.context.scene.render
render.engine = 'CYCLES'
render.resolution_x = render.resolution_y = 64
render.resolution_percentage = 100
render.image_settings.file_format = 'PNG'
bpy.context.scene.cycles.device = 'CPU'
bpy.context.scene.cycles.samples = 4
bpy.context.scene.cycles.use_denoising = False
"""
POV = "camera { location <0, 1, -3> look_at 0 } light_source { <2, 4, -3> rgb 1 } sphere { 0, 1 pigment { rgb x } finish { phong 1 } }\n"
PAPER = r"\documentclass{article}\begin{document}\tableofcontents\section{One}\label{a}See \ref{a}: $\int_0^1 x\,dx$\end{document}" + "\n"
SOURCE = "#include <stdio.h>\nint main(void) { puts(\"made\"); return 0; }\n"
MORE = "#include <iostream>\n#include <map>\nint main() { std::map<int, int> m{{1, 2}}; std::cout << m[1] << '\\n'; }\n"

# name: (what prepares, what goes, the commands that then ran in guests, lines that stay)
CASES = {
    "ffmpeg": ("", "ffmpeg -v error -nostdin -y -f lavfi -i testsrc2=s=320x240:d=1 -c:v libx264 -threads 1 -bitexact o.mkv",
               ["ffmpeg"], ["ffmpeg -version", "ffmpeg -v error -i o.mkv -f sdl2 -y x.mkv; :"]),
    "x264": ("ffmpeg -v error -f lavfi -i testsrc2=s=320x240:d=1 -pix_fmt yuv420p i.y4m", "x264 --quiet --threads 1 -o o.264 i.y4m", ["x264"], ["x264 --help"]),
    "flac": ("ffmpeg -v error -f lavfi -i sine=d=5 -bitexact i.wav", "flac -s -8 i.wav -o o.flac", ["flac"], ["flac --version"]),
    "imagemagick": ("", f"{CONVERT} photo.jpg -resize 400x -sharpen 0x1 o.jpg && /usr/bin/mogrify -format png o.jpg && "
                    "/usr/bin/montage o.jpg o.png m.png && /usr/bin/composite -blend 50 o.jpg m.png c.png",
                    ["convert", "mogrify", "montage", "composite"], [f"{CONVERT} -list format", f"{CONVERT} photo.jpg info:-"]),
    "darktable": ("", "darktable-cli photo.jpg o.jpg --width 400 --apply-custom-presets 0 --core --configdir $PWD/config --cachedir $PWD/cache",
                  ["darktable-cli"], ["darktable-cli --version", "darktable-cli photo.jpg x.jpg --width 100 --core --configdir $PWD/config"]),
    "rawtherapee": ("", "rawtherapee-cli -o o.png -n -Y -c photo.jpg", ["rawtherapee-cli"], ["rawtherapee-cli -v; :"]),
    "hugin": (f"{CONVERT} photo.jpg -resize 900x p.png; {CONVERT} p.png -crop 500x400+0+0 +repage a.tif; {CONVERT} p.png -crop 500x400+300+0 +repage b.tif; "
              "pto_gen -f 40 -o 0.pto a.tif b.tif",
              "cpfind -n 1 -o 1.pto 0.pto && autooptimiser -a -l -s -o 2.pto 1.pto && nona -m TIFF_m -o n 2.pto && enblend -o e.tif n0000.tif n0001.tif && "
              "enfuse -o f.tif n0000.tif n0001.tif && verdandi -o v.tif n0000.tif n0001.tif && align_image_stack -a s a.tif a.tif",
              ["cpfind", "autooptimiser", "nona", "enblend", "enfuse", "verdandi", "align_image_stack"], ["enblend --version", "nona --help; :"]),
    "blender": ("", "blender -b -noaudio --factory-startup --python scene.py -E CYCLES -o //o -f 1", ["blender"], ["blender --version", "blender -b -E help", "blender -b --factory-startup --python-exit-code 1"]),
    "povray": ("", "povray +Iscene.pov +Oo.png +W160 +H120 +A0.3 -D", ["povray"], ["povray --version"]),
    "gcc": ("", "gcc -O2 -c main.c && gcc -O2 main.o -o linked && g++-12 -O2 -MD -c more.cc && gcc -O2 main.c -o at-once && g++ -O1 more.cc -o more && "
            f"{TARGET}-gcc-12 -S main.c && cc -O1 -x c -c - -o stdin.o < main.c && ./linked && ./at-once && ./more",
            ["gcc", "g++-12", "cc1", "cc1plus", f"{TARGET}-gcc-12", "cc"],
            ["gcc --version", "gcc -E main.c", "gcc -march=native -S main.c -o /dev/null", "cp main.c conftest.c && gcc conftest.c -o conftest && rm conftest*"]),
    "clang": ("", "clang-14 -O2 -c main.c && clang++-14 -O2 -MMD -c more.cc && clang-14 main.o -o linked && ./linked", ["clang-14", "clang++-14"],
              ["clang-14 --version", "clang-14 -E main.c", "clang-14 -mtune=native -c main.c -o native.o && rm native.o"]),
    "xz": ("", "xz -9k big && tar -cf - --mtime=@0 big | xz -T1 -6 > big.tar.xz", ["xz", "xz"], ["xz -dc big.xz", "xz -t big.xz", "tar -tJf big.tar.xz"]),
    "zstd": ("", "zstd -q -19 big", ["zstd"], ["zstd -q -3 big -o x.zst", "zstd -q -dc big.zst"]),
    "7z": ("", "7z a -mmt=1 o.7z big && 7za a -mmt=1 a.zip big && 7zr u -mmt=1 r.7z big", ["7z", "7za", "7zr"], ["7z l o.7z", "7z t o.7z"]),
    "latex": ("", "pdflatex -interaction=batchmode paper.tex && pdflatex -interaction=batchmode paper && latex -interaction=batchmode -jobname=other paper",
              ["pdflatex", "pdflatex", "latex"], ["pdflatex --version"]),
}
PICTURES = (".jpg", ".png", ".tif")
UNLIKE = (".log",)  # TeX's has its start
DITHERED = ("e.tif", "f.tif")  # by enblend and enfuse, by chance
# As little as possible that differs by itself.
FIXED = {"SOURCE_DATE_EPOCH": "1000000000", "FORCE_SOURCE_DATE": "1", "OMP_NUM_THREADS": "1", "LC_ALL": "C.UTF-8", "TZ": "UTC"}

pool = None


def end_deputy_of(runtime):
    mark = f"XDG_RUNTIME_DIR={runtime}".encode()

    def deputies():
        found = []
        for entry in pathlib.Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and (entry / "comm").read_text() == "ssi-deputy\n" and mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
        return found
    for pid in deputies():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    assert wait_until(lambda: not deputies(), 5)


def setUpModule():
    global pool
    if not FULL:
        return
    pool = Pool(2).__enter__()
    pool.configure('[defaults]\npolicy = "remote"\n')  # or a machine that is idle may think itself faster
    pool.env.update(FIXED, HOME=str(pool.dir / "home"))
    pool.env.pop("DISPLAY", None)
    pool.env["PATH"] = "/usr/bin:/bin"  # no links to ccache
    (pool.dir / "home").mkdir()


def tearDownModule():
    if pool:
        pool.__exit__(None, None, None)


def content(file):
    """Of a picture what it shows: its file may say when it was made."""
    if file.suffix not in PICTURES:
        return file.read_bytes()
    shown = pool.run(CONVERT, file, "-depth", "8" if file.name in DITHERED else "16", "rgba:-")
    assert shown.returncode == 0 and shown.stdout, shown
    return shown.stdout


def made(folder, given):
    """The files that a command has made, by name."""
    files = {file.name: content(file) for file in folder.iterdir() if file.is_file() and file.name not in given and file.suffix not in UNLIKE}
    for file in folder.iterdir():
        if file.name not in given:
            shutil.rmtree(file) if file.is_dir() else file.unlink()
    return files


def jobs_since(known):
    listed = json.loads(pool.ssi("history", "--json", "--limit", "1000").stdout)["jobs"]
    return [job for job in reversed(listed) if job["id"] not in known]


def program(job):
    return pathlib.Path(job["command"].split()[0]).name


@unittest.skipUnless(FULL, "3 GB of programs: with tests/run --full")
class ShippedRules(unittest.TestCase):
    def under_shell(self, folder, line, env={}, count=1):
        """Its jobs, those in guests and those at home; `count` at least."""
        known = {job["id"] for job in jobs_since(())}
        done = pool.run(SSI, "shell", line, cwd=folder, env=env, timeout=600)
        self.assertEqual(done.returncode, 0, f"{line}: {done.stderr[-3000:]} {done.stdout[-1000:]}")
        wait_until(lambda: len(jobs_since(known)) >= count, 10)  # they are written down a moment later
        jobs = jobs_since(known)
        return [job for job in jobs if job["guest"] != "home"], [job for job in jobs if job["guest"] == "home"]

    def place(self, name, prepare=""):
        folder = pool.work / name
        folder.mkdir()
        shutil.copy(PHOTOS[0], folder / "photo.jpg")
        for file, text in {"scene.py": SCENE, "scene.pov": POV, "paper.tex": PAPER, "main.c": SOURCE, "more.cc": MORE,
                           "big": "".join(f"{n * n} and {n ** 3 % 977}\n" for n in range(60000))}.items():
            (folder / file).write_text(text)
        if prepare:
            done = pool.run("sh", "-c", prepare, cwd=folder)
            self.assertEqual(done.returncode, 0, done)
        return folder, {file.name for file in folder.iterdir()}

    def are_the_same(self, ours, theirs):
        self.assertEqual(ours.keys(), theirs.keys())
        for name, data in ours.items():
            self.assertEqual(len(data), len(theirs[name]), name)
            if name in DITHERED:
                self.assertLessEqual(max(abs(a - b) for a, b in zip(data, theirs[name])), 2, name)
            else:
                self.assertTrue(data == theirs[name], name)  # not assertEqual: it would print them

    def is_the_same(self, name):
        prepare, line, programs, stay = CASES[name]
        folder, given = self.place(name, prepare)
        here = pool.run("sh", "-c", line, cwd=folder, timeout=600)
        self.assertEqual(here.returncode, 0, here)
        at_home = made(folder, given)
        self.assertTrue(at_home)
        away, home = self.under_shell(folder, line, count=len(programs))
        self.assertEqual([program(job) for job in away], programs, [(job["command"], job["reason"]) for job in home])
        self.assertEqual({job["status"] for job in away}, {0})
        kept = {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}
        self.are_the_same(made(folder, given), at_home)
        for file, data in kept.items():
            (folder / file).write_bytes(data)
        for line in stay:
            away, home = self.under_shell(folder, line)
            self.assertEqual(away, [], line)
            self.assertNotEqual(home, [], line)

    def test_povray_with_a_display(self):
        """It would show a window; with -D it does not, and is not told of the display."""
        folder, _ = self.place("displayed")
        env = {"DISPLAY": ":77"}
        away, home = self.under_shell(folder, "povray +Iscene.pov +Oo.png +W32 +H24", env)
        self.assertEqual((away, [program(job) for job in home]), ([], ["povray"]))
        away, _ = self.under_shell(folder, "povray +Iscene.pov +Oo.png +W32 +H24 -D", env)
        self.assertEqual([program(job) for job in away], ["povray"])

    def test_blender_on_a_desktop(self):
        """It asks for a sound server, and rendering does not hang on that."""
        folder, _ = self.place("desktop")
        (folder / "pulse").mkdir()
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(folder / "pulse/native"))
            server.listen()  # nobody is ever answered
            self.addCleanup(end_deputy_of, folder)  # another runtime directory has another one
            # The shim tells ssirun where its own runtime directory is.
            line = f"export DISPLAY=:77 XDG_RUNTIME_DIR={folder}; exec blender -b --factory-startup --python scene.py -o //o -f 1"
            env = {"PULSE_SERVER": f"unix:{folder}/pulse/native"}
            away, home = self.under_shell(folder, f"{line} -E CYCLES", env)
            self.assertEqual(([(program(job), job["status"]) for job in away], home), ([("blender", 0)], []))
        self.assertTrue((folder / "o0001.png").exists())


for each in CASES:
    setattr(ShippedRules, f"test_{each}", lambda self, name=each: self.is_the_same(name))


if __name__ == "__main__":
    unittest.main()
