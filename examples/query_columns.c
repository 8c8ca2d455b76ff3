/*
 * Asks a data directory in SQL and prints the answer column by column, from the Arrow arrays that
 * the library streams:
 *
 *   query_columns DATA_DIR SQL [TEXT_PARAMETER ...]
 *
 * Exit status: 0, or 1 with the reason on standard error.
 */
#include <eider/eider.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { PARAMS_MAX = 16, ROWS = 1000 };

static bool
is_null(const struct ArrowArray *array, int64_t row)
{
    const uint8_t *bits = array->buffers[0];

    return bits && !(bits[row / 8] >> (row % 8) & 1);
}

static void
print_cell(const struct ArrowSchema *schema, const struct ArrowArray *array, int64_t row)
{
    const char *format = schema->format;
    const void *data = array->buffers[1];

    row += array->offset;
    if (is_null(array, row)) {
        printf("NULL");
    } else if (strcmp(format, "b") == 0) {
        printf("%s", ((const uint8_t *)data)[row / 8] >> (row % 8) & 1 ? "true" : "false");
    } else if (strcmp(format, "i") == 0) {
        printf("%" PRId32, ((const int32_t *)data)[row]);
    } else if (strcmp(format, "l") == 0 || strcmp(format, "tsu:") == 0) {
        printf("%" PRId64, ((const int64_t *)data)[row]);
    } else if (strcmp(format, "g") == 0) {
        printf("%.17g", ((const double *)data)[row]);
    } else if (strcmp(format, "u") == 0) {
        const int32_t *offsets = data;
        const char *bytes = array->buffers[2];
        printf("%.*s", offsets[row + 1] - offsets[row], bytes + offsets[row]);
    } else { /* d:18,6: the lower half holds it */
        printf("%" PRId64 "e-6", ((const int64_t *)data)[2 * row]);
    }
}

static void
print_batch(const struct ArrowSchema *schema, const struct ArrowArray *batch)
{
    printf("batch of %" PRId64 " rows\n", batch->length);
    for (int64_t i = 0; i < batch->n_children; i++) {
        printf("%s:", schema->children[i]->name);
        for (int64_t row = 0; row < batch->length; row++) {
            printf(" ");
            print_cell(schema->children[i], batch->children[i], row);
        }
        printf("\n");
    }
}

static int
print_stream(struct ArrowArrayStream *stream)
{
    struct ArrowSchema schema;
    struct ArrowArray batch;
    int result = stream->get_schema(stream, &schema);

    if (result == 0) {
        while ((result = stream->get_next(stream, &batch)) == 0 && batch.release) {
            print_batch(&schema, &batch);
            batch.release(&batch);
        }
        schema.release(&schema);
    }
    if (result != 0) {
        fprintf(stderr, "%s\n", stream->get_last_error(stream));
    }
    return result == 0 ? 0 : 1;
}

int
main(int argc, char **argv)
{
    struct eider_options options = {.data_dir = argc > 1 ? argv[1] : NULL};
    struct eider_param params[PARAMS_MAX];
    struct eider_query query = {.sql = argc > 2 ? argv[2] : NULL, .params = params};
    struct ArrowArrayStream stream;
    struct eider_error error;
    struct eider_db *db;
    int result = 1;

    if (argc < 3 || argc > 3 + PARAMS_MAX) {
        fprintf(stderr, "usage: %s DATA_DIR SQL [TEXT_PARAMETER ...]\n", argv[0]);
        return 1;
    }
    for (int i = 3; i < argc; i++) {
        params[query.param_count++] = (struct eider_param){
            .type = EIDER_PARAM_TEXT, .text = argv[i], .text_len = strlen(argv[i])};
    }
    if (eider_open(&options, &db, &error) != EIDER_OK) {
        fprintf(stderr, "%s: %s\n", eider_status_name(error.status), error.message);
        return 1;
    }
    if (eider_query_stream(db, &query, ROWS, &stream, &error) == EIDER_OK) {
        result = print_stream(&stream);
        stream.release(&stream);
    } else {
        fprintf(stderr, "%s: %s\n", eider_status_name(error.status), error.message);
    }
    eider_close(db);
    return result;
}
