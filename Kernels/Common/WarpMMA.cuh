// One warp's matrix tools: mma.sync m16n8k16, ldmatrix, stmatrix (sm_90), cp.async. sm_80 and up.
#pragma once
#include "Common/Types.cuh"

namespace apus {

// Four 8x8 tiles of 16-bit values: lanes 0-7 give the row addresses of the first, 8-15 of the second, and so on. Lane l
// receives elements (row l / 4, columns 2 (l % 4) and the next) of each; transposed: the tile is transposed on the way.
APUS_DEVICE void loadMatrix4(u32 (&r)[4], u32 address) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(address) : "memory");
}
APUS_DEVICE void loadMatrix4Transposed(u32 (&r)[4], u32 address) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(address) : "memory");
}
APUS_DEVICE void storeMatrix4(u32 address, u32 r0, u32 r1, u32 r2, u32 r3) {
    asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(address), "r"(r0), "r"(r1), "r"(r2),
                 "r"(r3) : "memory");
}

// d[16, 8] += a[16, 16] * b[8, 16]^T. d: rows l / 4 (0, 1) and l / 4 + 8 (2, 3), columns 2 (l % 4) and the next.
template <DType T> APUS_DEVICE void mmaWarp(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    if constexpr (T == DType::f16)
        asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                     : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
    else
        asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                     : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// 16 bytes global to shared, past L1; `bytes` of them (0 to 16) are read and the rest is filled with zeros.
APUS_DEVICE void copyAsync16(u32 destination, const void* source, int bytes) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(destination), "l"(source), "r"(bytes) : "memory");
}
APUS_DEVICE void copyAsyncCommit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int pending> APUS_DEVICE void copyAsyncWait() { asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory"); }

APUS_DEVICE u32 sharedAddressOf(const void* p) { return static_cast<u32>(__cvta_generic_to_shared(p)); }
APUS_DEVICE Vec4 loadShared16(u32 address) {
    Vec4 v;
    asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "r"(address) : "memory");
    return v;
}
APUS_DEVICE void storeShared16(u32 address, Vec4 v) {
    asm volatile("st.shared.v4.u32 [%0], {%1, %2, %3, %4};" ::"r"(address), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w) : "memory");
}
APUS_DEVICE void storeShared8(u32 address, u32 x, u32 y) {
    asm volatile("st.shared.v2.u32 [%0], {%1, %2};" ::"r"(address), "r"(x), "r"(y) : "memory");
}
APUS_DEVICE void storeShared4(u32 address, u32 x) { asm volatile("st.shared.u32 [%0], %1;" ::"r"(address), "r"(x) : "memory"); }
APUS_DEVICE Vec2 loadShared8(u32 address) {
    Vec2 v;
    asm volatile("ld.shared.v2.u32 {%0, %1}, [%2];" : "=r"(v.x), "=r"(v.y) : "r"(address) : "memory");
    return v;
}
APUS_DEVICE u32 loadShared4(u32 address) {
    u32 x;
    asm volatile("ld.shared.u32 %0, [%1];" : "=r"(x) : "r"(address) : "memory");
    return x;
}

// Read-only global loads that leave L1 alone; stores that will not be read soon.
APUS_DEVICE Vec4 loadStreaming16(const void* p) {
    Vec4 v;
    asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(p));
    return v;
}
// Stored through a pointer, ptxas may cut a predicated Vec4 into four words.
APUS_DEVICE void store16(void* p, Vec4 v) {
    asm volatile("st.global.v4.u32 [%0], {%1, %2, %3, %4};" ::"l"(p), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w) : "memory");
}
APUS_DEVICE void storeStreaming16(void* p, Vec4 v) {
    asm volatile("st.global.cs.v4.u32 [%0], {%1, %2, %3, %4};" ::"l"(p), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w) : "memory");
}

}  // namespace apus
