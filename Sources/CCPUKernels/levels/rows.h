// Row operations: norms, rope, conversions, dot products.

INLINE float sum_of_products(const float *a, const float *b, size_t count) {
    vector sums[4] = {0, 0, 0, 0};
    size_t i = 0;
    for (; i + 4 * LANES <= count; i += 4 * LANES) {
#pragma unroll
        for (size_t j = 0; j < 4; j++) sums[j] = multiply_add(load(a + i + j * LANES), load(b + i + j * LANES), sums[j]);
    }
    for (; i + LANES <= count; i += LANES) sums[0] = multiply_add(load(a + i), load(b + i), sums[0]);
    if (i < count) sums[0] = multiply_add(load_some(a + i, count - i), load_some(b + i, count - i), sums[0]);
    return sum_lanes((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

static float dot(size_t count, const float *a, const float *b) { return sum_of_products(a, b, count); }

// y (+)= x * scale * (w + offset)
INLINE void scale_row(const float *x, size_t K, const void *w, apus_dtype type, float offset, float scale, float *y, bool add) {
    size_t i = 0;
    for (; i + LANES <= K; i += LANES) {
        const vector normal = load(x + i) * scale;
        const vector out = w ? normal * (load_as_float(element(w, type, i), type) + offset) : normal;
        store(y + i, add ? load(y + i) + out : out);
    }
    if (i < K) {
        const size_t left = K - i;
        const vector normal = load_some(x + i, left) * scale;
        const vector out = w ? normal * (load_some_as_float(element(w, type, i), type, left) + offset) : normal;
        store_some(y + i, add ? load_some(y + i, left) + out : out, left);
    }
}

INLINE void norm_row(const float *x, size_t K, const void *w, apus_dtype type, float offset, float epsilon, float *y, bool add) {
    const float mean = sum_of_products(x, x, K) / (float)K;
    const float scale = 1.0f / sqrtf(mean + epsilon);
    if (type == APUS_F32) scale_row(x, K, w, APUS_F32, offset, scale, y, add);
    if (type == APUS_F16) scale_row(x, K, w, APUS_F16, offset, scale, y, add);
    if (type == APUS_BF16) scale_row(x, K, w, APUS_BF16, offset, scale, y, add);
}

static void norm(const norm_job *job, size_t t0, size_t t1) {
    for (size_t t = t0; t < t1; t++) {
        norm_row(
            job->x + t * job->x_stride, job->K, job->w, job->w_type, job->weight_offset, job->epsilon, job->y + t * job->y_stride, job->add
        );
    }
}

static void rope(const rope_job *job, size_t t0, size_t t1) {
    const size_t D = job->D, half = D / 2;
    for (size_t t = t0; t < t1; t++) {
        const size_t position = (size_t)job->positions[t];
        const float *cosine = job->cosine + position * half, *sine = job->sine + position * half;
        for (size_t h = 0; h < job->heads; h++) {
            float *x = job->x + t * job->x_stride + h * D;
            if (job->w) norm_row(x, D, job->w, job->w_type, job->weight_offset, job->epsilon, x, false);
            size_t i = 0;
            for (; i + LANES <= half; i += LANES) {
                const vector a = load(x + i), b = load(x + half + i), c = load(cosine + i), s = load(sine + i);
                store(x + i, multiply_add(a, c, -(b * s)));
                store(x + half + i, multiply_add(b, c, a * s));
            }
            if (i < half) {
                const size_t left = half - i;
                const vector a = load_some(x + i, left), b = load_some(x + half + i, left);
                const vector c = load_some(cosine + i, left), s = load_some(sine + i, left);
                store_some(x + i, multiply_add(a, c, -(b * s)), left);
                store_some(x + half + i, multiply_add(b, c, a * s), left);
            }
        }
    }
}

INLINE void convert(size_t count, const void *source, apus_dtype type, float scale, float *destination) {
    size_t i = 0;
    for (; i + LANES <= count; i += LANES) store(destination + i, load_as_float(element(source, type, i), type) * scale);
    if (i < count) store_some(destination + i, load_some_as_float(element(source, type, i), type, count - i) * scale, count - i);
}

static void scaled_to_float(size_t count, const void *source, apus_dtype type, float scale, float *destination) {
    if (type == APUS_F32) convert(count, source, APUS_F32, scale, destination);
    if (type == APUS_F16) convert(count, source, APUS_F16, scale, destination);
    if (type == APUS_BF16) convert(count, source, APUS_BF16, scale, destination);
}

INLINE void round_to_brain(size_t count, const void *source, apus_dtype type, const float *factors, uint16_t *destination) {
    size_t i = 0;
    for (; i + LANES <= count; i += LANES) {
        const vector v = load_as_float(element(source, type, i), type);
        const halves h = to_brain(factors ? v * load(factors + i) : v);
        memcpy(destination + i, &h, sizeof h);
    }
    if (i < count) {
        const size_t left = count - i;
        const vector v = load_some_as_float(element(source, type, i), type, left);
        const halves h = to_brain(factors ? v * load_some(factors + i, left) : v);
        memcpy(destination + i, &h, left * sizeof(uint16_t));
    }
}

static void to_bfloat16(size_t count, const void *source, apus_dtype type, const float *factors, uint16_t *destination) {
    if (type == APUS_F32) round_to_brain(count, source, APUS_F32, factors, destination);
    if (type == APUS_F16) round_to_brain(count, source, APUS_F16, factors, destination);
    if (type == APUS_BF16 && factors) round_to_brain(count, source, APUS_BF16, factors, destination);
    if (type == APUS_BF16 && !factors) memcpy(destination, source, count * sizeof(uint16_t));
}

// One in the exponent's lowest place, added to the bits of a magnitude, carries into the sign's place just when the exponent is all ones.
static bool finite_words(size_t count, const void *source) {
    enum { MAGNITUDE = 0x7fffffff, CARRY = 0x00800000 };
    words carried[4] = {0, 0, 0, 0};
    size_t i = 0;
    for (; i + 4 * LANES <= count; i += 4 * LANES) {
#pragma unroll
        for (size_t j = 0; j < 4; j++) {
            words bits;
            memcpy(&bits, (const uint32_t *)source + i + j * LANES, sizeof bits);
            carried[j] |= (bits & MAGNITUDE) + CARRY;
        }
    }
    const words both = (carried[0] | carried[1]) | (carried[2] | carried[3]);
    uint32_t any = 0;
    for (size_t j = 0; j < LANES; j++) any |= both[j];
    for (; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, (const uint32_t *)source + i, sizeof bits);
        any |= (bits & MAGNITUDE) + CARRY;
    }
    return !(any >> 31);
}

// The same for 16 bits: carry is 2^7 for bfloat16, 2^10 for half.
INLINE bool finite_halves(size_t count, const void *source, uint16_t carry) {
    enum { WIDTH = 2 * LANES, MAGNITUDE = 0x7fff };
    typedef uint16_t full __attribute__((ext_vector_type(WIDTH)));
    full carried[4] = {0, 0, 0, 0};
    size_t i = 0;
    for (; i + 4 * WIDTH <= count; i += 4 * WIDTH) {
#pragma unroll
        for (size_t j = 0; j < 4; j++) {
            full bits;
            memcpy(&bits, (const uint16_t *)source + i + j * WIDTH, sizeof bits);
            carried[j] |= (bits & MAGNITUDE) + carry;
        }
    }
    const full both = (carried[0] | carried[1]) | (carried[2] | carried[3]);
    uint32_t any = 0;
    for (size_t j = 0; j < WIDTH; j++) any |= both[j];
    for (; i < count; i++) {
        uint16_t bits;
        memcpy(&bits, (const uint16_t *)source + i, sizeof bits);
        any |= (uint32_t)(bits & MAGNITUDE) + carry;
    }
    return !(any >> 15);
}

static bool is_finite(size_t count, const void *source, apus_dtype type) {
    if (type == APUS_F32) return finite_words(count, source);
    return type == APUS_F16 ? finite_halves(count, source, 1 << 10) : finite_halves(count, source, 1 << 7);
}

static void l2_normalize(size_t K, float *x) {
    const float length = sqrtf(sum_of_products(x, x, K));
    // Written so that a length that is not a number stays one.
    const float scale = 1.0f / (length < 1e-12f ? 1e-12f : length);
    scale_row(x, K, NULL, APUS_F32, 0, scale, x, false);
}

// Two cache lines at a time, asked for well ahead.
static uint64_t sum_words(const uint64_t *p, size_t count) {
    enum { STEP = 16, LOOK_AHEAD = 4096 };
    typedef uint64_t pair __attribute__((ext_vector_type(LANES / 2)));
    enum { PARTS = STEP / (LANES / 2) };
    pair parts[PARTS];
    for (size_t j = 0; j < PARTS; j++) parts[j] = 0;
    size_t i = 0;
    for (; i + STEP <= count; i += STEP) {
        const char *ahead = (const char *)(p + i) + LOOK_AHEAD;
        __builtin_prefetch(ahead, 0, 2);
        __builtin_prefetch(ahead + 64, 0, 2);
#pragma unroll
        for (size_t j = 0; j < PARTS; j++) {
            pair v;
            memcpy(&v, p + i + j * (LANES / 2), sizeof v);
            parts[j] += v;
        }
    }
    uint64_t total = 0;
    for (size_t j = 0; j < PARTS; j++) {
        for (size_t k = 0; k < LANES / 2; k++) total += parts[j][k];
    }
    for (; i < count; i++) total += p[i];
    return total;
}
