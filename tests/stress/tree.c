// SPDX-License-Identifier: LGPL-2.1-or-later
// stress-tree run DIRECTORY SEED PROCESSES SECONDS [elsewhere]: processes that do anything to the names of one tree, each
// in the way of the others. An errno that a local file system does not give ends it; but ESTALE is none when somebody
// elsewhere moves directories too: Linux gives it for one that it meets at another place while it renames (d_splice_alias).
// stress-tree list DIRECTORY: all there is, to be compared with what another place sees.
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <time.h>

#include "check.h"
#include "sum.h"

static uint64_t random_state;
static bool elsewhere;

static unsigned any(unsigned below) {  // xorshift64*
  random_state ^= random_state >> 12;
  random_state ^= random_state << 25;
  random_state ^= random_state >> 27;
  return (unsigned)((random_state * 0x2545F4914F6CDD1DULL) >> 33) % below;
}

// Few names, so that they meet: up to three directories, and a last one that may be anything.
static const char* some_name(char* into, size_t room) {
  size_t length = 0;
  for (unsigned depth = any(4); depth; --depth)
    length += (size_t)snprintf(into + length, room - length, "%c/", "abc"[any(3)]);
  snprintf(into + length, room - length, "%c", any(3) ? "0123456789"[any(10)] : "abc"[any(3)]);
  return into;
}

// What may happen to any of them; `also` ends with 0.
static void expect(long result, const char* what, const char* name, const int* also) {
  static const int always[] = {ENOENT, ENOTDIR, ELOOP, EEXIST, EISDIR, ENOTEMPTY, EINVAL, ENAMETOOLONG, 0};
  const int error = errno;
  if (result >= 0 || (elsewhere && error == ESTALE)) return;
  for (const int* may = always; *may; ++may)
    if (error == *may) return;
  for (; also && *also; ++also)
    if (error == *also) return;
  fprintf(stderr, "%s %s: %s\n", what, name, strerror(error));
  _exit(1);
}

static const int none[] = {0}, no_link[] = {EPERM, EMLINK, 0}, other_type[] = {EPERM, ENODATA, ENXIO, 0};

static void write_some(int fd) {
  char bytes[3000];
  fill(bytes, sizeof bytes, any(256));
  for (unsigned count = any(3); count; --count)
    CHECK(pwrite(fd, bytes, 1 + any(sizeof bytes - 1), any(20000)) > 0);
}

static void make_file(const char* name) {
  const int flags = any(2) ? O_EXCL : any(2) ? O_TRUNC : any(2) ? O_APPEND : 0;
  const int fd = open(name, (any(2) ? O_RDWR : O_WRONLY) | O_CREAT | flags, 0600 | (mode_t)any(64));
  expect(fd, "create", name, none);
  if (fd < 0) return;
  write_some(fd);
  if (any(8) == 0) CHECK(fsync(fd) == 0);
  CHECK(close(fd) == 0);
}

static void make_nameless(const char* name) {
  char path[40];
  const int fd = open(any(2) ? "." : "a", O_RDWR | O_TMPFILE, 0644);
  // EPERM: ext4's answer in a directory that was removed just behind the look-up (__ext4_new_inode); the kernel, which has
  // ENOENT for every other name there (may_create), does not look before it makes a nameless one (vfs_tmpfile).
  expect(fd, "O_TMPFILE", name, (const int[]){EOPNOTSUPP, EPERM, 0});
  if (fd < 0) return;
  write_some(fd);
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  expect(linkat(AT_FDCWD, path, AT_FDCWD, name, AT_SYMLINK_FOLLOW), "linkat", name, none);
  CHECK(close(fd) == 0);
}

static void use(const char* name) {
  char bytes[4096];
  const int fd = open(name, O_RDWR | O_NOFOLLOW);
  expect(fd, "open", name, none);
  if (fd < 0) return;
  const ssize_t got = pread(fd, bytes, sizeof bytes, any(10000));
  CHECK(got >= 0);
  if (any(2)) CHECK(ftruncate(fd, any(30000)) == 0);
  if (any(2)) write_some(fd);
  if (any(4) == 0) CHECK(fchmod(fd, 0600 | (mode_t)any(64)) == 0);
  CHECK(close(fd) == 0);
}

static void list_names(const char* name) {
  DIR* dir = opendir(name);
  expect(dir ? 0 : -1, "opendir", name, none);
  if (!dir) return;
  int dots = 0;
  errno = 0;
  for (struct dirent* entry; (entry = readdir(dir)); errno = 0)
    dots += strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
  CHECK(errno == 0 && (dots == 2 || dots == 0));  // libc shows one that was removed as empty
  CHECK(closedir(dir) == 0);
}

static void one(void) {
  char name[64], other[64], target[256];
  struct stat status;
  some_name(name, sizeof name);
  some_name(other, sizeof other);
  switch (any(16)) {
    case 0:
    case 1:
      return make_file(name);
    case 2:
    case 3:
      return expect(mkdir(name, 0700 | (mode_t)any(64)), "mkdir", name, none);
    case 4:
      return expect(link(name, other), "link", name, no_link);
    case 5:
      return expect(symlink(other, name), "symlink", name, none);
    case 6:
      return expect(rename(name, other), "rename", name, no_link);
    case 7:
      return expect(syscall(SYS_renameat2, AT_FDCWD, name, AT_FDCWD, other, 1 + any(2)), "renameat2", name,
                    no_link);
    case 8:
      return expect(unlink(name), "unlink", name, other_type);
    case 9:
      return expect(rmdir(name), "rmdir", name, (const int[]){EBUSY, 0});
    case 10:
      return expect(truncate(name, any(30000)), "truncate", name, none);
    case 11:
      return expect(any(3) ? lsetxattr(name, "user.stress", other, strlen(other), 0)
                           : lremovexattr(name, "user.stress"),
                    "xattr", name, other_type);
    case 12:
      return list_names(name);
    case 13:
      expect(readlink(name, target, sizeof target), "readlink", name, none);
      return expect(lstat(name, &status), "lstat", name, none);
    case 14:
      return make_nameless(name);
    default:
      return use(name);
  }
}

static void run(unsigned long seed, int processes, int seconds) {
  pid_t child[64];
  CHECK(processes <= 64);
  for (int i = 0; i < processes; ++i)
    if ((child[i] = fork()) == 0) {
      random_state = (seed * 64 + (unsigned)i) * 0x9E3779B97F4A7C15ULL + 1;
      unsigned long count = 0;
      for (const time_t end = time(NULL) + seconds; time(NULL) < end; ++count) one();
      fprintf(stderr, "%lu operations\n", count);
      _exit(0);
    }
  for (int i = 0; i < processes; ++i) await(child[i]);
}

static int by_name(const void* a, const void* b) {
  return strcmp(*(char* const*)a, *(char* const*)b);
}

// What a name leads to, without following it.
static void tell_rest(const char* path, const struct stat* status) {
  char text[256];
  if (S_ISREG(status->st_mode)) {
    const int fd = open(path, O_RDONLY);
    char* content = malloc((size_t)status->st_size + 1);
    CHECK(fd >= 0 && content && read(fd, content, (size_t)status->st_size + 1) == status->st_size);
    printf(" %016llx", (unsigned long long)sum_of(content, (size_t)status->st_size));
    free(content);
    CHECK(close(fd) == 0);
  } else if (S_ISLNK(status->st_mode)) {
    const ssize_t length = readlink(path, text, sizeof text);
    CHECK(length == status->st_size);
    printf(" -> %.*s", (int)length, text);
  }
  const ssize_t length = lgetxattr(path, "user.stress", text, sizeof text);
  CHECK(length >= 0 || errno == ENODATA || errno == EOPNOTSUPP || errno == EPERM);
  if (length >= 0) printf(" user.stress=%.*s", (int)length, text);
}

static void list(const char* path) {
  struct stat status = stat_name(path);
  printf("%s %o %lu %ld %ld.%09ld", path, status.st_mode, (unsigned long)status.st_nlink,
         (long)status.st_size, (long)status.st_mtim.tv_sec, status.st_mtim.tv_nsec);
  tell_rest(path, &status);
  printf("\n");
  if (!S_ISDIR(status.st_mode)) return;
  char* names[1000];
  size_t count = 0;
  DIR* dir = opendir(path);
  CHECK(dir);
  errno = 0;
  for (struct dirent* entry; (entry = readdir(dir)); errno = 0) {
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
    char* name = malloc(strlen(path) + strlen(entry->d_name) + 2);
    CHECK(name && count < 1000);
    sprintf(name, "%s/%s", path, entry->d_name);
    names[count++] = name;
  }
  CHECK(errno == 0);
  CHECK(closedir(dir) == 0);
  qsort(names, count, sizeof *names, by_name);
  for (size_t i = 0; i < count; free(names[i++])) list(names[i]);
}

int main(int argc, char** argv) {
  CHECK(argc > 2 && chdir(argv[2]) == 0);
  umask(0);
  elsewhere = argc == 7;
  const bool runs = argc >= 6 && strcmp(argv[1], "run") == 0;
  if (runs) run(strtoul(argv[3], NULL, 10), atoi(argv[4]), atoi(argv[5]));
  if (!runs || !elsewhere) list(".");  // who works elsewhere may still be at it
  return 0;
}
