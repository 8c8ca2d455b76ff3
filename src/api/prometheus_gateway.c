/* Metrics of the gateway, for GET /metrics. */
#include "api/api_private.h"
#include "api/prom_page.h"
#include "gateway/gateway.h"

static void
write_upstreams(struct page *page, struct gateway *gateway)
{
    struct gateway_upstream_status status;
    const char *full = page_family(page, "gateway_upstream_paused", PROM_GAUGE,
                                   "1 while calls to the upstream are refused by its breaker.");

    for (size_t i = 0; gateway_upstream_status(gateway, i, &status); i++) {
        const struct prom_label label = {"upstream", slice_of(status.name)};
        prom_sample(page->out, full, &label, 1, status.state == UPSTREAM_FINE ? 0 : 1);
    }
    full = page_family(page, "gateway_upstream_failures", PROM_GAUGE,
                       "Failures of the upstream in a row.");
    for (size_t i = 0; gateway_upstream_status(gateway, i, &status); i++) {
        const struct prom_label label = {"upstream", slice_of(status.name)};
        prom_sample(page->out, full, &label, 1, status.failures);
    }
}

void
write_gateway_metrics(struct gateway *gateway, struct page *page)
{
    struct gateway_stats stats;

    gateway_stats(gateway, &stats);
    page_counter(page, "gateway_calls_total", "Calls to forward, refused ones included.",
                 stats.calls);
    page_counter(page, "gateway_refused_total", "Calls that a budget refused.", stats.refused);
    page_counter(page, "gateway_breaker_refused_total", "Calls that an upstream's breaker refused.",
                 stats.breaker_refused);
    page_counter(page, "gateway_attempts_total", "Requests sent to upstreams.", stats.attempts);
    page_counter(page, "gateway_retries_total", "Those of them that repeated one.", stats.retries);
    page_counter(page, "gateway_upstream_errors_total", "Requests without a complete answer.",
                 stats.upstream_errors);
    page_counter(page, "gateway_clients_gone_total", "Calls whose client left before their end.",
                 stats.clients_gone);
    page_counter(page, "gateway_commit_failures_total",
                 "Calls that were made and could not be booked.", stats.commit_failures);
    page_counter(page, "gateway_sent_bytes_total", "Bytes of bodies sent to upstreams.",
                 stats.bytes_up);
    page_counter(page, "gateway_received_bytes_total", "Bytes of bodies received from upstreams.",
                 stats.bytes_down);
    page_gauge(page, "gateway_calls_active", "Calls under way.", (double)stats.active);
    write_upstreams(page, gateway);
}
