"""The typed errors of refsim: each names what was given, its value and what would have been legal, and says what a command comes to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from .exits import Exit


class RefsimError(Exception):
    """Base of every error that refsim raises on purpose.

    Attributes
    ----------
    exit_code : Exit
        What a command that ends by it comes to.
    """

    exit_code: ClassVar[Exit] = Exit.BROKE


class _Illegal(RefsimError, ValueError):
    """An argument outside what is legal.

    Attributes
    ----------
    argument : str
        Name of the operand or parameter.
    value : object
        The offending value (one element, for arrays).
    legal : str
        What would have been legal, in words.
    """

    exit_code = Exit.USAGE

    def __init__(self, argument: str, value: Any, legal: str, where: str = "") -> None:
        self.argument, self.value, self.legal, self.where = argument, value, legal, where
        super().__init__(argument, value, legal, where)

    def __str__(self) -> str:
        place = f" at {self.where}" if self.where else ""
        return f"{self.argument} = {self.value!r}{place} is not legal: {self.legal}"


class DomainError(_Illegal):
    """An operand outside the domain of its plan (value, dtype, shape or row condition)."""


class PlanError(_Illegal):
    """A parameter from which no plan can be made."""


class WidthError(PlanError):
    """A plan whose intermediate provably may not fit its declared width.

    Attributes
    ----------
    intermediate : str
        The named intermediate that does not fit.
    interval : tuple of int
        What interval analysis proves of it, both ends included.
    needed, declared : str
        The width it would need and the one it has, such as ``int41`` and ``int32``.
    """

    def __init__(
        self,
        op: str,
        intermediate: str,
        interval: tuple[int, int],
        needed: str,
        declared: str,
        remedy: Callable[[], str] | str = "",
    ) -> None:
        self.op, self.intermediate, self.interval = op, intermediate, interval
        self.needed, self.declared, self._remedy = needed, declared, remedy
        super().__init__(intermediate, interval, f"within {declared}")

    def mended_by(self, remedy: Callable[[], str]) -> None:
        """Say how to find what would mend the plan, where nothing is said yet."""
        self._remedy = self._remedy or remedy

    @property
    def remedy(self) -> str:
        """What would mend the plan; searched for on the first look, since it takes many plans."""
        if callable(self._remedy):
            self._remedy = self._remedy()
        return self._remedy

    def __reduce__(self) -> Any:
        return type(self), (self.op, self.intermediate, self.interval, self.needed, self.declared, self.remedy)

    def __str__(self) -> str:
        low, high = self.interval
        text = f"{self.op}: {self.intermediate} may reach [{low}, {high}], which needs {self.needed}; it is declared {self.declared}"
        return f"{text}. {self.remedy}" if self.remedy else text


class ContentError(RefsimError):
    """A file of ours or of a user that is missing, damaged, edited or not what it says it is."""

    exit_code = Exit.WRONG


class DefinitionError(RefsimError, TypeError):
    """A definition of an op, a dialect or a rule that cannot be taken: it says what is missing, and in which file.

    Attributes
    ----------
    problem : str
        What is wrong, and what would be right.
    file : str
        The file, or the module, that was to be loaded; "" where the definition stands in code that was simply run.
    line : int
        The line of it that raised the error; 0 where none is known.
    """

    exit_code = Exit.USAGE

    def __init__(self, problem: str, file: str = "", line: int = 0) -> None:
        self.problem, self.file, self.line = problem, file, line
        super().__init__(problem, file, line)

    def __str__(self) -> str:
        place = f"{self.file}, line {self.line}" if self.file and self.line else self.file
        return f"{place}: {self.problem}" if place else self.problem


class TargetError(RefsimError):
    """An implementation under test that could not be loaded or did not answer as the contract asks."""


class UsageError(RefsimError):
    """A command line that names something that is not there, or an output where none can be; nothing was run."""

    exit_code = Exit.USAGE


class OutputError(RefsimError):
    """A file that could not be written: a full disk, for instance."""

    exit_code = Exit.UNWRITTEN


class MissingExtraError(RefsimError):
    """A library that only an extra of this distribution installs is not there.

    Attributes
    ----------
    library, extra : str
    """

    exit_code = Exit.INCOMPLETE

    def __init__(self, library: str, extra: str) -> None:
        self.library, self.extra = library, extra
        super().__init__(library, extra)

    def __str__(self) -> str:
        return f"{self.library} is not installed; the extra {self.extra!r} brings it: pip install '.[{self.extra}]' in a checkout of refsim"
