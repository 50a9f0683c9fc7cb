/* A library for the tests that makes its integers from the plan's scales, in REAL: binary64 is right, binary32 is not. It reads no
 * integer of the plan that follows from a scale, and refuses plans without scales. */
#include "refsim.h"

#include <math.h>

#include "ibert.h"

int64_t refsim_abi(void) {
    return REFSIM_ABI;
}

const char *refsim_domain(void) {
    return "{\"i_gelu\": {\"constants\": \"float64\"}, \"gelu_requantize\": {\"constants\": \"float64\", \"rule\": \"dyadic_half_even\","
           " \"factor\": \"float64\"}, \"requantize\": {\"rule\": \"dyadic_half_even\", \"factor\": \"float64\"}}";
}

/* 1 // x for a negative x, as Python and NumPy divide. */
static REAL floor_of_reciprocal(REAL x) {
    const REAL rest = (REAL)fmod(1, x), quotient = (1 - rest) / x - (rest != 0), whole = (REAL)floor(quotient);
    return whole + (quotient - whole > (REAL)0.5);
}

int refsim_i_gelu_paper(const refsim_i_gelu_paper_plan *p, const refsim_i64 *q, const refsim_i64_out *out) {
    if (p->scale_length == 0) return p->scale == 0 ? 7 : 8;
    for (int64_t i = 0; i < q->size; i++) {
        const REAL s = (REAL)p->scale[i % p->scale_length] / (REAL)sqrt(2), square = s * s;
        const int64_t q_b = (int64_t)floor(1 / s * (REAL)-1.769);
        const int64_t q_c = (int64_t)floor(1 / square * (REAL)(1 / -0.2888));
        const int64_t q_1 = (int64_t)floor_of_reciprocal(square * (REAL)-0.2888);
        i_gelu_paper(1, 1, q->data + i, &q_b, &q_c, &q_1, 1, out->data + i);
    }
    return 0;
}

int refsim_requantize_paper(const refsim_requantize_paper_plan *p, const refsim_i64 *q, const refsim_i64_out *out) {
    if (p->scale_out == 0) return p->scale_in == 0 && p->scale_in_length == 0 && p->output_scale == 0 ? 7 : 8;
    const int64_t half = (int64_t)1 << (p->output_bits - 1);
    const int64_t lo = p->output_signed ? -half : 0, hi = lo + 2 * half - 1;
    for (int64_t i = 0; i < q->size; i++) {
        int exponent;
        const double ratio = (REAL)p->scale_in[i % p->scale_in_length] / (REAL)p->scale_out, mantissa = frexp(ratio, &exponent);
        int64_t multiplier = (int64_t)round(ldexp(mantissa, 31)), shift = 31 - exponent;
        if (multiplier == INT64_C(1) << 31 || multiplier == -(INT64_C(1) << 31)) multiplier /= 2, shift--;
        requantize(1, 1, q->data + i, DYADIC_HALF_EVEN, &multiplier, &shift, 1, 0, p->zero_point, lo, hi, out->data + i);
    }
    return 0;
}

int refsim_gelu_requantize_paper(const refsim_gelu_requantize_paper_plan *p, const refsim_i64 *q, const refsim_i64_out *out) {
    const refsim_i64 between = {out->data, out->size, out->ndim, out->shape};
    const int status = refsim_i_gelu_paper(&p->gelu, q, out);
    return status ? status : refsim_requantize_paper(&p->requantize, &between, out);
}
