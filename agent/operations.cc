// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent/operations.h"

#include "agent/superblock.h"

namespace ssi {

const fuse_lowlevel_ops& operations() {
  static const fuse_lowlevel_ops table = [] {
    fuse_lowlevel_ops made{};
    made.init = Superblock::init;
    add_name_operations(made);
    add_directory_operations(made);
    add_node_operations(made);
    add_file_operations(made);
    add_lock_operations(made);
    return made;
  }();
  return table;
}

}  // namespace ssi
