// LANES x LANES transposition in registers, and the panels built with it.

#define SHUFFLE __builtin_shufflevector
#if LANES == 4
#define LOW_32(a, b) SHUFFLE(a, b, 0, 4, 1, 5)
#define HIGH_32(a, b) SHUFFLE(a, b, 2, 6, 3, 7)
#define LOW_64(a, b) SHUFFLE(a, b, 0, 1, 4, 5)
#define HIGH_64(a, b) SHUFFLE(a, b, 2, 3, 6, 7)
#elif LANES == 8
#define LOW_32(a, b) SHUFFLE(a, b, 0, 8, 1, 9, 4, 12, 5, 13)
#define HIGH_32(a, b) SHUFFLE(a, b, 2, 10, 3, 11, 6, 14, 7, 15)
#define LOW_64(a, b) SHUFFLE(a, b, 0, 1, 8, 9, 4, 5, 12, 13)
#define HIGH_64(a, b) SHUFFLE(a, b, 2, 3, 10, 11, 6, 7, 14, 15)
#define LOW_128(a, b) SHUFFLE(a, b, 0, 1, 2, 3, 8, 9, 10, 11)
#define HIGH_128(a, b) SHUFFLE(a, b, 4, 5, 6, 7, 12, 13, 14, 15)
#else
#define LOW_32(a, b) SHUFFLE(a, b, 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29)
#define HIGH_32(a, b) SHUFFLE(a, b, 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31)
#define LOW_64(a, b) SHUFFLE(a, b, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29)
#define HIGH_64(a, b) SHUFFLE(a, b, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31)
// Quarters 0 and 2, and 1 and 3, of both: applied twice they transpose the 4 x 4 grid of quarters.
#define EVEN_128(a, b) SHUFFLE(a, b, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27)
#define ODD_128(a, b) SHUFFLE(a, b, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31)
#endif

// rows[i] lane j becomes rows[j] lane i.
INLINE void transpose(vector rows[LANES]) {
    vector t[LANES];
    for (size_t i = 0; i < LANES; i += 4) {
        const vector a = LOW_32(rows[i], rows[i + 1]), b = HIGH_32(rows[i], rows[i + 1]);
        const vector c = LOW_32(rows[i + 2], rows[i + 3]), d = HIGH_32(rows[i + 2], rows[i + 3]);
        t[i] = LOW_64(a, c);
        t[i + 1] = HIGH_64(a, c);
        t[i + 2] = LOW_64(b, d);
        t[i + 3] = HIGH_64(b, d);
    }
#if LANES == 4
    for (size_t i = 0; i < 4; i++) rows[i] = t[i];
#elif LANES == 8
    for (size_t i = 0; i < 4; i++) {
        rows[i] = LOW_128(t[i], t[i + 4]);
        rows[i + 4] = HIGH_128(t[i], t[i + 4]);
    }
#else
    for (size_t i = 0; i < 4; i++) {
        const vector a = EVEN_128(t[i], t[i + 4]), b = ODD_128(t[i], t[i + 4]);
        const vector c = EVEN_128(t[i + 8], t[i + 12]), d = ODD_128(t[i + 8], t[i + 12]);
        rows[i] = EVEN_128(a, c);
        rows[i + 8] = ODD_128(a, c);
        rows[i + 4] = EVEN_128(b, d);
        rows[i + 12] = ODD_128(b, d);
    }
#endif
}

// panel[k][PANEL] fp32 = rows[PANEL][k] of the given type, rows stride elements apart; rows past count become zeros.
INLINE void pack_columns(const void *rows, apus_dtype type, size_t stride, size_t count, size_t depth, float *panel) {
    for (size_t first = 0; first < PANEL; first += LANES) {
        const size_t valid = count <= first ? 0 : count - first < LANES ? count - first : LANES;
        const void *base = element(rows, type, first * stride);
        float *out = panel + first;
        vector block[LANES];
        size_t k = 0;
        if (type == APUS_BF16) {
            // Two neighbours travel as one 32-bit word through the transposition.
            for (; k + 2 * LANES <= depth; k += 2 * LANES) {
                if (valid == LANES) {
                    for (size_t i = 0; i < LANES; i++) block[i] = load(element(base, type, i * stride + k));
                } else {
                    for (size_t i = 0; i < LANES; i++) block[i] = i < valid ? load(element(base, type, i * stride + k)) : (vector)0;
                }
                transpose(block);
                for (size_t i = 0; i < LANES; i++) {
                    const words pair = __builtin_bit_cast(words, block[i]);
                    store(out + (k + 2 * i) * PANEL, __builtin_bit_cast(vector, pair << 16));
                    store(out + (k + 2 * i + 1) * PANEL, __builtin_bit_cast(vector, pair & 0xffff0000u));
                }
            }
        }
        for (; k < depth; k += LANES) {
            const size_t left = depth - k < LANES ? depth - k : LANES;
            for (size_t i = 0; i < LANES; i++) {
                const void *p = element(base, type, i * stride + k);
                if (i >= valid) {
                    block[i] = 0;
                } else {
                    block[i] = left == LANES ? load_as_float(p, type) : load_some_as_float(p, type, left);
                }
            }
            transpose(block);
            for (size_t i = 0; i < left; i++) store(out + (k + i) * PANEL, block[i]);
        }
    }
}

KERNEL void pack_columns_f32(const void *rows, size_t stride, size_t count, size_t depth, float *panel) {
    pack_columns(rows, APUS_F32, stride, count, depth, panel);
}

KERNEL void pack_columns_f16(const void *rows, size_t stride, size_t count, size_t depth, float *panel) {
    pack_columns(rows, APUS_F16, stride, count, depth, panel);
}

KERNEL void pack_columns_bf16(const void *rows, size_t stride, size_t count, size_t depth, float *panel) {
    pack_columns(rows, APUS_BF16, stride, count, depth, panel);
}

INLINE void pack_weights(const void *w, apus_dtype type, size_t stride, size_t count, size_t depth, float *panel) {
    if (type == APUS_F32) pack_columns_f32(w, stride, count, depth, panel);
    if (type == APUS_F16) pack_columns_f16(w, stride, count, depth, panel);
    if (type == APUS_BF16) pack_columns_bf16(w, stride, count, depth, panel);
}
