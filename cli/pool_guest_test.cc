// SPDX-License-Identifier: LGPL-2.1-or-later
// A real guest root, entered by a shell in place of the agent. Wants root; says so and passes without.
#include "cli/pool_guest.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include "cli/pool_cgroup.h"
#include "cli/pool_record.h"
#include "common/test_folder.h"
#include "common/whole_file.h"

namespace ssi {
namespace {

TEST_CASE("paths in what ldd prints") {
  auto paths = paths_in_ldd(
      "\tlinux-vdso.so.1 (0x00007ffc)\n"
      "\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)\n"
      "\t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n"
      "\tlibgone.so => not found\n");
  CHECK(paths == std::vector<std::string>{"/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"});
}

bool is_root() {
  if (::geteuid() != 0) MESSAGE("not root: not tried");
  return ::geteuid() == 0;
}

struct Lab {
  Lab() {
    std::filesystem::create_directory(path + "/root");
    auto made = make_bridge();
    REQUIRE(made);
    network = *made;
  }
  ~Lab() {
    (void)remove_network(network, 1);
    (void)remove_cgroup("ssi-guest-test");
  }
  TestFolder folder;
  const std::string& path = folder.path();
  PoolNetwork network;
};

// What `script` prints as the guest's first process.
std::string in_guest(Lab& lab, const std::string& script) {
  const std::string directory = lab.path, log = directory + "/log";
  GuestPlan plan;
  plan.number = 1;
  plan.network = lab.network;
  plan.program = "/bin/bash";
  plan.libraries = libraries_of(plan.program).value();
  plan.key_file = directory + "/key";
  REQUIRE(put_file(plan.key_file, "secret\n"));
  plan.mount_point = directory + "/root";
  plan.cgroup = "ssi-guest-test";
  plan.arguments = {"-c", script};
  plan.environment = {"ONLY=this"};
  plan.log = Fd(::open(log.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600));
  auto child = HeldChild::make(guest_namespaces, [&] { return enter_guest(plan); });
  REQUIRE(child);
  REQUIRE(connect_guest(lab.network, 1, child->id().pid));
  auto released = child->release();
  REQUIRE_MESSAGE(released, released.error().text());
  ::waitpid(child->id().pid, nullptr, 0);
  REQUIRE(remove_cgroup(plan.cgroup));
  return read_whole(log).value();
}

TEST_CASE("nothing of home's is in a guest's root") {
  if (!is_root()) return;
  Lab lab;
  ::setenv("SSI_SECRET_OF_HOME", "x", 1);
  auto text = in_guest(lab, R"(
    echo top: /*
    echo etc: /etc/* /etc/ssi/*
    while read -r id parent device root point rest; do echo mount: $point ${rest##* - }; done < /proc/self/mountinfo
    echo fds: /proc/self/fd/*
    echo processes: /proc/[0-9]*
    echo devices: /dev/*
    echo host: $HOSTNAME
    set | while IFS= read -r line; do case $line in SSI_*|ONLY=*) echo "env: $line";; esac; done
    echo limit: $(ulimit -Hn) core: $(ulimit -Hc)
    while read -r name rest; do case $name in eth0:|lo:) echo "net: $name";; esac; done < /proc/net/dev
    (echo hello > /dev/null) && echo null works
    exec 9<>/dev/fuse && echo fuse opens
  )");
  CAPTURE(text);
  auto has = [&](const std::string& line) {
    return ("\n" + text).find("\n" + line + "\n") != std::string::npos;
  };
  bool merged = text.find("/lib64") != std::string::npos;
  CHECK(merged);
  CHECK(has("top: /dev /etc /lib /lib64 /proc /run /sbin /sys /tmp /var /view"));
  CHECK(has("etc: /etc/ssi /etc/ssi/agent.key"));
  CHECK(has("host: guest1"));
  CHECK(has("env: ONLY=this"));
  CHECK(text.find("SSI_SECRET_OF_HOME") == std::string::npos);
  CHECK(has("processes: /proc/1"));
  CHECK(has("net: eth0:"));
  CHECK(has("net: lo:"));
  CHECK(has("null works"));
  CHECK(has("fuse opens"));
  // 255 is bash's own script descriptor, if any; 3 the directory that the glob reads.
  CHECK(text.find("fds: /proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2") != std::string::npos);
  CHECK(text.find("ext4") == std::string::npos);
  CHECK(text.find("mount: / tmpfs") != std::string::npos);
  CHECK(text.find("core: unlimited") != std::string::npos);
}

TEST_CASE("the guest reaches home's bridge, and nothing is left behind") {
  if (!is_root()) return;
  std::string bridge;
  {
    Lab lab;
    bridge = lab.network.bridge;
    // Nobody listens there: refused at once means that the packet went over the bridge and an answer came
    // back.
    auto text = in_guest(lab, "(exec 3<>/dev/tcp/" + lab.network.home_address() + "/9) 2>&1");
    CHECK_MESSAGE(text.find("refused") != std::string::npos, text);
    CHECK(std::filesystem::exists("/sys/class/net/" + bridge));
  }
  CHECK_FALSE(std::filesystem::exists("/sys/class/net/" + bridge));
}

TEST_CASE("the bridge keeps its address when the device of a guest goes") {
  if (!is_root()) return;
  Lab lab;
  const auto address = [&] { return read_whole("/sys/class/net/" + lab.network.bridge + "/address").value(); };
  const auto alone = address();
  CHECK(in_guest(lab, "read -r address </sys/class/net/eth0/address; echo $address").size() > 10);
  CHECK(address() == alone);
}

TEST_CASE("a bridge that another pool has made under the old name is left alone") {
  if (!is_root()) return;
  Lab lab;
  auto stale = lab.network;
  stale.index += 1000;
  CHECK(remove_network(stale, 1));
  CHECK(std::filesystem::exists("/sys/class/net/" + lab.network.bridge));
}

}  // namespace
}  // namespace ssi
