# SPDX-License-Identifier: LGPL-2.1-or-later
"""Two guests and home at one file system at the same time: what is atomic on a local disk is atomic between them."""
import collections
import subprocess
import sys
import time
import unittest

from pool import SSIRUN, Pool

# Each turn begins at the same time everywhere: the guests of a pool have home's clock.
PRELUDE = r"""
import ctypes, os, sys, time
who, begin, rounds = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
def turns():
    for turn in range(rounds):
        time.sleep(max(0, begin + turn * 0.04 - time.time()))
        yield turn
def wins(f, *args):
    try:
        f(*args)
        return True
    except FileExistsError:
        return False
"""

APPENDS = PRELUDE + r"""
fd = os.open('log', os.O_APPEND | (os.O_RDWR if who[-1] in '24' else os.O_WRONLY))
for turn in turns():
    line = b'%s %06d %s\n' % (who.encode(), turn, b'x' * (turn % 200))
    assert os.write(fd, line) == len(line)
"""

# One name for each turn, and one winner, who says so.
EXCLUSIVE = PRELUDE + r"""
print(*[turn for turn in turns() if wins(lambda: os.close(os.open(f'file-{turn}', os.O_CREAT | os.O_EXCL | os.O_WRONLY)))])
"""
DIRECTORIES = PRELUDE + r"""
print(*[turn for turn in turns() if wins(os.mkdir, f'dir-{turn}')])
"""
RENAMES = PRELUDE + r"""
libc = ctypes.CDLL(None, use_errno=True)
def rename(one, other):
    if libc.renameat2(-100, one.encode(), -100, other.encode(), 1):  # RENAME_NOREPLACE
        raise OSError(ctypes.get_errno(), one)
for turn in range(rounds):
    open(f'from-{who}-{turn}', 'x').write(who)
print(*[turn for turn in turns() if wins(rename, f'from-{who}-{turn}', f'to-{turn}')])
"""

# Replacing a file is atomic: whoever opens the name meets one whole file.
REPLACES = PRELUDE + r"""
for turn in turns():
    with open(f'new-{who}', 'w') as new:
        new.write(who * 1000)
    os.rename(f'new-{who}', 'current')
    text = open('current').read()
    assert len(text) == 1000 * len(who) and len(set(text[i:i + len(who)] for i in range(0, len(text), len(who)))) == 1, text[:20]
print(rounds)
"""

# The lock of programs that trust no lock: link(2). Nobody else makes `held` meanwhile.
LINKS = PRELUDE + r"""
open(f'mine-{who}', 'x').close()
for turn in turns():
    while not wins(os.link, f'mine-{who}', 'lock'):
        time.sleep(0.002)
    os.close(os.open('held', os.O_CREAT | os.O_EXCL))
    os.unlink('held')
    os.unlink('lock')
assert os.stat(f'mine-{who}').st_nlink == 1
print(rounds)
"""
pool = None


def setUpModule():
    global pool
    pool = Pool(2)
    pool.__enter__()


def tearDownModule():
    pool.__exit__(None)


class TwoSides(unittest.TestCase):
    def race(self, script, each, rounds):
        """`each` racers on either guest and at home; what they printed, by name."""
        self.work = pool.work / self._testMethodName
        self.work.mkdir()
        (self.work / "log").touch()
        (self.work / "racer.py").write_text(script)
        begin = str(time.time() + 2.5)
        running = {}
        for place, prefix in {"a": [SSIRUN, "--on", "guest1"], "b": [SSIRUN, "--on", "guest2"], "h": []}.items():
            for number in range(each):
                who = f"{place}{number}"
                running[who] = subprocess.Popen([*prefix, sys.executable, "racer.py", who, begin, str(rounds)], cwd=self.work, env=pool.env,
                                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        said = {}
        for who, process in running.items():
            out, errors = process.communicate(timeout=120)
            self.assertEqual((process.returncode, errors), (0, ""), who)
            said[who] = out.split()
        return said

    def one_winner_each(self, script):
        said = self.race(script, 5, 40)
        won = collections.Counter(turn for turns in said.values() for turn in turns)
        self.assertEqual(won, {str(turn): 1 for turn in range(40)})
        return said

    def test_appends(self):
        """None is lost and none is torn, whoever may read the file as well or not."""
        writers = self.race(APPENDS.replace("0.04", "0"), 2, 300)
        lines = (self.work / "log").read_text().splitlines()
        self.assertEqual(len(lines), 6 * 300)
        for who in writers:
            mine = [line.split(" ") for line in lines if line.startswith(who)]
            self.assertEqual(mine, [[who, f"{turn:06}", "x" * (turn % 200)] for turn in range(300)], who)

    def test_one_makes_the_file(self):
        self.one_winner_each(EXCLUSIVE)

    def test_one_makes_the_directory(self):
        self.one_winner_each(DIRECTORIES)

    def test_one_renames(self):
        for who, turns in self.one_winner_each(RENAMES).items():
            for turn in turns:
                self.assertEqual((self.work / f"to-{turn}").read_text(), who)

    def test_replaced_as_a_whole(self):
        self.race(REPLACES, 2, 30)

    def test_link_locks(self):
        self.race(LINKS.replace("0.04", "0"), 2, 50)
        self.assertFalse((self.work / "lock").exists())


if __name__ == "__main__":
    unittest.main()
