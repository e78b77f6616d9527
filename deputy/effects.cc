// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/effects.h"

#include <algorithm>

namespace ssi {
namespace {

// A directory above something protected can be changed, but not swapped for another or for a link that leads
// elsewhere.
bool swaps(Change::Kind kind) {
  return kind == Change::Kind::rename || kind == Change::Kind::symlink || kind == Change::Kind::link;
}

// How far that name is kept from being changed.
Kept keeps(const ExportPolicy& policy, Change::Kind kind, const Change::Place& place) {
  const auto kept =
      std::max(policy.kept(*place.dir, place.name), place.is ? policy.kept(*place.is) : Kept::no);
  if (kept != Kept::no) return kept;
  if (place.dir->barred || policy.protects(*place.dir)) return Kept::read_only;
  // A link on the way is lost when it is removed; a directory can only be removed when nothing is in it.
  const bool is_link = place.is && S_ISLNK(place.is->type);
  if ((swaps(kind) || is_link) &&
      ((place.is && policy.leads(*place.is)) || policy.leads(*place.dir, place.name)))
    return Kept::read_only;
  return Kept::no;
}

int refuse(const ExportPolicy& policy, const std::string& path, Kept kept) {
  policy.log_refused(path, "change of");
  return kept == Kept::hidden ? wire::hidden : EROFS;
}

}  // namespace

int Effects::may_change(const ExportPolicy& policy, const Node& node) {
  return node.barred || policy.protects(node) ? refuse(policy, path_of(node), policy.kept(node.id)) : 0;
}

int Effects::apply(const ExportPolicy& policy, const Change& change, const std::function<int()>& perform) {
  if (change.node)
    if (const int error = may_change(policy, *change.node)) return error;
  for (const auto* place : {&change.place, &change.to})
    if (const auto kept = *place ? keeps(policy, change.kind, **place) : Kept::no; kept != Kept::no)
      return refuse(policy, path_of(*(*place)->dir, (*place)->name), kept);
  ++last_;
  return perform();
}

}  // namespace ssi
