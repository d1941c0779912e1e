// What the rooms of this target share: the table of kernels that one level fills, the jobs that go through it, and the limits of the scratch.
#ifndef APUS_KERNELS_H
#define APUS_KERNELS_H

#include "include/CCPUKernels.h"

// Block sizes. They fix the order in which sums are taken, so they are the same for every shape and every number of threads.
enum {
    DEPTH = 256,            // products of a packed panel; keys in one attention block
    SUM_DEPTH = 128,        // products summed in registers before they are added to y
    TILE_STRIDE = 272,      // floats between rows of a packed tile: DEPTH and a pad that keeps rows out of one cache set
    MAX_TILE_ROWS = 14,     // rows of the largest register tile
    MAX_PANEL = 32,         // columns of the widest panel
    ITEM_PANELS = 4,        // panels that one work item holds unpacked
    GATED_ROWS = 448,       // rows whose gates one work item holds back
    STRIP = 16,             // rows of w that pass together where x has few rows
    FEW_ROWS = 16,          // rows of x up to which weights pass by strips
    ATTENTION_ROWS = 112,   // (query, head) rows of one attention work item
};

// Scratch of one thread, carved by hand: all sizes in floats.
enum {
    SCRATCH_PANELS = DEPTH * MAX_PANEL * ITEM_PANELS,
    SCRATCH_X = MAX_TILE_ROWS * TILE_STRIDE,
    SCRATCH_TILE = MAX_TILE_ROWS * MAX_PANEL,
    SCRATCH_GATES = GATED_ROWS * MAX_PANEL * ITEM_PANELS,
    SCRATCH_ATTENTION = 2 * ATTENTION_ROWS * TILE_STRIDE + 4 * ATTENTION_ROWS,
    SCRATCH_FLOATS = SCRATCH_PANELS + SCRATCH_X + SCRATCH_TILE + SCRATCH_GATES + SCRATCH_ATTENTION,
};

// One matrix product, gated when up is set (then w is the gate).
typedef struct {
    size_t T, N, K;
    const float *x;
    size_t x_stride;
    const void *packed;  // x as tiles want it, when one pass has packed it for all parts: packed_block
    const void *w;
    const void *up;
    apus_dtype w_type;
    apus_activation activation;
    float *y;
    size_t y_stride;
    bool accumulate;
} linear_job;

// The columns [n0, n1) (n0 a multiple of the panel or strip) and rows [t0, t1) of a product.
typedef struct {
    size_t n0, n1, t0, t1;
    size_t stream_end;  // the column up to which this thread will probably go on
    bool stream_begins; // whether it begins here
} linear_part;

// The rows [r0, r1) of (query, head of the group) pairs of one sequence and key-value head. Row r is query r / group, head r % group.
typedef struct {
    const apus_attention_problem *problem;
    size_t sequence, kv_head, r0, r1;
} attention_part;

// Results of key blocks that were computed apart: [row of the problem][block][D + 2], the last two being maximum and sum.
typedef struct {
    float *values;
    size_t blocks;
} attention_partials;

typedef struct {
    const float *x;
    float *y;
    size_t T, K, x_stride, y_stride;
    const void *w;
    apus_dtype w_type;
    float weight_offset, epsilon;
    bool add;
} norm_job;

typedef struct {
    float *x;
    size_t heads, D, x_stride;
    const void *w;
    apus_dtype w_type;
    float weight_offset, epsilon;
    const float *cosine, *sine;
    const int32_t *positions;
} rope_job;

typedef void (*linear_function)(const linear_job *job, const linear_part *part, float *scratch);
// Rows of x, depth products of them, to rows that are TILE_STRIDE floats apart, or half of that where pairs are packed.
typedef void (*pack_function)(size_t rows, size_t depth, const float *x, size_t x_stride, void *tile);

// The kernels of one level.
typedef struct {
    const char *name;
    size_t panel;      // columns of a weight panel
    size_t tile_rows;  // rows of a register tile
    linear_function linear;
    // All key blocks of the part, to the problem's out.
    void (*attention)(const attention_part *part, float *scratch);
    // One key block of the part, to partials.
    void (*attention_block)(const attention_part *part, size_t block, const attention_partials *partials, float *scratch);
    // Joins the partials of one row of the problem (token t, head h).
    void (*attention_join)(const apus_attention_problem *problem, size_t row, const attention_partials *partials);
    void (*norm)(const norm_job *job, size_t t0, size_t t1);
    void (*rope)(const rope_job *job, size_t t0, size_t t1);
    void (*scaled_to_float)(size_t count, const void *source, apus_dtype type, float scale, float *destination);
    void (*to_bfloat16)(size_t count, const void *source, apus_dtype type, const float *factors, uint16_t *destination);
    bool (*is_finite)(size_t count, const void *source, apus_dtype type);
    void (*l2_normalize)(size_t K, float *x);
    float (*dot)(size_t count, const float *a, const float *b);
    uint64_t (*sum_words)(const uint64_t *words, size_t count);
} kernel_table;

const kernel_table *apus_kernels(void);
// The linear layer that rounds x to bfloat16, for bfloat16 weights and more than FEW_ROWS rows; NULL where it would not be faster.
linear_function apus_rounded_linear(void);
pack_function apus_rounded_pack(void);
extern const kernel_table apus_kernels_plain;
#if defined(__x86_64__)
extern const kernel_table apus_kernels_avx2;
extern const kernel_table apus_kernels_avx512;
void apus_linear_avx512bf16(const linear_job *job, const linear_part *part, float *scratch);
void apus_pack_avx512bf16(size_t rows, size_t depth, const float *x, size_t x_stride, void *tile);
#elif defined(__aarch64__)
extern const kernel_table apus_kernels_neon;
#endif

// ---- The pool's side that kernels see

// The scratch of the thread that runs a body: SCRATCH_FLOATS floats, 64-byte aligned.
float *apus_pool_scratch(void);
// The indices that the running thread began with: it comes to them in order.
void apus_pool_own_range(size_t *first, size_t *end);
// Runs on the caller alone, with its scratch; for work too small to share.
void apus_pool_run_alone(apus_pool *pool, size_t count, void (*body)(void *context, size_t index), void *context);
bool apus_pool_rounds(const apus_pool *pool);
// Memory of the whole pool that only one call at a time uses.
enum { POOL_SHARED_FLOATS = 2 << 20 };
float *apus_pool_shared(apus_pool *pool);

#endif
