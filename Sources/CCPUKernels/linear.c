// Splits a matrix product into work items and hands them to the team.
#include <string.h>

#include "kernels.h"

typedef struct {
    const linear_job *job;
    linear_function function;
    size_t unit;          // columns that stay together: a panel or a strip
    size_t units;         // of the whole product
    size_t column_parts;  // items along N
    size_t row_parts;     // items along T
} linear_split;

static size_t first_column(const linear_split *split, size_t part) {
    const size_t column = split->units * part / split->column_parts * split->unit;
    return column < split->job->N ? column : split->job->N;
}

static void run_item(void *context, size_t index) {
    const linear_split *split = context;
    const linear_job *job = split->job;
    const size_t column = index / split->row_parts, row = index % split->row_parts;
    size_t first, end;
    apus_pool_own_range(&first, &end);
    const bool own = first <= index && index < end;
    linear_part part;
    part.n0 = first_column(split, column);
    part.n1 = first_column(split, column + 1);
    part.stream_end = first_column(split, own ? end / split->row_parts : column + 1);
    part.stream_begins = !own || index == first;
    part.t0 = job->T * row / split->row_parts;
    part.t1 = job->T * (row + 1) / split->row_parts;
    split->function(job, &part, apus_pool_scratch());
}

static size_t divide_up(size_t a, size_t b) { return (a + b - 1) / b; }
static size_t least(size_t a, size_t b) { return a < b ? a : b; }
static size_t most(size_t a, size_t b) { return a > b ? a : b; }

enum {
    ITEMS_PER_THREAD = 4,
    LEAST_TILES = 3,          // rows of an item, in tiles, when T is split
    STREAM_BYTES = 32 << 10,  // weights of an item that streams them
    ALONE = 1 << 15,          // products below which one thread is faster
};

// Few rows: items of about STREAM_BYTES, so that threads finish together.
static void split_strips(linear_split *split) {
    const linear_job *job = split->job;
    split->unit = STRIP;
    split->units = divide_up(job->N, STRIP);
    const size_t bytes = STRIP * job->K * (job->w_type == APUS_F32 ? 4 : 2) * (job->up ? 2 : 1);
    split->column_parts = divide_up(split->units, most(1, STREAM_BYTES / bytes));
}

// Many rows: by columns, which share nothing. By rows too only when columns do not feed everybody, since each part unpacks the weights again.
static void split_panels(linear_split *split, const kernel_table *kernels, size_t most_panels, size_t threads) {
    const linear_job *job = split->job;
    split->unit = kernels->panel;
    split->units = divide_up(job->N, split->unit);
    const size_t wanted = threads == 1 ? 1 : threads * ITEMS_PER_THREAD;
    split->column_parts = most(divide_up(split->units, most_panels), least(wanted, split->units));
    const size_t row_parts = divide_up(threads * 2, split->column_parts);
    const size_t tiles = job->T / kernels->tile_rows;
    if (threads > 1 && row_parts > 1) split->row_parts = most(1, least(row_parts, tiles / LEAST_TILES));
}

static void copy_rows(size_t rows, size_t depth, const float *x, size_t x_stride, void *to) {
    float *tile = to;
    for (size_t i = 0; i < rows; i++) memcpy(tile + i * TILE_STRIDE, x + i * x_stride, depth * sizeof(float));
}

// Packing x once, for all columns.
typedef struct {
    const linear_job *job;
    pack_function pack;
    char *to;
    size_t row_bytes;
} x_packing;

enum { PACKED_ROWS = 16 };

static void pack_item(void *context, size_t index) {
    const x_packing *packing = context;
    const linear_job *job = packing->job;
    const size_t t = index * PACKED_ROWS, rows = least(PACKED_ROWS, job->T - t);
    for (size_t k = 0; k < job->K; k += DEPTH) {
        packing->pack(
            rows, least(DEPTH, job->K - k), job->x + t * job->x_stride + k, job->x_stride,
            packing->to + (k / DEPTH * job->T + t) * packing->row_bytes
        );
    }
}

// x in the pool's memory as tiles want it, where it fits there; else every item packs its own.
static const void *pack_x(apus_pool *pool, const linear_job *job, pack_function pack, size_t row_bytes) {
    const size_t blocks = divide_up(job->K, DEPTH);
    if (job->T > POOL_SHARED_FLOATS * sizeof(float) / row_bytes / blocks) return NULL;
    x_packing packing = {.job = job, .pack = pack, .to = (char *)apus_pool_shared(pool), .row_bytes = row_bytes};
    apus_pool_run(pool, divide_up(job->T, PACKED_ROWS), pack_item, &packing);
    return packing.to;
}

static void run(apus_pool *pool, linear_job *job) {
    if (job->T == 0 || job->N == 0) return;
    if (job->K == 0) {
        if (job->accumulate) return;
        for (size_t t = 0; t < job->T; t++) memset(job->y + t * job->y_stride, 0, job->N * sizeof(float));
        return;
    }
    const kernel_table *kernels = apus_kernels();
    linear_split split = {.job = job, .function = kernels->linear, .column_parts = 1, .row_parts = 1};
    if (job->T <= FEW_ROWS) {
        split_strips(&split);
    } else {
        size_t panels = job->up ? ITEM_PANELS / 2 : ITEM_PANELS;
        const linear_function rounded = apus_pool_rounds(pool) && job->w_type == APUS_BF16 ? apus_rounded_linear() : NULL;
        if (rounded) {
            split.function = rounded;
            panels *= 2;
        }
        if (job->T * job->K >= ALONE / job->N) {
            job->packed = rounded ? pack_x(pool, job, apus_rounded_pack(), TILE_STRIDE / 2 * sizeof(uint32_t))
                                  : pack_x(pool, job, copy_rows, TILE_STRIDE * sizeof(float));
        }
        split_panels(&split, kernels, panels, apus_pool_threads(pool));
    }
    const size_t items = split.column_parts * split.row_parts;
    if (job->T * job->K < ALONE / job->N) {
        apus_pool_run_alone(pool, items, run_item, &split);
    } else {
        apus_pool_run(pool, items, run_item, &split);
    }
}

void apus_linear(
    apus_pool *pool, size_t T, size_t N, size_t K, const float *x, size_t x_stride, const void *w, apus_dtype w_type, float *y, size_t y_stride,
    bool accumulate
) {
    linear_job job = {
        .T = T, .N = N, .K = K, .x = x, .x_stride = x_stride, .w = w, .w_type = w_type, .y = y, .y_stride = y_stride, .accumulate = accumulate,
    };
    run(pool, &job);
}

void apus_gated_linear(
    apus_pool *pool, size_t T, size_t N, size_t K, const float *x, size_t x_stride, const void *gate, const void *up, apus_dtype w_type,
    apus_activation activation, float *y, size_t y_stride
) {
    linear_job job = {
        .T = T, .N = N, .K = K, .x = x, .x_stride = x_stride, .w = gate, .up = up, .w_type = w_type, .activation = activation, .y = y, .y_stride = y_stride,
    };
    run(pool, &job);
}
