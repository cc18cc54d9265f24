"""Evaluates sums, multiples and products of matrices."""

from reason_env.verify.tree import Node, add, multiply, negative, number, rational

MAX_PRODUCT_ENTRIES = 64


def computed(node: Node) -> Node | None:
    """Evaluate an expression of matrices to one matrix; None if their shapes do not fit."""
    if node.op == "matrix":
        return node
    if node.op == "neg":
        inner = computed(node.args[0])
        return (
            None if inner is None else Node("matrix", tuple(map(negative, inner.args)), inner.value)
        )
    if node.op == "add":
        return _sum([computed(part) for part in node.args])
    if node.op == "mul":
        return _product(node.args)
    return None


def _sum(parts: list[Node | None]) -> Node | None:
    matrices = [part for part in parts if part is not None]
    if len(matrices) != len(parts) or len({(p.value, len(p.args)) for p in matrices}) != 1:
        return None
    entries = tuple(
        _entry(add(*column)) for column in zip(*(m.args for m in matrices), strict=True)
    )
    return Node("matrix", entries, matrices[0].value)


def _product(parts: tuple[Node, ...]) -> Node | None:
    matrices = [computed(part) for part in parts]
    scalars = [part for part, matrix in zip(parts, matrices, strict=True) if matrix is None]
    found = [matrix for matrix in matrices if matrix is not None]
    if not found or any(part.op in ("tuple", "list", "set") for part in scalars):
        return None
    value = found[0]
    for right in found[1:]:
        product = _times(value, right)
        if product is None:
            return None
        value = product
    if not scalars:
        return value
    scaled = tuple(_entry(multiply(*scalars, entry)) for entry in value.args)
    return Node("matrix", scaled, value.value)


def _entry(node: Node) -> Node:
    value = rational(node)
    return node if value is None else number(value)


def _times(left: Node, right: Node) -> Node | None:
    inner, columns = left.value, right.value
    assert isinstance(inner, int), "a matrix holds its number of columns"
    assert isinstance(columns, int), "a matrix holds its number of columns"
    if len(right.args) != inner * columns or len(left.args) + len(right.args) > MAX_PRODUCT_ENTRIES:
        return None
    rows = [left.args[i : i + inner] for i in range(0, len(left.args), inner)]
    entries = tuple(
        _entry(add(*(multiply(a, right.args[k * columns + j]) for k, a in enumerate(row))))
        for row in rows
        for j in range(columns)
    )
    return Node("matrix", entries, columns)
