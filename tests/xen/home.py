# SPDX-License-Identifier: LGPL-2.1-or-later
"""The workstation's side: a scheduler and a deputy on loopback, which guests reach by addresses of QEMU's network."""
import json
import os
import subprocess

from machine import free_port
from pool import BUILD, Home, SSI, wait_until

SCHEDULER = "10.0.2.100:7700"  # as guests see it
DEPUTY = "10.0.2.101"


class XenHome(Home):
    def __init__(self):
        super().__init__()
        self.port, self.deputy_port, self.scheduler = free_port(), free_port(), None
        self.reached_at = f"{DEPUTY}:{self.deputy_port}"
        self.admit = self.dir / "admit"
        self.log = self.dir / "scheduler.log"

    def run_scheduler(self):
        # `ssi key show` makes a key where there is none: the scheduler's own, in a state directory of its own.
        state = self.dir / "scheduler"
        state.mkdir(mode=0o700)
        self.key = self.ssi("key", "show", env={"XDG_STATE_HOME": str(state)}).stdout.decode().strip()
        self.admit.mkdir(mode=0o700)
        (self.admit / "root.pub").write_text(f"admin {self.ssi('key', 'show').stdout.decode().strip()}\n")
        (self.dir / "config/ssi").mkdir(mode=0o700)
        self.configure()
        with open(self.log, "w") as log:
            self.scheduler = subprocess.Popen(
                [str(BUILD / "scheduler/ssi-scheduler"), "--listen", f"127.0.0.1:{self.port}", "--key", str(state / "ssi/keys/deputy.key"),
                 "--admit", str(self.admit)], env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        assert wait_until(lambda: self.ssi("status").returncode == 0, 20), f"no scheduler: {self.scheduler_log()}"

    def configure(self):
        (self.dir / "config/ssi/config.toml").write_text(
            f'scheduler = "127.0.0.1:{self.port}"\nscheduler_key = "{self.key}"\n'
            f'[home]\nlisten = "127.0.0.1:{self.deputy_port}"\naddress = "{self.reached_at}"\n'
            '[[app]]\nmatch = ["gcc", "uname"]\npolicy = "remote"\n')
        done = self.ssi("allow", "compile")
        assert done.returncode == 0, done

    def scheduler_log(self):
        return self.log.read_text()[-3000:] if self.log.exists() else ""

    def token(self):
        done = self.ssi("guests", "token", "--for", "30m")
        assert done.returncode == 0, f"ssi guests token: {done}"
        return done.stdout.decode().split()[0]

    def guests(self):
        done = self.ssi("status", "--json")
        return {guest["name"]: guest for guest in json.loads(done.stdout)["guests"]} if done.returncode == 0 else {}

    def close(self):
        if self.scheduler:
            self.end_deputy_of_this_home()
            self.scheduler.terminate()
            self.scheduler.wait(10)
            self.scheduler = None
        super().close()

    def end_deputy_of_this_home(self):
        """Home.end_deputy would wait for the scheduler as well, which is ours to end."""
        for pid in self.processes():
            if pid != self.scheduler.pid:
                try:
                    os.kill(pid, 15)
                except OSError:
                    pass
        wait_until(lambda: set(self.processes()) <= {self.scheduler.pid}, 5)
