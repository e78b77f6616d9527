# SPDX-License-Identifier: LGPL-2.1-or-later
# For scripts that make an initramfs of Debian's packages, which source it. Wants $debian, where they are unpacked, and
# die(). Nothing here wants root.

# with_busybox TREE: the shell and its tools.
with_busybox() {
  local applet
  mkdir -p "$1/bin" "$1/etc" "$1/root"
  ln -s bin "$1/sbin"
  install -m 755 "$debian/bin/busybox" "$1/bin/busybox"
  for applet in $("$debian/bin/busybox" --list); do
    [ "$applet" = busybox ] || ln -s busybox "$1/bin/$applet"
  done
  echo 'root:x:0:0:root:/root:/bin/sh' > "$1/etc/passwd"
  echo 'root:x:0:' > "$1/etc/group"
}

# with_libraries TREE PROGRAM PLACE: copies it, and the libraries that it needs from $debian or from this machine.
with_libraries() {
  local needed library place
  needed=$(LD_LIBRARY_PATH=$debian/usr/lib/x86_64-linux-gnu ldd "$2")
  case $needed in *'not found'*) die "$2 needs what is not here: $(echo "$needed" | grep -m 1 'not found')" ;; esac
  install -D -m 755 -s "$2" "$1/$3"
  for library in $(echo "$needed" | grep -o '/[^ ]*'); do
    case $library in "$debian"/*) place=/lib${library#"$debian"/usr/lib} ;; *) place=$library ;; esac
    [ -e "$1$place" ] || install -D -m 755 "$library" "$1$place"
  done
}

# with_modules TREE RELEASE MODULE...: with what they depend on, and the table by which modprobe finds them.
with_modules() {
  local tree=$1 release=$2 from=$debian/lib/modules/$2 to=$1/lib/modules/$2 name needed= file
  shift 2
  depmod -b "$debian" "$release"
  for name; do
    needed="$needed
$(modprobe -C /dev/null -d "$debian" -S "$release" --show-depends "$name")" || die "no module $name in Linux $release"
  done
  for file in $(echo "$needed" | awk '$1 == "insmod" {print $2}' | sort -u); do
    install -D -m 644 "$file" "$to/${file#*"/$release/"}"
  done
  cp "$from/modules.builtin" "$from/modules.builtin.modinfo" "$from/modules.order" "$to/"
  depmod -b "$tree" "$release"
  find "$to" -maxdepth 1 -type f ! -name modules.dep -delete
}

# pack TREE DATE: an initramfs, on standard output, that depends on nothing but what is in the tree.
pack() {
  find "$1" -exec touch -h -d "@$2" {} +
  (cd "$1" && find . -print0 | sort -z | cpio -o -0 -H newc -R 0:0 --reproducible --quiet)
}
