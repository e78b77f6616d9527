# SPDX-License-Identifier: LGPL-2.1-or-later
"""A home in which `heavy` is diverted to a stand-in for ssirun that runs it at home and says with what it was called."""
import shutil
import subprocess
import sys
import textwrap
import unittest

from pool import BUILD, Home


def python(code):
    return [sys.executable, "-c", textwrap.dedent(code)]


class ShimCase(unittest.TestCase):
    config = ('[defaults]\nshipped = false\n[[app]]\nmatch = ["heavy", "plain", "formless", "folder", "script", "heavy (deleted)"]\nnot_args = ["-x"]\n'
              '[[app]]\nmatch = ["stays"]\npolicy = "local"\n')
    names = 6  # that it diverts
    ssirun = ('#!/bin/sh\n[ "$1" = --exec ] || exit 99\npath=$2; shift 2; [ "$1" != --runtime ] || shift 2\n[ "$1" = -- ] || exit 99\nshift 2; printf "<%s>" "$path" "$@"\n'
              'export SSI_DISABLE=1; exec "$path" "$@"\n')

    @classmethod
    def setUpClass(cls):
        cls.home = Home()
        cls.addClassCleanup(cls.home.close)
        cls.dir = cls.home.dir / "shim"
        cls.dir.mkdir()
        for file in ("shim/libssi-shim.so", "cli/ssi"):
            shutil.copy(BUILD / file, cls.dir)
        cls.put("ssirun", cls.ssirun)
        cls.tools = cls.dir / "tools"
        cls.tools.mkdir()
        shutil.copy("/bin/echo", cls.tools / "heavy")
        shutil.copy("/bin/echo", cls.tools / "light")
        cls.put("tools/plain", "#!/bin/sh\n", 0o644)
        (cls.tools / "folder").mkdir()
        cls.put("tools/formless", "echo bash: ${BASH_VERSION:+yes}")
        cls.put("tools/script", '#!/bin/sh\necho "$@"\n')
        cls.home.configure(cls.config)
        cls.env = {"PATH": f"{cls.tools}:{cls.home.env['PATH']}"}
        cls.table = cls.home.dir / "state/ssi/allow.table"
        done = cls.compile_list()
        assert done.stdout == f"{cls.names} names are diverted\n".encode(), done
        cls.preload = {**cls.env, "LD_PRELOAD": str(cls.dir / "libssi-shim.so")}

    @classmethod
    def put(cls, name, text, mode=0o755):
        (cls.dir / name).write_text(text)
        (cls.dir / name).chmod(mode)
        return cls.dir / name

    @classmethod
    def compile_list(cls):
        done = cls.home.run(cls.dir / "ssi", "allow", "compile", env=cls.env)
        assert done.returncode == 0, done
        return done

    @classmethod
    def compile(cls, name, text, *flags, compiler="gcc"):
        """A C program, or with -shared a library."""
        source = cls.put(f"{name}.c", "#ifndef _GNU_SOURCE\n#define _GNU_SOURCE\n#endif\n#include <errno.h>\n#include <fcntl.h>\n#include <pthread.h>\n"
                         "#include <spawn.h>\n#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n"
                         "#include <sys/mman.h>\n#include <sys/resource.h>\n#include <sys/syscall.h>\n#include <sys/wait.h>\n"
                         "#include <unistd.h>\nextern char** environ;\n" + text)
        subprocess.run([compiler, "-O1", "-w", source, "-o", cls.dir / name, *flags], check=True)
        return cls.dir / name

    def run_with(self, *words, env={}, **options):
        return self.home.run(*words, env={**self.preload, **env}, **options)

    def diverted(self, *words, **options):
        done = self.run_with(*words, **options)
        self.assertEqual(done.stdout, f"<{self.tools}/heavy><a><b>a b\n".encode(), done)
        return done

    def passed(self, *words, **options):
        done = self.run_with(*words, **options)
        self.assertEqual(done.stdout, b"a b\n", done)

    def same(self, *words, env={}, **options):
        """It ends as without the shim, and nothing is diverted."""
        here, there = self.home.run(*words, env={**self.env, **env}, **options), self.run_with(*words, env=env, **options)
        self.assertEqual((there.returncode, there.stdout, there.stderr), (here.returncode, here.stdout, here.stderr))
        return there
