// x86-64 with AVX-512 F, BW, VL and DQ: thirty-two registers of sixteen floats.
#include "../kernels.h"

#if defined(__x86_64__)
#define LEVEL apus_kernels_avx512
#define LEVEL_NAME "avx512"
#define LANES 16
#define TILE_ROWS 14
#define PANEL_VECTORS 2
#define FUSED_MULTIPLY_ADD 1
#define HARDWARE_HALF 1
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq"))), apply_to = function)
#include "table.h"
#pragma clang attribute pop
#endif
