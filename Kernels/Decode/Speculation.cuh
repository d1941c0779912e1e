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
#include "Decode/SpeculationAttention.cuh"
#include "Decode/SpeculationResidual.cuh"

namespace apus {

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
        CacheElement *keys = shared.cache[layer][0], *values = shared.cache[layer][1];
        u8* exponents = exponentsOf(a, layer);
        const int behind = a.cacheCapacity * keyHeads;
        multiplyAll<Input, n>(inputWeights, weights, shared, wide, wide.vector(), layer, [&] { residual.putSquares(wide, turns); });
        syncConsumers();
        publishAll<Packet4, n, 1, inputRows, Area::inputs, false>(
            exchange + (Area::inputAt + blockIndex() * (inputRows / 4)) * 16, turns, nullptr,
            [&](int p, int row) { return rowSumAt(wide, p, row) * factor(shared, layer, inputScales + row) * normScaleAt(wide, p); });

        const Spans<n> spans(a, info.window, position, member, turns);
        CacheTile tile;
        const int firstRow = spans.from + firstTile() * tileRows, endRow = spans.end < position ? spans.end : position;
        // Written on every way through: what is not would be kept alive all through the layers.
        if (spans.isTogether && firstRow < endRow) {
            tile.loadKeys(keys, firstRow, endRow), tile.loadValues(values, firstRow, endRow);
            tile.loadExponents(exponents, behind, firstRow, endRow);
        } else {
            tile.clear();
        }
        Preloaded<Output, DECODE_OUTPUT_PRELOAD> outputWeights;
        if constexpr (loadsOutputEarly) outputWeights.load(weights, shared, layer);
        attendAll<n>(shared, wide, a, exchange, turns, layer, headNorm, keys, values, position, count, info, spans, tile,
                     exponents, behind);
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
            Vec4 packets[n][1] = {};
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
