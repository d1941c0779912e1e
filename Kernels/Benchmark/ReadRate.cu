// The rate at which a GPU reads its memory and does nothing else: what a kernel bound by its weights is held against.
//
// Input: count 16-byte words, a multiple of 2048. Output: one word a block, written only where the words xor to a value that random
// bytes do not have, so that no load can be left out.
//
// Mapping: a block reads tiles of 32 KB, blockIdx, blockIdx + gridDim and on, eight loads of 16 bytes a thread on their way at a time.
// Evict-first, as weights are read. Roof: the memory's bandwidth.
//
// Launch. apus_read_rate: grid of eight blocks a multiprocessor, block 256.

#include "Common/Loads.cuh"

using namespace apus;

extern "C" __global__ void __launch_bounds__(256) apus_read_rate(const Vec4* words, i64 count, u32* out) {
    const u64 policy = streamOnce();
    u32 all = 0;
    for (i64 tile = static_cast<i64>(blockIdx.x) * 2048; tile < count; tile += static_cast<i64>(gridDim.x) * 2048) {
        Vec4 v[8];
#pragma unroll
        for (int i = 0; i < 8; ++i) v[i] = loadWeights16(words + tile + i * 256 + threadIdx.x, policy);
#pragma unroll
        for (int i = 0; i < 8; ++i) all ^= v[i].x ^ v[i].y ^ v[i].z ^ v[i].w;
    }
    if (all == 0x9e3779b9u) out[blockIdx.x] = all;
}
