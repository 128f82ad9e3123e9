"""``e2h supervise`` on PRM800K: time, peak memory, and whether two runs write the same bytes.

python -m benchmarks.supervision [--records 200000]

The records are made up, in the released form: 5 to 15 steps with 1 to 4 rated completions each.
The command runs twice on all and once on a tenth of them, each time in a new process.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path

from e2h_cli.common.files import fingerprint
from e2h_cli.data.problem import Problem, write_problems


def main() -> None:
    """Print seconds, rows, labels and peak memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=200_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        questions = [f"What is {i} plus {i + 1} times {i % 7}?" for i in range(12_000)]
        for part, texts in {
            "easy": questions[:6000], "hard": questions[6000:11_000],
            "validation": questions[11_000:11_500], "test": questions[11_500:],
        }.items():  # fmt: skip
            write_problems(
                root / f"split/{part}.jsonl",
                [Problem(f"{part}{i}", q, 1, "s", "math", "1") for i, q in enumerate(texts)],
            )
        fingerprints = []
        for name, count in (
            ("tenth", options.records // 10),
            ("whole", options.records),
            ("again", options.records),
        ):
            file = root / f"{name}.jsonl"
            _records(file, questions, count)
            peak = _run(root, name, file)
            record = json.loads((root / name / "supervise/stage.json").read_text())
            counts = record["counts"]
            rate = count / record["seconds"]
            print(f"{name}: {count:,} records in {record['seconds']:.0f} s ({rate:,.0f}/s), "
                  f"{counts['rows']}, peak {peak:.2f} GiB")  # fmt: skip
            fingerprints.append(fingerprint(root / name / "supervise/prm.jsonl"))
            file.unlink()
        print(f"same bytes twice: {fingerprints[1] == fingerprints[2]}")


def _records(file: Path, questions: list[str], count: int) -> None:
    rng = random.Random(0)
    with file.open("w") as stream:
        for _ in range(count):
            steps = []
            for number in range(rng.randint(5, 15)):
                completions = [
                    {"text": f"So {rng.random()} follows.", "rating": rng.choice([1, 1, 0, -1])}
                    for _ in range(rng.randint(1, 4))
                ]
                steps.append(
                    {
                        "completions": completions,
                        "human_completion": None,
                        "chosen_completion": rng.randrange(len(completions)) if number else 0,
                    }
                )
            steps[-1]["completions"][0]["text"] += "\n\n# Answer\n\n7"
            question = {"problem": rng.choice(questions)}
            stream.write(json.dumps({"question": question, "label": {"steps": steps}}) + "\n")


def _run(root: Path, name: str, file: Path) -> float:
    """Run the command; return its peak memory in GiB."""
    command = [
        sys.executable, "-c",
        "import resource, sys; from e2h_cli.cli.app import run_app; code = run_app(sys.argv[1:]);"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss); sys.exit(code)",
        "supervise", "--source", "prm800k", "--problems", str(root / "split"), "--data", str(file),
        "--run-dir", str(root / name), "--scale", "tiny",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return int(done.stdout.split()[-1]) / 2**20


if __name__ == "__main__":
    main()
