// The kernel of whole layers (LayerHopper.cu): the warp that moves a warpgroup's residuals and results.
#pragma once
#include "Prefill/LayerStaging.cuh"

namespace apus {

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

}  // namespace apus
