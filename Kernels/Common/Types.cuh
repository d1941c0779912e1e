// Fixed-width integers, storage types and conversions; no toolkit header, so that NVRTC needs nothing but this folder.
//
// 16-bit and 8-bit values travel as raw bits (u16, u8) or packed pairs (u32 holds two 16-bit values, the lower index
// in the lower half). Rounding is to nearest even everywhere.
#pragma once

namespace apus {

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef int i32;
typedef long long i64;

#define APUS_DEVICE static __device__ __forceinline__

// Element types of tensors, as the generated constants name them.
enum class DType : int { bf16 = 0, f16 = 1, f32 = 2, e4m3 = 3, e5m2 = 4 };

template <DType T> struct ByteSize { static constexpr int value = 2; };
template <> struct ByteSize<DType::f32> { static constexpr int value = 4; };
template <> struct ByteSize<DType::e4m3> { static constexpr int value = 1; };
template <> struct ByteSize<DType::e5m2> { static constexpr int value = 1; };

struct alignas(8) Vec2 { u32 x, y; };
struct alignas(16) Vec4 { u32 x, y, z, w; };
struct alignas(8) Float2 { float x, y; };
struct alignas(16) Float4 { float x, y, z, w; };

// A CUtensorMap, opaque here: 128 bytes that the driver encodes on the host. Pass as `const __grid_constant__`.
struct alignas(64) TensorMap { u8 opaque[128]; };

constexpr __host__ __device__ int ceilDivide(int a, int b) { return (a + b - 1) / b; }
constexpr __host__ __device__ int roundUp(int a, int b) { return ceilDivide(a, b) * b; }

APUS_DEVICE float asFloat(u32 bits) { return __uint_as_float(bits); }
APUS_DEVICE u32 asBits(float value) { return __float_as_uint(value); }

// ---- pairs of 16-bit values ------------------------------------------------------------------------------------

APUS_DEVICE u32 packBF16(float low, float high) {
    u32 r;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
    return r;
}
APUS_DEVICE u32 packF16(float low, float high) {
    u32 r;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
    return r;
}
APUS_DEVICE Float2 unpackBF16(u32 pair) { return {asFloat(pair << 16), asFloat(pair & 0xffff0000u)}; }
APUS_DEVICE Float2 unpackF16(u32 pair) {
    Float2 r;
    asm("{.reg .b16 a, b;\n mov.b32 {a, b}, %2;\n cvt.f32.f16 %0, a;\n cvt.f32.f16 %1, b;}" : "=f"(r.x), "=f"(r.y) : "r"(pair));
    return r;
}
template <DType T> APUS_DEVICE u32 pack2(float low, float high) {
    if constexpr (T == DType::f16) return packF16(low, high);
    else return packBF16(low, high);
}
template <DType T> APUS_DEVICE Float2 unpack2(u32 pair) {
    if constexpr (T == DType::f16) return unpackF16(pair);
    else return unpackBF16(pair);
}

// A pair of fp32 values as two words of 16-bit halves, nothing lost: `high` holds the values rounded to bf16 (ties away from zero), `rest`
// the bits that bring each back. Four instructions either way. A NaN may read as zero in `high` alone.
APUS_DEVICE void splitHalves(Float2 v, u32& high, u32& rest) {
    const u32 x = asBits(v.x) + 0x8000u, y = asBits(v.y) + 0x8000u;
    high = __byte_perm(x, y, 0x7632);
    rest = __byte_perm(x, y, 0x5410);
}
APUS_DEVICE Float2 joinHalves(u32 high, u32 rest) {
    return {asFloat(__byte_perm(rest, high, 0x5410) - 0x8000u), asFloat(__byte_perm(rest, high, 0x7632) - 0x8000u)};
}

// ---- one value in memory ---------------------------------------------------------------------------------------

template <DType T> APUS_DEVICE float loadOne(const void* base, i64 index) {
    if constexpr (T == DType::f32) return static_cast<const float*>(base)[index];
    else return unpack2<T>(static_cast<const u16*>(base)[index]).x;
}
template <DType T> APUS_DEVICE void storeOne(void* base, i64 index, float value) {
    if constexpr (T == DType::f32) static_cast<float*>(base)[index] = value;
    else static_cast<u16*>(base)[index] = static_cast<u16>(pack2<T>(value, 0.0f));
}
// The value as it will read back from memory.
template <DType T> APUS_DEVICE float rounded(float value) {
    if constexpr (T == DType::f32) return value;
    else return unpack2<T>(pack2<T>(value, 0.0f)).x;
}

}  // namespace apus
