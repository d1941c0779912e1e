// The kernel of whole layers (LayerHopper.cu): its shape, its arguments, and the list of tiles that its blocks walk.
#pragma once
#include "apus_constants.h"
#include "Common/Math.cuh"
#include "Common/TensorCopy.cuh"

#ifndef LAYER_COLUMNS  // C
#define LAYER_COLUMNS 640
#endif
#ifndef LAYER_ATTENDED  // A
#define LAYER_ATTENDED 1024
#endif
#ifndef LAYER_GATED  // I
#define LAYER_GATED 2048
#endif
#ifndef LAYER_PROJECTED  // P
#define LAYER_PROJECTED 1536
#endif
#ifndef LAYER_HEAD
#define LAYER_HEAD 256
#endif
#ifndef LAYER_QUERY_HEADS  // of the projection
#define LAYER_QUERY_HEADS 4
#endif
#ifndef LAYER_KEY_HEADS
#define LAYER_KEY_HEADS 1
#endif
#ifndef LAYER_ACTIVATION  // 1 silu, 2 gelu-tanh
#define LAYER_ACTIVATION 2
#endif
#ifndef LAYER_TILE
#define LAYER_TILE 160
#endif
#ifndef LAYER_SANDWICH  // 1: a branch has a norm of its own; 0: branch(y) = y
#define LAYER_SANDWICH 1
#endif
#ifndef LAYER_CLUSTER  // blocks that share the tiles of the right operand by multicast: two rows of tiles each
#define LAYER_CLUSTER 2
#endif
#ifndef LAYER_BLOCK
#define LAYER_BLOCK 512
#endif

namespace apus {

constexpr int stages = 4, stageBytes = 40960, buffers = 3, bufferBytes = 8192, stagingBytes = buffers * bufferBytes;  // staging: a warpgroup's
constexpr int tileC = LAYER_TILE, tilesC = ceilDivide(LAYER_COLUMNS, tileC), tileG = 192, tilesG = ceilDivide(2 * LAYER_GATED, tileG);
constexpr int tileP = 256, tilesP = ceilDivide(LAYER_PROJECTED, tileP);
constexpr int cluster = LAYER_CLUSTER;
constexpr int rowUnits = LAYER_BLOCK / cluster, tilesOfBlock = rowUnits * (2 * tilesC + tilesG + 2 * tilesP);  // tiles of a whole cluster
constexpr Activation activation = static_cast<Activation>(LAYER_ACTIVATION);
constexpr u32 notArrived = 0xffffffffu;  // a packet without a sum
static_assert((128 + tileC) * 128 <= stageBytes && tileC % 32 == 0, "a slot holds a tile of either operand");
static_assert(256 % LAYER_HEAD == 0 && LAYER_HEAD % 16 == 0, "whole heads in a tile of the projection");

struct Maps {
    TensorMap attended, rows, gated, halfRows;                      // left operands
    TensorMap outputWeight, gateUpWeight, downWeight, headsWeight;  // right operands
    TensorMap x, rest, gatedOut, headsOut;                          // of epilogues
};

struct Arguments {
    const float* outputNorm;   // [C], the factor
    const float* downNorm;     // [C]
    float* sums;               // [M, tilesC]
    const float* headWeights;  // [2, D]: queries, keys
    const float* frequencies;  // [D / 2]
    const int* positions;      // [M]
    u32* packets;              // [M, tilesC]
    u32* cleared;              // [M, tilesC]
    u32* done;                 // [3, ceil(M / 128)]
    float eps;
    int m, rowUnits, halfRowUnits, tiles, reserved;  // rows, / (128 * cluster), / (64 * cluster), and tiles of a cluster in all
};

enum Product : int { output = 0, gateUp = 1, down = 2, projection = 3 };

struct Tile {
    int product, row, column;  // row in units of the product's tile
    int steps;
    __device__ __forceinline__ int firstRow() const { return row * (product == projection ? 64 : 128); }
    __device__ __forceinline__ bool addsBranch() const { return product == output || product == down; }
    static __device__ __forceinline__ Tile at(int index, const Arguments& arguments, int rank) {
        const int block = index / tilesOfBlock, first = block * rowUnits;
        const int height = min(rowUnits, arguments.rowUnits - first), halfHeight = min(2 * rowUnits, arguments.halfRowUnits - 2 * first);
        int inside = index - block * tilesOfBlock;
        if (inside < height * tilesC) return {output, (first + inside / tilesC) * cluster + rank, inside % tilesC, LAYER_ATTENDED / 64};
        inside -= height * tilesC;
        if (inside < height * tilesG) return grouped<4 / cluster, tilesG>(gateUp, first, height, inside, rank);
        inside -= height * tilesG;
        if (inside < height * tilesC) return {down, (first + inside / tilesC) * cluster + rank, inside % tilesC, LAYER_GATED / 64};
        inside -= height * tilesC;
        return grouped<8 / cluster, (tilesP ? tilesP : 1)>(projection, 2 * first, halfHeight, inside, rank);
    }
    // Groups of tile rows go through all columns together.
    template <int size, int columns> static __device__ __forceinline__ Tile grouped(int product, int first, int height, int inside, int rank) {
        const int group = inside / (size * columns), left = inside - group * size * columns, rows = min(size, height - group * size);
        const int column = left / rows;
        return {product, (first + group * size + left - column * rows) * cluster + rank, column, LAYER_COLUMNS / 64};
    }
};

struct Ring {
    u32 slot = 0, phase = 0;
    __device__ __forceinline__ void advance(u32 count = 1) {
        const u32 turned = slot + count;
        phase ^= (turned / stages) & 1;
        slot = turned % stages;
    }
};

}  // namespace apus
