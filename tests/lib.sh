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

# Builds into build/.
build() {
  say 'building in build/'
  if [ -e "$top/build" ] && [ ! -w "$top/build" ]; then die "$top/build belongs to somebody else: remove it"; fi
  [ -e "$top/build/build.ninja" ] || meson setup "$top/build" "$top" > "$top/build.log" 2>&1 ||
    { cat "$top/build.log"; rm -f "$top/build.log"; die 'meson setup failed (see above)'; }
  rm -f "$top/build.log"
  meson compile -C "$top/build" || die 'the build failed (see above)'
}
