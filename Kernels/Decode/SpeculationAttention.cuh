// Attention of several positions of one step, cut as single steps would cut it.
#pragma once
#include "Decode/SpeculationProducts.cuh"

namespace apus {

// A warp keeps to one vector of the group, for one position after the other, so that its norm weights stay.
constexpr int vectorWarps = headsPerGroup + 2 <= 4 ? 4 : 8, positionsTogether = warps / vectorWarps;
static_assert(headsPerGroup + 2 <= vectorWarps, "a warp for each of the group's vectors");

APUS_DEVICE void loadHeadNorm(HeadNorm& norm, const float* norms) {
    const int vector = threadIdx.x / 32 % vectorWarps, lane = threadIdx.x % 32;
#pragma unroll
    for (int e = 0; e < headParts; ++e) {
        norm.w[e] = {1.0f, 1.0f, 1.0f, 1.0f};
        if (vector <= headsPerGroup && lane * 4 < headSize)
            norm.w[e] = loadNorms4(norms + (vector == headsPerGroup ? headSize : 0) + e * 128 + lane * 4);
    }
}

// receiveHeads() of Attention.cuh for n positions, of which the first `count` are to be kept.
template <int n>
APUS_DEVICE void receiveAll(Shared& shared, Wide& wide, const u8* exchange, const Turns& turns, int layer, const HeadNorm& norm, CacheElement* keys,
                            CacheElement* values, u8* exponents, int position, int count, int rope) {
    const int warp = threadIdx.x / 32, vector = warp % vectorWarps, lane = threadIdx.x % 32;
    const int group = blockIdx.x / members;
    const bool isWriter = blockIdx.x % keyMembers == 0;
    constexpr int each = headParts, half = headSize / 2, rounds = ceilDivide(n, positionsTogether);
    if (vector >= headsPerGroup + 2 || warp / vectorWarps >= turns.live) return;
    const bool active = lane * 4 < headSize, isKey = vector == headsPerGroup, isValue = vector == headsPerGroup + 1;
    const u8* at = exchange + (Area::inputAt + warp / vectorWarps * Area::inputs + (group * (headsPerGroup + 2) + vector) * (headSize / 4) + lane) * 16;
    constexpr int stride = positionsTogether * Area::inputs * 16;
    Vec4 packets[rounds][each] = {};
    if (active) {
#pragma unroll
        for (int r = 0; r < rounds; ++r)
            if (turns.has(r * positionsTogether)) {
#pragma unroll
                for (int e = 0; e < each; ++e) packets[r][e] = loadPacket(at + r * stride + e * 512);
            }
    }
#pragma unroll
    for (int r = 0; r < rounds; ++r) {
        const int p = r * positionsTogether + warp / vectorWarps;
        if (p >= n || !turns.has(r * positionsTogether)) continue;
        float v[each][4] = {};
        Float2 turnBy[4];
#pragma unroll
        for (int j = 0; j < 4; ++j) turnBy[j] = wide.rope[p][rope][(lane * 4 + j) % half];
        if (active) {
            confirm<Packet4>(packets[r], at + r * stride, 512, turns.tag(p), shared, Wait::input, layer);
#pragma unroll
            for (int e = 0; e < each; ++e) Packet4::unpack(v[e], packets[r][e]);
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
            putVector(v, active, vector, wide.queries[p][isKey || isValue ? 0 : vector], isKey ? wide.key[p] : wide.value[p],
                      isWriter && p < count ? (isKey ? keys : values) + static_cast<u32>(position + p) * rowElements : nullptr,
                      exponents + static_cast<u32>(position + p) * keyHeads);
            continue;
        }
        if (!active) continue;
#pragma unroll
        for (int e = 0; e < each; ++e) {
            const int element = e * 128 + lane * 4;
            if (!isKey && !isValue) {
                constexpr float unit = DECODE_SCALE * log2E;
                const u32 low = packBF16(v[e][0] * unit, v[e][1] * unit), high = packBF16(v[e][2] * unit, v[e][3] * unit);
                const Float2 first = unpackBF16(low), second = unpackBF16(high);
                *reinterpret_cast<Vec2*>(wide.queries[p][vector][0] + element) = {low, high};
                *reinterpret_cast<Vec2*>(wide.queries[p][vector][1] + element) = {packBF16(v[e][0] * unit - first.x, v[e][1] * unit - first.y),
                                                                                  packBF16(v[e][2] * unit - second.x, v[e][3] * unit - second.y)};
                continue;
            }
            const Vec2 bits = {packBF16(v[e][0], v[e][1]), packBF16(v[e][2], v[e][3])};
            *reinterpret_cast<Vec2*>((isKey ? wide.key[p] : wide.value[p]) + element) = bits;
            if (isWriter && p < count)
                *reinterpret_cast<Vec2*>((isKey ? keys : values) + static_cast<u32>(position + p) * rowElements + element) = bits;
        }
    }
}

// Keys and values of the step's own positions to where they belong in a tile that begins at `first`.
APUS_DEVICE void insertAll(CacheTile& tile, const Wide& wide, int live, int position, int first) {
#pragma unroll 1
    for (int p = 0; p < live; ++p) {
        const int row = position + p - first;
        if (row < 0 || row >= tileRows) continue;
        tile.insert(wide.key[p], wide.value[p], row);
    }
}

// Parts of an attention that are exchanged in a pair of blocks, if at all.
constexpr int nearParts = hasPairs ? 2 : 1;

// What a block attends to for n positions: the tiles from `from` on, for all of them together where they begin at the same place.
template <int n> struct Spans {
    int from, end, most;  // of all; parts at most
    int to[n], splits[n];
    bool isPart, isTogether;

    __device__ __forceinline__ Spans(const Arguments& a, int window, int position, int member, const Turns& turns) {
        const Span first(a, window, position, member);
        // A part without positions begins nowhere: it is together with any other.
        from = first.from, to[0] = first.from < first.to ? first.to : 0, splits[0] = most = first.parts, isPart = first.isPart, isTogether = true;
#pragma unroll
        for (int p = 1; p < n; ++p) {
            to[p] = 0, splits[p] = 1;
            if (!turns.has(p)) continue;
            const Span other(a, window, position + p, member);
            splits[p] = other.parts;
            isPart |= other.isPart;
            if (other.from >= other.to) continue;
            bool isFirst = true;
#pragma unroll
            for (int i = 0; i < p; ++i) isFirst &= to[i] == 0;
            if (isFirst) from = other.from;
            isTogether &= other.from == from;
            to[p] = other.to;
        }
        end = to[0];
#pragma unroll
        for (int p = 1; p < n; ++p) end = to[p] > end ? to[p] : end, most = splits[p] > most ? splits[p] : most;
    }
    __device__ __forceinline__ int toOf(int p) const {
        int v = to[0];
#pragma unroll
        for (int i = 1; i < n; ++i) v = p == i ? to[i] : v;
        return v;
    }
    __device__ __forceinline__ int splitsOf(int p) const {
        int v = splits[0];
#pragma unroll
        for (int i = 1; i < n; ++i) v = p == i ? splits[i] : v;
        return v;
    }
    // Whether the block has a part of position p's attention.
    __device__ __forceinline__ bool hasPart(int p, int member) const { return member < splitsOf(p) || splitsOf(p) <= nearParts; }
};

// attend() of Attention.cuh for the heads of one set: lane 4 g + q gets those of slot 4 set + q, a slot a head of a position. Only positions
// from `firstPosition` to before `endPosition` of the step are attended for; `to` is the lane's own end, `end` the last of all.
template <int n>
APUS_DEVICE void attendSet(Wide& wide, int live, int set, int from, int to, int end, int firstPosition, int endPosition, CacheTile& tile, bool isLoaded,
                           const CacheElement* keys, const CacheElement* values, const u8* exponents, int behind, int position) {
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, row = lane / 4;
    const int slot = set * 4 + lane % 4, mine = slot / headsPerGroup, head = slot % headsPerGroup;
    const int asked = set * 4 + row / 2;  // the slot whose query the lane loads
    const int cached = end < position ? end : position;
    float largest = nothing, sum = 0.0f, out[CacheTile::blocks][CacheTile::steps][4] = {};
    int scale = 0;  // largest exponent of a value
    for (int first = from + firstTile() * tileRows; first < end; first += blockRows) {
        if (!isLoaded) {
            if (first < cached) tile.loadKeys(keys, first, cached), tile.loadValues(values, first, cached);
            else tile.clear();
            if (first < cached) tile.loadExponents(exponents, behind, first, cached);
        }
        isLoaded = false;
        if (position + live > first && position - first < tileRows) insertAll(tile, wide, live, position, first);
        const CacheFactors factors(tile);
        float grow = 1.0f, lowWeight = 1.0f, highWeight = 1.0f;
        if constexpr (hasCachedCodes) {
            u32 mostValue = factors.mostValue(first, to);  // of the lane's own position
#pragma unroll
            for (int offset = 4; offset < 32; offset *= 2) mostValue = max(mostValue, __shfl_xor_sync(0xffffffffu, mostValue, offset));
            grow = factors.weights(lowWeight, highWeight, scale, mostValue);
        }
        float scores[CacheTile::chains][4] = {};
#pragma unroll
        for (int i = 0; i < headSize / 32; ++i) {
            Vec4 q = {0, 0, 0, 0};
            if (asked < n * headsPerGroup)
                q = *reinterpret_cast<const Vec4*>(wide.queries[asked / headsPerGroup][asked % headsPerGroup][row % 2] + lane % 4 * 8 + i * 32);
            tile.multiplyKeys(scores, i, q);
        }
        float low, high;
        factors.scores(scores, low, high);
        if (first + row >= to) low = -INFINITY_F;
        if (first + row + 8 >= to) high = -INFINITY_F;
        float most = fmaxf(low, high);
#pragma unroll
        for (int offset = 4; offset < 32; offset *= 2) most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, offset));
        most = fmaxf(most, largest);
        const float fade = exp2Fast(largest - most);
        largest = most;
        low = exp2Fast(low - most), high = exp2Fast(high - most);
        sum = sum * fade + (low + high);
        if constexpr (hasCachedCodes) low *= lowWeight, high *= highWeight;
        const Vec2 p = weightColumns(low, high, lane % 4 * 8 + row / 2, tile);
#pragma unroll
        for (int i = 0; i < CacheTile::blocks; ++i)
#pragma unroll
            for (int j = 0; j < CacheTile::steps; ++j) {
#pragma unroll
                for (int k = 0; k < 4; ++k) out[i][j][k] *= hasCachedCodes ? fade * grow : fade;
                tile.multiplyValues(out[i][j], i, j, p);
            }
    }
#pragma unroll
    for (int offset = 4; offset < 32; offset *= 2) sum += __shfl_xor_sync(0xffffffffu, sum, offset);
    if (mine < firstPosition || mine >= endPosition) return;
    Parts<warps>& parts = wide.attended(mine);
    putSums(out, scale, parts.values[warp], head, row);
    if (row == 0) parts.most[head][warp] = largest, parts.sums[head][warp] = sum;
}

// The warp's columns of position p's result, to the output product's B operand.
template <int n> APUS_DEVICE void putColumns(Wide& wide, int p, const float (&out)[laneColumns]) {
    const u32 thread = threadIndex(), lane = thread % 32, column = thread / 32 * warpColumns + lane * laneColumns;
    if (lane * laneColumns >= warpColumns) return;
    if constexpr (laneColumns == 1) {
        putOneAt<n>(wide.attendedVector, p, column, out[0]);
    } else {
#pragma unroll
        for (int j = 0; j < laneColumns; j += 2) putPairAt<n>(wide.attendedVector, p, column + j, out[j], out[j + 1]);
    }
}

// attention() of Attention.cuh: from the exchanged q, k, v of n positions to the output product's B operand.
template <int n>
APUS_DEVICE void attendAll(Shared& shared, Wide& wide, const Arguments& a, u8* exchange, const Turns& turns, int layer, const HeadNorm& norm, CacheElement* keys,
                           CacheElement* values, int position, int count, const LayerInfo& info, const Spans<n>& spans, CacheTile& tile,
                           u8* exponents, int behind) {
    const int member = blockIdx.x % members;
    const int live = turns.live, sets = live > 1 ? ceilDivide(n * headsPerGroup, 4) : ceilDivide(headsPerGroup, 4);
    u8* parts = exchange + (Area::splitAt + blockIndex() / members * (maximumSplits * splitPackets)) * 16;
    if (spans.isPart) {
        receiveAll<n>(shared, wide, exchange, turns, layer, norm, keys, values,
                      exponents + (threadIdx.x / 32 % vectorWarps == headsPerGroup ? 0 : behind), position, count, info.rope);
        syncConsumers();
        // The tile that is loaded serves all sets, where it is the only one. Positions that begin elsewhere go one by one.
        bool isLoaded = spans.isTogether && spans.from + firstTile() * tileRows < spans.end;
        const bool isLong = spans.end - spans.from > blockRows;
#pragma unroll 1
        for (int i = 0; i < (spans.isTogether ? sets : live * sets); ++i) {
            int set = i, first = 0, last = live, from = spans.from, end = spans.end;
            int to = spans.toOf((set * 4 + static_cast<int>(threadIdx.x % 4)) / headsPerGroup);
            if (!spans.isTogether) {
                const int p = i / sets;
                set = i % sets;
                if (set * 4 >= (p + 1) * headsPerGroup || set * 4 + 4 <= p * headsPerGroup) continue;
                const Span own(a, info.window, position + p, member);
                if (!own.isPart) continue;
                first = p, last = p + 1, from = own.from, end = to = own.to;
            }
            attendSet<n>(wide, live, set, from, to, end, first, last, tile, isLoaded, keys, values, exponents, behind, position);
            isLoaded &= !isLong;
        }
        syncConsumers();
        if (hasColumns(threadIdx.x / 32)) {
#pragma unroll 1
            for (int p = 0; p < live; ++p) {
                if (!spans.hasPart(p, member)) continue;
                float out[laneColumns], logSum;
                merge(wide.attended(p), out, logSum);
                if (hasPairs && spans.splitsOf(p) == 2) {
                    sendPart(shared, out, logSum, p);
                    // The warp's own columns of the parts have been read, and keep its part.
                    const u32 thread = threadIndex(), column = thread / 32 * warpColumns + thread % 32 * laneColumns % warpColumns;
#pragma unroll
                    for (int j = 0; j < laneColumns; ++j) wide.attended(p).values[0][column + j] = out[j];
                    wide.attended(p).values[1][column] = logSum;
                } else if (spans.splitsOf(p) > 1) {
                    publishPart(parts + p * Area::splits * 16, out, logSum, turns.tag(p));
                } else {
                    putColumns<n>(wide, p, out);
                }
            }
        }
    }
    if (spans.most > 1 && hasColumns(threadIdx.x / 32)) {
#pragma unroll 1
        for (int p = 0; p < live; ++p) {
            if (spans.splitsOf(p) < 2) continue;
            if (hasPairs && spans.splitsOf(p) == 2) {
                const u32 thread = threadIndex(), column = thread / 32 * warpColumns + thread % 32 * laneColumns % warpColumns;
                float out[laneColumns];
#pragma unroll
                for (int j = 0; j < laneColumns; ++j) out[j] = wide.attended(p).values[0][column + j];
                joinPair(shared, out, wide.attended(p).values[1][column], layer, p);
                putColumns<n>(wide, p, out);
                continue;
            }
            join(shared, parts + p * Area::splits * 16, spans.splitsOf(p), turns.tag(p), layer,
                 [&](int column, float x, float y) { putPairAt<n>(wide.attendedVector, p, column, x, y); });
        }
    }
    syncConsumers();
}

}  // namespace apus
