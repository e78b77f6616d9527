// SPDX-License-Identifier: LGPL-2.1-or-later
// readdir(3): each name once, from any place that telldir(3) said, also while names come and go.
#include "check.h"

enum { many = 5000 };
static unsigned char seen[many];

static int number_of(const char* name) {
  return strncmp(name, "file-", 5) == 0 ? atoi(name + 5) : -1;
}

static void each_once(DIR* directory) {
  memset(seen, 0, sizeof seen);
  int others = 0;
  for (struct dirent* entry; (entry = readdir(directory));) {
    const int number = number_of(entry->d_name);
    CHECK(number < many);
    if (number < 0)
      ++others;
    else
      ++seen[number];
  }
  for (int i = 0; i < many; ++i) CHECK(seen[i] == 1);
  CHECK(others == 2);
}

static void places(DIR* directory) {
  static long place[many + 3];  // the last is the end's
  static char name[many + 2][32];
  rewinddir(directory);
  int count = 0;
  for (struct dirent* entry; place[count] = telldir(directory), (entry = readdir(directory)); ++count) {
    CHECK(count < many + 2);
    strcpy(name[count], entry->d_name);
  }
  CHECK(count == many + 2);
  for (int i = 0, at = 17; i < 200; ++i, at = (at * 1103 + 71) % count) {
    seekdir(directory, place[at]);
    for (int next = at; next < count && next < at + 3; ++next)
      CHECK(strcmp(readdir(directory)->d_name, name[next]) == 0);
  }
}

// Who removes what he has read misses nothing.
static void removed_while_read(DIR* directory) {
  rewinddir(directory);
  int removed = 0;
  for (struct dirent* entry; (entry = readdir(directory));)
    if (number_of(entry->d_name) >= 0) {
      CHECK(unlink(entry->d_name) == 0);
      ++removed;
    }
  printf("removed while it was read: %s\n", removed == many ? "all" : "not all");
  rewinddir(directory);
  for (struct dirent* entry; (entry = readdir(directory));)
    if (number_of(entry->d_name) >= 0) CHECK(unlink(entry->d_name) == 0);
}

static void changes(DIR* directory) {
  rewinddir(directory);
  CHECK(readdir(directory));
  CHECK(close(make("new", 1, 1)) == 0);
  rewinddir(directory);  // sees what is there now
  int found = 0;
  for (struct dirent* entry; (entry = readdir(directory));) found += strcmp(entry->d_name, "new") == 0;
  CHECK(found == 1 && rename("new", "newer") == 0);
  rewinddir(directory);
  found = 0;
  for (struct dirent* entry; (entry = readdir(directory));)
    found += strcmp(entry->d_name, "newer") == 0 ? 1 : strcmp(entry->d_name, "new") == 0 ? 10 : 0;
  CHECK(found == 1 && unlink("newer") == 0);
}

int main(int argc, char** argv) {
  enter(argc, argv);
  char name[32];
  for (int i = 0; i < many; ++i) {
    snprintf(name, sizeof name, "file-%d", i);
    CHECK(close(open(name, O_WRONLY | O_CREAT | O_EXCL, 0666)) == 0);
  }
  DIR* directory = opendir(".");
  CHECK(directory);
  each_once(directory);
  rewinddir(directory);
  each_once(directory);
  places(directory);
  // Two descriptions of one directory do not disturb each other.
  DIR* other = opendir(".");
  rewinddir(directory);
  for (int i = 0; i < 100; ++i) CHECK(readdir(directory));
  each_once(other);
  CHECK(closedir(other) == 0);
  removed_while_read(directory);
  changes(directory);
  CHECK(closedir(directory) == 0);
  FAILS(open("none", O_RDONLY | O_DIRECTORY), ENOENT);
  const int file = make("file", 1, 1);
  FAILS(openat(file, "x", O_RDONLY), ENOTDIR);
  FAILS(open("file", O_RDONLY | O_DIRECTORY), ENOTDIR);
  FAILS(open(".", O_RDWR), EISDIR);
  FAILS(open("made", O_RDONLY | O_CREAT | O_DIRECTORY, 0666), EINVAL);
  char byte;
  FAILS(read(open(".", O_RDONLY), &byte, 1), EISDIR);
  return 0;
}
