// Runs of V consecutive elements as floats: one 16-byte access where V fills it, single elements otherwise.
#pragma once
#include "Common/WarpMMA.cuh"

namespace apus {

template <DType T> struct VectorWidth { static constexpr int value = 16 / ByteSize<T>::value; };

// Raw bits of V elements, loaded now and unpacked later, so that several loads can be in flight.
template <DType T, int V> struct Packed { u32 words[V * ByteSize<T>::value >= 4 ? V * ByteSize<T>::value / 4 : 1]; };

template <DType T, int V, bool streaming = false> APUS_DEVICE Packed<T, V> loadPacked(const void* base, i64 index) {
    Packed<T, V> p;
    const u8* address = static_cast<const u8*>(base) + index * ByteSize<T>::value;
    if constexpr (V * ByteSize<T>::value == 16) {
        const Vec4 v = streaming ? loadStreaming16(address) : *reinterpret_cast<const Vec4*>(address);
        p.words[0] = v.x; p.words[1] = v.y; p.words[2] = v.z; p.words[3] = v.w;
    } else {
        static_assert(V == 1, "whole 16-byte vectors or single elements");
        if constexpr (T == DType::f32) p.words[0] = *reinterpret_cast<const u32*>(address);
        else p.words[0] = *reinterpret_cast<const u16*>(address);
    }
    return p;
}

template <DType T, int V> APUS_DEVICE void unpackTo(float (&out)[V], const Packed<T, V>& p) {
    if constexpr (T == DType::f32) {
#pragma unroll
        for (int i = 0; i < V; ++i) out[i] = asFloat(p.words[i]);
    } else if constexpr (V == 1) {
        out[0] = unpack2<T>(p.words[0]).x;
    } else {
#pragma unroll
        for (int i = 0; i < V / 2; ++i) {
            const Float2 v = unpack2<T>(p.words[i]);
            out[2 * i] = v.x;
            out[2 * i + 1] = v.y;
        }
    }
}

// Makes the compiler unpack again what comes after.
template <DType T, int V> APUS_DEVICE void hold(Packed<T, V>& p) {
#pragma unroll
    for (u32& word : p.words) asm volatile("" : "+r"(word));
}

template <DType T, int V> APUS_DEVICE Packed<T, V> packFloats(const float (&v)[V]) {
    Packed<T, V> p;
    if constexpr (T == DType::f32) {
#pragma unroll
        for (int i = 0; i < V; ++i) p.words[i] = asBits(v[i]);
    } else if constexpr (V == 1) {
        p.words[0] = pack2<T>(v[0], 0.0f);
    } else {
#pragma unroll
        for (int i = 0; i < V / 2; ++i) p.words[i] = pack2<T>(v[2 * i], v[2 * i + 1]);
    }
    return p;
}

template <DType T, int V, bool streaming = true> APUS_DEVICE void storePacked(void* base, i64 index, const Packed<T, V>& p) {
    u8* address = static_cast<u8*>(base) + index * ByteSize<T>::value;
    if constexpr (V * ByteSize<T>::value == 16 && streaming) storeStreaming16(address, {p.words[0], p.words[1], p.words[2], p.words[3]});
    else if constexpr (V * ByteSize<T>::value == 16) *reinterpret_cast<Vec4*>(address) = {p.words[0], p.words[1], p.words[2], p.words[3]};
    else if constexpr (T == DType::f32) *reinterpret_cast<u32*>(address) = p.words[0];
    else *reinterpret_cast<u16*>(address) = static_cast<u16>(p.words[0]);
}

}  // namespace apus
