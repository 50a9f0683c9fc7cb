/* A library for `refsim check lib:PATH`: the C99 implementation beside this folder behind the interface of refsim.h.
 *
 *   refsim header --out refsim.h
 *   cc -std=c99 -O2 -fPIC -shared -I. -I../c library.c ../c/[a-z]*.c -o libibert.so
 *   refsim check lib:libibert.so
 */
#include "refsim.h"

#include <stdlib.h>

#include "ibert.h"

/* Both headers number the rules: our number of theirs, -1 for one that is not among ours. */
#define CASE(number, name) case REFSIM_##number: return number;
static int64_t rule_number(int64_t rule) {
    switch (rule) {
        REQUANTIZE_RULES(CASE, CASE)
        default: return -1;
    }
}

/* Which rules there are here, of which refsim may have more; and that a product is one of int8 weights, kept in 32 bits. */
#define FIRST(number, name) "\"" #name "\""
#define NEXT(number, name) ", " FIRST(number, name)
#define RULES "{\"rule\": [" REQUANTIZE_RULES(FIRST, NEXT) "]}"
#define PRODUCTS "{\"weight_bits\": [2, 8], \"accumulator_bits\": 32}"
const char *refsim_domain(void) {
    return "{\"requantize\": " RULES ", \"residual_add\": " RULES ", \"linear\": " PRODUCTS ", \"linear_requantize\": " PRODUCTS "}";
}

int64_t refsim_abi(void) {
    return REFSIM_ABI;
}

static int64_t product(const int64_t *shape, int64_t count) {
    int64_t size = 1;
    for (int64_t i = 0; i < count; i++) size *= shape[i];
    return size;
}

/* Rows of a result whose last axis has `length` elements; also where it has none at all. */
static int64_t rows_of(const refsim_i64_out *out) {
    return product(out->shape, out->ndim - 1);
}

/* An elementwise kernel gets one long row where no constant is per channel. */
#define ROWS(count, length) (length) > 1 ? (count) / (length) : 1, (length) > 1 ? (length) : (count)

#define BOTH(operation) operation(ibert) operation(paper)

#define QUANTIZE(dialect, tensor)                                                                                                  \
    int refsim_quantize_##dialect(const refsim_quantize_##dialect##_plan *p, const tensor *x, const refsim_i64_out *out) {         \
        quantize_##dialect(ROWS(x->size, p->mantissa_length), x->data, p->mantissa, p->exponent, p->mantissa_length,              \
                           p->output_bits, out->data);                                                                             \
        return 0;                                                                                                                  \
    }
QUANTIZE(ibert, refsim_f32)
QUANTIZE(paper, refsim_f64)

#define DEQUANTIZE(dialect)                                                                                                        \
    int refsim_dequantize_##dialect(const refsim_dequantize_##dialect##_plan *p, const refsim_i64 *q, const refsim_f64_out *out) { \
        dequantize(ROWS(q->size, p->scale_length), q->data, p->scale, p->scale_length, out->data);                                 \
        return 0;                                                                                                                  \
    }
BOTH(DEQUANTIZE)

#define REQUANTIZE(dialect)                                                                                                        \
    int refsim_requantize_##dialect(const refsim_requantize_##dialect##_plan *p, const refsim_i64 *q, const refsim_i64_out *out) { \
        const int64_t half = (int64_t)1 << (p->output_bits - 1);                                                                   \
        const int64_t lo = p->output_signed ? -half : 0, hi = p->output_signed ? half - 1 : 2 * half - 1;                          \
        return requantize(ROWS(q->size, p->multiplier_length), q->data, rule_number(p->rule), p->multiplier, p->shift,             \
                          p->multiplier_length, p->addend, p->zero_point, lo, hi, out->data);                                      \
    }
BOTH(REQUANTIZE)

#define RESIDUAL_ADD(dialect)                                                                                                      \
    int refsim_residual_add_##dialect(const refsim_residual_add_##dialect##_plan *p, const refsim_i64 *q,                          \
                                      const refsim_i64 *residual, const refsim_i64_out *out) {                                     \
        const int64_t half = (int64_t)1 << (p->output_bits - 1);                                                                   \
        const int64_t longer = p->multiplier_length > p->multiplier_residual_length ? p->multiplier_length                         \
                                                                                    : p->multiplier_residual_length;               \
        return residual_add(ROWS(q->size, longer), q->data, residual->data, p->multiplier, p->shift, p->multiplier_length,         \
                            p->multiplier_residual, p->shift_residual, p->multiplier_residual_length, rule_number(p->rule),        \
                            p->zero_point_in, p->zero_point_residual, p->zero_point, -half, half - 1, out->data);                  \
    }
BOTH(RESIDUAL_ADD)

#define I_POLY(dialect)                                                                                                            \
    int refsim_i_poly_##dialect(const refsim_i_poly_##dialect##_plan *p, const refsim_i64 *q, const refsim_i64_out *out) {         \
        i_poly(ROWS(q->size, p->q_b_length), q->data, p->q_b, p->q_c, p->q_b_length, out->data);                                   \
        return 0;                                                                                                                  \
    }
BOTH(I_POLY)

#define I_ERF(dialect)                                                                                                             \
    int refsim_i_erf_##dialect(const refsim_i_erf_##dialect##_plan *p, const refsim_i64 *q, const refsim_i64_out *out) {           \
        i_erf_##dialect(ROWS(q->size, p->q_b_length), q->data, p->q_b, p->q_c, p->q_b_length, out->data);                          \
        return 0;                                                                                                                  \
    }
BOTH(I_ERF)

#define I_GELU(dialect)                                                                                                            \
    int refsim_i_gelu_##dialect(const refsim_i_gelu_##dialect##_plan *p, const refsim_i64 *q, const refsim_i64_out *out) {         \
        i_gelu_##dialect(ROWS(q->size, p->q_b_length), q->data, p->q_b, p->q_c, p->q_1, p->q_b_length, out->data);                 \
        return 0;                                                                                                                  \
    }
BOTH(I_GELU)

#define I_EXP(dialect, segment)                                                                                                    \
    int refsim_i_exp_##dialect(const refsim_i_exp_##dialect##_plan *p, const refsim_i64 *q, const refsim_i64_out *out) {           \
        i_exp_##dialect(q->size, q->data, p->segment, p->q_b, p->q_c, out->data);                                                  \
        return 0;                                                                                                                  \
    }
I_EXP(ibert, x0)
I_EXP(paper, q_ln2)

#define I_SQRT(dialect)                                                                                                            \
    int refsim_i_sqrt_##dialect(const refsim_i_sqrt_##dialect##_plan *p, const refsim_i64 *n, const refsim_i64_out *out) {         \
        (void)p;                                                                                                                   \
        i_sqrt(n->size, n->data, out->data);                                                                                       \
        return 0;                                                                                                                  \
    }
BOTH(I_SQRT)

int refsim_i_softmax_ibert(const refsim_i_softmax_ibert_plan *p, const refsim_i64 *q, const refsim_u8 *mask, const refsim_i64_out *out) {
    i_softmax_ibert(rows_of(out), out->shape[out->ndim - 1], q->data, mask ? mask->data : 0, p->x0, p->q_b, p->q_c, p->value_m,
                    p->value_e, p->output_bits, out->data);
    return 0;
}

int refsim_i_softmax_paper(const refsim_i_softmax_paper_plan *p, const refsim_i64 *q, const refsim_u8 *mask, const refsim_i64_out *out) {
    i_softmax_paper(rows_of(out), out->shape[out->ndim - 1], q->data, mask ? mask->data : 0, p->q_ln2, p->q_b, p->q_c,
                    p->output_bits, out->data);
    return 0;
}

int refsim_i_layernorm_ibert(const refsim_i_layernorm_ibert_plan *p, const refsim_i64 *q, const refsim_i64_out *out) {
    i_layernorm_ibert(rows_of(out), p->length, q->data, p->bias, p->bias_length, p->shift, out->data);
    return 0;
}

int refsim_i_layernorm_paper(const refsim_i_layernorm_paper_plan *p, const refsim_i64 *q, const refsim_i64_out *out) {
    i_layernorm_paper(rows_of(out), p->length, q->data, p->bias, p->bias_length, p->fraction_bits, out->data);
    return 0;
}

/* The kernels below take narrow operands. */
#define NARROWED(type)                                                                      \
    static type *narrowed_##type(const int64_t *from, int64_t size) {                       \
        type *to = malloc((size > 0 ? (size_t)size : 1) * sizeof *to);                      \
        for (int64_t i = 0; to != NULL && i < size; i++) to[i] = (type)from[i];             \
        return to;                                                                          \
    }
NARROWED(int8_t)
NARROWED(int16_t)
NARROWED(int32_t)

static int widened(const int32_t *from, const refsim_i64_out *out) {
    for (int64_t i = 0; i < out->size; i++) out->data[i] = from[i];
    return 0;
}

static int linear_of(int64_t in, int64_t outs, const refsim_i64 *q, const refsim_i64 *weight, const refsim_i64 *bias,
                     const refsim_i64_out *out) {
    int16_t *x = narrowed_int16_t(q->data, q->size);
    int8_t *w = narrowed_int8_t(weight->data, weight->size);
    int32_t *b = bias ? narrowed_int32_t(bias->data, bias->size) : NULL, *to = narrowed_int32_t(out->data, out->size);
    int status = x == NULL || w == NULL || to == NULL || (bias && b == NULL);
    if (!status) {
        linear(rows_of(out), in, outs, x, w, b, to);
        status = widened(to, out);
    }
    free(x), free(w), free(b), free(to);
    return status;
}

#define LINEAR(dialect)                                                                                                            \
    int refsim_linear_##dialect(const refsim_linear_##dialect##_plan *p, const refsim_i64 *q, const refsim_i64 *weight,            \
                                const refsim_i64 *bias, const refsim_i64_out *out) {                                               \
        return linear_of(p->in_features, p->out_features, q, weight, bias, out);                                                   \
    }
BOTH(LINEAR)

static int matmul_of(const refsim_i64 *a, const refsim_i64 *b, const refsim_i64_out *out) {
    int16_t *x = narrowed_int16_t(a->data, a->size), *y = narrowed_int16_t(b->data, b->size);
    int32_t *to = narrowed_int32_t(out->data, out->size);
    int status = x == NULL || y == NULL || to == NULL;
    if (!status) {
        matmul(product(a->shape, a->ndim - 2), a->shape[a->ndim - 2], a->shape[a->ndim - 1], out->shape[out->ndim - 1], x, y, to);
        status = widened(to, out);
    }
    free(x), free(y), free(to);
    return status;
}

#define MATMUL(dialect)                                                                                                            \
    int refsim_matmul_##dialect(const refsim_matmul_##dialect##_plan *p, const refsim_i64 *a, const refsim_i64 *b,                 \
                                const refsim_i64_out *out) {                                                                       \
        (void)p;                                                                                                                   \
        return matmul_of(a, b, out);                                                                                               \
    }
BOTH(MATMUL)

static int embedding_of(int64_t dim, const refsim_i64 *ids, const refsim_i64 *table, const refsim_i64_out *out) {
    for (int64_t i = 0; i < ids->size; i++)
        for (int64_t j = 0; j < dim; j++) out->data[i * dim + j] = table->data[ids->data[i] * dim + j];
    return 0;
}

#define EMBEDDING(dialect)                                                                                                         \
    int refsim_embedding_##dialect(const refsim_embedding_##dialect##_plan *p, const refsim_i64 *ids, const refsim_i64 *table,     \
                                   const refsim_i64_out *out) {                                                                    \
        return embedding_of(p->embedding_dim, ids, table, out);                                                                    \
    }
BOTH(EMBEDDING)

/* A fused kernel has the plan of each part; here they run one after the other, the second in place. */
#define THEN_REQUANTIZE(dialect, name, part, first, operands, passed)                                                              \
    int refsim_##name##_##dialect(const refsim_##name##_##dialect##_plan *p, operands, const refsim_i64_out *out) {               \
        const refsim_i64 between = {out->data, out->size, out->ndim, out->shape};                                                  \
        const int status = refsim_##first##_##dialect(&p->part, passed, out);                                                      \
        return status ? status : refsim_requantize_##dialect(&p->requantize, &between, out);                                       \
    }
#define LIST(...) __VA_ARGS__
#define FUSED(dialect)                                                                                                             \
    THEN_REQUANTIZE(dialect, linear_requantize, linear, linear,                                                                    \
                    LIST(const refsim_i64 *q, const refsim_i64 *weight, const refsim_i64 *bias), LIST(q, weight, bias))            \
    THEN_REQUANTIZE(dialect, gelu_requantize, gelu, i_gelu, const refsim_i64 *q, q)                                                \
    THEN_REQUANTIZE(dialect, layernorm_requantize, layernorm, i_layernorm, const refsim_i64 *q, q)
BOTH(FUSED)
