// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent/raw_fuse.h"

#include <sys/uio.h>

#include <cstdint>
#include <cstring>

namespace ssi {
namespace {

// Source: <linux/fuse.h>, fs/fuse/dir.c.
constexpr std::uint32_t opcode_create = 35, opcode_tmpfile = 51;
constexpr std::uint32_t parallel_dirops = 1 << 18, handle_killpriv = 1 << 19, handle_killpriv_v2 = 1 << 28;

struct InitReply {  // its beginning
  std::uint32_t major, minor, max_readahead, flags;
};

}  // namespace

void read_tmpfile_as_create(void* request) {
  std::uint32_t head[2];  // the length, the opcode
  std::memcpy(head, request, sizeof head);
  if (head[1] != opcode_tmpfile) return;
  head[1] = opcode_create;
  std::memcpy(request, head, sizeof head);
}

void ask_for_more(const iovec* reply, int parts) {
  if (parts != 2 || reply[1].iov_len < sizeof(InitReply)) return;  // an error
  InitReply init;
  std::memcpy(&init, reply[1].iov_base, sizeof init);
  init.flags |= parallel_dirops | handle_killpriv | handle_killpriv_v2;
  std::memcpy(reply[1].iov_base, &init, sizeof init);
}

}  // namespace ssi
