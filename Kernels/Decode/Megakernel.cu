// Decoding with one resident kernel: whole steps of a decoder-style transformer at batch 1, token after token.
//
//     x = embedding[token];  for each layer:  x += O attention(norm x);  x += down(act(gate n) * up n), n = norm x;
//     token = argmax(head norm x)
//
// Shapes and the sharing out of the work: Shape.cuh. One block a multiprocessor, all resident (cooperative launch), 8 consumer
// warps and, on sm_90, one warp that streams the weights of all layers, the head and the next token through a ring in shared
// memory, held up by nothing but full slots. While a block waits for an exchange its next weights already lie in registers.
//
// A layer has four exchanges between blocks, two of them inside a group only: q, k, v (group); attended rows (all); activations
// (feed group); down rows (all). A pair of blocks exchanges the parts of a short text's attention (Pairs.cuh); contexts
// of more positions add an exchange (group). Exchange.cuh has their form.
// The areas need no second buffer: between two uses of one lies an exchange of all blocks, behind which nobody reads it any more.
//
// Roof: the bytes of all weights and of the cache, once a token, at the device's read bandwidth.
//
// Every wait is bounded: after DECODE_LIMIT clocks the first block says where in the error word, and all blocks leave.
//
// Launch. apus_decode: cooperative, grid `blocks`, in clusters of DECODE_CLUSTER, block 384 (256 without a ring), dynamic shared memory
// ringSlots * 16 KB (none without) + stageBytes + sizeof(Shared), which apus_decode_sizes holds. The exchange area and the error word are zeroed before.

#include "Decode/Attention.cuh"
#include "Decode/Residual.cuh"
#include "Decode/Sampling.cuh"
#include "Decode/Stage.cuh"

namespace apus {

// Cosine and sine to 2^-20 for angles up to 10^5: less the whole quarter turns, in three parts of pi / 2, then by the hardware.
APUS_DEVICE Float2 rotation(float angle) {
    const float turns = rintf(angle * 0.636619772f);
    float rest = fmaf(turns, -1.57079601f, angle);
    rest = fmaf(turns, -3.13916473e-7f, rest);
    rest = fmaf(turns, -5.39030253e-15f, rest);
    float sine, cosine;
    asm("sin.approx.ftz.f32 %0, %1;" : "=f"(sine) : "f"(rest));
    asm("cos.approx.ftz.f32 %0, %1;" : "=f"(cosine) : "f"(rest));
    const int quarter = static_cast<int>(turns) & 3;
    const Float2 r = quarter % 2 == 0 ? Float2{cosine, sine} : Float2{-sine, cosine};
    return quarter < 2 ? r : Float2{-r.x, -r.y};
}

// Angles of the token's position.
APUS_DEVICE void rotations(Shared& shared, const Arguments& a, int position) {
    for (int i = threadIdx.x; i < ropeKinds * headSize / 2; i += consumers) {
        shared.rope[i / (headSize / 2)][i % (headSize / 2)] = rotation(static_cast<float>(position) * a.inverseFrequencies[i]);
    }
}

APUS_DEVICE void fenceGrid() { asm volatile("fence.acq_rel.gpu;" ::: "memory"); }

// The block's rows of the head; the lane's best of them.
APUS_DEVICE Choice headRows(Weights& weights, Shared& shared, const Arguments& a, float scale, float* logits, bool& bad) {
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    Choice best = {-INFINITY_F, 0x7fffffff};
    const u32 from = sharedAddress(shared.vector) + lane / 4 * 32 + lane % 4 * 8;
    for (int round = 0; round < headRounds; ++round) {
        float d[2][4] = {};
        const int row = ((round * blocks + blockIdx.x) * warps + warp) * 8 + lane / 4;
        float rowScale = scale;
        if (hasCodes && row < vocabulary) rowScale *= loadNorm(a.norms + headScalesAt + row);
#pragma unroll 2
        for (int chunk = 0; chunk < headRoundChunks; ++chunk) {
            Vec4 fragments[chunkFragments];
            Vec2 b[chunkFragments];
            weights.take(fragments, shared, layerCount);
#pragma unroll
            for (int f = 0; f < chunkFragments; ++f) {
                b[f] = {0, 0};
                if (lane < 16) b[f] = loadShared8(from + (chunk * chunkFragments + f) * 128);
            }
#pragma unroll
            for (int f = 0; f < chunkFragments; ++f) multiplyAdd(d[f % 2], fragments[f], b[f]);
        }
        // Lanes 0 mod 4 hold the first half's sums of rows 0-7, lanes 1 mod 4 the second half's, in rows 8-15.
        const int i = lane % 4 == 0 ? 0 : 2;
        float value = i == 0 ? (d[0][0] + d[1][0]) + (d[0][1] + d[1][1]) * restUnit : (d[0][2] + d[1][2]) + (d[0][3] + d[1][3]) * restUnit;
        value += __shfl_xor_sync(0xffffffffu, value, 1);
        value *= rowScale;
        if (lane % 4 != 0 || row >= vocabulary) continue;
        if (logits != nullptr) logits[row] = value;
        if (row >= a.sampleable) continue;
        bad |= !(value < INFINITY_F);
        if constexpr (samples) samplingState(shared).logits[round * runRows + warp * 8 + lane / 4] = value;
        else if (isBetter(value, row, best)) best = {value, row};
    }
    return best;
}

// The best row of all blocks, and whether the step is the last. Behind it the cache rows of the step may be read: their writers have
// fenced them before the head, and their readers go past L1.
APUS_DEVICE void choose(Shared& shared, const Arguments& a, u8* exchange, Choice best, bool bad, u32 asked, int step) {
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    u32* counter = reinterpret_cast<u32*>(exchange) + 64;
    best = warpBest(best);
    bad = __any_sync(0xffffffffu, bad);
    if (lane == 0) shared.choices[warp] = best, shared.bad[warp] = bad;
    syncConsumers();
    if (warp == 0) {
        best = lane < warps ? shared.choices[lane] : Choice{-INFINITY_F, 0x7fffffff};
        best = warpBest(best);
        bad = __any_sync(0xffffffffu, lane < warps && shared.bad[lane]);
        if (lane == 0) {
            storePacket(exchange + (choiceAt + blockIdx.x) * 16,
                        {asBits(best.value), static_cast<u32>(best.id), (asked ? 1u : 0u) | (bad ? 2u : 0u), static_cast<u32>(step + 1)});
            counterAdd(counter, 1);
            waitHint(counter, static_cast<u32>(step + 1) * blocks, shared, Wait::choice, layerCount);
        }
        __syncwarp();
        best = {-INFINITY_F, 0x7fffffff};
        u32 flags = 0;
        for (int block = lane; block < blocks; block += 32) {
            const u8* at = exchange + (choiceAt + block) * 16;
            Vec4 p = loadPacket(at);
            Patience patience;
            while (p.w != static_cast<u32>(step + 1) && !patience.isOver(shared, Wait::choice, layerCount)) p = loadPacket(at);
            if (isBetter(asFloat(p.x), p.y, best)) best = {asFloat(p.x), static_cast<i32>(p.y)};
            flags |= p.z;
        }
        best = warpBest(best);
        flags = __reduce_or_sync(0xffffffffu, flags);
        if (lane == 0) {
            shared.token = best.id;
            shared.stopped = flags;
        }
    }
    syncConsumers();
}

// Warps of a block that count its arrival.
constexpr int outputWriters = Publishing<Packet6, outputUnits, unitRows>::writers, downWriters = Publishing<Packet6, 1, unitRows>::writers;
constexpr int gatedWriters = Publishing<Packet6, 1, pairs>::writers;

[[maybe_unused]] APUS_DEVICE void consume(Shared& shared, const Arguments& a, Weights weights) {
    const int member = blockIdx.x % members;
    u8* exchange = a.exchange;
    u32* counters = reinterpret_cast<u32*>(exchange);
    u32 *attendedCounter = counters, *addedCounter = counters + 32;
    const i64 partOffset = threadIdx.x / 32 * (chunkFragments * fragmentBytes) + threadIdx.x % 32 * 16;
    const u8* layersFrom = a.layers + static_cast<i64>(blockIdx.x) * layerChunks * chunkBytes + partOffset;

    u32 turn = 0, tag = 0;
    [[maybe_unused]] u32 stageParity = 0;
    int token = a.forced[0];
    Residual residual;
    for (int step = 0; step < a.steps; ++step) {
        const int position = a.position + step;
        rotations(shared, a, position);
        // Norm weights are asked for a product ahead of their use: under the stream of weights a load takes microseconds.
        SlotNorm attentionNorm[slotsPerThread];
        HeadNorm headNorm;
        loadNorms(attentionNorm, a.norms);
        headNorm.load(a.norms + layerNorms - 2 * headSize);
        const float* norms = a.norms;

        for (int layer = 0; layer < layerCount; ++layer, norms += layerNorms) {
            weights.next = layersFrom + static_cast<i64>(layer) * blocks * layerChunks * chunkBytes;
            Preloaded<Input, DECODE_PRELOAD> inputWeights;
            inputWeights.load(weights, shared, layer);
            Factors factors;
            factors.load(a.norms, layer, blockIdx.x);
            if (layer == 0) residual.embed(a, token);
            else
                residual.add<feedGroups, downWriters>(shared, exchange + addedAt * 16, addedCounter, turn, tag, Wait::added, layer,
                                         norms - layerNorms + 3 * normSlots);
            factors.put(shared, layer);
            residual.spread<false>(shared, attentionNorm);
            syncConsumers();
            tag = packetTag(++turn);
            const LayerInfo info = shared.infos[layer];
            CacheElement *keys = shared.cache[layer][0], *values = shared.cache[layer][1];  // of the group's head
            u8* exponents = exponentsOf(a, layer);
            const int behind = a.cacheCapacity * keyHeads;
            multiply<Input>(inputWeights, weights, shared, layer, [&] { residual.putSquares(shared); });
            syncConsumers();
            publish<Packet4, 1, inputRows, false>(exchange + (inputAt + blockIndex() * (inputRows / 4)) * 16, tag, nullptr, [&](int row) {
                return rowSum(shared, row) * factor(shared, layer, inputScales + row) * residual.normScale(shared);
            });

            const Span span(a, info.window, position, member);
            CacheTile tile;
            const int firstRow = span.from + firstTile() * tileRows, endRow = span.to < position ? span.to : position;
            // Written on every way through: what is not would be kept alive all through the layers.
            if constexpr (hasStage) {
                if (const int rows = stagedRows(span, position); rows > 0) {
                    waitBarrier(sharedAddress(&shared.staged), stageParity, shared, Wait::chunk, layer);
                    stageParity ^= 1;
                    tile.takeStaged(weights.ring + ringSlots * chunkBytes, rows);
                    __syncwarp();
                    if (threadIndex() % 32 == 0) barrierArrive(sharedAddress(&shared.unstaged));
                } else {
                    tile.clear();
                }
                if (span.isPart && firstRow < endRow && span.run != Run::tiles) tile.loadExponents(exponents, behind, firstRow, endRow);
            } else if (span.isPart && firstRow < endRow && !(hasCacheRing && span.run == Run::tiles)) {
                tile.loadKeys(keys, firstRow, endRow), tile.loadValues(values, firstRow, endRow);
                tile.loadExponents(exponents, behind, firstRow, endRow);
            } else {
                tile.clear();
            }
            if constexpr (hasCachedCodes && hasCacheRing)
                if (span.isPart && span.run == Run::tiles) {
                    tile.exponents = CacheTile::exponentAt(exponents, behind, firstRow, endRow);
                    tile.later[0] = CacheTile::exponentAt(exponents, behind, firstRow + blockRows, endRow);
                    tile.later[1] = CacheTile::exponentAt(exponents, behind, firstRow + 2 * blockRows, endRow);
                }
            Preloaded<Output, DECODE_OUTPUT_PRELOAD> outputWeights;
            const auto loadOutput = [&] { outputWeights.load(weights, shared, layer); };
            if (span.run == Run::whole)
                attention<Run::whole>(shared, exchange, tag, layer, headNorm, keys, values, exponents, behind, position, info, span, tile, weights,
                    loadOutput);
            else if (span.run == Run::part)
                attention<Run::part>(shared, exchange, tag, layer, headNorm, keys, values, exponents, behind, position, info, span, tile, weights,
                    loadOutput);
            else
                attention<Run::tiles>(shared, exchange, tag, layer, headNorm, keys, values, exponents, behind, position, info, span, tile, weights,
                    loadOutput);
            __syncwarp();
            multiply<Output>(outputWeights, weights, shared, layer, [] {});
            syncConsumers();
            const u32 block = blockIndex();
            publish<Packet6, outputUnits, unitRows, true>(
                exchange + (attendedAt + block / members * residualSlots + block % members * (outputUnits * unitPackets)) * 16, tag, attendedCounter,
                [&](int row) { return rowSum(shared, row) * factor(shared, layer, outputScales + row); });
            SlotNorm gatedNorm[slotsPerThread];
            loadNorms(gatedNorm, norms + normSlots);

            Preloaded<Gated, DECODE_PRELOAD> gatedWeights;
            constexpr int earlyChunks = DECODE_EARLY_PRELOAD / chunkFragments;
            gatedWeights.load<0, earlyChunks>(weights, shared, layer);
            residual.add<groups, outputWriters>(shared, exchange + attendedAt * 16, attendedCounter, turn, tag, Wait::attended, layer, norms + 2 * normSlots);
            gatedWeights.load<earlyChunks>(weights, shared, layer);
            residual.spread<false>(shared, gatedNorm);
            syncConsumers();
            multiply<Gated>(gatedWeights, weights, shared, layer, [&] { residual.putSquares(shared); });
            syncConsumers();
            const u32 feedBlock = blockIndex(), feedGroup = feedBlock / feedMembers;
            u32* gatedCounter = gatedHint ? counters + (3 + feedGroup) * 32 : nullptr;
            publish<Packet6, 1, pairs, gatedHint>(exchange + (gatedAt + feedBlock * gatedPackets) * 16, tag, gatedCounter, [&](int pair) {
                const int row = pair / 8 * 16 + pair % 8;
                const float scale = residual.normScale(shared), gate = rowSum(shared, row) * factor(shared, layer, gatedScales + row) * scale;
                return activate<static_cast<Activation>(DECODE_ACTIVATION)>(gate) *
                       (rowSum(shared, row + 8) * factor(shared, layer, gatedScales + row + 8) * scale);
            });
            loadNorms(attentionNorm, norms + layerNorms);  // of the next layer, or the final one
            if (layer + 1 < layerCount) headNorm.load(norms + 2 * layerNorms - 2 * headSize);

            Preloaded<Down, DECODE_PRELOAD> downWeights;
            downWeights.load(weights, shared, layer);
            if (gatedHint) waitHintAll(gatedCounter, (turn * feedMembers - DECODE_GATED_EARLY) * gatedWriters, shared, Wait::gated, layer);
            for (int packet = threadIndex(); packet < feedMembers * gatedPackets; packet += consumers) {
                const u8* at = exchange + (gatedAt + feedGroup * (feedMembers * gatedPackets) + packet) * 16;
                Vec4 p[1];
                receive<Packet6>(p, at, 0, tag, shared, Wait::gated, layer);
                float v[6];
                Packet6::unpack(v, p[0]);
                const int from = packet % gatedPackets * 6, channel = packet / gatedPackets * pairs + from;
#pragma unroll
                for (int j = 0; j < 6; j += 2) {
                    if constexpr (pairs % 2 == 0) {
                        if (from + j < pairs) putPair(shared.vector, channel + j, v[j], v[j + 1]);
                    } else {
                        if (from + j < pairs) putOne(shared.vector, channel + j, v[j]);
                        if (from + j + 1 < pairs) putOne(shared.vector, channel + j + 1, v[j + 1]);
                    }
                }
            }
            syncConsumers();
            multiply<Down>(downWeights, weights, shared, layer, [] {});
            syncConsumers();
            publish<Packet6, 1, unitRows, true>(exchange + (addedAt + feedGroup * residualSlots + feedBlock % feedMembers * unitPackets) * 16, tag,
                                                addedCounter, [&](int row) { return rowSum(shared, row) * factor(shared, layer, downScales + row); });
        }
        const int layer = layerCount;
        residual.add<feedGroups, downWriters>(shared, exchange + addedAt * 16, addedCounter, turn, tag, Wait::added, layer, norms - layerNorms + 3 * normSlots);
        residual.spread<true>(shared, attentionNorm);
        residual.putSquares(shared);
        // A block that has given up has no part in the choice.
        if (syncAny(shared.dead != 0)) return;

        if (member == 0) fenceGrid();
        // Asked for ahead of the head, since host memory is far.
        u32 asked = 0;
        if (blockIdx.x == 0 && threadIdx.x == 0 && a.stop != nullptr) asked = *reinterpret_cast<const volatile u32*>(a.stop);
        const int given = step + 1 < a.forcedCount ? a.forced[step + 1] : -1;
        Choice best = {-INFINITY_F, 0x7fffffff};
        bool bad = false;
        if (step >= a.firstHead) {
            weights.next = a.head + static_cast<i64>(blockIdx.x) * headChunks * chunkBytes + partOffset;
            float* logits = a.logits == nullptr ? nullptr : a.logits + step * a.logitStride;
            best = headRows(weights, shared, a, residual.normScale(shared), logits, bad);
        }
        if constexpr (samples) draw(shared, exchange, bad, asked, step);
        else choose(shared, a, exchange, best, bad, asked, step);
        const int chosen = shared.token, flags = shared.stopped;
        if (blockIdx.x == 0 && threadIdx.x == 0 && step >= a.firstHead) {
            a.chosen[step] = chosen;
            if (a.handed != nullptr)
                *reinterpret_cast<volatile u64*>(a.handed + step % a.handedCount) =
                    static_cast<u64>(step + 1) << 32 | static_cast<u32>(flags & 2 ? -1 : chosen);
        }
        if (threadIdx.x == 0) shared.stepsDone = step + 1;
        bool isOver = flags != 0 || syncAny(shared.dead != 0);
        token = given >= 0 ? given : chosen;
        if (given < 0)
            for (int i = 0; i < a.stopCount; ++i) isOver |= chosen == a.stops[i];
        if (isOver) return;
    }
}

// Lets the producer end too, and says why the block has given up.
APUS_DEVICE void leave(Shared& shared, const Arguments& a) {
    if (threadIdx.x != 0) return;
    shared.finished = 1;
    if (shared.dead != 0) atomicCAS(a.error, 0u, shared.dead | blockIdx.x << 16);
}

}  // namespace apus

#if DECODE_POSITIONS > 1
#include "Decode/Speculation.cuh"
#else
namespace apus {
constexpr int speculationBytes = 0, areaPackets = exchangePackets + drawPackets;
}
#endif

using namespace apus;

static_assert(sizeof(Arguments) == 232, "the host writes these fields too");
#ifdef DECODE_SHARED_BOUND
static_assert(sizeof(Shared) + samplingBytes + speculationBytes <= DECODE_SHARED_BOUND, "the host made the ring too long");
#endif

extern "C" {
// For the host: dynamic shared memory, threads and blocks of a launch, chunks of a block in a layer and in the head, floats of a
// norm in slot order and of a layer's norms, bytes of the exchange area, of Arguments and of a chunk, floats of norms and factors.
__device__ u32 apus_decode_sizes[] = {(hasRing ? ringSlots * chunkBytes + stageBytes : 0) + sizeof(Shared) + samplingBytes + speculationBytes, threads, blocks,
                                      layerChunks, headChunks, normSlots, layerNorms, areaPackets * 16, sizeof(Arguments), chunkBytes, normFloats};
// With sampling: where `Sampling` lies in the exchange area, and its size; the blocks' best rows that give a bound, the ids for each
// of them, the candidates that may be kept.
__device__ u32 apus_decode_sampling[] = {drawInputAt * 16, sizeof(Sampling), peakCount, runRows / peakParts, ownLimit};
#if DECODE_POSITIONS > 1
// With guesses: where `Lookup` lies in the exchange area, and its size; the positions of a step, the tokens of a launch at most.
__device__ u32 apus_decode_lookup[] = {Area::lookupAt * 16, sizeof(Lookup), positions, recentLimit};
#endif
}

extern "C" __global__ void __launch_bounds__(threads, 1) apus_decode(const __grid_constant__ Arguments a, const __grid_constant__ TensorMap cacheMap) {
    extern __shared__ __align__(1024) u8 memory[];
    Shared* place = opaque(reinterpret_cast<Shared*>(memory + (hasRing ? ringSlots * chunkBytes + stageBytes : 0)));
    __builtin_assume(__isShared(place));
    Shared& shared = *place;
    const u32 ring = sharedAddress(memory), full = sharedAddress(shared.full), empty = sharedAddress(shared.empty);
    // Zeros where a product's vector is shorter than its columns, and no NaN where a warp attends to nothing.
    for (int i = threadIdx.x; i < static_cast<int>(sizeof shared.vector / 4); i += threads) reinterpret_cast<u32*>(shared.vector)[i] = 0;
    for (int i = threadIdx.x; i < static_cast<int>(sizeof shared.attended.values / 4); i += threads) shared.attended.values[0][i] = 0.0f;
    for (int i = threadIdx.x; i < layerCount; i += threads) {
        shared.infos[i] = a.infos[i];
        const int head = blockIdx.x / keyMembers * headSize;
        shared.cache[i][0] = a.cache[2 * i] + head;
        shared.cache[i][1] = a.cache[2 * i + 1] + head;
    }
    if constexpr (samples) prepareSampling(shared, a);
#if DECODE_POSITIONS > 1
    for (int i = threadIdx.x; i < speculationBytes / 4; i += threads) reinterpret_cast<u32*>(&wideState(shared))[i] = 0;
#define DECODE_CONSUME speculate
#else
#define DECODE_CONSUME consume
#endif
    if (threadIdx.x == 0) {
        shared.dead = 0;
        shared.finished = 0;
        shared.stepsDone = 0;
        if constexpr (hasRing) {
            for (int i = 0; i < ringSlots; ++i) {
                barrierInit(full + i * 8, 1);
                barrierInit(empty + i * 8, warps);
            }
            preparePair(shared);
            prepareStage(shared);
            barrierInitFence();
        }
    }
    __syncthreads();
    if constexpr (hasPairs) clusterMeet();
    if constexpr (hasRing) {
        if (threadIdx.x >= consumers) {
            registersShrink<headSize == 256 ? 40 : 24>();
            if constexpr (hasStage) {
                if (__shfl_sync(0xffffffffu, threadIdx.x / 32, 0) == warps + 1) {
                    if (threadIdx.x == consumers + 32) fillStage(shared, a, cacheMap, ring + ringSlots * chunkBytes);
                    return;
                }
            }
            if (threadIdx.x == consumers) produce(shared, a, cacheMap, ring, full, empty);
        } else {
            registersGrow<headSize == 256 ? 232 : 240>();
            DECODE_CONSUME(shared, a, Weights{ring, full, empty});
            leave(shared, a);
            // A block must not end while the other may still send to its shared memory.
            if constexpr (hasPairs) clusterMeet();
        }
    } else {
        DECODE_CONSUME(shared, a, Weights{ring, full, empty});
        leave(shared, a);
    }
}
