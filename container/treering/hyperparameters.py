"""A job's hyperparameters: parsed, checked against each other, and read as what XGBoost is to be told.

Nothing here imports XGBoost: every rank checks at its start, before anything heavy.
"""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import cache, cached_property
from typing import Any, Final, Literal, Self, cast, get_args

from pydantic import ConfigDict, ValidationError

from treering import constraints, parameter_rules, tasks
from treering.errors import UserError
from treering.parameter_groups import Boosting, Data, Dropout, Group, Job, Legacy, Linear, Ring, Task, Trees
from treering.parameter_values import decode
from treering.spelling import nearest

type Algorithm = Literal["hist", "approx", "exact", "update", "linear"]

SAGEMAKER_PREFIX: Final = "sagemaker_"  # what the SDK adds for its own script mode
NOT_YET: Final = {
    "_kfold": "k-fold cross-validation",
    "_num_cv_round": "k-fold cross-validation",
}
# Old or foreign names that are not spelt like the one to use.
_SUCCESSORS: Final = {
    "silent": "verbosity",
    "gpu_id": "device",
    "n_gpus": "device",
    "iterations": "num_round",
    "rounds": "num_round",
}
_GROWN_BY: Final[Mapping[str, Algorithm]] = {
    "grow_quantile_histmaker": "hist",
    "grow_gpu_hist": "hist",
    "grow_histmaker": "approx",
    "grow_gpu_approx": "approx",
    "grow_colmaker": "exact",
}
_LARGEST: Final = 2**31 - 1  # a limit of this size or more goes without saying
_LONGEST_SHOWN = 80  # characters of a value in a message


class Hyperparameters(Legacy, Ring, Task, Linear, Dropout, Trees, Boosting, Data, Job):
    """All hyperparameters of one job, as given: fields hold None where nothing was.

    Properties say what follows from them. Two names differ from the hyperparameter's own, which Python
    does not take: ``lambda_`` and ``tuning_objective_metric``.
    """

    model_config = ConfigDict(defer_build=False, title="treering's hyperparameters")

    @classmethod
    def parse(cls, raw: Mapping[str, object]) -> Self:
        """Read ``hyperparameters.json``: strings in any SDK's encoding, or JSON values.

        Raises
        ------
        UserError
            With every problem: unknown names, values that cannot be parsed or are out of range, and
            broken rules among the rest.
        """
        given, spelt, problems = _named(raw)
        try:
            parsed, bad = cls.model_validate(given), set[str]()
        except ValidationError as error:
            bad = {str(one["loc"][0]) for one in error.errors()}
            problems += dict.fromkeys(_sentence(dict(one), raw, spelt) for one in error.errors())
            # The rules still have to be tried on what is valid; the round is there since it must be.
            rest = {"num_round": 1} | {name: value for name, value in given.items() if name not in bad}
            parsed = cls.model_validate(rest)
        broken = parameter_rules.broken(parsed)
        problems += [problem.sentence for problem in broken if not bad.intersection(problem.about)]
        if problems:
            raise UserError(_list(problems))
        return parsed

    @cached_property
    def given(self) -> Mapping[str, Any]:
        """What the user gave, by hyperparameter name, legacy ones included."""
        return {
            name: getattr(self, field) for name, field in FIELDS.items() if field in self.model_fields_set
        }

    @property
    def eval_metrics(self) -> tuple[str, ...]:
        """Metrics to compute after each round, in the user's order and spelling.

        The tuning job's metric comes last unless it is among the others; with neither it is the
        objective's own, under the name by which XGBoost prints it.
        """
        asked = (*(self.eval_metric or ()), *filter(None, [self.tuned_metric]))
        if asked or self.disable_default_eval_metric:
            return tuple(dict.fromkeys(asked))
        return (self._default_metric(),)

    @property
    def early_stopping_metric(self) -> str | None:
        """What early stopping follows: the tuning job's metric, else the last one."""
        return self.tuned_metric or next(reversed(self.eval_metrics), None)

    @property
    def tuned_metric(self) -> str | None:
        """The tuning job's metric, on whichever channel."""
        tuned = self.tuning_objective_metric
        return None if tuned is None else tuned.rpartition(":")[2]

    def maximize(self, metric: str) -> bool:
        """Whether a larger value of `metric` is better; raises KeyError for an unknown name."""
        return tasks.maximize(metric)

    @property
    def outputs(self) -> int:
        """Predictions for each row: one for each class, quantile or expectile."""
        levels = {"reg:quantileerror": self.quantile_alpha, "reg:expectileerror": self.expectile_alpha}
        return self.num_class or len(levels.get(self.objective) or (1,))

    def threads(self, share: int) -> int:
        """Threads of a rank that has `share` cores, where the job does not say how many; 0 and -1 say nothing."""
        given = self.nthread or 0
        return given if given > 0 else share

    @property
    def updaters(self) -> tuple[str, ...]:
        """The updaters that are left of those given: XGBoost no longer needs ``sync``."""
        return tuple(name for name in self.updater or () if name != "sync")

    @property
    def algorithm(self) -> Algorithm:
        """How the model grows, whichever hyperparameter says so."""
        if self.booster == "gblinear":
            return "linear"
        if self.process_type == "update":
            return "update"
        if self.updaters and self.updaters[0] in _GROWN_BY:
            return _GROWN_BY[self.updaters[0]]
        return self.tree_method if self.tree_method in {"approx", "exact"} else "hist"

    @property
    def one_host_only(self) -> str | None:
        """The setting that needs a plain DMatrix of all rows on one host, as ``name=value``, or None."""
        if self.algorithm == "linear":
            return "booster=gblinear"
        if self.algorithm == "update":
            return "process_type=update"
        if self.updaters and (self.algorithm != "hist" or "refresh" in self.updaters):
            return f"updater={','.join(self.updaters)}"
        return None if self.algorithm == "hist" else f"tree_method={self.algorithm}"

    @property
    def asks_for_gpu(self) -> str | None:
        """The setting that says to compute on a GPU, as ``name=value``, or None."""
        if str(self.device or "cpu").startswith(("cuda", "gpu")):
            return f"device={self.device}"
        if self.tree_method == "gpu_hist":
            return "tree_method=gpu_hist"
        return f"updater={','.join(self.updaters)}" if "gpu" in ",".join(self.updaters) else None

    def xgboost_params(self) -> dict[str, object]:
        """What XGBoost is told: everything given that it uses here, the objective and the tree method.

        Not among it: the number of rounds, the metrics, treering's own hyperparameters, and what is
        without effect (see `notes`). Constraints stand as given; see `constraint_params`.
        """
        unused = {*self._unused(), "updater", "tree_method"}
        params: dict[str, object] = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in self.given.items()
            if name in ENGINE_NAMES and name not in unused
        }
        params["objective"] = self.objective
        if self.updaters:
            params["updater"] = ",".join(self.updaters)
        elif self.algorithm in {"hist", "approx", "exact"}:
            params["tree_method"] = self.algorithm
        if self.tree_method == "gpu_hist":
            params.setdefault("device", "cuda")
        if self.base_score is not None and self.outputs > 1:
            params["base_score"] = list(self._base_scores)
        return params

    @property
    def _base_scores(self) -> tuple[float, ...]:
        """One for each output.

        XGBoost takes a single number for several classes as well, but writes it otherwise into the model of a
        booster that was put through its state, as one that goes on from a checkpoint is; for quantiles it refuses it.
        """
        given = self.base_score if isinstance(self.base_score, tuple) else (self.base_score or 0.0,)
        return given if len(given) == self.outputs else given[:1] * self.outputs

    def constraint_params(self, columns: int, names: Sequence[str] | None = None) -> dict[str, str]:
        """The constraints in XGBoost's form, to replace those of `xgboost_params`.

        Parameters
        ----------
        columns
            Number of feature columns.
        names
            Their names, or None where the data has none.

        Raises
        ------
        UserError
            When a constraint is about a column that does not exist.
        """
        params = {}
        if self.monotone_constraints is not None:
            params["monotone_constraints"] = constraints.monotone_text(
                self.monotone_constraints, columns, names
            )
        if self.interaction_constraints is not None:
            params["interaction_constraints"] = constraints.interaction_text(
                self.interaction_constraints, columns, names
            )
        return params

    def column_weights(self, columns: int, names: Sequence[str] | None = None) -> list[float] | None:
        """How likely column sampling takes each of the `columns`; None where all are alike.

        Raises
        ------
        UserError
            When `feature_weights` does not fit the columns.
        """
        if self.feature_weights is None:
            return None
        return constraints.feature_weights(self.feature_weights, columns, names)

    @property
    def notes(self) -> tuple[str, ...]:
        """One log line for each thing that is not as the user may think."""
        lines = [
            f"Hyperparameter {name} has no effect: {_decapitalized(Legacy.model_fields[name].description)}"
            for name in self.given
            if name in Legacy.model_fields
        ]
        idle = self._undropped()
        lines += [
            f"Hyperparameter {name} has no effect with {why}"
            for name, why in self._unused().items()
            if name not in idle
        ]
        if "sync" in (self.updater or ()):
            lines.append("Updater sync has no effect: all hosts grow the same trees")
        if self.updaters and self.algorithm != "linear" and self.tree_method not in {None, "auto"}:
            lines.append(f"Hyperparameter tree_method has no effect with updater={','.join(self.updaters)}")
        if idle:
            names = ", ".join(idle)
            lines.append(f"No trees are dropped out: {names} has an effect with booster=dart only")
        return tuple(lines)

    def _undropped(self) -> tuple[str, ...]:
        """Those given that are about dropout in trees without any: XGBoost 3.4 would drop trees all the same."""
        idle = self.booster in {None, "gbtree"}
        return tuple(name for name in self.given if idle and name in Dropout.model_fields)

    def _unused(self) -> dict[str, str]:
        """Those given that XGBoost has no use for here, and the setting that makes it so."""
        idle: AbstractSet[str] = Linear.model_fields.keys() | set(self._undropped())
        if self.algorithm == "linear":
            idle = (Trees.model_fields.keys() | Dropout.model_fields.keys()) - {"updater"}
        unused = dict.fromkeys(
            [name for name in self.given if name in idle], f"booster={self.booster or 'gbtree'}"
        )
        scored = set(map(tasks.base_name, self.eval_metrics))
        for name in self.given:
            users = tuple(extra(name).get("only_with", ()))
            if users and not self.objective.startswith(users) and scored.isdisjoint(users):
                unused[name] = f"objective={self.objective}"
        return unused

    def _default_metric(self) -> str:
        metric = tasks.OBJECTIVES[self.objective].metric
        if metric == "tweedie-nloglik":
            return f"{metric}@{self.tweedie_variance_power or 1.5:g}"
        if self.objective.startswith("rank:") and self.lambdarank_pair_method != "mean":
            return f"{metric}@{self.lambdarank_num_pair_per_sample or 32}"
        return metric


GROUPS: Final[tuple[type[Group], ...]] = (Job, Data, Boosting, Trees, Dropout, Linear, Task, Ring, Legacy)
# Hyperparameter names to field names; they differ where Python does not take the name.
FIELDS: Final = {info.alias or field: field for group in GROUPS for field, info in group.model_fields.items()}
ENGINE_NAMES: Final = frozenset(
    info.alias or field
    for group in (Boosting, Trees, Dropout, Linear, Task)
    for field, info in group.model_fields.items()
)


def extra(name: str) -> dict[str, Any]:
    """What `treering.parameter_groups.option` keeps of a hyperparameter beside its type and limits."""
    kept = Hyperparameters.model_fields[FIELDS[name]].json_schema_extra
    return kept if isinstance(kept, dict) else {}


ALIASES: Final = {alias: name for name in FIELDS for alias in extra(name).get("aliases", ())}


def _named(raw: Mapping[str, object]) -> tuple[dict[str, object], dict[str, str], list[str]]:
    """Values and the user's spelling by canonical name, and what is wrong with the names."""
    given: dict[str, object] = {}
    spelt: dict[str, str] = {}
    problems: list[str] = []
    for key, text in raw.items():
        name = ALIASES.get(key, key)
        if key.startswith(SAGEMAKER_PREFIX):
            continue
        if name not in FIELDS:
            problems.append(_stranger(key))
            continue
        value = _value(name, text)
        if value is None:
            continue
        if name in given and given[name] != value:
            problems.append(
                f"Hyperparameters {spelt[name]} and {key} are one and the same, but differ: "
                f"{_shown(raw[spelt[name]])} and {_shown(text)}"
            )
        given[name], spelt[name] = value, key
    if "num_class" in given and "objective" not in given:
        given["objective"] = "multi:softmax"  # as XGBoost does
    return given, spelt, problems


def _stranger(key: str) -> str:
    """What to say about a name that is not a hyperparameter's."""
    if key in NOT_YET:
        return f"Hyperparameter {key}: {NOT_YET[key]} is not implemented yet"
    if key in _SUCCESSORS:
        return f"Extraneous hyperparameter found: {key} (did you mean {_SUCCESSORS[key]}?)"
    return f"Extraneous hyperparameter found: {key}{nearest(key, [*FIELDS, *ALIASES])}"


def _value(name: str, text: object) -> object:
    """A decoded value, None when it is not given."""
    value = decode(text) if isinstance(text, str) else text
    if isinstance(value, float) and value.is_integer():
        return int(value)  # 5.0 is a good integer, and 5 a good float
    if isinstance(value, bool) and not _takes_flags(Hyperparameters.model_fields[FIELDS[name]].annotation):
        return str(value)  # pydantic would take true for 1
    return value


def _takes_flags(annotation: object) -> bool:
    return annotation is bool or any(map(_takes_flags, get_args(annotation)))


def _sentence(error: Mapping[str, Any], raw: Mapping[str, object], spelt: Mapping[str, str]) -> str:
    """One of pydantic's errors in the words of AWS's image."""
    name = str(error["loc"][0])
    allowed = f" (allowed: {allowed_values(name)})"
    if error["type"] == "missing":
        return f"Hyperparameter {name}: required, but not given{allowed}"
    key = spelt[name]
    if error["type"] == "value_error":
        return f"Hyperparameter {key}: {error['ctx']['error']}"
    shown = _shown(raw[key])
    if error["type"].startswith(("greater_than", "less_than")):
        return f"Hyperparameter {key}: value {shown} is out of range{allowed}"
    return f"Hyperparameter {key}: could not parse value {shown}{allowed}"


def _shown(text: object) -> str:
    """A value as it was given, cut short."""
    shown = repr(text)
    return shown if len(shown) <= _LONGEST_SHOWN else f"{shown[:_LONGEST_SHOWN]}..."


def allowed_values(name: str) -> str:
    """Which values a hyperparameter takes, in words, as its JSON schema says."""
    schema = dict(_properties()[name])
    schema |= next((one for one in schema.get("anyOf", ()) if one.get("type") != "null"), {})
    if "allowed" in schema:
        return str(schema["allowed"])
    if "enum" in schema or "const" in schema:
        return ", ".join(schema.get("enum") or [schema["const"]])
    return "true, false, 1, 0" if schema["type"] == "boolean" else schema["type"] + _limits(schema)


@cache
def _properties() -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", Hyperparameters.model_json_schema()["properties"])


def _limits(schema: Mapping[str, Any]) -> str:
    low, high = schema.get("minimum"), schema.get("maximum", _LARGEST)
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    end = f" to {high:g}" if high < _LARGEST else "" if below is None else f" and below {below:g}"
    if above is not None:
        return f" above {above:g}" + end.replace(" to ", " up to ")
    if low is None or low < -_LARGEST:
        return ""
    return f" from {low:g}{end}" if end else f", {low:g} or more"


def _decapitalized(text: str | None) -> str:
    text = (text or "").rstrip(".")
    return text if text[1:2].isupper() or text.startswith("XGBoost") else text[:1].lower() + text[1:]


def _list(problems: Sequence[str]) -> str:
    if len(problems) == 1:
        return problems[0]
    return f"{len(problems)} problems with the hyperparameters: " + "; ".join(problems)
