// What a step of several positions (Speculation.cuh) keeps: its exchange area, its part of shared memory, its counts of exchanges.
#pragma once
#include "Decode/Attention.cuh"
#include "Decode/Residual.cuh"
#include "Decode/Sampling.cuh"

namespace apus {

static_assert(positions == 2 || positions == 4, "a mma has columns for four positions");
static_assert(!samples, "guesses are for the likeliest tokens");

// From the host, in the exchange area behind its packets.
struct Lookup {
    const i32* history;  // [count] prompt and answer, the first token of the launch included
    i32 count, guesses;  // of a step at most
};
constexpr int historyLimit = 8192, recentLimit = 512;  // latest tokens that are searched, tokens of a launch

// Exchange area as in Shape.cuh, each part `positions` times.
struct Area {
    static constexpr int inputs = groups * members * inputRows / 4, splits = groups * maximumSplits * splitPackets, gated = blocks * gatedPackets;
    static constexpr int attended = groups * residualSlots, added = feedGroups * residualSlots;
    static constexpr int inputAt = counterLines * 8, splitAt = inputAt + positions * inputs, gatedAt = splitAt + positions * splits;
    static constexpr int attendedAt = gatedAt + positions * gated, addedAt = attendedAt + positions * attended;
    static constexpr int choiceAt = addedAt + positions * added, lookupAt = choiceAt + positions * blocks, packets = lookupAt + 1;
};

constexpr int partialFloats = partialStride * productRows;
constexpr int wideVectorBytes = larger(larger(Input::vectorBytes, headVectorBytes), Down::vectorBytes);
// Attention's parts lie where the vectors and the sums of products do, unless a vector has a rest that must stay zero.
constexpr bool isWholeVector = hidden % 128 == 0 && pairs * feedMembers % 128 == 0;
constexpr int productBytes = positions * (wideVectorBytes + partialFloats * 4), partBytes = positions * static_cast<int>(sizeof(Parts<warps>));

// Registers for the output product's weights during the attention are there for two positions of small heads.
constexpr bool loadsOutputEarly = positions == 2 && headSize <= 128;

struct alignas(128) Wide {
    alignas(16) u8 area[isWholeVector ? (productBytes > partBytes ? productBytes : partBytes) : productBytes + partBytes];
    alignas(16) u8 attendedVector[positions * Output::vectorBytes];
    alignas(16) u16 queries[positions][headsPerGroup][2][headSize];
    alignas(16) CacheElement key[positions][keptElements], value[positions][keptElements];
    alignas(16) float squares[positions][warps];
    float stream[positions * slotsPerThread * 6][consumers];  // the residual streams of a step of several positions, between their uses
    Float2 rope[positions][ropeKinds][headSize / 2];
    Choice choices[positions][warps];
    u32 bad[warps];
    i32 recent[recentLimit + positions];  // tokens of this launch
    i32 tokens[positions], chosen[positions];
    u32 flags[positions];
    u32 matches[warps];
    int count;  // tokens of the step: the one that is due and its guesses
    Lookup lookup;

    __device__ __forceinline__ u8* vector() { return area; }
    __device__ __forceinline__ float* partial(int p) { return reinterpret_cast<float*>(area + positions * wideVectorBytes) + p * partialFloats; }
    __device__ __forceinline__ Parts<warps>& attended(int p) {
        return reinterpret_cast<Parts<warps>*>(area + (isWholeVector ? 0 : productBytes))[p];
    }
};
constexpr int speculationBytes = static_cast<int>(sizeof(Wide)), areaPackets = Area::packets;
APUS_DEVICE Wide& wideState(Shared& shared) { return *reinterpret_cast<Wide*>(&shared + 1); }

// How often an exchange was used, by the first position and by the others; and the positions of the step, one or all.
struct Turns {
    u32 turn = 0, first = 0, other = 0, otherTurn = 0;
    int live = 1;

    __device__ __forceinline__ void next() {
        first = packetTag(++turn);
        if (live > 1) other = packetTag(++otherTurn);
    }
    __device__ __forceinline__ u32 tag(int p) const { return p == 0 ? first : other; }
    __device__ __forceinline__ bool has(int p) const { return p == 0 || live > 1; }
};

}  // namespace apus
