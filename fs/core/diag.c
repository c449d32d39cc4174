// SPDX-License-Identifier: BSD-2-Clause
/*
 * diag.c - puts the sentence of an error together.
 *
 * Names and other bytes from outside may stand in a sentence: what could start a new line or drive
 * a terminal is shown as '?', so that a message is always one line.
 */
#include "diag.h"

#include <stdarg.h>
#include <stdio.h>

int diag_set(struct diag *d, int error, const char *format, ...)
{
	va_list arguments;

	if (!d)
		return error;
	va_start(arguments, format);
	if (vsnprintf(d->text, sizeof(d->text), format, arguments) < 0)
		d->text[0] = '\0';
	va_end(arguments);
	for (unsigned char *p = (unsigned char *)d->text; *p; p++)
		if (*p < 0x20 || *p == 0x7f)
			*p = '?';
	return error;
}
