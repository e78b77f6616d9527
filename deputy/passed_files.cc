// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/passed_files.h"

#include "deputy/file_server.h"

namespace ssi {

PassedFiles::PassedFiles(const std::vector<PassedFd>& passed,
                         const std::vector<wire::Descriptor>& described) {
  for (std::size_t i = 0; i < passed.size() && i < described.size(); ++i) {
    const auto& file = described[i];
    if (file.kind != static_cast<std::uint8_t>(wire::DescriptorKind::file)) continue;
    files_.emplace(file.fd, File{std::make_shared<Description>(passed[i].fd.duplicate(), file.offset),
                                 file.offset, file.token});
  }
}

void PassedFiles::offer(FileServer& files) const {
  for (const auto& [number, file] : files_)
    if (file.token != 0) files.offer(file.token, file.description);
}

// One that the job has not moved stays: somebody at home may have. Nor is one moved that a handle of the job's stands for
// and left where the job left it, as others who share it may be further.
void PassedFiles::settle(const std::vector<wire::Position>& positions) const {
  for (const auto& position : positions) {
    const auto found = files_.find(position.fd);
    if (found == files_.end()) continue;
    const auto& file = found->second;
    if (position.value != (file.token ? file.description->next() : file.offset))
      file.description->seek(position.value);
  }
}

void PassedFiles::rewind() const {
  for (const auto& [number, file] : files_) file.description->seek(file.offset);
}

}  // namespace ssi
