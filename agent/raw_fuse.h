// SPDX-License-Identifier: LGPL-2.1-or-later
// What libfuse 3.14 does not know of the kernel's protocol, or leaves out: requests and replies are mended on their way.
#pragma once

struct iovec;

namespace ssi {

// open(2) with O_TMPFILE, since Linux 6.2, asks as create does, of a file that is called "/", has O_TMPFILE among its flags
// and is answered in the same way: in the request that was received it becomes that.
void read_tmpfile_as_create(void* request);

// In the reply to INIT: wishes that libfuse never passes on.
// FUSE_PARALLEL_DIROPS: else the kernel has each lookup in a directory wait for the one before, with a lock that no signal,
// not even SIGKILL, gets a task away from.
// FUSE_HANDLE_KILLPRIV: else the kernel takes set-id bits away by a chmod of its own before each write, in the writer's
// name, which home refuses unless the file is his. With it home's kernel does it, as it does for a write at home.
// FUSE_HANDLE_KILLPRIV_V2: the same, and the kernel need not ask for security.capability before each write (SB_NOSEC). That some writer
// may keep the bits (CAP_FSETID), which it would tell us, home's kernel judges as well.
void ask_for_more(const iovec* reply, int parts);

}  // namespace ssi
