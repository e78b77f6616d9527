// SPDX-License-Identifier: LGPL-2.1-or-later
// config.toml: the rules of /etc/ssi/allow.d, overlaid by /etc/ssi/config.toml, overlaid by the user's.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "common/result.h"

namespace ssi {

enum class Policy { automatic, local, remote };  // "auto" | "local" | "remote"
enum class Fallback { local, fail, wait };

struct Rule {                                                 // one [[app]]
  std::string file;                                           // that it stands in; "shipped x.toml": came along
  std::size_t number = 0;                                     // in that file, from 1
  std::vector<std::string> match;                             // basenames, absolute paths or globs
  std::vector<std::string> not_args, when_args;               // globs
  std::vector<std::pair<std::string, std::string>> when_env;  // variable, glob of its value
  std::vector<std::string> not_env;                           // globs of variables' names
  std::vector<std::string> cwd_under;                         // globs of folders
  double min_input_mb = 0;                                    // MB of 10^6 bytes; 0: not given
  Policy policy = Policy::automatic;
  Fallback fallback = Fallback::local;
  double min_seconds = 2;             // predicted below this: stays home
  double grace = 60;                  // seconds for which its guest may be out of reach before it counts as lost
  std::uint64_t undo = 256 << 20;     // bytes of what it overwrites that are kept, so that it can be run again
  bool gui = false;                   // shows windows: stays home
  bool pipes = true;                  // false: with a pipe above fd 2 it stays home
  std::vector<std::string> env_drop;  // globs of variables that do not go to a guest
  std::uint32_t cpus = 0;             // resources.cpus; 0: not given
  std::uint64_t memory = 0;           // resources.mem in bytes ("4G"); 0: not given
};

struct SchedulerAddress {
  std::string address;  // HOST:PORT
  std::string key;      // Ed25519 public key, 32 bytes; empty: not known
  bool operator==(const SchedulerAddress&) const = default;
};
using SchedulerList = std::vector<SchedulerAddress>;  // the first is preferred, the others are spare

struct ExportRules {                           // [export]; paths may start with ~/
  std::vector<std::string> hidden, read_only;  // added to the defaults
};

struct HomeAddress {    // [home]: for guests that dial out
  std::string listen;   // HOST:PORT where this home takes their connections, numeric; empty: nowhere
  std::string address;  // HOST:PORT by which they reach it; empty: the same
};

struct Config {
  // scheduler = "HOST:PORT", scheduler_key = "hex"; or arrays, of which that of the keys may be one key for all.
  SchedulerList schedulers;
  Policy policy = Policy::automatic;  // [defaults]
  Fallback fallback = Fallback::local;
  double min_seconds = 2;
  double grace = 60;
  std::uint64_t undo = 256 << 20;
  bool shipped = true;   // the rules that come with ssi, and what else is in /etc/ssi/allow.d, hold after all others
  bool reinject = true;  // the shim goes along where a program makes an environment without it ("auto", "never")
  ExportRules exports;
  HomeAddress home;
  std::vector<Rule> apps;
};

// Reads both files, and the folder as common/allow_folder.h says; a missing one is empty. An error is one line: "FILE:LINE:
// what is wrong". A file that belongs to neither the user nor root, or that others may write, is an error; so is an unknown key.
Result<Config> load_config(const std::string& system_file, const std::string& user_file,
                           const std::string& allow_folder);
Result<Config> load_config();  // the usual files; SSI_CONFIG replaces the user's

// "HOST:PORT" or "HOST:PORT#KEY"; several with commas between them.
Result<SchedulerList> parse_schedulers(const std::string& text);

// SSI_SCHEDULER (as above), then the config, then the embedded pool's file. A key that is not given is taken from what
// comes later and names the same address. None: no pool is known.
Result<SchedulerList> find_schedulers(const Config& config, const std::string& from_environment);

bool is_address(std::string_view address);  // "HOST:PORT"

// "a, b": {"a", "b"}.
std::vector<std::string> split_list(const std::string& text);

// "4G", "512M", "1024": bytes.
Result<std::uint64_t> parse_size(const std::string& text);

}  // namespace ssi
