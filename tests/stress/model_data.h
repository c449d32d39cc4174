// SPDX-License-Identifier: BSD-2-Clause
/*
 * model_data.h - the model's operations on the bytes of files. Only model.c calls it.
 */
#ifndef STRESS_MODEL_DATA_H
#define STRESS_MODEL_DATA_H

#include "model.h"

#define COMB_BYTES 4096u  /* a tooth of OP_COMB */
#define COMB_STRIDE 8192u /* from one to the next */

int64_t model_apply_data(struct model *m, const struct op *op, uint64_t done);

#endif
