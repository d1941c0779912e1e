// The rule by which rows of an fp8 key-value cache are rounded; a CPU keeps what they read as, in fp32.
#include "kernels.h"

#include <string.h>

enum { NOT_A_NUMBER = 0x7f, ALONE = 1 << 13, ROWS_PER_ITEM = 64 };

static uint32_t bits_of(float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    return bits;
}

static float float_of(uint32_t bits) {
    float x;
    memcpy(&x, &bits, 4);
    return x;
}

// E4M3 of a value that is 448 at most, to nearest even.
static uint8_t code_of(float x) {
    const uint32_t bits = bits_of(x), sign = bits >> 24 & 0x80, magnitude = bits & 0x7fffffff;
    // Subnormal codes count steps of 2^-9: that many are left over when 2^14 is added, whose last bit is worth as much.
    const uint32_t steps = bits_of(float_of(magnitude) + 0x1p14f) - 0x46800000u;
    const uint32_t normal = (magnitude - (120u << 23) + 0x7ffff + (magnitude >> 20 & 1)) >> 20;
    return (uint8_t)(sign | (magnitude < 121u << 23 ? steps : normal));
}

static float value_of(uint8_t code) {
    const uint32_t magnitude = code & 0x7f;
    if (magnitude == NOT_A_NUMBER) return float_of(0x7fc00000u);
    const float value = magnitude < 8 ? (float)magnitude * 0x1p-9f : float_of((magnitude << 20) + (120u << 23));
    return code & 0x80 ? -value : value;
}

static uint32_t largest(size_t D, const float *x) {
    uint32_t most = 0;
    for (size_t i = 0; i < D; i++) {
        const uint32_t magnitude = bits_of(x[i]) & 0x7fffffff;
        most = magnitude > most ? magnitude : most;
    }
    return most;
}

// For the bits of a finite magnitude; the largest code is 1.75 * 2^8.
static uint32_t exponent_for(uint32_t most) {
    const int least = (int)(most >> 23) - 8 + ((most & 0x7fffff) > 0x600000);
    return most == 0 ? 127 : least < 1 ? 1 : (uint32_t)least;
}

static bool is_finite(uint32_t magnitude) { return magnitude < 0x7f800000u; }

void apus_cache_encode(size_t D, const float *x, uint8_t *codes, uint8_t *exponent) {
    const uint32_t most = largest(D, x), e = is_finite(most) ? exponent_for(most) : 127;
    *exponent = (uint8_t)e;
    if (!is_finite(most)) {
        memset(codes, NOT_A_NUMBER, D);
        return;
    }
    const float inverse = float_of((254 - e) << 23);
    for (size_t i = 0; i < D; i++) codes[i] = code_of(x[i] * inverse);
}

void apus_cache_decode(size_t D, const uint8_t *codes, uint8_t exponent, float *x) {
    const float factor = float_of((uint32_t)exponent << 23);
    for (size_t i = 0; i < D; i++) x[i] = value_of(codes[i]) * factor;
}

typedef struct {
    size_t T, D;
    float *x;
} round_job;

static void round_item(void *context, size_t index) {
    const round_job *job = context;
    const size_t end = (index + 1) * ROWS_PER_ITEM < job->T ? (index + 1) * ROWS_PER_ITEM : job->T;
    for (size_t t = index * ROWS_PER_ITEM; t < end; t++) {
        float *row = job->x + t * job->D;
        const uint32_t most = largest(job->D, row), e = is_finite(most) ? exponent_for(most) : 127;
        const float inverse = float_of((254 - e) << 23), factor = float_of(e << 23);
        for (size_t i = 0; i < job->D; i++) row[i] = value_of(is_finite(most) ? code_of(row[i] * inverse) : NOT_A_NUMBER) * factor;
    }
}

void apus_cache_round(apus_pool *pool, size_t T, size_t D, float *x) {
    if (T == 0 || D == 0) return;
    round_job job = {T, D, x};
    const size_t items = (T + ROWS_PER_ITEM - 1) / ROWS_PER_ITEM;
    if (T < ALONE / D) apus_pool_run_alone(pool, items, round_item, &job);
    else apus_pool_run(pool, items, round_item, &job);
}
