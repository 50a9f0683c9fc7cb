/* Exact products of matrices of small integers: dot products of contiguous rows, several at a time, summed in 32 bits.

   A compiler makes of the inner loops what the machine has for them: instructions that multiply bytes, or words of 16 bits, and sum the
   products of neighbours. `a` has m rows of 64 * blocks elements, and so has `b` n, the columns of the product; `less` is taken off each
   column. `next` and `next_less` lead from a batch to the next: 0 where all batches share b. The caller makes sure
   that no sum needs more than 32 bits; nor does an element of the result, with what is taken off, where that has 32. */
#include <stddef.h>
#include <stdint.h>

#define SIX(of, r) of(r, 0) of(r, 1) of(r, 2) of(r, 3) of(r, 4) of(r, 5)
#define EIGHT(of, r) SIX(of, r) of(r, 6) of(r, 7)
#define ONE(of, r) of(r, 0)
#define COLUMN(r, c) const RIGHT *const b##c = b + (j + c) * k;
#define ROW(r) const LEFT *const x##r = a + (row + r) * k;
#define SUM(r, c) int32_t s##r##c = 0;
#define ADD(r, c) s##r##c += x##r[i] * b##c[i];
#define PUT(r, c) out[(row + r) * n + j + c] = s##r##c - less[j + c];
#define ROW_BY(COLUMNS)                                                                                                       \
    {                                                                                                                         \
        ROW(0)                                                                                                                \
        COLUMNS(SUM, 0)                                                                                                       \
        for (size_t i = 0; i < k; ++i) { COLUMNS(ADD, 0) }                                                                    \
        COLUMNS(PUT, 0)                                                                                                       \
    }
#define ROWS_BY(COLUMNS)                                                                                                      \
    {                                                                                                                         \
        ROW(0) ROW(1)                                                                                                         \
        COLUMNS(SUM, 0) COLUMNS(SUM, 1)                                                                                       \
        for (size_t i = 0; i < k; ++i) { COLUMNS(ADD, 0) COLUMNS(ADD, 1) }                                                    \
        COLUMNS(PUT, 0) COLUMNS(PUT, 1)                                                                                       \
    }
/* `rows`, 1 or 2, by `columns` are summed at once. */
#define PRODUCT(NAME, rows, columns, COLUMNS)                                                                                 \
    void NAME(size_t batches, size_t m, size_t n, size_t blocks, const LEFT *restrict a, const RIGHT *restrict b, size_t next,\
              const int64_t *restrict less, size_t next_less, OUT *restrict out) {                                            \
        const size_t k = blocks * 64;                                                                                         \
        for (size_t batch = 0; batch < batches; ++batch) {                                                                    \
            size_t j = 0, row;                                                                                                \
            for (; j + columns <= n; j += columns) {                                                                          \
                COLUMNS(COLUMN, 0)                                                                                            \
                for (row = 0; rows == 2 && row + 2 <= m; row += 2) ROWS_BY(COLUMNS)                                           \
                for (; row < m; ++row) ROW_BY(COLUMNS)                                                                        \
            }                                                                                                                 \
            for (; j < n; ++j) {                                                                                              \
                ONE(COLUMN, 0)                                                                                                \
                for (row = 0; row < m; ++row) ROW_BY(ONE)                                                                     \
            }                                                                                                                 \
            a += m * k, b += next, less += next_less, out += m * n;                                                           \
        }                                                                                                                     \
    }

#define LEFT uint8_t
#define RIGHT int8_t
#define OUT int64_t
PRODUCT(product_of_bytes, 1, 8, EIGHT)
#undef OUT
#define OUT int32_t
PRODUCT(product_of_bytes_32, 1, 8, EIGHT)
#undef LEFT
#undef RIGHT
#define LEFT int16_t
#define RIGHT int16_t
PRODUCT(product_of_words_32, 2, 6, SIX)
#undef OUT
#define OUT int64_t
PRODUCT(product_of_words, 2, 6, SIX)
