"""Stored totals as Prometheus text. Knows metric names, no store and no request."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from receiver import __version__
from receiver.store.interface import Arrivals, Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Everything since the beginning, as stored, so that every process and every restart tells the same.

    Attributes:
        arrivals: by carrier.
        refusals: by carrier and reason.
        lag_seconds: how long the oldest delivery that is not folded yet has been waiting.
    """

    arrivals: Mapping[str, Arrivals]
    refusals: Mapping[tuple[str, str], int]
    progress: Progress
    lag_seconds: float


def render(totals: Totals, *, accept: str) -> tuple[bytes, str]:
    """The totals in the form asked for, Prometheus text or OpenMetrics, with its content type."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected(totals))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


class _Collected(Collector):
    def __init__(self, totals: Totals) -> None:
        self._totals = totals

    def collect(self) -> Iterable[Metric]:
        yield from self._arrived()
        refused = CounterMetricFamily(
            "voicecb_callbacks_rejected", "Requests answered with anything but success.", labels=["carrier", "reason"]
        )
        for (carrier, reason), count in sorted(self._totals.refusals.items()):
            refused.add_metric([carrier, reason], count)
        yield refused
        yield from self._standing()
        yield InfoMetricFamily("voicecb_build", "What is running.", value={"version": __version__})

    def _arrived(self) -> Iterable[Metric]:
        kinds = {
            "deliveries": ("voicecb_callbacks", "Callbacks kept in the journal, duplicates included."),
            "duplicates": ("voicecb_callbacks_duplicate", "Byte-equal deliveries beyond the first."),
            "quarantined": ("voicecb_callbacks_quarantined", "Arrivals of bodies that could not be decoded."),
            "held": ("voicecb_callbacks_held", "Callbacks that came under no pin."),
            "unknown_kind": ("voicecb_callbacks_unknown_kind", "Callbacks of a kind this version does not know."),
        }
        for field, (name, text) in kinds.items():
            family = CounterMetricFamily(name, text, labels=["carrier"])
            for carrier, arrivals in sorted(self._totals.arrivals.items()):
                family.add_metric([carrier], getattr(arrivals, field))
            yield family

    def _standing(self) -> Iterable[Metric]:
        progress = self._totals.progress
        yield GaugeMetricFamily(
            "voicecb_projector_lag_rows",
            "Journal rows that are not in the figures yet.",
            value=max(progress.last_seq - progress.watermark, 0),
        )
        yield GaugeMetricFamily(
            "voicecb_projector_lag_seconds",
            "How long the oldest of those rows has been waiting.",
            value=self._totals.lag_seconds,
        )
        if progress.last_callback_us is not None:
            yield GaugeMetricFamily(
                "voicecb_last_callback_timestamp_seconds",
                "When the last callback came that is in the figures.",
                value=progress.last_callback_us / 1e6,
            )
