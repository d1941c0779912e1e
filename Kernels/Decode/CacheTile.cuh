// Rows of the cache: how they are kept, and a warp's tile of 16 of them as operands of mma.
//
// A row is the D elements of one position and key-value head, keys or values: bf16 or, with DECODE_CACHE 8, E4M3 codes times a factor 2^(e - 127)
// of the row, e the least with max |x| / factor <= 448, from 1 to 254; 127 for a row of zeros. A row with NaN or infinity has codes of NaN.
// The token's own row is coded before anything attends to it.
//
// Codes become f16, which holds each of them, on the way into mma; what they meet is f16 in two columns, as the weights' vector is. A key's factor
// is put to its score. A value's is put to its probability as 2^(e - E + 15), E the largest exponent that the warp has met, whose 2^(E - 142) is put
// to the sums: so the column is at most 2^15, and of a row with a factor 2^-d of the largest a probability keeps 22 bits down to 2^(d - 29).
#pragma once
#include "Common/Float8.cuh"
#include "Decode/Products.cuh"

namespace apus {

static_assert(headSize == 64 || headSize == 128 || headSize == 256, "head sizes of 64, 128 and 256");

// Cache rows were written through other blocks: past L1. What is read once, no block reads again before the next token.
template <bool once = false> APUS_DEVICE Vec4 loadCached16(const void* p, u64 policy = 0) {
    Vec4 v;
    if constexpr (once)
        asm volatile("ld.global.cg.L2::cache_hint.v4.u32 {%0, %1, %2, %3}, [%4], %5;"
                     : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(p), "l"(policy));
    else asm volatile("ld.global.cg.v4.u32 {%0, %1, %2, %3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(p));
    return v;
}
APUS_DEVICE Vec4 loadCached8(const void* p) {
    Vec4 v = {0, 0, 0, 0};
    asm volatile("ld.global.cg.v2.u32 {%0, %1}, [%2];" : "=r"(v.x), "=r"(v.y) : "l"(p));
    return v;
}
APUS_DEVICE u32 loadCached1(const void* p) {
    u32 v;
    asm volatile("ld.global.cg.u8 %0, [%1];" : "=r"(v) : "l"(p));
    return v;
}

// The tile of a block that a warp begins with: the last warp has the first, since the first warps receive q, k and v.
APUS_DEVICE int firstTile() { return warps - 1 - static_cast<int>(threadIdx.x / 32); }

// ---- rows of codes ---------------------------------------------------------------------------------------------

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 890
constexpr bool losesNaN = true;  // decodeCodes makes 480 of it
constexpr int codeShift = 8;     // and 2^-8 of what a code means
#else
constexpr bool losesNaN = false;
constexpr int codeShift = 0;
#endif
// A query in f16 is 2^-8 of itself, good up to 1.6e7; what the first column lost lies in the second times 2^11, with probabilities too.
constexpr float queryUnit = 1.0f / 256, cacheRest = 1.0f / 2048, scoreUnit = 256.0f * (1 << codeShift);
constexpr int weightShift = 15;

// 2^n for n up to 127; what would be below 2^-126 is zero.
APUS_DEVICE float powerOfTwo(int n) { return asFloat(n > -127 ? static_cast<u32>(n + 127) << 23 : 0); }

// The exponent for the largest magnitude's bits: 448 is 1.75 * 2^8.
APUS_DEVICE u32 rowExponent(u32 most) {
    const int e = static_cast<int>((most + 0x1fffff) >> 23) - 8;
    return most == 0 || most >= 0x7f800000u ? 127 : e > 1 ? e : 1;
}
// Two numbers of a column in f16, and what that lost.
APUS_DEVICE Vec2 splitF16(float x, float y) {
    const u32 high = packF16(x, y);
    const Float2 kept = unpackF16(high);
    return {high, packF16((x - kept.x) * (1.0f / cacheRest), (y - kept.y) * (1.0f / cacheRest))};
}
// Where element k of a query lies: a lane's four elements of each of two mma side by side.
APUS_DEVICE int queryPlace(int k) { return hasCachedCodes ? k / 64 * 64 + k / 8 % 2 * 32 + k / 16 % 4 * 8 + k % 8 : k; }

// Where the exponents of a group's keys begin in a layer; those of its values lie cacheCapacity * G behind.
APUS_DEVICE u8* exponentsOf(const Arguments& a, int layer) {
    if constexpr (!hasCachedCodes) return nullptr;
    return a.cacheExponents + static_cast<u64>(2 * layer) * a.cacheCapacity * groups + blockIdx.x / members;
}

// ---- a warp's tile ---------------------------------------------------------------------------------------------

// 16 positions. Keys are A operands of the scores, positions by elements: lane 4 g + q holds rows g and g + 8, of each
// the 16-byte units q, q + 4, .. (the order of the elements is free, as long as the queries have the same). Values are A operands
// of the result, elements by positions: the lane holds rows 2 q, 2 q + 1, 2 q + 8, 2 q + 9, of each the units g, g + 8, ..
// Exponents, where there are any: lane l holds that of key l or of value l - 16.
struct CacheTile {
    static constexpr int unit = 16 / static_cast<int>(sizeof(CacheElement));  // elements
    static constexpr int keyUnits = rowBytes / 64, valueUnits = ceilDivide(rowBytes, 128), valueElements = rowBytes < 128 ? unit / 2 : unit;
    // Sums of values: 16 elements an mma, half of them missing where a row of bf16 has 128 bytes.
    static constexpr int blocks = ceilDivide(headSize, 128), steps = hasCachedCodes && headSize == 64 ? 4 : 8;

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
                if constexpr (rowBytes < 128) values[i][r] = loadCached8(from);
                else values[i][r] = loadCached16<once>(from + i * (8 * unit), policy);
            }
        }
    }
    // `from`: exponentsOf(), `behind`: from a key's to a value's.
    static __device__ __forceinline__ u32 exponentAt(const u8* from, int behind, int first, int end) {
        const int lane = threadIdx.x % 32, row = first + lane % 16 < end ? first + lane % 16 : end - 1;
        return loadCached1(from + (lane < 16 ? 0 : behind) + static_cast<u32>(row) * groups);
    }
    __device__ __forceinline__ void loadExponents(const u8* from, int behind, int first, int end) {
        if constexpr (hasCachedCodes) exponents = exponentAt(from, behind, first, end);
    }
    // The same out of the ring, where a row lies in runs of 128 bytes, their units of 16 swizzled; `rows` of the round's 128 are there.
    template <bool isKeys> __device__ __forceinline__ void take(Weights& weights, Shared& shared, int rows, int layer) {
        const int tile = firstTile(), lane = threadIdx.x % 32, chunks = chunksOf(rows), mine = rows - tile * tileRows;
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
        if (mine <= 0) {
            if constexpr (isKeys) {
#pragma unroll
                for (int r = 0; r < 2; ++r)
#pragma unroll
                    for (int i = 0; i < keyUnits; ++i) keys[r][i] = {0, 0, 0, 0};
            } else {
#pragma unroll
                for (int r = 0; r < 4; ++r)
#pragma unroll
                    for (int i = 0; i < valueUnits; ++i) values[i][r] = {0, 0, 0, 0};
            }
        }
    }
    __device__ __forceinline__ void clear() {
#pragma unroll
        for (int r = 0; r < 2; ++r)
#pragma unroll
            for (int i = 0; i < keyUnits; ++i) keys[r][i] = {0, 0, 0, 0};
#pragma unroll
        for (int r = 0; r < 4; ++r)
#pragma unroll
            for (int i = 0; i < valueUnits; ++i) values[i][r] = {0, 0, 0, 0};
        if constexpr (hasCachedCodes) exponents = 127;
    }
    // The token's own key and value do not come from the cache. `isOwn`: nor does their exponent.
    template <bool isOwn = true> __device__ __forceinline__ void insert(const CacheElement* key, const CacheElement* value, int row) {
        const int lane = threadIdx.x % 32;
#pragma unroll
        for (int r = 0; r < 2; ++r)
            if (lane / 4 + 8 * r == row) {
#pragma unroll
                for (int i = 0; i < keyUnits; ++i) keys[r][i] = *reinterpret_cast<const Vec4*>(key + lane % 4 * unit + i * (4 * unit));
            }
#pragma unroll
        for (int r = 0; r < 4; ++r)
            if (lane % 4 * 2 + r % 2 + r / 2 * 8 == row) {
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

    // Adds elements 32 i and on, in the queries' order, to the scores' two sums.
    __device__ __forceinline__ void multiplyKeys(float (&scores)[2][4], int i, const Vec4& q) const {
        if constexpr (hasCachedCodes) {
            const Vec4 &a = keys[0][i / 2], &b = keys[1][i / 2];
            const Vec2 x = decodeCodes(i % 2 == 0 ? a.x : a.z), y = decodeCodes(i % 2 == 0 ? b.x : b.z);
            mmaF16(scores[0], {x.x, y.x, x.y, y.y}, {q.x, q.y});
            const Vec2 z = decodeCodes(i % 2 == 0 ? a.y : a.w), w = decodeCodes(i % 2 == 0 ? b.y : b.w);
            mmaF16(scores[1], {z.x, w.x, z.y, w.y}, {q.z, q.w});
        } else {
            mma(scores[0], {keys[0][i].x, keys[1][i].x, keys[0][i].y, keys[1][i].y}, {q.x, q.y});
            mma(scores[1], {keys[0][i].z, keys[1][i].z, keys[0][i].w, keys[1][i].w}, {q.z, q.w});
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

    __device__ __forceinline__ CacheFactors(const CacheTile& tile) {
        if constexpr (!hasCachedCodes) return;
        const int row = threadIdx.x % 32 / 4;
        lowKey = __shfl_sync(0xffffffffu, tile.exponents, row), highKey = __shfl_sync(0xffffffffu, tile.exponents, row + 8);
        lowValue = __shfl_sync(0xffffffffu, tile.exponents, row + 16), highValue = __shfl_sync(0xffffffffu, tile.exponents, row + 24);
    }
    // The lane's head's scores of its two rows from the products' two sums.
    __device__ __forceinline__ void scores(const float (&s)[2][4], const CacheTile& tile, float& low, float& high) const {
        if constexpr (hasCachedCodes) {
            low = ((s[0][0] + s[1][0]) + (s[0][1] + s[1][1]) * cacheRest) * scoreUnit * asFloat(lowKey << 23);
            high = ((s[0][2] + s[1][2]) + (s[0][3] + s[1][3]) * cacheRest) * scoreUnit * asFloat(highKey << 23);
            if (CacheTile::isFault(tile.keys[0][0])) low = asFloat(0x7fc00000u);
            if (CacheTile::isFault(tile.keys[1][0])) high = asFloat(0x7fc00000u);
        } else {
            low = (s[0][0] + s[1][0]) + (s[0][1] + s[1][1]);
            high = (s[0][2] + s[1][2]) + (s[0][3] + s[1][3]);
        }
    }
    // The larger of the two values' exponents, of rows before `to`.
    __device__ __forceinline__ u32 mostValue(int first, int to) const {
        const int row = first + static_cast<int>(threadIdx.x % 32 / 4);
        const u32 low = row < to ? lowValue : 0, high = row + 8 < to ? highValue : 0;
        return low > high ? low : high;
    }
    // Makes probabilities weights of codes. `scale` is the largest exponent so far, `most` the tile's; returns the factor for the sums so far.
    __device__ __forceinline__ float weigh(float& low, float& high, int& scale, u32 most) const {
        const int larger = static_cast<int>(most) > scale ? static_cast<int>(most) : scale;
        const float grow = powerOfTwo(scale - larger);
        scale = larger;
        // A row that is not attended to may have a larger exponent; its probability is zero.
        const int lowBy = static_cast<int>(lowValue) - scale, highBy = static_cast<int>(highValue) - scale;
        low *= powerOfTwo((lowBy < 0 ? lowBy : 0) + weightShift), high *= powerOfTwo((highBy < 0 ? highBy : 0) + weightShift);
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

// A warp's vector of a group, normed and rotated, where the cache has codes: a query to `query`, a key or a value to `kept` and, where given, to its
// row of the cache and its exponent.
APUS_DEVICE void putVector(const float (&v)[headSize >= 128 ? headSize / 128 : 1][4], bool active, int vector, u16 (&query)[2][headSize],
                           CacheElement* kept, CacheElement* row, u8* exponent) {
    const int lane = threadIdx.x % 32;
    constexpr int each = headSize >= 128 ? headSize / 128 : 1;
    if (vector < headsPerGroup) {
        if (!active) return;
#pragma unroll
        for (int e = 0; e < each; ++e) {
            constexpr float unit = DECODE_SCALE * log2E * queryUnit;
            const Vec2 low = splitF16(v[e][0] * unit, v[e][1] * unit), high = splitF16(v[e][2] * unit, v[e][3] * unit);
            const int at = queryPlace(e * 128 + lane * 4);
            *reinterpret_cast<Vec2*>(query[0] + at) = {low.x, high.x};
            *reinterpret_cast<Vec2*>(query[1] + at) = {low.y, high.y};
        }
        return;
    }
    u32 most = 0;
#pragma unroll
    for (int e = 0; e < each; ++e)
#pragma unroll
        for (int j = 0; j < 4; ++j) most = max(most, asBits(v[e][j]) & 0x7fffffffu);
    most = __reduce_max_sync(0xffffffffu, most);
    const u32 own = rowExponent(most);
    const float inverse = asFloat((254 - own) << 23);
    const bool isFault = most >= 0x7f800000u;
    if (lane == 0) {
        kept[headSize] = static_cast<CacheElement>(own);
        if (row != nullptr) *exponent = static_cast<u8>(own);
    }
    if (!active) return;
#pragma unroll
    for (int e = 0; e < each; ++e) {
        const int element = e * 128 + lane * 4;
        const u32 codes = isFault ? 0x7f7f7f7fu : encodeFour(v[e][0] * inverse, v[e][1] * inverse, v[e][2] * inverse, v[e][3] * inverse);
        *reinterpret_cast<u32*>(kept + element) = codes;
        if (row != nullptr) *reinterpret_cast<u32*>(row + element) = codes;
    }
}

}  // namespace apus
