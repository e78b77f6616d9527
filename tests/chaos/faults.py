# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is done to a pool while it works: processes are killed or stopped, links are reset or cut. A seed makes it repeatable, as far as
machines go. Only processes and devices of the given pool are touched."""
import collections
import os
import pathlib
import random
import re
import signal
import subprocess
import threading
import time


def is_alive(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Faults(threading.Thread):
    """Until stop(): a fault, a pause of `every` seconds on the average, the next one. `count` says how many of each kind there were."""

    KINDS = {"reset": 6, "cut": 4, "freeze a guest": 4, "freeze the deputy": 3, "kill a guest's process": 4, "kill the scheduler": 2,
             "freeze the scheduler": 2, "kill the deputy": 0.7, "kill an ssirun": 1, "fill the disk": 0.7}

    def __init__(self, pool, guests, seed, every):
        super().__init__(daemon=True)
        self.pool, self.guests, self.every = pool, guests, every
        self.random, self.ended = random.Random(seed), threading.Event()
        self.count = collections.Counter()
        self.callers = {}  # ssiruns that run: Popen -> what to note when one is killed
        self.lock = threading.Lock()
        self.full = []  # from when to when the disk was
        self.scheduler = pool.record["scheduler"]["pid"]
        self.started = None  # a scheduler of ours: the pool knows nothing of it

    def run(self):
        while not self.ended.wait(self.random.expovariate(1 / self.every)):
            kind = self.random.choices(list(self.KINDS), list(self.KINDS.values()))[0]
            if getattr(self, kind.replace("'s", "").replace(" ", "_"))():
                self.count[kind] += 1

    def stop(self):
        self.ended.set()
        self.join()

    def guest(self):
        return self.random.randint(1, self.guests)

    def processes(self, guest):
        found = subprocess.run(["pgrep", "--ns", str(self.pool.guest_pid(guest)), "--nslist", "net", "ssi-agent"], capture_output=True, text=True)
        return [int(pid) for pid in found.stdout.split()]

    def home(self, name):
        for pid in self.pool.processes():
            try:
                if pathlib.Path(f"/proc/{pid}/comm").read_text().strip() == name:
                    return pid
            except OSError:
                pass
        return None

    def send(self, pids, number):
        sent = False
        for pid in pids:
            try:
                os.kill(pid, number)
                sent = True
            except ProcessLookupError:
                pass
        return sent

    def stand_still(self, pids):
        stopped = self.send(pids, signal.SIGSTOP)
        self.ended.wait(self.random.uniform(0.1, 3))
        self.send(pids, signal.SIGCONT)
        return stopped

    def reset(self):
        text = (self.pool.dir / f"state/ssi/pool/guest{self.guest()}.log").read_text()
        address = re.findall(r"takes sessions on ([\d.]+):(\d+)", text)[-1]
        done = subprocess.run(["ss", "-K", "-Htn", "dst", address[0], "dport", "=", address[1]], capture_output=True, text=True)
        return bool(done.stdout.strip())

    def cut(self):
        device = f"{self.pool.record['bridge']}-g{self.guest()}"
        subprocess.run(["ip", "link", "set", device, "down"], check=True)
        self.ended.wait(self.random.uniform(0.1, 4))
        subprocess.run(["ip", "link", "set", device, "up"], check=True)
        return True

    def freeze_a_guest(self):
        return self.stand_still(self.processes(self.guest()))

    def freeze_the_deputy(self):
        pid = self.home("ssi-deputy")
        return pid is not None and self.stand_still([pid])

    def freeze_the_scheduler(self):
        return self.stand_still([self.scheduler])

    def kill_a_guest_process(self):
        """Not its first one, the parent, whose end is the guest's: any other one of the agent's."""
        guest = self.guest()
        others = [pid for pid in self.processes(guest) if pid != self.pool.guest_pid(guest)]
        return bool(others) and self.send([self.random.choice(others)], signal.SIGKILL)

    def kill_the_scheduler(self):
        words = pathlib.Path(f"/proc/{self.scheduler}/cmdline").read_bytes().split(b"\0")[:-1]
        self.end_scheduler()
        self.ended.wait(self.random.uniform(0, 1))
        with open(self.pool.dir / "state/ssi/pool/scheduler.log", "a") as log:
            self.started = subprocess.Popen(words, env=self.pool.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.scheduler = self.started.pid
        return True

    def end_scheduler(self):
        self.send([self.scheduler], signal.SIGKILL)
        if self.started:
            self.started.wait()
        while is_alive(self.scheduler):
            time.sleep(0.02)

    def kill_the_deputy(self):
        pid = self.home("ssi-deputy")
        return pid is not None and self.send([pid], signal.SIGKILL)

    def fill_the_disk(self):
        began, filler = time.monotonic(), self.pool.work / "filler"
        self.full.append((began, float("inf")))
        try:
            with open(filler, "wb", buffering=0) as file:
                while True:
                    file.write(bytes(1 << 20))
        except OSError:
            self.ended.wait(self.random.uniform(0.05, 1))
        filler.unlink()
        self.full[-1] = (began, time.monotonic())
        return True

    def was_full(self, began):
        return any(end > began for _, end in self.full)

    def kill_an_ssirun(self):
        with self.lock:
            running = [caller for caller in self.callers if caller.poll() is None]
            if not running:
                return False
            caller = self.random.choice(running)
            self.callers[caller]()
            caller.kill()
            return True
