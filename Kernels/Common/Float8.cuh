// E4M3 and E5M2: conversions to and from fp32, in hardware from sm_89 on, by bit arithmetic before.
//
// Rounding to nearest even. Saturating: what is too large becomes the largest finite value. Not saturating: e4m3 gives NaN
// above 464, e5m2 infinity from 61,440, as PyTorch's casts do. NaN stays NaN and keeps its sign.
#pragma once
#include "Common/Types.cuh"

namespace apus {

template <DType T> struct Float8;
template <> struct Float8<DType::e4m3> {
    static constexpr int mantissa = 3, bias = 7;
    static constexpr u32 largest = 0x7e, overflow = 0x7f, notANumber = 0x7f;
    static constexpr float maximum = 448.0f, threshold = 464.0f;  // above it the result is `overflow`; a tie stays
};
template <> struct Float8<DType::e5m2> {
    static constexpr int mantissa = 2, bias = 15;
    static constexpr u32 largest = 0x7b, overflow = 0x7c, notANumber = 0x7f;
    static constexpr float maximum = 57344.0f, threshold = 61439.996f;  // the last float below the tie, which overflows
};

template <DType T, bool saturate> APUS_DEVICE u32 encodeByBits(float x) {
    typedef Float8<T> F;
    const u32 bits = asBits(x), sign = (bits >> 24) & 0x80, u = bits & 0x7fffffff;
    constexpr int shift = 23 - F::mantissa;
    u32 code;
    if (u > 0x7f800000u) code = F::notANumber;
    else if (asFloat(u) > F::threshold) code = saturate ? F::largest : F::overflow;
    else if (u < static_cast<u32>(127 - F::bias + 1) << 23) {
        constexpr u32 magic = static_cast<u32>(127 - F::bias + shift + 1) << 23;
        code = asBits(asFloat(u) + asFloat(magic)) - magic;
    } else {
        code = (u + (static_cast<u32>(F::bias - 127) << 23) + (1u << (shift - 1)) - 1 + ((u >> shift) & 1)) >> shift;
    }
    return sign | code;
}

// Two values to two codes, the first in the lower byte.
template <DType T, bool saturate> APUS_DEVICE u32 encodePair(float low, float high) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 890
    typedef Float8<T> F;
    u16 pair;
    if constexpr (T == DType::e4m3) asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(pair) : "f"(high), "f"(low));
    else asm("cvt.rn.satfinite.e5m2x2.f32 %0, %1, %2;" : "=h"(pair) : "f"(high), "f"(low));
    u32 codes = pair;
    const bool specialLow = !(fabsf(low) <= F::threshold), specialHigh = !(fabsf(high) <= F::threshold);
    if (specialLow || specialHigh) {
        if (specialLow) codes = (codes & 0xff00) | encodeByBits<T, saturate>(low);
        if (specialHigh) codes = (codes & 0x00ff) | (encodeByBits<T, saturate>(high) << 8);
    }
    return codes;
#else
    return encodeByBits<T, saturate>(low) | (encodeByBits<T, saturate>(high) << 8);
#endif
}

// Four values to four E4M3 codes, the first in the lowest byte, for values known to fit: what does not becomes the largest one, NaN stays.
APUS_DEVICE u32 encodeFour(float a, float b, float c, float d) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 890
    u32 codes;
    asm("{.reg .b16 low, high;\n cvt.rn.satfinite.e4m3x2.f32 low, %2, %1;\n cvt.rn.satfinite.e4m3x2.f32 high, %4, %3;\n mov.b32 %0, {low, high};}"
        : "=r"(codes) : "f"(a), "f"(b), "f"(c), "f"(d));
    return codes;
#else
    return encodePair<DType::e4m3, true>(a, b) | (encodePair<DType::e4m3, true>(c, d) << 16);
#endif
}

// Two codes to two values. Every code is exact in f16.
template <DType T> APUS_DEVICE Float2 decodePair(u32 codes) {
    if constexpr (T == DType::e5m2) {  // e5m2 is the upper byte of an f16
        return unpackF16(((codes & 0xff) << 8) | ((codes & 0xff00) << 16));
    } else {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 890
        u32 halves;
        asm("cvt.rn.f16x2.e4m3x2 %0, %1;" : "=r"(halves) : "h"(static_cast<u16>(codes)));
        return unpackF16(halves);
#else
        // Exponent and mantissa moved under an f16's, whose bias is 8 larger: times 256. 0x7f is NaN.
        const u32 spread = (codes & 0xff) | ((codes & 0xff00) << 8);
        Float2 v = unpackF16(((spread & 0x00800080u) << 8) | ((spread & 0x007f007fu) << 7));
        v.x *= 256.0f;
        v.y *= 256.0f;
        if ((codes & 0x7f) == 0x7f) v.x = asFloat(0x7fc00000u | ((codes & 0x80) << 24));
        if ((codes & 0x7f00) == 0x7f00) v.y = asFloat(0x7fc00000u | ((codes & 0x8000) << 16));
        return v;
#endif
    }
}

}  // namespace apus
