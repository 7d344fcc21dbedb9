"""Networks whose scores or gradients are broken, and faults that no check catches."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from broken_networks import REAL, Fault, critic, scores, with_apply, with_init

from wgan_jax import Network, from_linen

# Faults of the batch.


def centers_in_training(params, x, train, key):
    y = scores(params, x)
    return y - y.mean() if train else y


def batch_norm(statistics_are_kept, follows_the_mode):
    """Batch norm without a scale, which keeps a running mean only."""

    def init_(key, x):
        return {"w": jax.random.normal(key, x.shape[1:])}, {"mean": jnp.zeros(x.shape[1:])}

    def apply(params, stats, x, *, train, key=None):
        mean = x.mean(0) if train or not follows_the_mode else stats["mean"]
        kept = {"mean": 0.9 * stats["mean"] + 0.1 * x.mean(0)}
        return scores(params, x - mean[None]), kept if train and statistics_are_kept else stats

    return Network(init_, apply)


class BatchNormInInference(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        return nn.Dense(1)(nn.BatchNorm(use_running_average=False)(x))


# Faults of gradients.


CONSTANT = jnp.array([1.0, -2.0])


@jax.custom_vjp
def with_half_its_gradient(x):
    return x


with_half_its_gradient.defvjp(lambda x: (x, None), lambda _, slope: (slope / 2,))


def label_is_ignored(params, stats, x, *, train, key=None):
    points, _ = x
    return scores(params, points), stats


def of_zeros(key, x):
    return {"w": jnp.zeros((x.shape[-1], 8)), "v": jnp.zeros(8), "bias": jnp.zeros(())}, {}


def two_layers(params, stats, x, *, train, key=None):
    return jnp.tanh(x @ params["w"]) @ params["v"] + params["bias"], stats


# Faults that are not caught.


def coupled_beside_batch_norm():
    """A mean over the batch in training, hidden by batch norm, which may couple samples."""

    def apply(params, stats, x, *, train, key=None):
        y, stats = batch_norm(True, True).apply(params, stats, x, train=train)
        return y - y.mean() if train else y, stats

    return Network(batch_norm(True, True).init, apply)


IMAGES = jax.random.normal(jax.random.key(5), (2, 6, 4, 4))


def channels_first(params, stats, x, *, train, key=None):
    """A convolution that takes the height of [batch, height, width, channels] for the channels."""
    y = jax.lax.conv_general_dilated(x, params["w"], (1, 1), "SAME")
    return y.mean((1, 2, 3)), stats


FAULTS_OF_SCORES = [
    # The batch.
    Fault(
        "subtracts the mean of its scores over the batch",
        "batch_independence",
        "it depends on the other rows of the batch (batch norm with batch statistics, or a mean "
        "over the batch?)",
        critic(lambda params, x, train, key: scores(params, x) - scores(params, x).mean()),
    ),
    Fault(
        "the same, in training only",
        "batch_independence",
        "a mean over the batch in the network",
        critic(centers_in_training),
    ),
    Fault(
        "batch norm that takes the statistics of the batch in inference too",
        "batch_independence",
        "batch norm with batch statistics",
        batch_norm(True, False),
    ),
    Fault(
        "batch norm whose new statistics are forgotten",
        "batch_independence",
        "batch norm whose statistics are dropped",
        batch_norm(False, True),
    ),
    Fault(
        "a running sum along the batch",
        "batch_independence",
        "they depend on the position in the batch",
        critic(lambda params, x, train, key: jnp.cumsum(scores(params, x))),
    ),
    Fault(
        "sorts its scores",
        "batch_independence",
        "they depend on the position in the batch",
        critic(lambda params, x, train, key: jnp.sort(scores(params, x))),
    ),
    # The output.
    Fault(
        "sums its scores over the batch",
        "output",
        "a sum or mean over the batch",
        critic(lambda params, x, train, key: scores(params, x).sum()),
    ),
    Fault(
        "two scores for each sample",
        "output",
        "a critic returns scores [4] or [4, 1], got [4, 2]",
        critic(lambda params, x, train, key: jnp.stack([scores(params, x)] * 2, 1)),
    ),
    Fault(
        "adds [batch] to [batch, 1]",
        "output",
        "a sum of [batch] and [batch, 1]",
        critic(lambda params, x, train, key: scores(params, x)[None] + scores(params, x)[:, None]),
    ),
    Fault(
        "a scalar for a batch of one",
        "output",
        "a squeeze() without an axis",
        critic(lambda params, x, train, key: scores(params, x).squeeze()),
    ),
    Fault(
        "returns integers",
        "output",
        "which has no gradient",
        critic(lambda params, x, train, key: scores(params, x).astype(jnp.int32)),
    ),
    Fault(
        "scores in bfloat16",
        "output",
        "compute the last layer in float32",
        critic(lambda params, x, train, key: scores(params, x).astype(jnp.bfloat16)),
    ),
    Fault(
        "another shape in training than in inference",
        "output",
        "the outputs in training and in inference differ",
        critic(lambda p, x, train, key: scores(p, x) if train else scores(p, x)[:, None]),
    ),
    Fault(
        "not a number where the input is zero",
        "output",
        "a quotient at zero",
        critic(
            lambda params, x, train, key: scores(params, x / jnp.sqrt((x**2).sum(1, keepdims=True)))
        ),
    ),
    # Gradients.
    Fault(
        "an infinite gradient where the input is zero",
        "gradient",
        "a root or a quotient at zero",
        critic(lambda params, x, train, key: scores(params, jnp.sqrt(jnp.abs(x)))),
    ),
    Fault(
        "the naive norm of a sample in its score",
        "gradient",
        "a norm, a root or a quotient at zero",
        critic(lambda params, x, train, key: scores(params, x) + jnp.sqrt((x**2).sum(1))),
    ),
    Fault(
        "stop_gradient on its input",
        "gradient_flow",
        "no gradient reaches the input, though the output depends on it: a stop_gradient",
        critic(lambda params, x, train, key: scores(params, jax.lax.stop_gradient(x))),
    ),
    Fault(
        "stop_gradient on its weights",
        "gradient_flow",
        "no gradient reaches params['w'], though the output depends on it: a stop_gradient",
        critic(lambda params, x, train, key: scores(jax.lax.stop_gradient(params), x)),
    ),
    Fault(
        "rounds its input",
        "gradient_flow",
        "rounding or an argmax on the way",
        critic(lambda params, x, train, key: scores(params, jnp.round(4 * x))),
    ),
    Fault(
        "a weight that is never used",
        "gradient_flow",
        "does not depend on params['v']: a layer that is never called",
        with_init(lambda key, x: ({"w": jax.random.normal(key, (2,)), "v": jnp.ones(3)}, {})),
    ),
    Fault(
        "weights written into `apply` as constants",
        "gradient_flow",
        "weights hard-coded in `apply`",
        critic(lambda params, x, train, key: scores({"w": CONSTANT}, x)),
    ),
    Fault(
        "two layers of zeros",
        "gradient_flow",
        "nothing can be learned (kernels that are all 0",
        Network(of_zeros, two_layers),
    ),
    Fault(
        "a custom_vjp with half of the gradient",
        "derivative",
        "a custom_vjp with a wrong factor",
        critic(lambda params, x, train, key: with_half_its_gradient(scores(params, x))),
    ),
    Fault(
        "weights written into `apply`, with no weights at all",
        "init",
        "a critic without weights",
        Network(
            lambda key, x: ({}, {}),
            lambda params, stats, x, *, train, key=None: (scores({"w": CONSTANT}, x), stats),
        ),
    ),
    Fault(
        "divides by the size of the batch, in training only",
        "batch_independence",
        "in training, a row alone gives a different output",
        critic(lambda params, x, train, key: scores(params, x) / (len(x) if train else 1)),
    ),
    Fault(
        "shuffles the batch in training",
        "batch_independence",
        "in training, changing the first row changes the outputs of the other rows",
        critic(
            lambda params, x, train, key: scores(
                params, jax.random.permutation(key, x) if train else x
            )
        ),
    ),
    Fault(
        "batch norm of Flax with `use_running_average=False` written into it",
        "purity",
        "batch norm without use_running_average=not train",
        from_linen(BatchNormInInference()),
    ),
    Fault(
        "a custom_vjp with half of the gradient of its weights",
        "derivative",
        "the gradient with respect to params['w'] is 0.5 times the slope",
        critic(lambda params, x, train, key: scores({"w": with_half_its_gradient(params["w"])}, x)),
    ),
    Fault(
        "ignores the labels",
        "gradient_flow",
        "labels ignored",
        Network(lambda key, x: ({"w": jax.random.normal(key, (2,))}, {}), label_is_ignored),
        (REAL, jnp.array([0, 1, 2, 0])),
    ),
    Fault(
        "returns scores without statistics",
        "purity",
        "apply must return a pair (y, stats)",
        with_apply(lambda params, stats, x, *, train, key=None: scores(params, x)),
    ),
    Fault(
        "returns several arrays",
        "output",
        "a critic returns one array of scores, got a tuple",
        critic(lambda params, x, train, key: (scores(params, x), x)),
    ),
]
NOT_CAUGHT = [
    Fault(
        "bfloat16 inside, without `compute_dtype`: mixed precision is allowed",
        "",
        "",
        critic(
            lambda params, x, train, key: scores(params, x.astype(jnp.bfloat16).astype(x.dtype))
        ),
    ),
    Fault(
        "a mean over the batch in training, beside a batch norm that may couple its samples",
        "",
        "",
        coupled_beside_batch_norm(),
    ),
    Fault(
        "the height of an image taken for its channels (a generator's is caught by `check_gan`)",
        "",
        "",
        Network(
            lambda key, x: ({"w": jax.random.normal(key, (3, x.shape[1], 2, 2))}, {}),
            channels_first,
        ),
        IMAGES,
    ),
]
