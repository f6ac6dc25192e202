"""Layer tables of known networks by name and input size."""

from __future__ import annotations

import difflib
import re

from edge_envs.core.physics.layer_tables import Cuts, Layer, Network
from edge_envs.core.physics.network_zoo import NETWORKS, InputSize

__all__ = ["NETWORKS", "Cuts", "Layer", "Network", "build_network", "parse_network"]


def build_network(name: str, input_size: InputSize = None) -> Network:
    """Build the layer table of a known network.

    Args:
        name: one of `NETWORKS`.
        input_size: (height, width) of the input. An int is the side of a square input or, for "ds-cnn", the number of
            frames with 10 coefficients each. None is the network's native size.

    Raises:
        ValueError: an unknown name, a size that is not made of integers, or a size that is too small or too large.
    """
    if name not in NETWORKS:
        nearest = difflib.get_close_matches(str(name).lower(), NETWORKS, n=1, cutoff=0.0)[0]
        raise ValueError(f"unknown network {name!r}; nearest is {nearest!r}, known are {', '.join(NETWORKS)}")
    network: Network = NETWORKS[name](input_size)
    return network


def parse_network(spec: str) -> Network:
    """Build a network from "name", "name@size" or "name@HEIGHTxWIDTH", such as "resnet18@96".

    Raises:
        ValueError: text of another form, or see `build_network`.
    """
    match = re.fullmatch(r"([^@\s]+)(?:@([0-9]+)(?:x([0-9]+))?)?", spec)
    if match is None:
        raise ValueError(
            f"network spec {spec!r} should be 'name', 'name@size' or 'name@HEIGHTxWIDTH', "
            "such as 'resnet18@96' or 'ds-cnn@49x10'"
        )
    name, height, width = match.groups()
    if height is None:
        return build_network(name)
    return build_network(name, int(height) if width is None else (int(height), int(width)))
