/*
 * The manifest's text. Its last member is the checksum of all bytes in front of that member, so a
 * reader checks the bytes before it believes the JSON.
 */
#include "backup/manifest.h"

#include <assert.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "codec/json_write.h"
#include "codec/time.h"
#include "store/cold.h"

static const char sum_key[] = ",\"checksum\":\"";
static const char sum_end[] = "\"}\n";

/* LSNs go on behind it, and stay whole numbers of 63 bits. */
static const uint64_t lsn_max = UINT64_C(1) << 62;

enum { TAIL_LEN = sizeof(sum_key) - 1 + FILES_SUM_LEN + sizeof(sum_end) - 1 };

void
manifest_fini(struct manifest *manifest)
{
    free(manifest->files);
    *manifest = (struct manifest){0};
}

void
manifest_add(struct manifest *manifest, const struct manifest_file *file)
{
    size_t count = manifest->file_count;

    if ((count & (count - 1)) == 0) { /* 0 and the powers of two: the array is full */
        manifest->files =
            mem_resize(manifest->files, count ? 2 * count : 1, sizeof(*manifest->files));
    }
    manifest->files[manifest->file_count++] = *file;
}

void
manifest_pool_path(const struct manifest_file *file, char ret_path[MANIFEST_PATH_MAX])
{
    char day[COLD_DAY_TEXT] = "none";

    if (file->file.day != STORE_DAY_NONE) {
        cold_day_format(file->file.day, day);
    }
    snprintf(ret_path, MANIFEST_PATH_MAX, "files/%s%s/date=%s/%s.parquet",
             catalog_table(file->file.table)->name, cold_kind_suffix(file->file.kind), day,
             file->file.checksum);
}

void
manifest_sum(const struct manifest *manifest, struct manifest_sums *ret_sums)
{
    *ret_sums = (struct manifest_sums){0};
    for (size_t i = 0; i < manifest->file_count; i++) {
        const struct manifest_file *file = &manifest->files[i];
        ret_sums->bytes += file->file.bytes;
        if (!file->reused) {
            ret_sums->bytes_new += file->file.bytes;
            ret_sums->files_new++;
        }
        if (file->file.kind == COLD_RAW) {
            ret_sums->rows[file->file.table] += file->file.rows;
            ret_sums->rows_all += file->file.rows;
        }
    }
}

static void
add_text(struct json_writer *json, const char *key, const char *text)
{
    json_key(json, key);
    json_cstr(json, text);
}

static void
add_number(struct json_writer *json, const char *key, uint64_t number)
{
    json_key(json, key);
    json_u64(json, number);
}

static void
add_signed(struct json_writer *json, const char *key, int64_t number)
{
    json_key(json, key);
    json_i64(json, number);
}

static void
encode_file(const struct manifest_file *file, struct json_writer *json)
{
    char path[MANIFEST_PATH_MAX];
    char day[COLD_DAY_TEXT];

    manifest_pool_path(file, path);
    json_object_begin(json);
    add_text(json, "path", path);
    add_text(json, "table", catalog_table(file->file.table)->name);
    add_text(json, "kind", cold_kind_name(file->file.kind));
    json_key(json, "day");
    if (file->file.day == STORE_DAY_NONE) {
        json_write_null(json);
    } else {
        cold_day_format(file->file.day, day);
        json_cstr(json, day);
    }
    add_number(json, "rows", file->file.rows);
    add_number(json, "bytes", file->file.bytes);
    add_text(json, "xxh3_128", file->file.checksum);
    json_key(json, "reused");
    json_bool(json, file->reused);
    if (file->cold) {
        add_text(json, "cold", file->file.name);
        add_signed(json, "min_us", file->file.min_us);
        add_signed(json, "max_us", file->file.max_us);
        add_number(json, "sealed_lsn", file->file.sealed_lsn);
        add_signed(json, "sealed_us", file->file.sealed_us);
    }
    json_object_end(json);
}

static void
encode_tables(const struct manifest *manifest, struct json_writer *json)
{
    struct manifest_sums sums;

    manifest_sum(manifest, &sums);
    json_key(json, "rows");
    json_object_begin(json);
    for (int id = 1; id < TABLE_ID_END; id++) {
        if (sums.rows[id] > 0) {
            add_number(json, catalog_table((enum table_id)id)->name, sums.rows[id]);
        }
    }
    json_object_end(json);
}

void
manifest_encode(const struct manifest *manifest, struct buf *ret_json)
{
    struct json_writer json;
    char time[TIME_TEXT_MAX];
    char sum[FILES_SUM_MAX];
    size_t start = ret_json->len;

    json_init(&json, ret_json);
    json_object_begin(&json);
    add_number(&json, "format", MANIFEST_FORMAT);
    add_text(&json, "eider", manifest->version);
    add_text(&json, "id", manifest->id);
    add_text(&json, "database_id", manifest->database_id);
    add_text(&json, "store", manifest->store_type);
    add_number(&json, "schema", manifest->schema);
    add_number(&json, "lsn", manifest->lsn);
    time_format_iso8601(manifest->taken_us, time);
    add_text(&json, "taken", time);
    add_signed(&json, "taken_us", manifest->taken_us);
    add_signed(&json, "ended_us", manifest->ended_us);
    encode_tables(manifest, &json);
    json_key(&json, "files");
    json_array_begin(&json);
    for (size_t i = 0; i < manifest->file_count; i++) {
        buf_add_cstr(ret_json, i ? ",\n" : "\n");
        json.comma = false;
        encode_file(&manifest->files[i], &json);
    }
    json_array_end(&json);
    files_sum_bytes(slice_make(ret_json->ptr + start, ret_json->len - start), sum);
    buf_add_cstr(ret_json, sum_key);
    buf_add_cstr(ret_json, sum);
    buf_add_cstr(ret_json, sum_end);
}

static enum err_code
check_sum(struct slice json, struct err *err)
{
    char expected[TAIL_LEN + 1];
    char sum[FILES_SUM_MAX];

    if (json.len > TAIL_LEN) {
        files_sum_bytes(slice_sub(json, 0, json.len - TAIL_LEN), sum);
        snprintf(expected, sizeof(expected), "%s%s%s", sum_key, sum, sum_end);
        if (slice_is(slice_sub(json, json.len - TAIL_LEN, TAIL_LEN), expected)) {
            return ERR_OK;
        }
    }
    return err_set(err, ERR_CORRUPT, "its checksum is wrong: it was changed, or cut");
}

static bool
get_text(const json_t *object, const char *key, char *ret_text, size_t size)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text && slice_to_cstr(slice_of(text), ret_text, size);
}

static bool
get_i64(const json_t *object, const char *key, int64_t *ret_number)
{
    const json_t *value = json_object_get(object, key);

    *ret_number = json_integer_value(value);
    return json_is_integer(value);
}

static bool
get_u64(const json_t *object, const char *key, uint64_t *ret_number)
{
    int64_t number;
    bool there = get_i64(object, key, &number);

    *ret_number = (uint64_t)number;
    return there && number >= 0;
}

static bool
is_hex(const char *text)
{
    return strlen(text) == FILES_SUM_LEN && strspn(text, "0123456789abcdef") == FILES_SUM_LEN;
}

/* A name that becomes a path of the new directory must be one that the store gives. */
static bool
is_cold_name(const char *name)
{
    static const char tail[] = ".parquet";
    size_t len = strlen(name);
    size_t body = strspn(name, "0123456789abcdef-");

    return len > sizeof(tail) - 1 && body == len - (sizeof(tail) - 1) &&
           strcmp(name + body, tail) == 0;
}

/* The id of a database becomes the name of a directory in the archive, whose files are removed. */
static bool
is_database_id(const char *text)
{
    return strlen(text) == ID_UUID_LEN && strspn(text, "0123456789abcdef-") == ID_UUID_LEN;
}

/* Rows of what is stored, and of kinds that there are of the table. */
static bool
is_possible(const struct manifest_file *file)
{
    const struct catalog_table *table = catalog_table(file->file.table);

    if (!file->cold) {
        return table->kind != TABLE_VIEW && file->file.kind == COLD_RAW;
    }
    return table->sealed && (file->file.kind == COLD_RAW || table->rolled_up) &&
           time_in_range(file->file.min_us) && time_in_range(file->file.max_us) &&
           time_in_range(file->file.sealed_us);
}

static bool
decode_cold(const json_t *object, struct manifest_file *file)
{
    struct cold_file *cold = &file->file;

    file->cold = json_object_get(object, "cold") != NULL;
    return !file->cold ||
           (get_text(object, "cold", cold->name, sizeof(cold->name)) && is_cold_name(cold->name) &&
            get_i64(object, "min_us", &cold->min_us) && get_i64(object, "max_us", &cold->max_us) &&
            get_u64(object, "sealed_lsn", &cold->sealed_lsn) &&
            get_i64(object, "sealed_us", &cold->sealed_us) && cold->day != STORE_DAY_NONE);
}

static bool
decode_file(const json_t *object, struct manifest_file *ret_file)
{
    struct manifest_file file = {.reused = json_is_true(json_object_get(object, "reused"))};
    const char *table = json_string_value(json_object_get(object, "table"));
    const char *kind = json_string_value(json_object_get(object, "kind"));
    const json_t *day = json_object_get(object, "day");
    const struct catalog_table *found = table ? catalog_find(slice_of(table)) : NULL;

    if (!found || !kind || !cold_kind_parse(slice_of(kind), &file.file.kind) ||
        strcmp(found->name, table) != 0) {
        return false;
    }
    file.file.table = found->id;
    file.file.day = STORE_DAY_NONE;
    if (!json_is_null(day) && (!json_is_string(day) ||
                               !cold_day_parse(slice_of(json_string_value(day)), &file.file.day))) {
        return false;
    }
    if (!get_u64(object, "rows", &file.file.rows) || !get_u64(object, "bytes", &file.file.bytes) ||
        !get_text(object, "xxh3_128", file.file.checksum, sizeof(file.file.checksum)) ||
        !is_hex(file.file.checksum) || !decode_cold(object, &file) || !is_possible(&file)) {
        return false;
    }
    *ret_file = file;
    return true;
}

static enum err_code
decode_files(const json_t *files, struct manifest *manifest, struct err *err)
{
    struct manifest_file file;

    if (!json_is_array(files) || json_array_size(files) > MANIFEST_FILES_MAX) {
        return err_set(err, ERR_CORRUPT, "\"files\" is no list of at most %d files",
                       MANIFEST_FILES_MAX);
    }
    for (size_t i = 0; i < json_array_size(files); i++) {
        if (!decode_file(json_array_get(files, i), &file)) {
            return err_set(err, ERR_CORRUPT,
                           "file %zu of \"files\" is not described as this version expects it", i);
        }
        if (file.cold && file.file.sealed_lsn > manifest->lsn) {
            return err_set(err, ERR_CORRUPT,
                           "file %zu of \"files\" was sealed at LSN %" PRIu64
                           ", behind the backup's %" PRIu64,
                           i, file.file.sealed_lsn, manifest->lsn);
        }
        manifest_add(manifest, &file);
    }
    return ERR_OK;
}

static enum err_code
decode_root(const json_t *root, struct manifest *manifest, struct err *err)
{
    uint64_t format;

    if (!get_u64(root, "format", &format)) {
        return err_set(err, ERR_CORRUPT, "it has no \"format\"");
    }
    if (format != MANIFEST_FORMAT) {
        return err_set(err, ERR_UNSUPPORTED,
                       "it is of format %" PRIu64 ", and this version reads %d: use a later one",
                       format, MANIFEST_FORMAT);
    }
    if (!get_text(root, "id", manifest->id, sizeof(manifest->id)) ||
        !get_text(root, "eider", manifest->version, sizeof(manifest->version)) ||
        !get_text(root, "database_id", manifest->database_id, sizeof(manifest->database_id)) ||
        !get_text(root, "store", manifest->store_type, sizeof(manifest->store_type)) ||
        !get_u64(root, "schema", &manifest->schema) || !get_u64(root, "lsn", &manifest->lsn) ||
        !get_i64(root, "taken_us", &manifest->taken_us) ||
        !get_i64(root, "ended_us", &manifest->ended_us)) {
        return err_set(err, ERR_CORRUPT,
                       "one of id, eider, database_id, store, schema, lsn, taken_us and ended_us "
                       "is missing or of another type");
    }
    if (!is_database_id(manifest->database_id)) {
        return err_set(err, ERR_CORRUPT, "\"database_id\" is no id of a database (36 characters)");
    }
    if (!time_in_range(manifest->taken_us) || !time_in_range(manifest->ended_us) ||
        manifest->lsn > lsn_max) {
        return err_set(err, ERR_CORRUPT, "\"lsn\", \"taken_us\" or \"ended_us\" is out of range");
    }
    return decode_files(json_object_get(root, "files"), manifest, err);
}

enum err_code
manifest_decode(struct slice json, struct manifest *ret_manifest, struct err *err)
{
    struct manifest manifest = {0};
    enum err_code code = check_sum(json, err);

    if (code != ERR_OK) {
        return code;
    }
    json_t *root = json_loadb(json.ptr, json.len, JSON_REJECT_DUPLICATES, NULL);
    code = root ? decode_root(root, &manifest, err) : err_set(err, ERR_CORRUPT, "it is no JSON");
    json_decref(root);
    if (code != ERR_OK) {
        manifest_fini(&manifest);
        return code;
    }
    *ret_manifest = manifest;
    return ERR_OK;
}

enum err_code
manifest_read(const char *dir, const char *id, struct manifest *ret_manifest, struct err *err)
{
    struct buf bytes BUF_AUTO = {0};
    char path[FILES_PATH_MAX];

    if (snprintf(path, sizeof(path), "%s/%s/manifest.json", dir, id) >= (int)sizeof(path)) {
        return err_set(err, ERR_INVALID, "the path %.200s is too long", dir);
    }
    buf_init(&bytes, (size_t)MANIFEST_BYTES_MAX + 1);
    enum err_code code = files_read(path, MANIFEST_BYTES_MAX, &bytes, err);
    if (code == ERR_OK) {
        code = manifest_decode(buf_slice(&bytes), ret_manifest, err);
        code = code ? err_context(err, code, "%s", path) : ERR_OK;
    }
    if (code == ERR_OK && strcmp(ret_manifest->id, id) != 0) {
        code = err_set(err, ERR_CORRUPT, "%s is the manifest of backup %s", path, ret_manifest->id);
        manifest_fini(ret_manifest);
    }
    return code;
}
