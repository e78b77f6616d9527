// SPDX-License-Identifier: LGPL-2.1-or-later
// Which job peeks at which pipe or socket: two that do would both read the same bytes.
#pragma once

#include <sys/types.h>

#include <map>
#include <utility>
#include <vector>

#include "common/wire.h"
#include "deputy/caller.h"

namespace ssi {

class Job;

class InputClaims {
 public:
  // Of the same length: the descriptors and what describe() made of them. Claims all that `job` would peek at; false,
  // with nothing claimed, when another job does, or when two of them are ends of the same pipe.
  bool claim(const Job& job, const std::vector<PassedFd>& passed,
             const std::vector<wire::Descriptor>& described);
  void release(const Job& job);

 private:
  std::map<std::pair<dev_t, ino_t>, const Job*> claimed_;
};

}  // namespace ssi
