"""The integer operations of I-BERT as Triton kernels; constants arrive in arrays, a row per constant, a column per channel (or one).

Every value of a legal call fits 64 bits; the product of the dyadic rescaling does not and is formed in two words. In Triton `//` and `%`
truncate, so only non-negative numbers are divided; `>>` of a signed number floors; a shift by the width or more is undefined, also in a
lane that `tl.where` throws away. Masked lanes compute on zeros, so nothing may divide by what they hold.
"""

from __future__ import annotations

import triton
import triton.language as tl

SEGMENTS = tl.constexpr(30)
"""Segments of ln 2 that the released code keeps: smaller inputs count as 30 segments down."""


@triton.jit
def dyadic_half_even(z, m, e):
    """z * m / 2**e to the nearest, ties to even; |m| <= 2**31, so the product takes up to 96 bits: z * m = v * 2**t + rest."""
    t = tl.minimum(tl.maximum(e, 0), 32)
    low = (tl.full(t.shape, 1, tl.int64) << t) - 1
    part = (z & low) * m
    v = (z >> t) * m + (part >> t)
    rest = part & low
    u = tl.minimum(tl.maximum(e, 0), 94) - t  # what is left to shift
    kept = v >> u
    # Twice the dropped fraction against one: behind the second shift `rest` matters only as a sticky bit.
    twice = tl.where(u > 0, ((v - (kept << u)) << 1) | (rest != 0).to(tl.int64), rest << 1)
    one = tl.full(t.shape, 1, tl.int64) << tl.where(u > 0, u, t)
    kept += (twice > one - (kept & 1)).to(tl.int64)
    return tl.where(e > 94, 0, kept) << tl.minimum(tl.maximum(-e, 0), 63)  # 2**95 is at least twice any product


@triton.jit
def requantize_lanes(z, k_ptr, channels, c):
    """Rows of k: multiplier, shift, zero point, least and greatest output."""
    y = dyadic_half_even(z, tl.load(k_ptr + c), tl.load(k_ptr + channels + c)) + tl.load(k_ptr + 2 * channels + c)
    return tl.minimum(tl.maximum(y, tl.load(k_ptr + 3 * channels + c)), tl.load(k_ptr + 4 * channels + c))


@triton.jit
def requantize(q_ptr, k_ptr, out_ptr, n, channels, BLOCK: tl.constexpr):
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    z = tl.load(q_ptr + i, mask=i < n, other=0).to(tl.int64)
    tl.store(out_ptr + i, requantize_lanes(z, k_ptr, channels, i % channels), mask=i < n)


@triton.jit
def residual_add_lanes(q, residual, k_ptr, channels, c):
    """Each operand is rounded on its own, only the sum saturates. Rows of k: multiplier, shift, those of the residual, least, greatest."""
    k = k_ptr + c
    total = dyadic_half_even(q, tl.load(k), tl.load(k + channels))
    total += dyadic_half_even(residual, tl.load(k + 2 * channels), tl.load(k + 3 * channels))
    return tl.minimum(tl.maximum(total, tl.load(k + 4 * channels)), tl.load(k + 5 * channels))


@triton.jit
def residual_add(q_ptr, residual_ptr, k_ptr, out_ptr, n, channels, BLOCK: tl.constexpr):
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    q = tl.load(q_ptr + i, mask=i < n, other=0).to(tl.int64)
    residual = tl.load(residual_ptr + i, mask=i < n, other=0).to(tl.int64)
    tl.store(out_ptr + i, residual_add_lanes(q, residual, k_ptr, channels, i % channels), mask=i < n)


@triton.jit
def polynomial(
    q_ptr,
    k_ptr,
    rescale_ptr,
    out_ptr,
    n,
    channels,
    rescale_channels,
    KIND: tl.constexpr,
    PAPER: tl.constexpr,
    FUSED: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """i-poly, i-erf or i-GELU, as KIND says; FUSED requantises the result. Rows of k: q_b, q_c and, for i-GELU, q_1."""
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    k = k_ptr + i % channels
    q = tl.load(q_ptr + i, mask=i < n, other=0).to(tl.int64)
    q_b = tl.load(k)
    if KIND == "poly":
        y = (q + q_b) * (q + q_b) + tl.load(k + channels)
    else:
        t = tl.minimum(tl.where(q < 0, -q, q), -q_b) + q_b  # clipped where the parabola has its vertex
        y = t * t + tl.load(k + channels)
        y = tl.where(q == 0, 0, tl.where(q < 0, -y, y))
        if not PAPER:
            y = y >> 14  # after the sign: a floor
        if KIND == "gelu":
            y = q * (y + tl.load(k + 2 * channels))
    if FUSED:
        y = requantize_lanes(y, rescale_ptr, rescale_channels, i % rescale_channels)
    tl.store(out_ptr + i, y, mask=i < n)


# ----------------------------------------------------------------------------------------------------------------------- i-exp


@triton.jit
def exp_polynomial(d, ln2, q_b, q_c, PAPER: tl.constexpr):
    """The polynomial of exp(-d), d >= 0, and how often it is to be halved."""
    if not PAPER:
        d = tl.minimum(d, ln2 * SEGMENTS)
    halvings = d // ln2
    p = halvings * ln2 - d  # in (-ln 2, 0]
    y = (p + q_b) * (p + q_b) + q_c if PAPER else p * (p + q_b) + q_c
    return y, halvings


@triton.jit
def i_exp(q_ptr, k_ptr, out_ptr, n, PAPER: tl.constexpr, BLOCK: tl.constexpr):
    """Rows of k: ln 2 in units of the input, q_b, q_c."""
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    q = tl.load(q_ptr + i, mask=i < n, other=0).to(tl.int64)
    y, z = exp_polynomial(-q, tl.load(k_ptr), tl.load(k_ptr + 1), tl.load(k_ptr + 2), PAPER)
    y = y >> tl.minimum(z, 63) if PAPER else tl.maximum(y << (-z + SEGMENTS), 0)  # y is below 2**63: 63 halvings leave 0
    tl.store(out_ptr + i, y, mask=i < n)


@triton.jit
def i_softmax(
    q_ptr, mask_ptr, k_ptr, out_ptr, rows, length, MASKED: tl.constexpr, PAPER: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr
):
    """ROWS rows per program, each a block. k: ln 2, q_b, q_c, multiplier and shift to 16 bits (released code), bits of the output."""
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    column = tl.arange(0, BLOCK)[None, :]
    i = row * length + column
    there = (row < rows) & (column < length)
    kept = there
    if MASKED:
        kept = there & (tl.load(mask_ptr + i, mask=there, other=0) != 0)
    q = tl.load(q_ptr + i, mask=there, other=0).to(tl.int64)
    greatest = tl.max(tl.where(kept, q, -(2**40)), axis=1, keep_dims=True)  # below every operand
    d = tl.where(kept, greatest - q, 0)
    y, z = exp_polynomial(d, tl.load(k_ptr), tl.load(k_ptr + 1), tl.load(k_ptr + 2), PAPER)
    if PAPER:
        e = y >> tl.minimum(z, 63)
    else:  # the exponential's shift and the one to 16 bits are one rounding, not two
        e = tl.minimum(dyadic_half_even(y, tl.load(k_ptr + 3), tl.load(k_ptr + 4) - SEGMENTS + z), 32767)
    e = tl.where(kept, e, 0)
    total = tl.maximum(tl.sum(e, axis=1, keep_dims=True), 1)  # of the paper's exponentials, a few hundred leave 32 bits
    bits = tl.load(k_ptr + 5)
    if PAPER:
        out = (e << bits) // total
    else:
        out = (e * ((tl.full(total.shape, 1, tl.int64) << 32) // total)) >> (32 - bits)
    tl.store(out_ptr + i, out, mask=there)


# --------------------------------------------------------------------------------------------------------------------- i-sqrt


@triton.jit
def highest_bit(n):
    """Which bit of n >= 0 is its highest; 0 for 0."""
    bit = tl.full(n.shape, 0, tl.int64)
    for step in tl.static_range(6):
        upper = n >> (32 >> step)
        bit += tl.where(upper > 0, 32 >> step, 0)
        n = tl.where(upper > 0, upper, n)
    return bit


@triton.jit
def integer_sqrt(n):
    """The floor of the root of 0 <= n < 2**62: six of Newton's steps from above, held where they would rise again.

    The start exceeds the root by a factor 1 + f with f <= 1; a step takes f to f**2 / (2 * (1 + f)), and the floor of what it gives never
    falls below the floor of the root. After six f is below 1e-30, while the next integer above a root of 62 bits is further than 1e-19.
    The iteration without the minimum moves on to and fro below a square, and four steps are not enough.
    """
    x = tl.full(n.shape, 1, tl.int64) << ((highest_bit(n) + 2) >> 1)  # n has a bit more: 2**ceil(bits(n) / 2)
    v = tl.maximum(n, 1)  # from 0 the iteration would fall to 0 and divide by it
    for _ in tl.static_range(6):
        x = tl.minimum(x, (x + v // x) >> 1)
    return tl.where(n > 0, x, 0)


@triton.jit
def i_sqrt(n_ptr, out_ptr, count, BLOCK: tl.constexpr):
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    n = tl.load(n_ptr + i, mask=i < count, other=0).to(tl.int64)
    tl.store(out_ptr + i, integer_sqrt(n), mask=i < count)


@triton.jit
def nearest_quotient(n, d):
    """n / d to the nearest, ties to even; d > 0."""
    size = tl.where(n < 0, -n, n)
    nearest = size // d
    rest = 2 * (size - nearest * d)
    nearest += ((rest > d) | ((rest == d) & ((nearest & 1) != 0))).to(tl.int64)
    return tl.where(n < 0, -nearest, nearest)


@triton.jit
def i_layernorm(
    q_ptr, bias_ptr, rescale_ptr, out_ptr, rows, length, channels, rescale_channels, shift,
    PAPER: tl.constexpr, FUSED: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """ROWS rows per program, each a block. `shift`: s of the released code, or the paper's fraction bits. FUSED: requantised."""
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    column = tl.arange(0, BLOCK)[None, :]
    i = row * length + column
    there = (row < rows) & (column < length)
    q = tl.load(q_ptr + i, mask=there, other=0).to(tl.int64)
    y = tl.where(there, q - nearest_quotient(tl.sum(q, axis=1, keep_dims=True), length), 0)
    if PAPER:
        sigma = integer_sqrt(tl.sum(y * y, axis=1) // length)[:, None]
        scaled = y << shift
        u = tl.where(scaled < 0, -1 - scaled, scaled) // tl.maximum(sigma, 1)
        u = tl.where(scaled < 0, -1 - u, u)  # floor(n / d) = -1 - floor((-1 - n) / d)
    else:
        a = y >> shift
        sigma = (integer_sqrt(tl.sum(a * a, axis=1)) << shift)[:, None]
        u = (y * ((tl.full(sigma.shape, 1, tl.int64) << 31) // tl.maximum(sigma, 1))) >> 1
    u = tl.where(sigma > 0, u, 0)  # a row without spread keeps its bias alone
    u += tl.load(bias_ptr + column % channels)
    if FUSED:
        u = requantize_lanes(u, rescale_ptr, rescale_channels, column % rescale_channels)
    tl.store(out_ptr + i, u, mask=there)


# ------------------------------------------------------------------------------------------------------- products, embedding


@triton.jit
def product(
    a_ptr, b_ptr, bias_ptr, rescale_ptr, out_ptr, rows, inner, columns, stride_inner, stride_column, rescale_channels,
    WIDE_A: tl.constexpr, WIDE_B: tl.constexpr, BIASED: tl.constexpr, FUSED: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """a @ b of a batch in int32 accumulators, by int8 dot products; FUSED requantises the result.

    A program makes a tile of one product. All stand along one axis of the grid: NVIDIA allows the others 65535 programs.

    b is read by its strides: (1, inner) is the transpose of a row-major weight, (columns, 1) a plain matrix. A WIDE operand has more than
    8 bits (i-softmax's 0 to 256): it enters as 128 * (x >> 7) + (x & 127), two int8 operands. The plan bounds every sum.
    """
    across = (columns + BLOCK_N - 1) // BLOCK_N
    tiles = (rows + BLOCK_M - 1) // BLOCK_M * across
    batch = (tl.program_id(0) // tiles).to(tl.int64)
    tile = tl.program_id(0) % tiles
    row = (tile // across).to(tl.int64) * BLOCK_M + tl.arange(0, BLOCK_M)[:, None]
    column = (tile % across).to(tl.int64) * BLOCK_N + tl.arange(0, BLOCK_N)[None, :]
    a_ptr += batch * rows * inner
    b_ptr += batch * inner * columns
    low = tl.full((BLOCK_M, BLOCK_N), 0, tl.int32)
    middle = tl.full((BLOCK_M, BLOCK_N), 0, tl.int32)
    high = tl.full((BLOCK_M, BLOCK_N), 0, tl.int32)
    for start in range(0, inner, BLOCK_K):
        k_a = start + tl.arange(0, BLOCK_K)[None, :]
        k_b = start + tl.arange(0, BLOCK_K)[:, None].to(tl.int64)  # a large matrix has more than 2**31 elements
        a = tl.load(a_ptr + row * inner + k_a, mask=(row < rows) & (k_a < inner), other=0)
        b = tl.load(b_ptr + k_b * stride_inner + column * stride_column, mask=(k_b < inner) & (column < columns), other=0)
        a_low = (a & 127).to(tl.int8) if WIDE_A else a
        b_low = (b & 127).to(tl.int8) if WIDE_B else b
        low = tl.dot(a_low, b_low, low, out_dtype=tl.int32)
        if WIDE_A:
            middle = tl.dot((a >> 7).to(tl.int8), b_low, middle, out_dtype=tl.int32)
        if WIDE_B:
            middle = tl.dot(a_low, (b >> 7).to(tl.int8), middle, out_dtype=tl.int32)
        if WIDE_A and WIDE_B:
            high = tl.dot((a >> 7).to(tl.int8), (b >> 7).to(tl.int8), high, out_dtype=tl.int32)
    total = low + (middle << 7) + (high << 14)
    if BIASED:
        total += tl.load(bias_ptr + column, mask=column < columns, other=0)
    if FUSED:
        total = requantize_lanes(total.to(tl.int64), rescale_ptr, rescale_channels, column % rescale_channels)
    tl.store(out_ptr + (batch * rows + row) * columns + column, total, mask=(row < rows) & (column < columns))


@triton.jit
def mean_pool(q_ptr, mask_ptr, out_ptr, rows, masks, tokens, columns, fraction_bits, LANES: tl.constexpr, BLOCK: tl.constexpr):
    """The mean of the tokens that a mask keeps, half to even: a lane for each mask and column, BLOCK tokens at a time."""
    i = tl.program_id(0).to(tl.int64) * LANES + tl.arange(0, LANES)[:, None]
    row = i // columns
    q_ptr += row // masks * tokens * columns + i % columns
    total = tl.full((LANES, 1), 0, tl.int64)
    count = tl.full((LANES, 1), 0, tl.int64)
    for start in range(0, tokens, BLOCK):
        token = start + tl.arange(0, BLOCK)[None, :].to(tl.int64)
        there = (i < rows * columns) & (token < tokens)
        kept = tl.load(mask_ptr + row * tokens + token, mask=there, other=0).to(tl.int64)
        total += tl.sum(kept * tl.load(q_ptr + token * columns, mask=there, other=0).to(tl.int64), axis=1, keep_dims=True)
        count += tl.sum(kept, axis=1, keep_dims=True)
    out = nearest_quotient(total << fraction_bits, tl.maximum(count, 1))  # lanes beyond the end have no token
    tl.store(out_ptr + i, out, mask=i < rows * columns)


@triton.jit
def argmax(q_ptr, out_ptr, rows, length, ROWS: tl.constexpr, BLOCK: tl.constexpr):
    """The first of the greatest elements: the greatest of pairs of an element and how far its place is from the end."""
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    column = tl.arange(0, BLOCK)[None, :]
    there = (row < rows) & (column < length)
    q = tl.load(q_ptr + row * length + column, mask=there, other=0).to(tl.int64)
    best = tl.max(tl.where(there, (q << 32) + (2147483647 - column), -(2**63)), axis=1, keep_dims=True)
    tl.store(out_ptr + row, 2147483647 - (best & 0x7FFFFFFF), mask=row < rows)


@triton.jit
def embedding(ids_ptr, table_ptr, out_ptr, n, dim, BLOCK: tl.constexpr):
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    ids = tl.load(ids_ptr + i // dim, mask=i < n, other=0).to(tl.int64)
    tl.store(out_ptr + i, tl.load(table_ptr + ids * dim + i % dim, mask=i < n, other=0), mask=i < n)


@triton.jit
def look_up(ids_ptr, table_ptr, i, n, dim):
    """Element i of the rows that the ids name."""
    row = tl.load(ids_ptr + i // dim, mask=i < n, other=0).to(tl.int64)
    return tl.load(table_ptr + row * dim + i % dim, mask=i < n, other=0).to(tl.int64)


@triton.jit
def embedding_sum(
    word_ids_ptr, type_ids_ptr, position_ids_ptr, words_ptr, types_ptr, positions_ptr, add_types_ptr, add_positions_ptr, out_ptr,
    n, dim, types_channels, positions_channels,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """The encoder's input: a row of each table, the types added to the words and the positions to both, rounded as two residual adds."""
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    word = look_up(word_ids_ptr, words_ptr, i, n, dim)
    kind = look_up(type_ids_ptr, types_ptr, i, n, dim)
    position = look_up(position_ids_ptr, positions_ptr, i, n, dim)
    both = residual_add_lanes(word, kind, add_types_ptr, types_channels, i % types_channels)
    total = residual_add_lanes(both, position, add_positions_ptr, positions_channels, i % positions_channels)
    tl.store(out_ptr + i, total, mask=i < n)


# ---------------------------------------------------------------------------------------------------------- the float border


@triton.jit
def quotient_half_even(m, k, d):
    """m * 2**k / d to the nearest, ties to even; 2**52 <= m, d < 2**53. More than 2**31 where it is more than that, any such number.

    Long division, the first bit and then eight at a time. A rounded binary64 quotient may lie on a tie that the exact one misses.
    """
    d = d << tl.minimum(tl.maximum(-k, 0), 2)  # m / d is below 2: a quarter of it, and all that is less, is below a half
    quotient = m // d
    rest = m - quotient * d
    left = tl.minimum(tl.maximum(k, 0), 32)
    for _ in tl.static_range(4):
        step = tl.minimum(left, 8)
        rest = rest << step
        digit = rest // d
        quotient = (quotient << step) + digit
        rest -= digit * d
        left -= step
    return quotient + (2 * rest > d - (quotient & 1)).to(tl.int64)


@triton.jit
def quantize(x_ptr, k_ptr, out_ptr, n, channels, PAPER: tl.constexpr, BLOCK: tl.constexpr):
    """Floats by the integers they are made of, so that no division, rounding mode or flag of the GPU matters.

    Rows of k: mantissa and exponent of the scale (paper) or of its binary32 reciprocal (released code), least and greatest output.
    """
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    k = k_ptr + i % channels
    x = tl.load(x_ptr + i, mask=i < n, other=0)
    factor, exponent = tl.load(k), tl.load(k + channels)
    if PAPER:
        word = x.to(tl.int64, bitcast=True)
        m = (word & 0xFFFFFFFFFFFFF) | 0x10000000000000  # of subnormals and 0 too: with their exponent all is below any half
        size = quotient_half_even(m, ((word >> 52) & 0x7FF) - 1075 - exponent, factor)
    else:
        word = x.to(tl.int32, bitcast=True).to(tl.int64)
        biased = (word >> 23) & 0xFF
        m = (word & 0x7FFFFF) | ((biased > 0).to(tl.int64) << 23)
        drop = tl.maximum(highest_bit(m * factor) - 23, 0)
        kept = dyadic_half_even(m, factor, drop)  # what binary32 keeps of the product
        scaled = tl.maximum(biased, 1) - 150 + exponent + drop
        size = dyadic_half_even(kept, 1, -tl.minimum(scaled, 32))  # beyond 32 any output is saturated
    y = tl.where(word < 0, -size, size)
    tl.store(out_ptr + i, tl.minimum(tl.maximum(y, tl.load(k + 2 * channels)), tl.load(k + 3 * channels)), mask=i < n)


@triton.jit
def dequantize(q_ptr, scale_ptr, out_ptr, n, channels, BLOCK: tl.constexpr):
    """One product in binary64, which every GPU rounds to the nearest; |q| <= 2**53."""
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    q = tl.load(q_ptr + i, mask=i < n, other=0).to(tl.float64)
    tl.store(out_ptr + i, q * tl.load(scale_ptr + i % channels), mask=i < n)
