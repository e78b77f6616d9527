// SPDX-License-Identifier: LGPL-2.1-or-later
#include <cerrno>
#include <type_traits>

#include "agent/operations.h"
#include "agent/superblock.h"

namespace ssi {
namespace {

void lookup(fuse_req_t req, fuse_ino_t parent, const char* name) {
  auto& superblock = Superblock::of(req);
  if (auto* stub = superblock.stubs().find(superblock.node(parent), name)) {
    const auto param = superblock.stub_param(*stub);
    superblock.settle(param.ino, fuse_reply_entry(req, &param) == 0);
    return;
  }
  const auto request = superblock.begin(req, parent, ENOENT);
  if (!request || superblock.find(request, parent, name)) return;
  superblock.ask(
      request, wire::Lookup{superblock.node(parent), name, request->caller()},
      [&superblock, request, parent, name = std::string(name)](const wire::Entry& entry, std::string_view) {
        superblock.looked_up(parent, name, entry.node);
        if (entry.node != 0) return superblock.give_found(request, parent, name.c_str(), entry);
        // Node 0: the kernel remembers that there is no such name.
        superblock.describe_none(parent);
        fuse_entry_param none{};
        none.entry_timeout = for_ever;
        request->answer(fuse_reply_entry, &none);
      });
}

void forget(fuse_req_t req, fuse_ino_t ino, std::uint64_t count) {
  Superblock::of(req).forget(ino, count);
  fuse_reply_none(req);
}

void forget_multi(fuse_req_t req, std::size_t count, fuse_forget_data* forgets) {
  for (std::size_t i = 0; i < count; ++i) Superblock::of(req).forget(forgets[i].ino, forgets[i].nlookup);
  fuse_reply_none(req);
}

// Asks for something new at a name, which the deputy answers with its entry.
template <class M>
void make(Superblock& superblock, const RequestPtr& request, fuse_ino_t parent, const char* name,
          const M& message) {
  Superblock::Nodes changed{message.parent};
  if constexpr (std::is_same_v<M, wire::Link>) changed.push_back(message.node);
  superblock.change(
      request, changed, message,
      [&superblock, request, parent, name = std::string(name), node = message.parent, of = message.caller](
          const wire::Made& made, std::string_view) {
        const auto entry = made.entry();
        if (made.parent.ino != 0) superblock.believe(node, made.parent);
        if constexpr (std::is_same_v<M, wire::Mknod>)
          if (Specials::is(entry.attr.mode)) superblock.specials().made(entry.node, request->task());
        superblock.give(request, parent, name.c_str(), entry);
        if constexpr (std::is_same_v<M, wire::Mkdir>) superblock.lease_new(made, of);
        if constexpr (std::is_same_v<M, wire::Link>) superblock.end_made(entry.node);  // it has other names now
      });
}

void mknod(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode, dev_t rdev) {
  auto& superblock = Superblock::of(req);
  if (const auto request = superblock.begin(req, parent, name, EEXIST))
    make(superblock, request, parent, name,
         wire::Mknod{superblock.node(parent), name, mode, rdev, request->caller(), request->umask()});
}

void mkdir(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode) {
  auto& superblock = Superblock::of(req);
  if (const auto request = superblock.begin(req, parent, name, EEXIST))
    make(superblock, request, parent, name,
         wire::Mkdir{superblock.node(parent), name, mode, request->caller(), request->umask()});
}

void symlink(fuse_req_t req, const char* target, fuse_ino_t parent, const char* name) {
  auto& superblock = Superblock::of(req);
  const auto request = superblock.begin(req, parent, name, EEXIST);
  if (!request) return;
  const wire::Symlink message{superblock.node(parent), name, target, request->caller()};
  if (!superblock.symlink_ahead(request, message)) make(superblock, request, parent, name, message);
}

void link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char* name) {
  auto& superblock = Superblock::of(req);
  if (const auto request = superblock.begin(req, parent, name, EEXIST))
    make(superblock, request, parent, name,
         wire::Link{superblock.node(ino), superblock.node(parent), name, request->caller()});
}

// Their times have moved, and their numbers of links.
auto renamed(Superblock& superblock, const RequestPtr& request) {
  return [&superblock, request](const wire::Renamed& what, std::string_view) {
    superblock.changing({what.node, what.replaced});
    request->error(0);
  };
}

void unlink(fuse_req_t req, fuse_ino_t parent, const char* name) {
  auto& superblock = Superblock::of(req);
  const auto request = superblock.begin(req, parent, name, EISDIR);
  if (!request) return;
  const wire::Unlink message{superblock.node(parent), name, request->caller()};
  if (superblock.take_back(request, message) || superblock.unlink_ahead(request, message)) return;
  superblock.change(request, {message.parent}, message, renamed(superblock, request));
}

void rmdir(fuse_req_t req, fuse_ino_t parent, const char* name) {
  auto& superblock = Superblock::of(req);
  const auto request = superblock.begin(req, parent, name, EBUSY);
  if (!request) return;
  superblock.change(request, {superblock.node(parent)},
                    wire::Rmdir{superblock.node(parent), name, request->caller()}, renamed(superblock, request));
}

void rename(fuse_req_t req, fuse_ino_t parent, const char* name, fuse_ino_t new_parent, const char* new_name,
            unsigned flags) {
  auto& superblock = Superblock::of(req);
  if (superblock.stubs().covers(superblock.node(new_parent), new_name) || Stubs::is_stub(new_parent)) {
    fuse_reply_err(req, EBUSY);
    return;
  }
  const auto request = superblock.begin(req, parent, name, EBUSY);
  if (!request) return;
  superblock.change(request, {superblock.node(parent), superblock.node(new_parent)},
                    wire::Rename{superblock.node(parent), name, superblock.node(new_parent), new_name, flags,
                                 request->caller()},
                    renamed(superblock, request));
}

}  // namespace

void add_name_operations(fuse_lowlevel_ops& table) {
  table.lookup = lookup;
  table.forget = forget;
  table.forget_multi = forget_multi;
  table.mknod = mknod;
  table.mkdir = mkdir;
  table.symlink = symlink;
  table.link = link;
  table.unlink = unlink;
  table.rmdir = rmdir;
  table.rename = rename;
}

}  // namespace ssi
