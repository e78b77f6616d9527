// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deputy/command_key.h"

#include <doctest/doctest.h>

#include <sstream>

using namespace ssi;

namespace {

std::string shape(const std::string& line) {
  std::istringstream words(line);
  std::vector<std::string> argv;
  for (std::string word; words >> word;) argv.push_back(word);
  return argument_shape(argv);
}

}  // namespace

TEST_CASE("the same encode of another file has the same shape, other options another") {
  const auto film = shape("ffmpeg -y -i films/one.mkv -c:v libx264 -preset slow -crf 23 out/one.mp4");
  CHECK(film == "-y -i *.mkv -c:v libx264 -preset slow -crf N *.mp4");
  CHECK(shape("/usr/bin/ffmpeg -y -i /tmp/2.MKV -c:v libx264 -preset slow -crf 18 2.mp4") == film);
  CHECK(shape("ffmpeg -y -i one.mkv -c:v libx264 -preset ultrafast -crf 23 one.mp4") != film);
  CHECK(shape("ffmpeg -y -i one.mkv -c:v libx265 -preset slow -crf 23 one.mp4") != film);
  CHECK(shape("ffmpeg -y -i one.avi -c:v libx264 -preset slow -crf 23 one.mp4") != film);
  CHECK(shape("ffmpeg -i one.mkv -y -c:v libx264 -preset slow -crf 23 one.mp4") != film);
}

TEST_CASE("values by their class") {
  CHECK(shape("x 5 -5 1.5 4M 50% 1280x720 00:01:30") == "N +");
  CHECK(shape("x a.c") == "*.c");
  CHECK(shape("x /a/b frame_%04d.png .hidden") == "PATH *.png TEXT");
  CHECK(shape("x --out=a.mkv --level=9 --mode=fast -DNAME=1") ==
        "--out=*.mkv --level=N --mode=fast -DNAME=N");
  CHECK(shape("gcc -O2 -I/usr/include -Isrc/x -c a.c -oa.o") == "-O2 -IPATH + -c *.c -o*.o");
  CHECK(argument_shape({"x", "", "two words/and.more", std::string(100, 'y'), "\xff\xfe"}) == "TEXT +");
  CHECK(shape("x - --") == "- --");
  CHECK(argument_shape({}) == "");
}

TEST_CASE("repeats stand once, and differ from one alone") {
  CHECK(shape("x a.png b.png c.png") == "*.png +");
  CHECK(shape("x a.png b.png c.png") == shape("x a.png b.png"));
  CHECK(shape("x a.png") != shape("x a.png b.png"));
  CHECK(shape("x -i a.png -i b.png -i c.png o.mkv") == "-i *.png + *.mkv");
  CHECK(argument_shape(std::vector<std::string>(100'000, "a.png")) == "*.png +");
}

TEST_CASE("a rebuilt program is another command") {
  const Executable program{1, 2, 3, 4};
  const auto key = command_key(program, "-c *.c");
  CHECK(key.size() == 16);
  CHECK(command_key(program, "-c *.c") == key);
  CHECK(command_key(program, "-S *.c") != key);
  for (const auto& other :
       {Executable{9, 2, 3, 4}, Executable{1, 9, 3, 4}, Executable{1, 2, 9, 4}, Executable{1, 2, 3, 9}})
    CHECK(command_key(other, "-c *.c") != key);
}
