// Splits attention over (sequence, rows, key-value head); and over blocks of keys when that leaves threads without work, as in decoding.
#include "kernels.h"

typedef struct {
    const apus_attention_problem *problem;
    const kernel_table *kernels;
    size_t group;
    size_t blocks;  // of keys, in the longest sequence
    attention_partials partials;
} attention_split;

// Row parts are counted in slots: sequence s begins at slot floor(rows before it / ATTENTION_ROWS) + s, which leaves room for all its parts.
static size_t first_slot(const attention_split *split, size_t sequence) {
    const apus_attention_problem *p = split->problem;
    return (p->query_offsets[sequence] - p->query_offsets[0]) * split->group / ATTENTION_ROWS + sequence;
}

// Fills the part of a slot; false when the slot is empty.
static bool part_of(const attention_split *split, size_t index, attention_part *part) {
    const apus_attention_problem *p = split->problem;
    const size_t slot = index / p->key_value_heads;
    size_t low = 0, high = p->sequences;
    while (high - low > 1) {
        const size_t middle = low + (high - low) / 2;
        if (first_slot(split, middle) <= slot) {
            low = middle;
        } else {
            high = middle;
        }
    }
    part->problem = p;
    part->sequence = low;
    part->kv_head = index % p->key_value_heads;
    const size_t rows = (p->query_offsets[low + 1] - p->query_offsets[low]) * split->group;
    part->r0 = (slot - first_slot(split, low)) * ATTENTION_ROWS;
    if (part->r0 >= rows) return false;
    part->r1 = rows - part->r0 < ATTENTION_ROWS ? rows : part->r0 + ATTENTION_ROWS;
    return true;
}

static void run_part(void *context, size_t index) {
    const attention_split *split = context;
    attention_part part;
    if (part_of(split, index, &part)) split->kernels->attention(&part, apus_pool_scratch());
}

static void run_block(void *context, size_t index) {
    const attention_split *split = context;
    attention_part part;
    if (!part_of(split, index / split->blocks, &part)) return;
    split->kernels->attention_block(&part, index % split->blocks, &split->partials, apus_pool_scratch());
}

static void run_join(void *context, size_t row) {
    const attention_split *split = context;
    split->kernels->attention_join(split->problem, row, &split->partials);
}

void apus_attention(apus_pool *pool, const apus_attention_problem *p) {
    if (p->sequences == 0 || p->query_heads == 0 || p->head_dimension == 0) return;
    const size_t tokens = p->query_offsets[p->sequences] - p->query_offsets[0];
    if (tokens == 0) return;
    enum { ALONE = 1 << 14 };
    attention_split split = {.problem = p, .kernels = apus_kernels(), .group = p->query_heads / p->key_value_heads};
    size_t longest = 0;
    for (size_t s = 0; s < p->sequences; s++) {
        const size_t keys = p->key_offsets[s + 1] - p->key_offsets[s];
        if (keys > longest) longest = keys;
    }
    const size_t threads = apus_pool_threads(pool);
    const size_t slots = tokens * split.group / ATTENTION_ROWS + p->sequences;
    const size_t parts = slots * p->key_value_heads;
    if (threads > 1 && longest * tokens * p->query_heads < ALONE / p->head_dimension) {
        apus_pool_run_alone(pool, parts, run_part, &split);
        return;
    }
    split.blocks = (longest + DEPTH - 1) / DEPTH;
    if (threads > 1 && parts < 2 * threads && split.blocks > 1) {
        const size_t rows = tokens * p->query_heads;
        if (rows * split.blocks <= POOL_SHARED_FLOATS / (p->head_dimension + 2)) {
            split.partials = (attention_partials){apus_pool_shared(pool), split.blocks};
            apus_pool_run(pool, parts * split.blocks, run_block, &split);
            apus_pool_run(pool, rows, run_join, &split);
            return;
        }
    }
    apus_pool_run(pool, parts, run_part, &split);
}
