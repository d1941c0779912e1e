// Rows of a cache of E4M3 codes (DECODE_CACHE 8): how they are made, and the numbers of what they meet.
//
// A row is the D elements of one position and key-value head, keys or values: codes times a factor 2^(e - 127) of the row, e the least with
// max |x| / factor <= 448, from 1 to 254; 127 for a row of zeros. A row with NaN or infinity has codes of NaN. The token's own row is coded
// before anything attends to it.
//
// Codes become f16, which holds each of them, on the way into mma; what they meet is f16 in two columns, as the weights' vector is. A key's factor
// is put to its score. A value's is put to its probability as 2^(e - E + 15), E the largest exponent that the warp has met, whose 2^(E - 142) is put
// to the sums: so the column is at most 2^15, and of a row with a factor 2^-d of the largest a probability keeps 20 bits down to 2^(d - 29).
#pragma once
#include "Common/Float8.cuh"
#include "Decode/Products.cuh"

namespace apus {

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
    return a.cacheExponents + static_cast<u64>(2 * layer) * a.cacheCapacity * keyHeads + blockIdx.x / keyMembers;
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
