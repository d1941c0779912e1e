// y = x w^T for a few panels of columns and a range of rows; gated: y = activation(x gate^T) * (x up^T).
//
// Weights are unpacked to fp32 panels [depth, PANEL], DEPTH products deep, and stay in the second-level cache while all rows pass.
// Sums: over SUM_DEPTH products in order, then over those sums in order, whatever T is.

typedef struct {
    float *panels;  // [ITEM_PANELS][DEPTH][PANEL]
    float *x;       // [TILE_ROWS][TILE_STRIDE]
    float *tile;    // [TILE_ROWS][PANEL]
    float *gates;   // [GATED_ROWS][ITEM_PANELS / 2 * PANEL]
} linear_scratch;

INLINE void activate_gates(const float *gates, float *up, size_t columns, apus_activation activation) {
    size_t i = 0;
    for (; i + LANES <= columns; i += LANES) store(up + i, activate(load(gates + i), activation) * load(up + i));
    if (i < columns) {
        const size_t left = columns - i;
        store_some(up + i, activate(load_some(gates + i, left), activation) * load_some(up + i, left), left);
    }
}

INLINE void finish_row(float *y, const float *sums, size_t columns, bool add) {
    size_t i = 0;
    if (!add) {
        memcpy(y, sums, columns * sizeof(float));
        return;
    }
    for (; i + LANES <= columns; i += LANES) store(y + i, load(y + i) + load(sums + i));
    for (; i < columns; i++) y[i] += sums[i];
}

// rows of one tile, at k deep in the product: the sums of `panels` packed panels go to y (or the gates), columns valid.
INLINE void tile_to(
    const linear_scratch *scratch, size_t rows, size_t first_panel, size_t columns, size_t depth, float *y, size_t y_stride, bool add
) {
    const size_t whole = columns / PANEL, left = columns - whole * PANEL;
    const float *panels = scratch->panels + first_panel * DEPTH * PANEL;
    for (size_t k = 0; k < depth; k += SUM_DEPTH) {
        const size_t length = depth - k < SUM_DEPTH ? depth - k : SUM_DEPTH;
        const bool adds = add || k > 0;
        tile_row(rows, whole, length, scratch->x + k, panels + k * PANEL, PANEL, DEPTH * PANEL, y, PANEL, y_stride, adds ? TILE_ADD : 0);
        if (left == 0) continue;
        tile_row(rows, 1, length, scratch->x + k, panels + (whole * DEPTH + k) * PANEL, PANEL, 0, scratch->tile, 0, PANEL, 0);
        for (size_t m = 0; m < rows; m++) finish_row(y + m * y_stride + whole * PANEL, scratch->tile + m * PANEL, left, adds);
    }
}

// Unpacks columns [n0, n1) of w, products [k, k + depth), to panels from first_panel on.
INLINE void unpack(const linear_job *job, const void *w, size_t n0, size_t n1, size_t k, size_t depth, float *panels) {
    for (size_t n = n0; n < n1; n += PANEL) {
        const size_t count = n1 - n < PANEL ? n1 - n : PANEL;
        pack_weights(element(w, job->w_type, n * job->K + k), job->w_type, job->K, count, depth, panels + (n - n0) * DEPTH);
    }
}

// Many rows.
INLINE void linear_rows(const linear_job *job, const linear_part *part, const linear_scratch *scratch, size_t t0, size_t t1) {
    const size_t columns = part->n1 - part->n0;
    const size_t up_panel = job->up ? (columns + PANEL - 1) / PANEL : 0;
    const size_t tiles = (t1 - t0 + TILE_ROWS - 1) / TILE_ROWS;
    for (size_t k = 0; k < job->K; k += DEPTH) {
        const size_t depth = job->K - k < DEPTH ? job->K - k : DEPTH;
        unpack(job, job->w, part->n0, part->n1, k, depth, scratch->panels);
        if (job->up) unpack(job, job->up, part->n0, part->n1, k, depth, scratch->panels + up_panel * DEPTH * PANEL);
        const bool add = k > 0 || job->accumulate;
        const bool last = k + depth == job->K;
        for (size_t i = 0; i < tiles; i++) {
            const size_t t = t0 + (t1 - t0) * i / tiles, rows = t0 + (t1 - t0) * (i + 1) / tiles - t;
            pack_rows(rows, depth, job->x + t * job->x_stride + k, job->x_stride, scratch->x);
            float *y = job->y + t * job->y_stride + part->n0;
            tile_to(scratch, rows, up_panel, columns, depth, y, job->y_stride, add);
            if (!job->up) continue;
            enum { STRIDE = ITEM_PANELS / 2 * PANEL };
            float *gates = scratch->gates + (t - t0) * STRIDE;
            tile_to(scratch, rows, 0, columns, depth, gates, STRIDE, add);
            if (!last) continue;
            for (size_t m = 0; m < rows; m++) activate_gates(gates + m * STRIDE, y + m * job->y_stride, columns, job->activation);
        }
    }
}

static void linear_panels(const linear_job *job, const linear_part *part, float *memory) {
    linear_scratch scratch;
    scratch.panels = memory;
    scratch.x = scratch.panels + SCRATCH_PANELS;
    scratch.tile = scratch.x + SCRATCH_X;
    scratch.gates = scratch.tile + SCRATCH_TILE;
    for (size_t t = part->t0; t < part->t1; t += GATED_ROWS) {
        const size_t end = part->t1 - t < GATED_ROWS ? part->t1 : t + GATED_ROWS;
        linear_rows(job, part, &scratch, t, end);
    }
}
