// FP8 quantisation and dequantisation: real E4M3 and E5M2, scales on the device, no host synchronisation.
//
//   scale = max |x| / maximum of the format (1 where every x is 0), over the tensor, each row or each column
//   code  = cast(x * (maximum / max |x|)), or cast(x / scale) with a given scale;   value = code * scale
// Rounding to nearest even. QUANTIZE_SATURATE 1 clamps to the largest finite value; 0 casts as PyTorch does (e4m3: NaN beyond
// 464; e5m2: infinity). NaN becomes NaN and does not enter the maximum.
//
// Shapes. x: [rows, columns], rowStride elements apart; codes: [rows, columns] u8, codeStride apart; columns a multiple of
// 16 and pointers and strides 16-byte aligned, or QUANTIZE_VECTOR 1. Scales: fp32, [1], [rows] or [columns].
//
// Entries and launches (block 256 threads, no dynamic shared memory):
//   apus_quantize_rows      per row in one pass; grid min(rows, SMs * 8). A row of up to QUANTIZE_ROW columns is held in
//                           registers between its maximum and its codes.
//   apus_absolute_maximum   per tensor (QUANTIZE_AXIS 0; any grid) or per column (2; grid (ceil(columns / (256 * V)), row
//                           chunks)). maxima: u32 bits of fp32, zeroed before.
//   apus_quantize           with those maxima (QUANTIZE_GIVEN 0; writes scales) or with given scales (1); counts values beyond
//                           the format in *overflows where that is not null, and keeps the largest |x| / scale in overflows[1].
//   apus_dequantize         codes and scales to x's type. QUANTIZE_AXIS 0, 1, 2 says what the scales belong to.
//
// rows * ceil(columns / V) stays below 2^31.
//
// Roof: bytes of x and codes once (per row), x twice (per tensor, per column). Figures: docs/kernels-operators.md.

#include "apus_constants.h"
#include "Common/Float8.cuh"
#include "Common/Math.cuh"
#include "Common/Vector.cuh"

#ifndef QUANTIZE_TYPE  // of x: 0 bf16, 1 f16, 2 f32
#define QUANTIZE_TYPE 0
#endif
#ifndef QUANTIZE_FORMAT  // 3 e4m3, 4 e5m2
#define QUANTIZE_FORMAT 3
#endif
#ifndef QUANTIZE_AXIS  // scales per 0 tensor, 1 row, 2 column
#define QUANTIZE_AXIS 0
#endif
#ifndef QUANTIZE_GIVEN
#define QUANTIZE_GIVEN 0
#endif
#ifndef QUANTIZE_SATURATE
#define QUANTIZE_SATURATE 1
#endif
#ifndef QUANTIZE_VECTOR
#define QUANTIZE_VECTOR 0
#endif
#ifndef QUANTIZE_ROW
#define QUANTIZE_ROW 4096
#endif

namespace apus {

constexpr DType type = static_cast<DType>(QUANTIZE_TYPE), format = static_cast<DType>(QUANTIZE_FORMAT);
constexpr int threads = 256;
constexpr int group = QUANTIZE_VECTOR ? 1 : 16;  // elements a thread turns into one store
constexpr int width = QUANTIZE_VECTOR ? 1 : VectorWidth<type>::value, loads = group / width;
constexpr float maximum = Float8<format>::maximum;

struct Group {
    Packed<type, width> parts[loads];
    __device__ __forceinline__ void load(const void* x, i64 index) {
#pragma unroll
        for (int i = 0; i < loads; ++i) parts[i] = loadPacked<type, width, true>(x, index + i * width);
    }
    __device__ __forceinline__ void values(float (&v)[group]) const {
#pragma unroll
        for (int i = 0; i < loads; ++i) {
            float part[width];
            unpackTo<type, width>(part, parts[i]);
#pragma unroll
            for (int j = 0; j < width; ++j) v[i * width + j] = part[j];
        }
    }
    __device__ __forceinline__ float largest() const {
        float v[group], m = 0.0f;
        values(v);
#pragma unroll
        for (int i = 0; i < group; ++i) m = fmaxf(m, fabsf(v[i]));  // fmax drops NaN
        return m;
    }
};

APUS_DEVICE void storeCodes(u8* codes, i64 index, const float (&v)[group]) {
    if constexpr (group == 1) {
        codes[index] = static_cast<u8>(encodePair<format, QUANTIZE_SATURATE>(v[0], 0.0f));
    } else {
        u32 words[4];
#pragma unroll
        for (int i = 0; i < 4; ++i)
            words[i] = encodePair<format, QUANTIZE_SATURATE>(v[4 * i], v[4 * i + 1]) |
                       (encodePair<format, QUANTIZE_SATURATE>(v[4 * i + 2], v[4 * i + 3]) << 16);
        storeStreaming16(codes + index, {words[0], words[1], words[2], words[3]});
    }
}

APUS_DEVICE float blockMax(float v) {
    __shared__ float partial[threads / 32];
    v = groupMax(v);
    __syncthreads();
    if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = v;
    __syncthreads();
    v = partial[0];
#pragma unroll
    for (int i = 1; i < threads / 32; ++i) v = fmaxf(v, partial[i]);
    return v;
}

APUS_DEVICE float scaleOf(float largest) { return largest > 0.0f ? largest / maximum : 1.0f; }
APUS_DEVICE float inverseOf(float largest) { return largest > 0.0f ? maximum / largest : 1.0f; }

APUS_DEVICE void chainLaunches() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;\n griddepcontrol.wait;" ::: "memory");
#endif
}

}  // namespace apus

using namespace apus;

extern "C" __global__ void __launch_bounds__(256) apus_quantize_rows(const void* x, u8* codes, float* scales, int rows, int columns,
                                                                     i64 rowStride, i64 codeStride) {
    chainLaunches();
    constexpr int held = ceilDivide(QUANTIZE_ROW, threads * group);
    for (int row = blockIdx.x; row < rows; row += gridDim.x) {
        Group groups[held];
        const i64 from = row * rowStride, to = row * codeStride;
        float largest = 0.0f;
#pragma unroll
        for (int i = 0; i < held; ++i) {
            const int column = (threadIdx.x + i * threads) * group;
            if (column < columns) groups[i].load(x, from + column);
        }
#pragma unroll
        for (int i = 0; i < held; ++i)
            if ((threadIdx.x + i * threads) * group < columns) largest = fmaxf(largest, groups[i].largest());
        for (int column = (threadIdx.x + held * threads) * group; column < columns; column += threads * group) {
            Group g;
            g.load(x, from + column);
            largest = fmaxf(largest, g.largest());
        }
        largest = blockMax(largest);
        const float inverse = inverseOf(largest);
        if (threadIdx.x == 0) scales[row] = scaleOf(largest);
        const auto store = [&](const Group& g, int column) {
            float v[group];
            g.values(v);
#pragma unroll
            for (int j = 0; j < group; ++j) v[j] *= inverse;
            storeCodes(codes, to + column, v);
        };
#pragma unroll
        for (int i = 0; i < held; ++i) {
            const int column = (threadIdx.x + i * threads) * group;
            if (column < columns) store(groups[i], column);
        }
        for (int column = (threadIdx.x + held * threads) * group; column < columns; column += threads * group) {
            Group g;
            g.load(x, from + column);
            store(g, column);
        }
    }
}

extern "C" __global__ void __launch_bounds__(256) apus_absolute_maximum(const void* x, u32* maxima, int rows, int columns, i64 rowStride) {
    chainLaunches();
    if (QUANTIZE_AXIS == 2) {
        // Consecutive threads take consecutive vectors; a thread keeps the maxima of its own columns.
        const int column = (blockIdx.x * threads + threadIdx.x) * width;
        if (column >= columns) return;
        float m[width] = {};
        for (int row = blockIdx.y; row < rows; row += gridDim.y) {
            float v[width];
            unpackTo<type, width>(v, loadPacked<type, width, true>(x, row * rowStride + column));
#pragma unroll
            for (int j = 0; j < width; ++j) m[j] = fmaxf(m[j], fabsf(v[j]));
        }
#pragma unroll
        for (int j = 0; j < width; ++j) atomicMax(maxima + column + j, asBits(m[j]));
        return;
    }
    const u32 perRow = ceilDivide(columns, group), total = rows * perRow, stride = gridDim.x * threads;
    float largest = 0.0f;
    u32 at = blockIdx.x * threads + threadIdx.x;
    for (; at + stride < total; at += 2 * stride) {
        Group a, b;
        a.load(x, static_cast<i64>(at / perRow) * rowStride + at % perRow * group);
        b.load(x, static_cast<i64>((at + stride) / perRow) * rowStride + (at + stride) % perRow * group);
        largest = fmaxf(largest, fmaxf(a.largest(), b.largest()));
    }
    if (at < total) {
        Group a;
        a.load(x, static_cast<i64>(at / perRow) * rowStride + at % perRow * group);
        largest = fmaxf(largest, a.largest());
    }
    largest = blockMax(largest);
    if (threadIdx.x == 0) atomicMax(maxima, asBits(largest));
}

extern "C" __global__ void __launch_bounds__(256)
apus_quantize(const void* x, u8* codes, const float* maxima, float* scales, u32* overflows, int rows, int columns, i64 rowStride,
              i64 codeStride) {
    chainLaunches();
    const u32 perRow = ceilDivide(columns, group), total = rows * perRow;
    for (u32 at = blockIdx.x * threads + threadIdx.x; at < total; at += gridDim.x * threads) {
        const int row = static_cast<int>(at / perRow), column = static_cast<int>(at % perRow) * group;
        Group g;
        g.load(x, row * rowStride + column);
        float v[group];
        g.values(v);
#pragma unroll
        for (int j = 0; j < group; ++j) {
            const int scale = QUANTIZE_AXIS == 0 ? 0 : QUANTIZE_AXIS == 1 ? row : column + j;
            if (QUANTIZE_GIVEN) v[j] /= scales[scale];
            else v[j] *= inverseOf(maxima[scale]);
        }
        if (!QUANTIZE_GIVEN) {
            if (QUANTIZE_AXIS == 0 && at == 0) scales[0] = scaleOf(maxima[0]);
            if (QUANTIZE_AXIS == 1 && column == 0) scales[row] = scaleOf(maxima[row]);
            if (QUANTIZE_AXIS == 2 && row == 0)
                for (int j = 0; j < group; ++j) scales[column + j] = scaleOf(maxima[column + j]);
        } else if (overflows) {
            u32 count = 0;
            float largest = 0.0f;
#pragma unroll
            for (int j = 0; j < group; ++j) {
                count += fabsf(v[j]) > Float8<format>::threshold;
                largest = fmaxf(largest, fabsf(v[j]));
            }
            if (count) {
                atomicAdd(overflows, count);
                atomicMax(overflows + 1, asBits(largest));
            }
        }
        storeCodes(codes, row * codeStride + column, v);
    }
}

extern "C" __global__ void __launch_bounds__(256) apus_dequantize(const u8* codes, const float* scales, void* x, int rows, int columns,
                                                                  i64 codeStride, i64 rowStride) {
    chainLaunches();
    const u32 perRow = ceilDivide(columns, group), total = rows * perRow;
    for (u32 at = blockIdx.x * threads + threadIdx.x; at < total; at += gridDim.x * threads) {
        const int row = static_cast<int>(at / perRow), column = static_cast<int>(at % perRow) * group;
        float v[group];
        if constexpr (group == 1) {
            v[0] = decodePair<format>(codes[row * codeStride + column]).x;
        } else {
            const Vec4 raw = loadStreaming16(codes + row * codeStride + column);
            const u32 words[4] = {raw.x, raw.y, raw.z, raw.w};
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const Float2 low = decodePair<format>(words[i] & 0xffff), high = decodePair<format>(words[i] >> 16);
                v[4 * i] = low.x; v[4 * i + 1] = low.y; v[4 * i + 2] = high.x; v[4 * i + 3] = high.y;
            }
        }
#pragma unroll
        for (int j = 0; j < group; ++j) v[j] *= scales[QUANTIZE_AXIS == 0 ? 0 : QUANTIZE_AXIS == 1 ? row : column + j];
#pragma unroll
        for (int i = 0; i < loads; ++i) {
            float part[width];
#pragma unroll
            for (int j = 0; j < width; ++j) part[j] = v[i * width + j];
            storePacked<type, width>(x, row * rowStride + column + i * width, packFloats<type, width>(part));
        }
    }
}
