// y = x w^T for few rows: the weights come from memory once, and the products must not keep them waiting.
//
// STRIP rows of w are walked together. A block of their elements is transposed in registers and multiplied at once, so that nothing but w is
// read and every sum has the order of tile.h: a row gives the same bits here and there. With one or two rows of x two sums of SUM_DEPTH
// products run side by side, to hide the latency of the multiply-add.
// Memory is asked for in one linear stream, a strip ahead of its use and again two strips ahead: a processor drops requests that find its
// queue full, so each line gets a second chance, and requests wait for a sum (ask_after), since else they would all be sent at once. The far
// request goes to the second-level cache: two strips do not fit 32 KB of the first (one core of Zen 4: 19.6 GB/s of 22 read; 10.5 with both to the first).
// One core of Zen 5 that reads 40 GB/s does 38 in this form. Tried and lost: unpacking to the first-level cache (13 GB/s), no requests (20),
// requests along each row (19), one request per line (33), 32 rows of w at a time (27), and dot products along rows (30).

enum {
    STRIP_VECTORS = STRIP / LANES,
    STRIP_ROWS = TILE_ROWS < 8 ? TILE_ROWS : 8,
    LEAST_AHEAD = 32 << 10,
    MOST_BETWEEN = 96 << 10,  // bytes between the two requests for a line
};

// The even and odd elements of pairs of 16-bit weights.
INLINE vector even_of(vector pairs, apus_dtype type) {
    const words w = __builtin_bit_cast(words, pairs);
    return type == APUS_BF16 ? __builtin_bit_cast(vector, w << 16) : from_half(__builtin_convertvector(w & 0xffffu, halves));
}

INLINE vector odd_of(vector pairs, apus_dtype type) {
    const words w = __builtin_bit_cast(words, pairs);
    return type == APUS_BF16 ? __builtin_bit_cast(vector, w & 0xffff0000u) : from_half(__builtin_convertvector(w >> 16, halves));
}

// Where a strip lies and what is asked for while it is walked.
typedef struct {
    const char *w;       // element [0][k]
    size_t row_bytes;
    const float *x;      // element [0][k]
    size_t x_stride;
    uintptr_t next;      // what to ask for: STRIP lines line_step apart, then as many again block_step further, and so on
    size_t line_step;
    size_t block_step;
    size_t between;      // from a line to the other one that is asked for with it
    uintptr_t limit;     // where there is nothing more to ask for
    size_t asked;        // lines so far
} strip_place;

// Asks for lines, once a sum has got so far.
INLINE void ask_after(const size_t lines, uintptr_t next, size_t line_step, size_t between, vector sum) {
    uint32_t zero = 0;
    __asm__("" : "+r"(zero));
    next += __builtin_bit_cast(words, sum)[0] & zero;
#pragma unroll
    for (size_t i = 0; i < lines; i++) {
        __builtin_prefetch((const void *)(next + i * line_step), 0, 3);
        __builtin_prefetch((const void *)(next + i * line_step + between), 0, 2);
    }
}

// sums[h][M][STRIP] += x[M][h * SUM_DEPTH + k] * w[STRIP][h * SUM_DEPTH + k] for whole blocks of k below depth; returns the first k left.
INLINE size_t strip_blocks(
    const size_t M, const size_t halves_at_once, const apus_dtype type, strip_place *at, size_t depth, vector sums[2][STRIP_ROWS][STRIP_VECTORS]
) {
    const size_t bytes = element_bytes(type), step = LANES * (4 / bytes);
    // As many lines as are read, four at a time where a block has four.
    const size_t block_lines = LANES * LANES / 16, lines = block_lines < 4 ? block_lines : 4, columns = LANES * lines / block_lines;
    size_t k = 0;
    for (; k + step <= depth; k += step) {
#pragma unroll
        for (size_t h = 0; h < halves_at_once; h++) {
            uintptr_t next = at->next + at->asked % STRIP * at->line_step + at->asked / STRIP * at->block_step;
            if (next >= at->limit) next = (uintptr_t)at->w;
            const size_t between = next + at->between < at->limit ? at->between : 0;
            at->asked += block_lines * STRIP_VECTORS;
#pragma unroll
            for (size_t s = 0; s < STRIP_VECTORS; s++) {
                const char *w = at->w + s * LANES * at->row_bytes + (h * SUM_DEPTH + k) * bytes;
                const float *x = at->x + h * SUM_DEPTH + k;
                vector block[LANES];
#pragma unroll
                for (size_t i = 0; i < LANES; i++) block[i] = load(w + i * at->row_bytes);
                transpose(block);
#pragma unroll
                for (size_t i = 0; i < LANES; i++) {
                    if (type == APUS_F32) {
#pragma unroll
                        for (size_t m = 0; m < M; m++) sums[h][m][s] = multiply_add((vector)x[m * at->x_stride + i], block[i], sums[h][m][s]);
                    } else {
                        const vector even = even_of(block[i], type), odd = odd_of(block[i], type);
#pragma unroll
                        for (size_t m = 0; m < M; m++) {
                            sums[h][m][s] = multiply_add((vector)x[m * at->x_stride + 2 * i], even, sums[h][m][s]);
                            sums[h][m][s] = multiply_add((vector)x[m * at->x_stride + 2 * i + 1], odd, sums[h][m][s]);
                        }
                    }
                    if (i % columns == 0) ask_after(lines, next + (s * block_lines + i / columns * lines) * at->line_step, at->line_step, between, sums[h][0][s]);
                }
            }
        }
    }
    return k;
}

// c[M][STRIP] (+)= x[M][K] * w[STRIP][K]^T.
INLINE void strip_body(const size_t M, const apus_dtype type, size_t K, strip_place at, float *c, size_t c_stride, bool add) {
    const size_t bytes = element_bytes(type);
    const strip_place start = at;
    for (size_t k = 0; k < K;) {
        const size_t halves_at_once = M <= 2 && K - k >= 2 * SUM_DEPTH ? 2 : 1;
        const size_t depth = K - k < SUM_DEPTH ? K - k : SUM_DEPTH;
        vector sums[2][STRIP_ROWS][STRIP_VECTORS];
#pragma unroll
        for (size_t h = 0; h < (M <= 2 ? 2 : 1); h++) {
#pragma unroll
            for (size_t m = 0; m < M; m++) {
#pragma unroll
                for (size_t s = 0; s < STRIP_VECTORS; s++) sums[h][m][s] = 0;
            }
        }
        at.w = start.w + k * bytes;
        at.x = start.x + k;
        size_t done = halves_at_once == 2 ? strip_blocks(M, 2, type, &at, depth, sums) : strip_blocks(M, 1, type, &at, depth, sums);
        for (; done < depth; done++) {
            float column[STRIP];
            for (size_t i = 0; i < STRIP; i++) column[i] = load_some_as_float(at.w + i * at.row_bytes + done * bytes, type, 1)[0];
#pragma unroll
            for (size_t m = 0; m < M; m++) {
#pragma unroll
                for (size_t s = 0; s < STRIP_VECTORS; s++) {
                    sums[0][m][s] = multiply_add((vector)at.x[m * at.x_stride + done], load(column + s * LANES), sums[0][m][s]);
                }
            }
        }
#pragma unroll
        for (size_t m = 0; m < M; m++) {
#pragma unroll
            for (size_t s = 0; s < STRIP_VECTORS; s++) {
                float *out = c + m * c_stride + s * LANES;
                vector total = add || k > 0 ? load(out) + sums[0][m][s] : sums[0][m][s];
                if (M <= 2 && halves_at_once == 2) total = total + sums[1][m][s];
                store(out, total);
            }
        }
        k += halves_at_once * SUM_DEPTH;
    }
}

#define DEFINE_STRIP(M)                                                                                             \
    KERNEL void strip_##M(apus_dtype type, size_t K, const strip_place *at, float *c, size_t c_stride, bool add) { \
        if (type == APUS_F32) strip_body(M, APUS_F32, K, *at, c, c_stride, add);                                    \
        if (type == APUS_F16) strip_body(M, APUS_F16, K, *at, c, c_stride, add);                                    \
        if (type == APUS_BF16) strip_body(M, APUS_BF16, K, *at, c, c_stride, add);                                  \
    }

typedef void (*strip_function)(apus_dtype, size_t, const strip_place *, float *, size_t, bool);

DEFINE_STRIP(1)
DEFINE_STRIP(2)
DEFINE_STRIP(3)
DEFINE_STRIP(4)
#if TILE_ROWS >= 6
DEFINE_STRIP(5)
DEFINE_STRIP(6)
#endif
#if TILE_ROWS >= 8
DEFINE_STRIP(7)
DEFINE_STRIP(8)
#endif

static const strip_function strip_functions[STRIP_ROWS] = {
    strip_1, strip_2, strip_3, strip_4,
#if TILE_ROWS >= 6
    strip_5, strip_6,
#endif
#if TILE_ROWS >= 8
    strip_7, strip_8,
#endif
};
