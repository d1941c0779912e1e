// Pieces of sampling, row by row: softmax, argmax, and the k largest entries in order.
//
//   softmax: y[i] = exp((x[i] - max x) * inverseTemperature) / sum       (a row with NaN becomes NaN)
//   argmax:  the index of the largest entry, the lowest among equals; a NaN counts as the largest
//   top k:   values and indices, falling, the lower index first among equals; NaN first
//
// Shapes. x: [rows, columns], rowStride elements apart, bf16, f16 or f32 (ROWS_TYPE); y: ROWS_OUTPUT; indices i32; values f32.
// k is at most ROWS_TOP (a power of two up to 1,024) and at most columns.
//
// Mapping. One block of 1,024 threads per row. Softmax reads a row twice (the second time from L2) and writes it once. Top k finds
// the k-th largest key by three passes of an 11-bit radix histogram over order-preserving keys, gathers, and sorts in shared memory.
//
// Roof: bytes of x once (and y once) at copy bandwidth when rows fill the device; a single row is bound by what one SM reads.
//
// Launch. Entries apus_softmax_rows, apus_argmax_rows, apus_top_k_rows; block 1024; grid rows; no dynamic shared memory.

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

// Calls visit(value, column) for the row's entries of this thread.
template <class Visit> APUS_DEVICE void forRow(const void* x, i64 from, int columns, Visit visit) {
    for (int column = threadIdx.x * width; column < columns; column += threads * width) {
        float v[width];
        unpackTo<type, width>(v, loadPacked<type, width>(x, from + column));
#pragma unroll
        for (int j = 0; j < width; ++j) visit(v[j], column + j);
    }
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

}  // namespace apus

using namespace apus;

extern "C" __global__ void __launch_bounds__(1024) apus_softmax_rows(const void* x, void* y, float inverseTemperature, int columns,
                                                                     i64 rowStride, i64 outStride) {
    const i64 from = blockIdx.x * rowStride, to = blockIdx.x * outStride;
    const float unit = inverseTemperature * log2E;
    __shared__ float largests[32], sums[32];
    Running r = {-INFINITY_F, 0.0f};
    forRow(x, from, columns, [&](float v, int) { r.add(v * unit); });
#pragma unroll
    for (int offset = 16; offset > 0; offset /= 2)
        r.merge(__shfl_xor_sync(0xffffffffu, r.largest, offset), __shfl_xor_sync(0xffffffffu, r.sum, offset));
    if (threadIdx.x % 32 == 0) {
        largests[threadIdx.x / 32] = r.largest;
        sums[threadIdx.x / 32] = r.sum;
    }
    __syncthreads();
    r = {-INFINITY_F, 0.0f};
#pragma unroll
    for (int i = 0; i < 32; ++i) r.merge(largests[i], sums[i]);
    const float inverse = 1.0f / r.sum;
    for (int column = threadIdx.x * width; column < columns; column += threads * width) {
        float v[width];
        unpackTo<type, width>(v, loadPacked<type, width>(x, from + column));
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

extern "C" __global__ void __launch_bounds__(1024) apus_argmax_rows(const void* x, int* indices, float* values, int columns, i64 rowStride) {
    const i64 from = blockIdx.x * rowStride;
    __shared__ u64 partial[32];
    u64 best = 0;  // key above, inverted index below: the largest wins, then the lowest index
    forRow(x, from, columns, [&](float v, int column) {
        const u64 candidate = static_cast<u64>(orderedKey(v)) << 32 | ~static_cast<u32>(column);
        best = candidate > best ? candidate : best;
    });
    const auto reduce = [&] {
#pragma unroll
        for (int offset = 16; offset > 0; offset /= 2) {
            const u64 other = __shfl_xor_sync(0xffffffffu, best, offset);
            best = other > best ? other : best;
        }
    };
    reduce();
    if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = best;
    __syncthreads();
    if (threadIdx.x >= 32) return;
    best = partial[threadIdx.x];
    reduce();
    if (threadIdx.x == 0) {
        const int index = static_cast<int>(~static_cast<u32>(best));
        indices[blockIdx.x] = index;
        if (values) values[blockIdx.x] = loadOne<type>(x, from + index);
    }
}

extern "C" __global__ void __launch_bounds__(1024) apus_top_k_rows(const void* x, int* indices, float* values, int k, int columns,
                                                                   i64 rowStride) {
    const i64 from = blockIdx.x * rowStride;
    __shared__ u32 histogram[2048];
    __shared__ u64 chosen[top];
    __shared__ u32 prefix, wanted, gathered, ties;
    const int thread = threadIdx.x;
    // The k-th largest key, found from its upper bits down: `prefix` are the bits known, `wanted` its rank among keys that share them.
    if (thread == 0) {
        prefix = 0;
        wanted = k;
    }
    const int shifts[3] = {21, 10, 0};
#pragma unroll
    for (int pass = 0; pass < 3; ++pass) {
        const int shift = shifts[pass], bits = pass == 2 ? 10 : 11;
        for (int i = thread; i < 2048; i += threads) histogram[i] = 0;
        __syncthreads();
        const u32 known = prefix, mask = pass == 0 ? 0 : 0xffffffffu << (shift + bits);
        forRow(x, from, columns, [&](float v, int) {
            const u32 key = orderedKey(v);
            if ((key & mask) == known) atomicAdd(&histogram[key >> shift & ((1u << bits) - 1)], 1u);
        });
        __syncthreads();
        if (thread < 32) {  // from the top: the bin where the count passes the rank
            u32 rank = wanted;
            for (int base = (1 << bits) - 32; base >= 0; base -= 32) {
                const u32 count = histogram[base + 31 - thread];
                u32 running = count;
#pragma unroll
                for (int offset = 1; offset < 32; offset *= 2) {
                    const u32 other = __shfl_up_sync(0xffffffffu, running, offset);
                    if (thread >= offset) running += other;
                }
                const u32 hit = __ballot_sync(0xffffffffu, running >= rank);
                if (hit) {
                    if (thread == __ffs(hit) - 1) {
                        prefix = known | static_cast<u32>(base + 31 - thread) << shift;
                        wanted = rank - (running - count);
                    }
                    break;
                }
                rank -= __shfl_sync(0xffffffffu, running, 31);
            }
        }
        __syncthreads();
    }
    const u32 threshold = prefix, equal = wanted;  // keys above all go in, and the `equal` lowest indices of the keys at it
    if (thread == 0) gathered = ties = 0;
    for (int i = thread; i < top; i += threads) chosen[i] = 0;
    __syncthreads();
    forRow(x, from, columns, [&](float v, int column) {
        const u32 key = orderedKey(v);
        if (key > threshold) chosen[atomicAdd(&gathered, 1u)] = static_cast<u64>(key) << 32 | ~static_cast<u32>(column);
        if (key == threshold) atomicAdd(&ties, 1u);
    });
    __syncthreads();
    if (ties == equal) {
        forRow(x, from, columns, [&](float v, int column) {
            if (orderedKey(v) == threshold)
                chosen[atomicAdd(&gathered, 1u)] = static_cast<u64>(threshold) << 32 | ~static_cast<u32>(column);
        });
        __syncthreads();
    } else if (thread < 32) {  // in order of index, by one warp: rare
        u32 slot = gathered, left = equal;
        for (int base = 0; base < columns && left > 0; base += 32) {
            const int column = base + thread;
            const bool is = column < columns && orderedKey(loadOne<type>(x, from + column)) == threshold;
            const u32 all = __ballot_sync(0xffffffffu, is), before = __popc(all & ((1u << thread) - 1));
            if (is && before < left) chosen[slot + before] = static_cast<u64>(threshold) << 32 | ~static_cast<u32>(column);
            const u32 taken = min(static_cast<u32>(__popc(all)), left);
            slot += taken;
            left -= taken;
        }
    }
    __syncthreads();
    // Bitonic, falling; unused entries are 0 and sink.
    for (int size = 2; size <= top; size *= 2)
        for (int stride = size / 2; stride > 0; stride /= 2) {
            for (int i = thread; i < top; i += threads) {
                const int j = i ^ stride;
                if (j > i) {
                    const u64 a = chosen[i], b = chosen[j];
                    if ((i & size) == 0 ? a < b : a > b) {
                        chosen[i] = b;
                        chosen[j] = a;
                    }
                }
            }
            __syncthreads();
        }
    for (int i = thread; i < k; i += threads) {
        const int index = static_cast<int>(~static_cast<u32>(chosen[i]));
        indices[static_cast<i64>(blockIdx.x) * k + i] = index;
        if (values) values[static_cast<i64>(blockIdx.x) * k + i] = loadOne<type>(x, from + index);
    }
}
