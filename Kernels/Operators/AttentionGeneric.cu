// O = softmax(scale * Q K^T + mask) V, forward, any GPU from sm_80 on: mma.sync, cp.async, ldmatrix.
//
// Formula, masks, layouts, head packing, Work entries and starts as in AttentionHopper.cu, with 64 rows a tile: entries cover
// 64 / GROUP tokens. Strides of K and V tokens are arguments; heads of Q, K and V lie D elements apart.
//
// Mapping. A block of 4 warps, 16 rows each. Q stays in shared memory; one K and one V block of ATTENTION_KEYS keys are in
// flight: the next K is fetched behind O += P V, the next V behind S = Q K^T. Rows are 128-byte swizzled in pieces of 64 columns.
//
// Launch. Entry apus_attention_generic; block 128; grid = blocks that `starts` was dealt for (any number); dynamic shared memory
// (64 + 2 * ATTENTION_KEYS) * D * 2 bytes (96 KiB at D 256 and 64 keys), opt-in above 48 KB. Rows 16-byte aligned.

#include "apus_constants.h"
#include "Common/Math.cuh"
#include "Common/WarpMMA.cuh"

#ifndef ATTENTION_HEAD
#define ATTENTION_HEAD 128
#endif
#ifndef ATTENTION_GROUP
#define ATTENTION_GROUP 1
#endif
#ifndef ATTENTION_KEYS
#define ATTENTION_KEYS 64
#endif
#ifndef ATTENTION_TYPE  // 0 bf16, 1 f16
#define ATTENTION_TYPE 0
#endif

namespace apus {

constexpr DType type = static_cast<DType>(ATTENTION_TYPE);
constexpr int head = ATTENTION_HEAD, group = ATTENTION_GROUP, keys = ATTENTION_KEYS, rows = 64, tokensPerTile = rows / group;
constexpr int pieces = head / 64;
static_assert(keys % 16 == 0 && head % 64 == 0 && group <= rows, "whole products");

struct Work {  // six 32-bit integers, see AttentionHopper.cu
    int query, queryEnd, key, keyCount, position, kvHead;
};

APUS_DEVICE u32 swizzledUnit(u32 row, u32 unit) { return row * 128 + ((unit ^ (row & 7)) << 4); }

}  // namespace apus

using namespace apus;

extern "C" __global__ void __launch_bounds__(128, 1)
apus_attention_generic(const void* q, const void* k, const void* v, void* out, float* logSumExp, const Work* work, const int* starts,
                       int tokens, int left, int right, float scale, i64 strideQ, i64 strideK, i64 strideV, i64 outStride) {
    extern __shared__ __align__(128) u8 dynamicShared[];
    const u32 qTile = sharedAddressOf(dynamicShared), kTile = qTile + rows * head * 2, vTile = kTile + keys * head * 2;
    const int thread = threadIdx.x, warp = thread / 32, lane = thread % 32;
    const float scaleLog2 = scale * log2E;
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;\n griddepcontrol.wait;" ::: "memory");
#endif

    for (int index = starts[blockIdx.x]; index < starts[blockIdx.x + 1]; ++index) {
        const Work w = work[index];
        const int lastPosition = w.position + min(tokensPerTile, w.queryEnd - w.query) - 1;
        const i64 end = min(static_cast<i64>(w.keyCount), static_cast<i64>(lastPosition) + right + 1);
        const i64 begin = max(static_cast<i64>(0), static_cast<i64>(w.position) - left);
        const int firstBlock = static_cast<int>(begin) / keys, lastBlock = end <= begin ? firstBlock - 1 : (static_cast<int>(end) - 1) / keys;

        const auto copyKeys = [&](u32 tile, const void* base, i64 stride, int block) {
            for (int unit = thread; unit < keys * pieces * 8; unit += 128) {
                const int row = unit / (pieces * 8), column = unit % (pieces * 8), key = block * keys + row;
                const bool inside = key < w.keyCount;  // behind the end: zeros, so that a neighbour's NaN stays its own
                const u16* source = static_cast<const u16*>(base) + (inside ? (w.key + key) * stride + w.kvHead * head + column * 8 : 0);
                copyAsync16(tile + column / 8 * (keys * 128) + swizzledUnit(row, column % 8), source, inside ? 16 : 0);
            }
            copyAsyncCommit();
        };
        for (int unit = thread; unit < rows * pieces * 8; unit += 128) {
            const int row = unit / (pieces * 8), column = unit % (pieces * 8), token = w.query + row / group;
            const bool inside = row < tokensPerTile * group && token < w.queryEnd;
            const u16* source = static_cast<const u16*>(q) +
                                (inside ? token * strideQ + static_cast<i64>(w.kvHead * group + row % group) * head + column * 8 : 0);
            copyAsync16(qTile + column / 8 * (rows * 128) + swizzledUnit(row, column % 8), source, inside ? 16 : 0);
        }
        copyAsyncCommit();

        float o[head / 8][4] = {};
        float largest[2] = {-INFINITY_F, -INFINITY_F}, sum[2] = {0.0f, 0.0f};
        if (lastBlock >= firstBlock) {
            copyKeys(kTile, k, strideK, lastBlock);
            copyKeys(vTile, v, strideV, lastBlock);
        }
        for (int block = lastBlock; block >= firstBlock; --block) {
            copyAsyncWait<1>();  // Q and K are here
            __syncthreads();
            float s[keys / 8][4] = {};
#pragma unroll
            for (int kk = 0; kk < head / 16; ++kk) {
                u32 fq[4];
                loadMatrix4(fq, qTile + kk / 4 * (rows * 128) +
                                    swizzledUnit(warp * 16 + (lane & 7) + ((lane >> 3) & 1) * 8, 2 * (kk % 4) + (lane >> 4)));
#pragma unroll
                for (int j = 0; j < keys / 16; ++j) {
                    u32 fk[4];
                    loadMatrix4(fk, kTile + kk / 4 * (keys * 128) +
                                        swizzledUnit(16 * j + (lane & 7) + (lane >> 4) * 8, 2 * (kk % 4) + ((lane >> 3) & 1)));
                    mmaWarp<type>(s[2 * j], fq, fk[0], fk[1]);
                    mmaWarp<type>(s[2 * j + 1], fq, fk[2], fk[3]);
                }
            }
            __syncthreads();
            if (block > firstBlock) copyKeys(kTile, k, strideK, block - 1);

            float factor[2];
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                const int position = w.position + (warp * 16 + lane / 4 + 8 * half) / group;
                const i64 limit = min(static_cast<i64>(w.keyCount), static_cast<i64>(position) + right + 1);
                const i64 lowest = static_cast<i64>(position) - left;
                float m = largest[half];
#pragma unroll
                for (int j = 0; j < keys / 8; ++j)
#pragma unroll
                    for (int i = 0; i < 2; ++i) {
                        const int column = block * keys + 8 * j + 2 * (lane % 4) + i;
                        float& x = s[j][2 * half + i];
                        if (column < lowest || column >= limit) x = -INFINITY_F;
                        m = fmaxf(m, x);
                    }
                m = groupMax<4>(m);
                const float shift = m == -INFINITY_F ? 0.0f : m * scaleLog2;
                factor[half] = exp2Fast(largest[half] * scaleLog2 - shift);
                largest[half] = m;
                float add = 0.0f;
#pragma unroll
                for (int j = 0; j < keys / 8; ++j)
#pragma unroll
                    for (int i = 0; i < 2; ++i) {
                        float& x = s[j][2 * half + i];
                        x = exp2Fast(x * scaleLog2 - shift);
                        add += x;
                    }
                sum[half] = sum[half] * factor[half] + add;
            }
#pragma unroll
            for (int j = 0; j < head / 8; ++j)
#pragma unroll
                for (int i = 0; i < 4; ++i) o[j][i] *= factor[i / 2];

            if (block > firstBlock) copyAsyncWait<1>();
            else copyAsyncWait<0>();
            __syncthreads();
#pragma unroll
            for (int kk = 0; kk < keys / 16; ++kk) {
                const u32 p[4] = {pack2<type>(s[2 * kk][0], s[2 * kk][1]), pack2<type>(s[2 * kk][2], s[2 * kk][3]),
                                  pack2<type>(s[2 * kk + 1][0], s[2 * kk + 1][1]), pack2<type>(s[2 * kk + 1][2], s[2 * kk + 1][3])};
#pragma unroll
                for (int j = 0; j < head / 16; ++j) {
                    u32 fv[4];
                    loadMatrix4Transposed(fv, vTile + j / 4 * (keys * 128) +
                                                  swizzledUnit(16 * kk + (lane & 7) + ((lane >> 3) & 1) * 8, 2 * (j % 4) + (lane >> 4)));
                    mmaWarp<type>(o[2 * j], p, fv[0], fv[1]);
                    mmaWarp<type>(o[2 * j + 1], p, fv[2], fv[3]);
                }
            }
            __syncthreads();
            if (block > firstBlock) copyKeys(vTile, v, strideV, block - 1);
        }
        copyAsyncWait<0>();
        __syncthreads();

#pragma unroll
        for (int half = 0; half < 2; ++half) {
            const float total = groupSum<4>(sum[half]), inverse = total == 0.0f ? 0.0f : 1.0f / total;
            const int row = warp * 16 + lane / 4 + 8 * half, token = w.query + row / group, queryHead = w.kvHead * group + row % group;
            if (row >= tokensPerTile * group || token >= w.queryEnd) continue;
            if (logSumExp && lane % 4 == 0)
                logSumExp[static_cast<i64>(queryHead) * tokens + token] = largest[half] * scale + log2Fast(total) * 0.6931471805599453f;
#pragma unroll
            for (int j = 0; j < head / 8; ++j)
                *reinterpret_cast<u32*>(static_cast<u16*>(out) + token * outStride + static_cast<i64>(queryHead) * head + 8 * j + 2 * (lane % 4)) =
                    pack2<type>(o[j][2 * half] * inverse, o[j][2 * half + 1] * inverse);
        }
    }
}
