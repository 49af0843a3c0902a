"""Zero-shot proxies: what a network's untrained form says of its accuracy. Facts here, torch only when run."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

from search_spaces.errors import UnknownName, nearest

Pass = Literal["forward", "gradients", "jacobian", "synflow"]
Need = Literal["labels", "relu"]


class ProxyFacts(NamedTuple):
    """``passes`` names every pass that it reads (``nas.proxies.passes``), ``needs`` what must be there.

    labels: the batch's classes; relu: an activation with a threshold. A higher value is better.
    """

    description: str
    paper: str
    passes: tuple[Pass, ...]
    needs: tuple[Need, ...]
    path: str


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
        ("forward",),
        ("relu",),
        "nas.proxies.naswot:naswot",
    ),
    "grad_norm": ProxyFacts(
        "norms of the weights' gradients",
        "Abdelfattah et al. 2021, arXiv:2101.08134",
        ("forward", "gradients"),
        ("labels",),
        "nas.proxies.grad_norm:grad_norm",
    ),
    "snip": ProxyFacts(
        "how much the loss feels the loss of each weight",
        "Lee et al. 2019, arXiv:1810.02340",
        ("forward", "gradients"),
        ("labels",),
        "nas.proxies.snip:snip",
    ),
    "jacov": ProxyFacts(
        "how uncorrelated the input gradients of a batch are",
        "Mellor et al. 2020, arXiv:2006.04647v1",
        ("forward", "jacobian"),
        (),
        "nas.proxies.jacov:jacov",
    ),
}
"""Every proxy by name."""


def get_proxy_facts(name: str) -> ProxyFacts:
    """The facts of a proxy. Raises: UnknownName with the nearest known name."""
    if name not in PROXIES:
        raise UnknownName(f"unknown proxy {name!r}", hint=nearest(name, list(PROXIES)), field="score")
    return PROXIES[name]
