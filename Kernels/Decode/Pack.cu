// Packing of row-major weights into the megakernel's chunks; see Shape.cuh for the layout.
//
// Inputs: row-major bf16 matrices [out, in]: q [H D, C], k and v [G D, C], o [C, H D], gate and up [I / 8, 2, 8, C] (8 rows of
// gate, 8 of up), down [C, I]; head [V, C]; norm weights in fp32. Outputs: layer chunks [blocks, layerChunks, 16 KB], head chunks
// [blocks, headChunks, 16 KB], norms in fp32.
//
// With DECODE_WEIGHTS 8 the chunks hold E4M3 codes: a weight is its code times its row's factor, which is the largest magnitude of the
// whole row over 448 (1 for a row of zeros), rounded to nearest even. The factors come first, by kernels of their own.
//
// Mapping: one thread writes 16 bytes (four or eight pairs of neighbours in a row). Roof: bytes read and written once; runs once a load.
//
// Launch. apus_decode_pack_layer: grid blocks * layerChunks, block chunkBytes / 16. apus_decode_pack_head: grid blocks * headChunks,
// block chunkBytes / 16. apus_decode_pack_norm: one vector [C] to slot order (or [D] as it is), grid 1, block 256.
// apus_decode_pack_scales: a layer's factors [blocks, layerScales], grid blocks, block 256. apus_decode_pack_head_scales: [V], grid
// V / 8 rounded up, block 256. Both: a warp a row.

#include "Common/Float8.cuh"
#include "Decode/Products.cuh"

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
    return (row < groupHeadSize + headSize ? w.k : w.v) + static_cast<i64>(group / sharers * headSize + within) * hidden;
}
APUS_DEVICE const u16* gatedRow(const LayerWeights& w, int group, int member, int i) {
    const int j = i / 16 * 8 + i % 8, channel = member * pairs + j;
    if (j >= pairs || channel >= feedChannels) return nullptr;
    const int row = group * feedChannels + channel;
    return w.gated + static_cast<i64>(row / 8 * 16 + row % 8 + (i % 16 < 8 ? 0 : 8)) * hidden;
}
// Row i of a member's `rows`; the group's part of it.
APUS_DEVICE const u16* residualRow(const u16* matrix, int group, int member, int i, int rows, int columns, int groupCount) {
    const int row = member * rows + i;
    if (i >= rows || row >= hidden) return nullptr;
    return matrix + static_cast<i64>(row) * columns * groupCount + group * columns;
}

// Which row of which matrix lies in row `i` of a product's rows in a block, and how it is cut.
struct BlockRow {
    const u16* part;   // the block's own columns; null where there is no row
    const u16* whole;  // all of the row
    int columns, wholeColumns;
};
APUS_DEVICE BlockRow blockRow(const LayerWeights& w, int product, int block, int i) {
    BlockRow r = {nullptr, nullptr, hidden, hidden};
    if (product == 0) r.part = r.whole = inputRow(w, block / members, block % members, i);
    else if (product == 2) r.part = r.whole = gatedRow(w, block / feedMembers, block % feedMembers, i);
    else {
        const bool isOutput = product == 1;
        const int count = isOutput ? groups : feedGroups, size = blocks / count, group = block / size;
        r.columns = isOutput ? groupHeadSize : feedChannels;
        r.wholeColumns = r.columns * count;
        r.part = residualRow(isOutput ? w.o : w.down, group, block % size, i, isOutput ? outputUnits * unitRows : unitRows, r.columns, count);
        if (r.part != nullptr) r.whole = r.part - group * r.columns;
    }
    return r;
}

// The factor of a row, the same in all lanes of the warp.
APUS_DEVICE float rowFactor(const u16* row, int columns) {
    float largest = 0.0f;
    if (row != nullptr)
        for (int column = threadIdx.x % 32; column < columns; column += 32)
            largest = fmaxf(largest, fabsf(asFloat(static_cast<u32>(row[column]) << 16)));
#pragma unroll
    for (int offset = 16; offset > 0; offset /= 2) largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, offset));
    return largest > 0.0f ? __fdiv_rn(largest, Float8<DType::e4m3>::maximum) : 1.0f;
}

// A pair of bf16 as two codes.
APUS_DEVICE u32 codesOf(u32 pair, float factor) {
    const Float2 v = unpackBF16(pair);
    return encodePair<DType::e4m3, true>(__fdiv_rn(v.x, factor), __fdiv_rn(v.y, factor));
}

// The words of lane `lane` of a fragment whose rows i and i + 8 are given, from column `column` on: bf16, or codes in two words.
APUS_DEVICE void fragmentWords(u32* words, const u16* const (&rows)[2], const int (&from)[2], int columns, const float (&factors)[2]) {
    u32 pairs[4];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        pairs[half] = pairAt(rows[half], from[half], columns);
        pairs[half + 2] = pairAt(rows[half], from[half] + 8, columns);
    }
    if constexpr (hasCodes) {
#pragma unroll
        for (int i = 0; i < 2; ++i) words[i] = codesOf(pairs[2 * i], factors[0]) | codesOf(pairs[2 * i + 1], factors[1]) << 16;
    } else {
#pragma unroll
        for (int i = 0; i < 4; ++i) words[i] = pairs[i];
    }
}

constexpr int packThreads = chunkBytes / 16, readsPerWarp = chunkFragments / together;

}  // namespace apus

using namespace apus;

// `scales`: the layer's factors, null for bf16.
extern "C" __global__ void __launch_bounds__(packThreads) apus_decode_pack_layer(const __grid_constant__ LayerWeights w, u8* chunks,
                                                                                     const float* scales) {
    const int block = blockIdx.x / layerChunks;
    const int warp = threadIdx.x / (32 * readsPerWarp), read = threadIdx.x / 32 % readsPerWarp, lane = threadIdx.x % 32;
    int chunk = blockIdx.x % layerChunks, product = 0, columnBlocks = Input::columnBlocks, scaleAt = inputScales, paddedRows = Input::paddedRows;
    if (chunk >= Input::chunks) {
        chunk -= Input::chunks;
        product = 1, columnBlocks = Output::columnBlocks, scaleAt = outputScales, paddedRows = Output::paddedRows;
        if (chunk >= Output::chunks) {
            chunk -= Output::chunks;
            product = 2, columnBlocks = Gated::columnBlocks, scaleAt = gatedScales, paddedRows = Gated::paddedRows;
            if (chunk >= Gated::chunks) {
                chunk -= Gated::chunks;
                product = 3, columnBlocks = Down::columnBlocks, scaleAt = downScales, paddedRows = Down::paddedRows;
            }
        }
    }
    u32 words[4];
#pragma unroll
    for (int f = 0; f < together; ++f) {
        const int index = chunk * chunkFragments + read * together + f, rowGroup = index / columnBlocks;
        const int column = (warp * columnBlocks + index % columnBlocks) * 16 + lane % 4 * 2, i = rowGroup * 16 + lane / 4;
        const BlockRow low = blockRow(w, product, block, i), high = blockRow(w, product, block, i + 8);
        float factors[2] = {1.0f, 1.0f};
        if (hasCodes && i + 8 < paddedRows) {
            const float* from = scales + static_cast<i64>(block) * layerScales + scaleAt + i;
            factors[0] = from[0] * (1.0f / rowUnit), factors[1] = from[8] * (1.0f / rowUnit);
        }
        fragmentWords(words + f * 4 / together, {low.part, high.part}, {column, column}, low.columns, factors);
    }
    *reinterpret_cast<Vec4*>(chunks + static_cast<i64>(blockIdx.x) * chunkBytes + threadIdx.x * 16) = {words[0], words[1], words[2], words[3]};
}

extern "C" __global__ void __launch_bounds__(packThreads) apus_decode_pack_head(const u16* head, u8* chunks, const float* scales) {
    const int block = blockIdx.x / headChunks, chunk = blockIdx.x % headChunks;
    const int warp = threadIdx.x / (32 * readsPerWarp), read = threadIdx.x / 32 % readsPerWarp, lane = threadIdx.x % 32;
    const int round = chunk / headRoundChunks, row = ((round * blocks + block) * warps + warp) * 8 + lane / 4;
    const u16* source = row < vocabulary ? head + static_cast<i64>(row) * hidden : nullptr;
    const float factor = hasCodes && source != nullptr ? scales[row] * (1.0f / rowUnit) : 1.0f;
    u32 words[4];
#pragma unroll
    for (int f = 0; f < together; ++f) {
        // Rows 8 to 15 of the fragment: the second half of the columns.
        const int column = (chunk % headRoundChunks * chunkFragments + read * together + f) * 16 + lane % 4 * 2;
        fragmentWords(words + f * 4 / together, {source, source}, {column, column + headBlocks * 16}, hidden, {factor, factor});
    }
    *reinterpret_cast<Vec4*>(chunks + static_cast<i64>(blockIdx.x) * chunkBytes + threadIdx.x * 16) = {words[0], words[1], words[2], words[3]};
}

extern "C" __global__ void __launch_bounds__(256) apus_decode_pack_scales(const __grid_constant__ LayerWeights w, float* scales) {
    const int block = blockIdx.x;
    for (int at = threadIdx.x / 32; at < layerScales; at += warps) {
        const int product = at < outputScales ? 0 : at < gatedScales ? 1 : at < downScales ? 2 : 3;
        const int first = product == 0 ? inputScales : product == 1 ? outputScales : product == 2 ? gatedScales : downScales;
        const BlockRow row = blockRow(w, product, block, at - first);
        const float factor = rowFactor(row.whole, row.wholeColumns);
        if (threadIdx.x % 32 == 0) scales[static_cast<i64>(block) * layerScales + at] = factor * rowUnit;
    }
}

extern "C" __global__ void __launch_bounds__(256) apus_decode_pack_head_scales(const u16* head, float* scales) {
    const int row = blockIdx.x * warps + threadIdx.x / 32;
    if (row >= vocabulary) return;
    const float factor = rowFactor(head + static_cast<i64>(row) * hidden, hidden);
    if (threadIdx.x % 32 == 0) scales[row] = factor * rowUnit;
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
