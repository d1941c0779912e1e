// Vectors of several positions as B operands, and products and publishing for all of them.
#pragma once
#include "Decode/SpeculationState.cuh"

namespace apus {

template <int n> APUS_DEVICE void putPairAt(u8* vector, int p, int k, float x, float y) {
    putPair(vector + p * 64 + k / 16 * (64 * (n - 1)), k, x, y);
}
template <int n> APUS_DEVICE void putOneAt(u8* vector, int p, int k, float x) { putOne(vector + p * 64 + k / 16 * (64 * (n - 1)), k, x); }
template <int n> APUS_DEVICE void putHeadAt(u8* vector, int p, int k, float x) {
    putHead(vector + p * 128 + k % (headBlocks * 16) / 16 * (128 * (n - 1)), k, x);
}

// multiply() of Products.cuh for n positions, to partial(position).
template <class P, int n, int limit, class Meanwhile>
APUS_DEVICE void multiplyAll(const Preloaded<P, limit>& early, Weights& weights, Shared& shared, Wide& wide, const u8* vector, int layer,
                             Meanwhile meanwhile) {
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    Vec2 b[P::columnBlocks];
    const u32 from = opaque(sharedAddress(vector) + (warp * P::columnBlocks * 2 * n + lane / 4 % (2 * n)) * 32 + lane % 4 * 8);
#pragma unroll
    for (int k = 0; k < P::columnBlocks; ++k) b[k] = loadShared8(from + k * (64 * n));
    // Lane l % 4 holds the sums of position l % 4.
    float* out = wide.partial(lane % 4 % n) + lane / 4 * partialStride + warp;
    const auto put = [&](int rowGroup, const float (&d)[4], const float (&e)[4]) {
        if (lane % 4 < n) {
            out[rowGroup * (16 * partialStride)] = (d[0] + e[0]) + (d[1] + e[1]) * restUnit;
            out[(rowGroup * 16 + 8) * partialStride] = (d[2] + e[2]) + (d[3] + e[3]) * restUnit;
        }
    };
    if constexpr (Preloaded<P, limit>::chunks == P::chunks) {
        constexpr int chains = P::rowGroups <= 2 ? 4 : 2;
        float d[P::rowGroups][chains][4] = {};
#pragma unroll
        for (int k = 0; k < P::columnBlocks; ++k)
#pragma unroll
            for (int r = 0; r < P::rowGroups; ++r) {
                const int f = r * P::columnBlocks + k;
                multiplyAdd(d[r][k % chains], early.fragments[f / chunkFragments][f % chunkFragments], b[k]);
            }
        meanwhile();
#pragma unroll
        for (int r = 0; r < P::rowGroups; ++r) {
            if constexpr (chains == 4) {
#pragma unroll
                for (int i = 0; i < 4; ++i) d[r][0][i] += d[r][2][i], d[r][1][i] += d[r][3][i];
            }
            put(r, d[r][0], d[r][1]);
        }
    } else {
        float d[2][4] = {};
#pragma unroll
        for (int c = 0; c < P::chunks; ++c) {
            Vec4 fresh[chunkFragments];
            if (c >= Preloaded<P, limit>::chunks) weights.take(fresh, shared, layer);
#pragma unroll
            for (int j = 0; j < chunkFragments; ++j) {
                const int f = c * chunkFragments + j, k = f % P::columnBlocks;
                if (f >= P::fragments) continue;
                multiplyAdd(d[k % 2], c < Preloaded<P, limit>::chunks ? early.fragments[c][j] : fresh[j], b[k]);
                if (k == P::columnBlocks - 1) {
                    put(f / P::columnBlocks, d[0], d[1]);
#pragma unroll
                    for (int i = 0; i < 4; ++i) d[0][i] = d[1][i] = 0.0f;
                }
            }
        }
        meanwhile();
    }
}

APUS_DEVICE float rowSumAt(Wide& wide, int p, int row) {
    const Float4 *from = reinterpret_cast<const Float4*>(wide.partial(p) + row * partialStride), a = from[0], b = from[1];
    return ((a.x + a.y) + (a.z + a.w)) + ((b.x + b.y) + (b.z + b.w));
}
APUS_DEVICE float normScaleAt(const Wide& wide, int p) {
    const Float4 *from = reinterpret_cast<const Float4*>(wide.squares[p]), a = from[0], b = from[1];
    return rsqrtFast((((a.x + a.y) + (a.z + a.w)) + ((b.x + b.y) + (b.z + b.w))) * (1.0f / hidden) + DECODE_EPSILON);
}

// publish() of Products.cuh for n positions, whose packets lie `stride` packets apart; value(position, row) makes a row's value.
template <class Packet, int n, int units, int count, int stride, bool isHinted, class Value>
APUS_DEVICE void publishAll(u8* to, const Turns& turns, u32* counter, Value value) {
    constexpr int perUnit = ceilDivide(count, Packet::values), perPosition = units * perUnit, packets = n * perPosition, all = n * units;
    constexpr bool isWhole = 32 % count == 0;
    constexpr int unitsPerWarp = 32 / (isWhole ? count : 32) < all ? 32 / (isWhole ? count : 32) : all;
    constexpr int perWarp = isWhole ? unitsPerWarp * perUnit : 32 / Packet::values;
    const u32 lane = opaque(threadIdx.x % 32);
    const int live = turns.live > 1 ? packets : perPosition;
    for (int first = threadIdx.x / 32 * perWarp; first < live; first += warps * perWarp) {
        float gathered[Packet::values];
        if constexpr (isWhole) {
            const u32 row = first / perUnit * count + lane, within = lane % perUnit * Packet::values;
            const bool isRow = lane < unitsPerWarp * count && row < all * count;
            const float v = isRow ? value(row / (units * count), row % (units * count)) : 0.0f;
#pragma unroll
            for (int j = 0; j < Packet::values; ++j) {
                gathered[j] = __shfl_sync(0xffffffffu, v, (lane / perUnit * count + within + j) % 32);
                if (count % Packet::values != 0 && within + j >= count) gathered[j] = 0.0f;
            }
        } else {
            const u32 packet = first + lane / Packet::values, row = packet % perUnit * Packet::values + lane % Packet::values;
            const u32 unit = packet / perUnit;
            const bool isRow = lane < perWarp * Packet::values && packet < packets && row < count;
            const float v = isRow ? value(unit / units, unit % units * count + row) : 0.0f;
#pragma unroll
            for (int j = 0; j < Packet::values; ++j) gathered[j] = __shfl_sync(0xffffffffu, v, (lane * Packet::values + j) % 32);
        }
        const u32 packet = first + lane, p = packet / perPosition;
        if (lane < perWarp && packet < live)
            storePacket(to + (p * stride + packet % perPosition) * 16, Packet::pack(gathered, turns.tag(static_cast<int>(p))));
    }
    if constexpr (!isHinted) return;
    constexpr int writers = ceilDivide(packets, perWarp) < warps ? ceilDivide(packets, perWarp) : warps;
    if constexpr (writers == 1) __syncwarp();
    else if (threadIdx.x < writers * 32) namedSync(2, writers * 32);
    if (threadIdx.x == 0) counterAdd(counter, 1);
}

}  // namespace apus
