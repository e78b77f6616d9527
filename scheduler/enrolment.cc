// SPDX-License-Identifier: LGPL-2.1-or-later
#include "scheduler/enrolment.h"

#include <algorithm>
#include <ctime>
#include <map>
#include <set>

#include "common/identity.h"
#include "common/log.h"

namespace ssi {
namespace {

using wire::Joining;

constexpr std::size_t longest_name = 128;

wire::Joined answer(Joining state, std::string name, std::string reason) {
  return {static_cast<std::uint8_t>(state), std::move(name), std::move(reason)};
}

// What a stranger says is logged and shown: nothing in it may steer a terminal, nor be long.
std::string clean(const std::string& text) {
  auto result = text.substr(0, longest_name);
  for (auto& c : result)
    if (c < 0x20 || c > 0x7e) c = '?';
  return result;
}

}  // namespace

Status check_version(std::uint32_t version) {
  if (version >= 1 && version <= wire::version + 1 && version + 1 >= wire::version) return {};
  return failure("version " + std::to_string(version) + " is not spoken here, but " +
                 std::to_string(wire::version));
}

wire::Joined Enrolment::judge(const wire::Join& join, const std::string& curve_key) {
  if (auto spoken = check_version(join.version); !spoken)
    return answer(Joining::refused, "",
                  spoken.error().text() + ": build its image anew with 'ssi guest build'");
  if (const auto* member = admission_.find(curve_key)) {
    if (member->role != Role::guest) return answer(Joining::refused, "", "this key is not a guest's");
    if (!member->uuid.empty() && member->uuid != join.uuid)
      return answer(Joining::refused, "",
                    "this key was made in the Xen domain " + member->uuid +
                        ": a copy must not bring it along, remove its key file");
    return answer(Joining::admitted, member->name, "");
  }
  if (const auto* revoked = admission_.find_revoked(curve_key))
    return answer(
        Joining::refused, "",
        revoked->name + " was revoked; 'ssi guests approve " + fingerprint(join.key) + "' admits it again");
  if (join.token.empty())
    return answer(Joining::pending, "", "waits for 'ssi guests approve " + fingerprint(join.key) + "'");
  if (auto good = tokens_.check(join.token, ::time(nullptr)); !good)
    return answer(Joining::refused, "", good.error().text());
  auto name = admission_.admit_guest(join.name, join.key, join.uuid);
  if (!name && admission_.find(curve_key)) return judge(join, curve_key);  // by another scheduler with this directory, just now
  if (!name) return answer(Joining::refused, "", "the scheduler cannot admit it: " + name.error().text());
  applicants_.remove(join.key);
  log::info("guest={} admitted by its token key={}", *name, fingerprint(join.key));
  return answer(Joining::admitted, *name, "");
}

wire::Joined Enrolment::join(const ControlServer::Peer& peer, const wire::Join& join, std::int64_t now) {
  const auto curve = curve_key_of(join.key);
  if (!curve || *curve != peer.curve_key)
    return answer(Joining::refused, "", "the key that it names is not the connection's");
  auto verdict = judge(join, peer.curve_key);
  const auto state = static_cast<Joining>(verdict.state);
  if (state != Joining::admitted)
    note({clean(join.name), join.key, clean(join.uuid), state, verdict.reason, peer.route, 0}, now);
  return verdict;
}

void Enrolment::note_refused(const Member& guest, const ControlServer::Peer& peer, const std::string& reason,
                             std::int64_t now) {
  note({guest.name, guest.key, guest.uuid, Joining::refused, reason, peer.route, 0}, now);
}

void Enrolment::note(Applicant applicant, std::int64_t now) {
  applicant.heard = now;
  if (applicants_.note(applicant) && lines_.take(now))
    log::warning("guest={} key={} {}: {}", applicant.name, fingerprint(applicant.key),
                 applicant.state == Joining::pending ? "pending" : "refused", applicant.reason);
}

Result<Enrolment::Approved> Enrolment::approve(const std::string& who) {
  const auto found = applicants_.find(who);
  if (found.size() > 1) return failure("'" + who + "' means several guests: take the fingerprint");
  Applicant guest;
  if (found.size() == 1) {
    guest = found.front();
  } else {
    // One that was revoked need not be asking just now.
    for (const auto& revoked : admission_.revoked())
      if (revoked.name == who || names_key(who, revoked.key)) {
        guest.name = revoked.name;
        guest.key = revoked.key;
        guest.uuid = revoked.uuid;
      }
    if (guest.key.empty())
      for (const auto& admitted : admission_.guests())  // by another scheduler with this directory, perhaps
        if (admitted.name == who || names_key(who, admitted.key)) return Approved{admitted.name, ""};
    for (const auto& asking : applicants_.find(key_text(guest.key))) guest.route = asking.route;
    if (guest.key.empty()) return failure("no guest '" + who + "' waits; 'ssi guests list' shows all");
  }
  auto name = admission_.admit_guest(guest.name, guest.key, guest.uuid);
  if (!name) return tl::make_unexpected(name.error());
  applicants_.remove(guest.key);
  log::info("guest={} approved key={}", *name, fingerprint(guest.key));
  return Approved{*name, guest.route};
}

Result<std::string> Enrolment::make_token(std::uint32_t seconds) {
  return tokens_.make(seconds, ::time(nullptr));
}

std::vector<wire::GuestEntry> Enrolment::entries(const std::vector<wire::GuestStatus>& heard,
                                                 std::int64_t now) {
  std::vector<wire::GuestEntry> entries;
  const auto admitted = admission_.guests();
  std::map<std::string, std::string> uuids;
  for (const auto& guest : admitted) uuids[guest.name] = guest.uuid;
  std::set<std::string> names;
  for (const auto& guest : heard) {
    names.insert(guest.name);
    entries.push_back(
        {guest.name, guest.state, guest.key, guest.address, uuids[guest.name], "", guest.silent});
  }
  for (const auto& guest : admitted)
    if (!names.contains(guest.name))
      entries.push_back({guest.name, "absent", guest.key, "", guest.uuid, "admitted, not heard of yet", -1});
  const auto applicants = applicants_.all();
  for (const auto& applicant : applicants)
    entries.push_back({applicant.name, applicant.state == Joining::pending ? "pending" : "refused",
                       applicant.key, "", applicant.uuid, applicant.reason,
                       static_cast<double>(now - applicant.heard) / 1000});
  for (const auto& guest : admission_.revoked())
    if (std::ranges::find(applicants, guest.key, &Applicant::key) == applicants.end())
      entries.push_back(
          {guest.name, "revoked", guest.key, "", guest.uuid, "revoked by an administrator", -1});
  if (entries.size() > 1000) entries.resize(1000);  // the decoder's limit
  return entries;
}

}  // namespace ssi
