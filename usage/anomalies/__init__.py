"""
Where use went off its usual course: what changed, since when, what it costs, and what drives it.

What judges is here, and knows neither Django nor the database: hours in, findings out. `docs/metering.md` says how well
it does on recorded traffic, and `python -m benchmarks.anomalies` measures that.
"""
