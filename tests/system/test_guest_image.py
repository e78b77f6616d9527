# SPDX-License-Identifier: LGPL-2.1-or-later
"""`ssi guest build`: the directory that is copied to a Xen host. (That it boots and works is test_xen.py's.)"""
import gzip
import os
import pathlib
import stat
import subprocess
import unittest

from pool import Home

TIMEOUT = 400
TOKEN = "test-token-0123456789abcdef"
FILES = {"README", "guest.cfg", "guest-pvh.cfg", "initrd.img", "vmlinuz"}

home = None


def setUpModule():
    global home
    home = Home()


def tearDownModule():
    home.close()


class GuestImage(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.key = home.ssi("key", "show").stdout.decode().strip()  # any key will do for a scheduler's
        cls.one, cls.two = home.work / "one", home.work / "two"
        # One of them is built over a guest that has another scheduler and no token.
        done = home.ssi("guest", "build", cls.two, env={"SSI_SCHEDULER": f"192.0.2.9:1#{cls.key}"}, timeout=200)
        assert done.returncode == 0 and "ssi.token" not in (cls.two / "guest.cfg").read_text(), done
        for number, where in enumerate((cls.one, cls.two)):
            # Another place, time zone, umask and language are not other inputs.
            done = home.ssi("guest", "build", where, "--scheduler", f"192.0.2.1:7700#{cls.key}", "--token", TOKEN, timeout=200,
                            env={"TZ": ("UTC", "Asia/Tokyo")[number], "LC_ALL": ("C", "C.UTF-8")[number]}, umask=(0o22, 0o77)[number])
            assert done.returncode == 0, done
        cls.initramfs = gzip.decompress((cls.one / "initrd.img").read_bytes())
        listed = subprocess.run(["cpio", "-tv", "--quiet"], input=cls.initramfs, capture_output=True, check=True).stdout.decode()
        cls.names = {line.split()[8]: line.split()[0] for line in listed.splitlines()}

    def refused(self, words, *arguments, status=1, **options):
        done = home.ssi("guest", "build", *arguments, **options)
        said = done.stderr.decode()
        self.assertEqual((done.returncode, said.count("\n")), (status, 1), said)
        self.assertIn(words, said)

    def test_two_builds_are_the_same_bytes(self):
        for where in (self.one, self.two):
            self.assertEqual({path.name for path in where.iterdir()}, FILES)
        for name in FILES:
            one, two = self.one / name, self.two / name
            self.assertEqual(one.read_bytes(), two.read_bytes(), name)
            self.assertEqual(one.stat().st_mode, two.stat().st_mode, name)

    def test_the_secret_is_in_the_configuration_only(self):
        for name in ("guest.cfg", "guest-pvh.cfg"):
            self.assertIn(f"ssi.token={TOKEN}\"", (self.one / name).read_text())
            self.assertEqual(stat.S_IMODE((self.one / name).stat().st_mode), 0o600)
        for content in (self.initramfs, (self.one / "vmlinuz").read_bytes(), (self.one / "README").read_bytes()):
            self.assertNotIn(TOKEN.encode(), content)
        self.assertFalse([name for name in self.names if "key" in name.rsplit("/", 1)[-1].split(".")])

    def test_what_is_in_it(self):
        self.assertLessEqual(sum(path.stat().st_size for path in self.one.iterdir()), 60e6)
        for name in ("init", "bin/busybox", "bin/ssi-agent", "bin/xenstore-read"):
            self.assertTrue(self.names[name].startswith("-rwxr-xr-x"), name)
        modules = {name.rsplit("/", 1)[-1] for name in self.names if name.endswith(".ko")}
        self.assertLessEqual({"xen-netfront.ko", "fuse.ko", "virtio_net.ko", "net_failover.ko"}, modules)
        self.assertLessEqual(len(modules), 20)
        self.assertIn(f"scheduler=192.0.2.1:7700\nkey={self.key}\n".encode(), self.initramfs)
        self.assertIn("192.0.2.1:7700", (self.one / "README").read_text())

    def test_the_agent_follows_the_address(self):
        """Of the image's own programs on a DHCP server that renews the lease, and then has another address for us."""
        tree = home.work / "tree"
        tree.mkdir()
        subprocess.run(["cpio", "-id", "--quiet"], input=self.initramfs, cwd=tree, check=True)
        for name in ("dev", "proc", "run"):
            (tree / name).mkdir(exist_ok=True)
        (tree / "world").write_bytes((pathlib.Path(__file__).parent / "guest_dhcp.sh").read_bytes())
        around = ('unshare -n sleep 1000 & server=$!; sleep 0.3; ip link add guest type veth peer name server netns $server; '
                  'mount --rbind /dev "$0/dev"; exec chroot "$0" /bin/busybox sh /world $server')
        done = home.run("unshare", "-mnpf", "--mount-proc", "--kill-child", "sh", "-c", around, tree, timeout=100)
        self.assertEqual(done.stdout.decode(), "198.18.0.5, renewed by the same agent: yes\n198.18.0.6\n", done.stderr.decode())

    def test_bad_input(self):
        known = ("--scheduler", f"192.0.2.1:7700#{self.key}")
        self.refused("name one directory", status=2)
        self.refused("name one directory", "a", "b", *known, status=2)
        self.refused("has other things in it", home.dir, *known)
        (home.work / "file").write_text("")
        self.refused("is not a directory", home.work / "file", *known)
        self.refused("no pool is known", home.work / "new")
        self.refused("its key is not known", home.work / "new", "--scheduler", "192.0.2.1:7700")
        for address in ("192.0.2.1", "192.0.2.1:", "192.0.2.1:70000", ":7700", "192.0.2.1:7700\"; x"):
            self.refused("is not HOST:PORT", home.work / "new", "--scheduler", address)
        self.refused("key", home.work / "new", "--scheduler", "192.0.2.1:7700#abcd")
        for token in ("", "a b", 'a"b'):
            self.refused("makes no sense", home.work / "new", *known, "--token", token, status=2)
        self.refused("apt", home.work / "new", *known, env={"APT_CONFIG": "/dev/null", "PATH": self.without("apt-cache")})
        self.assertFalse((home.work / "new").exists())

    def without(self, tool):
        """A PATH that has everything but that tool."""
        folder = home.work / "tools"
        folder.mkdir(exist_ok=True)
        for path in ("/sbin", "/bin", "/usr/sbin", "/usr/bin"):
            for program in pathlib.Path(path).iterdir():
                if program.name != tool and not (folder / program.name).is_symlink():
                    os.symlink(program, folder / program.name)
        return str(folder)


if __name__ == "__main__":
    unittest.main()
