// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/input_claims.h"

#include <poll.h>
#include <sys/stat.h>

#include "deputy/peeked_input.h"

namespace ssi {
namespace {

// An empty pipe without a writer: what make gives all its parallel jobs but one.
bool at_end(int fd) {
  pollfd state{fd, POLLIN, 0};
  return ::poll(&state, 1, 0) == 1 && state.revents == POLLHUP;
}

}  // namespace

bool InputClaims::claim(const Job& job, const std::vector<PassedFd>& passed,
                        const std::vector<wire::Descriptor>& described) {
  for (std::size_t i = 0; i < passed.size() && i < described.size(); ++i) {
    const int fd = passed[i].fd.get();
    struct stat status;
    if (static_cast<wire::DescriptorKind>(described[i].kind) != wire::DescriptorKind::input ||
        !PeekedInput::possible(fd) || ::fstat(fd, &status) != 0 || S_ISREG(status.st_mode) || at_end(fd))
      continue;
    if (claimed_.emplace(std::pair(status.st_dev, status.st_ino), &job).second) continue;
    release(job);
    return false;
  }
  return true;
}

void InputClaims::release(const Job& job) {
  std::erase_if(claimed_, [&](const auto& claim) { return claim.second == &job; });
}

}  // namespace ssi
