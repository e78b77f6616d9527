# SPDX-License-Identifier: LGPL-2.1-or-later
"""A real Xen with its dom0, under QEMU's emulation (no KVM, ever): `with Machine(...) as xen: xen.dom0("xl list")`."""
import os
import pathlib
import re
import shlex
import socket
import subprocess
import threading
import time

DOM0 = "10.0.2.5"
# Xen and QEMU: SMAP off, since QEMU 7.2 takes the stack reads of an IRET at ring 3, where a PV kernel runs, for the
# kernel's, and dom0 dies at its first. eager-fpu, since with Xen's lazy switching the SSE registers leak from one guest
# to another under emulation, and programs crash at random.
CPU = "max,-smap"
XEN = "console=com1 com1=115200,8n1 bootscrub=0 dom0_mem={0}M,max:{0}M dom0_max_vcpus=1 dom0_vcpus_pin spec-ctrl=no,eager-fpu xpti=no"
# The kernel's self-tests and its Spectre workarounds are a third of a boot under emulation.
QUICK = "mitigations=off cryptomgr.notests initcall_blacklist=crypto_kdf108_init"
DOM0_MEMORY = 768


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def cpio_member(name, mode, content=b""):
    """One entry of a newc archive."""
    head = [1, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0]
    entry = b"070701" + b"".join(b"%08X" % field for field in head) + name.encode() + b"\0"
    pad = lambda data: data + b"\0" * (-len(data) % 4)
    return pad(entry) + pad(content)


class Machine:
    """`reach` maps addresses that the guests may connect to, all that they can, to ports of 127.0.0.1."""

    def __init__(self, images, guest, reach, memory, log):
        self.images, self.guest, self.reach, self.memory = pathlib.Path(images), pathlib.Path(guest), reach, memory
        self.log, self.lines, self.marks = open(log, "w"), [], []
        self.changed = threading.Condition()
        self.shell_port = free_port()

    def initramfs(self):
        """dom0's, and behind it the guest's directory as it is, as /guest."""
        image = self.images / "dom0-with-guest.cpio"
        with open(image, "wb") as out:
            out.write((self.images / "dom0.cpio").read_bytes())
            out.write(cpio_member("guest", 0o40755))
            for path in sorted(self.guest.iterdir()):
                out.write(cpio_member(f"guest/{path.name}", 0o100600, path.read_bytes()))
            out.write(cpio_member("TRAILER!!!", 0))
        return image

    def command(self):
        # restrict: without it QEMU answers for every address, so that a dead guest still "connects"; with it nothing
        # but these forwards gets in or out. One nc a connection: a plain chardev serves only one.
        busybox = self.images / "busybox"
        net = f"user,id=n0,ipv6=off,restrict=on,hostfwd=tcp:127.0.0.1:{self.shell_port}-{DOM0}:2222"
        for address, port in self.reach.items():
            net += f",guestfwd=tcp:{address}-cmd:{busybox} nc 127.0.0.1 {port}"
        dom0 = f"console=hvc0 panic=1 quiet loglevel=4 net.ifnames=0 {QUICK}"
        return ["qemu-system-x86_64", "-accel", "tcg,thread=multi,tb-size=512", "-machine", "q35", "-cpu", CPU, "-smp", "2",
                "-m", str(self.memory), "-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio", "-no-reboot",
                "-netdev", net, "-device", "virtio-net-pci,romfile=,netdev=n0",
                "-kernel", str(self.images / "xen.elf"), "-append", XEN.format(DOM0_MEMORY),
                "-initrd", f"{self.images / 'vmlinux'} {dom0},{self.initramfs()}"]

    def __enter__(self):
        self.start = time.monotonic()
        self.qemu = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        threading.Thread(target=self.read_console, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.qemu.kill()
        self.qemu.wait()
        self.log.close()

    def seconds(self):
        return time.monotonic() - self.start

    def processor_seconds(self):
        """What QEMU has used so far: what a step costs, whatever else runs on this machine."""
        fields = pathlib.Path(f"/proc/{self.qemu.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def note(self, line):
        with self.changed:
            self.lines.append(line)
            if not self.log.closed:
                print(f"[{self.seconds():7.2f}] {line}", file=self.log, flush=True)
            self.changed.notify_all()

    def read_console(self):
        for raw in self.qemu.stdout:
            self.note(re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1bc|\r", "", raw.decode(errors="replace")).rstrip())
        self.note("QEMU ended")

    def wait_line(self, pattern, patience):
        """Until a line of the console has the pattern, or QEMU has ended; the line, or None."""
        deadline, seen = time.monotonic() + patience, 0
        with self.changed:
            while True:
                for line in self.lines[seen:]:
                    seen += 1
                    if re.search(pattern, line):
                        return line
                    if line == "QEMU ended":
                        return None
                if not self.changed.wait(max(0, deadline - time.monotonic())) and time.monotonic() >= deadline:
                    return None

    def dom0(self, command, patience=60):
        """Runs a shell command in dom0: (status, output). Status 255: dom0 did not answer in time."""
        said, end = b"", b"STATUS-OF-IT"
        try:
            with socket.create_connection(("127.0.0.1", self.shell_port), patience) as shell:
                shell.settimeout(patience)
                shell.sendall(f"({command}) 2>&1 </dev/null; status=$?; echo; echo {end.decode()} $status; exit\n".encode())
                while piece := shell.recv(65536):
                    said += piece
        except OSError:
            pass
        text, found, status = said.rpartition(end)
        self.note(f"dom0: {command}: {said.decode(errors='replace')}")
        return (int(status) if found else 255), text.decode(errors="replace").rstrip()

    def create(self, name, config="guest.cfg", settings=(), data=None):
        """xl create of the shipped configuration; `settings` override it, `data` goes into the xenstore."""
        words = " ".join(shlex.quote(word) for word in (f'name="{name}"', *settings))
        hand = "".join(f" && xenstore-write /local/domain/$id/vm-data/ssi/{key} {shlex.quote(value)}" for key, value in (data or {}).items())
        return self.dom0(f"cd /guest && xl create -q -p {config} {words} && id=$(xl domid {name}){hand} && xl unpause {name}", 120)

    def destroy(self, name):
        return self.dom0(f"xl destroy {name}", 60)

    def console(self, name):
        """What the guest has said so far."""
        return self.dom0(f"cat /var/log/xen/console/guest-{name}.log", 20)[1]
