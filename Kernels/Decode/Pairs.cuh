// Two neighbouring blocks of a group, a cluster, share an attention: each attends to half of the positions and sends the other its part,
// from warp to warp, into its shared memory. That takes a third of the time of an exchange through the L2, and waits for one block only.
//
// A part is overwritten by the next attention's, ahead of which lies the exchange of q, k, v: by then its reader has read it, and has
// readied the barrier for the next.
#pragma once
#include "Decode/State.cuh"

namespace apus {

constexpr u32 pairBytes = 32 * pairFloats * 4;

// Whether the warp has columns of the output product.
APUS_DEVICE bool hasColumns(int warp) { return warps * warpColumns == groupHeadSize || warp * warpColumns < groupHeadSize; }

// Ahead of the first clusterMeet(). One thread.
APUS_DEVICE void preparePair(Shared& shared) {
    if constexpr (hasPairs) {
        for (int i = 0; i < Pair::count; ++i) {
            barrierInit(sharedAddress(&shared.pair.ready[i]), 1);
            barrierExpect(sharedAddress(&shared.pair.ready[i]), pairBytes);
            shared.pair.turns[i] = 0;
        }
    }
}

// Sends this warp's columns of the block's part, normed, to the other block; of a step's position p.
APUS_DEVICE void sendPart(Shared& shared, const float (&out)[laneColumns], float logSum, int p = 0) {
    if constexpr (hasPairs) {
        const u32 thread = threadIndex(), index = p * warps + thread / 32, other = (blockIndex() & 1) ^ 1;
        const u32 barrier = clusterAddress(sharedAddress(&shared.pair.ready[index]), other);
        const u32 to = clusterAddress(sharedAddress(shared.pair.parts[index][thread % 32]), other);
        if constexpr (laneColumns == 1) {
            storeCluster8(to, barrier, asBits(logSum), asBits(out[0]));
        } else {
            u32 v[pairFloats] = {asBits(logSum)};
#pragma unroll
            for (int j = 0; j < laneColumns; ++j) v[j + 1] = asBits(out[j]);
#pragma unroll
            for (int j = 0; j < pairFloats; j += 4) storeCluster16(to + j * 4, barrier, {v[j], v[j + 1], v[j + 2], v[j + 3]});
        }
    }
}

// Waits for the other block's part of the warp's columns and adds it.
APUS_DEVICE void joinPair(Shared& shared, float (&out)[laneColumns], float logSum, int layer, int p = 0) {
    if constexpr (hasPairs) {
        const u32 thread = threadIndex(), index = p * warps + thread / 32, barrier = sharedAddress(&shared.pair.ready[index]);
        const u32 turn = *const_cast<volatile u32*>(&shared.pair.turns[index]);
        if (!barrierTryCluster(barrier, turn)) {
            Patience patience;
            while (!barrierTryCluster(barrier, turn) && !patience.isOver(shared, Wait::split, layer)) {}
        }
        const volatile float* from = shared.pair.parts[index][thread % 32];
        const float otherSum = from[0], most = fmaxf(logSum, otherSum);
        float v[laneColumns];
#pragma unroll
        for (int j = 0; j < laneColumns; ++j) v[j] = from[j + 1];
        __syncwarp();
        if (thread % 32 == 0) {
            barrierExpect(barrier, pairBytes);
            shared.pair.turns[index] = turn ^ 1;
        }
        const float mine = exp2Fast(logSum - most), others = exp2Fast(otherSum - most), inverse = reciprocalFast(mine + others);
        // The same bits whichever form of the kernel it is.
#pragma unroll
        for (int j = 0; j < laneColumns; ++j) out[j] = fmaf(mine, out[j], others * v[j]) * inverse;
    }
}

}  // namespace apus
