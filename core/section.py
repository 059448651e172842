"""What every section of `params.yaml` is made from."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A part of `params.yaml`: frozen, and closed to keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")
