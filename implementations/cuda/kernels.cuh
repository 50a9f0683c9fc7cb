// I-BERT's i-GELU (with requantisation fused), requantisation, i-softmax, i-exp and i-sqrt as CUDA kernels.
// No launch syntax here: on_gpu.cuh launches them on a GPU, on_cpu.h runs the same text on a CPU.
//
// Constants arrive as arguments, 1 value or one per channel. All values of a legal call fit 64 bits; the product of the dyadic
// rescaling does not and is formed in two words. Only non-negative numbers are divided: C++'s division truncates.
#pragma once

#include <cstdint>

enum class Dialect { paper, ibert };

constexpr int MAX_LENGTH = 4096;  // of a softmax row: its exponentials stay in shared memory
constexpr int SEGMENTS = 30;      // of ln 2, beyond which the released code treats all inputs alike

// Per-channel constants. `count` is 1, or the length of the last axis.
struct GeluConstants {
    const int64_t *q_b, *q_c, *q_1;
    int64_t count;
};

struct DyadicConstants {
    const int64_t *multiplier, *shift;
    int64_t count;
    int64_t zero_point, lo, hi;
};

struct ExpConstants {
    int64_t ln2;  // in units of the input: q_ln2 (paper), -x0 (ibert)
    int64_t q_b, q_c;
};

struct SoftmaxConstants {
    ExpConstants exp;
    int64_t multiplier, shift;  // to 16 bits (ibert)
    int64_t bits;
};

__device__ __forceinline__ int64_t thread_index() {
    return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}

__device__ __forceinline__ int64_t thread_count() {
    return static_cast<int64_t>(gridDim.x) * blockDim.x;
}

__device__ __forceinline__ int64_t channel(int64_t i, int64_t count) {
    return count == 1 ? 0 : i % count;
}

// z * m / 2**e, half to even: on sign and magnitude, where half-even is symmetric. The product takes up to 97 bits.
__device__ __forceinline__ int64_t dyadic_half_even(int64_t z, int64_t m, int64_t e) {
    const bool negative = (z < 0) != (m < 0);
    const uint64_t a = z < 0 ? 0 - static_cast<uint64_t>(z) : z, b = m < 0 ? 0 - static_cast<uint64_t>(m) : m;
    const uint64_t low = a * b, high = __umul64hi(a, b);
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
    return static_cast<int64_t>(negative ? 0 - kept : kept);
}

__device__ __forceinline__ int64_t requantize_one(int64_t z, const DyadicConstants &k, int64_t i) {
    const int64_t c = channel(i, k.count);
    const int64_t y = dyadic_half_even(z, k.multiplier[c], k.shift[c]) + k.zero_point;
    return y < k.lo ? k.lo : y > k.hi ? k.hi : y;
}

template <Dialect dialect>
__device__ __forceinline__ int64_t gelu_one(int64_t q, const GeluConstants &k, int64_t i) {
    const int64_t c = channel(i, k.count), q_b = k.q_b[c];
    const int64_t size = q < 0 ? -q : q, t = (size < -q_b ? size : -q_b) + q_b;
    const int64_t polynomial = t * t + k.q_c[c];
    int64_t erf = q == 0 ? 0 : q < 0 ? -polynomial : polynomial;
    if (dialect == Dialect::ibert) erf = erf >> 14;  // after the sign: floors
    return q * (erf + k.q_1[c]);
}

template <Dialect dialect>
__global__ void i_gelu_kernel(const int32_t *q, int64_t n, GeluConstants gelu, int64_t *out) {
    for (int64_t i = thread_index(); i < n; i += thread_count()) out[i] = gelu_one<dialect>(q[i], gelu, i);
}

// fc1's accumulators to the int8 operand of fc2 in one pass: the 64-bit i-GELU never leaves the register.
template <Dialect dialect, class Narrow>
__global__ void i_gelu_requantize_kernel(const int32_t *q, int64_t n, GeluConstants gelu, DyadicConstants dyadic, Narrow *out) {
    for (int64_t i = thread_index(); i < n; i += thread_count()) {
        out[i] = static_cast<Narrow>(requantize_one(gelu_one<dialect>(q[i], gelu, i), dyadic, i));
    }
}

__global__ void requantize_kernel(const int64_t *z, int64_t n, DyadicConstants dyadic, int64_t *out) {
    for (int64_t i = thread_index(); i < n; i += thread_count()) out[i] = requantize_one(z[i], dyadic, i);
}

// The polynomial of exp(-d), d >= 0, and how often it is to be halved.
template <Dialect dialect>
__device__ __forceinline__ int64_t exp_polynomial(int64_t d, const ExpConstants &k, int64_t &halvings) {
    if (dialect == Dialect::ibert && d > SEGMENTS * k.ln2) d = SEGMENTS * k.ln2;
    halvings = d / k.ln2;
    const int64_t p = halvings * k.ln2 - d;  // in (-ln 2, 0]
    return dialect == Dialect::ibert ? p * (p + k.q_b) + k.q_c : (p + k.q_b) * (p + k.q_b) + k.q_c;
}

template <Dialect dialect>
__global__ void i_exp_kernel(const int32_t *q, int64_t n, ExpConstants k, int64_t *out) {
    for (int64_t i = thread_index(); i < n; i += thread_count()) {
        int64_t z;
        const int64_t polynomial = exp_polynomial<dialect>(-static_cast<int64_t>(q[i]), k, z);
        out[i] = dialect == Dialect::ibert ? polynomial << (SEGMENTS - z) : z > 63 ? 0 : polynomial >> z;
    }
}

// Newton's iteration from above, stopped when it no longer falls: a fixed number of steps is wrong for some inputs.
__global__ void i_sqrt_kernel(const int64_t *n, int64_t count, int64_t *out) {
    for (int64_t i = thread_index(); i < count; i += thread_count()) {
        const uint64_t v = n[i];
        uint64_t x = v == 0 ? 0 : uint64_t{1} << (65 - __clzll(v)) / 2, y = x;
        while (y > 0) {
            x = y;
            y = (x + v / x) >> 1;
            if (y >= x) break;
        }
        out[i] = x;
    }
}

struct Greatest {
    __device__ int64_t operator()(int64_t a, int64_t b) const { return a > b ? a : b; }
};

struct Sum {
    __device__ int64_t operator()(int64_t a, int64_t b) const { return a + b; }
};

// One value per thread to one for the block, known to all its threads: within each warp by shuffles, then through shared memory.
template <class Combine>
static __device__ int64_t reduce(int64_t value, Combine combine) {
    __shared__ int64_t partial[32];
    for (int step = 16; step > 0; step /= 2) value = combine(value, __shfl_xor_sync(0xFFFFFFFFu, value, step));
    if (blockDim.x == 32) return value;
    __syncthreads();  // the block may still be reading the partial values of an earlier reduction
    if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = value;
    __syncthreads();
    value = partial[0];
    for (unsigned warp = 1; warp < blockDim.x / 32; ++warp) value = combine(value, partial[warp]);
    return value;
}

// One row per block; blockDim.x a multiple of 32. mask may be null; entries where it is 0 count as if they were not there.
template <Dialect dialect>
__global__ void i_softmax_kernel(const int32_t *q, const uint8_t *mask, int length, SoftmaxConstants k, int64_t *out) {
    __shared__ int64_t e[MAX_LENGTH];
    const int64_t start = static_cast<int64_t>(blockIdx.x) * length;
    int64_t greatest = INT64_MIN;
    for (int i = threadIdx.x; i < length; i += blockDim.x) {
        if (mask == nullptr || mask[start + i]) greatest = Greatest()(greatest, q[start + i]);
    }
    greatest = reduce(greatest, Greatest());
    int64_t total = 0;
    for (int i = threadIdx.x; i < length; i += blockDim.x) {
        e[i] = 0;
        if (mask == nullptr || mask[start + i]) {
            int64_t z;
            const int64_t polynomial = exp_polynomial<dialect>(greatest - q[start + i], k.exp, z);
            if (dialect == Dialect::ibert) {  // the exponential's shift and the one to 16 bits: one rounding
                const int64_t e16 = dyadic_half_even(polynomial, k.multiplier, k.shift - SEGMENTS + z);
                e[i] = e16 < INT16_MAX ? e16 : INT16_MAX;
            } else {
                e[i] = z > 63 ? 0 : polynomial >> z;
            }
        }
        total += e[i];
    }
    total = reduce(total, Sum());
    const int64_t factor = total > 0 ? (int64_t{1} << 32) / total : 0;
    for (int i = threadIdx.x; i < length; i += blockDim.x) {  // each thread reads what it wrote: no barrier needed
        if (dialect == Dialect::ibert) {
            out[start + i] = (e[i] * factor) >> (32 - k.bits);
        } else {
            out[start + i] = total > 0 ? (e[i] << k.bits) / total : 0;
        }
    }
}
