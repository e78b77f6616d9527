// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cli/desktop_entry.h"

#include <doctest/doctest.h>

namespace ssi {
namespace {

std::string copy_of(std::string_view text) {
  const auto made = diverted_entry(text, "/bin/ssi desktop run", "/o");
  return made ? *made : made.error().text();
}

TEST_CASE("each command begins with the prefix, and the rest stays") {
  CHECK(copy_of("# of theirs\n"
                "[Desktop Entry]\nName=A\nName[de]=Exec=B\nTryExec=/opt/a\nExec = a "
                "%F\nActions=new;\nDBusActivatable=true\n\n"
                "[Desktop Action new]\nName=New\nExec=\"a b\" --new \"%%\" %u\n"
                "[X-Other]\nExec=c\nDBusActivatable=true\n") ==
        "# of theirs\n"
        "[Desktop Entry]\nX-Ssi-Copy-Of=/o\nDBusActivatable=false\n"
        "Name=A\nName[de]=Exec=B\nTryExec=/opt/a\nExec=/bin/ssi desktop run a %F\nActions=new;\n\n"
        "[Desktop Action new]\nName=New\nExec=/bin/ssi desktop run \"a b\" --new \"%%\" %u\n"
        "[X-Other]\nExec=c\nDBusActivatable=true\n");
}

TEST_CASE("it is hidden when its program has gone") {
  CHECK(copy_of("[Desktop Entry]\nExec=a\t%F").find("\nTryExec=a\n") != std::string::npos);
  CHECK(copy_of("[Desktop Entry]\nExec=\"a b\" %F").find("TryExec") == std::string::npos);
}

TEST_CASE("what starts nothing has no copy") {
  for (const auto* text :
       {"", "\n", "[Desktop Entry]", "[Desktop Entry]\nExec=\n", "Exec=a\n", "[Desktop Entry]\n#Exec=a\n",
        "[Desktop Action new]\nExec=a\n", "[Desktop Entry]\nURL=a\n[Other]\nExec=a\n"})
    CHECK(copy_of(text) == "/o: starts no program: it has no Exec=");
}

TEST_CASE("a copy is known, by its main group's mark alone") {
  CHECK(is_diverted_entry(copy_of("[Desktop Entry]\r\nExec=a\r\n")));
  CHECK_FALSE(is_diverted_entry("[Desktop Entry]\nExec=/bin/ssi desktop run a\n[Other]\nX-Ssi-Copy-Of=/o\n"));
  CHECK_FALSE(is_diverted_entry("#X-Ssi-Copy-Of=/o\n"));
}

}  // namespace
}  // namespace ssi
