// Which positions of the cache a block attends to.
#pragma once
#include "Decode/State.cuh"

namespace apus {

constexpr int tileRows = 16, blockRows = tileRows * warps;  // positions of a warp and of a block in one go
constexpr u32 rowElements = keyHeads * headSize;  // of the cache; a cache has fewer than 2^32 elements

// Where long runs are read through the ring: a row has whole runs of 128 bytes.
constexpr int rowBytes = headSize * static_cast<int>(sizeof(CacheElement));
constexpr bool hasCacheRing = hasRing && rowBytes % 128 == 0;

#ifndef DECODE_LONG  // positions of a block from which on they come through the ring; without one, and with several positions a step, a tile a warp
#define DECODE_LONG (hasCacheRing && DECODE_POSITIONS == 1 ? blockRows / 2 : blockRows)
#endif
constexpr int longRows = DECODE_LONG;
static_assert(longRows <= blockRows, "a run in registers has a tile a warp");
static_assert(!hasRing || (DECODE_CACHE_EARLY <= ringSlots && DECODE_CACHE_FLIGHT <= ringSlots), "a slot is waited for before it is filled again");

// How a block attends: to all positions, a tile a warp; to a run of them, a tile a warp; to more than that, or a run that comes through the ring.
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
        const int each = ceilDivide(count, maximumSplits * tileRows) * tileRows;
        parts = maximumSplits, isPart = member < maximumSplits, run = each > longRows ? Run::tiles : Run::part;
        from = first + member * each;
        to = from + each <= position ? from + each : position + 1;
        if (from > to) from = to;
    }
};

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
