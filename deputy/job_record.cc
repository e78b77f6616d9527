// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/job_record.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <chrono>
#include <utility>

#include "deputy/command_key.h"

namespace ssi {
namespace {

double now() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

Executable executable_of(const RunRequest& request) {
  const auto path = request.path.starts_with('/') ? request.path : request.cwd + "/" + request.path;
  struct stat status;
  if (::stat(path.c_str(), &status) != 0) return {};
  return {status.st_dev, status.st_ino, static_cast<std::uint64_t>(status.st_size),
          status.st_mtim.tv_sec * 1'000'000'000 + status.st_mtim.tv_nsec};
}

int shell_status(int wait_status) {
  return WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
}

}  // namespace

void JobRecord::identify(const RunRequest& request, std::string user, std::string home) {
  job_.user = std::move(user);
  job_.home = std::move(home);
  job_.command = request.command();
  job_.shape = argument_shape(request.argv());
  const auto executable = executable_of(request);
  job_.key = command_key(executable, job_.shape);
  exact_key_ = command_key(executable, request.cwd + '\0' + request.arguments);
  arguments_ = request.argv();
  cwd_ = request.cwd;
  prediction_ = history_.prediction(job_.key);
  if (prediction_) job_.predicted = prediction_->work;
}

void JobRecord::asked_for(const Profile& profile) {
  if (profile.empty()) return;
  const NamedFiles named(arguments_, cwd_);
  history_.learned(job_.key, profile.without([&](const std::string& path) { return named.has(path); }));
}

void JobRecord::under(const Rule& rule) {
  if (!rule.match.empty()) job_.rule = rule.match.front();
}

std::string JobRecord::too_short(double min_seconds, double home_speed) const {
  if (!prediction_) return {};
  const auto seconds = prediction_->work / (home_speed > 0 ? home_speed : 1);
  if (seconds >= min_seconds) return {};
  return fmt::format("predicted {:.2g} s, below min_seconds {:g}", seconds, min_seconds);
}

std::string JobRecord::needed_home() const {
  const auto need = history_.home_need(exact_key_, now());
  return need ? "last time it " + *need : "";
}

void JobRecord::needs_home(const std::string& what) {
  history_.needs_home({exact_key_, what, now()});
}

void JobRecord::began(std::uint64_t id, const std::string& guest, const std::string& reason) {
  is_over_ = false;  // it may begin again, at home
  job_.id = id;
  job_.started = now();
  job_.guest = guest;
  job_.reason = reason;
  row_ = history_.began(job_);
}

void JobRecord::began_in(const wire::Placed& place) {
  speed_ = place.speed;
  began(place.job, place.guest, place.reason);
}

void JobRecord::began_at_home(const std::string& reason) {
  began(0, "home", reason);
}

void JobRecord::ended(JobEnded job) {
  if (row_ == 0 || std::exchange(is_over_, true)) return;
  job.seconds = now() - job_.started;
  history_.ended(row_, job_.key, job_.guest == "home", std::move(job));
}

void JobRecord::exited(const wire::Exited& how, std::uint64_t bytes_in, std::uint64_t bytes_out) {
  JobEnded job;
  job.status = shell_status(how.wait_status);
  job.cpu = static_cast<double>(how.cpu_us) / 1e6;
  job.memory = how.max_rss;
  job.bytes_in = bytes_in;
  job.bytes_out = bytes_out;
  job.round_trips = how.asked;
  job.cache_hits = how.known;
  job.file_wait = static_cast<double>(how.waited_us) / 1e6;
  // A failure teaches nothing: it is short. A scheduler too old to tell the guest's speed: as if it were 1.0.
  if (how.wait_status == 0) job.work = *job.cpu * (speed_ > 0 ? speed_ : 1);
  ended(std::move(job));
}

void JobRecord::ended_at_home(double home_speed) {
  JobEnded job;
  job.work = (now() - job_.started) * (home_speed > 0 ? home_speed : 1);
  ended(std::move(job));
}

void JobRecord::failed() {
  JobEnded job;
  job.status = 125;
  ended(std::move(job));
}

void JobRecord::abandoned() {
  if (job_.guest != "home") ended({});
}

}  // namespace ssi
