"""The project file: what it may say, and where exactly it is wrong when it is wrong."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from optaic.domain.kind import FlowKind, InstanceKind
from optaic.errors import NotFoundError, ProjectFileError
from optaic.project import InputSpec, InstanceSpec, Project, new_project_text, new_sources_text, read_project

ONE = "project: p\ninstances:\n  prices:\n    kind: dataset\n    definition: sources:prices\n"


Write = Callable[[str | bytes], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str | bytes) -> Path:
        path = tmp_path / "optaic.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def mistake(path: Path) -> ProjectFileError:
    with pytest.raises(ProjectFileError) as caught:
        read_project(path)
    return caught.value


def only(project: Project, name: str = "prices") -> InstanceSpec:
    return next(spec for spec in project.instances if spec.name == name)


# ------------------------------------------------------------------------------------------- what it may say


def test_what_init_writes_is_a_valid_project(write: Write) -> None:
    project = read_project(write(new_project_text("sp500")))
    assert project.name == "sp500"
    assert only(project).definition == "optaic.sources:sp500_prices"


def test_what_init_leaves_as_a_comment_is_valid_too(write: Write) -> None:
    lines = new_project_text("sp500").splitlines()
    start = next(number for number, line in enumerate(lines) if line.strip() == "# my_prices:")
    lines[start:] = [line.replace("# ", "", 1) for line in lines[start:]]
    project = read_project(write("\n".join(lines) + "\n"))
    mine = only(project, "my_prices")
    assert mine.params == {"token": "${env:PRICES_TOKEN}"}
    assert mine.inputs == (InputSpec(role="reference", instance="prices", columns=("close",)),)
    compile(new_sources_text(), "sources.py", "exec")


def test_what_is_not_said_has_documented_defaults(write: Write) -> None:
    spec = only(read_project(write(ONE)))
    assert spec.kind is InstanceKind.DATASET
    assert spec.policies == {
        "timeout_seconds": 3600.0,
        "retry": {
            "max_attempts": 3,
            "backoff_seconds": 2.0,
            "max_backoff_seconds": 300.0,
            "on": ["ConnectionError", "TimeoutError"],
        },
        "seed": 0,
    }
    assert (spec.config["key"], spec.config["known_at"], spec.freshness) == (["date", "symbol"], "observed", None)


def test_policies_can_be_set(write: Write) -> None:
    text = ONE + "    timeout: 1.5h\n    seed: 7\n    retry: {max_attempts: 1, backoff: 500s, on: [OSError]}\n"
    policies = only(read_project(write(text))).policies
    assert policies["timeout_seconds"] == 5400.0
    assert policies["seed"] == 7
    assert policies["retry"] == {
        "max_attempts": 1,
        "backoff_seconds": 500.0,
        "max_backoff_seconds": 300.0,
        "on": ["OSError"],
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("prices", InputSpec(role="x", instance="prices")),
        ("'prices[close]'", InputSpec(role="x", instance="prices", columns=("close",))),
        ("'prices[close, volume]'", InputSpec(role="x", instance="prices", columns=("close", "volume"))),
        ("alpha.infer", InputSpec(role="x", instance="alpha", flow_kind=FlowKind.INFER)),
        ("{from: prices, columns: [a], select: 'version:3'}",
         InputSpec(role="x", instance="prices", columns=("a",), selector="version:3")),
        ("{from: alpha.infer, select: 'stage:champion'}",
         InputSpec(role="x", instance="alpha", flow_kind=FlowKind.INFER, selector="stage:champion")),
    ],
)  # fmt: skip
def test_an_input_may_be_written_so_and_may_be_another_projects(write: Write, text: str, expected: InputSpec) -> None:
    source = "project: p\ninstances:\n  a:\n    kind: dataset\n    definition: m:f\n    inputs: {x: " + text + "}\n"
    assert only(read_project(write(source)), "a").inputs == (expected,)


def test_tickers_and_times_stay_what_was_written(write: Write) -> None:
    text = ONE + "    params: {symbols: [ON, NO, Y, off], from: 2024-01-02, at: 18:00, n: 1e3, yes: true, none: ~}\n"
    assert only(read_project(write(text))).params == {
        "symbols": ["ON", "NO", "Y", "off"],
        "from": "2024-01-02",
        "at": "18:00",
        "n": 1000.0,
        "yes": True,
        "none": None,
    }


def test_quoted_numbers_are_text(write: Write) -> None:
    assert only(read_project(write(ONE + "    params: {a: '1', b: \"true\"}\n"))).params == {"a": "1", "b": "true"}


def test_shared_parts_may_be_merged_from_an_anchor(write: Write) -> None:
    text = (
        "project: p\ninstances:\n"
        "  a: &base\n    kind: dataset\n    definition: m:f\n    seed: 1\n"
        "  b:\n    <<: *base\n    seed: 2\n"
    )
    project = read_project(write(text))
    assert (only(project, "b").definition, only(project, "a").policies["seed"]) == ("m:f", 1)
    assert only(project, "b").policies["seed"] == 2


def test_the_digest_ignores_comments_and_order_but_no_value(write: Write) -> None:
    first = read_project(write(ONE)).digest
    assert read_project(write("# said otherwise\n" + ONE.replace("kind: dataset", "kind:   'dataset'"))).digest == first
    assert read_project(write(ONE + "    seed: 1\n")).digest != first


def test_settings_are_left_to_those_who_read_them(write: Write) -> None:
    assert read_project(write("settings: {lease_seconds: 5}\n" + ONE)).name == "p"


def test_a_project_without_instances_is_one(write: Write) -> None:
    assert read_project(write("project: p\ninstances:\n")).instances == ()


def test_a_mistake_found_later_can_point_at_its_part_of_the_file(write: Write) -> None:
    project = read_project(write(ONE + "    params:\n      n: 3\n"))
    spec = only(project)
    places = [(), ("definition",), ("params", "n"), ("params", "missing"), ("inputs", "x")]
    found = [project.error(spec, "wrong", place=place) for place in places]
    assert [(error.line, error.column) for error in found] == [(3, 3), (5, 17), (7, 10), (7, 7), (3, 3)]


# ------------------------------------------------------------------------------------------- where it is wrong
# § stands where the mistake is, and is taken out before the file is written.

HEAD = "project: p\ninstances:\n"
A = HEAD + "  a: {kind: dataset, definition: 'm:f'"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("§", "no name"),
        ("§- a\n", "must be a mapping"),
        ("§instances: {}\n", "no name"),
        ("project: §Big Name\n", "'Big Name' is not a name for a project"),
        ("project: §7\n", "must be text"),
        ("project: p\n§instancs: {}\n", "did you mean 'instances'?"),
        ("project: p\n§project: q\n", "'project' is there twice"),
        ("project: p\ninstances: §[a]\n", "must be a mapping"),
        # names and kinds
        (HEAD + "  §Prices: {kind: dataset, definition: 'm:f'}\n", "'Prices' is not a name"),
        (HEAD + f"  §{'a' * 101}: {{kind: dataset, definition: 'm:f'}}\n", "is not a name"),
        (A + "}\n  §a: {kind: dataset, definition: 'm:f'}\n", "'a' is there twice in instances; the first is on"),
        (HEAD + "  a: §prices\n", "must be a mapping"),
        (HEAD + "  §a: {definition: 'm:f'}\n", "has no kind"),
        (HEAD + "  a: {kind: §datset}\n", "'datset' is not a kind; did you mean 'dataset'?"),
        (HEAD + "  a: {kind: dataset, §files: 'x.csv'}\n", "`files:` is not there yet"),
        (HEAD + "  §a: {kind: backtest}\n", "reads no prices"),
        (HEAD + "  a: {kind: backtest, §inputs: {prices: p}}\n", "needs one of signal, weights and optimizer"),
        (HEAD + "  a: {kind: backtest, inputs: {prices: p, signal: s}, §top: 0.1}\n", "has no field 'top'"),
        (HEAD + "  a: {kind: dataset, §definition: 'm:f', expression: 'close'}\n", "beside `expression:`"),
        (HEAD + "  §a: {kind: dataset}\n", "has no definition"),
        (HEAD + "  a: {kind: dataset, definition: §prices}\n", "'prices' does not name a definition"),
        (HEAD + "  a: {kind: dataset, definition: §'m:f()'}\n", "does not name a definition"),
        (HEAD + "  a: {kind: dataset, definition: §'../m:f'}\n", "does not name a definition"),
        (A + ", §parms: {}}\n", "no field 'parms'; did you mean 'params'?"),
        # values
        (A + ", params: §3}\n", "must be a mapping"),
        (A + ", params: {n: §.nan}}\n", "not a finite number"),
        (A + ", params: {n: 1, §n: 2}}\n", "'n' is there twice"),
        (A + ", params: {§a b: 2}}\n", "not a name for a param"),
        (A + ", params: {t: §['${ENV:X}']}}\n", "refers to no variable"),
        (A + ", params: {t: §'${env:}'}}\n", "refers to no variable"),
        (A + ", key: §date}\n", "key must be a list"),
        (A + ", key: §[]}\n", "names no column"),
        (A + ", key: [date, §date]}\n", "there twice in key"),
        (A + ", key: §[date, known_at]}\n", "known_at cannot be part"),
        (A + ", known_at: §yesterday}\n", "is not a rule"),
        (A + ", known_at: §{lag: 'close + 2 moons'}}\n", "moons"),
        (A + ", timeout: §10}\n", "timeout has no unit"),
        (A + ", timeout: §10 parsecs}\n", "is not a duration"),
        (A + ", timeout: §0s}\n", "is not a duration"),
        (A + ", timeout: §9999999d}\n", "is not a duration"),
        (A + ", seed: §-1}\n", "integer from 0 to 4294967295, not -1"),
        (A + ", seed: §true}\n", "must be an integer"),
        (A + ", retry: §3}\n", "must be a mapping"),
        (A + ", retry: {§attempts: 3}}\n", "did you mean 'max_attempts'?"),
        (A + ", retry: {max_attempts: §0}}\n", "from 1 to 100"),
        (A + ", retry: {on: [§1]}}\n", "must hold texts"),
        (A + ", freshness: §{calendar: XNYS}}\n", "has no frequency"),
        (A + ", freshness: {frequency: §dayly}}\n", "did you mean 'daily'?"),
        (A + ", freshness: {frequency: daily, deadline: §25:00}}\n", "not a deadline"),
        (A + ", freshness: {frequency: daily, grace: §-1}}\n", "grace is '-1'"),
        # inputs
        (A + ", inputs: {x: §'prices['}}\n", "does not name an input"),
        (A + ", inputs: {x: §'prices[]'}}\n", "does not name an input"),
        (A + ", inputs: {x: §'prices[c,c]'}}\n", "names a column twice"),
        (A + ", inputs: {x: §alpha.infr}}\n", "did you mean 'infer'?"),
        (A + ", inputs: {§X: prices}}\n", "'X' is not a name for an input"),
        (A + ", inputs: {x: §a}}\n", "a reads itself"),
        (A + ", inputs: {§x: {columns: [c]}}}\n", "does not say what it reads"),
        (A + ", inputs: {x: {from: b, select: §latest}}}\n", "does not select a version"),
        (A + ", inputs: {x: {from: b, select: §'version:0'}}}\n", "does not select a version"),
        (A + ", inputs: {x: {from: 'b[c]', columns: §[d]}}}\n", "names its columns twice"),
        (A + "}\n  b: {kind: dataset, definition: 'm:f', inputs: {x: §a.train}}\n", "has no flow 'train'"),
        # YAML itself
        (HEAD + "§\ta: 1\n", "not valid YAML"),
        (HEAD + "  a: [1, 2\n§", "not valid YAML"),
        (HEAD + "  a: b§: c\n", "not valid YAML"),
        (HEAD + "  a: §*nobody\n", "not valid YAML"),
        ("project: p\n§---\nproject: q\n", "not valid YAML"),
        ("project: p§\x07\n", "not allowed in YAML"),
    ],
)
def test_a_mistake_is_told_with_its_line_and_column(write: Write, text: str, words: str) -> None:
    before, mark, after = text.partition("§")
    assert mark
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    error = mistake(write(before + after))
    assert words in error.message
    assert (error.line, error.column) == (line, column), error.message
    assert error.message.startswith(f"{error.path}:{line}:{column}: ")


def test_a_byte_that_is_no_text_is_told_with_its_place(write: Write) -> None:
    error = mistake(write(b"project: p\n# \xff\n"))
    assert (error.line, error.column) == (2, 3)
    assert "not UTF-8" in error.message


def test_all_mistakes_are_counted_and_the_first_is_told(write: Write) -> None:
    error = mistake(write(A + ", seed: x, timeout: 1}\n  b: {kind: nothing}\n"))
    assert (error.line, error.column) == (3, 47)
    assert error.message.endswith("(and 2 more mistakes, the next at 3:59)")


def test_a_cycle_is_told_with_its_path(write: Write) -> None:
    text = A + ", inputs: {x: c}}\n"
    for name, upstream in (("b", "a"), ("c", "'b[close]'")):
        text += f"  {name}: {{kind: dataset, definition: 'm:f', inputs: {{x: {upstream}}}}}\n"
    error = mistake(write(text))
    assert "the inputs form a cycle: c -> a -> b -> c" in error.message
    assert (error.line, error.column) == (3, 53)


def test_a_missing_file_is_told_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError) as caught:
        read_project(tmp_path / "optaic.yaml")
    assert caught.value.next_step == "make a project with: optaic init"


# ------------------------------------------------------------------------------------------- no code from data


@pytest.mark.parametrize(
    "value",
    [
        "!!python/object/apply:os.system ['touch {mark}']",
        "!!python/object/new:os.system ['touch {mark}']",
        "!!python/name:os.system",
        "!!python/module:os",
        "!include /etc/hostname",
        "!!binary aGVsbG8=",
        '!!int "3"',
        "!!set {a, b}",
    ],
)
def test_a_tag_builds_and_executes_nothing(write: Write, tmp_path: Path, value: str) -> None:
    mark = tmp_path / "mark"
    error = mistake(write(A + ", params: {x: " + value.replace("{mark}", str(mark)) + " }}\n"))
    assert "is not allowed" in error.message
    assert (error.line, error.column) == (3, 53)
    assert not mark.exists()


def test_reading_a_project_imports_nothing_that_it_names(write: Write, tmp_path: Path) -> None:
    (tmp_path / "sources.py").write_text("raise SystemExit('imported')\n")
    assert only(read_project(write(ONE))).definition == "sources:prices"
    assert "sources" not in sys.modules


@pytest.mark.parametrize(
    "params",
    [
        "{" + "a0: &a0 [x, x], " + ", ".join(f"a{i}: &a{i} [{f'*a{i - 1}, ' * 9}]" for i in range(1, 12)) + "}",
        "{a: &a [*a, *a]}",
        "{a: &a {b: *a}}",
        "{a: &a {<<: *a}}",
        "{a: " + "[" * 100 + "]" * 100 + "}",
    ],
    ids=["bomb", "itself", "itself, once", "merge", "deep"],
)
def test_aliases_and_nesting_cannot_exhaust_the_reader(write: Write, params: str) -> None:
    text = A + ", params: " + params + "}\n"
    assert len(text) < 2000
    assert mistake(write(text)).line == 3


def test_brackets_without_end_are_refused_by_the_process_that_lives_on(write: Write) -> None:
    path = write("project: " + "[" * 200_000)
    code = (
        "import sys; from pathlib import Path; from optaic.project import read_project\n"
        "from optaic.errors import ProjectFileError\n"
        "try: read_project(Path(sys.argv[1]))\n"
        "except ProjectFileError as error: print(error.message[-40:])\n"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "more than 500 levels deep" in done.stdout


def test_every_mutation_of_a_valid_file_is_read_or_refused_with_a_place(write: Write) -> None:
    places: list[tuple[int | None, int | None]] = []
    text = new_project_text("sp500")
    inserted = ("[", ": ", "\n", "'", "&x ", "*x", "! ")
    for position in range(0, len(text), 5):
        path = write(text[:position] + inserted[position % len(inserted)] + text[position + 1 :])
        try:
            read_project(path)
        except ProjectFileError as error:
            places.append((error.line, error.column))
    assert len(places) > 20
    assert all(line is not None and column is not None for line, column in places)


def test_the_reader_does_not_change_how_others_read_yaml(write: Write) -> None:
    read_project(write(ONE))
    assert yaml.safe_load("ON") is True
