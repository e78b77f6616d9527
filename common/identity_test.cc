// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/identity.h"

#include <doctest/doctest.h>
#include <sodium.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "common/paths.h"
#include "common/test_folder.h"

using namespace ssi;

namespace {

struct Directory {
  TestFolder folder;
  const std::string& path = folder.path();
  std::string file(const std::string& name, const std::string& text, mode_t mode = 0600) const {
    const auto full = path + "/" + name;
    std::ofstream(full) << text;
    REQUIRE(::chmod(full.c_str(), mode) == 0);
    return full;
  }
};

const std::string digits = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";

}  // namespace

TEST_CASE("RFC 8032, test 1") {
  const Directory directory;
  const auto self = Identity::load(directory.file("key", digits + "\n"));
  REQUIRE(self);
  CHECK(key_text(self->public_key()) == "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
  CHECK(fingerprint(self->public_key()) == "d75a980182b10ab7");
  CHECK(key_text(self->seed()) == digits);
  CHECK(key_text(self->sign(""))
            .starts_with("e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"));
}

TEST_CASE("a key is made once, for its owner only") {
  const Directory directory;
  const auto path = directory.path + "/a/b/key";
  const auto first = Identity::load_or_create(path);
  REQUIRE_MESSAGE(first, first.error().text());
  struct stat st {};
  REQUIRE(::stat(path.c_str(), &st) == 0);
  CHECK((st.st_mode & 0777) == 0600);
  REQUIRE(::stat((directory.path + "/a").c_str(), &st) == 0);
  CHECK((st.st_mode & 0777) == 0700);
  CHECK(Identity::load_or_create(path)->public_key() == first->public_key());
  CHECK(std::distance(std::filesystem::directory_iterator(directory.path + "/a/b"), {}) == 1);
}

TEST_CASE("a key file that cannot be trusted is an error") {
  const Directory directory;
  const auto open = directory.file("open", digits + "\n", 0644);
  CHECK(Identity::load(open).error().text() == open + ": others may read this secret key: chmod 600 " + open);
  CHECK(Identity::load_or_create(open).error().text() ==
        open + ": others may read this secret key: chmod 600 " + open);
  for (const auto& text :
       {std::string(), digits.substr(1), digits + "00", digits + "\n\n", "x" + digits.substr(1)}) {
    CAPTURE(text);
    const auto bad = directory.file("bad", text);
    CHECK(Identity::load(bad).error().text() == bad + ": is not a secret key (64 hexadecimal digits)");
  }
  CHECK(Identity::load(directory.path).error().text() == directory.path + ": is not a regular file");
  CHECK(Identity::load(directory.path + "/none").error().text() ==
        "open " + directory.path + "/none: No such file or directory");
  const auto link = directory.path + "/link";
  REQUIRE(::symlink(directory.file("good", digits).c_str(), link.c_str()) == 0);
  CHECK_FALSE(Identity::load(link));
  if (::geteuid() == 0) {
    const auto foreign = directory.file("foreign", digits);
    REQUIRE(::chown(foreign.c_str(), 12345, 0) == 0);
    CHECK(Identity::load(foreign).error().text() == foreign + ": belongs to another user (uid 12345)");
  }
}

TEST_CASE("a signature holds for its key and message only") {
  const auto self = Identity::generate(), other = Identity::generate();
  auto signature = self.sign("message");
  CHECK(verify(self.public_key(), "message", signature));
  CHECK_FALSE(verify(self.public_key(), "massage", signature));
  CHECK_FALSE(verify(other.public_key(), "message", signature));
  CHECK_FALSE(verify(self.public_key().substr(1), "message", signature));
  CHECK_FALSE(verify(self.public_key(), "message", signature.substr(1)));
  CHECK_FALSE(verify("", "", ""));
  signature[5] = static_cast<char>(signature[5] ^ 1);
  CHECK_FALSE(verify(self.public_key(), "message", signature));
}

TEST_CASE("the CURVE halves belong together") {
  const auto self = Identity::generate();
  CHECK(*curve_key_of(self.public_key()) == self.curve_public());
  std::string derived(32, '\0');
  crypto_scalarmult_base(reinterpret_cast<unsigned char*>(derived.data()),
                         reinterpret_cast<const unsigned char*>(self.curve_secret().data()));
  CHECK(derived == self.curve_public());
  CHECK_FALSE(curve_key_of("short"));
  CHECK_FALSE(curve_key_of(std::string(32, '\0')));
}

TEST_CASE("keys as text") {
  const auto self = Identity::generate();
  CHECK(*parse_key(key_text(self.public_key())) == self.public_key());
  for (const auto& text :
       {std::string(), key_text(self.public_key()) + " ", key_text(self.public_key()).substr(2),
        std::string(64, 'g'), std::string(64, '0')}) {
    CAPTURE(text);
    CHECK_FALSE(parse_key(text));
  }
}

TEST_CASE("private directories") {
  const Directory directory;
  CHECK(paths::make_private_dir(directory.path + "/x/y"));
  CHECK(paths::make_private_dir(directory.path + "/x/y"));
  const auto open = directory.path + "/open";
  REQUIRE(::mkdir(open.c_str(), 0777) == 0);
  REQUIRE(::chmod(open.c_str(), 0777) == 0);
  CHECK(paths::make_private_dir(open).error().text() == open + ": others may write to it: chmod 700 " + open);
  const auto file = directory.file("file", "");
  CHECK(paths::make_private_dir(file).error().text() == file + ": Not a directory");
  CHECK(paths::make_private_dir(file + "/x").error().text() == "mkdir " + file + "/x: Not a directory");
  if (::geteuid() == 0) {
    const auto planted = directory.path + "/planted";
    REQUIRE(::symlink("/root", planted.c_str()) == 0);
    REQUIRE(::lchown(planted.c_str(), 12345, 0) == 0);
    CHECK(paths::make_private_dir(planted).error().text() ==
          planted + ": belongs to another user (uid 12345, we are 0)");
  }
}
