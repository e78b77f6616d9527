// SPDX-License-Identifier: LGPL-2.1-or-later
// A file is one node whatever it is called, and stays it; hard links are counted.
#include "check.h"

static void links(void) {
  const int fd = make("one", 10, 1);
  const struct stat first = stat_fd(fd);
  CHECK(first.st_nlink == 1);
  CHECK(link("one", "two") == 0 && mkdir("d", 0777) == 0 && link("two", "d/three") == 0);
  for (int i = 0; i < 3; ++i) {
    const struct stat now = stat_name((const char*[]){"one", "two", "d/three"}[i]);
    CHECK(same_node(first, now) && now.st_nlink == 3 && now.st_size == 10);
  }
  CHECK(pwrite(fd, "0123456789ab", 12, 0) == 12);
  CHECK(stat_name("d/three").st_size == 12);
  FAILS(link("one", "two"), EEXIST);
  FAILS(link("d", "e"), EPERM);
  FAILS(link("none", "e"), ENOENT);
  CHECK(unlink("one") == 0 && stat_name("two").st_nlink == 2 && stat_fd(fd).st_nlink == 2);
  CHECK(rename("two", "d/three") == 0);  // two names of one file: both stay
  CHECK(stat_name("two").st_nlink == 2);
  CHECK(unlink("two") == 0 && unlink("d/three") == 0 && stat_fd(fd).st_nlink == 0);
  CHECK(close(fd) == 0);
}

static void stays(void) {
  const int fd = make("a", 1, 1);
  const struct stat first = stat_fd(fd);
  CHECK(close(fd) == 0);
  CHECK(rename("a", "d/b") == 0 && same_node(first, stat_name("d/b")));
  CHECK(chmod("d/b", 0600) == 0 && truncate("d/b", 100) == 0 && same_node(first, stat_name("d/b")));
  // Replaced by another, it is another.
  CHECK(close(make("c", 1, 1)) == 0);
  const struct stat other = stat_name("c");
  CHECK(!same_node(first, other) && rename("c", "d/b") == 0 && same_node(other, stat_name("d/b")));
}

static void directories(void) {
  CHECK(mkdir("p", 0777) == 0 && mkdir("p/q", 0777) == 0);
  CHECK(same_node(stat_name("p"), stat_name("p/.")) && same_node(stat_name("p"), stat_name("p/q/..")));
  printf("links of a directory: %ld\n", (long)stat_name("p").st_nlink);
  CHECK(rmdir("p/q") == 0);
  printf("links of an empty one: %ld\n", (long)stat_name("p").st_nlink);
}

static void listed(void) {
  CHECK(symlink("nowhere", "l") == 0 && mkfifo("f", 0666) == 0);
  DIR* directory = opendir(".");
  int count = 0;
  for (struct dirent* entry; (entry = readdir(directory)); ++count) {
    const struct stat status = stat_name(entry->d_name);
    CHECK(entry->d_type == DT_UNKNOWN || entry->d_type == IFTODT(status.st_mode));
    if (strcmp(entry->d_name, "..") != 0) CHECK(entry->d_ino == status.st_ino);
  }
  CHECK(count == 6 && closedir(directory) == 0);  // . .. d p l f
}

int main(int argc, char** argv) {
  enter(argc, argv);
  links();
  stays();
  directories();
  listed();
  return 0;
}
