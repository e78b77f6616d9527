// SPDX-License-Identifier: LGPL-2.1-or-later
// Who may change a file's owner, group, mode and times, and what becomes of its set-id bits.
#include <sys/xattr.h>

#include "rights.h"

#define TRY(name, expression) \
  static long name(void) {    \
    return expression;        \
  }
static const struct timespec some_time[2] = {{1000, 5}, {2000, 7}};
static const struct timespec now[2] = {{0, UTIME_NOW}, {0, UTIME_NOW}};
static const struct timespec nothing[2] = {{0, UTIME_OMIT}, {0, UTIME_OMIT}};
static const struct timespec half[2] = {{0, UTIME_NOW}, {0, UTIME_OMIT}};

TRY(mode_plain, chmod("file", 0644))
TRY(mode_setuid, chmod("file", 04755))
TRY(mode_setgid, chmod("file", 02755))
TRY(mode_setgid_locks, chmod("file", 02644))
TRY(mode_sticky, chmod("file", 01755))
TRY(mode_by_descriptor, fchmod(open("file", O_RDONLY), 06777))
TRY(owner_same, chown("file", owner_id, (gid_t)-1))
TRY(owner_other, chown("file", other_id, (gid_t)-1))
TRY(owner_root, chown("file", 0, 0))
TRY(group_same, chown("file", (uid_t)-1, group_id))
TRY(group_extra, chown("file", (uid_t)-1, extra_group))
TRY(group_other, chown("file", (uid_t)-1, other_id))
TRY(group_root, chown("file", (uid_t)-1, 0))
TRY(both_same, chown("file", owner_id, group_id))
TRY(by_descriptor, fchown(open("file", O_RDONLY), owner_id, extra_group))
TRY(of_link, lchown("link", owner_id, extra_group))
TRY(time_now, utimensat(AT_FDCWD, "file", NULL, 0))
TRY(time_now_said, utimensat(AT_FDCWD, "file", now, 0))
TRY(time_half, utimensat(AT_FDCWD, "file", half, 0))
TRY(time_none, utimensat(AT_FDCWD, "file", nothing, 0))
TRY(time_some, utimensat(AT_FDCWD, "file", some_time, 0))
TRY(time_of_link, utimensat(AT_FDCWD, "link", some_time, AT_SYMLINK_NOFOLLOW))
TRY(time_by_descriptor, futimens(open("file", O_RDONLY), some_time))
TRY(attribute_set, setxattr("file", "user.x", "1", 1, 0))
TRY(attribute_get, getxattr("file", "user.y", NULL, 0))
TRY(attribute_list, listxattr("file", NULL, 0) == -1 ? -1 : 0)

static const struct {
  const char* name;
  long (*call)(void);
} tries[] = {
    {"chmod 0644", mode_plain},
    {"chmod 04755", mode_setuid},
    {"chmod 02755", mode_setgid},
    {"chmod 02644", mode_setgid_locks},
    {"chmod 01755", mode_sticky},
    {"fchmod 06777", mode_by_descriptor},
    {"chown owner", owner_same},
    {"chown other", owner_other},
    {"chown root", owner_root},
    {"chgrp same", group_same},
    {"chgrp extra", group_extra},
    {"chgrp other", group_other},
    {"chgrp root", group_root},
    {"chown as is", both_same},
    {"fchown", by_descriptor},
    {"lchown", of_link},
    {"utimes", time_now},
    {"utimes now", time_now_said},
    {"utimes half", time_half},
    {"utimes none", time_none},
    {"utimes some", time_some},
    {"utimes of link", time_of_link},
    {"futimes", time_by_descriptor},
    {"setxattr", attribute_set},
    {"getxattr", attribute_get},
    {"listxattr", attribute_list},
};

static const mode_t modes[] = {06777, 02767, 0600};

// When the last one was not changed, it serves again.
static void new_file(mode_t mode) {
  if (access("file", F_OK) == 0 && stat_name("file").st_mode == (S_IFREG | mode)) return;
  unlink("file");
  unlink("link");
  make_owned("file", 0600);
  setxattr("file", "user.y", "1", 1, 0);
  give("file", mode);
  CHECK(symlink("file", "link") == 0);
  give("link", 0);
}

int main(int argc, char** argv) {
  enter_shared(argc, argv);
  for (size_t m = 0; m < sizeof modes / sizeof *modes; ++m)
    for (size_t t = 0; t < sizeof tries / sizeof *tries; ++t) {
      printf("%04o %s:", modes[m], tries[t].name);
      for (int i = 0; i < actor_count; ++i) {
        new_file(modes[m]);
        const int error = try_as(&actors[i], tries[t].call);
        printf(" %s=%s", actors[i].name, name_of(error));
        print_status("file");
        print_status("link");
        if (!error) CHECK(unlink("file") == 0 && unlink("link") == 0);
      }
      printf("\n");
    }
  return 0;
}
