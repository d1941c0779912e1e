// Loads that say what the caches are to make of them: bytes that are read once, and bytes that other blocks have just written.
#pragma once
#include "Common/Types.cuh"

namespace apus {

// ---- read once: the first to leave the L2 again, so that what is read often stays --------------------------------

APUS_DEVICE u64 streamOnce() {
    u64 policy;
    asm volatile("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
    return policy;
}
// Nobody writes them while the kernel runs.
APUS_DEVICE Vec4 loadWeights16(const void* p, u64 policy) {
    Vec4 v;
    asm volatile("ld.global.nc.L1::no_allocate.L2::cache_hint.v4.u32 {%0, %1, %2, %3}, [%4], %5;"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(p), "l"(policy));
    return v;
}
// A run of bytes on its way to the L2: 16-byte aligned, a multiple of 16.
APUS_DEVICE void prefetchBytes(const void* p, int bytes) {
    asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" ::"l"(p), "r"(bytes) : "memory");
}

// ---- written by other blocks: past L1, which may hold what was there before --------------------------------------

template <class T> APUS_DEVICE Vec4 loadFresh16(const T* p) {
    Vec4 v;
    asm volatile("ld.global.cg.v4.u32 {%0, %1, %2, %3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(p));
    return v;
}
APUS_DEVICE Vec4 loadFresh16(const void* p, u64 policy) {
    Vec4 v;
    asm volatile("ld.global.cg.L2::cache_hint.v4.u32 {%0, %1, %2, %3}, [%4], %5;"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(p), "l"(policy));
    return v;
}
APUS_DEVICE Vec2 loadFresh8(const void* p) {
    Vec2 v;
    asm volatile("ld.global.cg.v2.u32 {%0, %1}, [%2];" : "=r"(v.x), "=r"(v.y) : "l"(p));
    return v;
}
APUS_DEVICE u32 loadFreshByte(const void* p) {
    u32 v;
    asm volatile("ld.global.cg.u8 %0, [%1];" : "=r"(v) : "l"(p));
    return v;
}

}  // namespace apus
