// Which positions of the cache a block attends to.
#pragma once
#include "Decode/State.cuh"

namespace apus {

constexpr int tileRows = 16, blockRows = tileRows * warps;  // positions of a warp and of a block in one go
constexpr u32 rowElements = keyHeads * headSize;  // of the cache; a cache has fewer than 2^32 elements

// Where long runs are read through the ring: a row has whole runs of 128 bytes.
constexpr int rowBytes = headSize * static_cast<int>(sizeof(CacheElement));
constexpr bool hasCacheRing = hasRing && rowBytes % 128 == 0;

// Where runs of a tile a warp come through shared memory: a row of keys or of values lies there as runs of 128 bytes, their units of 16 swizzled.
constexpr bool hasStage = DECODE_STAGE && hasCacheRing && positions == 1;
constexpr int stageBytes = hasStage ? 2 * blockRows * rowBytes : 0;

#ifndef DECODE_LONG  // positions of a block from which on they come through the ring; without one, and with several positions a step, a tile a warp
#define DECODE_LONG (hasCacheRing && !hasStage && DECODE_POSITIONS == 1 ? blockRows / 2 : blockRows)
#endif
constexpr int longRows = DECODE_LONG;
static_assert(longRows <= blockRows, "a run in registers has a tile a warp");
static_assert(!hasRing || (DECODE_CACHE_EARLY <= ringSlots && DECODE_CACHE_FLIGHT <= ringSlots), "a slot is waited for before it is filled again");

// How a block attends: to all positions, or in a pair to a half of them, a tile a warp; to a run of them, a tile a warp; to more than that, or a run
// that comes through the ring.
enum class Run { whole, part, tiles };

// The positions of a block in one layer; the token's own is the last of all.
struct Span {
    int from, to, parts;  // parts of the whole group
    bool isPart;          // whether the block attends to anything
    Run run;

    __device__ __forceinline__ Span(const Arguments& a, int window, int position, int member) {
        const int first = window > 0 && position >= window ? position - window + 1 : 0, count = position + 1 - first;
        from = first, to = position + 1, parts = 1, isPart = true, run = count > blockRows ? Run::tiles : Run::whole;
        if (count <= a.fullSplits || count <= tileRows || maximumSplits == 1) return;
        // Whole tiles, so that only the last of them is short.
        if (hasPairs && count <= DECODE_PAIR_ROWS) {
            const int half = ceilDivide(count, 2 * tileRows) * tileRows;
            parts = 2, run = half > blockRows ? Run::tiles : Run::whole;
            if (member % 2 == 0) to = first + half;
            else from = first + half;
            return;
        }
        const int each = ceilDivide(count, maximumSplits * tileRows) * tileRows;
        parts = maximumSplits, isPart = member < maximumSplits, run = each > longRows ? Run::tiles : Run::part;
        from = first + member * each;
        to = from + each <= position ? from + each : position + 1;
        if (from > to) from = to;
    }
};

// Rows of a run that are staged, a tile a warp. Its last but one was written by the step before, which staging runs ahead of.
APUS_DEVICE int stagedRows(const Span& span, int position) {
    const int end = span.to < position - 1 ? span.to : position - 1, rows = span.isPart && end > span.from ? end - span.from : 0;
    return rows < blockRows ? rows : blockRows;
}

// A chunk of the cache holds whole tiles of keys or of values, a round a tile of each warp.
constexpr int chunkTiles = chunkBytes / (tileRows * rowBytes), chunkRows = chunkTiles * tileRows;
constexpr int roundChunks = ceilDivide(warps, chunkTiles);  // of keys, and of values
static_assert(chunkTiles >= 1, "a chunk holds a tile");
#ifndef DECODE_BOX  // rows of a copy out of the cache
#define DECODE_BOX (chunkRows < 32 ? chunkRows : 32)
#endif
constexpr int boxRows = DECODE_BOX;
static_assert(chunkRows % boxRows == 0, "a chunk holds whole copies");
APUS_DEVICE int chunksOf(int rows) { return rows >= blockRows ? roundChunks : ceilDivide(rows, chunkRows); }

}  // namespace apus
