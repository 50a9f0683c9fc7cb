/* Exact products of matrices of small integers: dot products of contiguous rows, several at a time, summed in 32 bits.

   A compiler makes of the inner loops what the machine has for them: instructions that multiply bytes, or words of 16 bits, and sum the
   products of neighbours. `a` has m rows of 64 * blocks elements, and so has `b` n, the columns of the product; `less` is taken off each
   column. `next` and `next_less` lead from a batch to the next: 0 where all batches share b. The caller makes sure
   that no sum needs more than 32 bits; nor does an element of the result, with what is taken off, where that has 32. */
#include <stddef.h>
#include <stdint.h>

#define EACH(of) of(0) of(1) of(2) of(3) of(4) of(5) of(6) of(7)
#define ROW(c) const RIGHT *const b##c = b + (j + c) * k;
#define SUM(c) int32_t s##c = 0;
#define ADD(c) s##c += x[i] * b##c[i];
#define PUT(c) out[row * n + j + c] = s##c - less[j + c];
#define PRODUCT(NAME)                                                                                                         \
    void NAME(size_t batches, size_t m, size_t n, size_t blocks, const LEFT *restrict a, const RIGHT *restrict b, size_t next,\
              const int64_t *restrict less, size_t next_less, OUT *restrict out) {                                            \
        const size_t k = blocks * 64;                                                                                         \
        for (size_t batch = 0; batch < batches; ++batch) {                                                                    \
            size_t j = 0;                                                                                                     \
            for (; j + 8 <= n; j += 8) {                                                                                      \
                EACH(ROW)                                                                                                     \
                for (size_t row = 0; row < m; ++row) {                                                                        \
                    const LEFT *const x = a + row * k;                                                                        \
                    EACH(SUM)                                                                                                 \
                    for (size_t i = 0; i < k; ++i) { EACH(ADD) }                                                              \
                    EACH(PUT)                                                                                                 \
                }                                                                                                             \
            }                                                                                                                 \
            for (; j < n; ++j) {                                                                                              \
                ROW(0)                                                                                                        \
                for (size_t row = 0; row < m; ++row) {                                                                        \
                    const LEFT *const x = a + row * k;                                                                        \
                    SUM(0)                                                                                                    \
                    for (size_t i = 0; i < k; ++i) { ADD(0) }                                                                 \
                    PUT(0)                                                                                                    \
                }                                                                                                             \
            }                                                                                                                 \
            a += m * k, b += next, less += next_less, out += m * n;                                                           \
        }                                                                                                                     \
    }

#define LEFT uint8_t
#define RIGHT int8_t
#define OUT int64_t
PRODUCT(product_of_bytes)
#undef OUT
#define OUT int32_t
PRODUCT(product_of_bytes_32)
#undef LEFT
#undef RIGHT
#define LEFT int16_t
#define RIGHT int16_t
PRODUCT(product_of_words_32)
#undef OUT
#define OUT int64_t
PRODUCT(product_of_words)
