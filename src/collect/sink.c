/* The sink of the running program: ingest. */
#include "collect/collect.h"
#include "ingest/ingest.h"

static enum err_code
write_to_ingest(void *ctx, const struct batch *batches, size_t count, struct err *err)
{
    uint64_t lsn;

    return ingest_write(ctx, batches, count, &lsn, err);
}

struct collect_sink
collect_sink_ingest(struct ingest *ingest)
{
    return (struct collect_sink){write_to_ingest, ingest};
}
