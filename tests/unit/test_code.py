"""The identity of code: finding a definition, and digesting all that it is made of, without executing it."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from optaic.errors import InvalidInputError, NotFoundError, OptaicError
from optaic.flows.code import code_digest, locate, params_schema

SOURCE = """\
from pkg import helper

raise_when_executed = 1 / 0

PARAMS = {"n": 1}

def prices(ctx, start=None, *, n: int = 3):
    from pkg.sub import late
    return helper.value

async def later(ctx): ...
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project whose code cannot be executed: whoever reads it must not import it."""
    root = tmp_path / "project"
    write(root, "flows.py", SOURCE)
    write(root, "pkg/__init__.py", "")
    write(root, "pkg/helper.py", "from . import deep\nvalue = 1\n")
    write(root, "pkg/deep.py", "import polars, os\n")
    write(root, "pkg/sub/__init__.py", "from ..deep import polars as late\n")
    write(root, "pkg/unused.py", "x = 1\n")
    return root


def write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def digest(root: Path, code_ref: str = "flows:prices") -> str:
    return code_digest(locate(code_ref, root))


# ------------------------------------------------------------------------------------------------------- locating


def test_a_definition_is_found_without_executing_the_module(root: Path) -> None:
    found = locate("flows:prices", root)
    assert found.path == root / "flows.py"
    assert found.distribution is None
    assert "flows" not in sys.modules


def test_a_definition_may_be_a_packages_or_lie_deep_in_one(root: Path) -> None:
    write(root, "pkg/__init__.py", "def a(ctx): ...\n")
    write(root, "pkg/sub/mod.py", "def b(ctx): ...\n")
    assert locate("pkg:a", root).path == root / "pkg/__init__.py"
    assert locate("pkg.sub.mod:b", root).path == root / "pkg/sub/mod.py"


def test_a_definition_may_be_an_installed_packages() -> None:
    found = locate("skfolio.optimization:MeanRisk", Path("/nonexistent"))
    assert (found.distribution, bool(found.distribution_version)) == ("skfolio", True)
    assert locate("sklearn.ensemble:HistGradientBoostingRegressor", Path("/nonexistent")).distribution == "scikit-learn"


def test_a_definition_may_be_the_products_own(root: Path) -> None:
    assert locate("optaic.sources:sp500_prices", root).distribution == "optaic"


BAD_REFERENCES = [
    ("flows", InvalidInputError, "does not name a definition"),
    ("flows:", InvalidInputError, "does not name a definition"),
    (":prices", InvalidInputError, "does not name a definition"),
    ("flows:a.b", InvalidInputError, "does not name a definition"),
    ("../flows:prices", InvalidInputError, "does not name a definition"),
    ("/etc/passwd:x", InvalidInputError, "does not name a definition"),
    ("flows:price", NotFoundError, "module flows has no function 'price'; did you mean 'prices'?"),
    ("flow:prices", NotFoundError, "there is no module 'flow' .*; did you mean 'flows'?"),
    ("pkg.helpr:f", NotFoundError, "there is no module 'pkg.helpr' .*; did you mean 'pkg.helper'?"),
    ("polars.nothing_here:f", NotFoundError, "there is no module 'polars.nothing_here'"),
    ("flows:PARAMS", InvalidInputError, "flows:PARAMS is a value, not a function"),
    ("flows:later", InvalidInputError, "is a coroutine function"),
    ("os:system", InvalidInputError, "'os' is a module of Python itself"),
    ("os.path:join", InvalidInputError, "'os' is a module of Python itself"),
    ("builtins:eval", InvalidInputError, "is a module of Python itself"),
    ("sys:exit", InvalidInputError, "is a module of Python itself"),
    ("__main__:f", (InvalidInputError, NotFoundError), "__main__"),
]


@pytest.mark.parametrize(("code_ref", "error", "message"), BAD_REFERENCES, ids=[row[0] for row in BAD_REFERENCES])
def test_what_is_no_definition_is_refused_with_what_was_meant(
    root: Path, code_ref: str, error: type[OptaicError], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        locate(code_ref, root)
    assert caught.value.next_step


def test_a_syntax_error_is_told_with_its_line(root: Path) -> None:
    write(root, "flows.py", "x = 1\ndef prices(:\n")
    with pytest.raises(InvalidInputError, match=r"flows\.py:2: "):
        locate("flows:prices", root)


def test_a_syntax_error_in_an_imported_module_is_told_with_its_line(root: Path) -> None:
    write(root, "pkg/deep.py", "\n\nx = = 1\n")
    with pytest.raises(InvalidInputError, match=r"pkg/deep\.py:3: "):
        digest(root)


def test_a_file_with_null_bytes_is_no_python(root: Path) -> None:
    write(root, "flows.py", "x = 1\0")
    with pytest.raises(InvalidInputError, match=r"flows\.py"):
        locate("flows:prices", root)


def test_a_file_named_like_a_module_of_python_is_refused(root: Path) -> None:
    write(root, "random.py", "def prices(ctx): ...\n")
    with pytest.raises(InvalidInputError, match="module of Python itself") as caught:
        locate("random:prices", root)
    assert caught.value.next_step == "rename the file"


def test_a_link_out_of_the_project_is_not_the_projects_code(root: Path, tmp_path: Path) -> None:
    write(tmp_path, "outside.py", "def prices(ctx): ...\n")
    (root / "linked.py").symlink_to(tmp_path / "outside.py")
    with pytest.raises(InvalidInputError, match="a link to a file outside of the project"):
        locate("linked:prices", root)


def test_a_module_that_only_lies_on_the_path_is_refused(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "lying/around_here.py", "def prices(ctx): ...\n")
    monkeypatch.syspath_prepend(str(tmp_path / "lying"))
    with pytest.raises(InvalidInputError, match="neither to the project nor to an installed distribution"):
        locate("around_here:prices", root)


# ------------------------------------------------------------------------------------------------- installed code


def install(site: Path, *, version: str = "1.0", editable_in: Path | None = None) -> None:
    """Put a distribution `Own-Sources`, with a package `own_sources`, beside others, as pip does."""
    metadata = site / f"own_sources_dist-{version}.dist-info"
    write(metadata, "METADATA", f"Metadata-Version: 2.1\nName: Own-Sources\nVersion: {version}\n")
    if editable_in is None:
        write(site, "own_sources/__init__.py", "from own_sources.vendor import prices\n")
        write(site, "own_sources/vendor.py", "from own_sources import base\ndef prices(ctx, *, n: int): ...\n")
        write(site, "own_sources/base.py", "")
        write(metadata, "RECORD", "own_sources/__init__.py,,\nown_sources/vendor.py,,\nown_sources/base.py,,\n")
    else:
        write(metadata, "RECORD", "own_sources.pth,,\n")
        write(metadata, "direct_url.json", f'{{"dir_info": {{"editable": true}}, "url": "{editable_in.as_uri()}"}}')


def test_the_version_of_a_distribution_is_part_of_the_identity(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site"
    install(site)
    monkeypatch.syspath_prepend(str(site))
    before = locate("own_sources:prices", root)
    first = code_digest(before)
    assert (before.distribution, before.distribution_version) == ("Own-Sources", "1.0")
    assert params_schema(before)["params"] == {"n": {"type": "int", "required": True}}
    shutil.rmtree(site / "own_sources_dist-1.0.dist-info")
    install(site, version="1.1")
    assert code_digest(locate("own_sources:prices", root)) != first


def test_the_module_that_writes_an_installed_definition_is_part_of_the_identity(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site"
    install(site)
    monkeypatch.syspath_prepend(str(site))
    first = digest(root, "own_sources:prices")
    write(site, "own_sources/base.py", "x = 1\n")
    assert digest(root, "own_sources:prices") == first, "the version speaks for the rest of the distribution"
    write(site, "own_sources/vendor.py", "def prices(ctx, *, n: int): return 1\n")
    assert digest(root, "own_sources:prices") != first


def test_code_that_is_installed_in_place_is_identified_by_all_it_imports(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "repository" / "src"
    write(source, "own_sources/__init__.py", "from own_sources import base\ndef prices(ctx): ...\n")
    write(source, "own_sources/base.py", "")
    install(tmp_path / "site", editable_in=tmp_path / "repository")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.syspath_prepend(str(source))
    first = digest(root, "own_sources:prices")
    assert locate("own_sources:prices", root).distribution == "Own-Sources"
    write(source, "own_sources/base.py", "x = 1\n")
    assert digest(root, "own_sources:prices") != first


# --------------------------------------------------------------------------------------------------------- digest


@pytest.mark.parametrize("name", ["flows.py", "pkg/__init__.py", "pkg/helper.py", "pkg/deep.py", "pkg/sub/__init__.py"])
def test_a_change_in_any_module_that_is_imported_changes_the_digest(root: Path, name: str) -> None:
    before = digest(root)
    write(root, name, (root / name).read_text() + "# changed\n")
    assert digest(root) != before


@pytest.mark.parametrize("name", ["pkg/unused.py", "optaic.yaml", "prices.csv"])
def test_what_is_not_imported_does_not_change_the_digest(root: Path, name: str) -> None:
    before = digest(root)
    write(root, name, "changed = 1\n")
    assert digest(root) == before


def test_a_module_that_appears_where_an_import_looks_for_it_changes_the_digest(root: Path) -> None:
    before = digest(root)
    write(root, "polars.py", "")
    assert digest(root) != before


def test_modules_that_import_each_other_have_a_digest(root: Path) -> None:
    write(root, "pkg/deep.py", "import flows\nfrom . import helper\n")
    assert digest(root) == digest(root)


@pytest.mark.parametrize(
    "statement",
    [
        "import pkg.unused",
        "from pkg import unused",
        "from pkg.unused import x",
        "from importlib import import_module; import_module('pkg.unused')",
        "if 0:\n    import pkg.unused as u",
        "try:\n    from pkg import unused\nexcept ImportError:\n    pass",
        "def f():\n    async def g():\n        from pkg.unused import x",
    ],
)
def test_every_way_to_import_is_followed(root: Path, statement: str) -> None:
    write(root, "mine.py", f"{statement}\ndef prices(ctx): ...\n")
    before = digest(root, "mine:prices")
    write(root, "pkg/unused.py", "x = 2\n")
    assert digest(root, "mine:prices") != before


def test_the_digest_does_not_depend_on_where_the_project_is(root: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere" / "deep"
    shutil.copytree(root, copy)
    assert digest(copy) == digest(root)


def test_line_ends_of_windows_are_the_same_code(root: Path) -> None:
    before = digest(root)
    for path in root.rglob("*.py"):
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert digest(root) == before


def test_two_functions_of_one_module_are_different_code(root: Path) -> None:
    write(root, "mine.py", "def a(ctx): ...\ndef b(ctx): ...\n")
    assert digest(root, "mine:a") != digest(root, "mine:b")


def test_a_misspelt_estimator_is_named_as_it_is_to_be_written(root: Path) -> None:
    with pytest.raises(NotFoundError, match="did you mean 'Ridge'") as refused:
        locate("sklearn.linear_model:Rigde", root)
    assert refused.value.next_step == "write sklearn.linear_model:Ridge"
    with pytest.raises(NotFoundError) as unlike:
        locate("sklearn.linear_model:zzzz", root)
    assert unlike.value.next_step == "name a function or a class that scikit-learn documents in sklearn.linear_model"
