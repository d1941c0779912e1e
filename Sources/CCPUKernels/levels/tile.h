// The register tile: c[M, columns] (+)= x[M, depth] * panel[depth, columns], every sum in the order of depth.
//
// The only place where products are summed: linear layers, scores and the weighted sum of values all come here, and since a row's sum does not
// depend on M, a row's result does not depend on the rows beside it. x rows are TILE_STRIDE apart, so that addresses are constants. One panel
// is PANEL columns wide; small tiles take two panels at once, to have enough independent sums to fill the multiply-add units.

enum { TILE_LOAD = 1, TILE_ADD = 2 };

// flags: TILE_LOAD continues the sums in c; TILE_ADD adds the sums to c; else c is overwritten.
INLINE void tile_body(
    const size_t M, const size_t panels, size_t depth, const float *x, const float *panel0, const float *panel1, size_t panel_stride, float *c0,
    float *c1, size_t c_stride, int flags
) {
    vector sum[TILE_ROWS][2 * PANEL_VECTORS];
    const size_t vectors = panels * PANEL_VECTORS;
    if (flags & TILE_LOAD) {
#pragma unroll
        for (size_t m = 0; m < M; m++) {
#pragma unroll
            for (size_t v = 0; v < vectors; v++) {
                sum[m][v] = load((v < PANEL_VECTORS ? c0 : c1) + m * c_stride + (v % PANEL_VECTORS) * LANES);
            }
        }
    } else {
#pragma unroll
        for (size_t m = 0; m < M; m++) {
#pragma unroll
            for (size_t v = 0; v < vectors; v++) sum[m][v] = 0;
        }
    }
    for (size_t k = 0; k < depth; k++) {
        vector b[2 * PANEL_VECTORS];
#pragma unroll
        for (size_t v = 0; v < vectors; v++) {
            b[v] = load((v < PANEL_VECTORS ? panel0 : panel1) + k * panel_stride + (v % PANEL_VECTORS) * LANES);
        }
#pragma unroll
        for (size_t m = 0; m < M; m++) {
            const vector a = x[m * TILE_STRIDE + k];
#pragma unroll
            for (size_t v = 0; v < vectors; v++) sum[m][v] = multiply_add(a, b[v], sum[m][v]);
        }
    }
#pragma unroll
    for (size_t m = 0; m < M; m++) {
#pragma unroll
        for (size_t v = 0; v < vectors; v++) {
            float *c = (v < PANEL_VECTORS ? c0 : c1) + m * c_stride + (v % PANEL_VECTORS) * LANES;
            store(c, flags & TILE_ADD ? load(c) + sum[m][v] : sum[m][v]);
        }
    }
}

#define DEFINE_TILE(M)                                                                                                                     \
    KERNEL void tile_##M(size_t depth, const float *x, const float *panel, size_t panel_stride, float *c, size_t c_stride, int flags) {    \
        tile_body(M, 1, depth, x, panel, panel, panel_stride, c, c, c_stride, flags);                                                      \
    }
#define DEFINE_WIDE_TILE(M)                                                                                                                \
    KERNEL void wide_tile_##M(                                                                                                             \
        size_t depth, const float *x, const float *panel0, const float *panel1, size_t panel_stride, float *c0, float *c1, size_t c_stride, int flags \
    ) {                                                                                                                                    \
        tile_body(M, 2, depth, x, panel0, panel1, panel_stride, c0, c1, c_stride, flags);                                                  \
    }

typedef void (*tile_function)(size_t, const float *, const float *, size_t, float *, size_t, int);
typedef void (*wide_tile_function)(size_t, const float *, const float *, const float *, size_t, float *, float *, size_t, int);

DEFINE_TILE(1)
DEFINE_TILE(2)
DEFINE_TILE(3)
DEFINE_TILE(4)
DEFINE_WIDE_TILE(1)
DEFINE_WIDE_TILE(2)
#if TILE_ROWS >= 6
DEFINE_TILE(5)
DEFINE_TILE(6)
DEFINE_WIDE_TILE(3)
#endif
#if TILE_ROWS >= 14
DEFINE_TILE(7)
DEFINE_TILE(8)
DEFINE_TILE(9)
DEFINE_TILE(10)
DEFINE_TILE(11)
DEFINE_TILE(12)
DEFINE_TILE(13)
DEFINE_TILE(14)
DEFINE_WIDE_TILE(4)
DEFINE_WIDE_TILE(5)
DEFINE_WIDE_TILE(6)
#endif

static const tile_function tile_functions[TILE_ROWS] = {
    tile_1, tile_2, tile_3, tile_4,
#if TILE_ROWS >= 6
    tile_5, tile_6,
#endif
#if TILE_ROWS >= 14
    tile_7, tile_8, tile_9, tile_10, tile_11, tile_12, tile_13, tile_14,
#endif
};

#if TILE_ROWS >= 14
enum { WIDE_ROWS = 6 };
static const wide_tile_function wide_tile_functions[WIDE_ROWS] = {wide_tile_1, wide_tile_2, wide_tile_3, wide_tile_4, wide_tile_5, wide_tile_6};
#elif TILE_ROWS >= 6
enum { WIDE_ROWS = 3 };
static const wide_tile_function wide_tile_functions[WIDE_ROWS] = {wide_tile_1, wide_tile_2, wide_tile_3};
#else
enum { WIDE_ROWS = 2 };
static const wide_tile_function wide_tile_functions[WIDE_ROWS] = {wide_tile_1, wide_tile_2};
#endif

// Columns of `panels` panels that lie panel_step apart, to columns of c that lie c_step apart.
INLINE void tile_row(
    size_t rows, size_t panels, size_t depth, const float *x, const float *panel, size_t panel_stride, size_t panel_step, float *c, size_t c_step,
    size_t c_stride, int flags
) {
    size_t p = 0;
    if (rows <= WIDE_ROWS) {
        for (; p + 2 <= panels; p += 2) {
            wide_tile_functions[rows - 1](
                depth, x, panel + p * panel_step, panel + (p + 1) * panel_step, panel_stride, c + p * c_step, c + (p + 1) * c_step, c_stride, flags
            );
        }
    }
    for (; p < panels; p++) tile_functions[rows - 1](depth, x, panel + p * panel_step, panel_stride, c + p * c_step, c_stride, flags);
}

// tile[rows][TILE_STRIDE] = x[rows][depth], times scale.
INLINE void pack_rows(size_t rows, size_t depth, const float *x, size_t x_stride, float *tile) {
    for (size_t m = 0; m < rows; m++) memcpy(tile + m * TILE_STRIDE, x + m * x_stride, depth * sizeof(float));
}
