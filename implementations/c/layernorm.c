/* i-sqrt and i-LayerNorm (paper, Algorithm 4 and section 3.6; the released code's variant). */
#include "ibert.h"

#include "exact.h"

void i_sqrt(int64_t count, const int64_t *n, int64_t *out) {
    for (int64_t i = 0; i < count; i++) out[i] = (int64_t)integer_sqrt((uint64_t)n[i]);
}

static int64_t mean(const int64_t *q, int64_t length) {
    int64_t sum = 0;
    for (int64_t i = 0; i < length; i++) sum += q[i];
    return nearest_quotient(sum, length);
}

void i_layernorm_paper(int64_t rows, int64_t length, const int64_t *q, const int64_t *bias, int64_t bias_length,
                       int64_t fraction_bits, int64_t *out) {
    for (int64_t row = 0; row < rows; row++, q += length, out += length) {
        const int64_t mu = mean(q, length);
        int64_t squares = 0;
        for (int64_t i = 0; i < length; i++) squares += (q[i] - mu) * (q[i] - mu);
        const int64_t sigma = (int64_t)integer_sqrt((uint64_t)(squares / length));
        for (int64_t i = 0; i < length; i++) {
            const int64_t y = (q[i] - mu) * power_of_two(fraction_bits);
            out[i] = (sigma > 0 ? floor_divide(y, sigma) : 0) + at(bias, bias_length, i);
        }
    }
}

/* A legal row keeps the sum of squares below 2**32. */
void i_layernorm_ibert(int64_t rows, int64_t length, const int64_t *q, const int64_t *bias, int64_t bias_length, int64_t shift,
                       int64_t *out) {
    for (int64_t row = 0; row < rows; row++, q += length, out += length) {
        const int64_t mu = mean(q, length);
        int64_t squares = 0;
        for (int64_t i = 0; i < length; i++) {
            const int64_t y = floor_shift(q[i] - mu, shift);
            squares += y * y;
        }
        const int64_t sigma = (int64_t)integer_sqrt((uint64_t)squares) << shift;
        const int64_t factor = sigma > 0 ? power_of_two(31) / sigma : 0; /* a row without spread keeps its bias alone */
        for (int64_t i = 0; i < length; i++) out[i] = floor_shift((q[i] - mu) * factor, 1) + at(bias, bias_length, i);
    }
}
