// The weights' way from memory to the tensor cores, and the products of a layer.
#pragma once
#include "Common/Loads.cuh"
#include "Decode/Span.cuh"

namespace apus {

APUS_DEVICE void loadCacheTile(u32 destination, const TensorMap& map, u32 barrier, int element, int head, int row, int tensor, u64 policy) {
    asm volatile(
        "cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [%0], [%1, {%3, %4, %5, %6}], [%2], %7;" ::"r"(
            destination), "l"(reinterpret_cast<u64>(&map)), "r"(barrier), "r"(element), "r"(head), "r"(row), "r"(tensor), "l"(policy) : "memory");
}
APUS_DEVICE Float4 loadNorms4(const float* p) {
    Float4 v;
    asm volatile("ld.global.nc.v4.f32 {%0, %1, %2, %3}, [%4];" : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w) : "l"(p));
    return v;
}
APUS_DEVICE float loadNorm(const float* p) {
    float v;
    asm volatile("ld.global.nc.f32 %0, [%1];" : "=f"(v) : "l"(p));
    return v;
}
APUS_DEVICE void mma(float (&d)[4], const Vec4& a, Vec2 b) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b.x), "r"(b.y));
}

// The same with weights and vector in f16.
APUS_DEVICE void mmaF16(float (&d)[4], const Vec4& a, Vec2 b) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b.x), "r"(b.y));
}
APUS_DEVICE void multiplyAdd(float (&d)[4], const Vec4& a, Vec2 b) {
    if constexpr (hasCodes) mmaF16(d, a, b);
    else mma(d, a, b);
}

// ---- E4M3 ------------------------------------------------------------------------------------------------------
//
// Hopper's mma.sync of E4M3 is this very conversion and an f16 product (seen in its machine code, CUDA 13.0), so nothing is lost by
// converting once, ahead of the exchange, and the vector has 22 bits instead of 4.

// Before sm_89 there is no conversion: the bits are moved under an f16's exponent, whose bias is 8 larger, so a weight is 2^-8 of itself.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 890
constexpr float codeUnit = 256.0f;
#else
constexpr float codeUnit = 1.0f;
#endif
// The vector in f16 is 2^-8 of itself, good up to 1.6e7, and what its first column lost lies in the second times 2^11. The factor of a
// row makes good for both.
constexpr float vectorUnit = 1.0f / 256, restUnit = hasCodes ? 1.0f / 2048 : 1.0f, rowUnit = codeUnit / vectorUnit;

// Two codes in the lower or upper half of a word to f16.
APUS_DEVICE Vec2 decodeCodes(u32 codes) {
    Vec2 v;
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 890
    const u32 low = __byte_perm(codes, 0, 0x1404), high = __byte_perm(codes, 0, 0x3424);
    v.x = (low & 0x80008000u) | ((low >> 1) & 0x3f803f80u);
    v.y = (high & 0x80008000u) | ((high >> 1) & 0x3f803f80u);
#else
    asm volatile("{.reg .b16 a, b;\n mov.b32 {a, b}, %2;\n cvt.rn.f16x2.e4m3x2 %0, a;\n cvt.rn.f16x2.e4m3x2 %1, b;}"
                 : "=r"(v.x), "=r"(v.y) : "r"(codes));
#endif
    return v;
}
// What a lane has read in one piece as fragments.
APUS_DEVICE void unpack(Vec4 (&fragments)[chunkFragments], int first, const Vec4& read) {
    if constexpr (hasCodes) {
        const Vec2 a = decodeCodes(read.x), b = decodeCodes(read.y), c = decodeCodes(read.z), d = decodeCodes(read.w);
        fragments[first] = {a.x, a.y, b.x, b.y};
        fragments[first + together - 1] = {c.x, c.y, d.x, d.y};
    } else {
        fragments[first] = read;
    }
}

// The block's weights in the order of use, as one warp sees them.
struct Weights {
    u32 ring, full, empty, slot = 0, parity = 0;  // shared addresses
    const u8* next;                               // this warp's part of the next chunk in global memory, without a ring

    // The next chunk's four fragments of this warp. With `later` the slots are freed by release().
    template <bool later = false> __device__ __forceinline__ void take(Vec4 (&fragments)[chunkFragments], Shared& shared, int layer) {
        const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
        if constexpr (hasRing) {
            waitBarrier(full + slot * 8, parity, shared, Wait::chunk, layer);
            const u32 from = ring + slot * chunkBytes + warp * (chunkFragments * fragmentBytes) + lane * 16;
#pragma unroll
            for (int f = 0; f < chunkFragments; f += together) unpack(fragments, f, loadShared16(from + f * fragmentBytes));
            if constexpr (!later) {
                __syncwarp();
                if (lane == 0) barrierArrive(empty + slot * 8);
            }
            if (++slot == ringSlots) slot = 0, parity ^= 1;
        } else {
            const u64 policy = streamOnce();
#pragma unroll
            for (int f = 0; f < chunkFragments; f += together) unpack(fragments, f, loadWeights16(next + f * fragmentBytes, policy));
            next += chunkBytes;
        }
    }
    // Frees the slots of the last `count` chunks.
    __device__ __forceinline__ void release(int count) const {
        if constexpr (hasRing) {
            __syncwarp();
            if (threadIdx.x % 32 == 0) {
#pragma unroll
                for (int c = 1; c <= count; ++c) barrierArrive(empty + (slot >= c ? slot - c : slot - c + ringSlots) * 8);
            }
        }
    }
};

// So many cached positions are brought into the L2 a layer ahead: fewer stay there from step to step, more come through the ring.
#ifndef DECODE_PREFETCH  // the most of them
#define DECODE_PREFETCH (hasStage ? 0 : isPlain ? longRows * maximumSplits : 4096)
#endif
constexpr int prefetchLeast = isPlain ? 256 : 0, prefetchMost = DECODE_PREFETCH;

// Keeps the ring full: all chunks of all steps in order, as far as slots and the bound on what is in flight allow. One thread.
APUS_DEVICE void produce(Shared& shared, const Arguments& a, const TensorMap& map, u32 ring, u32 full, u32 empty) {
    const u64 policy = streamOnce();
    u32 slot = 0, parity = 1, lateSlot = 0, lateParity = 0;  // late: the oldest chunk that may still be on its way
    int flying = 0;
    u32 last = ticks();
    const auto issue = [&](const u8* source, int limit, int pace, int row = 0, int rows = 0) {
        for (; flying >= limit; --flying) {
            while (!barrierTry(full + lateSlot * 8, lateParity))
                if (shared.dead) return false;
            if (++lateSlot == ringSlots) lateSlot = 0, lateParity ^= 1;
        }
        // Nothing bounds this wait but the consumers' own patience.
        while (!barrierTry(empty + slot * 8, parity))
            if (shared.dead || shared.finished) return false;
        if (shared.dead || shared.finished) return false;
        if (pieces == 1 && DECODE_PACE > 0 && pace > 0) {
            while (static_cast<i32>(ticks() - last) < pace) {}
            last = ticks();
        }
        const u32 to = ring + slot * chunkBytes, barrier = full + slot * 8;
        if (rows == 0) {
            barrierExpect(barrier, chunkBytes);
            if (pieces > 1 && pace > 0) {
                for (int from = 0; from < chunkBytes; from += pieceBytes) {
                    while (static_cast<i32>(ticks() - last) < pace) {}
                    last = ticks();
                    loadBytes(to + from, source + from, pieceBytes, barrier, policy);
                }
            } else {
                loadBytes(to, source, chunkBytes, barrier, policy);
            }
        } else {
            const int boxes = ceilDivide(rows, boxRows), tensor = static_cast<int>(reinterpret_cast<u64>(source));
            barrierExpect(barrier, boxes * (boxRows * rowBytes));
            for (int box = 0; box < boxes; ++box)
#pragma unroll
                for (int part = 0; part < rowBytes / 128; ++part)
                    loadCacheTile(to + part * (chunkRows * 128) + box * (boxRows * 128), map, barrier, part * (128 / static_cast<int>(sizeof(CacheElement))), blockIdx.x / keyMembers, row + box * boxRows,
                                  tensor, policy);
        }
        if (++slot == ringSlots) slot = 0, parity ^= 1;
        ++flying;
        return true;
    };
    // Part `chunk` of the block's share of a layer's cache rows, into the L2 while the layer before is at work.
    const auto prefetch = [&](int layer, int position, int chunk) {
        const int window = shared.infos[layer].window, first = window > 0 && position >= window ? position - window + 1 : 0;
        const int count = position - first <= prefetchMost && position - first > prefetchLeast ? position - first : 0;
        const int each = ceilDivide(count, blocks * layerChunks), from = first + (static_cast<int>(blockIdx.x) * layerChunks + chunk) * each;
        const int rows = first + count - from < each ? first + count - from : each;
        if (rows <= 0) return;
#pragma unroll
        for (int half = 0; half < 2; ++half)
            prefetchBytes(a.cache[2 * layer + half] + static_cast<i64>(from) * rowElements, rows * static_cast<int>(rowElements * sizeof(CacheElement)));
    };
    bool going = true;
    int stepsSeen = 0;
    for (int step = 0; going && step < a.steps; ++step) {
        const u8* source = a.layers + static_cast<i64>(blockIdx.x) * layerChunks * chunkBytes;
        for (int layer = 0; going && layer < layerCount; ++layer) {
            const Span span(a, shared.infos[layer].window, a.position + step, blockIdx.x % members);
            const bool isLong = isPlain && hasCacheRing && span.run == Run::tiles;
            for (int chunk = 0; going && chunk < layerChunks; ++chunk) {
                if (layer + 1 < layerCount) prefetch(layer + 1, a.position + step, chunk);
                if (chunk == Input::chunks && isLong && span.isPart) {
                    if (stepsSeen < step) {
                        // Behind it the rows of all steps but the last may be read; consumers bring that one row.
                        while (going && shared.stepsDone < step - 1) going = !(shared.dead || shared.finished);
                        asm volatile("fence.acq_rel.gpu;\n fence.proxy.async;" ::: "memory");
                        stepsSeen = step;
                    }
                    const int filled = a.position + step - 1, end = span.to < filled ? span.to : filled;
                    int count = 0;
                    for (int first = span.from + (hasStage ? blockRows : 0); going && first < end; first += blockRows)
                        for (int half = 0; going && half < 2; ++half)
                            for (int row = first; going && row < end && row < first + blockRows; row += chunkRows, ++count)
                                going = issue(reinterpret_cast<const u8*>(static_cast<u64>(2 * layer + half)),
                                              count < ringSlots ? DECODE_CACHE_EARLY : DECODE_CACHE_FLIGHT, 0, row,
                                              end - row < chunkRows ? end - row : chunkRows);
                }
                const bool isSplit = span.parts > 2 && a.position + step < 512;
                const int pace = pieces > 1 && !isLong ? DECODE_PIECE_PACE : isSplit ? DECODE_SPLIT_PACE : DECODE_PACE;
                going = going && issue(source + chunk * chunkBytes, isLong ? longFlight : layerFlight, pace / pieces);
            }
            source += static_cast<i64>(blocks) * layerChunks * chunkBytes;
        }
        if (step < a.firstHead) continue;
        source = a.head + static_cast<i64>(blockIdx.x) * headChunks * chunkBytes;
        for (int chunk = 0; going && chunk < headChunks; ++chunk, source += chunkBytes) going = issue(source, DECODE_HEAD_FLIGHT, 0);
    }
    // A block must not end under copies that still write to its shared memory.
    for (; flying > 0; --flying) {
        for (u32 tries = 0; !barrierTry(full + lateSlot * 8, lateParity) && tries < spinLimit; ++tries) {}
        if (++lateSlot == ringSlots) lateSlot = 0, lateParity ^= 1;
    }
}

// ---- the vector as B operand -----------------------------------------------------------------------------------

// Two numbers as the vector's first column has them, and what that lost.
APUS_DEVICE Vec2 columns(float x, float y) {
    if constexpr (hasCodes) {
        const u32 high = packF16(x * vectorUnit, y * vectorUnit);
        const Float2 kept = unpackF16(high);
        return {high, packF16((x * vectorUnit - kept.x) * (1.0f / restUnit), (y * vectorUnit - kept.y) * (1.0f / restUnit))};
    } else {
        const u32 high = packBF16(x, y);
        const Float2 kept = unpackBF16(high);
        return {high, packBF16(x - kept.x, y - kept.y)};
    }
}
// Neighbours k and k + 1 (k even) of the vector to its two columns.
APUS_DEVICE void putPair(u8* vector, int k, float x, float y) {
    const Vec2 pair = columns(x, y);
    u8* at = vector + k / 16 * 64 + k % 8 / 2 * 8 + k % 16 / 8 * 4;
    *reinterpret_cast<u32*>(at) = pair.x;
    *reinterpret_cast<u32*>(at + 32) = pair.y;
}
APUS_DEVICE void putOne(u8* vector, int k, float x) {
    const Vec2 pair = columns(x, 0.0f);
    u8* at = vector + k / 16 * 64 + k % 8 / 2 * 8 + k % 16 / 8 * 4 + k % 2 * 2;
    *reinterpret_cast<u16*>(at) = static_cast<u16>(pair.x);
    *reinterpret_cast<u16*>(at + 32) = static_cast<u16>(pair.y);
}
// The same for the head: halves of the vector in columns 0, 1 and 2, 3.
APUS_DEVICE void putHead(u8* vector, int k, float x) {
    const Vec2 pair = columns(x, 0.0f);
    const int half = k / (headBlocks * 16), j = k % (headBlocks * 16);
    u8* at = vector + j / 16 * 128 + half * 64 + j % 8 / 2 * 8 + j % 16 / 8 * 4 + j % 2 * 2;
    *reinterpret_cast<u16*>(at) = static_cast<u16>(pair.x);
    *reinterpret_cast<u16*>(at + 32) = static_cast<u16>(pair.y);
}

// ---- products --------------------------------------------------------------------------------------------------

// Weights of product P that wait in registers for the vector.
template <class P, int limit> struct Preloaded {
    static constexpr int chunks = P::chunks < limit / chunkFragments ? P::chunks : limit / chunkFragments;
    Vec4 fragments[chunks > 0 ? chunks : 1][chunkFragments];

    template <int from = 0, int to = chunks> __device__ __forceinline__ void load(Weights& weights, Shared& shared, int layer) {
        constexpr int end = to < chunks ? to : chunks;
#pragma unroll
        for (int c = from; c < end; ++c) weights.take<true>(fragments[c], shared, layer);
        if constexpr (end > from) weights.release(end - from);
    }
};

// The warp's share of P's rows times the vector, to shared.partial [row, warp]; `meanwhile` is done while the tensor cores are at work.
template <class P, int limit, class Meanwhile>
APUS_DEVICE void multiply(const Preloaded<P, limit>& early, Weights& weights, Shared& shared, int layer, Meanwhile meanwhile) {
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    Vec2 b[P::columnBlocks];
    // Columns 2 to 7 repeat the first two: nobody looks at what they give.
    const u32 from = opaque(sharedAddress(shared.vector) + (warp * P::columnBlocks * 2 + lane / 4 % 2) * 32 + lane % 4 * 8);
#pragma unroll
    for (int k = 0; k < P::columnBlocks; ++k) b[k] = loadShared8(from + k * 64);
    float* out = shared.partial + lane / 4 * partialStride + warp;
    const auto put = [&](int rowGroup, const float (&d)[4], const float (&e)[4]) {
        if (lane % 4 == 0) {
            out[rowGroup * (16 * partialStride)] = (d[0] + e[0]) + (d[1] + e[1]) * restUnit;
            out[(rowGroup * 16 + 8) * partialStride] = (d[2] + e[2]) + (d[3] + e[3]) * restUnit;
        }
    };
    if constexpr (Preloaded<P, limit>::chunks == P::chunks) {
        constexpr int chains = P::rowGroups <= 2 ? 4 : 2;  // sums at a time: an mma waits for the one before in its sum
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

// Sum of a row over the warps.
APUS_DEVICE float rowSum(const Shared& shared, int row) {
    const Float4 *from = reinterpret_cast<const Float4*>(shared.partial + row * partialStride), a = from[0], b = from[1];
    return ((a.x + a.y) + (a.z + a.w)) + ((b.x + b.y) + (b.z + b.w));
}

// The factors of the block's rows in a layer, where weights are E4M3 codes: asked for ahead of the exchange before the layer, kept in
// shared memory for two layers in turn.
struct Factors {
    static constexpr int each = ceilDivide(layerScales, consumers);
    float values[hasCodes ? each : 1];

    __device__ __forceinline__ void load(const float* norms, int layer, int block) {
        if constexpr (hasCodes) {
            const float* from = norms + scalesAt + (static_cast<i64>(layer) * blocks + block) * layerScales;
#pragma unroll
            for (int i = 0; i < each; ++i)
                if (static_cast<int>(threadIdx.x) + i * consumers < layerScales) values[i] = loadNorm(from + threadIdx.x + i * consumers);
        }
    }
    // A barrier must lie between this and the first use.
    __device__ __forceinline__ void put(Shared& shared, int layer) const {
        if constexpr (hasCodes) {
#pragma unroll
            for (int i = 0; i < each; ++i)
                if (static_cast<int>(threadIdx.x) + i * consumers < layerScales)
                    shared.factors[layer % 2][threadIdx.x + i * consumers] = values[i];
        }
    }
};
// Factor `index` of a layer, such as inputScales + row.
APUS_DEVICE float factor(const Shared& shared, int layer, int index) {
    if constexpr (hasCodes) return shared.factors[layer % 2][index];
    else return 1.0f;
}

// Packets of a warp of those that publish, and how many warps do.
template <class Packet, int units, int count> struct Publishing {
    static constexpr int perUnit = ceilDivide(count, Packet::values), packets = units * perUnit;
    static constexpr bool isWhole = 32 % count == 0;  // a warp takes whole units, a row a lane
    static constexpr int unitsPerWarp = 32 / (isWhole ? count : 32) < units ? 32 / (isWhole ? count : 32) : units;
    static constexpr int perWarp = isWhole ? unitsPerWarp * perUnit : 32 / Packet::values;
    static constexpr int writers = ceilDivide(packets, perWarp) < warps ? ceilDivide(packets, perWarp) : warps;
};

// Publishes `units` times `count` rows as packets at `to`, those of a unit in packets of their own; value(row) makes a row's value.
// Warp w takes packets w * perWarp and on. Without a counter the readers look at the packets themselves: inside a group these are few.
template <class Packet, int units, int count, bool isHinted, class Value>
APUS_DEVICE void publish(u8* to, u32 tag, u32* counter, Value value) {
    using P = Publishing<Packet, units, count>;
    constexpr int perUnit = P::perUnit, packets = P::packets, unitsPerWarp = P::unitsPerWarp, perWarp = P::perWarp;
    constexpr bool isWhole = P::isWhole;
    const u32 lane = opaque(threadIdx.x % 32);
    for (int first = threadIdx.x / 32 * perWarp; first < packets; first += warps * perWarp) {
        float gathered[Packet::values];
        if constexpr (isWhole) {
            const u32 row = first / perUnit * count + lane, within = lane % perUnit * Packet::values;
            const float v = lane < unitsPerWarp * count ? value(row) : 0.0f;
#pragma unroll
            for (int j = 0; j < Packet::values; ++j) {
                gathered[j] = __shfl_sync(0xffffffffu, v, lane / perUnit * count + within + j);  // modulo 32
                // Only the last packet of a unit may have fewer rows.
                if ((perUnit - 1) * Packet::values + j >= count && within + j >= count) gathered[j] = 0.0f;
            }
        } else {
            const u32 packet = first + lane / Packet::values, row = packet % perUnit * Packet::values + lane % Packet::values;
            const float v = lane < perWarp * Packet::values && packet < packets && row < count ? value(packet / perUnit * count + row) : 0.0f;
#pragma unroll
            for (int j = 0; j < Packet::values; ++j) gathered[j] = __shfl_sync(0xffffffffu, v, lane * Packet::values + j);
        }
        if (lane < perWarp && first + lane < packets) storePacket(to + (first + lane) * 16, Packet::pack(gathered, tag));
    }
    if constexpr (!isHinted) return;
    // The hint comes after the warp's packets.
    __syncwarp();
    if (threadIdx.x % 32 == 0 && threadIdx.x < P::writers * 32) counterAdd(counter, 1);
}

}  // namespace apus
