/* Products of narrow integers in int32 accumulators: the plan bounds every partial sum. */
#include "ibert.h"

#include "exact.h"

#include <string.h>

void linear(int64_t rows, int64_t in_features, int64_t out_features, const int16_t *q, const int8_t *weight, const int32_t *bias,
            int32_t *out) {
    for (int64_t row = 0; row < rows; row++, q += in_features) {
        for (int64_t n = 0; n < out_features; n++) {
            const int8_t *w = weight + n * in_features;
            int32_t acc = 0;
            for (int64_t k = 0; k < in_features; k++) acc += (int32_t)q[k] * w[k];
            *out++ = acc + (bias ? bias[n] : 0);
        }
    }
}

void matmul(int64_t batch, int64_t m, int64_t k, int64_t n, const int16_t *a, const int16_t *b, int32_t *out) {
    for (int64_t item = 0; item < batch; item++, b += k * n) {
        for (int64_t i = 0; i < m; i++, a += k, out += n) { /* row by row of b, so that every access is contiguous */
            for (int64_t j = 0; j < n; j++) out[j] = 0;
            for (int64_t l = 0; l < k; l++) {
                for (int64_t j = 0; j < n; j++) out[j] += (int32_t)a[l] * b[l * n + j];
            }
        }
    }
}

void mean_pool(int64_t batch, int64_t masks, int64_t tokens, int64_t columns, const int16_t *q, const int8_t *mask, int64_t fraction_bits,
               int32_t *out) {
    for (int64_t item = 0; item < batch; item++, q += tokens * columns) {
        for (int64_t m = 0; m < masks; m++, mask += tokens, out += columns) {
            int64_t kept = 0;
            for (int64_t j = 0; j < columns; j++) out[j] = 0;
            for (int64_t t = 0; t < tokens; t++) {
                kept += mask[t];
                for (int64_t j = 0; mask[t] && j < columns; j++) out[j] += q[t * columns + j];
            }
            for (int64_t j = 0; j < columns; j++) out[j] = (int32_t)nearest_quotient(out[j] * power_of_two(fraction_bits), kept);
        }
    }
}

void argmax(int64_t rows, int64_t length, const int32_t *q, int32_t *out) {
    for (int64_t row = 0; row < rows; row++, q += length) {
        int64_t best = 0;
        for (int64_t i = 1; i < length; i++) best = q[i] > q[best] ? i : best;
        out[row] = (int32_t)best;
    }
}

void embedding(int64_t count, int64_t dim, const int64_t *ids, const int8_t *table, int8_t *out) {
    for (int64_t i = 0; i < count; i++, out += dim) memcpy(out, table + ids[i] * dim, (size_t)dim);
}
