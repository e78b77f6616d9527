// SPDX-License-Identifier: LGPL-2.1-or-later
// The rules of allow.d on the command lines that people and programs write.
#include <doctest/doctest.h>

#include <sstream>

#include "common/rules.h"

using namespace ssi;

namespace {

const Config& shipped() {
  static const auto config = load_config("", "", "");
  REQUIRE_MESSAGE(config, config.error().text());
  return *config;
}

// A line of words; the first is the program, by its path or as /usr/bin has it.
Ruling ruling(const std::string& line, std::vector<std::string> environment = {}) {
  std::istringstream words(line);
  std::vector<std::string> argv;
  for (std::string word; words >> word;) argv.push_back(word);
  const auto path = argv[0].find('/') == std::string::npos ? "/usr/bin/" + argv[0] : argv[0];
  return judge(shipped(), {path, argv, "/", std::move(environment)});
}

void goes(const std::string& line, std::vector<std::string> environment = {}) {
  const auto it = ruling(line, std::move(environment));
  const auto why = it.missed.empty() ? "" : it.missed.back().why;
  REQUIRE_MESSAGE(it.rule, line, ": ", why);
  CHECK_MESSAGE(reason_for_home(*it.rule).empty(), line);
  CHECK_MESSAGE(it.rule->file.starts_with("shipped "), line);
}

// For all that stays, a rule is to know it: else a misspelt name in a test would do.
void stays(const std::string& line, std::vector<std::string> environment = {}) {
  const auto it = ruling(line, std::move(environment));
  CHECK_MESSAGE((!it.rule || !reason_for_home(*it.rule).empty()), line);
  CHECK_MESSAGE((it.rule || !it.missed.empty()), line);
}

void is_unknown(const std::string& line) {
  const auto it = ruling(line);
  CHECK_MESSAGE((!it.rule && it.missed.empty()), line);
}

}  // namespace

TEST_CASE("shipped: ffmpeg and other encoders") {
  goes("ffmpeg -i a.mkv b.mp4");
  goes("ffmpeg -y -i a.mkv -pass 1 -f null /dev/null");
  for (const char* line : {"ffmpeg -version", "ffmpeg -formats", "ffmpeg -f x11grab -i :0.0 b.mp4",
                           "ffmpeg -f v4l2 -i /dev/video0 b.mp4", "ffmpeg -i rtmp://localhost/live b.mp4",
                           "ffmpeg -i a.mkv -c:v h264_nvenc b.mp4", "ffmpeg -hwaccel cuda -i a.mkv b.mp4",
                           "ffmpeg -i a.mkv -vf hwupload,scale_cuda=640:-1 b.mp4"})
    stays(line);
  goes("x264 -o b.264 a.y4m");
  goes("flac -8 a.wav");
  goes("HandBrakeCLI -i a.mkv -o b.mp4 -e x265");
  for (const char* line :
       {"x264 --fullhelp", "x264 --opencl -o b.264 a.y4m", "HandBrakeCLI -i a -o b -e nvenc_h264",
        "HandBrakeCLI -i a -o b --encoder=qsv_h265"})
    stays(line);
}

TEST_CASE("shipped: ImageMagick") {
  for (const char* line : {"convert a.jpg -resize 50% b.png", "convert-im6.q16 a.jpg b.png",
                           "mogrify -resize 50% a.jpg", "magick a.jpg b.png", "montage a.jpg b.jpg c.jpg"})
    goes(line);
  for (const char* line :
       {"convert a.jpg x:", "convert a.jpg info:-", "convert -list format", "magick identify a.jpg",
        "convert -version", "convert https://example.org/a.jpg b.png"})
    stays(line);
  is_unknown("identify a.jpg");
  is_unknown("display a.jpg");
}

TEST_CASE("shipped: raw developers and hugin's tools") {
  goes("darktable-cli a.nef a.xmp b.jpg --width 2000 --apply-custom-presets 0 --core --library :memory:");
  goes("rawtherapee-cli -o out -j90 -Y -c a.nef");
  goes("nona -z LZW -r ldr -m TIFF_m -o out a.pto");
  goes("enblend --compression=90 -o a.jpg a0.tif a1.tif");
  for (const char* line :
       {"darktable-cli --help", "darktable-cli --version", "rawtherapee-cli -v", "rawtherapee-cli",
        "darktable-cli a.nef b.jpg", "darktable-cli a.nef b.jpg --apply-custom-presets true",
        "darktable-cli a.nef b.jpg --apply-custom-presets 0 --core --library l.db",
        "darktable-cli a.nef b.jpg --apply-custom-presets 0 --core --conf opencl=TRUE",
        "nona -g -o out a.pto", "enblend --version", "enfuse --show-software-components"})
    stays(line);
  is_unknown("darktable a.nef");
  is_unknown("rawtherapee a.nef");
  is_unknown("hugin_executor --stitching a.pto");
}

TEST_CASE("shipped: blender only without a window and a graphics processor") {
  for (const char* line :
       {"blender -b a.blend -E CYCLES -f 1", "blender --background a.blend --engine CYCLES -o //out -a",
        "blender -b spaceSHIP.blend -E CYCLES -f 1",
        "blender -b a.blend --python-expr bpy.context.scene.render.engine='CYCLES' -a",
        "blender -b a.blend -E CYCLES -f 1 -- --cycles-device CPU"})
    goes(line, {"DISPLAY=:0"});
  for (const char* line :
       {"blender", "blender a.blend", "blender a.blend -E CYCLES", "blender --version", "blender -b -E help",
        "blender -b --help", "blender -b a.blend -a", "blender -b a.blend -E BLENDER_EEVEE -f 1",
        "blender -b a.blend -E BLENDER_WORKBENCH -f 1",
        "blender -b a.blend -E CYCLES -f 1 -- --cycles-device CUDA+CPU",
        "blender -b a.blend -E CYCLES -f 1 -- --cycles-device OPTIX",
        "blender -b a.blend -E CYCLES -f 1 -- --cycles-device HIP",
        "blender -b a.blend -E CYCLES -f 1 -- --cycles-device ONEAPI",
        "blender -b a.blend -E CYCLES -f 1 -- --cycles-device METAL",
        "blender -b a.blend -E CYCLES --python-console",
        "blender -b a.blend -E CYCLES -a --python-expr bpy.context.scene.render.engine='BLENDER_EEVEE'"})
    stays(line);
}

TEST_CASE("shipped: povray shows a window where there is a display and nothing says otherwise") {
  goes("povray +Iscene.pov +Oscene.png +W640 +H480");
  for (const char* quiet : {"-D", "-d", "Display=off", "display=Off", "Display=false"})
    goes("povray +Iscene.pov " + std::string(quiet), {"DISPLAY=:0"});
  CHECK(ruling("povray a.pov -D").rule->env_drop == std::vector<std::string>{"DISPLAY"});
  stays("povray +Iscene.pov +Oscene.png", {"DISPLAY=:0"});
  for (const char* line : {"povray +Iscene.pov +D", "povray +Iscene.pov +d0TG", "povray a.pov Display=on",
                           "povray a.pov Display=True", "povray a.pov -display :1", "povray a.pov -D +P"})
    stays(line, {"DISPLAY=:0"});
  for (const char* line : {"povray", "povray --version", "povray -h", "povray --benchmark"}) stays(line);
}

TEST_CASE("shipped: compilers, when they compile") {
  for (const char* line :
       {"gcc -c x.c", "g++ -O2 -MD -MF x.d -c x.cc -o x.o", "cc -c x.c", "c++ -c x.cc", "gcc-12 -c x.c",
        "x86_64-linux-gnu-gcc-12 -c x.c", "aarch64-linux-gnu-g++ -c x.cc", "clang -c x.c",
        "clang++-14 -c x.cc", "gcc -S x.c", "gcc -x c -c - -o x.o", "/opt/gcc/bin/g++ -c x.cc",
        "gcc -c -march=x86-64-v3 -mtune=generic x.c", "gcc -c -dumpbase x -pipe x.c",
        "arm-none-eabi-gcc -c x.c", "clang -cc1 -triple x -emit-obj -o x.o x.c"})
    goes(line);
  for (const char* line :
       {"gcc x.c -o x",
        "gcc",
        "gcc --version",
        "gcc -v",
        "gcc -E x.c",
        "gcc -c -E x.c",
        "gcc -M -c x.c",
        "gcc -MM -c x.c",
        "gcc -### -c x.c",
        "gcc -print-search-dirs",
        "gcc -c -print-file-name=plugin",
        "gcc -dumpmachine",
        "gcc -c --help=warnings",
        "gcc -c -march=native x.c",
        "gcc -c -mtune=native x.c",
        "clang -c -mcpu=native x.c",
        "gcc -c @options",
        "gcc -Werror -c -x c /dev/null -o .tmp",
        "gcc -c -O2 conftest.c",
        "gcc -c /tmp/x/conftest.c",
        "cc -o CMakeFiles/cmTC_01.dir/t.c.o -c /b/CMakeFiles/CMakeScratch/TryCompile-1/t.c",
        "cc -c CMakeCCompilerId.c",
        "cc -o x -c /b/CMakeFiles/CMakeTmp/t.c",
        "cc -c /b/meson-private/tmp1/testfile.c -o x",
        "c++ -c sanitycheckcpp.cc",
        "g++ -fmodule-mapper=localhost:1234 -c x.cc",
        "clang -cc1 -E x.c",
        "gcc -c x.c -wrapper gdb,--args"})
    stays(line);
  for (const char* line : {"gcc-ar rc x", "x86_64-linux-gnu-gcc-ar-12 rc x", "clang-format -i -c x",
                           "clangd -c x", "ld -c x", "clang-tidy-14 -c x.c"})
    is_unknown(line);
}

TEST_CASE("shipped: what gcc starts, when it links as well") {
  for (const std::string program :
       {"/usr/lib/gcc/x86_64-linux-gnu/12/cc1", "/usr/libexec/gcc/x86_64-linux-gnu/13/cc1plus"}) {
    goes(program +
         " -quiet -imultiarch x86_64-linux-gnu x.c -quiet -dumpbase x.c -march=znver3 -o /tmp/ccabcd.s");
    stays(program + " -E -quiet x.c");
    stays(program + " -quiet conftest.c -o /tmp/ccabcd.s");
    stays(program + " -quiet CMakeCCompilerId.c -o /tmp/ccabcd.s");
    stays(program + " -quiet help-dummy --help=warnings");
    stays(program + " -quiet -version x.c");
  }
}

TEST_CASE("shipped: a link to ccache, distcc or icecc stays, what it starts does not") {
  for (const char* folder : {"/usr/lib/ccache/", "/usr/lib64/ccache/", "/usr/lib/ccache/bin/",
                             "/opt/brew/opt/ccache/libexec/", "/usr/lib/distcc/", "/usr/lib/icecc/bin/"})
    for (const char* compiler : {"gcc", "c++", "clang++-14", "x86_64-linux-gnu-g++-12"}) {
      const auto it = ruling(std::string(folder) + compiler + " -c x.c");
      REQUIRE_MESSAGE(it.rule, folder);
      CHECK_MESSAGE(it.rule->policy == Policy::local, folder);
    }
  goes("/usr/bin/gcc -c x.c");
  is_unknown("/usr/bin/ccache gcc -c x.c");
}

TEST_CASE("shipped: compressors, when they compress") {
  for (const char* line :
       {"xz big", "xz -9e -T0 -k big", "xz -zkf big", "xz --threads=0 --verbose big", "xz -c", "xz -vv big",
        "xz --suffix=.lzma --format=lzma big", "zstd -19 big", "zstd --ultra -22 big", "zstd -T0 -12 big",
        "zstd -k19 big", "7z a x.7z big", "7za a -mx9 x.zip big", "7z u x.7z big", "7zz a x.7z big"})
    goes(line);
  for (const char* line : {"xz -d big.xz",
                           "xz -dc big.xz",
                           "xz -kd big.xz",
                           "xz -t big.xz",
                           "xz -l big.xz",
                           "xz -vd",
                           "xz -T4 -d",
                           "xz -0d",
                           "xz --decompress big.xz",
                           "xz --decomp",
                           "xz --uncompress",
                           "xz --test big.xz",
                           "xz --list",
                           "xz --version",
                           "xz -V",
                           "xz --help",
                           "xz -H",
                           "xz --long-help",
                           "xz --info-memory",
                           "zstd big",
                           "zstd -3 big",
                           "zstd -T16 big",
                           "zstd -d big.zst",
                           "zstd -19 -d big.zst",
                           "zstd -dc -19 x",
                           "zstd -b19 big",
                           "zstd --list -19",
                           "zstd --ultra --test x",
                           "7z",
                           "7z x x.7z",
                           "7z l x.7z",
                           "7z t a",
                           "7z e a",
                           "7z b"})
    stays(line);
  for (const char* line : {"unxz big.xz", "xzcat big.xz", "unzstd x.zst", "zstdcat x"}) is_unknown(line);
}

TEST_CASE("shipped: TeX") {
  for (const char* line :
       {"pdflatex -interaction=nonstopmode paper.tex", "lualatex paper", "xelatex --shell-escape paper"})
    goes(line);
  for (const char* line : {"pdflatex", "pdflatex --version", "pdftex -ini -etex pdflatex.ini",
                           "xetex --initialize x", "latex -ipc paper", "lualatex --help"})
    stays(line);
  is_unknown("latexmk -pdf paper");
}
