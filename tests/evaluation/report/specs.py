"""What a Vega-Lite specification draws, for tests of figures."""


def layers(spec: dict, mark: str) -> list[dict]:
    """Return the layers drawn by one kind of mark, wherever they stand; several may share their rows."""
    found = [spec] if isinstance(spec.get("mark"), dict) and spec["mark"]["type"] == mark else []
    shared = {"data": spec.get("data")}
    for inner in ("layer", "hconcat", "vconcat"):
        found += [layer for part in spec.get(inner, ()) for layer in layers(shared | part, mark)]
    return found


def table(spec: dict, layer: dict) -> list[dict]:
    return spec["datasets"][layer["data"]["name"]]


def rows(spec: dict, mark: str) -> list[dict]:
    return [row for layer in layers(spec, mark) for row in table(spec, layer)]


def domain(spec: dict, axis: str, mark: str = "circle") -> tuple[float, float]:
    low, high = layers(spec, mark)[0]["encoding"][axis]["scale"]["domain"]
    return low, high
