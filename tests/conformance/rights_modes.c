// SPDX-License-Identifier: LGPL-2.1-or-later
// Who may read, write, run, list, search and change what, for the modes of files and directories.
#include "rights.h"

static long opened(int flags) {
  return open("file", flags);
}
static long reads(void) {
  return opened(O_RDONLY);
}
static long writes(void) {
  return opened(O_WRONLY);
}
static long both(void) {
  return opened(O_RDWR);
}
static long cuts(void) {
  return opened(O_WRONLY | O_TRUNC);
}
static long appends(void) {
  return opened(O_WRONLY | O_APPEND);
}
static long creates(void) {
  return open("file", O_RDWR | O_CREAT, 0600);
}
static long truncates(void) {
  return truncate("file", 7);
}
static long no_atime(void) {
  return opened(O_RDONLY | O_NOATIME);
}
static long finds_path(void) {
  return opened(O_PATH);
}
static long may_read(void) {
  return access("file", R_OK);
}
static long may_write(void) {
  return access("file", W_OK);
}
static long may_run(void) {
  return access("file", X_OK);
}
static long effectively(void) {
  return faccessat(AT_FDCWD, "file", R_OK | W_OK, AT_EACCESS);
}

static long lists(void) {
  return open("dir", O_RDONLY | O_DIRECTORY);
}
static long searches(void) {
  struct stat status;
  return stat("dir/in", &status);
}
static long searches_none(void) {
  struct stat status;
  return stat("dir/none", &status);
}
static long enters(void) {
  return chdir("dir");
}
static long opens_in(void) {
  return open("dir/in", O_RDONLY);
}
static long creates_in(void) {
  return open("dir/new", O_CREAT | O_EXCL | O_RDWR, 0600);
}
static long makes_in(void) {
  return mkdir("dir/new", 0700);
}
static long links_in(void) {
  return symlink("x", "dir/new");
}
static long removes_in(void) {
  return unlink("dir/in");
}
static long moves_in(void) {
  return rename("dir/in", "dir/new");
}
static long nameless(void) {
  return open("dir", O_TMPFILE | O_RDWR, 0600);
}

struct try {
  const char* name;
  long (*call)(void);
};

static const struct try of_files[] = {
    {"r", reads},       {"w", writes},      {"rw", both},          {"trunc", cuts},      {"append", appends},
    {"creat", creates}, {"cut", truncates}, {"noatime", no_atime}, {"path", finds_path}, {"R", may_read},
    {"W", may_write},   {"X", may_run},     {"RW", effectively},
};
static const struct try of_dirs[] = {
    {"list", lists},        {"search", searches},   {"none", searches_none}, {"enter", enters},
    {"open", opens_in},     {"create", creates_in}, {"mkdir", makes_in},     {"symlink", links_in},
    {"unlink", removes_in}, {"rename", moves_in},   {"tmpfile", nameless},
};

static const mode_t modes[] = {0000, 0100, 0200, 0400, 0500, 0300, 0700, 0040,
                               0070, 0004, 0007, 0604, 0640, 0755, 0474};

static void row(const char* what, mode_t mode, const struct try* tries, size_t count,
                void (*again)(mode_t mode)) {
  for (int i = 0; i < actor_count; ++i) {
    printf("%s %04o %s:", what, mode, actors[i].name);
    for (size_t j = 0; j < count; ++j) {
      again(mode);
      printf(" %s=%s", tries[j].name, name_of(try_as(&actors[i], tries[j].call)));
    }
    printf("\n");
  }
}

static void new_file(mode_t mode) {
  if (access("file", F_OK) != 0) make_owned("file", mode);
  give("file", mode);
}

static void new_dir(mode_t mode) {
  if (access("dir", F_OK) != 0) make_owned_dir("dir", 0700);
  CHECK(chmod("dir", 0700) == 0);
  if (access("dir/in", F_OK) != 0) make_owned("dir/in", 0644);
  if (unlink("dir/new") != 0) rmdir("dir/new");
  CHECK(chmod("dir", mode) == 0);
}

int main(int argc, char** argv) {
  enter_shared(argc, argv);
  for (size_t i = 0; i < sizeof modes / sizeof *modes; ++i)
    row("file", modes[i], of_files, sizeof of_files / sizeof *of_files, new_file);
  for (size_t i = 0; i < sizeof modes / sizeof *modes; ++i)
    row("dir", modes[i], of_dirs, sizeof of_dirs / sizeof *of_dirs, new_dir);
  return 0;
}
