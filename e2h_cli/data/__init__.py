"""Problems with levels, the split by level, the solution template, and rows to train on.

from e2h_cli import data

problems = data.read_split(Path("run/split"), "test")
data.parse_solution("1 + 1 = 2\\n\\n# Answer\\n\\n2").answer  # "2"
data.import_samples("qwen", Path("test_qwen25-math.jsonl")).samples  # a pyarrow table
for record in data.read_records(Path("phase2_train.jsonl")):
    data.prm800k.parse_record(record.row, record.where)
"""

from e2h_cli.data import chain_arithmetic, math_shepherd, metamath, prm800k, template
from e2h_cli.data.decontamination import NearDuplicateIndex, QuestionIndex
from e2h_cli.data.external_rows import read_records
from e2h_cli.data.external_samples import ImportedSamples, import_samples, match_problems
from e2h_cli.data.problem import Problem, read_problems, write_problems
from e2h_cli.data.published_rows import PublishedRows
from e2h_cli.data.rm_labels import label_samples
from e2h_cli.data.sft_rows import sft_rows
from e2h_cli.data.split_files import read_split, read_training_problems, write_split
from e2h_cli.data.splitting import Split, split
from e2h_cli.data.step_splitting import steps_of
from e2h_cli.data.template import Solution
from e2h_cli.data.template import parse as parse_solution

__all__ = [
    "ImportedSamples",
    "NearDuplicateIndex",
    "Problem",
    "PublishedRows",
    "QuestionIndex",
    "Solution",
    "Split",
    "chain_arithmetic",
    "import_samples",
    "label_samples",
    "match_problems",
    "math_shepherd",
    "metamath",
    "parse_solution",
    "prm800k",
    "read_problems",
    "read_records",
    "read_split",
    "read_training_problems",
    "sft_rows",
    "split",
    "steps_of",
    "template",
    "write_problems",
    "write_split",
]
