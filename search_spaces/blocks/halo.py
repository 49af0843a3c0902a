"""Attention of blocks of queries to the windows around them (HaloNet) or to the whole map (BoTNet), in a bottleneck."""

from search_spaces.blocks.attention import ATTENTIONS
from search_spaces.blocks.conv import activate, conv_bn
from search_spaces.blocks.tables import check_pairs
from search_spaces.blocks.windows import Size, crop, from_windows, pad_to_multiple, to_windows
from search_spaces.builder import Builder, Value
from search_spaces.channels import make_divisible
from search_spaces.errors import InvalidGraph


def halo_attention(
    b: Builder,
    x: Value,
    stride: int = 1,
    block_size: int = 8,
    halo: int = 3,
    heads: int = 8,
    qk_ratio: float = 1.0,
) -> Value:
    """Queries in blocks of ``block_size`` squared attend to their block and ``halo`` pixels around it.

    Keys beyond the border are zeros and not masked; a size that the block does not divide is padded so. Logits
    have a learned part that depends on the relative row, and one on the relative column. ``stride`` keeps every
    second query, or averages the result where the block has an odd size. Queries and keys have ``qk_ratio``
    times the channels. Source: Vaswani et al. 2021, section 2.

    Raises: InvalidGraph if the heads do not divide the channels.
    """
    channels, height, width = x.shape
    across = _per_head(make_divisible(channels * qk_ratio), heads, exact=False)
    deep = _per_head(channels, heads)
    x = pad_to_multiple(b, x, (block_size, block_size))
    strided = stride if block_size % stride == 0 else 1
    side, window = block_size // strided, block_size + 2 * halo
    grid = (x.shape[1] // block_size, x.shape[2] // block_size)
    query = b.conv("query", x, heads * across, 1, strided)
    query = to_windows(b, "queries", query, grid, (side, side), heads)
    pair = b.conv("key_value", x, heads * (across + deep), 1)
    pair = b.op("halo", "pad", pair, before=(halo, halo), after=(halo, halo))
    for axis in (1, 2):
        indices = tuple(i * block_size + k for i in range(grid[axis - 1]) for k in range(window))
        pair = b.op(f"windows{axis}", "gather", pair, axis=axis, indices=indices)
    pair = to_windows(b, "pairs", pair, grid, (window, window), heads)
    key = b.slice("key", pair, 0, across, axis=-1)
    value = b.slice("value", pair, across, across + deep, axis=-1)
    mixed = _attend(b, query, key, value, (side, side), (window, window))
    mixed = from_windows(b, "out", mixed, grid, (side, side))
    mixed = crop(b, mixed, (-(-height // strided), -(-width // strided)))
    if strided != stride:
        mixed = b.pool("pool", "avg_pool", mixed, stride, stride, ceil_mode=True)
    return mixed


def global_attention(b: Builder, x: Value, stride: int = 1, heads: int = 4) -> Value:
    """Every position attends to all of them, with learned relative rows and columns; ``stride`` averages after.

    The tables of relative positions fix the size of the map. Source: Srinivas et al. 2021, BoTNet,
    arXiv:2101.11605, section 3 and figure 4.

    Raises: InvalidGraph if the heads do not divide the channels.
    """
    channels, height, width = x.shape
    _per_head(channels, heads)
    qkv = b.conv("qkv", x, 3 * channels, 1)
    query, key, value = (
        to_windows(b, f"{name}s", b.slice(name, qkv, i * channels, (i + 1) * channels), (1, 1), (height, width), heads)
        for i, name in enumerate(("query", "key", "value"))
    )
    mixed = _attend(b, query, key, value, (height, width), (height, width))
    mixed = from_windows(b, "out", mixed, (1, 1), (height, width))
    return mixed if stride == 1 else b.pool("pool", "avg_pool", mixed, stride, stride, ceil_mode=True)


def attention_bottleneck(
    b: Builder,
    x: Value,
    out_channels: int,
    stride: int = 1,
    reduction: float = 4.0,
    mixer: str = "halo",
    activation: str = "relu",
    block_size: int = 8,
    halo: int = 3,
    heads: int = 8,
) -> Value:
    """A residual bottleneck whose middle is ``mixer``: "conv" (3 x 3), "halo" or "global" attention.

    Pointwise, middle, pointwise, each with batch norm; activation after the first two and after the sum. The inner
    width is ``out_channels / reduction``. Where the shape changes the identity is a strided pointwise convolution.
    Sources: Vaswani et al. 2021, section 2.3; Srinivas et al. 2021, arXiv:2101.11605, figure 1.
    """
    inner = make_divisible(out_channels / reduction)
    y = conv_bn(b, "reduce", x, inner, 1, activation=activation)
    if mixer == "conv":
        y = conv_bn(b, "spatial", y, inner, 3, stride, activation=activation)
    else:
        y = _mixed(b, y, mixer, stride, activation, block_size, halo, heads, 1.0)
    y = conv_bn(b, "expand", y, out_channels, 1)
    if stride != 1 or x.shape[0] != out_channels:
        x = conv_bn(b, "shortcut", x, out_channels, 1, stride)
    return activate(b, "out", b.op("add", "add", x, y), activation)


def attention_inverted_bottleneck(
    b: Builder,
    x: Value,
    out_channels: int,
    stride: int = 1,
    expand: float = 3.0,
    mixer: str = "halo",
    activation: str = "silu",
    attention: str = "se_of_8",
    group_width: int = 16,
    block_size: int = 7,
    halo: int = 2,
    heads: int = 8,
    qk_ratio: float = 0.33,
) -> Value:
    """Pointwise expansion, ``mixer`` as in ``attention_bottleneck``, linear projection; identity where the shape stays.

    A "conv" has groups of ``group_width`` channels, and channel ``attention`` after it.
    Source: Dollar et al. 2021, arXiv:2103.06877 (RegNetZ), with the attention of Vaswani et al. 2021.
    """
    inner = make_divisible(x.shape[0] * expand)
    y = conv_bn(b, "expand", x, inner, 1, activation=activation)
    if mixer == "conv":
        y = conv_bn(b, "spatial", y, inner, 3, stride, max(1, inner // group_width), activation)
        y = ATTENTIONS[attention](b, y, x.shape[0])
    else:
        y = _mixed(b, y, mixer, stride, activation, block_size, halo, heads, qk_ratio)
    y = conv_bn(b, "project", y, out_channels, 1)
    return b.op("add", "add", x, y) if y.shape == x.shape else y


def _mixed(
    b: Builder,
    x: Value,
    mixer: str,
    stride: int,
    activation: str,
    block_size: int,
    halo: int,
    heads: int,
    qk_ratio: float,
) -> Value:
    """Attention, batch norm and activation."""
    if mixer == "halo":
        x = b.block("halo_attention", halo_attention, x, stride, block_size, halo, heads, qk_ratio)
    elif mixer == "global":
        x = b.block("global_attention", global_attention, x, stride, heads)
    else:
        raise InvalidGraph(f"mixer {mixer!r}", hint="conv, halo or global")
    return activate(b, "mixed", b.batch_norm("mixed.bn", x), activation)


def _per_head(channels: int, heads: int, *, exact: bool = True) -> int:
    if channels < heads or (exact and channels % heads):
        raise InvalidGraph(f"{channels} channels for {heads} heads", hint="channels must be a multiple of the heads")
    return channels // heads


def _attend(b: Builder, query: Value, key: Value, value: Value, side: Size, window: Size) -> Value:
    """softmax(q kᵀ / √d + relative logits) v on (heads, blocks, positions, d)."""
    heads, blocks, queries, d = query.shape
    query_flat = b.op("relative.query", "reshape", query, shape=(1, heads * blocks * queries, d))
    rows = _relative(b, "relative.rows", query_flat, heads * blocks, side, window[0], 0)
    columns = _relative(b, "relative.columns", query_flat, heads * blocks, side, window[1], 1)
    rows = b.op("relative.rows.wide", "reshape", rows, shape=(heads * blocks, queries, window[0], 1))
    columns = b.op("relative.columns.wide", "reshape", columns, shape=(heads * blocks, queries, 1, window[1]))
    relative = b.op("relative.add", "add_broadcast", rows, columns)
    relative = b.op("relative.flat", "reshape", relative, shape=(heads, blocks, queries, window[0] * window[1]))
    logits = b.matmul("logits", b.op("scaled", "multiply", query, factor=d**-0.5), key, transpose_b=True)
    logits = b.op("logits_add", "add", logits, relative)
    return b.matmul("mix", b.op("softmax", "softmax", logits, axis=-1), value)


def _relative(b: Builder, name: str, query: Value, blocks: int, side: Size, window: int, axis: int) -> Value:
    """The logits of each query for every row (or column) of its window, by their distance.

    The table has a vector for each of the 2 ``window`` - 1 distances; a query at ``i`` of its block reads that
    of key ``k`` at ``k - i + window - 1``.
    """
    distances = 2 * window - 1
    table = b.op(
        f"{name}.table", "parameter", query, shape=(1, distances, query.shape[-1]), init="normal", trainable=True
    )
    logits = b.matmul(f"{name}.all", query, table, transpose_b=True)
    places = side[0] * side[1]
    check_pairs(places, window)
    logits = b.op(f"{name}.flat", "reshape", logits, shape=(blocks, places * distances))
    own = [(place // side[1], place % side[1])[axis] for place in range(places)]
    indices = tuple(p * distances + k - i + window - 1 for p, i in enumerate(own) for k in range(window))
    return b.op(f"{name}.own", "gather", logits, axis=-1, indices=indices)
