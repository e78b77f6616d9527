// SPDX-License-Identifier: LGPL-2.1-or-later
// Names are bytes, up to 255 of them; paths may be deeper than PATH_MAX.
#include <limits.h>

#include "check.h"

static void every_byte(void) {
  char name[8];
  int made = 0;
  for (int byte = 1; byte < 256; ++byte) {
    if (byte == '/') continue;
    snprintf(name, sizeof name, "n%c%c", byte, byte);
    CHECK(close(make(name, (size_t)byte, 1)) == 0);
    ++made;
  }
  DIR* directory = opendir(".");
  for (struct dirent* entry; (entry = readdir(directory));)
    if (entry->d_name[0] == 'n') {
      CHECK(strlen(entry->d_name) == 3 && entry->d_name[1] == entry->d_name[2]);
      CHECK(stat_name(entry->d_name).st_size == (unsigned char)entry->d_name[1]);
      CHECK(unlink(entry->d_name) == 0);
      --made;
    }
  CHECK(made == 0 && closedir(directory) == 0);
}

static void lengths(void) {
  char name[NAME_MAX + 2] = "";
  memset(name, 0xc3, NAME_MAX);  // no UTF-8 either
  CHECK(close(make(name, 1, 1)) == 0 && stat_name(name).st_size == 1);
  char other[NAME_MAX + 1] = "";
  memset(other, 'o', NAME_MAX);
  CHECK(rename(name, other) == 0 && link(other, name) == 0 && unlink(other) == 0);
  CHECK(mkdir(other, 0777) == 0 && rmdir(other) == 0 && unlink(name) == 0);
  CHECK(symlink(name, other) == 0 && unlink(other) == 0);
  name[NAME_MAX] = 'x';
  FAILS(open(name, O_WRONLY | O_CREAT, 0666), ENAMETOOLONG);
  FAILS(mkdir(name, 0777), ENAMETOOLONG);
  FAILS(access(name, F_OK), ENAMETOOLONG);
  CHECK(pathconf(".", _PC_NAME_MAX) == NAME_MAX);
}

static void deep(void) {
  char name[101] = "";
  memset(name, 'd', 100);
  const int top = open(".", O_RDONLY | O_DIRECTORY);
  enum { depth = 60 };  // 6000 bytes
  for (int i = 0; i < depth; ++i) CHECK(mkdir(name, 0777) == 0 && chdir(name) == 0);
  CHECK(close(make("bottom", 5, 1)) == 0);
  char cwd[depth * 101 + 4096];
  CHECK(getcwd(cwd, sizeof cwd) || errno == ENAMETOOLONG);
  CHECK(stat_name("bottom").st_size == 5 && unlink("bottom") == 0);
  for (int i = 0; i < depth; ++i) CHECK(chdir("..") == 0 && rmdir(name) == 0);
  CHECK(same_node(stat_fd(top), stat_name(".")) && close(top) == 0);
  static char path[PATH_MAX + 1];
  memset(path, 0, sizeof path);
  for (size_t i = 0; i < PATH_MAX; i += 2) memcpy(path + i, "./", 2);
  FAILS(open(path, O_RDONLY), ENAMETOOLONG);
  path[PATH_MAX - 1] = 0;
  CHECK(close(open(path, O_RDONLY)) == 0);
}

static void links(void) {
  char target[PATH_MAX], got[PATH_MAX + 1];
  for (size_t length = 1; length < PATH_MAX; length = length < 4000 ? length * 5 : length + 95) {
    memset(target, 't', length);
    target[length] = 0;
    CHECK(symlink(target, "link") == 0);
    CHECK(stat_name("link").st_size == (off_t)length && readlink("link", got, sizeof got) == (ssize_t)length);
    CHECK(memcmp(target, got, length) == 0 && readlink("link", got, 1) == 1 && unlink("link") == 0);
  }
  FAILS(symlink("", "link"), ENOENT);
  CHECK(symlink("loop", "loop") == 0);
  FAILS(open("loop", O_RDONLY), ELOOP);
  CHECK(symlink("file", "soft") == 0);
  FAILS(open("soft", O_RDONLY), ENOENT);
  FAILS(open("soft", O_WRONLY | O_CREAT | O_EXCL, 0666), EEXIST);
  CHECK(close(open("soft", O_WRONLY | O_CREAT, 0666)) == 0 && S_ISREG(stat_name("file").st_mode));
  FAILS(open("soft", O_RDONLY | O_NOFOLLOW), ELOOP);
  const int path = open("soft", O_PATH | O_NOFOLLOW);
  CHECK(S_ISLNK(stat_fd(path).st_mode) && readlinkat(path, "", got, sizeof got) == 4 && close(path) == 0);
  CHECK(linkat(AT_FDCWD, "soft", AT_FDCWD, "hard", 0) == 0 && S_ISLNK(stat_name("hard").st_mode));
  CHECK(stat_name("soft").st_nlink == 2);
  CHECK(linkat(AT_FDCWD, "soft", AT_FDCWD, "followed", AT_SYMLINK_FOLLOW) == 0);
  CHECK(same_node(stat_name("followed"), stat_name("file")));
  FAILS(readlink("file", got, sizeof got), EINVAL);
  FAILS(open("file/x", O_RDONLY), ENOTDIR);
  FAILS(open("file/", O_RDONLY), ENOTDIR);
}

int main(int argc, char** argv) {
  enter(argc, argv);
  every_byte();
  lengths();
  deep();
  links();
  return 0;
}
