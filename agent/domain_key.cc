// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent/domain_key.h"

#include <unistd.h>

#include <fstream>

#include "common/log.h"

namespace ssi {
namespace {

std::string first_line(const std::string& file) {
  std::string line;
  std::getline(std::ifstream(file) >> std::ws, line);
  return line;
}

}  // namespace

std::string domain_uuid() {
  if (first_line("/sys/hypervisor/type") != "xen") return {};
  const auto uuid = first_line("/sys/hypervisor/uuid");
  return uuid == "00000000-0000-0000-0000-000000000000" ? std::string() : uuid;  // that is dom0
}

Result<Identity> domain_key(const std::string& file, const std::string& uuid) {
  const auto note = file + ".domain";
  const auto maker = first_line(note);
  if (!uuid.empty() && !maker.empty() && maker != uuid) {
    log::warning("{} was made in the Xen domain {}, and this is {}: making another", file, maker, uuid);
    if (::unlink(file.c_str()) != 0 && errno != ENOENT) return os_error("remove " + file);
  }
  auto identity = Identity::load_or_create(file);
  if (!identity || uuid.empty() || maker == uuid) return identity;
  std::ofstream out(note);
  out << uuid << '\n' << std::flush;
  if (!out) return os_error("write " + note, EIO);
  return identity;
}

}  // namespace ssi
