// A step in small kernels (GraphStepHopper.cu): its arguments, shared memory, and the weights on their way before the wait.
#pragma once
#include "Common/Loads.cuh"
#include "Common/Math.cuh"
#include "Common/TensorCopy.cuh"
#include "Common/WarpMMA.cuh"
#include "Decode/Shape.cuh"

#ifndef GRAPH_STAGED
#define GRAPH_STAGED 1
#endif
#ifndef GRAPH_AHEAD
#define GRAPH_AHEAD 8
#endif
#ifndef GRAPH_FLIGHT
#define GRAPH_FLIGHT 2
#endif
#ifndef GRAPH_LATE
#define GRAPH_LATE 0
#endif
#ifndef GRAPH_PREFETCH
#define GRAPH_PREFETCH 0
#endif
#ifndef DECODE_EPSILON
#define DECODE_EPSILON 1e-6f
#endif
#ifndef DECODE_SCALE
#define DECODE_SCALE 0.08838834764831845f
#endif

namespace apus {

static_assert(!hasCodes && !sandwich && headSize == 128 && hidden % 4 == 0 && headsPerGroup + 2 <= warps, "shapes of the Qwen3 kind");
static_assert(blocks % feedMembers == 0 && pairs % 2 == 0, "whole pairs of activations");

constexpr bool isStaged = GRAPH_STAGED;
constexpr int tokenVectors = headsPerGroup + 2, quads = ceilDivide(hidden, 4 * consumers), partialStride = 12;
constexpr int channels = pairs * feedMembers;  // of a feed group, padded
constexpr int passRows = 16 * warps;           // cached positions of a block in one go
constexpr int attendSplits = members < 16 ? members : 16, attendUnit = 64;

struct State {
    u64 best;  // the likeliest row so far: ordered bits of its logit, then of its id
    u32 done;  // blocks of the head that have ended
    i32 token, position, step;
};

struct Arguments {
    const u8* layers;                 // [L, blocks, layerChunks, 16 KB]
    const u8* head;                   // [blocks, headChunks, 16 KB]
    const u16* embedding;             // [V, C] bf16
    const float* const* norms;        // [L, 4] addresses: before attention [C], before the feed-forward part [C], query [D], key [D]; then the last norm's
    const float* inverseFrequencies;  // [D / 2]
    u16* const* cache;                // [L, 2]: keys and values, each [capacity, G, D] bf16
    float* scratch;                   // [scratchFloats]
    float* logits;                    // [steps, V] where wanted, else null
    i32* chosen;                      // [steps]
    State* state;
};

// Places in `scratch`.
constexpr int residualAt = 0;  // [2, C]: behind attention, behind the feed-forward part
constexpr int headsAt = residualAt + 2 * hidden, attendedAtF = headsAt + groups * tokenVectors * headSize, activatedAt = attendedAtF + groups * hidden;
constexpr int addedAtF = activatedAt + feedGroups * channels, splitsAt = addedAtF + feedGroups * hidden;
constexpr int logSumAt = splitsAt + groups * attendSplits * groupHeadSize;
constexpr int scratchFloats = logSumAt + groups * attendSplits * headsPerGroup;

// All threads that multiply.
APUS_DEVICE void syncAll() { namedSync(1, consumers); }

// What other kernels have written: past L1, which may hold what was there before.
APUS_DEVICE Float4 loadFresh(const float* p) {
    Float4 v;
    asm volatile("ld.global.cg.v4.f32 {%0, %1, %2, %3}, [%4];" : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w) : "l"(p));
    return v;
}
APUS_DEVICE float loadFresh1(const float* p) {
    float v;
    asm volatile("ld.global.cg.f32 %0, [%1];" : "=f"(v) : "l"(p));
    return v;
}
APUS_DEVICE i32 loadState(const i32* p) {
    i32 v;
    asm volatile("ld.global.cg.u32 %0, [%1];" : "=r"(v) : "l"(p));
    return v;
}
APUS_DEVICE void multiplyAdd(float (&d)[4], const Vec4& a, Vec2 b) {
    const u32 words[4] = {a.x, a.y, a.z, a.w};
    mmaWarp<DType::bf16>(d, words, b.x, b.y);
}

// ---- shared memory of a block, behind the staged weights ----------------------------------------------------------

struct alignas(128) Shared {
    alignas(16) float partial[partialStride * (Gated::paddedRows > Output::paddedRows
                                                   ? (Gated::paddedRows > Input::paddedRows ? Gated::paddedRows : Input::paddedRows)
                                                   : (Output::paddedRows > Input::paddedRows ? Output::paddedRows : Input::paddedRows))];
    alignas(16) float queries[headsPerGroup][headSize];
    alignas(16) u16 key[headSize], value[headSize];
    alignas(16) float parts[warps][groupHeadSize];
    float most[headsPerGroup][warps], sums[headsPerGroup][warps], squares[warps];
    float headNorm[2][headSize];   // of queries, of the key
    Float2 rope[headSize / 2];     // cosine, sine
    u64 loaded[8];  // of the chunks
    static constexpr int vectorBytes = Input::vectorBytes > headVectorBytes ? Input::vectorBytes : headVectorBytes;
    static constexpr int otherBytes = Output::vectorBytes > Down::vectorBytes ? Output::vectorBytes : Down::vectorBytes;
    alignas(16) u8 vector[vectorBytes > otherBytes ? vectorBytes : otherBytes];
};

template <class P> constexpr __host__ __device__ int stagedBytes(bool staged = isStaged) { return staged ? P::chunks * chunkBytes : 0; }

// The block's weights of a product, on their way before the wait.
template <class P, bool staged_ = isStaged, int limit = GRAPH_AHEAD> struct Share {
    static constexpr bool isStaged = staged_;
    static constexpr int ahead = !isStaged || limit > P::fragments ? P::fragments : limit;
    Vec4 fragments[ahead > 0 ? ahead : 1];

    // The block's threads, those that multiply among them; the warp behind them ends here, once it has asked for the last chunk.
    __device__ __forceinline__ bool ask(Shared& shared, u8* staged, const u8* source) {
        const u64 policy = streamOnce();
        if constexpr (isStaged) {
            static_assert(P::chunks <= 8, "a barrier a chunk");
            const u32 barriers = sharedAddress(shared.loaded);
            if (threadIdx.x == consumers) {
                for (int c = 0; c < P::chunks; ++c) barrierInit(barriers + 8 * c, 1);
                barrierInitFence();
                if constexpr (GRAPH_PREFETCH > 0) prefetchBytes(source + P::chunks * chunkBytes, GRAPH_PREFETCH);
            }
            __syncthreads();
            if (threadIdx.x > consumers) return false;
            if (threadIdx.x == consumers) {
#pragma unroll 1
                for (int c = 0; c < P::chunks; ++c) {
                    if (c >= GRAPH_FLIGHT) barrierWait(barriers + 8 * (c - GRAPH_FLIGHT), 0);
                    barrierExpect(barriers + 8 * c, chunkBytes);
                    loadBytes(sharedAddress(staged) + c * chunkBytes, source + c * chunkBytes, chunkBytes, barriers + 8 * c, policy);
                }
                return false;
            }
        } else {
            __syncthreads();
            if (threadIdx.x >= consumers) return false;
            const u8* from = source + threadIdx.x / 32 * (chunkFragments * fragmentBytes) + threadIdx.x % 32 * 16;
#pragma unroll
            for (int f = 0; f < P::fragments; ++f)
                fragments[f] = loadWeights16(from + f / chunkFragments * chunkBytes + f % chunkFragments * fragmentBytes, policy);
            if (GRAPH_PREFETCH > 0 && threadIdx.x == 0) prefetchBytes(source + P::chunks * chunkBytes, GRAPH_PREFETCH);
        }
        return true;
    }
    __device__ __forceinline__ Vec4 read(const u8* staged, int f) const {
        return loadShared16(sharedAddress(staged) + f / chunkFragments * chunkBytes + threadIdx.x / 32 * (chunkFragments * fragmentBytes) +
                            f % chunkFragments * fragmentBytes + threadIdx.x % 32 * 16);
    }
    // Behind the ask, before or after the wait for other kernels: the weights have come.
    __device__ __forceinline__ void arrive(Shared& shared, const u8* staged) {
        if constexpr (isStaged) {
#pragma unroll 1
            for (int c = 0; c < P::chunks; ++c) barrierWait(sharedAddress(shared.loaded) + 8 * c, 0);
#pragma unroll
            for (int f = 0; f < ahead; ++f) fragments[f] = read(staged, f);
        }
    }
    // The warp's share of all rows times the vector, to shared.partial [row, warp].
    __device__ __forceinline__ void multiply(Shared& shared, const u8* staged) const {
        const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
        Vec2 b[P::columnBlocks];
        const u32 from = sharedAddress(shared.vector) + (warp * P::columnBlocks * 2 + lane / 4 % 2) * 32 + lane % 4 * 8;
#pragma unroll
        for (int k = 0; k < P::columnBlocks; ++k) b[k] = loadShared8(from + k * 64);
        float d[P::rowGroups][2][4] = {};
#pragma unroll
        for (int f = 0; f < P::fragments; ++f) {
            const int r = f / P::columnBlocks, k = f % P::columnBlocks;
            multiplyAdd(d[r][k % 2], f < ahead ? fragments[f < ahead ? f : 0] : read(staged, f), b[k]);
        }
        float* out = shared.partial + lane / 4 * partialStride + warp;
        if (lane % 4 != 0) return;
#pragma unroll
        for (int r = 0; r < P::rowGroups; ++r) {
            out[r * 16 * partialStride] = (d[r][0][0] + d[r][1][0]) + (d[r][0][1] + d[r][1][1]);
            out[(r * 16 + 8) * partialStride] = (d[r][0][2] + d[r][1][2]) + (d[r][0][3] + d[r][1][3]);
        }
    }
};

APUS_DEVICE float rowSum(const Shared& shared, int row) {
    const Float4 *from = reinterpret_cast<const Float4*>(shared.partial + row * partialStride), a = from[0], b = from[1];
    return ((a.x + a.y) + (a.z + a.w)) + ((b.x + b.y) + (b.z + b.w));
}

}  // namespace apus
