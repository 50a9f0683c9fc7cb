/* i-poly, i-erf, i-GELU (paper, Algorithms 1 and 2). */
#include "ibert.h"

#include "exact.h"

static int64_t poly(int64_t q, int64_t q_b, int64_t q_c) {
    return (q + q_b) * (q + q_b) + q_c;
}

/* The sign of q times the polynomial of |q|, clipped where the parabola has its vertex; sgn(0) = 0. */
static int64_t erf_paper(int64_t q, int64_t q_b, int64_t q_c) {
    int64_t size = q < 0 ? -q : q, t = size < -q_b ? size : -q_b;
    return q == 0 ? 0 : q < 0 ? -poly(t, q_b, q_c) : poly(t, q_b, q_c);
}

/* The released code shifts after the sign, so the floor treats the two signs differently. */
static int64_t erf_ibert(int64_t q, int64_t q_b, int64_t q_c) {
    return floor_shift(erf_paper(q, q_b, q_c), 14);
}

#define ELEMENTWISE(expression)                                   \
    for (int64_t row = 0; row < rows; row++) {                    \
        for (int64_t c = 0; c < channels; c++, q++) {             \
            const int64_t b = at(q_b, length, c), k = at(q_c, length, c); \
            *out++ = (expression);                                \
        }                                                         \
    }

void i_poly(int64_t rows, int64_t channels, const int64_t *q, const int64_t *q_b, const int64_t *q_c, int64_t length, int64_t *out) {
    ELEMENTWISE(poly(*q, b, k))
}

void i_erf_paper(int64_t rows, int64_t channels, const int64_t *q, const int64_t *q_b, const int64_t *q_c, int64_t length,
                 int64_t *out) {
    ELEMENTWISE(erf_paper(*q, b, k))
}

void i_erf_ibert(int64_t rows, int64_t channels, const int64_t *q, const int64_t *q_b, const int64_t *q_c, int64_t length,
                 int64_t *out) {
    ELEMENTWISE(erf_ibert(*q, b, k))
}

void i_gelu_paper(int64_t rows, int64_t channels, const int64_t *q, const int64_t *q_b, const int64_t *q_c, const int64_t *q_1,
                  int64_t length, int64_t *out) {
    ELEMENTWISE(*q * (erf_paper(*q, b, k) + at(q_1, length, c)))
}

void i_gelu_ibert(int64_t rows, int64_t channels, const int64_t *q, const int64_t *q_b, const int64_t *q_c, const int64_t *q_1,
                  int64_t length, int64_t *out) {
    ELEMENTWISE(*q * (erf_ibert(*q, b, k) + at(q_1, length, c)))
}
