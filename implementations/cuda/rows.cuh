// i-softmax, i-LayerNorm and argmax: a row by a few lanes, by a warp, or by a block, as it is long.
#pragma once

#include <type_traits>

#include "functions.cuh"

constexpr int MAX_LENGTH = 4096;  // of a softmax row: its exponentials stay in shared memory

struct Greatest {
    __device__ int64_t operator()(int64_t a, int64_t b) const { return a > b ? a : b; }
};

struct Sum {
    __device__ int64_t operator()(int64_t a, int64_t b) const { return a + b; }
};

// One value per thread to one for all of them: among lanes of a warp by shuffles, beyond it through shared memory.
template <int LANES, class Combine>
static __device__ int64_t of_lanes(int64_t value, Combine combine) {
    for (int lanes = LANES / 2; lanes > 0; lanes /= 2) value = combine(value, __shfl_xor_sync(0xFFFFFFFFu, value, lanes));
    return value;
}

template <class Combine>
static __device__ int64_t of_block(int64_t value, Combine combine) {
    __shared__ int64_t partial[32];
    value = of_lanes<32>(value, combine);
    __syncthreads();  // others may still be reading the partial values of an earlier reduction
    if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = value;
    __syncthreads();
    value = partial[0];
    for (unsigned warp = 1; warp < blockDim.x / 32; ++warp) value = combine(value, partial[warp]);
    return value;
}

// Who works on a row: ROWS of them share a block, of LONGEST elements at most where they are staged.
template <int LANES>
struct Lanes {
    static constexpr int ROWS = 128 / LANES, LONGEST = 4 * LANES;
    static __device__ int64_t row() { return static_cast<int64_t>(blockIdx.x) * ROWS + threadIdx.x / LANES; }
    static __device__ int first() { return threadIdx.x % LANES; }
    static __device__ int step() { return LANES; }
    template <class Combine>
    static __device__ int64_t all(int64_t value, Combine combine) {
        return of_lanes<LANES>(value, combine);
    }
};

struct Block {
    static constexpr int ROWS = 1, LONGEST = MAX_LENGTH;
    static __device__ int64_t row() { return blockIdx.x; }
    static __device__ int first() { return threadIdx.x; }
    static __device__ int step() { return blockDim.x; }
    template <class Combine>
    static __device__ int64_t all(int64_t value, Combine combine) {
        return of_block(value, combine);
    }
};

template <Dialect dialect>
struct SoftmaxConstants {
    Exp<dialect> exp;
    int64_t multiplier, shift;  // to 16 bits (ibert)
    int64_t bits;

    __device__ int64_t exponential(int64_t d) const {
        int64_t z;
        const int64_t polynomial = exp.polynomial(d, z);
        if (dialect == Dialect::paper) return z > 63 ? 0 : polynomial >> z;
        const int64_t e = dyadic_half_even(polynomial, multiplier, shift - SEGMENTS + z);  // both shifts at once: one rounding
        return e < INT16_MAX ? e : INT16_MAX;
    }
};

// mask may be null; entries where it is 0 count as if they were not there, and give 0. The maximum is found while the row comes in;
// the sums of an online softmax, rescaled as the maximum grows, would be rounded more than once.
template <Dialect dialect, class Team, class Out>
__global__ void i_softmax_kernel(const int32_t *__restrict__ q, const uint8_t *__restrict__ mask, int64_t rows, int length,
                                 SoftmaxConstants<dialect> k, Out *__restrict__ out) {
    using Staged = std::conditional_t<dialect == Dialect::ibert, int32_t, int64_t>;
    __shared__ Staged staged[Team::ROWS * Team::LONGEST];
    const int64_t start = Team::row() * length;
    if (Team::row() >= rows) length = 0;  // not a return: every lane of a warp must reach its shuffles
    Staged *e = staged + Team::row() % Team::ROWS * Team::LONGEST;  // each thread reads only what it wrote: no barrier needed

    int64_t greatest = INT64_MIN;
    for (int i = Team::first(); i < length; i += Team::step()) {
        e[i] = q[start + i];
        if (mask == nullptr || mask[start + i]) greatest = Greatest()(greatest, e[i]);
    }
    greatest = Team::all(greatest, Greatest());

    int64_t total = 0;
    for (int i = Team::first(); i < length; i += Team::step()) {
        e[i] = mask == nullptr || mask[start + i] ? static_cast<Staged>(k.exponential(greatest - e[i])) : 0;
        total += e[i];
    }
    total = Team::all(total, Sum());

    const int64_t factor = total > 0 ? (int64_t{1} << 32) / total : 0;
    for (int i = Team::first(); i < length; i += Team::step()) {
        const int64_t value = e[i];
        if (dialect == Dialect::ibert) {
            out[start + i] = static_cast<Out>((value * factor) >> (32 - k.bits));
        } else {
            out[start + i] = static_cast<Out>(total > 0 ? (value << k.bits) / total : 0);
        }
    }
}

// The place of the greatest element, the first of equal ones: the greatest of pairs of an element and how far its place is from the end.
template <class Team>
__global__ void argmax_kernel(const int32_t *__restrict__ q, int64_t rows, int length, int32_t *__restrict__ out) {
    const int64_t start = Team::row() * length;
    const int own = Team::row() < rows ? length : 0;  // every lane of a warp must reach its shuffles
    int64_t best = INT64_MIN;
    for (int i = Team::first(); i < own; i += Team::step()) {
        best = Greatest()(best, q[start + i] * (int64_t{1} << 32) + (INT32_MAX - i));
    }
    best = Team::all(best, Greatest());
    if (own > 0 && Team::first() == 0) out[Team::row()] = INT32_MAX - static_cast<int32_t>(best & 0xFFFFFFFF);
}

struct LayerNormConstants {
    Constant<> bias;
    int64_t bits;  // of the squares' shift (ibert), of the quotient's fraction (paper)
};

// The row is read three times, from the cache after the first: so any length will do.
template <Dialect dialect, class Team, class Store>
__global__ void i_layernorm_kernel(const int32_t *__restrict__ q, int64_t rows, int length, LayerNormConstants k, Store store) {
    const int64_t start = Team::row() * length;
    const int mine = Team::row() < rows ? length : 0;  // every lane of a warp must reach its shuffles

    int64_t sum = 0;
    for (int i = Team::first(); i < mine; i += Team::step()) sum += q[start + i];
    const int64_t mean = divide_half_even(Team::all(sum, Sum()), length);

    int64_t squares = 0;
    for (int i = Team::first(); i < mine; i += Team::step()) {
        const int64_t y = dialect == Dialect::ibert ? (q[start + i] - mean) >> k.bits : q[start + i] - mean;
        squares += y * y;
    }
    squares = Team::all(squares, Sum());

    // sigma = 0, a row without spread: only the bias is left.
    const int64_t sigma = dialect == Dialect::ibert ? integer_sqrt(squares) << k.bits : integer_sqrt(squares / length);
    const int64_t factor = sigma > 0 ? (int64_t{1} << 31) / sigma : 0;
    for (int i = Team::first(); i < mine; i += Team::step()) {
        const int64_t y = q[start + i] - mean;
        int64_t normal = 0;
        if (dialect == Dialect::ibert) {
            normal = (y * factor) >> 1;
        } else if (sigma > 0) {
            const int64_t n = y * (int64_t{1} << k.bits);
            normal = n / sigma - (n % sigma < 0);
        }
        store(start + i, i, normal + k.bias[i]);
    }
}
