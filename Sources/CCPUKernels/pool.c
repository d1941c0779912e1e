// A fixed team of threads that runs one indexed job at a time.
//
// Each thread owns a contiguous range of the indices, which it takes from the front, so that it walks contiguous memory; when its own is empty
// it takes from the back of another's.
// A thread that comes late, because it slept or lost its core, finds the job closed and does nothing: the caller waits only for indices
// that somebody has taken. Idle threads spin for SPIN_NANOSECONDS, which bridges the gaps inside a decode step, and then sleep.
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kernels.h"

enum { CACHE_LINE = 64, SPIN_NANOSECONDS = 40000, PAUSES_PER_LOOK = 32 };

// state: the job's number in the upper half, OPEN, and the count of workers inside in the low bits.
#define OPEN ((uint64_t)1 << 31)
#define INSIDE (OPEN - 1)
#define JOB(state) ((state) >> 32)

// The indices that are left: the first in the lower half, the end in the upper.
typedef struct {
    _Alignas(CACHE_LINE) _Atomic(uint64_t) left;
} range;

struct apus_pool {
    _Alignas(CACHE_LINE) _Atomic(uint64_t) state;
    _Alignas(CACHE_LINE) _Atomic(int) sleepers;
    _Atomic(bool) caller_sleeps;
    _Atomic(bool) stopping;
    size_t threads;
    size_t started;
    range *ranges;
    void (*body)(void *, size_t);
    void *context;
    bool rounds;
    size_t first;  // what index 0 of the ranges stands for
    float *scratch;
    float *shared;
    pthread_t *handles;
    pthread_mutex_t mutex;
    pthread_cond_t work;
    pthread_cond_t done;
};

typedef struct {
    apus_pool *pool;
    size_t index;
} worker_start;

static _Thread_local float *thread_scratch;
static _Thread_local size_t thread_first, thread_end;

float *apus_pool_scratch(void) { return thread_scratch; }

void apus_pool_own_range(size_t *first, size_t *end) {
    *first = thread_first;
    *end = thread_end;
}

float *apus_pool_shared(apus_pool *pool) { return pool->shared; }
bool apus_pool_rounds(const apus_pool *pool) { return pool->rounds; }
size_t apus_pool_threads(const apus_pool *pool) { return pool->threads; }

bool apus_pool_allow_rounding(apus_pool *pool, bool allowed) {
    pool->rounds = allowed && apus_rounded_linear() != NULL;
    return pool->rounds;
}

static void relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static int64_t nanoseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

// One index from the front or the back of a range; false when none is left.
static bool take(range *from, bool front, size_t *index) {
    uint64_t left = atomic_load_explicit(&from->left, memory_order_relaxed);
    while ((uint32_t)left < left >> 32) {
        const uint64_t rest = front ? left + 1 : left - ((uint64_t)1 << 32);
        if (atomic_compare_exchange_weak_explicit(&from->left, &left, rest, memory_order_relaxed, memory_order_relaxed)) {
            *index = front ? (uint32_t)left : (left >> 32) - 1;
            return true;
        }
    }
    return false;
}

static void take_all(apus_pool *pool, size_t self) {
    const size_t threads = pool->threads;
    const uint64_t own = atomic_load_explicit(&pool->ranges[self].left, memory_order_relaxed);
    thread_first = pool->first + (uint32_t)own;
    thread_end = pool->first + (own >> 32);
    for (size_t i = 0; i < threads; i++) {
        range *from = &pool->ranges[self + i < threads ? self + i : self + i - threads];
        size_t index;
        while (take(from, i == 0, &index)) pool->body(pool->context, pool->first + index);
    }
}

// Waits for a job other than seen; false when the pool ends.
static bool wait_for_job(apus_pool *pool, uint64_t seen) {
    const int64_t limit = nanoseconds() + SPIN_NANOSECONDS;
    do {
        for (int i = 0; i < PAUSES_PER_LOOK; i++) {
            if (JOB(atomic_load_explicit(&pool->state, memory_order_acquire)) != seen) return true;
            if (atomic_load_explicit(&pool->stopping, memory_order_relaxed)) return false;
            relax();
        }
    } while (nanoseconds() < limit);

    pthread_mutex_lock(&pool->mutex);
    atomic_fetch_add(&pool->sleepers, 1);
    while (JOB(atomic_load(&pool->state)) == seen && !atomic_load(&pool->stopping)) pthread_cond_wait(&pool->work, &pool->mutex);
    atomic_fetch_sub(&pool->sleepers, 1);
    pthread_mutex_unlock(&pool->mutex);
    return !atomic_load(&pool->stopping);
}

static void *worker(void *argument) {
    worker_start start = *(worker_start *)argument;
    free(argument);
    apus_pool *pool = start.pool;
    thread_scratch = pool->scratch + start.index * SCRATCH_FLOATS;
    uint64_t seen = 0;
    while (wait_for_job(pool, seen)) {
        uint64_t state = atomic_load(&pool->state);
        seen = JOB(state);
        bool entered = false;
        while ((state & OPEN) && JOB(state) == seen) {
            if (atomic_compare_exchange_weak(&pool->state, &state, state + 1)) {
                entered = true;
                break;
            }
        }
        if (!entered) continue;
        take_all(pool, start.index);
        state = atomic_fetch_sub(&pool->state, 1) - 1;
        if (!(state & OPEN) && !(state & INSIDE) && atomic_load(&pool->caller_sleeps)) {
            pthread_mutex_lock(&pool->mutex);
            pthread_cond_signal(&pool->done);
            pthread_mutex_unlock(&pool->mutex);
        }
    }
    return NULL;
}

static void wait_until_left(apus_pool *pool) {
    const int64_t limit = nanoseconds() + SPIN_NANOSECONDS;
    do {
        for (int i = 0; i < PAUSES_PER_LOOK; i++) {
            if (!(atomic_load_explicit(&pool->state, memory_order_acquire) & INSIDE)) return;
            relax();
        }
    } while (nanoseconds() < limit);

    pthread_mutex_lock(&pool->mutex);
    atomic_store(&pool->caller_sleeps, true);
    while (atomic_load(&pool->state) & INSIDE) pthread_cond_wait(&pool->done, &pool->mutex);
    atomic_store(&pool->caller_sleeps, false);
    pthread_mutex_unlock(&pool->mutex);
}

void apus_pool_run_alone(apus_pool *pool, size_t count, void (*body)(void *context, size_t index), void *context) {
    float *outer = thread_scratch;
    thread_scratch = pool->scratch;
    thread_first = 0;
    thread_end = count;
    for (size_t i = 0; i < count; i++) body(context, i);
    thread_scratch = outer;
}

// At most 2^31 indices.
static void run_shared(apus_pool *pool, size_t first, size_t count, void (*body)(void *context, size_t index), void *context) {
    const size_t threads = pool->threads;
    const size_t share = count / threads, rest = count % threads;
    for (size_t i = 0, begin = 0; i < threads; i++) {
        const size_t end = begin + share + (i < rest);
        atomic_store_explicit(&pool->ranges[i].left, (uint64_t)end << 32 | begin, memory_order_relaxed);
        begin = end;
    }
    pool->body = body;
    pool->context = context;
    pool->first = first;
    const uint64_t job = (JOB(atomic_load_explicit(&pool->state, memory_order_relaxed)) + 1) & 0xffffffff;
    atomic_store(&pool->state, job << 32 | OPEN);
    if (atomic_load(&pool->sleepers) > 0) {
        pthread_mutex_lock(&pool->mutex);
        pthread_cond_broadcast(&pool->work);
        pthread_mutex_unlock(&pool->mutex);
    }
    float *outer = thread_scratch;
    thread_scratch = pool->scratch;
    take_all(pool, 0);
    thread_scratch = outer;
    if (atomic_fetch_and(&pool->state, ~OPEN) & INSIDE) wait_until_left(pool);
}

void apus_pool_run(apus_pool *pool, size_t count, void (*body)(void *context, size_t index), void *context) {
    if (pool->threads == 1 || count <= 1) {
        apus_pool_run_alone(pool, count, body, context);
        return;
    }
    const size_t most = (size_t)1 << 31;
    for (size_t first = 0; first < count; first += most) run_shared(pool, first, count - first < most ? count - first : most, body, context);
}

static void free_memory(apus_pool *pool) {
    free(pool->ranges);
    free(pool->handles);
    free(pool->scratch);
    free(pool->shared);
    free(pool);
}

static void *aligned_block(size_t count, size_t size) {
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes) || bytes > SIZE_MAX - 2 * CACHE_LINE) return NULL;
    void *block = NULL;
    return posix_memalign(&block, CACHE_LINE, bytes) == 0 ? block : NULL;
}

apus_pool *apus_pool_create(size_t threads) {
    if (threads < 1 || threads > 4096) return NULL;
    apus_pool *pool = aligned_block(1, sizeof(apus_pool));
    if (!pool) return NULL;
    memset(pool, 0, sizeof(apus_pool));
    pool->threads = threads;
    pool->ranges = aligned_block(threads, sizeof(range));
    pool->handles = calloc(threads, sizeof(pthread_t));
    // Pages that no kernel touches are never made resident.
    pool->scratch = aligned_block(threads, SCRATCH_FLOATS * sizeof(float));
    pool->shared = aligned_block(POOL_SHARED_FLOATS, sizeof(float));
    if (!pool->ranges || !pool->handles || !pool->scratch || !pool->shared) {
        free_memory(pool);
        return NULL;
    }
    memset(pool->ranges, 0, threads * sizeof(range));
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->work, NULL);
    pthread_cond_init(&pool->done, NULL);
    for (size_t i = 1; i < threads; i++) {
        worker_start *start = malloc(sizeof(worker_start));
        if (start) *start = (worker_start){pool, i};
        if (!start || pthread_create(&pool->handles[i], NULL, worker, start) != 0) {
            free(start);
            apus_pool_destroy(pool);
            return NULL;
        }
        pool->started = i;
    }
    return pool;
}

void apus_pool_destroy(apus_pool *pool) {
    if (!pool) return;
    pthread_mutex_lock(&pool->mutex);
    atomic_store(&pool->stopping, true);
    pthread_cond_broadcast(&pool->work);
    pthread_mutex_unlock(&pool->mutex);
    for (size_t i = 1; i <= pool->started; i++) pthread_join(pool->handles[i], NULL);
    pthread_mutex_destroy(&pool->mutex);
    pthread_cond_destroy(&pool->work);
    pthread_cond_destroy(&pool->done);
    free_memory(pool);
}
