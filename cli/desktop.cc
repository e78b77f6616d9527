// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cli/desktop.h"

#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cli/become.h"
#include "cli/desktop_entry.h"
#include "cli/diverted.h"
#include "cli/options.h"
#include "cli/preload.h"
#include "common/paths.h"
#include "common/whole_file.h"

namespace ssi {
namespace {

namespace fs = std::filesystem;

constexpr char help[] =
    "usage: ssi desktop install NAME...\n"
    "       ssi desktop remove [NAME...]\n"
    "       ssi desktop run COMMAND [ARG...]\n"
    "Has an application that the desktop starts (menu, dock, double click) run its heavy commands in guests, "
    "as\n"
    "in 'ssi shell'. NAME is that of its entry: hugin for /usr/share/applications/hugin.desktop. 'install' "
    "puts a\n"
    "copy into ~/.local/share/applications, which counts before the system's: each Exec= in it begins with\n"
    "'ssi desktop run', and D-Bus does not start it (DBusActivatable=false). Once more after the application "
    "was\n"
    "upgraded: the copy is made anew. 'remove' takes the copies away, all without NAME; do so before you "
    "remove\n"
    "ssi. An entry that is your own is never touched: begin its Exec= with 'ssi desktop run' yourself.\n"
    "'run' becomes COMMAND, whose words stay as they are. If nothing can be diverted (config.toml is broken, "
    "say)\n"
    "it says why on stderr and starts it all the same.\n"
    "Not reached: what runs in a flatpak, a snap or another sandbox, and an application that runs already "
    "and\n"
    "only opens one window more.\n"
    "  ssi desktop install hugin\n";

bool is_name(const std::string& name) {
  return !name.empty() &&
         std::none_of(name.begin(), name.end(), [](unsigned char c) { return c == '/' || std::iscntrl(c); });
}

std::string file_of(const std::string& name) {
  return name.ends_with(".desktop") ? name : name + ".desktop";
}

// Of the user's own entries. Source: the XDG Base Directory Specification; what is not absolute does not count.
fs::path own_entries() {
  const char* data = ::getenv("XDG_DATA_HOME");
  return fs::path(data && *data == '/' ? data : paths::home_dir() + "/.local/share") / "applications";
}

enum class Place { free, ours, taken };

Place look_at(const fs::path& file) {
  std::error_code error;
  const auto status = fs::symlink_status(file, error);
  if (status.type() == fs::file_type::not_found) return Place::free;
  if (status.type() != fs::file_type::regular) return Place::taken;
  const auto text = read_whole(file);
  return text && is_diverted_entry(*text) ? Place::ours : Place::taken;
}

// The entry's text and where it lies. In a folder "kde" an entry's name begins with "kde-".
struct Found {
  std::string file, text;
};

Result<Found> find_entry(const std::string& name) {
  const char* set = ::getenv("XDG_DATA_DIRS");
  const std::string directories = set && *set ? set : "/usr/local/share:/usr/share";
  std::istringstream each(directories);
  for (std::string directory; std::getline(each, directory, ':');) {
    if (!directory.starts_with('/')) continue;
    auto file = file_of(name);
    for (auto dash = file.find('-');; dash = file.find('-', dash)) {
      const auto path = (fs::path(directory) / "applications" / file).lexically_normal().string();
      const auto text = read_whole(path);
      if (text && !is_diverted_entry(*text)) return Found{path, *text};
      if (dash == file.npos) break;
      file[dash] = '/';
    }
  }
  return failure(fmt::format("no {} among the applications of {}", file_of(name), directories));
}

// What an Exec= holds without quotes, and LD_PRELOAD at all.
bool is_plain(std::string_view path) {
  return std::all_of(path.begin(), path.end(), [](unsigned char c) {
    return c > 127 || std::isalnum(c) ||
           std::string_view("/._+,@-").find(static_cast<char>(c)) != std::string_view::npos;
  });
}

Result<std::string> made_copy(const std::string& name) {
  const auto ssi = paths::sibling("ssi");
  if (!ssi) return tl::make_unexpected(ssi.error());
  if (!is_plain(*ssi)) return failure(*ssi + ": a .desktop entry cannot hold this path");
  const auto entry = find_entry(name);
  if (!entry) return tl::make_unexpected(entry.error());
  return diverted_entry(entry->text, *ssi + " desktop run", entry->file);
}

// What types of file each entry opens is in an index, where there is one (desktop-file-utils): GLib looks into the index of the folder
// in which it finds an entry, so without ours the copy would take the application out of "Open with".
void index_types(const fs::path& directory) {
  std::string program = "update-desktop-database", quiet = "-q", folder = directory.string();
  char* const argv[] = {program.data(), quiet.data(), folder.data(), nullptr};
  pid_t pid;
  if (::posix_spawnp(&pid, argv[0], nullptr, nullptr, argv, environ) == 0) ::waitpid(pid, nullptr, 0);
}

Status install(const fs::path& directory, const std::vector<std::string>& names) {
  // All or nothing: each is looked at before the first is made.
  std::vector<std::pair<fs::path, std::string>> copies;
  for (const auto& name : names) {
    const auto file = directory / file_of(name);
    if (look_at(file) == Place::taken)
      return failure(file.string() + ": is there already and not a copy of ours: nothing was changed");
    auto copy = made_copy(name);
    if (!copy) return tl::make_unexpected(copy.error());
    copies.emplace_back(file, std::move(*copy));
  }
  std::error_code error;
  fs::create_directories(directory, error);
  if (error) return os_error(directory.string(), error.value());
  for (const auto& [file, text] : copies)
    if (auto put = put_file(file, text, {.mode = 0644}); !put) return put;
  index_types(directory);
  return {};
}

Result<std::vector<std::string>> all_copies(const fs::path& directory) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator it(directory, error), end; !error && it != end; it.increment(error))
    if (it->path().extension() == ".desktop" && look_at(it->path()) == Place::ours)
      names.push_back(it->path().filename());
  if (error && error != std::errc::no_such_file_or_directory)
    return os_error(directory.string(), error.value());
  return names;
}

Status remove(const fs::path& directory, const std::vector<std::string>& names) {
  for (const auto& name : names)
    if (look_at(directory / file_of(name)) != Place::ours)
      return failure((directory / file_of(name)).string() + ": is not a copy of ours: nothing was changed");
  for (const auto& name : names)
    if (const auto file = directory / file_of(name); ::unlink(file.c_str()) != 0)
      return os_error("remove " + file.string());
  index_types(directory);
  return {};
}

const char* copies(std::size_t count) {
  return count == 1 ? "copy" : "copies";
}

int install_command(const Options& options, const std::vector<std::string>& names) {
  if (names.empty()) return options.usage_error("'install' wants the name of an application's entry");
  const auto directory = own_entries();
  if (auto done = install(directory, names); !done) return options.failed(done.error().text());
  fmt::print("{} {} in {}\n", names.size(), copies(names.size()), directory.string());
  return 0;
}

int remove_command(const Options& options, std::vector<std::string> names) {
  const auto directory = own_entries();
  if (names.empty()) {
    auto all = all_copies(directory);
    if (!all) return options.failed(all.error().text());
    names = std::move(*all);
  }
  if (auto done = remove(directory, names); !done) return options.failed(done.error().text());
  fmt::print("{} {} removed from {}\n", names.size(), copies(names.size()), directory.string());
  return 0;
}

// Who clicks sees no stderr, and wants his application.
int run_command(const Options& options, const std::vector<std::string>& words) {
  const auto names = diverted_names();
  const auto preloaded = names ? preload_shim() : tl::make_unexpected(names.error());
  if (!preloaded) options.failed(preloaded.error().text() + "; nothing is diverted");
  return options.failed(become(by_shell(words)).text());
}

}  // namespace

int desktop_command(int argc, char** argv) {
  Options options("ssi desktop", help);
  // What comes behind the command is the command's, options too.
  if (argc > 2 && std::string_view(argv[1]) == "run" && argv[2][0] != '-')
    return run_command(options, {argv + 2, argv + argc});
  if (auto status = options.parse(argc, argv)) return *status;
  const auto& words = options.words();
  if (words.empty()) return options.usage_error("what? 'install', 'remove' or 'run'");
  const std::vector<std::string> names(words.begin() + 1, words.end());
  if (words[0] == "run")
    return names.empty() ? options.usage_error("'run' wants a command") : run_command(options, names);
  if (words[0] != "install" && words[0] != "remove")
    return options.usage_error(fmt::format("unknown '{}'", words[0]));
  for (const auto& name : names)
    if (!is_name(name))
      return options.usage_error(fmt::format("'{}' is not the name of an application's entry", name));
  return words[0] == "install" ? install_command(options, names) : remove_command(options, names);
}

}  // namespace ssi
