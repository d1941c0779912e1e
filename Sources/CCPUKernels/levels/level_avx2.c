// x86-64 with AVX2, FMA and F16C: sixteen registers of eight floats.
#include "../kernels.h"

#if defined(__x86_64__)
#define LEVEL apus_kernels_avx2
#define LEVEL_NAME "avx2"
#define LANES 8
#define TILE_ROWS 6
#define PANEL_VECTORS 2
#define FUSED_MULTIPLY_ADD 1
#define HARDWARE_HALF 1
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#include "table.h"
#pragma clang attribute pop
#endif
