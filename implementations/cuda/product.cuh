// Products of narrow integers in int32 accumulators, tile by tile through shared memory: linear layers, attention scores and contexts.
#pragma once

#include <cstring>
#include <type_traits>

#include "arithmetic.cuh"

constexpr int TILE = 32;             // rows and columns of a block's part of the result
constexpr int WORDS = 8;             // 32-bit words of the inner dimension per step
constexpr int SIDE = 8;              // a block has SIDE * SIDE threads ...
constexpr int EACH = TILE / SIDE;    // ... with EACH * EACH results each
constexpr int PRODUCT_THREADS = SIDE * SIDE;

template <class T>
constexpr int PER_WORD = 4 / sizeof(T);

// The sum of the products of all values of two words.
template <class A, class B>
struct Dot;

template <>
struct Dot<int8_t, int8_t> {
    static __device__ int32_t add(uint32_t a, uint32_t b, int32_t sum) {
        return __dp4a(static_cast<int32_t>(a), static_cast<int32_t>(b), sum);
    }
};

template <>
struct Dot<uint8_t, int8_t> {
    static __device__ int32_t add(uint32_t a, uint32_t b, int32_t sum) { return dp4a_unsigned_signed(a, static_cast<int32_t>(b), sum); }
};

template <>
struct Dot<int16_t, int16_t> {  // operands of more than 8 bits
    static __device__ int32_t add(uint32_t a, uint32_t b, int32_t sum) {
        return sum + static_cast<int16_t>(a) * static_cast<int16_t>(b) + static_cast<int16_t>(a >> 16) * static_cast<int16_t>(b >> 16);
    }
};

// As many values from `p` on, `stride` apart, as a word holds; zeros where `left` runs out. One load where they lie side by side.
template <class T>
__device__ __forceinline__ uint32_t pack(const T *p, int64_t stride, int left) {
    uint32_t word = 0;
    if (stride == 1 && left >= PER_WORD<T> && reinterpret_cast<uintptr_t>(p) % sizeof word == 0) {
        memcpy(&word, __builtin_assume_aligned(p, sizeof word), sizeof word);
        return word;
    }
    for (int j = 0; j < PER_WORD<T> && j < left; ++j) {
        word |= static_cast<uint32_t>(static_cast<std::make_unsigned_t<T>>(p[j * stride])) << (8 * sizeof(T) * j);
    }
    return word;
}

// a is (m, k), the result (m, n). b is (k, n) with any strides: (1, k) for rows of weights and Q by K, (n, 1) for P by V.
struct Shape {
    int m, n, k;
    int64_t b_row, b_column;
};

// A block makes one tile of one product of the batch. bias may be null.
template <class A, class B, class Store>
__global__ void product_kernel(const A *__restrict__ a, const B *__restrict__ b, const int32_t *__restrict__ bias, Shape s, Store store) {
    constexpr int STEP = WORDS * PER_WORD<A>;
    __shared__ uint32_t left[TILE][WORDS + 1], right[TILE][WORDS + 1];  // + 1: the lines begin in different banks
    const int across = (s.n + TILE - 1) / TILE, down = (s.m + TILE - 1) / TILE;
    const int64_t item = blockIdx.x / (across * down);
    const int row0 = blockIdx.x / across % down * TILE, column0 = blockIdx.x % across * TILE;
    const int y = threadIdx.x / SIDE, x = threadIdx.x % SIDE;
    a += item * s.m * s.k;
    b += item * s.k * s.n;

    int32_t sum[EACH][EACH] = {};
    for (int k0 = 0; k0 < s.k; k0 += STEP) {
        for (int w = threadIdx.x; w < TILE * WORDS; w += PRODUCT_THREADS) {
            const int line = w / WORDS, k = k0 + w % WORDS * PER_WORD<A>, row = row0 + line, column = column0 + line;
            left[line][w % WORDS] = row < s.m ? pack(a + static_cast<int64_t>(row) * s.k + k, 1, s.k - k) : 0;
            right[line][w % WORDS] = column < s.n ? pack(b + column * s.b_column + k * s.b_row, s.b_row, s.k - k) : 0;
        }
        __syncthreads();
        for (int w = 0; w < WORDS; ++w) {
            for (int i = 0; i < EACH; ++i) {
                for (int j = 0; j < EACH; ++j) sum[i][j] = Dot<A, B>::add(left[y + SIDE * i][w], right[x + SIDE * j][w], sum[i][j]);
            }
        }
        __syncthreads();  // the next step overwrites what others may still be reading
    }

    for (int i = 0; i < EACH; ++i) {
        for (int j = 0; j < EACH; ++j) {
            const int row = row0 + y + SIDE * i, column = column0 + x + SIDE * j;
            if (row >= s.m || column >= s.n) continue;
            store((item * s.m + row) * s.n + column, column, sum[i][j] + (bias == nullptr ? 0 : bias[column]));
        }
    }
}
