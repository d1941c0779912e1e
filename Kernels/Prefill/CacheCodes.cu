// The rows of an fp8 key-value cache as a pass over a prompt's rows reads and writes them.
//
//   row    = the D elements of one position and one key-value head, of keys or of values
//   factor = 2^(e - 127), e the least with max |x| / factor <= 448, from 1 to 254; 127 for a row of zeros
//   code   = E4M3(x / factor), to nearest even;  a row with NaN or infinity has codes of NaN alone, and e = 127
//
// apus_cache_codes makes one layer's rows 0 .. start + T - 1 as attention reads them, in bf16: those below `start` from their codes, those of the pass
// from the fused QKV buffer, whose rows become codes in the cache on the way. What a pass attends to is so what the cache holds, its own rows too.
// The factor is a power of two: code * factor is exact in bf16 (but below 2^-124, where bf16 itself rounds). Sources/CCPUKernels/cache.c is the
// same rule on the CPU, bit for bit.
//
// Shapes. keys, values: row t at + t * stride, [T, G, D] bf16; keyCodes, valueCodes [capacity, G, D] E4M3; keyExponents, valueExponents
// [capacity, G] u8; keyRows, valueRows [start + T, G, D] bf16. Pointers and strides are multiples of 16 bytes. D = CACHE_HEAD: 64, 128 or 256.
//
// Mapping. D / 8 threads own a row, 8 elements each. Blocks below `cachedBlocks` take cached rows, the others those of the pass, in a launch.
// Roof: bytes read and written; 3 bytes an element of a cached row.
//
// Launch: block 256, grid cachedBlocks + ceil(2 T G / rowsPerBlock), cachedBlocks = ceil(2 start G / rowsPerBlock), rowsPerBlock = 2048 / D.

#include "apus_constants.h"
#include "Common/Float8.cuh"
#include "Common/Types.cuh"

#ifndef CACHE_HEAD
#define CACHE_HEAD 128
#endif

namespace apus {

constexpr int headSize = CACHE_HEAD, lanes = headSize / 8, rowsPerBlock = 256 / lanes;
static_assert(headSize == 64 || headSize == 128 || headSize == 256, "a row's threads lie in one warp");

// Runs behind the kernels before it; lets the next one start its own launch.
APUS_DEVICE void afterPredecessors() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;\n griddepcontrol.wait;" ::: "memory");
#endif
}

// The biased exponent of a row's factor for its largest magnitude, given as bits: 1.75 * 2^8 is the largest code.
APUS_DEVICE u32 exponentFor(u32 most) {
    if (most == 0 || most >= 0x7f800000u) return 127;
    const int e = static_cast<int>(most >> 23) - 8 + ((most & 0x7fffff) > 0x600000 ? 1 : 0);
    return e < 1 ? 1 : e;
}

APUS_DEVICE Vec4 decodeEight(Vec2 codes, u32 exponent) {
    const float factor = asFloat(exponent << 23);
    u32 words[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        const u32 pair = (i < 2 ? codes.x : codes.y) >> (16 * (i & 1)) & 0xffff;
        const Float2 v = decodePair<DType::e4m3>(pair);
        words[i] = packBF16(v.x * factor, v.y * factor);
    }
    return {words[0], words[1], words[2], words[3]};
}

// Eight elements of a row that `lanes` threads hold together; every lane of the warp takes part.
APUS_DEVICE Vec2 encodeEight(Vec4 source, u32& exponent) {
    const u32 words[4] = {source.x, source.y, source.z, source.w};
    float v[8];
    u32 most = 0;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        const Float2 pair = unpackBF16(words[i]);
        v[2 * i] = pair.x;
        v[2 * i + 1] = pair.y;
        most = max(most, max(asBits(pair.x) & 0x7fffffff, asBits(pair.y) & 0x7fffffff));
    }
#pragma unroll
    for (int offset = lanes / 2; offset > 0; offset /= 2) most = max(most, __shfl_xor_sync(0xffffffffu, most, offset));
    exponent = exponentFor(most);
    if (most >= 0x7f800000u) return {0x7f7f7f7fu, 0x7f7f7f7fu};
    const float inverse = asFloat((254 - exponent) << 23);
    return {encodeFour(v[0] * inverse, v[1] * inverse, v[2] * inverse, v[3] * inverse),
            encodeFour(v[4] * inverse, v[5] * inverse, v[6] * inverse, v[7] * inverse)};
}

}  // namespace apus

using namespace apus;

extern "C" __global__ void __launch_bounds__(256)
apus_cache_codes(const u16* keys, const u16* values, u8* keyCodes, u8* valueCodes, u8* keyExponents, u8* valueExponents, u16* keyRows,
                 u16* valueRows, i64 stride, int start, int rows, int heads, int cachedBlocks) {
    afterPredecessors();
    const bool isCached = static_cast<int>(blockIdx.x) < cachedBlocks;
    const i64 block = isCached ? blockIdx.x : blockIdx.x - cachedBlocks;
    // Of [2, positions, G]: keys, then values.
    const i64 row = block * rowsPerBlock + threadIdx.x / lanes, half = static_cast<i64>(isCached ? start : rows) * heads;
    const int element = threadIdx.x % lanes * 8;
    const bool isValue = row >= half, isThere = row < 2 * half;
    const i64 own = isValue ? row - half : row;
    u8* codes = isValue ? valueCodes : keyCodes;
    u8* exponents = isValue ? valueExponents : keyExponents;
    u16* out = isValue ? valueRows : keyRows;
    if (isCached) {
        if (!isThere) return;
        const Vec2 piece = *reinterpret_cast<const Vec2*>(codes + own * headSize + element);
        *reinterpret_cast<Vec4*>(out + own * headSize + element) = decodeEight(piece, exponents[own]);
        return;
    }
    Vec4 source = {0, 0, 0, 0};
    if (isThere) {
        const i64 token = own / heads;
        source = *reinterpret_cast<const Vec4*>((isValue ? values : keys) + token * stride + (own - token * heads) * headSize + element);
    }
    u32 exponent;
    const Vec2 piece = encodeEight(source, exponent);
    if (!isThere) return;
    const i64 to = static_cast<i64>(start) * heads + own;
    *reinterpret_cast<Vec2*>(codes + to * headSize + element) = piece;
    if (element == 0) exponents[to] = static_cast<u8>(exponent);
    *reinterpret_cast<Vec4*>(out + to * headSize + element) = decodeEight(piece, exponent);
}
