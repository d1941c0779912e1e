// C[M, N] = epilogue(A[M, K] * B[N, K]^T) in fp32 throughout (no TF32), any GPU: the reference-grade path for fp32 operators.
//
// Shapes, gated packing and epilogue as in GemmGeneric.cu; any K and any strides. Roof: the FMA rate (67 TFLOP/s on H200).
//
// Mapping. One block of 256 threads per 64 x 64 tile, 4 x 4 outputs a thread (rows and columns 16 apart, so that a gate and its up,
// 8 columns on, meet in neighbouring threads: they are exchanged through shared memory); K in steps of 16.
//
// Launch. Entry apus_gemm_float; block 256; grid (ceil(N / 64), ceil(M / 64)); no dynamic shared memory.

#include "apus_constants.h"
#include "Common/Math.cuh"

#ifndef GEMM_ACTIVATION
#define GEMM_ACTIVATION 0
#endif
#ifndef GEMM_GATED
#define GEMM_GATED 0
#endif
#ifndef GEMM_RESIDUAL
#define GEMM_RESIDUAL 0
#endif
#ifndef GEMM_BIAS
#define GEMM_BIAS 0
#endif

using namespace apus;

extern "C" __global__ void __launch_bounds__(256) apus_gemm_float(const float* a, const float* b, float* c, const float* residual,
                                                                  const float* bias, int m, int n, int k, i64 strideA, i64 strideB,
                                                                  i64 strideC, i64 strideR) {
    constexpr int tile = 64, depth = 16;
    __shared__ float tileA[depth][tile + 1], tileB[depth][tile + 1];
    __shared__ float finished[GEMM_GATED ? tile : 1][tile + 1];
    const int thread = threadIdx.x, x = thread % 16, y = thread / 16, firstRow = blockIdx.y * tile, firstColumn = blockIdx.x * tile;
    float acc[4][4] = {};
    for (int at = 0; at < k; at += depth) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const int row = thread / 16 + 16 * i, column = at + thread % 16;
            tileA[thread % 16][row] = firstRow + row < m && column < k ? a[(firstRow + row) * strideA + column] : 0.0f;
            tileB[thread % 16][row] = firstColumn + row < n && column < k ? b[(firstColumn + row) * strideB + column] : 0.0f;
        }
        __syncthreads();
#pragma unroll
        for (int d = 0; d < depth; ++d) {
            float fa[4], fb[4];
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                fa[i] = tileA[d][y + 16 * i];
                fb[i] = tileB[d][x + 16 * i];
            }
#pragma unroll
            for (int i = 0; i < 4; ++i)
#pragma unroll
                for (int j = 0; j < 4; ++j) acc[i][j] = fmaf(fa[i], fb[j], acc[i][j]);
        }
        __syncthreads();
    }
    constexpr Activation activation = static_cast<Activation>(GEMM_ACTIVATION);
    const auto store = [&](int row, int column, int columns, float v) {
        if (row >= m || column >= columns) return;
        if (GEMM_RESIDUAL) v += residual[row * strideR + column];
        c[row * strideC + column] = v;
    };
    if constexpr (GEMM_GATED) {
#pragma unroll
        for (int i = 0; i < 4; ++i)
#pragma unroll
            for (int j = 0; j < 4; ++j) {
                const int column = firstColumn + x + 16 * j;
                finished[y + 16 * i][x + 16 * j] = acc[i][j] + (GEMM_BIAS && column < n ? bias[column] : 0.0f);
            }
        __syncthreads();
        for (int output = thread; output < tile * tile / 2; output += 256) {
            const int row = output / 32, column = output % 32, gate = column / 8 * 16 + column % 8;
            store(firstRow + row, firstColumn / 2 + column, n / 2, activate<activation>(finished[row][gate]) * finished[row][gate + 8]);
        }
    } else {
#pragma unroll
        for (int i = 0; i < 4; ++i)
#pragma unroll
            for (int j = 0; j < 4; ++j) {
                const int column = firstColumn + x + 16 * j;
                store(firstRow + y + 16 * i, column, n, activate<activation>(acc[i][j] + (GEMM_BIAS && column < n ? bias[column] : 0.0f)));
            }
    }
}
