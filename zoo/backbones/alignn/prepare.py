"""From a structure to what the network reads; no torch here, so that processes start fast and small."""

from typing import NamedTuple

from core.structure import InvalidStructure, Structure
from zoo.backbones.alignn.graph import Graph, GraphSettings, build, line_graph
from zoo.backbones.alignn.quotient import Quotient, compress, uncompressed


class Prepared(NamedTuple):
    """A structure's graph and its quotient, with the sizes that the store records."""

    graph: Graph
    quotient: Quotient
    n_bonds: int
    n_angles: int


def prepare(structure: Structure, settings: GraphSettings, compression: bool, max_angles: int) -> Prepared:
    """Build, limit and compress one structure's graph.

    Raises `InvalidStructure` with code `too_large`, before the angles are made, if there are more than
    `max_angles` of them.
    """
    graph = build(structure, settings)
    if (angles := graph.most_angles) > max_angles:
        raise InvalidStructure(
            "too_large",
            f"{structure.n_atoms} atoms make {len(graph.src):,} bonds and {angles:,} angles, "
            f"allowed are {max_angles:,} angles (extract.max_angles)",
        )
    line = line_graph(graph, settings)
    quotient = compress(graph, line) if compression else uncompressed(graph, line)
    return Prepared(graph, quotient, len(graph.src), len(line.src))
