"""The one door to plugins of other packages: what goes wrong behind it goes by their name.

A stranger's code may raise anything, exit, or return what its seam does not know. So every method
of a plugin that `plugins.build` hands out is called through here, and whatever is not explained
becomes a `BrokenPluginError` with plugin and package. What a method returns is taken in by the
function that its seam has declared for it:

    @received("gate", "judge")
    def finding_of(info: PluginInfo, finding: Any, case: Case) -> Finding: ...

Nothing of that happens to the plugins in here: they have their tests.
"""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Self, TypeVar

from mnist_pipeline.announced import PluginInfo
from mnist_pipeline.errors import OutsideError, explained, told

OURS = "mnist-pipeline"
"""The package whose plugins are no strangers: what goes wrong in them is a bug of this program."""

Receiver = TypeVar("Receiver", bound=Callable[..., Any])

_receivers: dict[tuple[str, str], Callable[..., Any]] = {}
_interruptions: list[type[BaseException]] = [KeyboardInterrupt]
_at_work: ContextVar[frozenset[PluginInfo]] = ContextVar("at_work", default=frozenset())


class BrokenPluginError(OutsideError):
    """A plugin that does not do what its seam promises, told with its package."""

    @classmethod
    def of(cls, info: PluginInfo, does: str, cause: BaseException | None = None) -> Self:
        """`does` goes on where "the source 'x.v1'" begins."""
        return cls(
            f"the {info.seam} {info.name!r} {does}",
            package=info.origin,
            cause=told(cause) if cause else None,
            remedy=f"reinstall or remove the package {info.package}, or ask its authors",
        )

    @classmethod
    def breach(cls, info: PluginInfo, flaw: str) -> Self:
        """For a result that is not what the seam's protocol says; `flaw` tells why."""
        return cls.of(info, f"breaks its protocol: {flaw}")


def interrupted_by(*kinds: type[BaseException]) -> None:
    """Declares what may arrive in the midst of anybody's code, and is nobody's fault."""
    _interruptions.extend(kinds)


def is_unexplained(error: BaseException) -> bool:
    """Whether nobody has said yet whose fault it is; Ctrl-C and a full disk are no plugin's."""
    if isinstance(error, Exception):
        return explained(error).exit_code == 1
    return not isinstance(error, tuple(_interruptions))


def received(seam: str, method: str) -> Callable[[Receiver], Receiver]:
    """Declares who takes in what a method of strangers returns.

    That function is given the plugin's info, the result and the arguments of the call, and returns
    what the caller gets; it raises `BrokenPluginError.breach` for what the seam does not know.
    """

    def declare(receiver: Receiver) -> Receiver:
        _receivers[seam, method] = receiver
        return receiver

    return declare


@contextmanager
def calling(info: PluginInfo, does: str = "went wrong") -> Iterator[None]:
    """Inside, a plugin's code runs.

    Raises:
        BrokenPluginError: it is another package's, and raised what nobody has explained; `does` is
            the headline's end.
    """
    if info.package == OURS:
        yield
        return
    before = _at_work.set(_at_work.get() | {info})
    try:
        yield
    except BaseException as error:
        if is_unexplained(error):
            raise BrokenPluginError.of(info, does, error) from error
        raise
    finally:
        _at_work.reset(before)


def guarded(info: PluginInfo, plugin: Any) -> Any:
    """The same plugin, each of whose methods is called through here; one of ours as it is.

    It stays an instance of its class, with its options as fields.
    """
    if info.package != OURS:
        # Past `frozen`; the subclass has the same fields in the same places.
        made_by: Any = type(plugin)
        object.__setattr__(plugin, "__class__", _guarded_class(info, made_by))
    return plugin


@functools.cache
def _guarded_class(info: PluginInfo, plugin: Any) -> type[Any]:
    names: dict[str, Any] = {"__slots__": (), "__module__": plugin.__module__}
    names |= {"__qualname__": plugin.__qualname__, "__doc__": plugin.__doc__}
    names["__reduce_ex__"] = lambda self, _: (_guarded_again, (info.seam, info.name, bare(self)))

    def bare(self: Any) -> Any:
        same = object.__new__(plugin)
        for field in plugin.__dataclass_fields__:
            object.__setattr__(same, field, getattr(self, field))
        return same

    for name in dir(plugin):
        found = inspect.getattr_static(plugin, name)
        if name.startswith("_") or name in plugin.__dataclass_fields__:
            continue
        if isinstance(found, types.FunctionType):
            names[name] = _through_here(info, name, found)
        elif isinstance(found, property) and found.fget:
            names[name] = property(_through_here(info, name, found.fget))
    return types.new_class(plugin.__name__, (plugin,), exec_body=lambda body: body.update(names))


def _guarded_again(seam: str, name: str, plugin: Any) -> Any:
    """What unpickling calls, in a process that trains a member of an ensemble."""
    from mnist_pipeline.plugins import resolve

    return guarded(resolve(seam, name), plugin)


def _through_here(info: PluginInfo, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        if info in _at_work.get():  # it calls itself: what it raises and catches is its own affair
            return method(self, *args, **kwargs)
        with calling(info):
            result = method(self, *args, **kwargs)
            receiver = _receivers.get((info.seam, name))
            return receiver(info, result, *args, **kwargs) if receiver else result

    return call
