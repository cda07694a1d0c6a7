"""The base of what is read from files and command lines: typed, immutable, with nothing unknown in it.

Light to import: lists and help texts need no engine.
"""

from __future__ import annotations

import hashlib
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationInfo, field_validator

from harness.errors import is_readable


def _readable(text: str) -> str:
    if not is_readable(text.replace("\n", " ")):
        raise ValueError("holds a control character")
    return text


#: what is shown on terminals and in reports
Text = Annotated[str, AfterValidator(_readable)]


class Frozen(BaseModel):
    """Immutable, unknown keys refused, NaN and infinity refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _is_no_number(cls, value: object, info: ValidationInfo) -> object:
        """Refuse ``true``, ``yes`` and ``on`` where a number is meant, which Python takes for 1."""
        if isinstance(value, bool) and cls.model_fields[str(info.field_name)].annotation is not bool:
            raise ValueError("true and false have no meaning here")
        return value

    def key(self) -> str:
        """A hex digest of the content, the same in every process."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:20]
