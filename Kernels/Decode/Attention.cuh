// Attention of one token over one key-value head, by one block or split over the members of its group.
//
// The raw q, k, v rows come from the group's members. Every block norms and rotates them itself; member 0 appends k and v to the
// cache. Few cached positions: every member attends to all of them, and no exchange is needed. Many: the first `splits` members
// take a run of positions each, and all members merge their parts.
#pragma once
#include "Decode/Products.cuh"

#ifndef DECODE_SPLIT  // cached positions that are worth a split
#define DECODE_SPLIT 32
#endif

namespace apus {

constexpr int tileRows = 16, blockRows = tileRows * warps;  // positions of a warp and of a block in one go
static_assert(headSize == 64 || headSize == 128 || headSize == 256, "head sizes of 64, 128 and 256");
static_assert(headsPerGroup <= 4, "the scores of a group's heads, each in two parts, fill the 8 columns of an mma");
constexpr int mergeThreads = groupHeadSize / 4, mergeParts = consumers / mergeThreads < warps ? consumers / mergeThreads : warps;
static_assert(mergeParts >= 1, "at most 1,024 query elements a group");
constexpr float nothing = -1e30f;

// Cache rows were written through other blocks: past L1.
APUS_DEVICE Vec4 loadCached16(const void* p) {
    Vec4 v;
    asm volatile("ld.global.cg.v4.u32 {%0, %1, %2, %3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(p));
    return v;
}

// The positions of a block in one layer; the token's own is the last of all.
struct Span {
    int splits, from, to;
    bool isPart;  // whether the block attends to anything

    __device__ __forceinline__ Span(const Arguments& a, int window, int position, int member) {
        const int first = window > 0 && position >= window ? position - window + 1 : 0, count = position + 1 - first;
        splits = 1, from = first, to = position + 1, isPart = true;
        if (count <= a.fullSplits || maximumSplits == 1) return;
        int parts = ceilDivide(count, DECODE_SPLIT);
        if (parts > maximumSplits) parts = maximumSplits;
        const int each = ceilDivide(count, parts);
        parts = ceilDivide(count, each);
        if (parts < 2) return;
        splits = parts;
        isPart = member < splits;
        from = first + member * each;
        to = from + each <= position ? from + each : position + 1;
    }
};

// A warp's 16 positions. Keys are A operands of the scores, positions by elements: lane 4 g + q holds rows g and g + 8, of each
// the 16-byte units q, q + 4, .. (the order of the elements is free, as long as the queries have the same). Values are A operands
// of the result, elements by positions: the lane holds rows 2 q, 2 q + 1, 2 q + 8, 2 q + 9, of each the units g, g + 8, ..
struct CacheTile {
    Vec4 keys[2][headSize / 32], values[headSize / 64][4];

    __device__ __forceinline__ void loadKeys(const u16* cache, int first, int end) {
        const int lane = threadIdx.x % 32, group = blockIdx.x / members, count = end - first - lane / 4;  // rows from the lane's first on
        const u16* from = cache + (static_cast<i64>(first + lane / 4) * groups + group) * headSize + lane % 4 * 8;
#pragma unroll
        for (int r = 0; r < 2; ++r)
#pragma unroll
            for (int i = 0; i < headSize / 32; ++i) {
                keys[r][i] = {0, 0, 0, 0};
                if (8 * r < count) keys[r][i] = loadCached16(from + 8 * r * groups * headSize + i * 32);
            }
    }
    __device__ __forceinline__ void loadValues(const u16* cache, int first, int end) {
        const int lane = threadIdx.x % 32, group = blockIdx.x / members, count = end - first - lane % 4 * 2;
        const u16* from = cache + (static_cast<i64>(first + lane % 4 * 2) * groups + group) * headSize + lane / 4 * 8;
#pragma unroll
        for (int r = 0; r < 4; ++r)
#pragma unroll
            for (int i = 0; i < headSize / 64; ++i) {
                values[i][r] = {0, 0, 0, 0};
                if (r % 2 + r / 2 * 8 < count) values[i][r] = loadCached16(from + (r % 2 + r / 2 * 8) * groups * headSize + i * 64);
            }
    }
    // The token's own key and value do not come from the cache.
    __device__ __forceinline__ void insert(const Shared& shared, int row) {
        const int lane = threadIdx.x % 32;
#pragma unroll
        for (int r = 0; r < 2; ++r)
            if (lane / 4 + 8 * r == row) {
#pragma unroll
                for (int i = 0; i < headSize / 32; ++i) keys[r][i] = *reinterpret_cast<const Vec4*>(shared.key + lane % 4 * 8 + i * 32);
            }
#pragma unroll
        for (int r = 0; r < 4; ++r)
            if (lane % 4 * 2 + r % 2 + r / 2 * 8 == row) {
#pragma unroll
                for (int i = 0; i < headSize / 64; ++i) values[i][r] = *reinterpret_cast<const Vec4*>(shared.value + lane / 4 * 8 + i * 64);
            }
    }
};

static_assert(headsPerGroup + 2 <= warps, "a warp for each of the group's vectors");
constexpr int headParts = headSize >= 128 ? headSize / 128 : 1;

// The lane's norm weights for the vector of its warp: queries, then the key.
struct HeadNorm {
    Float4 w[headParts];

    __device__ __forceinline__ void load(const float* norms) {
        const int vector = threadIdx.x / 32, lane = threadIdx.x % 32;
#pragma unroll
        for (int e = 0; e < headParts; ++e) {
            w[e] = {1.0f, 1.0f, 1.0f, 1.0f};
            if (vector <= headsPerGroup && lane * 4 < headSize)
                w[e] = loadNorms4(norms + (vector == headsPerGroup ? headSize : 0) + e * 128 + lane * 4);
        }
    }
};

// Reads q, k, v of this token, norms and rotates them, and leaves them in shared memory.
APUS_DEVICE void receiveHeads(Shared& shared, const u8* exchange, u32 turn, int layer,
                              const HeadNorm& norm, u16* keys, u16* values, int position, int rope) {
    const int vector = threadIdx.x / 32, lane = threadIdx.x % 32, group = blockIdx.x / members, member = blockIdx.x % members;
    constexpr int each = headParts, half = headSize / 2;
    const bool active = lane * 4 < headSize;
    if (vector < headsPerGroup + 2) {
        const bool isKey = vector == headsPerGroup, isValue = vector == headsPerGroup + 1;
        float v[each][4] = {};
        Float2 turnBy[4];
#pragma unroll
        for (int j = 0; j < 4; ++j) turnBy[j] = shared.rope[rope][(lane * 4 + j) % half];
        const u8* at = exchange + (inputAt + (group * (headsPerGroup + 2) + vector) * (headSize / 4) + lane) * 16;
        Vec4 packets[each];
        if (active) {
            receive<Packet4>(packets, at, 512, packetTag(turn), shared, Wait::input, layer);
#pragma unroll
            for (int e = 0; e < each; ++e) Packet4::unpack(v[e], packets[e]);
        }
        __syncwarp();
        if (!isValue) {
#ifndef DECODE_NO_HEAD_NORM
            float squares = 0.0f;
#pragma unroll
            for (int e = 0; e < each; ++e)
#pragma unroll
                for (int j = 0; j < 4; ++j) squares += v[e][j] * v[e][j];
            const float scale = rsqrtf(groupSum(squares) * (1.0f / headSize) + DECODE_EPSILON);
#pragma unroll
            for (int e = 0; e < each; ++e)
#pragma unroll
                for (int j = 0; j < 4; ++j) v[e][j] *= scale * (&norm.w[e].x)[j];
#endif
#pragma unroll
            for (int j = 0; j < 4; ++j) {
                if constexpr (each == 2) {
                    const float x = v[0][j], y = v[1][j];
                    v[0][j] = x * turnBy[j].x - y * turnBy[j].y;
                    v[1][j] = y * turnBy[j].x + x * turnBy[j].y;
                } else {
                    const float other = __shfl_xor_sync(0xffffffffu, v[0][j], headSize / 8);
                    v[0][j] = v[0][j] * turnBy[j].x + (lane * 4 < half ? -other : other) * turnBy[j].y;
                }
            }
        }
        if (!active) return;
#pragma unroll
        for (int e = 0; e < each; ++e) {
            const int element = e * 128 + lane * 4;
            if (!isKey && !isValue) {
                constexpr float unit = DECODE_SCALE * log2E;
                const u32 low = packBF16(v[e][0] * unit, v[e][1] * unit), high = packBF16(v[e][2] * unit, v[e][3] * unit);
                const Float2 first = unpackBF16(low), second = unpackBF16(high);
                *reinterpret_cast<Vec2*>(shared.queries[vector][0] + element) = {low, high};
                *reinterpret_cast<Vec2*>(shared.queries[vector][1] + element) = {packBF16(v[e][0] * unit - first.x, v[e][1] * unit - first.y),
                                                                                 packBF16(v[e][2] * unit - second.x, v[e][3] * unit - second.y)};
                continue;
            }
            const Vec2 bits = {packBF16(v[e][0], v[e][1]), packBF16(v[e][2], v[e][3])};
            *reinterpret_cast<Vec2*>((isKey ? shared.key : shared.value) + element) = bits;
            if (member == 0)
                *reinterpret_cast<Vec2*>((isKey ? keys : values) + (static_cast<i64>(position) * groups + group) * headSize + element) = bits;
        }
    }
}

// The block's positions, 16 a warp at a time; the warps' parts go to shared memory. Scores and results have two columns a query
// head: lane 4 g + q gets head q's, the rounded vector's and the rest's.
APUS_DEVICE void attend(Shared& shared, const Span& span, CacheTile& tile, const u16* keys, const u16* values, int position) {
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, head = lane % 4, row = lane / 4;
    int first = span.from + warp * tileRows;
    if (first >= span.to) return;
    Vec4 q[headSize / 32];
#pragma unroll
    for (int i = 0; i < headSize / 32; ++i) {
        q[i] = {0, 0, 0, 0};
        if (row < 2 * headsPerGroup) q[i] = *reinterpret_cast<const Vec4*>(shared.queries[row / 2][row % 2] + lane % 4 * 8 + i * 32);
    }
    float largest = nothing, sum = 0.0f, out[ceilDivide(headSize, 128)][8][4] = {};
    for (; first < span.to; first += blockRows) {
        if (position - first < tileRows) tile.insert(shared, position - first);
        float scores[2][4] = {};
#pragma unroll
        for (int i = 0; i < headSize / 32; ++i) {
            mma(scores[0], {tile.keys[0][i].x, tile.keys[1][i].x, tile.keys[0][i].y, tile.keys[1][i].y}, {q[i].x, q[i].y});
            mma(scores[1], {tile.keys[0][i].z, tile.keys[1][i].z, tile.keys[0][i].w, tile.keys[1][i].w}, {q[i].z, q[i].w});
        }
        const int next = first + blockRows;
        if (next < span.to) tile.loadKeys(keys, next, span.to < position ? span.to : position);
        float low = (scores[0][0] + scores[1][0]) + (scores[0][1] + scores[1][1]);
        float high = (scores[0][2] + scores[1][2]) + (scores[0][3] + scores[1][3]);
        if (first + row >= span.to) low = -INFINITY_F;
        if (first + row + 8 >= span.to) high = -INFINITY_F;
        float most = fmaxf(low, high);
#pragma unroll
        for (int offset = 4; offset < 32; offset *= 2) most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, offset));
        most = fmaxf(most, largest);
        const float fade = exp2Fast(largest - most);
        largest = most;
        low = exp2Fast(low - most), high = exp2Fast(high - most);
        sum = sum * fade + (low + high);
        const int source = head * 8 + row / 2;  // lane of position 2 q, of the head that this lane's column belongs to
        const float p0 = __shfl_sync(0xffffffffu, low, source), p1 = __shfl_sync(0xffffffffu, low, source + 4);
        const float p2 = __shfl_sync(0xffffffffu, high, source), p3 = __shfl_sync(0xffffffffu, high, source + 4);
        Vec2 p = {packBF16(p0, p1), packBF16(p2, p3)};
        if (row % 2 == 1) {
            const Float2 x = unpackBF16(p.x), y = unpackBF16(p.y);
            p = {packBF16(p0 - x.x, p1 - x.y), packBF16(p2 - y.x, p3 - y.y)};
        }
#pragma unroll
        for (int i = 0; i < ceilDivide(headSize, 128); ++i)
#pragma unroll
            for (int j = 0; j < 8; ++j) {
                const auto pair = [&](int half, int r) -> u32 {
                    if (2 * i + half >= headSize / 64) return 0;
                    const Vec4 &x = tile.values[(2 * i + half) % (headSize / 64)][r], &y = tile.values[(2 * i + half) % (headSize / 64)][r + 1];
                    const u32 u = j < 2 ? x.x : j < 4 ? x.y : j < 6 ? x.z : x.w, v = j < 2 ? y.x : j < 4 ? y.y : j < 6 ? y.z : y.w;
                    return __byte_perm(u, v, j % 2 == 0 ? 0x5410 : 0x7632);
                };
#pragma unroll
                for (int k = 0; k < 4; ++k) out[i][j][k] *= fade;
                mma(out[i][j], {pair(0, 0), pair(1, 0), pair(0, 2), pair(1, 2)}, p);
            }
        if (next < span.to) tile.loadValues(values, next, span.to < position ? span.to : position);
    }
#pragma unroll
    for (int offset = 4; offset < 32; offset *= 2) sum += __shfl_xor_sync(0xffffffffu, sum, offset);
    if (head >= headsPerGroup) return;
#pragma unroll
    for (int i = 0; i < headSize / 64; ++i) {
        float* to = shared.attended[warp] + head * headSize + i * 64 + row * 8;
        float v[8];
#pragma unroll
        for (int j = 0; j < 8; ++j) v[j] = out[i / 2][j][i % 2 * 2] + out[i / 2][j][i % 2 * 2 + 1];
        *reinterpret_cast<Float4*>(to) = {v[0], v[1], v[2], v[3]};
        *reinterpret_cast<Float4*>(to + 4) = {v[4], v[5], v[6], v[7]};
    }
    if (row == 0) shared.weight[warp][head] = {largest, sum};
}

// Merges `count` of at most `parts` parts in shared memory; thread t < mergeThreads gets elements 4 t and on, normed, and the logarithm of the sum.
template <int parts> APUS_DEVICE void merge(const Shared& shared, int count, float (&out)[4], float& logSum) {
    const int element = threadIdx.x * 4, head = element / headSize;
    Float2 weight[parts];
    float largest = nothing, sum = 0.0f;
#pragma unroll
    for (int p = 0; p < parts; ++p) {
        weight[p] = p < count ? shared.weight[p][head] : Float2{nothing, 0.0f};
        largest = fmaxf(largest, weight[p].x);
    }
    out[0] = out[1] = out[2] = out[3] = 0.0f;
#pragma unroll
    for (int p = 0; p < parts; ++p) {
        if (p >= count) continue;
        const float factor = exp2Fast(weight[p].x - largest);
        const Float4 v = *reinterpret_cast<const Float4*>(shared.attended[p] + element);
        sum += factor * weight[p].y;
        out[0] += factor * v.x;
        out[1] += factor * v.y;
        out[2] += factor * v.z;
        out[3] += factor * v.w;
    }
    const float inverse = sum > 0.0f ? 1.0f / sum : 0.0f;
    out[0] *= inverse, out[1] *= inverse, out[2] *= inverse, out[3] *= inverse;
    logSum = sum > 0.0f ? largest + log2Fast(sum) : nothing;
}

// The whole of it: from the exchanged q, k, v to the B operand of the output product.
APUS_DEVICE void attention(Shared& shared, u8* exchange, u32 turn, u32& splitArrivals, int layer, const HeadNorm& norm,
                           u16* keys, u16* values, int position, const LayerInfo& info, const Span& span, CacheTile& tile) {
    const int group = blockIdx.x / members, member = blockIdx.x % members;
    u32* counters = reinterpret_cast<u32*>(exchange);
    u32* splitCounter = counters + (3 + group) * 32;
    const int element = threadIdx.x * 4;
    float out[4], logSum;
    if (span.isPart) {
        receiveHeads(shared, exchange, turn, layer, norm, keys, values, position, info.rope);
        syncConsumers();
        attend(shared, span, tile, keys, values, position);
        syncConsumers();
        if (threadIdx.x < mergeThreads) merge<warps>(shared, ceilDivide(span.to - span.from, tileRows), out, logSum);
    }
    if (span.splits > 1) {
        splitArrivals += span.splits;
        u8* parts = exchange + (splitAt + group * maximumSplits * splitPackets) * 16;
        if (span.isPart && threadIdx.x < mergeThreads) {
            u8* mine = parts + member * splitPackets * 16;
            storePacket(mine + threadIdx.x * 16, Packet4::pack(out, packetTag(turn)));
            if (element % headSize == 0) {
                const float weight[4] = {logSum, 0.0f, 0.0f, 0.0f};
                storePacket(mine + (mergeThreads + element / headSize) * 16, Packet4::pack(weight, packetTag(turn)));
            }
        }
        if (span.isPart && threadIdx.x < roundUp(mergeThreads, 32)) {
            if constexpr (mergeThreads > 32) namedSync(2, roundUp(mergeThreads, 32));
            else __syncwarp();
            if (threadIdx.x == 0) counterAdd(splitCounter, 1);
        }
        waitHintAll(splitCounter, splitArrivals, shared, Wait::split, layer);
        if (threadIdx.x < mergeThreads * mergeParts) {
            const int part = threadIdx.x / mergeThreads, t = threadIdx.x % mergeThreads, head = t * 4 / headSize;
            float largest = nothing, sum = 0.0f, o[4] = {};
            constexpr int ahead = 4;
            for (int base = part; base < span.splits; base += mergeParts * ahead) {
                Vec4 packets[ahead][2];
#pragma unroll
                for (int i = 0; i < ahead; ++i) {
                    const int split = base + i * mergeParts < span.splits ? base + i * mergeParts : base;
                    const u8* at = parts + (split * splitPackets + t) * 16;
                    packets[i][0] = loadPacket(at);
                    packets[i][1] = loadPacket(at + (mergeThreads + head - t) * 16);
                }
#pragma unroll
                for (int i = 0; i < ahead; ++i) {
                    if (base + i * mergeParts >= span.splits) continue;
                    float v[4], w[4];
                    const u8* at = parts + ((base + i * mergeParts) * splitPackets + t) * 16;
                    confirm<Packet4>(packets[i], at, (mergeThreads + head - t) * 16, packetTag(turn), shared, Wait::split, layer);
                    Packet4::unpack(v, packets[i][0]);
                    Packet4::unpack(w, packets[i][1]);
                    const float next = fmaxf(largest, w[0]), fade = exp2Fast(largest - next), factor = exp2Fast(w[0] - next);
                    largest = next;
                    sum = sum * fade + factor;
#pragma unroll
                    for (int j = 0; j < 4; ++j) o[j] = o[j] * fade + factor * v[j];
                }
            }
            *reinterpret_cast<Float4*>(shared.attended[part] + t * 4) = {o[0], o[1], o[2], o[3]};
            if (t * 4 % headSize == 0) shared.weight[part][head] = {largest, sum};
        }
        syncConsumers();
        if (threadIdx.x < mergeThreads) merge<mergeParts>(shared, span.splits, out, logSum);
    }
    if (threadIdx.x < mergeThreads) {
        putPair(shared.vector, element, out[0], out[1]);
        putPair(shared.vector, element + 2, out[2], out[3]);
    }
    syncConsumers();
}

}  // namespace apus
