/* Metrics of the gateway, for GET /metrics. */
#include <stdio.h>

#include "api/api_private.h"
#include "codec/prom_text.h"
#include "gateway/gateway.h"

enum { NAME_BYTES = 128 };

static void
counter(const char *namespace, struct buf *out, const char *name, const char *help, uint64_t value)
{
    char full[NAME_BYTES];

    snprintf(full, sizeof(full), "%s_gateway_%s", namespace, name);
    prom_family(out, full, PROM_COUNTER, help);
    prom_sample_u64(out, full, NULL, 0, value);
}

static void
write_upstreams(struct gateway *gateway, const char *namespace, struct buf *out)
{
    struct gateway_upstream_status status;
    char full[NAME_BYTES];

    snprintf(full, sizeof(full), "%s_gateway_upstream_paused", namespace);
    prom_family(out, full, PROM_GAUGE, "1 while calls to the upstream are refused by its breaker.");
    for (size_t i = 0; gateway_upstream_status(gateway, i, &status); i++) {
        const struct prom_label label = {"upstream", slice_of(status.name)};
        prom_sample(out, full, &label, 1, status.state == UPSTREAM_FINE ? 0 : 1);
    }
    snprintf(full, sizeof(full), "%s_gateway_upstream_failures", namespace);
    prom_family(out, full, PROM_GAUGE, "Failures of the upstream in a row.");
    for (size_t i = 0; gateway_upstream_status(gateway, i, &status); i++) {
        const struct prom_label label = {"upstream", slice_of(status.name)};
        prom_sample(out, full, &label, 1, status.failures);
    }
}

void
write_gateway_metrics(struct gateway *gateway, const char *namespace, struct buf *out)
{
    struct gateway_stats stats;
    char full[NAME_BYTES];

    gateway_stats(gateway, &stats);
    counter(namespace, out, "calls_total", "Calls to forward, refused ones included.", stats.calls);
    counter(namespace, out, "refused_total", "Calls that a budget refused.", stats.refused);
    counter(namespace, out, "breaker_refused_total", "Calls that an upstream's breaker refused.",
            stats.breaker_refused);
    counter(namespace, out, "attempts_total", "Requests sent to upstreams.", stats.attempts);
    counter(namespace, out, "retries_total", "Those of them that repeated one.", stats.retries);
    counter(namespace, out, "upstream_errors_total", "Requests without a complete answer.",
            stats.upstream_errors);
    counter(namespace, out, "clients_gone_total", "Calls whose client left before their end.",
            stats.clients_gone);
    counter(namespace, out, "commit_failures_total",
            "Calls that were made and could not be booked.", stats.commit_failures);
    counter(namespace, out, "sent_bytes_total", "Bytes of bodies sent to upstreams.",
            stats.bytes_up);
    counter(namespace, out, "received_bytes_total", "Bytes of bodies received from upstreams.",
            stats.bytes_down);
    snprintf(full, sizeof(full), "%s_gateway_calls_active", namespace);
    prom_family(out, full, PROM_GAUGE, "Calls under way.");
    prom_sample(out, full, NULL, 0, (double)stats.active);
    write_upstreams(gateway, namespace, out);
}
