# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the cases of kind "python" call: a caller that starts jobs behind the prefix, in process groups of their own."""
import os
import signal
import subprocess
import sys
import time

P = os.environ["P"].split()

# Logs each signal's name into a file of the name that it is given, and ends by TERM. Says so when it listens.
LISTEN = """
def listen(name):
    import os, signal
    every = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCONT, signal.SIGCHLD}
    signal.pthread_sigmask(signal.SIG_BLOCK, every)
    log = open(name, "a", buffering=1)
    open("ready." + name, "w").close()
    while seen := signal.sigtimedwait(every, 4):  # who is in a group of his own hears nothing, and must end too
        number = seen.si_signo
        print(number if number >= signal.SIGRTMIN else signal.Signals(number).name, file=log)
        if number == signal.SIGTERM:
            break
    os._exit(0)
"""


def start(*argv, **options):
    """Popen behind the prefix."""
    options.setdefault("stdin", subprocess.DEVNULL)
    return subprocess.Popen([*P, *argv], **{"process_group": 0, **options})


def run(*argv, **options):
    return subprocess.run([*P, *argv], **options)


def until(is_so, seconds=10):
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > deadline:
            return say("waited in vain")
        time.sleep(0.02)


def exists(*names):
    until(lambda: all(os.path.exists(name) for name in names))


def listener(script="listen('log')", *names):
    """A job that listens for signals."""
    job = start(sys.executable, "-c", LISTEN + script)
    exists(*("ready." + name for name in names or ["log"]))
    return job


def lines(name):
    with open(name) as file:
        return file.read().split()


def wait_lines(name, number):
    until(lambda: len(lines(name)) >= number)


def change(job, options=os.WEXITED | os.WSTOPPED | os.WCONTINUED):
    """The next thing that waitid tells of a job."""
    seen = os.waitid(os.P_PID, job.pid, options)
    return {os.CLD_EXITED: "exited", os.CLD_KILLED: "killed", os.CLD_DUMPED: "dumped", os.CLD_STOPPED: "stopped",
            os.CLD_CONTINUED: "continued"}[seen.si_code], seen.si_status


def say(*words):
    print(*words, flush=True)


def is_growing(name):
    time.sleep(0.15)  # a SIGSTOP of ssirun is seen within 100 ms
    before = os.path.getsize(name)
    time.sleep(0.6)
    return os.path.getsize(name) > before
