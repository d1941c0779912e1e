// What lies between two attentions of a transformer, for all rows of a pass in one launch; Hopper (sm_90a), bf16 in, fp32 sums.
//
//   output      x += branch(attended * Wo^T)                              branch(y) = y * rsqrt(mean(y^2) + eps) * w over a row, or y,
//   gate, up    gated = act(g) * u,  [g, u] = norm(x) * Wgu^T              norm(x) = x * rsqrt(mean(x^2) + eps), its weight folded into
//   down        x += branch(gated * Wd^T)                                  the matrix behind it
//   projection  heads = norm(x) * Wqkv^T of the layer behind, queries and keys normed and rotated  (LAYER_PROJECTED 0: left out)
//
// with the formulas, types and tensors of Operators/GemmHopper.cu: GEMM_GATED and GEMM_ROW_SCALE 3, GEMM_HEAD and GEMM_ROW_SCALE 3.
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
// Files: LayerShape.cuh (shape, arguments, list of tiles), LayerStaging.cuh (how warps and blocks tell each other), LayerConsumer.cuh (products and
// epilogues), LayerMover.cuh (residuals and results on their way).
//
// Roof: products 2 M (C A + 3 C I + C P) / 989 TFLOP/s. Figures: docs/prefill.md.
//
// Launch. Entry apus_layer_hopper; block 384; clusters of LAYER_CLUSTER; grid LAYER_CLUSTER * min(clusters that are resident at once, Arguments::tiles);
// dynamic shared memory 1024 + 4 * 40960 + 2 * 24576 + 256 + 8 * LAYER_TILE + 1024 + 10 * LAYER_HEAD. Programmatic stream serialisation is honoured.
// `done` [3, rowUnits * LAYER_CLUSTER] uint32, zeros at the start. The tiles of a row exchange the squares of a branch through `packets`
// [M, parts] uint32, where a word that is not all ones is a sum that has arrived: nothing else has to be ordered. Both buffers are ones before
// the first layer; the output product takes `packets` and fills its words of `cleared` with ones, down the other way round, so that a chain of
// layers needs no more. attended, gated and heads must not overlap.
// Maps, 16-bit, L2 promotion 256: attended [M, A], x [M, C], gated [M, I] box {64, 128}, x again box {64, 64}, weights box {64, tile columns /
// LAYER_CLUSTER}, all swizzle 128; for epilogues x, rest, gated box {32, 64}, swizzle 64, heads box {64, 64}, swizzle 128.

#if defined(__CUDA_ARCH__) && !defined(__CUDA_ARCH_FEAT_SM90_ALL)
#error "compile for sm_90a"
#endif

#include "Prefill/LayerConsumer.cuh"
#include "Prefill/LayerMover.cuh"

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
        // The same in all lanes of a warp, and said so: what follows from it, descriptors too, then stays in uniform registers.
        const int group = __shfl_sync(0xffffffffu, warpgroup - 1, 0), warp = (threadIdx.x / 32) % 4, lane = threadIdx.x % 32;
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
