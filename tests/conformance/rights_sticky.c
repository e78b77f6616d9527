// SPDX-License-Identifier: LGPL-2.1-or-later
// Directories that several users share: the sticky bit, the set-group-ID bit, links to others' files, special files.
#include <sys/sysmacros.h>

#include "rights.h"

#define TRY(name, expression) \
  static long name(void) {    \
    return expression;        \
  }
TRY(removes_file, unlink("d/file"))
TRY(removes_dir, rmdir("d/dir"))
TRY(renames_file, rename("d/file", "d/new"))
TRY(renames_dir, rename("d/dir", "d/new"))
TRY(renames_away, rename("d/file", "e/file"))
TRY(moves_dir, rename("d/dir", "e/dir"))
TRY(replaces_file, rename("e/mine", "d/file"))
TRY(exchanges, renameat2(AT_FDCWD, "e/mine", AT_FDCWD, "d/file", 2))
TRY(links_file, link("d/file", "e/new"))
TRY(follows, open("d/link", O_RDONLY))
TRY(opens_again, open("d/file", O_RDWR | O_CREAT, 0666))
TRY(creates, open("d/new", O_RDWR | O_CREAT | O_EXCL, 02777))
TRY(makes_dir, mkdir("d/new", 0777))
TRY(makes_setgid_dir, mkdir("d/new", 02777))
TRY(makes_link, symlink("x", "d/new"))
TRY(makes_fifo, mknod("d/new", S_IFIFO | 0666, 0))
TRY(makes_socket, mknod("d/new", S_IFSOCK | 0666, 0))
TRY(makes_plain, mknod("d/new", S_IFREG | 04666, 0))
TRY(makes_device, geteuid() == 0 ? 0 : mknod("d/new", S_IFCHR | 0666, makedev(1, 3)))  // root: docs/view.md
TRY(makes_disk, geteuid() == 0 ? 0 : mknod("d/new", S_IFBLK | 0666, makedev(7, 0)))

static const struct {
  const char* name;
  long (*call)(void);
} tries[] = {{"unlink", removes_file},      {"rmdir", removes_dir},
             {"rename", renames_file},      {"rename dir", renames_dir},
             {"move", renames_away},        {"move dir", moves_dir},
             {"replace", replaces_file},    {"exchange", exchanges},
             {"link", links_file},          {"follow", follows},
             {"open O_CREAT", opens_again}, {"create", creates},
             {"mkdir", makes_dir},          {"mkdir 02777", makes_setgid_dir},
             {"symlink", makes_link},       {"fifo", makes_fifo},
             {"socket", makes_socket},      {"mknod", makes_plain},
             {"device", makes_device},      {"disk", makes_disk}};

static void own(const char* name, uid_t uid, gid_t gid, mode_t mode) {
  if (geteuid() == 0) CHECK(lchown(name, uid, gid) == 0);
  if (mode) CHECK(chmod(name, mode) == 0);
}

// `dir_of` owns the directory, `file_of` what is in it.
static void build(mode_t mode, uid_t dir_of, uid_t file_of) {
  CHECK(mkdir("d", 0777) == 0 && mkdir("e", 0777) == 0 && mkdir("d/dir", 0777) == 0);
  CHECK(close(make("d/file", 10, 1)) == 0 && close(make("e/mine", 10, 1)) == 0 &&
        symlink("file", "d/link") == 0);
  own("d/file", file_of, group_id, 0666);
  own("d/dir", file_of, group_id, 0777);
  own("d/link", file_of, group_id, 0);
  own("e/mine", other_id, other_id, 0666);
  own("d", dir_of, extra_group, mode);
  own("e", 0, 0, 0777);
}

static void wipe(void) {
  static const char* const names[] = {"d/file", "d/link", "d/new", "e/file", "e/mine", "e/new"};
  for (size_t i = 0; i < sizeof names / sizeof *names; ++i) unlink(names[i]);
  static const char* const dirs[] = {"d/dir", "d/new", "d/file", "e/dir", "d", "e"};
  for (size_t i = 0; i < sizeof dirs / sizeof *dirs; ++i) rmdir(dirs[i]);
}

int main(int argc, char** argv) {
  enter_shared(argc, argv);
  static const struct {
    mode_t mode;
    uid_t dir_of, file_of;
  } cases[] = {{0777, 0, owner_id},         {01777, 0, owner_id}, {01777, member_id, owner_id},
               {03777, other_id, owner_id}, {02777, 0, 0},        {01775, owner_id, 0}};
  for (size_t c = 0; c < sizeof cases / sizeof *cases; ++c) {
    build(cases[c].mode, cases[c].dir_of, cases[c].file_of);
    for (size_t t = 0; t < sizeof tries / sizeof *tries; ++t) {
      printf("%05o %u %u %s:", cases[c].mode, cases[c].dir_of, cases[c].file_of, tries[t].name);
      for (int i = 0; i < actor_count; ++i) {
        const int error = try_as(&actors[i], tries[t].call);
        printf(" %s=%s", actors[i].name, name_of(error));
        print_status("d/new");
        if (error) continue;  // nothing has changed
        wipe();
        build(cases[c].mode, cases[c].dir_of, cases[c].file_of);
      }
      printf("\n");
    }
    wipe();
  }
  return 0;
}
