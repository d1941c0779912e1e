// Several positions in one step: the token that is due, and guesses of those behind it, of which the choices keep some.
//
// With DECODE_POSITIONS P = 2 or 4 a step that has guesses computes P positions with no more weights: position p takes columns 2 p and
// 2 p + 1 of the products' B operand, where one position leaves six of the eight unused. A step without a guess computes one. Every
// column's sums are those of a step of its own, in the same order, and the attention is cut as that step would cut it: the logits of a
// position have the bits that the form with P = 1 gives.
//
// Behind the choice of every position all blocks know which guesses were right: those that are the choice of the position before.
// Positions behind the first wrong one are forgotten; their cache rows are written again. Guesses come from the tokens so far, prompt
// included: what followed the last earlier occurrence of the latest three, or else two. All blocks look for it alike, so no exchange is
// needed. Forced tokens are guesses that are right.
//
// Packets of positions beyond the first carry tags of their own count: a step of one position leaves them as they are.
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

constexpr int mostRows = Output::paddedRows > Gated::paddedRows ? (Output::paddedRows > Input::paddedRows ? Output::paddedRows : Input::paddedRows)
                                                                : (Gated::paddedRows > Input::paddedRows ? Gated::paddedRows : Input::paddedRows);
constexpr int partialFloats = partialStride * mostRows;
constexpr int wideVectorBytes = Shared::vectorBytes > Down::vectorBytes ? Shared::vectorBytes : Down::vectorBytes;
// Attention's parts lie where the vectors and the sums of products do, unless a vector has a rest that must stay zero.
constexpr bool isWholeVector = hidden % 128 == 0 && pairs * feedMembers % 128 == 0;
constexpr int productBytes = positions * (wideVectorBytes + partialFloats * 4), partBytes = positions * static_cast<int>(sizeof(Parts<warps>));

// Registers for the output product's weights during the attention are there for two positions of small heads.
constexpr bool loadsOutputEarly = positions == 2 && headSize <= 128;

struct alignas(128) Wide {
    alignas(16) u8 area[isWholeVector ? (productBytes > partBytes ? productBytes : partBytes) : productBytes + partBytes];
    alignas(16) u8 attendedVector[positions * Output::vectorBytes];
    alignas(16) u16 queries[positions][headsPerGroup][2][headSize];
    alignas(16) u16 key[positions][headSize], value[positions][headSize];
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

// ---- vectors and products of n positions -------------------------------------------------------------------------

template <int n> APUS_DEVICE void putPairAt(u8* vector, int p, int k, float x, float y) {
    putPair(vector + p * 64 + k / 16 * (64 * (n - 1)), k, x, y);
}
template <int n> APUS_DEVICE void putOneAt(u8* vector, int p, int k, float x) { putOne(vector + p * 64 + k / 16 * (64 * (n - 1)), k, x); }
template <int n> APUS_DEVICE void putHeadAt(u8* vector, int p, int k, float x) {
    putHead(vector + p * 128 + k % (headBlocks * 16) / 16 * (128 * (n - 1)), k, x);
}

// multiply() of Products.cuh for n positions, to partial(position).
template <class P, int n, int limit, class Meanwhile>
APUS_DEVICE void multiplyAll(const Preloaded<P, limit>& early, Weights& weights, Shared& shared, Wide& wide, const u8* vector, int layer,
                             Meanwhile meanwhile) {
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    Vec2 b[P::columnBlocks];
    const u32 from = opaque(sharedAddress(vector) + (warp * P::columnBlocks * 2 * n + lane / 4 % (2 * n)) * 32 + lane % 4 * 8);
#pragma unroll
    for (int k = 0; k < P::columnBlocks; ++k) b[k] = loadShared8(from + k * (64 * n));
    // Lane l % 4 holds the sums of position l % 4.
    float* out = wide.partial(lane % 4 % n) + lane / 4 * partialStride + warp;
    const auto put = [&](int rowGroup, const float (&d)[4], const float (&e)[4]) {
        if (lane % 4 < n) {
            out[rowGroup * (16 * partialStride)] = (d[0] + e[0]) + (d[1] + e[1]) * restUnit;
            out[(rowGroup * 16 + 8) * partialStride] = (d[2] + e[2]) + (d[3] + e[3]) * restUnit;
        }
    };
    if constexpr (Preloaded<P, limit>::chunks == P::chunks) {
        constexpr int chains = P::rowGroups <= 2 ? 4 : 2;
        float d[P::rowGroups][chains][4] = {};
#pragma unroll
        for (int k = 0; k < P::columnBlocks; ++k)
#pragma unroll
            for (int r = 0; r < P::rowGroups; ++r) {
                const int f = r * P::columnBlocks + k;
                multiplyAdd(d[r][k % chains], early.fragments[f / chunkFragments][f % chunkFragments], b[k]);
            }
        meanwhile();
#pragma unroll
        for (int r = 0; r < P::rowGroups; ++r) {
            if constexpr (chains == 4) {
#pragma unroll
                for (int i = 0; i < 4; ++i) d[r][0][i] += d[r][2][i], d[r][1][i] += d[r][3][i];
            }
            put(r, d[r][0], d[r][1]);
        }
    } else {
        float d[2][4] = {};
#pragma unroll
        for (int c = 0; c < P::chunks; ++c) {
            Vec4 fresh[chunkFragments];
            if (c >= Preloaded<P, limit>::chunks) weights.take(fresh, shared, layer);
#pragma unroll
            for (int j = 0; j < chunkFragments; ++j) {
                const int f = c * chunkFragments + j, k = f % P::columnBlocks;
                if (f >= P::fragments) continue;
                multiplyAdd(d[k % 2], c < Preloaded<P, limit>::chunks ? early.fragments[c][j] : fresh[j], b[k]);
                if (k == P::columnBlocks - 1) {
                    put(f / P::columnBlocks, d[0], d[1]);
#pragma unroll
                    for (int i = 0; i < 4; ++i) d[0][i] = d[1][i] = 0.0f;
                }
            }
        }
        meanwhile();
    }
}

APUS_DEVICE float rowSumAt(Wide& wide, int p, int row) {
    const Float4 *from = reinterpret_cast<const Float4*>(wide.partial(p) + row * partialStride), a = from[0], b = from[1];
    return ((a.x + a.y) + (a.z + a.w)) + ((b.x + b.y) + (b.z + b.w));
}
APUS_DEVICE float normScaleAt(const Wide& wide, int p) {
    const Float4 *from = reinterpret_cast<const Float4*>(wide.squares[p]), a = from[0], b = from[1];
    return rsqrtFast((((a.x + a.y) + (a.z + a.w)) + ((b.x + b.y) + (b.z + b.w))) * (1.0f / hidden) + DECODE_EPSILON);
}

// publish() of Products.cuh for n positions, whose packets lie `stride` packets apart; value(position, row) makes a row's value.
template <class Packet, int n, int units, int count, int stride, bool isHinted, class Value>
APUS_DEVICE void publishAll(u8* to, const Turns& turns, u32* counter, Value value) {
    constexpr int perUnit = ceilDivide(count, Packet::values), perPosition = units * perUnit, packets = n * perPosition, all = n * units;
    constexpr bool isWhole = 32 % count == 0;
    constexpr int unitsPerWarp = 32 / (isWhole ? count : 32) < all ? 32 / (isWhole ? count : 32) : all;
    constexpr int perWarp = isWhole ? unitsPerWarp * perUnit : 32 / Packet::values;
    const u32 lane = opaque(threadIdx.x % 32);
    const int live = turns.live > 1 ? packets : perPosition;
    for (int first = threadIdx.x / 32 * perWarp; first < live; first += warps * perWarp) {
        float gathered[Packet::values];
        if constexpr (isWhole) {
            const u32 row = first / perUnit * count + lane, within = lane % perUnit * Packet::values;
            const bool isRow = lane < unitsPerWarp * count && row < all * count;
            const float v = isRow ? value(row / (units * count), row % (units * count)) : 0.0f;
#pragma unroll
            for (int j = 0; j < Packet::values; ++j) {
                gathered[j] = __shfl_sync(0xffffffffu, v, (lane / perUnit * count + within + j) % 32);
                if (count % Packet::values != 0 && within + j >= count) gathered[j] = 0.0f;
            }
        } else {
            const u32 packet = first + lane / Packet::values, row = packet % perUnit * Packet::values + lane % Packet::values;
            const u32 unit = packet / perUnit;
            const bool isRow = lane < perWarp * Packet::values && packet < packets && row < count;
            const float v = isRow ? value(unit / units, unit % units * count + row) : 0.0f;
#pragma unroll
            for (int j = 0; j < Packet::values; ++j) gathered[j] = __shfl_sync(0xffffffffu, v, (lane * Packet::values + j) % 32);
        }
        const u32 packet = first + lane, p = packet / perPosition;
        if (lane < perWarp && packet < live)
            storePacket(to + (p * stride + packet % perPosition) * 16, Packet::pack(gathered, turns.tag(static_cast<int>(p))));
    }
    if constexpr (!isHinted) return;
    constexpr int writers = ceilDivide(packets, perWarp) < warps ? ceilDivide(packets, perWarp) : warps;
    if constexpr (writers == 1) __syncwarp();
    else if (threadIdx.x < writers * 32) namedSync(2, writers * 32);
    if (threadIdx.x == 0) counterAdd(counter, 1);
}

// ---- the residual streams ----------------------------------------------------------------------------------------

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

// ---- attention ---------------------------------------------------------------------------------------------------

// A warp keeps to one vector of the group, for one position after the other, so that its norm weights stay.
constexpr int vectorWarps = headsPerGroup + 2 <= 4 ? 4 : 8, positionsTogether = warps / vectorWarps;
static_assert(headsPerGroup + 2 <= vectorWarps, "a warp for each of the group's vectors");

APUS_DEVICE void loadHeadNorm(HeadNorm& norm, const float* norms) {
    const int vector = threadIdx.x / 32 % vectorWarps, lane = threadIdx.x % 32;
#pragma unroll
    for (int e = 0; e < headParts; ++e) {
        norm.w[e] = {1.0f, 1.0f, 1.0f, 1.0f};
        if (vector <= headsPerGroup && lane * 4 < headSize)
            norm.w[e] = loadNorms4(norms + (vector == headsPerGroup ? headSize : 0) + e * 128 + lane * 4);
    }
}

// receiveHeads() of Attention.cuh for n positions, of which the first `count` are to be kept.
template <int n>
APUS_DEVICE void receiveAll(Shared& shared, Wide& wide, const u8* exchange, const Turns& turns, int layer, const HeadNorm& norm, u16* keys,
                            u16* values, int position, int count, int rope) {
    const int warp = threadIdx.x / 32, vector = warp % vectorWarps, lane = threadIdx.x % 32;
    const int group = blockIdx.x / members, member = blockIdx.x % members;
    constexpr int each = headParts, half = headSize / 2, rounds = ceilDivide(n, positionsTogether);
    if (vector >= headsPerGroup + 2 || warp / vectorWarps >= turns.live) return;
    const bool active = lane * 4 < headSize, isKey = vector == headsPerGroup, isValue = vector == headsPerGroup + 1;
    const u8* at = exchange + (Area::inputAt + warp / vectorWarps * Area::inputs + (group * (headsPerGroup + 2) + vector) * (headSize / 4) + lane) * 16;
    constexpr int stride = positionsTogether * Area::inputs * 16;
    Vec4 packets[rounds][each];
    if (active) {
#pragma unroll
        for (int r = 0; r < rounds; ++r)
            if (turns.has(r * positionsTogether)) {
#pragma unroll
                for (int e = 0; e < each; ++e) packets[r][e] = loadPacket(at + r * stride + e * 512);
            }
    }
#pragma unroll
    for (int r = 0; r < rounds; ++r) {
        const int p = r * positionsTogether + warp / vectorWarps;
        if (p >= n || !turns.has(r * positionsTogether)) continue;
        float v[each][4] = {};
        Float2 turnBy[4];
#pragma unroll
        for (int j = 0; j < 4; ++j) turnBy[j] = wide.rope[p][rope][(lane * 4 + j) % half];
        if (active) {
            confirm<Packet4>(packets[r], at + r * stride, 512, turns.tag(p), shared, Wait::input, layer);
#pragma unroll
            for (int e = 0; e < each; ++e) Packet4::unpack(v[e], packets[r][e]);
        }
        __syncwarp();
        if (!isValue) {
#ifndef DECODE_NO_HEAD_NORM
            float squares = 0.0f;
#pragma unroll
            for (int e = 0; e < each; ++e)
#pragma unroll
                for (int j = 0; j < 4; ++j) squares += v[e][j] * v[e][j];
            const float scale = rsqrtFast(groupSum(squares) * (1.0f / headSize) + DECODE_EPSILON);
#pragma unroll
            for (int e = 0; e < each; ++e)
#pragma unroll
                for (int j = 0; j < 4; ++j) v[e][j] *= scale * (&norm.w[e].x)[j];
#endif
#pragma unroll
            for (int j = 0; j < 4; ++j) {
                if constexpr (each == 2) {
                    const float x = v[0][j], y = v[1][j];
                    v[0][j] = x * turnBy[j].x - y * turnBy[j].y;
                    v[1][j] = y * turnBy[j].x + x * turnBy[j].y;
                } else {
                    const float other = __shfl_xor_sync(0xffffffffu, v[0][j], headSize / 8);
                    v[0][j] = v[0][j] * turnBy[j].x + (lane * 4 < half ? -other : other) * turnBy[j].y;
                }
            }
        }
        if (!active) continue;
#pragma unroll
        for (int e = 0; e < each; ++e) {
            const int element = e * 128 + lane * 4;
            if (!isKey && !isValue) {
                constexpr float unit = DECODE_SCALE * log2E;
                const u32 low = packBF16(v[e][0] * unit, v[e][1] * unit), high = packBF16(v[e][2] * unit, v[e][3] * unit);
                const Float2 first = unpackBF16(low), second = unpackBF16(high);
                *reinterpret_cast<Vec2*>(wide.queries[p][vector][0] + element) = {low, high};
                *reinterpret_cast<Vec2*>(wide.queries[p][vector][1] + element) = {packBF16(v[e][0] * unit - first.x, v[e][1] * unit - first.y),
                                                                                  packBF16(v[e][2] * unit - second.x, v[e][3] * unit - second.y)};
                continue;
            }
            const Vec2 bits = {packBF16(v[e][0], v[e][1]), packBF16(v[e][2], v[e][3])};
            *reinterpret_cast<Vec2*>((isKey ? wide.key[p] : wide.value[p]) + element) = bits;
            if (member == 0 && p < count)
                *reinterpret_cast<Vec2*>((isKey ? keys : values) + static_cast<u32>(position + p) * rowElements + element) = bits;
        }
    }
}

// Keys and values of the step's own positions to where they belong in a tile that begins at `first`.
APUS_DEVICE void insertAll(CacheTile& tile, const Wide& wide, int live, int position, int first) {
    const int lane = threadIdx.x % 32;
#pragma unroll 1
    for (int p = 0; p < live; ++p) {
        const int row = position + p - first;
        if (row < 0 || row >= tileRows) continue;
#pragma unroll
        for (int r = 0; r < 2; ++r)
            if (lane / 4 + 8 * r == row) {
#pragma unroll
                for (int i = 0; i < headSize / 32; ++i) tile.keys[r][i] = *reinterpret_cast<const Vec4*>(wide.key[p] + lane % 4 * 8 + i * 32);
            }
#pragma unroll
        for (int r = 0; r < 4; ++r)
            if (lane % 4 * 2 + r % 2 + r / 2 * 8 == row) {
#pragma unroll
                for (int i = 0; i < headSize / 64; ++i) tile.values[i][r] = *reinterpret_cast<const Vec4*>(wide.value[p] + lane / 4 * 8 + i * 64);
            }
    }
}

// What a block attends to for n positions: the tiles from `from` on, for all of them together where they begin at the same place.
template <int n> struct Spans {
    int from, end, most;  // of all; parts at most
    int to[n], splits[n];
    bool isPart, isTogether;

    __device__ __forceinline__ Spans(const Arguments& a, int window, int position, int member, const Turns& turns) {
        const Span first(a, window, position, member);
        from = first.from, to[0] = first.to, splits[0] = most = first.parts, isPart = first.isPart, isTogether = true;
#pragma unroll
        for (int p = 1; p < n; ++p) {
            to[p] = from, splits[p] = 1;
            if (!turns.has(p)) continue;
            const Span other(a, window, position + p, member);
            isTogether &= other.from == from;
            to[p] = other.to, splits[p] = other.parts;
            isPart |= other.isPart;
        }
        end = to[0];
#pragma unroll
        for (int p = 1; p < n; ++p) end = to[p] > end ? to[p] : end, most = splits[p] > most ? splits[p] : most;
    }
    __device__ __forceinline__ int toOf(int p) const {
        int v = to[0];
#pragma unroll
        for (int i = 1; i < n; ++i) v = p == i ? to[i] : v;
        return v;
    }
    __device__ __forceinline__ int splitsOf(int p) const {
        int v = splits[0];
#pragma unroll
        for (int i = 1; i < n; ++i) v = p == i ? splits[i] : v;
        return v;
    }
    // Whether the block has a part of position p's attention.
    __device__ __forceinline__ bool hasPart(int p, int member) const { return member < splitsOf(p) || splitsOf(p) == 1; }
};

// attend() of Attention.cuh for the heads of one set: lane 4 g + q gets those of slot 4 set + q, a slot a head of a position. Only positions
// from `firstPosition` to before `endPosition` of the step are attended for; `to` is the lane's own end, `end` the last of all.
template <int n>
APUS_DEVICE void attendSet(Wide& wide, int live, int set, int from, int to, int end, int firstPosition, int endPosition, CacheTile& tile, bool isLoaded,
                           const u16* keys, const u16* values, int position) {
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, row = lane / 4;
    const int slot = set * 4 + lane % 4, mine = slot / headsPerGroup, head = slot % headsPerGroup;
    const int asked = set * 4 + row / 2;  // the slot whose query the lane loads
    const int cached = end < position ? end : position;
    float largest = nothing, sum = 0.0f, out[ceilDivide(headSize, 128)][8][4] = {};
    for (int first = from + firstTile() * tileRows; first < end; first += blockRows) {
        if (!isLoaded) {
            if (first < cached) tile.loadKeys(keys, first, cached), tile.loadValues(values, first, cached);
            else tile.clear();
        }
        isLoaded = false;
        if (position + live > first && position - first < tileRows) insertAll(tile, wide, live, position, first);
        float scores[2][4] = {};
#pragma unroll
        for (int i = 0; i < headSize / 32; ++i) {
            Vec4 q = {0, 0, 0, 0};
            if (asked < n * headsPerGroup)
                q = *reinterpret_cast<const Vec4*>(wide.queries[asked / headsPerGroup][asked % headsPerGroup][row % 2] + lane % 4 * 8 + i * 32);
            mma(scores[0], {tile.keys[0][i].x, tile.keys[1][i].x, tile.keys[0][i].y, tile.keys[1][i].y}, {q.x, q.y});
            mma(scores[1], {tile.keys[0][i].z, tile.keys[1][i].z, tile.keys[0][i].w, tile.keys[1][i].w}, {q.z, q.w});
        }
        float low = (scores[0][0] + scores[1][0]) + (scores[0][1] + scores[1][1]);
        float high = (scores[0][2] + scores[1][2]) + (scores[0][3] + scores[1][3]);
        if (first + row >= to) low = -INFINITY_F;
        if (first + row + 8 >= to) high = -INFINITY_F;
        float most = fmaxf(low, high);
#pragma unroll
        for (int offset = 4; offset < 32; offset *= 2) most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, offset));
        most = fmaxf(most, largest);
        const float fade = exp2Fast(largest - most);
        largest = most;
        low = exp2Fast(low - most), high = exp2Fast(high - most);
        sum = sum * fade + (low + high);
        const int source = lane % 4 * 8 + row / 2;
        const float p0 = __shfl_sync(0xffffffffu, low, source), p1 = __shfl_sync(0xffffffffu, low, source + 4);
        const float p2 = __shfl_sync(0xffffffffu, high, source), p3 = __shfl_sync(0xffffffffu, high, source + 4);
        Vec2 p = {packBF16(p0, p1), packBF16(p2, p3)};
        if (row % 2 == 1) {
            const Float2 x = unpackBF16(p.x), y = unpackBF16(p.y);
            p = {packBF16(p0 - x.x, p1 - x.y), packBF16(p2 - y.x, p3 - y.y)};
        }
#pragma unroll
        for (int i = 0; i < ceilDivide(headSize, 128); ++i)
#pragma unroll
            for (int j = 0; j < 8; ++j) {
                const auto pair = [&](int half, int r) -> u32 {
                    if (2 * i + half >= headSize / 64) return 0;
                    const Vec4 &x = tile.values[(2 * i + half) % (headSize / 64)][r], &y = tile.values[(2 * i + half) % (headSize / 64)][r + 1];
                    const u32 u = j < 2 ? x.x : j < 4 ? x.y : j < 6 ? x.z : x.w, v = j < 2 ? y.x : j < 4 ? y.y : j < 6 ? y.z : y.w;
                    return __byte_perm(u, v, j % 2 == 0 ? 0x5410 : 0x7632);
                };
#pragma unroll
                for (int k = 0; k < 4; ++k) out[i][j][k] *= fade;
                mma(out[i][j], {pair(0, 0), pair(1, 0), pair(0, 2), pair(1, 2)}, p);
            }
    }
#pragma unroll
    for (int offset = 4; offset < 32; offset *= 2) sum += __shfl_xor_sync(0xffffffffu, sum, offset);
    if (mine < firstPosition || mine >= endPosition) return;
    Parts<warps>& parts = wide.attended(mine);
#pragma unroll
    for (int i = 0; i < headSize / 64; ++i) {
        float* target = parts.values[warp] + head * headSize + i * 64 + row * 8;
        float v[8];
#pragma unroll
        for (int j = 0; j < 8; ++j) v[j] = out[i / 2][j][i % 2 * 2] + out[i / 2][j][i % 2 * 2 + 1];
        *reinterpret_cast<Float4*>(target) = {v[0], v[1], v[2], v[3]};
        *reinterpret_cast<Float4*>(target + 4) = {v[4], v[5], v[6], v[7]};
    }
    if (row == 0) parts.most[head][warp] = largest, parts.sums[head][warp] = sum;
}

// attention() of Attention.cuh: from the exchanged q, k, v of n positions to the output product's B operand.
template <int n>
APUS_DEVICE void attendAll(Shared& shared, Wide& wide, const Arguments& a, u8* exchange, const Turns& turns, int layer, const HeadNorm& norm, u16* keys,
                           u16* values, int position, int count, const LayerInfo& info, const Spans<n>& spans, CacheTile& tile) {
    const int member = blockIdx.x % members;
    const int live = turns.live, sets = live > 1 ? ceilDivide(n * headsPerGroup, 4) : ceilDivide(headsPerGroup, 4);
    u8* parts = exchange + (Area::splitAt + blockIndex() / members * (maximumSplits * splitPackets)) * 16;
    if (spans.isPart) {
        receiveAll<n>(shared, wide, exchange, turns, layer, norm, keys, values, position, count, info.rope);
        syncConsumers();
        // The tile that is loaded serves all sets, where it is the only one. Positions that begin elsewhere go one by one.
        bool isLoaded = spans.isTogether && spans.from + firstTile() * tileRows < spans.end;
        const bool isLong = spans.end - spans.from > blockRows;
#pragma unroll 1
        for (int i = 0; i < (spans.isTogether ? sets : live * sets); ++i) {
            int set = i, first = 0, last = live, from = spans.from, end = spans.end;
            int to = spans.toOf((set * 4 + static_cast<int>(threadIdx.x % 4)) / headsPerGroup);
            if (!spans.isTogether) {
                const int p = i / sets;
                set = i % sets;
                if (set * 4 >= (p + 1) * headsPerGroup || set * 4 + 4 <= p * headsPerGroup) continue;
                const Span own(a, info.window, position + p, member);
                if (!own.isPart) continue;
                first = p, last = p + 1, from = own.from, end = to = own.to;
            }
            attendSet<n>(wide, live, set, from, to, end, first, last, tile, isLoaded, keys, values, position);
            isLoaded &= !isLong;
        }
        syncConsumers();
        if (hasColumns(threadIdx.x / 32)) {
#pragma unroll 1
            for (int p = 0; p < live; ++p) {
                if (!spans.hasPart(p, member)) continue;
                float out[laneColumns], logSum;
                merge(wide.attended(p), out, logSum);
                if (spans.splitsOf(p) > 1) {
                    publishPart(parts + p * Area::splits * 16, out, logSum, turns.tag(p));
                } else {
                    const u32 thread = threadIndex(), lane = thread % 32, column = thread / 32 * warpColumns + lane * laneColumns;
                    if (lane * laneColumns >= warpColumns) continue;
                    if constexpr (laneColumns == 1) {
                        putOneAt<n>(wide.attendedVector, p, column, out[0]);
                    } else {
#pragma unroll
                        for (int j = 0; j < laneColumns; j += 2) putPairAt<n>(wide.attendedVector, p, column + j, out[j], out[j + 1]);
                    }
                }
            }
        }
    }
    if (spans.most > 1 && hasColumns(threadIdx.x / 32)) {
#pragma unroll 1
        for (int p = 0; p < live; ++p) {
            if (spans.splitsOf(p) < 2) continue;
            join(shared, parts + p * Area::splits * 16, spans.splitsOf(p), turns.tag(p), layer,
                 [&](int column, float x, float y) { putPairAt<n>(wide.attendedVector, p, column, x, y); });
        }
    }
    syncConsumers();
}

// ---- a step ------------------------------------------------------------------------------------------------------

// The block's rows of the head for n positions; the lane's best of them: lane 4 r + 2 i holds position 2 s + i's in best[s].
template <int n>
APUS_DEVICE void headRowsAll(Weights& weights, Shared& shared, Wide& wide, const Arguments& a, float* logits, int count,
                             Choice (&best)[ceilDivide(n, 2)], u32& bad) {
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    constexpr int sets = ceilDivide(n, 2);
    const u32 from = sharedAddress(wide.vector()) + lane / 4 * 32 + lane % 4 * 8;
    float scales[sets];
#pragma unroll
    for (int s = 0; s < sets; ++s) best[s] = {-INFINITY_F, 0x7fffffff}, scales[s] = normScaleAt(wide, n == 1 ? 0 : 2 * s + lane % 4 / 2);
    for (int round = 0; round < headRounds; ++round) {
        float d[sets][2][4] = {};
        const int row = ((round * blocks + blockIdx.x) * warps + warp) * 8 + lane / 4;
        float factor = 1.0f;
        if (hasCodes && row < vocabulary) factor = loadNorm(a.norms + headScalesAt + row);
#pragma unroll 2
        for (int chunk = 0; chunk < headRoundChunks; ++chunk) {
            Vec4 fragments[chunkFragments];
            weights.take(fragments, shared, layerCount);
#pragma unroll
            for (int f = 0; f < chunkFragments; ++f) {
#pragma unroll
                for (int s = 0; s < sets; ++s) {
                    Vec2 b = {0, 0};
                    if (n > 1 || lane < 16) b = loadShared8(from + (chunk * chunkFragments + f) * (128 * n) + s * 256);
                    multiplyAdd(d[s][f % 2], fragments[f], b);
                }
            }
        }
#pragma unroll
        for (int s = 0; s < sets; ++s) {
            const auto& first = d[s][0];
            const auto& second = d[s][1];
            float value = lane % 2 == 0 ? (first[0] + second[0]) + (first[1] + second[1]) * restUnit
                                        : (first[2] + second[2]) + (first[3] + second[3]) * restUnit;
            value += __shfl_xor_sync(0xffffffffu, value, 1);
            value *= hasCodes ? scales[s] * factor : scales[s];
            const int p = 2 * s + lane % 4 / 2;
            if (lane % 2 != 0 || p >= count || row >= vocabulary) continue;
            if (logits != nullptr) logits[p * a.logitStride + row] = value;
            if (row >= a.sampleable) continue;
            if (!(value < INFINITY_F)) bad |= 1u << p;
            if (isBetter(value, row, best[s])) best[s] = {value, row};
        }
    }
}

// The best rows of all blocks for n positions, in wide.chosen, and what stops the text, in wide.flags.
template <int n>
APUS_DEVICE void chooseAll(Shared& shared, Wide& wide, u8* exchange, const Choice (&best)[ceilDivide(n, 2)], u32 bad, u32 asked, int count, u32 tag, u32& arrivals) {
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    u32* counter = reinterpret_cast<u32*>(exchange) + 64;
    bad = __reduce_or_sync(0xffffffffu, bad);
#pragma unroll
    for (int p = 0; p < n; ++p) {
        if (p >= count) break;
        const Choice own = lane % 4 == p % 2 * 2 ? best[p / 2] : Choice{-INFINITY_F, 0x7fffffff};
        const Choice mine = warpBest(own);
        if (lane == 0) wide.choices[p][warp] = mine;
    }
    if (lane == 0) wide.bad[warp] = bad;
    arrivals += count * blocks;
    syncConsumers();
    if (warp < count) {
        Choice mine = warpBest(lane < warps ? wide.choices[warp][lane] : Choice{-INFINITY_F, 0x7fffffff});
        bad = __reduce_or_sync(0xffffffffu, lane < warps ? wide.bad[lane] : 0u);
        u8* at = exchange + (Area::choiceAt + warp * blocks) * 16;
        if (lane == 0) {
            storePacket(at + blockIdx.x * 16, {asBits(mine.value), static_cast<u32>(mine.id), (asked ? 1u : 0u) | (bad >> warp & 1) << 1, tag});
            counterAdd(counter, 1);
            waitHint(counter, arrivals, shared, Wait::choice, layerCount);
        }
        __syncwarp();
        mine = {-INFINITY_F, 0x7fffffff};
        u32 flags = 0;
        for (int block = lane; block < blocks; block += 32) {
            const Vec4 p = receiveTagged(at + block * 16, tag, shared);
            if (isBetter(asFloat(p.x), p.y, mine)) mine = {asFloat(p.x), static_cast<i32>(p.y)};
            flags |= p.z;
        }
        mine = warpBest(mine);
        flags = __reduce_or_sync(0xffffffffu, flags);
        if (lane == 0) wide.chosen[warp] = mine.id, wide.flags[warp] = flags;
    }
    syncConsumers();
}

// The step's tokens through all layers and the head. False where the block has given up.
template <int n>
APUS_DEVICE bool stepAll(Shared& shared, const Arguments& a, Weights& weights, Turns& turns, u32& arrivals, int made, u32 tag) {
    Wide& wide = wideState(shared);
    const int member = blockIdx.x % members, position = a.position + made, count = wide.count;
    turns.live = count > 1 ? n : 1;
    u8* exchange = a.exchange;
    u32* counters = reinterpret_cast<u32*>(exchange);
    u32 *attendedCounter = counters, *addedCounter = counters + 32;
    const i64 partOffset = threadIdx.x / 32 * (chunkFragments * fragmentBytes) + threadIdx.x % 32 * 16;
    const u8* layersFrom = a.layers + static_cast<i64>(blockIdx.x) * layerChunks * chunkBytes + partOffset;
    u32 asked = 0;
    if (blockIdx.x == 0 && threadIdx.x == 0 && a.stop != nullptr) asked = *reinterpret_cast<const volatile u32*>(a.stop);
    for (int i = threadIdx.x; i < turns.live * ropeKinds * headSize / 2; i += consumers) {
        const int p = i / (ropeKinds * headSize / 2), kind = i / (headSize / 2) % ropeKinds, at = i % (headSize / 2);
        wide.rope[p][kind][at] = rotation(static_cast<float>(position + p) * a.inverseFrequencies[kind * (headSize / 2) + at]);
    }
    SlotNorm attentionNorm[slotsPerThread];
    HeadNorm headNorm;
    loadNorms(attentionNorm, a.norms);
    loadHeadNorm(headNorm, a.norms + layerNorms - 2 * headSize);
    const float* norms = a.norms;
    for (int layer = 0; layer < layerCount; ++layer, norms += layerNorms) {
        weights.next = layersFrom + static_cast<i64>(layer) * blocks * layerChunks * chunkBytes;
        Preloaded<Input, DECODE_PRELOAD> inputWeights;
        inputWeights.load(weights, shared, layer);
        Factors factors;
        factors.load(a.norms, layer, blockIdx.x);
        Residuals<n> residual;
        if (layer == 0) residual.embed(a, wide, turns, attentionNorm);
        else
            residual.template add<feedGroups, false>(shared, wide, exchange + Area::addedAt * 16, addedCounter, turns, Wait::added, layer,
                                                     norms - layerNorms + 3 * normSlots, attentionNorm);
        factors.put(shared, layer);
        syncConsumers();
        turns.next();
        const LayerInfo info = shared.infos[layer];
        u16 *keys = shared.cache[layer][0], *values = shared.cache[layer][1];
        multiplyAll<Input, n>(inputWeights, weights, shared, wide, wide.vector(), layer, [&] { residual.putSquares(wide, turns); });
        syncConsumers();
        publishAll<Packet4, n, 1, inputRows, Area::inputs, false>(
            exchange + (Area::inputAt + blockIndex() * (inputRows / 4)) * 16, turns, nullptr,
            [&](int p, int row) { return rowSumAt(wide, p, row) * factor(shared, layer, inputScales + row) * normScaleAt(wide, p); });

        const Spans<n> spans(a, info.window, position, member, turns);
        CacheTile tile;
        const int firstRow = spans.from + firstTile() * tileRows, endRow = spans.end < position ? spans.end : position;
        if (spans.isTogether && firstRow < spans.end) {
            if (firstRow < endRow) tile.loadKeys(keys, firstRow, endRow), tile.loadValues(values, firstRow, endRow);
            else tile.clear();
        }
        Preloaded<Output, DECODE_OUTPUT_PRELOAD> outputWeights;
        if constexpr (loadsOutputEarly) outputWeights.load(weights, shared, layer);
        attendAll<n>(shared, wide, a, exchange, turns, layer, headNorm, keys, values, position, count, info, spans, tile);
        if constexpr (!loadsOutputEarly) outputWeights.load(weights, shared, layer);
        multiplyAll<Output, n>(outputWeights, weights, shared, wide, wide.attendedVector, layer, [] {});
        syncConsumers();
        const u32 block = blockIndex();
        publishAll<Packet6, n, outputUnits, unitRows, Area::attended, true>(
            exchange + (Area::attendedAt + block / members * residualSlots + block % members * (outputUnits * unitPackets)) * 16, turns,
            attendedCounter, [&](int p, int row) { return rowSumAt(wide, p, row) * factor(shared, layer, outputScales + row); });
        SlotNorm gatedNorm[slotsPerThread];
        loadNorms(gatedNorm, norms + normSlots);

        Preloaded<Gated, DECODE_PRELOAD> gatedWeights;
        constexpr int earlyChunks = DECODE_EARLY_PRELOAD / chunkFragments;
        gatedWeights.template load<0, earlyChunks>(weights, shared, layer);
        Residuals<n> middle;
        middle.template add<groups, false>(shared, wide, exchange + Area::attendedAt * 16, attendedCounter, turns, Wait::attended, layer,
                                           norms + 2 * normSlots, gatedNorm);
        gatedWeights.template load<earlyChunks>(weights, shared, layer);
        syncConsumers();
        multiplyAll<Gated, n>(gatedWeights, weights, shared, wide, wide.vector(), layer, [&] { middle.putSquares(wide, turns); });
        syncConsumers();
        const u32 feedBlock = blockIndex(), feedGroup = feedBlock / feedMembers;
        u32* gatedCounter = gatedHint ? counters + (3 + feedGroup) * 32 : nullptr;
        publishAll<Packet6, n, 1, pairs, Area::gated, gatedHint>(
            exchange + (Area::gatedAt + feedBlock * gatedPackets) * 16, turns, gatedCounter, [&](int p, int pair) {
                const int row = pair / 8 * 16 + pair % 8;
                const float scale = normScaleAt(wide, p), gate = rowSumAt(wide, p, row) * factor(shared, layer, gatedScales + row) * scale;
                return activate<static_cast<Activation>(DECODE_ACTIVATION)>(gate) *
                       (rowSumAt(wide, p, row + 8) * factor(shared, layer, gatedScales + row + 8) * scale);
            });
        loadNorms(attentionNorm, norms + layerNorms);
        if (layer + 1 < layerCount) loadHeadNorm(headNorm, norms + 2 * layerNorms - 2 * headSize);

        Preloaded<Down, DECODE_PRELOAD> downWeights;
        downWeights.load(weights, shared, layer);
        if (gatedHint) waitHintAll(gatedCounter, turns.turn * feedMembers - DECODE_GATED_EARLY, shared, Wait::gated, layer);
        for (int packet = threadIndex(); packet < feedMembers * gatedPackets; packet += consumers) {
            const u8* at = exchange + (Area::gatedAt + feedGroup * (feedMembers * gatedPackets) + packet) * 16;
            Vec4 packets[n][1];
#pragma unroll
            for (int p = 0; p < n; ++p)
                if (turns.has(p)) packets[p][0] = loadPacket(at + p * (Area::gated * 16));
#pragma unroll
            for (int p = 0; p < n; ++p) {
                if (!turns.has(p)) continue;
                confirm<Packet6>(packets[p], at + p * (Area::gated * 16), 0, turns.tag(p), shared, Wait::gated, layer);
                float v[6];
                Packet6::unpack(v, packets[p][0]);
                const int from = packet % gatedPackets * 6, channel = packet / gatedPackets * pairs + from;
#pragma unroll
                for (int j = 0; j < 6; j += 2) {
                    if constexpr (pairs % 2 == 0) {
                        if (from + j < pairs) putPairAt<n>(wide.vector(), p, channel + j, v[j], v[j + 1]);
                    } else {
                        if (from + j < pairs) putOneAt<n>(wide.vector(), p, channel + j, v[j]);
                        if (from + j + 1 < pairs) putOneAt<n>(wide.vector(), p, channel + j + 1, v[j + 1]);
                    }
                }
            }
        }
        syncConsumers();
        multiplyAll<Down, n>(downWeights, weights, shared, wide, wide.vector(), layer, [] {});
        syncConsumers();
        publishAll<Packet6, n, 1, unitRows, Area::added, true>(
            exchange + (Area::addedAt + feedGroup * residualSlots + feedBlock % feedMembers * unitPackets) * 16, turns, addedCounter,
            [&](int p, int row) { return rowSumAt(wide, p, row) * factor(shared, layer, downScales + row); });
    }
    Residuals<n> residual;
    residual.template add<feedGroups, true>(shared, wide, exchange + Area::addedAt * 16, addedCounter, turns, Wait::added, layerCount,
                                            norms - layerNorms + 3 * normSlots, attentionNorm);
    residual.putSquares(wide, turns);
    if (syncAny(shared.dead != 0)) return false;
    if (member == 0) fenceGrid();
    Choice best[ceilDivide(n, 2)];
    u32 bad = 0;
    weights.next = a.head + static_cast<i64>(blockIdx.x) * headChunks * chunkBytes + partOffset;
    headRowsAll<n>(weights, shared, wide, a, a.logits == nullptr ? nullptr : a.logits + made * a.logitStride, count, best, bad);
    chooseAll<n>(shared, wide, exchange, best, bad, asked, count, tag, arrivals);
    return true;
}

// ---- guesses -----------------------------------------------------------------------------------------------------

// Token `index` of prompt and answer.
APUS_DEVICE i32 tokenAt(const Wide& wide, int index) {
    return index < wide.lookup.count ? wide.lookup.history[index] : wide.recent[index - wide.lookup.count];
}

// Where the latest tokens were followed by something before: the index behind; 0 for nowhere. `made` tokens of the launch are there.
APUS_DEVICE int findMatch(Wide& wide, int made) {
    const int end = wide.lookup.count + made;  // behind the latest
    u32 found = 0;
    if (end >= 3) {
        const i32 third = tokenAt(wide, end - 3), second = tokenAt(wide, end - 2), last = tokenAt(wide, end - 1);
        const int from = end > historyLimit ? end - historyLimit : 1;
        // Candidate i: tokens i - 1 and i are the latest two.
#pragma unroll 8
        for (int i = from + threadIdx.x; i < end - 1; i += consumers) {
            if (tokenAt(wide, i) != last || tokenAt(wide, i - 1) != second) continue;
            const u32 isLonger = i >= 2 && tokenAt(wide, i - 2) == third;
            const u32 match = isLonger << 31 | static_cast<u32>(i + 1);
            found = match > found ? match : found;
        }
    }
    found = __reduce_max_sync(0xffffffffu, found);
    if (threadIdx.x % 32 == 0) wide.matches[threadIdx.x / 32] = found;
    syncConsumers();
#pragma unroll
    for (int w = 0; w < warps; ++w) found = wide.matches[w] > found ? wide.matches[w] : found;
    return static_cast<int>(found & 0x7fffffffu);
}

// The tokens of the step that begins behind `made` tokens; wide.tokens[0] is there. Begins and ends with a barrier.
APUS_DEVICE void guess(Wide& wide, const Arguments& a, int made) {
    syncConsumers();
    const int left = a.steps - made, given = a.forcedCount - made;
    const int match = given > 1 || left < 2 || wide.lookup.guesses < 1 ? 0 : findMatch(wide, made);
    if (threadIdx.x == 0) {
        int count = 1;
        if (given > 1) {
            for (; count < positions && count < given && count < left; ++count) wide.tokens[count] = a.forced[made + count];
        } else if (match > 0) {
            const int end = wide.lookup.count + made;
            for (; count < positions && count <= wide.lookup.guesses && count < left; ++count) {
                const int index = match + count - 1;
                // Behind the end a guess is a token again: a circle is taken round once more.
                wide.tokens[count] = index < end ? tokenAt(wide, index) : wide.tokens[index - end + 1];
            }
        }
        // What is behind the last guess is computed and forgotten.
        for (int p = count; p < positions; ++p) wide.tokens[p] = wide.tokens[0];
        wide.count = count;
    }
    syncConsumers();
}

// Token after token, a step for one or several of them.
APUS_DEVICE void speculate(Shared& shared, const Arguments& a, Weights weights) {
    Wide& wide = wideState(shared);
    Turns turns;
    u32 arrivals = 0;
    if (threadIdx.x == 0) {
        wide.lookup = *reinterpret_cast<const Lookup*>(a.exchange + Area::lookupAt * 16);
        wide.tokens[0] = a.forced[0];
    }
    int made = 0;
    for (u32 step = 1; made < a.steps; ++step) {
        guess(wide, a, made);
        const int count = wide.count;
        if (!stepAll<positions>(shared, a, weights, turns, arrivals, made, step)) return;
        // All threads of all blocks find the same.
        bool isOver = (wide.flags[0] & 1) != 0 || syncAny(shared.dead != 0);
        int kept = 0;
        i32 next = 0;
        while (true) {
            const i32 chosen = wide.chosen[kept], index = made + kept;
            const bool isGiven = index + 1 < a.forcedCount, isBad = (wide.flags[kept] & 2) != 0;
            next = isGiven ? a.forced[index + 1] : chosen;
            if (blockIdx.x == 0 && threadIdx.x == 0) {
                a.chosen[index] = chosen;
                // Which token of the launch, of which step, and how many were computed in it.
                if (a.handed != nullptr)
                    *reinterpret_cast<volatile u64*>(a.handed + index % a.handedCount) =
                        static_cast<u64>(static_cast<u32>(index + 1) | step << 12 | static_cast<u32>(count) << 24) << 32 | static_cast<u32>(isBad ? -1 : chosen);
            }
            if (threadIdx.x == 0) wide.recent[index] = next;
            ++kept;
            isOver |= isBad;
            if (!isGiven)
                for (int i = 0; i < a.stopCount; ++i) isOver |= chosen == a.stops[i];
            if (isOver || kept == count || wide.tokens[kept] != next) break;
        }
        if (isOver) return;
        made += kept;
        syncConsumers();
        if (threadIdx.x == 0) wide.tokens[0] = next;
    }
}

}  // namespace apus
