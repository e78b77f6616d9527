// SPDX-License-Identifier: LGPL-2.1-or-later
// An actor of the view's property test (view_property.cc): reads an operation a line, does it, answers with a line.
//   VERB SLOT SLOT2 PATH PATH2 OFFSET AMOUNT FLAGS      "-" is no path; a slot holds an open file; what FLAGS are is the verb's
// An answer holds what must be the same on any file system of the same kind: no inode numbers, and of times only those that were set.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { slots = 8, most = 1 << 17, set_before = 1262304000 };  // utimensat() here sets times before 2010 only

struct operation {
  char verb[16], path[1024], path2[64];
  int slot, slot2, flags;
  long offset, amount;
};

static int open_files[slots];
static unsigned char bytes[most];
static sigjmp_buf beyond_end;

__attribute__((format(printf, 1, 2))) static void say(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vprintf(format, arguments);
  va_end(arguments);
}

// What a call gave: its result, or the name of its error.
static void tell(long result) {
  if (result < 0)
    say("%s", strerrorname_np(errno));
  else
    say("%ld", result);
}

static int file(int slot) {
  return slot >= 0 && slot < slots ? open_files[slot] : -1;
}

static uint32_t digest(const unsigned char* from, size_t length) {  // FNV-1a
  uint32_t sum = 2166136261U;
  for (size_t i = 0; i < length; i++) sum = (sum ^ from[i]) * 16777619U;
  return sum;
}

static size_t length_of(const struct operation* op) {
  return op->amount < most ? (size_t)op->amount : most;
}

static void fill(const struct operation* op) {
  for (size_t i = 0; i < length_of(op); i++) bytes[i] = (unsigned char)(i * 31 + (size_t)op->flags);
}

static void tell_bytes(ssize_t got) {
  tell(got);
  if (got > 0) say(" %08x", digest(bytes, (size_t)got));
}

static void close_slot(int slot) {
  if (file(slot) >= 0) close(file(slot));
  open_files[slot] = -1;
}

static void do_open(const struct operation* op) {
  close_slot(op->slot);
  open_files[op->slot] = open(op->path, op->flags | O_CLOEXEC, (mode_t)op->amount);
  tell(file(op->slot) < 0 ? -1 : 0);
}

static void do_close(const struct operation* op) {
  tell(close(file(op->slot)));
  open_files[op->slot] = -1;
}

static void do_read(const struct operation* op) {
  tell_bytes(read(file(op->slot), bytes, length_of(op)));
}

static void do_pread(const struct operation* op) {
  tell_bytes(pread(file(op->slot), bytes, length_of(op), op->offset));
}

// Where an append leaves the offset is as the guest believed the end to be; see docs/view.md. What comes next begins at the end.
static void do_write(const struct operation* op) {
  fill(op);
  const ssize_t done = write(file(op->slot), bytes, length_of(op));
  const int error = errno;
  const int flags = fcntl(file(op->slot), F_GETFL);
  if (done >= 0 && flags & O_APPEND) lseek(file(op->slot), 0, SEEK_END);
  errno = error;
  tell(done);
}

static void do_pwrite(const struct operation* op) {
  fill(op);
  tell(pwrite(file(op->slot), bytes, length_of(op), op->offset));
}

// A whole file, opened for it: what open() finds in a cache shows here.
static void tell_content(const char* path) {
  const int opened = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (opened < 0) return tell(-1);
  tell_bytes(read(opened, bytes, sizeof bytes));
  close(opened);
}

static void do_content(const struct operation* op) {
  tell_content(op->path);
}

static int is_directory(int slot) {
  struct stat seen;
  return fstat(file(slot), &seen) == 0 && S_ISDIR(seen.st_mode);
}

static void do_lseek(const struct operation* op) {
  if (is_directory(op->slot)) return say("directory");  // its offsets are cookies
  tell(lseek(file(op->slot), op->offset, op->flags));
}

static void do_truncate(const struct operation* op) {
  tell(truncate(op->path, op->offset));
}

static void do_ftruncate(const struct operation* op) {
  tell(ftruncate(file(op->slot), op->offset));
}

static void do_fallocate(const struct operation* op) {
  tell(fallocate(file(op->slot), op->flags, op->offset, op->amount));
}

// Where the kernel copies by itself, it goes by the size that it last heard of (docs/view.md).
static void hear_size(int slot) {
  struct stat seen;
  fstat(file(slot), &seen);
}

static void do_copy(const struct operation* op) {
  hear_size(op->slot);
  off_t from = op->offset, to = op->flags;
  tell(copy_file_range(file(op->slot), &from, file(op->slot2), &to, length_of(op), 0));
}

static void do_sendfile(const struct operation* op) {
  hear_size(op->slot);
  off_t from = op->offset;
  tell(sendfile(file(op->slot2), file(op->slot), &from, length_of(op)));
}

static void do_fsync(const struct operation* op) {
  tell(op->flags ? fdatasync(file(op->slot)) : fsync(file(op->slot)));
}

static void do_unlink(const struct operation* op) {
  tell(unlink(op->path));
}

static void do_rmdir(const struct operation* op) {
  tell(rmdir(op->path));
}

static void do_mkdir(const struct operation* op) {
  tell(mkdir(op->path, (mode_t)op->amount));
}

// ESTALE: a name leads to a directory that has moved at home, and that the kernel cannot move within rename(2); see
// docs/view.md. Once it was looked up it has moved.
static void do_rename(const struct operation* op) {
  int result = renameat2(AT_FDCWD, op->path, AT_FDCWD, op->path2, (unsigned)op->flags);
  if (result < 0 && errno == ESTALE) {
    struct stat seen;
    lstat(op->path, &seen);
    lstat(op->path2, &seen);
    result = renameat2(AT_FDCWD, op->path, AT_FDCWD, op->path2, (unsigned)op->flags);
  }
  tell(result);
}

static void do_link(const struct operation* op) {
  tell(linkat(AT_FDCWD, op->path, AT_FDCWD, op->path2, op->flags));
}

static void do_symlink(const struct operation* op) {
  tell(symlink(op->path, op->path2));
}

static void tell_target(const char* path) {
  const ssize_t got = readlink(path, (char*)bytes, sizeof bytes);
  tell(got);
  if (got > 0) say(" %.*s", (int)got, (char*)bytes);
}

static void do_readlink(const struct operation* op) {
  tell_target(op->path);
}

static void do_chmod(const struct operation* op) {
  tell(chmod(op->path, (mode_t)op->amount));
}

static void do_fchmod(const struct operation* op) {
  tell(fchmod(file(op->slot), (mode_t)op->amount));
}

static void do_chown(const struct operation* op) {
  tell(fchownat(AT_FDCWD, op->path, (uid_t)op->offset, (gid_t)op->amount, op->flags));
}

// What has no fixed size is a directory; what was not set by utimensat() is "now".
static void tell_attributes(const struct stat* seen) {
  say("%o %u:%u links %lu", seen->st_mode, seen->st_uid, seen->st_gid, (unsigned long)seen->st_nlink);
  if (!S_ISDIR(seen->st_mode)) say(" size %ld", (long)seen->st_size);
  if (seen->st_mtim.tv_sec < set_before)
    say(" mtime %ld.%09ld", (long)seen->st_mtim.tv_sec, seen->st_mtim.tv_nsec);
  else
    say(" now");
}

static void do_stat(const struct operation* op) {
  struct stat seen;
  const int result = fstatat(AT_FDCWD, op->path, &seen, op->flags);
  result < 0 ? tell(result) : tell_attributes(&seen);
}

static void do_fstat(const struct operation* op) {
  struct stat seen;
  const int result = fstat(file(op->slot), &seen);
  result < 0 ? tell(result) : tell_attributes(&seen);
}

static void do_utimes(const struct operation* op) {
  const struct timespec when[2] = {
      {.tv_nsec = UTIME_OMIT}, {.tv_sec = op->offset, .tv_nsec = op->offset < 0 ? UTIME_NOW : op->amount}};
  tell(utimensat(AT_FDCWD, op->path, when, op->flags));
}

static void do_setxattr(const struct operation* op) {
  fill(op);
  tell(lsetxattr(op->path, op->path2, bytes, length_of(op), (int)op->offset));
}

static void do_getxattr(const struct operation* op) {
  tell_bytes(lgetxattr(op->path, op->path2, bytes, length_of(op)));
}

static void do_removexattr(const struct operation* op) {
  tell(lremovexattr(op->path, op->path2));
}

static void do_listxattr(const struct operation* op) {
  tell_bytes(llistxattr(op->path, (char*)bytes, sizeof bytes));
}

static void caught(int number) {
  siglongjmp(beyond_end, number);
}

// FLAGS 0: what a shared mapping of the file shows. Else writes AMOUNT bytes at OFFSET through it, and has them written back.
static void do_map(const struct operation* op) {
  struct stat seen;
  const long end = op->offset + op->amount;
  if (fstat(file(op->slot), &seen) < 0) return tell(-1);
  if (!S_ISREG(seen.st_mode) || seen.st_size == 0 || (op->flags && seen.st_size < end))
    return say("too small");
  const size_t size = (size_t)seen.st_size;
  unsigned char* mapped =
      mmap(NULL, size, op->flags ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, file(op->slot), 0);
  if (mapped == MAP_FAILED) return tell(-1);
  if (sigsetjmp(beyond_end, 1)) {
    say("SIGBUS");
  } else if (op->flags) {
    fill(op);
    memcpy(mapped + op->offset, bytes, length_of(op));
    tell(msync(mapped, size, MS_SYNC));
  } else {
    say("%zu %08x", size, digest(mapped, size));
  }
  munmap(mapped, size);
}

static void do_flock(const struct operation* op) {
  if (is_directory(op->slot)) return say("directory");  // docs/view.md
  tell(flock(file(op->slot), op->flags | LOCK_NB));
}

// PATH2 "ofd": the lock is the open file's.
static void do_lock(const struct operation* op) {
  struct flock lock = {
      .l_type = (short)op->flags, .l_whence = SEEK_SET, .l_start = op->offset, .l_len = op->amount};
  tell(fcntl(file(op->slot), strcmp(op->path2, "ofd") ? F_SETLK : F_OFD_SETLK, &lock));
}

static void do_getlock(const struct operation* op) {
  struct flock lock = {
      .l_type = (short)op->flags, .l_whence = SEEK_SET, .l_start = op->offset, .l_len = op->amount};
  const int result = fcntl(file(op->slot), F_GETLK, &lock);
  if (result < 0) return tell(result);
  say("%d", lock.l_type);
  if (lock.l_type != F_UNLCK) say(" %ld %ld", (long)lock.l_start, (long)lock.l_len);
}

static int by_name(const struct dirent** one, const struct dirent** other) {
  return strcmp((*one)->d_name, (*other)->d_name);
}

static void list_deep(const char* directory);

static void tell_entry(const char* path, const struct dirent* entry, int deep) {
  const char* name = entry->d_name;
  const int is_dot = !strcmp(name, ".") || !strcmp(name, "..");
  struct stat seen;
  if (lstat(path, &seen) < 0) return say(" %s/%s", name, strerrorname_np(errno));
  if (!deep || is_dot) {
    const int is_same = is_dot || entry->d_ino == seen.st_ino;
    return say(" %s/%d%s", name, entry->d_type, is_same ? "" : " of another inode");
  }
  say("; %s: ", path);
  tell_attributes(&seen);
  if (S_ISREG(seen.st_mode)) say(" "), tell_content(path);
  if (S_ISLNK(seen.st_mode)) say(" "), tell_target(path);
  if (S_ISDIR(seen.st_mode)) list_deep(path);
}

// The names of a directory, sorted, each with its type; with `deep`, all that lies below, with attributes and contents.
static void list(const char* directory, int deep) {
  struct dirent** entries;
  const int count = scandir(directory, &entries, NULL, by_name);
  if (count < 0) return tell(-1);
  for (int i = 0; i < count; i++) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", directory, entries[i]->d_name);
    tell_entry(path, entries[i], deep);
    free(entries[i]);
  }
  free(entries);
}

static void list_deep(const char* directory) {
  list(directory, 1);
}

static void do_list(const struct operation* op) {
  list(op->path, 0);
}

static void do_tree(const struct operation* op) {
  list_deep(op->path);
}

static void do_enter(const struct operation* op) {
  for (int slot = 0; slot < slots; slot++) close_slot(slot);
  tell(chdir(op->path));
}

static const struct {
  const char* verb;
  void (*act)(const struct operation*);
} verbs[] = {
    {"open", do_open},
    {"close", do_close},
    {"read", do_read},
    {"pread", do_pread},
    {"write", do_write},
    {"pwrite", do_pwrite},
    {"content", do_content},
    {"lseek", do_lseek},
    {"truncate", do_truncate},
    {"unlink", do_unlink},
    {"ftruncate", do_ftruncate},
    {"fallocate", do_fallocate},
    {"copy", do_copy},
    {"fsync", do_fsync},
    {"rmdir", do_rmdir},
    {"mkdir", do_mkdir},
    {"rename", do_rename},
    {"link", do_link},
    {"symlink", do_symlink},
    {"readlink", do_readlink},
    {"chmod", do_chmod},
    {"fchmod", do_fchmod},
    {"stat", do_stat},
    {"fstat", do_fstat},
    {"utimes", do_utimes},
    {"setxattr", do_setxattr},
    {"getxattr", do_getxattr},
    {"map", do_map},
    {"removexattr", do_removexattr},
    {"listxattr", do_listxattr},
    {"flock", do_flock},
    {"lock", do_lock},
    {"getlock", do_getlock},
    {"list", do_list},
    {"tree", do_tree},
    {"enter", do_enter},
    {"chown", do_chown},
    {"sendfile", do_sendfile},
};

static void answer(const struct operation* op) {
  for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
    if (!strcmp(verbs[i].verb, op->verb)) return verbs[i].act(op);
  say("no such verb");
}

int main(void) {
  char line[4096];
  for (int slot = 0; slot < slots; slot++) open_files[slot] = -1;
  signal(SIGBUS, caught);
  umask(022);
  while (fgets(line, sizeof line, stdin)) {
    struct operation op;
    if (sscanf(line, "%15s %d %d %1023s %63s %li %li %i", op.verb, &op.slot, &op.slot2, op.path, op.path2,
               &op.offset, &op.amount, &op.flags) == 8)
      answer(&op);
    else
      say("cannot read this");
    say("\n");
    fflush(stdout);
  }
  return 0;
}
