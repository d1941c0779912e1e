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

enum { WARM_BYTES = 128 << 10 };

// rows of one tile, at k deep in the product: the sums of `panels` packed panels go to y (or the gates), columns valid.
INLINE void tile_to(
    const linear_scratch *scratch, const float *x, size_t rows, size_t first_panel, size_t columns, size_t depth, float *y, size_t y_stride, bool add
) {
    const size_t whole = columns / PANEL, left = columns - whole * PANEL;
    const float *panels = scratch->panels + first_panel * DEPTH * PANEL;
    for (size_t k = 0; k < depth; k += SUM_DEPTH) {
        const size_t length = depth - k < SUM_DEPTH ? depth - k : SUM_DEPTH;
        const bool adds = add || k > 0;
        tile_row(rows, whole, length, x + k, panels + k * PANEL, PANEL, DEPTH * PANEL, y, PANEL, y_stride, adds ? TILE_ADD : 0);
        if (left == 0) continue;
        tile_row(rows, 1, length, x + k, panels + (whole * DEPTH + k) * PANEL, PANEL, 0, scratch->tile, 0, PANEL, 0);
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
            ask_next(job, part, job->w, k + depth, i, tiles);
            if (job->up) ask_next(job, part, job->up, k + depth, i, tiles);
            const float *x = packed_block(job, k, t, TILE_STRIDE * sizeof(float));
            if (!x) {
                pack_rows(rows, depth, job->x + t * job->x_stride + k, job->x_stride, scratch->x);
                x = scratch->x;
            }
            float *y = job->y + t * job->y_stride + part->n0;
            tile_to(scratch, x, rows, up_panel, columns, depth, y, job->y_stride, add);
            if (!job->up) continue;
            enum { STRIDE = ITEM_PANELS / 2 * PANEL };
            float *gates = scratch->gates + (t - t0) * STRIDE;
            tile_to(scratch, x, rows, 0, columns, depth, gates, STRIDE, add);
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

// A strip of a matrix whose rows follow each other: what comes next is one stream of lines.
INLINE strip_place place_in_stream(const linear_job *job, const linear_part *part, const void *matrix, size_t n, const float *x) {
    const size_t row_bytes = job->K * element_bytes(job->w_type), bytes = STRIP * row_bytes;
    const char *w = (const char *)matrix + n * row_bytes;
    return (strip_place){
        .w = w,
        .row_bytes = row_bytes,
        .x = x,
        .x_stride = job->x_stride,
        .next = (uintptr_t)w + (bytes < LEAST_AHEAD ? LEAST_AHEAD : bytes),
        .line_step = 64,
        .block_step = STRIP * 64,
        .limit = (uintptr_t)matrix + part->stream_end * row_bytes,
        .between = bytes < MOST_BETWEEN ? bytes : MOST_BETWEEN,
    };
}

// Reads a strip once from end to end: nobody asked for a stream's first strip, and memory answers one long read sooner than many short ones.
INLINE void warm(const linear_job *job, const linear_part *part, const void *matrix) {
    const size_t row_bytes = job->K * element_bytes(job->w_type);
    const char *begin = (const char *)matrix + part->n0 * row_bytes;
    const size_t bytes = (part->n1 - part->n0 < STRIP ? part->n1 - part->n0 : STRIP) * row_bytes;
    if (bytes > WARM_BYTES) return;
    for (size_t i = 0; i < bytes; i += 64) {
        uint8_t first = (uint8_t)begin[i];
        __asm__ volatile("" : : "r"(first));
    }
}

// The strips of a part whose columns are whole strips. More rows than one body takes pass again over a strip that is near by then.
static void linear_strips(const linear_job *job, const linear_part *part) {
    const size_t passes = (part->t1 - part->t0 + STRIP_ROWS - 1) / STRIP_ROWS;
    if (part->stream_begins) {
        warm(job, part, job->w);
        if (job->up) warm(job, part, job->up);
    }
    for (size_t n = part->n0; n < part->n1; n += STRIP) {
        for (size_t i = 0; i < passes; i++) {
            const size_t t = part->t0 + (part->t1 - part->t0) * i / passes;
            const size_t rows = part->t0 + (part->t1 - part->t0) * (i + 1) / passes - t;
            const strip_function strip = strip_functions[rows - 1];
            float *y = job->y + t * job->y_stride + n;
            const strip_place at = place_in_stream(job, part, job->w, n, job->x + t * job->x_stride);
            if (!job->up) {
                strip(job->w_type, job->K, &at, y, job->y_stride, job->accumulate);
                continue;
            }
            float gates[STRIP_ROWS * STRIP];
            const strip_place up = place_in_stream(job, part, job->up, n, job->x + t * job->x_stride);
            strip(job->w_type, job->K, &at, gates, STRIP, false);
            strip(job->w_type, job->K, &up, y, job->y_stride, false);
            for (size_t m = 0; m < rows; m++) activate_gates(gates + m * STRIP, y + m * job->y_stride, STRIP, job->activation);
        }
    }
}

static void linear(const linear_job *job, const linear_part *part, float *memory) {
    linear_part strips = *part, rest = *part;
    if (job->T <= FEW_ROWS) {
        strips.n1 = rest.n0 = part->n0 + (part->n1 - part->n0) / STRIP * STRIP;
        linear_strips(job, &strips);
    }
    if (rest.n0 < rest.n1) linear_panels(job, &rest, memory);
}
