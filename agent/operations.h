// SPDX-License-Identifier: LGPL-2.1-or-later
// The FUSE operations: each turns a request of the kernel into one for the deputy.
#pragma once

#include "agent/fuse.h"

namespace ssi {

// The whole table, for fuse_session_new(); its user data is a Superblock.
const fuse_lowlevel_ops& operations();

// Its parts.
void add_name_operations(fuse_lowlevel_ops& table);       // names in directories
void add_directory_operations(fuse_lowlevel_ops& table);  // reading directories
void add_node_operations(fuse_lowlevel_ops& table);  // attributes, extended attributes, links' targets, space
void add_file_operations(fuse_lowlevel_ops& table);  // open files
void add_lock_operations(fuse_lowlevel_ops& table);  // locks on open files

}  // namespace ssi
