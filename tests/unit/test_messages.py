"""Messages between a supervisor and a run's process: what goes in comes out, and nothing else is understood."""

from __future__ import annotations

import datetime as dt
import json
import math
import uuid
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optaic.domain.artifact import Artifact, StoredObject
from optaic.domain.kind import FlowKind
from optaic.domain.status import Standing
from optaic.domain.version import Column, DatasetVersion, Segment, SegmentRole
from optaic.engines.messages import (
    Failed,
    Finished,
    RunSpec,
    decode_line,
    decode_spec,
    encode_batch,
    encode_end,
    encode_spec,
)
from optaic.engines.output import MAX_LINE_BYTES, LineReader, OutputReader
from optaic.errors import EngineError
from optaic.flows.report import Batch, LogLine, MetricPoint, Progress
from optaic.flows.secret import masker, secret_values
from optaic.flows.task import DatasetChange, PinnedInput, Result, Task

NOON = dt.datetime(2024, 1, 2, 12, 0, 0, 123456, tzinfo=dt.UTC)
SEGMENT = Segment(
    key="t1/datasets/prices/1.parquet",
    role=SegmentRole.REVISE,
    row_count=3,
    size_bytes=100,
    sha256="ab" * 32,
    first_date=dt.date(2024, 1, 1),
    last_date=dt.date(2024, 1, 2),
    first_known_at=NOON,
    last_known_at=NOON,
)
VERSION = DatasetVersion(
    id=uuid.UUID(int=7),
    number=3,
    key_columns=("date", "symbol"),
    columns=(Column(name="close", dtype="Float64"),),
    segments=(SEGMENT, SEGMENT),
    row_count=6,
    first_data_date=dt.date(2024, 1, 1),
    last_data_date=None,
    content_digest="cd" * 32,
)

texts = st.text()
instants = st.floats(0, 4e9)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


def task_of(params: Mapping[str, object]) -> Task:
    return Task(
        run_id=uuid.UUID(int=1),
        attempt=2,
        tenant_id=3,
        instance="prices",
        flow_kind=FlowKind.REFRESH,
        code_ref="a.b:c",
        code_digest=None,
        config={"key": ["date", "symbol"]},
        params=params,
        seed=2**40,
        as_of=NOON,
        mode="incremental",
        standing=Standing.TRIAL,
        started_at=NOON,
        current=VERSION,
        inputs=(PinnedInput(role="close", instance="raw", version=VERSION, columns=("close",)),),
    )


@given(st.dictionaries(st.text(), json_values))
def test_a_specification_comes_out_as_it_went_in(params: dict[str, object]) -> None:
    spec = RunSpec(
        task=task_of(params),
        store_url="file:///store",
        project_root="/p",
        environment={"A": "b"},
        retry_on=("OSError",),
    )
    line = encode_spec(spec)
    assert line.count(b"\n") == 1
    assert decode_spec(line) == spec
    assert spec.mark == "00000000-0000-0000-0000-000000000001:2"


def test_a_result_comes_out_as_it_went_in() -> None:
    stored = StoredObject(key="k", size_bytes=1, sha256="ef" * 32)
    result = Result(
        metrics={"rows": 3, "ic": 0.031, "last_data_date": "2024-01-02", "none": None},
        artifacts=(Artifact(name="a.parquet", kind="frame", media_type="application/x", stored=stored),),
        dataset=DatasetChange(
            segments=(SEGMENT,),
            columns=VERSION.columns,
            row_count=1,
            first_data_date=None,
            last_data_date=dt.date(2024, 1, 2),
            changed_from=dt.date(2024, 1, 1),
            changed_columns=("close",),
            rows_fetched=1,
            rows_inserted=2,
            rows_updated=3,
            rows_deleted=4,
            rows_unchanged=5,
            bytes_written=6,
        ),
        slices={"close": (dt.date(2024, 1, 1), dt.date(2024, 1, 2)), "other": None},
    )
    assert decode_line(encode_end(Finished(result=result))) == [Finished(result=result)]


def test_a_failure_comes_out_as_it_went_in() -> None:
    failed = Failed(
        code="flow_error",
        message="ValueError: a\nb \u2028 é",
        next_step="look",
        traceback="Traceback\n  x",
        retryable=True,
        exception_type="m.E",
    )
    assert decode_line(encode_end(failed)) == [failed]


def test_nan_is_a_legal_value_of_a_metric() -> None:
    (finished,) = decode_line(encode_end(Finished(result=Result(metrics={"ic": math.nan}))))
    assert isinstance(finished, Finished)
    assert math.isnan(float(finished.result.metrics["ic"] or 0))
    (point,) = decode_line(encode_batch(Batch(points=[("ic", math.nan, 1, 0.0)])))
    assert isinstance(point, MetricPoint)
    assert math.isnan(point.value)


@given(
    st.none() | st.tuples(st.floats(0, 100), st.none() | texts, instants),
    st.lists(
        st.tuples(
            st.text(min_size=1, max_size=200),
            st.floats(allow_nan=False, allow_infinity=False),
            st.none() | st.integers(-(2**63), 2**63 - 1),
            st.floats(0, 4e9),
        )
    ),
    st.lists(st.tuples(instants, st.just("INFO"), texts, st.just("log"))),
)
def test_a_batch_comes_out_as_it_went_in(
    progress: tuple[float, str | None, float] | None,
    points: list[tuple[str, float, int | None, float]],
    lines: list[tuple[float, str, str, str]],
) -> None:
    batch = Batch(progress=progress, points=points, lines=lines)
    line = encode_batch(batch)
    assert line.count(b"\n") == 1
    assert decode_line(line) == batch.reports()
    assert bool(batch) == bool(batch.reports())


@pytest.mark.parametrize(
    "line",
    [b"", b"{}", b"[]", b"null", b"garbage", b'["finished", {"metrics": 3}]', b'["reports", 1]', b"\xff", b"[[[["],
)
def test_what_is_no_message_is_refused_and_never_executed(line: bytes) -> None:
    with pytest.raises(EngineError):
        decode_line(line)


@pytest.mark.parametrize(
    "rows",
    [
        '[500.0, null, 0], [], []',
        '[-1, null, 0], [], []',
        '[NaN, null, 0], [], []',
        '[true, null, 0], [], []',
        '["5", null, 0], [], []',
        '[5, 7, 0], [], []',
        '[5, null, 1e300], [], []',
        'null, [["k", 1.0, 99999999999999999999999, 0]], []',
        'null, [["k", 1.0, 1.5, 0]], []',
        'null, [["k", 1.0, true, 0]], []',
        'null, [["k", 1.0, 1, 1e300]], []',
        'null, [["k", 1.0, 1, -1]], []',
        'null, [["k", 1.0, 1, NaN]], []',
        'null, [["k", 1.0, 1, 253402300800]], []',
        'null, [["k", "abc", 1, 0]], []',
        'null, [["k", Infinity, 1, 0]], []',
        'null, [["k", null, 1, 0]], []',
        'null, [["k", false, 1, 0]], []',
        'null, [["k", 1' + "0" * 400 + ', 1, 0]], []',
        'null, [[null, 1.0, 1, 0]], []',
        'null, [["", 1.0, 1, 0]], []',
        'null, [["' + "k" * 201 + '", 1.0, 1, 0]], []',
        'null, [["k", 1.0, 1]], []',
        'null, null, []',
        'null, 3, []',
        'null, [], [[0, "INFO", 5, "log"]]',
        'null, [], [[0, "LOUD", "x", "log"]]',
        'null, [], [[0, "INFO", "x", "elsewhere"]]',
        'null, [], [[null, "INFO", "x", "log"]]',
    ],
)  # fmt: skip
def test_no_row_is_taken_that_a_flow_could_not_have_reported(rows: str) -> None:
    with pytest.raises(EngineError):
        decode_line(f'["reports", {rows}]'.encode())


def test_half_of_a_surrogate_pair_does_not_lose_a_batch() -> None:
    batch = Batch(progress=(5.0, "a\ud800", 0.0), points=[("k", 1.0, 1, 0.0)], lines=[(0.0, "INFO", "b\ud800", "log")])
    line, point, progress = decode_line(encode_batch(batch))
    assert isinstance(line, LogLine)
    assert isinstance(point, MetricPoint)
    assert isinstance(progress, Progress)
    assert (line.text, progress.note) == ("b\ufffd", "a\ufffd")


def test_what_is_no_specification_is_refused() -> None:
    with pytest.raises(EngineError, match="specification"):
        decode_spec(b'{"task": 1}')


@given(st.lists(st.binary(max_size=20).filter(lambda line: b"\n" not in line)), st.integers(1, 7))
def test_lines_are_the_same_however_they_arrive(lines: list[bytes], size: int) -> None:
    stream = b"".join(line + b"\n" for line in lines)
    reader = LineReader()
    found = [line for start in range(0, len(stream), size) for line in reader.feed(stream[start : start + size])]
    assert found == lines


def test_a_line_that_never_ends_is_not_kept() -> None:
    reader = LineReader(100)
    assert reader.feed(b"x" * 60 + b"\n" + b"y" * 90) == [b"x" * 60]
    assert reader.feed(b"y" * 10) == []
    with pytest.raises(EngineError, match="100 bytes"):
        reader.feed(b"y")
    assert reader.feed(b"z\n") == [b"z"]


def test_output_is_cut_at_line_ends_and_progress_bars_keep_their_last_state() -> None:
    reader = OutputReader()
    assert [line.text for line in reader.feed(b"one\r\n 10%\r 50%\r100%\nthr")] == ["one", "100%"]
    assert [line.text for line in reader.feed(b"ee\n\n\xff\n")] == ["three", "", "\ufffd"]
    assert reader.feed(b"rest") == []
    assert [(line.text, line.stream, line.level) for line in reader.finish()] == [("rest", "output", "INFO")]
    assert reader.finish() == []


def test_output_without_line_ends_costs_no_memory() -> None:
    reader = OutputReader()
    texts = [line.text for _ in range(40) for line in reader.feed(b"x" * 10_000)] + [
        line.text for line in reader.finish()
    ]
    assert "".join(texts) == "x" * 400_000
    assert max(map(len, texts)) <= MAX_LINE_BYTES


def test_secrets_are_masked_in_output_wherever_the_stream_is_cut() -> None:
    stream = (b"y" * (MAX_LINE_BYTES - 5) + b"correct-horse" + b"z" * 20) + b"\nends correct-horse"
    for size in (1, 7, 1000, len(stream)):
        reader = OutputReader(("correct-horse",))
        pieces = [stream[start : start + size] for start in range(0, len(stream), size)]
        lines = [line for piece in pieces for line in reader.feed(piece)] + reader.finish()
        texts = [line.text for line in lines]
        assert "correct-horse" not in "".join(texts)
        assert texts[-1] == "ends [secret]"


def test_secrets_are_found_anywhere_in_a_config() -> None:
    config = {"a": "${env:ONE}", "b": [{"c": "x ${env:TWO} y"}, 3, None], "d": "${env:MISSING} ${env:SHORT}"}
    environ = {"ONE": "first-secret", "TWO": "two\nlines of it", "SHORT": "abc", "OTHER": "not-asked-for"}
    secrets = secret_values(config, environ=environ)
    assert set(secrets) == {"first-secret", "two\nlines of it", "two\\nlines of it", "lines of it"}
    mask = masker(secrets)
    assert mask is not None
    assert mask("first-secret, lines of it, not-asked-for") == "[secret], [secret], not-asked-for"
    assert masker(()) is None


def test_secrets_are_found_as_json_and_python_write_them() -> None:
    value = "pä\"ss\\word'1"
    mask = masker(secret_values("${env:ONE}", environ={"ONE": value}))
    assert mask is not None
    for text in (json.dumps([value]), json.dumps([value], ensure_ascii=False), repr([value])):
        assert mask(text) in ('["[secret]"]', "['[secret]']")
