// y = x w^T for many rows, x and w as pairs of bfloat16: the shape of linear.h with panels of pairs.
//
// A panel is [depth / 2][PANEL] pairs of neighbours in k, a tile of x [rows][PAIR_STRIDE] pairs; one instruction adds both products of a pair to
// the fp32 sum of its column. Sums: over DEPTH products in order of pairs, then over those sums in order, whatever T is.

enum {
    PAIRS = DEPTH / 2,
    PAIR_STRIDE = TILE_STRIDE / 2,
    ROUNDED_PANELS = 2 * ITEM_PANELS,  // a panel of pairs is half as large
};

typedef struct {
    uint32_t *panels;  // [ROUNDED_PANELS][PAIRS][PANEL]
    uint32_t *x;       // [TILE_ROWS][PAIR_STRIDE]
    float *tile;       // [TILE_ROWS][PANEL]
    float *gates;      // [GATED_ROWS][ROUNDED_PANELS / 2 * PANEL]
} rounded_scratch;

// Pairs of PANEL rows of w; rows past count and products past depth become zeros.
static void pack_pairs(const void *w, size_t stride, size_t count, size_t depth, uint32_t *panel) {
    for (size_t first = 0; first < PANEL; first += LANES) {
        for (size_t k = 0; k < depth; k += 2 * LANES) {
            vector block[LANES];
            const size_t left = depth - k;
            for (size_t i = 0; i < LANES; i++) {
                const void *row = element(w, APUS_BF16, (first + i) * stride + k);
                if (first + i >= count) {
                    block[i] = 0;
                } else if (left >= 2 * LANES) {
                    block[i] = load(row);
                } else {
                    block[i] = 0;
                    memcpy(&block[i], row, left * sizeof(uint16_t));
                }
            }
            transpose(block);
            for (size_t i = 0; i < LANES && 2 * i < left; i++) memcpy(panel + (k / 2 + i) * PANEL + first, &block[i], sizeof block[i]);
        }
    }
}

// Rows of x, rounded to the nearest; an odd end is filled with zero.
void apus_pack_avx512bf16(size_t rows, size_t depth, const float *x, size_t x_stride, void *to) {
    uint32_t *tile = to;
    for (size_t m = 0; m < rows; m++, x += x_stride, tile += PAIR_STRIDE) {
        for (size_t k = 0; k < depth; k += LANES) {
            const vector v = depth - k >= LANES ? load(x + k) : load_some(x + k, depth - k);
            const __m256bh rounded = _mm512_cvtneps_pbh((__m512)v);
            memcpy(tile + k / 2, &rounded, sizeof rounded);
        }
    }
}

INLINE void pair_tile_body(const size_t M, size_t pairs, const uint32_t *x, const uint32_t *panel, float *c, size_t c_stride, bool add) {
    vector sum[TILE_ROWS][PANEL_VECTORS];
#pragma unroll
    for (size_t m = 0; m < M; m++) {
#pragma unroll
        for (size_t v = 0; v < PANEL_VECTORS; v++) sum[m][v] = 0;
    }
    for (size_t k = 0; k < pairs; k++) {
        __m512bh b[PANEL_VECTORS];
#pragma unroll
        for (size_t v = 0; v < PANEL_VECTORS; v++) memcpy(&b[v], panel + k * PANEL + v * LANES, sizeof b[v]);
#pragma unroll
        for (size_t m = 0; m < M; m++) {
            const __m512bh a = (__m512bh)_mm512_set1_epi32((int)x[m * PAIR_STRIDE + k]);
#pragma unroll
            for (size_t v = 0; v < PANEL_VECTORS; v++) sum[m][v] = (vector)_mm512_dpbf16_ps((__m512)sum[m][v], a, b[v]);
        }
    }
#pragma unroll
    for (size_t m = 0; m < M; m++) {
#pragma unroll
        for (size_t v = 0; v < PANEL_VECTORS; v++) {
            float *out = c + m * c_stride + v * LANES;
            store(out, add ? load(out) + sum[m][v] : sum[m][v]);
        }
    }
}

#define DEFINE_PAIR_TILE(M)                                                                                                         \
    KERNEL void pair_tile_##M(size_t pairs, const uint32_t *x, const uint32_t *panel, float *c, size_t c_stride, bool add) { \
        pair_tile_body(M, pairs, x, panel, c, c_stride, add);                                                                \
    }
DEFINE_PAIR_TILE(1)
DEFINE_PAIR_TILE(2)
DEFINE_PAIR_TILE(3)
DEFINE_PAIR_TILE(4)
DEFINE_PAIR_TILE(5)
DEFINE_PAIR_TILE(6)
DEFINE_PAIR_TILE(7)
DEFINE_PAIR_TILE(8)
DEFINE_PAIR_TILE(9)
DEFINE_PAIR_TILE(10)
DEFINE_PAIR_TILE(11)
DEFINE_PAIR_TILE(12)
DEFINE_PAIR_TILE(13)
DEFINE_PAIR_TILE(14)

typedef void (*pair_tile_function)(size_t, const uint32_t *, const uint32_t *, float *, size_t, bool);
static const pair_tile_function pair_tiles[TILE_ROWS] = {
    pair_tile_1, pair_tile_2, pair_tile_3,  pair_tile_4,  pair_tile_5,  pair_tile_6,  pair_tile_7,
    pair_tile_8, pair_tile_9, pair_tile_10, pair_tile_11, pair_tile_12, pair_tile_13, pair_tile_14,
};

// The sums of one tile of x with the panels of `columns` columns go to y or are added to it.
INLINE void pair_tiles_to(
    const rounded_scratch *scratch, const uint32_t *x, size_t rows, size_t first_panel, size_t columns, size_t pairs, float *y, size_t y_stride, bool add
) {
    for (size_t n = 0; n < columns; n += PANEL) {
        const uint32_t *panel = scratch->panels + (first_panel + n / PANEL) * PAIRS * PANEL;
        if (columns - n >= PANEL) {
            pair_tiles[rows - 1](pairs, x, panel, y + n, y_stride, add);
            continue;
        }
        pair_tiles[rows - 1](pairs, x, panel, scratch->tile, PANEL, false);
        for (size_t m = 0; m < rows; m++) finish_row(y + m * y_stride + n, scratch->tile + m * PANEL, columns - n, add);
    }
}

INLINE void unpack_pairs(const linear_job *job, const linear_part *part, const void *w, size_t k, size_t depth, uint32_t *panels) {
    for (size_t n = part->n0; n < part->n1; n += PANEL, panels += PAIRS * PANEL) {
        pack_pairs(element(w, APUS_BF16, n * job->K + k), job->K, part->n1 - n < PANEL ? part->n1 - n : PANEL, depth, panels);
    }
}

INLINE void rounded_rows(const linear_job *job, const linear_part *part, const rounded_scratch *scratch, size_t t0, size_t t1) {
    enum { STRIDE = ROUNDED_PANELS / 2 * PANEL };
    const size_t columns = part->n1 - part->n0;
    const size_t up_panel = job->up ? (columns + PANEL - 1) / PANEL : 0;
    const size_t tiles = (t1 - t0 + TILE_ROWS - 1) / TILE_ROWS;
    for (size_t k = 0; k < job->K; k += DEPTH) {
        const size_t depth = job->K - k < DEPTH ? job->K - k : DEPTH, pairs = (depth + 1) / 2;
        unpack_pairs(job, part, job->w, k, depth, scratch->panels);
        if (job->up) unpack_pairs(job, part, job->up, k, depth, scratch->panels + up_panel * PAIRS * PANEL);
        const bool add = k > 0 || job->accumulate;
        for (size_t i = 0; i < tiles; i++) {
            const size_t t = t0 + (t1 - t0) * i / tiles, rows = t0 + (t1 - t0) * (i + 1) / tiles - t;
            ask_next(job, part, job->w, k + depth, i, tiles);
            if (job->up) ask_next(job, part, job->up, k + depth, i, tiles);
            const uint32_t *x = packed_block(job, k, t, PAIR_STRIDE * sizeof(uint32_t));
            if (!x) {
                apus_pack_avx512bf16(rows, depth, job->x + t * job->x_stride + k, job->x_stride, scratch->x);
                x = scratch->x;
            }
            float *y = job->y + t * job->y_stride + part->n0;
            pair_tiles_to(scratch, x, rows, up_panel, columns, pairs, y, job->y_stride, add);
            if (!job->up) continue;
            float *gates = scratch->gates + (t - t0) * STRIDE;
            pair_tiles_to(scratch, x, rows, 0, columns, pairs, gates, STRIDE, add);
            if (k + depth < job->K) continue;
            for (size_t m = 0; m < rows; m++) activate_gates(gates + m * STRIDE, y + m * job->y_stride, columns, job->activation);
        }
    }
}

void apus_linear_avx512bf16(const linear_job *job, const linear_part *part, float *memory) {
    const rounded_scratch scratch = {
        .panels = (uint32_t *)memory,
        .x = (uint32_t *)(memory + SCRATCH_PANELS),
        .tile = memory + SCRATCH_PANELS + SCRATCH_X,
        .gates = memory + SCRATCH_PANELS + SCRATCH_X + SCRATCH_TILE,
    };
    for (size_t t = part->t0; t < part->t1; t += GATED_ROWS) {
        rounded_rows(job, part, &scratch, t, part->t1 - t < GATED_ROWS ? part->t1 : t + GATED_ROWS);
    }
}
