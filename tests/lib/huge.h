/* SPDX-License-Identifier: BSD-2-Clause */
/* huge.h - a file of 2 MiB pages, asked of the kernel for as long as a test takes. */
#ifndef TEST_HUGE_H
#define TEST_HUGE_H

#include <stdint.h>

/* The path of a file of that many bytes on a hugetlbfs of its own; NULL: it can't be had, and why.
 * Once in a process. */
const char *huge_borrow(uint64_t bytes, const char **why);
/* The pages go back to the kernel, when nobody has the file any more. Harmless without any. */
void huge_return(void);

#endif
