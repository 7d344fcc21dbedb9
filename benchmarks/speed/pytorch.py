"""PyTorch, in the style of the reference code and as fast as we can write it."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.speed.contender import images
from benchmarks.speed.workloads import GP_BETAS, GP_RATE, GP_WEIGHT, N_CRITIC, RATE, C, Workload


class PyTorch:
    """A PyTorch variant of a workload.

    Args:
      workload: what to train.
      channels_last: NHWC memory for images.
      fused: one kernel for the update of all weights; otherwise a loop over them.
      compiled: compile both steps with `torch.compile`.
      graphs: record both steps, compiled or not, as CUDA graphs before the first iteration;
        needs a GPU.
      dtype: autocast dtype; float32 turns autocast off.
    """

    def __init__(
        self,
        workload: Workload,
        *,
        channels_last: bool = False,
        fused: bool = False,
        compiled: bool = False,
        graphs: bool = False,
        dtype: torch.dtype = torch.float32,
    ):
        torch.manual_seed(0)
        self._workload, self._fused, self._dtype = workload, fused, dtype
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._memory = torch.channels_last if channels_last else torch.contiguous_format
        self.generator, self.critic = (x.to(self._device) for x in networks(workload))
        self._optimizers = [self._optimizer(x) for x in (self.generator, self.critic)]
        if workload.image[0]:
            self.generator.to(memory_format=self._memory)
            self.critic.to(memory_format=self._memory)
            pixels = torch.from_numpy(images(workload)).permute(0, 3, 1, 2).contiguous()
            self._images = pixels.to(self._device, memory_format=self._memory)
        steps = self._critic_step, self._generator_step
        if compiled:
            steps = tuple(torch.compile(step) for step in steps)
        self._steps, self._unrecorded = steps, graphs

    def iterate(self, n: int) -> None:
        if self._unrecorded:
            self._steps, self._unrecorded = tuple(map(recorded, self._steps)), False
        critic_step, generator_step = self._steps
        for _ in range(n):
            for _ in range(N_CRITIC):
                critic_step()
            generator_step()
        if self._device == "cuda":
            torch.cuda.synchronize()

    def parameters(self) -> tuple[int, int]:
        counts = [sum(p.numel() for p in x.parameters()) for x in (self.generator, self.critic)]
        return tuple(count // self._workload.seeds for count in counts)

    def states(self) -> list[dict[str, np.ndarray]]:
        """Return the weights of both networks."""
        return [
            {name: t.detach().cpu().numpy().copy() for name, t in network.state_dict().items()}
            for network in (self.generator, self.critic)
        ]

    @torch.no_grad()
    def critic_loss(self, states: Any, z: np.ndarray, x: np.ndarray) -> float:
        for network, state in zip((self.generator, self.critic), states, strict=True):
            network.load_state_dict({k: torch.from_numpy(np.array(v)) for k, v in state.items()})
        z, x = (torch.from_numpy(a).to(self._device) for a in (z, x))
        if x.ndim == 4:
            x = x.permute(0, 3, 1, 2)
        return float(self.critic(self.generator(z)).mean() - self.critic(x).mean())

    def _optimizer(self, network: nn.Module) -> torch.optim.Optimizer:
        kind = {"foreach": self._fused, "capturable": self._device == "cuda"}
        if self._workload.penalty:
            return torch.optim.Adam(network.parameters(), GP_RATE, GP_BETAS, **kind)
        return torch.optim.RMSprop(network.parameters(), RATE, **kind)

    def _rows(self) -> tuple[int, ...]:
        seeds = (self._workload.seeds,) if self._workload.seeds > 1 else ()
        return (*seeds, self._workload.batch)

    def _latent(self) -> torch.Tensor:
        return torch.randn(*self._rows(), self._workload.latent, device=self._device)

    def _real(self) -> torch.Tensor:
        if self._workload.image[0]:
            at = torch.randint(len(self._images), self._rows(), device=self._device)
            return self._images[at].float().div(127.5).sub(1).contiguous(memory_format=self._memory)
        angle = torch.randint(8, self._rows(), device=self._device) * (torch.pi / 4)
        centers = 2 * torch.stack([angle.cos(), angle.sin()], -1)
        return centers + 0.02 * torch.randn_like(centers)

    def _autocast(self) -> Any:
        on = self._dtype != torch.float32
        return torch.autocast(self._device, self._dtype if on else torch.bfloat16, enabled=on)

    def critic_gradient(
        self, states: Any, z: np.ndarray, real: np.ndarray, t: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Return the gradient that the timed critic step uses at these weights and draws."""
        self.critic_loss(states, z, real)
        draws = (torch.from_numpy(a).to(self._device) for a in (z, real, t))
        self._steps[0](tuple(draws))
        return {name: p.grad.cpu().numpy().copy() for name, p in self.critic.named_parameters()}

    def _critic_step(self, draws: tuple[torch.Tensor, ...] | None = None) -> None:
        self.critic.requires_grad_(True)
        z, real = (self._latent(), self._real()) if draws is None else draws[:2]
        with torch.no_grad(), self._autocast():
            fake = self.generator(z)
        with self._autocast():
            loss = (self.critic(fake) - self.critic(real)).float().mean(-1).sum()
        if self._workload.penalty:
            t = torch.rand(len(real), 1, device=self._device) if draws is None else draws[2]
            x = (t * real + (1 - t) * fake.float()).requires_grad_(True)
            (slope,) = torch.autograd.grad(self.critic(x).sum(), x, create_graph=True)
            loss = loss + GP_WEIGHT * ((slope.square().sum(1) + 1e-12).sqrt() - 1).square().mean()
        self._descend(1, loss)
        if not self._workload.penalty:
            self._clamp()

    def _generator_step(self) -> None:
        self.critic.requires_grad_(False)
        with self._autocast():
            loss = -self.critic(self.generator(self._latent())).float().mean(-1).sum()
        self._descend(0, loss)

    def _descend(self, player: int, loss: torch.Tensor) -> None:
        self._optimizers[player].zero_grad(set_to_none=True)
        loss.backward()
        self._optimizers[player].step()

    @torch.no_grad()
    def _clamp(self) -> None:
        weights = list(self.critic.parameters())
        if self._fused:
            torch._foreach_clamp_min_(weights, -C)
            torch._foreach_clamp_max_(weights, C)
        else:
            for weight in weights:
                weight.clamp_(-C, C)


def recorded(step: Any) -> Any:
    """Record a step as a CUDA graph, after a few warm-up runs on a stream of its own."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def networks(workload: Workload) -> tuple[nn.Module, nn.Module]:
    if workload.widths:
        return tuple(mlp(workload, width) for width in (2, 1))
    pixels, channels, filters = workload.image
    stages = pixels.bit_length() - 3
    widths = [filters * 2**stage for stage in range(stages)]
    layers: list[nn.Module] = [nn.Unflatten(1, (workload.latent, 1, 1))]
    before = workload.latent
    for k, width in enumerate(reversed(widths)):
        shape = (4, 1, 0) if k == 0 else (4, 2, 1)
        layers += [nn.ConvTranspose2d(before, width, *shape, bias=False)]
        layers += [nn.BatchNorm2d(width), nn.ReLU()]
        before = width
    layers += [nn.ConvTranspose2d(before, channels, 4, 2, 1, bias=False), nn.Tanh()]
    down: list[nn.Module] = [nn.Conv2d(channels, filters, 4, 2, 1, bias=False), nn.LeakyReLU(0.2)]
    for a, b in itertools.pairwise(widths):
        down += [nn.Conv2d(a, b, 4, 2, 1, bias=False), nn.BatchNorm2d(b), nn.LeakyReLU(0.2)]
    down += [nn.Conv2d(widths[-1], 1, 4, 1, 0, bias=False), nn.Flatten(0)]
    return nn.Sequential(*layers), nn.Sequential(*down)


def mlp(workload: Workload, outputs: int) -> nn.Module:
    """Return an MLP; several seeds run side by side as batched products."""
    layers: list[nn.Module] = []
    widths = (2, *workload.widths, outputs)
    for a, b in itertools.pairwise(widths):
        linear = nn.Linear(a, b) if workload.seeds == 1 else Batched(workload.seeds, a, b)
        layers += [linear, nn.ReLU()]
    return (
        nn.Sequential(*layers[:-1], nn.Flatten(-2)) if outputs == 1 else nn.Sequential(*layers[:-1])
    )


class Batched(nn.Module):
    """One linear layer per seed."""

    def __init__(self, seeds: int, a: int, b: int):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(seeds, a, b) / a**0.5)
        self.bias = nn.Parameter(torch.zeros(seeds, 1, b))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.baddbmm(self.bias, x, self.weight)
