"""The identity of a network: a hash that ignores names and the order of sums."""

from collections import defaultdict
from hashlib import blake2b

from search_spaces.graph import Graph
from search_spaces.ops import OPS


def fingerprint(graph: Graph) -> str:
    """A hash of 32 hex digits, equal for isomorphic graphs.

    Colour refinement on the flat graph, forwards and backwards until no class splits any more, so that
    one layer read twice and two equal layers differ. A sum that only another sum reads is merged into it;
    the inputs of commutative ops are sorted; layers that share a weight entry are tied. Colour refinement
    (Weisfeiler and Leman, 1968) can confuse graphs that are regular throughout, which networks with one
    input and one output are not.
    """
    vertices, outputs, ties = _vertices(graph)
    colours = [_hash(repr(facts)) for facts, _, _ in vertices]
    readers: list[list[tuple[int, int]]] = [[] for _ in vertices]
    for v, (_, inputs, ordered) in enumerate(vertices):
        for position, source in enumerate(inputs):
            readers[source].append((v, position if ordered else -1))
    for position, v in enumerate(outputs):
        colours[v] = _hash(f"{colours[v]} output {position}")
    classes = 0
    while len(set(colours)) > classes:
        classes = len(set(colours))
        for v, (_, inputs, ordered) in enumerate(vertices):
            read = [colours[source] for source in inputs]
            colours[v] = _hash(colours[v] + "<" + "".join(read if ordered else sorted(read)))
        for v in reversed(range(len(vertices))):
            colours[v] = _hash(colours[v] + ">" + "".join(sorted(f"{colours[r]}{p}" for r, p in readers[v])))
        for tied in ties:
            group = _hash("tied" + "".join(sorted(colours[v] for v in tied)))
            for v in tied:
                colours[v] = _hash(colours[v] + group)
    return _hash("".join(sorted(colours)) + "|" + "".join(colours[v] for v in outputs), 16)


_Vertex = tuple[tuple[object, ...], tuple[int, ...], bool]


def _vertices(graph: Graph) -> tuple[list[_Vertex], list[int], list[list[int]]]:
    """The flat network with nested sums merged: (facts, inputs, whether their order counts), outputs, ties."""
    nodes = graph.nodes
    reads: dict[str, int] = defaultdict(int)
    for node in nodes:
        for name in node.inputs:
            reads[name] += 1
    for name in graph.output_names:
        reads[name] += 2  # an output is never merged away
    sums = {node.name: node for node in nodes if node.op == "add"}
    merged = {name for node in sums.values() for name in node.inputs if name in sums and reads[name] == 1}
    vertices: list[_Vertex] = [(("input", i, shape), (), True) for i, shape in enumerate(graph.inputs)]
    index = {name: i for i, name in enumerate(graph.input_names)}
    sharing: dict[str, list[int]] = defaultdict(list)

    def terms(name: str) -> list[int]:
        return [i for part in sums[name].inputs for i in terms(part)] if name in merged else [index[name]]

    for node in nodes:
        if node.name in merged:
            continue
        inputs = tuple([i for name in node.inputs for i in terms(name)])
        index[node.name] = len(vertices)
        if OPS[node.op].weights is not None:
            sharing[node.weights].append(len(vertices))
        vertices.append(((node.op, sorted(node.attrs.items())), inputs, not OPS[node.op].commutative))
    outputs = [index[name] for name in graph.output_names]
    return vertices, outputs, [tied for tied in sharing.values() if len(tied) > 1]


def _hash(text: str, size: int = 8) -> str:
    return blake2b(text.encode(), digest_size=size).hexdigest()
