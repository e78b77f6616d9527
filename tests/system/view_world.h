// SPDX-License-Identifier: LGPL-2.1-or-later
// A home and a guest for testing the view with real parts: the deputy's FileServer and the agent's View, two
// TLS sessions between them, mounted /dev/fuse. The test process serves both ends on one loop; a forked
// child, in a mount namespace of its own, is stem and job: it mounts the view and does the file system calls.
// Needs root.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <string>

#include "common/fd.h"

namespace ssi::test {

// What the deputy was asked so far.
struct Asked {
  std::uint64_t lookups = 0, reads = 0, writes = 0, opens = 0, opened = 0, flushes = 0, getxattrs = 0, readdirs = 0;
  std::uint64_t forgotten = 0, released = 0;
};

// The child's side.
class Guest {
 public:
  Guest(std::string base, Fd control) : base_(std::move(base)), control_(std::move(control)) {}

  // The same directory: as home sees it, and as the guest does. `local` is an unrelated one to compare with.
  std::string home(const std::string& name = {}) const { return base_ + "/home" + slash(name); }
  std::string view(const std::string& name = {}) const { return root() + base_ + "/home" + slash(name); }
  std::string local(const std::string& name = {}) const { return base_ + "/local" + slash(name); }
  std::string root() const { return base_ + "/mnt"; }  // where home's "/" is mounted

  void mount(std::uint32_t index, const std::string& path);
  void barrier();      // what the deputy does at a job's start
  void hang(bool on);  // the deputy doesn't answer
  void lose();         // the link breaks
  Asked asked();

  // Counts and prints; returns `ok`.
  bool expect(bool ok, const std::string& what);
  int failures() const { return failures_; }

 private:
  static std::string slash(const std::string& name) { return name.empty() ? name : "/" + name; }
  Asked command(char what, std::uint32_t index = 0, int fd = -1);

  std::string base_;
  Fd control_;
  int failures_ = 0;
};

// Runs `job` in the child with everything mounted; returns the number of expectations that failed, or -1 when
// it died or took more than a minute. `setup` runs before, at home, with the base directory: T/home, T/local
// and T/mnt exist.
int run_guest(const std::function<void(Guest&)>& job,
              const std::function<void(const std::string&)>& setup = {});

}  // namespace ssi::test
