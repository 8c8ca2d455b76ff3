/* Opening the meter, its prices, and the head of its chain. */
#include "server/meter.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "codec/decimal.h"
#include "codec/time.h"
#include "meter/price.h"

enum { FILE_MODE = 0640, LINE_BYTES = 256 };

static const char default_prices[] = "prices";

static void
on_event(void *ctx, bool is_problem, const char *text)
{
    (void)ctx;
    log_write(is_problem ? LOG_WARNING : LOG_INFO, "meter", "%s", text);
}

static void
on_durable(void *ctx, const struct batch *batches, size_t count, uint64_t lsn)
{
    live_update(ctx, batches, count, lsn);
}

static enum err_code
select_books(const struct config *config, struct prices *prices, struct err *err)
{
    const struct config_list *list = &config->meter.price_books;

    for (size_t i = 0; i < list->count; i++) {
        struct slice book = slice_of(list->items[i]);
        struct slice api;
        slice_split(&book, '=', &api);
        enum err_code code = prices_select(prices, slice_trim(api), slice_trim(book), err);
        if (code != ERR_OK) {
            return err_context(err, code, "meter.price_books");
        }
    }
    return ERR_OK;
}

static enum err_code
load_prices(const struct config *config, struct prices **ret_prices, struct err *err)
{
    const char *dir = config->meter.prices_dir;
    struct prices *prices;

    if (!dir && access(default_prices, F_OK) == 0) {
        dir = default_prices;
    }
    enum err_code code = prices_load(dir, &prices, err);
    if (code != ERR_OK) {
        if (config->meter.prices_dir) {
            code = access(dir, F_OK) == 0 ? code : ERR_USAGE;
            err->code = code;
            (void)err_context(err, code, "%s: meter.prices_dir",
                              config_where(config, "meter.prices_dir"));
        }
        return code;
    }
    code = select_books(config, prices, err);
    if (code != ERR_OK) {
        prices_unref(prices);
        return code;
    }
    *ret_prices = prices;
    return ERR_OK;
}

enum err_code
server_meter_open(const struct config *config, struct engine *engine, struct live *live,
                  struct meter **ret_meter, struct err *err)
{
    struct meter_options options = {
        .sink = on_durable,
        .sink_ctx = live,
        .event = on_event,
        .has_default_budget = config->meter.circuit_breaker.enabled,
        .budgets = {.window_entries_max = (size_t)config->meter.window_entries_max},
        .ids_recent_max = (size_t)config->meter.ids_recent_max,
        .reservations_max = (size_t)config->meter.reservations_max,
    };
    struct prices *prices;
    enum err_code code = load_prices(config, &prices, err);

    if (code != ERR_OK) {
        return code;
    }
    meter_engine_io(engine, &options.io);
    budget_def_init(&options.default_budget, "default");
    options.default_budget.window_us =
        config->meter.circuit_breaker.window_minutes * 60 * TIME_US_PER_S;
    options.default_budget.hard_limit = config->meter.circuit_breaker.threshold * DECIMAL_ONE;
    code = meter_open(&options, ret_meter, err);
    if (code == ERR_OK) {
        meter_set_prices(*ret_meter, prices);
    }
    prices_unref(prices);
    return code;
}

void
server_meter_reload(const struct config *config, struct meter *meter)
{
    struct prices *prices;
    struct err err;

    if (load_prices(config, &prices, &err) != ERR_OK) {
        log_write(LOG_ERROR, "meter", "the old prices stay: %s", err.msg);
        return;
    }
    meter_set_prices(meter, prices);
    log_write(LOG_INFO, "meter", "prices read anew: %zu versions of books",
              prices_version_count(prices));
    prices_unref(prices);
}

static void
append_head(const char *path, const struct chain_head *head, const char *hex, int64_t at_us)
{
    char time[TIME_TEXT_MAX];
    char line[LINE_BYTES];
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, FILE_MODE);

    if (fd < 0) {
        log_write(LOG_ERROR, "meter", "meter.head_file %s cannot be opened: %s", path,
                  strerrordesc_np(errno));
        return;
    }
    time_format_iso8601(at_us, time);
    int len =
        snprintf(line, sizeof(line), "%sZ %llu %s\n", time, (unsigned long long)head->seq, hex);
    if (write(fd, line, (size_t)len) != len) {
        log_write(LOG_ERROR, "meter", "meter.head_file %s cannot be written: %s", path,
                  strerrordesc_np(errno));
    }
    close(fd);
}

void
server_meter_tell_head(const struct config *config, struct meter *meter,
                       struct head_nats *head_nats, uint64_t *last_seq)
{
    int64_t at_us = clock_wall_us(clock_system());
    struct chain_head head;
    char hex[CHAIN_HEX_BYTES];

    meter_head(meter, &head);
    if (head.seq == *last_seq) {
        return;
    }
    *last_seq = head.seq;
    chain_hex(head.hash, hex);
    log_write(LOG_INFO, "meter", "event log head: seq %llu hash %s", (unsigned long long)head.seq,
              hex);
    if (config->meter.head_file) {
        append_head(config->meter.head_file, &head, hex, at_us);
    }
    head_nats_tell(head_nats, &head, at_us);
}
