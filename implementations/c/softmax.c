/* i-exp and i-softmax (paper, Algorithm 3; the released code's variant). Distances are kept as d = -q >= 0: C divides those right. */
#include "ibert.h"

#include "exact.h"

#define SEGMENTS 30 /* of ln 2, beyond which the released code treats all inputs alike */

static int64_t exp_paper(int64_t d, int64_t q_ln2, int64_t q_b, int64_t q_c) {
    int64_t z = d / q_ln2, p = q_b - d % q_ln2;
    return z > 63 ? 0 : (p * p + q_c) >> z; /* the polynomial is not negative */
}

/* The polynomial alone; *z is the number of halvings. */
static int64_t poly_ibert(int64_t d, int64_t x0, int64_t q_b, int64_t q_c, int64_t *z) {
    const int64_t ln2 = -x0;
    if (d > SEGMENTS * ln2) d = SEGMENTS * ln2;
    *z = d / ln2;
    const int64_t r = -(d % ln2);
    return r * (r + q_b) + q_c;
}

void i_exp_paper(int64_t count, const int64_t *q, int64_t q_ln2, int64_t q_b, int64_t q_c, int64_t *out) {
    for (int64_t i = 0; i < count; i++) out[i] = exp_paper(-q[i], q_ln2, q_b, q_c);
}

void i_exp_ibert(int64_t count, const int64_t *q, int64_t x0, int64_t q_b, int64_t q_c, int64_t *out) {
    for (int64_t i = 0; i < count; i++) {
        int64_t z, poly = poly_ibert(-q[i], x0, q_b, q_c, &z);
        out[i] = poly > 0 ? poly << (SEGMENTS - z) : 0;
    }
}

static int kept(const uint8_t *mask, int64_t i) {
    return mask == 0 || mask[i] != 0;
}

/* The greatest of the kept entries; of no meaning where there is none. */
static int64_t row_maximum(const int64_t *q, const uint8_t *mask, int64_t length) {
    int64_t greatest = INT64_MIN;
    for (int64_t i = 0; i < length; i++) {
        if (kept(mask, i) && q[i] > greatest) greatest = q[i];
    }
    return greatest;
}

void i_softmax_paper(int64_t rows, int64_t length, const int64_t *q, const uint8_t *mask, int64_t q_ln2, int64_t q_b, int64_t q_c,
                     int64_t bits, int64_t *out) {
    for (int64_t row = 0; row < rows; row++, q += length, out += length, mask = mask ? mask + length : 0) {
        const int64_t greatest = row_maximum(q, mask, length);
        int64_t total = 0;
        for (int64_t i = 0; i < length; i++) {
            out[i] = kept(mask, i) ? exp_paper(greatest - q[i], q_ln2, q_b, q_c) : 0;
            total += out[i];
        }
        for (int64_t i = 0; total > 0 && i < length; i++) out[i] = (out[i] << bits) / total;
    }
}

void i_softmax_ibert(int64_t rows, int64_t length, const int64_t *q, const uint8_t *mask, int64_t x0, int64_t q_b, int64_t q_c,
                     int64_t multiplier, int64_t shift, int64_t bits, int64_t *out) {
    for (int64_t row = 0; row < rows; row++, q += length, out += length, mask = mask ? mask + length : 0) {
        const int64_t greatest = row_maximum(q, mask, length);
        int64_t total = 0;
        for (int64_t i = 0; i < length; i++) {
            out[i] = 0;
            if (kept(mask, i)) { /* the exponential's shift and the one to 16 bits are one rounding, not two */
                int64_t z, poly = poly_ibert(greatest - q[i], x0, q_b, q_c, &z);
                out[i] = clamp(dyadic(poly, multiplier, shift - SEGMENTS + z, HALF_EVEN), INT16_MIN, INT16_MAX);
            }
            total += out[i];
        }
        const int64_t factor = total > 0 ? power_of_two(32) / total : 0;
        for (int64_t i = 0; i < length; i++) out[i] = (out[i] * factor) >> (32 - bits);
    }
}
