// C[M, N] = epilogue(A[M, K] * B[N, K]^T), any GPU from sm_80 on: mma.sync, cp.async, ldmatrix.
//
// The same formula, gated packing and epilogue as GemmHopper.cu, without tensor maps. A, B: bf16, f16, or e4m3 (decoded to f16 on
// the way to shared memory, so every product is exact and sums are fp32); row-major, K contiguous. C: bf16, f16 or f32.
//
// Mapping. One block per 128 x 128 tile, 8 warps of 64 x 32, tiles in groups of GEMM_GROUP rows for L2. GEMM_STAGES slots of
// 128 bytes of K in 128-byte swizzled rows. 16-bit operands with 16-byte aligned rows and K a multiple of 8 come by cp.async;
// GEMM_ALIGNED 0 (any K, any stride) and e4m3 come through registers, one slot ahead.
//
// Roof: 2 M N K / the mma.sync rate of the device (about 60 % of the wgmma rate on Hopper).
//
// Launch. Entry apus_gemm_generic; block 256; grid ceil(M / 128) * ceil(N / 128) along x; dynamic shared memory
// GEMM_STAGES * 32768 bytes, opt-in. No maps. e4m3 with GEMM_ALIGNED 1: rows 16-byte aligned, K a multiple of 16.

#include "apus_constants.h"
#include "Common/Float8.cuh"
#include "Common/Math.cuh"
#include "Common/WarpMMA.cuh"

#ifndef GEMM_STAGES
#define GEMM_STAGES 3
#endif
#ifndef GEMM_GROUP
#define GEMM_GROUP 8
#endif
#ifndef GEMM_INPUT  // DType: 0 bf16, 1 f16, 3 e4m3
#define GEMM_INPUT 0
#endif
#ifndef GEMM_OUTPUT  // DType: 0 bf16, 1 f16, 2 f32
#define GEMM_OUTPUT 0
#endif
#ifndef GEMM_ACTIVATION  // 0 none, 1 silu, 2 gelu-tanh, 3 gelu-erf
#define GEMM_ACTIVATION 0
#endif
#ifndef GEMM_GATED
#define GEMM_GATED 0
#endif
#ifndef GEMM_RESIDUAL
#define GEMM_RESIDUAL 0
#endif
#ifndef GEMM_ROW_SCALE  // 0 none, 1 one value, 2 per row
#define GEMM_ROW_SCALE 0
#endif
#ifndef GEMM_COLUMN_SCALE  // 0 none, 1 one value, 2 per column
#define GEMM_COLUMN_SCALE 0
#endif
#ifndef GEMM_BIAS
#define GEMM_BIAS 0
#endif
#ifndef GEMM_ALIGNED
#define GEMM_ALIGNED 1
#endif
#ifndef GEMM_K  // 0: from the argument
#define GEMM_K 0
#endif

namespace apus {

constexpr DType input = static_cast<DType>(GEMM_INPUT), output = static_cast<DType>(GEMM_OUTPUT);
constexpr bool coded = input == DType::e4m3;
constexpr DType product = coded ? DType::f16 : input;
constexpr bool throughRegisters = coded || !GEMM_ALIGNED;
constexpr int tileM = 128, tileN = 128, tileK = 64, threads = 256, stages = GEMM_STAGES;
constexpr u32 tileBytes = 128 * 128, stageBytes = 2 * tileBytes;
constexpr int unitsPerThread = 128 * 8 / threads;  // 16-byte units of one operand's tile

// Eight 16-bit elements of a row, zeros outside the operand.
APUS_DEVICE Vec4 gather(const void* base, i64 rowStride, int rows, int row, int k, int kTotal) {
    u32 words[4] = {0, 0, 0, 0};
    if (row < rows) {
        const i64 at = row * rowStride + k;
        if constexpr (coded) {
            const u8* codes = static_cast<const u8*>(base) + at;
            u32 raw[2] = {0, 0};
            if (GEMM_ALIGNED) {
                if (k < kTotal) {
                    const Vec2 two = *reinterpret_cast<const Vec2*>(codes);
                    raw[0] = two.x;
                    raw[1] = two.y;
                }
            } else {
#pragma unroll
                for (int i = 0; i < 8; ++i)
                    if (k + i < kTotal) raw[i / 4] |= static_cast<u32>(codes[i]) << (8 * (i % 4));
            }
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const Float2 v = decodePair<DType::e4m3>((raw[i / 2] >> (16 * (i % 2))) & 0xffff);
                words[i] = packF16(v.x, v.y);
            }
        } else {
            const u16* elements = static_cast<const u16*>(base) + at;
#pragma unroll
            for (int i = 0; i < 8; ++i)
                if (k + i < kTotal) words[i / 2] |= static_cast<u32>(elements[i]) << (16 * (i % 2));
        }
    }
    return {words[0], words[1], words[2], words[3]};
}

APUS_DEVICE u32 swizzledUnit(u32 row, u32 unit) { return row * 128 + ((unit ^ (row & 7)) << 4); }

}  // namespace apus

using namespace apus;

extern "C" __global__ void __launch_bounds__(256)
apus_gemm_generic(const void* a, const void* b, void* c,
                  const void* residual,      // as C
                  const float* rowScale,     // [1] or [M]
                  const float* columnScale,  // [1] or [N]
                  const float* bias,         // [N]
                  int m, int n, int k, i64 strideA, i64 strideB, i64 strideC, i64 strideR) {
    extern __shared__ __align__(128) u8 dynamicShared[];
    const u32 shared = sharedAddressOf(dynamicShared);
    const int thread = threadIdx.x, warp = thread / 32, lane = thread % 32, warpRow = warp / 4 * 64, warpColumn = warp % 4 * 32;
    const int kTotal = GEMM_K ? GEMM_K : k, steps = ceilDivide(kTotal, tileK);
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;\n griddepcontrol.wait;" ::: "memory");
#endif
    // Grouped order of tiles.
    const int tilesM = ceilDivide(m, tileM), tilesN = ceilDivide(n, tileN), perGroup = GEMM_GROUP * tilesN;
    const int group = blockIdx.x / perGroup, inside = blockIdx.x - group * perGroup, height = min(GEMM_GROUP, tilesM - group * GEMM_GROUP);
    const int firstRow = (group * GEMM_GROUP + inside % height) * tileM, firstColumn = inside / height * tileN;

    const auto copySlot = [&](int step, u32 slot) {
#pragma unroll
        for (int i = 0; i < 2 * unitsPerThread; ++i) {
            const int unit = thread + (i % unitsPerThread) * threads, row = unit / 8, column = unit % 8, at = step * tileK + column * 8;
            const bool second = i >= unitsPerThread;
            const int global = (second ? firstColumn : firstRow) + row, bound = second ? n : m;
            const bool inBounds = global < bound && at < kTotal;
            const u16* source = static_cast<const u16*>(second ? b : a) + (inBounds ? global * (second ? strideB : strideA) + at : 0);
            copyAsync16(shared + slot * stageBytes + (second ? tileBytes : 0) + swizzledUnit(row, column), source, inBounds ? 16 : 0);
        }
    };
    Vec4 fetched[throughRegisters ? 2 * unitsPerThread : 1];
    const auto fetch = [&](int step) {
#pragma unroll
        for (int i = 0; i < 2 * unitsPerThread; ++i) {
            const int unit = thread + (i % unitsPerThread) * threads, row = unit / 8, at = step * tileK + unit % 8 * 8;
            const bool second = i >= unitsPerThread;
            fetched[throughRegisters ? i : 0] = second ? gather(b, strideB, n, firstColumn + row, at, kTotal) : gather(a, strideA, m, firstRow + row, at, kTotal);
        }
    };
    const auto putDown = [&](u32 slot) {
#pragma unroll
        for (int i = 0; i < 2 * unitsPerThread; ++i) {
            const int unit = thread + (i % unitsPerThread) * threads;
            storeShared16(shared + slot * stageBytes + (i >= unitsPerThread ? tileBytes : 0) + swizzledUnit(unit / 8, unit % 8),
                          fetched[throughRegisters ? i : 0]);
        }
    };

    float acc[4][4][4] = {};
    const auto multiply = [&](u32 slot) {
        const u32 base = shared + slot * stageBytes;
#pragma unroll
        for (int kk = 0; kk < 4; ++kk) {
            u32 fa[4][4], fb[2][4];
#pragma unroll
            for (int i = 0; i < 4; ++i)
                loadMatrix4(fa[i], base + swizzledUnit(warpRow + 16 * i + (lane & 7) + ((lane >> 3) & 1) * 8, 2 * kk + (lane >> 4)));
#pragma unroll
            for (int j = 0; j < 2; ++j)
                loadMatrix4(fb[j], base + tileBytes + swizzledUnit(warpColumn + 16 * j + (lane & 7) + (lane >> 4) * 8, 2 * kk + ((lane >> 3) & 1)));
#pragma unroll
            for (int i = 0; i < 4; ++i)
#pragma unroll
                for (int j = 0; j < 4; ++j) mmaWarp<product>(acc[i][j], fa[i], fb[j / 2][2 * (j % 2)], fb[j / 2][2 * (j % 2) + 1]);
        }
    };

    if constexpr (throughRegisters) {
        fetch(0);
        putDown(0);
        __syncthreads();
        for (int step = 0; step < steps; ++step) {
            if (step + 1 < steps) fetch(step + 1);
            multiply(step % 2);
            if (step + 1 < steps) putDown((step + 1) % 2);
            __syncthreads();
        }
    } else {
#pragma unroll
        for (int s = 0; s < stages - 1; ++s) {
            if (s < steps) copySlot(s, s);
            copyAsyncCommit();
        }
        for (int step = 0; step < steps; ++step) {
            copyAsyncWait<stages - 2>();
            __syncthreads();
            if (step + stages - 1 < steps) copySlot(step + stages - 1, (step + stages - 1) % stages);
            copyAsyncCommit();
            multiply(step % stages);
        }
    }

    const float common = (GEMM_ROW_SCALE == 1 ? rowScale[0] : 1.0f) * (GEMM_COLUMN_SCALE == 1 ? columnScale[0] : 1.0f);
    const int outColumns = GEMM_GATED ? n / 2 : n;
    const auto scaled = [&](float v, float scale, int column) {
        if (GEMM_ROW_SCALE || GEMM_COLUMN_SCALE) v *= scale;
        if (GEMM_COLUMN_SCALE == 2) v *= column < n ? __ldg(columnScale + column) : 0.0f;
        if (GEMM_BIAS) v += column < n ? __ldg(bias + column) : 0.0f;
        return v;
    };
    const auto store = [&](int row, int column, float v) {
        if (column >= outColumns) return;
        if (GEMM_RESIDUAL) v += loadOne<output>(residual, row * strideR + column);
        storeOne<output>(c, row * strideC + column, v);
    };
    constexpr Activation activation = static_cast<Activation>(GEMM_ACTIVATION);
#pragma unroll
    for (int i = 0; i < 4; ++i)
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            const int row = firstRow + warpRow + 16 * i + 8 * half + lane / 4;
            if (row >= m) continue;
            const float scale = GEMM_ROW_SCALE == 2 ? common * __ldg(rowScale + row) : common;
#pragma unroll
            for (int j = 0; j < 4; j += GEMM_GATED ? 2 : 1) {
                const int column = firstColumn + warpColumn + 8 * j + 2 * (lane % 4);
                const Float2 v = activatePair<activation>(scaled(acc[i][j][2 * half], scale, column),
                                                          scaled(acc[i][j][2 * half + 1], scale, column + 1));
                if constexpr (GEMM_GATED) {
                    const int at = (firstColumn + warpColumn + 8 * j) / 2 + 2 * (lane % 4);
                    store(row, at, v.x * scaled(acc[i][j + 1][2 * half], scale, column + 8));
                    store(row, at + 1, v.y * scaled(acc[i][j + 1][2 * half + 1], scale, column + 9));
                } else {
                    store(row, column, v.x);
                    store(row, column + 1, v.y);
                }
            }
        }
}
