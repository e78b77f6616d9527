// SPDX-License-Identifier: LGPL-2.1-or-later
// For the programs about rights: several users who try the same thing, which home's user database need not know. Only
// root can become them; who else runs these programs tries everything as himself.
#pragma once

#include <grp.h>

#include "check.h"

struct actor {
  const char* name;
  uid_t uid;
  gid_t gid;
  gid_t groups[2];
  int group_count;
};

enum { owner_id = 40001, group_id = 40002, member_id = 40003, other_id = 40004, extra_group = 40005 };

static const struct actor actors[] = {
    {"root", 0, 0, {0}, 0},
    {"owner", owner_id, group_id, {0}, 0},
    {"fellow", member_id, group_id, {0}, 0},                       // by his own group
    {"member", member_id, member_id, {extra_group, group_id}, 2},  // by a supplementary one
    {"stranger", other_id, other_id, {0}, 0},
    {"nearby", owner_id, owner_id, {extra_group}, 1},  // the owner, not of the group
};
enum { actor_count = sizeof actors / sizeof *actors };

static int place = -1;  // the directory

static inline void enter_shared(int argc, char** argv) {
  enter(argc, argv);
  CHECK(chmod(".", 0755) == 0);
  place = open(".", O_RDONLY | O_DIRECTORY);
  CHECK(place >= 0);
}

static inline void become(const struct actor* actor) {
  CHECK(setgroups((size_t)actor->group_count, actor->groups) == 0);
  CHECK(setresgid(actor->gid, actor->gid, 0) == 0);
  CHECK(setresuid(actor->uid, actor->uid, 0) == 0);
}

// The errno of what `call` returned -1 for, when that user calls it; 0: it did not fail.
static inline int try_as(const struct actor* actor, long (*call)(void)) {
  const bool is_root = geteuid() == 0;
  if (is_root) become(actor);
  errno = 0;
  const int error = call() == -1 ? errno : 0;
  if (is_root) {
    CHECK(setresuid(0, 0, 0) == 0 && setresgid(0, 0, 0) == 0 && setgroups(0, NULL) == 0);
  }
  CHECK(fchdir(place) == 0 && close_range((unsigned)place + 1, ~0U, 0) == 0);
  return error;
}

static inline const char* name_of(int error) {
  return error ? strerrorname_np(error) : "ok";
}

// What belongs to the owner and the group; anybody's that cannot give it away.
static inline void give(const char* name, mode_t mode) {
  if (geteuid() == 0) CHECK(lchown(name, owner_id, group_id) == 0);
  struct stat status = stat_name(name);
  if (!S_ISLNK(status.st_mode)) CHECK(chmod(name, mode) == 0);
}

static inline void make_owned(const char* name, mode_t mode) {
  CHECK(close(make(name, 100, 1)) == 0);
  give(name, mode);
}

static inline void make_owned_dir(const char* name, mode_t mode) {
  CHECK(mkdir(name, 0777) == 0);
  give(name, mode);
}

static inline void print_status(const char* name) {
  struct stat status;
  if (lstat(name, &status) != 0)
    printf(" -");
  else
    printf(" %06o:%u:%u", status.st_mode, status.st_uid, status.st_gid);
}
