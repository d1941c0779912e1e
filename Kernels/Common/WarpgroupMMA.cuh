// wgmma (sm_90a): D[64, N] += A[64, K] * B[N, K]^T by one warpgroup, fp32 accumulators in registers.
//
// K is 16 for bf16 and f16, 32 for e4m3. A comes from shared memory or from registers, B always from shared memory.
// Accumulator d[4 * j + r] of thread t (warp w = t / 32 of the group, lane l) holds row 16 w + l / 4 + 8 (r / 2),
// column 8 j + 2 (l % 4) + r % 2.
#pragma once
#include "Common/Types.cuh"

namespace apus {

// Matrix descriptor of a tile in 128-byte swizzled rows, K contiguous: 8-row atoms of 1,024 bytes, one after the other.
// The next 32 bytes of K lie at base + 32; the base of an atom is aligned to 1,024.
APUS_DEVICE u64 descriptorKMajor(u32 address) {
    return static_cast<u64>((address & 0x3ffff) >> 4) | (1ull << 16) | (64ull << 32) | (1ull << 62);
}
// The same for a tile whose rows are K and whose 64-element (128-byte) column blocks lie `columnBlockBytes` apart: the
// transposed operand, 16-bit types only. 16 rows of K take 2,048 bytes.
APUS_DEVICE u64 descriptorNMajor(u32 address, u32 columnBlockBytes) {
    return static_cast<u64>((address & 0x3ffff) >> 4) | (static_cast<u64>(columnBlockBytes >> 4) << 16) | (64ull << 32) |
           (1ull << 62);
}

APUS_DEVICE void mmaFence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
APUS_DEVICE void mmaCommit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int pending> APUS_DEVICE void mmaWait() { asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(pending) : "memory"); }

// Keeps the compiler from moving uses of accumulators across an asynchronous product.
template <int count> APUS_DEVICE void pin(float (&d)[count]) {
#pragma unroll
    for (int i = 0; i < count; ++i) asm volatile("" : "+f"(d[i])::"memory");
}
template <int count> APUS_DEVICE void pin(u32 (&d)[count]) {
#pragma unroll
    for (int i = 0; i < count; ++i) asm volatile("" : "+r"(d[i])::"memory");
}

#define APUS_LIST_8 "%0, %1, %2, %3, %4, %5, %6, %7"
#define APUS_LIST_16 APUS_LIST_8 ", %8, %9, %10, %11, %12, %13, %14, %15"
#define APUS_LIST_24 APUS_LIST_16 ", %16, %17, %18, %19, %20, %21, %22, %23"
#define APUS_LIST_32 APUS_LIST_24 ", %24, %25, %26, %27, %28, %29, %30, %31"
#define APUS_LIST_40 APUS_LIST_32 ", %32, %33, %34, %35, %36, %37, %38, %39"
#define APUS_LIST_48 APUS_LIST_40 ", %40, %41, %42, %43, %44, %45, %46, %47"
#define APUS_LIST_56 APUS_LIST_48 ", %48, %49, %50, %51, %52, %53, %54, %55"
#define APUS_LIST_64 APUS_LIST_56 ", %56, %57, %58, %59, %60, %61, %62, %63"
#define APUS_LIST_72 APUS_LIST_64 ", %64, %65, %66, %67, %68, %69, %70, %71"
#define APUS_LIST_80 APUS_LIST_72 ", %72, %73, %74, %75, %76, %77, %78, %79"
#define APUS_LIST_88 APUS_LIST_80 ", %80, %81, %82, %83, %84, %85, %86, %87"
#define APUS_LIST_96 APUS_LIST_88 ", %88, %89, %90, %91, %92, %93, %94, %95"
#define APUS_LIST_104 APUS_LIST_96 ", %96, %97, %98, %99, %100, %101, %102, %103"
#define APUS_LIST_112 APUS_LIST_104 ", %104, %105, %106, %107, %108, %109, %110, %111"
#define APUS_LIST_120 APUS_LIST_112 ", %112, %113, %114, %115, %116, %117, %118, %119"
#define APUS_LIST_128 APUS_LIST_120 ", %120, %121, %122, %123, %124, %125, %126, %127"
#define APUS_EIGHT(d, i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), "+f"(d[i + 6]), "+f"(d[i + 7])
#define APUS_OUT_8(d) APUS_EIGHT(d, 0)
#define APUS_OUT_16(d) APUS_OUT_8(d), APUS_EIGHT(d, 8)
#define APUS_OUT_24(d) APUS_OUT_16(d), APUS_EIGHT(d, 16)
#define APUS_OUT_32(d) APUS_OUT_24(d), APUS_EIGHT(d, 24)
#define APUS_OUT_40(d) APUS_OUT_32(d), APUS_EIGHT(d, 32)
#define APUS_OUT_48(d) APUS_OUT_40(d), APUS_EIGHT(d, 40)
#define APUS_OUT_56(d) APUS_OUT_48(d), APUS_EIGHT(d, 48)
#define APUS_OUT_64(d) APUS_OUT_56(d), APUS_EIGHT(d, 56)
#define APUS_OUT_72(d) APUS_OUT_64(d), APUS_EIGHT(d, 64)
#define APUS_OUT_80(d) APUS_OUT_72(d), APUS_EIGHT(d, 72)
#define APUS_OUT_88(d) APUS_OUT_80(d), APUS_EIGHT(d, 80)
#define APUS_OUT_96(d) APUS_OUT_88(d), APUS_EIGHT(d, 88)
#define APUS_OUT_104(d) APUS_OUT_96(d), APUS_EIGHT(d, 96)
#define APUS_OUT_112(d) APUS_OUT_104(d), APUS_EIGHT(d, 104)
#define APUS_OUT_120(d) APUS_OUT_112(d), APUS_EIGHT(d, 112)
#define APUS_OUT_128(d) APUS_OUT_120(d), APUS_EIGHT(d, 120)

// N, registers, and the numbers of the operands after the accumulators.
#define APUS_EACH_N(CASE) \
    CASE(16, 8, 8, 9, 10, 11, 12, 13, 14) \
    CASE(32, 16, 16, 17, 18, 19, 20, 21, 22) \
    CASE(48, 24, 24, 25, 26, 27, 28, 29, 30) \
    CASE(64, 32, 32, 33, 34, 35, 36, 37, 38) \
    CASE(80, 40, 40, 41, 42, 43, 44, 45, 46) \
    CASE(96, 48, 48, 49, 50, 51, 52, 53, 54) \
    CASE(112, 56, 56, 57, 58, 59, 60, 61, 62) \
    CASE(128, 64, 64, 65, 66, 67, 68, 69, 70) \
    CASE(144, 72, 72, 73, 74, 75, 76, 77, 78) \
    CASE(160, 80, 80, 81, 82, 83, 84, 85, 86) \
    CASE(176, 88, 88, 89, 90, 91, 92, 93, 94) \
    CASE(192, 96, 96, 97, 98, 99, 100, 101, 102) \
    CASE(208, 104, 104, 105, 106, 107, 108, 109, 110) \
    CASE(224, 112, 112, 113, 114, 115, 116, 117, 118) \
    CASE(240, 120, 120, 121, 122, 123, 124, 125, 126) \
    CASE(256, 128, 128, 129, 130, 131, 132, 133, 134)

#define APUS_SHARED_16(N, R, P0, P1, P2, P3, P4, P5, P6, TYPE)                                                                  \
    asm volatile("{.reg .pred p;\n setp.ne.b32 p, %" #P2 ", 0;\n wgmma.mma_async.sync.aligned.m64n" #N "k16.f32." TYPE "." TYPE \
                 " {" APUS_LIST_##R "}, %" #P0 ", %" #P1 ", p, 1, 1, 0, %" #P3 ";}"                                         \
                 : APUS_OUT_##R(d) : "l"(a), "l"(b), "r"(accumulate), "n"(transposeB))
#define APUS_SHARED_8(N, R, P0, P1, P2)                                                                                     \
    asm volatile("{.reg .pred p;\n setp.ne.b32 p, %" #P2 ", 0;\n wgmma.mma_async.sync.aligned.m64n" #N "k32.f32.e4m3.e4m3 {"   \
                 APUS_LIST_##R "}, %" #P0 ", %" #P1 ", p, 1, 1;}"                                                            \
                 : APUS_OUT_##R(d) : "l"(a), "l"(b), "r"(accumulate))
#define APUS_REGISTERS_16(N, R, P0, P1, P2, P3, P4, P5, P6, TYPE)                                                               \
    asm volatile("{.reg .pred p;\n setp.ne.b32 p, %" #P5 ", 0;\n wgmma.mma_async.sync.aligned.m64n" #N "k16.f32." TYPE "." TYPE \
                 " {" APUS_LIST_##R "}, {%" #P0 ", %" #P1 ", %" #P2 ", %" #P3 "}, %" #P4 ", p, 1, 1, %" #P6 ";}"            \
                 : APUS_OUT_##R(d) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate), "n"(transposeB))

// d = A * B^T (+ d where accumulate is not 0); both operands by descriptor.
template <int n, DType T, int transposeB = 0> APUS_DEVICE void mmaShared(float (&d)[n / 2], u64 a, u64 b, int accumulate) {
    static_assert(n % 16 == 0 && n <= 256, "no such product");
#define APUS_CASE(N, R, P0, P1, P2, P3, P4, P5, P6)                                                              \
    if constexpr (n == N) {                                                                                  \
        if constexpr (T == DType::e4m3) APUS_SHARED_8(N, R, P0, P1, P2);                                     \
        else if constexpr (T == DType::f16) APUS_SHARED_16(N, R, P0, P1, P2, P3, P4, P5, P6, "f16");             \
        else APUS_SHARED_16(N, R, P0, P1, P2, P3, P4, P5, P6, "bf16");                                           \
    }
    APUS_EACH_N(APUS_CASE)
#undef APUS_CASE
}

// d = A * B^T (+ d), A's fragment in registers, 16-bit types; transposeB 1: B is stored with its N contiguous (rows are K).
template <int n, DType T, int transposeB> APUS_DEVICE void mmaRegisters(float (&d)[n / 2], const u32 (&a)[4], u64 b, int accumulate) {
    static_assert(n % 16 == 0 && n <= 256, "no such product");
#define APUS_CASE(N, R, P0, P1, P2, P3, P4, P5, P6)                                                              \
    if constexpr (n == N) {                                                                                  \
        if constexpr (T == DType::f16) APUS_REGISTERS_16(N, R, P0, P1, P2, P3, P4, P5, P6, "f16");               \
        else APUS_REGISTERS_16(N, R, P0, P1, P2, P3, P4, P5, P6, "bf16");                                        \
    }
    APUS_EACH_N(APUS_CASE)
#undef APUS_CASE
}

}  // namespace apus
