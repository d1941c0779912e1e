// What a prefill pass does to whole rows of the residual stream between its products; C = ROWS_COLUMNS, T tokens, S sequences.
//
//   norm(x, w) = x * rsqrt(mean(x^2) + eps) * w      (w or 1 + w), mean over the C columns, fp32 inside
//
//   apus_rows_embed      x = table[id] * scale, rounded to the residual's type;  h = norm(x, w)
//   apus_rows_residual   x' = x + y  (ROWS_SANDWICH 0)  or  x + norm(y, w1)  (ROWS_SANDWICH 1), rounded;  h = norm(x', w2)
//   apus_rows_pool       per sequence norm(x, w) of its last or first row, or the mean of norm(x, w) over its rows, fp32
//   apus_rows_normalize  the first `columns` of a row of fp32, divided by their length (at least 1e-12) where asked
//   apus_rows_join       x' = x, as fp32
//   apus_rows_cache      rows of keys and values out of a fused QKV buffer into a cache
//
// Shapes. ids [T] int32; table [V, C] ROWS_TABLE; x, x' [T, C] ROWS_RESIDUAL (may be one buffer: every row is read before it is
// written); y [T, C] ROWS_BRANCH; h [T, C] ROWS_OUTPUT; weights [C] ROWS_WEIGHT; offsets [S + 1] int32, ascending from 0: sequence s
// holds rows offsets[s] .. offsets[s + 1] - 1. Everything row-major without gaps, pointers 16-byte aligned, C a multiple of 8.
// ROWS_NEXT 0 leaves h out. ROWS_NEXT 2 writes the sums of squares that the norm needs instead, for GEMM_ROW_SCALE 3 of
// Operators/GemmHopper.cu: h is then [T, ROWS_PARTS] fp32, the sum and zeros behind it, and its weight is not read.
// ROWS_OUTPUT 3 writes h as E4M3 codes, each row by its own largest value: h = code * scales[t]. bounds[t] = bound * sum of squares of h then
// bounds products of two projections of the row, for who knows their norms (GEMM_OUTPUT 3 of Operators/GemmHopper.cu).
// ROWS_SPLIT 1: x and x' are fp32 in two 16-bit tensors, as splitHalves (Common/Types.cuh) makes them: what x rounds to, and `plane` elements behind it the rest
// (ROWS_TABLE_SPLIT 1: the table too, `tablePlane` elements). apus_rows_join makes one tensor of the two.
// Null for ids stands for 0, 1, ...: x and table may then be one. An id outside 0 .. V - 1 gives a row of NaN, a sequence of no rows a vector of zeros.
//
// Mapping. ROWS_LANES threads own a row, 8 columns at a time: 16 lanes hold 640 columns in five whole pieces each, 32 lanes 1,024 in four. Above
// 32 lanes a block owns one row. A block has ROWS_BLOCK threads and takes ROWS_BLOCK / ROWS_LANES rows; nothing loops, so a row's loads are
// all in flight at once and the next rows come as further blocks.
// The mean walks chunks of ROWS_CHUNK rows counted from the sequence's own start, a block each, and the last block of a sequence adds the
// chunks in order: a text's vector does not depend on its neighbours, nor on timing.
//
// Roof: bytes read and written / copy bandwidth (of L2, while a batch fits there). Figures: docs/prefill.md.
//
// Launch (no dynamic shared memory; programmatic stream serialisation is honoured: only weights are read before the wait).
//   embed, residual    block ROWS_BLOCK, grid ceil(T / (ROWS_BLOCK / ROWS_LANES))
//   pool, last/first   block ROWS_BLOCK, grid ceil(S / (ROWS_BLOCK / ROWS_LANES)); partial and counters may be null
//   pool, mean         block ROWS_BLOCK, grid T / ROWS_CHUNK + S; partial [T / ROWS_CHUNK + S, C] fp32; counters [S] uint32, all 0 before the
//                      first launch, and again after every launch
//   normalize          block 128, grid ceil(S / 4)
//   join               block 256, grid ceil(elements / 8 / 256)
//   cache              block 256, grid min(ceil(rows * width / 8 / 256), 8 * SMs)

#include "apus_constants.h"
#include "Common/Float8.cuh"
#include "Common/Math.cuh"
#include "Common/Types.cuh"

#ifndef ROWS_COLUMNS
#define ROWS_COLUMNS 640
#endif
#ifndef ROWS_LANES  // 16, 32, 64, 128 or 256: few empty pieces, and at most 6 pieces a lane
#define ROWS_LANES 16
#endif
#ifndef ROWS_BLOCK
#define ROWS_BLOCK (ROWS_LANES > 128 ? ROWS_LANES : 128)
#endif
#ifndef ROWS_RESIDUAL  // 0 bf16, 1 f16, 2 f32, as all types here
#define ROWS_RESIDUAL 0
#endif
#ifndef ROWS_SPLIT
#define ROWS_SPLIT 0
#endif
#ifndef ROWS_BRANCH
#define ROWS_BRANCH 0
#endif
#ifndef ROWS_OUTPUT  // also 3, e4m3, with ROWS_NEXT 1
#define ROWS_OUTPUT 0
#endif
#ifndef ROWS_WEIGHT
#define ROWS_WEIGHT 0
#endif
#ifndef ROWS_TABLE
#define ROWS_TABLE ROWS_WEIGHT
#endif
#ifndef ROWS_TABLE_SPLIT  // the table is a split residual itself
#define ROWS_TABLE_SPLIT 0
#endif
#ifndef ROWS_UNIT_OFFSET  // 1: weights are 1 + w
#define ROWS_UNIT_OFFSET 0
#endif
#ifndef ROWS_SANDWICH
#define ROWS_SANDWICH 0
#endif
#ifndef ROWS_NEXT  // 0 none, 1 h, 2 sums of squares
#define ROWS_NEXT 1
#endif
#ifndef ROWS_PARTS
#define ROWS_PARTS 4
#endif
#ifndef ROWS_POOL  // 0 last, 1 mean, 2 first
#define ROWS_POOL 0
#endif
#ifndef ROWS_CHUNK
#define ROWS_CHUNK 256
#endif

namespace apus {

constexpr DType residualType = ROWS_SPLIT ? DType::f32 : static_cast<DType>(ROWS_RESIDUAL), branchType = static_cast<DType>(ROWS_BRANCH);
constexpr DType outputType = static_cast<DType>(ROWS_OUTPUT), weightType = static_cast<DType>(ROWS_WEIGHT);
constexpr DType tableType = static_cast<DType>(ROWS_TABLE);
constexpr int columns = ROWS_COLUMNS, lanes = ROWS_LANES, pieces = columns / 8, perLane = ceilDivide(pieces, lanes);
constexpr int rowsPerBlock = ROWS_BLOCK / lanes;
constexpr bool whole = pieces % lanes == 0;
static_assert(!ROWS_TABLE_SPLIT || ROWS_SPLIT, "rows are taken from a residual of the same kind");
static_assert(columns % 8 == 0 && ROWS_BLOCK % lanes == 0 && ROWS_BLOCK >= 32, "whole pieces, whole rows, whole warps");
static_assert(lanes == 16 || lanes == 32 || ((lanes == 64 || lanes == 128 || lanes == 256) && rowsPerBlock == 1),
              "a row has 16 or 32 lanes, or a block");

// Eight columns as they lie in memory.
template <DType T> struct Piece { u32 words[2 * ByteSize<T>::value]; };

template <DType T> APUS_DEVICE Piece<T> loadPiece(const void* base, i64 column) {
    Piece<T> p;
    const Vec4* address = reinterpret_cast<const Vec4*>(static_cast<const u8*>(base) + column * ByteSize<T>::value);
#pragma unroll
    for (int i = 0; i < ByteSize<T>::value / 2; ++i) {
        const Vec4 v = address[i];
        p.words[4 * i] = v.x; p.words[4 * i + 1] = v.y; p.words[4 * i + 2] = v.z; p.words[4 * i + 3] = v.w;
    }
    return p;
}
template <DType T> APUS_DEVICE void storePiece(void* base, i64 column, const Piece<T>& p) {
    Vec4* address = reinterpret_cast<Vec4*>(static_cast<u8*>(base) + column * ByteSize<T>::value);
#pragma unroll
    for (int i = 0; i < ByteSize<T>::value / 2; ++i) address[i] = {p.words[4 * i], p.words[4 * i + 1], p.words[4 * i + 2], p.words[4 * i + 3]};
}
template <DType T> APUS_DEVICE void unpackPiece(float (&v)[8], const Piece<T>& p) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        if constexpr (T == DType::f32) {
            v[2 * i] = asFloat(p.words[2 * i]);
            v[2 * i + 1] = asFloat(p.words[2 * i + 1]);
        } else {
            const Float2 pair = unpack2<T>(p.words[i]);
            v[2 * i] = pair.x;
            v[2 * i + 1] = pair.y;
        }
    }
}
template <DType T> APUS_DEVICE Piece<T> packPiece(const float (&v)[8]) {
    Piece<T> p;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        if constexpr (T == DType::f32) {
            p.words[2 * i] = asBits(v[2 * i]);
            p.words[2 * i + 1] = asBits(v[2 * i + 1]);
        } else {
            p.words[i] = pack2<T>(v[2 * i], v[2 * i + 1]);
        }
    }
    return p;
}
// The packed row is what lives across a reduction: without this the compiler keeps the floats, twice the registers.
template <DType T> APUS_DEVICE void hold(Piece<T>& p) {
#pragma unroll
    for (u32& word : p.words) asm volatile("" : "+r"(word));
}

// The residual: one tensor, or the two of a split one.
APUS_DEVICE Piece<residualType> loadResidual(const void* x, i64 column, i64 plane) {
    if constexpr (ROWS_SPLIT) {
        const Piece<DType::bf16> high = loadPiece<DType::bf16>(x, column), rest = loadPiece<DType::bf16>(x, column + plane);
        Piece<residualType> p;
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const Float2 v = joinHalves(high.words[i], rest.words[i]);
            p.words[2 * i] = asBits(v.x);
            p.words[2 * i + 1] = asBits(v.y);
        }
        return p;
    } else {
        return loadPiece<residualType>(x, column);
    }
}
APUS_DEVICE void storeResidual(void* x, i64 column, i64 plane, const Piece<residualType>& p) {
    if constexpr (ROWS_SPLIT) {
        Piece<DType::bf16> high, rest;
#pragma unroll
        for (int i = 0; i < 4; ++i) splitHalves({asFloat(p.words[2 * i]), asFloat(p.words[2 * i + 1])}, high.words[i], rest.words[i]);
        storePiece<DType::bf16>(x, column, high);
        storePiece<DType::bf16>(x, column + plane, rest);
    } else {
        storePiece<residualType>(x, column, p);
    }
}

APUS_DEVICE int laneOf() { return threadIdx.x % lanes; }
APUS_DEVICE bool inside(int piece) { return whole || piece < pieces; }

APUS_DEVICE void loadWeights(float (&w)[8], const void* weights, int column) {
    unpackPiece<weightType>(w, loadPiece<weightType>(weights, column));
#pragma unroll
    for (float& value : w) value = ROWS_UNIT_OFFSET ? 1.0f + value : value;
}

// Sum over the lanes of a row; all threads of the block take part.
APUS_DEVICE float rowSum(float v) {
    v = groupSum<(lanes < 32 ? lanes : 32)>(v);
    if constexpr (lanes > 32) {
        __shared__ float partial[lanes > 32 ? lanes / 32 : 1];
        __syncthreads();  // the sums of the call before have been read
        if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = v;
        __syncthreads();
        v = 0.0f;
#pragma unroll
        for (int i = 0; i < lanes / 32; ++i) v += partial[i];
    }
    return v;
}
// Likewise the largest.
APUS_DEVICE float rowMax(float v) {
    v = groupMax<(lanes < 32 ? lanes : 32)>(v);
    if constexpr (lanes > 32) {
        __shared__ float partial[lanes > 32 ? lanes / 32 : 1];
        __syncthreads();
        if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = v;
        __syncthreads();
        v = 0.0f;
#pragma unroll
        for (int i = 0; i < lanes / 32; ++i) v = fmaxf(v, partial[i]);
    }
    return v;
}
APUS_DEVICE float normFactor(float squares, float eps) { return rsqrtf(squares * (1.0f / columns) + eps); }

// Programmatic launch: the next kernel may start, and what came before is complete. Both do nothing in an ordinary launch.
APUS_DEVICE void afterPredecessors() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;\n griddepcontrol.wait;" ::: "memory");
#endif
}

// Where the scales of a row of codes go; nothing for other outputs.
struct CodeScales {
    float* scales;
    float* bounds;
    float bound;
};
#if ROWS_OUTPUT == 3
#define ROWS_SCALES , float* scales, float* bounds, float bound
#define ROWS_SCALES_GIVEN CodeScales{scales, bounds, bound}
#else
#define ROWS_SCALES
#define ROWS_SCALES_GIVEN CodeScales{}
#endif

APUS_DEVICE void storeCodes(Piece<residualType> (&x)[perLane], float factor, const void* weight, void* h, const CodeScales& out, i64 row, bool active) {
    const auto weighted = [&](float (&v)[8], int i) {
        hold(x[i]);
        float w[8];
        unpackPiece<residualType>(v, x[i]);
        loadWeights(w, weight, (laneOf() + i * lanes) * 8);
#pragma unroll
        for (int j = 0; j < 8; ++j) v[j] *= w[j];
    };
    float largest = 0.0f, squares = 0.0f;  // a NaN does not enter the maximum, and is a code of its own below
#pragma unroll
    for (int i = 0; i < perLane; ++i) {
        if (!active || !inside(laneOf() + i * lanes)) continue;
        float v[8];
        weighted(v, i);
#pragma unroll
        for (int j = 0; j < 8; ++j) {
            largest = fmaxf(largest, fabsf(v[j]));
            squares += v[j] * v[j];
        }
    }
    largest = rowMax(largest);
    squares = rowSum(squares);
    if (!active) return;
    const float inverse = largest > 0.0f ? Float8<DType::e4m3>::maximum / largest : 1.0f;
    if (laneOf() == 0) {
        out.scales[row] = factor * largest * (1.0f / Float8<DType::e4m3>::maximum);
        out.bounds[row] = fmaxf(out.bound * (factor * factor * squares), 1e-30f);
    }
#pragma unroll
    for (int i = 0; i < perLane; ++i) {
        const int piece = laneOf() + i * lanes;
        if (!inside(piece)) continue;
        float v[8];
        weighted(v, i);
#pragma unroll
        for (int j = 0; j < 8; ++j) v[j] *= inverse;
        *reinterpret_cast<Vec2*>(static_cast<u8*>(h) + row * columns + piece * 8) = {encodeFour(v[0], v[1], v[2], v[3]), encodeFour(v[4], v[5], v[6], v[7])};
    }
}

// h = norm(x, w) of a row held in pieces; `squares` is this thread's part of the sum.
APUS_DEVICE void storeNext(Piece<residualType> (&x)[perLane], float squares, const void* weight, void* h, const CodeScales& codes, i64 row, float eps,
                           bool active) {
    const float sum = rowSum(squares), factor = normFactor(sum, eps);
    if constexpr (outputType == DType::e4m3) return storeCodes(x, factor, weight, h, codes, row, active);
    if (!active) return;
    if constexpr (ROWS_NEXT == 2) {
        if (laneOf() < ROWS_PARTS) static_cast<float*>(h)[row * ROWS_PARTS + laneOf()] = laneOf() == 0 ? sum : 0.0f;
    } else {
#pragma unroll
        for (int i = 0; i < perLane; ++i) {
            const int piece = laneOf() + i * lanes;
            if (!inside(piece)) continue;
            hold(x[i]);
            float v[8], w[8];
            unpackPiece<residualType>(v, x[i]);
            loadWeights(w, weight, piece * 8);
#pragma unroll
            for (int j = 0; j < 8; ++j) v[j] *= factor * w[j];
            storePiece<outputType>(h, row * columns + piece * 8, packPiece<outputType>(v));
        }
    }
}

}  // namespace apus

using namespace apus;

extern "C" __global__ void __launch_bounds__(ROWS_BLOCK)
apus_rows_embed(const int* ids, const void* table, const void* weight, void* x, void* h, float scale, float eps, int tokens, int vocabulary
                ROWS_SCALES, i64 plane, i64 tablePlane) {
    afterPredecessors();
    const i64 row = static_cast<i64>(blockIdx.x) * rowsPerBlock + threadIdx.x / lanes;
    const bool active = row < tokens;
    const int id = !active ? 0 : ids ? ids[row] : static_cast<int>(row);
    const bool known = id >= 0 && id < vocabulary;
    Piece<residualType> kept[perLane];
    float squares = 0.0f;
#pragma unroll
    for (int i = 0; i < perLane; ++i) {
        const int piece = laneOf() + i * lanes;
        if (!active || !inside(piece)) continue;
        float v[8];
        if (known) {
            const i64 from = static_cast<i64>(id) * columns + piece * 8;
            if constexpr (ROWS_TABLE_SPLIT) unpackPiece<residualType>(v, loadResidual(table, from, tablePlane));
            else unpackPiece<tableType>(v, loadPiece<tableType>(table, from));
        }
#pragma unroll
        for (int j = 0; j < 8; ++j) v[j] = known ? v[j] * scale : asFloat(0x7fc00000u);
        kept[i] = packPiece<residualType>(v);
        storeResidual(x, row * columns + piece * 8, plane, kept[i]);
        unpackPiece<residualType>(v, kept[i]);
#pragma unroll
        for (int j = 0; j < 8; ++j) squares += v[j] * v[j];
    }
    if (ROWS_NEXT) storeNext(kept, squares, weight, h, ROWS_SCALES_GIVEN, row, eps, active);
}

extern "C" __global__ void __launch_bounds__(ROWS_BLOCK)
apus_rows_residual(const void* x, const void* y,
                   const void* branchWeight,  // [C], of norm(y); null without sandwich
                   const void* nextWeight,    // [C], of norm(x')
                   void* sum,                 // x'
                   void* h, float eps, int tokens
                   ROWS_SCALES, i64 plane) {
    afterPredecessors();
    const i64 row = static_cast<i64>(blockIdx.x) * rowsPerBlock + threadIdx.x / lanes;
    const bool active = row < tokens;
    Piece<residualType> kept[perLane];
    Piece<branchType> branch[perLane];
#pragma unroll
    for (int i = 0; i < perLane; ++i) {
        const int piece = laneOf() + i * lanes;
        if (!active || !inside(piece)) continue;
        branch[i] = loadPiece<branchType>(y, row * columns + piece * 8);
        kept[i] = loadResidual(x, row * columns + piece * 8, plane);
    }
    float factor = 1.0f;
    if constexpr (ROWS_SANDWICH) {
        float squares = 0.0f;
#pragma unroll
        for (int i = 0; i < perLane; ++i) {
            if (!active || !inside(laneOf() + i * lanes)) continue;
            float v[8];
            unpackPiece<branchType>(v, branch[i]);
#pragma unroll
            for (int j = 0; j < 8; ++j) squares += v[j] * v[j];
        }
        factor = normFactor(rowSum(squares), eps);
    }
    float squares = 0.0f;
#pragma unroll
    for (int i = 0; i < perLane; ++i) {
        const int piece = laneOf() + i * lanes;
        if (!active || !inside(piece)) continue;
        hold(branch[i]);
        float v[8], add[8];
        unpackPiece<residualType>(v, kept[i]);
        unpackPiece<branchType>(add, branch[i]);
        if constexpr (ROWS_SANDWICH) {
            float w[8];
            loadWeights(w, branchWeight, piece * 8);
#pragma unroll
            for (int j = 0; j < 8; ++j) v[j] += add[j] * (factor * w[j]);
        } else {
#pragma unroll
            for (int j = 0; j < 8; ++j) v[j] += add[j];
        }
        kept[i] = packPiece<residualType>(v);
        storeResidual(sum, row * columns + piece * 8, plane, kept[i]);
        unpackPiece<residualType>(v, kept[i]);
#pragma unroll
        for (int j = 0; j < 8; ++j) squares += v[j] * v[j];
    }
    if (ROWS_NEXT) storeNext(kept, squares, nextWeight, h, ROWS_SCALES_GIVEN, row, eps, active);
}

extern "C" __global__ void __launch_bounds__(ROWS_BLOCK)
apus_rows_pool(const void* x, const void* weight, const int* offsets,
               float* out,       // [S, C]
               float* partial,   // [T / ROWS_CHUNK + S, C], mean only
               u32* counters,    // [S], mean only
               float eps, int sequences, i64 plane) {
    afterPredecessors();
    const int group = threadIdx.x / lanes;
    // One row, normalised and weighted, added to `total`; all threads of the block take part.
    const auto addRow = [&](float (&total)[perLane][8], i64 row, bool active) {
        Piece<residualType> kept[perLane];
        float squares = 0.0f;
#pragma unroll
        for (int i = 0; i < perLane; ++i) {
            const int piece = laneOf() + i * lanes;
            if (!active || !inside(piece)) continue;
            kept[i] = loadResidual(x, row * columns + piece * 8, plane);
            float v[8];
            unpackPiece<residualType>(v, kept[i]);
#pragma unroll
            for (int j = 0; j < 8; ++j) squares += v[j] * v[j];
        }
        const float factor = normFactor(rowSum(squares), eps);
#pragma unroll
        for (int i = 0; i < perLane; ++i) {
            if (!active || !inside(laneOf() + i * lanes)) continue;
            float v[8];
            unpackPiece<residualType>(v, kept[i]);
#pragma unroll
            for (int j = 0; j < 8; ++j) total[i][j] += v[j] * factor;
        }
    };
    float total[perLane][8];
#pragma unroll
    for (int i = 0; i < perLane; ++i)
#pragma unroll
        for (int j = 0; j < 8; ++j) total[i][j] = 0.0f;
    const auto weighted = [&](int column, float value) {
        const float w = loadOne<weightType>(weight, column);
        return value * (ROWS_UNIT_OFFSET ? 1.0f + w : w);
    };

    if constexpr (ROWS_POOL != 1) {
        const i64 sequence = static_cast<i64>(blockIdx.x) * rowsPerBlock + group;
        const bool exists = sequence < sequences;
        const int begin = exists ? offsets[sequence] : 0, end = exists ? offsets[sequence + 1] : 0;
        addRow(total, ROWS_POOL == 0 ? end - 1 : begin, end > begin);
        if (!exists) return;
#pragma unroll
        for (int i = 0; i < perLane; ++i) {
            const int piece = laneOf() + i * lanes;
            if (!inside(piece)) continue;
            float w[8], v[8];
            loadWeights(w, weight, piece * 8);
#pragma unroll
            for (int j = 0; j < 8; ++j) v[j] = end > begin ? total[i][j] * w[j] : 0.0f;
            storePiece<DType::f32>(out, sequence * columns + piece * 8, packPiece<DType::f32>(v));
        }
    } else {
        // Chunk c of sequence s has number offsets[s] / CHUNK + s + c: ascending, and with room for every chunk.
        const int slot = blockIdx.x;
        int low = 0, high = sequences - 1;
        while (low < high) {
            const int middle = (low + high + 1) / 2;
            if (offsets[middle] / ROWS_CHUNK + middle <= slot) low = middle;
            else high = middle - 1;
        }
        const int sequence = low, begin = offsets[sequence], length = offsets[sequence + 1] - begin;
        const int chunk = slot - begin / ROWS_CHUNK - sequence, chunks = max(1, ceilDivide(length, ROWS_CHUNK));
        if (chunk >= chunks) return;
        const int first = chunk * ROWS_CHUNK, last = min(length, first + ROWS_CHUNK);
        for (int base = first; base < last; base += rowsPerBlock)
            addRow(total, static_cast<i64>(begin) + base + group, base + group < last);

        __shared__ float sums[columns];
        __shared__ bool isLast;
        for (int turn = 0; turn < rowsPerBlock; ++turn) {
            if (group == turn) {
#pragma unroll
                for (int i = 0; i < perLane; ++i) {
                    const int piece = laneOf() + i * lanes;
                    if (!inside(piece)) continue;
#pragma unroll
                    for (int j = 0; j < 8; ++j) sums[piece * 8 + j] = turn == 0 ? total[i][j] : sums[piece * 8 + j] + total[i][j];
                }
            }
            __syncthreads();
        }
        const float share = length > 0 ? 1.0f / length : 0.0f;
        float* result = out + static_cast<i64>(sequence) * columns;
        if (chunks == 1) {
            for (int column = threadIdx.x; column < columns; column += ROWS_BLOCK) result[column] = weighted(column, sums[column] * share);
            return;
        }
        for (int column = threadIdx.x; column < columns; column += ROWS_BLOCK) partial[static_cast<i64>(slot) * columns + column] = sums[column];
        __threadfence();
        __syncthreads();
        if (threadIdx.x == 0) isLast = atomicAdd(counters + sequence, 1u) == static_cast<u32>(chunks - 1);
        __syncthreads();
        if (!isLast) return;
        __threadfence();
        const float* own = partial + static_cast<i64>(slot - chunk) * columns;
        for (int column = threadIdx.x; column < columns; column += ROWS_BLOCK) {
            float sum = 0.0f;
            for (int i = 0; i < chunks; ++i) sum += __ldcg(own + static_cast<i64>(i) * columns + column);
            result[column] = weighted(column, sum * share);
        }
        if (threadIdx.x == 0) counters[sequence] = 0;
    }
}

// out = x, `count` elements, a multiple of 8.
extern "C" __global__ void __launch_bounds__(256) apus_rows_join(const void* x, float* out, i64 count, i64 plane) {
    afterPredecessors();
    const i64 element = (static_cast<i64>(blockIdx.x) * 256 + threadIdx.x) * 8;
    if (element >= count) return;
    float v[8];
    unpackPiece<residualType>(v, loadResidual(x, element, plane));
    storePiece<DType::f32>(out, element, packPiece<DType::f32>(v));
}

// out[s, 0 .. count) = in[s, 0 .. count), divided by its length where `unit` is not 0. A warp a row.
extern "C" __global__ void __launch_bounds__(128)
apus_rows_normalize(const float* in,  // [S, inColumns]
                    float* out,       // [S, count]
                    int sequences, int inColumns, int count, int unit) {
    afterPredecessors();
    const int row = blockIdx.x * 4 + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (row >= sequences) return;
    const float* from = in + static_cast<i64>(row) * inColumns;
    float factor = 1.0f;
    if (unit) {
        // Divided by the largest first, so that no square overflows or vanishes.
        float largest = 0.0f, squares = 0.0f;
        for (int column = lane; column < count; column += 32) largest = fmaxf(largest, fabsf(from[column]));
        largest = fmaxf(groupMax(largest), 1e-30f);
        const float inverse = 1.0f / largest;
        for (int column = lane; column < count; column += 32) {
            const float v = from[column] * inverse;
            squares += v * v;
        }
        const float length = largest * sqrtf(groupSum(squares));
        factor = 1.0f / (length < 1e-12f ? 1e-12f : length);  // NaN stays: no fmaxf
    }
    for (int column = lane; column < count; column += 32) out[static_cast<i64>(row) * count + column] = from[column] * factor;
}

// Row t of keys and values goes to row slots[t] of the cache, or start + t without slots; rows outside 0 .. capacity - 1 are left out.
// 16-bit elements; width = KV heads * head size, a multiple of 8, as all strides and offsets.
extern "C" __global__ void __launch_bounds__(256)
apus_rows_cache(const u16* keys,    // row t at keys + t * stride: [rows, width]
                const u16* values,  // likewise
                u16* keyCache,      // [capacity, width]
                u16* valueCache, const int* slots, i64 stride, int rows, int width, int start, int capacity) {
    afterPredecessors();
    const int units = width / 8;
    const i64 total = static_cast<i64>(rows) * units;
    for (i64 index = static_cast<i64>(blockIdx.x) * 256 + threadIdx.x; index < total; index += static_cast<i64>(gridDim.x) * 256) {
        const i64 row = index / units, column = (index - row * units) * 8;
        const i64 to = slots ? slots[row] : static_cast<i64>(start) + row;
        if (to < 0 || to >= capacity) continue;
        const Vec4 k = *reinterpret_cast<const Vec4*>(keys + row * stride + column);
        const Vec4 v = *reinterpret_cast<const Vec4*>(values + row * stride + column);
        *reinterpret_cast<Vec4*>(keyCache + to * width + column) = k;
        *reinterpret_cast<Vec4*>(valueCache + to * width + column) = v;
    }
}
