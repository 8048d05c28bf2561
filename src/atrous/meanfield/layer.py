"""The mean field as a layer with learnable parameters."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from ..crf import Bilateral, DenseCRF, Spatial
from ..crf.kernels import Kernel, Normalization, check_normalization
from ..crf.presets import resolve
from ..errors import InputError
from .filters import Filtering, product
from .steps import mean_field, mixed, scaled
from .terms import KernelValues, check_values, learns_features, make_term

Form = Literal["scalar", "label", "matrix"]
_LEARNABLE = ("weights", "compatibility", "sxy", "srgb")


class DenseCRFLayer(nn.Module):
    """Fully connected CRF on top of a network, trained with it (Zheng et al. 2015).

    ``S = logits + sum_k (-mu W_k) m_k``, where ``m_k`` is the message of kernel k, ``W_k`` its weights and ``mu`` the
    compatibility; ``Q = softmax(S)`` for the next step. Gradients pass through all steps; they filter by the transposed
    kernels, so they are those of the forward pass, not an approximation.

    Parameters
    ----------
    kernels : str or sequence of Spatial and Bilateral
        A preset's name, or kernels without a compatibility of their own.
    labels : int
        C, the channels of the logits.
    iterations : int
        Mean-field steps. May be changed at any time, for example to more steps for evaluation.
    normalization : "after", "symmetric", "before" or "none"
    weights : "scalar", "label" or "matrix"
        Form of each kernel's weight: a number, one for each label, or (C, C) as in CRF-as-RNN.
    compatibility : "potts", "label" or "matrix"
        Form of mu: Potts, which is not learned; a reward for agreement in each label; or (C, C).
    learn : sequence of str
        Learned parameters: "weights", "compatibility", "sxy", "srgb".
    filtering : "auto", "lattice", "fine" or "exact"
        See `gaussian_filter`. On a CPU, spatial kernels are exact in any case.
    returns : "logits" or "probabilities"
        The scores S of the last step, for a cross-entropy, or their softmax.

    Raises
    ------
    InputError
        If an argument cannot be used.

    Examples
    --------
    >>> import torch
    >>> from atrous.meanfield import DenseCRFLayer
    >>> crf = DenseCRFLayer("deeplab-largefov", labels=21, iterations=5)
    >>> image = torch.randint(0, 256, (2, 3, 20, 30)).float()
    >>> crf(torch.randn(2, 21, 20, 30), image).shape
    torch.Size([2, 21, 20, 30])
    """

    def __init__(
        self,
        kernels: str | Sequence[Kernel],
        *,
        labels: int,
        iterations: int = 10,
        normalization: Normalization = "after",
        weights: Form = "scalar",
        compatibility: Literal["potts", "label", "matrix"] = "potts",
        learn: Sequence[str] = ("weights", "compatibility"),
        filtering: Filtering = "auto",
        returns: Literal["logits", "probabilities"] = "logits",
    ) -> None:
        super().__init__()
        check_normalization(normalization)
        given = resolve(kernels)
        kinds: list[Spatial | Bilateral] = []
        for kernel in given:
            if not isinstance(kernel, (Spatial, Bilateral)):
                raise InputError(f"kernels: expected Spatial or Bilateral, got {type(kernel).__name__}")
            if kernel.compatibility is not None:
                raise InputError("kernels: expected no compatibility of their own; pass compatibility to the layer")
            kinds.append(kernel)
        _check(labels, "labels", least=2)
        _check(iterations, "iterations", least=0)
        _check_choice(weights, "weights", ("scalar", "label", "matrix"))
        _check_choice(compatibility, "compatibility", ("potts", "label", "matrix"))
        _check_choice(filtering, "filtering", ("auto", "lattice", "fine", "exact"))
        _check_choice(returns, "returns", ("logits", "probabilities"))
        for name in learn:
            _check_choice(name, "learn", _LEARNABLE)
        self.labels, self.iterations, self.normalization = labels, iterations, normalization
        self.filtering, self.returns = filtering, returns
        self._kinds = tuple(kinds)

        def parameter(values: ArrayLike, name: str) -> nn.Parameter:
            return nn.Parameter(torch.tensor(np.asarray(values), dtype=torch.float32), requires_grad=name in learn)

        one: dict[str, NDArray[np.float64]] = {
            "scalar": np.ones(()),
            "label": np.ones(labels),
            "matrix": np.eye(labels),
        }
        self.weights = nn.ParameterList(parameter(k.weight * one[weights], "weights") for k in kinds)
        # The form -mu of the step: rewards. Potts' is the identity, but for a constant that the softmax ignores.
        self.rewards: nn.Parameter | None = None
        if compatibility != "potts":
            self.rewards = parameter(one[compatibility], "compatibility")
        self.log_sxy = nn.ParameterList(parameter(np.log(np.atleast_1d(k.sxy)), "sxy") for k in kinds)
        self.log_srgb = nn.ParameterList(
            parameter(np.log(np.atleast_1d(k.srgb)), "srgb") for k in kinds if isinstance(k, Bilateral)
        )

        if learn and not any(parameter.requires_grad for parameter in self.parameters()):
            raise InputError(
                f"learn={tuple(learn)}: these kernels with compatibility={compatibility!r} have no such parameters"
            )

    @classmethod
    def from_crfasrnn(cls, state: Mapping[str, Any], **options: Any) -> "DenseCRFLayer":
        """Return a layer with the parameters of crfasrnn_pytorch.

        Parameters
        ----------
        state : mapping
            A state dict with `spatial_ker_weights`, `bilateral_ker_weights` and `compatibility_matrix`, (C, C) each,
            under any prefix.
        **options
            Of the layer. The kernels default to those of crfasrnn_pytorch (160, 3 and 3), iterations to 5.

        Raises
        ------
        InputError
            If one of them is missing or has another shape.
        """
        if not isinstance(state, Mapping):
            raise InputError(f"state: expected a state dict, as torch.load returns it, got {type(state).__name__}")
        found = {}
        for name in ("spatial_ker_weights", "bilateral_ker_weights", "compatibility_matrix"):
            matches = [value for key, value in state.items() if key.split(".")[-1] == name]
            if len(matches) != 1 or matches[0].ndim != 2 or matches[0].shape[0] != matches[0].shape[1]:
                raise InputError(f"state: expected one square matrix {name}, got {len(matches)} tensors of this name")
            found[name] = torch.as_tensor(matches[0], dtype=torch.float32)
        kernels = options.pop("kernels", [Spatial(weight=1, sxy=3), Bilateral(weight=1, sxy=160, srgb=3)])
        settings: dict[str, Any] = {"iterations": 5, "weights": "matrix", "compatibility": "matrix"} | options
        layer = cls(kernels, labels=len(found["compatibility_matrix"]), **settings)
        with torch.no_grad():
            layer.weights[0].copy_(found["spatial_ker_weights"])
            layer.weights[1].copy_(found["bilateral_ker_weights"])
            assert layer.rewards is not None
            layer.rewards.copy_(found["compatibility_matrix"])  # which it adds, too
        return layer

    def forward(self, logits: Tensor, image: Tensor) -> Tensor:
        """Refine a batch.

        Parameters
        ----------
        logits : (B, C, *shape)
            One to three axes.
        image : (B, bands, *shape)
            Any type; values as in the files, 0 to 255 for photographs.

        Returns
        -------
        (B, C, *shape)
            In float32, or float64 for float64 logits.
        """
        self._check_shapes(logits, image)
        with torch.autocast(logits.device.type, enabled=False):
            scores = self._scores(logits if logits.dtype == torch.float64 else logits.float(), image)
        return scores.softmax(1) if self.returns == "probabilities" else scores

    def _scores(self, logits: Tensor, image: Tensor) -> Tensor:
        kernels = self._values()
        given = logits.flatten(2).transpose(1, 2)  # (B, N, C)
        compiling = torch.compiler.is_compiling()
        if learns_features(image, kernels):
            unrolled: Any = self._unrolled
            if compiling:  # a graph cannot hold filters
                unrolled = torch.compiler.disable(unrolled)  # type: ignore[no-untyped-call]
            scores = unrolled(given, image, kernels)
        elif compiling:
            # Registers an operator and imports torch._dynamo, which takes a second.
            from .compiled import mean_field_operator

            scores = mean_field_operator(given, image, kernels, self.filtering, self.iterations)
        else:
            check_values(given, image, kernels)
            terms = [make_term(image.to(given.dtype), kernel, self.filtering)[0] for kernel in kernels]
            scores = mean_field(given, terms, self.iterations)
        return scores.transpose(1, 2).reshape(logits.shape)

    @property
    def kernels(self) -> tuple[Spatial | Bilateral, ...]:
        """The kernels with their learned numbers, for `DenseCRF`."""
        found: list[Spatial | Bilateral] = []
        for place, kind in enumerate(self._kinds):
            weight, compatibility = self._numbers(place)
            sxy = _numbers(self.log_sxy[place])
            if isinstance(kind, Spatial):
                found.append(
                    Spatial(weight=weight, sxy=sxy, compatibility=compatibility, normalization=kind.normalization)
                )
            else:
                srgb = _numbers(self.log_srgb[self._band_place(place)])
                found.append(
                    Bilateral(
                        weight=weight,
                        sxy=sxy,
                        srgb=srgb,
                        compatibility=compatibility,
                        normalization=kind.normalization,
                    )
                )
        return tuple(found)

    def crf(self, image: ArrayLike | None = None, **options: Any) -> DenseCRF:
        """Return a `DenseCRF` of an (H, W, bands) image with the learned numbers; options are those of `DenseCRF`."""
        settings = {"iterations": self.iterations, "normalization": self.normalization} | options
        return DenseCRF(image, self.kernels, **settings)

    def extra_repr(self) -> str:
        """Return what `repr` shows of the layer."""
        settings = f"{self.labels} labels, {self.iterations} steps, normalization={self.normalization!r}"
        return f"{settings}, kernels={self.kernels}"

    def _unrolled(self, logits: Tensor, image: Tensor, kernels: Sequence[KernelValues]) -> Tensor:
        check_values(logits, image, kernels)
        terms = [make_term(image.to(logits.dtype), kernel, self.filtering) for kernel in kernels]
        scores = logits
        for _ in range(self.iterations):
            q = scores.softmax(-1)
            scores = logits
            for term, features in terms:
                message = scaled(product(scaled(q, term.pre_scale), features, term.filter), term.post_scale)
                scores = scores + mixed(message, term.gains)
        return scores

    def _values(self) -> list[KernelValues]:
        found, log_srgb = [], iter(self.log_srgb)
        for place, kind in enumerate(self._kinds):
            srgb = next(log_srgb) if isinstance(kind, Bilateral) else None
            normalization = kind.normalization or self.normalization
            found.append(KernelValues(self.log_sxy[place], srgb, self._gains(place), normalization))
        return found

    def _band_place(self, place: int) -> int:
        return sum(isinstance(kind, Bilateral) for kind in self._kinds[:place])

    def _gains(self, place: int) -> Tensor:
        """Return -mu W, (C, C) [to][from], or (C,) if it is diagonal."""
        weight, rewards = self.weights[place], self.rewards
        if rewards is None:
            return weight.expand(self.labels) if weight.ndim == 0 else weight
        if weight.ndim == 2:
            return rewards @ weight if rewards.ndim == 2 else rewards[:, None] * weight
        return rewards * weight

    def _numbers(self, place: int) -> tuple[float, NDArray[np.float64] | None]:
        """Return a kernel's weight and compatibility as `DenseCRF` takes them."""
        weight = self.weights[place].detach().double().cpu().numpy()
        if weight.ndim == 0 and self.rewards is None:
            return float(weight), None
        gains = self._gains(place).detach().double().cpu().numpy()
        diagonal = gains if gains.ndim == 1 else np.diagonal(gains)
        return 1.0, diagonal.copy() if gains.ndim == 1 or np.array_equal(gains, np.diag(diagonal)) else -gains

    def _check_shapes(self, logits: Tensor, image: Tensor) -> None:
        for name, given in (("logits", logits), ("image", image)):
            if not isinstance(given, Tensor):
                raise InputError(f"{name}: expected a tensor, got {type(given).__name__}; use torch.from_numpy")
        shape = tuple(logits.shape)
        if not logits.is_floating_point() or not 3 <= logits.ndim <= 5 or shape[1] != self.labels or 0 in shape:
            raise InputError(
                f"logits: expected floats (B, {self.labels}, *shape) with 1 to 3 axes, got {logits.dtype} {shape}"
            )
        if image.ndim != logits.ndim or image.shape[0] != shape[0] or image.shape[2:] != logits.shape[2:]:
            raise InputError(
                f"image: expected (B, bands, *shape) with B={shape[0]} and the shape {shape[2:]} of the logits, got"
                f" {tuple(image.shape)}"
            )
        if image.device != logits.device or self.weights[0].device != logits.device:
            raise InputError(
                f"logits, image: expected the device of the layer, {self.weights[0].device}, got {logits.device} and"
                f" {image.device}"
            )
        if image.dtype in (torch.float16, torch.bfloat16):
            raise InputError(
                f"image: expected integers, float32 or float64, got {image.dtype}, too coarse for features"
            )


def _numbers(logs: Tensor) -> float | tuple[float, ...]:
    # Standard deviations that are not learned come back as they were given: float32 has seven digits.
    values = [float(f"{value:.7g}") for value in logs.detach().double().exp().tolist()]
    return values[0] if len(values) == 1 else tuple(values)


def _check(value: object, name: str, *, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise InputError(f"{name}: expected a whole number from {least} on, got {value!r}")


def _check_choice(value: object, name: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise InputError(f"{name}: expected one of {', '.join(map(repr, known))}, got {value!r}")
