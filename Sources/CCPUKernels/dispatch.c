// Picks the form of the kernels once: the best that the processor and the operating system carry, or the lower one that APUS_CPU_LEVEL names.
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "kernels.h"

#if defined(__x86_64__)
#include <cpuid.h>

// The state components that the operating system saves and restores (XCR0).
static uint64_t saved_state(void) {
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return ((uint64_t)high << 32) | low;
}

typedef struct {
    bool avx2, avx512, bf16;
} support;

static support detect(void) {
    support found = {false, false, false};
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return found;
    const bool fma = c >> 12 & 1, xsave = c >> 27 & 1, avx = c >> 28 & 1, f16c = c >> 29 & 1;
    if (!(fma && xsave && avx && f16c)) return found;
    const uint64_t state = saved_state();
    if ((state & 0x6) != 0x6) return found;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return found;
    found.avx2 = b >> 5 & 1;
    const bool f = b >> 16 & 1, dq = b >> 17 & 1, bw = b >> 30 & 1, vl = b >> 31 & 1;
    found.avx512 = found.avx2 && f && dq && bw && vl && (state & 0xe0) == 0xe0;
    if (found.avx512 && __get_cpuid_count(7, 1, &a, &b, &c, &d)) found.bf16 = a >> 5 & 1;
    return found;
}
#endif

enum { LEVELS = 3 };

// From the plainest to the best that runs here.
static size_t available(const kernel_table *tables[LEVELS]) {
    size_t count = 0;
    tables[count++] = &apus_kernels_plain;
#if defined(__x86_64__)
    const support found = detect();
    if (found.avx2) tables[count++] = &apus_kernels_avx2;
    if (found.avx512) tables[count++] = &apus_kernels_avx512;
#elif defined(__aarch64__)
    tables[count++] = &apus_kernels_neon;
#endif
    return count;
}

static const kernel_table *named(const char *name) {
    const kernel_table *tables[LEVELS];
    const size_t count = available(tables);
    for (size_t i = 0; i < count; i++) {
        if (strcmp(tables[i]->name, name) == 0) return tables[i];
    }
    return NULL;
}

static const kernel_table *chosen(void) {
    const char *wish = getenv("APUS_CPU_LEVEL");
    const kernel_table *table = wish ? named(wish) : NULL;
    if (table) return table;
    const kernel_table *tables[LEVELS];
    return tables[available(tables) - 1];
}

// Filled by whoever comes first; a race only writes the same value twice.
static _Atomic(const kernel_table *) best;

// What a thread asked for itself.
static _Thread_local const kernel_table *override;

const kernel_table *apus_kernels(void) {
    if (override) return override;
    const kernel_table *table = atomic_load_explicit(&best, memory_order_acquire);
    if (table) return table;
    table = chosen();
    atomic_store_explicit(&best, table, memory_order_release);
    return table;
}

const char *apus_cpu_level(void) { return apus_kernels()->name; }

bool apus_cpu_set_level(const char *level) {
    const kernel_table *table = level ? named(level) : NULL;
    if (level && !table) return false;
    override = table;
    return true;
}

linear_function apus_rounded_linear(void) {
#if defined(__x86_64__)
    // Asked for often, and a guest machine answers cpuid slowly.
    static _Atomic(int) known;
    int answer = atomic_load_explicit(&known, memory_order_relaxed);
    if (answer == 0) {
        answer = detect().bf16 ? 1 : -1;
        atomic_store_explicit(&known, answer, memory_order_relaxed);
    }
    if (answer == 1 && apus_kernels() == &apus_kernels_avx512) return apus_linear_avx512bf16;
#endif
    return NULL;
}

pack_function apus_rounded_pack(void) {
#if defined(__x86_64__)
    return apus_pack_avx512bf16;
#else
    return NULL;
#endif
}
