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
  const auto journalled = this->journalled(change);
  if (!journalled) return journalled.error();
  ++last_;
  const auto again = [&](int error) { return wants_room(error) && room_->make() ? perform() : error; };
  if (!*journalled) return again(perform());
  auto& journal = *(*journalled)->journal;
  const auto files = journal.before(change);
  const int error = again(perform());
  journal.after(change, files, error);
  return error;
}

// ------------------------------------------------------------------------------------------------------ undo

// Those who wait for the last change that a thread is at.
struct Effects::UnderWay {
  std::function<void()> then;
  ~UnderWay() {
    if (then) then();
  }
};

Effects::Effects(Loop& loop, std::string state)
    : loop_(loop), state_(std::move(state)), claim_(state_.empty() ? Fd() : UndoKeep::claim(state_)) {}

// Null: of nobody that is known. A change that nobody can tell whose it is may be any one's of that session.
Answer<Effects::Journalled*> Effects::journalled(const Change& change) {
  const auto only = [this](Journalled& one) {
    drop_if_useless(one);
    return &one;
  };
  if (change.job) {
    const auto found = journals_.find(change.job);
    if (found == journals_.end()) return nullptr;
    if (found->second.fenced) return fails(ESTALE);
    return only(found->second);
  }
  std::vector<Journalled*> concerned;
  for (auto& [job, each] : journals_)
    if (!each.fenced && (!change.session || !each.session || each.session == change.session))
      concerned.push_back(&each);
  if (concerned.empty()) return nullptr;
  if (concerned.size() == 1) return only(*concerned.front());
  for (auto* each : concerned) {
    each->journal->blame();
    each->journal->forfeit("it cannot be told which job changed what");
  }
  return nullptr;
}

void Effects::drop_if_useless(Journalled& journalled) {
  if (journalled.journal->complete() || std::exchange(journalled.dropped, true)) return;
  loop_.queue_work([journal = journalled.journal] { journal->give_up(); }, [] {});
}

UndoContent Effects::content(const Change& change) {
  const auto found = journalled(change);
  if (!found || !*found) return UndoContent(room_);
  return (*found)->journal->content(room_, *change.node, change.fd, (*found)->under_way);
}

std::shared_ptr<void> Effects::opened(std::uint64_t job, const struct statx& status, bool made) {
  const auto found = journals_.find(job);
  if (found == journals_.end() || found->second.fenced) return {};
  auto& journal = *found->second.journal;
  return made ? journal.made(status) : journal.open(id_of(status));
}

std::uint32_t Effects::links_kept(const FileId& id) const {
  std::uint32_t count = 0;
  for (const auto& [job, each] : journals_) count += each.journal->links_kept(id);
  return count;
}

void Effects::begin(std::uint64_t job, UndoLimits limits, const void* session) {
  settle(job);
  journals_[job] = {session, false, false, std::make_shared<UndoJournal>(state_, limits, room_),
                    std::make_shared<UnderWay>()};
}

Effects::Standing Effects::standing(std::uint64_t job) const {
  const auto found = journals_.find(job);
  if (found == journals_.end()) return {};
  const auto& journal = *found->second.journal;
  return {journal.clean(), journal.clean() ? "" : journal.forfeited()};
}

void Effects::undo(std::uint64_t job, std::function<void(Status)> done) {
  const auto found = journals_.find(job);
  if (found == journals_.end() || found->second.fenced)
    return loop_.defer([done = std::move(done)] { done({}); });
  auto& journalled = found->second;
  journalled.fenced = true;
  journalled.under_way->then = [&loop = loop_, journal = journalled.journal, done = std::move(done)] {
    auto status = std::make_shared<Status>();
    loop.queue_work([journal, status] { *status = journal->roll_back(); }, [status, done] { done(*status); });
  };
  journalled.under_way.reset();
}

// Freeing what was kept takes a disk's time.
void Effects::settle(std::uint64_t job, std::function<void()> done) {
  if (!done) done = [] {};
  auto ended = journals_.extract(job);
  if (!ended || ended.mapped().journal->keeps_nothing()) {
    ended = {};
    return done();
  }
  auto journal = std::make_shared<std::shared_ptr<UndoJournal>>(std::move(ended.mapped().journal));
  loop_.queue_work([journal] { journal->reset(); }, std::move(done));
}

}  // namespace ssi
