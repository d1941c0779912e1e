// Fast scalar functions whose error stays below the rounding of 16-bit outputs, and warp reductions.
#pragma once
#include "Common/Types.cuh"

namespace apus {

APUS_DEVICE float exp2Fast(float x) { float r; asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x)); return r; }
APUS_DEVICE float reciprocalFast(float x) { float r; asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x)); return r; }
APUS_DEVICE float rsqrtFast(float x) { float r; asm("rsqrt.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x)); return r; }
APUS_DEVICE float log2Fast(float x) { float r; asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x)); return r; }

// Both of an angle in radians, |x| up to 10^6: two steps of reduction to half a turn, then the approximations (2^-20 there).
APUS_DEVICE void sineCosine(float x, float& sine, float& cosine) {
    const float turns = fmaf(x, 0.15915494309f, 12582912.0f) - 12582912.0f;  // rounded to an integer
    const float rest = fmaf(turns, 1.7484555e-7f, fmaf(turns, -6.2831854820f, x));
    asm("sin.approx.ftz.f32 %0, %1;" : "=f"(sine) : "f"(rest));
    asm("cos.approx.ftz.f32 %0, %1;" : "=f"(cosine) : "f"(rest));
}

constexpr float log2E = 1.4426950408889634f;
#define INFINITY_F __int_as_float(0x7f800000)

enum class Activation : int { none = 0, silu = 1, geluTanh = 2, geluErf = 3 };

// x * sigmoid(s): both silu (s = x) and tanh-gelu (s = 2 sqrt(2/pi) (x + 0.044715 x^3)) have this form.
APUS_DEVICE float timesSigmoid(float x, float s) { return x * reciprocalFast(1.0f + exp2Fast(-log2E * s)); }

template <Activation A> APUS_DEVICE float activate(float x) {
    if constexpr (A == Activation::silu) return timesSigmoid(x, x);
    else if constexpr (A == Activation::geluTanh) return timesSigmoid(x, 1.5957691216057308f * (x + 0.044715f * x * x * x));
    else if constexpr (A == Activation::geluErf) return 0.5f * x * (1.0f + erff(x * 0.70710678118654752f));
    else return x;
}

// Two activations for three special-function operations instead of four: 1/a and 1/b from one reciprocal of a*b.
// The exponent is capped at 2^60 so that the product stays finite; x * 2^-60 is below any 16-bit output that matters.
// A NaN goes through, since the result is multiplied by x itself.
template <Activation A> APUS_DEVICE Float2 activatePair(float x, float y) {
    if constexpr (A == Activation::silu || A == Activation::geluTanh) {
        float s = x, t = y;
        if constexpr (A == Activation::geluTanh) {
            s = x * (1.5957691216057308f + 0.07135481627f * x * x);
            t = y * (1.5957691216057308f + 0.07135481627f * y * y);
        }
        float a = 1.0f + exp2Fast(fminf(-log2E * s, 60.0f)), b = 1.0f + exp2Fast(fminf(-log2E * t, 60.0f));
        float r = reciprocalFast(a * b);
        return {x * (r * b), y * (r * a)};
    } else {
        return {activate<A>(x), activate<A>(y)};
    }
}

// act(s g) * (s u) for a row's factor s, which costs nothing: it goes into the constants. silu and tanh-gelu.
//   x sigmoid(z) = x / (1 + 2^t), t = -log2(e) z;  s^2 g u / (1 + 2^t) = g u / (1/s^2 + 2^t / s^2)
template <Activation A> struct Gate {
    float linear, cubic, inverse;
    static __device__ __forceinline__ Gate make(float s) {
        if constexpr (A == Activation::silu) return {-log2E * s, 0.0f, 1.0f / (s * s)};
        else return {-log2E * 1.5957691216057308f * s, -log2E * 0.07135481627f * s * s * s, 1.0f / (s * s)};
    }
    __device__ __forceinline__ float apply(float g, float u) const {
        const float t = A == Activation::silu ? g * linear : g * fmaf(g * g, cubic, linear);
        return g * u * reciprocalFast(fmaf(exp2Fast(t), inverse, inverse));
    }
};

// act(s g) * (s u) / scale, for a result of 8 bits: x sigmoid(2 y) = x / 2 (1 + tanh(y)), whose approximation (2^-11) is one instruction.
template <Activation A> struct CoarseGate {
    float linear, cubic, half;
    static __device__ __forceinline__ CoarseGate make(float s, float scale) {
        const float half = 0.5f * s * s / scale;
        if constexpr (A == Activation::silu) return {0.5f * s, 0.0f, half};
        else return {0.79788456080286536f * s, 0.035677408136f * s * s * s, half};
    }
    __device__ __forceinline__ float apply(float g, float u) const {
        const float y = A == Activation::silu ? g * linear : g * fmaf(g * g, cubic, linear);
        float t;
        asm("tanh.approx.f32 %0, %1;" : "=f"(t) : "f"(y));
        return g * u * fmaf(t, half, half);
    }
};

// Sum, or maximum, over aligned groups of `width` lanes; every lane gets the result.
template <int width = 32> APUS_DEVICE float groupSum(float v) {
#pragma unroll
    for (int offset = width / 2; offset > 0; offset /= 2) v += __shfl_xor_sync(0xffffffffu, v, offset);
    return v;
}
template <int width = 32> APUS_DEVICE float groupMax(float v) {
#pragma unroll
    for (int offset = width / 2; offset > 0; offset /= 2) v = fmaxf(v, __shfl_xor_sync(0xffffffffu, v, offset));
    return v;
}

}  // namespace apus
