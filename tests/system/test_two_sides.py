# SPDX-License-Identifier: LGPL-2.1-or-later
"""Two guests and home at one file system at the same time: what is atomic on a local disk is atomic between them."""
import collections
import shutil
import subprocess
import sys
import time
import unittest

from pool import SSIRUN, Pool

BESIDE = 45

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

# One end of a chain of commands: does what a line of its input says, and prints what came of it.
HAND = r"""
import errno, os, subprocess, sys
open_files, running = {}, {}
def write(name, text, flags=0):
    fd = os.open(name, os.O_WRONLY | flags, 0o755)
    os.write(fd, text)
    os.close(fd)
def program(name, size):
    write(name, open('/bin/true', 'rb').read() + b'x' * size, os.O_CREAT | os.O_TRUNC)
def hold(name):
    open_files[name] = os.open(name, os.O_WRONLY)
def let_go(name):
    os.close(open_files.pop(name))
def run(*argv):
    subprocess.run(argv, check=True)
def start(*argv):
    running[argv[0]] = subprocess.Popen(argv)
def end(name):
    running[name].kill()
    running.pop(name).wait()
for line in sys.stdin:
    try:
        exec(line)
        print('done', flush=True)
    except OSError as error:
        print(errno.errorcode[error.errno], flush=True)
"""
PLACES = {"guest1": [SSIRUN, "--on", "guest1"], "guest2": [SSIRUN, "--on", "guest2"], "home": []}
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


class Busy(unittest.TestCase):
    """No file is run here while it is written there (ETXTBSY), and a close or an end counts at once."""

    def setUp(self):
        self.work = pool.work / self._testMethodName
        self.work.mkdir()
        shutil.copy("/bin/sleep", self.work / "program")
        self.hands = {}
        for place, prefix in PLACES.items():
            hand = subprocess.Popen([*prefix, sys.executable, "-c", HAND], cwd=self.work, env=pool.env, text=True, bufsize=1,
                                    stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            self.addCleanup(self.dismiss, hand)
            self.hands[place] = hand

    def dismiss(self, hand):
        hand.stdin.close()
        self.assertEqual(hand.wait(30), 0)
        hand.stdout.close()

    def do(self, place, what):
        print(what, file=self.hands[place].stdin)
        return self.hands[place].stdout.readline().strip()

    def all_do(self, *steps):
        for place, what in steps:
            self.assertEqual(self.do(place, what), "done", (place, what))

    def test_what_another_guest_runs_is_not_written(self):
        self.all_do(("guest1", "start('./program', '60')"))
        for _ in range(2):
            for what in ["hold('program')", "os.truncate('program', 0)", "program('program', 0)",
                         "os.open('program', os.O_RDONLY | os.O_TRUNC)"]:
                self.assertEqual(self.do("guest2", what), "ETXTBSY", what)
            self.all_do(("guest2", "run('./program', '0')"))  # the same program, which another still runs when it has ended
        self.all_do(("guest1", "end('./program')"), ("guest2", "hold('program')"))

    def test_what_is_written_elsewhere_is_not_run(self):
        for writer in "guest1", "home":
            with self.subTest(writer=writer):
                self.all_do((writer, "hold('program')"))
                self.assertEqual(self.do("guest2", "run('./program', '0')"), "ETXTBSY")
                self.all_do((writer, "let_go('program')"), ("guest2", "run('./program', '0')"))

    def test_what_home_opened_for_a_job_before_it_started(self):
        """A later job of a program asks nothing of home at execve(2), which knows all the same that it runs, and what it may not run."""
        shell = self.work / "shell"
        shutil.copy("/bin/sh", shell)
        time.sleep(2.1)  # younger, its content is asked for again
        command = [SSIRUN, "-v", "--on", "guest1", str(shell), "-c", "echo up; read word; exit 7"]
        for turn in range(3):
            job = subprocess.Popen(command, cwd=self.work, env=pool.env, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            self.assertEqual(job.stdout.readline(), "up\n")
            self.assertEqual(self.do("guest2", "hold('shell')"), "ETXTBSY")
            _, errors = job.communicate("go\n", timeout=30)
            self.assertEqual(job.returncode, 7, errors)
        self.assertIn("files: 0 round trips", errors)
        for writer in "guest2", "home":
            self.all_do((writer, "hold('shell')"))
            refused = subprocess.run(command, cwd=self.work, env=pool.env, capture_output=True, text=True, timeout=30)
            self.assertIn("Text file busy", refused.stderr)
            self.all_do((writer, "let_go('shell')"))

    def test_what_has_been_written_can_be_run_at_once(self):
        for writer, runner in [("guest1", "guest1"), ("guest1", "guest2"), ("home", "guest2"), ("guest2", "home")]:
            with self.subTest(writer=writer, runner=runner):
                for turn in range(300):  # the runner has ended when it is written again
                    self.all_do((writer, f"program('made', {turn})"), (runner, "run('./made')"))

    def test_the_commands_of_a_script(self):
        """Each behind the one before, and nothing else between them."""
        script = " && ".join(["ssirun --on guest1 cp /bin/true made", "ssirun --on guest2 ./made", "ssirun --on guest2 cp /bin/true made",
                              "ssirun --on guest1 ./made", "cat /bin/true > made", "ssirun --on guest2 ./made",
                              "ssirun --on guest1 cat /bin/true > made", "ssirun --on guest2 ./made", "./made"])
        done = subprocess.run(["sh", "-c", f"for turn in $(seq 15); do {script} || exit; done"], cwd=self.work, env=pool.env,
                              capture_output=True, text=True, timeout=200)
        self.assertEqual((done.returncode, done.stderr), (0, ""))


if __name__ == "__main__":
    unittest.main()
