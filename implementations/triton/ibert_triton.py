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
def rescaled(z, m, e, NARROW: tl.constexpr):
    """The same. NARROW: in a word and a fifth of the instructions, where 1 <= e <= 62 and |z * m| < 2**62."""
    if NARROW:
        p = z * m
        kept = p >> e
        kept = (p + ((tl.full(kept.shape, 1, tl.int64) << (e - 1)) - 1 + (kept & 1))) >> e
    else:
        kept = dyadic_half_even(z, m, e)
    return kept


@triton.jit
def requantize_lanes(z, k_ptr, channels, c, NARROW: tl.constexpr):
    """Rows of k: multiplier, shift, zero point, least and greatest output."""
    y = rescaled(z, tl.load(k_ptr + c), tl.load(k_ptr + channels + c), NARROW) + tl.load(k_ptr + 2 * channels + c)
    return tl.minimum(tl.maximum(y, tl.load(k_ptr + 3 * channels + c)), tl.load(k_ptr + 4 * channels + c))


@triton.jit
def requantize(q_ptr, k_ptr, out_ptr, n, channels, NARROW: tl.constexpr, BLOCK: tl.constexpr):
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    z = tl.load(q_ptr + i, mask=i < n, other=0).to(tl.int64)
    tl.store(out_ptr + i, requantize_lanes(z, k_ptr, channels, i % channels, NARROW), mask=i < n)


@triton.jit
def residual_add_lanes(q, residual, k_ptr, channels, c, NARROW: tl.constexpr):
    """Each operand is rounded on its own, only the sum saturates. Rows of k: multiplier, shift, those of the residual, least, greatest."""
    k = k_ptr + c
    total = rescaled(q, tl.load(k), tl.load(k + channels), NARROW)
    total += rescaled(residual, tl.load(k + 2 * channels), tl.load(k + 3 * channels), NARROW)
    return tl.minimum(tl.maximum(total, tl.load(k + 4 * channels)), tl.load(k + 5 * channels))


@triton.jit
def residual_add(q_ptr, residual_ptr, k_ptr, out_ptr, n, channels, NARROW: tl.constexpr, BLOCK: tl.constexpr):
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    q = tl.load(q_ptr + i, mask=i < n, other=0).to(tl.int64)
    residual = tl.load(residual_ptr + i, mask=i < n, other=0).to(tl.int64)
    tl.store(out_ptr + i, residual_add_lanes(q, residual, k_ptr, channels, i % channels, NARROW), mask=i < n)


@triton.jit
def polynomial_lanes(q, k, channels, KIND: tl.constexpr, PAPER: tl.constexpr):
    """i-poly, i-erf or i-GELU, as KIND says. k points to q_b, `channels` further to q_c and, for i-GELU, as far again to q_1."""
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
    return y


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
    NARROW: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """i-poly, i-erf or i-GELU, as KIND says; FUSED requantises the result. Rows of k: q_b, q_c and, for i-GELU, q_1."""
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    q = tl.load(q_ptr + i, mask=i < n, other=0).to(tl.int64)
    y = polynomial_lanes(q, k_ptr + i % channels, channels, KIND, PAPER)
    if FUSED:
        y = requantize_lanes(y, rescale_ptr, rescale_channels, i % rescale_channels, NARROW)
    tl.store(out_ptr + i, y, mask=i < n)


# ----------------------------------------------------------------------------------------------------------------------- i-exp


@triton.jit
def exp_polynomial(d, ln2, q_b, q_c, PAPER: tl.constexpr, NARROW: tl.constexpr):
    """The polynomial of exp(-d), d >= 0, and how often it is to be halved. NARROW: d and ln 2 have 32 bits, which divides far sooner."""
    if not PAPER:
        d = tl.minimum(d, ln2 * SEGMENTS)
    if NARROW:
        halvings = (d.to(tl.int32) // ln2.to(tl.int32)).to(tl.int64)
    else:
        halvings = d // ln2
    p = halvings * ln2 - d  # in (-ln 2, 0]
    y = (p + q_b) * (p + q_b) + q_c if PAPER else p * (p + q_b) + q_c
    return y, halvings


@triton.jit
def i_exp(q_ptr, k_ptr, out_ptr, n, PAPER: tl.constexpr, BLOCK: tl.constexpr):
    """Rows of k: ln 2 in units of the input, q_b, q_c."""
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    q = tl.load(q_ptr + i, mask=i < n, other=0).to(tl.int64)
    y, z = exp_polynomial(-q, tl.load(k_ptr), tl.load(k_ptr + 1), tl.load(k_ptr + 2), PAPER, False)
    y = y >> tl.minimum(z, 63) if PAPER else tl.maximum(y << (-z + SEGMENTS), 0)  # y is below 2**63: 63 halvings leave 0
    tl.store(out_ptr + i, y, mask=i < n)


@triton.jit
def softmax_lanes(q, kept, k_ptr, PAPER: tl.constexpr, NARROW: tl.constexpr):
    """i-softmax of rows, over what is kept of each. k: ln 2, q_b, q_c, multiplier and shift to 16 bits (released code), output bits.

    NARROW: differences and ln 2 have 32 bits, and what is rescaled to 16 bits is below 2**61 before it is shifted by at least 1.
    """
    greatest = tl.max(tl.where(kept, q, -(2**40)), axis=1, keep_dims=True)  # below every operand
    d = tl.where(kept, greatest - q, 0)
    y, z = exp_polynomial(d, tl.load(k_ptr), tl.load(k_ptr + 1), tl.load(k_ptr + 2), PAPER, NARROW)
    if PAPER:
        e = y >> tl.minimum(z, 63)
    else:  # the exponential's shift and the one to 16 bits are one rounding, not two
        shift = tl.load(k_ptr + 4) - SEGMENTS + z
        if NARROW:
            shift = tl.minimum(shift, 62)  # which leaves nothing
        e = tl.minimum(rescaled(y, tl.load(k_ptr + 3), shift, NARROW), 32767)
    e = tl.where(kept, e, 0)
    total = tl.maximum(tl.sum(e, axis=1, keep_dims=True), 1)  # of the paper's exponentials, a few hundred leave 32 bits
    bits = tl.load(k_ptr + 5)
    if PAPER:
        out = (e << bits) // total
    else:
        out = (e * ((tl.full(total.shape, 1, tl.int64) << 32) // total)) >> (32 - bits)
    return out


@triton.jit
def i_softmax(
    q_ptr, mask_ptr, k_ptr, out_ptr, rows, length, MASKED: tl.constexpr, PAPER: tl.constexpr, NARROW: tl.constexpr,
    ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """ROWS rows per program, each a block."""
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    column = tl.arange(0, BLOCK)[None, :]
    i = row * length + column
    there = (row < rows) & (column < length)
    kept = there
    if MASKED:
        kept = there & (tl.load(mask_ptr + i, mask=there, other=0) != 0)
    q = tl.load(q_ptr + i, mask=there, other=0).to(tl.int64)
    out = softmax_lanes(q, kept, k_ptr, PAPER, NARROW)
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
    q_ptr, bias_ptr, rescale_ptr, wide_ptr, out_ptr, rows, length, channels, rescale_channels, shift,
    PAPER: tl.constexpr, FUSED: tl.constexpr, KEEP: tl.constexpr, NARROW: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """ROWS rows per program, each a block. `shift`: s of the released code, or the paper's fraction bits.

    FUSED: requantised; KEEP: what it was before is stored as well, at `wide_ptr`.
    """
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
    if KEEP:
        tl.store(wide_ptr + i, u, mask=there)
    if FUSED:
        u = requantize_lanes(u, rescale_ptr, rescale_channels, column % rescale_channels, NARROW)
    tl.store(out_ptr + i, u, mask=there)


# ------------------------------------------------------------------------------------------------------- products, embedding


@triton.jit
def digits(x):
    """x as low + 256 * high, each a signed byte; -32768 <= x < 32640."""
    x = x.to(tl.int32)
    high = (x + 128) >> 8
    return (x - (high << 8)).to(tl.int8), high.to(tl.int8)


@triton.jit
def product_tile(
    a_ptr, b_ptr, rows, inner, columns, stride_inner, stride_column,
    WIDE_A: tl.constexpr, WIDE_B: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """This program's tile of a @ b of a batch, in int32 by int8 dot products: its rows, counted over the batch, its columns, the sums.

    And which of its lanes there are. All tiles stand along one axis of the grid: NVIDIA allows the others 65535 programs.

    b is read by its strides: (1, inner) is the transpose of a row-major weight, (columns, 1) a plain matrix. A WIDE operand has more than
    8 signed bits (i-softmax's 0 to 4096): it enters as two digits of 8. The plan bounds every sum.
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
        a_low, b_low = a, b
        if WIDE_A:
            a_low, a_high = digits(a)
        if WIDE_B:
            b_low, b_high = digits(b)
        low = tl.dot(a_low, b_low, low, out_dtype=tl.int32)
        if WIDE_A:
            middle = tl.dot(a_high, b_low, middle, out_dtype=tl.int32)
        if WIDE_B:
            middle = tl.dot(a_low, b_high, middle, out_dtype=tl.int32)
        if WIDE_A and WIDE_B:
            high = tl.dot(a_high, b_high, high, out_dtype=tl.int32)
    there = (row < rows) & (column < columns)
    return batch * rows + row, column, there, low + (middle << 8) + (high << 16)


@triton.jit
def product(
    a_ptr, b_ptr, bias_ptr, rescale_ptr, out_ptr, rows, inner, columns, stride_inner, stride_column, rescale_channels,
    WIDE_A: tl.constexpr, WIDE_B: tl.constexpr, BIASED: tl.constexpr, FUSED: tl.constexpr, NARROW: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """a @ b of a batch in int32 accumulators; FUSED requantises the result."""
    row, column, there, total = product_tile(
        a_ptr, b_ptr, rows, inner, columns, stride_inner, stride_column, WIDE_A, WIDE_B, BLOCK_M, BLOCK_N, BLOCK_K
    )
    if BIASED:
        total += tl.load(bias_ptr + column, mask=column < columns, other=0)
    if FUSED:
        total = requantize_lanes(total.to(tl.int64), rescale_ptr, rescale_channels, column % rescale_channels, NARROW)
    tl.store(out_ptr + row * columns + column, total, mask=there)


@triton.jit
def linear_then(
    a_ptr, weight_ptr, bias_ptr, residual_ptr, k_ptr, rescale_ptr, sums_ptr, out_ptr,
    rows, inner, columns, channels, rescale_channels,
    THEN: tl.constexpr, PAPER: tl.constexpr, WIDE_A: tl.constexpr, BIASED: tl.constexpr, KEEP: tl.constexpr, NARROW: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """A linear layer and what its accumulators go to, as THEN says: i-GELU, requantised, or the residual add. KEEP stores them as well.

    k: the constants of i-GELU (`rescale` has those behind it) or of the residual add.
    """
    row, column, there, total = product_tile(a_ptr, weight_ptr, rows, inner, columns, 1, inner, WIDE_A, False, BLOCK_M, BLOCK_N, BLOCK_K)
    if BIASED:
        total += tl.load(bias_ptr + column, mask=column < columns, other=0)
    i = row * columns + column
    if KEEP:
        tl.store(sums_ptr + i, total, mask=there)
    z = total.to(tl.int64)
    if THEN == "gelu":
        y = polynomial_lanes(z, k_ptr + column % channels, channels, "gelu", PAPER)
        y = requantize_lanes(y, rescale_ptr, rescale_channels, column % rescale_channels, NARROW)
    else:
        residual = tl.load(residual_ptr + i, mask=there, other=0).to(tl.int64)
        y = residual_add_lanes(z, residual, k_ptr, channels, column % channels, NARROW)
    tl.store(out_ptr + i, y, mask=there)


@triton.jit
def attention(
    q_ptr, key_ptr, v_ptr, mask_ptr, softmax_ptr, rescale_ptr, out_ptr,
    heads, rows, keys,
    q_batch, q_head, q_row, key_batch, key_head, key_row, v_batch, v_head, v_row, mask_batch, mask_row, out_batch, out_head, out_row,
    rescale_channels,
    SIZE: tl.constexpr, WIDTH: tl.constexpr, MASKED: tl.constexpr, PAPER: tl.constexpr, NARROW: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_L: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """Scores, i-softmax, contexts, requantised: a program makes BLOCK_M queries of one head, over all keys at once.

    All is read by strides of the batch, of the head and of the row: heads may lie beside each other in a row. SIZE is that of a query and
    of a key, WIDTH of a value. Probabilities have up to 14 bits and enter the int8 dot product as two digits.
    """
    blocks = (rows + BLOCK_M - 1) // BLOCK_M
    which = tl.program_id(0) // blocks
    batch = (which // heads).to(tl.int64)
    head = (which % heads).to(tl.int64)
    row = (tl.program_id(0) % blocks).to(tl.int64) * BLOCK_M + tl.arange(0, BLOCK_M)[:, None]
    depth = tl.arange(0, BLOCK_D)
    column = tl.arange(0, BLOCK_N)[None, :]
    key = tl.arange(0, BLOCK_L)
    across = key[None, :]
    q_at = q_ptr + batch * q_batch + head * q_head + row * q_row + depth[None, :]
    q = tl.load(q_at, mask=(row < rows) & (depth[None, :] < SIZE), other=0)
    key_at = key_ptr + batch * key_batch + head * key_head + across * key_row + depth[:, None]
    k = tl.load(key_at, mask=(across < keys) & (depth[:, None] < SIZE), other=0)
    scores = tl.dot(q, k, out_dtype=tl.int32)
    there = (row < rows) & (across < keys)
    kept = there
    if MASKED:
        kept = there & (tl.load(mask_ptr + batch * mask_batch + row * mask_row + across, mask=there, other=0) != 0)
    p = softmax_lanes(scores.to(tl.int64), kept, softmax_ptr, PAPER, NARROW)
    down = key[:, None]
    v_at = v_ptr + batch * v_batch + head * v_head + down * v_row + column
    v = tl.load(v_at, mask=(down < keys) & (column < WIDTH), other=0)
    p_low, p_high = digits(p)
    low = tl.dot(p_low, v, out_dtype=tl.int32)
    high = tl.dot(p_high, v, out_dtype=tl.int32)
    context = (low + (high << 8)).to(tl.int64)
    y = requantize_lanes(context, rescale_ptr, rescale_channels, column % rescale_channels, NARROW)
    out_at = out_ptr + batch * out_batch + head * out_head + row * out_row + column
    tl.store(out_at, y, mask=(row < rows) & (column < WIDTH))


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
    NARROW: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The encoder's input: a row of each table, the types added to the words and the positions to both, rounded as two residual adds."""
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    word = look_up(word_ids_ptr, words_ptr, i, n, dim)
    kind = look_up(type_ids_ptr, types_ptr, i, n, dim)
    position = look_up(position_ids_ptr, positions_ptr, i, n, dim)
    both = residual_add_lanes(word, kind, add_types_ptr, types_channels, i % types_channels, NARROW)
    total = residual_add_lanes(both, position, add_positions_ptr, positions_channels, i % positions_channels, NARROW)
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
