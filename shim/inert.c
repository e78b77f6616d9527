/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What 32-bit processes preload in the shim's place: nothing. Without it their loader complains on stderr. */
static const int inert __attribute__((used)) = 0;
