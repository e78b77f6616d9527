# SPDX-License-Identifier: LGPL-2.1-or-later
# For the scripts of this repository, which source it: packages and the build. Wants $top, the repository's folder.

say() { printf '== %s\n' "$*"; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"
  elif command -v sudo > /dev/null; then sudo "$@"
  else die "wants root, or sudo, for: $*"
  fi
}

# Installs what debian/control lists, when something of it is missing.
install_packages() {
  local missing
  if command -v dpkg-checkbuilddeps > /dev/null; then
    missing=$(dpkg-checkbuilddeps "$top/debian/control" 2>&1) && return 0
  else
    missing='the build tools'
  fi
  say "installing from Debian: ${missing#*Unmet build dependencies: }"
  # A foreign repository that does not answer is no reason to stop: what is missing shows in the next step.
  as_root apt-get -q update || say 'apt-get update had errors; going on'
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -q build-dep -y --no-install-recommends "$top/" < /dev/null ||
    die 'the packages cannot be installed (see above)'
}

# build [DIR [OPTION...]]: builds into DIR (build/), set up with these options of meson.
build() {
  local dir=$top/${1:-build}
  say "building in ${dir##*/}/"
  if [ -e "$dir" ] && [ ! -w "$dir" ]; then die "$dir belongs to somebody else: remove it"; fi
  [ -e "$dir/build.ninja" ] || meson setup "$dir" "$top" "${@:2}" > "$dir.log" 2>&1 ||
    { cat "$dir.log"; rm -f "$dir.log"; die 'meson setup failed (see above)'; }
  rm -f "$dir.log"
  meson compile -C "$dir" || die 'the build failed (see above)'
}

# build_sanitized DIR: by clang, with AddressSanitizer and UndefinedBehaviorSanitizer, whose first report ends a process.
# Not optimised: half the seconds of -O1. b_lundef: the sanitizers' symbols come with the programs.
build_sanitized() (
  export CC=clang-14 CXX=clang++-14
  build "$1" -Dbuildtype=plain -Db_sanitize=address,undefined -Db_lundef=false \
    '-Dc_args=-g1 -fno-sanitize-recover=undefined' '-Dcpp_args=-g1 -fno-sanitize-recover=undefined'
)
