# SPDX-License-Identifier: LGPL-2.1-or-later
"""The directions of the code: no part includes another, pure logic includes no library of the outside world."""
import pathlib
import re
import subprocess
import unittest

TOP = pathlib.Path(__file__).resolve().parents[2]
PARTS = ("shim", "agent", "scheduler", "deputy", "cli")
PURE = ("scheduler/placement", "scheduler/registry", "common/rules", "common/wire", "common/ticket", "deputy/home_mounts", "deputy/command_key",
        "deputy/predictions", "deputy/profile", "agent/leases", "agent/listings", "agent/read_ahead", "agent/small_files", "agent/foreseen_content")
OUTSIDE = re.compile(r'#include [<"](uv\.h|zmq|fuse|common/(loop|session|control_socket))')


def includes(path):
    return re.findall(r'^#include "([^"]+)"', path.read_text(), re.M)


def sources(folder):
    return [path for path in (TOP / folder).iterdir() if path.suffix in (".c", ".cc", ".h")]


class Layout(unittest.TestCase):
    def test_parts_include_only_common_and_themselves(self):
        for part in (*PARTS, "common"):
            self.assertTrue(sources(part))
            for path in sources(part):
                for name in includes(path):
                    self.assertIn(name.split("/")[0], {part, "common"}, f"{path.name} includes {name}")

    def test_pure_logic_is_pure(self):
        for module in PURE:
            for path in (TOP / f"{module}.h", TOP / f"{module}.cc"):
                self.assertIsNone(OUTSIDE.search(path.read_text()), path.name)

    def test_one_file_names_each_wrapped_library(self):
        for library, owners in {"spdlog/": {"log.cc"}, "toml++": {"toml_table.h"}, "openssl/": {"tls.cc"},
                                "sqlite3": {"history_database.cc", "past_jobs.cc", "history_test.cc"}}.items():
            found = {path.name for part in (*PARTS, "common") for path in sources(part)
                     if re.search(rf"#include <{re.escape(library)}", path.read_text())}
            self.assertEqual(found, owners)

    def test_every_file_names_its_licence(self):
        listed = subprocess.run(["git", "ls-files", "*.cc", "*.h", "*.c", "*.py"], cwd=TOP, capture_output=True, text=True).stdout.split()
        self.assertGreater(len(listed), 100)
        self.assertEqual([name for name in listed if "SPDX-License-Identifier: LGPL-2.1-or-later" not in (TOP / name).read_text()[:200]], [])


if __name__ == "__main__":
    unittest.main()
