"""What the role counts."""

from prometheus_client import Counter, Gauge

FIRED = Counter("fleet_alerts_fired_total", "Alerts that fired", ["rule", "severity"])
RESOLVED = Counter("fleet_alerts_resolved_total", "Alerts that were resolved", ["rule"])
OPEN = Gauge("fleet_alerts_open", "Alerts that are open, of this owner")
LEFT_OUT = Gauge(
    "fleet_alerts_left_out", "Conditions that are met beyond a limit, without an alert of their own"
)
FLAPPING = Gauge("fleet_alerts_flapping", "Alerts that flap, and stay open until they are steady")
FLAPPED = Counter("fleet_alerts_flapped_total", "Alerts that began to flap when they fired", ["rule"])
GROWN = Counter(
    "fleet_alerts_grown_total", "Times that twice as many were left out as were told of", ["rule"]
)
PENDING = Gauge("fleet_alerts_pending", "Conditions that are met, and not for long enough yet")
COMMANDS = Counter("fleet_alerts_commands_total", "Commands sent to Redis to look at values")
ROUND = Gauge("fleet_alerts_round_seconds", "How long the last look at all values took")

SENT = Counter("fleet_alerts_webhook_sent_total", "Messages that the webhook took")
FAILED = Counter(
    "fleet_alerts_webhook_failed_total", "Tries to send a message that the webhook did not take", ["reason"]
)
DROPPED = Counter(
    "fleet_alerts_webhook_dropped_total",
    "Messages never taken by the webhook: refused, tried for too long, too many waiting, or in an hour",
    ["reason"],
)

COMMENTED = Counter("fleet_alerts_comments_total", "Alerts that the language model commented on")
COMMENT_FAILED = Counter(
    "fleet_alerts_comments_failed_total",
    "Questions to the language model without a usable answer",
    ["reason"],
)
COMMENT_SKIPPED = Counter(
    "fleet_alerts_comments_skipped_total",
    "Alerts the language model was not asked about: a limit is reached, or too many wait",
    ["reason"],
)
