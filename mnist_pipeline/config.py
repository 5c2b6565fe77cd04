"""The configuration: one TOML file, one typed object, the flow's one parameter."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from mnist_pipeline.model.recipe import Recipe

Share = Annotated[float, Field(ge=0, lt=1)]


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
        min_length=1,
        description="Where from: mnist, idx:DIR, csv:GLOB, parquet:PATH, png:DIR, synthetic:n=…",
    )
    max_reject_fraction: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.01, description="The share of a file's rows that may be rejected."
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


class NormalizeConfig(PluginSection):
    """How pixels become numbers for the network."""

    kind: str = Field(default="scale", description="A normalizer: scale, standardize.")


class ModelConfig(PluginSection):
    """Which network; further keys are options of its plugin (`mnist-pipeline plugins show mlp`)."""

    kind: str = Field(default="mlp", description="A model: softmax, mlp.")
    hidden: list[Annotated[int, Field(ge=1)]] | None = Field(
        default=None, description="Units of each hidden layer, e.g. [512, 256]."
    )
    init: str | None = Field(default=None, description="Initialisation: he, xavier, uniform.")
    dropout: Share | None = Field(default=None, description="Share of hidden units dropped.")


class GateConfig(BaseModel):
    """What a candidate has to show; further keys are options of the rules' plugins."""

    model_config = ConfigDict(extra="allow", frozen=True, validate_default=True)

    rules: list[str] = Field(default=["floors", "mcnemar"], description="Gates, asked in order.")
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
    fail_on_hold: bool = Field(default=False, description="A held candidate ends with exit code 4.")


class PublishConfig(Section):
    """What happens with a version that passed."""

    promote: bool = Field(default=True, description="False: publish, but move no channel.")


class Config(Section):
    """Everything a training depends on."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")] = Field(
        default="digits", description="The model's name in the registry."
    )
    data: DataConfig = DataConfig()
    normalize: NormalizeConfig = NormalizeConfig()
    model: ModelConfig = ModelConfig()
    train: Recipe = Field(default=Recipe(epochs=10), description="How the network is trained.")
    gate: GateConfig = GateConfig()
    publish: PublishConfig = PublishConfig()

    def to_json(self) -> dict[str, Any]:
        """The resolved configuration, JSON-able, defaults filled in, unset options left out."""
        return self.model_dump(mode="json", exclude_none=True)
