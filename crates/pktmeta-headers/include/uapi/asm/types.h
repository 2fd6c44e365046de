/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What the headers of the system want of the machine that BPF is, so that <linux/ip.h> and the like
 * compile: Debian has asm/ of its own machine alone, and where clang for BPF does not look.
 */
#include <asm-generic/types.h>
