// Functions of one element and its channel: what map_kernel maps, and what i-softmax takes its exponentials from.
#pragma once

#include "arithmetic.cuh"

constexpr int SEGMENTS = 30;  // of ln 2, beyond which the released code treats all inputs alike

struct Same {
    __device__ int64_t operator()(int64_t q, int64_t) const { return q; }
};

struct Sqrt {
    __device__ int64_t operator()(int64_t n, int64_t) const { return integer_sqrt(n); }
};

struct Poly {
    Constant<> q_b, q_c;
    __device__ int64_t operator()(int64_t q, int64_t channel) const {
        const int64_t t = q + q_b[channel];
        return t * t + q_c[channel];
    }
};

template <Dialect dialect>
struct Erf {
    Constant<> q_b, q_c;
    __device__ int64_t operator()(int64_t q, int64_t channel) const {
        const int64_t b = q_b[channel], size = q < 0 ? -q : q, t = (size < -b ? size : -b) + b;
        const int64_t polynomial = t * t + q_c[channel];
        const int64_t y = q == 0 ? 0 : q < 0 ? -polynomial : polynomial;
        return dialect == Dialect::ibert ? y >> 14 : y;  // after the sign: it floors
    }
};

template <Dialect dialect>
struct Gelu {
    Erf<dialect> erf;
    Constant<> q_1;
    __device__ int64_t operator()(int64_t q, int64_t channel) const { return q * (erf(q, channel) + q_1[channel]); }
};

// exp(-d), d >= 0: a polynomial, and how often it is to be halved.
template <Dialect dialect>
struct Exp {
    int64_t ln2;  // in units of the input: q_ln2 (paper), -x0 (ibert)
    int64_t q_b, q_c;
    __device__ int64_t polynomial(int64_t d, int64_t &halvings) const {
        if (dialect == Dialect::ibert && d > SEGMENTS * ln2) d = SEGMENTS * ln2;
        halvings = d / ln2;
        const int64_t p = halvings * ln2 - d;  // in (-ln 2, 0]
        return dialect == Dialect::ibert ? p * (p + q_b) + q_c : (p + q_b) * (p + q_b) + q_c;
    }
    __device__ int64_t operator()(int64_t q, int64_t) const {
        int64_t z;
        const int64_t value = polynomial(-q, z);
        return dialect == Dialect::ibert ? value << (SEGMENTS - z) : z > 63 ? 0 : value >> z;
    }
};
