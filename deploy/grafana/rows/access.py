"""Access: who is let in, who is held back, how long the certificate is good."""

from deploy.grafana.panels import NUMBER, PER_S, SECONDS, Look, Panel, Query, curves
from deploy.grafana.promql import of, rate, total

_DAY_S = 86400


def panels() -> list[Panel]:
    """Give the row's panels."""
    expiry = of("nasfeat_certificate_expiry_timestamp_seconds")
    return [
        curves(
            "Images by tenant",
            "Empty where no tokens are configured.",
            Look(unit=PER_S, stacked=True),
            Query(expr=total(rate(of("nasfeat_tenant_frames_total")), "tenant"), legend="{{tenant}}"),
        ),
        curves(
            "Held back by tenant",
            "Frames and streams above a tenant's quota.",
            Look(unit=PER_S, runbooks=("DropRateHigh",)),
            Query(expr=total(rate(of("nasfeat_tenant_throttled_total")), "tenant"), legend="{{tenant}}"),
        ),
        curves(
            "Streams by tenant",
            "Open now.",
            Look(unit=NUMBER, stacked=True),
            Query(expr=total(of("nasfeat_tenant_streams"), "tenant"), legend="{{tenant}}"),
        ),
        curves(
            "Calls not let in by reason",
            "No token, a wrong one, or one that is not allowed what it asked for.",
            Look(unit=PER_S),
            Query(expr=total(rate(of("nasfeat_auth_failures_total")), "reason"), legend="{{reason}}"),
        ),
        curves(
            "Certificate, time left",
            "Until the served certificate expires. Empty without TLS.",
            Look(
                unit=SECONDS,
                least=None,
                inverted=True,
                limits=((3 * _DAY_S, "orange"), (14 * _DAY_S, "green")),
                runbooks=("CertificateExpiring",),
            ),
            Query(expr=f"{expiry} - time()", legend="{{instance}}"),
        ),
    ]
