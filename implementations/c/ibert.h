/* The integer operations of I-BERT in portable C99: no floating point but at the two borders, no allocation, no global state.
 *
 * Constants arrive as arguments, made offline. An elementwise kernel sees `rows` rows of `channels` values; each of its constants
 * is an array of `length` values, 1 or `channels`. Where the two dialects differ there are two functions.
 * Every value of a legal call fits int64_t (the plan proves it); products that may not are formed in two words.
 */
#ifndef IBERT_H
#define IBERT_H

#include <stdint.h>

/* The rules of requantize, once for everybody: NEXT(its number here, its name in a plan), the first as FIRST. */
#define REQUANTIZE_RULES(FIRST, NEXT) \
    FIRST(DYADIC_HALF_EVEN, dyadic_half_even) \
    NEXT(DYADIC_HALF_UP, dyadic_half_up) \
    NEXT(DYADIC_HALF_AWAY, dyadic_half_away) \
    NEXT(DYADIC_FLOOR, dyadic_floor) \
    NEXT(DYADIC_TRUNC, dyadic_trunc) \
    NEXT(GEMMLOWP_DOUBLE, gemmlowp_double) \
    NEXT(SINGLE_ROUNDING, single_rounding) \
    NEXT(TOSA_DOUBLE_ROUND, tosa_double_round) \
    NEXT(TOSA_SCALE16, tosa_scale16) \
    NEXT(TVM_TONEAREST, tvm_tonearest) \
    NEXT(REDUCED_MULTIPLIER_I64, reduced_multiplier_i64) \
    NEXT(CMSIS_REQUANTIZE_S64, cmsis_requantize_s64) \
    NEXT(NEON_SQRDMULH_SRSHL, neon_sqrdmulh_srshl) \
    NEXT(XNN_RNDNU, xnn_rndnu) \
    NEXT(XNN_FP32, xnn_fp32) \
    NEXT(FLOAT_SCALE, float_scale) \
    NEXT(ONNX_QUANTIZE_LINEAR, onnx_quantize_linear) \
    NEXT(HALF_EVEN_SHIFT, half_even_shift) \
    NEXT(PULP_FLOOR, pulp_floor) \
    NEXT(PULP_HALF_UP, pulp_half_up) \
    NEXT(ITA_HALF_UP, ita_half_up) \
    NEXT(TRUNCATE_LOW_BITS, truncate_low_bits) \
    NEXT(FQVIT_M_N, fqvit_m_n)

#define REQUANTIZE_NUMBER(number, name) number,
enum requantize_rule { REQUANTIZE_RULES(REQUANTIZE_NUMBER, REQUANTIZE_NUMBER) REQUANTIZE_COUNT };

/* quantize.c: the float border. The scale (paper) or its reciprocal (ibert) is mantissa * 2**exponent. */
void quantize_paper(int64_t rows, int64_t channels, const double *value_x, const int64_t *mantissa, const int64_t *exponent,
                    int64_t length, int64_t bits, int64_t *out);
void quantize_ibert(int64_t rows, int64_t channels, const float *value_x, const int64_t *mantissa, const int64_t *exponent,
                    int64_t length, int64_t bits, int64_t *out);
void dequantize(int64_t rows, int64_t channels, const int64_t *value_q, const double *scale, int64_t length, double *out);

/* requantize.c: out is kept in [lo, hi]. Both return -1 for a rule that is not one, else 0. */
int requantize(int64_t rows, int64_t channels, const int64_t *value_q, int64_t rule, const int64_t *multiplier, const int64_t *shift,
               int64_t length, int64_t addend, int64_t zero_point, int64_t lo, int64_t hi, int64_t *out);
int residual_add(int64_t rows, int64_t channels, const int64_t *value_q, const int64_t *residual, const int64_t *multiplier,
                 const int64_t *shift, int64_t length, const int64_t *multiplier_residual, const int64_t *shift_residual,
                 int64_t length_residual, int64_t rule, int64_t zero_point_in, int64_t zero_point_residual, int64_t zero_point,
                 int64_t lo, int64_t hi, int64_t *out);

/* linear.c: int32 accumulators. bias may be a null pointer. */
void linear(int64_t rows, int64_t in_features, int64_t out_features, const int16_t *value_q, const int8_t *weight, const int32_t *bias,
            int32_t *out);
void matmul(int64_t batch, int64_t rows, int64_t inner, int64_t columns, const int16_t *value_a, const int16_t *value_b, int32_t *out);
void mean_pool(int64_t batch, int64_t masks, int64_t tokens, int64_t columns, const int16_t *value_q, const int8_t *mask,
               int64_t fraction_bits, int32_t *out);
void argmax(int64_t rows, int64_t length, const int32_t *value_q, int32_t *out);
void embedding(int64_t count, int64_t dim, const int64_t *ids, const int8_t *table, int8_t *out);

/* gelu.c */
void i_poly(int64_t rows, int64_t channels, const int64_t *value_q, const int64_t *q_b, const int64_t *q_c, int64_t length, int64_t *out);
void i_erf_paper(int64_t rows, int64_t channels, const int64_t *value_q, const int64_t *q_b, const int64_t *q_c, int64_t length,
                 int64_t *out);
void i_erf_ibert(int64_t rows, int64_t channels, const int64_t *value_q, const int64_t *q_b, const int64_t *q_c, int64_t length,
                 int64_t *out);
void i_gelu_paper(int64_t rows, int64_t channels, const int64_t *value_q, const int64_t *q_b, const int64_t *q_c, const int64_t *q_1,
                  int64_t length, int64_t *out);
void i_gelu_ibert(int64_t rows, int64_t channels, const int64_t *value_q, const int64_t *q_b, const int64_t *q_c, const int64_t *q_1,
                  int64_t length, int64_t *out);

/* softmax.c: mask may be a null pointer; where it is 0 the entry is left out. */
void i_exp_paper(int64_t count, const int64_t *value_q, int64_t q_ln2, int64_t q_b, int64_t q_c, int64_t *out);
void i_exp_ibert(int64_t count, const int64_t *value_q, int64_t x0, int64_t q_b, int64_t q_c, int64_t *out);
void i_softmax_paper(int64_t rows, int64_t length, const int64_t *value_q, const uint8_t *mask, int64_t q_ln2, int64_t q_b, int64_t q_c,
                     int64_t bits, int64_t *out);
void i_softmax_ibert(int64_t rows, int64_t length, const int64_t *value_q, const uint8_t *mask, int64_t x0, int64_t q_b, int64_t q_c,
                     int64_t multiplier, int64_t shift, int64_t bits, int64_t *out);

/* layernorm.c: bias has `bias_length` values, 1 or `length`. */
void i_sqrt(int64_t count, const int64_t *value_n, int64_t *out);
void i_layernorm_paper(int64_t rows, int64_t length, const int64_t *value_q, const int64_t *bias, int64_t bias_length,
                       int64_t fraction_bits, int64_t *out);
void i_layernorm_ibert(int64_t rows, int64_t length, const int64_t *value_q, const int64_t *bias, int64_t bias_length, int64_t shift,
                       int64_t *out);

#endif
