// C[M, N] = epilogue(A[M, K] * B[N, K]^T), Hopper (sm_90a).
//
// A, B: bf16, f16 or e4m3, row-major, K contiguous, rows 16-byte aligned. Accumulation in fp32. C: bf16, f16 or f32, or gated e4m3.
//
// Mapping. A persistent grid of blocks, one per SM; each walks the tiles of C in groups of GEMM_GROUP tile rows, so that
// the tiles in flight share their operands in L2. One producer warp keeps a ring of GEMM_STAGES slots (A tile and B tile,
// 128 bytes of K, 128-byte swizzle) full through the copy engine; 1 to 3 consumer warpgroups multiply with wgmma.
// Cooperative (GEMM_PINGPONG 0): the warpgroups share a tile, GEMM_TILE_M / consumers rows each. Ping-pong: each
// warpgroup owns whole tiles in turn, so that the epilogue of one hides behind the products of the other. Clusters of two
// blocks along M (or N) share the B (or A) tile by multicast: half the reads of that operand from L2.
//
// Epilogue, in this order, each part compiled in only where asked for:
//   v = acc * rowScale[m] * columnScale[n] + bias[n];  v = act(v)  or  v = act(gate) * up;  v += residual[m, n];  round;
//   statistics[m, tileN] = sum over the tile's columns of rounded v^2.
// GEMM_ROW_SCALE 3: the norm before this product, its weight folded into B: rowScale [M, GEMM_SCALE_PARTS] holds parts of the sums of
//   squares of A's rows, as `statistics` of the product before leaves them, and row m is scaled by rsqrt(sum / K + eps).
// GEMM_HEAD D (QK-norm and rope; D divides the columns of a wgmma block): the columns are heads of D. The first GEMM_QUERY_HEADS are
//   normalised over their D columns with headWeights[0], the next GEMM_KEY_HEADS with headWeights[1], then both are rotated, all in fp32:
//   y = v * rsqrt(mean(v^2) + eps) * w;  out[i] = y[i] cos - y[i + D/2] sin;  out[i + D/2] = y[i + D/2] cos + y[i] sin  (i < D/2)
//   with cos and sin of positions[m] * frequencies[i], the product rounded to fp32 as PyTorch has it. Further heads (values) are only
//   scaled; GEMM_ROW_SCALE 2 goes with GEMM_COLUMN_SCALE 1 here. The angles are computed here: reading a table of them from L2 was slower while the copy engine keeps it busy.
// GEMM_EARLY 1: B does not depend on the launches before (weights), and its first tiles are asked for before the wait for them.
// Gated: B holds gate and up rows interleaved by eight (rows 16 i .. 16 i + 7 gate, + 8 .. + 15 up, of outputs 8 i ..), so a
// thread holds both of a pair; C is [M, N / 2]. With GEMM_B_RANK 4 the map interleaves an unpacked [2, N / 2, K] on the way.
// Gated into e4m3 (GEMM_OUTPUT 3; silu and tanh-gelu, GEMM_ROW_SCALE 2, GEMM_COLUMN_SCALE at most 1): C[m, .] = v / statistics[m], an input
//   there; a caller that knows the norms of A's and B's rows knows a bound of v. Column 16 i + 4 q + e of C (q, e < 4) is made of the
//   rows of gate and up that the packing has as output 16 i + 2 q + e, for e > 1 as 16 i + 2 q + e + 6: pack them the other way round.
// The result is staged through shared memory (stmatrix, swizzled) and leaves by the copy engine; GEMM_DIRECT_STORE 1 writes
// from registers with predicates instead (C rows that are not 16-byte aligned).
//
// FP8 accumulation. The tensor cores keep about 14 bits while they sum e4m3 products, so GEMM_PROMOTE p > 0 starts a fresh
// accumulator every p ring slots (p * 128 of K) and adds it in fp32 registers. 0 leaves the sum to the tensor cores. GEMM_HALVES h halves the
// columns of a block: while one half is added the other is multiplied, and the two meet every h slots.
//
// Roof: 2 M N K / 989 TFLOP/s (1,979 for e4m3). Figures and what was tried: docs/kernels-operators.md.
//
// Launch. Entry apus_gemm_hopper; block 128 * (1 + GEMM_CONSUMERS) threads; cluster = GEMM_CLUSTER_M * GEMM_CLUSTER_N blocks along x
// (attribute set where it is 2); grid cluster * min(SMs / cluster, ceil(M / (tileM * clusterM)) * ceil(N / (tileN * clusterN)));
// dynamic shared memory 1024 + stages * (tileM + tileN) * 128 + min(GEMM_STAGING, chunks) * consumers * 64 * chunk row bytes + 256
// (no staging with the direct store), + 10 * GEMM_HEAD, + consumers * (tileN + rows of a warpgroup) * 4 with GEMM_SCALE_STAGED; at most 232,448;
// chunks = columns of a tile of C / chunk columns * 64-row blocks per warpgroup.
// M of any size; K and N: rows of A, B, C 16-byte aligned, else GEMM_DIRECT_STORE for C and GemmGeneric.cu for A and B. Programmatic
// stream serialisation is honoured. Maps (without interleave; 16-bit: dtype of the tensor; e4m3: uint8; L2 promotion 256):
//   mapA  [M, K], box {128 bytes of K, GEMM_TILE_M / GEMM_CLUSTER_N}, swizzle 128
//   mapB  [N, K], box {128 bytes of K, R}, swizzle 128, R = GEMM_TILE_N / GEMM_CLUSTER_M, halved where that is above 256;
//         rank 4: dims {K, 8, 2, N / 16}, strides {row, N / 2 rows, 8 rows}, box {128 bytes, 8, 2, R / 16}
//   mapC, mapR (residual)  [M, N or N / 2], box {chunk columns, 64}, swizzle by chunk row bytes (128, 64 or 32);
//         chunk columns: 16-bit C: 64, 32 or 16, the largest that divides outputs per wgmma block; f32: 32 or 16; e4m3: 128, 64 or 32
// A map or pointer that the variant does not use may hold anything. columnScale and bias are 8-byte aligned.

#if defined(__CUDA_ARCH__) && !defined(__CUDA_ARCH_FEAT_SM90_ALL)
#error "compile for sm_90a; other devices take GemmGeneric.cu"
#endif

#include "apus_constants.h"
#include "Common/Math.cuh"
#include "Common/TensorCopy.cuh"
#include "Common/WarpMMA.cuh"
#include "Common/WarpgroupMMA.cuh"

#ifndef GEMM_TILE_M
#define GEMM_TILE_M 128
#endif
#ifndef GEMM_TILE_N
#define GEMM_TILE_N 256
#endif
#ifndef GEMM_STAGES
#define GEMM_STAGES 4
#endif
#ifndef GEMM_CONSUMERS
#define GEMM_CONSUMERS 2
#endif
#ifndef GEMM_PINGPONG
#define GEMM_PINGPONG 0
#endif
#ifndef GEMM_CLUSTER_M
#define GEMM_CLUSTER_M 1
#endif
#ifndef GEMM_CLUSTER_N
#define GEMM_CLUSTER_N 1
#endif
#ifndef GEMM_GROUP
#define GEMM_GROUP 8
#endif
#ifndef GEMM_STAGING  // chunks of 64 rows staged per warpgroup
#define GEMM_STAGING 2
#endif
#ifndef GEMM_INPUT  // DType: 0 bf16, 1 f16, 3 e4m3
#define GEMM_INPUT 0
#endif
#ifndef GEMM_OUTPUT  // DType: 0 bf16, 1 f16, 2 f32, 3 e4m3
#define GEMM_OUTPUT 0
#endif
#ifndef GEMM_ACTIVATION  // 0 none, 1 silu, 2 gelu-tanh, 3 gelu-erf
#define GEMM_ACTIVATION 0
#endif
#ifndef GEMM_GATED
#define GEMM_GATED 0
#endif
#ifndef GEMM_B_RANK
#define GEMM_B_RANK 2
#endif
#ifndef GEMM_RESIDUAL
#define GEMM_RESIDUAL 0
#endif
#ifndef GEMM_STATISTICS
#define GEMM_STATISTICS 0
#endif
#ifndef GEMM_ROW_SCALE  // 0 none, 1 one value, 2 per row, 3 from sums of squares
#define GEMM_ROW_SCALE 0
#endif
#ifndef GEMM_COLUMN_SCALE  // 0 none, 1 one value, 2 per column
#define GEMM_COLUMN_SCALE 0
#endif
#ifndef GEMM_BIAS
#define GEMM_BIAS 0
#endif
#ifndef GEMM_PROMOTE
#define GEMM_PROMOTE 0
#endif
#ifndef GEMM_PARTS  // accumulators that take turns while promoting: 2 hides the adds, for one 64 x 128 block per warpgroup
#define GEMM_PARTS 1
#endif
#ifndef GEMM_HALVES  // steps in which the halves of a block's columns take turns while promoting: one is added while the other is multiplied
#define GEMM_HALVES 0
#endif
#ifndef GEMM_DIRECT_STORE
#define GEMM_DIRECT_STORE 0
#endif
#ifndef GEMM_SCALE_PARTS
#define GEMM_SCALE_PARTS 1
#endif
#ifndef GEMM_HEAD
#define GEMM_HEAD 0
#endif
#ifndef GEMM_QUERY_HEADS
#define GEMM_QUERY_HEADS 0
#endif
#ifndef GEMM_KEY_HEADS
#define GEMM_KEY_HEADS 0
#endif
// Has the parameters behind rowStride.
#define GEMM_FUSED (GEMM_ROW_SCALE == 3 || GEMM_HEAD)
#ifndef GEMM_EARLY
#define GEMM_EARLY 0
#endif
#ifndef GEMM_RESIDUAL_STEP  // the step of K at which the residual's tile is asked for; 0: before the first
#define GEMM_RESIDUAL_STEP 0
#endif
#ifndef GEMM_K  // 0: from the argument
#define GEMM_K 0
#endif

namespace apus {

constexpr DType input = static_cast<DType>(GEMM_INPUT), output = static_cast<DType>(GEMM_OUTPUT);
constexpr int tileM = GEMM_TILE_M, tileN = GEMM_TILE_N, stages = GEMM_STAGES, consumers = GEMM_CONSUMERS;
constexpr int clusterSize = GEMM_CLUSTER_M * GEMM_CLUSTER_N;
constexpr int tileK = 128 / ByteSize<input>::value;

constexpr int blocksM = tileM / 64 / (GEMM_PINGPONG ? 1 : consumers);
constexpr int blocksN = tileN > 256 ? 2 : 1;
constexpr int blockN = tileN / blocksN;
static_assert(blocksM * 64 * (GEMM_PINGPONG ? 1 : consumers) == tileM, "tile rows must divide over the warpgroups");
static_assert(!GEMM_DIRECT_STORE || !(GEMM_RESIDUAL || GEMM_STATISTICS), "residuals and statistics want staged stores");
static_assert(clusterSize <= 2, "clusters of one or two");
static_assert(!GEMM_EARLY || clusterSize == 1, "a block's barriers are known to itself only");
static_assert(!GEMM_DIRECT_STORE || !GEMM_FUSED, "norms want staged stores");
static_assert(!GEMM_HEAD || (!GEMM_GATED && blockN % (GEMM_HEAD ? GEMM_HEAD : 1) == 0 && GEMM_HEAD % 16 == 0), "whole heads in a block");
static_assert(!GEMM_HEAD || GEMM_COLUMN_SCALE == (GEMM_ROW_SCALE == 2 ? 1 : 0), "heads of codes have one scale for the weights");
static_assert(!GEMM_PROMOTE || GEMM_RESIDUAL_STEP == 0, "promoted sums take a residual before they start");
static_assert(!GEMM_PINGPONG || consumers == 2, "ping-pong is for two warpgroups");

static_assert(GEMM_OUTPUT != 3 || (GEMM_GATED && GEMM_ROW_SCALE == 2 && GEMM_COLUMN_SCALE < 2 && !GEMM_BIAS && !GEMM_RESIDUAL && !GEMM_STATISTICS &&
                                   !GEMM_DIRECT_STORE && (GEMM_ACTIVATION == 1 || GEMM_ACTIVATION == 2) && blockN % 64 == 0), "gates in e4m3");

constexpr int outBlock = blockN / (GEMM_GATED ? 2 : 1);
constexpr int outTile = outBlock * blocksN;
constexpr int outBytes = ByteSize<output>::value;
constexpr int widest = 128 / outBytes;
constexpr int chunkColumns = outBlock % widest == 0 ? widest : outBlock % (widest / 2) == 0 ? widest / 2 : widest / 4;
constexpr int chunkRowBytes = chunkColumns * outBytes, chunkBytes = 64 * chunkRowBytes;
constexpr int chunksAcross = outTile / chunkColumns, chunks = chunksAcross * blocksM;
constexpr int staging = GEMM_STAGING < chunks ? GEMM_STAGING : chunks;
constexpr int stagingBytes = GEMM_DIRECT_STORE ? 0 : staging * chunkBytes;  // per warpgroup

constexpr int bytesA = tileM * 128, bytesB = tileN * 128, stageBytes = bytesA + bytesB;
constexpr int sliceRowsA = tileM / GEMM_CLUSTER_N, sliceRowsB = tileN / GEMM_CLUSTER_M;
constexpr int boxRowsB = sliceRowsB > 256 ? sliceRowsB / 2 : sliceRowsB;
constexpr u32 consumerWarps = 4 * (GEMM_PINGPONG ? 1 : consumers);

// The n-th tile of this cluster in grouped order.
struct TileOrder {
    int rows, columns, total;  // in cluster tiles
    static __device__ __forceinline__ TileOrder make(int m, int n) {
        TileOrder order;
        order.rows = ceilDivide(m, tileM * GEMM_CLUSTER_M);
        order.columns = ceilDivide(n, tileN * GEMM_CLUSTER_N);
        order.total = order.rows * order.columns;
        return order;
    }
    __device__ __forceinline__ void locate(int index, u32 rank, int& tileRow, int& tileColumn) const {
        const int perGroup = GEMM_GROUP * columns, group = index / perGroup, inside = index - group * perGroup;
        const int height = min(GEMM_GROUP, rows - group * GEMM_GROUP), column = inside / height;
        tileRow = group * GEMM_GROUP + inside - column * height;
        tileColumn = column;
        if (GEMM_CLUSTER_M == 2) tileRow = tileRow * 2 + rank;
        if (GEMM_CLUSTER_N == 2) tileColumn = tileColumn * 2 + rank;
    }
};

struct Ring {
    u32 slot = 0, phase = 0;
    __device__ __forceinline__ void advance() {
        if (++slot == stages) { slot = 0; phase ^= 1; }
    }
    __device__ __forceinline__ void advance(int steps) {
        const u32 turned = slot + steps;
        phase ^= (turned / stages) & 1;
        slot = turned % stages;
    }
};

}  // namespace apus

#include "Common/GemmHopperEpilogue.cuh"

using namespace apus;

// The consumers want every register there is.
constexpr bool wide = GEMM_SCALE_STAGED;

extern "C" __global__ void __launch_bounds__(128 * (1 + GEMM_CONSUMERS), 1)
apus_gemm_hopper(const __grid_constant__ TensorMap mapA, const __grid_constant__ TensorMap mapB, const __grid_constant__ TensorMap mapC,
                 const __grid_constant__ TensorMap mapR,
                 void* c,                   // [M, N] (gated: [M, N / 2]), used by the direct store only
                 const float* rowScale,     // [1] or [M]
                 const float* columnScale,  // [1] or [N]
                 const float* bias,         // [N]
                 float* statistics,         // [M, tiles of N]; [M], read, with C in e4m3
                 int m, int n, int k, i64 rowStride
#if GEMM_FUSED
                 ,
                 const float* headWeights,  // [2, D]: queries, keys; w or 1 + w as the model has it
                 const float* frequencies,  // [D / 2], radians a position
                 const int* positions,      // [M]
                 float eps
#endif
) {
    extern __shared__ u8 dynamicShared[];
    const u32 shared = (sharedAddress(dynamicShared) + 1023u) & ~1023u;
    const u32 slots = shared, stagingBase = shared + stages * stageBytes;
    const u32 barriers = stagingBase + consumers * stagingBytes;
    const auto full = [&](u32 s) { return barriers + 8 * s; };
    const auto empty = [&](u32 s) { return barriers + 8 * (stages + s); };
    const auto residualBarrier = [&](u32 group) { return barriers + 8 * (2 * stages + group); };
    const u32 constants = barriers + 256;  // weights of norms, frequencies

    const int warpgroup = threadIdx.x / 128;
    const u32 rank = clusterSize > 1 ? clusterRank() : 0;
    const int kTotal = GEMM_K ? GEMM_K : k, steps = ceilDivide(kTotal, tileK);
    const TileOrder order = TileOrder::make(m, n);
    const int firstTile = blockIdx.x / clusterSize, tileStride = gridDim.x / clusterSize;

    if (threadIdx.x == 0) {
        prefetchMap(mapA);
        prefetchMap(mapB);
        if (!GEMM_DIRECT_STORE) prefetchMap(mapC);
        if (GEMM_RESIDUAL) prefetchMap(mapR);
        for (u32 s = 0; s < stages; ++s) {
            barrierInit(full(s), 1);
            barrierInit(empty(s), consumerWarps * clusterSize);
        }
        for (u32 g = 0; g < consumers; ++g) barrierInit(residualBarrier(g), 1);
        barrierInitFence();
    }
#if GEMM_HEAD
    for (int i = threadIdx.x; i < 5 * GEMM_HEAD / 2; i += blockDim.x)
        storeShared4(constants + 4 * i, asBits(i < 2 * GEMM_HEAD ? headWeights[i] : frequencies[i - 2 * GEMM_HEAD]));
    if (clusterSize > 1) __syncthreads();
#endif
    if (clusterSize > 1) clusterSync();
    else __syncthreads();
    dependencyRelease();
    if (!GEMM_EARLY || warpgroup > 0) dependencyWait();

    if (warpgroup == 0) {
        if constexpr (consumers == 2) registersShrink<(wide ? 24 : 40)>();
        if constexpr (consumers == 3) registersShrink<32>();
        if (threadIdx.x < 32 && electOne()) {
            Ring ring;
            const auto loadB = [&](u32 b, u32 bar, int step, int rowB) {
#pragma unroll
                for (int piece = 0; piece < sliceRowsB; piece += boxRowsB) {
                    const int offset = (GEMM_CLUSTER_M == 2 ? rank * sliceRowsB : 0) + piece;
                    if constexpr (GEMM_CLUSTER_M == 2) {
                        if constexpr (GEMM_B_RANK == 4) loadTileMulticast(b + offset * 128, mapB, bar, 3, step * tileK, 0, 0, (rowB + offset) / 16);
                        else loadTileMulticast(b + offset * 128, mapB, bar, 3, step * tileK, rowB + offset);
                    } else {
                        if constexpr (GEMM_B_RANK == 4) loadTile(b + offset * 128, mapB, bar, step * tileK, 0, 0, (rowB + offset) / 16);
                        else loadTile(b + offset * 128, mapB, bar, step * tileK, rowB + offset);
                    }
                }
            };
            const int early = GEMM_EARLY && firstTile < order.total ? min(stages, steps) : 0;
            if (GEMM_EARLY) {
                int tileRow, tileColumn;
                order.locate(firstTile, rank, tileRow, tileColumn);
                for (int step = 0; step < early; ++step) {
                    barrierExpect(full(step), stageBytes);
                    loadB(slots + step * stageBytes + bytesA, full(step), step, tileColumn * tileN);
                }
                dependencyWait();
            }
            for (int tile = firstTile; tile < order.total; tile += tileStride) {
                int tileRow, tileColumn;
                order.locate(tile, rank, tileRow, tileColumn);
                const int rowA = tileRow * tileM, rowB = tileColumn * tileN;
                for (int step = 0; step < steps; ++step) {
                    const u32 a = slots + ring.slot * stageBytes, b = a + bytesA, bar = full(ring.slot);
                    const bool asked = GEMM_EARLY && tile == firstTile && step < early;
                    if (!asked) {
                        barrierWait(empty(ring.slot), ring.phase ^ 1);
                        barrierExpect(bar, stageBytes);
                    }
                    if constexpr (GEMM_CLUSTER_N == 2)
                        loadTileMulticast(a + rank * sliceRowsA * 128, mapA, bar, 3, step * tileK, rowA + rank * sliceRowsA);
                    else
                        loadTile(a, mapA, bar, step * tileK, rowA);
                    if (!asked) loadB(b, bar, step, rowB);
                    ring.advance();
                }
            }
        }
    } else {
        if constexpr (consumers == 2) registersGrow<(wide ? 240 : 232)>();
        if constexpr (consumers == 3) registersGrow<160>();
        // The same in all lanes of a warp, and said so: what follows from it, descriptors too, then stays in uniform registers.
        const int group = __shfl_sync(0xffffffffu, warpgroup - 1, 0), warp = (threadIdx.x / 32) % 4, lane = threadIdx.x % 32;
        const Arguments arguments{c, rowScale, columnScale, bias, statistics, m, n, GEMM_GATED ? n / 2 : n, ceilDivide(n, tileN), rowStride
#if GEMM_FUSED
                                  , headWeights, frequencies, positions, eps, 1.0f / kTotal
#endif
        };
        Epilogue epilogue{arguments, mapC, mapR, stagingBase + group * stagingBytes, residualBarrier(group),
                          constants + (GEMM_SCALE_STAGED ? group * constantBytes : 0), 0, group, warp, lane, threadIdx.x % 128 == 0};
        const auto release = [&](u32 slot) {
            if constexpr (clusterSize > 1) {
                if (lane < clusterSize) barrierArriveRemote(empty(slot), lane);
            } else {
                if (lane == 0) barrierArrive(empty(slot));
            }
        };
        Ring ring;
        if (GEMM_PINGPONG && group == 1) {
            ring.advance(steps);
            namedArrive(1, 256);  // the first turn is the other group's
        }
        float acc[blocksM][blocksN][blockN / 2];
        const int own = GEMM_PINGPONG ? group * tileStride : 0, stride = GEMM_PINGPONG ? 2 * tileStride : tileStride;
        for (int tile = firstTile + own; tile < order.total; tile += stride) {
            int tileRow, tileColumn;
            order.locate(tile, rank, tileRow, tileColumn);
            const auto askForResidual = [&] {
                if (epilogue.leader) storeWaitRead<0>();
                epilogue.prefetchResidual(tileRow * tileM + (GEMM_PINGPONG ? 0 : group * blocksM * 64), tileColumn * outTile, 0);
            };
            // Later than the first step: once the operands flow; before them it would delay the first product.
            if (GEMM_RESIDUAL && !GEMM_DIRECT_STORE && GEMM_RESIDUAL_STEP == 0) askForResidual();
            Rows ofRows;
            epilogue.prepare(ofRows, tileRow, tileColumn);
            if (GEMM_PINGPONG) namedSync(1 + group, 256);
            const u32 rowsA = GEMM_PINGPONG ? 0 : group * blocksM * 64 * 128;

#if GEMM_PROMOTE == 0
            {
                u32 previous = 0;
                for (int step = 0; step < steps; ++step) {
                    barrierWait(full(ring.slot), ring.phase);
                    const u64 a = descriptorKMajor(slots + ring.slot * stageBytes + rowsA);
                    const u64 b = descriptorKMajor(slots + ring.slot * stageBytes + bytesA);
                    mmaFence();
#pragma unroll
                    for (int kk = 0; kk < 4; ++kk)
#pragma unroll
                        for (int mb = 0; mb < blocksM; ++mb)
#pragma unroll
                            for (int nb = 0; nb < blocksN; ++nb)
                                mmaShared<blockN, input>(acc[mb][nb], a + (mb * 64 * 128 + kk * 32) / 16, b + (nb * blockN * 128 + kk * 32) / 16,
                                                         step > 0 || kk > 0);
                    mmaCommit();
                    if (step > 0) {
                        mmaWait<1>();
                        release(previous);
                    }
                    if (GEMM_RESIDUAL && GEMM_RESIDUAL_STEP > 0 && step == min(GEMM_RESIDUAL_STEP, steps - 1)) askForResidual();
                    previous = ring.slot;
                    ring.advance();
                }
                if (GEMM_PINGPONG) namedArrive(2 - group, 256);
                mmaWait<0>();
#pragma unroll
                for (int mb = 0; mb < blocksM; ++mb)
#pragma unroll
                    for (int nb = 0; nb < blocksN; ++nb) pin(acc[mb][nb]);
                release(previous);
            }
#else
            {
                constexpr bool single = blocksM * blocksN == 1;
                static_assert(single || GEMM_PROMOTE == 1, "several blocks per warpgroup promote at every slot");
                static_assert(GEMM_PARTS == 1 || (single && GEMM_PROMOTE == 1), "two parts promote one block at every slot");
#pragma unroll
                for (int mb = 0; mb < blocksM; ++mb)
#pragma unroll
                    for (int nb = 0; nb < blocksN; ++nb)
#pragma unroll
                        for (int i = 0; i < blockN / 2; ++i) acc[mb][nb][i] = 0.0f;
                if constexpr (GEMM_HALVES > 0) {
                    static_assert(!GEMM_HALVES || (single && GEMM_PROMOTE == 1 && !GEMM_PINGPONG), "the warpgroups share a tile of one block each");
                    // Drained at the end of every few steps, for the same reason as below.
                    float first[blockN / 4], second[blockN / 4];
                    const auto issue = [&](float (&part)[blockN / 4], int half, u32 slot) {
                        const u64 a = descriptorKMajor(slots + slot * stageBytes + rowsA);
                        const u64 b = descriptorKMajor(slots + slot * stageBytes + bytesA + half * blockN / 2 * 128);
                        mmaFence();
#pragma unroll
                        for (int kk = 0; kk < 4; ++kk) mmaShared<blockN / 2, input>(part, a + kk * 2, b + kk * 2, kk > 0);
                        mmaCommit();
                    };
                    const auto add = [&](float (&part)[blockN / 4], int half) {
                        pin(part);
#pragma unroll
                        for (int i = 0; i < blockN / 4; ++i) acc[0][0][half * blockN / 4 + i] += part[i];
                    };
                    // A step whose first half has been issued; with the first half of the next step, but at the end of a turn.
                    const auto step = [&](bool isLast) {
                        const u32 slot = ring.slot;
                        issue(second, 1, slot);
                        ring.advance();
                        if (!isLast) barrierWait(full(ring.slot), ring.phase);
                        mmaWait<1>();
                        add(first, 0);
                        if (!isLast) {
                            issue(first, 0, ring.slot);
                            mmaWait<1>();
                        } else {
                            mmaWait<0>();
                        }
                        release(slot);
                        add(second, 1);
                    };
                    const auto begin = [&] {
                        barrierWait(full(ring.slot), ring.phase);
                        issue(first, 0, ring.slot);
                    };
                    int left = steps;
                    for (; left >= GEMM_HALVES; left -= GEMM_HALVES) {
                        begin();
#pragma unroll
                        for (int i = 0; i < GEMM_HALVES; ++i) step(i + 1 == GEMM_HALVES);
                    }
                    for (; left > 0; --left) {
                        begin();
                        step(true);
                    }
                } else if constexpr (GEMM_PARTS == 2) {
                    // Drained at the end of every turn: ptxas cannot follow an accumulator in flight across the loop's edge while
                    // another is read, and serialises everything.
                    float even[blockN / 2], odd[blockN / 2];
                    const auto issue = [&](float (&part)[blockN / 2]) {
                        barrierWait(full(ring.slot), ring.phase);
                        const u64 a = descriptorKMajor(slots + ring.slot * stageBytes + rowsA);
                        const u64 b = descriptorKMajor(slots + ring.slot * stageBytes + bytesA);
                        mmaFence();
#pragma unroll
                        for (int kk = 0; kk < 4; ++kk) mmaShared<blockN, input>(part, a + kk * 2, b + kk * 2, kk > 0);
                        mmaCommit();
                        const u32 slot = ring.slot;
                        ring.advance();
                        return slot;
                    };
                    const auto add = [&](float (&part)[blockN / 2], u32 slot) {
                        pin(part);
                        release(slot);
#pragma unroll
                        for (int i = 0; i < blockN / 2; ++i) acc[0][0][i] += part[i];
                    };
                    int left = steps;
                    for (; left >= 2; left -= 2) {
                        const u32 first = issue(even), second = issue(odd);
                        if (GEMM_PINGPONG && left == 2) namedArrive(2 - group, 256);
                        mmaWait<1>();
                        add(even, first);
                        mmaWait<0>();
                        add(odd, second);
                    }
                    if (left) {
                        const u32 slot = issue(even);
                        if (GEMM_PINGPONG) namedArrive(2 - group, 256);
                        mmaWait<0>();
                        add(even, slot);
                    }
                } else
                for (int step = 0; step < steps; step += GEMM_PROMOTE) {
                    const int inside = GEMM_PROMOTE == 1 ? 1 : min(GEMM_PROMOTE, steps - step);
                    float part[blockN / 2];
                    u32 previous = 0;
                    if constexpr (single) {
                        for (int s = 0; s < inside; ++s) {
                            barrierWait(full(ring.slot), ring.phase);
                            const u64 a = descriptorKMajor(slots + ring.slot * stageBytes + rowsA);
                            const u64 b = descriptorKMajor(slots + ring.slot * stageBytes + bytesA);
                            mmaFence();
#pragma unroll
                            for (int kk = 0; kk < 4; ++kk) mmaShared<blockN, input>(part, a + kk * 2, b + kk * 2, s > 0 || kk > 0);
                            mmaCommit();
                            if (s > 0) {
                                mmaWait<1>();
                                release(previous);
                            }
                            previous = ring.slot;
                            ring.advance();
                        }
                        if (GEMM_PINGPONG && step + GEMM_PROMOTE >= steps) namedArrive(2 - group, 256);
                        mmaWait<0>();
                        pin(part);
                        release(previous);
#pragma unroll
                        for (int i = 0; i < blockN / 2; ++i) acc[0][0][i] += part[i];
                    } else {
                        barrierWait(full(ring.slot), ring.phase);
                        const u64 a = descriptorKMajor(slots + ring.slot * stageBytes + rowsA);
                        const u64 b = descriptorKMajor(slots + ring.slot * stageBytes + bytesA);
#pragma unroll
                        for (int mb = 0; mb < blocksM; ++mb)
#pragma unroll
                            for (int nb = 0; nb < blocksN; ++nb) {
                                pin(part);
                                mmaFence();
#pragma unroll
                                for (int kk = 0; kk < 4; ++kk)
                                    mmaShared<blockN, input>(part, a + (mb * 64 * 128 + kk * 32) / 16,
                                                             b + (nb * blockN * 128 + kk * 32) / 16, kk > 0);
                                mmaCommit();
                                mmaWait<0>();
                                pin(part);
                                if (mb == blocksM - 1 && nb == blocksN - 1) {
                                    release(ring.slot);
                                    if (GEMM_PINGPONG && step == steps - 1) namedArrive(2 - group, 256);
                                }
#pragma unroll
                                for (int i = 0; i < blockN / 2; ++i) acc[mb][nb][i] += part[i];
                            }
                        ring.advance();
                    }
                }
            }
#endif
            epilogue.run(acc, ofRows, tileRow, tileColumn);
            if (GEMM_PINGPONG) ring.advance(steps);
        }
        if (!GEMM_DIRECT_STORE && epilogue.leader) storeWait<0>();
    }
    if (clusterSize > 1) clusterSync();  // no block leaves while another may still signal it
}
