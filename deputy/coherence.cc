// SPDX-License-Identifier: LGPL-2.1-or-later
// What a guest believes of home's files, and how it hears that something is not true any more. What it was told is
// compared with what is true, wherever something happened: so its own changes, which it knows of, cause no word, and
// cannot hide another's.
#include <sys/inotify.h>

#include <algorithm>
#include <utility>

#include "common/log.h"
#include "deputy/acl.h"
#include "deputy/file_service.h"

namespace ssi {
namespace {

// Events come in bursts: so long after one word the next one waits.
constexpr std::uint64_t gather_ms = 5;

// After the last job it goes on being watched for so long; then the next job has all that the guest believes looked at.
constexpr std::uint64_t rest_ms = 10 * 60'000;

// Files that are written by a mapping tell nobody: each one is looked at once a second, some at a time.
constexpr std::uint64_t sweep_ms = 100;
constexpr std::size_t sweeps_a_second = 10;

// The files that were opened last, and may have changed so since: they are looked at when a job starts.
constexpr std::size_t most_opened_lately = 256;

constexpr std::size_t batch = 500;  // well below the wire's limit for arrays

constexpr std::uint32_t in_names = IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO;

}  // namespace

// What happened, each file and name once.
struct FileService::Touched {
  std::unordered_set<std::uint64_t> nodes;
  std::map<std::pair<std::uint64_t, std::string>, std::uint32_t> names;  // to IN_* bits
};

// Listens for what makes untrue what is told of a node. A directory tells of its files by their names there; of one that
// is open, or has other names, the file itself must tell.
Watch::Heard FileService::listen(Node& node, std::uint32_t links) {
  if (watch_.touch(node.number)) return Watch::Heard::before;
  if (node.barred || !mounts_.heard_of(node.fs)) return Watch::Heard::no;
  const bool directory = S_ISDIR(node.id.type);
  if (directory || (S_ISREG(node.id.type) && (links > 1 || node.opens > 0 || node.nameless))) {
    const auto path = nodes_.descriptor(node);
    return path ? watch_.listen(node.number, (*path)->get()) : Watch::Heard::no;
  }
  return node.parent && !node.nameless ? listen(*node.parent) : Watch::Heard::no;
}

// `heard`: what made `status` untrue since it was seen will be heard of, by the directory.
wire::Attr FileService::attr_to_tell(Node& node, struct statx& status, bool heard) {
  if (S_ISDIR(node.id.type) || (S_ISREG(node.id.type) && status.stx_nlink > 1)) {
    const auto itself = listen(node, status.stx_nlink);
    heard = itself != Watch::Heard::no;
    if (itself == Watch::Heard::from_now) {
      const auto path = nodes_.descriptor(node);
      heard = path && look_at((*path)->get(), status) == 0;
    }
  }
  auto attr = attr_of(status);
  if (heard)
    handed_out_.attr(node.number, attr);
  else
    attr.brief = 1;
  return attr;
}

Answer<wire::Attr> FileService::tell_attr(Node& node, int fd) {
  const bool heard = listen(node) != Watch::Heard::no;
  struct statx status;
  if (const int error = look_at(fd, status)) return fails(error);
  auto attr = attr_to_tell(node, status, heard);
  attr.acl = !S_ISLNK(node.id.type) && may_have_acl(fd);
  return attr;
}

// The guest's kernel believes nothing of these any more: it has made the change itself.
void FileService::changed_by_guest(std::initializer_list<const Node*> nodes) {
  for (const auto* node : nodes) {
    if (!node) continue;
    handed_out_.nodes().erase(node->number);
    written_.insert(node->number);
    stamps_.erase(node->number);
    sizes_.erase(node->number);
  }
}

// It believes what it writes from then on: what others write there must be told.
void FileService::emptied_by_guest(const Node& node, const struct statx& status) {
  changed_by_guest({&node});
  contents_.insert(node.number);
  stamps_[node.number] = attr_of(status).ctime;
  sizes_[node.number] = status.stx_size;
}

// Of sizes it does: after a write it goes by what that has made of the size that it knew.
void FileService::will_write(const Node& node, int fd) {
  if (sizes_.contains(node.number)) return;
  struct stat status;
  const auto told = handed_out_.nodes().find(node.number);
  if (told != handed_out_.nodes().end())
    sizes_[node.number] = told->second.attr.size;
  else if (::fstat(fd, &status) == 0)
    sizes_[node.number] = static_cast<std::uint64_t>(status.st_size);
}

// The guest's kernel has changed the names or extended attributes of these itself, and asks again for their times only
// (fuse_update_ctime): it goes on believing in their sizes and modes.
void FileService::retimed_by_guest(std::initializer_list<Node*> nodes) {
  for (auto* node : nodes) {
    if (!node) continue;
    written_.insert(node->number);
    stamps_.erase(node->number);
    const auto told = handed_out_.nodes().find(node->number);
    if (told == handed_out_.nodes().end()) continue;
    struct statx status;
    const auto path = nodes_.descriptor(*node);
    const bool looked = path && look_at((*path)->get(), status) == 0;
    listen(*node, looked ? status.stx_nlink : 1);  // by another directory, perhaps
    const auto now = looked ? attr_of(status) : told->second.attr;
    told->second.attr.ctime = now.ctime;
    told->second.attr.nlink = now.nlink;
  }
}

// By whatever guest. Its own kernel knows, and believes nothing of the file any more.
void FileService::linked(const FileId& file) {
  const Node* node = nodes_.find(file);
  if (!node) return;
  if (rests_) return void(unheard_.insert(node->number));
  wire::Invalidate stale;
  Seen seen;
  note_if_stale(node->number, seen, stale);
  tell(std::move(stale));
}

// Removed by the guest, which knows. Of a directory that it knows as a whole that is remembered, or it would be told.
void FileService::forget_own_name(std::uint64_t parent, const std::string& name) {
  if (listed_.contains(parent))
    handed_out_.name(parent, name, 0);
  else
    handed_out_.names().erase({parent, name});
}

// Its kernel moves what it believes of a name along, for as long as that has left.
void FileService::moved_by_guest(const HandedOut::Names::key_type& from, const HandedOut::Names::key_type& to,
                                 bool exchanged, const Node* moved) {
  auto& names = handed_out_.names();
  const auto one = names.extract(from), other = names.extract(to);
  forget_own_name(from.first, from.second);
  // Its kernel has it at the new name also when we no longer knew of the old one.
  if (one || moved) handed_out_.name(to.first, to.second, one ? one.mapped() : moved->number);
  if (other && exchanged) handed_out_.name(from.first, from.second, other.mapped());
}

// Where a name leads now: to a node, 0: to nothing. None: that cannot be found out.
std::optional<std::uint64_t> FileService::leads_to(std::uint64_t parent, const std::string& name,
                                                   Seen& seen) {
  const auto dir = hold(parent);
  if (!dir) return {};
  struct statx status;
  const int error = look_at(dir->fd(), name, status);
  if (error) return error == ENOENT ? std::optional<std::uint64_t>(0) : std::nullopt;
  const Node* node = nodes_.find(id_of(status));
  if (node) seen.insert_or_assign(node->number, attr_of(status));
  // Looked up again, it sends the job home.
  if (policy_.hides(id_of(status)) || policy_.hides(*dir->node, name)) return ~0ULL;
  return node ? node->number : ~0ULL;  // a file that the guest has never met
}

// Looks up every name that the guest may believe in. What is seen on the way spares its node another look.
void FileService::note_stale_names(wire::Invalidate& stale, Seen& seen, std::uint64_t only) {
  auto& names = handed_out_.names();
  auto [at, last] = only ? handed_out_.names_in(only) : std::pair{names.begin(), names.end()};
  while (at != last) {
    const auto& [parent, name] = at->first;
    if (leads_to(parent, name, seen) == at->second) {
      ++at;
      continue;
    }
    stale.names.push_back({parent, name});
    at = names.erase(at);
  }
}

// By its name, when it is not open: many are looked at, of which most are as they were.
const wire::Attr* FileService::look_once(std::uint64_t number, Seen& seen) {
  if (const auto found = seen.find(number); found != seen.end()) return &found->second;
  struct statx status;
  Node* node = nodes_.find(number);
  if (node && node->parent && !node->root && !node->nameless && !Nodes::is_open(*node)) {
    const auto dir = hold(node->parent->number);
    if (dir && look_at(dir->fd(), node->name, status) == 0 && id_of(status) == node->id)
      return &seen.emplace(number, attr_of(status)).first->second;
  }
  const auto held = hold(number);
  if (!held || look_at(held->fd(), status) != 0) return nullptr;
  return &seen.emplace(number, attr_of(status)).first->second;
}

// Whether somebody else has made it longer or shorter than its own writes did.
bool FileService::is_resized(std::uint64_t number, Seen& seen) {
  const auto own = sizes_.find(number);
  if (own == sizes_.end() || changing_.contains(number)) return false;
  const auto* now = look_once(number, seen);
  return now && now->size != own->second;
}

// Whether what was heard of the file is not this guest's own doing, which its kernel knows of. Where the guest has only written to it, the
// time tells: it is that behind its last write.
bool FileService::is_by_others(std::uint64_t number, Seen& seen) {
  if (changing_.contains(number)) return false;
  const auto stamp = stamps_.find(number);
  if (stamp == stamps_.end()) return !written_.contains(number);
  const auto* now = look_once(number, seen);
  return now && now->ctime != stamp->second;
}

void FileService::note_if_stale(std::uint64_t number, Seen& seen, wire::Invalidate& stale, bool heard) {
  const auto told = handed_out_.nodes().find(number);
  const bool by_others = is_by_others(number, seen);
  const bool may_show = contents_.contains(number) && by_others;
  if (told != handed_out_.nodes().end()) {
    const auto* now = look_once(number, seen);
    const bool same = now && !told->second.other && same_attr(told->second.attr, *now);
    // What was fetched ahead is open no longer, and may be old all the same.
    if (same && !(told->second.racy && (may_show || (heard && by_others)))) return;
    handed_out_.nodes().erase(told);
  } else if (!may_show && !is_resized(number, seen)) {
    return;
  }
  sizes_.erase(number);
  contents_.erase(number);
  sent_.erase(number);
  // A node that the guest has forgotten needs no word; one that is gone from home does.
  if (nodes_.find(number)) stale.nodes.push_back(number);
}

// All that was told, whether anything was heard of it or not: a mapping can be written unheard.
void FileService::note_all(wire::Invalidate& stale) {
  Seen seen;
  for (const auto dir : std::exchange(listed_, {})) stale.names.push_back({dir, {}});
  note_stale_names(stale, seen);
  std::vector<std::uint64_t> told;
  told.reserve(handed_out_.nodes().size());
  for (const auto& [number, attr] : handed_out_.nodes()) told.push_back(number);
  for (const auto number : told) note_if_stale(number, seen, stale);
}

void FileService::note_touched(const Touched& touched, wire::Invalidate& stale) {
  Seen seen;
  auto nodes = touched.nodes;
  std::unordered_set<std::uint64_t> heard;
  for (const auto& [where, mask] : touched.names) {
    const auto& [parent, name] = where;
    if (!nodes_.find(parent)) {  // the guest has forgotten it
      watch_.drop(parent);
      continue;
    }
    const auto now = leads_to(parent, name, seen);
    // A close alone says nothing of a file that times and size do not say.
    if (now && *now != 0) (mask == IN_CLOSE_WRITE ? nodes : heard).insert(*now);
    const auto told = handed_out_.names().find(where);
    if (told == handed_out_.names().end()) {
      if (listed_.contains(parent)) stale.names.push_back({parent, name});
      continue;
    }
    const auto led_to = told->second;
    if (led_to != 0) nodes.insert(led_to);
    if (now != led_to) {
      stale.names.push_back({parent, name});
      handed_out_.names().erase(told);
    }
    // From now on another directory would tell of it, or none.
    Node* strayed = mask & (IN_MOVED_FROM | IN_DELETE) ? nodes_.find(led_to) : nullptr;
    if (strayed && (mask & IN_MOVED_FROM || strayed->opens > 0)) listen(*strayed, 2);
  }
  std::unordered_set<std::uint64_t> dirs;
  for (const auto& [where, mask] : touched.names)
    if (mask & in_names) dirs.insert(where.first);
  look_for_others(dirs);
  for (const auto number : heard) note_if_stale(number, seen, stale, true);
  for (const auto number : nodes) note_if_stale(number, seen, stale);
}

wire::Invalidate FileService::news() {
  wire::Invalidate stale;
  Touched touched;
  const bool all = watch_.drain([&](const Watch::News& news) {
    if (news.name.empty() || news.mask & in_names) touched.nodes.insert(news.node);
    if (!news.name.empty()) touched.names[{news.node, std::string(news.name)}] |= news.mask;
  });
  if (all) {
    note_touched(touched, stale);
  } else {
    log::warning(
        "more happened at home than its kernel keeps in mind: all that the guest believes is looked at");
    note_all(stale);
    stale.nodes.insert(stale.nodes.end(), contents_.begin(), contents_.end());
    contents_.clear();
  }
  for (auto& name : std::exchange(doubtful_, {}))  // unless an event has told of it just now
    if (handed_out_.names().erase(name)) stale.names.push_back({name.first, std::move(name.second)});
  if (const auto lost = watch_.lost(); !lost.empty()) note_unheard(lost, stale);
  written_.clear();
  std::erase_if(sizes_, [&](const auto& one) { return !changing_.contains(one.first); });
  return stale;
}

void FileService::heard() {
  const auto since = uv_now(loop_.uv()) - told_news_at_;
  if (since >= gather_ms) return tell_news();
  watch_.pause(true);
  gathering_.once(gather_ms - since, [this] {
    watch_.pause(false);
    tell_news();
  });
}

void FileService::tell_news() {
  told_news_at_ = uv_now(loop_.uv());
  tell(news());
}

void FileService::tell(wire::Invalidate stale) {
  while (!stale.nodes.empty() || !stale.names.empty()) {
    wire::Invalidate part;
    for (std::size_t i = 0; i < batch && !stale.nodes.empty(); ++i) {
      part.nodes.push_back(stale.nodes.back());
      stale.nodes.pop_back();
    }
    for (std::size_t i = 0; i < batch && !stale.names.empty(); ++i) {
      part.names.push_back(std::move(stale.names.back()));
      stale.names.pop_back();
    }
    session_.post(part);
  }
}

// Behind this every job sees what was changed at home before: what was heard of, and what could not be.
wire::Invalidate FileService::stale() {
  rests_ = false;
  resting_.stop();
  watch_.pause(false);
  wire::Invalidate stale;
  // Nor is it heard of when something is mounted, or more is hidden.
  const bool policy_changed = std::exchange(policy_seen_, policy_.generation()) != policy_.generation();
  if (watch_.ended() || policy_changed || mounts_changed() || std::exchange(mounted_, false)) {
    listen_again(stale);
    note_all(stale);
  }
  auto heard = news();
  stale.names.insert(stale.names.end(), heard.names.begin(), heard.names.end());
  stale.nodes.insert(stale.nodes.end(), heard.nodes.begin(), heard.nodes.end());
  Seen seen;
  for (const auto number : std::exchange(unheard_, {})) note_if_stale(number, seen, stale);
  for (const auto number : opened_lately_) note_if_stale(number, seen, stale);
  // Not anew for each of many short jobs: it would never come to it.
  if (!std::exchange(sweeps_, true)) sweeping_.every(sweep_ms, [this] { sweep(); });
  return stale;
}

// All that the guest believes, before it is looked at. What cannot be watched any more is not to be believed.
void FileService::listen_again(wire::Invalidate& stale) {
  auto& nodes = handed_out_.nodes();
  for (auto at = nodes.begin(); at != nodes.end();) {
    Node* node = nodes_.find(at->first);
    if (node && listen(*node, at->second.attr.nlink) != Watch::Heard::no) {
      ++at;
      continue;
    }
    stale.nodes.push_back(at->first);
    at = nodes.erase(at);
  }
  auto& names = handed_out_.names();
  for (auto at = names.begin(); at != names.end();) {
    Node* dir = nodes_.find(at->first.first);
    if (dir && listen(*dir) != Watch::Heard::no) {
      ++at;
      continue;
    }
    stale.names.push_back({at->first.first, at->first.second});
    at = names.erase(at);
  }
}

// These are watched no more: the guest is not to believe what they would have told of.
void FileService::note_unheard(const std::vector<std::uint64_t>& watched, wire::Invalidate& stale) {
  const std::unordered_set<std::uint64_t> gone(watched.begin(), watched.end());
  for (const auto dir : gone) {
    const auto [first, last] = handed_out_.names_in(dir);
    for (auto at = first; at != last; ++at) stale.names.push_back({at->first.first, at->first.second});
    handed_out_.names().erase(first, last);
    if (listed_.erase(dir)) stale.names.push_back({dir, {}});
  }
  auto& nodes = handed_out_.nodes();
  for (auto at = nodes.begin(); at != nodes.end();) {
    const Node* node = nodes_.find(at->first);
    const bool unheard = gone.contains(at->first) || (node && node->parent && gone.contains(node->parent->number));
    if (unheard) stale.nodes.push_back(at->first);
    at = unheard ? nodes.erase(at) : std::next(at);
  }
}

void FileService::sweep() {
  wire::Invalidate stale;
  if (to_sweep_.empty()) {
    for (const auto& [number, told] : handed_out_.nodes())
      if (S_ISREG(told.attr.mode)) to_sweep_.push_back(number);
    swept_at_once_ = to_sweep_.size() / sweeps_a_second + 1;
  }
  Seen seen;
  // Most files are closed again by now.
  for (const auto number : std::exchange(opened_by_lease_, {}))
    if (Node* node = nodes_.find(number); node && node->opens > 0) {
      listen(*node);
      note_if_stale(number, seen, stale);
    }
  for (auto left = swept_at_once_; left > 0 && !to_sweep_.empty(); --left) {
    note_if_stale(to_sweep_.back(), seen, stale);
    to_sweep_.pop_back();
  }
  if (const auto crowded = watch_.crowded_out(); !crowded.empty()) note_unheard(crowded, stale);
  for (auto& [parent, name] : handed_out_.excess()) stale.names.push_back({parent, std::move(name)});
  tell(std::move(stale));
}

// A file is not open any more: its directory tells of it, where it is known by only one name, and that one is believed.
void FileService::closed(const Node& node) {
  const auto told = handed_out_.nodes().find(node.number);
  const auto name = node.parent ? handed_out_.names().find({node.parent->number, node.name}) : handed_out_.names().end();
  const bool heard = !node.nameless && name != handed_out_.names().end() && name->second == node.number;
  watch_.keep(node.number, false);
  if (S_ISREG(node.id.type) && heard && (told == handed_out_.nodes().end() || told->second.attr.nlink == 1) &&
      watch_.touch(node.parent->number))
    watch_.drop(node.number);
}

void FileService::opened_lately(const Node& node) {
  if (!S_ISREG(node.id.type)) return;
  std::erase(opened_lately_, node.number);
  opened_lately_.push_back(node.number);
  if (opened_lately_.size() > most_opened_lately) opened_lately_.pop_front();
}

// The guest has forgotten it.
void FileService::dropped(std::uint64_t number) {
  handed_out_.forgotten(number);
  names_.erase(number);
  if (const Node* node = nodes_.find(number); node && S_ISDIR(node->id.type))
    loop_.defer(later([id = node->id](FileService& self) { self.effects_.own_directories().forget(&self, id); }));
  listed_.erase(number);
  watch_.drop(number);
  contents_.erase(number);
  sent_.erase(number);
  written_.erase(number);
  stamps_.erase(number);
  sizes_.erase(number);
}

wire::Invalidate FileService::stale_in(std::uint64_t parent) {
  wire::Invalidate stale;
  Seen seen;
  note_stale_names(stale, seen, parent);
  std::vector<std::uint64_t> numbers;
  for (const auto& [number, attr] : seen)
    if (handed_out_.nodes().contains(number)) numbers.push_back(number);
  for (const auto number : numbers) note_if_stale(number, seen, stale);
  if (stale.nodes.size() <= batch && stale.names.size() <= batch) return stale;
  tell(std::move(stale));  // not of one message, but before it
  return {};
}

// What is heard from now on waits for the next job: looking at it would open files again, and keep their disk busy.
void FileService::idle() {
  rests_ = true;
  gathering_.stop();
  sweeping_.stop();
  sweeps_ = false;
  to_sweep_.clear();
  opened_by_lease_.clear();
  watch_.pause(true);
  reserved_.clear();
  nodes_.close_idle();
  resting_.once(rest_ms, [this] {
    auto last = std::make_shared<Fd>(watch_.end());
    loop_.queue_work([last] { last->reset(); }, [] {});
  });
}

}  // namespace ssi
