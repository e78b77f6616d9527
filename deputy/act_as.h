// SPDX-License-Identifier: LGPL-2.1-or-later
// A deputy of root acts for each caller with that user's rights, so that home's kernel judges them and new
// files belong to him. Any other deputy has its own user's rights only, and acts with these.
#pragma once

#include <sys/types.h>

#include <cerrno>
#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "common/wire.h"

namespace ssi {

// Whose rights to act with. A value: it travels to the thread pool.
struct Rights {
  bool own = true;  // the deputy's, as they are
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups;
};

// Finds callers' rights: supplementary groups are those of home's user database. Remembers them, since that
// may ask a network. Loop thread only.
class Callers {
 public:
  Rights rights(const wire::Caller& caller);

 private:
  std::map<std::pair<uid_t, gid_t>, Rights> known_;
};

// Borrows the rights for the calling thread (the raw system calls do not touch the others) until destroyed.
class ActAs {
 public:
  explicit ActAs(const Rights& rights);
  ~ActAs();
  ActAs(const ActAs&) = delete;
  ActAs& operator=(const ActAs&) = delete;
  bool done() const { return done_; }  // false: the kernel refused (an id that our user namespace lacks)

 private:
  bool own_, done_ = true;
};

// Makes a system call with these rights: 0, or its errno.
template <class Call>
int act_as(const Rights& rights, Call&& call) {
  const ActAs as(rights);
  if (!as.done()) return EPERM;
  return call() < 0 ? errno : 0;
}

}  // namespace ssi
