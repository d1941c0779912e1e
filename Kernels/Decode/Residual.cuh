// The residual stream, kept whole in every block: thread t holds slots t, t + 256 and on, six values each, in fp32.
//
// Every block adds the groups' partial sums in the same order, so all blocks hold the same bits. The norm's factor
// 1 / sqrt(mean square + epsilon) is put to the rows of the next product instead of the vector.
#pragma once
#include "Decode/Products.cuh"

namespace apus {

struct SlotNorm { Float4 low, high; };

APUS_DEVICE void loadNorms(SlotNorm (&norms)[slotsPerThread], const float* from) {
#pragma unroll
    for (int s = 0; s < slotsPerThread; ++s) {
        const int slot = (sandwich ? threadIndex() : threadIdx.x) + s * consumers;
        norms[s] = {};
        if (slot < residualSlots) norms[s] = {loadNorms4(from + slot * 8), loadNorms4(from + slot * 8 + 4)};
    }
}

struct Residual {
    float x[slotsPerThread][6];
    float squares = 0.0f;  // of this thread's values

    __device__ __forceinline__ void embed(const Arguments& a, int token) {
#pragma unroll
        for (int s = 0; s < slotsPerThread; ++s) {
            const int slot = threadIndex() + s * consumers, start = slotStart(slot);
            const int count = slot < residualSlots ? slotCount(slot) : 0;
#pragma unroll
            for (int j = 0; j < 6; ++j)
                x[s][j] = j < count ? asFloat(static_cast<u32>(a.embedding[static_cast<i64>(token) * hidden + start + j]) << 16) * a.embeddingScale
                                    : 0.0f;
        }
    }

    // Writes x times the norm's weights as the next product's vector. A barrier has to follow.
    template <bool toHead> __device__ __forceinline__ void spread(Shared& shared, const SlotNorm (&norm)[slotsPerThread]) {
        squares = 0.0f;
#pragma unroll
        for (int s = 0; s < slotsPerThread; ++s) {
            const int slot = (toHead || sandwich ? threadIndex() : threadIdx.x) + s * consumers, start = slotStart(slot);
            const int count = slot < residualSlots ? slotCount(slot) : 0;
#pragma unroll
            for (int j = 0; j < 6; ++j) squares += x[s][j] * x[s][j];
#pragma unroll
            for (int j = 0; j < 6; j += 2) {
                const float first = x[s][j] * weight(norm[s], j), second = x[s][j + 1] * weight(norm[s], j + 1);
                if constexpr (!toHead && unitRows % 2 == 0) {
                    if (j < count) putPair(shared.vector, start + j, first, second);
                } else if constexpr (toHead) {
                    if (j < count) putHead(shared.vector, start + j, first);
                    if (j + 1 < count) putHead(shared.vector, start + j + 1, second);
                } else {
                    if (j < count) putOne(shared.vector, start + j, first);
                    if (j + 1 < count) putOne(shared.vector, start + j + 1, second);
                }
            }
        }
    }
    // Puts the warp's sum of squares where normScale() finds it, behind another barrier.
    __device__ __forceinline__ void putSquares(Shared& shared, int of = 0) const {
        const float sum = groupSum(squares);
        if (threadIdx.x % 32 == 0) shared.squares[of][threadIdx.x / 32] = sum;
    }

    // Adds a branch whose `count` partial sums lie at `at`; `after` are the norm weights of a sandwich; `writers` warps of a block count.
    template <int count, int writers>
    __device__ __forceinline__ void add(Shared& shared, const u8* at, const u32* counter, u32 turn, u32 tag, Wait where, int layer,
                                        const float* after) {
        SlotNorm norms[slotsPerThread];
        if constexpr (sandwich) loadNorms(norms, after);
        waitHintAll(counter, (turn * blocks - DECODE_EARLY) * writers, shared, where, layer);
        float branch[slotsPerThread][6];
        squares = 0.0f;
#pragma unroll
        for (int s = 0; s < slotsPerThread; ++s) {
            const int slot = (sandwich ? threadIndex() : threadIdx.x) + s * consumers;
#pragma unroll
            for (int j = 0; j < 6; ++j) branch[s][j] = 0.0f;
            if (slot >= residualSlots) continue;
            Vec4 packets[count];
            receive<Packet6>(packets, at + slot * 16, residualSlots * 16, tag, shared, where, layer);
#pragma unroll
            for (int g = 0; g < count; ++g) {
                float v[6];
                Packet6::unpack(v, packets[g]);
#pragma unroll
                for (int j = 0; j < 6; ++j) branch[s][j] = g == 0 ? v[j] : branch[s][j] + v[j];
            }
            if constexpr (sandwich) {
#pragma unroll
                for (int j = 0; j < 6; ++j) squares += branch[s][j] * branch[s][j];
            }
        }
        if constexpr (sandwich) {
            // Apart from the stream's own, so that nobody waits until all have read them.
            putSquares(shared, 1);
            syncConsumers();
            const float scale = normScale(shared, 1);
#pragma unroll
            for (int s = 0; s < slotsPerThread; ++s) {
                const int slot = (sandwich ? threadIndex() : threadIdx.x) + s * consumers;
                if (slot >= residualSlots) continue;
#pragma unroll
                for (int j = 0; j < 6; ++j) branch[s][j] *= scale * weight(norms[s], j);
            }
        }
#pragma unroll
        for (int s = 0; s < slotsPerThread; ++s)
#pragma unroll
            for (int j = 0; j < 6; ++j) x[s][j] += branch[s][j];
    }

    APUS_DEVICE float weight(const SlotNorm& n, int j) {
        return j == 0 ? n.low.x : j == 1 ? n.low.y : j == 2 ? n.low.z : j == 3 ? n.low.w : j == 4 ? n.high.x : n.high.y;
    }
    APUS_DEVICE float normScale(const Shared& shared, int of = 0) {
        const Float4 *from = reinterpret_cast<const Float4*>(shared.squares[of]), a = from[0], b = from[1];
        return rsqrtFast((((a.x + a.y) + (a.z + a.w)) + ((b.x + b.y) + (b.z + b.w))) * (1.0f / hidden) + DECODE_EPSILON);
    }
};

}  // namespace apus
