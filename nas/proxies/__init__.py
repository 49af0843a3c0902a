"""Zero-shot proxies: what a network's untrained form says of its accuracy. Facts here, torch only when run."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

from search_spaces.errors import UnknownName, nearest

Pass = Literal[
    "forward", "codes", "hidden", "gradients", "jacobian", "activation_gradients", "hessian", "halves",
    "noise_forward", "features", "spectra", "covariances", "positions", "signs", "perturbed", "information", "synflow",
]  # fmt: skip
Need = Literal["images", "labels", "relu", "blocks", "convolutions", "feed_forward"]


class ProxyFacts(NamedTuple):
    """``passes`` names every pass that it reads (``nas.proxies.passes``), ``needs`` what must be there.

    images: of the data set (what needs none sees noise, or the graph alone); labels: their classes; relu: an activation
    with a threshold; blocks: a network made of blocks whose outputs have positions; convolutions; feed_forward: blocks
    of two layers over the channels of each position. The value is the mean over so many ``initialisations``. A higher
    value is better.
    """

    description: str
    paper: str
    passes: tuple[Pass, ...]
    needs: tuple[Need, ...]
    path: str
    initialisations: int = 1


PROXIES: Mapping[str, ProxyFacts] = {
    "params": ProxyFacts("trainable parameters", "", (), (), "nas.proxies.size:params"),
    "macs": ProxyFacts("multiply-accumulates", "", (), (), "nas.proxies.size:macs"),
    "synflow": ProxyFacts(
        "logarithm of the synaptic flow through absolute weights",
        "Tanaka et al. 2020, arXiv:2006.05467",
        ("synflow",),
        (),
        "nas.proxies.synflow:synflow",
    ),
    "naswot": ProxyFacts(
        "how differently a batch of images activates the ReLUs",
        "Mellor et al. 2021, arXiv:2006.04647",
        ("forward", "codes"),
        ("images", "relu"),
        "nas.proxies.naswot:naswot",
    ),
    "grad_norm": ProxyFacts(
        "norms of the weights' gradients",
        "Abdelfattah et al. 2021, arXiv:2101.08134",
        ("forward", "gradients"),
        ("images", "labels"),
        "nas.proxies.grad_norm:grad_norm",
    ),
    "snip": ProxyFacts(
        "how much the loss feels the loss of each weight",
        "Lee et al. 2019, arXiv:1810.02340",
        ("forward", "gradients"),
        ("images", "labels"),
        "nas.proxies.snip:snip",
    ),
    "jacov": ProxyFacts(
        "how uncorrelated the input gradients of a batch are",
        "Mellor et al. 2020, arXiv:2006.04647v1",
        ("forward", "jacobian"),
        ("images",),
        "nas.proxies.jacov:jacov",
        initialisations=3,
    ),
    "fisher": ProxyFacts(
        "how much the loss feels the loss of each channel",
        "Turner et al. 2020, arXiv:1906.04113",
        ("forward", "activation_gradients"),
        ("images", "labels"),
        "nas.proxies.fisher:fisher",
    ),
    "grasp": ProxyFacts(
        "how much each weight adds to the flow of gradients",
        "Wang et al. 2020, arXiv:2002.07376",
        ("forward", "hessian"),
        ("images", "labels"),
        "nas.proxies.grasp:grasp",
    ),
    "zico": ProxyFacts(
        "how alike the gradients of two batches are",
        "Li et al. 2023, arXiv:2301.11300",
        ("halves",),
        ("images", "labels"),
        "nas.proxies.zico:zico",
    ),
    "swap": ProxyFacts(
        "how many patterns of on and off the units have over a batch",
        "Peng et al. 2024, arXiv:2403.04161",
        ("forward", "codes"),
        ("images", "relu"),
        "nas.proxies.swap:swap",
    ),
    "depth": ProxyFacts("convolution and linear layers", "", (), (), "nas.proxies.size:depth"),
    "expressivity": ProxyFacts(
        "how evenly the features of the blocks spread over their channels",
        "Lee and Ham 2024, arXiv:2403.19232",
        ("noise_forward", "features", "spectra"),
        ("blocks",),
        "nas.proxies.az_nas:expressivity",
        initialisations=2,  # one says little: the order of two networks often changes with it
    ),
    "progressivity": ProxyFacts(
        "how much more every block expresses than the one before",
        "Lee and Ham 2024, arXiv:2403.19232",
        ("noise_forward", "features", "spectra"),
        ("blocks",),
        "nas.proxies.az_nas:progressivity",
        initialisations=2,  # one says little: the order of two networks often changes with it
    ),
    "trainability": ProxyFacts(
        "how well the blocks keep the norm of gradients",
        "Lee and Ham 2024, arXiv:2403.19232",
        ("noise_forward", "features", "signs"),
        ("blocks",),
        "nas.proxies.az_nas:trainability",
    ),
    "intrain": ProxyFacts(
        "effective dimensions of the layers' channels",
        "InTrain",
        ("noise_forward", "covariances"),
        ("convolutions",),
        "nas.proxies.intrain:intrain",
    ),
    "zen": ProxyFacts(
        "how far a small change of the input moves the features",
        "Lin et al. 2021, arXiv:2102.01063",
        ("perturbed",),
        (),
        "nas.proxies.zen:zen",
    ),
    "meco": ProxyFacts(
        "how far the channels of a layer are from depending on each other",
        "Jiang et al. 2023",
        ("noise_forward", "positions"),
        ("convolutions",),
        "nas.proxies.meco:meco",
    ),
    "vkdnw": ProxyFacts(
        "how evenly the weights can be told from the outputs, and their number",
        "Tybl and Neumann 2025, arXiv:2502.04975",
        ("information",),
        (),
        "nas.proxies.vkdnw:vkdnw",
    ),
    "w_pca": ProxyFacts(
        "how many directions the hidden layers of feed-forward blocks span, times parameters",
        "Wang et al. 2025",
        ("forward", "hidden"),
        ("images", "feed_forward"),
        "nas.proxies.w_pca:w_pca",
    ),
    "entropy": ProxyFacts(
        "entropy of a convolutional network's features, from its shapes",
        "Shen et al. 2023, arXiv:2303.02165",
        (),
        ("convolutions",),
        "nas.proxies.deepmad:entropy",
    ),
    "effectiveness": ProxyFacts(
        "depth by geometric mean width: to be bounded, a network that is deep and narrow is hard to train",
        "Shen et al. 2023, arXiv:2303.02165",
        (),
        ("convolutions",),
        "nas.proxies.deepmad:effectiveness",
    ),
}
"""Every proxy by name."""


def get_proxy_facts(name: str) -> ProxyFacts:
    """The facts of a proxy. Raises: UnknownName with the nearest known name."""
    if name not in PROXIES:
        raise UnknownName(f"unknown proxy {name!r}", hint=nearest(name, list(PROXIES)), field="score")
    return PROXIES[name]
