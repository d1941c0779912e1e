// The kernel of whole layers (LayerHopper.cu): how its warps tell each other, and other blocks, what is there.
#pragma once
#include "Prefill/LayerShape.cuh"

namespace apus {

APUS_DEVICE u32 loadAcquire(const u32* p) { u32 v; asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(v) : "l"(p) : "memory"); return v; }
APUS_DEVICE void fenceAsyncProxy() { asm volatile("fence.proxy.async;" ::: "memory"); }

APUS_DEVICE void waitUntilReady(u32 ready, u32 count) {
    u32 seen;
    for (u32 tries = 0;; ++tries) {
        asm volatile("ld.acquire.cta.shared.u32 %0, [%1];" : "=r"(seen) : "r"(ready) : "memory");
        if (seen >= count) return;
        if (tries > 16 * spinLimit) return abandon();
    }
}

// Factor of a row's norm out of its sums, which another block may have written in this launch.
APUS_DEVICE float rowFactor(const Arguments& arguments, int row) {
    const float* sums = arguments.sums + static_cast<i64>(min(row, arguments.m - 1)) * tilesC;
    float sum = 0.0f;
    if constexpr (tilesC == 4) {
        float x, y, z, w;
        asm volatile("ld.relaxed.gpu.global.v4.f32 {%0, %1, %2, %3}, [%4];" : "=f"(x), "=f"(y), "=f"(z), "=f"(w) : "l"(sums) : "memory");
        sum = (x + y) + (z + w);
    } else {
#pragma unroll
        for (int i = 0; i < tilesC; ++i) {
            float x;
            asm volatile("ld.relaxed.gpu.global.f32 %0, [%1];" : "=f"(x) : "l"(sums + i) : "memory");
            sum += x;
        }
    }
    return rsqrtf(sum * (1.0f / LAYER_COLUMNS) + arguments.eps);
}

// The three buffers that a warpgroup's results pass through, as the two sides of them count.
struct Staging {
    u32 base, open, staged;  // addresses; three barriers of each kind
    u32 buffer = 0, phase = 0;
    __device__ __forceinline__ u32 address() const { return base + buffer * bufferBytes; }
    __device__ __forceinline__ void advance() {
        if (++buffer == buffers) { buffer = 0; phase ^= 1; }
    }
};

}  // namespace apus
