// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent/content_stamps.h"

namespace ssi {

bool ContentStamps::keep(std::uint64_t node, const wire::Attr& attr, std::int64_t now) {
  const Stamp stamp{attr.mtime, attr.ctime, attr.size};
  const auto known = stamps_.find(node);
  if (known != stamps_.end() && known->second == stamp) return true;
  if (now - attr.ctime < settled)
    stamps_.erase(node);
  else
    stamps_[node] = stamp;
  return false;
}

}  // namespace ssi
