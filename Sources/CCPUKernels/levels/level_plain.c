// The level that runs everywhere: vectors of four floats, which the compiler lowers to what the base instruction set has.
#include "../kernels.h"

#define LEVEL apus_kernels_plain
#define LEVEL_NAME "plain"
#define LANES 4
#define TILE_ROWS 4
#define PANEL_VECTORS 2
#define FUSED_MULTIPLY_ADD 0
#define HARDWARE_HALF 0
#include "table.h"
