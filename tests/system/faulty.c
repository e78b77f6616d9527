// SPDX-License-Identifier: LGPL-2.1-or-later
// A file system for home in which something always fails, as on a bad disk, over quota or on a network: faulty DIRECTORY.
// One file for each failure, empty at first; what is written to it is not kept.
#define FUSE_USE_VERSION 31
#include <errno.h>
#include <fuse.h>
#include <string.h>
#include <sys/stat.h>

enum { quota = 100000, size = 200000 };
static const char* const names[] = {"writes", "quota", "reads", "closes", "syncs", "opens", "grows"};

static int is(const char* path, const char* name) {
  return strcmp(path + 1, name) == 0;
}

static int getattr(const char* path, struct stat* status, struct fuse_file_info* info) {
  (void)info;
  if (strcmp(path, "/") == 0) {
    status->st_mode = S_IFDIR | 0755;
    status->st_nlink = 2;
    return 0;
  }
  for (size_t i = 0; i < sizeof names / sizeof *names; ++i)
    if (is(path, names[i])) {
      status->st_mode = S_IFREG | 0666;
      status->st_nlink = 1;
      status->st_size = size;
      return 0;
    }
  return -ENOENT;
}

static int readdir(const char* path, void* buffer, fuse_fill_dir_t fill, off_t offset,
                   struct fuse_file_info* info, enum fuse_readdir_flags flags) {
  (void)path, (void)offset, (void)info, (void)flags;
  for (size_t i = 0; i < sizeof names / sizeof *names; ++i) fill(buffer, names[i], NULL, 0, 0);
  return 0;
}

static int open_file(const char* path, struct fuse_file_info* info) {
  info->direct_io = 1;  // its errors are those of the call itself
  return is(path, "opens") ? -ENFILE : 0;
}

static int read_file(const char* path, char* bytes, size_t count, off_t offset, struct fuse_file_info* info) {
  (void)info;
  if (is(path, "reads") && offset + (off_t)count > quota) return -EIO;
  if (offset >= size) return 0;
  if (offset + (off_t)count > size) count = (size_t)(size - offset);
  memset(bytes, 'f', count);
  return (int)count;
}

static int write_file(const char* path, const char* bytes, size_t count, off_t offset,
                      struct fuse_file_info* info) {
  (void)bytes, (void)info;
  if (is(path, "writes")) return -EIO;
  if (is(path, "quota") && offset + (off_t)count > quota) return -EDQUOT;
  return (int)count;
}

static int flush(const char* path, struct fuse_file_info* info) {
  (void)info;
  return is(path, "closes") ? -EDQUOT : 0;
}

static int sync_file(const char* path, int data_only, struct fuse_file_info* info) {
  (void)data_only, (void)info;
  return is(path, "syncs") ? -EIO : 0;
}

static int cut(const char* path, off_t now, struct fuse_file_info* info) {
  (void)now, (void)info;
  return is(path, "grows") ? -EFBIG : 0;
}

int main(int argc, char** argv) {
  static const struct fuse_operations operations = {.getattr = getattr,
                                                    .readdir = readdir,
                                                    .open = open_file,
                                                    .read = read_file,
                                                    .write = write_file,
                                                    .flush = flush,
                                                    .fsync = sync_file,
                                                    .truncate = cut};
  return fuse_main(argc, argv, &operations, NULL);
}
