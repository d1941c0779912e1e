// The rival of the decode megakernel: a decode step as a chain of small kernels in one graph, with programmatic edges.
//
// A layer is four kernels, or five for long contexts: norm and q, k, v; (parts of the attention;) attention and output product; norm,
// gate and up; down. Behind the layers one kernel for norm, head and choice. Each lets the next one start at once, and brings its own
// weights to the multiprocessor while the kernels ahead of it still run: what is left behind griddepcontrol.wait is the vector. Weights,
// blocks and their shares are the megakernel's (Decode/Shape.cuh, packed by Decode/Pack.cu), vectors have two columns as there, and sums
// between kernels are fp32 in global memory. So the two differ in how one product hands over to the next, and in nothing of their work.
//
// For shapes of the Qwen3 kind, bf16: heads of 128 with a norm, one rope, no window, no sandwich norms.
//
//   GRAPH_STAGED 1      weights by bulk copies into shared memory; 0: to registers
//   GRAPH_AHEAD         staged: fragments of a warp that go on to registers before the wait
//   GRAPH_FLIGHT        staged: chunks of 16 KB of a block that are on their way at most
//   GRAPH_LATE 1        the next kernel may start when the own weights have come, not at once
//   GRAPH_PREFETCH      bytes behind the own share that a block brings into the L2, for the kernels after
//
// Roof: the bytes of all weights and of the cache, once a token, at the device's read bandwidth.
//
// Launch. Grid `blocks`, block 288 (a warp for the copies behind those that multiply), programmatic stream serialization, in this order for every token:
// a layer: apus_graph_input, [apus_graph_attend,] apus_graph_output or apus_graph_merge, apus_graph_gated, apus_graph_down;
// then apus_graph_head. Dynamic shared memory: apus_graph_sizes. apus_graph_output attends to at most 128 positions, the token's own
// among them. `state` holds the token and the position of the graph's first; the head moves them on. A graph of several tokens counts
// them in `token`: kernels read the position before their wait, so it must not change under them.

#include "Common/Barrier.cuh"
#include "Common/Math.cuh"
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
APUS_DEVICE Vec4 loadRow(const u16* p) {
    Vec4 v;
    asm volatile("ld.global.cg.v4.u32 {%0, %1, %2, %3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(p));
    return v;
}
APUS_DEVICE i32 loadState(const i32* p) {
    i32 v;
    asm volatile("ld.global.cg.u32 %0, [%1];" : "=r"(v) : "l"(p));
    return v;
}
APUS_DEVICE u64 streamOnce() {
    u64 policy;
    asm volatile("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
    return policy;
}
APUS_DEVICE Vec4 loadWeights(const u8* p, u64 policy) {
    Vec4 v;
    asm volatile("ld.global.nc.L1::no_allocate.L2::cache_hint.v4.u32 {%0, %1, %2, %3}, [%4], %5;"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(p), "l"(policy));
    return v;
}
APUS_DEVICE void prefetchBytes(const u8* p, int bytes) {
    if (bytes > 0) asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" ::"l"(p), "r"(bytes) : "memory");
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
                prefetchBytes(source + P::chunks * chunkBytes, GRAPH_PREFETCH);
            }
            __syncthreads();
            if (threadIdx.x > consumers) return false;
            if (threadIdx.x == consumers) {
#pragma unroll 1
                for (int c = 0; c < P::chunks; ++c) {
                    if (c >= GRAPH_FLIGHT) barrierWait(barriers + 8 * (c - GRAPH_FLIGHT), 0);
                    barrierExpect(barriers + 8 * c, chunkBytes);
                    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [%0], [%1], %2, [%3], %4;" ::"r"(
                                     sharedAddress(staged) + c * chunkBytes), "l"(source + c * chunkBytes), "r"(chunkBytes), "r"(barriers + 8 * c), "l"(policy)
                                 : "memory");
                }
                return false;
            }
        } else {
            __syncthreads();
            if (threadIdx.x >= consumers) return false;
            const u8* from = source + threadIdx.x / 32 * (chunkFragments * fragmentBytes) + threadIdx.x % 32 * 16;
#pragma unroll
            for (int f = 0; f < P::fragments; ++f)
                fragments[f] = loadWeights(from + f / chunkFragments * chunkBytes + f % chunkFragments * fragmentBytes, policy);
            if (threadIdx.x == 0) prefetchBytes(source + P::chunks * chunkBytes, GRAPH_PREFETCH);
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

// ---- the vector as B operand: see Shape.cuh ----------------------------------------------------------------------

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

// ---- attention ---------------------------------------------------------------------------------------------------

// A warp's 16 positions: lane 16 h + q has elements 8 q to 8 q + 7 of positions 2 i + h.
struct CacheTile {
    Vec4 keys[8], values[8];

    __device__ __forceinline__ void load(const u16* k, const u16* v, int first, int end) {
        const int lane = threadIdx.x % 32;
#pragma unroll
        for (int i = 0; i < 8; ++i) {
            const int row = first + 2 * i + lane / 16;
            const i64 at = static_cast<i64>(row) * (groups * headSize) + lane % 16 * 8;
            keys[i] = values[i] = {};
            if (row < end) keys[i] = loadRow(k + at), values[i] = loadRow(v + at);
        }
    }
};
APUS_DEVICE void unpack8(float (&out)[8], const Vec4& v) {
    const u32 words[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        const Float2 pair = unpackBF16(words[i]);
        out[2 * i] = pair.x, out[2 * i + 1] = pair.y;
    }
}

// Before the wait: what norm and rotation of the token's q and k take, to shared memory.
APUS_DEVICE void prepareHeads(Shared& shared, const Arguments& a, const float* const* norms, int position) {
    const int t = threadIdx.x;
    static_assert(consumers == 2 * headSize, "a weight a thread");
    shared.headNorm[t / headSize][t % headSize] = norms[2 + t / headSize][t % headSize];
    if (t < headSize / 2) sineCosine(static_cast<float>(position) * a.inverseFrequencies[t], shared.rope[t].y, shared.rope[t].x);
    syncAll();
}
// Reads the token's q, k, v of the group, norms and rotates them; one block of a group keeps k and v. A barrier has to follow.
APUS_DEVICE void receiveHeads(Shared& shared, const Arguments& a, u16* keys, u16* values, int position, bool keeps) {
    const int vector = threadIdx.x / 32, lane = threadIdx.x % 32, group = blockIdx.x / members;
    if (vector >= tokenVectors) return;
    const Float4 v = loadFresh(a.scratch + headsAt + (group * tokenVectors + vector) * headSize + lane * 4);
    float x[4] = {v.x, v.y, v.z, v.w};
    const bool isKey = vector == headsPerGroup;
    if (vector <= headsPerGroup) {
        const float squares = groupSum(x[0] * x[0] + x[1] * x[1] + x[2] * x[2] + x[3] * x[3]);
        const float scale = rsqrtFast(squares * (1.0f / headSize) + DECODE_EPSILON);
#pragma unroll
        for (int j = 0; j < 4; ++j) {
            x[j] *= scale * shared.headNorm[isKey][lane * 4 + j];
            const float other = __shfl_xor_sync(0xffffffffu, x[j], 16);
            const Float2 turn = shared.rope[(lane * 4 + j) % (headSize / 2)];
            x[j] = x[j] * turn.x + (lane < 16 ? -other : other) * turn.y;
        }
    }
    if (vector < headsPerGroup) {
        constexpr float unit = DECODE_SCALE * log2E;
        *reinterpret_cast<Float4*>(shared.queries[vector] + lane * 4) = {x[0] * unit, x[1] * unit, x[2] * unit, x[3] * unit};
        return;
    }
    const Vec2 bits = {packBF16(x[0], x[1]), packBF16(x[2], x[3])};
    *reinterpret_cast<Vec2*>((isKey ? shared.key : shared.value) + lane * 4) = bits;
    if (keeps) *reinterpret_cast<Vec2*>((isKey ? keys : values) + static_cast<i64>(position) * (groups * headSize) + lane * 4) = bits;
}

// The warp's positions of all that lie in [from, to), `tile` the first 16 of them, the token's own at `position`; parts to shared memory.
template <bool isLong>
APUS_DEVICE void attend(Shared& shared, CacheTile& tile, const u16* keys, const u16* values, int from, int to, int position) {
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, end = to < position ? to : position;
    float q[headsPerGroup][8], out[headsPerGroup][8], most[headsPerGroup], sum[headsPerGroup];
#pragma unroll
    for (int h = 0; h < headsPerGroup; ++h) {
        most[h] = -1e30f, sum[h] = 0.0f;
        const Float4 *at = reinterpret_cast<const Float4*>(shared.queries[h] + lane % 16 * 8), x = at[0], y = at[1];
        q[h][0] = x.x, q[h][1] = x.y, q[h][2] = x.z, q[h][3] = x.w, q[h][4] = y.x, q[h][5] = y.y, q[h][6] = y.z, q[h][7] = y.w;
#pragma unroll
        for (int j = 0; j < 8; ++j) out[h][j] = 0.0f;
    }
    const auto step = [&](int first) {
        float scores[headsPerGroup][8];
#pragma unroll
        for (int i = 0; i < 8; ++i) {
            if (first + 2 * i + lane / 16 == position) {
                tile.keys[i] = *reinterpret_cast<const Vec4*>(shared.key + lane % 16 * 8);
                tile.values[i] = *reinterpret_cast<const Vec4*>(shared.value + lane % 16 * 8);
            }
            float k[8];
            unpack8(k, tile.keys[i]);
#pragma unroll
            for (int h = 0; h < headsPerGroup; ++h) {
                scores[h][i] = 0.0f;
#pragma unroll
                for (int j = 0; j < 8; ++j) scores[h][i] += q[h][j] * k[j];
            }
        }
        // Eight sums over 16 lanes: lane 16 h + q ends with that of i = q / 2.
        const bool isSeen = first + lane / 2 % 8 * 2 + lane / 16 < to;
        float p[headsPerGroup];
#pragma unroll
        for (int h = 0; h < headsPerGroup; ++h) {
#pragma unroll
            for (int width = 4; width >= 1; width /= 2)
#pragma unroll
                for (int j = 0; j < width; ++j) {
                    const bool upper = lane & (2 * width);
                    const float keep = upper ? scores[h][j + width] : scores[h][j], give = upper ? scores[h][j] : scores[h][j + width];
                    scores[h][j] = keep + __shfl_xor_sync(0xffffffffu, give, 2 * width);
                }
            float score = scores[h][0] + __shfl_xor_sync(0xffffffffu, scores[h][0], 1);
            if (!isSeen) score = -1e30f;
            float largest = isLong ? fmaxf(score, most[h]) : score;
#pragma unroll
            for (int offset = 2; offset < 32; offset *= 2) largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, offset));
            p[h] = isSeen ? exp2Fast(score - largest) : 0.0f;
            if constexpr (isLong) {
                const float fade = exp2Fast(most[h] - largest);
                sum[h] = sum[h] * fade + p[h];
#pragma unroll
                for (int j = 0; j < 8; ++j) out[h][j] *= fade;
            } else {
                sum[h] = p[h];
            }
            most[h] = largest;
        }
#pragma unroll
        for (int i = 0; i < 8; ++i) {
            float v[8];
            unpack8(v, tile.values[i]);
#pragma unroll
            for (int h = 0; h < headsPerGroup; ++h) {
                const float weight = __shfl_sync(0xffffffffu, p[h], (lane & 16) | i * 2);
#pragma unroll
                for (int j = 0; j < 8; ++j) out[h][j] += weight * v[j];
            }
        }
    };
    int first = from + warp * 16;
    if constexpr (isLong) {
        for (; first < to; first += passRows) {
            if (first != from + warp * 16) tile.load(keys, values, first, end);
            step(first);
        }
    } else {
        step(first);
    }
#pragma unroll
    for (int h = 0; h < headsPerGroup; ++h) {
#pragma unroll
        for (int offset = 2; offset < 32; offset *= 2) sum[h] += __shfl_xor_sync(0xffffffffu, sum[h], offset);
#pragma unroll
        for (int j = 0; j < 8; ++j) out[h][j] += __shfl_xor_sync(0xffffffffu, out[h][j], 16);
        float* to = shared.parts[warp] + h * headSize + lane % 16 * 8;
        if (lane < 16) {
            *reinterpret_cast<Float4*>(to) = {out[h][0], out[h][1], out[h][2], out[h][3]};
            *reinterpret_cast<Float4*>(to + 4) = {out[h][4], out[h][5], out[h][6], out[h][7]};
        }
        if (lane == 0) shared.most[h][warp] = most[h], shared.sums[h][warp] = sum[h];
    }
}
// Element `e` of the group's heads over the warps' parts, normed, and the logarithm of the sum.
APUS_DEVICE float merged(const Shared& shared, int e, float& logSum) {
    const int h = e / headSize;
    float largest = -1e30f, sum = 0.0f, out = 0.0f;
#pragma unroll
    for (int w = 0; w < warps; ++w) largest = fmaxf(largest, shared.most[h][w]);
#pragma unroll
    for (int w = 0; w < warps; ++w) {
        const float factor = exp2Fast(shared.most[h][w] - largest);
        sum += factor * shared.sums[h][w];
        out += factor * shared.parts[w][e];
    }
    logSum = sum > 0.0f ? largest + log2Fast(sum) : -1e30f;
    return sum > 0.0f ? out / sum : 0.0f;
}

// Positions of a part of a long attention.
struct Span {
    int each, splits;
    __device__ __forceinline__ explicit Span(int count) {
        each = count > attendUnit * attendSplits ? ceilDivide(count, attendSplits) : attendUnit;
        splits = ceilDivide(count, each);
    }
};

APUS_DEVICE const u8* layerShare(const Arguments& a, int layer, int chunk) {
    return a.layers + ((static_cast<i64>(layer) * blocks + blockIdx.x) * layerChunks + chunk) * chunkBytes;
}
APUS_DEVICE Shared& sharedBehind(u8* memory, int bytes) { return *reinterpret_cast<Shared*>(memory + bytes); }

// The output product of what lies in the vector, a group's partial sums.
template <class AnyShare> APUS_DEVICE void outputRows(Shared& shared, const u8* staged, const AnyShare& share, const Arguments& a) {
    share.multiply(shared, staged);
    syncAll();
    constexpr int rows = outputUnits * unitRows;
    const int group = blockIdx.x / members, member = blockIdx.x % members;
    for (int i = threadIdx.x; i < rows; i += consumers)
        if (member * rows + i < hidden) a.scratch[attendedAtF + group * hidden + member * rows + i] = rowSum(shared, i);
}

}  // namespace apus

using namespace apus;

#define GRAPH_KERNEL(resident) extern "C" __global__ void __launch_bounds__(consumers + 32, resident)

extern "C" {
// Dynamic shared memory of input, attend, output (merge too), gated, down, head; blocks; floats of scratch; bytes of Arguments and of State;
// threads of a block.
__device__ u32 apus_graph_sizes[] = {
    stagedBytes<Input>() + sizeof(Shared), sizeof(Shared), stagedBytes<Output>(true) + sizeof(Shared), stagedBytes<Gated>() + sizeof(Shared),
    stagedBytes<Down>() + sizeof(Shared), sizeof(Shared), blocks, scratchFloats, sizeof(Arguments), sizeof(State), consumers + 32};
}

// x = stream + down's partial sums; q, k, v = rows of norm x.
GRAPH_KERNEL(2) apus_graph_input(const __grid_constant__ Arguments a, int layer, int token) {
    extern __shared__ __align__(1024) u8 memory[];
    Shared& shared = sharedBehind(memory, stagedBytes<Input>());
    if (!GRAPH_LATE) dependencyRelease();
    Share<Input> share;
    clearVector(shared);
    if (!share.ask(shared, memory, layerShare(a, layer, 0))) return;
    Float4 norm[quads], x[quads] = {};
    loadNorm(norm, a.norms[4 * layer]);
    share.arrive(shared, memory);
    if (GRAPH_LATE) dependencyRelease();
    dependencyWait();
    float scale;
    float* to = a.scratch + residualAt;
    if (layer == 0) {
        const u16* row = a.embedding + static_cast<i64>(loadState(&a.state->token)) * hidden;
#pragma unroll
        for (int s = 0; s < quads; ++s) {
            const int k = (threadIdx.x + s * consumers) * 4;
            if (k >= hidden) break;
            const Vec2 words = *reinterpret_cast<const Vec2*>(row + k);
            const Float2 low = unpackBF16(words.x), high = unpackBF16(words.y);
            x[s] = {low.x, low.y, high.x, high.y};
        }
        scale = normed<0, false>(shared, x, nullptr, nullptr, norm, to);
    } else {
        scale = normed<feedGroups, false>(shared, x, to + hidden, a.scratch + addedAtF, norm, to);
    }
    share.multiply(shared, memory);
    syncAll();
    const int group = blockIdx.x / members, member = blockIdx.x % members;
    for (int i = threadIdx.x; i < inputRows; i += consumers)
        a.scratch[headsAt + group * tokenVectors * headSize + member * inputRows + i] = rowSum(shared, i) * scale;
}

// Short contexts: every block of a group attends to all positions.
GRAPH_KERNEL(2) apus_graph_output(const __grid_constant__ Arguments a, int layer, int token) {
    extern __shared__ __align__(1024) u8 memory[];
    Shared& shared = sharedBehind(memory, stagedBytes<Output>(true));
    if (!GRAPH_LATE) dependencyRelease();
    Share<Output, true, 0> share;  // the attention needs the registers
    clearVector(shared);
    if (!share.ask(shared, memory, layerShare(a, layer, Input::chunks))) return;
    // Written by the token before, whose kernels have all ended where this is the first graph's edge; so is the cache but for its last row.
    const int group = blockIdx.x / members, position = loadState(&a.state->position) + token;
    u16 *keys = a.cache[2 * layer] + group * headSize, *values = a.cache[2 * layer + 1] + group * headSize;
    prepareHeads(shared, a, a.norms + 4 * layer, position);
    CacheTile tile;
    tile.load(keys, values, threadIdx.x / 32 * 16, position);
    share.arrive(shared, memory);
    if (GRAPH_LATE) dependencyRelease();
    dependencyWait();
    receiveHeads(shared, a, keys, values, position, blockIdx.x % members == 0);
    syncAll();
    attend<false>(shared, tile, keys, values, 0, position + 1, position);
    syncAll();
    float unused;
    for (int e = threadIdx.x * 2; e < groupHeadSize; e += consumers * 2) putPair(shared.vector, e, merged(shared, e, unused), merged(shared, e + 1, unused));
    syncAll();
    outputRows(shared, memory, share, a);
}

// Long contexts: a part of the positions, for apus_graph_merge.
GRAPH_KERNEL(1) apus_graph_attend(const __grid_constant__ Arguments a, int layer, int token) {
    extern __shared__ __align__(1024) u8 memory[];
    Shared& shared = sharedBehind(memory, 0);
    dependencyRelease();
    if (threadIdx.x >= consumers) return;
    const int group = blockIdx.x / members, member = blockIdx.x % members, position = loadState(&a.state->position) + token;
    const Span span(position + 1);
    u16 *keys = a.cache[2 * layer] + group * headSize, *values = a.cache[2 * layer + 1] + group * headSize;
    const int from = member * span.each, to = from + span.each < position + 1 ? from + span.each : position + 1;
    prepareHeads(shared, a, a.norms + 4 * layer, position);
    CacheTile tile;
    tile.load(keys, values, from + threadIdx.x / 32 * 16, to < position ? to : position);
    dependencyWait();
    if (member >= span.splits) return;
    receiveHeads(shared, a, keys, values, position, member == 0);
    syncAll();
    attend<true>(shared, tile, keys, values, from, to, position);
    syncAll();
    float logSum;
    for (int e = threadIdx.x; e < groupHeadSize; e += consumers) {
        a.scratch[splitsAt + (group * attendSplits + member) * groupHeadSize + e] = merged(shared, e, logSum);
        if (e % headSize == 0) a.scratch[logSumAt + (group * attendSplits + member) * headsPerGroup + e / headSize] = logSum;
    }
}
GRAPH_KERNEL(2) apus_graph_merge(const __grid_constant__ Arguments a, int layer, int token) {
    extern __shared__ __align__(1024) u8 memory[];
    Shared& shared = sharedBehind(memory, stagedBytes<Output>());
    if (!GRAPH_LATE) dependencyRelease();
    Share<Output, isStaged, 0> share;  // as it is resident beside apus_graph_attend
    clearVector(shared);
    if (!share.ask(shared, memory, layerShare(a, layer, Input::chunks))) return;
    const int group = blockIdx.x / members, splits = Span(loadState(&a.state->position) + token + 1).splits;
    share.arrive(shared, memory);
    if (GRAPH_LATE) dependencyRelease();
    dependencyWait();
    for (int e = threadIdx.x; e < groupHeadSize; e += consumers) {
        float values[attendSplits], logs[attendSplits], largest = -1e30f, sum = 0.0f, out = 0.0f;
#pragma unroll
        for (int s = 0; s < attendSplits; ++s) {
            logs[s] = s < splits ? loadFresh1(a.scratch + logSumAt + (group * attendSplits + s) * headsPerGroup + e / headSize) : -1e30f;
            values[s] = s < splits ? loadFresh1(a.scratch + splitsAt + (group * attendSplits + s) * groupHeadSize + e) : 0.0f;
        }
#pragma unroll
        for (int s = 0; s < attendSplits; ++s) largest = fmaxf(largest, logs[s]);
#pragma unroll
        for (int s = 0; s < attendSplits; ++s) {
            const float factor = exp2Fast(logs[s] - largest);
            sum += factor;
            out += factor * values[s];
        }
        out /= sum;
        const float next = __shfl_down_sync(0xffffffffu, out, 1);
        if (e % 2 == 0) putPair(shared.vector, e, out, next);
    }
    syncAll();
    outputRows(shared, memory, share, a);
}

// x = stream + the groups' partial sums of the output; act(gate) * up of norm x.
GRAPH_KERNEL(2) apus_graph_gated(const __grid_constant__ Arguments a, int layer, int token) {
    extern __shared__ __align__(1024) u8 memory[];
    Shared& shared = sharedBehind(memory, stagedBytes<Gated>());
    if (!GRAPH_LATE) dependencyRelease();
    Share<Gated> share;
    clearVector(shared);
    if (!share.ask(shared, memory, layerShare(a, layer, Input::chunks + Output::chunks))) return;
    Float4 norm[quads], x[quads] = {};
    loadNorm(norm, a.norms[4 * layer + 1]);
    share.arrive(shared, memory);
    if (GRAPH_LATE) dependencyRelease();
    dependencyWait();
    float* from = a.scratch + residualAt;
    const float scale = normed<groups, false>(shared, x, from, a.scratch + attendedAtF, norm, from + hidden);
    share.multiply(shared, memory);
    syncAll();
    for (int j = threadIdx.x; j < pairs; j += consumers) {
        const int row = j / 8 * 16 + j % 8;
        const float gate = rowSum(shared, row) * scale, up = rowSum(shared, row + 8) * scale;
        a.scratch[activatedAt + blockIdx.x * pairs + j] = activate<Activation::silu>(gate) * up;
    }
}

// A feed group's partial sums of the down product.
GRAPH_KERNEL(2) apus_graph_down(const __grid_constant__ Arguments a, int layer, int token) {
    extern __shared__ __align__(1024) u8 memory[];
    Shared& shared = sharedBehind(memory, stagedBytes<Down>());
    if (!GRAPH_LATE) dependencyRelease();
    Share<Down> share;
    clearVector(shared);
    if (!share.ask(shared, memory, layerShare(a, layer, Input::chunks + Output::chunks + Gated::chunks))) return;
    share.arrive(shared, memory);
    if (GRAPH_LATE) dependencyRelease();
    dependencyWait();
    const int group = blockIdx.x / feedMembers, member = blockIdx.x % feedMembers;
    for (int k = threadIdx.x * 2; k < channels; k += consumers * 2) {
        Float2 v;
        asm volatile("ld.global.cg.v2.f32 {%0, %1}, [%2];" : "=f"(v.x), "=f"(v.y) : "l"(a.scratch + activatedAt + group * channels + k));
        putPair(shared.vector, k, v.x, v.y);
    }
    syncAll();
    share.multiply(shared, memory);
    syncAll();
    for (int i = threadIdx.x; i < unitRows; i += consumers)
        if (member * unitRows + i < hidden) a.scratch[addedAtF + group * hidden + member * unitRows + i] = rowSum(shared, i);
}

// The block's rows of the head, and by the last block the choice of the token.
GRAPH_KERNEL(1) apus_graph_head(const __grid_constant__ Arguments a, int token, int tokens) {
    extern __shared__ __align__(1024) u8 memory[];
    Shared& shared = sharedBehind(memory, 0);
    dependencyRelease();
    if (threadIdx.x >= consumers) return;
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const u64 policy = streamOnce();
    const u8* source = a.head + static_cast<i64>(blockIdx.x) * headChunks * chunkBytes + warp * (chunkFragments * fragmentBytes) + lane * 16;
    constexpr int ahead = headRoundChunks < 6 ? headRoundChunks : 6;  // chunks on their way to registers
    static_assert(headRoundChunks % 2 == 0, "chunks of a round in order");
    Vec4 ring[headRoundChunks][chunkFragments];
#pragma unroll
    for (int c = 0; c < ahead; ++c)
#pragma unroll
        for (int f = 0; f < chunkFragments; ++f) ring[c][f] = loadWeights(source + c * chunkBytes + f * fragmentBytes, policy);
    clearVector(shared);
    Float4 norm[quads], x[quads] = {};
    loadNorm(norm, a.norms[4 * layerCount]);
    syncAll();
    dependencyWait();
    const float scale = normed<feedGroups, true>(shared, x, a.scratch + residualAt + hidden, a.scratch + addedAtF, norm, nullptr);
    const int step = loadState(&a.state->step) + token;
    u64 best = 0;
    const u32 from = sharedAddress(shared.vector) + lane / 4 * 32 + lane % 4 * 8;
    for (int round = 0; round < headRounds; ++round) {
        float d[2][4] = {};
#pragma unroll
        for (int chunk = 0; chunk < headRoundChunks; ++chunk) {
#pragma unroll
            for (int f = 0; f < chunkFragments; ++f) {
                Vec2 b = {0, 0};
                if (lane < 16) b = loadShared8(from + (chunk * chunkFragments + f) * 128);
                multiplyAdd(d[f % 2], ring[chunk][f], b);
            }
            // The chunk `ahead` behind this one; the slot is the one of its place in the round.
            const int next = round * headRoundChunks + chunk + ahead;
            if (next < headChunks) {
#pragma unroll
                for (int f = 0; f < chunkFragments; ++f)
                    ring[(chunk + ahead) % headRoundChunks][f] = loadWeights(source + static_cast<i64>(next) * chunkBytes + f * fragmentBytes, policy);
            }
        }
        const int i = lane % 4 == 0 ? 0 : 2, row = ((round * blocks + blockIdx.x) * warps + warp) * 8 + lane / 4;
        float value = i == 0 ? (d[0][0] + d[1][0]) + (d[0][1] + d[1][1]) : (d[0][2] + d[1][2]) + (d[0][3] + d[1][3]);
        value += __shfl_xor_sync(0xffffffffu, value, 1);
        value *= scale;
        if (lane % 4 != 0 || row >= vocabulary) continue;
        if (a.logits != nullptr) a.logits[static_cast<i64>(step) * vocabulary + row] = value;
        const u32 bits = asBits(value), ordered = bits >> 31 ? ~bits : bits | 0x80000000u;
        const u64 key = static_cast<u64>(ordered) << 32 | (0xffffffffu - row);
        best = key > best ? key : best;
    }
#pragma unroll
    for (int offset = 16; offset > 0; offset /= 2) {
        const u64 other = __shfl_xor_sync(0xffffffffu, best, offset);
        best = other > best ? other : best;
    }
    if (lane == 0) atomicMax(&a.state->best, best);
    __threadfence();
    syncAll();
    if (threadIdx.x != 0 || atomicAdd(&a.state->done, 1u) != blocks - 1) return;
    const i32 chosen = static_cast<i32>(0xffffffffu - static_cast<u32>(atomicExch(&a.state->best, 0ull)));
    a.chosen[step] = chosen;
    a.state->token = chosen;
    if (token == tokens - 1) {
        a.state->position += tokens;
        a.state->step += tokens;
    }
    a.state->done = 0;
}
