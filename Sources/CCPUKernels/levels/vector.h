// Vectors of LANES floats, over the compiler's vector extension: one text for every instruction set.

#define INLINE static inline __attribute__((always_inline))
#define KERNEL static __attribute__((noinline))
#define PANEL (LANES * PANEL_VECTORS)

typedef float vector __attribute__((ext_vector_type(LANES)));
typedef uint32_t words __attribute__((ext_vector_type(LANES)));
typedef int32_t integers __attribute__((ext_vector_type(LANES)));
typedef uint16_t halves __attribute__((ext_vector_type(LANES)));
#if HARDWARE_HALF
typedef _Float16 half_vector __attribute__((ext_vector_type(LANES)));
#endif

// Weights may lie at any even address, so every load is an unaligned one; void, because a pointer to float promises more.
INLINE vector load(const void *p) {
    vector v;
    memcpy(&v, p, sizeof v);
    return v;
}

INLINE void store(float *p, vector v) { memcpy(p, &v, sizeof v); }

INLINE vector load_some(const void *p, size_t count) {
    vector v = 0;
    memcpy(&v, p, count * sizeof(float));
    return v;
}

INLINE void store_some(float *p, vector v, size_t count) { memcpy(p, &v, count * sizeof(float)); }

// a * b + c, in one rounding where the level has it.
INLINE vector multiply_add(vector a, vector b, vector c) {
#if FUSED_MULTIPLY_ADD
    return __builtin_elementwise_fma(a, b, c);
#else
    return a * b + c;
#endif
}

// Lane by lane: mask ? a : b, mask being all ones or all zeros.
INLINE vector choose(integers mask, vector a, vector b) {
    const integers x = __builtin_bit_cast(integers, a), y = __builtin_bit_cast(integers, b);
    return __builtin_bit_cast(vector, (x & mask) | (y & ~mask));
}

// The greater of each lane; b where either is not a number.
INLINE vector greater(vector a, vector b) { return choose(a > b, a, b); }

// The sum of the lanes, halves first: always the same order.
INLINE float sum_lanes(vector v) {
    float lanes[LANES];
    memcpy(lanes, &v, sizeof v);
    for (size_t width = LANES / 2; width > 0; width /= 2) {
        for (size_t i = 0; i < width; i++) lanes[i] += lanes[i + width];
    }
    return lanes[0];
}

// The greatest lane; not a number when a lane is none.
INLINE float maximum_lane(vector v) {
    float lanes[LANES];
    memcpy(lanes, &v, sizeof v);
    for (size_t width = LANES / 2; width > 0; width /= 2) {
        for (size_t i = 0; i < width; i++) {
            const float a = lanes[i], b = lanes[i + width];
            lanes[i] = a > b || a != a ? a : b;
        }
    }
    return lanes[0];
}

// ---- Weights to fp32. type is a constant wherever these are inlined.

INLINE size_t element_bytes(apus_dtype type) { return type == APUS_F32 ? 4 : 2; }

INLINE const void *element(const void *base, apus_dtype type, size_t index) { return (const char *)base + index * element_bytes(type); }

INLINE vector from_brain(halves h) { return __builtin_bit_cast(vector, __builtin_convertvector(h, words) << 16); }

INLINE vector from_half(halves h) {
#if HARDWARE_HALF
    return __builtin_convertvector(__builtin_bit_cast(half_vector, h), vector);
#else
    // Moves exponent and mantissa to their places and lets a product by 2^112 correct the exponent, subnormals included.
    const words bits = __builtin_convertvector(h, words);
    const words magnitude = (bits & 0x7fff) << 13;
    const vector scaled = __builtin_bit_cast(vector, magnitude) * 0x1p112f;
    const words special = __builtin_bit_cast(words, magnitude >= (words)(0x7c00u << 13)) & 0x7f800000u;
    return __builtin_bit_cast(vector, __builtin_bit_cast(words, scaled) | special | (bits & 0x8000) << 16);
#endif
}

// To nearest, ties to even; a NaN stays one, made quiet: carried into the sign or cut off, its payload would leave a number.
INLINE halves to_brain(vector v) {
    const words bits = __builtin_bit_cast(words, v);
    const words nearest = (bits + 0x7fff + (bits >> 16 & 1)) >> 16, quiet = bits >> 16 | 0x40;
    const words mask = __builtin_bit_cast(words, v != v);
    return __builtin_convertvector((quiet & mask) | (nearest & ~mask), halves);
}

INLINE vector load_as_float(const void *p, apus_dtype type) {
    if (type == APUS_F32) return load(p);
    halves h;
    memcpy(&h, p, sizeof h);
    return type == APUS_BF16 ? from_brain(h) : from_half(h);
}

INLINE vector load_some_as_float(const void *p, apus_dtype type, size_t count) {
    if (type == APUS_F32) return load_some(p, count);
    halves h = 0;
    memcpy(&h, p, count * sizeof(uint16_t));
    return type == APUS_BF16 ? from_brain(h) : from_half(h);
}
