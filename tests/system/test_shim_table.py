# SPDX-License-Identifier: LGPL-2.1-or-later
"""The compiled allow-list: a new one is seen by processes that run, and a bad one diverts nothing."""
import os
import pathlib
import subprocess
import sys
import unittest

from shim_case import ShimCase

TIMEOUT = 300
SOURCE = pathlib.Path(__file__).resolve().parents[2]

FUZZ = r"""
#include "common/allow_table.h"
#include "shim/allow.h"
#include <sys/stat.h>
static char file[4096], beside[4096], good[ALLOW_MAX], bytes[ALLOW_MAX + 64];
static uint64_t state = 20261128; /* xorshift64: the same mutations each time */
static uint32_t any(uint32_t below) { state ^= state << 13; state ^= state >> 7; state ^= state << 17; return (uint32_t)(state >> 32) % below; }
static long taken, refused, found;

/* Puts it in place as `ssi allow compile` does, and looks names up. */
static const struct allow_header* try(const char* what, size_t size) {
  static const char* const names[] = {"heavy", "light", "", "a", "/", "ssirun", "plain"};
  uint32_t yes = 1;
  int old = open(file, O_RDWR);
  int fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC, 0644);
  if (write(fd, what, size) != (ssize_t)size || rename(beside, file)) exit(2);
  close(fd);
  if (old >= 0) { struct stat st; fstat(old, &st); if (st.st_size >= 32) pwrite(old, &yes, 4, 28); close(old); }
  const struct allow_header* table = allow_table();
  if (!table) { refused++; return NULL; }
  taken++;
  allow_reinjects(table);
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    const char* ssirun = allow_ssirun(table, names[i]);
    if (!ssirun) continue;
    found++;
    if (ssirun < (const char*)table || ssirun + strlen(ssirun) >= (const char*)table + table->size || *ssirun != '/') { printf("bad ssirun\n"); exit(3); }
  }
  return table;
}

static void must_refuse(const char* why, size_t size) {
  if (try(bytes, size)) { printf("taken: %s\n", why); exit(4); }
}

int main(int argc, char** argv) {
  snprintf(file, sizeof file, "%s/ssi/allow.table", getenv("XDG_STATE_HOME"));
  snprintf(beside, sizeof beside, "%s.beside", file);
  allow_remember(environ);
  int fd = open(file, O_RDONLY);
  size_t size = read(fd, good, sizeof good);
  close(fd);
  struct allow_header* header = (struct allow_header*)bytes;
#define CHANGED(what, size) do { memcpy(bytes, good, sizeof good); what; must_refuse(#what, size); } while (0)
  memcpy(bytes, good, sizeof good);
  if (!try(bytes, size) || !found) return 5; /* the good one */
  for (size_t cut = 0; cut < size; cut++) CHANGED(, cut);
  for (size_t more = 1; more < 40; more++) CHANGED(bytes[size + more - 1] = 0, size + more);
  /* The system's table counts where there is no other, and does not stand in for a bad one. */
  unlink(file);
  fd = open(ALLOW_SYSTEM_FILE, O_WRONLY | O_CREAT, 0644);
  write(fd, good, size);
  close(fd);
  if (!allow_table()) return 6;
  CHANGED(header->magic++, size);
  CHANGED(header->version++, size); /* of the future */
  CHANGED(header->flags = ALLOW_OFF, size);
  CHANGED(header->replaced = 1, size);
  CHANGED(header->slots = 0, size);
  CHANGED(header->slots = 3, size);
  CHANGED(header->slots = 0x80000000u, size);
  CHANGED(header->slots = 4096, size);
  CHANGED(header->ssirun = (uint32_t)size, size);
  CHANGED(header->ssirun = 0xffffffffu, size);
  CHANGED(header->ssirun++, size); /* no absolute path */
  CHANGED(bytes[size - 1] = 'x', size); /* a string without an end */
  CHANGED(header->size = ALLOW_MAX + 4; memset(bytes + ALLOW_MAX, 0, 64), ALLOW_MAX + 4);
  /* A page exactly, so that one byte too far is a crash; entries full of nonsense. */
  for (int turn = 0; turn < 3000; turn++) {
    size_t length = turn % 3 ? 4096 : size;
    memset(bytes, 0, sizeof bytes);
    memcpy(bytes, good, size);
    if (length == 4096) { header->size = 4096; header->slots = turn % 2 ? 128 : header->slots; }
    for (uint32_t change = any(turn % 5 ? 4 : 200) + 1; change--;) {
      size_t at = turn % 4 ? 32 + any(length - 32) : any(length);
      switch (any(4)) {
        case 0: bytes[at] ^= 1 << any(8); break;
        case 1: bytes[at] = (char)any(256); break;
        case 2: memset(bytes + at, any(2) ? 0xff : 'a', any(64) < length - at ? 1 : 0); break;
        case 3: memcpy(bytes + (at & ~3u), &(uint32_t){any(2) ? any(5000) : 0xfffffff0u + any(16)}, 4); break;
      }
    }
    if (turn % 7 == 0) /* every slot is taken and has the hash that is looked for: the search must end */
      for (uint32_t i = 0; i < 128 && length == 4096; i++) ((struct allow_entry*)(header + 1))[i] = (struct allow_entry){allow_hash("heavy"), 1 + any(4095), 0, 0};
    if (turn % 2) bytes[length - 1] = 0;
    try(bytes, length);
  }
  printf("%s\n", taken > 500 && refused > 500 && found > 500 ? "fine" : "tried too little");
  return 0;
}
"""


class Table(ShimCase):
    def reload(self, text):
        self.home.configure(text)
        self.compile_list()

    def setUp(self):
        self.reload(self.config)

    def shell(self, name, *flags):
        """A shell that goes on running, and what it says to a line."""
        child = subprocess.Popen([name, *flags], env={**self.home.env, **self.preload}, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                 cwd=self.home.work, bufsize=0)
        self.addCleanup(child.wait, 20)
        self.addCleanup(child.stdout.close)
        self.addCleanup(child.stdin.close)

        def say(line):
            child.stdin.write(line.encode() + b"\n")
            return child.stdout.readline().decode().strip()
        return say

    def test_a_running_process_sees_a_new_list(self):
        heavy = f"<{self.tools}/heavy><a>a"
        for name in ("bash", "dash", "zsh"):
            with self.subTest(name=name):
                self.table.unlink(missing_ok=True)
                say = self.shell(name)
                self.assertEqual(say("heavy a"), "a")  # no table yet
                self.reload(self.config)
                self.assertEqual(say("heavy a"), heavy)
                self.assertEqual(say("light a"), "a")
                self.reload(self.config.replace('"heavy"', '"light"'))
                self.assertEqual(say("heavy a"), "a")
                self.assertEqual(say("light a"), f"<{self.tools}/light><a>a")
                for _ in range(3):  # more than one since it looked last
                    self.reload(self.config.replace('"heavy"', '"other"'))
                    self.reload(self.config)
                self.assertEqual(say("heavy a"), heavy)
                self.assertEqual(say("light a"), "a")

    def test_vfork_children_map_for_their_parent(self):
        """And it is mapped anew in one."""
        program = self.compile("vforks", r"""
int main(int argc, char** argv) {
  char line[100], *words[] = {"heavy", "a", NULL};
  while (fgets(line, sizeof line, stdin)) {
    if (*line == 'v') { if (!vfork()) { execvp("heavy", words); _exit(9); } }
    else { FILE* maps = fopen("/proc/self/maps", "r"); int count = 0; while (fgets(line, sizeof line, maps)) count += strstr(line, "allow.table") != NULL; fclose(maps); printf("%d\n", count); fflush(stdout); }
    wait(NULL);
  }
}""")
        say = self.shell(program)
        self.assertEqual(say("maps"), "0")
        for _ in range(3):
            self.assertEqual(say("vfork"), f"<{self.tools}/heavy><a>a")
            self.assertEqual(say("maps"), "1")
        self.reload(self.config.replace('"heavy"', '"light"'))
        for _ in range(3):
            self.assertEqual(say("vfork"), "a")
            self.assertEqual(say("maps"), "2")  # the old one stays

    def test_the_same_list_stays(self):
        """So that each `ssi shell` does not have all processes map it anew."""
        before = self.table.stat().st_ino
        self.compile_list()
        self.assertEqual(self.table.stat().st_ino, before)
        os.chmod(self.table, 0o666)  # which the shim does not trust
        self.compile_list()
        self.assertNotEqual(self.table.stat().st_ino, before)
        self.diverted("sh", "-c", "heavy a b; :")

    def test_compiles_at_once_leave_no_unmarked_table(self):
        held = open(self.table, "rb")
        tables = [held]
        self.addCleanup(lambda: [table.close() for table in tables])
        other = self.home.dir / "other.toml"
        other.write_text(self.config.replace('"heavy"', '"light"'))
        for _ in range(30):
            both = [subprocess.Popen([self.dir / "ssi", "allow", "compile"], env={**self.home.env, **self.env, **env}, stdout=subprocess.DEVNULL)
                    for env in ({}, {"SSI_CONFIG": str(other)}) * 2]
            while any(child.poll() is None for child in both):
                table = open(self.table, "rb")
                if os.fstat(table.fileno()).st_ino == os.fstat(tables[-1].fileno()).st_ino:
                    table.close()
                else:
                    tables.append(table)
        last = self.table.stat().st_ino
        for table in tables:
            if os.fstat(table.fileno()).st_ino != last:
                self.assertEqual(os.pread(table.fileno(), 4, 28), b"\1\0\0\0")
        self.assertEqual(self.table.read_bytes()[28:32], bytes(4))

    def test_mutated_tables(self):
        """Corrupt, cut, of the future or hostile: nothing is diverted, nothing crashes."""
        program = self.compile("fuzz", FUZZ, str(SOURCE / "shim/allow.c"), f"-I{SOURCE}", "-D_GNU_SOURCE",
                               f'-DALLOW_SYSTEM_FILE="{self.dir}/system.table"')
        done = self.home.run(program)
        self.assertEqual((done.returncode, done.stdout), (0, b"fine\n"), done)


if __name__ == "__main__":
    unittest.main()
