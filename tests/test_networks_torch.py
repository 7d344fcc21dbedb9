"""Forward passes equal those of the same networks built in PyTorch, with the same weights."""

import pathlib

import jax
import numpy as np
import pytest

from wgan_jax import DCGANCritic, DCGANGenerator, ResNetCritic, ResNetGenerator
from wgan_jax.networks import torch_weights

GOLDEN = np.load(pathlib.Path(__file__).parent / "golden" / "torch.npz")
DCGAN = {"image_size": 16, "filters": 8, "extra_layers": 1}
CASES = {
    "dcgan_generator": (DCGANGenerator(**DCGAN), torch_weights.dcgan_generator),
    "dcgan_critic": (DCGANCritic(**DCGAN), torch_weights.dcgan_critic),
    "resnet_generator_32": (ResNetGenerator(filters=4), torch_weights.resnet_generator),
    "resnet_critic_32": (ResNetCritic(filters=4), torch_weights.resnet_critic),
    "resnet_generator_64": (
        ResNetGenerator(image_size=64, filters=1),
        torch_weights.resnet_generator,
    ),
    "resnet_critic_64": (ResNetCritic(image_size=64, filters=1), torch_weights.resnet_critic),
}


def nhwc(x):
    return np.moveaxis(x, 1, -1) if x.ndim == 4 else x


@pytest.mark.parametrize("case", CASES)
def test_outputs_equal_those_of_torch(case):
    module, convert = CASES[case]
    prefix = f"{case}/weights/"
    state = {
        name.removeprefix(prefix): GOLDEN[name].astype(np.float32)
        for name in GOLDEN.files
        if name.startswith(prefix)
    }
    variables = convert(state)
    x = nhwc(GOLDEN[f"{case}/x"].astype(np.float32))
    fresh = jax.eval_shape(module.init, jax.random.key(0), x)
    shapes = jax.tree.map(lambda v: v.shape, (fresh, variables))
    assert shapes[0] == shapes[1]

    evaluated = module.apply(variables, x, train=False)
    trained = module.apply(variables, x, train=True, mutable=["batch_stats"])[0]
    for mode, ours in (("eval", evaluated), ("train", trained)):
        theirs = nhwc(GOLDEN[f"{case}/{mode}"])
        assert np.ptp(theirs) > 0.1 or theirs.size == 1
        ours = ours[:, ::3, ::3] if ours.ndim == 4 else ours
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5, err_msg=mode)
