// Pieces of sampling, row by row: softmax, argmax, and the k largest entries in order.
//
//   softmax: y[i] = exp((x[i] - max x) * inverseTemperature) / sum       (a row with NaN becomes NaN)
//   argmax:  the index of the largest entry, the lowest among equals; a NaN counts as the largest
//   top k:   values and indices, falling, the lower index first among equals; NaN first
//
// Shapes. x: [rows, columns], rowStride elements apart, bf16, f16 or f32 (ROWS_TYPE); y: ROWS_OUTPUT; indices i32; values f32.
// k is at most ROWS_TOP (a power of two from 64 to 1,024) and at most columns.
//
// Mapping. Many rows: one block of 1,024 threads per row. Few rows: each row is cut into `pieces` of `piece` columns (a multiple of 16 bytes),
// one block each, and a second kernel puts their results together, which lie in memory in between:
//   apus_softmax_pieces -> parts [rows, pieces] {maximum, sum} -> apus_softmax_finish, one block a piece
//   apus_argmax_pieces  -> parts [rows, pieces] entries        -> apus_argmax_finish, one warp a row
//   apus_top_k_pieces   -> parts [rows, pieces, k] entries     -> apus_top_k_finish, one block a row
// An entry is 64 bits: an order-preserving key of the value above, the inverted index below, so that the largest entry is the answer. Top k finds
// the k-th largest entry by a radix histogram of 11 bits a pass over the key, and over the index where equal keys have to be told apart; a
// pass whose bin goes in as a whole is the last. Then it gathers, and sorts in shared memory.
//
// Roof: bytes of x once (and y once) at copy bandwidth when rows or pieces fill the device.
//
// Launch. Block 1024, but 32 for apus_argmax_finish; grid rows (apus_softmax_rows, apus_argmax_rows, apus_top_k_rows, apus_argmax_finish,
// apus_top_k_finish) or rows * pieces (the others); no dynamic shared memory. The finishing kernels honour programmatic stream serialisation.

#include "apus_constants.h"
#include "Common/Math.cuh"
#include "Common/Vector.cuh"

#ifndef ROWS_TYPE  // 0 bf16, 1 f16, 2 f32
#define ROWS_TYPE 2
#endif
#ifndef ROWS_OUTPUT
#define ROWS_OUTPUT ROWS_TYPE
#endif
#ifndef ROWS_VECTOR  // 1: single elements, for odd sizes and strides
#define ROWS_VECTOR 0
#endif
#ifndef ROWS_TOP
#define ROWS_TOP 64
#endif

namespace apus {

constexpr DType type = static_cast<DType>(ROWS_TYPE), outputType = static_cast<DType>(ROWS_OUTPUT);
constexpr int threads = 1024, width = ROWS_VECTOR ? 1 : VectorWidth<type>::value, top = ROWS_TOP;

// Larger floats have larger keys; every NaN is above infinity.
APUS_DEVICE u32 orderedKey(float v) {
    const u32 bits = asBits(v);
    if (v != v) return 0xffffffffu;
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

// The value of a key, back.
APUS_DEVICE float valueOf(u32 key) { return asFloat(key & 0x80000000u ? key ^ 0x80000000u : ~key); }

APUS_DEVICE u64 entryOf(float v, int column) { return static_cast<u64>(orderedKey(v)) << 32 | ~static_cast<u32>(column); }
APUS_DEVICE u64 larger(u64 a, u64 b) { return a > b ? a : b; }

// A run of columns of a row; `from` is where the row starts.
struct Span {
    i64 from;
    int begin, end;
    static __device__ __forceinline__ Span row(int columns, i64 stride) { return {blockIdx.x * stride, 0, columns}; }
    static __device__ __forceinline__ Span ofPiece(int columns, i64 stride, int pieces, int piece) {
        const int begin = static_cast<int>(blockIdx.x) % pieces * piece;
        return {blockIdx.x / pieces * stride, begin, min(begin + piece, columns)};
    }
    // Calls visit(value, column) for this thread's entries.
    template <class Visit> __device__ __forceinline__ void each(const void* x, Visit visit) const {
        for (int column = begin + threadIdx.x * width; column < end; column += threads * width) {
            float v[width];
            unpackTo<type, width>(v, loadPacked<type, width>(x, from + column));
#pragma unroll
            for (int j = 0; j < width; ++j) visit(v[j], column + j);
        }
    }
};

APUS_DEVICE void releaseNext() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}
APUS_DEVICE void waitForLast() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

struct Running {  // maximum and sum of exponentials relative to it
    float largest, sum;
    __device__ __forceinline__ void add(float v) {  // already in units of log2
        if (v > largest) {
            sum = sum * exp2Fast(largest - v) + 1.0f;
            largest = v;
        } else {
            sum += v == largest ? 1.0f : exp2Fast(v - largest);
        }
    }
    __device__ __forceinline__ void merge(float otherLargest, float otherSum) {
        const float m = fmaxf(largest, otherLargest);
        sum = sum * (largest == m ? 1.0f : exp2Fast(largest - m)) + otherSum * (otherLargest == m ? 1.0f : exp2Fast(otherLargest - m));
        largest = m;
    }
};

// The block's threads together; every one gets the result.
APUS_DEVICE Running together(Running r) {
    __shared__ float largests[32], sums[32];
    const auto lanes = [&] {
#pragma unroll
        for (int offset = 16; offset > 0; offset /= 2)
            r.merge(__shfl_xor_sync(0xffffffffu, r.largest, offset), __shfl_xor_sync(0xffffffffu, r.sum, offset));
    };
    lanes();
    if (threadIdx.x % 32 == 0) {
        largests[threadIdx.x / 32] = r.largest;
        sums[threadIdx.x / 32] = r.sum;
    }
    __syncthreads();
    r = {largests[threadIdx.x % 32], sums[threadIdx.x % 32]};
    lanes();
    return r;
}

APUS_DEVICE Running sumOf(const void* x, Span span, float unit) {
    Running r = {-INFINITY_F, 0.0f};
    span.each(x, [&](float v, int) { r.add(v * unit); });
    return together(r);
}

APUS_DEVICE void writeSoftmax(const void* x, void* y, i64 to, Span span, float unit, Running r) {
    const float inverse = 1.0f / r.sum;
    for (int column = span.begin + threadIdx.x * width; column < span.end; column += threads * width) {
        float v[width];
        unpackTo<type, width>(v, loadPacked<type, width>(x, span.from + column));
#pragma unroll
        for (int j = 0; j < width; ++j) v[j] = exp2Fast(v[j] * unit - r.largest) * inverse;
        if constexpr (outputType == type) {
            storePacked<type, width>(y, to + column, packFloats<type, width>(v));
        } else {
#pragma unroll
            for (int j = 0; j < width; ++j) storeOne<outputType>(y, to + column + j, v[j]);
        }
    }
}

APUS_DEVICE u64 largestOfWarp(u64 best) {
#pragma unroll
    for (int offset = 16; offset > 0; offset /= 2) best = larger(best, __shfl_xor_sync(0xffffffffu, best, offset));
    return best;
}

// The largest entry of the span, in the first thread.
APUS_DEVICE u64 largestOf(const void* x, Span span) {
    __shared__ u64 partial[32];
    u64 best = 0;
    span.each(x, [&](float v, int column) { best = larger(best, entryOf(v, column)); });
    best = largestOfWarp(best);
    if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = best;
    __syncthreads();
    return threadIdx.x < 32 ? largestOfWarp(partial[threadIdx.x]) : 0;
}

// Where entries come from: a run of a row, or a list in memory.
struct RowEntries {
    const void* x;
    Span span;
    template <class Visit> __device__ __forceinline__ void each(Visit visit) const {
        span.each(x, [&](float v, int column) { visit(entryOf(v, column)); });
    }
};
struct ListedEntries {
    const u64* list;
    int count;
    template <class Visit> __device__ __forceinline__ void each(Visit visit) const {
        for (int i = threadIdx.x; i < count; i += threads) visit(list[i]);
    }
};

// Puts the k largest entries into `chosen`, in no order, zeros behind them. Fewer than k entries: all of them. A listed 0 is none.
template <class Entries> APUS_DEVICE void select(u64 (&chosen)[top], int k, Entries entries) {
    __shared__ u32 histogram[2048], totals[32];
    __shared__ u64 found;  // the bits known of the k-th largest
    __shared__ u32 rank, inBin, gathered;
    const int thread = threadIdx.x, lane = thread % 32, warp = thread / 32;
    u64 known = 0;
    u32 wanted = k;  // its rank among the entries that share them
    for (int i = thread; i < top; i += threads) chosen[i] = 0;
    if (thread == 0) gathered = 0;
    // 11, 11 and 10 bits of the key, and then of the index.
#pragma unroll 1
    for (int pass = 0; pass < 6; ++pass) {
        const int shift = pass < 3 ? 53 - 11 * pass : pass < 5 ? 21 - 11 * (pass - 3) : 0, begin = pass == 2 ? 32 : shift;
        const int bits = pass % 3 == 2 ? 10 : 11;
        const u64 mask = pass == 0 ? 0 : ~0ull << (begin + bits);
        for (int i = thread; i < 2048; i += threads) histogram[i] = 0;
        __syncthreads();
        if (thread == 0) inBin = 0;
        entries.each([&](u64 entry) {
            if (((entry ^ known) & mask) == 0) atomicAdd(&histogram[static_cast<u32>(entry >> begin) & ((1u << bits) - 1)], 1u);
        });
        __syncthreads();
        // From the top: the bin where the count passes the rank. Two bins a thread.
        const u32 upper = histogram[2047 - 2 * thread], both = upper + histogram[2046 - 2 * thread];
        const auto scan = [&](u32 v) {
#pragma unroll
            for (int offset = 1; offset < 32; offset *= 2) {
                const u32 other = __shfl_up_sync(0xffffffffu, v, offset);
                if (lane >= offset) v += other;
            }
            return v;
        };
        const u32 inWarp = scan(both);
        if (lane == 31) totals[warp] = inWarp;
        __syncthreads();
        const u32 total = totals[lane], before = __shfl_sync(0xffffffffu, scan(total) - total, warp) + inWarp - both;
        if (before < wanted && before + both >= wanted) {
            const bool first = before + upper >= wanted;
            found = known | static_cast<u64>(2047 - 2 * thread - !first) << begin;
            rank = wanted - before - (first ? 0 : upper);
            inBin = first ? upper : both - upper;
        }
        __syncthreads();
        if (inBin == 0) break;  // fewer than k: what is known stays, and nothing is below it
        known = found;
        wanted = rank;
        if (inBin == wanted) break;  // the whole bin goes in
    }
    entries.each([&](u64 entry) {
        if (entry >= known && entry != 0) chosen[atomicAdd(&gathered, 1u)] = entry;
    });
    __syncthreads();
}

// Sorts by the whole block, falling (bitonic); zeros sink.
APUS_DEVICE void sort(u64 (&chosen)[top]) {
    for (int size = 2; size <= top; size *= 2)
        for (int stride = size / 2; stride > 0; stride /= 2) {
            if (threadIdx.x < top / 2) {
                const int i = 2 * threadIdx.x - (threadIdx.x & (stride - 1)), j = i + stride;
                const u64 a = chosen[i], b = chosen[j];
                if ((i & size) == 0 ? a < b : a > b) {
                    chosen[i] = b;
                    chosen[j] = a;
                }
            }
            if constexpr (top > 64) __syncthreads();
            else __syncwarp();
        }
    __syncthreads();
}

APUS_DEVICE void writeEntries(const u64 (&chosen)[top], int* indices, float* values, int k) {
    for (int i = threadIdx.x; i < k; i += threads) {
        indices[static_cast<i64>(blockIdx.x) * k + i] = static_cast<int>(~static_cast<u32>(chosen[i]));
        if (values) values[static_cast<i64>(blockIdx.x) * k + i] = valueOf(static_cast<u32>(chosen[i] >> 32));
    }
}

}  // namespace apus

using namespace apus;

extern "C" __global__ void __launch_bounds__(1024) apus_softmax_rows(const void* x, void* y, float inverseTemperature, int columns,
                                                                     i64 rowStride, i64 outStride) {
    const Span span = Span::row(columns, rowStride);
    const float unit = inverseTemperature * log2E;
    writeSoftmax(x, y, blockIdx.x * outStride, span, unit, sumOf(x, span, unit));
}

extern "C" __global__ void __launch_bounds__(1024) apus_softmax_pieces(const void* x, Float2* parts, float inverseTemperature, int columns,
                                                                       i64 rowStride, int pieces, int piece) {
    releaseNext();
    const Running r = sumOf(x, Span::ofPiece(columns, rowStride, pieces, piece), inverseTemperature * log2E);
    if (threadIdx.x == 0) parts[blockIdx.x] = {r.largest, r.sum};
}

extern "C" __global__ void __launch_bounds__(1024) apus_softmax_finish(const void* x, void* y, const Float2* parts, float inverseTemperature,
                                                                       int columns, i64 rowStride, i64 outStride, int pieces, int piece) {
    waitForLast();
    const i64 row = blockIdx.x / pieces;
    Running r = {-INFINITY_F, 0.0f};
    for (int i = threadIdx.x; i < pieces; i += threads) {
        const Float2 part = parts[row * pieces + i];
        r.merge(part.x, part.y);
    }
    writeSoftmax(x, y, row * outStride, Span::ofPiece(columns, rowStride, pieces, piece), inverseTemperature * log2E, together(r));
}

extern "C" __global__ void __launch_bounds__(1024) apus_argmax_rows(const void* x, int* indices, int columns, i64 rowStride) {
    const u64 best = largestOf(x, Span::row(columns, rowStride));
    if (threadIdx.x == 0) indices[blockIdx.x] = static_cast<int>(~static_cast<u32>(best));
}

extern "C" __global__ void __launch_bounds__(1024) apus_argmax_pieces(const void* x, u64* parts, int columns, i64 rowStride, int pieces,
                                                                      int piece) {
    releaseNext();
    const u64 best = largestOf(x, Span::ofPiece(columns, rowStride, pieces, piece));
    if (threadIdx.x == 0) parts[blockIdx.x] = best;
}

extern "C" __global__ void __launch_bounds__(32) apus_argmax_finish(const u64* parts, int* indices, int pieces) {
    waitForLast();
    u64 best = 0;
    for (int i = threadIdx.x; i < pieces; i += 32) best = larger(best, parts[static_cast<i64>(blockIdx.x) * pieces + i]);
    best = largestOfWarp(best);
    if (threadIdx.x == 0) indices[blockIdx.x] = static_cast<int>(~static_cast<u32>(best));
}

extern "C" __global__ void __launch_bounds__(1024) apus_top_k_rows(const void* x, int* indices, float* values, int k, int columns,
                                                                   i64 rowStride) {
    __shared__ u64 chosen[top];
    select(chosen, k, RowEntries{x, Span::row(columns, rowStride)});
    sort(chosen);
    writeEntries(chosen, indices, values, k);
}

extern "C" __global__ void __launch_bounds__(1024) apus_top_k_pieces(const void* x, u64* parts, int k, int columns, i64 rowStride, int pieces,
                                                                     int piece) {
    releaseNext();
    __shared__ u64 chosen[top];
    select(chosen, k, RowEntries{x, Span::ofPiece(columns, rowStride, pieces, piece)});
    for (int i = threadIdx.x; i < k; i += threads) parts[static_cast<i64>(blockIdx.x) * k + i] = chosen[i];
}

extern "C" __global__ void __launch_bounds__(1024) apus_top_k_finish(const u64* parts, int* indices, float* values, int k, int pieces) {
    waitForLast();
    __shared__ u64 chosen[top];
    select(chosen, k, ListedEntries{parts + static_cast<i64>(blockIdx.x) * pieces * k, pieces * k});
    sort(chosen);
    writeEntries(chosen, indices, values, k);
}
