// SPDX-License-Identifier: LGPL-2.1-or-later
#include "scheduler/applicants.h"

#include <algorithm>

#include "scheduler/admission.h"

namespace ssi {

bool Applicants::note(const Applicant& applicant) {
  auto found = by_key_.find(applicant.key);
  if (found == by_key_.end() && by_key_.size() >= most)
    by_key_.erase(
        std::ranges::min_element(by_key_, {}, [](const auto& entry) { return entry.second.heard; }));
  const bool news = found == by_key_.end() || found->second.reason != applicant.reason ||
                    found->second.state != applicant.state;
  by_key_[applicant.key] = applicant;
  return news;
}

void Applicants::remove(const std::string& key) {
  by_key_.erase(key);
}

void Applicants::sweep(std::int64_t now) {
  std::erase_if(by_key_, [&](const auto& entry) { return now - entry.second.heard >= forget_ms; });
}

std::vector<Applicant> Applicants::find(const std::string& who) const {
  std::vector<Applicant> found;
  for (const auto& [key, applicant] : by_key_)
    if (names_key(who, key)) found.push_back(applicant);
  return found;
}

std::vector<Applicant> Applicants::all() const {
  std::vector<Applicant> all;
  for (const auto& [key, applicant] : by_key_) all.push_back(applicant);
  return all;
}

}  // namespace ssi
