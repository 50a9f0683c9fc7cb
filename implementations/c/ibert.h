/* The integer operations of I-BERT in portable C99: no floating point but at the two borders, no allocation, no global state.
 *
 * Constants arrive as arguments, made offline. An elementwise kernel sees `rows` rows of `channels` values; each of its constants
 * is an array of `length` values, 1 or `channels`. Where the two dialects differ there are two functions.
 * Every value of a legal call fits int64_t (the plan proves it); products that may not are formed in two words.
 */
#ifndef IBERT_H
#define IBERT_H

#include <stdint.h>

/* The order is that of RULES in adapter.py. */
enum requantize_rule {
    DYADIC_HALF_EVEN,
    DYADIC_HALF_UP,
    DYADIC_HALF_AWAY,
    DYADIC_FLOOR,
    DYADIC_TRUNC,
    GEMMLOWP_DOUBLE,
    SINGLE_ROUNDING,
    TOSA_DOUBLE_ROUND,
    TOSA_SCALE16,
    TVM_TONEAREST,
    REDUCED_MULTIPLIER_I64,
    CMSIS_REQUANTIZE_S64,
    NEON_SQRDMULH_SRSHL,
    XNN_RNDNU,
    XNN_FP32,
    FLOAT_SCALE,
    ONNX_QUANTIZE_LINEAR,
    HALF_EVEN_SHIFT,
    PULP_FLOOR,
    PULP_HALF_UP,
    ITA_HALF_UP,
    TRUNCATE_LOW_BITS,
    FQVIT_M_N
};

/* quantize.c: the float border. The scale (paper) or its reciprocal (ibert) is mantissa * 2**exponent. */
void quantize_paper(int64_t rows, int64_t channels, const double *x, const int64_t *mantissa, const int64_t *exponent,
                    int64_t length, int64_t bits, int64_t *out);
void quantize_ibert(int64_t rows, int64_t channels, const float *x, const int64_t *mantissa, const int64_t *exponent,
                    int64_t length, int64_t bits, int64_t *out);
void dequantize(int64_t rows, int64_t channels, const int64_t *q, const double *scale, int64_t length, double *out);

/* requantize.c: out is kept in [lo, hi]. Returns -1 for a rule that is not one, else 0. */
int requantize(int64_t rows, int64_t channels, const int64_t *q, int64_t rule, const int64_t *multiplier, const int64_t *shift,
               int64_t length, int64_t addend, int64_t zero_point, int64_t lo, int64_t hi, int64_t *out);
void residual_add(int64_t rows, int64_t channels, const int64_t *q, const int64_t *residual, const int64_t *multiplier,
                  const int64_t *shift, int64_t length, const int64_t *multiplier_residual, const int64_t *shift_residual,
                  int64_t length_residual, int64_t lo, int64_t hi, int64_t *out);

/* linear.c: int32 accumulators. bias may be a null pointer. */
void linear(int64_t rows, int64_t in_features, int64_t out_features, const int16_t *q, const int8_t *weight, const int32_t *bias,
            int32_t *out);
void matmul(int64_t batch, int64_t m, int64_t k, int64_t n, const int16_t *a, const int16_t *b, int32_t *out);
void embedding(int64_t count, int64_t dim, const int64_t *ids, const int8_t *table, int8_t *out);

/* gelu.c */
void i_poly(int64_t rows, int64_t channels, const int64_t *q, const int64_t *q_b, const int64_t *q_c, int64_t length, int64_t *out);
void i_erf_paper(int64_t rows, int64_t channels, const int64_t *q, const int64_t *q_b, const int64_t *q_c, int64_t length,
                 int64_t *out);
void i_erf_ibert(int64_t rows, int64_t channels, const int64_t *q, const int64_t *q_b, const int64_t *q_c, int64_t length,
                 int64_t *out);
void i_gelu_paper(int64_t rows, int64_t channels, const int64_t *q, const int64_t *q_b, const int64_t *q_c, const int64_t *q_1,
                  int64_t length, int64_t *out);
void i_gelu_ibert(int64_t rows, int64_t channels, const int64_t *q, const int64_t *q_b, const int64_t *q_c, const int64_t *q_1,
                  int64_t length, int64_t *out);

/* softmax.c: mask may be a null pointer; where it is 0 the entry is left out. */
void i_exp_paper(int64_t count, const int64_t *q, int64_t q_ln2, int64_t q_b, int64_t q_c, int64_t *out);
void i_exp_ibert(int64_t count, const int64_t *q, int64_t x0, int64_t q_b, int64_t q_c, int64_t *out);
void i_softmax_paper(int64_t rows, int64_t length, const int64_t *q, const uint8_t *mask, int64_t q_ln2, int64_t q_b, int64_t q_c,
                     int64_t bits, int64_t *out);
void i_softmax_ibert(int64_t rows, int64_t length, const int64_t *q, const uint8_t *mask, int64_t x0, int64_t q_b, int64_t q_c,
                     int64_t multiplier, int64_t shift, int64_t bits, int64_t *out);

/* layernorm.c: bias has `bias_length` values, 1 or `length`. */
void i_sqrt(int64_t count, const int64_t *n, int64_t *out);
void i_layernorm_paper(int64_t rows, int64_t length, const int64_t *q, const int64_t *bias, int64_t bias_length,
                       int64_t fraction_bits, int64_t *out);
void i_layernorm_ibert(int64_t rows, int64_t length, const int64_t *q, const int64_t *bias, int64_t bias_length, int64_t shift,
                       int64_t *out);

#endif
