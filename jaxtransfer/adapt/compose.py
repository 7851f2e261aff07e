"""Several methods at once: their rules one after another, their new leaves side by side."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
from jaxtyping import Array

from jaxtransfer import partition
from jaxtransfer.adapt.method import Interceptor, Method
from jaxtransfer.errors import AdaptationError, RuleError
from jaxtransfer.models.model import Model
from jaxtransfer.partition import DELTA
from jaxtransfer.trees import Rule


@dataclasses.dataclass(frozen=True, kw_only=True)
class Compose(Method):
    """Methods that act together; written `LoRA() | BitFit()`.

    The first rule that matches a leaf decides, so the order of the methods matters where their
    rules overlap.

    Attributes:
      methods: the methods, each of one phase.
    """

    methods: tuple[Method, ...]
    name: ClassVar[str] = "compose"

    def __post_init__(self):
        super().__post_init__()
        for method in self.methods:
            if len(method.phases()) != 1:
                raise AdaptationError(
                    f"method {method.name!r} has {len(method.phases())} phases and cannot act"
                    " beside another one; compose inside its last phase (LPFT(then=...))"
                )

    @property
    def suggested_learning_rates(self) -> tuple[float, ...]:  # type: ignore[override]
        """The grid of the first method that has one."""
        return next(
            (m.suggested_learning_rates for m in self.methods if m.suggested_learning_rates), ()
        )

    def init(self, rng: Array, model: Model) -> dict[str, Any]:
        """The new leaves of all methods.

        Raises:
          AdaptationError: if two methods bring the same leaf.
        """
        parts = [m.init(jax.random.fold_in(rng, i), model) for i, m in enumerate(self.methods)]
        try:
            return partition.join(*parts)
        except RuleError as error:
            names = [method.name for method in self.methods]
            raise AdaptationError(
                f"methods {names} clash on model {model.name!r}: {error}"
            ) from None

    def rules(self, model: Model) -> tuple[Rule, ...]:
        """All rules in order, equal ones once."""
        return tuple(dict.fromkeys(rule for method in self.methods for rule in method.rules(model)))

    def effective(
        self, params: Mapping[str, Any], delta: Mapping[str, Any], model: Model
    ) -> Mapping[str, Any]:
        """Each method's effect on the weights, one after another."""
        for method in self.methods:
            params = method.effective(params, delta, model)
        return params

    def interceptor(self, model: Model, *, train: bool = False) -> Interceptor | None:
        """All interceptors, the first method's innermost."""
        given = [method.interceptor(model, train=train) for method in self.methods]
        parts = [part for part in given if part is not None]
        return _chain(parts) if parts else None

    def merge(self, variables: Mapping[str, Any], model: Model) -> dict[str, Any]:
        """Folds each method's own leaves into the base, one after another."""
        variables = dict(variables)
        delta = variables.pop(DELTA, {})
        for method in self.methods:
            own = jax.eval_shape(lambda m=method: m.init(jax.random.key(0), model))
            part = _restrict(delta, own)
            variables = method.merge({**variables, DELTA: part} if part else variables, model)
        return variables


def compose(*methods: Method) -> Method:
    """Composes methods; nested compositions are flattened and equal methods taken once.

    >>> from jaxtransfer.adapt.freezing import BitFit, LinearProbe
    >>> [m.name for m in (LinearProbe() | BitFit() | LinearProbe()).methods]
    ['linear_probe', 'bitfit']
    """
    flat = [
        m for given in methods for m in (given.methods if isinstance(given, Compose) else (given,))
    ]
    unique = tuple(dict.fromkeys(flat))
    return unique[0] if len(unique) == 1 else Compose(methods=unique)


def _chain(parts: list[Interceptor]) -> Interceptor:
    def interceptor(next_fun: Any, args: Any, kwargs: Any, context: Any) -> Any:
        call = next_fun
        for part in parts:
            call = _bind(part, call, context)
        return call(*args, **kwargs)

    return interceptor


def _bind(part: Interceptor, call: Any, context: Any) -> Any:
    return lambda *args, **kwargs: part(call, args, kwargs, context)


def _restrict(delta: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _restrict(delta[key], node) if isinstance(node, Mapping) else delta[key]
        for key, node in own.items()
    }
