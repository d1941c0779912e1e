// What reading memory costs here: the bound that decoding is measured against.
#include <stdatomic.h>

#include "kernels.h"

typedef struct {
    const kernel_table *kernels;
    const uint64_t *words;
    size_t count;
    _Atomic(uint64_t) sum;
} probe;

enum { WORDS_PER_ITEM = 1 << 16 };

static void probe_item(void *context, size_t index) {
    probe *job = context;
    const size_t begin = index * WORDS_PER_ITEM;
    const size_t count = job->count - begin < WORDS_PER_ITEM ? job->count - begin : WORDS_PER_ITEM;
    atomic_fetch_add_explicit(&job->sum, job->kernels->sum_words(job->words + begin, count), memory_order_relaxed);
}

uint64_t apus_read_bandwidth_probe(apus_pool *pool, const void *bytes, size_t count) {
    probe job = {.kernels = apus_kernels(), .words = bytes, .count = count / sizeof(uint64_t)};
    apus_pool_run(pool, (job.count + WORDS_PER_ITEM - 1) / WORDS_PER_ITEM, probe_item, &job);
    return atomic_load(&job.sum);
}
