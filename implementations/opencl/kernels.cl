// The integer operations of I-BERT as OpenCL C 1.2 kernels, for any device whose `long` has 64 bits (all of the full profile).
//
// A shift count is taken modulo the operand's width by OpenCL, so none may reach it; `>>` of a negative number floors, `/` truncates,
// so only non-negative numbers are divided. Constants arrive in one array `k`: constant j of channel c at k[j * channels + c], where
// `channels` is 1 or the length of the last axis. `paper` picks the dialect: 1 the paper as printed, 0 the released code.
//
// Elementwise kernels stride over the grid. Row kernels take a row per work-group. GROUP is their
// work-group size, a power of two, defined by whoever builds this. Products stand in product.cl.

#define SEGMENTS 30 /* of ln 2, beyond which the released code treats all inputs alike */

static inline ulong magnitude(long x) { return x < 0 ? 0 - (ulong)x : (ulong)x; }

static inline long with_sign(ulong size, int negative) { return (long)(negative ? 0 - size : size); }

// n / d to the nearest, ties to even; d > 0.
static inline long nearest_quotient(long n, long d) {
    const ulong size = magnitude(n), by = (ulong)d, rest = size % by;
    ulong nearest = size / by;
    nearest += 2 * rest > by || (2 * rest == by && (nearest & 1));
    return with_sign(nearest, n < 0);
}

// z * m / 2**e to the nearest, ties to even: on sign and magnitude, where half-even is symmetric. The product takes up to 97 bits.
static inline long dyadic_half_even(long z, long m, long e) {
    const ulong a = magnitude(z), b = magnitude(m), low = a * b, high = mul_hi(a, b);
    const int negative = (z < 0) != (m < 0);
    if (e <= 0) return e > -64 ? with_sign(low << -e, negative) : 0; // exact, and what does not fit has no plan
    if (e > 127) return 0;
    ulong kept, dropped; // dropped: the bits below the kept ones, left-aligned, the last one sticky
    if (e < 64) {
        kept = low >> e | (high << 1) << (63 - e);
        dropped = low << (64 - e);
    } else if (e == 64) {
        kept = high;
        dropped = low;
    } else {
        kept = high >> (e - 64);
        dropped = high << (128 - e) | (low != 0);
    }
    const ulong tie = 1UL << 63;
    return with_sign(kept + (dropped > tie || (dropped == tie && (kept & 1))), negative);
}

// Rows 0 to 4 of the constants `k`: multiplier, shift, zero point, least and greatest output.
static inline long requantize_one(long z, global const long *k, long channels, long c) {
    const long y = dyadic_half_even(z, k[c], k[channels + c]) + k[2 * channels + c];
    return clamp(y, k[3 * channels + c], k[4 * channels + c]);
}

kernel void requantize(global const long *q, long n, global const long *k, long channels, global long *out) {
    for (long i = get_global_id(0); i < n; i += get_global_size(0)) out[i] = requantize_one(q[i], k, channels, i % channels);
}

// Each operand is rounded on its own, only the sum saturates. Rows of k: multiplier, shift, the same of the residual, least, greatest.
static inline long residual_add_one(long q, long residual, global const long *k, long channels, long c) {
    const long a = dyadic_half_even(q, k[c], k[channels + c]);
    const long b = dyadic_half_even(residual, k[2 * channels + c], k[3 * channels + c]);
    return clamp(a + b, k[4 * channels + c], k[5 * channels + c]);
}

kernel void residual_add(global const long *q, global const long *residual, long n, global const long *k, long channels, global long *out) {
    for (long i = get_global_id(0); i < n; i += get_global_size(0)) out[i] = residual_add_one(q[i], residual[i], k, channels, i % channels);
}

// ---------------------------------------------------------------------------------------------------- polynomials (rows: q_b, q_c, q_1)

kernel void i_poly(global const int *q, long n, global const long *k, long channels, global long *out) {
    for (long i = get_global_id(0); i < n; i += get_global_size(0)) {
        const long c = i % channels, t = q[i] + k[c];
        out[i] = t * t + k[channels + c];
    }
}

static inline long erf_one(long q, global const long *k, long channels, long c, int paper) {
    const long t = min((long)magnitude(q), -k[c]) + k[c]; // clipped where the parabola has its vertex
    const long polynomial = t * t + k[channels + c];
    const long y = q == 0 ? 0 : q < 0 ? -polynomial : polynomial;
    return paper ? y : y >> 14; // the released code shifts after the sign: a floor
}

kernel void i_erf(global const int *q, long n, global const long *k, long channels, int paper, global long *out) {
    for (long i = get_global_id(0); i < n; i += get_global_size(0)) out[i] = erf_one(q[i], k, channels, i % channels, paper);
}

static inline long gelu_one(long q, global const long *k, long channels, long c, int paper) {
    return q * (erf_one(q, k, channels, c, paper) + k[2 * channels + c]);
}

kernel void i_gelu(global const int *q, long n, global const long *k, long channels, int paper, global long *out) {
    for (long i = get_global_id(0); i < n; i += get_global_size(0)) out[i] = gelu_one(q[i], k, channels, i % channels, paper);
}

// fc1's accumulators to fc2's operand in one pass: the 64-bit i-GELU never leaves the register.
kernel void i_gelu_requantize(global const int *q, long n, global const long *gelu, long gelu_channels, int paper,
                              global const long *k, long channels, global int *out) {
    for (long i = get_global_id(0); i < n; i += get_global_size(0)) {
        out[i] = (int)requantize_one(gelu_one(q[i], gelu, gelu_channels, i % gelu_channels, paper), k, channels, i % channels);
    }
}

// --------------------------------------------------------------------------------------------- i-exp, i-sqrt (exp: ln 2, q_b, q_c)

// The polynomial of exp(-d), d >= 0, and how often it is to be halved.
static inline long exp_polynomial(long d, global const long *k, int paper, long *halvings) {
    const long ln2 = k[0], kept = paper ? d : min(d, SEGMENTS * ln2);
    *halvings = kept / ln2;
    const long p = *halvings * ln2 - kept; // in (-ln 2, 0]
    return paper ? (p + k[1]) * (p + k[1]) + k[2] : p * (p + k[1]) + k[2];
}

static inline long exp_paper(long d, global const long *k) {
    long z;
    const long polynomial = exp_polynomial(d, k, 1, &z);
    return z > 63 ? 0 : polynomial >> z;
}

kernel void i_exp(global const int *q, long n, global const long *k, int paper, global long *out) {
    for (long i = get_global_id(0); i < n; i += get_global_size(0)) {
        long z;
        const long d = -(long)q[i];
        out[i] = paper ? exp_paper(d, k) : max(0L, exp_polynomial(d, k, 0, &z) << (SEGMENTS - z));
    }
}

// Newton's iteration from above, stopped when it no longer falls: a fixed number of steps is wrong for some inputs.
static inline ulong integer_sqrt(ulong n) {
    if (n == 0) return 0;
    ulong x = 1UL << ((65 - clz(n)) / 2), y = (x + n / x) >> 1;
    while (y < x) {
        x = y;
        y = (x + n / x) >> 1;
    }
    return x;
}

kernel void i_sqrt(global const long *n, long count, global long *out) {
    for (long i = get_global_id(0); i < count; i += get_global_size(0)) out[i] = (long)integer_sqrt((ulong)n[i]);
}

// ------------------------------------------------------------------------------------------------------------------------- rows

// One value per work-item to one for the group, known to all its items: a tree in local memory.
static inline long group_sum(long value, local long *partial) {
    const int id = (int)get_local_id(0);
    partial[id] = value;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int step = GROUP / 2; step > 0; step /= 2) {
        if (id < step) partial[id] += partial[id + step];
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    value = partial[0];
    barrier(CLK_LOCAL_MEM_FENCE); // others may still read it when the next reduction begins to write
    return value;
}

static inline long group_max(long value, local long *partial) {
    const int id = (int)get_local_id(0);
    partial[id] = value;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int step = GROUP / 2; step > 0; step /= 2) {
        if (id < step) partial[id] = max(partial[id], partial[id + step]);
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    value = partial[0];
    barrier(CLK_LOCAL_MEM_FENCE);
    return value;
}

// k: ln 2, q_b, q_c, multiplier and shift to 16 bits (released code), bits of the output. Entries whose mask is 0 count as if they were
// not there. The exponentials wait in `out`, where every item reads back only what it wrote: rows of any length.
kernel __attribute__((reqd_work_group_size(GROUP, 1, 1)))
void i_softmax(global const int *q, global const uchar *mask, int masked, long length, global const long *k, int paper, global long *out) {
    local long partial[GROUP];
    const long start = (long)get_group_id(0) * length;
    long greatest = LONG_MIN;
    for (long i = get_local_id(0); i < length; i += GROUP) {
        if (!masked || mask[start + i]) greatest = max(greatest, (long)q[start + i]);
    }
    greatest = group_max(greatest, partial);
    long total = 0; // of the paper's exponentials, a few hundred leave 32 bits
    for (long i = get_local_id(0); i < length; i += GROUP) {
        long e = 0;
        if (!masked || mask[start + i]) {
            const long d = greatest - q[start + i];
            if (paper) {
                e = exp_paper(d, k);
            } else { // the exponential's shift and the one to 16 bits are one rounding, not two
                long z;
                const long polynomial = exp_polynomial(d, k, 0, &z);
                e = min(dyadic_half_even(polynomial, k[3], k[4] - SEGMENTS + z), 32767L);
            }
        }
        out[start + i] = e;
        total += e;
    }
    total = group_sum(total, partial);
    const long factor = (1L << 32) / max(total, 1L);
    for (long i = get_local_id(0); i < length; i += GROUP) {
        const long e = out[start + i];
        out[start + i] = paper ? (e << k[5]) / max(total, 1L) : (e * factor) >> (32 - k[5]);
    }
}

// k: the bias. shift: s of the released code, or the paper's fraction bits. fused: whether `rescale` requantises the result.
kernel __attribute__((reqd_work_group_size(GROUP, 1, 1)))
void i_layernorm(global const int *q, long length, global const long *k, long channels, long shift, int paper, int fused,
                 global const long *rescale, long rescale_channels, global long *out) {
    local long partial[GROUP];
    const long start = (long)get_group_id(0) * length;
    long sum = 0;
    for (long i = get_local_id(0); i < length; i += GROUP) sum += q[start + i];
    sum = group_sum(sum, partial);
    const long mean = nearest_quotient(sum, length);
    long squares = 0;
    for (long i = get_local_id(0); i < length; i += GROUP) {
        const long y = paper ? q[start + i] - mean : (q[start + i] - mean) >> shift;
        squares += y * y;
    }
    squares = group_sum(squares, partial);
    const long sigma = paper ? (long)integer_sqrt((ulong)squares / (ulong)length) : (long)integer_sqrt((ulong)squares) << shift;
    const long factor = (1L << 31) / max(sigma, 1L);
    for (long i = get_local_id(0); i < length; i += GROUP) {
        const long y = q[start + i] - mean;
        long u = 0; // a row without spread keeps its bias alone
        if (sigma > 0 && paper) {
            const ulong scaled = magnitude(y) << shift, d = (ulong)sigma;
            u = y < 0 ? -(long)((scaled + d - 1) / d) : (long)(scaled / d);
        } else if (sigma > 0) {
            u = (y * factor) >> 1;
        }
        u += k[i % channels];
        out[start + i] = fused ? requantize_one(u, rescale, rescale_channels, i % rescale_channels) : u;
    }
}

// The place of the greatest element, the first of equal ones: the greatest of pairs of an element and how far its place is from the end.
kernel __attribute__((reqd_work_group_size(GROUP, 1, 1)))
void argmax(global const int *q, long length, global int *out) {
    local long partial[GROUP];
    const long start = (long)get_group_id(0) * length;
    long best = LONG_MIN;
    for (long i = get_local_id(0); i < length; i += GROUP) best = max(best, q[start + i] * (1L << 32) + (INT_MAX - i));
    best = group_max(best, partial);
    if (get_local_id(0) == 0) out[get_group_id(0)] = INT_MAX - (int)(best & 0xFFFFFFFFL);
}

// The mean of the tokens that a mask keeps, an item for each mask and column.
kernel void mean_pool(global const short *q, global const char *mask, long n, long masks, long tokens, long columns, long bits,
                      global int *out) {
    for (long i = get_global_id(0); i < n; i += get_global_size(0)) {
        const long row = i / columns, first = row / masks * tokens * columns + i % columns;
        long total = 0, count = 0;
        for (long token = 0; token < tokens; ++token) {
            total += mask[row * tokens + token] ? q[first + token * columns] : 0;
            count += mask[row * tokens + token];
        }
        out[i] = (int)nearest_quotient(total * (1L << bits), count);
    }
}

// ------------------------------------------------------------------------------------------------------------------- embedding

kernel void embedding(global const int *ids, long n, long dim, global const char *table, global char *out) {
    for (long i = get_global_id(0); i < n * dim; i += get_global_size(0)) out[i] = table[ids[i / dim] * dim + i % dim];
}

// The encoder's input in one pass: a row of each table, the types added to the words and the positions to both, as two residual adds.
kernel void embedding_sum(global const int *word_ids, global const int *type_ids, global const int *position_ids, long n, long dim,
                          global const char *words, global const char *types, global const char *positions,
                          global const long *add_types, long types_channels, global const long *add_positions, long positions_channels,
                          global int *out) {
    for (long i = get_global_id(0); i < n * dim; i += get_global_size(0)) {
        const long row = i / dim, c = i % dim;
        const long word = words[word_ids[row] * dim + c], type = types[type_ids[row] * dim + c];
        const long both = residual_add_one(word, type, add_types, types_channels, i % types_channels);
        const long position = positions[position_ids[row] * dim + c];
        out[i] = (int)residual_add_one(both, position, add_positions, positions_channels, i % positions_channels);
    }
}

// ------------------------------------------------------------------------------------------------------------ the float border
//
// Floats by the integers they are made of: devices without binary64 have these kernels too, and no rounding mode or flag matters.

#define MANTISSA 0x000FFFFFFFFFFFFFUL
#define HIDDEN 0x0010000000000000UL

// m * 2**k / d to the nearest, ties to even; 2**52 <= m, d < 2**53. More than 2**31 where it is more than that, any such number. Long
// division, the first bit and then eight at a time. A rounded binary64 quotient may lie on a tie that the exact one misses.
static inline long quotient_half_even(ulong m, long k, ulong d) {
    d <<= clamp(-k, 0L, 2L); // m / d is below 2: a quarter of it, and all that is less, is below a half
    ulong quotient = m / d, rest = m % d;
    for (long left = min(k, 32L); left > 0; left -= 8) {
        const long step = min(left, 8L);
        rest <<= step;
        quotient = (quotient << step) + rest / d;
        rest %= d;
    }
    return (long)(quotient + (2 * rest > d || (2 * rest == d && (quotient & 1))));
}

// x: the bits of a binary64. Rows of k: mantissa and exponent of the scale, least and greatest output.
kernel void quantize_paper(global const ulong *x, long n, global const long *k, long channels, global long *out) {
    for (long i = get_global_id(0); i < n; i += get_global_size(0)) {
        const long c = i % channels, biased = (long)(x[i] >> 52 & 0x7FF);
        const ulong m = (x[i] & MANTISSA) | HIDDEN; // of subnormals and 0 too: with their exponent all is below any half
        const long size = quotient_half_even(m, biased - 1075 - k[channels + c], (ulong)k[c]);
        out[i] = clamp(x[i] >> 63 ? -size : size, k[2 * channels + c], k[3 * channels + c]);
    }
}

// x: the bits of a binary32. Rows of k: mantissa and exponent of the scale's binary32 reciprocal, least and greatest output.
kernel void quantize_ibert(global const uint *x, long n, global const long *k, long channels, global long *out) {
    for (long i = get_global_id(0); i < n; i += get_global_size(0)) {
        const long c = i % channels, biased = x[i] >> 23 & 0xFF;
        const long m = (long)(x[i] & 0x7FFFFF) | (biased > 0 ? 0x800000 : 0);
        const long drop = max(40 - (long)clz(m * k[c]), 0L);
        const long kept = dyadic_half_even(m, k[c], drop); // the 24 bits that binary32 keeps of the product
        const long scaled = max(biased, 1L) - 150 + k[channels + c] + drop;
        const long size = dyadic_half_even(kept, 1, -min(scaled, 32L)); // beyond 32 any output is saturated
        out[i] = clamp(x[i] >> 31 ? -size : size, k[2 * channels + c], k[3 * channels + c]);
    }
}

// scale and out: the bits of binary64, of normal ones. The product of |q| <= 2**53 by the mantissa is rounded to 53 bits.
kernel void dequantize(global const long *q, long n, global const long *scale, long channels, global long *out) {
    for (long i = get_global_id(0); i < n; i += get_global_size(0)) {
        const long s = scale[i % channels], m = (long)((s & MANTISSA) | HIDDEN);
        const ulong size = magnitude(q[i]), high = mul_hi(size, (ulong)m);
        const long drop = high ? 75 - (long)clz(high) : 11 - (long)clz(size * (ulong)m);
        const long exponent = (s >> 52 & 0x7FF) + drop - 1; // the mantissa's leading bit adds 1, as does a carry of the rounding
        const long word = (exponent << 52) + dyadic_half_even((long)size, m, drop);
        out[i] = (size ? word : 0) | ((s ^ q[i]) & LONG_MIN);
    }
}
