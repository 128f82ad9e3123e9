"""Small tasks in the format of APPS, with reference solutions.

The expected outputs come from an oracle in this process, written apart from the reference
solution. Function results are wrapped in lists of one, as most of APPS has them, where ``wrapped``.
"""

from __future__ import annotations

import json
import math
import random
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from fractions import Fraction
from itertools import accumulate, groupby, permutations
from typing import Any

Make = Callable[[random.Random], Any]
CASES = 5


@dataclass(frozen=True)
class AppsProblem:
    """A task: a program from text to text or, with ``function``, from arguments to a result."""

    name: str
    solution: str
    inputs: list[Any]
    outputs: list[Any]
    function: str | None = None
    wrapped: bool = False

    def row(self, number: int, difficulty: str = "introductory") -> dict[str, Any]:
        """The row of the published files; the question shows the first input."""
        tests: dict[str, Any] = {"inputs": self.inputs, "outputs": self.outputs}
        starter = ""
        if self.function is not None:
            tests["fn_name"] = self.function
            starter = f"def {self.function}(*arguments):\n\t"
            arguments = ", ".join(map(repr, self.inputs[0]))
            question = f"Task {self.name}.\n\n{self.function}({arguments}) gives the answer.\n"
        else:
            question = f"Task {self.name}.\n\n-----Example-----\nInput\n{self.inputs[0]}\nOutput\n"
        return {
            "problem_id": number,
            "question": question,
            "solutions": json.dumps([self.solution, "# another one\n"]),
            "input_output": json.dumps(tests),
            "difficulty": difficulty,
            "url": f"https://example.org/{number}",
            "starter_code": starter,
        }


def _text(name: str, solution: str, make: Make, oracle: Callable[[str], str]) -> AppsProblem:
    rng = random.Random(name)
    inputs = list(dict.fromkeys(str(make(rng)) for _ in range(CASES)))
    return AppsProblem(name, solution, inputs, [oracle(text) + "\n" for text in inputs])


def _call(
    function: str,
    solution: str,
    make: Callable[[random.Random], list[Any]],
    oracle: Callable[..., Any],
    wrapped: bool = True,
) -> AppsProblem:
    rng = random.Random(function)
    inputs = [make(rng) for _ in range(CASES)]
    results = [oracle(*json.loads(json.dumps(one))) for one in inputs]
    outputs = [[result] for result in results] if wrapped else results
    return AppsProblem(function, solution, inputs, outputs, function, wrapped)


def _numbers(rng: random.Random, low: int = -20, high: int = 20) -> list[int]:
    return [rng.randint(low, high) for _ in range(rng.randint(3, 8))]


def _line(rng: random.Random) -> str:
    return " ".join(map(str, _numbers(rng)))


def _counted(rng: random.Random) -> str:
    numbers = _numbers(rng)
    return f"{len(numbers)}\n{' '.join(map(str, numbers))}"


def _word(rng: random.Random) -> str:
    return "".join(rng.choice("abcdeé") for _ in range(rng.randint(4, 9)))


def _words(rng: random.Random) -> str:
    return " ".join(_word(rng) for _ in range(rng.randint(3, 6)))


def _ints(text: str) -> list[int]:
    return [int(token) for token in text.split()]


def _grid(rng: random.Random) -> list[list[int]]:
    columns = rng.randint(2, 4)
    return [[rng.randint(0, 9) for _ in range(columns)] for _ in range(rng.randint(2, 4))]


def _grid_text(rng: random.Random) -> str:
    return "\n".join(" ".join(map(str, row)) for row in _grid(rng))


def _rows(text: str) -> list[list[int]]:
    return [_ints(line) for line in text.split("\n")]


def _roots(a: int, b: int, c: int) -> str:
    inside = b**2 - 4 * a * c
    if inside < 0:
        return "no real roots"
    low, high = sorted((-b + sign * math.sqrt(inside)) / 2 / a for sign in (-1, 1))
    return f"{low:.6f} {high:.6f}"


def _median(a: list[int]) -> float:
    middle = a[(len(a) - 1) // 2 : len(a) // 2 + 1]
    return middle[0] if len(middle) == 1 else sum(middle) / 2


TEXTS: list[AppsProblem] = [
    _text("sum", "print(sum(map(int, input().split())))", _line, lambda t: str(sum(_ints(t)))),
    _text(
        "largest",
        "n = int(input())\nbest = None\nfor x in input().split():\n    x = int(x)\n"
        "    if best is None or x > best:\n        best = x\nprint(best)",
        _counted,
        lambda t: str(max(_ints(t)[1:])),
    ),
    _text(
        "mean",
        "numbers = list(map(int, input().split()))\nprint(sum(numbers) / len(numbers))",
        _line,
        lambda t: str(sum(_ints(t)) / len(_ints(t))),
    ),
    _text(
        "rounded mean",
        "a = [int(x) for x in input().split()]\nprint('%.4f' % (sum(a) / len(a)))",
        _line,
        lambda t: f"{sum(_ints(t)) / len(_ints(t)):.4f}",
    ),
    _text(
        "circle area",
        "import math\nr = float(input())\nprint(math.pi * r ** 2)",
        lambda r: r.randint(1, 90) / 4,
        lambda t: str(math.pi * float(t) ** 2),
    ),
    _text(
        "sorted lines",
        "for x in sorted(map(int, input().split())):\n    print(x)",
        _line,
        lambda t: "\n".join(map(str, sorted(_ints(t)))),
    ),
    _text(
        "descending",
        "a = sorted(map(int, input().split()))\nprint(*a[::-1])",
        _line,
        lambda t: " ".join(map(str, sorted(_ints(t), reverse=True))),
    ),
    _text(
        "prefix sums",
        "s = 0\nout = []\nfor x in input().split():\n    s += int(x)\n    out.append(str(s))\n"
        "print(' '.join(out))",
        _line,
        lambda t: " ".join(map(str, accumulate(_ints(t)))),
    ),
    _text(
        "words backwards",
        "print(' '.join(reversed(input().split())))",
        _words,
        lambda t: " ".join(t.split()[::-1]),
    ),
    _text(
        "upper case",
        "s = input()\nprint(s.upper())\nprint(len(s))",
        _words,
        lambda t: f"{t.upper()}\n{len(t)}",
    ),
    _text(
        "greeting",
        "name = input().strip()\nprint('Grüße, ' + name + ' ✓')",
        _word,
        lambda t: f"Grüße, {t} ✓",
    ),
    _text(
        "even or odd",
        "n = int(input())\nprint('even' if n % 2 == 0 else 'odd')",
        lambda r: r.randint(-99, 99),
        lambda t: ("even", "odd")[int(t) & 1],
    ),
    _text(
        "primes",
        "n = int(input())\nfor p in range(2, n + 1):\n    if all(p % d for d in range(2, p)):\n"
        "        print(p)",
        lambda r: r.randint(5, 60),
        lambda t: "\n".join(
            str(p) for p in range(2, int(t) + 1) if not re.fullmatch(r"(..+)\1+", "1" * p)
        ),
    ),
    _text(
        "greatest common divisor",
        "a, b = map(int, input().split())\nwhile b:\n    a, b = b, a % b\nprint(a)",
        lambda r: f"{r.randint(1, 500)} {r.randint(1, 500)}",
        lambda t: str(math.gcd(*_ints(t))),
    ),
    _text(
        "factorial",
        "n = int(input())\nf = 1\nwhile n > 1:\n    f *= n\n    n -= 1\nprint(f)",
        lambda r: r.randint(0, 30),
        lambda t: str(math.factorial(int(t))),
    ),
    _text(
        "fibonacci",
        "n = int(input())\na, b = 0, 1\nfor _ in range(n):\n    a, b = b, a + b\nprint(a)",
        lambda r: r.randint(1, 50),
        lambda t: str(round(((1 + math.sqrt(5)) / 2) ** int(t) / math.sqrt(5))),
    ),
    _text(
        "transpose",
        "import sys\nrows = [line.split() for line in sys.stdin.read().splitlines()]\n"
        "for column in zip(*rows):\n    print(' '.join(column))",
        _grid_text,
        lambda t: "\n".join(" ".join(map(str, column)) for column in zip(*_rows(t), strict=True)),
    ),
    _text(
        "row sums",
        "import sys\nfor line in sys.stdin:\n    print(sum(map(int, line.split())))",
        _grid_text,
        lambda t: "\n".join(str(sum(row)) for row in _rows(t)),
    ),
    _text(
        "letters counted",
        "from collections import Counter\nfor c, k in sorted(Counter(input()).items()):\n"
        "    print(c, k)",
        _word,
        lambda t: "\n".join(f"{c} {t.count(c)}" for c in sorted(set(t))),
    ),
    _text(
        "run lengths",
        "s = input()\nout = ''\ni = 0\nwhile i < len(s):\n    j = i\n"
        "    while j < len(s) and s[j] == s[i]:\n        j += 1\n    out += s[i] + str(j - i)\n"
        "    i = j\nprint(out)",
        lambda r: "".join(r.choice("ab") * r.randint(1, 4) for _ in range(5)),
        lambda t: "".join(f"{c}{len([*g])}" for c, g in groupby(t)),
    ),
    _text(
        "queries",
        "t = int(input())\nfor _ in range(t):\n    a, b = map(int, input().split())\n"
        "    if a <= b:\n        print('YES')\n    else:\n        print('NO')",
        lambda r: "\n".join(["4", *(f"{r.randint(0, 9)} {r.randint(0, 9)}" for _ in range(4))]),
        lambda t: "\n".join("NO" if a > b else "YES" for a, b in _rows(t)[1:]),
    ),
    _text(
        "quadratic",
        "a, b, c = map(int, input().split())\nd = b * b - 4 * a * c\nif d < 0:\n"
        "    print('no real roots')\nelse:\n"
        "    print('%.6f %.6f' % ((-b - d ** 0.5) / (2 * a), (-b + d ** 0.5) / (2 * a)))",
        lambda r: f"{r.randint(1, 4)} {r.randint(-9, 9)} {r.randint(-9, 5)}",
        lambda t: _roots(*_ints(t)),
    ),
    _text(
        "binary",
        "n = int(input())\nbits = ''\nwhile n:\n    bits = str(n % 2) + bits\n    n //= 2\n"
        "print(bits or '0')",
        lambda r: r.randint(0, 300),
        lambda t: f"{int(t):b}",
    ),
    _text(
        "triangle",
        "n = int(input())\nfor i in range(n):\n    print(' ' * (n - i - 1) + '*' * (2 * i + 1))",
        lambda r: r.randint(1, 7),
        lambda t: "\n".join(
            ("*" * (2 * i + 1)).center(2 * int(t) - 1).rstrip() for i in range(int(t))
        ),
    ),
    _text(
        "next day",
        "import datetime\nd = datetime.date.fromisoformat(input())\n"
        "print(d + datetime.timedelta(days=1))",
        lambda r: date(2023, 12, 31) + timedelta(r.randint(0, 500)),
        lambda t: str(date.fromordinal(date.fromisoformat(t).toordinal() + 1)),
    ),
    _text(
        "palindrome",
        'def check(s):\n    """Whether s\n    reads the same."""\n    return s == s[::-1]\n\n\n'
        "if __name__ == '__main__':\n    print(check(input()))",
        lambda r: (w := "".join(r.choice("ab") for _ in range(3))) + r.choice([w[::-1], w]),
        lambda t: str(all(a == b for a, b in zip(t, reversed(t), strict=True))),
    ),
    _text(
        "permutations",
        "from itertools import permutations\nfor p in sorted(set(permutations(input()))):\n"
        "    print(''.join(p))",
        lambda r: "".join(r.choice("abc") for _ in range(3)),
        lambda t: "\n".join(sorted({"".join(p) for p in permutations(t)})),
    ),
    _text(
        "fraction",
        "from fractions import Fraction\na, b = input().split()\nprint(Fraction(a) + Fraction(b))",
        lambda r: f"{r.randint(1, 9)}/{r.randint(2, 9)} {r.randint(1, 9)}/{r.randint(2, 9)}",
        lambda t: str(sum(map(Fraction, t.split()))),
    ),
]


def _pair(rng: random.Random) -> list[Any]:
    return [rng.randint(-50, 50), rng.randint(1, 50)]


def _list(rng: random.Random) -> list[Any]:
    return [_numbers(rng)]


def _one_word(rng: random.Random) -> list[Any]:
    return [_word(rng)]


CALLS: list[AppsProblem] = [
    _call("add", "def add(a, b):\n    return a + b", _pair, lambda a, b: sum([a, b])),
    _call(
        "divide", "def divide(a, b):\n    return a / b", _pair, lambda a, b: float(Fraction(a, b))
    ),
    _call(
        "quotient_and_rest",
        "def quotient_and_rest(a, b):\n    return a // b, a % b",
        _pair,
        lambda a, b: [*divmod(a, b)],
    ),
    _call(
        "total",
        "def total(numbers):\n    s = 0\n    for x in numbers:\n        s += x\n    return s",
        _list,
        sum,
    ),
    _call(
        "evens",
        "def evens(a):\n    return [x for x in a if x % 2 == 0]",
        _list,
        lambda a: [x for x in a if not x & 1],
        wrapped=False,
    ),
    _call(
        "spread",
        "def spread(a):\n    lo = hi = a[0]\n    for x in a[1:]:\n        if x < lo:\n"
        "            lo = x\n        if x > hi:\n            hi = x\n    return hi - lo",
        _list,
        lambda a: max(a) - min(a),
    ),
    _call(
        "median",
        "def median(a):\n    a = sorted(a)\n    m = len(a) // 2\n"
        "    return a[m] if len(a) % 2 else (a[m - 1] + a[m]) / 2",
        _list,
        lambda a: _median(sorted(a)),
    ),
    _call(
        "reverse_words",
        "def reverse_words(text):\n    return ' '.join(text.split()[::-1])",
        lambda r: [_words(r)],
        lambda text: " ".join(reversed(text.split(" "))),
    ),
    _call(
        "vowels",
        "def vowels(s):\n    return sum(1 for c in s if c in 'aeiou')",
        _one_word,
        lambda s: len(re.findall("[aeiou]", s)),
    ),
    _call(
        "is_palindrome",
        "def is_palindrome(s):\n    return s == s[::-1]",
        lambda r: [r.choice(["abba", "été", "ab", _word(r)])],
        lambda s: [*s] == [*reversed(s)],
    ),
    _call(
        "counts",
        "def counts(s):\n    d = {}\n    for c in s:\n        d[c] = d.get(c, 0) + 1\n    return d",
        _one_word,
        lambda s: dict(sorted(Counter(s).items())),
        wrapped=False,
    ),
    _call(
        "pairs",
        "def pairs(a):\n    return list(zip(a, a[1:]))",
        _list,
        lambda a: [[x, a[i + 1]] for i, x in enumerate(a[:-1])],
    ),
    _call(
        "power",
        "def power(a, b):\n    r = 1\n    for _ in range(b):\n        r *= a\n    return r",
        _pair,
        pow,
    ),
    _call(
        "root",
        "class Solution:\n    def root(self, x):\n        y = 0\n"
        "        while (y + 1) * (y + 1) <= x:\n            y += 1\n        return y",
        lambda r: [r.randint(0, 2000)],
        math.isqrt,
        wrapped=False,
    ),
    _call(
        "two_sum",
        "from typing import List\n\n\nclass Solution:\n"
        "    def two_sum(self, nums: List[int], target: int) -> List[int]:\n        seen = {}\n"
        "        for i, x in enumerate(nums):\n            if target - x in seen:\n"
        "                return [seen[target - x], i]\n            seen[x] = i\n        return []",
        lambda r: [a := [*range(1, 20, 3)], a[r.randint(0, 2)] + a[r.randint(3, 6)]],
        lambda a, t: next([i, j] for j in range(9) for i in range(j) if a[i] + a[j] == t),
        wrapped=False,
    ),
    _call(
        "transpose",
        "def transpose(m):\n    return [list(row) for row in zip(*m)]",
        lambda r: [_grid(r)],
        lambda m: [[row[i] for row in m] for i in range(len(m[0]))],
        wrapped=False,
    ),
    _call(
        "distance",
        "def distance(p, q):\n    return sum((a - b) ** 2 for a, b in zip(p, q)) ** 0.5",
        lambda r: [[r.randint(0, 9), r.randint(0, 9)], [r.randint(0, 9), r.randint(0, 9)]],
        lambda p, q: math.sqrt((p[0] - q[0]) ** 2 + (p[1] - q[1]) ** 2),
    ),
    _call(
        "caesar",
        "def caesar(s, k):\n    out = []\n    for c in s:\n        if 'a' <= c <= 'z':\n"
        "            c = chr((ord(c) - 97 + k) % 26 + 97)\n        out.append(c)\n"
        "    return ''.join(out)",
        lambda r: [_word(r), r.randint(1, 25)],
        lambda s, k: s.translate({97 + i: 97 + (i + k) % 26 for i in range(26)}),
    ),
    _call(
        "digits",
        "def digits(n):\n    s = 0\n    while n > 0:\n        s += n % 10\n        n //= 10\n"
        "    return s",
        lambda r: [r.randint(0, 10**9)],
        lambda n: sum(map(int, str(n))),
    ),
    _call(
        "leap_year",
        "def leap_year(y):\n    return y % 4 == 0 and (y % 100 != 0 or y % 400 == 0)",
        lambda r: [r.choice([1900, 2000, 2024, 2023, 2100])],
        lambda y: (date(y, 3, 1) - timedelta(1)).day == 29,
    ),
    _call(
        "unique",
        "def unique(a):\n    out = []\n    for x in a:\n        if x not in out:\n"
        "            out.append(x)\n    return out",
        lambda r: [_numbers(r, 0, 4)],
        lambda a: [*dict.fromkeys(a)],
        wrapped=False,
    ),
    _call(
        "merge",
        "def merge(a, b):\n    a, b = sorted(a), sorted(b)\n    out = []\n    while a and b:\n"
        "        out.append(a.pop(0) if a[0] <= b[0] else b.pop(0))\n    return out + a + b",
        lambda r: [_numbers(r), _numbers(r)],
        lambda a, b: sorted(a + b),
        wrapped=False,
    ),
    _call(
        "running_mean",
        "def running_mean(a):\n    s = 0\n    out = []\n    for i, x in enumerate(a, 1):\n"
        "        s += x\n        out.append(s / i)\n    return out",
        _list,
        lambda a: [sum(a[: i + 1]) / (i + 1) for i in range(len(a))],
    ),
    _call(
        "first_missing",
        "def first_missing(a):\n    n = 0\n    while n in a:\n        n += 1\n    return n",
        lambda r: [_numbers(r, 0, 5)],
        lambda a: min({*range(20)} - {*a}),
    ),
    _call(
        "nothing_if_empty",
        "def nothing_if_empty(s):\n    return s[0] if s else None",
        lambda r: [r.choice(["", "élan", "abc"])],
        lambda s: (*s, None)[0],
    ),
    _call(
        "histogram",
        "def histogram(a):\n    return ['#' * x for x in a]",
        lambda r: [_numbers(r, 0, 6)],
        lambda a: ["".join("#" for _ in range(x)) for x in a],
        wrapped=False,
    ),
]


def apps_problems() -> Sequence[AppsProblem]:
    """All tasks, by standard input first."""
    return [*TEXTS, *CALLS]
