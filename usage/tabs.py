"""The pages of *Metrics*, in one place: the tabs above each of them, and what the navigation counts as them."""

from __future__ import annotations

# Label, URL name, and which other URLs stand below it.
TABS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("Consumption", "consumption", ("save-view",)),
    ("Calls", "calls", ("call",)),
    ("Runs", "runs", ()),
    ("Anatomy", "anatomy", ()),
    ("Anomalies", "anomalies", ("expect-anomaly", "anomaly-webhook")),
    ("Forecast", "forecast", ()),
    ("What-if", "routing:what-if", ()),
    ("Advisor", "candidates:advisor", ()),
    ("Export", "export", ("export-file",)),
)


def metrics_urls() -> tuple[str, ...]:
    """The names of all their URLs."""
    return tuple(name for _, own, below in TABS for name in (own, *below))
