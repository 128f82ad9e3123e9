"""Problems with levels, the split by level, the solution template, and rows to train on.

from e2h_cli import data

problems = data.read_split(Path("run/split"), "test")
data.parse("1 + 1 = 2\\n\\n# Answer\\n\\n2").answer  # "2"
index, settings = data.QuestionIndex(Path("run/split")), SuperviseSettings(source="prm800k")
rows = list(data.PublishedRows(["phase2_train.jsonl"], index, settings))
imported = data.import_samples("qwen", Path("test_qwen25-math.jsonl"))  # samples and scores

``prm800k``, ``math_shepherd`` and ``metamath`` turn single records into rows.
"""

import lazy_loader

# Imported on first use, since some import pyarrow and pydantic.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "decontamination": ["QuestionIndex"],
        "problem": ["Problem", "read_problems"],
        "split_files": ["read_split"],
        "splitting": ["split"],
        "template": ["parse"],
        "published_rows": ["PublishedRows"],
        "external_samples": ["import_samples", "match_problems"],
        "external_rows": ["read_records"],
    },
)
