# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the works work on: each function makes one thing in a folder. The same in each run, so that runs can be compared."""
import pathlib
import random
import shutil
import subprocess

from lab import CACHE

FILES = 5000
PACKAGES = ("leveldb", "re2")


class Missing(Exception):
    """It cannot be had here."""


def run(*command, **options):
    subprocess.run([str(word) for word in command], check=True, stdin=subprocess.DEVNULL, **options)


def test_clip(path, size, seconds):
    run("ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", f"testsrc2=s={size}:r=25:d={seconds}", "-c:v", "libx264", "-qp", "12",
        "-preset", "ultrafast", path)


def clip(work):
    test_clip(work / "clip.mkv", "1280x720", 6)


def short_clips(work):
    test_clip(work / "short0.mkv", "640x360", 8)
    for number in range(1, 8):  # files of their own: each is read anew
        shutil.copy(work / "short0.mkv", work / f"short{number}.mkv")


def photos(work):
    """40 of 1600 x 1200, from those of lomiri-wallpapers-16.04 or another package with photographs."""
    sources = sorted(pathlib.Path("/usr/share/backgrounds").glob("*.jpg"))
    if not sources:
        raise Missing("no photographs in /usr/share/backgrounds: install lomiri-wallpapers-16.04")
    (work / "photos").mkdir()
    for number in range(40):
        target = work / "photos" / f"{number}.jpg"
        if number < len(sources):
            run("/usr/bin/convert", sources[number], "-resize", "1600x1200^", "-gravity", "center", "-extent", "1600x1200", "-quality", "90", target)
        else:
            shutil.copy(work / "photos" / f"{number % len(sources)}.jpg", target)


def tree(work):
    """5000 files of 1 to 6 KiB of words in 50 folders, 17 MB."""
    numbers = random.Random(1)
    words = [f"{number:x}" for number in range(1000)]
    for number in range(FILES):
        folder = work / f"tree/{number // 100}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number % 100}.txt").write_text(" ".join(numbers.choices(words, k=numbers.randint(300, 1600))) + "\n")
    with (work / "tree/31/41.txt").open("a") as file:
        file.write("needle\n")


def paths(work):
    """10 000 to ask for: each file of the tree, and beside it one that is not there, as compilers do."""
    names = [str(path.relative_to(work)) for path in sorted((work / "tree").rglob("*.txt"))]
    (work / "paths").write_text("".join(f"{name}\n{name}.missing\n" for name in names))
    (work / "lstat.pl").write_text("my $found = 0; while (<>) { chomp; $found++ if lstat } exit($found == 5000 ? 0 : 1);\n")


def creator(work):
    (work / "create.pl").write_text('for (1 .. 1000) { open F, ">", "made/$_" or die "made/$_: $!"; print F "x" x 100; close F or die $! }\n')


def archive(work):
    run("tar", "cf", "tree.tar", "tree", cwd=work)


def repository(work):
    run("cp", "-r", "tree", "repository", cwd=work)
    for words in (["init", "-q"], ["add", "."], ["-c", "user.name=bench", "-c", "user.email=bench@localhost", "commit", "-qm", "all"], ["status"]):
        run("git", "-C", "repository", *words, cwd=work, stdout=subprocess.DEVNULL)


def large(work):
    run("dd", "if=/dev/urandom", f"of={work}/large", "bs=1M", "count=512", stderr=subprocess.DEVNULL)


def fetch_sources():
    """Debian's leveldb and re2, by a sources list of our own: a machine need not have deb-src in its own."""
    if all(list(CACHE.glob(f"{name}_*.orig.tar.*")) for name in PACKAGES):
        return
    apt = CACHE / "apt"
    (apt / "lists/partial").mkdir(parents=True, exist_ok=True)
    codename = next(line.partition("=")[2] for line in pathlib.Path("/etc/os-release").read_text().splitlines()
                    if line.startswith("VERSION_CODENAME="))
    (apt / "sources.list").write_text("deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] "
                                      f"http://deb.debian.org/debian {codename} main\n")
    command = ["apt-get", "-qq", "-o", f"Dir::Etc::sourcelist={apt}/sources.list", "-o", "Dir::Etc::sourceparts=-",
               "-o", f"Dir::State::lists={apt}/lists"]
    for words in (["update"], ["--download-only", "source", *PACKAGES]):
        done = subprocess.run(command + words, cwd=CACHE, capture_output=True, timeout=300, text=True)
        if done.returncode:
            print(f"Debian's sources of {' and '.join(PACKAGES)} cannot be had, and what compiles them is left out: {done.stderr.strip()[-300:]}",
                  flush=True)
            return


def units(work):
    """units.mk makes 60 to 70 C++ units of leveldb and re2 into objects/."""
    for name in PACKAGES:
        found = list(CACHE.glob(f"{name}_*.orig.tar.*"))
        if not found:
            raise Missing(f"Debian's source of {name}: apt-get source {name} into {CACHE} failed")
        (work / name).mkdir()
        run("tar", "xf", found[0], "-C", work / name, "--strip-components=1")
    sources = [path for pattern in ("leveldb/db/*.cc", "leveldb/table/*.cc", "leveldb/util/*.cc", "leveldb/helpers/memenv/*.cc",
                                                      "re2/re2/*.cc", "re2/util/*.cc", "re2/re2/testing/*.cc")
               for path in sorted(work.glob(pattern))]
    unwanted = ("_test.cc", "testutil.cc", "env_windows.cc", "leveldbutil.cc", "pcre.cc", "fuzz.cc", "test.cc", "benchmark.cc")
    chosen = [path.relative_to(work) for path in sources if not path.name.endswith(unwanted)]
    lines = ["FLAGS = -std=c++17 -w", "leveldb = -DLEVELDB_PLATFORM_POSIX=1 -Ileveldb -Ileveldb/include", "re2 = -Ire2", "all:"]
    for path in chosen:
        target = "objects/" + str(path).replace("/", "-").removesuffix(".cc") + ".o"
        lines += [f"all: {target}", f"{target}:", f"\t$(CXX) $(FLAGS) $({path.parts[0]}) -c {path} -o $@"]
    (work / "units.mk").write_text("\n".join(lines) + "\n")
