"""Metrics: their labels stay in closed sets."""

import pytest
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.metrics import MetricWrapperBase

from pcf.database import retry, snapshots
from pcf.errors import ClientError
from pcf.observability import metrics
from pcf.observability.metrics import MAX_NAMES, Labelled, complexity_bucket, outcome
from pcf.project.schema import schema  # noqa: F401 - brings in every error of the apps


def counter(*labels):
    return Counter("c", "A counter", labels, registry=CollectorRegistry())


def series(labelled):
    return {
        tuple(sample.labels.values()): sample.value
        for metric in labelled.collect()
        for sample in metric.samples
        if sample.name.endswith("_total")
    }


def test_series_of_closed_sets_exist_from_the_start():
    labelled = Labelled(counter("a", "b"), ("1", "2"), ("x",))
    assert series(labelled) == {("1", "x"): 0, ("2", "x"): 0}


def test_a_value_outside_of_its_set_is_other():
    labelled = Labelled(counter("a", "b"), ("1",), ("x",))
    for number in range(100):
        labelled.labels(f"made up {number}", "x").inc()
    labelled.labels("1", "nor this").inc()
    labelled.labels("1", "x").inc()
    assert series(labelled) == {("1", "x"): 1, ("other", "x"): 100, ("1", "other"): 1}


def test_an_open_label_keeps_a_number_of_names():
    labelled = Labelled(counter("a"), None)
    for number in range(MAX_NAMES + 20):
        labelled.labels(f"Loader{number}").inc()
    labelled.labels("Loader0").inc()
    found = series(labelled)
    assert len(found) == MAX_NAMES + 1
    assert (found["Loader0",], found["other",]) == (2, 20)


def subclasses(of):
    for cls in of.__subclasses__():
        yield cls
        yield from subclasses(cls)


def test_every_error_code_has_its_series():
    codes = {cls.code for cls in subclasses(ClientError) if cls.__module__.split(".")[0] != "tests"}
    assert "TIMEOUT" in codes
    assert codes <= set(metrics.CODES)


def test_every_metric_with_labels_is_bounded():
    found = [value for value in vars(metrics).values() if isinstance(value, MetricWrapperBase)]
    assert found
    assert [metric for metric in found if metric._labelnames] == []


def test_every_reason_of_a_retry_has_its_series():
    lost = {*retry.LOST_STATES.values(), retry.CONNECTION_LOST}
    aborted = {*retry.ABORTED_STATES.values(), retry.READ_ONLY}
    assert lost | aborted | snapshots.ERRORS_OF_STATEMENTS == set(metrics.RETRY_REASONS)


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ([], "ok"),
        (["BAD_USER_INPUT"], "client_error"),
        (["BAD_USER_INPUT", "TIMEOUT"], "server_error"),
        (["INTERNAL_SERVER_ERROR", "BAD_REQUEST"], "server_error"),
    ],
)
def test_outcomes(codes, expected):
    assert outcome(codes) == expected


@pytest.mark.parametrize(
    ("complexity", "bucket"),
    [(None, "none"), (0, "simple"), (10, "simple"), (11, "moderate"), (50, "moderate"),
     (51, "complex")],
)  # fmt: skip
def test_complexity_buckets(complexity, bucket):
    assert complexity_bucket(complexity) == bucket
