// AVX-512 BF16: products of bfloat16 pairs at twice the rate of fp32. x is rounded to bfloat16 on the way in, sums stay fp32; used only where
// the caller allows it.
#include "../kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>
#define LANES 16
#define TILE_ROWS 14
#define PANEL_VECTORS 2
#define FUSED_MULTIPLY_ADD 1
#define HARDWARE_HALF 1
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512bf16"))), apply_to = function)
#include "vector.h"
#include "exponential.h"
#include "transpose.h"
#include "linear_parts.h"
#include "rounded.h"
#pragma clang attribute pop
#endif
