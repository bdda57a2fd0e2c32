"""Jinja2's sandbox: the operator's template and the variables come in, a text goes out.

A template has no loader, so it can read no file, and data are only ever values: nothing in them is evaluated. It is the
operator's own, so the limits here are for mistakes, not for malice: steps of loops and macros are counted, since they
are the same for each attempt, unlike the time. Only this module imports jinja2, which is an extra.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from types import TracebackType
from typing import Any

from jinja2 import ChainableUndefined, Template, TemplateSyntaxError, Undefined, meta, nodes
from jinja2.exceptions import SecurityError, TemplateRuntimeError
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from sfwebhooks.errors import TemplateFailedError
from sfwebhooks.jsontext import written

#: most repetitions of all loops and calls of macros in a message, and most numbers of a range
STEPS_MAX = 10_000
#: most characters or items that * makes, and the largest exponent of **
REPEATED_MAX = 1_000_000
EXPONENT_MAX = 64
#: most characters of a problem
PROBLEM_MAX = 300
#: the function that counts; no template can use a name that begins with a digit
STEP = "0step"
#: the file name that jinja2 gives a template in tracebacks
FILENAME = "<template>"
ELSEWHERE = (nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)


class _Sandbox(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset(("*", "**"))

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Return data.items as the value of that key, if there is one, rather than as a method of dict."""
        if isinstance(obj, Mapping) and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)

    def unsafe_undefined(self, obj: Any, attribute: str) -> Undefined:
        """Refuse what the sandbox forbids, which an Undefined that can be chained would hide."""
        raise SecurityError(f"a template may not use {attribute!r} of a {type(obj).__name__}")

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Multiply, unless the result would be huge."""
        if operator == "**" and not (isinstance(right, (int, float)) and abs(right) <= EXPONENT_MAX):
            raise TemplateRuntimeError(f"the largest exponent is {EXPONENT_MAX}")
        for text, times in ((left, right), (right, left)) if operator == "*" else ():
            if isinstance(text, (str, list, tuple)) and isinstance(times, int) and len(text) * times > REPEATED_MAX:
                raise TemplateRuntimeError(f"* makes more than {REPEATED_MAX:,} characters or items")
        return super().call_binop(context, operator, left, right)


def _plain(value: Any) -> Any:
    """Return a value of a template as one of JSON: what is missing is null, what can be listed is an array."""
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, Undefined):
        return None
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value]


def _tojson(value: Any) -> str:
    """Return compact JSON, which unlike that of Jinja's own filter is the same text in all formats."""
    return written(_plain(value))


def _shown(value: Any) -> Any:
    """Return what {{ value }} writes: nothing for None, JSON for what is not a text."""
    if value is None:
        return ""
    return value if isinstance(value, (str, Undefined)) else _tojson(value)


def _numbers(*limits: int) -> range:
    found = range(*limits)
    if len(found) > STEPS_MAX:
        raise TemplateRuntimeError(f"a range has at most {STEPS_MAX:,} numbers")
    return found


def _environment() -> _Sandbox:
    made = _Sandbox(
        autoescape=False, undefined=ChainableUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_shown
    )
    made.filters["tojson"] = _tojson
    del made.filters["random"], made.globals["lipsum"]  # a retry must have the same bytes
    made.globals["range"] = _numbers
    return made


ENVIRONMENT = _environment()


@lru_cache(maxsize=64)
def compiled(text: str, variables: frozenset[str]) -> Template:
    """Return a template, ready to be filled in.

    Args:
        variables: the names that it may use; a name within one of them, such as data.cve, may be missing.

    Raises:
        TemplateFailedError: it is wrong.
    """
    try:
        tree = ENVIRONMENT.parse(text)
        for node in tree.find_all(ELSEWHERE):
            raise TemplateFailedError(f"line {node.lineno}: a template cannot include, import or extend another one")
        unknown = meta.find_undeclared_variables(tree) - variables
        for name in tree.find_all(nodes.Name):
            if name.name in unknown:
                known = ", ".join(sorted(variables))
                raise TemplateFailedError(f"line {name.lineno}: there is no variable {name.name!r}, expected {known}")
        _count_steps(tree)
        code = ENVIRONMENT.compile(tree, filename=FILENAME)
        return Template.from_code(ENVIRONMENT, code, ENVIRONMENT.make_globals(None))
    except TemplateSyntaxError as error:
        raise TemplateFailedError(f"line {error.lineno}: {(error.message or '')[:PROBLEM_MAX]}") from error
    except (RecursionError, SyntaxError) as error:  # the latter: Python's limit of nested blocks
        raise TemplateFailedError("it is nested too deeply") from error


def _count_steps(tree: nodes.Template) -> None:
    """Let each repetition of a loop, also one that its condition skips, and each call of a macro count."""
    for node in [*tree.find_all((nodes.For, nodes.Macro, nodes.CallBlock))]:
        step = nodes.Call(nodes.Name(STEP, "load"), [], [], None, None)
        if isinstance(node, nodes.For) and node.test:
            node.test = nodes.And(step, node.test)
        elif isinstance(node, (nodes.For, nodes.Macro, nodes.CallBlock)):
            node.body.insert(0, nodes.ExprStmt(step, lineno=node.lineno))
        step.set_lineno(node.lineno)
    tree.set_environment(ENVIRONMENT)


def filled_in(template: Template, variables: Mapping[str, Any], limit: int) -> str | None:
    """Return what a template makes of the variables; None if that is longer than `limit` bytes.

    Raises:
        TemplateFailedError: it fails.
    """
    steps = size = 0

    def step() -> bool:
        nonlocal steps
        steps += 1
        if steps > STEPS_MAX:
            raise TemplateRuntimeError(f"its loops and macros have more than {STEPS_MAX:,} steps")
        return True

    pieces: list[str] = []
    try:
        for piece in template.generate({**variables, STEP: step}):
            size += len(piece.encode("utf-8", "surrogatepass"))
            if size > limit:
                return None
            pieces.append(piece)
    except MemoryError:
        raise  # it may be the process that has none left
    except Exception as error:  # any: what a template calls can raise anything, and it is not our bug
        words = str(error) if isinstance(error, TemplateRuntimeError) else f"{type(error).__name__}: {error}"
        raise TemplateFailedError(f"line {_line(error.__traceback__)}: {words[:PROBLEM_MAX]}") from error
    return "".join(pieces)


def _line(trace: TracebackType | None) -> int:
    """Return the line of the template that raised; jinja2 writes its lines into tracebacks."""
    line = 1
    while trace:
        line = trace.tb_lineno if trace.tb_frame.f_code.co_filename == FILENAME else line
        trace = trace.tb_next
    return line
