#pragma once

#include <stdint.h>

// Words that the GPU writes and the host reads (or the other way round) while a kernel runs, in pinned memory. Swift's atomics live in
// storage of Swift's own; these work on any aligned address.

static inline uint32_t apus_load_acquiring_32(const void *_Nonnull address) {
    return __atomic_load_n((const uint32_t *)address, __ATOMIC_ACQUIRE);
}

static inline void apus_store_releasing_32(void *_Nonnull address, uint32_t value) {
    __atomic_store_n((uint32_t *)address, value, __ATOMIC_RELEASE);
}

static inline uint64_t apus_load_acquiring_64(const void *_Nonnull address) {
    return __atomic_load_n((const uint64_t *)address, __ATOMIC_ACQUIRE);
}

static inline void apus_store_releasing_64(void *_Nonnull address, uint64_t value) {
    __atomic_store_n((uint64_t *)address, value, __ATOMIC_RELEASE);
}
