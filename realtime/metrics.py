"""What `/metrics` shows, one name per line. No label carries an identity."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

CONNECTIONS = Gauge("gateway_connections", "Open connections of this process", ["protocol"])
FRAMES_IN = Counter("gateway_frames_received_total", "Frames received", ["protocol"])
REFUSALS = Counter("gateway_refusals_total", "Errors told to peers", ["protocol", "error"])
CLOSES = Counter("gateway_closes_total", "Closes that the server began", ["protocol", "code"])
RUNS = Counter("gateway_runs_total", "Runs ended", ["status"])
BUS_LOST = Counter("gateway_bus_lost_total", "Live events that the bus could not carry")
HISTORY_UNNUMBERED = Counter(
    "gateway_history_unnumbered_total", "Messages to be recorded that Redis may not have kept"
)
RECOVERIES = Counter("gateway_recoveries_total", "Recoveries asked for", ["outcome"])
BUS_UP = Gauge("gateway_bus_up", "1 while the bus answers")
ANNOUNCED = Counter("gateway_announcements_total", "Announcements heard by this process")
SERVICE_SECONDS = Histogram(
    "gateway_service_seconds", "Time of one domain operation", ["operation"]
)
