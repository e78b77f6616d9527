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
  if (const int error = note(change)) return error;
  ++last_;
  return perform();
}

// A change that nobody can tell whose it is may be any one's of that session.
int Effects::note(const Change& change) {
  const auto concerned = [&](const auto& each) {
    const auto& [job, journal] = each;
    return change.job ? job == change.job
                      : !journal.fenced &&
                            (!change.session || !journal.session || journal.session == change.session);
  };
  const auto count = std::ranges::count_if(journals_, concerned);
  for (auto& each : journals_) {
    if (!concerned(each)) continue;
    auto& journal = each.second;
    if (journal.fenced) return ESTALE;
    journal.standing.clean = false;
    journal.standing.not_rerunnable =
        count > 1 ? "it cannot be told which job changed what" : "what it changed is not journalled yet";
  }
  return 0;
}

void Effects::begin(std::uint64_t job, UndoLimits, const void* session) {
  journals_[job] = {session};
}

Effects::Standing Effects::standing(std::uint64_t job) const {
  const auto found = journals_.find(job);
  return found == journals_.end() ? Standing{} : found->second.standing;
}

void Effects::undo(std::uint64_t job, std::function<void(Status)> done) {
  const auto found = journals_.find(job);
  Status status;
  if (found != journals_.end()) {
    found->second.fenced = true;
    const auto& why = found->second.standing.not_rerunnable;
    if (!why.empty()) status = failure(why);
  }
  loop_.defer([done = std::move(done), status] { done(status); });
}

void Effects::settle(std::uint64_t job) {
  journals_.erase(job);
}

}  // namespace ssi
