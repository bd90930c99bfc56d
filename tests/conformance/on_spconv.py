"""A program: every network, run forward on the real spconv, into a file."""

import copy
import sys

import torch

from tests.conformance.libraries import prepare

prepare("spconv")

from tests.conformance.networks import ON_SPCONV, Network, voxelized  # noqa: E402


def outcome(network: Network) -> dict[str, dict[str, torch.Tensor]]:
    torch.manual_seed(0)
    net = network.build()
    weights = copy.deepcopy(net.state_dict())
    with torch.no_grad():
        return {"weights": weights, "outputs": network.run(net)}


if __name__ == "__main__":
    outcomes = {name: outcome(network) for name, network in ON_SPCONV.items()}
    torch.save({**outcomes, "voxelized": voxelized()}, sys.argv[1])
