/* Floats to integers and back. A float is read as the integers it is made of, so no rounding mode or flag can matter. */
#include "ibert.h"

#include <string.h>

#include "exact.h"

/* round_half_even(m * 2**k / d) for a normal m and d of 53 bits each, by long division; 2**33 where it is more than 2**32. */
static uint64_t quotient(uint64_t m, int64_t k, uint64_t d) {
    if (k > 32) return (uint64_t)1 << 33;
    if (k < -1) return 0; /* m < 2 * d: below a half */
    if (k == -1) d *= 2;
    uint64_t q = m / d, r = m % d;
    for (; k > 0; k--) {
        r *= 2;
        q = 2 * q + (r >= d);
        if (r >= d) r -= d;
    }
    return q + (2 * r > d || (2 * r == d && (q & 1)));
}

/* Half-even of x / S, clipped to +-(2**(bits-1) - 1). */
void quantize_paper(int64_t rows, int64_t channels, const double *x, const int64_t *mantissa, const int64_t *exponent,
                    int64_t length, int64_t bits, int64_t *out) {
    const uint64_t n = ((uint64_t)1 << (bits - 1)) - 1;
    for (int64_t row = 0; row < rows; row++) {
        for (int64_t c = 0; c < channels; c++, x++, out++) {
            uint64_t word, size = 0;
            memcpy(&word, x, sizeof word);
            int64_t biased = (int64_t)(word >> 52 & 0x7FF);
            if (biased > 0) { /* subnormals are far below half of any scale */
                uint64_t m = (word & 0xFFFFFFFFFFFFFu) | (uint64_t)1 << 52;
                size = quotient(m, biased - 1075 - at(exponent, length, c), (uint64_t)at(mantissa, length, c));
            }
            *out = with_sign(size < n ? size : n, word >> 63 != 0);
        }
    }
}

/* Half-even of the binary32 product of x and the reciprocal, clamped to [-n, n - 1], n = 2**(bits-1) - 1. */
void quantize_ibert(int64_t rows, int64_t channels, const float *x, const int64_t *mantissa, const int64_t *exponent,
                    int64_t length, int64_t bits, int64_t *out) {
    const int64_t n = power_of_two(bits - 1) - 1;
    for (int64_t row = 0; row < rows; row++) {
        for (int64_t c = 0; c < channels; c++, x++, out++) {
            uint32_t word;
            memcpy(&word, x, sizeof word);
            int64_t biased = word >> 23 & 0xFF;
            uint64_t m = (word & 0x7FFFFFu) | (uint64_t)(biased > 0) << 23;
            int64_t e = (biased > 0 ? biased : 1) - 150 + at(exponent, length, c);
            uint64_t size = through_binary32(m * (uint64_t)at(mantissa, length, c), e);
            *out = clamp(with_sign(size, word >> 31 != 0), -n, n - 1);
        }
    }
}

void dequantize(int64_t rows, int64_t channels, const int64_t *q, const double *scale, int64_t length, double *out) {
    for (int64_t row = 0; row < rows; row++) {
        for (int64_t c = 0; c < channels; c++) *out++ = (double)*q++ * scale[length > 1 ? c : 0];
    }
}
