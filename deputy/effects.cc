// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/effects.h"

namespace ssi {
namespace {

// A directory above something protected can be changed, but not swapped for another or for a link that leads
// elsewhere.
bool swaps(Change::Kind kind) {
  return kind == Change::Kind::rename || kind == Change::Kind::symlink || kind == Change::Kind::link;
}

bool refuses(const ExportPolicy& policy, Change::Kind kind, const Change::Place& place) {
  if (place.dir->barred || policy.protects(*place.dir, place.name)) return true;
  if (place.is && (policy.protects(*place.is) || (swaps(kind) && policy.leads(*place.is)))) return true;
  return swaps(kind) && policy.leads(*place.dir, place.name);
}

int refuse(const ExportPolicy& policy, const std::string& path) {
  policy.log_refused(path, "change of");
  return EROFS;
}

}  // namespace

int Effects::may_change(const ExportPolicy& policy, const Node& node) {
  return node.barred || policy.protects(node) ? refuse(policy, path_of(node)) : 0;
}

int Effects::apply(const ExportPolicy& policy, const Change& change, const std::function<int()>& perform) {
  if (change.node)
    if (const int error = may_change(policy, *change.node)) return error;
  for (const auto* place : {&change.place, &change.to})
    if (*place && refuses(policy, change.kind, **place))
      return refuse(policy, path_of(*(*place)->dir, (*place)->name));
  ++last_;
  return perform();
}

}  // namespace ssi
