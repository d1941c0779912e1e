// The epilogue of Operators/GemmHopper.cu, a part of that file: it stands on the shape constants declared there (tile, blocks, chunks)
// and on the GEMM_ choices, and is included once, behind them.
//
// A warpgroup turns its accumulators into outputs in chunks of 64 rows and up to 128 bytes. `staging` chunks at a time are written to
// shared memory (stmatrix, the copy engine's swizzle) and leave by the copy engine; a residual comes in the same way, into the same
// buffers, the first group of it while the products still run.
#pragma once
#include "Common/Math.cuh"
#include "Common/TensorCopy.cuh"
#include "Common/WarpMMA.cuh"

namespace apus {

struct Arguments {
    void* c;
    const float* rowScale;
    const float* columnScale;
    const float* bias;
    float* statistics;
    int m, n, outColumns, statisticsStride;
    i64 rowStride;  // of C, in elements
};

struct Epilogue {
    const Arguments& arguments;
    const TensorMap& mapC;
    const TensorMap& mapR;
    u32 stagingBase, residualBarrier, residualPhase;
    int group, warp, lane;
    bool leader;

    __device__ __forceinline__ void prefetchResidual(int firstRow, int firstColumn, int first) {
        if (!leader) return;
        const int count = min(staging, chunks - first);
        barrierExpect(residualBarrier, count * chunkBytes);
        for (int i = 0; i < count; ++i) {
            const int c = first + i;
            loadTile(stagingBase + i * chunkBytes, mapR, residualBarrier, firstColumn + (c % chunksAcross) * chunkColumns,
                     firstRow + (c / chunksAcross) * 64);
        }
    }

    // Scales and biases of the input columns that a chunk is made of, read before the chunk waits for anything.
    static constexpr int pairsPerChunk = chunkColumns / 8 * (GEMM_GATED ? 2 : 1);
    struct Columns {
        Float2 scale[GEMM_COLUMN_SCALE == 2 ? pairsPerChunk : 1], bias[GEMM_BIAS ? pairsPerChunk : 1];
    };
    __device__ __forceinline__ void loadColumns(Columns& columns, int firstInputColumn) const {
#pragma unroll
        for (int i = 0; i < pairsPerChunk; ++i) {
            const int column = firstInputColumn + 8 * i + 2 * (lane % 4);
            if (GEMM_COLUMN_SCALE == 2) columns.scale[i] = columnPair(arguments.columnScale, column);
            if (GEMM_BIAS) columns.bias[i] = columnPair(arguments.bias, column);
        }
    }

    // Entries of a [N] vector for an even column and its neighbour. N is even unless C is stored directly.
    __device__ __forceinline__ Float2 columnPair(const float* vector, int column) const {
        Float2 v = {0.0f, 0.0f};
        if (GEMM_DIRECT_STORE) {
            if (column < arguments.n) v.x = __ldg(vector + column);
            if (column + 1 < arguments.n) v.y = __ldg(vector + column + 1);
        } else if (column < arguments.n) {
            asm("ld.global.nc.v2.f32 {%0, %1}, [%2];" : "=f"(v.x), "=f"(v.y) : "l"(vector + column));
        }
        return v;
    }

    __device__ __forceinline__ Float2 scaled(float x, float y, float scale, const Columns& columns, int index) const {
        if (GEMM_COLUMN_SCALE == 2) {
            x *= scale * columns.scale[GEMM_COLUMN_SCALE == 2 ? index : 0].x;
            y *= scale * columns.scale[GEMM_COLUMN_SCALE == 2 ? index : 0].y;
        } else if (GEMM_ROW_SCALE || GEMM_COLUMN_SCALE) {
            x *= scale;
            y *= scale;
        }
        if (GEMM_BIAS) {
            x += columns.bias[GEMM_BIAS ? index : 0].x;
            y += columns.bias[GEMM_BIAS ? index : 0].y;
        }
        return {x, y};
    }

    // The pair of outputs in 8-column block `inside` of chunk column `across` and row block `mb`, before residual and rounding.
    // half 0 is the upper row of the thread, 1 the lower one.
    __device__ __forceinline__ Float2 outputs(const float (&acc)[blocksM][blocksN][blockN / 2], int mb, int across, int inside, int half,
                                              float scale, const Columns& columns) const {
        const int index = GEMM_GATED ? 2 * inside : inside, j = across * pairsPerChunk + index;
        const int nb = j / (blockN / 8), at = 4 * (j % (blockN / 8)) + 2 * half;
        const Float2 v = scaled(acc[mb][nb][at], acc[mb][nb][at + 1], scale, columns, index);
        const Float2 a = activatePair<static_cast<Activation>(GEMM_ACTIVATION)>(v.x, v.y);
        if constexpr (GEMM_GATED) {
            const Float2 up = scaled(acc[mb][nb][at + 4], acc[mb][nb][at + 5], scale, columns, index + 1);
            return {a.x * up.x, a.y * up.y};
        } else {
            return a;
        }
    }

    __device__ __forceinline__ void run(const float (&acc)[blocksM][blocksN][blockN / 2], int tileRow, int tileColumn) {
        if constexpr (GEMM_DIRECT_STORE) direct(acc, tileRow, tileColumn);
        else staged(acc, tileRow, tileColumn);
    }

    __device__ __forceinline__ void direct(const float (&acc)[blocksM][blocksN][blockN / 2], int tileRow, int tileColumn) {
        const int firstRow = tileRow * tileM + (GEMM_PINGPONG ? 0 : group * blocksM * 64);
        const int firstColumn = tileColumn * outTile, firstInputColumn = tileColumn * tileN;
        const float common = commonScale();
#pragma unroll
        for (int mb = 0; mb < blocksM; ++mb)
#pragma unroll
            for (int across = 0; across < chunksAcross; ++across) {
                Columns columns;
                loadColumns(columns, firstInputColumn + across * 8 * pairsPerChunk);
#pragma unroll
                for (int half = 0; half < 2; ++half) {
                    const int row = firstRow + mb * 64 + warp * 16 + half * 8 + lane / 4;
                    if (row >= arguments.m) continue;
                    const float s = GEMM_ROW_SCALE == 2 ? common * __ldg(arguments.rowScale + row) : common;
#pragma unroll
                    for (int b = 0; b < chunkColumns / 8; ++b) {
                        const int column = firstColumn + across * chunkColumns + b * 8 + 2 * (lane % 4);
                        const Float2 v = outputs(acc, mb, across, b, half, s, columns);
                        if (column < arguments.outColumns) storeOne<output>(arguments.c, row * arguments.rowStride + column, v.x);
                        if (column + 1 < arguments.outColumns)
                            storeOne<output>(arguments.c, row * arguments.rowStride + column + 1, v.y);
                    }
                }
            }
    }

    __device__ __forceinline__ float commonScale() const {
        return (GEMM_ROW_SCALE == 1 ? arguments.rowScale[0] : 1.0f) * (GEMM_COLUMN_SCALE == 1 ? arguments.columnScale[0] : 1.0f);
    }

    __device__ __forceinline__ void staged(const float (&acc)[blocksM][blocksN][blockN / 2], int tileRow, int tileColumn) {
        const int firstRow = tileRow * tileM + (GEMM_PINGPONG ? 0 : group * blocksM * 64);
        const int firstColumn = tileColumn * outTile, firstInputColumn = tileColumn * tileN;
        float scale[2] = {1.0f, 1.0f}, squares[2] = {0.0f, 0.0f};
        const float common = commonScale();
        scale[0] = scale[1] = common;

#pragma unroll
        for (int chunk = 0; chunk < chunks; ++chunk) {
            const int mb = chunk / chunksAcross, across = chunk % chunksAcross, buffer = chunk % staging;
            Columns columns;
            loadColumns(columns, firstInputColumn + across * 8 * pairsPerChunk);
            if (across == 0) {
#pragma unroll
                for (int half = 0; half < 2; ++half) {
                    const int row = firstRow + mb * 64 + warp * 16 + half * 8 + lane / 4;
                    if (GEMM_ROW_SCALE == 2) scale[half] = row < arguments.m ? common * __ldg(arguments.rowScale + row) : 0.0f;
                    squares[half] = 0.0f;
                }
            }
            if (buffer == 0) {  // the previous group's stores must have read the buffers
                if (GEMM_RESIDUAL) {
                    if (chunk > 0) {
                        if (leader) storeWaitRead<0>();
                        prefetchResidual(firstRow, firstColumn, chunk);
                    }
                    barrierWait(residualBarrier, residualPhase);
                    residualPhase ^= 1;
                } else {
                    if (leader) storeWaitRead<0>();
                    namedSync(3 + group, 128);
                }
            }
            const u32 base = stagingBase + buffer * chunkBytes;
            if constexpr (output == DType::f32) {
#pragma unroll
                for (int b = 0; b < chunkColumns / 8; ++b)
#pragma unroll
                    for (int half = 0; half < 2; ++half) {
                        Float2 v = outputs(acc, mb, across, b, half, scale[half], columns);
                        const u32 row = warp * 16 + half * 8 + lane / 4;
                        const u32 address = base + swizzled<chunkRowBytes>(row, 2 * b + (lane % 4) / 2) + 8 * (lane % 2);
                        if (GEMM_RESIDUAL) {
                            const Vec2 r = loadShared8(address);
                            v.x += asFloat(r.x);
                            v.y += asFloat(r.y);
                        }
                        if (GEMM_STATISTICS) squares[half] += v.x * v.x + v.y * v.y;
                        storeShared8(address, asBits(v.x), asBits(v.y));
                    }
            } else {
#pragma unroll
                for (int b = 0; b < chunkColumns / 8; b += 2) {  // 16 x 16 per warp and step
                    const u32 address =
                        base + swizzled<chunkRowBytes>(warp * 16 + ((lane >> 3) & 1) * 8 + (lane & 7), b + (lane >> 4));
                    u32 packed[4], residual[4];
                    if (GEMM_RESIDUAL) loadMatrix4(residual, address);
#pragma unroll
                    for (int part = 0; part < 4; ++part) {
                        const int half = part & 1;
                        Float2 v = outputs(acc, mb, across, b + part / 2, half, scale[half], columns);
                        if (GEMM_RESIDUAL) {
                            const Float2 r = unpack2<output>(residual[part]);
                            v.x += r.x;
                            v.y += r.y;
                        }
                        packed[part] = pack2<output>(v.x, v.y);
                        if (GEMM_STATISTICS) {
                            const Float2 w = unpack2<output>(packed[part]);
                            squares[half] += w.x * w.x + w.y * w.y;
                        }
                    }
                    storeMatrix4(address, packed[0], packed[1], packed[2], packed[3]);
                }
            }
            if (GEMM_STATISTICS && across == chunksAcross - 1) {
#pragma unroll
                for (int half = 0; half < 2; ++half) {
                    const float sum = groupSum<4>(squares[half]);
                    const int row = firstRow + mb * 64 + warp * 16 + half * 8 + lane / 4;
                    if (lane % 4 == 0 && row < arguments.m && tileColumn < arguments.statisticsStride)
                        arguments.statistics[static_cast<i64>(row) * arguments.statisticsStride + tileColumn] = sum;
                }
            }
            if (buffer == staging - 1 || chunk == chunks - 1) {
                fenceToAsyncProxy();
                namedSync(3 + group, 128);
                if (leader) {
#pragma unroll
                    for (int i = 0; i <= buffer; ++i) {
                        const int c = chunk - buffer + i;
                        storeTile(mapC, stagingBase + i * chunkBytes, firstColumn + (c % chunksAcross) * chunkColumns,
                                  firstRow + (c / chunksAcross) * 64);
                    }
                    storeCommit();
                }
            }
        }
    }
};

}  // namespace apus
