// A step in small kernels: attention, and the output product of what it gives.
#pragma once
#include "Benchmark/GraphStepVector.cuh"

namespace apus {

// A warp's 16 positions: lane 16 h + q has elements 8 q to 8 q + 7 of positions 2 i + h.
struct CacheTile {
    Vec4 keys[8], values[8];

    __device__ __forceinline__ void load(const u16* k, const u16* v, int first, int end) {
        const int lane = threadIdx.x % 32;
#pragma unroll
        for (int i = 0; i < 8; ++i) {
            const int row = first + 2 * i + lane / 16;
            const i64 at = static_cast<i64>(row) * (groups * headSize) + lane % 16 * 8;
            keys[i] = values[i] = {};
            if (row < end) keys[i] = loadFresh16(k + at), values[i] = loadFresh16(v + at);
        }
    }
};
APUS_DEVICE void unpack8(float (&out)[8], const Vec4& v) {
    const u32 words[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        const Float2 pair = unpackBF16(words[i]);
        out[2 * i] = pair.x, out[2 * i + 1] = pair.y;
    }
}

// Before the wait: what norm and rotation of the token's q and k take, to shared memory.
APUS_DEVICE void prepareHeads(Shared& shared, const Arguments& a, const float* const* norms, int position) {
    const int t = threadIdx.x;
    static_assert(consumers == 2 * headSize, "a weight a thread");
    shared.headNorm[t / headSize][t % headSize] = norms[2 + t / headSize][t % headSize];
    if (t < headSize / 2) sineCosine(static_cast<float>(position) * a.inverseFrequencies[t], shared.rope[t].y, shared.rope[t].x);
    syncAll();
}
// Reads the token's q, k, v of the group, norms and rotates them; one block of a group keeps k and v. A barrier has to follow.
APUS_DEVICE void receiveHeads(Shared& shared, const Arguments& a, u16* keys, u16* values, int position, bool keeps) {
    const int vector = threadIdx.x / 32, lane = threadIdx.x % 32, group = blockIdx.x / members;
    if (vector >= tokenVectors) return;
    const Float4 v = loadFresh(a.scratch + headsAt + (group * tokenVectors + vector) * headSize + lane * 4);
    float x[4] = {v.x, v.y, v.z, v.w};
    const bool isKey = vector == headsPerGroup;
    if (vector <= headsPerGroup) {
        const float squares = groupSum(x[0] * x[0] + x[1] * x[1] + x[2] * x[2] + x[3] * x[3]);
        const float scale = rsqrtFast(squares * (1.0f / headSize) + DECODE_EPSILON);
#pragma unroll
        for (int j = 0; j < 4; ++j) {
            x[j] *= scale * shared.headNorm[isKey][lane * 4 + j];
            const float other = __shfl_xor_sync(0xffffffffu, x[j], 16);
            const Float2 turn = shared.rope[(lane * 4 + j) % (headSize / 2)];
            x[j] = x[j] * turn.x + (lane < 16 ? -other : other) * turn.y;
        }
    }
    if (vector < headsPerGroup) {
        constexpr float unit = DECODE_SCALE * log2E;
        *reinterpret_cast<Float4*>(shared.queries[vector] + lane * 4) = {x[0] * unit, x[1] * unit, x[2] * unit, x[3] * unit};
        return;
    }
    const Vec2 bits = {packBF16(x[0], x[1]), packBF16(x[2], x[3])};
    *reinterpret_cast<Vec2*>((isKey ? shared.key : shared.value) + lane * 4) = bits;
    if (keeps) *reinterpret_cast<Vec2*>((isKey ? keys : values) + static_cast<i64>(position) * (groups * headSize) + lane * 4) = bits;
}

// The warp's positions of all that lie in [from, to), `tile` the first 16 of them, the token's own at `position`; parts to shared memory.
template <bool isLong>
APUS_DEVICE void attend(Shared& shared, CacheTile& tile, const u16* keys, const u16* values, int from, int to, int position) {
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, end = to < position ? to : position;
    float q[headsPerGroup][8], out[headsPerGroup][8], most[headsPerGroup], sum[headsPerGroup];
#pragma unroll
    for (int h = 0; h < headsPerGroup; ++h) {
        most[h] = -1e30f, sum[h] = 0.0f;
        const Float4 *at = reinterpret_cast<const Float4*>(shared.queries[h] + lane % 16 * 8), x = at[0], y = at[1];
        q[h][0] = x.x, q[h][1] = x.y, q[h][2] = x.z, q[h][3] = x.w, q[h][4] = y.x, q[h][5] = y.y, q[h][6] = y.z, q[h][7] = y.w;
#pragma unroll
        for (int j = 0; j < 8; ++j) out[h][j] = 0.0f;
    }
    const auto step = [&](int first) {
        float scores[headsPerGroup][8];
#pragma unroll
        for (int i = 0; i < 8; ++i) {
            if (first + 2 * i + lane / 16 == position) {
                tile.keys[i] = *reinterpret_cast<const Vec4*>(shared.key + lane % 16 * 8);
                tile.values[i] = *reinterpret_cast<const Vec4*>(shared.value + lane % 16 * 8);
            }
            float k[8];
            unpack8(k, tile.keys[i]);
#pragma unroll
            for (int h = 0; h < headsPerGroup; ++h) {
                scores[h][i] = 0.0f;
#pragma unroll
                for (int j = 0; j < 8; ++j) scores[h][i] += q[h][j] * k[j];
            }
        }
        // Eight sums over 16 lanes: lane 16 h + q ends with that of i = q / 2.
        const bool isSeen = first + lane / 2 % 8 * 2 + lane / 16 < to;
        float p[headsPerGroup];
#pragma unroll
        for (int h = 0; h < headsPerGroup; ++h) {
#pragma unroll
            for (int width = 4; width >= 1; width /= 2)
#pragma unroll
                for (int j = 0; j < width; ++j) {
                    const bool upper = lane & (2 * width);
                    const float keep = upper ? scores[h][j + width] : scores[h][j], give = upper ? scores[h][j] : scores[h][j + width];
                    scores[h][j] = keep + __shfl_xor_sync(0xffffffffu, give, 2 * width);
                }
            float score = scores[h][0] + __shfl_xor_sync(0xffffffffu, scores[h][0], 1);
            if (!isSeen) score = -1e30f;
            float largest = isLong ? fmaxf(score, most[h]) : score;
#pragma unroll
            for (int offset = 2; offset < 32; offset *= 2) largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, offset));
            p[h] = isSeen ? exp2Fast(score - largest) : 0.0f;
            if constexpr (isLong) {
                const float fade = exp2Fast(most[h] - largest);
                sum[h] = sum[h] * fade + p[h];
#pragma unroll
                for (int j = 0; j < 8; ++j) out[h][j] *= fade;
            } else {
                sum[h] = p[h];
            }
            most[h] = largest;
        }
#pragma unroll
        for (int i = 0; i < 8; ++i) {
            float v[8];
            unpack8(v, tile.values[i]);
#pragma unroll
            for (int h = 0; h < headsPerGroup; ++h) {
                const float weight = __shfl_sync(0xffffffffu, p[h], (lane & 16) | i * 2);
#pragma unroll
                for (int j = 0; j < 8; ++j) out[h][j] += weight * v[j];
            }
        }
    };
    int first = from + warp * 16;
    if constexpr (isLong) {
        for (; first < to; first += passRows) {
            if (first != from + warp * 16) tile.load(keys, values, first, end);
            step(first);
        }
    } else {
        step(first);
    }
#pragma unroll
    for (int h = 0; h < headsPerGroup; ++h) {
#pragma unroll
        for (int offset = 2; offset < 32; offset *= 2) sum[h] += __shfl_xor_sync(0xffffffffu, sum[h], offset);
#pragma unroll
        for (int j = 0; j < 8; ++j) out[h][j] += __shfl_xor_sync(0xffffffffu, out[h][j], 16);
        float* to = shared.parts[warp] + h * headSize + lane % 16 * 8;
        if (lane < 16) {
            *reinterpret_cast<Float4*>(to) = {out[h][0], out[h][1], out[h][2], out[h][3]};
            *reinterpret_cast<Float4*>(to + 4) = {out[h][4], out[h][5], out[h][6], out[h][7]};
        }
        if (lane == 0) shared.most[h][warp] = most[h], shared.sums[h][warp] = sum[h];
    }
}
// Element `e` of the group's heads over the warps' parts, normed, and the logarithm of the sum.
APUS_DEVICE float merged(const Shared& shared, int e, float& logSum) {
    const int h = e / headSize;
    float largest = -1e30f, sum = 0.0f, out = 0.0f;
#pragma unroll
    for (int w = 0; w < warps; ++w) largest = fmaxf(largest, shared.most[h][w]);
#pragma unroll
    for (int w = 0; w < warps; ++w) {
        const float factor = exp2Fast(shared.most[h][w] - largest);
        sum += factor * shared.sums[h][w];
        out += factor * shared.parts[w][e];
    }
    logSum = sum > 0.0f ? largest + log2Fast(sum) : -1e30f;
    return sum > 0.0f ? out / sum : 0.0f;
}

// Positions of a part of a long attention.
struct Span {
    int each, splits;
    __device__ __forceinline__ explicit Span(int count) {
        each = count > attendUnit * attendSplits ? ceilDivide(count, attendSplits) : attendUnit;
        splits = ceilDivide(count, each);
    }
};

APUS_DEVICE const u8* layerShare(const Arguments& a, int layer, int chunk) {
    return a.layers + ((static_cast<i64>(layer) * blocks + blockIdx.x) * layerChunks + chunk) * chunkBytes;
}
APUS_DEVICE Shared& sharedBehind(u8* memory, int bytes) { return *reinterpret_cast<Shared*>(memory + bytes); }

// The output product of what lies in the vector, a group's partial sums.
template <class AnyShare> APUS_DEVICE void outputRows(Shared& shared, const u8* staged, const AnyShare& share, const Arguments& a) {
    share.multiply(shared, staged);
    syncAll();
    constexpr int rows = outputUnits * unitRows;
    const int group = blockIdx.x / members, member = blockIdx.x % members;
    for (int i = threadIdx.x; i < rows; i += consumers)
        if (member * rows + i < hidden) a.scratch[attendedAtF + group * hidden + member * rows + i] = rowSum(shared, i);
}

}  // namespace apus
