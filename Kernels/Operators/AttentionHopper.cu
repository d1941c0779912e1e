// O = softmax(scale * Q K^T + mask) V, forward, Hopper (sm_90a): causal, windowed, grouped heads, ragged batches.
//
// Q: [tokens, ATTENTION_HEADS_KV * ATTENTION_GROUP, D], K and V: [tokens, ATTENTION_HEADS_KV, D], bf16 or f16, D = 64, 128 or
// 256 contiguous; token strides are free (fused QKV buffers), rows 16-byte aligned. O as Q, stride its own. Sequences lie one
// after the other; nothing is padded. Query at position p (counted in keys of its sequence) sees keys p - left .. p + right:
// causal: right = 0; full: both very large; windowed: left = window - 1.
//
// Mapping. Rows of a tile are (token, query head of one KV head): the ATTENTION_GROUP heads that share K and V are packed
// into the 64 rows of each warpgroup, so K and V are read once for all of them and short sequences fill the tile. A producer
// warp streams Q tiles and a ring of ATTENTION_STAGES K and V blocks of ATTENTION_KEYS keys; each consumer warpgroup computes
// S = Q K^T into registers, softmaxes while the next S and the last O += P V run, and P goes to the tensor cores from
// registers. Warpgroups run free of each other, so the exponentials of one hide behind the products of the other (taking turns
// at named barriers lost 2 to 20 %). Blocks of keys go from the last to the first, and a warpgroup
// passes over those that none of its rows see. The grid is persistent and the host deals the tiles: in order of
// falling length and position, KV heads innermost (neighbours share pages of memory and K and V in L2), each to the block with
// the least to do so far. Block b works through entries starts[b] .. starts[b + 1] - 1 of its list.
//
// ATTENTION_CLUSTER 2: a cluster of two blocks works through a list of tiles of twice the rows. Each block takes half of the rows, early and late
// ones in turn, and reads half of each block of keys and values for both (multicast): short sequences are read once from memory and L2.
//
// Keys behind the end of the sequence are masked, and their V rows are cleared in shared memory, so that a neighbour's NaN or
// infinity cannot leak. A query that sees no key gets zeros.
//
// Roof: 4 D FLOPs per visible (query, key) pair at 989 TFLOP/s, or the bytes of Q, K, V, O. Figures: docs/kernels-operators.md.
//
// Launch. Entry apus_attention_hopper; block 128 * (1 + ATTENTION_CONSUMERS); cluster ATTENTION_CLUSTER along x (attribute set where it is 2);
// grid min(SMs * ATTENTION_BLOCKS, work entries), with clusters twice min(SMs / 2, work entries); dynamic shared memory
// ATTENTION shared = 1024 + queryBuffers * rows * D * 2 + 2 * stages * keys * D * 2 + staging * consumers * 8192 + 512 bytes,
// where rows = 64 * consumers. Maps (16-bit dtype, swizzle 128):
//   mapQ  dims {D, GROUP, tokens, HEADS_KV}, strides {D, token stride, GROUP * D} elements, box {64, GROUP, rows / GROUP, 1}
//   mapK, mapV  dims {D, HEADS_KV, tokens}, strides {D, token stride}, box {64, 1, ATTENTION_KEYS / ATTENTION_CLUSTER}
// work: Work entries, one for every KV head and every rows / GROUP * ATTENTION_CLUSTER tokens of every sequence; starts: [lists + 1].

#if defined(__CUDA_ARCH__) && !defined(__CUDA_ARCH_FEAT_SM90_ALL)
#error "compile for sm_90a; other devices take AttentionGeneric.cu"
#endif

#include "apus_constants.h"
#include "Common/Math.cuh"
#include "Common/TensorCopy.cuh"
#include "Common/WarpMMA.cuh"
#include "Common/WarpgroupMMA.cuh"

#ifndef ATTENTION_HEAD
#define ATTENTION_HEAD 128
#endif
#ifndef ATTENTION_GROUP
#define ATTENTION_GROUP 1
#endif
#ifndef ATTENTION_CONSUMERS
#define ATTENTION_CONSUMERS 2
#endif
#ifndef ATTENTION_KEYS
#define ATTENTION_KEYS 128
#endif
#ifndef ATTENTION_STAGES
#define ATTENTION_STAGES 2
#endif
#ifndef ATTENTION_QUERY_BUFFERS
#define ATTENTION_QUERY_BUFFERS 1
#endif
#ifndef ATTENTION_TYPE  // 0 bf16, 1 f16
#define ATTENTION_TYPE 0
#endif
#ifndef ATTENTION_STAGING  // 1: O leaves in whole 128-byte rows through shared memory; 0: from registers, transposed by shuffles
#define ATTENTION_STAGING 1
#endif
#ifndef ATTENTION_QUERY_REGISTERS  // 1: Q moves from its tile into registers, which frees the tile and half of S's operand reads
#define ATTENTION_QUERY_REGISTERS 0
#endif
#ifndef ATTENTION_ORDERED  // 1: a softmax runs beside the product of the values before it, see afterSums
#define ATTENTION_ORDERED 0
#endif
#ifndef ATTENTION_SERIAL  // 1: one product at a time in a warpgroup, so that scores and probabilities share registers; the others fill the gaps
#define ATTENTION_SERIAL 0
#endif
#ifndef ATTENTION_STREAM  // 1: O is larger than L2, and its lines are the first to leave; for ATTENTION_STAGING 1
#define ATTENTION_STREAM 0
#endif
#ifndef ATTENTION_CLUSTER
#define ATTENTION_CLUSTER 1
#endif
#ifndef ATTENTION_BLOCKS  // blocks per SM; 2 with one consumer warpgroup, where shared memory allows
#define ATTENTION_BLOCKS 1
#endif

namespace apus {

constexpr DType type = static_cast<DType>(ATTENTION_TYPE);
constexpr int head = ATTENTION_HEAD, group = ATTENTION_GROUP, consumers = ATTENTION_CONSUMERS, keys = ATTENTION_KEYS;
constexpr int stages = ATTENTION_STAGES, queryBuffers = ATTENTION_QUERY_BUFFERS;
constexpr int rows = 64 * consumers, tokensPerTile = rows / group;
constexpr int cluster = ATTENTION_CLUSTER, sliceKeys = keys / cluster;
constexpr int pieces = head / 64;  // 128-byte column pieces
constexpr u32 queryPiece = rows * 128, keyPiece = keys * 128;
constexpr u32 queryBytes = pieces * queryPiece, keyBytes = pieces * keyPiece;
constexpr u32 queryLoaded = pieces * tokensPerTile * group * 128;
constexpr float maximumSlack = 8.0f;
static_assert(ATTENTION_BLOCKS == 1 || (ATTENTION_BLOCKS == 2 && consumers <= 2), "registers for two small blocks");
static_assert(cluster == 1 || (cluster == 2 && consumers == 2 && ATTENTION_BLOCKS == 1), "clusters of two blocks of two warpgroups");
static_assert(keys % 16 == 0 && head % 64 == 0 && head <= 256, "whole products");

struct Work {  // six 32-bit integers
    int query;       // first token of the tile
    int queryEnd;    // end of the tile, as a token; of the pair of tiles in a cluster
    int key;         // first key of the sequence, as a token
    int keyCount;    // keys of the sequence
    int position;    // of the first query, counted in keys of the sequence
    int kvHead;
};

// Which blocks of keys a tile visits: first .. last.
struct Range {
    int first, last;
    bool empty;
    static __device__ __forceinline__ Range make(const Work& w, int left, int right) {
        const int lastPosition = w.position + min(tokensPerTile * cluster, w.queryEnd - w.query) - 1;
        const int end = min(w.keyCount, lastPosition + right + 1);
        const int begin = max(0, w.position - left);
        Range r;
        r.empty = end <= begin;
        r.first = begin / keys;
        r.last = r.empty ? r.first - 1 : (end - 1) / keys;
        return r;
    }
};

struct Slot {
    u32 index = 0, phase = 0;
    template <int count> __device__ __forceinline__ void advance() {
        if (++index == count) { index = 0; phase ^= 1; }
    }
};

// A wait for products behind this does not begin before the sums are there: ptxas moves it to the front of the softmax otherwise, which then
// runs beside nothing. A sum of exponentials never has this pattern of bits, so that nothing is stored.
APUS_DEVICE void afterSums(const float (&sum)[2], u32 anywhere) {
    asm volatile("{.reg .pred p;\n setp.eq.u32 p, %0, 0xdeadbeef;\n @p st.shared.u32 [%1], %0;}" ::"r"(asBits(sum[0] + sum[1])), "r"(anywhere)
                 : "memory");
}

// Keeps the compiler from holding a register for every descriptor derived from an address.
APUS_DEVICE void opaque(u32& address) { asm volatile("" : "+r"(address)); }

}  // namespace apus

using namespace apus;

extern "C" __global__ void __launch_bounds__(128 * (1 + ATTENTION_CONSUMERS), ATTENTION_BLOCKS)
apus_attention_hopper(const __grid_constant__ TensorMap mapQ, const __grid_constant__ TensorMap mapK,
                      const __grid_constant__ TensorMap mapV,
                      void* out,         // [tokens, query heads, D], outStride elements from token to token
                      float* logSumExp,  // [query heads, tokens] or null
                      const Work* work, const int* starts, int tokens, int left, int right, float scale, i64 outStride) {
    extern __shared__ u8 dynamicShared[];
    const u32 shared = (sharedAddress(dynamicShared) + 1023u) & ~1023u;
    const u32 queries = shared, keyRing = queries + queryBuffers * queryBytes, valueRing = keyRing + stages * keyBytes;
    const u32 stagingBase = valueRing + stages * keyBytes, barriers = stagingBase + ATTENTION_STAGING * consumers * 8192;
    const u32 workSlots = barriers + 8 * (2 * queryBuffers + 4 * stages);  // [queryBuffers + 1] Work, written by the producer
    const auto queryFull = [&](u32 s) { return barriers + 8 * s; };
    const auto queryEmpty = [&](u32 s) { return barriers + 8 * (queryBuffers + s); };
    const auto keyFull = [&](u32 s) { return barriers + 8 * (2 * queryBuffers + s); };
    const auto keyEmpty = [&](u32 s) { return barriers + 8 * (2 * queryBuffers + stages + s); };
    const auto valueFull = [&](u32 s) { return barriers + 8 * (2 * queryBuffers + 2 * stages + s); };
    const auto valueEmpty = [&](u32 s) { return barriers + 8 * (2 * queryBuffers + 3 * stages + s); };

    if (threadIdx.x == 0) {
        prefetchMap(mapQ);
        prefetchMap(mapK);
        prefetchMap(mapV);
        for (u32 s = 0; s < queryBuffers; ++s) {
            barrierInit(queryFull(s), 1);
            barrierInit(queryEmpty(s), 4 * consumers);
        }
        for (u32 s = 0; s < stages; ++s) {
            barrierInit(keyFull(s), 1);
            barrierInit(keyEmpty(s), 4 * consumers * cluster);
            barrierInit(valueFull(s), 1);
            barrierInit(valueEmpty(s), 4 * consumers * cluster);
        }
        barrierInitFence();
    }
    // The host's lists do not depend on the launches before.
    const int warpgroup = threadIdx.x / 128, list = blockIdx.x / cluster, first = starts[list], end = starts[list + 1];
    const u32 rank = cluster > 1 ? clusterRank() : 0;
    Work next;
    if (warpgroup == 0) next = work[first];
    if (cluster > 1) clusterSync();
    else __syncthreads();
    dependencyRelease();
    dependencyWait();

    if (warpgroup == 0) {
        if constexpr (consumers == 1) registersShrink<24>();
        if constexpr (consumers == 2) registersShrink<(cluster > 1 ? 56 : 24)>();
        if constexpr (consumers == 3) registersShrink<32>();
        if (threadIdx.x < 32 && electOne()) {
            Slot q, k, v;
            u32 described = 0;
            const auto load = [&](Slot& slot, const TensorMap& map, u32 ring, u32 full, u32 empty, const Work& w, int block) {
                barrierWait(empty, slot.phase ^ 1);
                barrierExpect(full, keyBytes);
#pragma unroll
                for (int piece = 0; piece < pieces; ++piece) {
                    const u32 to = ring + slot.index * keyBytes + piece * keyPiece + rank * sliceKeys * 128;
                    const int key = w.key + block * keys + rank * sliceKeys;
                    if constexpr (cluster > 1) loadTileMulticast(to, map, full, 3, piece * 64, w.kvHead, key);
                    else loadTile(to, map, full, piece * 64, w.kvHead, key);
                }
                slot.advance<stages>();
            };
            for (int index = first; index < end; ++index) {
                const Work w = next;
                next = work[min(index + 1, end - 1)];
                const Range range = Range::make(w, left, right);
                const int offset = cluster > 1 ? tokensPerTile * (rank ^ (index & 1)) : 0;  // of this block's rows in the tile
                barrierWait(queryEmpty(q.index), q.phase ^ 1);
                const u32 slot = workSlots + 32 * described;
                if (++described > queryBuffers) described = 0;
                storeShared16(slot, {static_cast<u32>(w.query + offset), static_cast<u32>(w.queryEnd), static_cast<u32>(w.keyCount),
                                     static_cast<u32>(w.position + offset)});
                storeShared16(slot + 16, {static_cast<u32>(w.kvHead), static_cast<u32>(offset), static_cast<u32>(range.first), static_cast<u32>(range.last)});
                if (range.empty || (cluster > 1 && w.query + offset >= w.queryEnd)) {
                    barrierArrive(queryFull(q.index));
                } else {
                    barrierExpect(queryFull(q.index), queryLoaded);
#pragma unroll
                    for (int piece = 0; piece < pieces; ++piece)
                        loadTile(queries + q.index * queryBytes + piece * queryPiece, mapQ, queryFull(q.index), piece * 64, 0, w.query + offset, w.kvHead);
                }
                q.advance<queryBuffers>();
                if (range.empty) continue;
                load(k, mapK, keyRing, keyFull(k.index), keyEmpty(k.index), w, range.last);
                for (int block = range.last; block >= range.first; --block) {
                    if (block > range.first) load(k, mapK, keyRing, keyFull(k.index), keyEmpty(k.index), w, block - 1);
                    load(v, mapV, valueRing, valueFull(v.index), valueEmpty(v.index), w, block);
                }
            }
        }
    } else {
        if constexpr (consumers == 1) registersGrow<(ATTENTION_BLOCKS == 2 ? 232 : 240)>();
        if constexpr (consumers == 2) registersGrow<(ATTENTION_BLOCKS == 2 ? 104 : cluster > 1 ? 224 : 240)>();
        if constexpr (consumers == 3) registersGrow<160>();
        // The same in all lanes of a warp, and said so: descriptors then stay in uniform registers.
        const int self = __shfl_sync(0xffffffffu, warpgroup - 1, 0), warp = (threadIdx.x / 32) % 4, lane = threadIdx.x % 32;
        const int firstRow = self * 64 + warp * 16 + lane / 4;  // this thread's rows: firstRow and firstRow + 8
        const int firstToken = self * 64 / group, lastToken = min((self * 64 + 63) / group, tokensPerTile - 1);  // of this warpgroup, in the tile
        const float scaleLog2 = scale * log2E;
        const auto release = [&](u32 barrier) {  // of a ring: to all who write into it
            if constexpr (cluster > 1) {
                if (lane < cluster) barrierArriveRemote(barrier, lane);
            } else {
                if (lane == 0) barrierArrive(barrier);
            }
        };
        Slot q, k, v;
        u32 described = 0;
        u32 tile;  // its description
        int firstBlock, topBlock;  // of keys: those that come
        int lastBlock;             // the last that this warpgroup's rows see; below firstBlock: none
        int clearFrom, clearTo;    // keys that every row sees: blocks inside need no mask
        float o[head / 2], s[keys / 2];
        u32 p[keys / 16][4], qFragments[ATTENTION_QUERY_REGISTERS ? head / 16 : 1][4];

        const auto releaseQuery = [&] {
            if (lane == 0) barrierArrive(queryEmpty(q.index));
            q.advance<queryBuffers>();
        };
        const auto take = [&] {  // the next tile: what it is, and Q
            barrierWait(queryFull(q.index), q.phase);
            tile = workSlots + 32 * described;
            if (++described > queryBuffers) described = 0;
            const Vec4 a = loadShared16(tile), b = loadShared16(tile + 16);
            const int own = static_cast<int>(a.y - a.x), keyCount = static_cast<int>(a.z), position = static_cast<int>(a.w);
            firstBlock = static_cast<int>(b.z);
            topBlock = static_cast<int>(b.w);
            const int seen = min(keyCount, position + min(lastToken, own - 1) + right + 1), last = (max(seen, 1) - 1) / keys;
            lastBlock = topBlock < firstBlock || firstToken >= own ? firstBlock - 1 : max(firstBlock, min(topBlock, last));
            clearFrom = max(0, position + lastToken - left);
            clearTo = min(keyCount, position + firstToken + right + 1);
            if (ATTENTION_QUERY_REGISTERS && lastBlock >= firstBlock) {
                const u32 qTile = queries + q.index * queryBytes + self * 64 * 128;
#pragma unroll
                for (int kk = 0; kk < head / 16; ++kk)
                    loadMatrix4(qFragments[ATTENTION_QUERY_REGISTERS ? kk : 0],
                                qTile + (kk / 4) * queryPiece +
                                    swizzled<128>(warp * 16 + ((lane >> 3) & 1) * 8 + (lane & 7), 2 * (kk % 4) + (lane >> 4)));
                __syncwarp();
                releaseQuery();
            }
        };
        const auto scores = [&] {  // S = Q K^T, issued
            barrierWait(keyFull(k.index), k.phase);
            u32 kTile = keyRing + k.index * keyBytes, qBase = queries + q.index * queryBytes + self * 64 * 128;
            opaque(kTile);
            opaque(qBase);
            const u64 a = descriptorKMajor(qBase), b = descriptorKMajor(kTile);
            mmaFence();
#pragma unroll
            for (int piece = 0; piece < pieces; ++piece)
#pragma unroll
                for (int kk = 0; kk < 4; ++kk)
                    if constexpr (ATTENTION_QUERY_REGISTERS)
                        mmaRegisters<keys, type, 0>(s, qFragments[ATTENTION_QUERY_REGISTERS ? 4 * piece + kk : 0],
                                                    b + (piece * keyPiece + kk * 32) / 16, piece > 0 || kk > 0);
                    else
                        mmaShared<keys, type>(s, a + (piece * queryPiece + kk * 32) / 16, b + (piece * keyPiece + kk * 32) / 16,
                                              piece > 0 || kk > 0);
            mmaCommit();
        };
        const auto haveScores = [&] {
            pin(s);
            release(keyEmpty(k.index));
            k.advance<stages>();
        };
        const auto values = [&](bool accumulate) {  // O += P V, issued
            barrierWait(valueFull(v.index), v.phase);
            u32 vTile = valueRing + v.index * keyBytes;
            opaque(vTile);
            const u64 b = descriptorNMajor(vTile, keyPiece);
            mmaFence();
#pragma unroll
            for (int kk = 0; kk < keys / 16; ++kk) mmaRegisters<head, type, 1>(o, p[kk], b + kk * 2048 / 16, accumulate || kk > 0);
            mmaCommit();
        };
        const auto haveValues = [&] {
            pin(o);
            release(valueEmpty(v.index));
            v.advance<stages>();
        };

        // Lanes 8 i .. 8 i + 7 store row i + 4 r of the warp's 16 in round r, 16 bytes each.
        const int storeRow = self * 64 + warp * 16 + lane / 8;
        struct Place {
            int query, queryEnd, kvHead;
        };
        const auto place = [&](u32 tile) -> Place {
            const Vec2 a = loadShared8(tile);
            return {static_cast<int>(a.x), static_cast<int>(a.y), static_cast<int>(loadShared8(tile + 16).x)};
        };
        const auto outputRow = [&](const Place& tile, int round, bool& valid) {
            const int row = storeRow + 4 * round, token = tile.query + row / group;
            valid = row < tokensPerTile * group && token < tile.queryEnd;
            return static_cast<u16*>(out) + token * outStride + static_cast<i64>(tile.kvHead * group + row % group) * head + (lane % 8) * 8;
        };
        const auto storeLogSum = [&](const Place& tile, int half, float value) {
            const int row = firstRow + 8 * half, token = tile.query + row / group;
            if (logSumExp && lane % 4 == 0 && row < tokensPerTile * group && token < tile.queryEnd)
                logSumExp[static_cast<i64>(tile.kvHead * group + row % group) * tokens + token] = value;
        };
        const auto storeEmpty = [&](const Place& tile) {
#pragma unroll 1
            for (int i = 0; i < 4 * pieces; ++i) {
                bool valid;
                u16* address = outputRow(tile, i % 4, valid) + i / 4 * 64;
                if (valid) store16(address, {0, 0, 0, 0});
            }
            storeLogSum(tile, 0, -INFINITY_F);
            storeLogSum(tile, 1, -INFINITY_F);
        };
        const auto store = [&](const Place& tile, const float (&largest)[2], const float (&sum)[2]) {
            float inverse[2];
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                const float total = groupSum<4>(sum[half]);
                inverse[half] = total == 0.0f ? 0.0f : 1.0f / total;
                storeLogSum(tile, half, largest[half] * scale + log2Fast(total) * 0.6931471805599453f);
            }
            if constexpr (ATTENTION_STAGING) {
                const u32 staging = stagingBase + self * 8192 + warp * 2048;
                u16* address[4];
                bool valid[4];
#pragma unroll
                for (int i = 0; i < 4; ++i) address[i] = outputRow(tile, i, valid[i]);
#pragma unroll
                for (int piece = 0; piece < pieces; ++piece) {
#pragma unroll
                    for (int b = 0; b < 8; b += 2) {
                        const float* x = o + (piece * 8 + b) * 4;
                        storeMatrix4(staging + swizzled<128>(((lane >> 3) & 1) * 8 + (lane & 7), b + (lane >> 4)),
                                     pack2<type>(x[0] * inverse[0], x[1] * inverse[0]), pack2<type>(x[2] * inverse[1], x[3] * inverse[1]),
                                     pack2<type>(x[4] * inverse[0], x[5] * inverse[0]), pack2<type>(x[6] * inverse[1], x[7] * inverse[1]));
                    }
                    __syncwarp();
#pragma unroll
                    for (int i = 0; i < 4; ++i) {
                        const Vec4 data = loadShared16(staging + swizzled<128>(i * 4 + lane / 8, lane % 8));
                        if (!valid[i]) continue;
                        if (ATTENTION_STREAM) storeStreaming16(address[i] + piece * 64, data);
                        else store16(address[i] + piece * 64, data);
                    }
                    __syncwarp();
                }
            } else {
                // Four lanes hold two columns each of four 8-column blocks; after two exchanges each holds one whole block.
                const bool odd = lane & 1, upper = lane & 2;
#pragma unroll
                for (int half = 0; half < 2; ++half) {
                    const int row = firstRow + 8 * half, token = tile.query + row / group;
                    u16* const address = static_cast<u16*>(out) + token * outStride +
                                         static_cast<i64>(tile.kvHead * group + row % group) * head + (lane % 4) * 8;
                    const bool valid = row < tokensPerTile * group && token < tile.queryEnd;
#pragma unroll
                    for (int four = 0; four < head / 32; ++four) {
                        u32 x[4];
#pragma unroll
                        for (int b = 0; b < 4; ++b) {
                            const float* pair = o + (four * 4 + b) * 4 + 2 * half;
                            x[b] = pack2<type>(pair[0] * inverse[half], pair[1] * inverse[half]);
                        }
                        const u32 keepA = odd ? x[1] : x[0], keepB = odd ? x[3] : x[2];
                        const u32 gotA = __shfl_xor_sync(0xffffffffu, odd ? x[0] : x[1], 1);
                        const u32 gotB = __shfl_xor_sync(0xffffffffu, odd ? x[2] : x[3], 1);
                        const u32 lowA = odd ? gotA : keepA, highA = odd ? keepA : gotA, lowB = odd ? gotB : keepB, highB = odd ? keepB : gotB;
                        const u32 keepLow = upper ? lowB : lowA, keepHigh = upper ? highB : highA;
                        const u32 gotLow = __shfl_xor_sync(0xffffffffu, upper ? lowA : lowB, 2);
                        const u32 gotHigh = __shfl_xor_sync(0xffffffffu, upper ? highA : highB, 2);
                        const Vec4 data = upper ? Vec4{gotLow, gotHigh, keepLow, keepHigh} : Vec4{keepLow, keepHigh, gotLow, gotHigh};
                        if (valid) store16(address + four * 32, data);
                    }
                }
            }
        };

        if (first < end) take();
        for (int index = first; index < end; ++index) {
            const bool more = index + 1 < end;
            float largest[2] = {-INFINITY_F, -INFINITY_F}, sum[2] = {0.0f, 0.0f}, factor[2];
            // Masks, exponentiates s in place, finds the factors for what was summed before and says whether any of them is not 1:
            // a maximum only moves when it would otherwise leave exponentials above 2^maximumSlack, which is rare after the
            // first block, so that O seldom has to be multiplied.
            const auto softmax = [&](int block, float (&factor)[2]) {
                const int base = block * keys;
                if (base < clearFrom || base + keys > clearTo) {
                    const Vec2 a = loadShared8(tile + 8);
                    int limit[2], lowest[2];
#pragma unroll
                    for (int half = 0; half < 2; ++half) {
                        const int position = static_cast<int>(a.y) + (firstRow + 8 * half) / group;
                        limit[half] = min(static_cast<int>(a.x), position + right + 1);
                        lowest[half] = max(0, position - left);
                    }
#pragma unroll
                    for (int i = 0; i < keys / 2; ++i) {
                        const int column = base + 8 * (i / 4) + 2 * (lane % 4) + i % 2, half = (i / 2) % 2;
                        if (column < lowest[half] || column >= limit[half]) s[i] = -INFINITY_F;
                    }
                }
                float m[2] = {s[0], s[2]};
                bool grown = false;
#pragma unroll
                for (int half = 0; half < 2; ++half) {
#pragma unroll
                    for (int i = 0; i < keys / 2; i += 4) m[half] = fmaxf(m[half], fmaxf(s[i + 2 * half], s[i + 2 * half + 1]));
                    grown |= (m[half] - largest[half]) * scaleLog2 > maximumSlack;
                    factor[half] = 1.0f;
                }
                // Only then do the threads of a row tell each other.
                grown = __any_sync(0xffffffffu, grown);
                if (grown) {
#pragma unroll
                    for (int half = 0; half < 2; ++half) {
                        m[half] = groupMax<4>(m[half]);
                        if ((m[half] - largest[half]) * scaleLog2 > maximumSlack) {
                            factor[half] = exp2Fast((largest[half] - m[half]) * scaleLog2);
                            largest[half] = m[half];
                        }
                    }
                }
#pragma unroll
                for (int half = 0; half < 2; ++half) {
                    const float shift = largest[half] == -INFINITY_F ? 0.0f : largest[half] * scaleLog2;
                    float add = 0.0f;
#pragma unroll
                    for (int i = 0; i < keys / 2; i += 4) {
                        s[i + 2 * half] = exp2Fast(s[i + 2 * half] * scaleLog2 - shift);
                        s[i + 2 * half + 1] = exp2Fast(s[i + 2 * half + 1] * scaleLog2 - shift);
                        add += s[i + 2 * half] + s[i + 2 * half + 1];
                    }
                    sum[half] = sum[half] * factor[half] + add;
                }
                return grown;
            };
            const auto toFragments = [&] {
#pragma unroll
                for (int kk = 0; kk < keys / 16; ++kk)
#pragma unroll
                    for (int i = 0; i < 4; ++i) p[kk][i] = pack2<type>(s[8 * kk + 2 * i], s[8 * kk + 2 * i + 1]);
            };
            // V rows behind the sequence's end belong to a neighbour; zero times its NaN would be NaN.
            const auto clearTail = [&](int block) {
                const int valid = static_cast<int>(loadShared8(tile + 8).x) - block * keys;
                if (valid >= keys) return;
                barrierWait(valueFull(v.index), v.phase);
                for (int unit = threadIdx.x % 128 + valid * 8; unit < keys * 8; unit += 128)
#pragma unroll
                    for (int piece = 0; piece < pieces; ++piece)
                        storeShared16(valueRing + v.index * keyBytes + piece * keyPiece + unit * 16, {0, 0, 0, 0});
                fenceToAsyncProxy();
                namedSync(8 + self, 128);
            };
            // A block of keys that only other warpgroups' rows see.
            const auto skip = [&](Slot& slot, u32 full, u32 empty) {
                barrierWait(full + 8 * slot.index, slot.phase);
                __syncwarp();
                release(empty + 8 * slot.index);
                slot.advance<stages>();
            };

            if (lastBlock < firstBlock) {
                for (int block = topBlock; block >= firstBlock; --block) {
                    skip(k, keyFull(0), keyEmpty(0));
                    skip(v, valueFull(0), valueEmpty(0));
                }
                storeEmpty(place(tile));
                releaseQuery();
                if (more) take();
                continue;
            }
            for (int block = topBlock; block > lastBlock; --block) skip(k, keyFull(0), keyEmpty(0));
            scores();
            mmaWait<0>();
            haveScores();
            softmax(lastBlock, factor);
            toFragments();
            for (int block = topBlock; block > lastBlock; --block) skip(v, valueFull(0), valueEmpty(0));
            clearTail(lastBlock);
            for (int block = lastBlock - 1; block >= firstBlock; --block) {
                if constexpr (ATTENTION_SERIAL) {
                    values(block < lastBlock - 1);
                    mmaWait<0>();
                    haveValues();
                    scores();
                    mmaWait<0>();
                } else {
                    scores();
                    values(block < lastBlock - 1);
                    mmaWait<1>();
                }
                haveScores();
                const bool rescale = softmax(block, factor);
                if constexpr (!ATTENTION_SERIAL) {
                    if (ATTENTION_ORDERED) afterSums(sum, workSlots);
                    mmaWait<0>();
                    haveValues();
                }
                if (rescale) {
#pragma unroll
                    for (int i = 0; i < head / 2; ++i) o[i] *= factor[(i / 2) % 2];
                }
                toFragments();
            }
            if (!ATTENTION_QUERY_REGISTERS) releaseQuery();
            values(firstBlock < lastBlock);
            mmaWait<0>();
            haveValues();
            store(place(tile), largest, sum);
            if (more) take();
        }
    }
    if (cluster > 1) clusterSync();  // no block leaves while the other may still write to it
}
