// CPU kernels of Apus: fp32 activations, weights as they lie in the file, fp32 accumulation.
//
// Every function picks the best form for this processor once (plain C, AVX2+FMA+F16C, AVX-512, NEON); APUS_CPU_LEVEL=plain|avx2|avx512|neon in
// the environment lowers the choice. All matrices are row-major. No function allocates more than a bounded scratch per thread, none keeps a pointer.
//
// On one processor a result is the same, bit for bit, whatever the number of threads; and a row of a linear layer, a norm or attention is the same
// alone and among others, so a prefill gives what single steps give. Different forms differ in the last bits.
//
// Letters: T tokens (rows), K input features, N output features, H query heads, G key-value heads, D head size, L keys.
#ifndef APUS_CCPUKERNELS_H
#define APUS_CCPUKERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum { APUS_F32 = 0, APUS_F16 = 1, APUS_BF16 = 2 } apus_dtype;
typedef enum { APUS_SILU = 0, APUS_GELU_TANH = 1, APUS_GELU_ERF = 2 } apus_activation;

// ---- Threads

// A fixed team of threads, the caller included. Calls that take the same pool must not overlap in time. Each thread has 640 KB of scratch and
// the pool 8 MB, made resident only as far as they are used.
typedef struct apus_pool apus_pool;

// threads >= 1; returns NULL when the threads cannot be started.
apus_pool *apus_pool_create(size_t threads);
void apus_pool_destroy(apus_pool *pool);
size_t apus_pool_threads(const apus_pool *pool);
// Runs body(context, index) once for each index below count, spread over the team, and returns when all are done.
void apus_pool_run(apus_pool *pool, size_t count, void (*body)(void *context, size_t index), void *context);

// Processors that this process may use, by its affinity and its control groups' quota: a sensible number of threads. More threads than
// processors are correct but slow.
size_t apus_processor_count(void);

// "plain", "avx2", "avx512" or "neon": the form in use.
const char *apus_cpu_level(void);
// Changes the form that calls of this thread use, for tests and comparisons; NULL goes back to the best one. False, and no change, when this
// machine lacks it.
bool apus_cpu_set_level(const char *level);

// ---- Matrix products

// Allows products of bfloat16 weights with more than 16 rows to round x to bfloat16 on the way in; sums stay fp32. Processors with AVX-512 BF16
// then multiply at twice the rate; a product is then off by up to 2^-9 of itself. Off at first. Returns whether it makes a
// difference here.
bool apus_pool_allow_rounding(apus_pool *pool, bool allowed);

// y[T, N] = x[T, K] * w[N, K]^T, plus y's old value when accumulate is set. Row strides count elements of the respective type;
// w rows are K apart.
void apus_linear(apus_pool *pool, size_t T, size_t N, size_t K, const float *x, size_t x_stride, const void *w, apus_dtype w_type,
                 float *y, size_t y_stride, bool accumulate);

// y[T, N] = activation(x * gate^T) * (x * up^T), gate and up [N, K].
void apus_gated_linear(apus_pool *pool, size_t T, size_t N, size_t K, const float *x, size_t x_stride, const void *gate, const void *up,
                       apus_dtype w_type, apus_activation activation, float *y, size_t y_stride);

// ---- Rows

// y[T, K] = x / sqrt(mean(x^2) + epsilon) * (w + weight_offset); y may be x. w NULL stands for ones (then the offset is not used).
void apus_rms_norm(apus_pool *pool, size_t T, size_t K, const float *x, size_t x_stride, const void *w, apus_dtype w_type,
                   float weight_offset, float epsilon, float *y, size_t y_stride);

// As apus_rms_norm, and adds the result to y: y += norm(x). The sandwich norm before a residual.
void apus_rms_norm_add(apus_pool *pool, size_t T, size_t K, const float *x, size_t x_stride, const void *w, apus_dtype w_type,
                       float weight_offset, float epsilon, float *y, size_t y_stride);

// In place on x[T, heads, D] (token stride x_stride): per head RMS norm with w[D] when w is not NULL, then half rotation (element i pairs with
// i + D/2) by cosine/sine[position, D/2], position = positions[t].
void apus_norm_rope(apus_pool *pool, size_t T, size_t heads, size_t D, float *x, size_t x_stride, const void *w, apus_dtype w_type,
                    float weight_offset, float epsilon, const float *cosine, const float *sine, const int32_t *positions);

// y[t, :] = table[ids[t], :] * scale; every id must be below the table's row count.
void apus_gather_rows(apus_pool *pool, size_t T, size_t K, const void *table, apus_dtype type, const int32_t *ids, float scale, float *y);

// Converts count elements to fp32.
void apus_to_float(size_t count, const void *source, apus_dtype type, float *destination);

// Rounds count elements to bfloat16, to nearest, ties to even, each times its factor (count of them, or NULL for ones). A NaN stays one, made quiet;
// bfloat16 without factors stays as it is.
void apus_to_bfloat16(size_t count, const void *source, apus_dtype type, const float *factors, uint16_t *destination);

// Whether none of count elements is NaN or infinite.
bool apus_is_finite(size_t count, const void *source, apus_dtype type);

// In place: x / max(|x|, 1e-12).
void apus_l2_normalize(size_t K, float *x);

// sum over count elements of a * b, accumulated in fp32 lanes.
float apus_dot(size_t count, const float *a, const float *b);

// ---- Rows of an fp8 key-value cache

// One row of D floats as E4M3 codes times one power of two: x is about code * 2^(exponent - 127). The exponent is the least one with
// max |x| * 2^(127 - exponent) <= 448, from 1 to 254, and 127 for zeros; codes are rounded to nearest even. NaN or infinity anywhere makes all codes
// NaN (0x7f). Kernels/Prefill/CacheCodes.cu and the decode kernel follow the same rule.
void apus_cache_encode(size_t D, const float *x, uint8_t *codes, uint8_t *exponent);

// The values of a row, exactly. Beyond 1.9375 * 2^127 a value has become infinity.
void apus_cache_decode(size_t D, const uint8_t *codes, uint8_t exponent, float *x);

// Each of T rows of D floats becomes what it reads as once it has been codes.
void apus_cache_round(apus_pool *pool, size_t T, size_t D, float *x);

// ---- Attention

// Ragged attention. Sequence s owns query rows [query_offsets[s], query_offsets[s+1]) and key rows [key_offsets[s], key_offsets[s+1]);
// its queries are the last ones of its keys: query i of n has position L - n + i among its L keys.
// Key row r of head g lies at k + r * key_stride + g * key_head_stride (v alike), query row t of head h at q + t * query_stride + h * D.
// Query head h reads key-value head h / (H / G).
// A key j is seen from position i when (bidirectional || j <= i) and (window == 0 || |i - j| < window).
typedef struct {
    const float *q;
    size_t query_stride;
    const float *k;
    const float *v;
    size_t key_stride;
    size_t key_head_stride;
    float *out;  // [T, H, D], row stride out_stride
    size_t out_stride;
    size_t sequences;
    const size_t *query_offsets;  // sequences + 1
    const size_t *key_offsets;    // sequences + 1
    size_t query_heads;
    size_t key_value_heads;
    size_t head_dimension;
    size_t window;
    bool bidirectional;
    float scale;
} apus_attention_problem;

// softmax(scale * q k^T) v by blocks with an online softmax: O(D) scratch a query, never a [T, L] matrix.
void apus_attention(apus_pool *pool, const apus_attention_problem *problem);

// ---- Measuring

// Sum of the 64-bit words of a buffer read by all threads: what a read of count bytes costs on this machine.
uint64_t apus_read_bandwidth_probe(apus_pool *pool, const void *bytes, size_t count);

#ifdef __cplusplus
}
#endif
#endif
