"""A program for `refsim check "cmd:python3 client.py"`: three operations in plain Python, without any package.

What a program has to do is `read`, `write` and the loop in `serve`; docs/targets.md describes the frames byte by byte.
"""

import json
import struct
import sys

FORMATS = {"bool": "?", "int8": "b", "uint8": "B", "int16": "h", "int32": "i", "int64": "q", "float32": "f", "float64": "d"}
DESCRIPTION = {"protocol": 1, "ops": ["i_gelu", "i_exp", "i_sqrt"], "dialects": ["ibert", "paper"]}


# ------------------------------------------------------------------------------------------------------------------- frames


def read(stream):
    """One frame, (header, arrays); None where the harness has closed the stream. An array is (shape, list of numbers) or None."""
    size = stream.read(8)
    if len(size) < 8:
        return None
    header = json.loads(stream.read(struct.unpack("<Q", size)[0]))
    arrays = []
    for item in header["arrays"]:
        if item is None:
            arrays.append(None)
            continue
        count = 1
        for length in item["shape"]:
            count *= length
        layout = f"<{count}{FORMATS[item['dtype']]}"
        arrays.append((item["shape"], list(struct.unpack(layout, stream.read(struct.calcsize(layout))))))
    return header, arrays


def write(stream, header, shape=None, values=None):
    """One frame; with an array of int64 where there are values."""
    arrays = [] if values is None else [{"dtype": "int64", "shape": shape}]
    text = json.dumps({**header, "arrays": arrays}).encode()
    stream.write(struct.pack("<Q", len(text)) + text)
    if values is not None:
        stream.write(struct.pack(f"<{len(values)}q", *values))
    stream.flush()


def serve(run, description=DESCRIPTION):
    """Answer until the stream ends; `run(op, dialect, constants, operands)` gives the values of a result like the first operand."""
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr  # a stray print must not get among the frames
    while (request := read(requests)) is not None:
        header, operands = request
        if header["verb"] == "describe":
            write(answers, {"status": "ok", **description})
            continue
        plan = header["plan"]
        try:
            values = run(plan["op"], plan["dialect"], Constants(plan["integers"]), operands)
        except Exception as error:  # noqa: BLE001  (whatever it is, the harness is to hear of it)
            write(answers, {"status": "raised", "error": f"{type(error).__name__}: {error}"})
        else:
            write(answers, {"status": "ok", "names": ["out"]}, operands[0][0], values)


class Constants:
    """The plan's integers; those beyond 2**53 come as strings."""

    def __init__(self, integers):
        self._integers = integers

    def of(self, name, channel):
        """The integer, or the one of a channel where there is one per channel."""
        value = self._integers[name]
        return int(value[channel] if isinstance(value, list) else value)


# --------------------------------------------------------------------------------------------------------------- operations


def i_gelu(q, q_b, q_c, q_1, shift):
    sign = (q > 0) - (q < 0)
    y = sign * ((min(abs(q), -q_b) + q_b) ** 2 + q_c)
    return q * ((y >> shift) + q_1)


def i_exp_ibert(q, x0, q_b, q_c):
    q = max(q, 30 * x0)
    z, r = q // x0, -(-q % -x0)
    return (r * (r + q_b) + q_c) << (30 - z)


def i_exp_paper(q, q_ln2, q_b, q_c):
    z = -q // q_ln2
    return ((q + z * q_ln2 + q_b) ** 2 + q_c) >> z


def i_sqrt(n):
    if n == 0:
        return 0
    x = 1 << ((n.bit_length() + 1) // 2)
    while (y := (x + n // x) >> 1) < x:
        x = y
    return x


def run(op, dialect, constants, operands):
    shape, values = operands[0]
    if op == "i_sqrt":
        return [i_sqrt(n) for n in values]
    if op == "i_exp":
        segment, function = ("x0", i_exp_ibert) if dialect == "ibert" else ("q_ln2", i_exp_paper)
        own = [constants.of(name, 0) for name in (segment, "q_b", "q_c")]
        return [function(q, *own) for q in values]
    channels = shape[-1] if shape else 1
    own = [[constants.of(name, c) for name in ("q_b", "q_c", "q_1")] for c in range(channels)]
    return [i_gelu(q, *own[i % channels], 14 if dialect == "ibert" else 0) for i, q in enumerate(values)]


if __name__ == "__main__":
    serve(run)
