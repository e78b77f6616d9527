// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/config.h"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <optional>

#include "common/identity.h"
#include "common/paths.h"
#include "common/test_folder.h"

using namespace ssi;

namespace {

struct Directory {
  TestFolder folder;
  const std::string& path = folder.path();
  std::string file(const std::string& name, const std::string& text, mode_t mode = 0644) const {
    const auto full = path + "/" + name;
    std::ofstream(full) << text;
    REQUIRE(::chmod(full.c_str(), mode) == 0);
    return full;
  }
};

// An environment variable for one scope.
struct Variable {
  std::string name;
  std::optional<std::string> before;
  Variable(const char* variable, const std::string& value) : name(variable) {
    if (const char* old = ::getenv(variable)) before = old;
    ::setenv(variable, value.c_str(), 1);
  }
  ~Variable() { before ? ::setenv(name.c_str(), before->c_str(), 1) : ::unsetenv(name.c_str()); }
};

// The error of a user's file with this text, its path cut off.
std::string error_of(const std::string& text) {
  const Directory directory;
  const auto file = directory.file("config.toml", text);
  const auto config = load_config("/nonexistent", file, "");
  if (config) return "no error";
  const auto line = config.error().text();
  REQUIRE(line.find('\n') == std::string::npos);
  REQUIRE(line.starts_with(file));
  return line.substr(file.size() + 1);
}

}  // namespace

TEST_CASE("no files: the defaults") {
  const auto config = load_config("/nonexistent", "/nonexistent/too", "/nonexistent");
  REQUIRE(config);
  CHECK(config->policy == Policy::automatic);
  CHECK(config->fallback == Fallback::local);
  CHECK(config->min_seconds == 2);
  CHECK(config->schedulers.empty());
  CHECK(load_config("/dev/null", "/dev/null", ""));
}

TEST_CASE("every key of the manual is known") {
  const Directory directory;
  const auto own = key_text(Identity::generate().public_key());
  const auto file = directory.file("c", R"(
scheduler = ["host.example:7077", "spare:7077"]
scheduler_key = ")" + own + R"("
[defaults]
policy = "remote"
fallback = "wait"
min_seconds = 3
grace = 20
undo = "1G"
shipped = false
reinject = "never"
[export]
hidden = ["~/secret"]
read_only = ["~/mail", "/srv"]
[[app]]
match = ["ffmpeg", "/opt/ff*/bin/ffmpeg"]
not_args = ["-version", "/dev/*"]
when_args = ["-i"]
when_env = { SSI_CLASS = "batch*" }
not_env = ["SSI_LOCAL"]
cwd_under = ["/home/*"]
min_input_mb = 20
resources = { cpus = 8, mem = "4G" }
env_drop = ["DISPLAY"]
files = ["cwd", "tmp"]
net = "none"
gui = true
pipes = false
detach = false
[[app]]
match = "cc1plus"
min_seconds = 0.5
grace = 7.5
undo = "5M"
policy = "local"
fallback = "fail"
)");
  const auto config = load_config("/nonexistent", file, "");
  REQUIRE_MESSAGE(config, config.error().text());
  CHECK(config->schedulers ==
        SchedulerList{{"host.example:7077", *parse_key(own)}, {"spare:7077", *parse_key(own)}});
  CHECK(config->policy == Policy::remote);
  CHECK(config->fallback == Fallback::wait);
  CHECK(config->min_seconds == 3);
  CHECK(config->grace == 20);
  CHECK(config->exports.hidden == std::vector<std::string>{"~/secret"});
  CHECK(config->exports.read_only == std::vector<std::string>{"~/mail", "/srv"});
  REQUIRE(config->apps.size() == 2);
  const auto& ffmpeg = config->apps[0];
  CHECK(ffmpeg.match == std::vector<std::string>{"ffmpeg", "/opt/ff*/bin/ffmpeg"});
  CHECK(ffmpeg.not_args == std::vector<std::string>{"-version", "/dev/*"});
  CHECK(ffmpeg.when_args == std::vector<std::string>{"-i"});
  CHECK(ffmpeg.when_env == std::vector<std::pair<std::string, std::string>>{{"SSI_CLASS", "batch*"}});
  CHECK(ffmpeg.not_env == std::vector<std::string>{"SSI_LOCAL"});
  CHECK(ffmpeg.cwd_under == std::vector<std::string>{"/home/*"});
  CHECK(ffmpeg.min_input_mb == 20);
  CHECK(ffmpeg.env_drop == std::vector<std::string>{"DISPLAY"});
  CHECK(ffmpeg.gui);
  CHECK_FALSE(ffmpeg.pipes);
  CHECK(ffmpeg.cpus == 8);
  CHECK(ffmpeg.memory == std::uint64_t{4} << 30);
  CHECK(ffmpeg.policy == Policy::remote);  // of [defaults]
  CHECK(ffmpeg.fallback == Fallback::wait);
  CHECK(ffmpeg.min_seconds == 3);
  CHECK(ffmpeg.grace == 20);
  CHECK(ffmpeg.undo == std::uint64_t{1} << 30);
  CHECK(ffmpeg.number == 1);
  CHECK(config->apps[1].file == file);
  CHECK(config->apps[1].number == 2);
  CHECK(config->apps[1].min_seconds == 0.5);
  CHECK(config->apps[1].grace == 7.5);
  CHECK(config->apps[1].undo == 5 << 20);
  CHECK_FALSE(config->apps[1].gui);
  CHECK(config->apps[1].pipes);
  CHECK(config->apps[1].match == std::vector<std::string>{"cc1plus"});
  CHECK(config->apps[1].policy == Policy::local);
  CHECK(config->apps[1].fallback == Fallback::fail);
}

TEST_CASE("the user's file lies over the system's") {
  const Directory directory;
  const auto system = directory.file("system", R"(
scheduler = "a:1"
[defaults]
policy = "local"
min_seconds = 9
[export]
hidden = ["/a"]
[[app]]
match = ["one"]
)");
  const auto user = directory.file("user", R"(
[defaults]
policy = "remote"
[export]
hidden = ["/b"]
[[app]]
match = ["two"]
)");
  const auto config = load_config(system, user, "");
  REQUIRE_MESSAGE(config, config.error().text());
  CHECK(config->schedulers == SchedulerList{{"a:1", ""}});
  CHECK(config->policy == Policy::remote);
  CHECK(config->min_seconds == 9);
  CHECK(config->exports.hidden == std::vector<std::string>{"/a", "/b"});
  REQUIRE(config->apps.size() > 2);
  CHECK(config->apps[2].file == "shipped blender.toml");
  CHECK(config->apps[2].number == 1);
  CHECK(config->apps[2].policy == Policy::local);  // it says so itself
  CHECK(config->apps[2].min_seconds == 9);
  CHECK(config->apps[0].match.front() == "two");
  CHECK(config->apps[1].match.front() == "one");
  CHECK(config->apps[1].policy == Policy::remote);
}

TEST_CASE("what is wrong is said with its line") {
  CHECK(error_of("[defaults]\npolciy = \"auto\"\n") ==
        "2: unknown key 'polciy' (known: policy, fallback, min_seconds, grace, undo, shipped, reinject)");
  CHECK(error_of("\n\nschduler = 1\n") ==
        "3: unknown key 'schduler' (known: scheduler, scheduler_key, defaults, export, home, app)");
  CHECK(error_of("[deffaults]\n") ==
        "1: unknown key 'deffaults' (known: scheduler, scheduler_key, defaults, export, home, app)");
  CHECK(error_of("[defaults]\npolicy = \"never\"\n") ==
        "2: 'policy' must be one of \"auto\", \"local\", \"remote\"");
  CHECK(error_of("[defaults]\npolicy = 1\n") == "2: 'policy' must be one of \"auto\", \"local\", \"remote\"");
  CHECK(error_of("[defaults]\nmin_seconds = \"2\"\n") ==
        "2: 'min_seconds' must be a number that is not negative");
  CHECK(error_of("[defaults]\nmin_seconds = nan\n") ==
        "2: 'min_seconds' must be a number that is not negative");
  CHECK(error_of("[defaults]\nreinject = true\n") == "2: 'reinject' must be one of \"auto\", \"never\"");
  CHECK(error_of("[defaults]\nshipped = 0\n") == "2: 'shipped' must be true or false");
  CHECK(error_of("[[app]]\nmatch = \"x\"\nmin_input_mb = -1\n") ==
        "3: 'min_input_mb' must be a number that is not negative");
  CHECK(error_of("[[app]]\nmatch = \"x\"\nwhen_env = { A = 1 }\n")
            .starts_with("3: 'when_env' must be a table of strings"));
  CHECK(error_of("defaults = 1\n") == "1: 'defaults' must be a table");
  CHECK(error_of("app = 1\n") == "1: 'app' must be written as [[app]]");
  CHECK(error_of("[app]\nmatch = \"x\"\n") == "1: 'app' must be written as [[app]]");
  CHECK(error_of("[[app]]\nmatch = [1]\n") == "2: 'match' must be a string or an array of strings");
  CHECK(error_of("[[app]]\nmatch = \"x\"\nresources = { cpu = 1 }\n") ==
        "3: unknown key 'cpu' (known: cpus, mem)");
  CHECK(error_of("[[app]]\nmatch = \"x\"\nresources = { cpus = 0 }\n") ==
        "3: 'cpus' must be a whole number from 1 to 4096");
  CHECK(error_of("[[app]]\nmatch = \"x\"\nresources = { mem = \"4 G\" }\n") ==
        "3: 'mem' must be a size like \"4G\", \"512M\" or 1048576");
  CHECK(error_of("[[app]]\nmatch = \"x\"\ngui = \"yes\"\n") == "3: 'gui' must be true or false");
  CHECK(error_of("[[app]]\nmatch = \"x\"\nwhen_env = [\"A\"]\n")
            .starts_with("3: 'when_env' must be a table of strings"));
  CHECK(error_of("\n[[app]]\npolicy = \"local\"\n") == "2: [[app]] needs 'match'");
  CHECK(error_of("scheduler = \"host\"\n") ==
        "1: 'scheduler' must be \"HOST:PORT\" or an array of them, not \"host\"");
  CHECK(error_of("scheduler = []\n") == "1: 'scheduler' must be \"HOST:PORT\" or an array of them");
  CHECK(error_of("scheduler = \"h:1\"\nscheduler_key = \"abc\"\n") ==
        "2: 'scheduler_key' must be a public key (64 hexadecimal digits), or an array of them");
  const auto k = key_text(Identity::generate().public_key());
  CHECK(error_of("scheduler = [\"a:1\", \"b:2\", \"c:3\"]\nscheduler_key = [\"" + k + "\", \"" + k +
                 "\"]\n") == "2: 'scheduler_key' must be one key, or one for each scheduler");
  CHECK(error_of("x = \n").starts_with("1: "));
  CHECK(error_of("[defaults\n").starts_with("1: "));
  CHECK(error_of("a = \"\xff\"\n").starts_with("1: "));
}

TEST_CASE("a file that others may write, or of another user, is refused") {
  const Directory directory;
  const auto writable = directory.file("w", "", 0666);
  CHECK(load_config("/nonexistent", writable, "").error().text() ==
        writable + ": others may write to it: chmod go-w " + writable);
  CHECK(load_config(directory.path, "/nonexistent", "").error().text() ==
        directory.path + ": is not a regular file");
  if (::geteuid() == 0) {
    const auto foreign = directory.file("f", "");
    REQUIRE(::chown(foreign.c_str(), 12345, 12345) == 0);
    CHECK(load_config(foreign, "/nonexistent", "").error().text() ==
          foreign + ": belongs to another user (uid 12345)");
  }
}

TEST_CASE("where the scheduler is: environment, config, the user's pool") {
  const Directory directory;
  const Variable state("XDG_STATE_HOME", directory.path);
  const auto a = Identity::generate().public_key(), b = Identity::generate().public_key();
  REQUIRE(paths::make_private_dir(directory.path + "/ssi/pool"));
  const auto pool = directory.file("ssi/pool/pool.toml",
                                   "# by 'ssi pool up'\nscheduler = \"10.0.0.1:7\"\nscheduler_key = \"" +
                                       key_text(a) + "\"\nnewer = true\n");
  Config config;
  auto found = find_schedulers(config, "");
  REQUIRE_MESSAGE(found, found.error().text());
  CHECK(*found == SchedulerList{{"10.0.0.1:7", a}});

  config.schedulers = {{"h:1", ""}};
  CHECK(find_schedulers(config, "")->at(0).address == "h:1");
  CHECK(find_schedulers(config, "")->at(0).key.empty());
  config.schedulers = {{"10.0.0.1:7", ""}};
  CHECK(find_schedulers(config, "")->at(0).key == a);
  config.schedulers = {{"h:1", b}};
  CHECK(find_schedulers(config, "")->at(0).key == b);
  CHECK(find_schedulers(config, "h:1")->at(0).key == b);
  CHECK(find_schedulers(config, "10.0.0.1:7")->at(0).key == a);
  CHECK(find_schedulers(config, "h:2")->at(0).key.empty());
  CHECK(find_schedulers(config, "h:2#" + key_text(b))->at(0).key == b);
  CHECK(*find_schedulers(config, "h:2#" + key_text(a) + ",h:1") == SchedulerList{{"h:2", a}, {"h:1", b}});
  CHECK_FALSE(find_schedulers(config, "h:1,"));

  CHECK(find_schedulers(config, "h").error().text() ==
        "SSI_SCHEDULER: 'h' is not HOST:PORT or HOST:PORT#KEY");
  CHECK(find_schedulers(config, "h:2#12").error().text() ==
        "SSI_SCHEDULER: not a public key (64 hexadecimal digits)");
  config.schedulers.clear();
  directory.file("ssi/pool/pool.toml", "scheduler = \"h:1\"\n");
  CHECK(find_schedulers(config, "").error().text() == pool + ": lacks 'scheduler_key'");
  REQUIRE(::chmod(pool.c_str(), 0666) == 0);
  CHECK_FALSE(find_schedulers(config, ""));
}

TEST_CASE("sizes") {
  CHECK(*parse_size("1024") == 1024);
  CHECK(*parse_size("4G") == std::uint64_t{4} << 30);
  CHECK(*parse_size("512m") == std::uint64_t{512} << 20);
  CHECK(*parse_size("1KiB") == 1024);
  CHECK(*parse_size("2T") == std::uint64_t{2} << 40);
  for (const char* text :
       {"", "G", "-1", "1X", "1.5G", "4 G", "4GG", "99999999999999999999", "99999999999T", "0x10"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_size(text));
  }
}

TEST_CASE("where guests that dial out reach this home") {
  const Directory directory;
  const auto file =
      directory.file("c", "[home]\nlisten = \"127.0.0.1:7702\"\naddress = \"10.0.2.101:7702\"\n");
  const auto config = load_config("/nonexistent", file, "");
  REQUIRE(config);
  CHECK(config->home.listen == "127.0.0.1:7702");
  CHECK(config->home.address == "10.0.2.101:7702");
  for (const char* bad : {"7702", "desk:7702", "127.0.0.1:0"})
    CHECK(error_of("[home]\nlisten = \"" + std::string(bad) + "\"\n") ==
          "2: 'listen' must be an address that guests can connect to, like \"192.0.2.1:7702\"");
  CHECK(error_of("[home]\nlisten = \"127.0.0.1:1\"\naddress = \"0.0.0.0:1\"\n")
            .starts_with("3: 'address' must be"));
  CHECK(error_of("[home]\nlisten = \"0.0.0.0:7702\"\n") ==
        " [home] listen = \"0.0.0.0:7702\" wants 'address' too: the one that guests connect to");
}
