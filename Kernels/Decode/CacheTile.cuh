// A warp's tile of 16 rows of the cache, bf16 or codes (CacheCodes.cuh), as operands of mma.
#pragma once
#include "Common/Loads.cuh"
#include "Decode/CacheCodes.cuh"

namespace apus {

static_assert(headSize == 64 || headSize == 128 || headSize == 256, "head sizes of 64, 128 and 256");

// Cache rows were written through other blocks. What is read once, no block reads again before the next token.
template <bool once> APUS_DEVICE Vec4 loadCached16(const void* p, u64 policy) {
    if constexpr (once) return loadFresh16(p, policy);
    else return loadFresh16(p);
}

// The tile of a block that a warp begins with: the last warp has the first, since the first warps receive q, k and v.
APUS_DEVICE int firstTile() { return warps - 1 - static_cast<int>(threadIdx.x / 32); }

// 16 positions. Keys are A operands of the scores, positions by elements: lane 4 g + q holds rows g and g + 8, of each
// the 16-byte units q, q + 4, .. (the order of the elements is free, as long as the queries have the same). Values are A operands
// of the result, elements by positions: the lane holds rows 2 q, 2 q + 1, 2 q + 8, 2 q + 9, of each the units g, g + 8, ..
// Exponents, where there are any: lane l holds that of key l or of value l - 16.
struct CacheTile {
    static constexpr int unit = 16 / static_cast<int>(sizeof(CacheElement));  // elements
    static constexpr int keyUnits = rowBytes / 64, valueUnits = ceilDivide(rowBytes, 128), valueElements = rowBytes < 128 ? unit / 2 : unit;
    // Sums of values: 16 elements an mma, half of them missing where a row of bf16 has 128 bytes.
    static constexpr int blocks = ceilDivide(headSize, 128), steps = hasCachedCodes && headSize == 64 ? 4 : 8;
    static constexpr int chains = hasCachedCodes || headSize == 128 ? 4 : 2;  // sums of a score at a time: an mma waits for the one before in its sum
    // Of the largest rows the registers hold a tile's keys or its values beside the sums, not both.
    static constexpr bool isLarge = rowBytes > 256;

    Vec4 keys[2][keyUnits], values[valueUnits][4];
    u32 exponents, later[2];  // later: of the warp's next two tiles, where tiles come through the ring

    // Rows from `end` on are the last one again, and get no weight. Zeros where the cache has no row.
    template <bool once = false> __device__ __forceinline__ void loadKeys(const CacheElement* cache, int first, int end, u64 policy = 0) {
        const int lane = threadIdx.x % 32, row = first + lane / 4;
#pragma unroll
        for (int r = 0; r < 2; ++r) {
            const CacheElement* from = opaque(cache + (static_cast<u32>(row + 8 * r < end ? row + 8 * r : end - 1) * rowElements + lane % 4 * unit));
#pragma unroll
            for (int i = 0; i < keyUnits; ++i) keys[r][i] = loadCached16<once>(from + i * (4 * unit), policy);
        }
    }
    template <bool once = false> __device__ __forceinline__ void loadValues(const CacheElement* cache, int first, int end, u64 policy = 0) {
        const int lane = threadIdx.x % 32, row = first + lane % 4 * 2;
#pragma unroll
        for (int r = 0; r < 4; ++r) {
            const int mine = row + r % 2 + r / 2 * 8;
            const CacheElement* from = opaque(cache + (static_cast<u32>(mine < end ? mine : end - 1) * rowElements + lane / 4 * valueElements));
#pragma unroll
            for (int i = 0; i < valueUnits; ++i) {
                if constexpr (rowBytes < 128) {
                    const Vec2 half = loadFresh8(from);
                    values[i][r] = {half.x, half.y, 0, 0};
                } else values[i][r] = loadCached16<once>(from + i * (8 * unit), policy);
            }
        }
    }
    // `from`: exponentsOf(), `behind`: from a key's to a value's.
    static __device__ __forceinline__ u32 exponentAt(const u8* from, int behind, int first, int end) {
        const int lane = threadIdx.x % 32, row = first + lane % 16 < end ? first + lane % 16 : end - 1;
        return loadFreshByte(from + (lane < 16 ? 0 : behind) + static_cast<u32>(row) * keyHeads);
    }
    __device__ __forceinline__ void loadExponents(const u8* from, int behind, int first, int end) {
        if constexpr (hasCachedCodes) exponents = exponentAt(from, behind, first, end);
    }
    // The same out of the ring, where a row lies in runs of 128 bytes, their units of 16 swizzled; `rows` of the round's 128 are there.
    // Where none of a warp's are, its tile is zero or, of codes and of heads of 128, what it was.
    template <bool isKeys> __device__ __forceinline__ void take(Weights& weights, Shared& shared, int rows, int layer) {
        const int tile = firstTile(), lane = threadIdx.x % 32, chunks = chunksOf(rows), mine = rows - tile * tileRows;
        if constexpr (isLarge) zero<isKeys, !isKeys>();  // what was in the registers is not kept alive
        for (int chunk = 0; chunk < chunks; ++chunk) {
            waitBarrier(weights.full + weights.slot * 8, weights.parity, shared, Wait::chunk, layer);
            if (tile / chunkTiles == chunk && mine > 0) {
                const u32 from = weights.ring + weights.slot * chunkBytes;
#pragma unroll
                for (int r = 0; r < (isKeys ? 2 : 4); ++r) {
                    const int wanted = isKeys ? lane / 4 + 8 * r : lane % 4 * 2 + r % 2 + r / 2 * 8;
                    const u32 row = tile % chunkTiles * tileRows + (wanted < mine ? wanted : mine - 1), at = from + row * 128;
                    if constexpr (isKeys) {
#pragma unroll
                        for (int i = 0; i < keyUnits; ++i)
                            keys[r][i] = loadShared16(at + i / 2 * (chunkRows * 128) + (((lane % 4 + i % 2 * 4) ^ (row & 7)) << 4));
                    } else {
#pragma unroll
                        for (int i = 0; i < valueUnits; ++i) values[i][r] = loadShared16(at + i * (chunkRows * 128) + (((lane / 4) ^ (row & 7)) << 4));
                    }
                }
            }
            __syncwarp();
            if (lane == 0) barrierArrive(weights.empty + weights.slot * 8);
            if (++weights.slot == ringSlots) weights.slot = 0, weights.parity ^= 1;
        }
        if (!hasCachedCodes && headSize < 128 && mine <= 0) zero<isKeys, !isKeys>();
    }
    // The same out of the stage, keys and values, of which `rows` are there. Zeros where none of the warp's are.
    __device__ __forceinline__ void takeStaged(u32 stage, int rows) {
        const int tile = firstTile(), lane = threadIdx.x % 32, mine = rows - tile * tileRows;
        if (mine <= 0) return clear();
#pragma unroll
        for (int r = 0; r < 2; ++r) {
            const int wanted = lane / 4 + 8 * r;
            const u32 row = tile * tileRows + (wanted < mine ? wanted : mine - 1), at = stage + row * 128;
#pragma unroll
            for (int i = 0; i < keyUnits; ++i) keys[r][i] = loadShared16(at + i / 2 * (blockRows * 128) + (((lane % 4 + i % 2 * 4) ^ (row & 7)) << 4));
        }
#pragma unroll
        for (int r = 0; r < 4; ++r) {
            const int wanted = lane % 4 * 2 + r % 2 + r / 2 * 8;
            const u32 row = tile * tileRows + (wanted < mine ? wanted : mine - 1), at = stage + blockRows * rowBytes + row * 128;
#pragma unroll
            for (int i = 0; i < valueUnits; ++i) values[i][r] = loadShared16(at + i * (blockRows * 128) + (((lane / 4) ^ (row & 7)) << 4));
        }
    }
    template <bool hasKeys, bool hasValues> __device__ __forceinline__ void zero() {
#pragma unroll
        for (int r = 0; r < 2; ++r)
#pragma unroll
            for (int i = 0; i < keyUnits; ++i)
                if (hasKeys) keys[r][i] = {0, 0, 0, 0};
#pragma unroll
        for (int r = 0; r < 4; ++r)
#pragma unroll
            for (int i = 0; i < valueUnits; ++i)
                if (hasValues) values[i][r] = {0, 0, 0, 0};
    }
    __device__ __forceinline__ void clear() {
        zero<true, true>();
        if constexpr (hasCachedCodes) exponents = 127;
    }
    // The token's own key and value do not come from the cache. `isOwn`: nor does their exponent.
    template <bool isOwn = true, bool hasKeys = true, bool hasValues = true>
    __device__ __forceinline__ void insert(const CacheElement* key, const CacheElement* value, int row) {
        const int lane = threadIdx.x % 32;
#pragma unroll
        for (int r = 0; r < 2; ++r)
            if (hasKeys && lane / 4 + 8 * r == row) {
#pragma unroll
                for (int i = 0; i < keyUnits; ++i) keys[r][i] = *reinterpret_cast<const Vec4*>(key + lane % 4 * unit + i * (4 * unit));
            }
#pragma unroll
        for (int r = 0; r < 4; ++r)
            if (hasValues && lane % 4 * 2 + r % 2 + r / 2 * 8 == row) {
#pragma unroll
                for (int i = 0; i < valueUnits; ++i) {
                    if constexpr (rowBytes < 128) {
                        const Vec2 v = *reinterpret_cast<const Vec2*>(value + lane / 4 * valueElements);
                        values[i][r] = {v.x, v.y, 0, 0};
                    } else {
                        values[i][r] = *reinterpret_cast<const Vec4*>(value + lane / 4 * unit + i * (8 * unit));
                    }
                }
            }
        if constexpr (hasCachedCodes && isOwn)
            if (lane % 16 == row) exponents = (lane < 16 ? key : value)[headSize];
    }

    // Adds elements 32 i and on, in the queries' order, to the scores' sums.
    __device__ __forceinline__ void multiplyKeys(float (&scores)[chains][4], int i, const Vec4& q) const {
        if constexpr (hasCachedCodes) {
            const Vec4 &a = keys[0][i / 2], &b = keys[1][i / 2];
            const Vec2 x = decodeCodes(i % 2 == 0 ? a.x : a.z), y = decodeCodes(i % 2 == 0 ? b.x : b.z);
            mmaF16(scores[i * 2 % chains], {x.x, y.x, x.y, y.y}, {q.x, q.y});
            const Vec2 z = decodeCodes(i % 2 == 0 ? a.y : a.w), w = decodeCodes(i % 2 == 0 ? b.y : b.w);
            mmaF16(scores[i * 2 % chains + 1], {z.x, w.x, z.y, w.y}, {q.z, q.w});
        } else {
            mma(scores[i * 2 % chains], {keys[0][i].x, keys[1][i].x, keys[0][i].y, keys[1][i].y}, {q.x, q.y});
            mma(scores[i * 2 % chains + 1], {keys[0][i].z, keys[1][i].z, keys[0][i].w, keys[1][i].w}, {q.z, q.w});
        }
    }
    // Adds 16 elements' sums of values times p. The lane gets those of the lower element in the first two, of the upper one in the others.
    __device__ __forceinline__ void multiplyValues(float (&out)[4], int i, int j, Vec2 p) const {
        if constexpr (hasCachedCodes) {
            // Codes 2 j and 2 j + 1 of rows 2 q and 2 q + 1, then of rows 2 q + 8 and 2 q + 9.
            const auto pick = [&](int r) -> Vec2 {
                const Vec4 &x = values[i][r], &y = values[i][r + 1];
                const u32 u = j < 2 ? x.x : j < 4 ? x.y : j < 6 ? x.z : x.w, v = j < 2 ? y.x : j < 4 ? y.y : j < 6 ? y.z : y.w;
                return decodeCodes(__byte_perm(u, v, j % 2 == 0 ? 0x5140 : 0x7362));
            };
            const Vec2 a = pick(0), b = pick(2);
            mmaF16(out, {a.x, a.y, b.x, b.y}, p);
        } else {
            const auto pair = [&](int half, int r) -> u32 {
                if (2 * i + half >= headSize / 64) return 0;
                const Vec4 &x = values[(2 * i + half) % (headSize / 64)][r], &y = values[(2 * i + half) % (headSize / 64)][r + 1];
                const u32 u = j < 2 ? x.x : j < 4 ? x.y : j < 6 ? x.z : x.w, v = j < 2 ? y.x : j < 4 ? y.y : j < 6 ? y.z : y.w;
                return __byte_perm(u, v, j % 2 == 0 ? 0x5410 : 0x7632);
            };
            mma(out, {pair(0, 0), pair(1, 0), pair(0, 2), pair(1, 2)}, p);
        }
    }
    // A row of codes that are all NaN, where the products would not see it.
    static __device__ __forceinline__ bool isFault(const Vec4& row) { return losesNaN && (row.x & 0xff) == 0x7f; }
};

// What a lane knows of its tile's factors: those of rows g and g + 8.
struct CacheFactors {
    u32 lowKey, highKey, lowValue, highValue;
    bool isLowFault, isHighFault;  // of the keys; seen here, since the next tile's come ahead of the scores

    __device__ __forceinline__ CacheFactors(const CacheTile& tile) {
        isLowFault = CacheTile::isFault(tile.keys[0][0]), isHighFault = CacheTile::isFault(tile.keys[1][0]);
        if constexpr (!hasCachedCodes) return;
        const int row = threadIdx.x % 32 / 4;
        lowKey = __shfl_sync(0xffffffffu, tile.exponents, row), highKey = __shfl_sync(0xffffffffu, tile.exponents, row + 8);
        lowValue = __shfl_sync(0xffffffffu, tile.exponents, row + 16), highValue = __shfl_sync(0xffffffffu, tile.exponents, row + 24);
    }
    // The lane's head's scores of its two rows from the products' sums.
    __device__ __forceinline__ void scores(const float (&s)[CacheTile::chains][4], float& low, float& high) const {
        float v[4];
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            v[i] = s[0][i] + s[1][i];
            if constexpr (CacheTile::chains == 4) v[i] += s[CacheTile::chains - 2][i] + s[CacheTile::chains - 1][i];
        }
        if constexpr (hasCachedCodes) {
            low = (v[0] + v[1] * cacheRest) * scoreUnit * asFloat(lowKey << 23);
            high = (v[2] + v[3] * cacheRest) * scoreUnit * asFloat(highKey << 23);
            if (isLowFault) low = asFloat(0x7fc00000u);
            if (isHighFault) high = asFloat(0x7fc00000u);
        } else {
            low = v[0] + v[1], high = v[2] + v[3];
        }
    }
    // The larger of the two values' exponents, of rows before `to`.
    __device__ __forceinline__ u32 mostValue(int first, int to) const {
        const int row = first + static_cast<int>(threadIdx.x % 32 / 4);
        const u32 low = row < to ? lowValue : 0, high = row + 8 < to ? highValue : 0;
        return low > high ? low : high;
    }
    // What makes weights of codes of the probabilities. `scale` is the largest exponent so far, `most` the tile's; returns the factor for the
    // sums so far.
    __device__ __forceinline__ float weights(float& low, float& high, int& scale, u32 most) const {
        const int larger = static_cast<int>(most) > scale ? static_cast<int>(most) : scale;
        const float grow = powerOfTwo(scale - larger);
        scale = larger;
        // A row that is not attended to may have a larger exponent; its probability is zero.
        const int lowBy = static_cast<int>(lowValue) - scale, highBy = static_cast<int>(highValue) - scale;
        low = powerOfTwo((lowBy < 0 ? lowBy : 0) + weightShift), high = powerOfTwo((highBy < 0 ? highBy : 0) + weightShift);
        return grow;
    }
};

// The weights of a tile's rows, of the lanes' rows g and g + 8, as B operand: the lane gets rows 2 q, 2 q + 1, 2 q + 8, 2 q + 9 of the head whose
// lane for row 2 q is `source`, even columns rounded, odd columns the rest.
APUS_DEVICE Vec2 weightColumns(float low, float high, int source, const CacheTile& tile) {
    const bool isRest = threadIdx.x % 32 / 4 % 2 == 1;
    float p0 = __shfl_sync(0xffffffffu, low, source), p1 = __shfl_sync(0xffffffffu, low, source + 4);
    float p2 = __shfl_sync(0xffffffffu, high, source), p3 = __shfl_sync(0xffffffffu, high, source + 4);
    if constexpr (hasCachedCodes) {
        if (CacheTile::isFault(tile.values[0][0])) p0 = asFloat(0x7fc00000u);
        if (CacheTile::isFault(tile.values[0][1])) p1 = asFloat(0x7fc00000u);
        if (CacheTile::isFault(tile.values[0][2])) p2 = asFloat(0x7fc00000u);
        if (CacheTile::isFault(tile.values[0][3])) p3 = asFloat(0x7fc00000u);
        const Vec2 x = splitF16(p0, p1), y = splitF16(p2, p3);
        return isRest ? Vec2{x.y, y.y} : Vec2{x.x, y.x};
    } else {
        Vec2 p = {packBF16(p0, p1), packBF16(p2, p3)};
        if (isRest) {
            const Float2 x = unpackBF16(p.x), y = unpackBF16(p.y);
            p = {packBF16(p0 - x.x, p1 - x.y), packBF16(p2 - y.x, p3 - y.y)};
        }
        return p;
    }
}

// The lane's sums of values to those of its warp; lane 4 `row` + q.
APUS_DEVICE void putSums(const float (&out)[CacheTile::blocks][CacheTile::steps][4], int scale, float* values, int head, int row) {
    if constexpr (hasCachedCodes) {
        const float unit = powerOfTwo(scale - 127 - weightShift + codeShift);
#pragma unroll
        for (int i = 0; i < CacheTile::blocks; ++i) {
            float v[CacheTile::steps][2];
#pragma unroll
            for (int j = 0; j < CacheTile::steps; ++j) {
                v[j][0] = (out[i][j][0] + out[i][j][1] * cacheRest) * unit;
                v[j][1] = (out[i][j][2] + out[i][j][3] * cacheRest) * unit;
            }
            Float4* at = reinterpret_cast<Float4*>(values + head * headSize + i * 128 + row * (2 * CacheTile::steps));
#pragma unroll
            for (int j = 0; j < CacheTile::steps; j += 2) at[j / 2] = {v[j][0], v[j][1], v[j + 1][0], v[j + 1][1]};
        }
    } else {
#pragma unroll
        for (int i = 0; i < headSize / 64; ++i) {
            float* target = values + head * headSize + i * 64 + row * 8;
            float v[8];
#pragma unroll
            for (int j = 0; j < 8; ++j) v[j] = out[i / 2][j][i % 2 * 2] + out[i / 2][j][i % 2 * 2 + 1];
            *reinterpret_cast<Float4*>(target) = {v[0], v[1], v[2], v[3]};
            *reinterpret_cast<Float4*>(target + 4) = {v[4], v[5], v[6], v[7]};
        }
    }
}

}  // namespace apus
