// Attention of one token over one key-value head, by one block, by a pair of them, or split over the members of its group.
//
// The raw q, k, v rows come from the group's members. Every block norms and rotates them itself; member 0 appends k and v to the
// cache. Few cached positions: every member attends to all of them, and no exchange is needed. More: the two blocks of a pair take
// a half each (Pairs.cuh). Many: members take a run of positions each and exchange their parts, each of which has its weight. A
// block's part is the sum of its warps'. Every warp merges what it will multiply by itself, so nothing but its own lanes waits for it.
#pragma once
#include "Decode/CacheTile.cuh"
#include "Decode/Pairs.cuh"

namespace apus {

static_assert(headsPerGroup <= 4, "the scores of a group's heads, each in two parts, fill the 8 columns of an mma");
constexpr float nothing = -1e30f;

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

// The packets of the vector of this warp, asked for before they can be known to be there: most are by the time they are looked at.
struct HeadPackets {
    Vec4 packets[headParts];

    APUS_DEVICE const u8* from(const u8* exchange) {
        const u32 vector = threadIdx.x / 32, lane = threadIdx.x % 32;
        return exchange + (inputAt + (blockIdx.x / members * (headsPerGroup + 2) + vector) * (headSize / 4) + lane) * 16;
    }
    __device__ __forceinline__ void request(const u8* exchange) {
        if (threadIdx.x >= (headsPerGroup + 2) * 32 || threadIdx.x % 32 * 4 >= headSize) return;
#pragma unroll
        for (int e = 0; e < headParts; ++e) packets[e] = loadPacket(from(exchange) + e * 512);
    }
};

// Reads q, k, v of this token, norms and rotates them, and leaves them in shared memory.
APUS_DEVICE void receiveHeads(Shared& shared, const u8* exchange, HeadPackets& early, u32 tag, int layer,
                              const HeadNorm& norm, CacheElement* keys, CacheElement* values, u8* exponents, int position, int rope) {
    // Of the largest heads no predicate is worth keeping.
    const int thread = headParts > 1 ? threadIndex() : threadIdx.x, vector = thread / 32, lane = thread % 32;
    const bool isWriter = blockIdx.x % keyMembers == 0;
    constexpr int each = headParts, half = headSize / 2;
    const bool active = lane * 4 < headSize;
    if (vector < headsPerGroup + 2) {
        const bool isKey = vector == headsPerGroup, isValue = vector == headsPerGroup + 1;
        float v[each][4] = {};
        Float2 turnBy[4];
#pragma unroll
        for (int j = 0; j < 4; ++j) turnBy[j] = shared.rope[rope][(lane * 4 + j) % half];
        if (active) {
            confirm<Packet4>(early.packets, HeadPackets::from(exchange), 512, tag, shared, Wait::input, layer);
#pragma unroll
            for (int e = 0; e < each; ++e) Packet4::unpack(v[e], early.packets[e]);
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
        if constexpr (hasCachedCodes) {
            putVector(v, active, vector, shared.queries[isKey || isValue ? 0 : vector], isKey ? shared.key : shared.value,
                      isWriter ? (isKey ? keys : values) + static_cast<u32>(position) * rowElements : nullptr,
                      exponents + static_cast<u32>(position) * keyHeads);
            return;
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
            if (isWriter)
                *reinterpret_cast<Vec2*>((isKey ? keys : values) + static_cast<u32>(position) * rowElements + element) = bits;
        }
    }
}

// Merges the warps' parts of this warp's columns, without a branch: all reads are under way at once. Lane l gets columns
// l * laneColumns and on, normed, and the logarithm of the sum.
template <int count> APUS_DEVICE void merge(const Parts<count>& parts, float (&out)[laneColumns], float& logSum) {
    const u32 thread = threadIndex(), first = thread / 32 * warpColumns, column = first + thread % 32 * laneColumns % warpColumns, head = first / headSize;
    float v[count][laneColumns];
#pragma unroll
    for (int p = 0; p < count; ++p)
#pragma unroll
        for (int j = 0; j < laneColumns; ++j) v[p][j] = parts.values[p][column + j];
    // Every eighth lane has the same part: its factor is made once.
    const float most = parts.most[head][thread % count];
    float sum = parts.sums[head][thread % count], largest = most;
#pragma unroll
    for (int offset = 1; offset < count; offset *= 2) largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, offset));
    const float factor = exp2Fast(most - largest);
    sum *= factor;
    float factors[count];
#pragma unroll
    for (int p = 0; p < count; ++p) factors[p] = __shfl_sync(0xffffffffu, factor, p);
#pragma unroll
    for (int offset = 1; offset < count; offset *= 2) sum += __shfl_xor_sync(0xffffffffu, sum, offset);
    const float inverse = sum > 0.0f ? reciprocalFast(sum) : 0.0f;
#pragma unroll
    for (int j = 0; j < laneColumns; ++j) {
        float sums[2] = {};
#pragma unroll
        for (int p = 0; p < count; ++p) sums[p % 2] += factors[p] * v[p][j];
        out[j] = (sums[0] + sums[1]) * inverse;
    }
    logSum = sum > 0.0f ? largest + log2Fast(sum) : nothing;
}

// Four elements of a part, 22 bits each, and the logarithm of its sum.
struct SplitPacket {
    APUS_DEVICE Vec4 pack(const float (&v)[4], float logSum, u32 tag) {
        const u32 half = roundingOf((v[0] + v[1]) + (v[2] + v[3]), 0x200);
        const u32 d = (asBits(v[3]) + half) >> 10;  // 22 bits, ten to each of two words, two to the third
        return {((asBits(v[0]) + half) & ~0x3ffu) | (d & 0x3ff), ((asBits(v[1]) + half) & ~0x3ffu) | (d >> 10 & 0x3ff),
                ((asBits(v[2]) + half) & ~0x3ffu) | d >> 20 | tag << 2, asBits(logSum)};
    }
    APUS_DEVICE u32 mismatch(Vec4 p, u32 tag) { return (p.z ^ tag << 2) & 0x3fc; }
    APUS_DEVICE void unpack(float (&v)[4], Vec4 p) {
        v[0] = asFloat(p.x & ~0x3ffu);
        v[1] = asFloat(p.y & ~0x3ffu);
        v[2] = asFloat(p.z & ~0x3ffu);
        v[3] = asFloat((p.x & 0x3ff) << 10 | (p.y & 0x3ff) << 20 | p.z << 30);
    }
};

// The part of a warp without positions. Its weight is zero, but what lay in its place may be no number.
APUS_DEVICE void noPart(Shared& shared) {
    const u32 warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    if (lane < headsPerGroup) shared.attended.most[lane][warp] = nothing, shared.attended.sums[lane][warp] = 0.0f;
    if constexpr (vectorIsWhole) {
        for (u32 i = lane * 4; i < groupHeadSize; i += 128) *reinterpret_cast<Float4*>(shared.attended.values[warp] + i) = {0.0f, 0.0f, 0.0f, 0.0f};
    }
}

// The block's positions, 16 a warp at a time; the warps' parts go to shared memory.
// Scores and results have two columns a query head: lane 4 g + q gets head q's, the rounded vector's and the rest's.
template <Run run>
APUS_DEVICE void attend(Shared& shared, const Span& span, CacheTile& tile, const CacheElement* keys, const CacheElement* values, const u8* exponents,
                        int behind, int position, Weights& weights, int layer) {
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, head = lane % 4, row = lane / 4;
    constexpr bool isLong = run == Run::tiles, throughRing = isLong && hasCacheRing, isAhead = throughRing || (hasStage && !isLong);
    // The last row of the cache was written by the step before, which the ring runs ahead of: it comes another way.
    const int filled = throughRing ? position - 1 : position, end = span.to < filled ? span.to : filled;
    int first = span.from + firstTile() * tileRows;
    const bool isIdle = first >= span.to;
    if (!throughRing && isIdle) {
        noPart(shared);
        return;
    }
    const u64 policy = streamOnce();
    float largest = nothing, sum = 0.0f, out[CacheTile::blocks][CacheTile::steps][4] = {};
    int scale = 0;  // largest exponent of a value
    int round = span.from;
    constexpr bool keepsQueries = throughRing && (headSize == 128 || (hasCachedCodes && headSize < 128));
    Vec4 queries[keepsQueries ? headSize / 32 : 1];
    if constexpr (keepsQueries) {
#pragma unroll
        for (int i = 0; i < headSize / 32; ++i) {
            queries[i] = {0, 0, 0, 0};
            if (row < 2 * headsPerGroup) queries[i] = *reinterpret_cast<const Vec4*>(shared.queries[row / 2][row % 2] + lane % 4 * 8 + i * 32);
        }
    }
    constexpr bool isApart = throughRing && CacheTile::isLarge;  // values are taken behind the scores, keys behind the sums before
    const auto step = [&](int first) {
        if constexpr (isApart) tile.template take<true>(weights, shared, end - round, layer);
        if (position - first < tileRows) tile.template insert<true, true, !isApart>(shared.key, shared.value, position - first);
        if (isAhead && position - 1 - first < tileRows && position > first)
            tile.template insert<false, true, !isApart>(shared.lastKey, shared.lastValue, position - 1 - first);
        const CacheFactors factors(tile);
        float grow = 1.0f, lowWeight = 1.0f, highWeight = 1.0f;  // of the sums, for the exponent that they have; of codes
        if constexpr (hasCachedCodes)
            grow = factors.weights(lowWeight, highWeight, scale, __reduce_max_sync(0xffffffffu, factors.mostValue(first, span.to)));
        float scores[CacheTile::chains][4] = {};
#pragma unroll
        for (int i = 0; i < headSize / 32; ++i) {
            Vec4 q = {0, 0, 0, 0};
            if constexpr (keepsQueries) q = queries[i];
            else if (row < 2 * headsPerGroup) q = *reinterpret_cast<const Vec4*>(shared.queries[row / 2][row % 2] + lane % 4 * 8 + i * 32);
            tile.multiplyKeys(scores, i, q);
        }
        const int next = first + blockRows;
        if constexpr (hasCachedCodes && throughRing) {
            tile.exponents = tile.later[0], tile.later[0] = tile.later[1];
            if (round + 3 * blockRows < span.to)
                tile.later[1] = CacheTile::exponentAt(exponents, behind, first + 3 * blockRows, span.to < position ? span.to : position);
        } else if constexpr (hasCachedCodes && isLong) {
            if (next < end) tile.loadExponents(exponents, behind, next, end);
        }
        if (throughRing && !isApart && round + blockRows < span.to) tile.template take<true>(weights, shared, end - round - blockRows, layer);
        if (isLong && !throughRing && next < end) tile.template loadKeys<true>(keys, next, end, policy);
        float low, high;
        factors.scores(scores, low, high);
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
        if constexpr (hasCachedCodes) low *= lowWeight, high *= highWeight;
        if constexpr (isApart) {
            tile.template take<false>(weights, shared, end - round, layer);
            if (position - first < tileRows) tile.template insert<true, false>(shared.key, shared.value, position - first);
            if (position - 1 - first < tileRows && position > first)
                tile.template insert<false, false>(shared.lastKey, shared.lastValue, position - 1 - first);
        }
        const Vec2 p = weightColumns(low, high, head * 8 + row / 2, tile);
#pragma unroll
        for (int i = 0; i < CacheTile::blocks; ++i)
#pragma unroll
            for (int j = 0; j < CacheTile::steps; ++j) {
                if (isLong) {
#pragma unroll
                    for (int k = 0; k < 4; ++k) out[i][j][k] *= hasCachedCodes ? fade * grow : fade;
                }
                tile.multiplyValues(out[i][j], i, j, p);
            }
        if (throughRing && !isApart && round + blockRows < span.to) tile.template take<false>(weights, shared, end - round - blockRows, layer);
        if (isLong && !throughRing && next < end) tile.template loadValues<true>(values, next, end, policy);
    };
    if constexpr (throughRing) {
        if constexpr (!isApart && !hasStage) {
            tile.template take<true>(weights, shared, end - span.from, layer);
            tile.template take<false>(weights, shared, end - span.from, layer);
        }
        for (; round < span.to; round += blockRows, first += blockRows) {
            if (first < span.to) {
                step(first);
            } else if (isApart || round + blockRows < span.to) {
                tile.template take<true>(weights, shared, end - round - (isApart ? 0 : blockRows), layer);
                tile.template take<false>(weights, shared, end - round - (isApart ? 0 : blockRows), layer);
            }
        }
    } else if constexpr (isLong) {
        for (; first < span.to; first += blockRows) step(first);
    }
    else step(first);
    if (throughRing && isIdle) {
        noPart(shared);
        return;
    }
#pragma unroll
    for (int offset = 4; offset < 32; offset *= 2) sum += __shfl_xor_sync(0xffffffffu, sum, offset);
    if (head >= headsPerGroup) return;
    if constexpr (hasCachedCodes) {
        putSums(out, scale, shared.attended.values[warp], head, row);
    } else {
#pragma unroll
        for (int i = 0; i < headSize / 64; ++i) {
            float* to = shared.attended.values[warp] + head * headSize + i * 64 + row * 8;
            float v[8];
#pragma unroll
            for (int j = 0; j < 8; ++j) v[j] = out[i / 2][j][i % 2 * 2] + out[i / 2][j][i % 2 * 2 + 1];
            *reinterpret_cast<Float4*>(to) = {v[0], v[1], v[2], v[3]};
            *reinterpret_cast<Float4*>(to + 4) = {v[4], v[5], v[6], v[7]};
        }
    }
    if (row == 0) shared.attended.most[head][warp] = largest, shared.attended.sums[head][warp] = sum;
}

// Publishes the warp's columns of the block's part at `parts`, those of the group.
APUS_DEVICE void publishPart(u8* parts, const float (&out)[laneColumns], float logSum, u32 tag) {
    const u32 thread = threadIndex(), lane = thread % 32;
    float v[4];
#pragma unroll
    for (int j = 0; j < 4; ++j)
        v[j] = laneColumns == 4 ? out[j % laneColumns] : __shfl_sync(0xffffffffu, out[j % laneColumns], (lane * 4 + j) / laneColumns % 32);
    if (lane * 4 < warpColumns)
        storePacket(parts + (blockIndex() % members * splitPackets + thread / 32 * (warpColumns / 4) + lane) * 16, SplitPacket::pack(v, logSum, tag));
}

// Reads the parts of this warp's columns from all blocks of the group that have one. putPair(column, x, y) gets their sum, a pair a call.
template <class PutPair>
APUS_DEVICE void join(Shared& shared, const u8* exchanged, int parts, u32 tag, int layer, PutPair putPair) {
    constexpr int packetColumns = warpColumns / 4, partLanes = 32 / packetColumns;
    constexpr int each = ceilDivide(maximumSplits, partLanes), ahead = each < 8 ? each : 4;
    const u32 thread = threadIndex(), warp = thread / 32, packet = thread % packetColumns, lanePart = thread % 32 / packetColumns;
    const u8* from = exchanged + (lanePart * splitPackets + warp * packetColumns + packet) * 16;
    constexpr int stride = partLanes * splitPackets * 16;
    float largest = nothing, sum = 0.0f, o[4] = {};
    for (int left = parts - static_cast<int>(lanePart); ; left -= ahead * partLanes, from += ahead * stride) {
        Vec4 packets[ahead] = {};  // so that nothing is kept alive for those that are not asked for
#pragma unroll
        for (int i = 0; i < ahead; ++i)
            if (i * partLanes < left) packets[i] = loadPacket(from + i * stride);
        Patience patience;
        for (bool wrong = true; wrong && !patience.isOver(shared, Wait::split, layer);) {
            wrong = false;
#pragma unroll
            for (int i = 0; i < ahead; ++i)
                if (i * partLanes < left && SplitPacket::mismatch(packets[i], tag) != 0) {
                    wrong = true;
                    packets[i] = loadPacket(from + i * stride);
                }
        }
        float logs[ahead], most = largest;
#pragma unroll
        for (int i = 0; i < ahead; ++i) {
            logs[i] = i * partLanes < left ? asFloat(packets[i].w) : nothing;
            most = fmaxf(most, logs[i]);
        }
        if constexpr (each > ahead) {
            const float fade = exp2Fast(largest - most);
            sum *= fade;
#pragma unroll
            for (int j = 0; j < 4; ++j) o[j] *= fade;
        } else {
#pragma unroll
            for (int offset = packetColumns; offset < 32; offset *= 2) most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, offset));
        }
        largest = most;
#pragma unroll
        for (int i = 0; i < ahead; ++i) {
            float v[4];
            SplitPacket::unpack(v, packets[i]);
            const float factor = exp2Fast(logs[i] - most);
            sum += factor;
#pragma unroll
            for (int j = 0; j < 4; ++j)
                if (i * partLanes < left) o[j] += factor * v[j];
        }
        if (each <= ahead || left - static_cast<int>(partLanes * ahead) + static_cast<int>(lanePart) <= 0) break;
    }
    if constexpr (each > ahead && partLanes > 1) {
        float most = largest;
#pragma unroll
        for (int offset = packetColumns; offset < 32; offset *= 2) most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, offset));
        const float fade = exp2Fast(largest - most);
        sum *= fade;
#pragma unroll
        for (int j = 0; j < 4; ++j) o[j] *= fade;
    }
#pragma unroll
    for (int offset = packetColumns; offset < 32; offset *= 2) {
        sum += __shfl_xor_sync(0xffffffffu, sum, offset);
#pragma unroll
        for (int j = 0; j < 4; ++j) o[j] += __shfl_xor_sync(0xffffffffu, o[j], offset);
    }
    const float inverse = sum > 0.0f ? reciprocalFast(sum) : 0.0f;
    const int column = warp * warpColumns + packet * 4;
    if (lanePart == 0) putPair(column, o[0] * inverse, o[1] * inverse);
    if (lanePart == (partLanes > 1 ? 1 : 0)) putPair(column + 2, o[2] * inverse, o[3] * inverse);
}

// The whole of it: from the exchanged q, k, v to the B operand of the output product, of which every warp makes its own part.
// `meanwhile` is done where there is something to wait for.
template <Run run, class Meanwhile>
APUS_DEVICE void attention(Shared& shared, u8* exchange, u32 tag, int layer, const HeadNorm& norm, CacheElement* keys, CacheElement* values,
                           u8* exponents, int behind, int position, const LayerInfo& info, const Span& span, CacheTile& tile, Weights& weights,
                           Meanwhile meanwhile) {
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    u8* parts = exchange + (splitAt + blockIndex() / members * (maximumSplits * splitPackets)) * 16;
    HeadPackets early;
    if (run == Run::whole) {
        if (headSize <= 128) early.request(exchange);
        meanwhile();
    }
    float out[laneColumns], logSum;
    if (span.isPart) {
        if ((run == Run::tiles ? hasCacheRing : hasStage) && warp == warps - 1 && span.to >= position && position > span.from) {
            const u32 row = static_cast<u32>(position - 1) * rowElements;
            constexpr int units = headSize / CacheTile::unit;
            for (int unit = lane; unit < 2 * units; unit += 32) {
                const bool isKey = unit < units;
                const int at = unit % units * CacheTile::unit;
                *reinterpret_cast<Vec4*>((isKey ? shared.lastKey : shared.lastValue) + at) = loadFresh16((isKey ? keys : values) + row + at);
            }
        }
        if (run != Run::whole || headSize > 128) early.request(exchange);
        receiveHeads(shared, exchange, early, tag, layer, norm, keys, values, exponents + (warp == headsPerGroup ? 0 : behind), position, info.rope);
        syncConsumers();
        attend<run>(shared, span, tile, keys, values, exponents, behind, position, weights, layer);
        syncConsumers();
        if (hasColumns(warp)) merge(shared.attended, out, logSum);
    }
    const bool isPaired = hasPairs && run != Run::part && span.parts == 2;
    if (isPaired && hasColumns(warp)) sendPart(shared, out, logSum);
    if (run != Run::whole && span.parts > 1 && !isPaired) {
        if (span.isPart && hasColumns(warp)) publishPart(parts, out, logSum, tag);
        meanwhile();
        // Few packets, so the readers look at them without a hint.
        if (hasColumns(warp))
            join(shared, parts, span.parts, tag, layer, [&](int column, float x, float y) { putPair(shared.vector, column, x, y); });
    } else {
        if (run != Run::whole) meanwhile();
        if (isPaired && hasColumns(warp)) joinPair(shared, out, logSum, layer);
        if (!hasColumns(warp) || lane * laneColumns >= warpColumns) return;
        const u32 thread = threadIndex(), column = thread / 32 * warpColumns + thread % 32 * laneColumns;
        if constexpr (laneColumns == 1) {
            putOne(shared.vector, column, out[0]);
        } else {
#pragma unroll
            for (int j = 0; j < laneColumns; j += 2) putPair(shared.vector, column + j, out[j], out[j + 1]);
        }
    }
}

}  // namespace apus
