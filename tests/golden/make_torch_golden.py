"""Write the golden outputs of networks built in PyTorch: python tests/golden/make_torch_golden.py

Weights are multiples of 1/64, exact in float16, and only every third row and column of images is
stored, so the file stays small.
"""

import itertools
import pathlib

HERE = pathlib.Path(__file__).parent


def networks():
    """Each network with the shape of its input."""
    import torch
    from torch import nn
    from torch.nn import functional

    def dcgan_generator():
        layers = [nn.ConvTranspose2d(5, 16, 4, 1, 0, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
        layers += [nn.ConvTranspose2d(16, 8, 4, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU()]
        layers += [nn.Conv2d(8, 8, 3, 1, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU()]
        layers += [nn.ConvTranspose2d(8, 3, 4, 2, 1, bias=False), nn.Tanh()]
        return nn.Sequential(nn.Unflatten(1, (5, 1, 1)), *layers)

    def dcgan_critic():
        layers = [nn.Conv2d(3, 8, 4, 2, 1, bias=False), nn.LeakyReLU(0.2)]
        layers += [nn.Conv2d(8, 8, 3, 1, 1, bias=False), nn.BatchNorm2d(8), nn.LeakyReLU(0.2)]
        layers += [nn.Conv2d(8, 16, 4, 2, 1, bias=False), nn.BatchNorm2d(16), nn.LeakyReLU(0.2)]
        return nn.Sequential(*layers, nn.Conv2d(16, 1, 4, 1, 0, bias=False), nn.Flatten(0))

    class Block(nn.Module):
        def __init__(self, inputs, outputs, resample, norm, first=False):
            super().__init__()
            self.resample, self.first = resample, first
            middle = inputs if resample == "down" and not first else outputs
            if not first:
                self.norm1 = norm(inputs)
            self.conv1 = nn.Conv2d(inputs, middle, 3, 1, 1)
            if not first:
                self.norm2 = norm(middle)
            self.conv2 = nn.Conv2d(middle, outputs, 3, 1, 1)
            if resample or inputs != outputs:
                self.shortcut = nn.Conv2d(inputs, outputs, 1)

        def forward(self, x):
            y = x if self.first else functional.relu(self.norm1(x))
            s = x
            if self.resample == "up":
                y, s = (functional.interpolate(v, scale_factor=2, mode="nearest") for v in (y, s))
            y = self.conv1(y)
            y = functional.relu(y if self.first else self.norm2(y))
            y = self.conv2(y)
            s = self.shortcut(s) if hasattr(self, "shortcut") else s
            if self.resample == "down":
                y, s = functional.avg_pool2d(y, 2), functional.avg_pool2d(s, 2)
            return y + s

    class Generator(nn.Module):
        def __init__(self, widths):
            super().__init__()
            self.linear = nn.Linear(5, 16 * widths[0])
            pairs = itertools.pairwise(widths)
            self.blocks = nn.ModuleList([Block(a, b, "up", nn.BatchNorm2d) for a, b in pairs])
            self.norm = nn.BatchNorm2d(widths[-1])
            self.conv = nn.Conv2d(widths[-1], 3, 3, 1, 1)

        def forward(self, z):
            x = self.linear(z).unflatten(1, (-1, 4, 4))
            for block in self.blocks:
                x = block(x)
            return torch.tanh(self.conv(functional.relu(self.norm(x))))

    def layer_norm(channels):
        return nn.GroupNorm(1, channels)

    class Critic32(nn.Module):
        def __init__(self, d):
            super().__init__()
            self.blocks = nn.Sequential(
                Block(3, d, "down", layer_norm, first=True),
                Block(d, d, "down", layer_norm),
                Block(d, d, None, layer_norm),
                Block(d, d, None, layer_norm),
            )
            self.linear = nn.Linear(d, 1)

        def forward(self, x):
            return self.linear(functional.relu(self.blocks(x)).mean((2, 3)))[:, 0]

    class Critic64(nn.Module):
        def __init__(self, d):
            super().__init__()
            widths = [d, 2 * d, 4 * d, 8 * d, 8 * d]
            pairs = itertools.pairwise(widths)
            self.conv = nn.Conv2d(3, d, 3, 1, 1)
            self.blocks = nn.Sequential(*[Block(a, b, "down", layer_norm) for a, b in pairs])
            self.linear = nn.Linear(16 * widths[-1], 1)

        def forward(self, x):
            return self.linear(self.blocks(self.conv(x)).flatten(1))[:, 0]

    def mlp(*widths):
        layers = [f(a, b) for a, b in itertools.pairwise(widths) for f in (nn.Linear, relu)]
        return layers[:-1]

    def relu(*sizes):
        return nn.ReLU()

    images = nn.Sequential(*mlp(5, 8, 8, 96), nn.Unflatten(1, (6, 4, 4)))
    return {
        "dcgan_generator": (dcgan_generator(), (2, 5)),
        "dcgan_critic": (dcgan_critic(), (2, 3, 16, 16)),
        "resnet_generator_32": (Generator([4, 4, 4, 4]), (2, 5)),
        "resnet_critic_32": (Critic32(4), (2, 3, 32, 32)),
        "resnet_generator_64": (Generator([8, 8, 4, 2, 1]), (1, 5)),
        "resnet_critic_64": (Critic64(1), (1, 3, 64, 64)),
        "mlp_generator": (images, (2, 5)),
        "mlp_critic": (nn.Sequential(nn.Flatten(), *mlp(96, 8, 8, 1), nn.Flatten(0)), (2, 6, 4, 4)),
    }


def main():
    import numpy as np
    import torch

    rng = np.random.default_rng(0)

    def fill(network):
        for name, value in network.state_dict().items():
            if not value.is_floating_point():
                continue
            scale = 1.5 / np.sqrt(max(value[0].numel(), 4))
            drawn = rng.normal(0.0, scale, tuple(value.shape))
            if "running_var" in name or (value.ndim == 1 and name.endswith("weight")):
                drawn = 1 + 0.2 * np.abs(drawn)
            value.copy_(torch.from_numpy(np.round(64 * drawn) / 64))
        return network

    arrays = {}
    with torch.no_grad():
        for case, (network, shape) in networks().items():
            fill(network)
            x = torch.from_numpy(np.round(64 * rng.normal(size=shape)) / 64).float()
            state = {name: v.numpy().copy() for name, v in network.state_dict().items()}
            arrays |= {f"{case}/weights/{k}": v.astype(np.float16) for k, v in state.items()}
            evaluated = network.eval()(x).numpy()
            trained = network.train()(x).numpy()
            arrays[f"{case}/x"] = x.numpy().astype(np.float16)
            for mode, y in (("eval", evaluated), ("train", trained)):
                arrays[f"{case}/{mode}"] = y[:, :, ::3, ::3] if y.ndim == 4 else y
    np.savez_compressed(HERE / "torch.npz", **arrays)


if __name__ == "__main__":
    main()
