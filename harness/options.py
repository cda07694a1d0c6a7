"""Options of methods: settings with a default, bounds and a description."""

from __future__ import annotations

from typing import Any

from pydantic import Field, ValidationError

from harness.errors import UserError
from harness.frozen import Frozen


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
