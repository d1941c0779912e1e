// What lies between two attentions of a transformer, for all rows of a pass in one launch; Hopper (sm_90a), bf16 in, fp32 sums.
//
//   output      x += branch(attended * Wo^T)                              branch(y) = y * rsqrt(mean(y^2) + eps) * w over a row, or y,
//   gate, up    gated = act(g) * u,  [g, u] = norm(x) * Wgu^T              norm(x) = x * rsqrt(mean(x^2) + eps), its weight folded into
//   down        x += branch(gated * Wd^T)                                  the matrix behind it
//   projection  heads = norm(x) * Wqkv^T of the layer behind, queries and keys normed and rotated  (LAYER_PROJECTED 0: left out)
//
// with the formulas, types and tensors of Operators/GemmHopper.cu: GEMM_POST_NORM, GEMM_GATED and GEMM_ROW_SCALE 3, GEMM_HEAD and GEMM_ROW_SCALE 3.
// x is fp32 in two 16-bit tensors (splitHalves, Common/Types.cuh), `sums` [M, parts] the squares of its rows by column tiles of LAYER_TILE.
//
// Mapping. A persistent grid, a block an SM, walks one list of tiles: LAYER_BLOCK row tiles (of 128 rows) of output, then the same rows of
// gate and up, of down, of the projection, then the next LAYER_BLOCK. Block b takes tiles b, b + grid, ... in order. Two warpgroups take a
// block's tiles in turn, so that one's epilogue hides behind the other's products, across the borders of products too. The third has
// a warp for each of what must not stand in their way: one keeps a ring of 4 slots full through the copy engine; one looks, ahead of it, whether
// the row of a tile has all its tiles of the product before (counted in `done`), and works out the factors of its rows' norms; one for each
// warpgroup fetches residuals, sends results out and counts finished tiles. Two blocks of a cluster take two rows of tiles in step, and each fetches
// half of the weights' tile for both. Results pass through three buffers of 8 KB a warpgroup: `open` says that one may be filled (its residual has
// come), `staged` that it is.
// What a tile needs has a smaller number, so that the first unfinished tile can always go on: no deadlock while all blocks are resident. By the
// order of the list it ended long ago, but at the very edges.
//
// Tiles: output and down 128 x LAYER_TILE, gate and up 128 x 192, projection 64 x 256.
//
// Roof: products 2 M (C A + 3 C I + C P) / 989 TFLOP/s. Figures: docs/prefill.md.
//
// Launch. Entry apus_layer_hopper; block 384; clusters of LAYER_CLUSTER; grid LAYER_CLUSTER * min(clusters that are resident at once, Arguments::tiles);
// dynamic shared memory 1024 + 4 * 40960 + 2 * 24576 + 256 + 8 * LAYER_TILE + 1024 + 10 * LAYER_HEAD. Programmatic stream serialisation is honoured.
// `done` [3, rowUnits * LAYER_CLUSTER] uint32, zeros at the start. packets and cleared as in GemmHopper.cu, as the output product takes them; down takes
// them the other way round, so that all is ones again at the end. attended, gated and heads must not overlap.
// Maps, 16-bit, L2 promotion 256: attended [M, A], x [M, C], gated [M, I] box {64, 128}, x again box {64, 64}, weights box {64, tile columns /
// LAYER_CLUSTER}, all swizzle 128; for epilogues x, rest, gated box {32, 64}, swizzle 64, heads box {64, 64}, swizzle 128.

#if defined(__CUDA_ARCH__) && !defined(__CUDA_ARCH_FEAT_SM90_ALL)
#error "compile for sm_90a"
#endif

#include "apus_constants.h"
#include "Common/Math.cuh"
#include "Common/TensorCopy.cuh"
#include "Common/WarpMMA.cuh"
#include "Common/WarpgroupMMA.cuh"

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

APUS_DEVICE u32 loadAcquire(const u32* p) { u32 v; asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(v) : "l"(p) : "memory"); return v; }
APUS_DEVICE void fenceAsyncProxy() { asm volatile("fence.proxy.async;" ::: "memory"); }

// Factor of a row's norm out of its sums, which another block may have written in this launch.
APUS_DEVICE float rowFactor(const Arguments& arguments, int row) {
    const float* sums = arguments.sums + static_cast<i64>(min(row, arguments.m - 1)) * tilesC;
    float sum = 0.0f;
    if constexpr (tilesC == 4) {
        float x, y, z, w;
        asm volatile("ld.relaxed.gpu.global.v4.f32 {%0, %1, %2, %3}, [%4];" : "=f"(x), "=f"(y), "=f"(z), "=f"(w) : "l"(sums) : "memory");
        sum = (x + y) + (z + w);
    } else {
#pragma unroll
        for (int i = 0; i < tilesC; ++i) {
            float x;
            asm volatile("ld.relaxed.gpu.global.f32 %0, [%1];" : "=f"(x) : "l"(sums + i) : "memory");
            sum += x;
        }
    }
    return rsqrtf(sum * (1.0f / LAYER_COLUMNS) + arguments.eps);
}

// The three buffers that a warpgroup's results pass through, as the two sides of them count.
struct Staging {
    u32 base, open, staged;  // addresses; three barriers of each kind
    u32 buffer = 0, phase = 0;
    __device__ __forceinline__ u32 address() const { return base + buffer * bufferBytes; }
    __device__ __forceinline__ void advance() {
        if (++buffer == buffers) { buffer = 0; phase ^= 1; }
    }
};

struct Consumer {
    const Maps& maps;
    const Arguments& arguments;
    u32 slots, full, empty, weights, constants, factors, factorsBarrier, factorsPhase;
    Staging staging;
    int group, warp, lane;

    __device__ __forceinline__ u32 take() const {
        barrierWait(staging.open + 8 * staging.buffer, staging.phase);
        return staging.address();
    }
    __device__ __forceinline__ void give() {
        fenceToAsyncProxy();
        __syncwarp();
        if (lane == 0) barrierArrive(staging.staged + 8 * staging.buffer);
        staging.advance();
    }

    // A tile's products: blocks of 64 rows times n columns.
    template <int blocks, int n> __device__ __forceinline__ void multiply(float (&acc)[blocks][n / 2], Ring& ring, int steps) {
        // Zeros, and not the first product's flag: registers that seem to be read before they are written would live through the other products.
#pragma unroll
        for (int mb = 0; mb < blocks; ++mb)
#pragma unroll
            for (int i = 0; i < n / 2; ++i) acc[mb][i] = 0.0f;
        namedSync(1 + group, 256);
        u32 previous = 0;
        for (int step = 0; step < steps; ++step) {
            barrierWait(full + 8 * ring.slot, ring.phase);
            const u64 a = descriptorKMajor(slots + ring.slot * stageBytes), b = descriptorKMajor(slots + ring.slot * stageBytes + blocks * 8192);
            mmaFence();
#pragma unroll
            for (int kk = 0; kk < 4; ++kk)
#pragma unroll
                for (int mb = 0; mb < blocks; ++mb)
                    mmaShared<n, DType::bf16>(acc[mb], a + mb * 512 + kk * 2, b + kk * 2, 1);
            mmaCommit();
            if (step > 0) {
                mmaWait<1>();
                release(previous);
            }
            previous = ring.slot;
            ring.advance();
        }
        namedArrive(2 - group, 256);
        mmaWait<0>();
#pragma unroll
        for (int mb = 0; mb < blocks; ++mb) pin(acc[mb]);
        release(previous);
    }
    // A slot may be filled again when the warpgroup has read it, in all blocks that its data goes to.
    __device__ __forceinline__ void release(u32 slot) const {
        if constexpr (cluster > 1) {
            if (lane < cluster) barrierArriveRemote(empty + 8 * slot, lane);
        } else {
            if (lane == 0) barrierArrive(empty + 8 * slot);
        }
    }
    // Factors of the norms of this tile's rows, which the looking warp leaves.
    template <int count> __device__ __forceinline__ void takeFactors(float (&factor)[count]) {
        barrierWait(factorsBarrier, factorsPhase);
        factorsPhase ^= 1;
#pragma unroll
        for (int i = 0; i < count; ++i) {
            const int row = i / 2 * 64 + warp * 16 + lane / 4 + 8 * (i % 2);
            asm volatile("ld.shared.f32 %0, [%1];" : "=f"(factor[i]) : "r"(factors + 4 * row) : "memory");
        }
        __syncwarp();
        if (lane == 0) barrierArrive(factorsBarrier + 8);
    }

    __device__ __forceinline__ u32 fragment(u32 base, int b) const {  // of a chunk of 32 columns, step b of 16
        return base + swizzled<64>(warp * 16 + ((lane >> 3) & 1) * 8 + (lane & 7), b + (lane >> 4));
    }
    __device__ __forceinline__ Float2 pairAt(u32 base, int index) const {
        const Vec2 v = loadShared8(base + 4 * index);
        return {asFloat(v.x), asFloat(v.y)};
    }
    // ---- output and down: 128 x tileC; a buffer holds 32 columns of both halves of the residual ----

    __device__ __forceinline__ void addBranch(const Tile& tile, Ring& ring) {
        constexpr int across = tileC / 32;
        const int firstRow = tile.row * 128;
        const bool isDown = tile.product == down;
        u32* const packets = isDown ? arguments.cleared : arguments.packets;
        u32* const cleared = isDown ? arguments.packets : arguments.cleared;
        float acc[2][tileC / 2];
        multiply<2, tileC>(acc, ring, tile.steps);
        if (LAYER_SANDWICH) publish(acc, packets, cleared, firstRow, tile.column);
        float scale[2], squares[2];
#pragma unroll
        for (int chunk = 0; chunk < 2 * across; ++chunk) {
            const int mb = chunk / across, inside = chunk % across;
            if (inside == 0) {
                scale[0] = scale[1] = 1.0f;
                if (LAYER_SANDWICH) collect(scale, packets, firstRow + mb * 64 + warp * 16 + lane / 4);
                squares[0] = squares[1] = 0.0f;
            }
            const u32 base = take();
            // All of a buffer is read before any of it is written, so that the reads' latency shows once.
            u32 high[2][4], rest[2][4];
            Float2 w[4];
#pragma unroll
            for (int step = 0; step < 2; ++step) {
                loadMatrix4(high[step], fragment(base, 2 * step));
                loadMatrix4(rest[step], fragment(base, 2 * step) + bufferBytes / 2);
            }
#pragma unroll
            for (int b = 0; b < 4; ++b) w[b] = LAYER_SANDWICH ? pairAt(weights, inside * 32 + 8 * b + 2 * (lane % 4)) : Float2{1.0f, 1.0f};
#pragma unroll
            for (int step = 0; step < 2; ++step)
#pragma unroll
                for (int part = 0; part < 4; ++part) {
                    const int half = part & 1, b = 2 * step + part / 2, at = 4 * (inside * 4 + b) + 2 * half;
                    Float2 v = joinHalves(high[step][part], rest[step][part]);
                    v = {fmaf(acc[mb][at] * scale[half], w[b].x, v.x), fmaf(acc[mb][at + 1] * scale[half], w[b].y, v.y)};
                    squares[half] += v.x * v.x + v.y * v.y;
                    splitHalves(v, high[step][part], rest[step][part]);
                }
#pragma unroll
            for (int step = 0; step < 2; ++step) {
                storeMatrix4(fragment(base, 2 * step), high[step][0], high[step][1], high[step][2], high[step][3]);
                storeMatrix4(fragment(base, 2 * step) + bufferBytes / 2, rest[step][0], rest[step][1], rest[step][2], rest[step][3]);
            }
            if (inside == across - 1) {
#pragma unroll
                for (int half = 0; half < 2; ++half) {
                    const float sum = groupSum<4>(squares[half]);
                    const int row = firstRow + mb * 64 + warp * 16 + lane / 4 + 8 * half;
                    if (lane % 4 == 0 && row < arguments.m) arguments.sums[static_cast<i64>(row) * tilesC + tile.column] = sum;
                }
            }
            give();
        }
    }

    // Sums of squares of this tile's rows go out to the row's other tiles.
    __device__ __forceinline__ void publish(const float (&acc)[2][tileC / 2], u32* packets, u32* cleared, int firstRow, int column) const {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const int mb = i / 2, half = i % 2, row = firstRow + mb * 64 + warp * 16 + lane / 4 + 8 * half;
            float squares = 0.0f;
#pragma unroll
            for (int j = 0; j < tileC / 2; j += 4) {
                const float x = acc[mb][j + 2 * half], y = acc[mb][j + 2 * half + 1];
                squares += x * x + y * y;
            }
            const u32 bits = asBits(groupSum<4>(squares)), at = row * tilesC + column;
            if (lane % 4 == 0 && row < arguments.m) {
                asm volatile("st.relaxed.gpu.global.u32 [%0], %1;" ::"l"(packets + at), "r"(bits == notArrived ? 0x7fc00000u : bits) : "memory");
                cleared[at] = notArrived;
            }
        }
    }

    // The sums over all tiles of two rows, eight apart, as they arrive, made factors.
    __device__ __forceinline__ void collect(float (&factor)[2], const u32* packets, int row) const {
        float sum[2] = {0.0f, 0.0f};
        for (int tile = lane % 4; tile < tilesC; tile += 4) {
            u32 bits[2] = {row < arguments.m ? notArrived : 0u, row + 8 < arguments.m ? notArrived : 0u};
            for (u32 tries = 0; bits[0] == notArrived || bits[1] == notArrived; ++tries) {
#pragma unroll
                for (int half = 0; half < 2; ++half)
                    if (bits[half] == notArrived)
                        asm volatile("ld.relaxed.gpu.global.u32 %0, [%1];" : "=r"(bits[half]) : "l"(packets + ((row + 8 * half) * tilesC + tile)) : "memory");
                if (tries > spinLimit) {
                    abandon();
                    break;
                }
            }
#pragma unroll
            for (int half = 0; half < 2; ++half) sum[half] += asFloat(bits[half]);
        }
#pragma unroll
        for (int half = 0; half < 2; ++half) factor[half] = rsqrtf(groupSum<4>(sum[half]) * (1.0f / LAYER_COLUMNS) + arguments.eps);
    }

    // ---- gate and up: 128 x 192, out come 96 columns, 64 rows by 32 twice a buffer ----

    __device__ __forceinline__ void gate(const Tile& tile, Ring& ring) {
        float acc[2][96], factor[4];
        multiply<2, 192>(acc, ring, tile.steps);
        takeFactors(factor);
#pragma unroll
        for (int inside = 0; inside < 3; ++inside) {
            const u32 base = take();
#pragma unroll
            for (int mb = 0; mb < 2; ++mb) {
                const Gate<activation> gates[2] = {Gate<activation>::make(factor[2 * mb]), Gate<activation>::make(factor[2 * mb + 1])};
#pragma unroll
                for (int b = 0; b < 4; b += 2) {
                    u32 packed[4];
#pragma unroll
                    for (int part = 0; part < 4; ++part) {
                        const int half = part & 1, at = 8 * (inside * 4 + b + part / 2) + 2 * half;
                        packed[part] = packBF16(gates[half].apply(acc[mb][at], acc[mb][at + 4]), gates[half].apply(acc[mb][at + 1], acc[mb][at + 5]));
                    }
                    storeMatrix4(fragment(base + mb * (bufferBytes / 2), b), packed[0], packed[1], packed[2], packed[3]);
                }
            }
            give();
        }
    }

    // ---- projection: 64 x 256 ----

    __device__ __forceinline__ void project(const Tile& tile, Ring& ring) {
        constexpr int size = LAYER_HEAD, eights = size / 16;  // steps of eight columns in half a head
        float acc[1][128], factor[2], position[2];
        const int ownRow = tile.row * 64 + warp * 16 + lane / 4;
#pragma unroll
        for (int half = 0; half < 2; ++half) position[half] = __ldg(arguments.positions + min(ownRow + 8 * half, arguments.m - 1));
        multiply<1, 256>(acc, ring, tile.steps);
        takeFactors(factor);
#pragma unroll
        for (int block = 0; block < 256 / size; ++block) {
            const int head = tile.column * (256 / size) + block;
            float* own = acc[0] + block * size / 2;
            if (head >= LAYER_QUERY_HEADS + LAYER_KEY_HEADS) {
#pragma unroll
                for (int i = 0; i < size / 2; ++i) own[i] *= factor[(i / 2) % 2];
                continue;
            }
            float scale[2];
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                float squares = 0.0f;
#pragma unroll
                for (int j = 0; j < size / 2; j += 4) squares += own[j + 2 * half] * own[j + 2 * half] + own[j + 2 * half + 1] * own[j + 2 * half + 1];
                scale[half] = factor[half] * rsqrtf(factor[half] * factor[half] * groupSum<4>(squares) * (1.0f / size) + arguments.eps);
            }
            const int base = (head < LAYER_QUERY_HEADS ? 0 : size) + 2 * (lane % 4);
#pragma unroll
            for (int j = 0; j < eights; ++j) {
                const Float2 low = pairAt(constants, base + 8 * j), high = pairAt(constants, base + 8 * j + size / 2);
                const Float2 frequency = pairAt(constants, 2 * size + 2 * (lane % 4) + 8 * j);
#pragma unroll
                for (int half = 0; half < 2; ++half)
#pragma unroll
                    for (int i = 0; i < 2; ++i) {
                        float& a = own[4 * j + 2 * half + i];
                        float& b = own[4 * (j + eights) + 2 * half + i];
                        float sine, cosine;
                        sineCosine(position[half] * (i ? frequency.y : frequency.x), sine, cosine);
                        const float x = a * (scale[half] * (i ? low.y : low.x)), y = b * (scale[half] * (i ? high.y : high.x));
                        a = x * cosine - y * sine;
                        b = y * cosine + x * sine;
                    }
            }
        }
#pragma unroll
        for (int chunk = 0; chunk < 4; ++chunk) {  // 64 columns, 128 bytes a row, each
            const u32 base = take();
#pragma unroll
            for (int b = 0; b < 8; b += 2) {
                u32 packed[4];
#pragma unroll
                for (int part = 0; part < 4; ++part) {
                    const int at = 4 * (chunk * 8 + b + part / 2) + 2 * (part & 1);
                    packed[part] = packBF16(acc[0][at], acc[0][at + 1]);
                }
                storeMatrix4(base + swizzled<128>(warp * 16 + ((lane >> 3) & 1) * 8 + (lane & 7), b + (lane >> 4)), packed[0], packed[1], packed[2],
                             packed[3]);
            }
            give();
        }
    }
};

// The other side of a warpgroup's buffers, one thread: opens them, with the residual where a branch is added to it, and sends out what is in them.
struct Mover {
    const Maps& maps;
    const Arguments& arguments;
    Staging opened, sent;
    u32 weights;

    __device__ __forceinline__ void open(const Tile& tile, int unit) {
        const u32 barrier = opened.open + 8 * opened.buffer;
        if (tile.addsBranch()) {
            constexpr int across = tileC / 32;
            const int firstColumn = tile.column * tileC, column = firstColumn + unit % across * 32, row = tile.row * 128 + unit / across * 64;
            const u32 extra = LAYER_SANDWICH && unit == 0 ? 4 * tileC : 0;
            barrierExpect(barrier, bufferBytes + extra);
            loadTile(opened.address(), maps.x, barrier, column, row);
            loadTile(opened.address() + bufferBytes / 2, maps.rest, barrier, column, row);
            if (extra) loadBytes(weights, (tile.product == down ? arguments.downNorm : arguments.outputNorm) + firstColumn, extra, barrier);
        } else {
            barrierArrive(barrier);
        }
        opened.advance();
    }
    __device__ __forceinline__ void send(const Tile& tile, int unit) {
        barrierWait(sent.staged + 8 * sent.buffer, sent.phase);
        const u32 base = sent.address();
        if (tile.addsBranch()) {
            constexpr int across = tileC / 32;
            const int column = tile.column * tileC + unit % across * 32, row = tile.row * 128 + unit / across * 64;
            storeTile(maps.x, base, column, row);
            storeTile(maps.rest, base + bufferBytes / 2, column, row);
        } else if (tile.product == gateUp) {
            storeTile(maps.gatedOut, base, tile.column * 96 + unit * 32, tile.row * 128);
            storeTile(maps.gatedOut, base + bufferBytes / 2, tile.column * 96 + unit * 32, tile.row * 128 + 64);
        } else {
            storeTile(maps.headsOut, base, tile.column * 256 + unit * 64, tile.row * 64);
        }
        storeCommit();
        sent.advance();
    }
    __device__ __forceinline__ void run(const Tile& tile) {
        const int units = tile.addsBranch() ? 2 * (tileC / 32) : tile.product == gateUp ? 3 : 4;
        // All that was sent before has left: the buffers are free.
#pragma unroll 1
        for (int unit = 0; unit < buffers; ++unit) open(tile, unit);
#pragma unroll 1
        for (int unit = 0; unit < units; ++unit) {
            send(tile, unit);
            if (unit + buffers < units) {
                storeWaitRead<0>();
                open(tile, unit + buffers);
            }
        }
        if (tile.product == projection) {
            storeWaitRead<0>();
        } else {
            // All of this tile is written; who waits for its rows may go on.
            storeWait<0>();
            fenceAsyncProxy();
            asm volatile("fence.acq_rel.gpu;\n red.relaxed.gpu.global.add.u32 [%0], 1;" ::"l"(
                             arguments.done + tile.product * (arguments.rowUnits * cluster) + tile.row) : "memory");
        }
    }
};

APUS_DEVICE void waitUntilReady(u32 ready, u32 count) {
    u32 seen;
    for (u32 tries = 0;; ++tries) {
        asm volatile("ld.acquire.cta.shared.u32 %0, [%1];" : "=r"(seen) : "r"(ready) : "memory");
        if (seen >= count) return;
        if (tries > 16 * spinLimit) return abandon();
    }
}

}  // namespace apus

using namespace apus;

extern "C" __global__ void __launch_bounds__(384, 1) apus_layer_hopper(const __grid_constant__ Maps maps, const __grid_constant__ Arguments arguments) {
    extern __shared__ u8 dynamicShared[];
    const u32 shared = (sharedAddress(dynamicShared) + 1023u) & ~1023u;
    const u32 slots = shared, staging = slots + stages * stageBytes, full = staging + 2 * stagingBytes, empty = full + 8 * stages;
    const u32 stagingBarriers = empty + 8 * stages, ready = stagingBarriers + 2 * 2 * 8 * buffers;  // ready: tiles whose operands are there
    const auto factorsOf = [&](u32 group) { return ready + 8 + 16 * group; };  // the factors of a warpgroup's rows are there; they have been read
    const u32 weights = full + 256, factors = weights + 8 * tileC, constants = factors + 1024;
    const auto stagingOf = [&](u32 group) {
        const u32 open = stagingBarriers + group * 2 * 8 * buffers;
        return Staging{staging + group * stagingBytes, open, open + 8 * buffers};
    };
    const int warpgroup = threadIdx.x / 128, rank = cluster > 1 ? clusterRank() : 0;
    const int firstTile = blockIdx.x / cluster, tileStride = gridDim.x / cluster;

    if (threadIdx.x >= 128 && threadIdx.x < 128 + sizeof(Maps) / sizeof(TensorMap)) prefetchMap((&maps.attended)[threadIdx.x - 128]);
    if (threadIdx.x == 0) {
        for (u32 s = 0; s < stages; ++s) {
            barrierInit(full + 8 * s, 1);
            barrierInit(empty + 8 * s, 4 * cluster);
        }
        for (u32 group = 0; group < 2; ++group) {
            barrierInit(factorsOf(group), 1);
            barrierInit(factorsOf(group) + 8, 4);
            for (u32 i = 0; i < buffers; ++i) {
                barrierInit(stagingOf(group).open + 8 * i, 1);
                barrierInit(stagingOf(group).staged + 8 * i, 4);
            }
        }
        storeShared4(ready, 0);
        barrierInitFence();
    }
    if (LAYER_PROJECTED)
        for (int i = threadIdx.x; i < 5 * LAYER_HEAD / 2; i += blockDim.x)
            storeShared4(constants + 4 * i, asBits(i < 2 * LAYER_HEAD ? arguments.headWeights[i] : arguments.frequencies[i - 2 * LAYER_HEAD]));
    __syncthreads();
    if (cluster > 1) clusterSync();
    dependencyRelease();
    if (warpgroup > 0) dependencyWait();

    if (warpgroup == 0) {
        registersShrink<40>();
        const int warp = threadIdx.x / 32;
        if (warp == 0 && electOne()) {
            const auto loadB = [&](u32 slot, u32 bytesA, const TensorMap& map, int k, int column, int columns) {
                const u32 b = slots + slot * stageBytes + bytesA, barrier = full + 8 * slot;
                const int own = columns / cluster * rank;
                if constexpr (cluster > 1) loadTileMulticast(b + own * 128, map, barrier, 3, k, column + own);
                else loadTile(b, map, barrier, k, column);
            };
            Ring ring;
            u32 count = 0;
            for (int index = firstTile; index < arguments.tiles; index += tileStride) {
                const Tile tile = Tile::at(index, arguments, rank);
                const int row = tile.firstRow();
                const bool isOutput = tile.product == output, isGate = tile.product == gateUp, isDown = tile.product == down;
                const TensorMap* mapA = isOutput ? &maps.attended : isGate ? &maps.rows : isDown ? &maps.gated : &maps.halfRows;
                const TensorMap* mapB = isOutput ? &maps.outputWeight : isGate ? &maps.gateUpWeight : isDown ? &maps.downWeight : &maps.headsWeight;
                const int columns = isGate ? tileG : tile.product == projection ? tileP : tileC, firstColumn = tile.column * columns;
                const u32 bytesA = tile.product == projection ? 8192 : 16384, bytes = bytesA + columns * 128;
                int early = 0;
                if (index == firstTile) {  // weights do not depend on the launches before
#pragma unroll 1
                    for (early = 0; early < min(stages, tile.steps); ++early) {
                        barrierExpect(full + 8 * early, bytes);
                        loadB(early, bytesA, *mapB, early * 64, firstColumn, columns);
                    }
                    dependencyWait();
                }
                waitUntilReady(ready, ++count);
#pragma unroll 1
                for (int step = 0; step < tile.steps; ++step) {
                    const u32 a = slots + ring.slot * stageBytes, barrier = full + 8 * ring.slot;
                    if (step >= early) {
                        barrierWait(empty + 8 * ring.slot, ring.phase ^ 1);
                        barrierExpect(barrier, bytes);
                        loadB(ring.slot, bytesA, *mapB, step * 64, firstColumn, columns);
                    }
                    loadTile(a, *mapA, barrier, step * 64, row);
                    ring.advance();
                }
            }
        } else if (warp == 1) {
            dependencyWait();
            const int lane = threadIdx.x % 32;
            u32 count = 0, phases = 0;
            for (int index = firstTile; index < arguments.tiles; index += tileStride, ++count) {
                const Tile tile = Tile::at(index, arguments, rank);
                if (tile.product != output) {
                    const u32* counter = arguments.done + (tile.product - 1) * (arguments.rowUnits * cluster) + tile.firstRow() / 128;
                    const u32 needed = tile.product == down ? tilesG : tilesC;
                    for (u32 tries = 0; loadAcquire(counter) < needed; ++tries)
                        if (tries > spinLimit) {
                            abandon();
                            break;
                        }
                    fenceAsyncProxy();
                }
                __syncwarp();
                if (lane == 0) asm volatile("st.release.cta.shared.u32 [%0], %1;" ::"r"(ready), "r"(count + 1) : "memory");
                if (!tile.addsBranch()) {
                    const u32 group = count & 1;
                    float factor[4];
#pragma unroll
                    for (int i = 0; i < 4; ++i) factor[i] = rowFactor(arguments, tile.firstRow() + lane + 32 * i);
                    barrierWait(factorsOf(group) + 8, ((phases >> group) & 1) ^ 1);
                    phases ^= 1u << group;
#pragma unroll
                    for (int i = 0; i < 4; ++i) storeShared4(factors + 512 * group + 4 * (lane + 32 * i), asBits(factor[i]));
                    __syncwarp();
                    if (lane == 0) barrierArrive(factorsOf(group));
                }
            }
        } else if (warp >= 2 && electOne()) {
            dependencyWait();
            const int group = warp - 2;
            Mover mover{maps, arguments, stagingOf(group), stagingOf(group), weights + group * tileC * 4};
            u32 count = 0;
            for (int index = firstTile; index < arguments.tiles; index += tileStride) {
                if ((count++ & 1) != group) continue;
                waitUntilReady(ready, count);  // what its products wait for stands ahead of its residual too
                mover.run(Tile::at(index, arguments, rank));
            }
            storeWait<0>();
        }
    } else {
        registersGrow<232>();
        const int group = warpgroup - 1, warp = (threadIdx.x / 32) % 4, lane = threadIdx.x % 32;
        Consumer consumer{maps, arguments, slots, full, empty, weights + group * tileC * 4, constants,
                          factors + 512 * group, factorsOf(group), 0, stagingOf(group), group, warp, lane};
        Ring ring;
        if (group == 1) namedArrive(1, 256);  // the first turn is the other group's
        int turn = 0;
        for (int index = firstTile; index < arguments.tiles; index += tileStride, turn ^= 1) {
            const Tile tile = Tile::at(index, arguments, rank);
            if (turn != group) {
                ring.advance(tile.steps);
                continue;
            }
            if (tile.product == gateUp) consumer.gate(tile, ring);
            else if (LAYER_PROJECTED && tile.product == projection) consumer.project(tile, ring);
            else consumer.addBranch(tile, ring);
        }
    }
    if (cluster > 1) {  // no block leaves while another may still signal it or send it data
        __syncwarp();
        clusterSync();
    }
}
