// SPDX-License-Identifier: LGPL-2.1-or-later
// Extended attributes, and what statfs(2) says.
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>

#include "check.h"

// The names of a list, sorted by being looked for: those of "user." and "trusted." only.
static bool lists(const char* name, const char* wanted, bool yes) {
  char names[4096];
  const ssize_t size = listxattr(name, names, sizeof names);
  CHECK(size >= 0);
  bool found = false;
  for (ssize_t at = 0; at < size; at += (ssize_t)strlen(names + at) + 1)
    found |= strcmp(names + at, wanted) == 0;
  return found == yes;
}

static void values(void) {
  const int fd = make("file", 1, 1);
  char got[100];
  const int set = setxattr("file", "user.one", "value\0more", 10, 0);
  tell("user attributes", set);
  if (set != 0) return;
  CHECK(getxattr("file", "user.one", got, sizeof got) == 10 && memcmp(got, "value\0more", 10) == 0);
  CHECK(getxattr("file", "user.one", NULL, 0) == 10 && fgetxattr(fd, "user.one", got, 10) == 10);
  FAILS(getxattr("file", "user.one", got, 9), ERANGE);
  FAILS(getxattr("file", "user.none", got, 9), ENODATA);
  FAILS(setxattr("file", "user.one", "x", 1, XATTR_CREATE), EEXIST);
  FAILS(setxattr("file", "user.two", "x", 1, XATTR_REPLACE), ENODATA);
  FAILS(setxattr("file", "user.two", "x", 1, 8), EINVAL);
  CHECK(fsetxattr(fd, "user.two", "", 0, XATTR_CREATE) == 0 && getxattr("file", "user.two", got, 1) == 0);
  CHECK(setxattr("file", "user.one", "new", 3, XATTR_REPLACE) == 0 &&
        getxattr("file", "user.one", got, 100) == 3);
  CHECK(lists("file", "user.one", true) && lists("file", "user.two", true) &&
        lists("file", "user.three", false));
  FAILS(listxattr("file", got, 3), ERANGE);
  CHECK(listxattr("file", NULL, 0) >= 18);
  CHECK(removexattr("file", "user.two") == 0 && lists("file", "user.two", false));
  FAILS(removexattr("file", "user.two"), ENODATA);
  FAILS(setxattr("file", "nonsense", "x", 1, 0), EOPNOTSUPP);
  FAILS(setxattr("none", "user.x", "x", 1, 0), ENOENT);
  CHECK(link("file", "hard") == 0 && getxattr("hard", "user.one", got, 100) == 3 &&
        rename("hard", "renamed") == 0);
  CHECK(getxattr("renamed", "user.one", got, 100) == 3);
  CHECK(mkdir("d", 0777) == 0 && setxattr("d", "user.d", "dir", 3, 0) == 0 &&
        getxattr("d", "user.d", got, 100) == 3);
  CHECK(symlink("file", "link") == 0 && getxattr("link", "user.one", got, 100) == 3);
  FAILS(lsetxattr("link", "user.x", "x", 1, 0), EPERM);
  CHECK(close(fd) == 0);
}

static void sizes(void) {
  static char value[70000], got[70000];
  fill(value, sizeof value, 1);
  const size_t of[] = {1000, 4000, 16000, 65536};
  for (int i = 0; i < 4; ++i) {
    const int set = setxattr("file", "user.big", value, of[i], 0);
    printf("%zu bytes, ", of[i]);
    tell("set", set);
    if (set == 0)
      CHECK(getxattr("file", "user.big", got, sizeof got) == (ssize_t)of[i] && is_filled(got, of[i], 1));
  }
  FAILS(setxattr("file", "user.big", value, 65537, 0), E2BIG);
  char name[300] = "user.";
  memset(name + 5, 'n', 251);
  FAILS(setxattr("file", name, "x", 1, 0), ERANGE);
  name[255] = 0;
  removexattr("file", "user.big");  // or there may be no room
  CHECK(setxattr("file", name, "x", 1, 0) == 0 && lists("file", name, true) &&
        removexattr("file", name) == 0);
}

static void space(void) {
  struct statfs all;
  struct statvfs same;
  CHECK(statfs(".", &all) == 0 && statvfs("file", &same) == 0);
  CHECK(all.f_bsize > 0 && all.f_blocks >= all.f_bfree && all.f_bfree >= all.f_bavail);
  CHECK(all.f_blocks == same.f_blocks && all.f_namelen == 255);
  printf("%ld %ld %ld %ld %ld\n", (long)all.f_bsize, (long)all.f_frsize, (long)all.f_blocks,
         (long)all.f_files, (long)all.f_namelen);
  printf("blocks of %ld\n", (long)stat_name("file").st_blksize);
  const int fd = make("mib", 1 << 20, 1);
  struct statfs less;
  CHECK(fsync(fd) == 0 && fstatfs(fd, &less) == 0 && less.f_blocks == all.f_blocks && close(fd) == 0);
}

int main(int argc, char** argv) {
  enter(argc, argv);
  values();
  sizes();
  space();
  return 0;
}
