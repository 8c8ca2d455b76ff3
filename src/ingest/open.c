/* ingest_open with the real engine; apart from the rest, so that tests need not link that. */
#include "ingest/ingest_priv.h"

enum err_code
ingest_open(const struct ingest_options *options, struct ingest **ret_ingest, struct err *err)
{
    static const struct ingest_engine_ops ops = {
        .submit = engine_submit,
        .when_applied = engine_when_applied,
        .wait_applied = engine_wait_applied,
        .status = engine_status,
        .scan = engine_scan,
    };

    return ingest_open_with(options, &ops, ret_ingest, err);
}
