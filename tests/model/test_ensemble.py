from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
from toy_digits import CLASSES, PIXELS, toy_digits

from mnist_pipeline import plugins
from mnist_pipeline.errors import ConfigError
from mnist_pipeline.model.arrays import FlatArrays
from mnist_pipeline.model.cnn import Cnn
from mnist_pipeline.model.ensemble import Ensemble, own
from mnist_pipeline.model.networks import Model
from mnist_pipeline.model.normalize import FittedNormalizer, Scale
from mnist_pipeline.model.perceptrons import Mlp

SCALE = FittedNormalizer("scale.v1", Scale(), {"pixels": PIXELS})
IMAGES, LABELS = toy_digits(700)
MIXED = Ensemble(({"kind": "mlp", "hidden": [9]}, {"kind": "cnn", "stages": [[3], [4]]}), 3)


def build(**options: Any) -> Ensemble:
    built: Ensemble = plugins.build("model", "ensemble", options)
    return built


def initialised(model: Model, seed: int = 0) -> dict[str, Any]:
    start = model.initialise(PIXELS, CLASSES, np.random.default_rng(seed))
    return model.calibrate(start, [SCALE.transform(IMAGES[:50]).astype(np.float32)])


def test_options_are_resolved_and_survive_json() -> None:
    ensemble = build(members=4, member={"kind": "cnn", "stages": [[3], [4]]})
    assert ensemble.member == {"kind": "cnn.v1", **dataclasses.asdict(Cnn(((3,), (4,))))}
    assert ensemble.specs == (Cnn(((3,), (4,))),) * 4
    assert ensemble.member_kinds == ("cnn.v1",) * 4
    stored = json.loads(json.dumps(dataclasses.asdict(ensemble)))
    assert plugins.build("model", "ensemble.v1", stored) == ensemble


def test_kinds_of_a_list_are_taken_in_turn() -> None:
    assert MIXED.member_kinds == ("mlp.v1", "cnn.v1", "mlp.v1")
    assert [type(spec) for spec in MIXED.specs] == [Mlp, Cnn, Mlp]
    stored = json.loads(json.dumps(dataclasses.asdict(MIXED)))
    assert plugins.build("model", "ensemble.v1", stored) == MIXED


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "needs the option 'member'"),
        ({"member": {"hidden": [3]}}, "a member needs a kind"),
        ({"member": {"kind": "mlpp"}}, "no model called 'mlpp'"),
        ({"member": {"kind": "mlp", "hiden": [3]}}, "no option 'hiden'"),
        ({"member": {"kind": "mlp", "hidden": [0]}}, "hidden layer"),
        ({"member": {"kind": "ensemble", "member": {"kind": "mlp"}}}, "cannot be an ensemble"),
        ({"member": {"kind": "mlp"}, "members": 0}, "1 to 100 members"),
        ({"member": [{"kind": "mlp"}] * 4}, "3 members cannot be of 4 kinds"),
        ({"member": []}, "3 members cannot be of 0 kinds"),
    ],
)
def test_mistakes_are_explained(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        build(**options)


def test_a_member_has_the_same_seed_in_a_larger_ensemble() -> None:
    three, five = (Ensemble({"kind": "mlp"}, members).seeds(7) for members in (3, 5))
    assert five[:3] == three
    assert len({*five, *Ensemble({"kind": "mlp"}, 5).seeds(8)}) == 10


def test_answers_are_the_mean_of_the_members_bit_for_bit() -> None:
    parameters = initialised(MIXED)
    together = MIXED.compile(parameters, SCALE)
    p, q, r = (
        spec.compile(own(parameters, n), SCALE)(IMAGES) for n, spec in enumerate(MIXED.specs)
    )
    found = together(IMAGES)
    assert np.array_equal(found, (p + q + r) / np.float32(3))
    assert not np.array_equal(p, r)  # the same kind, another start
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)


def test_an_image_has_the_same_bits_at_every_place() -> None:
    predictor = MIXED.compile(initialised(MIXED), SCALE)
    whole = predictor(IMAGES)
    for rows in (slice(0, 1), slice(699, 700), slice(3, 311), slice(None, None, -1)):
        assert np.array_equal(predictor(IMAGES[rows]), whole[rows])
    assert predictor(IMAGES[:0]).shape == (0, CLASSES)


def test_each_member_gets_the_gradient_that_it_would_get_alone() -> None:
    model = Ensemble(({"kind": "mlp", "hidden": [9]}, {"kind": "softmax"}), 2)
    parameters = FlatArrays.of(model.initialise(PIXELS, CLASSES, np.random.default_rng(1)), float)
    gradients = parameters.zeros_like()
    x, rng = SCALE.transform(IMAGES[:20]).astype(float), np.random.default_rng(2)
    options: dict[str, Any] = {"label_smoothing": 0.1, "rng": rng}
    loss = model.loss_and_gradients(parameters.views, x, LABELS[:20], gradients.views, **options)
    alone = 0.0
    for n, spec in enumerate(model.specs):
        mine = own(parameters.views, n)
        expected = {name: np.empty_like(array) for name, array in mine.items()}
        alone += spec.loss_and_gradients(mine, x, LABELS[:20], expected, **options)
        for name, gradient in expected.items():
            assert np.array_equal(gradients.views[f"{n}.{name}"], gradient)
    assert loss == alone


def test_what_is_done_to_a_network_is_done_to_each_member() -> None:
    parameters = initialised(MIXED)
    lit = np.arange(PIXELS) % 3 > 0
    zeroed = MIXED.zero_unlit(parameters, lit, SCALE)
    assert not zeroed["0.W1"][:, ~lit].any()
    assert not zeroed["2.W1"][:, ~lit].any()
    assert np.array_equal(zeroed["1.lit"], lit)
    assert {"1.mean1", "1.variance2"} <= set(parameters)  # calibrated
    x = SCALE.transform(IMAGES[:50]).astype(np.float32)
    dead = dict(parameters)
    dead["2.b1"] = np.full(9, -1e3, np.float32)
    assert MIXED.dead_units(dead, x) == 1
    assert MIXED.dead_units(parameters, x) < 1
