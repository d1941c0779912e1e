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

#include "Benchmark/GraphStepAttention.cuh"

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
        for (int f = 0; f < chunkFragments; ++f) ring[c][f] = loadWeights16(source + c * chunkBytes + f * fragmentBytes, policy);
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
                    ring[(chunk + ahead) % headRoundChunks][f] = loadWeights16(source + static_cast<i64>(next) * chunkBytes + f * fragmentBytes, policy);
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
