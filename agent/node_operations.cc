// SPDX-License-Identifier: LGPL-2.1-or-later
#include <cerrno>
#include <string_view>

#include "agent/attributes.h"
#include "agent/operations.h"
#include "agent/superblock.h"

namespace ssi {
namespace {

void getattr(fuse_req_t req, fuse_ino_t ino, fuse_file_info* info) {
  auto& superblock = Superblock::of(req);
  if (const auto* stub = superblock.stubs().find(ino)) {
    const auto param = superblock.stub_param(*stub);
    fuse_reply_attr(req, &param.attr, param.attr_timeout);
    return;
  }
  const auto request = superblock.begin(req, ino, ESTALE);
  if (!request) return;
  const auto node = superblock.node(ino);
  if (superblock.leases().knows_access_time(node)) {
    const auto stat = superblock.stat_of(*superblock.leases().attr(node));
    request->answer(fuse_reply_attr, &stat, for_ever);
    return;
  }
  if (superblock.tell_directory(request, node) || (info && superblock.tell_size(request, node))) return;
  superblock.ask(request, wire::Getattr{node, info ? info->fh : 0},
                 [&superblock, request, node](const wire::Attr& attr, std::string_view) {
                   superblock.believe(node, attr);
                   const auto stat = superblock.stat_of(attr);
                   request->answer(fuse_reply_attr, &stat, lease_of(attr));
                 });
}

void setattr(fuse_req_t req, fuse_ino_t ino, struct stat* attr, int to_set, fuse_file_info* info) {
  auto& superblock = Superblock::of(req);
  const auto request = superblock.begin(req, ino);
  if (!request) return;
  wire::Setattr message;
  message.node = superblock.node(ino);
  message.handle = info ? info->fh : 0;
  message.caller = request->caller();
  set_fields(message, *attr, to_set);
  if (superblock.set_ahead(request, message)) return;
  if (message.mode & S_ISGID) superblock.made().revoke(message.node);  // it passes its group on from now on
  if (to_set & FUSE_SET_ATTR_SIZE) superblock.contents().forget(message.node);
  superblock.change(request, {message.node}, message,
                    [&superblock, request, node = message.node](const wire::Attr& changed, std::string_view) {
                      superblock.believe(node, changed);
                      const auto stat = superblock.stat_of(changed);
                      request->answer(fuse_reply_attr, &stat, lease_of(changed));
                    });
}

void readlink(fuse_req_t req, fuse_ino_t ino) {
  auto& superblock = Superblock::of(req);
  const auto request = superblock.begin(req, ino, EINVAL);
  if (!request) return;
  if (const auto known = superblock.leases().target(superblock.node(ino)); !known.empty()) {
    request->answer(fuse_reply_readlink, known.c_str());
    return;
  }
  superblock.ask(request, wire::Readlink{superblock.node(ino)},
                 [request](const wire::None&, std::string_view target) {
                   request->answer(fuse_reply_buf, target.data(), target.size());
                 });
}

void statfs(fuse_req_t req, fuse_ino_t ino) {
  auto& superblock = Superblock::of(req);
  if (Stubs::is_stub(ino)) ino = FUSE_ROOT_ID;
  const auto request = superblock.begin(req, ino);
  if (!request) return;
  superblock.ask(request, wire::Statfs{superblock.node(ino)},
                 [request](const wire::Space& space, std::string_view) {
                   const auto statvfs = to_statvfs(space);
                   request->answer(fuse_reply_statfs, &statvfs);
                 });
}

void access(fuse_req_t req, fuse_ino_t ino, int mask) {
  auto& superblock = Superblock::of(req);
  const auto request = superblock.begin(req, ino, mask & W_OK ? EROFS : 0);
  if (!request) return;
  superblock.ask(request, wire::Access{superblock.node(ino), mask, request->caller()},
                 [request](const wire::None&, std::string_view) { request->error(0); });
}

bool is_acl(std::string_view name) {
  return name.starts_with("system.posix_acl_");
}

// xattr(7): asked with size 0, only the length is wanted.
void answer_sized(Request& request, std::string_view value, std::size_t size) {
  if (size == 0)
    request.answer(fuse_reply_xattr, value.size());
  else if (size < value.size())
    request.error(ERANGE);
  else
    request.answer(fuse_reply_buf, value.data(), value.size());
}

// The kernel asks for a file's ACLs when it judges: those must not fail, also where home has none (a stub, a file of
// another file system).
void getxattr(fuse_req_t req, fuse_ino_t ino, const char* name, std::size_t size) {
  auto& superblock = Superblock::of(req);
  const bool judges = superblock.has_acls() && is_acl(name);
  if (judges && superblock.is_without_acl(ino)) {
    fuse_reply_err(req, ENODATA);
    return;
  }
  // Asked for before each write; a job's user may not have set it.
  if (superblock.made().find(superblock.node(ino)) && std::string_view(name) == "security.capability") {
    fuse_reply_err(req, ENODATA);
    return;
  }
  const auto request = superblock.begin(req, ino, judges ? ENODATA : EOPNOTSUPP);
  if (!request) return;
  superblock.ask_or(
      request, wire::Getxattr{superblock.node(ino), name},
      [request, size](const wire::None&, std::string_view value) { answer_sized(*request, value, size); },
      [request, judges](int error) {
        if (judges && error == EOPNOTSUPP) request->error(ENODATA);
        return judges && error == EOPNOTSUPP;
      });
}

void listxattr(fuse_req_t req, fuse_ino_t ino, std::size_t size) {
  auto& superblock = Superblock::of(req);
  const auto request = superblock.begin(req, ino, EOPNOTSUPP);
  if (!request) return;
  superblock.ask(
      request, wire::Listxattr{superblock.node(ino)},
      [request, size](const wire::None&, std::string_view names) { answer_sized(*request, names, size); });
}

void setxattr(fuse_req_t req, fuse_ino_t ino, const char* name, const char* value, std::size_t size,
              int flags) {
  auto& superblock = Superblock::of(req);
  const auto request = superblock.begin(req, ino);
  if (!request) return;
  const auto node = superblock.node(ino);
  superblock.end_made(node);       // it has what it was not made with
  superblock.made().revoke(node);  // and may pass it on
  superblock.change(request, {node}, wire::Setxattr{node, name, flags, request->caller()},
                    [request](const wire::None&, std::string_view) { request->error(0); }, {value, size});
}

void removexattr(fuse_req_t req, fuse_ino_t ino, const char* name) {
  auto& superblock = Superblock::of(req);
  const auto request = superblock.begin(req, ino);
  if (!request) return;
  const auto node = superblock.node(ino);
  superblock.change(request, {node}, wire::Removexattr{node, name, request->caller()},
                    [request](const wire::None&, std::string_view) { request->error(0); });
}

}  // namespace

void add_node_operations(fuse_lowlevel_ops& table) {
  table.getattr = getattr;
  table.setattr = setattr;
  table.readlink = readlink;
  table.statfs = statfs;
  table.access = access;
  table.getxattr = getxattr;
  table.listxattr = listxattr;
  table.setxattr = setxattr;
  table.removexattr = removexattr;
}

}  // namespace ssi
