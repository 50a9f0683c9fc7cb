// Kernels whose threads never meet: one function of one element each, and the gathers.
#pragma once

#include "functions.cuh"

template <class In, class Function, class Store>
__global__ void map_kernel(const In *__restrict__ in, int64_t n, int64_t channels, Function function, Store store) {
    for (Elements e(n, channels); e.more(); e.next()) store(e.i, e.channel, function(in[e.i], e.channel));
}

// Two integers of different scales, each rescaled and rounded by itself; only the sum saturates.
struct Adder {
    Constant<> multiplier, shift, multiplier_residual, shift_residual;
    int64_t lo, hi;
    __device__ int64_t operator()(int64_t q, int64_t residual, int64_t channel) const {
        return clamp(dyadic_half_even(q, multiplier[channel], shift[channel]) +
                         dyadic_half_even(residual, multiplier_residual[channel], shift_residual[channel]),
                     lo, hi);
    }
};

template <class In>
__global__ void residual_add_kernel(const In *__restrict__ q, const In *__restrict__ residual, int64_t n, int64_t channels, Adder add,
                                    int32_t *__restrict__ out) {
    for (Elements e(n, channels); e.more(); e.next()) {
        out[e.i] = static_cast<int32_t>(add(q[e.i], residual[e.i], e.channel));
    }
}

// Rows of an int8 table. Here and below the channels of the walk are the columns.
__global__ void embedding_kernel(const int32_t *__restrict__ ids, const int8_t *__restrict__ table, int64_t n, int64_t dim,
                                        int8_t *__restrict__ out) {
    for (Elements e(n * dim, dim); e.more(); e.next()) out[e.i] = table[ids[e.i / dim] * dim + e.channel];
}

// The encoder's input in one pass: a row each of the word, token-type and position tables, added as two residual adds would.
struct Lookup {
    const int32_t *ids;
    const int8_t *table;
    __device__ int64_t operator()(int64_t row, int64_t column, int64_t dim) const { return table[ids[row] * dim + column]; }
};

__global__ void embedding_sum_kernel(Lookup word, Lookup type, Lookup position, int64_t n, int64_t dim, Adder first, Adder second,
                                            int32_t *__restrict__ out) {
    for (Elements e(n * dim, dim); e.more(); e.next()) {
        const int64_t row = e.i / dim, c = e.channel;
        const int64_t partial = first(word(row, c, dim), type(row, c, dim), c);
        out[e.i] = static_cast<int32_t>(second(partial, position(row, c, dim), c));
    }
}

// The mean of the tokens that a mask keeps: a thread for each mask and column, so that neighbours read neighbours.
__global__ void mean_pool_kernel(const int16_t *__restrict__ q, const int8_t *__restrict__ mask, int64_t rows, int64_t masks,
                                        int64_t tokens, int64_t columns, int64_t bits, int32_t *__restrict__ out) {
    for (Elements e(rows * columns, columns); e.more(); e.next()) {
        const int64_t row = e.i / columns;
        const int8_t *kept = mask + row * tokens;
        const int16_t *x = q + row / masks * tokens * columns + e.channel;
        int64_t total = 0, count = 0;
        for (int64_t token = 0; token < tokens; ++token) {
            total += kept[token] ? x[token * columns] : 0;
            count += kept[token];
        }
        out[e.i] = static_cast<int32_t>(divide_half_even(total * (int64_t{1} << bits), count));
    }
}

// Half-even of the binary32 product by the reciprocal scale. Bounded before the conversion: any plan's limits lie within 2**40.
__global__ void quantize_ibert_kernel(const float *__restrict__ x, int64_t n, int64_t channels, Constant<float> reciprocal, int64_t lo,
                                             int64_t hi, int64_t *__restrict__ out) {
    for (Elements e(n, channels); e.more(); e.next()) {
        const float y = rintf(__fmul_rn(x[e.i], reciprocal[e.channel]));
        out[e.i] = clamp(static_cast<int64_t>(fminf(fmaxf(y, -0x1p40f), 0x1p40f)), lo, hi);
    }
}

// Half-even of the exact quotient by the scale. The rounded quotient may fall on a tie that the exact one misses;
// the remainder of the fused product is exact and tells.
__global__ void quantize_paper_kernel(const double *__restrict__ x, int64_t n, int64_t channels, Constant<double> scale, int64_t lo,
                                             int64_t hi, int64_t *__restrict__ out) {
    for (Elements e(n, channels); e.more(); e.next()) {
        const double s = scale[e.channel], y = fmin(fmax(rint(__ddiv_rn(x[e.i], s)), -0x1p40), 0x1p40), rest = __fma_rn(-y, s, x[e.i]);
        const int64_t correction = 2 * fabs(rest) > s ? (rest > 0 ? 1 : -1) : 0;
        out[e.i] = clamp(static_cast<int64_t>(y) + correction, lo, hi);
    }
}

__global__ void dequantize_kernel(const int64_t *__restrict__ q, int64_t n, int64_t channels, Constant<double> scale,
                                         double *__restrict__ out) {
    for (Elements e(n, channels); e.more(); e.next()) out[e.i] = __dmul_rn(static_cast<double>(q[e.i]), scale[e.channel]);
}
