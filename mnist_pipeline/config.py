"""The configuration: one TOML file, one typed object, the flow's one parameter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from mnist_pipeline.model.recipe import Recipe

Share = Annotated[float, Field(ge=0, lt=1)]
Share1 = Annotated[float, Field(ge=0, le=1)]


def _one_or_many(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class Section(BaseModel):
    """A table of the TOML file; unknown keys are refused, values are checked."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False
    )


class PluginSection(BaseModel):
    """A table that names a plugin with `kind`; its other keys are that plugin's options."""

    model_config = ConfigDict(extra="allow", frozen=True)

    kind: str

    def options(self) -> dict[str, Any]:
        """The options for the plugin, as given."""
        return self.model_dump(exclude={"kind"}, exclude_none=True)


class DataConfig(Section):
    """What to learn from, and how much of it may be bad."""

    sources: Annotated[list[str], BeforeValidator(_one_or_many)] = Field(
        default=["synthetic:n=60000"],
        description="Where from: mnist, idx:DIR, csv:GLOB, parquet:PATH, png:DIR, synthetic:n=…",
    )
    landing: Annotated[list[str], BeforeValidator(_one_or_many)] = Field(
        default=[],
        description="The same for files that arrive by day: a bad one is left out, none is fine.",
    )
    max_reject_fraction: Share1 = Field(
        default=0.01,
        description="The share of rows that may be rejected: of a file, and of those new in a run.",
    )
    max_bad_files: Annotated[int, Field(ge=0)] = Field(
        default=10, description="Files of the landing that may be bad; of those named, none may."
    )
    exam_fraction: Share = Field(
        default=0.15, description="The share of rows frozen as exam where a source brings no test."
    )
    validation_fraction: Share = Field(
        default=0.1, description="The share of training rows kept for validation."
    )
    min_class_share: Share = Field(
        default=0.01, description="The smallest share of training rows a class may have."
    )
    use_exam: bool = Field(
        default=True, description="False: judge on validation rows only, publish nothing (tuning)."
    )

    @property
    def specs(self) -> list[str]:
        """Every place that rows come from."""
        return [*self.sources, *self.landing]

    @model_validator(mode="before")
    @classmethod
    def _landing_alone(cls, given: Any) -> Any:
        """Where files land, nothing is drawn unless somebody asks for it."""
        if isinstance(given, Mapping) and given.get("landing") and "sources" not in given:
            return {**given, "sources": []}
        return given

    @model_validator(mode="after")
    def _something_to_learn(self) -> DataConfig:
        if not self.sources and not self.landing:
            raise ValueError("data.sources and data.landing name nothing to learn from")
        return self


class NormalizeConfig(PluginSection):
    """How pixels become numbers for the network."""

    kind: str = Field(default="scale", description="A normalizer: scale, standardize, deskew.")


class ModelConfig(PluginSection):
    """Which network; further keys are options of its plugin (`mnist-pipeline plugins show mlp`)."""

    kind: str = Field(default="mlp", description="A model: softmax, mlp, cnn, ensemble.")
    hidden: list[Annotated[int, Field(ge=1)]] | None = Field(
        default=None, description="Units of each hidden layer, e.g. [512, 256]."
    )
    init: str | None = Field(default=None, description="Initialisation: he, xavier, uniform.")
    dropout: Share | None = Field(default=None, description="Share of hidden units dropped.")


class PredictConfig(Section):
    """What is asked of the network beside its answer; changing it trains nothing anew."""

    views: Literal[1, 5, 9] = Field(
        default=1,
        description="Looks at an image, 5 or 9: moved by a pixel; n cost n times as much.",
    )


class GateConfig(BaseModel):
    """What a candidate has to show; further keys are options of the rules' plugins."""

    model_config = ConfigDict(extra="allow", frozen=True, validate_default=True)

    rules: list[str] = Field(
        default=["label_disagreement", "drift", "floors", "mcnemar"],
        description="Gates, asked in order; the first two before training.",
    )
    min_accuracy: Share = Field(default=0.0, description="Below this on the exam: blocked.")
    min_recall: Share = Field(default=0.0, description="A class below this: blocked.")
    rule: Literal["better", "not_worse"] = Field(
        default="better", description="Promote what is better, or also what is not worse."
    )
    alpha: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=0.05, description="Better: chance alone would do it more rarely than this."
    )
    margin: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.002, description="Not worse: accuracy that may be lost against the best ever."
    )
    max_disagreement: Share1 = Field(
        default=0.1, description="Hold new rows that the champion reads otherwise so much more."
    )
    max_sure_disagreement: Share1 = Field(
        default=0.02, description="The same of rows that it is sure about."
    )
    max_class_disagreement: Share1 = Field(
        default=0.05, description="The same of such rows among those of one label."
    )
    max_drift: Share1 = Field(
        default=0.2, description="Hold new rows that differ so much from what it learned from."
    )
    fail_on_hold: bool = Field(default=False, description="A held candidate ends with exit code 4.")


class PublishConfig(Section):
    """What happens with a version; the table `[publish.NAME]` has the options of a publisher."""

    model_config = ConfigDict(extra="allow", frozen=True, validate_default=True)
    __pydantic_extra__: dict[str, dict[str, Any]]

    promote: bool = Field(default=True, description="False: publish, but move no channel.")
    to: Annotated[list[str], BeforeValidator(_one_or_many)] = Field(
        default=[], description="Publishers: where a version goes beside the registry."
    )

    @property
    def tables(self) -> dict[str, dict[str, Any]]:
        """The options of publishers by their names, as given."""
        return dict(self.model_extra or {})

    @property
    def meaning(self) -> dict[str, Any]:
        """What a version depends on; where else it goes changes nothing about it."""
        return {"promote": self.promote}


class Config(Section):
    """Everything a training depends on."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")] = Field(
        default="digits", description="The model's name in the registry."
    )
    data: DataConfig = DataConfig()
    normalize: NormalizeConfig = NormalizeConfig()
    model: ModelConfig = ModelConfig()
    train: Recipe = Field(default=Recipe(epochs=10), description="How the network is trained.")
    predict: PredictConfig = PredictConfig()
    gate: GateConfig = GateConfig()
    publish: PublishConfig = PublishConfig()

    def to_json(self) -> dict[str, Any]:
        """The resolved configuration, JSON-able, defaults filled in, unset options left out."""
        return self.model_dump(mode="json", exclude_none=True)

    def meaning(self) -> dict[str, Any]:
        """The same without where versions go: what manifests keep, and results depend on."""
        return {**self.to_json(), "publish": self.publish.meaning}
