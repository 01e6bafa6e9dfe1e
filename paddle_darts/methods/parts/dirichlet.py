"""Mixing weights drawn from Dirichlet distributions that can be learned (DrNAS, arXiv 2006.10355).

The concentration of an edge is elu(alpha) + 1. A sample is differentiated along the path that it takes when the
concentration moves (implicit reparameterisation, arXiv 1805.08498); Paddle's own sampler has no gradient. Source:
xiangning-chen/DrNAS, utils.py: process_step_matrix, and architect.py for the KL term. Deviation: the derivative of
the incomplete beta function is summed up to rounding errors, where PyTorch uses approximations good to 1e-3.
"""

from __future__ import annotations

import math

import numpy as np
import paddle
from paddle.autograd import PyLayer

from paddle_darts.errors import ConfigError
from paddle_darts.methods.parts.pruning import renormalised, without_gradient
from paddle_darts.nn.drop import RandomSource

#: Concentrations are at least this, samples in logarithms at least that: neither matters but for being finite.
_LEAST_CONCENTRATION, _LEAST_SAMPLE = 1e-12, 1e-300
#: A row whose candidates together have less weight than this would be divided by (nearly) nothing.
_LEAST_SUM = 1e-30


def concentration(alphas: paddle.Tensor) -> paddle.Tensor:
    """elu(alpha) + 1, positive and differentiable: alpha = 0 is the uniform distribution over the simplex.

    Computed as exp(alpha) below 0, where adding 1 to elu loses the digits of small concentrations in float32.
    """
    positive, zeros = alphas > 0, paddle.zeros_like(alphas)
    return paddle.exp(paddle.where(positive, zeros, alphas)) + paddle.where(positive, alphas, zeros)


def dirichlet_weights(alphas: paddle.Tensor, source: RandomSource, mask: np.ndarray | None = None) -> paddle.Tensor:
    """Mixing weights [edges, ops], one sample of Dir(elu(alpha) + 1) per row of ``alphas`` [edges, ops].

    With a bool ``mask`` [edges, ops] the sample over all candidates is restricted to those of the mask and divided
    by their sum (which is again Dirichlet, over the kept ones); pruned alphas get no gradient.
    """
    c = concentration(without_gradient(alphas, mask))
    return renormalised(dirichlet_sample(c, draw(c.numpy(), source, mask)), mask)


def draw(concentrations: np.ndarray, source: RandomSource, mask: np.ndarray | None = None) -> np.ndarray:
    """A sample of every row of ``concentrations`` [rows, K], float64.

    Concentrations far below 1 put all weight on one entry, and the weights of the others underflow: a row that
    would leave 0/0 (behind the mask, if there is one) is drawn from the limit, one entry with probability in
    proportion to its concentration.
    """
    c = np.maximum(concentrations.astype("float64"), _LEAST_CONCENTRATION)
    with np.errstate(invalid="ignore"):  # a row of zeros divided by its sum; it is replaced below
        sample = np.array(source.dirichlet(c), dtype="float64")
    inside = np.ones(c.shape, dtype=bool) if mask is None else mask.astype(bool)
    for row in np.flatnonzero(~((sample * inside).sum(axis=1) >= _LEAST_SUM) & inside.any(axis=1)):
        candidates = np.flatnonzero(inside[row])
        cumulated = np.cumsum(c[row, candidates])
        chosen = np.searchsorted(cumulated[:-1], source.uniform((1,))[0] * cumulated[-1], side="right")
        sample[row] = 0.0
        sample[row, candidates[chosen]] = 1.0
    return sample


def dirichlet_sample(concentrations: paddle.Tensor, sample: np.ndarray) -> paddle.Tensor:
    """``sample`` [rows, K] of Dir(``concentrations`` [rows, K]) as a tensor with the pathwise gradient.

    Works in the precision and on the device of ``concentrations``; the gradient is computed on the host in float64.
    ConfigError for a sample of another shape or with a row that is no point of the simplex.
    """
    sample = np.asarray(sample, dtype="float64")
    if list(sample.shape) != list(concentrations.shape):
        raise ConfigError(f"the sample has shape {list(sample.shape)}, the concentrations {concentrations.shape}")
    off = ~((np.abs(sample.sum(axis=-1) - 1) < 1e-3) & (sample >= 0).all(axis=-1))
    if off.any():
        raise ConfigError(f"row {off.argmax()} of the sample is no point of the simplex: {sample[off.argmax()]}")
    return _DirichletSample.apply(concentrations, sample)


class _DirichletSample(PyLayer):
    @staticmethod
    def forward(ctx, concentrations: paddle.Tensor, sample: np.ndarray) -> paddle.Tensor:
        ctx.concentrations, ctx.sample = concentrations.numpy().astype("float64"), sample
        return paddle.to_tensor(sample, dtype=concentrations.dtype, place=concentrations.place)

    @staticmethod
    def backward(ctx, grad: paddle.Tensor) -> paddle.Tensor:
        found = sample_gradient(ctx.concentrations, ctx.sample, grad.numpy().astype("float64"))
        return paddle.to_tensor(found, dtype=grad.dtype, place=grad.place)


def sample_gradient(concentrations: np.ndarray, sample: np.ndarray, grad: np.ndarray) -> np.ndarray:
    """dL/dc from dL/dx = ``grad`` at a ``sample`` x of Dir(c); all float64 [rows, K].

    dL/dc_i = gamma_i * (v_i - sum_j x_j v_j): moving c_i moves x_i, and the other entries shrink in proportion.
    """
    along = grad - (sample * grad).sum(axis=-1, keepdims=True)
    return pathwise_derivative(concentrations, sample) * along


def pathwise_derivative(concentrations: np.ndarray, sample: np.ndarray) -> np.ndarray:
    """gamma_i = dx_i/dc_i / (1 - x_i) for a sample x of Dir(c), both float64 [rows, K].

    x_i is Beta(a, b) with a = c_i and b = the sum of the other c, so dx/da = -(dI_x(a, b)/da) / pdf(x). With
    psi the digamma function and S the hypergeometric series of :func:`_series`, below the mean

        gamma = -x/a * (S * (ln x + psi(a + b) - psi(a + 1)) + dS/da),   S(z = x, q = a + 1),

    and above it, from the complement 1 - I,

        gamma = x/b * (S * (ln x + psi(a + b) - psi(a)) + dS/da),        S(z = 1 - x, q = b + 1).

    All terms of a series have the same sign, so both forms are exact up to rounding for any c > 0.
    """
    from scipy.special import digamma  # 30 MB that only this method needs

    a = np.maximum(concentrations, _LEAST_CONCENTRATION)
    others = 1.0 - np.eye(a.shape[-1])  # not the sum minus c_i, which loses digits where c_i is the largest
    b = np.maximum(a @ others, _LEAST_CONCENTRATION)
    x, y = np.maximum(sample, _LEAST_SAMPLE), sample @ others
    below = x <= (a + 1) / (a + b + 2)
    z, q = np.where(below, x, y), np.where(below, a, b) + 1
    value, slope = _series(a + b, q, z, below)
    log_ratio = np.log(x) + digamma(a + b) - digamma(np.where(below, a + 1, a))
    return np.where(below, -x / a, x / b) * (value * log_ratio + slope)


def _series(p: np.ndarray, q: np.ndarray, z: np.ndarray, below: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """S = sum over n of (p)_n/(q)_n * z^n with (p)_n = p(p+1)...(p+n-1), and dS/da where p = a + b.

    ``below``: q = a + 1 moves along with a; else q = b + 1 stands still. The caller's choice of z makes the terms
    fall from the start, and about 37/(1 - z) of them reach the last digit.
    """
    term, log_slope = np.ones_like(z), np.zeros_like(z)
    value, slope = term.copy(), log_slope.copy()
    n = 0
    while np.any(term * (1 + np.abs(log_slope)) > 1e-17 * (value + np.abs(slope))):
        log_slope += 1 / (p + n) - np.where(below, 1 / (q + n), 0.0)
        term *= z * (p + n) / (q + n)
        value += term
        slope += term * log_slope
        n += 1
    return value, slope


def kl_to_uniform(concentrations: paddle.Tensor) -> paddle.Tensor:
    """KL(Dir(c) || Dir(1)) of every row of ``concentrations`` [rows, K], as [rows]; differentiable.

    Pruned entries count like the others, as in the official program.
    """
    c = concentrations
    total = c.sum(axis=-1, keepdim=True)
    spread = paddle.lgamma(total).squeeze(-1) - paddle.lgamma(c).sum(axis=-1) - math.lgamma(c.shape[-1])
    return spread + ((c - 1) * (paddle.digamma(c) - paddle.digamma(total))).sum(axis=-1)
