# SPDX-License-Identifier: LGPL-2.1-or-later
"""The works of the benchmark. Their texts' paths are below the lab's work folder; what they work on is made by materials.py."""
import dataclasses
import shlex
import subprocess

import materials


@dataclasses.dataclass
class Work:
    """`text` is a command, or with `shell` a shell's; the words of a column (ssirun ...) come where {on} stands."""
    name: str
    text: str
    shell: bool = False
    pipe: str = None  # the same for ssh, which has no files: {ssh} is ssh with its options, hosts are guest1, guest2 ...
    peers: tuple = ()
    needs: tuple = ()  # functions of materials.py
    before: str = None  # of a shell, before each run, untimed
    check: str = None  # of a shell, after the first run; must succeed, and print what it prints after home's own
    share: float = None  # of a processor, for home and each guest
    spread: bool = False  # over all guests
    with_home: bool = False  # which takes jobs too, as it does when nothing is said
    untimed: bool = True  # it runs once before it is measured; where that takes too long, what a peer must have begun with counts as well
    times: int = 1  # so many runs a round
    limit: float = None  # seconds, where the command line's are too few


def command(work, prefix, by_pipe):
    words = shlex.join(map(str, prefix))
    if by_pipe:
        return ["sh", "-c", work.pipe.replace("{ssh}", words)]
    text = work.text.replace("{on} ", words + " " if words else "")
    return ["sh", "-c", text] if work.shell else shlex.split(text)


def prepare(work, lab):
    """In the lab's work folder; what an earlier work of this lab needed too is there already."""
    for make in work.needs:
        if make not in lab.made:
            make(lab.work)
            lab.made.add(make)


def fetch(wanted):
    """What comes from the network, of which a lab has none."""
    if any(materials.units in work.needs for work in wanted):
        materials.fetch_sources()


FILES = ("ssh", "sshfs")
# The same bytes wherever it runs: one thread, and mbtree is not the same from run to run.
X264 = "-c:v libx264 -preset {preset} -threads 1 -x264-params mbtree=0 -map_metadata -1 -fflags +bitexact -flags:v +bitexact"
ENCODE = "ffmpeg -nostdin -v error -y -i {source} " + X264 + " -f matroska {target}"
RESIZE = "env OMP_NUM_THREADS=1 MAGICK_THREAD_LIMIT=1 {on} /usr/bin/convert {source} -resize 640x640 -unsharp 0x1 -quality 85 -strip {target}"
GXX = "g++ -std=c++17 -O2 -w -DLEVELDB_PLATFORM_POSIX=1 -Ileveldb -Ileveldb/include"
# Not all bytes: what was preprocessed at home (distcc) is compiled a little differently.
SYMBOLS = "nm -g --defined-only {objects} | sed 's/^[0-9a-f]* //'"
QUARTER = dict(share=0.25, spread=True, untimed=False, limit=300)


def encode(preset, source, target):
    return ENCODE.format(preset=preset, source=source, target=target)


WORKS = [
    Work("true", "{on} true", pipe="{ssh} guest1 true", peers=FILES, times=7),
    Work("ffmpeg -version", "{on} ffmpeg -version", pipe="{ssh} guest1 ffmpeg -version", peers=FILES, times=3),
    Work("x264 encode", "{on} " + encode("veryfast", "clip.mkv", "made.mkv"),
         pipe="{ssh} guest1 " + encode("veryfast", "pipe:0", "pipe:1") + " < clip.mkv > made.mkv", peers=FILES,
         needs=(materials.clip,), before="rm -f made.mkv", check="ffmpeg -v error -i made.mkv -f md5 -", share=0.5, limit=120),
    Work("40 photographs, 4 guests", "ls photos | xargs -P8 -I@ " + RESIZE.format(on="{on}", source="photos/@", target="small/@"), shell=True,
         pipe="ls photos | xargs -P8 -I@ sh -c 'n=@ && n=${n%.jpg} && {ssh} guest$((n % 4 + 1)) "
              + RESIZE.replace("{on} ", "").format(source="-", target="jpg:-") + " < photos/@ > small/@'",
         peers=("ssh",), needs=(materials.photos,), before="rm -rf small && mkdir small", check="md5sum small/*", **QUARTER),
    Work("gcc -c, one file", "{on} " + GXX + " -c leveldb/db/db_impl.cc -o made.o", peers=("sshfs", "distcc", "icecc"), needs=(materials.units,),
         before="rm -f made.o", check=SYMBOLS.format(objects="made.o")),
    Work("make -j8, 4 guests", "make -s -j8 -f units.mk CXX='{on} g++'", shell=True, peers=("distcc", "icecc"), needs=(materials.units,),
         before="rm -rf objects && mkdir objects", check=SYMBOLS.format(objects="objects/*.o"), with_home=True, **{**QUARTER, "share": 0.4}),
    Work("tar of 5000 files", "{on} tar cf made.tar tree", peers=("sshfs",), needs=(materials.tree,), before="rm -f made.tar",
         check="tar df made.tar && tar tf made.tar | sort | md5sum"),
    Work("grep -r, 5000 files", "{on} grep -rl needle tree", peers=("sshfs",), needs=(materials.tree,)),
    Work("find, 5000 files", "{on} find tree -type f -size +1000", peers=("sshfs",), needs=(materials.tree,)),
    Work("lstat of 10000 paths", "{on} perl lstat.pl paths", peers=("sshfs",), needs=(materials.tree, materials.paths)),
    Work("read 512 MiB", "{on} dd if=large of=/dev/null bs=1M", pipe="{ssh} guest1 dd of=/dev/null bs=1M < large", peers=FILES,
         needs=(materials.large,)),
    Work("write 512 MiB", "{on} dd if=/dev/zero of=written bs=1M count=512", pipe="{ssh} guest1 dd if=/dev/zero bs=1M count=512 > written",
         peers=FILES, before="rm -f written", check="md5sum written"),
    Work("create 1000 files", "{on} perl create.pl", peers=("sshfs",), needs=(materials.creator,), before="rm -rf made && mkdir made",
         check="cat made/* | wc -c && ls made | md5sum"),
    Work("untar of 5000 files", "{on} tar xf tree.tar -C made", peers=("sshfs",), needs=(materials.tree, materials.archive),
         before="rm -rf made && mkdir made", check="diff -r tree made/tree"),
    Work("git status, 5000 files", "{on} git -C repository status --porcelain", peers=("sshfs",), needs=(materials.tree, materials.repository)),
    Work("8 encodes, 4 guests", "seq 0 7 | xargs -P8 -I@ {on} " + encode("ultrafast", "short@.mkv", "made@.mkv"), shell=True,
         pipe="seq 0 7 | xargs -P8 -I@ sh -c '{ssh} guest$((@ % 4 + 1)) " + encode("ultrafast", "pipe:0", "pipe:1")
              + " < short@.mkv > made@.mkv'",
         peers=("ssh",), needs=(materials.short_clips,), before="rm -f made?.mkv",
         check="for n in 0 1 2 3 4 5 6 7; do ffmpeg -v error -i made$n.mkv -f md5 - || exit; done", **QUARTER),
]
