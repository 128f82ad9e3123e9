"""Problems with levels, the split by level, the solution template, and rows to train on.

from e2h_cli import data

problems = data.read_split(Path("run/split"), "test")
data.parse_solution("1 + 1 = 2\\n\\n# Answer\\n\\n2").answer  # "2"
index, settings = data.QuestionIndex(Path("run/split")), SuperviseSettings(source="prm800k")
rows = list(data.PublishedRows(["phase2_train.jsonl"], index, settings))
imported = data.import_samples("qwen", Path("test_qwen25-math.jsonl"))  # samples and scores

``prm800k``, ``math_shepherd`` and ``metamath`` turn single records into rows.
"""

from importlib import import_module
from typing import Any

from e2h_cli.data.decontamination import QuestionIndex
from e2h_cli.data.problem import Problem, read_problems
from e2h_cli.data.split_files import read_split
from e2h_cli.data.splitting import split
from e2h_cli.data.template import parse as parse_solution

# Loaded on first use, since they import pyarrow and pydantic.
_MODULES = {
    "PublishedRows": "published_rows",
    "import_samples": "external_samples",
    "match_problems": "external_samples",
    "read_records": "external_rows",
}
__all__ = [
    "Problem",
    "PublishedRows",
    "QuestionIndex",
    "import_samples",
    "match_problems",
    "parse_solution",
    "read_problems",
    "read_records",
    "read_split",
    "split",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
