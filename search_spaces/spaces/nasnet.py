"""NASNet and PNASNet: cells found in a small network, stacked larger."""

from collections.abc import Mapping
from functools import partial

from search_spaces.architecture import Option
from search_spaces.blocks.cell_ops import CELL_OPERATIONS
from search_spaces.cell_stack import Stacking
from search_spaces.cells import CELLS, CellSpace
from search_spaces.preset import Preset


def nasnet(
    name: str = "nasnet",
    *,
    repeats: int | tuple[int, ...] = 2,
    filters: int | tuple[int, ...] = 16,
    stem: str = "small",
    stem_filters: int = 0,
    kept_normal: tuple[int, ...] = (),
    kept_reduction: tuple[int, ...] = (),
    first_reduces: bool = False,
    skip_reduction: bool = False,
    padding: str = "symmetric",
    drop_path: float = 0.0,
    nodes: int = 5,
    operations: tuple[str, ...] = tuple(CELL_OPERATIONS),
) -> CellSpace:
    """The cells of NASNet (Zoph et al. 2018, section 3) in any stacking; see ``Stacking`` for the arguments.

    Several ``repeats`` or ``filters`` are a choice. Cells found in the small stacking are stacked larger by their text:
    ``nasnet(repeats=4, filters=44, stem="imagenet", stem_filters=32).from_string(small.cells_text(arch))``.
    """
    stacking = Stacking(
        repeats if isinstance(repeats, tuple) else (repeats,),
        filters if isinstance(filters, tuple) else (filters,),
        stem,
        stem_filters,
        (kept_normal, kept_reduction),
        first_reduces,
        skip_reduction,
        padding,
        drop_path=drop_path,
    )
    return CellSpace(
        name,
        stacking,
        nodes=nodes,
        operations=operations,
        description="A normal and a reduction cell of five nodes and thirteen operations, stacked.",
        paper="Zoph et al. 2018, arXiv:1707.07012",
    )


_Node = tuple[tuple[str, int], tuple[str, int]]


def _choices(normal: tuple[_Node, ...], reduction: tuple[_Node, ...]) -> dict[str, Option]:
    choices: dict[str, Option] = {}
    for cell, nodes in zip(CELLS, (normal, reduction), strict=True):
        for state, halves in enumerate(nodes, 2):
            for number, (operation, read) in enumerate(halves, 1):
                choices |= {f"{cell}.node{state}.input{number}": read, f"{cell}.node{state}.op{number}": operation}
    return choices


# figure 4 of the NASNet paper; state 0 is the last cell's output, 1 the one before
_NASNET_A = _choices(
    normal=(
        (("sep_conv_5x5", 0), ("sep_conv_3x3", 1)),
        (("sep_conv_5x5", 1), ("sep_conv_3x3", 1)),
        (("avg_pool_3x3", 0), ("identity", 1)),
        (("avg_pool_3x3", 1), ("avg_pool_3x3", 1)),
        (("sep_conv_3x3", 0), ("identity", 0)),
    ),
    reduction=(
        (("sep_conv_5x5", 0), ("sep_conv_7x7", 1)),
        (("max_pool_3x3", 0), ("sep_conv_7x7", 1)),
        (("avg_pool_3x3", 0), ("sep_conv_5x5", 1)),
        (("identity", 3), ("avg_pool_3x3", 2)),
        (("sep_conv_3x3", 2), ("max_pool_3x3", 0)),
    ),
)

# figure 1 of the PNASNet paper; its one cell is the reduction cell as well
_PNASNET_5: tuple[_Node, ...] = (
    (("sep_conv_5x5", 1), ("max_pool_3x3", 1)),
    (("sep_conv_7x7", 0), ("max_pool_3x3", 0)),
    (("sep_conv_5x5", 0), ("sep_conv_3x3", 0)),
    (("sep_conv_3x3", 4), ("max_pool_3x3", 0)),
    (("sep_conv_3x3", 1), ("identity", 0)),
)

# as published: TensorFlow's padding; one state that is read is part of the output of each cell all the same
_nasnet_a = partial(nasnet, padding="same", kept_normal=(1,), kept_reduction=(3,))
_imagenet = partial(_nasnet_a, stem="imagenet")
_all_nodes = (2, 3, 4, 5, 6)
_pnasnet = partial(
    nasnet,
    padding="same",
    stem="imagenet",
    kept_normal=_all_nodes,
    kept_reduction=_all_nodes,
    first_reduces=True,
)

_NASNET = "Zoph et al. 2018, arXiv:1707.07012"
_PNASNET = "Liu et al. 2018, arXiv:1712.00559"

NASNET_PRESETS: Mapping[str, Preset] = {
    "nasnetalarge": Preset(
        partial(_imagenet, repeats=6, filters=168, stem_filters=96, skip_reduction=True), _NASNET, _NASNET_A, 331
    ),
    "nasnetamobile": Preset(partial(_imagenet, repeats=4, filters=44, stem_filters=32), _NASNET, _NASNET_A, 224),
    "nasneta_cifar": Preset(partial(_nasnet_a, repeats=6, filters=32), _NASNET, _NASNET_A, 32),
    "pnasnet5large": Preset(
        partial(_pnasnet, repeats=4, filters=216, stem_filters=96),
        _PNASNET,
        _choices(_PNASNET_5, _PNASNET_5),
        331,
    ),
}
