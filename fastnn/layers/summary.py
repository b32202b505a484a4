"""The table that `model.summary()` returns."""


def readable(n):
    """1234567 -> "1.23 M"."""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if n >= limit:
            return f"{n / limit:.2f} {unit}"
    return f"{n} "


def summary(model):
    """One row a layer: output shape, parameters, multiply-adds and activation memory of one sample."""
    width = model.dtype.itemsize
    rows = [("layer", "output shape", "parameters", "multiply-adds", "memory")]
    n_parameters = total_macs = total_memory = 0
    for path, layer in model.walk():
        own = sum(parameter.size for parameter in layer.own_parameters.values())
        if path and layer.children():
            rows.append((f"{path} ({type(layer).__name__})", str(layer.output_shape), "", "", ""))
            continue
        if not path:
            continue
        size = 1
        for n in layer.output_shape:
            size *= n
        macs = layer.multiply_adds()
        n_parameters += own
        total_macs += macs
        total_memory += size * width
        rows.append(
            (
                f"{path} ({type(layer).__name__})",
                str(layer.output_shape),
                f"{own:,}",
                f"{macs:,}",
                f"{readable(size * width)}B",
            )
        )
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    lines = [
        "  ".join(
            cell.ljust(w) if i < 2 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths))
        ).rstrip()
        for row in rows
    ]
    lines.insert(1, "-" * max(len(line) for line in lines))
    lines += [
        lines[1],
        f"input {model.input_shape}, {n_parameters:,} parameters ({readable(n_parameters * width)}B), "
        f"{total_macs:,} multiply-adds and {readable(total_memory)}B of activations per sample",
    ]
    return "\n".join(lines)
