# SPDX-License-Identifier: LGPL-2.1-or-later
"""What root sets up for everybody: /etc/ssi/allow.d, and the shim's table in /var/lib/ssi. Each command sees a copy of /etc and an
empty /var/lib in a mount namespace of its own."""
import os
import shutil
import unittest

from shim_case import ShimCase

BESIDE = 5
INSIDE = 'mount --bind "$1" /etc && mount --bind "$2" /var/lib || exit 99; shift 2; exec "$@"'


class AllowFolder(ShimCase):
    config = '[defaults]\nshipped = false\n[[app]]\nmatch = ["light"]\n'
    names = 1

    def setUp(self):
        self.etc, self.lib = self.home.dir / "etc", self.home.dir / "lib"
        self.assertEqual(self.home.run("cp", "-a", "/etc", self.etc).returncode, 0)
        shutil.rmtree(self.etc / "ssi", ignore_errors=True)
        self.lib.mkdir(mode=0o755)
        self.addCleanup(shutil.rmtree, self.etc)
        self.addCleanup(shutil.rmtree, self.lib)
        self.folder = self.etc / "ssi/allow.d"
        self.folder.mkdir(parents=True)
        self.home.configure("")
        self.addCleanup(self.home.configure, self.config)

    def inside(self, *words, **options):
        return self.home.run("unshare", "-m", "sh", "-c", INSIDE, "sh", self.etc, self.lib, *words, env={**self.env, **options.pop("env", {})}, **options)

    def ssi(self, *words, **options):
        return self.inside(self.dir / "ssi", *words, **options)

    def write(self, name, text, mode=0o644):
        (self.folder / name).write_text(text)
        (self.folder / name).chmod(mode)

    def check(self, *words):
        done = self.ssi("allow", "check", *words)
        self.assertEqual((done.returncode, done.stderr), (0, b""), done)
        return done.stdout.decode()

    def test_check_says_where_a_rule_stands(self):
        self.write("ffmpeg.toml", '[[app]]\nmatch = ["ffmpeg"]\nwhen_args = ["-slow"]\n')
        self.write("more.toml", '[[app]]\nmatch = ["heavy"]\npolicy = "local"\n')
        self.write(".more.toml", "wrong")
        self.write("povray.toml", "")
        self.assertIn("/etc/ssi/allow.d/ffmpeg.toml: rule 1 (\"ffmpeg\"): does not match: no argument is in when_args ('-slow')", self.check("ffmpeg", "-i", "x"))
        self.assertIn('/etc/ssi/allow.d/more.toml: rule 1 ("heavy"): runs at home', self.check("heavy"))
        self.assertIn('shipped compressors.toml: rule 1 ("xz"): runs in a guest', self.check("xz", "big"))
        self.assertEqual(self.check("/usr/bin/povray", "-D"), "/usr/bin/povray: no rule matches: runs at home\n")
        self.home.configure("[defaults]\nshipped = false\n")
        self.assertEqual(self.check("/usr/bin/heavy"), "/usr/bin/heavy: no rule matches: runs at home\n")

    def test_what_is_wrong_is_one_line(self):
        def says(complaint):
            for words in (("allow", "check", "heavy"), ("allow", "compile"), ("allow", "compile", "--system")):
                done = self.ssi(*words)
                self.assertEqual((done.returncode, done.stdout, done.stderr.count(b"\n")), (1, b"", 1), done)
                self.assertIn(f"/etc/ssi/allow.d{complaint}", done.stderr.decode())
        self.write("x.toml", '[defaults]\npolicy = "remote"\n')
        says("/x.toml:1: unknown key 'defaults' (known: app)")
        self.write("x.toml", "[[app]]\nmatch = 1\n")
        says("/x.toml:2: 'match' must be a string or an array of strings")
        self.write("x.toml", "", 0o666)
        says("/x.toml: others may write to it: chmod go-w /etc/ssi/allow.d/x.toml")
        self.write("x.toml", "")
        self.folder.chmod(0o777)
        says(": others may write to it: chmod go-w /etc/ssi/allow.d")

    def test_the_table_of_the_system(self):
        """Made of /etc alone; who has no table of his own uses it, and who runs already sees it change."""
        self.write("more.toml", '[[app]]\nmatch = ["heavy"]\n')
        self.home.configure('[[app]]\nmatch = ["light"]\n')
        script = r'''umask 077; "$0"/ssi allow compile --system && stat -c '%a %u' /var/lib/ssi /var/lib/ssi/allow.table
            export LD_PRELOAD="$0"/libssi-shim.so XDG_STATE_HOME="$0"/nowhere
            sh -c 'heavy a; light a
            printf "%s\n" "[[app]]" "match = \"light\"" > /etc/ssi/allow.d/more.toml
            env -u LD_PRELOAD "$0"/ssi allow compile --system
            heavy a; light a; :' "$0" '''
        done = self.inside("sh", "-c", script, self.dir)
        self.assertEqual(done.stderr, b"", done)
        lines = done.stdout.decode().splitlines()
        heavy, light = (f"<{self.tools}/{name}><a>a" for name in ("heavy", "light"))
        self.assertRegex(lines[0], r"^\d+ names are diverted$")
        self.assertEqual(lines[1:5], ["755 0", "644 0", heavy, "a"])
        self.assertEqual(lines[6:], ["a", light])
        self.assertEqual([file.name for file in self.lib.rglob("*")], ["ssi", "allow.table"])

    def test_it_is_for_root(self):
        done = self.ssi("allow", "compile", "--nonsense")
        self.assertEqual((done.returncode, done.stderr.count(b"\n")), (2, 1), done)
        nobody = shutil.copy(self.dir / "ssi", f"/tmp/ssi-test-nobody-{os.getpid()}")
        self.addCleanup(os.unlink, nobody)
        done = self.home.run("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", nobody, "allow", "compile", "--system", cwd="/")
        self.assertEqual((done.returncode, done.stderr), (1, b"ssi allow: 'compile --system' is for root\n"))


if __name__ == "__main__":
    unittest.main()
