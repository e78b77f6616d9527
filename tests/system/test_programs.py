# SPDX-License-Identifier: LGPL-2.1-or-later
"""Programs that people use, each by a script that runs at home and in a job: status, output and all files must be the same.
And SQLite's writers on different machines, on one database. What takes long is for SSI_TEST_FULL."""
import hashlib
import os
import re
import shutil
import stat
import subprocess
import unittest

from pool import Pool, SSIRUN

TIMEOUT = 1200
pool = None
FULL = os.environ.get("SSI_TEST_FULL")
# So that commits, archives and packages are the same whenever they are made. No configuration but the script's own.
FIXED = {"LC_ALL": "C.UTF-8", "TZ": "UTC", "SOURCE_DATE_EPOCH": "1000000000", "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null",
         **{f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER")
            for what, value in (("NAME", "A. User"), ("EMAIL", "user@example.org"), ("DATE", "2001-02-03T04:05:06Z"))}}

# Some of everything that a tree can hold; `touch` last, since a directory's time moves with its names.
TREE = r"""
mkdir -p tree/deep/er tree/empty 'tree/two words'
for i in 1 2 3 4 5 6 7 8; do seq $i 300 > tree/deep/$i; done
printf 'x' > tree/deep/er/$(printf 'n%.0s' $(seq 200)); printf 'latin' > tree/$(printf 'caf\351')
ln tree/deep/1 tree/hard; ln -s deep/2 tree/soft; ln -s nowhere tree/dangling; mkfifo tree/fifo
truncate -s 3M tree/sparse; printf middle | dd of=tree/sparse bs=1 seek=1500000 conv=notrunc status=none
printf '#!/bin/sh\n' > tree/program; chmod 755 tree/program; chmod 4711 tree/deep/3; chmod 1777 tree/empty; chmod 600 tree/deep/4
/usr/bin/python3 -c 'import os; os.setxattr("tree/deep/5", "user.colour", b"blue"); os.setxattr("tree/deep", "user.kind", b"x" * 200)'
find tree -exec touch -h -d '2001-02-03 04:05:06.123456789' {} +
"""
SHOW = "find {} -mindepth 1 -printf '%P %y %m %n %T@ %l\\n' | sort"

SOURCES = r"""
mkdir src
for i in 1 2 3 4 5 6; do
  printf '#include "all.h"\nint f%d(int x) { return x * %d; }\n' $i $i > src/f$i.c; printf 'int f%d(int x);\n' $i >> src/all.h
done
printf '#include <stdio.h>\n#include "all.h"\nint main(void) { printf("%%d\\n", f1(1) + f2(1) + f3(1) + f4(1) + f5(1) + f6(1)); return 0; }\n' > src/main.c
"""

# name: (script, files whose contents hold times or inode numbers)
SCRIPTS = {
    "git": (r"""
git init -q -b main origin && cd origin && git config pack.threads 1
mkdir -p src/deep; for i in $(seq 30); do seq $i 150 > src/f$i; done; ln -s f1 src/link; cp /bin/true src/deep/program
git add . && git commit -qm one
git clone -q . ../clone && cd ../clone && git config pack.threads 1
git checkout -qb side && sed -i s/^7$/seven/ src/f1 && git mv src/f2 src/deep/moved && git commit -qam side
git checkout -q main && sed -i s/^90$/ninety/ src/f1 && git rm -q src/f3 && git commit -qam main
git merge -q --no-edit side && git branch -q again HEAD~1
git checkout -q again && echo 1 > src/f5 && git commit -qam conflict && git checkout -q main && echo 2 > src/f5 && git commit -qam other
git merge again || git merge --abort
git worktree add -q ../tree side && (cd ../tree && echo more > new && git add new && git commit -qm worktree)
echo dirty >> src/f4 && git stash -q && git status --porcelain && git stash list && git stash pop -q && git status --porcelain
git commit -qam dirty && git rebase -q side && git tag -a -m tagged v1
git push -q origin main:pushed side
git gc -q --prune=now && git fsck --full --strict && git worktree list && git count-objects -v
git log --graph --oneline --all && git diff --stat HEAD~3 && git -C ../origin log --oneline pushed && git status
""", r"\.git/(.*/)?(index|ORIG_HEAD)$"),
    "sqlite": (r"""
for mode in delete truncate persist wal; do
  sqlite3 $mode.db "PRAGMA journal_mode=$mode" 'CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT)' 'BEGIN' \
    'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<5000) INSERT INTO t SELECT i, hex(i*7919) FROM n' 'COMMIT'
  sqlite3 $mode.db 'CREATE INDEX tb ON t(b)' 'DELETE FROM t WHERE a%3=0' 'BEGIN' 'UPDATE t SET b=1' 'ROLLBACK' 'VACUUM' 'PRAGMA integrity_check'
  sqlite3 $mode.db .dump | sha256sum
done
""", r"\.db$"),
    "make": (SOURCES + r"""
printf 'all: program\nprogram: main.o libf.a\n\tcc -o $@ $^\nlibf.a: f1.o f2.o f3.o f4.o f5.o f6.o\n\tar rcsD $@ $^\n%%.o: ../src/%%.c ../src/all.h\n\tcc -O1 -c -o $@ $<\n' > Makefile
mkdir build && cd build && make -s -f ../Makefile -j3 && ./program
make -f ../Makefile; touch ../src/f3.c; make -f ../Makefile -n; make -s -f ../Makefile; make -q -f ../Makefile
""", ""),
    "cmake": (SOURCES + r"""
printf 'cmake_minimum_required(VERSION 3.20)\nproject(p C)\nadd_library(f STATIC src/f1.c src/f2.c src/f3.c src/f4.c src/f5.c src/f6.c)\nadd_executable(program src/main.c)\ntarget_link_libraries(program f)\ninstall(TARGETS program DESTINATION bin)\n' > CMakeLists.txt
cmake -G Ninja -S . -B build -DCMAKE_INSTALL_PREFIX=$PWD/out > log && cmake --build build > log && build/program
ninja -C build; cmake --install build | sort; ninja -C build -t missingdeps; out/bin/program
""", r"log|\.ninja_(log|deps)|CMake(Configure|Output|Error).*|.*\.(yaml|bin)$"),
    "tar": (TREE + r"""
tar -cpSf all.tar --xattrs --pax-option=delete=atime,delete=ctime --sort=name tree && mkdir out && tar -xpf all.tar --xattrs -C out && tar -df all.tar -C out
tar -czf all.tgz --sort=name tree && tar -tvzf all.tgz | sha256sum
mkdir again && tar -C tree -c --sort=name . | tar -C again -xp
""" + SHOW.format("out") + "\n" + SHOW.format("again"), r"all\.tar$"),  # holds the pid of tar
    "rsync": (TREE + r"""
rsync -aHXSi tree/ out/ | sort && rsync -aHXSi tree/ out/ && echo changed > tree/deep/6 && rm tree/deep/7 && rsync -aHXi --delete tree/ out/ | sort
touch -r tree/deep/5 tree/deep/6 && rsync -aHXic --dry-run tree/ out/ | sort
touch -r tree/deep/5 out/deep out/deep/6
""" + SHOW.format("out"), ""),
    "coreutils": (TREE + r"""
cp -a tree copy && cp -al tree linked && cp -a --sparse=always tree sparse && mv copy/deep moved && cp --reflink=auto tree/deep/8 one && install -m 750 one two
find tree -xdev -type f -size +0 | sort; find . -samefile tree/hard | sort; du -a --apparent-size tree/deep | sort; du -a tree/sparse; diff -r tree linked && echo same
seq 5000 | shuf --random-source=/bin/true > n && sort -n n -o n && split -l 1000 n part && cat part* | cmp n && sed -i s/5/five/ n && head -c 10 n && truncate -s 5 n && wc n
ls -lRA --time-style=full-iso linked | grep -v ^total | sed 's/20[2-9][0-9]-.* /NOW /'; rm -r linked && stat -c '%h %s' tree/hard
(umask 027; mkdir -p m/n; touch m/f); mktemp -p . -u XXXX > /dev/null; chmod -R g-w,o+X m; chown -hR 12:34 m; stat -c '%A %u %g' m m/n m/f
""" + SHOW.format("sparse"), ""),
    "dpkg-deb": (r"""
mkdir -p p/DEBIAN p/usr/bin p/usr/share/doc/p && printf 'Package: p\nVersion: 1\nArchitecture: all\nMaintainer: A <a@example.org>\nDescription: p\n' > p/DEBIAN/control
seq 2000 > p/usr/share/doc/p/long && ln -s long p/usr/share/doc/p/short && cp /bin/true p/usr/bin/p && chmod -R u=rwX,go=rX p
dpkg-deb --root-owner-group -b p p.deb && dpkg-deb -c p.deb | sort && dpkg-deb -I p.deb && dpkg-deb -x p.deb out && dpkg-deb -e p.deb control
""" + SHOW.format("out").replace(" %T@", ""), ""),
    "venv": (r"""
/usr/bin/python3 -m venv --without-pip env && . env/bin/activate && python -c 'import sys, sqlite3; print(sys.prefix)'
mkdir package && echo 'value = 42' > package/__init__.py && python -c 'import package; print(package.value)' && python -c 'import package; print(package.__cached__)'
python -m compileall -q package && python -m zipfile -c z.zip package/__init__.py && python -m unittest -h > /dev/null
""", r".*\.(pyc|zip)$"),
}
LONG = {
    "pip": (r"""
/usr/bin/python3 -m venv env && mkdir pkg && printf '[project]\nname="pkg"\nversion="1"\n' > pkg/pyproject.toml && env/bin/pip --version && env/bin/pip list
""", r".*\.(pyc|exe)$|.*RECORD$"),
    "npm": (r"""
export HOME=$PWD npm_config_cache=$PWD/cache npm_config_update_notifier=false
mkdir -p pkg app && printf '{"name":"pkg","version":"1.0.0","main":"i.js","bin":{"pkg":"i.js"}}' > pkg/package.json
printf '#!/usr/bin/env node\nmodule.exports = 42; console.log("here")\n' > pkg/i.js && (cd pkg && npm pack --silent)
cd app && printf '{"name":"app","version":"1.0.0","scripts":{"go":"pkg"}}' > package.json
npm install --offline --no-audit --no-fund ../pkg/pkg-1.0.0.tgz | grep -v added && npm run --silent go && node -e 'console.log(require("pkg"))' && npm ls
rm -r node_modules && npm ci --offline --no-audit --no-fund | grep -v added; npm ls
rm -r ../cache
""", ""),
}


def content(path, mode, root, is_kept):
    if stat.S_ISLNK(mode):
        return os.readlink(path).replace(str(root).encode(), b"ROOT")
    if not stat.S_ISREG(mode) or not is_kept:
        return ""
    return hashlib.sha256(path_bytes(path).replace(str(root).encode(), b"ROOT")).hexdigest()


def path_bytes(path):
    with open(path, "rb") as file:
        return file.read()


def tree(root, loose):
    """{path: what it is}. `loose`: a regular expression of files whose contents are not looked at."""
    found, top = {}, os.fsencode(root)
    for folder, folders, files in os.walk(top):
        for name in folders + files:
            path = os.path.join(folder, name)
            seen, relative = os.lstat(path), os.path.relpath(path, top)
            kept = not (loose and re.search(loose, os.fsdecode(relative)))
            size = seen.st_size if kept and stat.S_ISREG(seen.st_mode) else "-"
            found[relative] = (oct(seen.st_mode), seen.st_nlink, size, content(path, seen.st_mode, root, kept))
    return found


def setUpModule():
    global pool
    pool = Pool(2)
    pool.__enter__()
    for guest in ("guest1", "guest2"):
        assert pool.ssirun("--on", guest, "true").returncode == 0


def tearDownModule():
    pool.__exit__(None)


class Programs(unittest.TestCase):
    maxDiff = 4000

    def play(self, side, prefix, name, script, loose):
        root = pool.work / side / name  # "home" and "jobs" are of one length, and so are the paths in files
        root.mkdir(parents=True)
        done = pool.run(*prefix, "/bin/bash", "-c", script, cwd=root, env=FIXED, timeout=500)
        said = [stream.replace(os.fsencode(root), b"ROOT").decode(errors="replace") for stream in (done.stdout, done.stderr)]
        return (done.returncode, *said), tree(root, loose), root

    def check(self, name, script, loose):
        home, home_tree, home_root = self.play("home", [], name, script, loose)
        self.assertEqual(home[0], 0, home)
        job, job_tree, job_root = self.play("jobs", [SSIRUN, "--remote"], name, script, loose)
        self.assertEqual(job, home)
        self.assertEqual(job_tree, home_tree)
        shutil.rmtree(home_root)
        shutil.rmtree(job_root)


def add(name, script, loose):
    def test(self):
        self.check(name, "set -eo pipefail\n" + script, loose)

    setattr(Programs, f"test_{name.replace('-', '_')}", test)


for each, (text, unlike) in {**SCRIPTS, **(LONG if FULL else {})}.items():
    add(each, text, unlike)


# A writer: $1 transactions, each of which must see what all those before it wrote.
WRITER = r"""
for i in $(seq $1); do
  echo 'BEGIN IMMEDIATE; UPDATE total SET sum = sum + 1; INSERT INTO entry SELECT sum, '$2' FROM total; COMMIT;'
done | sqlite3 -bail -cmd '.timeout 60000' shared.db
"""
EACH = 40


class SqliteWriters(unittest.TestCase):
    """Four at once on one database: two in a guest, one in another, one at home."""

    def sqlite(self, *statements):
        done = pool.run("sqlite3", "shared.db", *statements)
        self.assertEqual(done.returncode, 0, done)
        return done.stdout.decode().split()

    def write(self, mode, places):
        """[(status, stderr) of the writer at each place]"""
        for left in pool.work.glob("shared.db*"):
            left.unlink()
        self.sqlite(f"PRAGMA journal_mode={mode}", "CREATE TABLE total(sum)", "INSERT INTO total VALUES(0)", "CREATE TABLE entry(number UNIQUE, writer)")
        writers = [subprocess.Popen([*([] if place == "home" else [SSIRUN, "--on", place]), "sh", "-c", WRITER, "sh", str(EACH), str(number)],
                                    cwd=pool.work, env=pool.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
                   for number, place in enumerate(places)]
        said = [writer.communicate(timeout=200) for writer in writers]
        return [(writer.returncode, stderr.decode()) for writer, (_, stderr) in zip(writers, said)]

    def all_is_there(self, written):
        self.assertEqual(self.sqlite("PRAGMA integrity_check", "SELECT sum FROM total", "SELECT count(*), max(number) FROM entry"),
                         ["ok", str(written), f"{written}|{written}"])

    def test_with_a_rollback_journal(self):
        places = ["guest1", "guest1", "guest2", "home"]
        self.assertEqual(self.write("delete", places), [(0, "")] * 4)
        self.all_is_there(4 * EACH)

    def test_with_a_write_ahead_log_in_one_guest(self):
        self.assertEqual(self.write("wal", ["guest1"] * 4), [(0, "")] * 4)
        self.all_is_there(4 * EACH)

    def test_with_a_write_ahead_log(self):
        """Its index is shared memory, so one machine has it at a time. Who gives up waiting says so, and has written nothing by halves."""
        said = self.write("wal", ["guest1", "guest1", "guest2", "home"])
        for status, stderr in said:
            self.assertRegex(stderr, "^$" if status == 0 else "locking protocol|database is locked")
        self.assertIn(0, [status for status, _ in said])
        entries = int(self.sqlite("SELECT count(*) FROM entry")[0])
        self.assertGreaterEqual(entries, sum(EACH for status, _ in said if status == 0))
        self.all_is_there(entries)


if __name__ == "__main__":
    unittest.main()
