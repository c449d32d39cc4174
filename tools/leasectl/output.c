// SPDX-License-Identifier: BSD-2-Clause
/* output.c - rows for people and for programs. */
#include <errno.h>
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

void print_json_line(json_object *o)
{
	printf("%s\n", json_object_to_json_string_ext(
			       o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
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

const char *range_text(uint64_t offset, uint64_t length, char out[64])
{
	if (length)
		snprintf(out, 64, "[%llu, %llu)", (unsigned long long)offset,
			(unsigned long long)(offset + length));
	else
		snprintf(out, 64, "[%llu, end)", (unsigned long long)offset);
	return out;
}

const char *process_name(uint32_t pid, char out[32])
{
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%u/comm", pid);
	f = fopen(path, "re");
	if (!f || !fgets(out, 32, f))
		snprintf(out, 32, "-");
	if (f)
		fclose(f);
	out[strcspn(out, "\n")] = '\0';
	for (char *c = out; *c; c++)
		if ((unsigned char)*c < ' ' || (unsigned char)*c >= 127)
			*c = '?'; /* a process names itself: nothing for a terminal */
	return out;
}

FILE *open_output(const struct request *r)
{
	FILE *out = r->out ? fopen(r->out, "we") : stdout;

	if (!out)
		failed(r->out);
	return out;
}

int close_output(const struct request *r, FILE *out)
{
	int error = fflush(out) || ferror(out);

	if (out != stdout && fclose(out))
		error = 1;
	return error ? failed(r->out ? r->out : "standard output") : LEASECTL_DONE;
}

/* What errno's words do not say: what to do. */
static const char *advice(int error)
{
	switch (error) {
	case EPERM:
		return "; this is for root, or for the user whom the daemon runs as";
	case ENOTTY:
		return "; this daemon is older than leasectl: mount again with the newer one";
	case ENOTCONN:
	case ECONNABORTED:
		return "; the daemon has ended: unmount, see its log, and mount again";
	default:
		return "";
	}
}

int failed(const char *what)
{
	fprintf(stderr, "leasectl: %s: %s%s\n", what, strerror(errno), advice(errno));
	return LEASECTL_FAILED;
}
