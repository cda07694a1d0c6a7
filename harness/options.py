"""Options: typed settings with a default, bounds and a description, which are read from files and command lines."""

from __future__ import annotations

import hashlib
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from harness.errors import UserError


class Frozen(BaseModel):
    """Base of all settings: immutable, unknown keys refused, NaN and infinity refused."""

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


class MethodOptions(Frozen):
    """The options of a loss, backbone or teacher. A method without any has this class itself.

    Every option is a field with a default: ``weight: float = option(1.0, "of the loss in the total", ge=0)``.
    """

    def idle(self) -> set[str]:
        """The options that have no effect at the values of the others: they do not tell results apart."""
        return set()


def option(default: Any, description: str, **bounds: Any) -> Any:
    """An option: its default, what it is (a phrase for tables), and bounds as in pydantic: ``ge``, ``lt`` ..."""
    return Field(default=default, description=description, **bounds)


def check_defaults(kind: str, name: str, options: type[MethodOptions]) -> None:
    """Refuse options without a default, or whose default is out of their own bounds.

    Raises:
        UserError: names the option.
    """
    for key, field in options.model_fields.items():
        if field.is_required():
            raise UserError(f"{kind} {name!r}: option {key!r} has no default; write {key} = option(DEFAULT, ...)")
    try:
        options.model_validate({key: field.get_default() for key, field in options.model_fields.items()})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(f"{kind} {name!r}: the default of option {where!r} is not valid: {first['msg']}") from None
