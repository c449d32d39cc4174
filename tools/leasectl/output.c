// SPDX-License-Identifier: BSD-2-Clause
/* output.c - rows for people and for programs. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "leasectl.h"

bool as_json;

json_object *add_number(json_object *o, const char *name, uint64_t value)
{
	json_object_object_add(o, name, json_object_new_uint64(value));
	return o;
}

json_object *add_text(json_object *o, const char *name, const char *value)
{
	json_object_object_add(o, name, json_object_new_string(value));
	return o;
}

void print_json(json_object *o)
{
	printf("%s\n", json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY |
								 JSON_C_TO_STRING_SPACED |
								 JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(o);
}

const char *size_text(uint64_t bytes, char out[32])
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
	double n = (double)bytes;
	int unit = 0;

	while (n >= 1024 && unit < 4) {
		n /= 1024;
		unit++;
	}
	snprintf(out, 32, unit && n < 100 ? "%.1f %s" : "%.0f %s", n, units[unit]);
	return out;
}

json_object *add_bool(json_object *o, const char *name, bool value)
{
	json_object_object_add(o, name, json_object_new_boolean(value));
	return o;
}

int failed(const char *what)
{
	fprintf(stderr, "leasectl: %s: %s\n", what, strerror(errno));
	return 1;
}
