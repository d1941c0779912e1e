// The residual streams of several positions.
#pragma once
#include "Decode/SpeculationProducts.cuh"

namespace apus {

// Between its uses a stream lies in shared memory, since the registers are the weights'. What is added goes on at once as the next vector.
template <int n> struct Residuals {
    float squares[n];  // of this thread's values

    // Slot s of the thread, of position p: kept, and times the norm's weights in the next vector.
    template <bool toHead> __device__ __forceinline__ void put(Wide& wide, int p, int s, const float (&v)[6], const SlotNorm& norm) {
        const int slot = threadIndex() + s * consumers, start = slotStart(slot), count = slot < residualSlots ? slotCount(slot) : 0;
#pragma unroll
        for (int j = 0; j < 6; ++j) squares[p] += v[j] * v[j];
#pragma unroll
        for (int j = 0; j < 6; j += 2) {
            const float first = v[j] * Residual::weight(norm, j), second = v[j + 1] * Residual::weight(norm, j + 1);
            if constexpr (toHead) {
                if (j < count) putHeadAt<n>(wide.vector(), p, start + j, first);
                if (j + 1 < count) putHeadAt<n>(wide.vector(), p, start + j + 1, second);
            } else if constexpr (unitRows % 2 == 0) {
                if (j < count) putPairAt<n>(wide.vector(), p, start + j, first, second);
            } else {
                if (j < count) putOneAt<n>(wide.vector(), p, start + j, first);
                if (j + 1 < count) putOneAt<n>(wide.vector(), p, start + j + 1, second);
            }
        }
        if constexpr (!toHead) {
#pragma unroll
            for (int j = 0; j < 6; ++j) wide.stream[(p * slotsPerThread + s) * 6 + j][threadIdx.x] = v[j];
        }
    }

    __device__ __forceinline__ void embed(const Arguments& a, Wide& wide, const Turns& turns, const SlotNorm (&norm)[slotsPerThread]) {
#pragma unroll
        for (int p = 0; p < n; ++p) {
            squares[p] = 0.0f;
            if (!turns.has(p)) continue;
            const i64 row = static_cast<i64>(wide.tokens[p]) * hidden;
#pragma unroll
            for (int s = 0; s < slotsPerThread; ++s) {
                const int slot = threadIndex() + s * consumers, start = slotStart(slot), count = slot < residualSlots ? slotCount(slot) : 0;
                float v[6];
#pragma unroll
                for (int j = 0; j < 6; ++j)
                    v[j] = j < count ? asFloat(static_cast<u32>(a.embedding[row + start + j]) << 16) * a.embeddingScale : 0.0f;
                put<false>(wide, p, s, v, norm[s]);
            }
        }
    }
    __device__ __forceinline__ void putSquares(Wide& wide, const Turns& turns) const {
#pragma unroll
        for (int p = 0; p < n; ++p) {
            if (!turns.has(p)) continue;
            const float sum = groupSum(squares[p]);
            if (threadIdx.x % 32 == 0) wide.squares[p][threadIdx.x / 32] = sum;
        }
    }

    // The branches of `together` positions from `first` on, slot s of the thread: each the sum of `count` partial sums at `at`.
    template <int together, int count>
    APUS_DEVICE void receiveBranches(float (&sums)[together][6], Shared& shared, const u8* at, int first, int slot, const Turns& turns, Wait where,
                                     int layer) {
        Vec4 packets[together][count];
        const u8* from = at + (first * (count * residualSlots) + slot) * 16;
#pragma unroll
        for (int p = 0; p < together; ++p)
#pragma unroll
            for (int g = 0; g < count; ++g) packets[p][g] = loadPacket(from + (p * count + g) * (residualSlots * 16));
#pragma unroll
        for (int p = 0; p < together; ++p) {
            confirm<Packet6>(packets[p], from + p * (count * residualSlots * 16), residualSlots * 16, turns.tag(first + p), shared, where, layer);
#pragma unroll
            for (int g = 0; g < count; ++g) {
                float v[6];
                Packet6::unpack(v, packets[p][g]);
#pragma unroll
                for (int j = 0; j < 6; ++j) sums[p][j] = g == 0 ? v[j] : sums[p][j] + v[j];
            }
        }
    }
    template <int together, int count, bool toHead>
    __device__ __forceinline__ void addTogether(Shared& shared, Wide& wide, const u8* at, int first, const Turns& turns, Wait where, int layer,
                                                const SlotNorm (&norm)[slotsPerThread]) {
#pragma unroll
        for (int s = 0; s < slotsPerThread; ++s) {
            const int slot = threadIdx.x + s * consumers;
            if (slot >= residualSlots) continue;
            float sums[together][6];
            receiveBranches<together, count>(sums, shared, at, first, slot, turns, where, layer);
#pragma unroll
            for (int p = 0; p < together; ++p) {
                float v[6];
#pragma unroll
                for (int j = 0; j < 6; ++j) v[j] = wide.stream[((first + p) * slotsPerThread + s) * 6 + j][threadIdx.x] + sums[p][j];
                put<toHead>(wide, first + p, s, v, norm[s]);
            }
        }
    }

    // Adds the branches of all positions and writes the next vectors, by the weights `norm`; `after` are the norm weights of a sandwich.
    template <int count, bool toHead>
    __device__ __forceinline__ void add(Shared& shared, Wide& wide, const u8* at, const u32* counter, const Turns& turns, Wait where, int layer,
                                        const float* after, const SlotNorm (&norm)[slotsPerThread]) {
        waitHintAll(counter, turns.turn * blocks - DECODE_EARLY, shared, where, layer);
#pragma unroll
        for (int p = 0; p < n; ++p) squares[p] = 0.0f;
        if constexpr (!sandwich) {
            constexpr int together = 16 / count < 2 ? 1 : 2;  // positions whose packets are under way together
            if (turns.live == 1) {
                addTogether<1, count, toHead>(shared, wide, at, 0, turns, where, layer, norm);
            } else {
#pragma unroll
                    for (int first = 0; first < n; first += together)
                        addTogether<together, count, toHead>(shared, wide, at, first, turns, where, layer, norm);
                }
            } else {
            float branch[n][slotsPerThread][6];
#pragma unroll
            for (int p = 0; p < n; ++p)
#pragma unroll
                for (int s = 0; s < slotsPerThread; ++s) {
                    const int slot = threadIdx.x + s * consumers;
                    float sums[1][6] = {};
                    if (turns.has(p) && slot < residualSlots) receiveBranches<1, count>(sums, shared, at, p, slot, turns, where, layer);
#pragma unroll
                    for (int j = 0; j < 6; ++j) branch[p][s][j] = sums[0][j], squares[p] += sums[0][j] * sums[0][j];
                }
            putSquares(wide, turns);
            syncConsumers();
            float scales[n];
#pragma unroll
            for (int p = 0; p < n; ++p) scales[p] = normScaleAt(wide, p), squares[p] = 0.0f;
            syncConsumers();
#pragma unroll
            for (int s = 0; s < slotsPerThread; ++s) {
                const int slot = threadIdx.x + s * consumers;
                if (slot >= residualSlots) continue;
                const SlotNorm outer = {loadNorms4(after + slot * 8), loadNorms4(after + slot * 8 + 4)};
#pragma unroll
                for (int p = 0; p < n; ++p) {
                    if (!turns.has(p)) continue;
                    float v[6];
                    // Rounded in between, as Residual::add rounds.
#pragma unroll
                    for (int j = 0; j < 6; ++j)
                        v[j] = __fadd_rn(wide.stream[(p * slotsPerThread + s) * 6 + j][threadIdx.x],
                                         __fmul_rn(branch[p][s][j], scales[p] * Residual::weight(outer, j)));
                    put<toHead>(wide, p, s, v, norm[s]);
                }
            }
        }
    }
};

}  // namespace apus
