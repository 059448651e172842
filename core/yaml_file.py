"""YAML files that people write: read strictly, and without what a few lines could blow up to gigabytes."""

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from core.errors import StrataError

MAX_NODES = 100_000  # with every alias written out


def read_yaml(path: Path) -> Any:
    """Read one YAML document of plain values.

    Raises `StrataError` naming the file, and the line where there is one: not UTF-8, not YAML, a key that
    stands twice in one mapping, nested too deeply, and aliases that stand for more than `MAX_NODES` values.
    """
    try:
        loader = yaml.SafeLoader(path.read_text(encoding="utf-8"))
        node = loader.get_single_node()
        if node is None:
            return None
        if _nodes(node, path, {}) > MAX_NODES:
            raise StrataError(f"{path}: its aliases stand for more than {MAX_NODES:,} values")
        return loader.construct_document(node)
    except UnicodeDecodeError as error:
        raise StrataError(f"{path}: not UTF-8 at byte {error.start}; save the file as UTF-8") from None
    except RecursionError:
        raise StrataError(f"{path}: nested too deeply") from None
    except (yaml.YAMLError, ValueError) as error:
        raise StrataError(f"{path}: not valid YAML: {error}") from None


def _nodes(node: yaml.Node, path: Path, known: dict[int, int]) -> int:
    """Count the values under a node, an alias' as often as it stands there; refuse a key that comes twice."""
    if id(node) in known:
        if not known[id(node)]:
            raise StrataError(f"{path}, line {node.start_mark.line + 1}: an alias that contains itself")
        return known[id(node)]
    known[id(node)] = 0
    children: list[yaml.Node] = []
    if isinstance(node, yaml.MappingNode):
        seen: set[Hashable] = set()
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen and key.tag != "tag:yaml.org,2002:merge":
                    raise StrataError(
                        f"{path}, line {key.start_mark.line + 1}: {key.value!r} stands twice; keep one"
                    )
                seen.add(key.value)
            children += [key, value]
    elif isinstance(node, yaml.SequenceNode):
        children = node.value
    known[id(node)] = 1 + sum(_nodes(child, path, known) for child in children)
    return known[id(node)]
