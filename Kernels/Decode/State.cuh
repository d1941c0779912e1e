// What a block of the megakernel keeps: arguments, shared memory, bounded waits.
#pragma once
#include "Common/Barrier.cuh"
#include "Common/Exchange.cuh"
#include "Common/Math.cuh"
#include "Common/TensorCopy.cuh"
#include "Common/WarpMMA.cuh"
#include "Decode/Shape.cuh"

#ifndef DECODE_RING  // 1: sm_90, weights through shared memory; 0: from global memory to registers, sm_80 and up
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ == 900
#define DECODE_RING 1
#else
#define DECODE_RING 0
#endif
#endif
#ifndef DECODE_SLOTS  // chunks in the ring
#define DECODE_SLOTS 12
#endif
#ifndef DECODE_FLIGHT  // chunks on their way at most, in the layers and in the head
#define DECODE_FLIGHT 2
#endif
#ifndef DECODE_PACE  // clocks from one chunk of a layer to the next at least, where the exchanges set the speed
#define DECODE_PACE (DECODE_FLIGHT * chunkBytes <= 32768 ? 800 * chunkBytes / 16384 : 0)
#endif
#ifndef DECODE_PIECE  // bytes of a copy of a layer's weights; where a chunk of codes comes in pieces, one more chunk is on its way
#define DECODE_PIECE (DECODE_STAGE && DECODE_POSITIONS == 1 && DECODE_WEIGHTS == 8 && DECODE_CACHE == 16 && chunkBytes == 16384 ? 4096 : chunkBytes)
#endif
#ifndef DECODE_LONG_FLIGHT  // chunks on their way in layers whose cache comes through the ring, behind what is staged
#define DECODE_LONG_FLIGHT \
    (DECODE_STAGE && DECODE_POSITIONS == 1 && DECODE_WEIGHTS == 16 && DECODE_FLIGHT * chunkBytes < 49152 ? withinRing(49152 / chunkBytes) : layerFlight)
#endif
#ifndef DECODE_SPLIT_PACE  // clocks from one chunk to the next where up to 512 positions are shared out in a group
#define DECODE_SPLIT_PACE (DECODE_STAGE && DECODE_POSITIONS == 1 && DECODE_WEIGHTS == 16 && DECODE_CACHE == 16 && DECODE_PACE == 800 ? 925 : DECODE_PACE)
#endif
#ifndef DECODE_PIECE_PACE  // the same for chunks in pieces, but where the cache comes through the ring
#define DECODE_PIECE_PACE (DECODE_PACE * 3 / 2)
#endif
#ifndef DECODE_CACHE_EARLY  // the same for rows of the cache: for the first of a layer, which come while exchanges are waited for
#define DECODE_CACHE_BYTES (DECODE_CACHE == 8 ? 32768 : 49152)
#define DECODE_CACHE_EARLY (DECODE_FLIGHT * chunkBytes < DECODE_CACHE_BYTES ? withinRing(DECODE_CACHE_BYTES / chunkBytes) : DECODE_FLIGHT)
#endif
#ifndef DECODE_CACHE_FLIGHT  // and for those behind them
#define DECODE_CACHE_FLIGHT withinRing(65536 / chunkBytes)
#endif
#ifndef DECODE_HEAD_FLIGHT
#define DECODE_HEAD_FLIGHT 8
#endif
#ifndef DECODE_PRELOAD  // fragments of a product that wait in registers for the vector
#define DECODE_PRELOAD 24
#endif
#ifndef DECODE_EARLY_PRELOAD  // those of them that are taken before the exchange, the rest as soon as registers are free again
#define DECODE_EARLY_PRELOAD (DECODE_POSITIONS == 4 ? 4 : DECODE_POSITIONS == 2 ? (DECODE_RING && DECODE_D <= 128 ? DECODE_PRELOAD : 8) : DECODE_RING ? 16 : 12)
#endif
#ifndef DECODE_OUTPUT_PRELOAD
#define DECODE_OUTPUT_PRELOAD 8
#endif
#ifndef DECODE_ACTIVATION
#define DECODE_ACTIVATION 1
#endif
#ifndef DECODE_EPSILON
#define DECODE_EPSILON 1e-6f
#endif
#ifndef DECODE_SCALE  // factor on q k
#define DECODE_SCALE 0.08838834764831845f
#endif
#ifndef DECODE_CLUSTER  // blocks of a cluster: 2 lets neighbours exchange parts of an attention through shared memory (Pairs.cuh)
#define DECODE_CLUSTER 1
#endif
#ifndef DECODE_PAIR_ROWS  // positions up to which two such blocks share the attention
#define DECODE_PAIR_ROWS 256
#endif
#ifndef DECODE_STAGE  // 1: runs of a tile a warp come to shared memory a layer ahead (Stage.cuh)
#define DECODE_STAGE 0
#endif
#ifndef DECODE_STAGE_PACE  // clocks from one copy of 32 rows' 128 bytes to the next at least
#define DECODE_STAGE_PACE 300
#endif
#ifndef DECODE_LIMIT  // clocks that a wait may take
#define DECODE_LIMIT 2000000000u
#endif
#ifndef DECODE_EARLY  // arrivals that a reader of all blocks' packets does not wait for
#define DECODE_EARLY (DECODE_STAGE && DECODE_POSITIONS == 1 && blocks >= 128 ? 32 : 16)
#endif
#ifndef DECODE_GATED_EARLY  // the same for a reader of activations, where these have a counter
#define DECODE_GATED_EARLY 8
#endif

namespace apus {

// Few activations from few blocks are looked at as they come; from many, a counter says when.
constexpr bool gatedHint = feedGroups < groups;
constexpr int ringSlots = DECODE_SLOTS;
constexpr __host__ __device__ int withinRing(int chunks) { return chunks < ringSlots ? chunks : ringSlots; }
constexpr int pieces = DECODE_PACE > 0 && DECODE_PIECE < chunkBytes ? chunkBytes / (DECODE_PIECE) : 1, pieceBytes = chunkBytes / pieces;
constexpr int layerFlight = DECODE_FLIGHT + (pieces > 1 ? 1 : 0), longFlight = DECODE_LONG_FLIGHT;
constexpr bool hasRing = DECODE_RING;
static_assert(!hasRing || (layerFlight <= ringSlots && longFlight <= ringSlots && DECODE_HEAD_FLIGHT <= ringSlots), "a slot is waited for before it is filled again");
// With a ring a third warpgroup holds the producer; it hands its registers to the consumers.
constexpr int threads = consumers + (hasRing ? 128 : 0);

// Where a wait was given up; the error word is code | layer << 8 | block << 16.
enum class Wait : u32 { none, chunk, input, split, attended, gated, added, choice };

struct LayerInfo {
    i32 window;  // key j is seen from position i when i - j < window; 0 for no limit
    i32 rope;    // row of the table of inverse frequencies
};

constexpr int maximumStops = 16, ropeKinds = 2;

struct Arguments {
    const u8* layers;                 // [L, blocks, layerChunks, 16 KB]
    const u8* head;                   // [blocks, headChunks, 16 KB]
    const u16* embedding;             // [V, C] bf16
    const float* norms;               // [L, layerNorms] and the final norm [normSlots]
    const LayerInfo* infos;           // [L]
    const float* inverseFrequencies;  // [ropeKinds, D / 2]
    CacheElement* const* cache;       // [L, 2]: keys and values, each [capacity, G, D] bf16 or E4M3 codes
    u8* exchange;                     // exchangePackets, zeroed
    float* logits;                    // [steps, V] where wanted, else null
    const i32* forced;                // [forcedCount] tokens that are given; at least the first
    i32* chosen;                      // [steps] the likeliest token behind every step
    u64* handed;                      // mapped host memory [handedCount]: token | (step + 1) << 32, or null
    const u32* stop;                  // mapped host memory, not zero: end after this step; or null
    u32* error;                       // first wait given up, else 0
    u8* cacheExponents;               // of rows of codes: [L, 2, cacheCapacity, G]; else null
    i64 logitStride;                  // elements from one step's logits to the next; 0 keeps the last
    i32 handedCount, forcedCount, position, steps, firstHead, stopCount;
    i32 fullSplits;                   // cached positions up to which every block attends to all of them
    float embeddingScale;
    i32 sampleable;                   // rows of the head that may be chosen: those below
    i32 cacheCapacity;                // positions that the cache has room for, where its rows are codes
    i32 stops[maximumStops];
};

struct Choice { float value; i32 id; };

// A row of the cache in shared memory: its elements and, behind codes, the exponent's byte.
constexpr int keptElements = hasCachedCodes ? headSize + 16 : headSize;

// Floats from one row's sums of the warps to the next row's: 16-byte reads of eight neighbouring rows meet in no bank.
constexpr int partialStride = 12;
static_assert(warps == 8, "a row's sums are two 16-byte reads");

// The warps' parts of an attention: their sums of values, not normed, and of every head the largest score and the sum of weights.
template <int count> struct Parts {
    alignas(16) float values[count][groupHeadSize];
    alignas(16) float most[headsPerGroup][count];
    alignas(16) float sums[headsPerGroup][count];
};

// With several positions most of this lies in SpeculationState.cuh instead.
constexpr bool isPlain = positions == 1;

// What a warp multiplies by in the output product, and so all that it has to know of an attention's result: `warpColumns` columns, of one head.
constexpr int warpColumns = Output::columnBlocks * 16, laneColumns = warpColumns > 32 ? warpColumns / 32 : 1;
static_assert(headSize % warpColumns == 0, "the columns of a warp belong to one head");

// What the other block of a pair sends: each lane its columns, and the logarithm of the part's sum.
constexpr bool hasPairs = DECODE_CLUSTER == 2;
static_assert(!hasPairs || (hasRing && members % 2 == 0 && members > 2), "pairs of blocks, of one group");
constexpr int pairFloats = laneColumns == 1 ? 2 : laneColumns + 4 & ~3;
struct Pair {
    static constexpr int count = hasPairs ? warps * positions : 1;
    alignas(16) float parts[count][hasPairs ? 32 : 1][pairFloats];
    alignas(8) u64 ready[count];
    u32 turns[count];
};

constexpr __host__ __device__ int larger(int a, int b) { return a > b ? a : b; }
constexpr int productRows = larger(larger(Input::paddedRows, Output::paddedRows), Gated::paddedRows);
static_assert(Down::paddedRows <= productRows, "the sums of down's rows have room");
constexpr int vectorBytes = larger(larger(Input::vectorBytes, headVectorBytes), larger(Output::vectorBytes, Down::vectorBytes));
// Whether every vector fills its product's columns. Where one does not, the zeros behind it have to stay.
constexpr bool vectorIsWhole = hidden % 128 == 0 && headBlocks * 32 == hidden && pairs * feedMembers % 128 == 0;

// A product's sums [row, warp], and what an attention keeps of its token.
template <bool isApart> struct Sums {
    alignas(16) float partial[isPlain ? productRows * partialStride : 1];
    alignas(16) u16 queries[isPlain ? headsPerGroup : 1][2][headSize];  // of this token, after norm and rope: in bf16, and what that lost
    alignas(16) CacheElement key[keptElements], value[keptElements];  // as the cache gets them
    alignas(16) CacheElement lastKey[isPlain ? headSize : 8], lastValue[isPlain ? headSize : 8];  // of the token before
};
// The same where the token's vectors lie behind the sums of the input product, in place of the sums of later ones.
template <> struct Sums<false> {
    union {
        alignas(16) float partial[isPlain ? productRows * partialStride : 1];
        struct {
            alignas(16) float inputSums[isPlain ? Input::paddedRows * partialStride : 1];
            alignas(16) u16 queries[isPlain ? headsPerGroup : 1][2][headSize];
            alignas(16) CacheElement key[keptElements], value[keptElements];
            alignas(16) CacheElement lastKey[isPlain ? headSize : 8], lastValue[isPlain ? headSize : 8];
        };
    };
};

struct alignas(128) Shared : Sums<(headSize > 128)> {
    alignas(8) u64 full[ringSlots], empty[ringSlots];
    float factors[2][hasCodes ? layerScales : 1];  // of the rows' E4M3 codes, of even and of odd layers
    alignas(16) float squares[DECODE_SANDWICH ? 2 : 1][warps];  // of the stream; of a branch that has a norm of its own
    Float2 rope[ropeKinds][isPlain ? headSize / 2 : 1];  // cosine, sine
    Choice choices[warps];
    int bad[warps];
    LayerInfo infos[layerCount];
    CacheElement* cache[layerCount][2];
    volatile u32 dead;  // where a wait was given up and in which layer, else 0
    volatile int finished;
    volatile int stepsDone;
    int token, stopped;
    // B operands. During an attention only the columns that it will be multiplied by; behind them the warps' parts of it.
    union {
        alignas(16) u8 vector[isPlain ? vectorBytes : 16];
        struct {
            alignas(16) u8 attendedColumns[!isPlain ? 16 : vectorIsWhole ? Output::vectorBytes : vectorBytes];
            Parts<isPlain ? warps : 1> attended;
        };
    };
    Pair pair;
    u64 staged, unstaged;  // barriers of Stage.cuh
};

// Volatile: what follows from them is not worth a register all through the layers.
APUS_DEVICE u32 opaque(u32 value) {
    asm volatile("mov.u32 %0, %1;" : "=r"(value) : "r"(value));
    return value;
}
template <class T> APUS_DEVICE T* opaque(T* value) {
    asm volatile("mov.u64 %0, %1;" : "=l"(value) : "l"(value));
    return value;
}
APUS_DEVICE u32 threadIndex() { return opaque(threadIdx.x); }
APUS_DEVICE u32 blockIndex() { return opaque(blockIdx.x); }
// Bounds a wait by the clock; when it is over the block is marked, and every later wait of it ends at once.
struct Patience {
    u32 start = ticks();
    __device__ __forceinline__ bool isOver(Shared& shared, Wait where, int layer) {
        if (shared.dead != 0) return true;
        if (ticks() - start < DECODE_LIMIT) return false;
        shared.dead = static_cast<u32>(where) | layer << 8;
        return true;
    }
};

APUS_DEVICE void waitBarrier(u32 barrier, u32 parity, Shared& shared, Wait where, int layer) {
    if (barrierTry(barrier, parity)) return;
    Patience patience;
    while (!barrierTry(barrier, parity) && !patience.isOver(shared, where, layer)) {}
}

APUS_DEVICE void syncConsumers() { namedSync(1, consumers); }
// True in all threads when it is true in one of them.
APUS_DEVICE bool syncAny(bool value) {
    u32 result;
    asm volatile("{.reg .pred p, q;\n setp.ne.u32 p, %1, 0;\n barrier.cta.red.or.pred q, 1, %2, p;\n selp.u32 %0, 1, 0, q;}"
                 : "=r"(result) : "r"(static_cast<u32>(value)), "n"(consumers) : "memory");
    return result;
}

// Waits until the counter says that `target` arrivals are there. A hint: what arrived is checked by its tags.
APUS_DEVICE void waitHint(const u32* counter, u32 target, Shared& shared, Wait where, int layer) {
    Patience patience;
    while (static_cast<i32>(counterLoad(counter) - target) < 0 && !patience.isOver(shared, where, layer)) {}
}
// All threads wait; one looks.
APUS_DEVICE void waitHintAll(const u32* counter, u32 target, Shared& shared, Wait where, int layer) {
    if (threadIdx.x == 0) waitHint(counter, target, shared, where, layer);
    syncConsumers();
}
// Loads those of `count` packets, `stride` bytes apart, again that do not carry the tag, until all do.
template <class Packet, int count>
APUS_DEVICE void confirm(Vec4 (&packets)[count], const u8* at, int stride, u32 tag, Shared& shared, Wait where, int layer) {
    u32 wrong = 0;
#pragma unroll
    for (int i = 0; i < count; ++i) wrong |= Packet::mismatch(packets[i], tag);
    if (wrong == 0) return;
    Patience patience;
    do {
        wrong = 0;
#pragma unroll
        for (int i = 0; i < count; ++i)
            if (Packet::mismatch(packets[i], tag) != 0) packets[i] = loadPacket(at + i * stride);
#pragma unroll
        for (int i = 0; i < count; ++i) wrong |= Packet::mismatch(packets[i], tag);
    } while (wrong != 0 && !patience.isOver(shared, where, layer));
}
template <class Packet, int count>
APUS_DEVICE void receive(Vec4 (&packets)[count], const u8* at, int stride, u32 tag, Shared& shared, Wait where, int layer) {
#pragma unroll
    for (int i = 0; i < count; ++i) packets[i] = loadPacket(at + i * stride);
    confirm<Packet>(packets, at, stride, tag, shared, where, layer);
}

}  // namespace apus
