// Exchange of small vectors between the blocks of a resident grid: packets that carry their own sequence number.
//
// A packet is 16 bytes, written and read whole (relaxed b128), and holds four floats of 30 bits, or six of 20 bits, and an 8-bit
// tag. A reader that finds the expected tag has the values too: no fence, no flag. A relaxed counter beside them tells one
// polling thread when it is worth looking; it guards nothing. Rounding is to nearest, ties away from zero; NaN and infinity stay.
#pragma once
#include "Common/Types.cuh"

namespace apus {

APUS_DEVICE Vec4 loadPacket(const void* p) {
    Vec4 v;
    asm volatile(
        "{.reg .b128 q; .reg .b64 a, b;\n ld.relaxed.gpu.global.b128 q, [%4];\n mov.b128 {a, b}, q;\n"
        " mov.b64 {%0, %1}, a;\n mov.b64 {%2, %3}, b;}" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(p) : "memory");
    return v;
}
APUS_DEVICE void storePacket(void* p, Vec4 v) {
    asm volatile(
        "{.reg .b128 q; .reg .b64 a, b;\n mov.b64 a, {%1, %2};\n mov.b64 b, {%3, %4};\n mov.b128 q, {a, b};\n"
        " st.relaxed.gpu.global.b128 [%0], q;}" ::"l"(p), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w) : "memory");
}
APUS_DEVICE void counterAdd(u32* counter, u32 count) {
    asm volatile("red.relaxed.gpu.global.add.u32 [%0], %1;" ::"l"(counter), "r"(count) : "memory");
}
APUS_DEVICE u32 counterLoad(const u32* counter) {
    u32 v;
    asm volatile("ld.relaxed.gpu.global.u32 %0, [%1];" : "=r"(v) : "l"(counter) : "memory");
    return v;
}

// Clocks of the multiprocessor: what bounds a wait.
APUS_DEVICE u32 ticks() {
    u32 t;
    asm volatile("mov.u32 %0, %%clock;" : "=r"(t)::"memory");
    return t;
}

// Tag of the n-th use of a packet, never that of memory still zero.
APUS_DEVICE u32 packetTag(u32 turn) { return turn % 255 + 1; }

// What to add to the bits of finite floats so that those under `half` * 2 may be cut off; nothing where their sum is not finite, so that NaN
// and infinity stay.
APUS_DEVICE u32 roundingOf(float sum, u32 half) { return (asBits(sum) & 0x7f800000u) != 0x7f800000u ? half : 0; }
// The bits of x rounded so that those under `half` * 2 may be cut off.
APUS_DEVICE u32 roundedBits(float x, u32 half) {
    const u32 bits = asBits(x);
    return (bits & 0x7fffffffu) < 0x7f800000u ? bits + half : bits;
}

// Four floats with 21 bits of mantissa.
struct Packet4 {
    static constexpr int values = 4;
    APUS_DEVICE Vec4 pack(const float (&v)[4], u32 tag) {
        const u32 half = roundingOf((v[0] + v[1]) + (v[2] + v[3]), 2);
        return {((asBits(v[0]) + half) & ~3u) | (tag & 3), ((asBits(v[1]) + half) & ~3u) | ((tag >> 2) & 3),
                ((asBits(v[2]) + half) & ~3u) | ((tag >> 4) & 3), ((asBits(v[3]) + half) & ~3u) | ((tag >> 6) & 3)};
    }
    // Zero when the packet carries the tag.
    APUS_DEVICE u32 mismatch(Vec4 p, u32 tag) { return ((p.x ^ tag) | (p.y ^ tag >> 2) | (p.z ^ tag >> 4) | (p.w ^ tag >> 6)) & 3; }
    APUS_DEVICE void unpack(float (&v)[4], Vec4 p) {
        v[0] = asFloat(p.x & ~3u);
        v[1] = asFloat(p.y & ~3u);
        v[2] = asFloat(p.z & ~3u);
        v[3] = asFloat(p.w & ~3u);
    }
};

// Six floats with 11 bits of mantissa.
struct Packet6 {
    static constexpr int values = 6;
    APUS_DEVICE Vec4 pack(const float (&v)[6], u32 tag) {
        const u32 half = roundingOf(((v[0] + v[1]) + (v[2] + v[3])) + (v[4] + v[5]), 0x800);
        const u32 e = (asBits(v[4]) + half) >> 12, f = (asBits(v[5]) + half) >> 12;
        return {((asBits(v[0]) + half) & ~0xfffu) | (e & 0xfff), ((asBits(v[1]) + half) & ~0xfffu) | (e >> 12) | ((tag & 15) << 8),
                ((asBits(v[2]) + half) & ~0xfffu) | (f & 0xfff), ((asBits(v[3]) + half) & ~0xfffu) | (f >> 12) | ((tag >> 4) << 8)};
    }
    // Zero when the packet carries the tag.
    APUS_DEVICE u32 mismatch(Vec4 p, u32 tag) { return ((p.y ^ tag << 8) | (p.w ^ tag << 4)) & 0xf00; }
    APUS_DEVICE void unpack(float (&v)[6], Vec4 p) {
        v[0] = asFloat(p.x & ~0xfffu);
        v[1] = asFloat(p.y & ~0xfffu);
        v[2] = asFloat(p.z & ~0xfffu);
        v[3] = asFloat(p.w & ~0xfffu);
        v[4] = asFloat(((p.x & 0xfff) | ((p.y & 0xff) << 12)) << 12);
        v[5] = asFloat(((p.z & 0xfff) | ((p.w & 0xff) << 12)) << 12);
    }
};

}  // namespace apus
