// Attention of one token over one key-value head, by one block or split over the members of its group.
//
// The raw q, k, v rows come from the group's members. Every block norms and rotates them itself; member 0 appends k and v to the
// cache. Few cached positions: every member attends to all of them, and no exchange is needed. Many: the first `splits` members
// take a run of positions each, and all members merge their parts.
#pragma once
#include "Decode/Products.cuh"

#ifndef DECODE_SPLIT  // cached positions that are worth a split
#define DECODE_SPLIT 64
#endif

namespace apus {

constexpr int tileRows = 16, blockRows = tileRows * warps;  // positions of a warp and of a block in one go
static_assert(headSize == 64 || headSize == 128 || headSize == 256, "head sizes of 64, 128 and 256");
static_assert(headsPerGroup <= 4, "the scores of a group's heads, each in two parts, fill the 8 columns of an mma");
constexpr float nothing = -1e30f;

// Cache rows were written through other blocks: past L1. What is read once, no block reads again before the next token.
template <bool once = false> APUS_DEVICE Vec4 loadCached16(const void* p, u64 policy = 0) {
    Vec4 v;
    if constexpr (once)
        asm volatile("ld.global.cg.L2::cache_hint.v4.u32 {%0, %1, %2, %3}, [%4], %5;"
                     : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(p), "l"(policy));
    else asm volatile("ld.global.cg.v4.u32 {%0, %1, %2, %3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(p));
    return v;
}

// The positions of a block in one layer; the token's own is the last of all.
struct Span {
    int splits, from, to;
    bool isPart;  // whether the block attends to anything
    bool isLong;  // whether these are more than one tile a warp

    __device__ __forceinline__ Span(const Arguments& a, int window, int position, int member) {
        const int first = window > 0 && position >= window ? position - window + 1 : 0, count = position + 1 - first;
        splits = 1, from = first, to = position + 1, isPart = true, isLong = count > blockRows;
        if (count <= a.fullSplits || count <= DECODE_SPLIT || maximumSplits == 1) return;
        // Parts of a fixed size without a division, or as many as there can be.
        const bool isFull = count > DECODE_SPLIT * maximumSplits;
        const int each = isFull ? ceilDivide(count, maximumSplits) : DECODE_SPLIT;
        splits = isFull ? maximumSplits : ceilDivide(count, DECODE_SPLIT);
        isPart = member < splits, isLong = each > blockRows;
        from = first + member * each;
        to = from + each <= position ? from + each : position + 1;
    }
};

constexpr u32 rowElements = groups * headSize;  // of the cache; a cache has fewer than 2^32 elements

// A warp's 16 positions. Keys are A operands of the scores, positions by elements: lane 4 g + q holds rows g and g + 8, of each
// the 16-byte units q, q + 4, .. (the order of the elements is free, as long as the queries have the same). Values are A operands
// of the result, elements by positions: the lane holds rows 2 q, 2 q + 1, 2 q + 8, 2 q + 9, of each the units g, g + 8, ..
struct CacheTile {
    Vec4 keys[2][headSize / 32], values[headSize / 64][4];

    // Rows from `end` on are the last one again, and get no weight. Zeros where the cache has no row.
    template <bool once = false> __device__ __forceinline__ void loadKeys(const u16* cache, int first, int end, u64 policy = 0) {
        const int lane = threadIdx.x % 32, row = first + lane / 4;
#pragma unroll
        for (int r = 0; r < 2; ++r) {
            const u16* from = opaque(cache + (static_cast<u32>(row + 8 * r < end ? row + 8 * r : end - 1) * rowElements + lane % 4 * 8));
#pragma unroll
            for (int i = 0; i < headSize / 32; ++i) keys[r][i] = loadCached16<once>(from + i * 32, policy);
        }
    }
    template <bool once = false> __device__ __forceinline__ void loadValues(const u16* cache, int first, int end, u64 policy = 0) {
        const int lane = threadIdx.x % 32, row = first + lane % 4 * 2;
#pragma unroll
        for (int r = 0; r < 4; ++r) {
            const int mine = row + r % 2 + r / 2 * 8;
            const u16* from = opaque(cache + (static_cast<u32>(mine < end ? mine : end - 1) * rowElements + lane / 4 * 8));
#pragma unroll
            for (int i = 0; i < headSize / 64; ++i) values[i][r] = loadCached16<once>(from + i * 64, policy);
        }
    }
    __device__ __forceinline__ void clear() {
#pragma unroll
        for (int r = 0; r < 2; ++r)
#pragma unroll
            for (int i = 0; i < headSize / 32; ++i) keys[r][i] = {0, 0, 0, 0};
#pragma unroll
        for (int r = 0; r < 4; ++r)
#pragma unroll
            for (int i = 0; i < headSize / 64; ++i) values[i][r] = {0, 0, 0, 0};
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
APUS_DEVICE void receiveHeads(Shared& shared, const u8* exchange, u32 tag, int layer,
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
            receive<Packet4>(packets, at, 512, tag, shared, Wait::input, layer);
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
            const float scale = rsqrtFast(groupSum(squares) * (1.0f / headSize) + DECODE_EPSILON);
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
                *reinterpret_cast<Vec2*>((isKey ? keys : values) + static_cast<u32>(position) * rowElements + element) = bits;
        }
    }
}

// The block's positions, 16 a warp at a time; the warps' parts go to shared memory.
// Scores and results have two columns a query head: lane 4 g + q gets head q's, the rounded vector's and the rest's.
template <bool isLong>
APUS_DEVICE void attend(Shared& shared, const Span& span, CacheTile& tile, const u16* keys, const u16* values, int position) {
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, head = lane % 4, row = lane / 4, end = span.to < position ? span.to : position;
    int first = span.from + warp * tileRows;
    if (first >= span.to) {
        if (lane < headsPerGroup) shared.attended.most[lane][warp] = nothing, shared.attended.sums[lane][warp] = 0.0f;
        return;
    }
    const u64 policy = streamOnce();
    float largest = nothing, sum = 0.0f, out[ceilDivide(headSize, 128)][8][4] = {};
    const auto step = [&](int first) {
        if (position - first < tileRows) tile.insert(shared, position - first);
        float scores[2][4] = {};
#pragma unroll
        for (int i = 0; i < headSize / 32; ++i) {
            Vec4 q = {0, 0, 0, 0};
            if (row < 2 * headsPerGroup) q = *reinterpret_cast<const Vec4*>(shared.queries[row / 2][row % 2] + lane % 4 * 8 + i * 32);
            mma(scores[0], {tile.keys[0][i].x, tile.keys[1][i].x, tile.keys[0][i].y, tile.keys[1][i].y}, {q.x, q.y});
            mma(scores[1], {tile.keys[0][i].z, tile.keys[1][i].z, tile.keys[0][i].w, tile.keys[1][i].w}, {q.z, q.w});
        }
        const int next = first + blockRows;
        if (isLong && next < end) tile.template loadKeys<true>(keys, next, end, policy);
        float low = (scores[0][0] + scores[1][0]) + (scores[0][1] + scores[1][1]);
        float high = (scores[0][2] + scores[1][2]) + (scores[0][3] + scores[1][3]);
        if (first + row >= span.to) low = -INFINITY_F;
        if (first + row + 8 >= span.to) high = -INFINITY_F;
        float most = fmaxf(low, high);
#pragma unroll
        for (int offset = 4; offset < 32; offset *= 2) most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, offset));
        if (isLong) most = fmaxf(most, largest);
        const float fade = exp2Fast(largest - most);
        largest = most;
        low = exp2Fast(low - most), high = exp2Fast(high - most);
        sum = isLong ? sum * fade + (low + high) : low + high;
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
                if (isLong) {
#pragma unroll
                    for (int k = 0; k < 4; ++k) out[i][j][k] *= fade;
                }
                mma(out[i][j], {pair(0, 0), pair(1, 0), pair(0, 2), pair(1, 2)}, p);
            }
        if (isLong && next < end) tile.template loadValues<true>(values, next, end, policy);
    };
    if constexpr (isLong)
        for (; first < span.to; first += blockRows) step(first);
    else step(first);
#pragma unroll
    for (int offset = 4; offset < 32; offset *= 2) sum += __shfl_xor_sync(0xffffffffu, sum, offset);
    if (head >= headsPerGroup) return;
#pragma unroll
    for (int i = 0; i < headSize / 64; ++i) {
        float* to = shared.attended.values[warp] + head * headSize + i * 64 + row * 8;
        float v[8];
#pragma unroll
        for (int j = 0; j < 8; ++j) v[j] = out[i / 2][j][i % 2 * 2] + out[i / 2][j][i % 2 * 2 + 1];
        *reinterpret_cast<Float4*>(to) = {v[0], v[1], v[2], v[3]};
        *reinterpret_cast<Float4*>(to + 4) = {v[4], v[5], v[6], v[7]};
    }
    if (row == 0) shared.attended.most[head][warp] = largest, shared.attended.sums[head][warp] = sum;
}

// Merges parts, without a branch: all reads are under way at once. Thread t < mergeThreads gets elements 4 t and on, normed, and the
// logarithm of the sum.
template <int count> APUS_DEVICE void merge(const Parts<count>& parts, float (&out)[4], float& logSum) {
    const int element = threadIdx.x * 4, head = element / headSize;
    float most[count], sums[count], largest = nothing, sum = 0.0f;
    Float4 v[count];
#pragma unroll
    for (int p = 0; p < count; ++p) {
        most[p] = parts.most[head][p], sums[p] = parts.sums[head][p];
        v[p] = *reinterpret_cast<const Float4*>(parts.values[p] + element);
    }
#pragma unroll
    for (int p = 0; p < count; ++p) largest = fmaxf(largest, most[p]);
    out[0] = out[1] = out[2] = out[3] = 0.0f;
#pragma unroll
    for (int p = 0; p < count; ++p) {
        const float factor = exp2Fast(most[p] - largest);
        sum += factor * sums[p];
        out[0] += factor * v[p].x;
        out[1] += factor * v[p].y;
        out[2] += factor * v[p].z;
        out[3] += factor * v[p].w;
    }
    const float inverse = sum > 0.0f ? reciprocalFast(sum) : 0.0f;
    out[0] *= inverse, out[1] *= inverse, out[2] *= inverse, out[3] *= inverse;
    logSum = sum > 0.0f ? largest + log2Fast(sum) : nothing;
}

// Four elements of a part, 22 bits each, and the logarithm of its sum.
struct SplitPacket {
    APUS_DEVICE Vec4 pack(const float (&v)[4], float logSum, u32 tag) {
        const u32 d = roundedBits(v[3], 0x200) >> 10;  // 22 bits, ten to each of two words, two to the third
        return {(roundedBits(v[0], 0x200) & ~0x3ffu) | (d & 0x3ff), (roundedBits(v[1], 0x200) & ~0x3ffu) | (d >> 10 & 0x3ff),
                (roundedBits(v[2], 0x200) & ~0x3ffu) | d >> 20 | tag << 2, asBits(logSum)};
    }
    APUS_DEVICE u32 mismatch(Vec4 p, u32 tag) { return (p.z ^ tag << 2) & 0x3fc; }
    APUS_DEVICE void unpack(float (&v)[4], Vec4 p) {
        v[0] = asFloat(p.x & ~0x3ffu);
        v[1] = asFloat(p.y & ~0x3ffu);
        v[2] = asFloat(p.z & ~0x3ffu);
        v[3] = asFloat((p.x & 0x3ff) << 10 | (p.y & 0x3ff) << 20 | p.z << 30);
    }
};

// The whole of it: from the exchanged q, k, v to the B operand of the output product.
template <bool isLong> APUS_DEVICE void attention(Shared& shared, u8* exchange, u32 tag, int layer, const HeadNorm& norm,
                           u16* keys, u16* values, int position, const LayerInfo& info, const Span& span, CacheTile& tile) {
    const int member = blockIdx.x % members;
    const int element = threadIdx.x * 4;
    float out[4], logSum;
    if (span.isPart) {
        receiveHeads(shared, exchange, tag, layer, norm, keys, values, position, info.rope);
        syncConsumers();
        attend<isLong>(shared, span, tile, keys, values, position);
        syncConsumers();
        if (threadIdx.x < mergeThreads) merge(shared.attended, out, logSum);
    }
    if (span.splits > 1) {
        u8* parts = exchange + (splitAt + blockIndex() / members * (maximumSplits * splitPackets)) * 16;
        // Few packets, so the readers look at them without a hint.
        if (span.isPart && threadIdx.x < mergeThreads)
            storePacket(parts + (member * splitPackets + threadIdx.x) * 16, SplitPacket::pack(out, logSum, tag));
        if (threadIdx.x < mergeThreads * mergeParts) {
            const int thread = threadIndex(), part = thread / mergeThreads, t = thread % mergeThreads, head = t * 4 / headSize;
            constexpr int each = ceilDivide(maximumSplits, mergeParts), ahead = each < 4 ? each : 4, stride = mergeParts * splitPackets * 16;
            const u8* from = parts + (part * splitPackets + t) * 16;
            float largest = nothing, sum = 0.0f, o[4] = {};
            for (int left = span.splits - part; left > 0; left -= ahead * mergeParts, from += ahead * stride) {
                Vec4 packets[ahead];
#pragma unroll
                for (int i = 0; i < ahead; ++i)
                    if (i * mergeParts < left) packets[i] = loadPacket(from + i * stride);
                Patience patience;
                for (bool wrong = true; wrong && !patience.isOver(shared, Wait::split, layer);) {
                    wrong = false;
#pragma unroll
                    for (int i = 0; i < ahead; ++i)
                        if (i * mergeParts < left && SplitPacket::mismatch(packets[i], tag) != 0) {
                            wrong = true;
                            packets[i] = loadPacket(from + i * stride);
                        }
                }
                float most = largest;
#pragma unroll
                for (int i = 0; i < ahead; ++i)
                    if (i * mergeParts < left) most = fmaxf(most, asFloat(packets[i].w));
                const float fade = exp2Fast(largest - most);
                largest = most, sum *= fade;
#pragma unroll
                for (int j = 0; j < 4; ++j) o[j] *= fade;
#pragma unroll
                for (int i = 0; i < ahead; ++i) {
                    if (i * mergeParts >= left) continue;
                    float v[4];
                    SplitPacket::unpack(v, packets[i]);
                    const float factor = exp2Fast(asFloat(packets[i].w) - most);
                    sum += factor;
#pragma unroll
                    for (int j = 0; j < 4; ++j) o[j] += factor * v[j];
                }
            }
            *reinterpret_cast<Float4*>(shared.joined.values[part] + t * 4) = {o[0], o[1], o[2], o[3]};
            if (t * 4 % headSize == 0) shared.joined.most[head][part] = largest, shared.joined.sums[head][part] = sum;
        }
        syncConsumers();
        if (threadIdx.x < mergeThreads) merge(shared.joined, out, logSum);
    }
    if (threadIdx.x < mergeThreads) {
        putPair(shared.vector, element, out[0], out[1]);
        putPair(shared.vector, element + 2, out[2], out[3]);
    }
    syncConsumers();
}

}  // namespace apus
