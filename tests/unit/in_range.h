// SPDX-License-Identifier: BSD-2-Clause
/*
 * in_range.h - assert_uint_in_range() with any cmocka. Since 2.0 there are two such assertions,
 * which say whether they compare with a sign, and the old one without is deprecated; before, there
 * is the old one alone, which compares without a sign. Include cmocka.h first.
 */
#ifndef UNIT_IN_RANGE_H
#define UNIT_IN_RANGE_H

#ifndef assert_uint_in_range
#define assert_uint_in_range assert_in_range
#endif

#endif
