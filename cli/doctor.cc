// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cli/doctor.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>

#include "cli/doctor_policy.h"
#include "cli/doctor_trials.h"
#include "cli/key.h"
#include "cli/options.h"
#include "cli/pool_cgroup.h"
#include "cli/pool_guest.h"
#include "cli/pool_tool.h"
#include "cli/status_query.h"
#include "common/config.h"
#include "common/paths.h"

namespace ssi {
namespace {

constexpr unsigned long wanted_descriptors = 16384, wanted_watches = 65536;

template <class T>
Finding finding(const char* what, const Result<T>& result, const std::string& cure) {
  if (result) return {true, true, what, ""};
  return {false, true, what, result.error().text() + (cure.empty() ? "" : ": " + cure)};
}

// Only its owner may read a secret key; one that does not exist yet is made when it is needed.
Status check_key_file() {
  auto file = deputy_key_file();
  if (!file) return tl::make_unexpected(file.error());
  if (::access(file->c_str(), F_OK) != 0) return {};
  auto identity = Identity::load(*file);
  if (!identity) return tl::make_unexpected(identity.error());
  return {};
}

Status check_scheduler() {
  const auto reply = ask_known<wire::StatusReply>(wire::StatusRequest{1});
  if (!reply) return tl::make_unexpected(reply.error());
  for (const auto& guest : reply->guests)
    if (guest.state == "up") return {};
  return failure("the scheduler answers, but no guest is up");
}

unsigned long number_in(const char* file) {
  unsigned long number = 0;
  std::ifstream(file) >> number;
  return number;
}

Finding at_least(const char* what, unsigned long has, unsigned long wanted, const std::string& cure) {
  return {has >= wanted, false, what, fmt::format("{}, {} would be better: {}", has, wanted, cure)};
}

const char* verdict(const Finding& one) {
  return one.is_met ? "ok" : one.is_needed ? "missing" : "note";
}

struct Findings {
  const char* title;
  std::vector<Finding> all;
};

bool misses_something(const Findings& findings) {
  return std::ranges::any_of(findings.all, [](const Finding& one) { return !one.is_met && one.is_needed; });
}

void print(const std::vector<Findings>& groups, const std::vector<PolicyLine>& policy) {
  for (const auto& group : groups) {
    fmt::print("{}:\n", group.title);
    for (const auto& one : group.all)
      fmt::print("{:<8} {}{}{}\n", verdict(one), one.what, one.is_met ? "" : ": ",
                 one.is_met ? "" : one.cure);
  }
  fmt::print("of home's files jobs in guests do not get as they are ('hidden': who needs it goes home):\n{}",
             policy_text(policy));
}

void print_json(const std::vector<Findings>& groups, const std::vector<PolicyLine>& policy) {
  auto findings = nlohmann::ordered_json::array(), rules = nlohmann::ordered_json::array();
  for (const auto& group : groups)
    for (const auto& one : group.all)
      findings.push_back(
          {{"for", group.title}, {"what", one.what}, {"verdict", verdict(one)}, {"cure", one.cure}});
  for (const auto& line : policy)
    rules.push_back({{"kept", word_of(line.rule.kept)},
                     {"path", line.rule.path},
                     {"from", line.from},
                     {"matches", line.matches}});
  const nlohmann::ordered_json all{{"findings", findings}, {"policy", rules}};
  fmt::print("{}\n", all.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
}

}  // namespace

std::string squash_note() {
  return fmt::format(
      "without root a guest has one user id and one group id: its jobs have uid {} and gid {}, files of all "
      "others look as if they were theirs, other groups have no name (home judges rights by the real ones)",
      ::geteuid(), ::getegid());
}

std::vector<Finding> check_pool_needs() {
  const bool rootless = is_rootless_here();
  std::vector<Finding> all;
  auto fuse = finding("/dev/fuse", try_fuse_device(),
                      rootless ? "as root: modprobe fuse; chmod 666 /dev/fuse" : "modprobe fuse");
  const bool has_fuse = fuse.is_met;
  all.push_back(std::move(fuse));
  all.push_back(
      finding("namespaces", try_namespaces(),
              rootless ? "as root: sysctl user.max_user_namespaces=10000 kernel.unprivileged_userns_clone=1; "
                         "not in a container"
                       : "the kernel or a container forbids them; run on the machine itself"));
  if (!rootless) {
    auto ip = finding("iproute2", find_tool("ip"), "apt install iproute2");
    if (ip.is_met)
      all.push_back(finding("bridge and veth devices", try_network(),
                            "modprobe bridge veth; in a container: run on the machine itself"));
    all.push_back(std::move(ip));
  }
  if (has_fuse)
    all.push_back(finding("FUSE in a user namespace", try_fuse_mount(),
                          "sysctl user.max_user_namespaces=10000; wants Linux 4.18 or newer"));
  if (rootless) all.push_back({false, false, "ids", squash_note()});
  for (const char* name : {"ssi-scheduler", "ssi-agent"})
    all.push_back(finding(name, paths::sibling(name), "build or install all of ssi"));
  return all;
}

std::vector<Finding> check_user_needs() {
  std::vector<Finding> all;
  auto config = load_config();
  all.push_back(finding("configuration", config, ""));
  all.push_back(
      finding("runtime directory", paths::runtime_dir(), "chown it to yourself and chmod 700, or remove it"));
  all.push_back(finding("key", check_key_file(), ""));
  for (const char* name : {"ssirun", "ssi-deputy"})
    all.push_back(finding(name, paths::sibling(name), "build or install all of ssi"));
  if (config) all.push_back(finding("pool", check_scheduler(), ""));
  return all;
}

std::vector<Finding> check_comforts() {
  std::vector<Finding> all;
  rlimit descriptors{};
  ::getrlimit(RLIMIT_NOFILE, &descriptors);
  all.push_back({has_cgroup2(), false, "cgroup version 2",
                 "this kernel has none: jobs cannot be limited or frozen as a whole"});
  all.push_back(at_least("open files (hard limit)", descriptors.rlim_max, wanted_descriptors,
                         "LimitNOFILE= or /etc/security/limits.conf"));
  all.push_back(at_least("inotify watches", number_in("/proc/sys/fs/inotify/max_user_watches"),
                         wanted_watches,
                         fmt::format("sysctl fs.inotify.max_user_watches={}", wanted_watches)));
  all.push_back(at_least("inotify instances", number_in("/proc/sys/fs/inotify/max_user_instances"), 64,
                         "sysctl fs.inotify.max_user_instances=128"));
  return all;
}

int doctor_command(int argc, char** argv) {
  bool json = false;
  Options options(
      "ssi doctor",
      "usage: ssi doctor [--json]\n"
      "Looks whether jobs can run in guests, and says the cure for each thing that is missing. "
      "Exit status 0\n"
      "when nothing is. As root it tries what root's embedded pool needs, else what your own does.\n"
      "Then it shows the export policy: what of home's files is hidden from jobs, or read-only.\n");
  options.flag("json", json);
  if (auto status = options.parse(argc, argv)) return *status;
  if (!options.words().empty())
    return options.usage_error("'" + options.words()[0] + "' is one word too many");
  std::vector<Findings> groups{{"to use a pool", check_user_needs()},
                               {"to be a pool ('ssi pool up')", check_pool_needs()},
                               {"good to have", check_comforts()}};
  // A pool that answers shows that this user needs none of his own.
  if (!misses_something(groups[0]))
    for (auto& need : groups[1].all) need.is_needed = false;
  const auto policy = policy_lines();  // a configuration that cannot be read is a finding
  const bool is_missing = std::ranges::any_of(groups, misses_something);
  if (json) {
    print_json(groups, policy.value_or(std::vector<PolicyLine>()));
  } else {
    print(groups, policy.value_or(std::vector<PolicyLine>()));
    fmt::print("{}\n", is_missing ? "something is missing" : "nothing is missing");
  }
  return is_missing ? exit_failure : 0;
}

}  // namespace ssi
