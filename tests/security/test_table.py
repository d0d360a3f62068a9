"""The tables of docs/security.md match the tests, and no case and no requirement is missing."""

from __future__ import annotations

import ast
from collections import Counter

from tests.security import asvs, table

#: The number of cases.
CASES = 57
#: The number of requirements in each section of chapter 7 of the ASVS, and those of chapter 3 that the page has.
CHAPTER_7 = {1: 3, 2: 4, 3: 2, 4: 5, 5: 3, 6: 2}
CHAPTER_3 = {"3.4.1", "3.4.2", "3.5.1", "3.5.2", "3.5.3", "3.5.4", "3.5.8", "3.7.2"}
TESTS = [test for file in table.FILES for test in table.tests_of(file)]


def test_the_page_holds_the_tables_as_the_tests_are() -> None:
    """If this fails, run: python -m tests.security.table"""
    assert table.PAGE.read_text("utf-8") == table.page()


def test_every_case_has_a_test_and_is_told_once() -> None:
    told = Counter(number for test in TESTS for number in test.happened)
    assert dict(told) == dict.fromkeys(range(1, CASES + 1), 1)
    assert {number for test in TESTS for number in test.numbers} == set(told)
    assert [test.name for test in TESTS if not set(test.happened) <= set(test.numbers)] == []


def test_every_test_of_a_case_says_its_promise_and_why_it_leaves_a_store_out() -> None:
    assert [test.name for test in TESTS if not test.promise] == []
    left_out = {test.name for test in TESTS if "but `cookie://`" in test.over or "sweep" in test.over}
    assert left_out == {test.name for test in TESTS if test.why_not}


def test_every_test_of_these_files_names_its_case() -> None:
    written = []
    for file in table.FILES:
        tree = ast.parse((table.FOLDER / f"test_{file}.py").read_text("utf-8"))
        functions = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
        written += [name for name in functions if name.startswith("test_")]
    assert sorted(written) == sorted(test.name for test in TESTS)
    assert len(set(written)) == len(written)


def test_no_group_is_left_out() -> None:
    with_cases = {path.name for path in table.FOLDER.glob("test_*.py") if "\n@case(" in path.read_text("utf-8")}
    assert with_cases == {f"test_{file}.py" for file in table.FILES}


def test_every_requirement_for_sessions_is_there_once() -> None:
    numbers = [requirement.number for requirement in asvs.REQUIREMENTS]
    sessions = {f"7.{section}.{number + 1}" for section, count in CHAPTER_7.items() for number in range(count)}
    assert sorted(numbers) == sorted(sessions | CHAPTER_3 | {f"3.3.{number}" for number in range(1, 6)})


def test_every_requirement_is_met_by_the_package_or_by_the_site() -> None:
    for number, _, _, package, site, tests in asvs.REQUIREMENTS:
        assert package or site, number
        assert tests or not package, f"{number}: no test holds what the package does"


def test_every_test_of_a_requirement_exists() -> None:
    for requirement in asvs.REQUIREMENTS:
        for test in requirement.tests:
            file, _, name = test.partition("::")
            tree = ast.parse((table.FOLDER.parent / file).read_text("utf-8"))
            assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, test
