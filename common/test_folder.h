// SPDX-License-Identifier: LGPL-2.1-or-later
// An empty folder for one test, removed with all that is in it. For unit tests only.
#pragma once

#include <stdlib.h>

#include <filesystem>
#include <stdexcept>
#include <string>

namespace ssi {

class TestFolder {
 public:
  TestFolder() {
    if (!::mkdtemp(path_.data())) throw std::runtime_error("mkdtemp: " + path_);
  }
  ~TestFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TestFolder(const TestFolder&) = delete;
  TestFolder& operator=(const TestFolder&) = delete;

  const std::string& path() const { return path_; }

 private:
  std::string path_ = (std::filesystem::temp_directory_path() / "ssi-test.XXXXXX").string();
};

}  // namespace ssi
