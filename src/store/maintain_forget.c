/* Keys of requests that nobody may send again any more: their rows go, or the table would grow for
 * as long as there are clients. */
#include "codec/time.h"
#include "store/maintain_private.h"

/* Twice what the ingest keeps a key for, so that a clock that is set back finds them still there.
 */
#define KEPT_US (2 * TIME_US_PER_DAY)

enum err_code
maintain_forget(struct maintain *maintain, struct err *err)
{
    int32_t day = cold_day_of(clock_wall_us(maintain->engine->clock) - KEPT_US);
    struct cold_drop drop = {.kind = COLD_KIND_COUNT,
                             .table = TABLE_IDEMPOTENCY,
                             .hot = true,
                             .first_day = (int32_t)(TIME_MIN_US / TIME_US_PER_DAY),
                             .last_day = day - 1};

    if (day == maintain->forgotten_day) {
        return ERR_OK;
    }
    enum err_code code = maintain_drop_between(maintain, &drop, err);
    if (code != ERR_OK) {
        return err_context(err, code, "forgetting old idempotency keys");
    }
    maintain->forgotten_day = day;
    return ERR_OK;
}
