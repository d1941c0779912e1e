// 64-bit ARM: thirty-two registers of four floats; halves convert in hardware.
#include "../kernels.h"

#if defined(__aarch64__)
#define LEVEL apus_kernels_neon
#define LEVEL_NAME "neon"
#define LANES 4
#define TILE_ROWS 6
#define PANEL_VECTORS 4
#define FUSED_MULTIPLY_ADD 1
#define HARDWARE_HALF 1
#include "table.h"
#endif
