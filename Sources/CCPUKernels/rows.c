// Row operations, shared among the threads only when there is enough to do.
#include "kernels.h"

// Floats that one thread handles in about the time it takes to wake the others.
enum { ALONE = 1 << 15, FLOATS_PER_ITEM = 1 << 14 };

typedef struct {
    const kernel_table *kernels;
    const void *job;
    size_t T;
    size_t items;
} row_split;

static void share(apus_pool *pool, const void *job, size_t T, size_t width, void (*body)(void *, size_t)) {
    if (T == 0 || width == 0) return;
    row_split split = {apus_kernels(), job, T, 1};
    if (T < ALONE / width) {
        apus_pool_run_alone(pool, 1, body, &split);
        return;
    }
    const size_t rows = width < FLOATS_PER_ITEM ? FLOATS_PER_ITEM / width : 1;
    split.items = (T + rows - 1) / rows;
    apus_pool_run(pool, split.items, body, &split);
}

static void norm_item(void *context, size_t index) {
    const row_split *split = context;
    split->kernels->norm(split->job, split->T * index / split->items, split->T * (index + 1) / split->items);
}

void apus_rms_norm(
    apus_pool *pool, size_t T, size_t K, const float *x, size_t x_stride, const void *w, apus_dtype w_type, float weight_offset, float epsilon,
    float *y, size_t y_stride
) {
    const norm_job job = {x, y, T, K, x_stride, y_stride, w, w_type, weight_offset, epsilon, false};
    share(pool, &job, T, K, norm_item);
}

void apus_rms_norm_add(
    apus_pool *pool, size_t T, size_t K, const float *x, size_t x_stride, const void *w, apus_dtype w_type, float weight_offset, float epsilon,
    float *y, size_t y_stride
) {
    const norm_job job = {x, y, T, K, x_stride, y_stride, w, w_type, weight_offset, epsilon, true};
    share(pool, &job, T, K, norm_item);
}

static void rope_item(void *context, size_t index) {
    const row_split *split = context;
    split->kernels->rope(split->job, split->T * index / split->items, split->T * (index + 1) / split->items);
}

void apus_norm_rope(
    apus_pool *pool, size_t T, size_t heads, size_t D, float *x, size_t x_stride, const void *w, apus_dtype w_type, float weight_offset,
    float epsilon, const float *cosine, const float *sine, const int32_t *positions
) {
    const rope_job job = {x, heads, D, x_stride, w, w_type, weight_offset, epsilon, cosine, sine, positions};
    share(pool, &job, T, heads * D, rope_item);
}

typedef struct {
    size_t K;
    const void *table;
    apus_dtype type;
    const int32_t *ids;
    float scale;
    float *y;
} gather_job;

static void gather_item(void *context, size_t index) {
    const row_split *split = context;
    const gather_job *job = split->job;
    const size_t bytes = job->type == APUS_F32 ? 4 : 2;
    for (size_t t = split->T * index / split->items; t < split->T * (index + 1) / split->items; t++) {
        const char *row = (const char *)job->table + (size_t)job->ids[t] * job->K * bytes;
        split->kernels->scaled_to_float(job->K, row, job->type, job->scale, job->y + t * job->K);
    }
}

void apus_gather_rows(apus_pool *pool, size_t T, size_t K, const void *table, apus_dtype type, const int32_t *ids, float scale, float *y) {
    const gather_job job = {K, table, type, ids, scale, y};
    share(pool, &job, T, K, gather_item);
}

void apus_to_float(size_t count, const void *source, apus_dtype type, float *destination) {
    apus_kernels()->scaled_to_float(count, source, type, 1, destination);
}

void apus_to_bfloat16(size_t count, const void *source, apus_dtype type, const float *factors, uint16_t *destination) {
    apus_kernels()->to_bfloat16(count, source, type, factors, destination);
}

bool apus_is_finite(size_t count, const void *source, apus_dtype type) { return apus_kernels()->is_finite(count, source, type); }

void apus_l2_normalize(size_t K, float *x) { apus_kernels()->l2_normalize(K, x); }

float apus_dot(size_t count, const float *a, const float *b) { return apus_kernels()->dot(count, a, b); }
