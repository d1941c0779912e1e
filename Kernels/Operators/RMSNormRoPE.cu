// RMSNorm, and RMSNorm + rotary embedding, over whole rows or per head.
//
//   y = x * rsqrt(mean(x^2) + eps) * w      (w or 1 + w), mean over one row of NORM_ROW elements, fp32 inside
//   then, with NORM_ROPE, for each head of NORM_HEAD elements and i < NORM_HEAD / 2 (half rotation):
//   out[i] = y[i] cos[p, i] - y[i + D/2] sin[p, i];   out[i + D/2] = y[i + D/2] cos[p, i] + y[i] sin[p, i]
//   Only the first D/2 columns of cos and sin are read. p is positions[token], or token % tablePositions without them.
//
// Shapes. x: [tokens, NORM_HEADS, NORM_ROW], `inStride` elements from token to token; out likewise; in place is allowed. Whole
// rows: NORM_HEADS 1, NORM_ROW = H, NORM_HEAD = D divides H. Per head (QK-norm): NORM_HEADS heads, NORM_ROW = NORM_HEAD = D;
// heads from NORM_SPLIT on use the second weight, so that q and k heads of one fused buffer take one launch.
// NORM_ADD 1: s = x + residual is normalised and also written to `sum`. NORM_ADD 2: out = residual + norm(x) (sandwich norm,
// no rope). x, out, residual, sum: NORM_TYPE; weights NORM_WEIGHT; tables NORM_TABLE.
//
// Mapping. NORM_LANES threads own a row; thread r takes units r, r + lanes, ... of V elements (16 bytes) of the first half of
// each head together with the same unit of the second half, so that rotation needs no exchange. The grid is persistent:
// weights stay in registers and the next row is loaded before this one is reduced.
//
// Roof: 2 * tokens * H * bytes / copy bandwidth. Figures: docs/kernels-operators.md.
//
// Launch. Entry apus_rms_norm; block NORM_LANES * NORM_ROWS threads (at most 1,024); grid min(ceil(rows / NORM_ROWS), SMs *
// resident blocks); no dynamic shared memory. Pointers 16-byte aligned and strides a multiple of the vector, or NORM_VECTOR 1.

#include "apus_constants.h"
#include "Common/Math.cuh"
#include "Common/Vector.cuh"

#ifndef NORM_TYPE  // 0 bf16, 1 f16, 2 f32
#define NORM_TYPE 0
#endif
#ifndef NORM_WEIGHT
#define NORM_WEIGHT NORM_TYPE
#endif
#ifndef NORM_TABLE
#define NORM_TABLE NORM_TYPE
#endif
#ifndef NORM_ROW
#define NORM_ROW 4096
#endif
#ifndef NORM_HEAD  // rotation pairs i with i + NORM_HEAD / 2; without rope any even divisor of the row
#define NORM_HEAD NORM_ROW
#endif
#ifndef NORM_HEADS
#define NORM_HEADS 1
#endif
#ifndef NORM_SPLIT
#define NORM_SPLIT NORM_HEADS
#endif
#ifndef NORM_LANES
#define NORM_LANES 256
#endif
#ifndef NORM_ROWS
#define NORM_ROWS 1
#endif
#ifndef NORM_VECTOR  // 1: single elements, for odd sizes and strides
#define NORM_VECTOR 0
#endif
#ifndef NORM_ROPE
#define NORM_ROPE 0
#endif
#ifndef NORM_UNIT_OFFSET  // 1: weights are 1 + w
#define NORM_UNIT_OFFSET 0
#endif
#ifndef NORM_ADD
#define NORM_ADD 0
#endif
#ifndef NORM_STREAM  // bit 0: loads past L1 (lost 3 %), bit 1: stores marked streaming (lost 0.5 %)
#define NORM_STREAM 0
#endif
#ifndef NORM_BLOCKS  // resident blocks per SM asked of the compiler
#define NORM_BLOCKS 1
#endif

namespace apus {

constexpr DType type = static_cast<DType>(NORM_TYPE), weightType = static_cast<DType>(NORM_WEIGHT), tableType = static_cast<DType>(NORM_TABLE);
constexpr int rowElements = NORM_ROW, lanes = NORM_LANES;
constexpr int width = NORM_VECTOR ? 1 : VectorWidth<type>::value;
// Without rope the row is one head of two halves; the second half may be a unit shorter.
constexpr int head = NORM_ROPE ? NORM_HEAD : roundUp(NORM_ROW, 2 * width), half = head / 2;
constexpr int unitsPerHalf = half / width;
constexpr int pairs = NORM_ROPE ? rowElements / 2 / width : unitsPerHalf;  // pairs of units in a row
constexpr int perThread = ceilDivide(pairs, lanes);
constexpr bool exact = pairs % lanes == 0;
constexpr bool even = NORM_ROPE || rowElements % (2 * width) == 0;
constexpr bool sameUnit = lanes % unitsPerHalf == 0;  // all pairs of a thread share their table entries
static_assert(rowElements % width == 0, "rows of whole vectors");
static_assert(!NORM_ROPE || (rowElements % head == 0 && head % (2 * width) == 0), "heads of whole vectors");
static_assert((lanes & (lanes - 1)) == 0 && (lanes <= 32 || NORM_ROWS == 1), "several rows per block only inside warps");

// One row's share of a thread, as it lies in memory.
struct Row {
    Packed<type, width> first[perThread], second[perThread];
};

APUS_DEVICE int offsetOf(int pair) { return (pair / unitsPerHalf) * head + (pair % unitsPerHalf) * width; }
APUS_DEVICE bool hasSecond(int pair) { return even || pair < unitsPerHalf - 1; }

template <DType T> APUS_DEVICE void loadTable(float (&out)[width], const void* table, i64 index) {
    constexpr int fits = VectorWidth<T>::value < width ? VectorWidth<T>::value : width;
    if constexpr (width == 1) {
        out[0] = loadOne<T>(table, index);
    } else {
#pragma unroll
        for (int i = 0; i < width; i += fits) {
            if constexpr (VectorWidth<T>::value > width) {  // fp32 rows with 16-bit tables
#pragma unroll
                for (int j = 0; j < width; ++j) out[j] = loadOne<T>(table, index + j);
            } else {
                float part[fits];
                unpackTo<T, fits>(part, loadPacked<T, fits>(table, index + i));
#pragma unroll
                for (int j = 0; j < fits; ++j) out[i + j] = part[j];
            }
        }
    }
}

}  // namespace apus

using namespace apus;

extern "C" __global__ void __launch_bounds__(NORM_LANES * NORM_ROWS, NORM_BLOCKS)
apus_rms_norm(const void* x, void* out,
              const void* weight,        // [NORM_ROW]
              const void* secondWeight,  // [NORM_ROW], for heads from NORM_SPLIT on
              const void* cosine,        // [tablePositions, tableStride]
              const void* sine,
              const int* positions,  // [tokens] or null
              const void* residual,  // [tokens, NORM_HEADS, NORM_ROW], strides as out
              void* sum,             // as residual
              float eps, int tokens, int tablePositions, int tableStride, i64 inStride, i64 outStride) {
    const int r = threadIdx.x % lanes, slot = threadIdx.x / lanes;
    const int rows = tokens * NORM_HEADS, stride = gridDim.x * NORM_ROWS;
    __shared__ float partial[2][lanes > 32 ? lanes / 32 : 1];

    // Weights of a thread's elements stay in registers unless two weights alternate between the rows.
    constexpr bool oneWeight = NORM_SPLIT >= NORM_HEADS && weightType == type;
    Row w;
    if constexpr (oneWeight) {
#pragma unroll
        for (int i = 0; i < perThread; ++i) {
            const int pair = r + i * lanes;
            if (!exact && pair >= pairs) continue;
            w.first[i] = loadPacked<type, width>(weight, offsetOf(pair));
            if (hasSecond(pair)) w.second[i] = loadPacked<type, width>(weight, offsetOf(pair) + half);
        }
    }
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;\n griddepcontrol.wait;" ::: "memory");
#endif

    const auto start = [](int index, i64 stride) {
        return static_cast<i64>(index / NORM_HEADS) * stride + static_cast<i64>(index % NORM_HEADS) * rowElements;
    };
    const auto load = [&](Row& row, const void* base, i64 from) {
#pragma unroll
        for (int i = 0; i < perThread; ++i) {
            const int pair = r + i * lanes;
            if (!exact && pair >= pairs) continue;
            row.first[i] = loadPacked<type, width, (NORM_STREAM & 1) != 0>(base, from + offsetOf(pair));
            if (hasSecond(pair)) row.second[i] = loadPacked<type, width, (NORM_STREAM & 1) != 0>(base, from + offsetOf(pair) + half);
        }
    };

    Row next, nextAdd;
    int index = blockIdx.x * NORM_ROWS + slot, parity = 0;
    if (index < rows) {
        load(next, x, start(index, inStride));
        if (NORM_ADD) load(nextAdd, residual, start(index, outStride));
    }
    // The bound is the block's, so that every thread takes part in the exchanges.
    for (int base = blockIdx.x * NORM_ROWS; base < rows; base += stride, index += stride) {
        const bool active = NORM_ROWS == 1 || index < rows;
        const i64 at = start(index, outStride);
        Row row = next, add = nextAdd;
        float squares = 0.0f;
#pragma unroll
        for (int i = 0; i < perThread; ++i) {
            const int pair = r + i * lanes;
            if (!active || (!exact && pair >= pairs)) continue;
#pragma unroll
            for (int side = 0; side < 2; ++side) {
                if (side == 1 && !hasSecond(pair)) continue;
                Packed<type, width>& packed = side == 0 ? row.first[i] : row.second[i];
                float v[width];
                unpackTo<type, width>(v, packed);
                if (NORM_ADD == 1) {
                    float other[width];
                    unpackTo<type, width>(other, side == 0 ? add.first[i] : add.second[i]);
#pragma unroll
                    for (int j = 0; j < width; ++j) v[j] += other[j];
                    packed = packFloats<type, width>(v);
                    storePacked<type, width, (NORM_STREAM & 2) != 0>(sum, at + offsetOf(pair) + side * half, packed);
                    unpackTo<type, width>(v, packed);
                }
#pragma unroll
                for (int j = 0; j < width; ++j) squares += v[j] * v[j];
            }
        }
        if (index + stride < rows) {
            load(next, x, start(index + stride, inStride));
            if (NORM_ADD) load(nextAdd, residual, start(index + stride, outStride));
        }

        // The table's entries are asked for before the exchange, since they come from L2.
        const int token = index / NORM_HEADS;
        float c[width], s[width];
        i64 tableRow = 0;
        if (NORM_ROPE && active) tableRow = static_cast<i64>(positions ? positions[token] : token % tablePositions) * tableStride;
        if (NORM_ROPE && sameUnit) {
            loadTable<tableType>(c, cosine, tableRow + (r % unitsPerHalf) * width);
            loadTable<tableType>(s, sine, tableRow + (r % unitsPerHalf) * width);
        }

        squares = groupSum<(lanes < 32 ? lanes : 32)>(squares);
        if constexpr (lanes > 32) {
            if (threadIdx.x % 32 == 0) partial[parity][r / 32] = squares;
            __syncthreads();
            squares = 0.0f;
#pragma unroll
            for (int i = 0; i < lanes / 32; ++i) squares += partial[parity][i];
            parity ^= 1;
        }
        const float scale = rsqrtf(squares * (1.0f / rowElements) + eps);
        if (!active) continue;

        // The packed row is what lives across the exchange: without the pins the compiler keeps the floats (twice the registers).
#pragma unroll
        for (int i = 0; i < perThread; ++i) {
            hold(row.first[i]);
            hold(row.second[i]);
            if (oneWeight) {
                hold(w.first[i]);
                hold(w.second[i]);
            }
        }
        const void* chosen = index % NORM_HEADS < NORM_SPLIT ? weight : secondWeight;
#pragma unroll
        for (int i = 0; i < perThread; ++i) {
            const int pair = r + i * lanes;
            if (!exact && pair >= pairs) continue;
            float y[2][width], weights[width];
#pragma unroll
            for (int side = 0; side < 2; ++side) {
                if (side == 1 && !hasSecond(pair)) continue;
                unpackTo<type, width>(y[side], side == 0 ? row.first[i] : row.second[i]);
                if constexpr (oneWeight) unpackTo<type, width>(weights, side == 0 ? w.first[i] : w.second[i]);
                else loadTable<weightType>(weights, chosen, offsetOf(pair) + side * half);
#pragma unroll
                for (int j = 0; j < width; ++j) y[side][j] *= scale * (NORM_UNIT_OFFSET ? 1.0f + weights[j] : weights[j]);
            }
            if constexpr (NORM_ROPE) {
                if (!sameUnit) {
                    loadTable<tableType>(c, cosine, tableRow + (pair % unitsPerHalf) * width);
                    loadTable<tableType>(s, sine, tableRow + (pair % unitsPerHalf) * width);
                }
#pragma unroll
                for (int j = 0; j < width; ++j) {
                    const float a = y[0][j], b = y[1][j];
                    y[0][j] = a * c[j] - b * s[j];
                    y[1][j] = b * c[j] + a * s[j];
                }
            }
#pragma unroll
            for (int side = 0; side < 2; ++side) {
                if (side == 1 && !hasSecond(pair)) continue;
                if (NORM_ADD == 2) {
                    float other[width];
                    unpackTo<type, width>(other, side == 0 ? add.first[i] : add.second[i]);
#pragma unroll
                    for (int j = 0; j < width; ++j) y[side][j] += other[j];
                }
                storePacked<type, width, (NORM_STREAM & 2) != 0>(out, at + offsetOf(pair) + side * half, packFloats<type, width>(y[side]));
            }
        }
    }
}
