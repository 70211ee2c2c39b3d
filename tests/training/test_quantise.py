from __future__ import annotations

import torch

from easytx.training.quantise import dynamically_quantised


def test_the_copy_is_close_and_the_network_stays_as_it_was():
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(16, 16), torch.nn.Linear(16, 4)).eval()
    before = [parameter.clone() for parameter in network.parameters()]
    rows = torch.randn(8, 16)
    copy = dynamically_quantised(network)
    difference = (copy(rows) - network(rows)).abs().max()
    assert 0 < difference < 0.05
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))


def test_the_copy_is_kept_until_the_weights_change():
    network = torch.nn.Sequential(torch.nn.Linear(4, 4)).eval()
    first = dynamically_quantised(network)
    assert dynamically_quantised(network) is first
    with torch.no_grad():
        network[0].weight.add_(1.0)
    assert dynamically_quantised(network) is not first
