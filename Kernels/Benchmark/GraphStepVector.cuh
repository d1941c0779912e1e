// A step in small kernels: the vector as B operand, and the residual stream that it comes from.
#pragma once
#include "Benchmark/GraphStepWeights.cuh"

namespace apus {

APUS_DEVICE void putPair(u8* vector, int k, float x, float y) {
    const u32 high = packBF16(x, y);
    const Float2 kept = unpackBF16(high);
    u8* at = vector + k / 16 * 64 + k % 8 / 2 * 8 + k % 16 / 8 * 4;
    *reinterpret_cast<u32*>(at) = high;
    *reinterpret_cast<u32*>(at + 32) = packBF16(x - kept.x, y - kept.y);
}
// For the head: halves of the vector in columns 0, 1 and 2, 3.
APUS_DEVICE void putHeadPair(u8* vector, int k, float x, float y) {
    const u32 high = packBF16(x, y);
    const Float2 kept = unpackBF16(high);
    const int half = k / (headBlocks * 16), j = k % (headBlocks * 16);
    u8* at = vector + j / 16 * 128 + half * 64 + j % 8 / 2 * 8 + j % 16 / 8 * 4;
    *reinterpret_cast<u32*>(at) = high;
    *reinterpret_cast<u32*>(at + 32) = packBF16(x - kept.x, y - kept.y);
}

// The residual stream with its branch added, then times the norm's weights as the product's vector. Returns the norm's factor, to be
// put to the rows. Block 0 keeps the stream at `to`.
template <int count, bool toHead>
APUS_DEVICE float normed(Shared& shared, const Float4 (&x0)[quads], const float* base, const float* branches, const Float4 (&norm)[quads], float* to) {
    float squares = 0.0f;
#pragma unroll
    for (int s = 0; s < quads; ++s) {
        const int k = (threadIdx.x + s * consumers) * 4;
        if (k >= hidden) break;
        Float4 x = base == nullptr ? x0[s] : loadFresh(base + k), part[count > 0 ? count : 1];
#pragma unroll
        for (int i = 0; i < count; ++i) part[i] = loadFresh(branches + i * hidden + k);
#pragma unroll
        for (int i = 0; i < count; ++i) x.x += part[i].x, x.y += part[i].y, x.z += part[i].z, x.w += part[i].w;
        squares += x.x * x.x + x.y * x.y + x.z * x.z + x.w * x.w;
        if (to != nullptr && blockIdx.x == 0) *reinterpret_cast<Float4*>(to + k) = x;
        if constexpr (toHead) {
            putHeadPair(shared.vector, k, x.x * norm[s].x, x.y * norm[s].y);
            putHeadPair(shared.vector, k + 2, x.z * norm[s].z, x.w * norm[s].w);
        } else {
            putPair(shared.vector, k, x.x * norm[s].x, x.y * norm[s].y);
            putPair(shared.vector, k + 2, x.z * norm[s].z, x.w * norm[s].w);
        }
    }
    squares = groupSum(squares);
    if (threadIdx.x % 32 == 0) shared.squares[threadIdx.x / 32] = squares;
    syncAll();
    float sum = 0.0f;
#pragma unroll
    for (int w = 0; w < warps; ++w) sum += shared.squares[w];
    return rsqrtFast(sum * (1.0f / hidden) + DECODE_EPSILON);
}

APUS_DEVICE void loadNorm(Float4 (&norm)[quads], const float* from) {
#pragma unroll
    for (int s = 0; s < quads; ++s) {
        const int k = (threadIdx.x + s * consumers) * 4;
        norm[s] = k < hidden ? *reinterpret_cast<const Float4*>(from + k) : Float4{};
    }
}
APUS_DEVICE void clearVector(Shared& shared) {
    for (int i = threadIdx.x; i < static_cast<int>(sizeof shared.vector / 16); i += consumers) reinterpret_cast<Vec4*>(shared.vector)[i] = {};
}

}  // namespace apus
