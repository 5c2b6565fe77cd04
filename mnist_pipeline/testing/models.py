"""What a model promises."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_pipeline.model.arrays import Parameters
from mnist_pipeline.model.deskew import Deskew
from mnist_pipeline.model.networks import Model
from mnist_pipeline.model.normalize import FittedNormalizer, Normalizer, Standardize
from mnist_pipeline.model.predictor import Predictor
from mnist_pipeline.testing.promises import Promises, samples

CLASSES = 10
ROWS = 4
STEP = 1e-6
"""Length of the step by which gradients are checked, in float64."""
SLOPE_TOLERANCE = 0.02
"""Relative; a kink of a ReLU may lie within the step, a wrong formula is off by far more."""


def check_model(model: Model) -> None:
    """Has it start, learn a step and answer, on drawn digits, and looks at what comes out.

    Raises:
        BrokenPromiseError: which promise does not hold.
    """
    promises = Promises("model", model)
    promises.options()
    images, labels = samples()
    with promises.working("initialise"):
        parameters = model.initialise(images.shape[1], CLASSES, np.random.default_rng(1))
        again = model.initialise(images.shape[1], CLASSES, np.random.default_rng(1))
    _check_parameters(promises, "initialise", parameters)
    promises(_same(parameters, again), "initialise depends on its generator alone")
    lanes = model.lanes(ROWS)
    promises(isinstance(lanes, int) and lanes >= 1, "lanes is a whole number from 1", lanes)
    fitted = _fitted(Standardize(), images)
    _check_gradients(promises, model, parameters, fitted.transform(images), labels)
    # A start may be all zeros; what is compiled has learned something.
    rng = np.random.default_rng(2)
    learned: Parameters = {
        name: (a + 0.05 * rng.standard_normal(a.shape)).astype(np.float32)
        for name, a in parameters.items()
    }
    with promises.working("calibrate"):
        calibrated = model.calibrate(_frozen(learned), iter([fitted.transform(images)]))
    _check_parameters(promises, "calibrate", calibrated, like=parameters)
    _check_answers(promises, model, calibrated, _fitted(Deskew(), images), images)
    _check_alone(promises, model, calibrated, fitted, images)
    _check_unlit(promises, model, calibrated, fitted, images)


def _fitted(plugin: Normalizer, images: NDArray[np.uint8]) -> FittedNormalizer:
    return FittedNormalizer("", plugin, plugin.fit(iter([images])))


def _frozen(parameters: Parameters) -> Parameters:
    """A copy that nobody can write into."""
    copies = {name: array.copy() for name, array in parameters.items()}
    for array in copies.values():
        array.setflags(write=False)
    return copies


def _same(one: Parameters, two: Parameters) -> bool:
    return list(one) == list(two) and all(np.array_equal(one[n], two[n]) for n in one)


def _check_parameters(
    promises: Promises, what: str, found: Any, *, like: Parameters | None = None
) -> None:
    arrays = isinstance(found, dict) and all(isinstance(a, np.ndarray) for a in found.values())
    promises(arrays and found, f"{what} returns arrays by name", type(found).__name__)
    for name, array in found.items():
        real = array.dtype == np.float32 and np.isfinite(array).all()
        promises(real, f"{what} returns finite float32 parameters", f"{name}: {array.dtype}")
    if like is not None:
        shapes = {name: found[name].shape for name in like if name in found}  # it may add some
        same = shapes == {name: array.shape for name, array in like.items()}
        promises(same, f"{what} keeps names and shapes of the parameters", shapes)


def _check_gradients(
    promises: Promises, model: Model, start: Parameters, x: Any, labels: NDArray[np.int64]
) -> None:
    """In float64, where a difference quotient tells a right gradient from a wrong one."""
    rng = np.random.default_rng(3)
    theta: Parameters = {
        name: a.astype(np.float64) + 0.01 * rng.standard_normal(a.shape)
        for name, a in start.items()
    }
    x = x[:ROWS].astype(np.float64)
    x.setflags(write=False)

    def loss_at(
        parameters: Parameters, filled: float, rows: int = ROWS
    ) -> tuple[float, Parameters]:
        gradients = {name: np.full(a.shape, filled) for name, a in parameters.items()}
        with promises.working("loss_and_gradients (parameters, x and labels are read only)"):
            loss = model.loss_and_gradients(
                _frozen(parameters),
                x[:rows],
                labels[:rows],
                gradients,
                label_smoothing=0.05,
                rng=np.random.default_rng(4),
            )
        number = isinstance(loss, float | np.floating) and np.isfinite(loss)
        promises(number, "loss_and_gradients returns the loss, a finite float", loss)
        return float(loss), gradients

    _, gradients = loss_at(theta, np.nan)
    finite = all(np.isfinite(g).all() for g in gradients.values())
    promises(finite, "loss_and_gradients overwrites every number in gradients, finite")
    overwritten = _same(gradients, loss_at(theta, 7.0)[1])
    promises(overwritten, "loss_and_gradients gives the same every time")
    loss_at(theta, np.nan, rows=1)  # the last batch of an epoch is shorter
    for name in theta:
        direction = rng.standard_normal(theta[name].shape)
        direction /= np.linalg.norm(direction)
        slope = float((gradients[name] * direction).sum())
        ahead, behind = (
            loss_at({**theta, name: theta[name] + step * direction}, 0.0)[0]
            for step in (STEP, -STEP)
        )
        measured = (ahead - behind) / (2 * STEP)
        off = abs(slope - measured)
        right = off <= SLOPE_TOLERANCE * max(abs(slope), abs(measured)) + 1e-6
        found = f"{name}: {slope:.6g}, the difference quotient is {measured:.6g}"
        promises(right, "gradients are ∂loss/∂parameters", found)


def _check_answers(
    promises: Promises,
    model: Model,
    parameters: Parameters,
    normalizer: FittedNormalizer,
    images: NDArray[np.uint8],
) -> tuple[Predictor, NDArray[np.float32]]:
    """The predictor and its answers, which are probabilities."""
    with promises.working("compile (parameters are read only)"):
        predictor = model.compile(_frozen(parameters), normalizer)
    is_one = isinstance(predictor, Predictor)
    promises(is_one, "compile returns a Predictor", type(predictor).__name__)
    with promises.working("predicting"):
        answers: Any = predictor(images)
        nothing = predictor(images[:0])
    array = isinstance(answers, np.ndarray)
    found = f"{answers.dtype} {answers.shape}" if array else type(answers).__name__
    right = found == f"float32 {(len(images), CLASSES)}"
    promises(right, "a predictor answers with (N, classes) float32", found)
    promises(nothing.shape == (0, CLASSES), "a predictor takes no images, too", nothing.shape)
    sums = answers.sum(axis=1)
    likely = np.isfinite(answers).all() and (answers >= 0).all() and np.allclose(sums, 1, atol=1e-4)
    promises(likely, "answers are probabilities: from 0 on, with the sum 1", sums[:3])
    return predictor, answers


def _check_alone(
    promises: Promises,
    model: Model,
    parameters: Parameters,
    normalizer: FittedNormalizer,
    images: NDArray[np.uint8],
) -> None:
    """An answer depends on its image and on what was compiled, and on nothing else."""
    predictor, answers = _check_answers(promises, model, parameters, normalizer, images)
    with promises.working("predicting"):
        alone = predictor(images[5:6])
    off = float(np.abs(alone[0] - answers[5]).max())
    same_bits = "an image gives the same bits alone as among others"
    promises(off == 0, f"{same_bits} (products have the rows as their last axis)", f"off by {off}")
    given = {name: array.copy() for name, array in parameters.items()}
    again = model.compile(given, normalizer)
    for array in given.values():
        array[...] = 0
    independent = np.array_equal(again(images), answers)
    promises(independent, "a predictor does not depend on the parameters any more")


def _check_unlit(
    promises: Promises,
    model: Model,
    parameters: Parameters,
    normalizer: FittedNormalizer,
    images: NDArray[np.uint8],
) -> None:
    images = images[2:]  # the second one is lit everywhere
    lit = np.asarray(images.any(axis=0))
    with promises.working("zero_unlit (parameters are read only)"):
        zeroed = model.zero_unlit(_frozen(parameters), lit, normalizer)
    _check_parameters(promises, "zero_unlit", zeroed, like=parameters)
    with promises.working("predicting"):
        before = model.compile(parameters, normalizer)(images)
        after = model.compile(zeroed, normalizer)(images)
    off = float(np.abs(before - after).max())
    kept = "zero_unlit keeps answers to images that are dark there"
    promises(off <= 1e-3, kept, f"off by {off:.3g}")
    with promises.working("dead_units"):
        share = model.dead_units(_frozen(parameters), normalizer.transform(images))
    promises(0 <= share <= 1, "dead_units is a share", share)
