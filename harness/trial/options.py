"""Parts of a spec that hold the options of registered methods, and options by their dotted names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Self, get_args

from pydantic import (
    BaseModel,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from harness.registry import Frozen, Grown, MethodOptions, Registry


class WithMethods(Grown):
    """A part of a spec that holds the options of registered methods, beside its own fields, each under its name.

    ``{"alpha": 1, "DKD": {"others": 4}}`` is the same in files, on command lines and in the store. They are kept as
    plain values, which a process can read that has not loaded the plugin yet.
    """

    #: whose methods
    registries: ClassVar[tuple[Registry[Any], ...]] = ()
    methods: dict[str, dict[str, Any]] = Field(default={}, description="options of methods by name", exclude=True)

    @classmethod
    def options_of(cls, name: str) -> type[MethodOptions] | None:
        """The options that stand under a method's name; None: there are none of that name."""
        method = next((registry[name] for registry in cls.registries if name in registry), None)
        if method is None or getattr(method, "flat", False) or not method.options.model_fields:
            return None
        options: type[MethodOptions] = method.options
        return options

    @model_validator(mode="before")
    @classmethod
    def _by_name(cls, content: Any) -> Any:
        if not isinstance(content, Mapping):
            return content
        methods = dict(content.get("methods", {}))
        for name in [name for name in content if name not in cls.model_fields and cls.options_of(name)]:
            methods[name] = content[name]
        plain = {name: value for name, value in content.items() if name not in methods}
        return {**plain, "methods": {name: cls._checked(name, values) for name, values in methods.items()}}

    @classmethod
    def _checked(cls, name: str, values: Any) -> dict[str, Any]:
        options = cls.options_of(name)
        if options is None:
            return dict(values)
        try:
            return options.model_validate(values).model_dump()
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(map(str, (name, *first["loc"])))
            raise ValueError(f"{where}: {first['msg']}, not {str(first['input'])[:40]!r}") from None

    @model_serializer(mode="wrap")
    def _serialised(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {**super()._serialised(handler), **self.methods}

    def method(self, name: str) -> dict[str, Any]:
        """The options of a method, all of them."""
        options = self.options_of(name)
        return dict(options.model_validate(self.methods.get(name, {}))) if options else {}

    def stored(self, *names: str) -> dict[str, dict[str, Any]]:
        """The options of these methods as they are stored and hashed, without those of ``later`` at their defaults."""
        settled = {name: self._checked(name, self.methods.get(name, {})) for name in names if self.options_of(name)}
        return {name: values for name, values in settled.items() if values}

    def with_methods(self, *names: str) -> Self:
        """The same with the options of these methods alone."""
        return self.model_copy(update={"methods": self.stored(*names)})


def option_names(model: type[BaseModel]) -> list[str]:
    """The dotted names of all fields of a spec, parts of parts and options of registered methods included."""
    names: list[str] = []
    for name, field in model.model_fields.items():
        inner = field.annotation
        if name == "outside":  # no setting: it follows from what is loaded
            continue
        if name == "methods" and issubclass(model, WithMethods):
            for registry in model.registries:
                for method in registry:
                    options = model.options_of(method)
                    names += [] if options is None else [f"{method}.{key}" for key in options.model_fields]
        elif isinstance(inner, type) and issubclass(inner, BaseModel):
            names += [f"{name}.{key}" for key in option_names(inner)]
        else:
            names.append(name)
    return names


def number_of(model: type[BaseModel], name: str) -> type[int] | type[float] | None:
    """Whether an option, by its dotted name, takes whole or real numbers; None: something else."""
    head, _, rest = name.partition(".")
    field = model.model_fields.get(head)
    if rest and field is not None and isinstance(field.annotation, type):
        return number_of(field.annotation, rest)
    if rest and issubclass(model, WithMethods) and (options := model.options_of(head)) is not None:
        return number_of(options, rest)
    assert field is not None
    kinds = {kind if isinstance(kind, type) else type(kind) for kind in _kinds(field.annotation)}
    return float if float in kinds else int if int in kinds else None


def _kinds(annotation: Any) -> Iterator[Any]:
    """The types and values that an annotation allows, such as those of ``float | None`` and ``Literal[2, 3]``."""
    inner = get_args(annotation)
    if not inner:
        yield annotation
    for part in inner:
        yield from _kinds(part)


def option_of(spec: Frozen, name: str) -> tuple[Any, str]:
    """Value and description of an option by its dotted name."""
    head, _, rest = name.partition(".")
    if rest and head in type(spec).model_fields:
        return option_of(getattr(spec, head), rest)
    if rest:
        assert isinstance(spec, WithMethods)
        options = spec.options_of(head)
        assert options is not None
        return spec.method(head)[rest], options.model_fields[rest].description or ""
    return getattr(spec, name), type(spec).model_fields[name].description or ""
