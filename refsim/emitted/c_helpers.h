/* What C lacks an operator for, as refsim defines it: floors, roundings, shifts and products wider than a word. */

enum rounding { FLOOR, CEIL, TRUNC, HALF_UP, HALF_DOWN, HALF_EVEN, HALF_AWAY, HALF_ZERO };

/* begin raised */
/* Whether a rule takes q + 1 rather than the floor q of a quotient; `beyond` and `tie`: its remainder against the middle. */
static inline int raised(enum rounding rule, int64_t q, int negative, int inexact, int beyond, int tie) {
    switch (rule) {
    case FLOOR: return 0;
    case CEIL: return inexact;
    case TRUNC: return inexact & negative;
    case HALF_UP: return beyond | tie;
    case HALF_DOWN: return beyond;
    case HALF_EVEN: return beyond | (tie & (int)(q & 1));
    case HALF_AWAY: return beyond | (tie & !negative);
    default: return beyond | (tie & negative);
    }
}
/* end */

/* begin floor_divide */
static inline int64_t floor_divide(int64_t n, int64_t d) {
    int64_t q = n / d;
    return q - (n % d != 0 && (n < 0) != (d < 0));
}
/* end */

/* begin remainder_of: floor_divide */
static inline int64_t remainder_of(int64_t n, int64_t d) {
    return n - floor_divide(n, d) * d;
}
/* end */

/* begin floor_divide_32 */
static inline int32_t floor_divide_32(int32_t n, int32_t d) { /* many at once, where a processor has no division of 64 bits for that */
    int32_t q = n / d;
    return q - (n % d != 0 && (n < 0) != (d < 0));
}

/* end */
/* begin remainder_of_32: floor_divide_32 */
static inline int32_t remainder_of_32(int32_t n, int32_t d) {
    return n - floor_divide_32(n, d) * d;
}

/* end */
/* begin left_shift */
static inline int64_t left_shift(int64_t x, int64_t s) {
    return s < 63 ? x * (INT64_C(1) << s) : x ? INT64_MIN : 0; /* what a plan lets through fits: at 63 that is 0 and -1 */
}
/* end */

/* begin right_shift */
static inline int64_t right_shift(int64_t x, int64_t s) { /* floor(x / 2^s); >> of a negative number is the compiler's choice in C */
    s = s > 63 ? 63 : s;
    return x < 0 ? ~(~x >> s) : x >> s;
}
/* end */

/* begin right_shift_32 */
static inline int32_t right_shift_32(int32_t x, int32_t s) {
    s = s > 31 ? 31 : s;
    return x < 0 ? ~(~x >> s) : x >> s;
}
/* end */

/* begin bit_length */
static inline int bit_length(uint64_t n) {
    int bits = n != 0;
    for (int half = 32; half; half /= 2)
        if (n >> half) n >>= half, bits += half;
    return bits;
}
/* end */

/* begin divide: floor_divide raised */
static inline int64_t divide(int64_t n, int64_t d, enum rounding rule) {
    int64_t q = floor_divide(n, d), r = n - q * d, rest = d - r;
    return q + raised(rule, q, q < 0, r != 0, r > rest, r == rest);
}
/* end */

/* begin round_magnitude: raised */
/* +-(high * 2^64 + low) / 2^s, rounded; s > 0. */
static inline int64_t round_magnitude(int negative, uint64_t high, uint64_t low, int64_t s, enum rounding rule) {
    uint64_t q, above, below; /* the remainder against 2^s: its bits from the half down, the half on top of `above` */
    if (s > 128) {
        q = 0, above = 0, below = high | low;
    } else if (s > 64) {
        int up = (int)(128 - s);
        q = s == 128 ? 0 : high >> (s - 64);
        above = up ? high << up | low >> (64 - up) : high, below = low << up;
    } else if (s == 64) {
        q = high, above = low, below = 0;
    } else {
        q = high << (64 - s) | low >> s, above = low << (64 - s), below = 0;
    }
    const uint64_t half = UINT64_C(1) << 63;
    int inexact = above != 0 || below != 0, tie = above == half && below == 0;
    int greater = above > half || (above == half && below != 0); /* the remainder of the magnitude lies beyond the middle */
    if (!negative) return (int64_t)q + raised(rule, (int64_t)q, 0, inexact, greater, tie);
    int64_t floor = inexact ? ~(int64_t)q : q > INT64_MAX ? INT64_MIN : -(int64_t)q;
    return floor + raised(rule, floor, floor < 0, inexact, inexact && !greater && !tie, tie);
}
/* end */

/* begin shift_right: right_shift round_magnitude raised */
static inline int64_t shift_right(int64_t n, int64_t s, enum rounding rule) {
    if (s == 0) return n;
    if (rule == FLOOR) return right_shift(n, s);
    if (s > 62) return round_magnitude(n < 0, 0, n < 0 ? -(uint64_t)n : (uint64_t)n, s, rule);
    int64_t q = right_shift(n, s), r = n - q * (INT64_C(1) << s), half = INT64_C(1) << (s - 1);
    return q + raised(rule, q, q < 0, r != 0, r > half, r == half);
}
/* end */

/* begin shift_right_62: raised right_shift */
static inline int64_t shift_right_62(int64_t n, int64_t s, enum rounding rule) { /* 0 < s < 63; loops become vectors */
    const int64_t twice = right_shift(n, s - 1), q = right_shift(twice, 1), middle = twice & 1; /* with one bit behind the point */
    const uint64_t rest = (uint64_t)n - ((uint64_t)twice << (s - 1));                           /* what is behind that bit */
    return q + raised(rule, q, q < 0, middle | (rest != 0), middle & (rest != 0), middle & (rest == 0));
}

/* end */
/* begin multiply_shift_round: left_shift round_magnitude */
static inline int64_t multiply_shift_round(int64_t z, int64_t m, int64_t e, enum rounding rule) {
    if (e <= 0) return left_shift(z * m, -e);
    uint64_t x = z < 0 ? -(uint64_t)z : (uint64_t)z, y = m < 0 ? -(uint64_t)m : (uint64_t)m, mask = UINT64_C(0xFFFFFFFF);
    uint64_t ll = (x & mask) * (y & mask), lh = (x & mask) * (y >> 32), hl = (x >> 32) * (y & mask), hh = (x >> 32) * (y >> 32);
    uint64_t middle = (ll >> 32) + (lh & mask) + (hl & mask);
    return round_magnitude((z < 0) != (m < 0), hh + (lh >> 32) + (hl >> 32) + (middle >> 32), middle << 32 | (ll & mask), e, rule);
}
/* end */

/* begin multiply_shift_round_62: raised */
static inline int64_t multiply_shift_round_62(int64_t z, int64_t m, int64_t e, enum rounding rule) { /* 0 < e < 63; no C99 */
    const __int128 p = (__int128)z * m;
    const uint64_t r = (uint64_t)p & ((UINT64_C(1) << e) - 1), half = UINT64_C(1) << (e - 1);
    const int64_t q = (int64_t)(p >> e);
    return q + raised(rule, q, q < 0, r != 0, r > half, r == half);
}

/* end */
/* begin shift_right_nearest: right_shift */
static inline int64_t shift_right_nearest(int64_t n, int64_t s) { /* |n| < 2^62, 0 < s < 63; ties upwards */
    return right_shift(n + (INT64_C(1) << (s - 1)), s);
}
/* end */

/* begin multiply_shift_nearest_96: right_shift */
static inline int64_t multiply_shift_nearest_96(int64_t z, int32_t m, int64_t e) { /* 32 < e < 95; no tie, so that -x rounds as x does */
    const uint32_t size = m < 0 ? -(uint32_t)m : (uint32_t)m;
    const int64_t high = right_shift(z, 32) * size + (int64_t)((uint64_t)(uint32_t)z * size >> 32); /* floor(z * size / 2^32) */
    const int64_t q = right_shift(high + (INT64_C(1) << (e - 33)), e - 32);
    return m < 0 ? -q : q;
}
/* end */

/* begin multiply_shift_round_96: right_shift raised */
static inline int64_t multiply_shift_round_96(int64_t z, int32_t m, int64_t e, enum rounding rule) { /* 32 < e < 95; loops become vectors */
    const int64_t low = (int64_t)(uint32_t)z * m, high = right_shift(z, 32) * m + right_shift(low, 32);
    const int64_t twice = right_shift(high, e - 33), q = right_shift(twice, 1), middle = twice & 1; /* with one bit behind the point */
    const uint64_t rest = ((uint64_t)high - ((uint64_t)twice << (e - 33))) | (uint32_t)low; /* what is behind that bit */
    return q + raised(rule, q, q < 0, middle | (rest != 0), middle & (rest != 0), middle & (rest == 0));
}
/* end */

/* begin i_sqrt: bit_length */
static inline int64_t i_sqrt(int64_t n) { /* Newton's method from above; it descends until it is there */
    if (n == 0) return 0;
    int64_t x = INT64_C(1) << (bit_length((uint64_t)n) + 1) / 2, y;
    while ((y = (x + n / x) >> 1) < x) x = y;
    return x;
}
/* end */

/* begin root_of_32 */
static inline int32_t root_of_32(uint32_t n) { /* the same, a bit of the root at a time: no division, and loops become vectors */
    uint32_t root = 0;
    for (uint32_t bit = UINT32_C(1) << 30; bit; bit >>= 2) {
        const uint32_t tried = root + bit, taken = n >= tried;
        n -= taken ? tried : 0;
        root = (root >> 1) + (taken ? bit : 0);
    }
    return (int32_t)root;
}
/* end */

/* begin float_parts */
static inline void float_parts(float x, int64_t *m, int64_t *e) { /* x = m * 2^e, read off its bits */
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    int64_t fraction = bits & 0x7FFFFF, biased = bits >> 23 & 0xFF;
    *m = biased ? fraction | 0x800000 : fraction;
    if (bits >> 31) *m = -*m;
    *e = (biased ? biased : 1) - 150;
}
/* end */

/* begin double_parts */
static inline void double_parts(double x, int64_t *m, int64_t *e) { /* x = m * 2^e, read off its bits */
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    int64_t fraction = (int64_t)(bits & UINT64_C(0xFFFFFFFFFFFFF)), biased = (int64_t)(bits >> 52 & 0x7FF);
    *m = biased ? fraction | INT64_C(1) << 52 : fraction;
    if (bits >> 63) *m = -*m;
    *e = (biased ? biased : 1) - 1075;
}
/* end */

/* begin scaled_quotient */
static inline int64_t scaled_quotient(int64_t m, int64_t k, int64_t d) { /* m * 2^k / d, half to even, saturated at +-2^40 */
    const int64_t most = INT64_C(1) << 40;
    int64_t size = m < 0 ? -m : m, q = size / d, r = size % d;
    for (int64_t left = k > 100 ? 100 : k; left > 0; left -= 9) { /* long division, nine bits at a time */
        int64_t step = left < 9 ? left : 9;
        r <<= step;
        q = (q << step) + r / d, r %= d;
        if (q > 2 * most) q = 2 * most;
    }
    if (k < -2) return 0;
    if (k < 0) {
        int64_t by = INT64_C(1) << -k, part = q % by;
        q /= by, r += part * d, d *= by;
    }
    q += 2 * r > d || (2 * r == d && (q & 1));
    q = q > most ? most : q;
    return m < 0 ? -q : q;
}
/* end */

/* begin float32_integer: bit_length shift_right */
static inline int64_t float32_integer(int64_t x) { /* 24 significant bits of x, half to even */
    int64_t size = x < 0 ? -x : x, drop = bit_length((uint64_t)size) - 24;
    if (drop > 0) size = shift_right(size, drop, HALF_EVEN) << drop;
    return x < 0 ? -size : size;
}
/* end */

/* begin from_significant: bit_length shift_right */
static inline int64_t from_significant(int negative, int64_t size, int64_t e, enum rounding rule) { /* +-fl32(size * 2^e), rounded */
    const int64_t limit = INT64_C(1) << 62;
    int64_t drop = bit_length((uint64_t)size) - 24;
    if (drop > 0) size = shift_right(size, drop, HALF_EVEN), e += drop;
    int64_t room = 63 - bit_length((uint64_t)size), up = e < 0 ? 0 : e < room ? e : room; /* a bit short of overflow is saturated */
    size <<= up > 62 ? 62 : up;
    size = shift_right(negative ? -size : size, e < 0 ? -e : 0, rule);
    return size > limit ? limit : size < -limit ? -limit : size;
}
/* end */

/* begin float32_multiply: from_significant */
static inline int64_t float32_multiply(int64_t x, int64_t m, int64_t e, enum rounding rule) {
    int64_t product = x * m;
    return from_significant(product < 0, product < 0 ? -product : product, e, rule);
}
/* end */

/* begin float32_divide: from_significant bit_length */
static inline int64_t float32_divide(int64_t x, int64_t m, int64_t e, enum rounding rule) {
    int64_t size = x < 0 ? -x : x;
    int up = 58 - bit_length((uint64_t)size);
    int64_t quotient = (size << up) / m, rest = (size << up) % m;
    return from_significant(x < 0, quotient << 1 | (rest != 0), -1 - up - e, rule);
}
/* end */
