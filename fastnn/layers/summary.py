"""The table that `model.summary()` returns, and what other tables of layers share with it."""


def readable(n):
    """1234567 -> "1.23 M"."""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if n >= limit:
            return f"{n / limit:.2f} {unit}"
    return f"{n} "


def number(value, digits=3):
    """A number as a cell of a table; "-" where there is none."""
    return f"{value:,.{digits}f}" if value else "-"


def heading(path, layer):
    """Name of a layer's row, `"residual1.conv1 (Conv2D)"`."""
    return f"{path} ({type(layer).__name__})" if path else type(layer).__name__


def aligned(rows, left=1):
    """Lines of rows of text: the first `left` columns begin at one place, the others, numbers, end there."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    return [
        "  ".join(
            cell.ljust(w) if i < left else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths))
        ).rstrip()
        for row in rows
    ]


def ruled(lines):
    """A table's lines with a rule under the heading, which also goes before the totals."""
    rule = "-" * max(map(len, lines))
    return [lines[0], rule, *lines[1:], rule]


def summary(model):
    """One row a layer: output shape, parameters, multiply-adds and activation memory of one sample."""
    width = model.dtype.itemsize
    rows = [("layer", "output shape", "parameters", "multiply-adds", "memory")]
    n_parameters = n_frozen = total_macs = total_memory = 0
    for path, layer in model.walk():
        own = sum(parameter.size for parameter in layer.own_parameters.values())
        if path and layer.children():
            rows.append((heading(path, layer), str(layer.output_shape), "", "", ""))
            continue
        if not path:
            continue
        size = 1
        for n in layer.output_shape:
            size *= n
        macs = layer.multiply_adds()
        n_parameters += own
        n_frozen += 0 if layer.trainable else own
        total_macs += macs
        total_memory += size * width
        rows.append(
            (
                heading(path, layer),
                str(layer.output_shape),
                f"{own:,}",
                f"{macs:,}",
                f"{readable(size * width)}B",
            )
        )
    frozen = f", {n_frozen:,} of them frozen" if n_frozen else ""
    return "\n".join(
        [
            *ruled(aligned(rows, left=2)),
            f"input {model.input_shape}, {n_parameters:,} parameters ({readable(n_parameters * width)}B)"
            f"{frozen}, {total_macs:,} multiply-adds and {readable(total_memory)}B of activations per sample",
        ]
    )
