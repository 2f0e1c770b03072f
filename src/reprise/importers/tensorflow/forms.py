"""The shapes of a model's parameters as functions of its sizes."""

import dataclasses
import itertools
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import jax

from reprise.errors import UsageError
from reprise.importers.tensorflow.names import DRAWN
from reprise.models.registry import Model, ModelShape, get_model

Shape = tuple[int, ...]
Sizes = Mapping[str, int]

FREE = ("maxlen", "hidden_size", "num_interest")  # the table's width is embedding_dim


@dataclass(frozen=True)
class Forms:
    """The parameters' shapes as functions of the unknown sizes.

    Attributes:
        parameters: those to match; all_parameters has those that are initialised, too.
        corners: the shapes by parameter for each unknown size at 1 or 2. Axes are multilinear in
            the sizes (K*d, 4*h, d+h), so these determine all other shapes.
        untold: sizes that the model depends on, but no shape reveals.
        fixed: the known sizes; those of `untold` as the user gave them, or by default.
    """

    model: str
    fixed: Sizes
    unknown: tuple[str, ...]
    corners: Mapping[tuple[int, ...], Mapping[str, Shape]]
    parameters: tuple[str, ...]
    untold: tuple[str, ...] = ()

    @property
    def all_parameters(self) -> list[str]:
        """Return all parameters of the model."""
        return list(next(iter(self.corners.values())))

    def sizes_of(self, parameter: str) -> tuple[str, ...]:
        """Return the unknown sizes that the parameter's shape depends on."""
        return tuple(
            name
            for place, name in enumerate(self.unknown)
            if any(
                shapes[parameter] != self.corners[_flipped(corner, place)][parameter]
                for corner, shapes in self.corners.items()
            )
        )

    def shape(self, parameter: str, sizes: Sizes) -> Shape:
        """Return the parameter's shape; `sizes` must have all sizes it depends on."""
        total = [0] * len(next(iter(self.corners.values()))[parameter])
        for corner, shapes in self.corners.items():
            weight = 1
            for name, end in zip(self.unknown, corner, strict=True):
                size = sizes.get(name, 1)
                weight *= size - 1 if end == 2 else 2 - size
            axes = shapes[parameter]
            total = [before + weight * axis for before, axis in zip(total, axes, strict=True)]
        return tuple(total)


def _flipped(corner: tuple[int, ...], place: int) -> tuple[int, ...]:
    return (*corner[:place], 3 - corner[place], *corner[place + 1 :])


def forms_of(name: str, embedding_dim: int, kept: Sizes, mapped: Collection[str]) -> Forms:
    """Return the model's forms. If the model refuses some sizes (a hidden_size other than
    embedding_dim, a number of interests), try again with fewer unknown sizes.

    kept: values for sizes that no shape reveals; mapped: parameters that must be matched, because
    the user maps them to variables.
    """
    width = {"embedding_dim": embedding_dim}
    tied = width | {"hidden_size": embedding_dim}
    single = {"num_interest": kept["num_interest"]}
    attempts = [width, tied, width | single, tied | single]
    for fixed in attempts:
        unknown = tuple(size for size in FREE if size not in fixed)
        try:
            corners = {
                corner: _shapes(get_model(name), fixed | dict(zip(unknown, corner, strict=True)))
                for corner in itertools.product((1, 2), repeat=len(unknown))
            }
        except UsageError:
            if fixed is attempts[-1]:
                raise
            continue
        drawn = DRAWN.get(name, frozenset()) - set(mapped)
        every = tuple(next(iter(corners.values())))
        parameters = tuple(parameter for parameter in every if parameter not in drawn)
        forms = Forms(name, fixed, unknown, corners, parameters)
        silent = {
            size for size in unknown if not any(size in forms.sizes_of(p) for p in parameters)
        }
        # Every model depends on maxlen; on other sizes, the initialised parameters may.
        untold = {size for size in silent if any(size in forms.sizes_of(p) for p in drawn)}
        untold |= silent & {"maxlen"}
        fixed = {**fixed, **{size: kept[size] for size in silent}}
        ordered = tuple(size for size in FREE if size in untold)
        return dataclasses.replace(forms, fixed=fixed, untold=ordered)
    raise AssertionError("the last attempt returns or raises")


def _shapes(model: Model, sizes: Sizes) -> dict[str, Shape]:
    shape = ModelShape(
        sizes["maxlen"], sizes["embedding_dim"], sizes["hidden_size"], sizes["num_interest"]
    )
    made = jax.eval_shape(lambda key: model.init(key, shape), jax.random.key(0))
    return {name: tuple(array.shape) for name, array in made.items()}
