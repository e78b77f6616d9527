// SPDX-License-Identifier: LGPL-2.1-or-later
// Which changes of a file take its set-id bits away, and for whom.
#include "rights.h"

#define TRY(name, expression) \
  static long name(void) {    \
    return expression;        \
  }
static int opened(int flags) {
  return open("file", flags);
}
TRY(writes, write(opened(O_WRONLY), "x", 1))
TRY(writes_nothing, write(opened(O_WRONLY), "", 0))
TRY(appends, write(opened(O_WRONLY | O_APPEND), "x", 1))
TRY(cuts, truncate("file", 3))
TRY(cuts_same, truncate("file", 100))
TRY(cuts_by_descriptor, ftruncate(opened(O_RDWR), 3))
TRY(opens_empty, opened(O_WRONLY | O_TRUNC))
TRY(allocates, fallocate(opened(O_RDWR), 0, 0, 1000))
TRY(copies, copy_file_range(open("source", O_RDONLY), NULL, opened(O_WRONLY), NULL, 50, 0))
TRY(opens_only, opened(O_RDWR))

static const struct {
  const char* name;
  long (*call)(void);
} tries[] = {{"write", writes},
             {"write nothing", writes_nothing},
             {"append", appends},
             {"truncate", cuts},
             {"truncate to the same", cuts_same},
             {"ftruncate", cuts_by_descriptor},
             {"O_TRUNC", opens_empty},
             {"fallocate", allocates},
             {"copy_file_range", copies},
             {"open", opens_only}};
static const mode_t modes[] = {06777, 04666, 02666, 02676, 04767};

int main(int argc, char** argv) {
  enter_shared(argc, argv);
  make_owned("source", 0644);
  for (size_t m = 0; m < sizeof modes / sizeof *modes; ++m)
    for (size_t t = 0; t < sizeof tries / sizeof *tries; ++t) {
      printf("%05o %s:", modes[m], tries[t].name);
      for (int i = 0; i < actor_count; ++i) {
        make_owned("file", modes[m]);
        printf(" %s=%s", actors[i].name, name_of(try_as(&actors[i], tries[t].call)));
        print_status("file");
        CHECK(unlink("file") == 0);
      }
      printf("\n");
    }
  return 0;
}
