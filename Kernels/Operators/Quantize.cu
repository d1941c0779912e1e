// FP8 quantisation and dequantisation: real E4M3 and E5M2, scales on the device, no host synchronisation.
//
//   scale = max |x| / maximum of the format (1 where every x is 0), over the tensor, each row or each column
//   code  = cast(x * (maximum / max |x|)), or cast(x / scale) with a given scale, or cast(x);   value = code * scale
// Rounding to nearest even. QUANTIZE_SATURATE 1 clamps to the largest finite value; 0 casts as PyTorch does (e4m3: NaN beyond
// 464; e5m2: infinity). NaN becomes NaN and does not enter the maximum.
//
// Shapes. x: [rows, columns], rowStride elements apart; codes: [rows, columns] u8, codeStride apart; columns a multiple of
// 16, pointers and strides 16-byte aligned, or QUANTIZE_VECTOR 1. Scales: fp32, [1], [rows] or [columns].
//
// Entries and launches (block 256 threads, no dynamic shared memory):
//   apus_quantize_rows      per row in one pass; grid min(rows, resident blocks). A row of up to QUANTIZE_ROW columns is held in
//                           registers between its maximum and its codes, the next one is loaded meanwhile.
//   apus_absolute_maximum   per tensor (QUANTIZE_AXIS 0) or per column (2). maxima: u32 bits of fp32, zeroed before.
//   apus_quantize           with those maxima (QUANTIZE_GIVEN 0; writes scales), given scales (1) or none (2); counts values beyond
//                           the format in *overflows where that is not null, and keeps the largest |x| / scale in overflows[1].
//   apus_dequantize         codes and scales to x's type. QUANTIZE_AXIS 0, 1, 2 says what the scales belong to.
// The last three take any grid (SMs * 8; SMs * 2 for maxima of columns, which end in atomics): a thread keeps its columns and walks down the rows, four at a time. A long
// tensor of one row is better given as many rows.
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
// Elements a thread turns into one store: 16 codes, or 16 bytes of x on the way back (each lost to the other in the other's place).
constexpr int group = QUANTIZE_VECTOR ? 1 : 16, unit = QUANTIZE_VECTOR ? 1 : VectorWidth<type>::value, loads = group / unit;
constexpr float maximum = Float8<format>::maximum;

struct Group {
    Packed<type, unit> parts[loads];
    __device__ __forceinline__ void load(const void* x, i64 index) {
#pragma unroll
        for (int i = 0; i < loads; ++i) parts[i] = loadPacked<type, unit, true>(x, index + i * unit);
    }
    __device__ __forceinline__ void values(float (&v)[group]) const {
#pragma unroll
        for (int i = 0; i < loads; ++i) {
            float part[unit];
            unpackTo<type, unit>(part, parts[i]);
#pragma unroll
            for (int j = 0; j < unit; ++j) v[i * unit + j] = part[j];
        }
    }
    __device__ __forceinline__ void forget() {
#pragma unroll
        for (int i = 0; i < loads; ++i) hold(parts[i]);
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
            words[i] = encodePair<format, QUANTIZE_SATURATE>(v[group == 1 ? 0 : 4 * i], v[group == 1 ? 0 : 4 * i + 1]) |
                       (encodePair<format, QUANTIZE_SATURATE>(v[group == 1 ? 0 : 4 * i + 2], v[group == 1 ? 0 : 4 * i + 3]) << 16);
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

// A thread's columns and rows: consecutive threads take consecutive groups of one row, whole rows fill the grid.
struct Walk {
    u32 perRow, column, columnStep;
    int row, rowStep;
    static __device__ __forceinline__ Walk make(int columns, int width) {
        Walk w;
        const u32 all = gridDim.x * threads, self = blockIdx.x * threads + threadIdx.x;
        w.perRow = ceilDivide(columns, width);
        w.columnStep = min(w.perRow, all);
        w.rowStep = all / w.columnStep;
        w.row = self / w.columnStep;
        w.column = w.row < w.rowStep ? self % w.columnStep : w.perRow;  // the rest of the grid has nothing to do
        return w;
    }
};
constexpr int atOnce = 4;  // rows a thread loads before it uses them

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
    Group next[held];
    const auto load = [&](int row) {
#pragma unroll
        for (int i = 0; i < held; ++i) {
            const int column = (threadIdx.x + i * threads) * group;
            if (column < columns) next[i].load(x, row * rowStride + column);
        }
    };
    if (static_cast<int>(blockIdx.x) < rows) load(blockIdx.x);
    for (int row = blockIdx.x; row < rows; row += gridDim.x) {
        Group groups[held];
        const i64 from = row * rowStride, to = row * codeStride;
        float largest = 0.0f;
#pragma unroll
        for (int i = 0; i < held; ++i) {
            groups[i] = next[i];
            if ((threadIdx.x + i * threads) * group < columns) largest = fmaxf(largest, groups[i].largest());
        }
        if (row + static_cast<int>(gridDim.x) < rows) load(row + gridDim.x);
        for (int column = (threadIdx.x + held * threads) * group; column < columns; column += threads * group) {
            Group g;
            g.load(x, from + column);
            largest = fmaxf(largest, g.largest());
        }
        largest = blockMax(largest);
        const float inverse = inverseOf(largest);
        if (threadIdx.x == 0) scales[row] = scaleOf(largest);
        const auto store = [&](Group& g, int column) {
            float v[group];
            g.forget();
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

// Maxima of columns: a warp takes a run of 32 vectors across, the block's warps take turns at its rows, and the block meets once at the end.
#if QUANTIZE_AXIS == 2
extern "C" __global__ void __launch_bounds__(256) apus_absolute_maximum(const void* x, u32* maxima, int rows, int columns, i64 rowStride) {
    chainLaunches();
    constexpr int warps = threads / 32, span = 32 * unit, inFlight = 8;
    __shared__ float partial[warps][span];
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, across = ceilDivide(columns, span);
    const int runs = min(across, static_cast<int>(gridDim.x)), down = gridDim.x / runs, first = blockIdx.x / runs;
    if (first >= down) return;
    for (int run = blockIdx.x % runs; run < across; run += runs) {
        const int column = run * span + lane * unit;
        float m[unit] = {};
        if (column < columns) {
            for (int row = first * warps + warp; row < rows; row += inFlight * down * warps) {
                Packed<type, unit> p[inFlight];
#pragma unroll
                for (int i = 0; i < inFlight; ++i)
                    if (row + i * down * warps < rows) p[i] = loadPacked<type, unit, true>(x, (row + i * down * warps) * rowStride + column);
#pragma unroll
                for (int i = 0; i < inFlight; ++i) {
                    if (row + i * down * warps >= rows) continue;
                    float v[unit];
                    unpackTo<type, unit>(v, p[i]);
#pragma unroll
                    for (int j = 0; j < unit; ++j) m[j] = fmaxf(m[j], fabsf(v[j]));
                }
            }
        }
#pragma unroll
        for (int j = 0; j < unit; ++j) partial[warp][lane * unit + j] = m[j];
        __syncthreads();
        for (int i = threadIdx.x; i < span; i += threads) {
            float largest = 0.0f;
#pragma unroll
            for (int w = 0; w < warps; ++w) largest = fmaxf(largest, partial[w][i]);
            if (run * span + i < columns) atomicMax(maxima + run * span + i, asBits(largest));
        }
        __syncthreads();
    }
}
#else
extern "C" __global__ void __launch_bounds__(256) apus_absolute_maximum(const void* x, u32* maxima, int rows, int columns, i64 rowStride) {
    chainLaunches();
    const Walk walk = Walk::make(columns, group);
    float largest = 0.0f;
    for (u32 at = walk.column; at < walk.perRow; at += walk.columnStep) {
        const i64 column = static_cast<i64>(at) * group;
        float m[group] = {};
        for (int row = walk.row; row < rows; row += atOnce * walk.rowStep) {
            Group g[atOnce];
#pragma unroll
            for (int i = 0; i < atOnce; ++i)
                if (row + i * walk.rowStep < rows) g[i].load(x, (row + i * walk.rowStep) * rowStride + column);
#pragma unroll
            for (int i = 0; i < atOnce; ++i) {
                if (row + i * walk.rowStep >= rows) continue;
                float v[group];
                g[i].values(v);
#pragma unroll
                for (int j = 0; j < group; ++j) m[j] = fmaxf(m[j], fabsf(v[j]));
            }
        }
#pragma unroll
        for (int j = 0; j < group; ++j) largest = fmaxf(largest, m[j]);
    }
    largest = blockMax(largest);
    if (threadIdx.x == 0) atomicMax(maxima, asBits(largest));
}
#endif

extern "C" __global__ void __launch_bounds__(256)
apus_quantize(const void* x, u8* codes, const float* maxima, float* scales, u32* overflows, int rows, int columns, i64 rowStride,
              i64 codeStride) {
    chainLaunches();
    const Walk walk = Walk::make(columns, group);
    const auto factor = [&](int index) {
        if (QUANTIZE_GIVEN == 2) return 1.0f;
        return QUANTIZE_GIVEN ? scales[index] : inverseOf(maxima[index]);
    };
    for (u32 at = walk.column; at < walk.perRow; at += walk.columnStep) {
        const i64 column = static_cast<i64>(at) * group;
        float f[QUANTIZE_AXIS == 2 ? group : 1];
        if (QUANTIZE_AXIS == 0) {
            f[0] = factor(0);
            if (!QUANTIZE_GIVEN && at == 0 && walk.row == 0) scales[0] = scaleOf(maxima[0]);
        }
        if constexpr (QUANTIZE_AXIS == 2) {
#pragma unroll
            for (int j = 0; j < group; ++j) {
                f[j] = factor(column + j);
                if (!QUANTIZE_GIVEN && walk.row == 0) scales[column + j] = scaleOf(maxima[column + j]);
            }
        }
        for (int row = walk.row; row < rows; row += atOnce * walk.rowStep) {
            Group g[atOnce];
#pragma unroll
            for (int i = 0; i < atOnce; ++i)
                if (row + i * walk.rowStep < rows) g[i].load(x, (row + i * walk.rowStep) * rowStride + column);
#pragma unroll
            for (int i = 0; i < atOnce; ++i) {
                const int own = row + i * walk.rowStep;
                if (own >= rows) continue;
                if (QUANTIZE_AXIS == 1) {
                    f[0] = factor(own);
                    if (!QUANTIZE_GIVEN && column == 0) scales[own] = scaleOf(maxima[own]);
                }
                float v[group];
                g[i].values(v);
#pragma unroll
                for (int j = 0; j < group; ++j) {
                    const float by = f[QUANTIZE_AXIS == 2 ? j : 0];
                    if (QUANTIZE_GIVEN == 1) v[j] = __fdiv_rn(v[j], by);
                    if (QUANTIZE_GIVEN == 0) v[j] *= by;
                }
                if (QUANTIZE_GIVEN && overflows) {
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
                storeCodes(codes, own * codeStride + column, v);
            }
        }
    }
}

extern "C" __global__ void __launch_bounds__(256) apus_dequantize(const u8* codes, const float* scales, void* x, int rows, int columns,
                                                                  i64 codeStride, i64 rowStride) {
    chainLaunches();
    const Walk walk = Walk::make(columns, unit);
    for (u32 at = walk.column; at < walk.perRow; at += walk.columnStep) {
        const i64 column = static_cast<i64>(at) * unit;
        float f[QUANTIZE_AXIS == 2 ? unit : 1];
        if (QUANTIZE_AXIS == 0) f[0] = scales[0];
        if constexpr (QUANTIZE_AXIS == 2)
#pragma unroll
            for (int j = 0; j < unit; ++j) f[j] = scales[column + j];
        for (int row = walk.row; row < rows; row += atOnce * walk.rowStep) {
            u32 raw[atOnce][unit >= 4 ? unit / 4 : 1];
#pragma unroll
            for (int i = 0; i < atOnce; ++i) {
                const u8* from = codes + (row + i * walk.rowStep) * codeStride + column;
                if (row + i * walk.rowStep >= rows) continue;
                if constexpr (unit == 1) {
                    raw[i][0] = *from;
                } else if constexpr (unit == 4) {
                    raw[i][0] = *reinterpret_cast<const u32*>(from);
                } else {
                    const Vec2 two = *reinterpret_cast<const Vec2*>(from);
                    raw[i][0] = two.x;
                    raw[i][1] = two.y;
                }
            }
#pragma unroll
            for (int i = 0; i < atOnce; ++i) {
                const int own = row + i * walk.rowStep;
                if (own >= rows) continue;
                if (QUANTIZE_AXIS == 1) f[0] = scales[own];
                float v[unit];
                if constexpr (unit == 1) {
                    v[0] = decodePair<format>(raw[i][0]).x * f[0];
                } else {
#pragma unroll
                    for (int j = 0; j < unit / 2; ++j) {
                        const Float2 pair = decodePair<format>((raw[i][j / 2] >> (16 * (j % 2))) & 0xffff);
                        v[2 * j] = pair.x * f[QUANTIZE_AXIS == 2 ? 2 * j : 0];
                        v[2 * j + 1] = pair.y * f[QUANTIZE_AXIS == 2 ? 2 * j + 1 : 0];
                    }
                }
                storePacked<type, unit>(x, own * rowStride + column, packFloats<type, unit>(v));
            }
        }
    }
}
