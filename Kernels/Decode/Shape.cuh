// Sizes of one model on one device, and how the megakernel and its packing share the work out.
//
// C hidden, I intermediate, H query heads, G key-value heads, D head size, L layers, V vocabulary.
//
// The grid is G groups of S blocks; block b is member b % S of group b / S. A group owns one key-value head with its H / G
// query heads, and the columns of the output matrix that these heads fill. Where there are few key-value heads, several groups
// share each of them: G then counts the groups. Each has a part of the head's queries and makes the head's keys and values for
// itself; the first of them writes these to the cache. For the feed-forward part the same blocks form F groups of G S / F, F at
// most G, each with I / F intermediate channels: the fewer, the fewer partial sums every block reads.
// A layer has four products, each cut over the members of a group:
//
//   input    rows [(H / G + 2) D] of q, k, v          over C columns             whole sums
//   output   rows [C] of o                            over the group's heads     G partial sums a row
//   gated    I / F pairs of gate and up rows          over C columns             whole sums
//   down     rows [C] of down                         over the group's channels  F partial sums a row
//
// Packed weights are 16 KB chunks in the order of use. A chunk holds for each of the 8 warps four 512-byte fragments: the A
// operands of mma m16n8k16, ready for one 16-byte read a lane. A warp owns an eighth of the columns of all rows of a block,
// so its fragments run over (row group, column block); in the head it owns whole row groups. What does not exist is zero.
//
// The vector is the B operand: its column 0 the vector in bf16, column 1 what bf16 lost of it, so that activations have 16 bits
// of mantissa for nothing. In the head two halves of a row lie in one 16-row group (8 rows), and the vector takes four columns.
//
// With DECODE_WEIGHTS 8 the weights are E4M3 codes, times one factor a row: a fragment has 256 bytes and two share a 16-byte read.
// They become f16 on the way to the registers, which holds every code, and the vector's columns are f16 too (Products.cuh).
#pragma once
#include "apus_constants.h"
#include "Common/Types.cuh"

#ifndef DECODE_C
#define DECODE_C 1024
#define DECODE_I 3072
#define DECODE_H 16
#define DECODE_G 8
#define DECODE_D 128
#define DECODE_L 28
#define DECODE_V 151936
#endif
#ifndef DECODE_MEMBERS  // S
#define DECODE_MEMBERS 16
#endif

namespace apus {

#ifndef DECODE_GROUPS  // of blocks, a multiple of the key-value heads
#define DECODE_GROUPS DECODE_G
#endif
constexpr int hidden = DECODE_C, intermediate = DECODE_I, queryHeads = DECODE_H, groups = DECODE_GROUPS, headSize = DECODE_D;
constexpr int keyHeads = DECODE_G, sharers = groups / keyHeads;  // groups of a key-value head
constexpr int layerCount = DECODE_L, vocabulary = DECODE_V, members = DECODE_MEMBERS, blocks = groups * members;
constexpr int keyMembers = members * sharers;  // blocks of a key-value head

#ifndef DECODE_WEIGHTS  // bits of a weight: 16 for bf16, 8 for E4M3
#define DECODE_WEIGHTS 16
#endif
constexpr bool hasCodes = DECODE_WEIGHTS == 8;
#ifndef DECODE_POSITIONS  // positions of a step at most: one, or with guesses (Speculation.cuh) two or four
#define DECODE_POSITIONS 1
#endif
constexpr int positions = DECODE_POSITIONS;
static_assert(hasCodes || DECODE_WEIGHTS == 16, "weights are bf16 or E4M3");
#ifndef DECODE_CACHE  // bits of an element of the cache: 16 for bf16, 8 for E4M3 with an exponent a row (CacheCodes.cuh)
#define DECODE_CACHE 16
#endif
constexpr bool hasCachedCodes = DECODE_CACHE == 8;
static_assert(hasCachedCodes || DECODE_CACHE == 16, "the cache is bf16 or E4M3");
template <bool areCodes> struct CacheElementOf { typedef u16 Type; };
template <> struct CacheElementOf<true> { typedef u8 Type; };
typedef CacheElementOf<hasCachedCodes>::Type CacheElement;
#ifndef DECODE_CHUNK  // fragments of a warp in a chunk
#define DECODE_CHUNK (64 / DECODE_WEIGHTS)
#endif
constexpr int warps = 8, consumers = warps * 32, fragmentBytes = 32 * DECODE_WEIGHTS, chunkFragments = DECODE_CHUNK;
constexpr int chunkBytes = warps * chunkFragments * fragmentBytes;
// Fragments that a lane reads in one piece, 16 bytes.
constexpr int together = 512 / fragmentBytes;
static_assert(chunkFragments % together == 0, "a chunk holds whole reads");

constexpr int headsPerGroup = queryHeads / groups, groupHeadSize = headsPerGroup * headSize;
static_assert(groups % keyHeads == 0 && queryHeads % groups == 0 && intermediate % groups == 0, "groups share the heads and the channels evenly");

// F: a divisor of G, the least from 2 on that pads the rows of down to no more bytes, and leaves a warp no more than 12 blocks of
// their columns. Up to four groups stay as they are: small groups exchange their activations faster than few partial sums are read.
constexpr __host__ __device__ int chooseFeedGroups() {
    for (int f = 2; groups > 4 && f < groups; ++f)
        if (groups % f == 0 && intermediate / f <= 12 * 16 * warps &&
            roundUp(ceilDivide(hidden, blocks / f), 16) * groups <= roundUp(ceilDivide(hidden, members), 16) * f)
            return f;
    return groups;
}
#ifndef DECODE_FEEDS
constexpr int feedGroups = chooseFeedGroups();
#else
constexpr int feedGroups = DECODE_FEEDS;
#endif
constexpr int feedMembers = blocks / feedGroups, feedChannels = intermediate / feedGroups;

// A product of a layer: `rows` rows a block over `columns` columns.
template <int rows_, int columns_> struct Product {
    static constexpr int rows = rows_, columns = columns_;
    static constexpr int rowGroups = ceilDivide(rows, 16), columnBlocks = ceilDivide(columns, 16 * warps);  // of one warp
    static constexpr int fragments = rowGroups * columnBlocks, chunks = ceilDivide(fragments, chunkFragments);
    static constexpr int paddedRows = rowGroups * 16, vectorBytes = columnBlocks * warps * 64;
};

constexpr int inputRows = (headsPerGroup + 2) * headSize / members;
static_assert((headsPerGroup + 2) * headSize % (4 * members) == 0, "a block owns whole packets of q, k, v");
constexpr int pairs = ceilDivide(feedChannels, feedMembers), gatedGroups = ceilDivide(pairs, 8);
// Rows of the residual stream: a block has one unit of them in down, several in output.
constexpr int unitRows = ceilDivide(hidden, feedMembers), outputUnits = groups / feedGroups;

using Input = Product<inputRows, hidden>;
using Output = Product<outputUnits * unitRows, groupHeadSize>;
using Gated = Product<gatedGroups * 16, hidden>;  // 8 gate rows, then the 8 up rows that belong to them
using Down = Product<unitRows, pairs * feedMembers>;
constexpr int layerChunks = Input::chunks + Output::chunks + Gated::chunks + Down::chunks;

// The head: 8 rows a warp and round, all columns.
constexpr int headBlocks = roundUp(ceilDivide(hidden, 32), chunkFragments), headRoundChunks = headBlocks / chunkFragments;
constexpr int headRounds = ceilDivide(vocabulary, 8 * warps * blocks), headChunks = headRounds * headRoundChunks;
constexpr int headVectorBytes = headBlocks * 128;

// Residual stream: packets of six values; packet p of unit u holds values u * unitRows + 6 p and on.
constexpr int unitPackets = ceilDivide(unitRows, 6), residualSlots = feedMembers * unitPackets;
constexpr int slotsPerThread = ceilDivide(residualSlots, consumers);
constexpr int gatedPackets = ceilDivide(pairs, 6);

// Index of a slot's first value, and how many it has.
constexpr __host__ __device__ int slotStart(int slot) { return slot / unitPackets * unitRows + slot % unitPackets * 6; }
constexpr __host__ __device__ int slotCount(int slot) {
    const int inUnit = unitRows - slot % unitPackets * 6, inVector = hidden - slotStart(slot);
    const int count = inUnit < inVector ? inUnit : inVector;
    return count < 0 ? 0 : count > 6 ? 6 : count;
}

// Norm weights in fp32, offset added. A layer's: before attention, before the feed-forward part, then (sandwich) after attention,
// after the feed-forward part, each [residualSlots, 8] in slot order; then query norm [D], key norm [D]. Behind the layers the
// final norm.
#ifndef DECODE_SANDWICH
#define DECODE_SANDWICH 0
#endif
constexpr bool sandwich = DECODE_SANDWICH;
constexpr int normSlots = residualSlots * 8, layerNorms = (sandwich ? 4 : 2) * normSlots + 2 * headSize;

// Factors of the rows of E4M3 weights, behind the norms: [L, blocks, layerScales] for a block's rows of the four products, then [V] for the head.
constexpr int inputScales = 0, outputScales = inputScales + Input::paddedRows, gatedScales = outputScales + Output::paddedRows;
constexpr int downScales = gatedScales + Gated::paddedRows, layerScales = hasCodes ? downScales + Down::paddedRows : 0;
constexpr int scalesAt = layerCount * layerNorms + normSlots;
constexpr int headScalesAt = scalesAt + layerCount * blocks * layerScales, normFloats = headScalesAt + (hasCodes ? vocabulary : 0);

// Exchange area, in 16-byte packets: counters first, zeroed before every launch.
constexpr int maximumSplits = members < 16 ? members : 16;
constexpr int splitPackets = groupHeadSize / 4;
constexpr int counterLines = 3 + feedGroups;  // 128 bytes each: attended, added, choice; gated of each group
constexpr int inputAt = counterLines * 8, splitAt = inputAt + groups * members * inputRows / 4;
constexpr int gatedAt = splitAt + groups * maximumSplits * splitPackets, attendedAt = gatedAt + blocks * gatedPackets;
constexpr int addedAt = attendedAt + groups * residualSlots, choiceAt = addedAt + feedGroups * residualSlots;
constexpr int exchangePackets = choiceAt + blocks;

}  // namespace apus
