/* Integer arithmetic that C leaves open: floors of negatives, shifts beyond the register, products of two words, rounding.
 *
 * Rounding works on sign and magnitude: the bit below the kept ones and whether anything stands below that bit decide it all.
 */
#ifndef IBERT_EXACT_H
#define IBERT_EXACT_H

#include <stdint.h>

enum rounding { HALF_EVEN, HALF_UP, HALF_AWAY, TO_FLOOR, TO_ZERO };

struct wide {
    uint64_t high, low;
};

/* A constant of 1 or of one value per channel. */
static inline int64_t at(const int64_t *constant, int64_t length, int64_t channel) {
    return constant[length > 1 ? channel : 0];
}

static inline int64_t clamp(int64_t x, int64_t lo, int64_t hi) {
    return x < lo ? lo : x > hi ? hi : x;
}

static inline int64_t power_of_two(int64_t s) {
    return (int64_t)1 << s;
}

/* |x|, of INT64_MIN too. */
static inline uint64_t magnitude(int64_t x) {
    return x < 0 ? (uint64_t)0 - (uint64_t)x : (uint64_t)x;
}

/* The sign put back; size <= 2**63, and 2**63 only where it is negative. */
static inline int64_t with_sign(uint64_t size, int negative) {
    return !negative ? (int64_t)size : size == 0 ? 0 : -(int64_t)(size - 1) - 1;
}

/* floor(x / 2**s), 0 <= s <= 63. C leaves >> of a negative to the implementation. */
static inline int64_t floor_shift(int64_t x, int64_t s) {
    return x < 0 ? -1 - ((-1 - x) >> s) : x >> s;
}

/* floor(n / d), d > 0: C's division truncates. */
static inline int64_t floor_divide(int64_t n, int64_t d) {
    return n / d - (n % d < 0);
}

/* n / d to the nearest integer, ties to even, d > 0: the same for both signs. */
static inline int64_t nearest_quotient(int64_t n, int64_t d) {
    const uint64_t by = (uint64_t)d, rest = magnitude(n) % by, floor = magnitude(n) / by;
    return with_sign(floor + (2 * rest > by || (2 * rest == by && (floor & 1))), n < 0);
}

/* x modulo 2**bits, in the interval that starts at lo. */
static inline int64_t wrap(int64_t x, int64_t lo, int64_t bits) {
    return (int64_t)(((uint64_t)x - (uint64_t)lo) & (((uint64_t)1 << bits) - 1)) + lo;
}

static inline int64_t wrap32(int64_t x) {
    return wrap(x, INT32_MIN, 32);
}

static inline int bit_length(uint64_t n) {
    int bits = n != 0;
    for (int half = 32; half > 0; half /= 2) {
        if (n >> half) n >>= half, bits += half;
    }
    return bits;
}

/* Whether the magnitude goes one up, from the first dropped bit, the bits below it, and the sign. */
static inline uint64_t goes_up(enum rounding rule, uint64_t kept, int half, int below, int negative) {
    switch (rule) {
    case HALF_EVEN: return half && (below || (kept & 1));
    case HALF_UP: return half && (below || !negative);
    case HALF_AWAY: return half != 0;
    case TO_FLOOR: return negative && (half || below);
    case TO_ZERO: break;
    }
    return 0;
}

/* The magnitude n / 2**s, rounded; any s >= 0. */
static inline uint64_t round_shift(uint64_t n, int64_t s, enum rounding rule, int negative) {
    if (s == 0) return n;
    if (s > 64) return goes_up(rule, 0, 0, n != 0, negative);
    uint64_t kept = s == 64 ? 0 : n >> s, bit = (uint64_t)1 << (s - 1);
    return kept + goes_up(rule, kept, (n & bit) != 0, (n & (bit - 1)) != 0, negative);
}

static inline struct wide product(uint64_t a, uint64_t b) {
    uint64_t a0 = a & 0xFFFFFFFFu, a1 = a >> 32, b0 = b & 0xFFFFFFFFu, b1 = b >> 32;
    uint64_t low = a0 * b0, cross = a1 * b0 + (low >> 32), other = a0 * b1 + (cross & 0xFFFFFFFFu);
    struct wide p = {a1 * b1 + (cross >> 32) + (other >> 32), (other << 32) | (low & 0xFFFFFFFFu)};
    return p;
}

/* z * m / 2**e, rounded: the product takes up to 97 bits; e <= 0 shifts left, into what the plan proves to fit 64. */
static inline int64_t dyadic(int64_t z, int64_t m, int64_t e, enum rounding rule) {
    int negative = (z < 0) != (m < 0);
    struct wide p = product(magnitude(z), magnitude(m));
    if (e <= 0) return with_sign(e > -64 ? p.low << -e : 0, negative);
    if (p.high == 0) return with_sign(round_shift(p.low, e, rule, negative), negative);
    if (e > 64) { /* the low word is below every bit that decides anything but "exact or not" */
        uint64_t sticky = p.high << 1 | (p.low != 0); /* high has 33 bits at most */
        return with_sign(round_shift(sticky, e - 63, rule, negative), negative);
    }
    uint64_t kept = e == 64 ? p.high : p.high << (64 - e) | p.low >> e, bit = (uint64_t)1 << (e - 1);
    return with_sign(kept + goes_up(rule, kept, (p.low & bit) != 0, (p.low & (bit - 1)) != 0, negative), negative);
}

/* HE(fl32(size * 2**e)), saturated at 2**62: what binary32 keeps of a product, then the nearest integer. */
static inline uint64_t through_binary32(uint64_t size, int64_t e) {
    int drop = bit_length(size) - 24;
    if (drop > 0) {
        size = round_shift(size, drop, HALF_EVEN, 0);
        e += drop;
    }
    if (e <= 0) return round_shift(size, -e, HALF_EVEN, 0);
    return size == 0 ? 0 : bit_length(size) + e > 62 ? (uint64_t)1 << 62 : size << e;
}

/* floor(sqrt(n)): Newton's iteration from above (paper, Algorithm 4), stopped when it no longer falls; n < 2**62. */
static inline uint64_t integer_sqrt(uint64_t n) {
    if (n == 0) return 0;
    for (uint64_t x = (uint64_t)1 << (bit_length(n) + 1) / 2;;) {
        uint64_t y = (x + n / x) >> 1;
        if (y >= x) return x;
        x = y;
    }
}

#endif
