// The epilogue of Operators/GemmHopper.cu, a part of that file: it stands on the shape constants declared there (tile, blocks, chunks)
// and on the GEMM_ choices, and is included once, behind them.
//
// A warpgroup turns its accumulators into outputs in chunks of 64 rows and up to 128 bytes. `staging` chunks at a time are written to
// shared memory (stmatrix, the copy engine's swizzle) and leave by the copy engine; a residual comes in the same way, into the same
// buffers, the first group of it while the products still run.
#pragma once
#include "Common/Float8.cuh"
#include "Common/Math.cuh"
#include "Common/TensorCopy.cuh"
#include "Common/WarpMMA.cuh"

#ifndef GEMM_SCALE_STAGED  // 1: factors of rows and columns are read before the products and wait in shared memory
#define GEMM_SCALE_STAGED 0
#endif

namespace apus {

static_assert(!GEMM_SCALE_STAGED || (GEMM_ROW_SCALE == 2 && GEMM_COLUMN_SCALE == 2 && !GEMM_HEAD && !GEMM_RESIDUAL &&
                                     !GEMM_DIRECT_STORE && GEMM_OUTPUT != 3 && blocksM <= 2 && tileN <= 256), "two columns and one row a thread");
constexpr int constantBytes = 4 * (tileN + (GEMM_SCALE_STAGED ? blocksM * 64 : 0));  // of a warpgroup: factors of columns, then of rows

struct Arguments {
    void* c;
    const float* rowScale;
    const float* columnScale;
    const float* bias;
    float* statistics;
    int m, n, outColumns, statisticsStride;
    i64 rowStride;  // of C, in elements
#if GEMM_FUSED
    const float* headWeights;
    const float* frequencies;
    const int* positions;
    float eps, perK;
#endif
};

// Rows have a factor before the epilogue starts: of the norm before the product, or the scales of codes that become heads.
constexpr bool rowFactors = GEMM_ROW_SCALE == 3 || (GEMM_ROW_SCALE == 2 && GEMM_HEAD);

// What the epilogue needs of the thread's rows, read before the products.
struct Rows {
    float factor[rowFactors ? blocksM : 1][2];
    float position[GEMM_HEAD ? blocksM : 1][2];
    float staged[3];  // GEMM_SCALE_STAGED: two columns' factors and a row's, for all threads of the warpgroup
};

// Gates whose row factor goes into their constants.
constexpr Activation activation = static_cast<Activation>(GEMM_ACTIVATION);
constexpr bool foldsGate = GEMM_GATED && (activation == Activation::silu || activation == Activation::geluTanh);
constexpr bool scalesGate = GEMM_COLUMN_SCALE == 2 || GEMM_BIAS;  // columns differ: rows are scaled before the gate

struct Epilogue {
    const Arguments& arguments;
    const TensorMap& mapC;
    const TensorMap& mapR;
    u32 stagingBase, residualBarrier, constants, residualPhase;
    int group, warp, lane;
    bool leader;

    __device__ __forceinline__ void prefetchResidual(int firstRow, int firstColumn, int first) {
        if (!leader) return;
        const int count = min(staging, chunks - first);
        barrierExpect(residualBarrier, count * chunkBytes);
        for (int i = 0; i < count; ++i) {
            const int c = first + i;
            const int column = firstColumn + (c % chunksAcross) * chunkColumns, row = firstRow + (c / chunksAcross) * 64;
            loadTile(stagingBase + i * chunkBytes, mapR, residualBarrier, column, row);
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
            if (GEMM_COLUMN_SCALE == 2 && !GEMM_SCALE_STAGED) columns.scale[i] = columnPair(arguments.columnScale, column);
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
        } else if ((GEMM_ROW_SCALE || GEMM_COLUMN_SCALE) && !GEMM_HEAD) {
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
                                              float scale, const Gate<activation>& gate, const Columns& columns) const {
        const int index = GEMM_GATED ? 2 * inside : inside, j = across * pairsPerChunk + index;
        const int nb = j / (blockN / 8), at = 4 * (j % (blockN / 8)) + 2 * half;
        if constexpr (foldsGate && !scalesGate)
            return {gate.apply(acc[mb][nb][at], acc[mb][nb][at + 4]), gate.apply(acc[mb][nb][at + 1], acc[mb][nb][at + 5])};
        const Float2 v = scaled(acc[mb][nb][at], acc[mb][nb][at + 1], scale, columns, index);
        if constexpr (foldsGate) {
            const Float2 up = scaled(acc[mb][nb][at + 4], acc[mb][nb][at + 5], scale, columns, index + 1);
            return {gate.apply(v.x, up.x), gate.apply(v.y, up.y)};
        }
        const Float2 a = activatePair<static_cast<Activation>(GEMM_ACTIVATION)>(v.x, v.y);
        if constexpr (GEMM_GATED) {
            const Float2 up = scaled(acc[mb][nb][at + 4], acc[mb][nb][at + 5], scale, columns, index + 1);
            return {a.x * up.x, a.y * up.y};
        } else {
            return a;
        }
    }

    // A gated pair, as `outputs` has it, over the row's scale.
    __device__ __forceinline__ Float2 coarseGated(const float (&acc)[blocksM][blocksN][blockN / 2], int mb, int across, int inside, int half,
                                                  const CoarseGate<activation>& gate) const {
        const int j = across * pairsPerChunk + 2 * inside, nb = j / (blockN / 8), at = 4 * (j % (blockN / 8)) + 2 * half;
        return {gate.apply(acc[mb][nb][at], acc[mb][nb][at + 4]), gate.apply(acc[mb][nb][at + 1], acc[mb][nb][at + 5])};
    }

    __device__ __forceinline__ void run(float (&acc)[blocksM][blocksN][blockN / 2], const Rows& rows, int tileRow, int tileColumn) {
        if constexpr (GEMM_DIRECT_STORE) {
            direct(acc, tileRow, tileColumn);
        } else {
#if GEMM_FUSED
            if constexpr (GEMM_HEAD) heads(acc, rows, tileColumn);
#endif
            staged(acc, rows, tileRow, tileColumn);
        }
    }

    // The first of the thread's two rows in row block mb; the other is 8 further.
    __device__ __forceinline__ int rowOf(int tileRow, int mb) const {
        return tileRow * tileM + (GEMM_PINGPONG ? 0 : group * blocksM * 64) + mb * 64 + warp * 16 + lane / 4;
    }

    // All reads of what lay there before have passed the barrier before the last store.
    __device__ __forceinline__ void stage(const Rows& rows) const {
        const int thread = warp * 32 + lane;
        if (thread < tileN) storeShared4(constants + 4 * thread, asBits(rows.staged[0]));
        if (thread + 128 < tileN) storeShared4(constants + 4 * (thread + 128), asBits(rows.staged[1]));
        if (thread < blocksM * 64) storeShared4(constants + 4 * (tileN + thread), asBits(rows.staged[2]));
    }

    __device__ __forceinline__ void prepare(Rows& rows, int tileRow, int tileColumn) const {
        if constexpr (GEMM_SCALE_STAGED) {
            const int thread = warp * 32 + lane, row = tileRow * tileM + (GEMM_PINGPONG ? 0 : group * blocksM * 64) + thread;
            const int column = tileColumn * tileN + thread;
            rows.staged[0] = column < arguments.n ? __ldg(arguments.columnScale + column) : 0.0f;
            rows.staged[1] = thread + 128 < tileN && column + 128 < arguments.n ? __ldg(arguments.columnScale + column + 128) : 0.0f;
            rows.staged[2] = thread < blocksM * 64 && row < arguments.m ? __ldg(arguments.rowScale + row) : 0.0f;
            if (GEMM_PINGPONG) stage(rows);  // nothing is lost by waiting for them here: the other warpgroup has its turn
        }
#if GEMM_FUSED
#pragma unroll
        for (int i = 0; i < 2 * blocksM; ++i) {
            const int row = min(rowOf(tileRow, i / 2) + 8 * (i % 2), arguments.m - 1);
            if constexpr (GEMM_HEAD) rows.position[i / 2][i % 2] = __ldg(arguments.positions + row);
            if constexpr (GEMM_ROW_SCALE == 2 && GEMM_HEAD) rows.factor[i / 2][i % 2] = __ldg(arguments.rowScale + row) * __ldg(arguments.columnScale);
            if constexpr (GEMM_ROW_SCALE == 3) {
                float sum = 0.0f;
                if constexpr (GEMM_SCALE_PARTS == 4) {
                    float x, y, z, w;
                    asm("ld.global.nc.v4.f32 {%0, %1, %2, %3}, [%4];"
                        : "=f"(x), "=f"(y), "=f"(z), "=f"(w) : "l"(arguments.rowScale + static_cast<i64>(row) * 4));
                    sum = (x + y) + (z + w);
                } else {
#pragma unroll
                    for (int part = 0; part < GEMM_SCALE_PARTS; ++part)
                        sum += __ldg(arguments.rowScale + static_cast<i64>(row) * GEMM_SCALE_PARTS + part);
                }
                rows.factor[i / 2][i % 2] = rsqrtf(sum * arguments.perK + arguments.eps);
            }
        }
#endif
    }

    __device__ __forceinline__ Float2 constantPair(int index) const {
        const Vec2 v = loadShared8(constants + 4 * index);
        return {asFloat(v.x), asFloat(v.y)};
    }

#if GEMM_FUSED
    __device__ __forceinline__ void heads(float (&acc)[blocksM][blocksN][blockN / 2], const Rows& rows, int tileColumn) const {
        constexpr int size = GEMM_HEAD ? GEMM_HEAD : blockN, steps = size / 16;  // steps of eight columns in a half
#pragma unroll
        for (int block = 0; block < tileN / size; ++block) {
            const int nb = block * size / blockN, first = block * size % blockN / 8;  // first: its eight columns in acc[mb][nb]
            const int head = (tileColumn * tileN + block * size) / size;
            if (head >= GEMM_QUERY_HEADS + GEMM_KEY_HEADS) {
                if constexpr (rowFactors) {
#pragma unroll
                    for (int mb = 0; mb < blocksM; ++mb)
#pragma unroll
                        for (int i = 0; i < size / 2; ++i) acc[mb][nb][4 * first + i] *= rows.factor[mb][(i / 2) % 2];
                }
                continue;
            }
            float factor[blocksM][2];
#pragma unroll
            for (int i = 0; i < 2 * blocksM; ++i) {
                const int mb = i / 2, half = i % 2;
                float squares = 0.0f;
#pragma unroll
                for (int j = 0; j < size / 2; j += 4) {
                    const float x = acc[mb][nb][4 * first + j + 2 * half], y = acc[mb][nb][4 * first + j + 2 * half + 1];
                    squares += x * x + y * y;
                }
                const float scale = rowFactors ? rows.factor[mb][half] : 1.0f;
                factor[mb][half] = scale * rsqrtf(scale * scale * groupSum<4>(squares) * (1.0f / size) + arguments.eps);
            }
            const int weights = (head < GEMM_QUERY_HEADS ? 0 : size) + 2 * (lane % 4);
#pragma unroll
            for (int j = 0; j < steps; ++j) {
                const Float2 low = constantPair(weights + 8 * j), high = constantPair(weights + 8 * j + size / 2);
                const Float2 frequency = constantPair(2 * size + 2 * (lane % 4) + 8 * j);
#pragma unroll
                for (int mb = 0; mb < blocksM; ++mb)
#pragma unroll
                    for (int half = 0; half < 2; ++half) {
                        float* a = &acc[mb][nb][4 * (first + j) + 2 * half];
                        float* b = &acc[mb][nb][4 * (first + j + steps) + 2 * half];
#pragma unroll
                        for (int i = 0; i < 2; ++i) {
                            float sine, cosine;
                            sineCosine(rows.position[mb][half] * (i ? frequency.y : frequency.x), sine, cosine);
                            const float x = a[i] * (factor[mb][half] * (i ? low.y : low.x)), y = b[i] * (factor[mb][half] * (i ? high.y : high.x));
                            a[i] = x * cosine - y * sine;
                            b[i] = y * cosine + x * sine;
                        }
                    }
            }
        }
    }

#endif

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
                    const Gate<activation> gate = gateOf(s);
#pragma unroll
                    for (int b = 0; b < chunkColumns / 8; ++b) {
                        const int column = firstColumn + across * chunkColumns + b * 8 + 2 * (lane % 4);
                        const Float2 v = outputs(acc, mb, across, b, half, s, gate, columns);
                        if (column < arguments.outColumns) storeOne<output>(arguments.c, row * arguments.rowStride + column, v.x);
                        if (column + 1 < arguments.outColumns)
                            storeOne<output>(arguments.c, row * arguments.rowStride + column + 1, v.y);
                    }
                }
            }
    }

    __device__ __forceinline__ Gate<activation> gateOf(float scale) const { return Gate<activation>::make(scalesGate ? 1.0f : scale); }

    __device__ __forceinline__ float commonScale() const {
        return (GEMM_ROW_SCALE == 1 ? arguments.rowScale[0] : 1.0f) * (GEMM_COLUMN_SCALE == 1 && !GEMM_HEAD ? arguments.columnScale[0] : 1.0f);
    }

    __device__ __forceinline__ void staged(const float (&acc)[blocksM][blocksN][blockN / 2], const Rows& rows, int tileRow, int tileColumn) {
        const int firstRow = tileRow * tileM + (GEMM_PINGPONG ? 0 : group * blocksM * 64);
        const int firstColumn = tileColumn * outTile, firstInputColumn = tileColumn * tileN;
        float scale[2] = {1.0f, 1.0f}, squares[2] = {0.0f, 0.0f};
        const float common = commonScale();
        scale[0] = scale[1] = common;
        Gate<activation> gate[2] = {gateOf(common), gateOf(common)};
        CoarseGate<activation> coarse[2];
        if constexpr (GEMM_SCALE_STAGED) {
            if (!GEMM_PINGPONG) stage(rows);
            if (leader) storeWaitRead<0>();
            namedSync(3 + group, 128);
        }

#pragma unroll
        for (int chunk = 0; chunk < chunks; ++chunk) {
            const int mb = chunk / chunksAcross, across = chunk % chunksAcross, buffer = chunk % staging;
            Columns columns;
            loadColumns(columns, firstInputColumn + across * 8 * pairsPerChunk);
            if (across == 0) {
#pragma unroll
                for (int half = 0; half < 2; ++half) {
                    const int row = firstRow + mb * 64 + warp * 16 + half * 8 + lane / 4;
                    if (GEMM_SCALE_STAGED) scale[half] = asFloat(loadShared4(constants + 4 * (tileN + mb * 64 + warp * 16 + half * 8 + lane / 4)));
                    else if (GEMM_ROW_SCALE == 2 && !GEMM_HEAD) scale[half] = row < arguments.m ? common * __ldg(arguments.rowScale + row) : 0.0f;
                    if (GEMM_ROW_SCALE == 3 && !GEMM_HEAD) scale[half] = common * rows.factor[mb][half];  // heads are scaled already
                    if (GEMM_ROW_SCALE > 1) gate[half] = gateOf(scale[half]);
                    if (GEMM_OUTPUT == 3)
                        coarse[half] = CoarseGate<activation>::make(scale[half], row < arguments.m ? __ldg(arguments.statistics + row) : 1.0f);
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
                } else if (!GEMM_SCALE_STAGED || chunk > 0) {
                    if (leader) storeWaitRead<0>();
                    namedSync(3 + group, 128);
                }
            }
#if GEMM_SCALE_STAGED
#pragma unroll
            for (int i = 0; i < pairsPerChunk; ++i) columns.scale[i] = constantPair(across * 8 * pairsPerChunk + 8 * i + 2 * (lane % 4));
#endif
            const u32 base = stagingBase + buffer * chunkBytes;
            if constexpr (output == DType::f32) {
#pragma unroll
                for (int b = 0; b < chunkColumns / 8; ++b)
#pragma unroll
                    for (int half = 0; half < 2; ++half) {
                        Float2 v = outputs(acc, mb, across, b, half, scale[half], gate[half], columns);
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
            } else if constexpr (output == DType::e4m3) {
                // Sixteen codes of a row are a row of an 8 x 8 tile of pairs, four from a thread: two from each of two blocks of eight columns.
#pragma unroll
                for (int b = 0; b < chunkColumns / 8; b += 4) {  // 16 x 32 per warp and step
                    const u32 address =
                        base + swizzled<chunkRowBytes>(warp * 16 + ((lane >> 3) & 1) * 8 + (lane & 7), b / 2 + (lane >> 4));
                    u32 packed[4];
#pragma unroll
                    for (int part = 0; part < 4; ++part) {
                        const int half = part & 1, block = b + (part & 2);
                        const Float2 v = coarseGated(acc, mb, across, block, half, coarse[half]);
                        const Float2 w = coarseGated(acc, mb, across, block + 1, half, coarse[half]);
                        packed[part] = encodeFour(v.x, v.y, w.x, w.y);
                    }
                    storeMatrix4(address, packed[0], packed[1], packed[2], packed[3]);
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
                        Float2 v = outputs(acc, mb, across, b + part / 2, half, scale[half], gate[half], columns);
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
                        const int column = firstColumn + (c % chunksAcross) * chunkColumns, row = firstRow + (c / chunksAcross) * 64;
                        storeTile(mapC, stagingBase + i * chunkBytes, column, row);
                    }
                    storeCommit();
                }
            }
        }
    }
};

}  // namespace apus
