"""The integer-only encoder of any model that refsim wrote, from token ids to every named tensor, on a GPU or in Triton's interpreter.

    refsim model check MODEL triton:encoder --text FILE
    python implementations/triton/triton_encoder.py [FOLDER ...]

The second compares all tensors with the trace that lies beside a model, as it does for the shipped encoders. Weights and the plans'
constants are put on the device once, and every launch takes and gives integers that stay there. Products are int8 dot products with int32
sums (`tl.dot`), exact since each plan bounds its sums; an operand of more than 8 bits enters as two digits.

To add an operation, write a function that makes its launch and put it under its name with `launches`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from triton_device import (  # before the kernels
    CHECKED,
    DEVICE,
    MOST_KEYS,
    WARPS,
    attention_blocks,
    bound,
    lanes,
    pool_blocks,
    product_blocks,
    rows_together,
    torch,
    triton,
)

# isort: split
import ibert_triton as kernels
import triton_plans as plans

from refsim.errors import DomainError
from refsim.model import storage
from refsim.model.graph import HANDED_IN, Input, Model, Node
from refsim.plans import reach

if CHECKED:
    import triton_checked

Tensor = Any
Tensors = dict[str, Tensor]
"""By name, on the device; of the shape that the simulator gives, and not always contiguous."""
Launch = Callable[[Tensors], None]
"""Takes tensors of earlier launches and puts its own beside them."""
LAUNCHES: dict[tuple[str, ...], Callable[..., Launch]] = {}
"""By the operations of the nodes that are launched as one: what makes the launch, from the encoder and those nodes."""
TYPES = (torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64)


class LackingError(NotImplementedError):
    """The model has a launch that no kernel here computes."""


def launches(*operations: str) -> Callable[[Callable[..., Launch]], Callable[..., Launch]]:
    """Enter what makes the launch of these operations, each taking what the one before it gives."""

    def enter(make: Callable[..., Launch]) -> Callable[..., Launch]:
        LAUNCHES[operations] = make
        return make

    return enter


class Encoder:
    """A model on the device.

    Parameters
    ----------
    model : Model
    keep : bool
        Whether every named tensor is wanted; otherwise those that no later launch takes are not written where a kernel has them only
        on the way.

    Raises
    ------
    LackingError
        It has a launch that no kernel here computes.
    """

    def __init__(self, model: Model, keep: bool = True) -> None:
        self.model, self.keep = model, keep
        self.weights = {name: put(x) for name, x in model.weights.items()}
        self.launches = [self._made(nodes) for nodes in together(model.nodes)]

    def _made(self, nodes: Sequence[Node]) -> Launch:
        operations = tuple(dict.fromkeys(node.plan.op for node in nodes))
        if operations not in LAUNCHES:
            known = ", ".join(sorted({op for names in LAUNCHES for op in names}))
            raise LackingError(f"{nodes[0].name}: no kernel here computes {operations[0]}; there are kernels for {known}")
        try:
            return LAUNCHES[operations](self, *nodes)
        except NotImplementedError as error:
            raise LackingError(f"{nodes[0].name}: {error}") from None

    def __call__(self, given: Mapping[str, Tensor]) -> Tensors:
        """Every named tensor, from those handed in, all on the device."""
        tensors = dict(given)
        for launched in self.launches:
            launched(tensors)
        return {name: x for name, x in tensors.items() if name not in given}

    def put(self, given: Mapping[str, Any]) -> Tensors:
        """What is handed in, on the device: the ids as int32, the mask as int8.

        Raises
        ------
        DomainError
            An id that its table does not have: kernels would read beyond it.
        """
        for node in self.model.nodes:
            if node.plan.op == "embedding_sum":
                for ids, table in zip(node.inputs[:3], node.inputs[3:], strict=True):
                    rows, x = len(self.weights[table.tensor]), np.asarray(given[ids.tensor])
                    if x.size and not 0 <= x.min() <= x.max() < rows:
                        raise DomainError(ids.tensor, int(x.max() if x.max() >= rows else x.min()), f"ids from 0 to {rows - 1}")
        return {name: put(np.asarray(given[name]).astype(np.int8 if name == "mask" else np.int32)) for name in HANDED_IN}

    def taken(self, tensors: Tensors, taken: Input) -> Tensor:
        """A tensor in the form that a launch takes it."""
        x = self.weights[taken.tensor] if taken.tensor in self.weights else tensors[taken.tensor]
        if taken.form == "joined":
            return x.transpose(1, 2).flatten(2)
        if taken.form == "ones":
            return x[:, None]
        if taken.form:
            raise LackingError(f"{taken.tensor}: no kernel here takes it in the form {taken.form}")
        return x

    def wanted(self, node: Node) -> bool:
        """Whether what a node gives is to be written though the next launch has it already."""
        takers = [other for other in self.model.nodes if any(taken.tensor == node.name for taken in other.inputs)]
        return self.keep or len(takers) != 1


def together(nodes: Sequence[Node]) -> Iterator[tuple[Node, ...]]:
    """The nodes in groups, each of which is one launch: products of one input, and what `LAUNCHES` has as a pair."""
    start = 0
    while start < len(nodes):
        first, count = nodes[start], 1
        behind = nodes[start + 1 : start + 2]
        if first.plan.op == "linear_requantize":
            while start + count < len(nodes) and _beside(first, nodes[start + count]):
                count += 1
        elif behind and (first.plan.op, behind[0].plan.op) in LAUNCHES and behind[0].inputs[0] == Input(first.name):
            count = 2
        yield tuple(nodes[start : start + count])
        start += count


def _beside(a: Node, b: Node) -> bool:
    """Whether two products take the same rows, by weights that may stand below one another."""
    return b.plan.op == a.plan.op and (a.inputs[0], len(a.inputs), given_type(a)) == (b.inputs[0], len(b.inputs), given_type(b))


def put(x: Any) -> Tensor:
    """An array of integers on the device."""
    return torch.from_numpy(np.array(x, order="C")).to(DEVICE)


def given_type(node: Node) -> Any:
    """The narrowest type that holds all that is proven of what a node gives."""
    lo, hi = reach(node.plan)
    return next(t for t in TYPES if torch.iinfo(t).min <= lo and hi <= torch.iinfo(t).max)


def launch(kernel: Any, programs: int, outputs: Sequence[Tensor], *arguments: Any, **constexprs: Any) -> None:
    """Run a kernel; `outputs` are those of the arguments that it writes."""
    if CHECKED:
        buffers = [a for a in arguments if isinstance(a, torch.Tensor)]
        triton_checked.launching([(a, extent(a), any(a is x for x in outputs)) for a in buffers])
    kernel[(programs,)](*arguments, **constexprs)


def extent(x: Tensor) -> int:
    """Bytes from a tensor's first element to behind its last."""
    between: int = sum((size - 1) * stride for size, stride in zip(x.shape, x.stride(), strict=True))
    return (between + 1) * x.element_size()


def empty(shape: Sequence[int], kind: Any) -> Tensor:
    return torch.empty(tuple(shape), dtype=kind, device=DEVICE)


def elements(kernel: Any, out: Tensor, *arguments: Any, **constexprs: Any) -> None:
    """Run a kernel that makes each element of its output on its own."""
    count = out.numel()
    block = lanes(count)
    launch(kernel, triton.cdiv(count, block), (out,), *arguments, BLOCK=block, **constexprs)


def product(kernel: Any, batch: int, rows: int, inner: int, columns: int, outputs: Sequence[Tensor], *rest: Any, **constexprs: Any) -> None:
    """Run a kernel that makes products, a tile each program."""
    blocks = product_blocks(rows, inner, columns)
    programs = batch * triton.cdiv(rows, blocks["BLOCK_M"]) * triton.cdiv(columns, blocks["BLOCK_N"])
    launch(kernel, programs, outputs, *rest, **constexprs, **blocks)


def two_digits(limits: tuple[int, int]) -> None:
    """Refuse an operand of a product that two signed bytes do not hold, see the kernels' `digits`."""
    if not -(1 << 15) <= limits[0] <= limits[1] < (1 << 15) - 128:
        raise NotImplementedError(f"an operand of a product from {limits[0]} to {limits[1]}: these kernels take -32768 to 32639")


# ------------------------------------------------------------------------------------------------------------------- launches


@launches("embedding_sum")
def embedding_sum(encoder: Encoder, node: Node) -> Launch:
    tables = [put(plans.adder(plan)) for plan in (node.plan.add_token_type, node.plan.add_position)]
    kind, width = given_type(node), node.plan.embedding_dim
    narrow = plans.narrow_adder(node.plan.add_token_type) and plans.narrow_adder(node.plan.add_position)

    def run(tensors: Tensors) -> None:
        operands = [encoder.taken(tensors, taken) for taken in node.inputs]
        out = tensors[node.name] = empty((*operands[0].shape, width), kind)
        integers = (out.numel(), width, *(table.shape[1] for table in tables))
        elements(kernels.embedding_sum, out, *operands, *tables, out, *integers, NARROW=narrow)

    return run


@launches("requantize")
def requantize(encoder: Encoder, node: Node) -> Launch:
    table, kind, narrow = put(plans.rescaling(node.plan)), given_type(node), plans.narrow(node.plan)

    def run(tensors: Tensors) -> None:
        q = encoder.taken(tensors, node.inputs[0]).contiguous()
        out = tensors[node.name] = empty(q.shape, kind)
        elements(kernels.requantize, out, q, table, out, q.numel(), table.shape[1], NARROW=narrow)

    return run


@launches("residual_add")
def residual_add(encoder: Encoder, node: Node) -> Launch:
    table, kind, narrow = put(adder(node)), given_type(node), plans.narrow_adder(node.plan)

    def run(tensors: Tensors) -> None:
        q, residual = (encoder.taken(tensors, taken).contiguous() for taken in node.inputs)
        out = tensors[node.name] = empty(q.shape, kind)
        elements(kernels.residual_add, out, q, residual, table, out, q.numel(), table.shape[1], NARROW=narrow)

    return run


def adder(node: Node) -> Any:
    plan = node.plan
    if plan.rule != "dyadic_half_even" or plan.zero_point_in or plan.zero_point_residual or plan.zero_point:
        raise NotImplementedError("these kernels add residuals by dyadic_half_even, without zero points")
    return plans.adder(plan)


@launches("gelu_requantize")
def gelu_requantize(encoder: Encoder, node: Node) -> Launch:
    curve, table, kind = put(plans.gelu(node.plan.gelu)), put(plans.rescaling(node.plan.requantize)), given_type(node)
    chosen = {"KIND": "gelu", "PAPER": node.plan.dialect == "paper", "FUSED": True, "NARROW": plans.narrow(node.plan.requantize)}

    def run(tensors: Tensors) -> None:
        q = encoder.taken(tensors, node.inputs[0]).contiguous()
        out = tensors[node.name] = empty(q.shape, kind)
        elements(kernels.polynomial, out, q, curve, table, out, q.numel(), curve.shape[1], table.shape[1], **chosen)

    return run


@launches("i_layernorm")
@launches("i_layernorm", "requantize")
def layernorm(encoder: Encoder, node: Node, behind: Node | None = None) -> Launch:
    """Rows normalised, and what is requantised of them where that follows."""
    plan, kind = node.plan, given_type(node)
    bias, table = put(plans.constants(plan.bias)), put(plans.rescaling(None if behind is None else behind.plan))
    chosen = {"PAPER": plan.dialect == "paper", "FUSED": behind is not None, "KEEP": behind is not None and encoder.wanted(node)}
    chosen["NARROW"] = behind is not None and plans.narrow(behind.plan)
    last = kind if behind is None else given_type(behind)

    def run(tensors: Tensors) -> None:
        q = encoder.taken(tensors, node.inputs[0]).contiguous()
        out = empty(q.shape, last)
        wide = empty(q.shape, kind) if chosen["KEEP"] else out
        rows, length = q.numel() // plan.length, plan.length
        taken, block = rows_together(rows, length)
        integers = (rows, length, bias.shape[1], table.shape[1], plans.layernorm_shift(plan))
        arguments = (q, bias, table, wide, out, *integers)
        cut = {"ROWS": taken, "BLOCK": block, "num_warps": WARPS}
        launch(kernels.i_layernorm, triton.cdiv(rows, taken), (wide, out), *arguments, **cut, **chosen)
        if behind is None or chosen["KEEP"]:
            tensors[node.name] = wide
        if behind is not None:
            tensors[behind.name] = out

    return run


class Matrix:
    """A linear layer's weights and bias, or several such below one another."""

    def __init__(self, encoder: Encoder, layers: Sequence[Any], nodes: Sequence[Node]) -> None:
        weights = [encoder.weights[node.inputs[1].tensor] for node in nodes]
        for layer, weight in zip(layers, weights, strict=True):
            two_digits(layer.input_range)
            if weight.dtype != torch.int8:
                raise NotImplementedError(f"weights of {weight.dtype}: these kernels take int8")
        self.weight = torch.cat(weights)
        self.columns, self.inner = self.weight.shape
        self.biased = len(nodes[0].inputs) > 2
        self.bias = torch.cat([encoder.weights[node.inputs[2].tensor] for node in nodes]).int() if self.biased else self.weight

    def rows(self, x: Tensor) -> tuple[Tensor, int]:
        return x.contiguous(), x.numel() // self.inner


@launches("linear")
@launches("linear_requantize")
def linear(encoder: Encoder, *nodes: Node) -> Launch:
    """Products of the same rows as one, a tensor of each: its columns."""
    fused = nodes[0].plan.op == "linear_requantize"
    layers = [node.plan.linear if fused else node.plan for node in nodes]
    matrix = Matrix(encoder, layers, nodes)
    widths = [layer.out_features for layer in layers]
    tables = [plans.rescaling(node.plan.requantize if fused else None) for node in nodes]
    table = put(np.concatenate([np.broadcast_to(t, (len(t), w)) for t, w in zip(tables, widths, strict=True)], axis=1))
    kind = given_type(nodes[0])
    narrow = fused and all(plans.narrow(node.plan.requantize) for node in nodes)

    def run(tensors: Tensors) -> None:
        x, rows = matrix.rows(encoder.taken(tensors, nodes[0].inputs[0]))
        out = empty((*x.shape[:-1], matrix.columns), kind)
        arguments = (x, matrix.weight, matrix.bias, table, out, rows, bound(matrix.inner), matrix.columns, 1, matrix.inner, table.shape[1])
        chosen = {"WIDE_A": x.dtype != torch.int8, "WIDE_B": False, "BIASED": matrix.biased, "FUSED": fused, "NARROW": narrow}
        product(kernels.product, 1, rows, matrix.inner, matrix.columns, (out,), *arguments, **chosen)
        for node, part in zip(nodes, out.split(widths, dim=-1), strict=True):
            tensors[node.name] = part

    return run


@launches("linear", "gelu_requantize")
@launches("linear", "residual_add")
def linear_then(encoder: Encoder, node: Node, behind: Node) -> Launch:
    """A linear layer, and behind its accumulators i-GELU or the residual add."""
    matrix, keep = Matrix(encoder, [node.plan], [node]), encoder.wanted(node)
    added = behind.plan.op == "residual_add"
    table = put(adder(behind) if added else plans.gelu(behind.plan.gelu))
    rescale = put(plans.rescaling(None if added else behind.plan.requantize))
    chosen = {"THEN": "residual" if added else "gelu", "PAPER": node.plan.dialect == "paper", "BIASED": matrix.biased, "KEEP": keep}
    chosen["NARROW"] = plans.narrow_adder(behind.plan) if added else plans.narrow(behind.plan.requantize)
    kind, last = given_type(node), given_type(behind)

    def run(tensors: Tensors) -> None:
        x, rows = matrix.rows(encoder.taken(tensors, node.inputs[0]))
        shape = (*x.shape[:-1], matrix.columns)
        out = tensors[behind.name] = empty(shape, last)
        sums = empty(shape, kind) if keep else out
        residual = encoder.taken(tensors, behind.inputs[1]).contiguous() if added else out
        arguments = (x, matrix.weight, matrix.bias, residual, table, rescale, sums, out)
        integers = (rows, bound(matrix.inner), matrix.columns, table.shape[1], rescale.shape[1])
        wide = x.dtype != torch.int8
        product(kernels.linear_then, 1, rows, matrix.inner, matrix.columns, (sums, out), *arguments, *integers, WIDE_A=wide, **chosen)
        if keep:
            tensors[node.name] = sums

    return run


@launches("attention")
def attention(encoder: Encoder, node: Node) -> Launch:
    """Of heads that lie beside each other in a row, in one kernel; its result lies so too, and is looked at head by head."""
    plan, kind = node.plan, given_type(node)
    if [taken.form for taken in node.inputs] not in (["heads"] * 3, [*["heads"] * 3, "keys"]):
        raise NotImplementedError(f"attention of {node.inputs}: these kernels take heads, and a mask of keys")
    two_digits(plan.context.input_range)
    if not plans.of_bytes(plan):
        raise NotImplementedError("attention of more than 8 bits")
    softmax, table = put(plans.softmax(plan.softmax)), put(plans.rescaling(plan.requantize))
    masked, size, heads = len(node.inputs) > 3, plan.d, encoder.model.heads
    narrow = plans.narrow_softmax(plan.softmax) and plans.narrow(plan.requantize)
    chosen = {"SIZE": size, "MASKED": masked, "PAPER": plan.dialect == "paper", "NARROW": narrow}

    def run(tensors: Tensors) -> None:
        q, k, v = (tensors[taken.tensor] for taken in node.inputs[:3])
        batch, tokens = q.shape[:2]
        if tokens > MOST_KEYS:
            raise DomainError("ids", f"{tokens} tokens", f"at most {MOST_KEYS}, which attention has in one block")
        width = v.shape[-1] // heads
        out = empty((batch, tokens, heads, width), kind)
        mask = tensors[node.inputs[3].tensor] if masked else out
        strides = [s for x, part in ((q, size), (k, size), (v, width)) for s in (x.stride(0), part, x.stride(1))]
        integers = (heads, tokens, tokens, *strides, tokens, 0, out.stride(0), out.stride(2), out.stride(1), table.shape[1])
        blocks = attention_blocks(tokens, tokens, size, width)
        programs = batch * heads * triton.cdiv(tokens, blocks["BLOCK_M"])
        arguments = (q, k, v, mask, softmax, table, out, *integers)
        launch(kernels.attention, programs, (out,), *arguments, WIDTH=width, **chosen, **blocks)
        tensors[node.name] = out.transpose(1, 2)

    return run


@launches("mean_pool")
def mean_pool(encoder: Encoder, node: Node) -> Launch:
    kind, bits = given_type(node), node.plan.fraction_bits

    def run(tensors: Tensors) -> None:
        q, mask = (encoder.taken(tensors, taken).contiguous() for taken in node.inputs)
        (batch, tokens, columns), masks = q.shape, mask.shape[1]
        out = tensors[node.name] = empty((batch, masks, columns), kind)
        blocks = pool_blocks(out.numel(), tokens)
        integers = (batch * masks, masks, bound(tokens), columns, bits)
        launch(kernels.mean_pool, triton.cdiv(out.numel(), blocks["LANES"]), (out,), q, mask, out, *integers, **blocks)

    return run


@launches("argmax")
def argmax(encoder: Encoder, node: Node) -> Launch:
    kind, length = given_type(node), node.plan.length

    def run(tensors: Tensors) -> None:
        q = encoder.taken(tensors, node.inputs[0]).contiguous()
        out = tensors[node.name] = empty((*q.shape[:-1], 1), kind)
        taken, block = rows_together(q.numel() // length, length)
        integers = (q.numel() // length, length)
        launch(kernels.argmax, triton.cdiv(integers[0], taken), (out,), q, out, *integers, ROWS=taken, BLOCK=block)

    return run


# -------------------------------------------------------------------------------------------------------------------- targets


_made: dict[str, Encoder] = {}


def encoder(tensors: Mapping[str, Any], folder: str) -> dict[str, Any]:
    """Every named tensor of a forward, as `refsim model check` asks for it."""
    if folder not in _made:
        _made[folder] = Encoder(storage.load(Path(folder)))
    return computed(_made[folder], tensors)


def computed(made: Encoder, given: Mapping[str, Any]) -> dict[str, Any]:
    """What an encoder gives of arrays, as arrays."""
    return {name: x.cpu().numpy() for name, x in made(made.put(given)).items()}


def main(folders: Sequence[str]) -> int:
    from refsim.model import traces, verification

    wrong = 0
    for folder in map(Path, folders) if folders else verification.shipped():
        model, trace = storage.load(folder / "model"), traces.read(folder / "trace")
        for keep in (True, False):
            made, tensors, count = Encoder(model, keep), 0, 0
            for number in range(len(trace.files)):
                due = trace.batch(number)
                for name, x in computed(made, due).items():
                    if x.shape != due[name].shape or (x != due[name]).any():
                        print(f"{folder}: {name} of batch {number} differs")
                        wrong += 1
                    tensors, count = tensors + 1, count + x.size
            said = "all that are named" if keep else "those that a later launch takes"
            print(f"{folder.name} on {DEVICE}: {tensors} tensors ({said}) of {count:,} integers compared")
    print("all are equal" if not wrong else f"{wrong} differ")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
