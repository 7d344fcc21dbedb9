"""Networks that do not compile, or compute otherwise than they promise."""

import jax
import jax.numpy as jnp
import numpy as np
from broken_networks import Fault, critic, init, scores

from wgan_jax import Network

WIDE = np.array([0.5, 2.0])  # of float64

FAULTS_OF_PROGRAMS = [
    Fault(
        "Python branches on values",
        "purity",
        "Python branches on a value",
        critic(lambda params, x, train, key: scores(params, x if x.sum() > 0 else -x)),
    ),
    Fault(
        "numpy on traced arrays",
        "purity",
        "numpy is called on a traced array",
        critic(lambda params, x, train, key: scores(params, np.tanh(np.asarray(x)))),
    ),
    Fault(
        "prints in training",
        "purity",
        "a print or a callback to the host",
        critic(
            lambda params, x, train, key: (
                jax.debug.callback(lambda _: None, x),
                scores(params, x),
            )[1]
        ),
    ),
    Fault(
        "takes no key",
        "purity",
        "unexpected keyword argument 'key'",
        Network(init, lambda params, stats, x, *, train: (scores(params, x), stats)),
    ),
    Fault(
        "calls the host",
        "export",
        "calls the host (pure_callback)",
        critic(
            lambda params, x, train, key: (
                scores(params, x)
                + (
                    0.0
                    if train
                    else jax.pure_callback(
                        lambda x: np.zeros(len(x), np.float32),
                        jax.ShapeDtypeStruct(x.shape[:1], jnp.float32),
                        x,
                    )
                )
            )
        ),
    ),
    Fault(
        "other numbers compiled than eager",
        "jit",
        "Python that checks whether it is traced",
        critic(
            lambda params, x, train, key: (
                scores(params, x) * (2.0 if isinstance(x, jax.core.Tracer) else 1.0)
            )
        ),
    ),
    Fault(
        "float64 from numpy where JAX has 64 bits, with `compute_dtype=jnp.float32`",
        "x64",
        "a NumPy float64",
        critic(lambda params, x, train, key: scores(params, x * WIDE)),
        options={"compute_dtype": jnp.float32},
    ),
    Fault(
        "steeper than `lipschitz` says",
        "lipschitz",
        "exceeds 0.1",
        critic(lambda params, x, train, key: scores(params, x)),
        options={"lipschitz": 0.1},
    ),
    Fault(
        "bfloat16 inside, with `compute_dtype=jnp.float32`",
        "compute_dtype",
        "a forgotten cast",
        critic(
            lambda params, x, train, key: scores(params, x.astype(jnp.bfloat16).astype(x.dtype))
        ),
        options={"compute_dtype": jnp.float32},
    ),
]
