"""``docs/hyperparameters.md`` and the JSON schema, from the same classes that validate.

``python -m treering.parameter_docs`` prints the first, and with ``--json`` the second.
"""

from __future__ import annotations

import inspect
import json
import sys
from typing import TYPE_CHECKING

from treering import labels, parameter_rules, tasks
from treering.hyperparameters import (
    FIELDS,
    GROUPS,
    NOT_YET,
    Hyperparameters,
    allowed_values,
    extra,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from treering.parameter_groups import Group

_INTRODUCTION = """# Hyperparameters

Written by `python -m treering.parameter_docs > docs/hyperparameters.md`; a test keeps it equal to the code.

Only `num_round` has to be given. Every name and value that AWS's XGBoost image accepts is accepted here,
but for what means nothing (`max_bin` below 2, `aft_loss_distribution_scale=0`), and everything else that
XGBoost 3.4.1 knows. Values are strings, as SageMaker sends them, in the form of
any version of its Python SDK; `None` and `null` mean "not given". All problems are reported at once.
Names that begin with `sagemaker_` are SageMaker's own and ignored.
"""


def markdown() -> str:
    """The whole of ``docs/hyperparameters.md``."""
    parts = [_INTRODUCTION, *map(_group, GROUPS), _rules(), _objectives(), _metrics(), _not_yet()]
    return "\n".join(parts)


def json_schema() -> str:
    """The JSON schema of decoded values, as text."""
    return json.dumps(Hyperparameters.model_json_schema(), indent=2) + "\n"


def _group(group: type[Group]) -> str:
    title, _, rest = inspect.cleandoc(group.__doc__ or "").partition(":")
    return (
        f"## {title.rstrip('.')}\n\n"
        + (f"{_capital(rest.strip())}\n\n" if rest else "")
        + _table(
            ("Name", "Allowed", "Default", "Meaning"),
            [_row(name) for name, field in FIELDS.items() if field in group.model_fields],
        )
    )


def _row(name: str) -> tuple[str, ...]:
    info = Hyperparameters.model_fields[FIELDS[name]]
    meaning = [info.description or ""]
    kept = extra(name)
    if "aliases" in kept:
        meaning.append(f"Also called {_code(kept['aliases'])}.")
    if "only_with" in kept:
        meaning.append(f"Only with {_code(_starred(start) for start in kept['only_with'])}.")
    default = "**required**" if info.is_required() else kept.get("default_text", "-")
    return f"`{name}`", allowed_values(name), default, " ".join(meaning)


def _starred(start: str) -> str:
    return f"{start}*" if start.endswith(":") else start


def _rules() -> str:
    lines = [f"- {inspect.cleandoc(rule.__doc__ or '')}" for rule in parameter_rules.RULES]
    return "## Rules\n\n" + "\n".join(lines) + "\n"


def _objectives() -> str:
    rows = [
        (f"`{name}`", known.family, f"`{_default_metric(name)}`", str(_labels(name)))
        for name, known in tasks.OBJECTIVES.items()
    ]
    renamed = [f"`{old}` is `{new}`." for old, new in tasks.RENAMED_OBJECTIVES.items()]
    table = _table(("Objective", "Task", "Metric when none is given", "Labels"), rows)
    return f"## Objectives\n\n{' '.join(renamed)}\n\n{table}"


def _labels(objective: str) -> labels.LabelRange | str:
    return (
        "classes from 0 to num_class - 1" if objective.startswith("multi:") else labels.label_range(objective)
    )


def _default_metric(objective: str) -> str:
    return Hyperparameters.model_validate({"num_round": 1, "objective": objective}).eval_metrics[0]


def _metrics() -> str:
    rows = [
        (
            f"`{name}`",
            "larger" if tasks.maximize(name) else "smaller",
            "XGBoost" if tasks.known_to_xgboost(name) else "AWS's image",
            tasks.SUFFIX_TEXTS.get(name, "-"),
        )
        for name in sorted(tasks.METRICS)
    ]
    return "## Metrics\n\n" + _table(("Metric", "Better", "Known from", "Variants"), rows)


def _not_yet() -> str:
    lines = [f"- `{name}`: {what}." for name, what in NOT_YET.items()]
    return "## Not implemented yet\n\nA job that gives one of these is refused.\n\n" + "\n".join(lines) + "\n"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def _code(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


if __name__ == "__main__":
    sys.stdout.write(json_schema() if "--json" in sys.argv[1:] else markdown())
