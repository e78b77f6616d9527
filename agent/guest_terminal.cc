// SPDX-License-Identifier: LGPL-2.1-or-later
#include "agent/guest_terminal.h"

#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <csignal>
#include <utility>

#include "common/terminal_modes.h"

namespace ssi {
namespace {

constexpr std::uint64_t look_ms = 50;

bool same(const wire::Modes& a, const wire::Modes& b) {
  return a.input == b.input && a.output == b.output && a.control == b.control && a.local == b.local &&
         a.characters == b.characters;
}

}  // namespace

GuestTerminal::GuestTerminal(Loop& loop, Fd master, bool background,
                             std::function<void(const wire::Modes&)> changed)
    : master_(std::move(master)), timer_(loop), changed_(std::move(changed)), background_(background) {
  if (auto modes = terminal_modes(master_.get())) shown_ = std::move(*modes);
}

void GuestTerminal::begin() {
  first_group_ = ::tcgetpgrp(master_.get());
  if (!background_) leaders_group_ = first_group_;
  timer_.every(look_ms, [this] { look(); });
}

void GuestTerminal::look() {
  auto modes = terminal_modes(master_.get());
  if (!modes) return;
  // Keys are signals for all of home's foreground group as long as the job's is the group that it was started as.
  // A shell in the job gives the terminal to groups of its own, of which home has none: their keys come as bytes.
  const pid_t group = ::tcgetpgrp(master_.get());
  if (leaders_group_ == 0 && group != first_group_) leaders_group_ = group;
  if (group != leaders_group_ && group != first_group_) modes->local &= ~std::uint32_t{ISIG};
  if (same(*modes, shown_)) return;
  shown_ = std::move(*modes);
  changed_(shown_);
}

void GuestTerminal::resize(const wire::WindowSize& window) {
  set_window_size(master_.get(), window);
}

void GuestTerminal::press(int signal) {
  const auto modes = terminal_modes(master_.get());
  const int key = signal == SIGINT ? VINTR : signal == SIGQUIT ? VQUIT : signal == SIGTSTP ? VSUSP : -1;
  if (modes && key >= 0 && (modes->local & ISIG) != 0) {
    const char byte = modes->characters[static_cast<std::size_t>(key)];
    if (byte != _POSIX_VDISABLE && ::write(master_.get(), &byte, 1) == 1) return;
  }
  ::ioctl(master_.get(), TIOCSIG, signal);
}

}  // namespace ssi
