// exp and what activations are made of: at most a few units in the last place from the true value, NaN stays NaN.

// e^r for |r| <= 0.35: a minimax fit (relative error 3e-9).
INLINE vector exponential_near_zero(vector r) {
    vector p = 0.0013813161f;
    p = multiply_add(p, r, 0.0083694104f);
    p = multiply_add(p, r, 0.041668456f);
    p = multiply_add(p, r, 0.16666515f);
    p = multiply_add(p, r, 0.49999994f);
    return multiply_add(p * r, r, r) + 1.0f;
}

// The nearest whole number n of |x| < 2^22, by an addition that pushes the fraction out; the sum's low bits are n as an integer. No conversion
// is used, because a conversion of NaN to an integer is undefined in C. Here NaN stays NaN in n, which is what decides.
typedef struct {
    vector n;
    integers whole;
} rounded;

INLINE rounded nearest(vector x) {
    const vector magic = 0x1.8p23f;
    const vector sum = x + magic;
    return (rounded){sum - magic, __builtin_bit_cast(integers, sum) - 0x4b400000};
}

INLINE vector clamp(vector x, float low, float high) {
    x = choose(x > (vector)high, (vector)high, x);
    return choose(x < (vector)low, (vector)low, x);
}

INLINE vector power_of_two(integers n) { return __builtin_bit_cast(vector, (n + 127) << 23); }

INLINE vector exponential(vector x) {
    x = clamp(x, -110.0f, 89.0f);
    const rounded at = nearest(x * 1.44269504f);
    vector r = multiply_add(at.n, -0.693359375f, x);
    r = multiply_add(at.n, 2.12194440e-4f, r);
    // In two steps, so that results below the normal range and above the largest number come out right.
    const integers first = at.whole >> 1;
    return exponential_near_zero(r) * power_of_two(first) * power_of_two(at.whole - first);
}

// 2^x for x <= 0, the weight of a score; what is below the normal range becomes zero.
INLINE vector weight(vector x) {
    x = choose(x < (vector)-127.0f, (vector)-127.0f, x);
    const rounded at = nearest(x);
    return exponential_near_zero((x - at.n) * 0.693147181f) * power_of_two(at.whole);
}

INLINE vector silu(vector x) { return x / (exponential(-x) + 1.0f); }

// x / 2 (1 + tanh(u)) is x / (1 + exp(-2 u)), without the cancellation of 1 + tanh.
INLINE vector gelu_tanh(vector x) {
    const vector u = multiply_add(x * x * 0.044715f, x, x);
    return x / (exponential(u * -1.5957691216f) + 1.0f);
}

// x times the normal distribution function. erfc(z) = exp(-z^2) t p(t) with t = 1 / (1 + 0.4 z): a minimax fit for z >= 0 (relative error
// 1e-8), so that the left tail keeps its relative accuracy.
INLINE vector gelu_erf(vector x) {
    const vector magnitude = __builtin_bit_cast(vector, __builtin_bit_cast(words, x) & 0x7fffffffu);
    const vector z = magnitude * 0.707106781f;
    const vector t = 1.0f / multiply_add(z, (vector)0.4f, (vector)1.0f);
    vector p = -0.02863716147840023f;
    p = multiply_add(p, t, 0.19282373785972595f);
    p = multiply_add(p, t, -0.4866328835487366f);
    p = multiply_add(p, t, 0.5312324166297913f);
    p = multiply_add(p, t, -0.2709278166294098f);
    p = multiply_add(p, t, 0.26487624645233154f);
    p = multiply_add(p, t, 0.132155641913414f);
    p = multiply_add(p, t, 0.21439090371131897f);
    p = multiply_add(p, t, 0.22501525282859802f);
    p = multiply_add(p, t, 0.2257036715745926f);
    // z^2 = magnitude^2 / 2 exactly, split into what a float holds and the rest.
    const vector square = magnitude * magnitude * -0.5f;
#if FUSED_MULTIPLY_ADD
    const vector rest = multiply_add(magnitude * -0.5f, magnitude, -square);
#else
    const vector rest = 0;
#endif
    const vector half_complement = exponential(square) * (rest + 1.0f) * t * p * 0.5f;
    return x * choose(x < (vector)0, half_complement, 1.0f - half_complement);
}

INLINE vector activate(vector x, apus_activation activation) {
    if (activation == APUS_SILU) return silu(x);
    return activation == APUS_GELU_TANH ? gelu_tanh(x) : gelu_erf(x);
}
