// SPDX-License-Identifier: BSD-2-Clause
/*
 * leasectl.h - what the parts of leasectl share. Every verb returns the exit status: 0, or 1 after
 * a sentence on standard error. With --json each prints one document.
 */
#ifndef LEASECTL_H
#define LEASECTL_H

#include <json.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "leasefs/control.h"

extern bool as_json;

/* output.c. The adders return `o`. */
json_object *add_number(json_object *o, const char *name, uint64_t value);
json_object *add_text(json_object *o, const char *name, const char *value);
json_object *add_bool(json_object *o, const char *name, bool value);
void print_json(json_object *o); /* and puts it */
const char *size_text(uint64_t bytes, char out[32]);
int failed(const char *what); /* "leasectl: what: errno's words"; 1 */

/* status.c */
int pool_status(const char *pool);
int mount_status(int control, const char *mount);

/* holders.c. inode 0: of all files. */
int list_leases(int control, uint64_t inode);
int list_quarantine(int control);
int list_pins(int control, uint64_t inode);
int list_conflicts(int control, uint64_t inode);

/* files.c */
int show_layout(const char *file);
int show_policy(const char *file);
int set_policy(const char *file, const char *policy);

/* admin.c */
int recall_file(int control, uint64_t inode, const char *offset, const char *length);
int drain_mount(int control);
int release_session(int control, const char *session);

#endif
