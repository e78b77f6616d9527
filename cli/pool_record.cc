// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cli/pool_record.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "common/fd.h"
#include "common/whole_file.h"

namespace ssi {
namespace {

using nlohmann::json;

json process_json(const ProcessId& id) {
  return {{"pid", id.pid}, {"start", id.start}};
}

ProcessId process_from(const json& object) {
  return {object.at("pid").get<pid_t>(), object.at("start").get<std::uint64_t>()};
}

}  // namespace

std::string to_json(const PoolRecord& record) {
  json guests = json::array();
  for (const auto& guest : record.guests) guests.push_back(process_json(guest));
  json object = {{"boot", record.boot},
                 {"program", record.program},
                 {"bridge", record.network.bridge},
                 {"subnet", record.network.subnet},
                 {"index", record.network.index},
                 {"address", record.address},
                 {"key", record.key},
                 {"scheduler", process_json(record.scheduler)},
                 {"guests", guests},
                 {"planned", record.planned},
                 {"complete", record.complete}};
  return object.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
}

Result<PoolRecord> parse_record(const std::string& text) try {
  json object = json::parse(text);
  PoolRecord record;
  record.boot = object.at("boot");
  record.program = object.at("program");
  record.network = {object.at("bridge"), object.at("subnet"), object.at("index")};
  record.address = object.at("address");
  record.key = object.at("key");
  record.scheduler = process_from(object.at("scheduler"));
  for (const auto& guest : object.at("guests")) record.guests.push_back(process_from(guest));
  record.planned = object.at("planned");
  record.complete = object.at("complete");
  return record;
} catch (const json::exception& error) {
  return failure(std::string("not a pool's record: ") + error.what());
}

Status save_record(const std::string& file, const PoolRecord& record) {
  return put_file(file, to_json(record));
}

Result<PoolRecord> load_record(const std::string& file) {
  auto text = read_whole(file);
  if (!text) return tl::make_unexpected(text.error());
  auto record = parse_record(*text);
  if (!record) return because(file, record.error());
  if (record->boot != boot_id()) return os_error(file, ENOENT);
  return record;
}

}  // namespace ssi
