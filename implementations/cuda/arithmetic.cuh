// What the kernels share: rounding, the two-word product, the walk over elements with channels, and what becomes of a result.
//
// No launch syntax in any of these headers: on_gpu.cuh launches the kernels on a GPU, on_cpu.h runs the same text on a CPU.
// All values of a legal call fit 64 bits (the plan proves it); the product of the dyadic rescaling does not and takes two words.
// Only non-negative numbers are divided, or a correction stands beside: C++'s division truncates.
#pragma once

#include <cstdint>

enum class Dialect { paper, ibert };

__device__ __forceinline__ uint64_t magnitude(int64_t x) {
    return x < 0 ? 0 - static_cast<uint64_t>(x) : static_cast<uint64_t>(x);
}

__device__ __forceinline__ int64_t with_sign(uint64_t size, bool negative) {
    return static_cast<int64_t>(negative ? 0 - size : size);
}

__device__ __forceinline__ int64_t clamp(int64_t x, int64_t lo, int64_t hi) {
    return x < lo ? lo : x > hi ? hi : x;
}

// n / d to the nearest integer, ties to even; d > 0. On magnitudes, where half-even is symmetric.
__device__ __forceinline__ int64_t divide_half_even(int64_t n, int64_t d) {
    const uint64_t size = magnitude(n), by = d, rest = size % by;
    uint64_t kept = size / by;
    kept += 2 * rest > by || (2 * rest == by && (kept & 1));
    return with_sign(kept, n < 0);
}

// z * m / 2**e, half to even, any e. The product takes up to 97 bits: its upper word decides once e passes 63.
__device__ __forceinline__ int64_t dyadic_half_even(int64_t z, int64_t m, int64_t e) {
    const uint64_t a = magnitude(z), b = magnitude(m), low = a * b, high = __umul64hi(a, b);
    uint64_t kept, half, below;
    if (e <= 0) {  // exact, and it fits: where it would not, the product is 0
        kept = e > -64 ? low << -e : 0, half = 0, below = 0;
    } else if (e < 64) {
        kept = low >> e | (high << 1) << (63 - e);
        half = low >> (e - 1) & 1;
        below = low & ((uint64_t{1} << (e - 1)) - 1);
    } else if (e == 64) {
        kept = high, half = low >> 63, below = low << 1;
    } else if (e < 128) {
        kept = high >> (e - 64);
        half = high >> (e - 65) & 1;
        below = (high & ((uint64_t{1} << (e - 65)) - 1)) | low;
    } else {
        return 0;
    }
    kept += half & (below != 0 || (kept & 1));
    return with_sign(kept, (z < 0) != (m < 0));
}

// The floor of the root by Newton's iteration from above, stopped when it no longer falls: a fixed number of steps is wrong for some n.
__device__ __forceinline__ int64_t integer_sqrt(uint64_t n) {
    if (n == 0) return 0;
    for (uint64_t x = uint64_t{1} << (65 - __clzll(n)) / 2;;) {
        const uint64_t y = (x + n / x) >> 1;
        if (y >= x) return x;
        x = y;
    }
}

// A constant of the plan: one value (step 0), or one per channel (step 1). Channels are the last axis.
template <class T = int64_t>
struct Constant {
    const T *value;
    int64_t step;
    __device__ T operator[](int64_t channel) const { return value[channel * step]; }
};

// The elements of one thread, a grid apart, each with its channel: divided once, not once per element.
struct Elements {
    int64_t i, channel, n, channels, step, channel_step;

    __device__ Elements(int64_t n, int64_t channels)
        : i(static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x), channel(i % channels), n(n), channels(channels),
          step(static_cast<int64_t>(gridDim.x) * blockDim.x), channel_step(step % channels) {}
    __device__ bool more() const { return i < n; }
    __device__ void next() {
        i += step, channel += channel_step;
        if (channel >= channels) channel -= channels;
    }
};

// z * M / 2**e plus the zero point, saturated.
struct Requantizer {
    Constant<> multiplier, shift;
    int64_t zero_point, lo, hi;
    __device__ int64_t operator()(int64_t z, int64_t channel) const {
        return clamp(dyadic_half_even(z, multiplier[channel], shift[channel]) + zero_point, lo, hi);
    }
};

// What a kernel does with its result: store it, or requantise it first (the fused forms), so that the wide one never leaves the register.
template <class Out>
struct Keep {
    Out *out;
    __device__ void operator()(int64_t i, int64_t, int64_t value) const { out[i] = static_cast<Out>(value); }
};

template <class Out>
struct Requantized {
    Requantizer requantize;
    Out *out;
    __device__ void operator()(int64_t i, int64_t channel, int64_t value) const { out[i] = static_cast<Out>(requantize(value, channel)); }
};
