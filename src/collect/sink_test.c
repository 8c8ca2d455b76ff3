/* Tests of the sink that is ingest; ingest_write is replaced at link time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "collect/collect.h"
#include "ingest/ingest.h"

struct ingest {
    size_t count;
    enum err_code answer;
};

enum err_code
ingest_write(struct ingest *ingest, const struct batch *batches, size_t count, uint64_t *ret_lsn,
             struct err *err)
{
    assert_non_null(batches);
    ingest->count += count;
    if (ingest->answer) {
        return err_set(err, ingest->answer, "refused");
    }
    *ret_lsn = 1;
    return ERR_OK;
}

static void
test_sink_hands_batches_to_ingest(void **state)
{
    struct ingest ingest = {0};
    struct collect_sink sink = collect_sink_ingest(&ingest);
    struct batch batches[2] = {0};
    struct err err;

    (void)state;
    assert_int_equal(sink.write(sink.ctx, batches, 2, &err), ERR_OK);
    assert_int_equal(ingest.count, 2);
    ingest.answer = ERR_BUSY;
    assert_int_equal(sink.write(sink.ctx, batches, 1, &err), ERR_BUSY);
    assert_string_equal(err.msg, "refused");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_sink_hands_batches_to_ingest)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
