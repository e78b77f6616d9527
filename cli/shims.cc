// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cli/shims.h"

#include <fmt/format.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

#include "cli/diverted.h"
#include "cli/options.h"
#include "common/paths.h"

namespace ssi {
namespace {

namespace fs = std::filesystem;

enum class Place { free, ours, taken };

// A link to any ssirun is ours: the one that it was made for may have moved.
Place look_at(const fs::path& link) {
  std::error_code error;
  const auto status = fs::symlink_status(link, error);
  if (status.type() == fs::file_type::not_found) return Place::free;
  if (status.type() != fs::file_type::symlink) return Place::taken;
  return fs::read_symlink(link, error).filename() == "ssirun" ? Place::ours : Place::taken;
}

bool is_name(const std::string& name) {
  return !name.empty() && name.find('/') == std::string::npos && name != "." && name != ".." &&
         name != "ssi" && name.rfind("ssirun", 0) != 0 && name.rfind("ssi-", 0) != 0;
}

Status make_link(const std::string& ssirun, const fs::path& link) {
  std::error_code error;
  if (fs::read_symlink(link, error) == ssirun) return {};
  fs::remove(link, error);
  if (!error) fs::create_symlink(ssirun, link, error);
  if (error) return os_error("make " + link.string(), error.value());
  return {};
}

Status install(const fs::path& directory, const std::vector<std::string>& names) {
  const auto ssirun = paths::sibling("ssirun");
  if (!ssirun) return tl::make_unexpected(ssirun.error());
  std::error_code error;
  fs::create_directories(directory, error);
  if (error) return os_error(directory.string(), error.value());
  // All or nothing: each is looked at before the first is made.
  for (const auto& name : names)
    if (look_at(directory / name) == Place::taken)
      return failure((directory / name).string() +
                     ": is there already and not a link of ours: nothing was changed");
  for (const auto& name : names)
    if (auto made = make_link(*ssirun, directory / name); !made) return made;
  return {};
}

Result<std::size_t> remove(const fs::path& directory, std::vector<std::string> names) {
  std::error_code error;
  const bool all = names.empty();
  if (all) {
    for (fs::directory_iterator it(directory, error), end; !error && it != end; it.increment(error))
      if (look_at(it->path()) == Place::ours) names.push_back(it->path().filename());
    if (error) return os_error(directory.string(), error.value());
  }
  for (const auto& name : names)
    if (look_at(directory / name) != Place::ours)
      return failure((directory / name).string() + ": is not a link of ours: nothing was changed");
  for (const auto& name : names)
    if (::unlink((directory / name).c_str()) != 0) return os_error("remove " + (directory / name).string());
  return names.size();
}

const char* links(std::size_t count) {
  return count == 1 ? "link" : "links";
}

int install_command(const Options& options, const fs::path& directory, std::vector<std::string> names) {
  if (names.empty()) {
    auto diverted = names_to_link(directory.string());
    if (!diverted) return options.failed(diverted.error().text());
    names = std::move(*diverted);
    if (names.empty())
      return options.failed("nothing is diverted: no rule names a command that is installed here");
  }
  if (auto done = install(directory, names); !done) return options.failed(done.error().text());
  fmt::print("{} {} in {}. Put it first on PATH:\n  export PATH=\"{}:$PATH\"\n", names.size(),
             links(names.size()), directory.string(), directory.string());
  return 0;
}

int remove_command(const Options& options, const fs::path& directory, const std::vector<std::string>& names) {
  const auto count = remove(directory, names);
  if (!count) return options.failed(count.error().text());
  fmt::print("{} {} removed from {}\n", *count, links(*count), directory.string());
  return 0;
}

}  // namespace

int shims_command(int argc, char** argv) {
  Options options(
      "ssi shims",
      "usage: ssi shims install DIR [NAME...]\n"
      "       ssi shims remove DIR [NAME...]\n"
      "Links in DIR, each a command's name that leads to ssirun, for the commands that the [[app]] tables "
      "of\n"
      "config.toml name and those of the rules that come with ssi that are installed here, or for these "
      "NAMEs.\n"
      "With DIR first on PATH who looks a command up is diverted, also\n"
      "static and Go programs, which 'ssi shell' alone does not reach. ssirun runs the next program of that\n"
      "name on PATH; links to ccache, distcc and icecc behind DIR still work, each runs once.\n"
      "Not reached: who names a program by its path. The rules hold as for any diverted command: a NAME\n"
      "that none of them matches runs at home.\n"
      "  ssi shims install ~/.local/share/ssi/bin\n");
  if (auto status = options.parse(argc, argv)) return *status;
  auto words = options.words();
  if (words.empty()) return options.usage_error("what? 'install' or 'remove'");
  const auto what = words[0];
  if (what != "install" && what != "remove") return options.usage_error(fmt::format("unknown '{}'", what));
  if (words.size() < 2 || words[1].empty())
    return options.usage_error(fmt::format("'{}' wants a directory", what));
  const std::vector<std::string> names(words.begin() + 2, words.end());
  for (const auto& name : names)
    if (!is_name(name))
      return options.usage_error(fmt::format("'{}' is not the name of a command to divert", name));
  std::error_code error;
  const auto directory = fs::absolute(words[1], error).lexically_normal();
  if (directory.string().find(':') != std::string::npos)
    return options.usage_error(fmt::format("{}: PATH cannot hold a colon", directory.string()));
  return what == "install" ? install_command(options, directory, names)
                           : remove_command(options, directory, names);
}

}  // namespace ssi
