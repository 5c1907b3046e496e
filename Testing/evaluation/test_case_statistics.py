"""Means, intervals, tests and calibration against cases worked out by hand, and against plain definitions."""

from __future__ import annotations

import re

import numpy as np
import pytest
from scipy.stats import wilcoxon

from adaptsam.evaluation.case_statistics import Collected, calibration_of, figure_of, holm, wilcoxon_p
from adaptsam.evaluation.pooled_measures import SLICE_DICE, VOLUMES, by_structure, mean_of, pooled_ber, pooled_iou
from adaptsam.evaluation.published_results import published_tables
from adaptsam.evaluation.result_tables import Table


def item(**figures):
    return {"name": "x", "group": "", **figures}


def record(case, **methods):
    return {"case": case, "problems": [], "methods": {n: {"items": i, "seconds": 1.0} for n, i in methods.items()}}


def test_the_published_mean_is_over_slices_then_visits_then_patients():
    first = [item(group="visit-2", dice=1.0), item(group="visit-2", dice=0.5), item(group="visit-3", dice=0.25)]
    second = [item(group="visit-2", dice=0.0)]
    found = Collected([record("a", m=first), record("b", m=second)], [SLICE_DICE], ["m"])
    assert found.figure("m", SLICE_DICE).value == pytest.approx((((1.0 + 0.5) / 2 + 0.25) / 2 + 0.0) / 2)


def test_items_without_a_number_are_left_out_of_its_mean():
    hausdorff = next(one for one in VOLUMES if one.key == "hausdorff_95")
    found = Collected([record("a", m=[item(hausdorff_95=None), item(hausdorff_95=4.0)])], [hausdorff], ["m"])
    assert found.figure("m", hausdorff).value == 4.0


def test_one_shot_benchmarks_sum_intersections_and_unions_within_a_class():
    items = [item(counts=[1, 0, 1, 8]), item(counts=[3, 1, 0, 6])]
    found = Collected([record("a", m=items), record("b", m=[item(counts=[0, 1, 1, 8])])], [pooled_iou()], ["m"])
    assert found.figure("m", pooled_iou()).value == pytest.approx((4 / 6 + 0) / 2)


def test_the_balance_error_rate_is_of_all_pixels_together():
    measure = pooled_ber()
    cases = [record("a", m=[item(counts=[8, 1, 2, 9])]), record("b", m=[item(counts=[1, 0, 9, 10])])]
    found = Collected(cases, [measure], ["m"])
    assert found.figure("m", measure).value == pytest.approx(1 - (9 / 20 + 19 / 20) / 2)
    assert found.values("m", measure)["a"] == pytest.approx(1 - (8 / 10 + 9 / 10) / 2)


def test_a_structure_has_a_column_of_its_own():
    heart, gtv = by_structure(["Heart", "GTV-1"])
    items = [item(structure="Heart", dice=0.9), item(structure="GTV-1", dice=0.5)]
    found = Collected([record("a", m=items)], [heart, gtv], ["m"])
    assert (found.figure("m", heart).value, found.figure("m", gtv).value) == (0.9, 0.5)


def test_the_interval_is_the_percentile_bootstrap_over_cases():
    values = np.random.default_rng(1).normal(0.7, 0.1, 40)
    figure = figure_of(values[:, None], mean_of("dice", "Dice"))
    draws = np.random.default_rng(5).choice(values, (4000, 40)).mean(axis=1)
    low, high = np.percentile(draws, [2.5, 97.5])
    assert figure.value == pytest.approx(values.mean())
    assert (figure.low, figure.high) == (pytest.approx(low, abs=0.005), pytest.approx(high, abs=0.005))
    assert figure == figure_of(values[:, None], mean_of("dice", "Dice"))


def test_one_case_has_no_interval_and_equal_cases_have_one_of_no_width():
    measure = mean_of("dice", "Dice")
    assert np.isnan(figure_of(np.array([[0.5]]), measure).low)
    same = figure_of(np.full((7, 1), 0.5), measure)
    assert (same.low, same.high) == (0.5, 0.5)


def test_methods_are_compared_on_the_cases_that_both_have():
    cases = [record(str(n), a=[item(dice=0.5 + n / 50)], b=[item(dice=0.4 + n / 40)]) for n in range(8)]
    cases.append(record("only a", a=[item(dice=0.0)]))
    [one] = Collected(cases, [SLICE_DICE], ["a", "b"]).compare("a", SLICE_DICE)
    difference = np.array([0.1 + n / 50 - n / 40 for n in range(8)])
    assert one.cases == 8
    assert one.difference == pytest.approx(difference.mean())
    assert one.p == pytest.approx(wilcoxon(difference).pvalue)


def test_too_few_pairs_give_no_p_and_equal_ones_give_one():
    assert np.isnan(wilcoxon_p(np.ones(5)))
    assert wilcoxon_p(np.zeros(9)) == 1.0


def test_p_values_are_adjusted_as_holm_did():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, float("nan")])[0] == 0.5
    assert holm([0.6, 0.7]) == [1.0, 1.0]


def test_a_perfect_confidence_keeps_what_a_perfect_order_would():
    dice = np.linspace(0, 1, 20)
    perfect = calibration_of(np.stack([dice, dice], axis=1))
    assert perfect.rank_correlation == pytest.approx(1)
    assert perfect.kept_dice == pytest.approx(dice[2:].mean())
    assert perfect.kept_dice == perfect.best_dice
    assert perfect.error == 0
    wrong = calibration_of(np.stack([1 - dice, dice], axis=1))
    assert wrong.rank_correlation == pytest.approx(-1)
    assert wrong.kept_dice == pytest.approx(dice[:-2].mean())


def test_a_case_that_could_not_be_read_is_an_error_and_no_number():
    found = Collected([{"case": "a", "error": "gone."}, record("b", m=[item(dice=1.0)])], [SLICE_DICE], ["m"])
    assert found.errors == {"a": "gone."}
    assert found.evaluated == 1
    assert found.figure("m", SLICE_DICE).cases == 1


def test_the_published_tables_have_as_many_figures_as_columns():
    tables = published_tables()
    assert {"p2sam-1", "p2sam-6", "alignsam-2", "alignsam-5"} <= set(tables)
    for table in tables.values():
        assert all(len(row) == len(table.columns) for row in table.rows.values())
    assert tables["p2sam-1"].rows["p2sam"][0] == "28.52"
    assert tables["p2sam-1"].rows["direct-transfer"][:2] == ("–", "56.10")


def test_published_rows_are_called_as_the_methods_are():
    from adaptsam.evaluation.methods import method_names

    rows = {row for name, table in published_tables().items() if name != "p2sam-6" for row in table.rows}
    assert rows <= set(method_names())


def test_a_table_is_the_same_in_all_three_formats():
    table = Table("t", "Title", ("Method", "Dice"), (("P²SAM", "90.1 [88.0, 92.0]"), ("a_b", "–")), frozenset({(0, 1)}))
    assert table.markdown().splitlines()[2:5] == [
        "| Method | Dice |",
        "| --- | ---: |",
        "| P²SAM | **90.1 [88.0, 92.0]** |",
    ]
    assert table.csv().splitlines()[1] == 'P²SAM,"90.1 [88.0, 92.0]"'
    for text in (r"50 % {a} b_c & d#1 $x$ ^ ~ \alpha", "<0.001 P²"):
        plain = Table("t", "T", (text,), ()).latex().splitlines()[3]
        assert _unescaped(plain) == text + r" \\"
    latex = table.latex()
    assert r"P\textsuperscript{2}SAM & \textbf{90.1 [88.0, 92.0]} \\" in latex
    assert r"a\_b & -- \\" in latex


def _unescaped(latex):
    """What LaTeX prints of a line, but for the end of a row."""
    for printed, plain in ((r"\textsuperscript{2}", "²"), (r"\textbackslash{}", "\0"), ("$<$", "<")):
        latex = latex.replace(printed, plain)
    for name, plain in (("textasciicircum", "^"), ("textasciitilde", "~")):
        latex = latex.replace(f"\\{name}{{}}", plain)
    assert not re.search(r"(?<!\\)[&%_#${}]", latex)
    return re.sub(r"\\([&%_#${}])", r"\1", latex).replace("\0", "\\")
