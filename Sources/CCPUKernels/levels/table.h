// The kernels of one level. A level file defines LANES and its fellows and includes this once; everything here is static but the table.
#include <math.h>
#include <string.h>

#include "vector.h"
#include "exponential.h"
#include "transpose.h"
#include "tile.h"
#include "strip.h"
#include "linear_parts.h"
#include "linear.h"
#include "attention.h"
#include "rows.h"

const kernel_table LEVEL = {
    .name = LEVEL_NAME,
    .panel = PANEL,
    .tile_rows = TILE_ROWS,
    .linear = linear,
    .attention = attention,
    .attention_block = attention_block,
    .attention_join = attention_join,
    .norm = norm,
    .rope = rope,
    .scaled_to_float = scaled_to_float,
    .to_bfloat16 = to_bfloat16,
    .is_finite = is_finite,
    .l2_normalize = l2_normalize,
    .dot = dot,
    .sum_words = sum_words,
};
