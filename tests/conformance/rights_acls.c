// SPDX-License-Identifier: LGPL-2.1-or-later
// POSIX ACLs: who gets in by them, what is inherited, and that the umask counts only where nothing is.
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <sys/xattr.h>

#include "rights.h"

static const char access_acl[] = "system.posix_acl_access", default_acl[] = "system.posix_acl_default";

struct acl {
  struct posix_acl_xattr_header head;
  struct posix_acl_xattr_entry entries[8];
};

// rwx bits of the owner, user member_id, the group, group extra_group, the mask and all others.
static int set_acl(const char* name, const char* kind, int owner, int user, int group, int extra, int mask,
                   int other) {
  const struct acl acl = {{POSIX_ACL_XATTR_VERSION},
                          {{ACL_USER_OBJ, (uint16_t)owner, (uint32_t)-1},
                           {ACL_USER, (uint16_t)user, member_id},
                           {ACL_GROUP_OBJ, (uint16_t)group, (uint32_t)-1},
                           {ACL_GROUP, (uint16_t)extra, extra_group},
                           {ACL_MASK, (uint16_t)mask, (uint32_t)-1},
                           {ACL_OTHER, (uint16_t)other, (uint32_t)-1}}};
  return setxattr(name, kind, &acl, sizeof acl.head + 6 * sizeof *acl.entries, 0);
}

static void print_acl(const char* name, const char* kind) {
  struct acl acl;
  const ssize_t size = getxattr(name, kind, &acl, sizeof acl);
  printf(" [");
  if (size < 0) printf("%s", strerrorname_np(errno));
  for (ssize_t i = 0; (size_t)size >= sizeof acl.head + (size_t)(i + 1) * sizeof *acl.entries && size > 0;
       ++i)
    printf("%s%x:%x:%d", i ? " " : "", acl.entries[i].e_tag, acl.entries[i].e_perm, (int)acl.entries[i].e_id);
  printf("]");
}

static long reads(void) {
  return open("file", O_RDONLY);
}
static long writes(void) {
  return open("file", O_WRONLY);
}
static long may_run(void) {
  return access("file", X_OK);
}
static long searches(void) {
  struct stat status;
  return stat("dir/in", &status);
}
static long creates(void) {
  return open("dir/new", O_CREAT | O_EXCL | O_RDWR, 0600);
}
static long sets(void) {
  return set_acl("file", access_acl, 7, 7, 7, 7, 7, 7);
}
static long drops(void) {
  return removexattr("file", access_acl);
}

static const struct {
  const char* name;
  long (*call)(void);
} tries[] = {{"r", reads},        {"w", writes}, {"x", may_run}, {"search", searches},
             {"create", creates}, {"set", sets}, {"drop", drops}};

static void who_gets_in(void) {
  static const int perms[][6] = {{6, 6, 0, 0, 6, 0}, {6, 4, 0, 6, 7, 0}, {0, 7, 0, 7, 7, 7},
                                 {6, 7, 7, 7, 4, 0}, {7, 0, 7, 0, 7, 7}, {7, 5, 0, 3, 7, 1},
                                 {6, 1, 2, 4, 7, 0}};
  for (size_t p = 0; p < sizeof perms / sizeof *perms; ++p)
    for (size_t t = 0; t < sizeof tries / sizeof *tries; ++t) {
      printf("acl %zu %s:", p, tries[t].name);
      for (int i = 0; i < actor_count; ++i) {
        make_owned("file", 0600);
        make_owned_dir("dir", 0700);
        make_owned("dir/in", 0644);
        const int* a = perms[p];
        CHECK(set_acl("file", access_acl, a[0], a[1], a[2], a[3], a[4], a[5]) == 0);
        CHECK(set_acl("dir", access_acl, a[0], a[1], a[2], a[3], a[4], a[5]) == 0);
        printf(" %s=%s", actors[i].name, name_of(try_as(&actors[i], tries[t].call)));
        print_status("file");
        if (i == 0) print_acl("file", access_acl);
        unlink("dir/new");
        CHECK(unlink("file") == 0 && unlink("dir/in") == 0 && rmdir("dir") == 0);
      }
      printf("\n");
    }
}

static void inherits(void) {
  static const mode_t masks[] = {0, 022, 077, 0777};
  for (int with = 0; with < 2; ++with)
    for (size_t m = 0; m < sizeof masks / sizeof *masks; ++m) {
      CHECK(mkdir("d", 0777) == 0);
      if (with) CHECK(set_acl("d", default_acl, 7, 6, 5, 4, 7, 1) == 0);
      printf("inherit %d %03o", with, masks[m]);
      umask(masks[m]);
      const int made = open("d/file", O_CREAT | O_EXCL | O_RDWR, 0666),
                nameless = open("d", O_TMPFILE | O_RDWR, 0666);
      CHECK(made >= 0 && close(made) == 0 && mkdir("d/dir", 0777) == 0 &&
            mknod("d/fifo", S_IFIFO | 0644, 0) == 0);
      CHECK(mknod("d/plain", S_IFREG | 0660, 0) == 0 && symlink("x", "d/link") == 0);
      umask(022);
      if (nameless >= 0) printf(" %04o", stat_fd(nameless).st_mode & 07777);
      close(nameless);
      static const char* const names[] = {"d/file", "d/dir", "d/fifo", "d/plain"};
      for (int i = 0; i < 4; ++i) {
        print_status(names[i]);
        print_acl(names[i], access_acl);
      }
      print_acl("d/dir", default_acl);
      printf("\n");
      for (int i = 0; i < 4; ++i) remove(names[i]);
      CHECK(unlink("d/link") == 0 && rmdir("d") == 0);
    }
}

static void changes(void) {
  make_owned("file", 0640);
  make_owned_dir("dir", 0750);
  print_acl("file", access_acl);
  CHECK(set_acl("file", access_acl, 6, 7, 4, 5, 5, 0) == 0);
  print_status("file");
  CHECK(chmod("file", 0620) == 0);  // changes the mask
  print_acl("file", access_acl);
  char names[200];
  printf(" names %zd", listxattr("file", names, sizeof names));
  tell(", default of a file", set_acl("file", default_acl, 7, 7, 7, 7, 7, 7));
  tell("nonsense", setxattr("file", access_acl, "nonsense", 8, 0));
  tell("too small", getxattr("file", access_acl, names, 5));
  printf("size %zd", getxattr("file", access_acl, NULL, 0));
  CHECK(removexattr("file", access_acl) == 0);
  print_acl("file", access_acl);
  print_status("file");
  CHECK(set_acl("dir", default_acl, 7, 7, 7, 7, 7, 7) == 0);
  print_acl("dir", default_acl);
  CHECK(removexattr("dir", default_acl) == 0);
  print_acl("dir", default_acl);
  tell(", again", removexattr("dir", default_acl));
  CHECK(symlink("file", "link") == 0);
  print_acl("link", access_acl);  // of what it names
  tell(", of the link", lgetxattr("link", access_acl, NULL, 0));
  CHECK(unlink("link") == 0 && unlink("file") == 0 && rmdir("dir") == 0);
}

int main(int argc, char** argv) {
  enter_shared(argc, argv);
  CHECK(close(make("has", 1, 1)) == 0);
  const int set = set_acl("has", access_acl, 6, 6, 6, 6, 6, 6);
  tell("ACLs", set);
  if (set != 0) return 0;
  changes();
  inherits();
  who_gets_in();
  return 0;
}
