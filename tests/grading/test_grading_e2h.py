"""The default rule on typical MATH answers. Unless said otherwise, in both orders."""

from __future__ import annotations

import pytest

from e2h_cli.grading import RuleGrader

RIGHT = [
    ("x+1", "1+x"),
    ("0.25", r"\frac{1}{4}"),
    (r"3\sqrt{2}", r"\sqrt{18}"),
    (r"7\frac{3}{4}", r"\frac{31}{4}"),
    ("7 3/4", r"\frac{31}{4}"),
    ("7½", r"\frac{15}{2}"),
    ("10{,}000", "10000"),
    (r"10,\!000", "10,000"),
    (r"10\,000", "10000"),
    ("10 000", "10000"),
    ("1,234.5", "1234.5"),
    ("(1, 2)", "(1,2)"),
    (r"\left( 3, \frac{\pi}{2} \right)", r"(3,\pi/2)"),
    (r"\{1,2\}", r"\{2,1\}"),
    (r"90^\circ", "90"),
    (r"90^{\circ}", "90°"),
    ("90 degrees", r"90^\circ"),
    (r"\text{Monday}", "Monday"),
    (r"\textbf{east}", "East"),
    (r"10\%", "10"),
    ("10 percent", r"10\%"),
    (r"10\%", "0.1"),
    (r"5\text{ cm}", "5"),
    ("5 cm^2", r"5\text{ cm}^2"),
    ("5 square units", "5"),
    (r"14 \text{ right triangles}", "14"),
    (r"\$5", "5"),
    ("$5$", "5"),
    ("$5", "5"),
    (r"\$15,\!000", "15000"),
    ("5 million", "5000000"),
    (r"\boxed{\dfrac{1}{2}}", ".5"),
    (r"\frac12", "1/2"),
    (r"\frac 54", "5/4"),
    (r"\frac9{20}", "0.45"),
    (r"\tfrac{8\pi}5", r"\frac{8}{5}\pi"),
    (r"-\frac{1}{2}", r"\frac{-1}{2}"),
    (r"\frac{2}{4}", r"\frac{1}{2}"),
    (r"0.\overline{3}", r"\frac{1}{3}"),
    (r"0.1\overline{6}", r"\frac16"),
    (r"x \in [1,2]", "[1,2]"),
    (r"1 \le x \le 2", "[1,2]"),
    ("x>3", r"(3,\infty)"),
    (r"3 < x", "x > 3"),
    (r"(-\infty,2)\cup(3,\infty)", r"(3,\infty)\cup(-\infty,2)"),
    (r"(-\infty,2) U (3,\infty)", r"(-\infty,2)\cup(3,\infty)"),
    (r"x<2 \text{ or } x>3", r"(-\infty,2)\cup(3,\infty)"),
    (r"x \ne 2", r"(-\infty,2)\cup(2,\infty)"),
    (r"\mathbb{R}\setminus\{2\}", r"x\neq 2"),
    (r"\mathbb{R}", r"(-\infty,\infty)"),
    (r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", r"\begin{bmatrix}1\\2\end{bmatrix}"),
    (r"\begin{pmatrix} 1/\sqrt{2} & 0 \\ 0 & 1 \end{pmatrix}",
     r"\begin{pmatrix} \frac{\sqrt{2}}{2} & 0 \\ 0 & 1 \end{pmatrix}"),
    (r"\left[\begin{array}{cc}1&2\\3&4\end{array}\right]",
     r"\begin{pmatrix}1&2\\3&4\end{pmatrix}"),
    (r"\text{(A)}", "A"),
    ("(A)", "A"),
    (r"\text{A,D}", "D, A"),
    (r"\text{VW}", "VW"),
    ("1,2", "2, 1"),
    ("5 and 6", "6, 5"),
    (r"x=5 \text{ or } x=6", "5, 6"),
    (r"1 \pm \sqrt{19}", r"1-\sqrt{19}, 1+\sqrt{19}"),
    (r"\pm 2", "2, -2"),
    ("x=1, y=2", "y=2, x=1"),
    ("1,2", r"\{1,2\}"),
    ("1011_2", "1011_{2}"),
    (r"10^\circ C", "10"),
    (r"\{x \in \mathbb{R} : x > 3\}", r"(3,\infty)"),
    ("x_1=2, x_2=3", "2, 3"),
    (r"p \land q", r"p\land q"),
    (r"10\text{:}30", "10:30"),
    ("x = 52_8", "52_{8}"),
    ("11_2, 12_3", "12_3, 11_2"),
    (r"\frac(5)(3)\pi", r"\frac{5\pi}{3}"),
    (r"101_{\text{two}}", "101_2"),
    (r"55_{10}", "55"),
    (r"\frac{\pi}{2}", r"\pi/2"),
    ("1+2i", "2i+1"),
    ("4 + i, 4 - i", "4-i, 4+i"),
    ("(x+1)^2", "x^2+2x+1"),
    ("-3(x+2)(x-1)", "-3x^2-3x+6"),
    ("-0", "0"),
    ("5.", "5"),
    ("5.0", "5"),
    ("+5", "5"),
    (".5", "0.5"),
    (r"2\cdot 3^2", r"2 \times 9"),
    (r"1.5\times10^3", "1500"),
    ("1.5e3", "1500"),
    ("2^10", "2^{10}"),
    ("2**3", "8"),
    ("x=5", "5"),
    ("5=x", "x=5"),
    ("y=2x+3", "2x+3"),
    ("y=2x+3", "2x-y+3=0"),
    ("f(x) = x^2", "x^2"),
    ("20x + 23y = 6", "40x = 12 - 46y"),
    (r"\angle ABC = 30^\circ", "30"),
    (r"\sin^2 x + \cos^2 x", "1"),
    (r"\sin 30^\circ", r"\frac12"),
    (r"\sqrt{3+2\sqrt{2}}", r"1+\sqrt{2}"),
    (r"\frac{10}{\sqrt{3}}", r"\frac{10\sqrt{3}}{3}"),
    ("sqrt(2)/2", r"\frac{1}{\sqrt{2}}"),
    ("√2", r"\sqrt{2}"),
    (r"\sqrt[3]{-8}", "-2"),
    (r"\log_2 8", "3"),
    (r"\binom{5}{2}", "10"),
    ("5!", "120"),
    ("3:2", "3 : 2"),
    ("1:4", r"\frac14"),
    (r"\emptyset", r"\{\}"),
    ("2x > 6", "6 < 2x"),
    ("0.333333", r"\frac13"),
    ("3.141593", r"\pi"),
    ("The answer is 5.", "5"),
    (r"\(\frac{1}{2}\)", r"\[0.5\]"),
    ("**5**", "5"),
    (r"36x \sqrt{35x}", r"36\sqrt{35}x^{3/2}"),
    (r"\{x | x>3\}", r"(3,\infty)"),
    (r"\frac{1}{7}\triangle ABC", r"\frac{ABC}{7}"),
]  # fmt: skip

WRONG = [
    ("9999", "10{,}000"),
    ("Mon", "Monday"),
    ("dia", "diameter"),
    ("[1,2)", "(1,2]"),
    ("[1,2]", "(1,2)"),
    ("0.333", r"\frac13"),
    ("0.33", r"\frac13"),
    ("1,000", "(1,000)"),
    ("(100,200)", "100200"),
    (r"\{1,2\}", "(1,2)"),
    ("(1,2)", "(2,1)"),
    ("1,2", "1,2,3"),
    ("1,2", "1,3"),
    ("5", "50"),
    ("5", "-5"),
    ("x", "y"),
    ("x^2", "x^3"),
    ("1011_2", "1011_3"),
    ("1011_2", "11"),
    (r"\sqrt{x^2}", "x"),
    (r"\overline{z}", "z"),
    (r"\log x", r"\ln x"),
    ("x>3", r"x \ge 3"),
    (r"(-\infty,2)\cup(3,\infty)", r"(-\infty,2]\cup(3,\infty)"),
    (r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", r"\begin{pmatrix} 1 & 2 \end{pmatrix}"),
    ("A", "B"),
    (r"\text{east}", r"\text{west}"),
    ("x=1, y=2", "x=2, y=1"),
    ("y=2x+3", "y=3x+2"),
    ("1:4", "4:1"),
    ("x=1", "y=1"),
    (r"\pi", "3.14"),
    ("0.0000001", "0"),
    ("10^{30}", "10^{30}+1"),
    ("1+2i", "1-2i"),
    ("12", r"12\text{ and }13"),
]

ONE_WAY = [  # gold, answer
    ("(1,2)", "1,2"),
    ("70,110", "70, 110"),
    (r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", "(1,2)"),
    ("(1,2)", "x=1, y=2"),
]


@pytest.mark.parametrize(("gold", "answer"), RIGHT)
def test_right_in_both_orders(e2h: RuleGrader, gold: str, answer: str) -> None:
    for verdict in e2h.grade([(gold, answer), (answer, gold)]):
        assert verdict.right, verdict


@pytest.mark.parametrize(("gold", "answer"), WRONG)
def test_wrong_in_both_orders(e2h: RuleGrader, gold: str, answer: str) -> None:
    for verdict in e2h.grade([(gold, answer), (answer, gold)]):
        assert verdict.verdict == "wrong", verdict


@pytest.mark.parametrize(("gold", "answer"), ONE_WAY)
def test_right_by_convention(e2h: RuleGrader, gold: str, answer: str) -> None:
    assert e2h.grade([(gold, answer)])[0].right


@pytest.mark.parametrize(
    "wrapped", ["{}", "${}$", "$${}$$", r"\boxed{{{}}}", r"$\boxed{{{}}}$", " {} ", "x = {}", "{}."]
)
@pytest.mark.parametrize("answer", ["42", r"\frac{3}{7}", r"2\sqrt{5}", "(1,2)"])
def test_wrappers_are_read(e2h: RuleGrader, wrapped: str, answer: str) -> None:
    text = wrapped.format(answer)
    assert e2h.grade([(answer, text)])[0].right
    assert e2h.grade([(text, answer)])[0].right


def test_reasons_say_what_decided(e2h: RuleGrader) -> None:
    pairs = {
        ("5", "5"): "equal after normalisation",
        ("0.5", r"\frac12"): "equal numbers",
        ("[1,2)", "(1,2]"): "different brackets",
        ("5", "6"): "different numbers",
        ("(1,2)", "(1,2,3)"): "different number of entries",
        ("5", "east"): "text, not number",
        ("5", "2^{9999999999}"): "power too large",
        ("5", ""): "empty",
    }
    found = e2h.grade(list(pairs))
    assert [verdict.reason for verdict in found] == list(pairs.values())


@pytest.mark.parametrize(
    ("gold", "answer", "right"),
    [
        (r"\sum_{k=1}^{4} k", "10", True),
        (r"\int_0^1 x\,dx", r"\frac{1}{2}", True),
        ("2x < 6", "x < 3", False),
        ("x^2 = 4", r"\{2, -2\}", False),
        ("f(2) < f(1) < f(4)", "f(2)<f(1)<f(4)", True),
    ],
)
def test_the_library_decides_the_rest(e2h: RuleGrader, gold: str, answer: str, right: bool) -> None:
    assert e2h.grade([(gold, answer)])[0].right is right


def test_version_names_the_libraries(e2h: RuleGrader) -> None:
    assert "math-verify-" in e2h.version
    assert "sympy-" in e2h.version
