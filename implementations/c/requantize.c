/* Integers of one scale to integers of another, by every rule in the field; and the residual add. */
#include "ibert.h"

#include "exact.h"

typedef int64_t (*rescale)(int64_t x, int64_t m, int64_t sh, int64_t addend);

static int64_t half_even(int64_t x, int64_t m, int64_t sh, int64_t addend) {
    (void)addend;
    return dyadic(x, m, sh, HALF_EVEN);
}

static int64_t half_up(int64_t x, int64_t m, int64_t sh, int64_t addend) {
    (void)addend;
    return dyadic(x, m, sh, HALF_UP);
}

static int64_t half_away(int64_t x, int64_t m, int64_t sh, int64_t addend) {
    (void)addend;
    return dyadic(x, m, sh, HALF_AWAY);
}

static int64_t to_floor(int64_t x, int64_t m, int64_t sh, int64_t addend) {
    (void)addend;
    return dyadic(x, m, sh, TO_FLOOR);
}

static int64_t to_zero(int64_t x, int64_t m, int64_t sh, int64_t addend) {
    (void)addend;
    return dyadic(x, m, sh, TO_ZERO);
}

/* The saturating rounding doubling high product; sh = 31 - x0, so a shift to the left precedes it where sh < 31. */
static int64_t doubling_high(int64_t x, int64_t m, int64_t sh) {
    int64_t t = wrap32(sh < 31 ? x * power_of_two(31 - sh) : x);
    if (t == INT32_MIN && m == INT32_MIN) return INT32_MAX;
    int64_t p = t * m;
    return (p + (p >= 0 ? power_of_two(30) : 1 - power_of_two(30))) / power_of_two(31); /* truncates, as it is meant to */
}

static int64_t gemmlowp(int64_t x, int64_t m, int64_t sh, int64_t addend) {
    (void)addend;
    return dyadic(doubling_high(x, m, sh), 1, sh > 31 ? sh - 31 : 0, HALF_AWAY);
}

static int64_t neon(int64_t x, int64_t m, int64_t sh, int64_t addend) {
    (void)addend;
    return dyadic(doubling_high(x, m, sh), 1, sh > 31 ? sh - 31 : 0, HALF_UP);
}

static int64_t single_rounding(int64_t x, int64_t m, int64_t sh, int64_t addend) {
    (void)addend;
    return floor_shift(x * m + power_of_two(sh - 1), sh);
}

static int64_t tosa_double(int64_t x, int64_t m, int64_t sh, int64_t addend) {
    int64_t round = power_of_two(sh - 1);
    (void)addend;
    if (sh > 31) round += x >= 0 ? power_of_two(30) : -power_of_two(30);
    return floor_shift(x * m + round, sh);
}

static int64_t tvm(int64_t x, int64_t m, int64_t sh, int64_t addend) {
    (void)addend;
    return floor_shift(x * m + power_of_two(sh - 1) - (x < 0), sh);
}

static int64_t cmsis_s64(int64_t x, int64_t m, int64_t sh, int64_t addend) {
    (void)addend;
    return floor_shift(wrap32(floor_shift(x * m, sh - 1)) + 1, 1);
}

/* |x| of up to 32 bits as binary32 holds it, an integer still. */
static uint64_t binary32(int64_t x) {
    uint64_t size = magnitude(x);
    int drop = bit_length(size) - 24;
    return drop > 0 ? round_shift(size, drop, HALF_EVEN, 0) << drop : size;
}

static int64_t float_scale(int64_t x, int64_t m, int64_t sh, int64_t addend) {
    (void)addend;
    return with_sign(through_binary32(binary32(x) * magnitude(m), -sh), (x < 0) != (m < 0));
}

/* x / (m * 2**-sh): a quotient of at least 34 bits, and a last bit that says whether anything follows. */
static int64_t float_divide(int64_t x, int64_t m, int64_t sh, int64_t addend) {
    uint64_t size = binary32(x), d = magnitude(m);
    int up = 58 - bit_length(size);
    (void)addend;
    uint64_t n = size << up, quotient = n / d << 1 | (n % d != 0);
    return with_sign(through_binary32(quotient, sh - up - 1), (x < 0) != (m < 0));
}

static int64_t half_even_shift(int64_t x, int64_t m, int64_t sh, int64_t addend) {
    (void)m, (void)addend;
    return dyadic(x, 1, sh, HALF_EVEN);
}

static int64_t pulp_floor(int64_t x, int64_t m, int64_t sh, int64_t addend) {
    return floor_shift(wrap32(x * m + addend), sh);
}

static int64_t pulp_half_up(int64_t x, int64_t m, int64_t sh, int64_t addend) {
    return floor_shift(wrap32(x * m + addend + power_of_two(sh - 1)), sh);
}

static int64_t fqvit(int64_t x, int64_t m, int64_t sh, int64_t addend) {
    return dyadic(x * m + addend, 1, sh, HALF_EVEN);
}

static const rescale RESCALE[REQUANTIZE_COUNT] = {
    [DYADIC_HALF_EVEN] = half_even,
    [DYADIC_HALF_UP] = half_up,
    [DYADIC_HALF_AWAY] = half_away,
    [DYADIC_FLOOR] = to_floor,
    [DYADIC_TRUNC] = to_zero,
    [GEMMLOWP_DOUBLE] = gemmlowp,
    [SINGLE_ROUNDING] = single_rounding,
    [TOSA_DOUBLE_ROUND] = tosa_double,
    [TOSA_SCALE16] = single_rounding,
    [TVM_TONEAREST] = tvm,
    [REDUCED_MULTIPLIER_I64] = single_rounding,
    [CMSIS_REQUANTIZE_S64] = cmsis_s64,
    [NEON_SQRDMULH_SRSHL] = neon,
    [XNN_RNDNU] = single_rounding,
    [XNN_FP32] = float_scale,
    [FLOAT_SCALE] = float_scale,
    [ONNX_QUANTIZE_LINEAR] = float_divide,
    [HALF_EVEN_SHIFT] = half_even_shift,
    [PULP_FLOOR] = pulp_floor,
    [PULP_HALF_UP] = pulp_half_up,
    [ITA_HALF_UP] = half_up,
    [TRUNCATE_LOW_BITS] = to_floor,
    [FQVIT_M_N] = fqvit,
};

int requantize(int64_t rows, int64_t channels, const int64_t *q, int64_t rule, const int64_t *multiplier, const int64_t *shift,
               int64_t length, int64_t addend, int64_t zero_point, int64_t lo, int64_t hi, int64_t *out) {
    if (rule < 0 || rule >= REQUANTIZE_COUNT) return -1;
    const rescale f = RESCALE[rule];
    const int bits = bit_length((uint64_t)(hi - lo));
    for (int64_t row = 0; row < rows; row++) {
        for (int64_t c = 0; c < channels; c++) {
            int64_t y = f(*q++, at(multiplier, length, c), at(shift, length, c), addend) + zero_point;
            *out++ = rule == TRUNCATE_LOW_BITS ? wrap(y, lo, bits) : clamp(y, lo, hi);
        }
    }
    return 0;
}

/* Each operand is rounded on its own; only the sum saturates. */
int residual_add(int64_t rows, int64_t channels, const int64_t *q, const int64_t *residual, const int64_t *multiplier,
                 const int64_t *shift, int64_t length, const int64_t *multiplier_residual, const int64_t *shift_residual,
                 int64_t length_residual, int64_t rule, int64_t zero_point_in, int64_t zero_point_residual, int64_t zero_point,
                 int64_t lo, int64_t hi, int64_t *out) {
    if (rule < 0 || rule >= REQUANTIZE_COUNT) return -1;
    const rescale f = RESCALE[rule];
    const int bits = bit_length((uint64_t)(hi - lo));
    for (int64_t row = 0; row < rows; row++) {
        for (int64_t c = 0; c < channels; c++) {
            const int64_t x = *q++ - zero_point_in, r = *residual++ - zero_point_residual;
            const int64_t a = f(x, at(multiplier, length, c), at(shift, length, c), 0);
            const int64_t b = f(r, at(multiplier_residual, length_residual, c), at(shift_residual, length_residual, c), 0);
            const int64_t y = a + b + zero_point;
            *out++ = rule == TRUNCATE_LOW_BITS ? wrap(y, lo, bits) : clamp(y, lo, hi);
        }
    }
    return 0;
}
