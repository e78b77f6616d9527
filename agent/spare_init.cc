// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent/spare_init.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <utility>
#include <vector>

#include "agent/job_init.h"
#include "common/fd_passing.h"

namespace ssi {

void SpareInit::make(const inside::StartJob& start, bool squash_ids, Fd& keep_away) {
  int ends[2];
  if (stem_end_ || ::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) return;
  stem_end_.reset(ends[0]);
  Fd own_end(ends[1]);
  like_ = start;
  ready_ = false;
  const pid_t pid = clone_init();
  if (pid == 0) {
    keep_away.reset();
    stem_end_.reset();
    run_spare_init(like_, std::move(own_end), squash_ids);
  }
  if (pid < 0) drop();
}

// One that could not be prepared has closed its end. The stem never waits: what it prepares may need an answer from home.
bool SpareInit::is_ready() {
  char word;
  const auto got = ready_ ? 1 : ::recv(stem_end_.get(), &word, 1, MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return false;
  ready_ = got == 1;
  if (!ready_) drop();
  return ready_;
}

bool SpareInit::take(const inside::StartJob& start, std::span<const Fd> fds) {
  if (stem_end_ && !(like_ == start)) drop();
  if (!stem_end_ || !is_ready()) return false;
  std::vector<int> passed;
  for (const auto& fd : fds) passed.push_back(fd.get());
  const auto sent = send_with_fds(stem_end_.get(), {"", 1}, passed, MSG_DONTWAIT);
  drop();  // what was sent to it is its own now, and it waits for no second one
  return static_cast<bool>(sent);
}

}  // namespace ssi
