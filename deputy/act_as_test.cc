// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/act_as.h"

#include <doctest/doctest.h>
#include <sys/capability.h>
#include <sys/fsuid.h>
#include <sys/stat.h>

#include "deputy/test_home.h"

using namespace ssi;

namespace {

bool has_capability(cap_value_t which) {
  const cap_t own = ::cap_get_proc();
  cap_flag_value_t has = CAP_CLEAR;
  ::cap_get_flag(own, which, CAP_EFFECTIVE, &has);
  ::cap_free(own);
  return has == CAP_SET;
}

}  // namespace

TEST_CASE("rights are borrowed and given back") {
  if (::geteuid() != 0) return;
  Callers callers;
  CHECK(callers.rights({0, 0}).own);
  const bool had = has_capability(CAP_SYS_RESOURCE);
  const auto rights = callers.rights({54321, 54322});
  CHECK_FALSE(rights.own);
  CHECK(rights.groups == std::vector<gid_t>{54322});
  {
    const ActAs as(rights);
    CHECK(as.done());
    CHECK(::setfsuid(static_cast<uid_t>(-1)) == 54321);
    CHECK(::setfsgid(static_cast<gid_t>(-1)) == 54322);
    CHECK(::geteuid() == 0);
    CHECK_FALSE(has_capability(CAP_SYS_RESOURCE));
    CHECK_FALSE(has_capability(CAP_SETGID));
  }
  CHECK(has_capability(CAP_SYS_RESOURCE) == had);
  CHECK(has_capability(CAP_SETGID));
  CHECK(::setfsuid(static_cast<uid_t>(-1)) == 0);
  CHECK(::setfsgid(static_cast<gid_t>(-1)) == 0);
  CHECK(callers.rights({54321, 54322, 1, {7, 8}}).groups == std::vector<gid_t>{7, 8});  // as the guest says
  // An id that is none must not leave root's rights.
  bool called = false;
  CHECK(act_as(callers.rights({static_cast<std::uint32_t>(-1), 0}), [&] { return called = true, 0; }) ==
        EPERM);
  CHECK(act_as(callers.rights({1, static_cast<std::uint32_t>(-1)}), [&] { return called = true, 0; }) ==
        EPERM);
  CHECK_FALSE(called);
  CHECK(::setfsuid(static_cast<uid_t>(-1)) == 0);
}

TEST_CASE("home's kernel judges a caller, and what he makes is his") {
  if (::geteuid() != 0) return;
  TestHome home;
  const wire::Caller other{54321, 54322}, root{0, 0};
  home.write("secret", "secret");
  ::chmod(home.path("secret").c_str(), 0600);
  home.write("public", "public");
  ::chmod(home.path("public").c_str(), 0644);
  std::filesystem::create_directory(home.path("closed"));
  home.write("closed/in", "");
  ::chmod(home.path("closed").c_str(), 0700);
  std::filesystem::create_directory(home.path("shared"));
  ::chmod(home.path("shared").c_str(), 01777);
  const auto node = [&](const std::string& name) { return home.look(home.root(), name).node; };

  CHECK(home.error(wire::Open{node("secret"), home.next_handle(), O_RDONLY, other}) == EACCES);
  CHECK(home.error(wire::Open{node("public"), home.next_handle(), O_RDONLY, other}) == 0);
  CHECK(home.error(wire::Open{node("public"), home.next_handle(), O_RDWR, other}) == EACCES);
  CHECK(home.error(wire::Access{node("secret"), R_OK, other}) == EACCES);
  CHECK(home.error(wire::Access{node("secret"), R_OK, root}) == 0);
  CHECK(home.error(wire::Lookup{node("closed"), "in", other}) == EACCES);
  CHECK(home.error(wire::Mkdir{home.root(), "no", 0700, other}) == EACCES);
  CHECK(home.error(wire::Unlink{home.root(), "public", other}) == EACCES);
  auto set = TestHome::setting(node("public"), wire::Setattr::set_size, other);
  CHECK(home.error(set) == EACCES);  // on the thread pool
  set.fields = wire::Setattr::set_mode;
  CHECK(home.error(set) == EPERM);

  const auto shared = node("shared");
  const auto handle = home.next_handle();
  const auto made = home.ask(wire::Create{shared, "mine", 0600, O_RDWR, handle, other});
  REQUIRE(made);
  CHECK(made->attr.uid == 54321);
  CHECK(made->attr.gid == 54322);
  CHECK(home.ask(wire::Mkdir{shared, "dir", 0700, other})->attr.uid == 54321);
  CHECK(home.ask(wire::Symlink{shared, "link", "x", other})->attr.uid == 54321);
  CHECK(home.ask(wire::Mkdir{shared, "roots", 0700, root})->attr.uid == 0);
  CHECK(home.error(wire::Rmdir{shared, "roots", other}) == EPERM);  // sticky
  CHECK(home.error(wire::Mknod{shared, "device", S_IFCHR | 0600, 0x103, other}) == EPERM);
}
