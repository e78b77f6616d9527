# SPDX-License-Identifier: LGPL-2.1-or-later
# For the scripts of this repository, which source it: packages, the build, a pool. Wants $top, the repository's folder.

say() { printf '== %s\n' "$*"; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"
  elif command -v sudo > /dev/null; then sudo "$@"
  else die "wants root, or sudo, for: $*"
  fi
}

# install_packages [PROFILE]: installs what debian/control lists, when something of it is missing.
install_packages() {
  local missing profile=(${1:+-P "$1"})
  if command -v dpkg-checkbuilddeps > /dev/null; then
    missing=$(dpkg-checkbuilddeps "${profile[@]}" "$top/debian/control" 2>&1) && return 0
  else
    missing='the build tools'
  fi
  say "installing from Debian: ${missing#*Unmet build dependencies: }"
  # A foreign repository that does not answer is no reason to stop: what is missing shows in the next step.
  as_root apt-get -q update || say 'apt-get update had errors; going on'
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -q build-dep -y --no-install-recommends "${profile[@]}" "$top/" < /dev/null ||
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
# Not optimised, a unity build, and linked by lld: so it takes four minutes and not seven. b_lundef: the sanitizers' symbols come with the programs.
build_sanitized() (
  export CC=clang-14 CXX=clang++-14 CC_LD=lld-14 CXX_LD=lld-14
  build "$1" -Doptimization=0 -Ddebug=false -Db_sanitize=address,undefined -Db_lundef=false -Dunity=on -Dunity_size=6 \
    '-Dc_args=-g1 -fno-sanitize-recover=undefined' '-Dcpp_args=-g1 -fno-sanitize-recover=undefined'
)

seconds_since() { awk -v from="$1" -v to="$(date +%s.%N)" 'BEGIN { printf "%.1f", to - from }'; }

# ------------------------------------------------------------------------------------ a pool for the time of a script

own_pool=      # set when the pool is ours to take down
deputies=      # that ran before

# This build's deputies, of this user.
running_deputies() {
  local entry
  for entry in /proc/[0-9]*; do
    [ "$(readlink "$entry/exe" 2> /dev/null)" = "$top/build/deputy/ssi-deputy" ] && echo "${entry#/proc/}"
  done
}

# A deputy would go by itself when it has been idle for ten minutes; we leave nothing running.
end_our_deputies() {
  local pid
  for pid in $(running_deputies); do
    case " $deputies " in *" $pid "*) continue ;; esac
    kill "$pid" 2> /dev/null
    for _ in $(seq 50); do [ -e "/proc/$pid/exe" ] || break; sleep 0.1; done
  done
}

# own_pool_up N: of N guests, unless one is up.
own_pool_up() {
  if ssi status > /dev/null 2>&1; then
    say 'a pool is up already: using it, and leaving it up'
  else
    say "bringing up a pool of $1 guests"
    deputies=$(running_deputies | tr '\n' ' ')
    own_pool=yes
    as_root "$top/build/cli/ssi" pool up --guests "$1" || die 'no pool'
  fi
  ssi status
}

own_pool_down() {
  [ -n "$own_pool" ] || return 0
  say 'taking the pool down'
  end_our_deputies
  as_root "$top/build/cli/ssi" pool down
}
