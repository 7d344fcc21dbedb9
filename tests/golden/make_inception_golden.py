"""Writes inception.npz: outputs of FID's Inception in PyTorch with seeded random weights.

    python tests/golden/make_inception_golden.py

Needs PyTorch (tested with 2.13.0). The graph is reimplemented from the papers and the
documented differences of the 2015 release. Weights and images come from one seeded stream
that the test repeats, so only outputs are stored.
"""

from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
SEED, SIDE = 5, 107


def stream(shapes):
    """Weights by name, in the order of the names, and two images [2, 3, side, side] in [-1, 1]."""
    rng = np.random.default_rng(SEED)
    state = {}
    for name in sorted(shapes):
        shape = shapes[name]
        drawn = rng.standard_normal(shape, np.float32)
        if name.endswith("conv.weight"):
            state[name] = drawn * np.float32((2 / np.prod(shape[1:])) ** 0.5)
        elif name.endswith(("bn.weight", "bn.running_var")):
            state[name] = 1 + np.float32(0.2) * np.abs(drawn)
        else:
            state[name] = np.float32(0.2) * drawn
    images = rng.uniform(-1, 1, (2, 3, SIDE, SIDE)).astype(np.float32)
    small = rng.uniform(-1, 1, (1, 1, 20, 20)).astype(np.float32)
    return state, images, small


def main():
    import torch
    from torch import nn
    from torch.nn import functional

    class ConvBN(nn.Module):
        def __init__(self, inputs, outputs, kernel, stride=1, padding=0):
            super().__init__()
            self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)
            self.bn = nn.BatchNorm2d(outputs, eps=0.001)

        def forward(self, x):
            return functional.relu(self.bn(self.conv(x)))

    def average(x):
        return functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)

    def largest(x):
        return functional.max_pool2d(x, 3, 1, 1)

    def halve(x):
        return functional.max_pool2d(x, 3, 2)

    row, column = ((1, 7), 1, (0, 3)), ((7, 1), 1, (3, 0))

    class Block(nn.Module):
        """Branches as lists of (name, outputs, convolution); a tuple of two forks the last."""

        def __init__(self, inputs, branches, pool, pooled=None):
            super().__init__()
            self.chains, self.pool, self.outputs = [], pool, 0
            for branch in branches:
                channels, chain = inputs, []
                for layer in branch:
                    fork = layer if isinstance(layer[0], tuple) else (layer,)
                    for name, outputs, convolution in fork:
                        self.add_module(name, ConvBN(channels, outputs, *convolution))
                    chain.append([name for name, _, _ in fork])
                    channels = sum(outputs for _, outputs, _ in fork)
                self.chains.append(chain)
                self.outputs += channels
            if pooled:
                self.branch_pool = ConvBN(inputs, pooled, 1)
            self.outputs += pooled or inputs

        def forward(self, x):
            parts = []
            for chain in self.chains:
                y = x
                for names in chain:
                    y = torch.cat([getattr(self, name)(y) for name in names], 1)
                parts.append(y)
            y = self.pool(x)
            parts.append(self.branch_pool(y) if hasattr(self, "branch_pool") else y)
            return torch.cat(parts, 1)

    def block_a(inputs, pooled):
        five = [("branch5x5_1", 48, (1,)), ("branch5x5_2", 64, (5, 1, 2))]
        three = [("branch3x3dbl_1", 64, (1,)), ("branch3x3dbl_2", 96, (3, 1, 1))]
        three += [("branch3x3dbl_3", 96, (3, 1, 1))]
        return Block(inputs, [[("branch1x1", 64, (1,))], five, three], average, pooled)

    def block_b(inputs):
        double = [("branch3x3dbl_1", 64, (1,)), ("branch3x3dbl_2", 96, (3, 1, 1))]
        double += [("branch3x3dbl_3", 96, (3, 2))]
        return Block(inputs, [[("branch3x3", 384, (3, 2))], double], halve)

    def block_c(inputs, c):
        seven = [("branch7x7_1", c, (1,)), ("branch7x7_2", c, row), ("branch7x7_3", 192, column)]
        double = [("branch7x7dbl_1", c, (1,)), ("branch7x7dbl_2", c, column)]
        double += [("branch7x7dbl_3", c, row), ("branch7x7dbl_4", c, column)]
        double += [("branch7x7dbl_5", 192, row)]
        return Block(inputs, [[("branch1x1", 192, (1,))], seven, double], average, 192)

    def block_d(inputs):
        three = [("branch3x3_1", 192, (1,)), ("branch3x3_2", 320, (3, 2))]
        seven = [("branch7x7x3_1", 192, (1,)), ("branch7x7x3_2", 192, row)]
        seven += [("branch7x7x3_3", 192, column), ("branch7x7x3_4", 192, (3, 2))]
        return Block(inputs, [three, seven], halve)

    def block_e(inputs, pool):
        def fork(name):
            return ((f"{name}a", 384, ((1, 3), 1, (0, 1))), (f"{name}b", 384, ((3, 1), 1, (1, 0))))

        three = [("branch3x3_1", 384, (1,)), fork("branch3x3_2")]
        double = [("branch3x3dbl_1", 448, (1,)), ("branch3x3dbl_2", 384, (3, 1, 1))]
        double += [fork("branch3x3dbl_3")]
        return Block(inputs, [[("branch1x1", 320, (1,))], three, double], pool, 192)

    class Inception(nn.Module):
        def __init__(self):
            super().__init__()
            self.Conv2d_1a_3x3 = ConvBN(3, 32, 3, 2)
            self.Conv2d_2a_3x3 = ConvBN(32, 32, 3)
            self.Conv2d_2b_3x3 = ConvBN(32, 64, 3, 1, 1)
            self.Conv2d_3b_1x1 = ConvBN(64, 80, 1)
            self.Conv2d_4a_3x3 = ConvBN(80, 192, 3)
            makers = {"5b": lambda i: block_a(i, 32), "5c": lambda i: block_a(i, 64)}
            makers |= {"5d": lambda i: block_a(i, 64), "6a": block_b}
            for name, c in (("6b", 128), ("6c", 160), ("6d", 160), ("6e", 192)):
                makers[name] = lambda i, c=c: block_c(i, c)
            makers |= {"7a": block_d, "7b": lambda i: block_e(i, average)}
            makers["7c"] = lambda i: block_e(i, largest)
            channels, self.mixed = 192, [f"Mixed_{name}" for name in makers]
            for name, make in makers.items():
                block = make(channels)
                self.add_module(f"Mixed_{name}", block)
                channels = block.outputs

        def forward(self, x):
            x = halve(self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x))))
            x = halve(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x)))
            for name in self.mixed:
                x = getattr(self, name)(x)
            return x.mean((2, 3))

    network = Inception().eval()
    own = network.state_dict()
    shapes = {k: tuple(v.shape) for k, v in own.items() if "num_batches" not in k}
    state, images, small = stream(shapes)
    network.load_state_dict({k: torch.from_numpy(v) for k, v in state.items()}, strict=False)
    with torch.no_grad():
        large = functional.interpolate(
            torch.from_numpy(small).expand(-1, 3, -1, -1), (299, 299), mode="bilinear"
        )
        as_they_are, resized = network(torch.from_numpy(images)), network(large)
    names = "\n".join(f"{name} {shapes[name]}" for name in sorted(shapes))
    np.savez_compressed(
        HERE / "inception.npz", features=as_they_are.numpy(), resized=resized.numpy(), names=names
    )


if __name__ == "__main__":
    main()
