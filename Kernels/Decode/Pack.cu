// Packing of row-major weights into the megakernel's chunks; see Shape.cuh for the layout.
//
// Inputs: row-major bf16 matrices [out, in]: q [H D, C], k and v [G D, C], o [C, H D], gate and up [I / 8, 2, 8, C] (8 rows of
// gate, 8 of up), down [C, I]; head [V, C]; norm weights in fp32. Outputs: layer chunks [blocks, layerChunks, 16 KB], head chunks [blocks, headChunks, 16 KB],
// norms in fp32.
//
// Mapping: one thread writes 16 bytes (four pairs of neighbours in a row). Roof: bytes read and written once; runs once a load.
//
// Launch. apus_decode_pack_layer: grid blocks * layerChunks, block 1024. apus_decode_pack_head: grid blocks * headChunks,
// block 1024. apus_decode_pack_norm: one vector [C] to slot order (or [D] as it is), grid 1, block 256.

#include "Decode/Shape.cuh"

namespace apus {

// Two neighbours of a row, zero where they do not exist.
APUS_DEVICE u32 pairAt(const u16* row, int column, int columns) {
    if (row == nullptr || column >= columns) return 0;
    return row[column] | (column + 1 < columns ? static_cast<u32>(row[column + 1]) << 16 : 0);
}

struct LayerWeights { const u16 *q, *k, *v, *o, *gated, *down; };

// Row `m` of row group `rowGroup` of product P of block (group, member); `columns` of it belong to the block.
APUS_DEVICE const u16* inputRow(const LayerWeights& w, int group, int member, int i) {
    if (i >= inputRows) return nullptr;
    const int row = member * inputRows + i, within = row % headSize;
    if (row < groupHeadSize) return w.q + static_cast<i64>(group * groupHeadSize + row) * hidden;
    return (row < groupHeadSize + headSize ? w.k : w.v) + static_cast<i64>(group * headSize + within) * hidden;
}
APUS_DEVICE const u16* gatedRow(const LayerWeights& w, int group, int member, int i) {
    const int j = i / 16 * 8 + i % 8, channel = member * pairs + j;
    if (j >= pairs || channel >= groupChannels) return nullptr;
    const int row = group * groupChannels + channel;
    return w.gated + static_cast<i64>(row / 8 * 16 + row % 8 + (i % 16 < 8 ? 0 : 8)) * hidden;
}
APUS_DEVICE const u16* residualRow(const u16* matrix, int group, int member, int i, int columns) {
    const int row = member * residualRows + i;
    if (i >= residualRows || row >= hidden) return nullptr;
    return matrix + static_cast<i64>(row) * columns * groups + group * columns;
}

}  // namespace apus

using namespace apus;

extern "C" __global__ void __launch_bounds__(1024) apus_decode_pack_layer(const __grid_constant__ LayerWeights w, u8* chunks) {
    const int block = blockIdx.x / layerChunks, group = block / members, member = block % members;
    const int warp = threadIdx.x / (32 * chunkFragments), fragment = threadIdx.x / 32 % chunkFragments, lane = threadIdx.x % 32;
    int chunk = blockIdx.x % layerChunks, product = 0, columnBlocks = Input::columnBlocks, columns = hidden;
    if (chunk >= Input::chunks) {
        chunk -= Input::chunks;
        product = 1, columnBlocks = Output::columnBlocks, columns = groupHeadSize;
        if (chunk >= Output::chunks) {
            chunk -= Output::chunks;
            product = 2, columnBlocks = Gated::columnBlocks, columns = hidden;
            if (chunk >= Gated::chunks) chunk -= Gated::chunks, product = 3, columnBlocks = Down::columnBlocks, columns = groupChannels;
        }
    }
    const int index = chunk * chunkFragments + fragment, rowGroup = index / columnBlocks;
    const int column = (warp * columnBlocks + index % columnBlocks) * 16 + lane % 4 * 2;
    u32 words[4];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        const int i = rowGroup * 16 + lane / 4 + half * 8;
        const u16* row;
        if (product == 0) row = inputRow(w, group, member, i);
        else if (product == 1) row = residualRow(w.o, group, member, i, groupHeadSize);
        else if (product == 2) row = gatedRow(w, group, member, i);
        else row = residualRow(w.down, group, member, i, groupChannels);
        words[half] = pairAt(row, column, columns);
        words[half + 2] = pairAt(row, column + 8, columns);
    }
    *reinterpret_cast<Vec4*>(chunks + static_cast<i64>(blockIdx.x) * chunkBytes + threadIdx.x * 16) = {words[0], words[1], words[2], words[3]};
}

extern "C" __global__ void __launch_bounds__(1024) apus_decode_pack_head(const u16* head, u8* chunks) {
    const int block = blockIdx.x / headChunks, chunk = blockIdx.x % headChunks;
    const int warp = threadIdx.x / (32 * chunkFragments), fragment = threadIdx.x / 32 % chunkFragments, lane = threadIdx.x % 32;
    const int round = chunk / headRoundChunks, columnBlock = chunk % headRoundChunks * chunkFragments + fragment;
    const int row = ((round * blocks + block) * warps + warp) * 8 + lane / 4;
    const u16* source = row < vocabulary ? head + static_cast<i64>(row) * hidden : nullptr;
    u32 words[4];
#pragma unroll
    for (int half = 0; half < 2; ++half) {  // rows 8 to 15 of the fragment: the second half of the columns
        const int column = (half * headBlocks + columnBlock) * 16 + lane % 4 * 2;
        words[half] = pairAt(source, column, hidden);
        words[half + 2] = pairAt(source, column + 8, hidden);
    }
    *reinterpret_cast<Vec4*>(chunks + static_cast<i64>(blockIdx.x) * chunkBytes + threadIdx.x * 16) = {words[0], words[1], words[2], words[3]};
}

extern "C" __global__ void __launch_bounds__(256) apus_decode_pack_norm(const float* norm, float* out, float offset, int isHead) {
    if (isHead) {
        for (int i = threadIdx.x; i < headSize; i += 256) out[i] = norm[i] + offset;
        return;
    }
    for (int slot = threadIdx.x; slot < residualSlots; slot += 256)
        for (int j = 0; j < 8; ++j)
            out[slot * 8 + j] = j < slotCount(slot) ? norm[slotStart(slot) + j] + offset : 0.0f;
}
