"""The paper's networks, with and without multi-scale prediction: size, cost and time in PyTorch.

    python benchmarks/variants.py [NAME ...] [--runs N] [--threads N]

NAME is a network such as "deeplab-msc-7x7". Default: all eight. Times are medians for one 321 x 321 crop: a forward
pass at test, and forward and backward pass of training without the update of the weights, which happens once per batch.
As in the paper, multi-scale prediction trains only its branches. The table also lists the images per second that the
paper gives for training on a GPU of 2014.
"""

import argparse

import torch
from torch.utils.flop_counter import FlopCounterMode

from atrous.network import VARIANTS, DeepLab
from atrous.network.receptive_field import field_of_view, layers, receptive_field
from segment import median_seconds, processor

# Chen et al. 2015, table of fields of view: training, without multi-scale prediction.
PAPER = {"deeplab-7x7": 1.44, "deeplab": 2.90, "deeplab-4x4": 2.90, "deeplab-largefov": 4.84}

NETWORKS = {
    row.multiscale_name if multiscale else row.name: (row, multiscale)
    for multiscale in (False, True)
    for row in VARIANTS.values()
}


def multiply_adds(net: DeepLab, side: int) -> int:
    """Count the multiply-adds of all convolutions at test, for a square image; `net` is on the device "meta"."""
    with FlopCounterMode(display=False) as counter:
        net.eval()(torch.empty(1, 3, side, side, device="meta"))
    return counter.get_total_flops() // 2


def times(name: str, runs: int) -> tuple[float, float]:
    """Return the seconds of a forward pass at test, and of forward and backward pass of training."""
    row, multiscale = NETWORKS[name]
    torch.manual_seed(0)
    net = DeepLab(row.name, multiscale=multiscale)
    for parameter in net.parameters():
        if parameter.ndim > 1:  # with PyTorch's initialization the activations would vanish
            torch.nn.init.kaiming_normal_(parameter)
    net.freeze_through("fc8" if multiscale else None)
    net.to(memory_format=torch.channels_last)
    crop = (50 * torch.randn(1, 3, 321, 321)).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(21, (1, 41, 41))

    def test() -> None:
        with torch.inference_mode():
            net.eval()(crop)

    def train() -> None:
        torch.nn.functional.cross_entropy(net.train()(crop), labels).backward()
        net.zero_grad(set_to_none=True)

    return median_seconds(test, runs), median_seconds(train, runs)


def main() -> None:
    """Print the table with one row per network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", choices=[[], *NETWORKS])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()

    torch.set_num_threads(arguments.threads)
    print(f"{processor()}, {arguments.threads} threads, PyTorch {torch.__version__}, median of {arguments.runs} runs\n")
    columns = ["network", "field of view", "receptive field", "parameters", "multiply-adds at 321, G", "at 513, G"]
    columns += ["test, s", "training, s a crop", "training, crops/s", "the paper's, images/s"]
    print("|", " | ".join(columns), "|")
    print("| --- |" + " ---: |" * (len(columns) - 1))
    for name in arguments.names or NETWORKS:
        row, multiscale = NETWORKS[name]
        with torch.device("meta"):
            net = DeepLab(row.name, multiscale=multiscale)
        test, train = times(name, arguments.runs)
        cells = [name, field_of_view(row), receptive_field(layers(row))]
        cells += [f"{sum(p.numel() for p in net.parameters()):,}"]
        cells += [f"{multiply_adds(net, side) / 1e9:.1f}" for side in (321, 513)]
        cells += [f"{test:.2f}", f"{train:.2f}", f"{1 / train:.2f}", PAPER.get(name, "")]
        print("|", " | ".join(map(str, cells)), "|", flush=True)


if __name__ == "__main__":
    main()
