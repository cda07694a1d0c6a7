"""How methods are declared: registries of losses, backbones, teachers, stages and report kinds, and models of options.

What the package ships and what a plugin brings (`harness.plugins`) register in the same way. A registry remembers
which plugin a name came from, since the plugin's content is part of the identity of results.
"""

from __future__ import annotations

import hashlib
import re
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_serializer,
)

from harness.errors import UserError, is_readable, nearest

T = TypeVar("T")

#: names appear on command lines, in study names and in files
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,39}")


def _readable(text: str) -> str:
    if not is_readable(text.replace("\n", " ")):
        raise ValueError("holds a control character")
    return text


#: what is shown on terminals and in reports
Text = Annotated[str, AfterValidator(_readable)]


class Frozen(BaseModel):
    """What is read from files and command lines: immutable; unknown keys, NaN and infinity are refused."""

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


class Grown(Frozen):
    """A part of a spec that has gained fields since results were stored.

    Those in ``later`` are left out of what is stored and hashed at their defaults, so that results of before keep their
    identity.
    """

    later: ClassVar[frozenset[str]] = frozenset()

    @model_serializer(mode="wrap")
    def _serialised(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = handler(self)
        for name in self.later:
            if getattr(self, name) == type(self).model_fields[name].default:
                content.pop(name, None)
        return content


class MethodOptions(Grown):
    """The options of a loss, backbone or teacher. A method without any has this class itself.

    Every option is a field with a default: ``weight: float = option(1.0, "of the loss in the total", ge=0)``.
    Options that a method has gained since results were stored stand in ``later``.
    """

    def idle(self) -> set[str]:
        """The options that have no effect at the values of the others: results do not depend on them."""
        return set()


def option(default: Any, description: str, **bounds: Any) -> Any:
    """An option: its default, what it is (a phrase for tables), and bounds as in pydantic: ``ge``, ``lt`` ..."""
    return Field(default=default, description=description, **bounds)


def check_defaults(kind: str, name: str, options: type[MethodOptions]) -> None:
    """Refuse options without a default, or whose default is out of bounds.

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


@dataclass(frozen=True)
class Plugin:
    """A file of Python that a user named: its name, where it is, its text, and the first digits of its SHA-256."""

    name: str
    path: str
    source: str
    digest: str


#: the plugin that is being loaded; None: the package itself registers
loading: ContextVar[Plugin | None] = ContextVar("plugin that is being loaded", default=None)


class Registry(dict[str, T]):
    """Things of one ``kind``, such as "loss", by name, in the order of their registration."""

    #: all registries of this process
    every: ClassVar[list[Registry[Any]]] = []

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.every.append(self)
        self._origins: dict[str, Plugin | None] = {}

    def add(self, name: str, thing: T) -> None:
        """Register a thing.

        Raises:
            UserError: the name cannot be used, or is taken.
        """
        if not _NAME.fullmatch(name):
            raise UserError(
                f"{self.kind} {name!r}: a name has up to 40 letters, digits, - and _, and begins with a letter"
            )
        if name in self:
            other = self._origins[name]
            where = "the package" if other is None else f"plugin {other.path}"
            raise UserError(f"{self.kind} {name!r}: is registered already by {where}; choose another name")
        self[name], self._origins[name] = thing, loading.get()

    def remove_of(self, plugin: Plugin) -> None:
        """Forget what a plugin registered that failed to load to its end."""
        for name in [name for name, origin in self._origins.items() if origin == plugin]:
            del self[name], self._origins[name]

    def named(self, name: str) -> T:
        """The thing of that name.

        Raises:
            UserError: there is none; names the nearest.
        """
        if name not in self:
            raise UserError(f"unknown {self.kind} {name!r}: {nearest(name, self)}")
        return self[name]

    def origin(self, name: str) -> Plugin | None:
        """The plugin that registered the thing; None: the package."""
        return self._origins[name]
