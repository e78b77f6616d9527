// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent/job_spec.h"

#include <sys/mman.h>
#include <sys/stat.h>

#include <cstring>

namespace ssi {
namespace {

struct Sizes {
  std::uint64_t start, arguments, environment;
};

Status write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const auto done = ::write(fd, bytes.data(), bytes.size());
    if (done < 0) return os_error("write the job's spec");
    bytes.remove_prefix(static_cast<std::size_t>(done));
  }
  return {};
}

Status read_all(int fd, std::size_t size, off_t& offset, std::string& into) {
  into.resize(size);
  for (std::size_t done = 0; done < size;) {
    const auto got = ::pread(fd, into.data() + done, size - done, offset);
    if (got <= 0) return os_error("read the job's spec", got < 0 ? errno : EPROTO);
    done += static_cast<std::size_t>(got);
    offset += got;
  }
  return {};
}

}  // namespace

Result<Fd> JobSpec::to_memory() const {
  Fd memory(::memfd_create("ssi-job", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!memory) return os_error("memfd_create");
  const auto fields = wire::pack(start);
  const Sizes sizes{fields.size(), arguments.size(), environment.size()};
  const std::string_view header(reinterpret_cast<const char*>(&sizes), sizeof sizes);
  for (const auto part :
       {header, std::string_view(fields), std::string_view(arguments), std::string_view(environment)})
    if (auto written = write_all(memory.get(), part); !written) return tl::make_unexpected(written.error());
  ::fcntl(memory.get(), F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
  return memory;
}

Result<JobSpec> JobSpec::from_memory(int fd) {
  struct stat status;
  Sizes sizes;
  if (::fstat(fd, &status) != 0 || ::pread(fd, &sizes, sizeof sizes, 0) != sizeof sizes)
    return os_error("read the job's spec", EPROTO);
  const auto total = static_cast<std::uint64_t>(status.st_size);
  if (sizes.start > total || sizes.arguments > total || sizes.environment > total ||
      sizes.start + sizes.arguments + sizes.environment + sizeof sizes != total)
    return os_error("read the job's spec", EPROTO);
  JobSpec spec;
  std::string fields;
  off_t offset = sizeof sizes;
  for (auto [size, into] : {std::pair{sizes.start, &fields},
                            {sizes.arguments, &spec.arguments},
                            {sizes.environment, &spec.environment}})
    if (auto read = read_all(fd, size, offset, *into); !read) return tl::make_unexpected(read.error());
  auto start = wire::unpack<wire::Start>(fields);
  if (!start) return tl::make_unexpected(start.error());
  spec.start = std::move(*start);
  return spec;
}

std::string temporary_directory(const std::string& environment) {
  constexpr std::string_view name = "TMPDIR=";
  for (std::size_t at = 0; at < environment.size(); at = environment.find('\0', at) + 1) {
    const std::string_view entry(environment.c_str() + at);
    if (entry.starts_with(name) && entry.size() > name.size()) {
      auto path = entry.substr(name.size());
      while (path.size() > 1 && path.ends_with('/')) path.remove_suffix(1);
      return std::string(path);
    }
    if (environment.find('\0', at) == std::string::npos) break;
  }
  return "/tmp";
}

std::vector<char*> pointers(std::string& strings) {
  std::vector<char*> list;
  for (std::size_t at = 0; at < strings.size(); at += std::strlen(strings.data() + at) + 1)
    list.push_back(strings.data() + at);
  list.push_back(nullptr);
  return list;
}

}  // namespace ssi
