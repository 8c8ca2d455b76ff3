/* The lists beside the cold files: ledgers, sidecars of snapshots, the manifest. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "codec/json_read.h"
#include "codec/json_write.h"
#include "codec/time.h"
#include "store/cold_internal.h"
#include "store/failpoint.h"

enum { FILE_MODE = 0640, ARENA_BYTES_MAX = 64 << 20, FILES_MAX = 10000000 };

static const char sidecar_head[] = "eider cold files 1\n";
static const char sidecar_tail[] = "checksum ";

/* ---- names ---- */

void
cold_names_init(struct cold_names *names)
{
    *names = (struct cold_names){NULL, 0, 0};
}

void
cold_names_fini(struct cold_names *names)
{
    for (size_t i = 0; i < names->count; i++) {
        free(names->names[i]);
    }
    free(names->names);
    cold_names_init(names);
}

static void
add_slice(struct cold_names *names, struct slice name)
{
    if (names->count == names->cap) {
        names->cap = names->cap ? names->cap * 2 : 64;
        names->names = mem_resize(names->names, names->cap, sizeof(*names->names));
    }
    names->names[names->count++] = mem_strdup(name);
}

void
cold_names_add(struct cold_names *names, const char *relative)
{
    add_slice(names, slice_of(relative));
}

static int
compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void
cold_names_sort(struct cold_names *names)
{
    if (names->count > 1) {
        qsort(names->names, names->count, sizeof(*names->names), compare_names);
    }
}

bool
cold_names_has(const struct cold_names *names, const char *relative)
{
    if (names->count == 0) {
        return false;
    }
    return bsearch(&relative, names->names, names->count, sizeof(*names->names), compare_names) !=
           NULL;
}

/* ---- ledgers ---- */

static enum err_code
append_synced(const char *path, struct slice bytes, struct err *err)
{
    int fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, FILE_MODE);
    int failed = fd < 0 ? errno : 0;
    size_t done = 0;
    char last = '\n';

    if (!failed) {
        /* A line that a crash cut must not swallow the first of these. */
        off_t end = lseek(fd, 0, SEEK_END);
        if (end > 0 && pread(fd, &last, 1, end - 1) == 1 && last != '\n' &&
            write(fd, "\n", 1) != 1) {
            failed = errno;
        }
    }
    while (!failed && done < bytes.len) {
        ssize_t count = write(fd, bytes.ptr + done, bytes.len - done);
        if (count < 0 && errno != EINTR) {
            failed = errno;
        }
        done += count > 0 ? (size_t)count : 0;
    }
    if (!failed && fsync(fd) != 0) {
        failed = errno;
    }
    if (fd >= 0) {
        close(fd);
    }
    return failed ? err_sys(err, failed, "cannot append to %s", path) : ERR_OK;
}

enum err_code
cold_ledger_add(const char *cold_dir, const char *ledger, const struct cold_file *files,
                size_t count, struct err *err)
{
    char path[COLD_PATH_MAX];
    struct buf lines BUF_AUTO = {0};

    if (count == 0) {
        return ERR_OK;
    }
    buf_init(&lines, COLD_FILE_BYTES_MAX);
    for (size_t i = 0; i < count; i++) {
        char relative[COLD_RELATIVE_MAX];
        cold_relative(&files[i], relative);
        buf_add_cstr(&lines, relative);
        buf_add_char(&lines, '\n');
    }
    if (lines.overflow) {
        return err_set(err, ERR_TOO_LARGE, "%zu files are too many for one step", count);
    }
    snprintf(path, sizeof(path), "%.4000s/%s", cold_dir, ledger);
    enum err_code code = append_synced(path, buf_slice(&lines), err);
    return code ? code : cold_sync_dir(cold_dir, err);
}

enum err_code
cold_ledger_read(const char *cold_dir, const char *ledger, struct cold_names *names,
                 struct err *err)
{
    char path[COLD_PATH_MAX];
    struct buf bytes BUF_AUTO = {0};
    struct cold_file file;
    struct slice line;

    buf_init(&bytes, COLD_FILE_BYTES_MAX);
    snprintf(path, sizeof(path), "%.4000s/%s", cold_dir, ledger);
    enum err_code code = cold_read_file(path, &bytes, err);
    if (code) {
        return code == ERR_NOT_FOUND ? ERR_OK : code;
    }
    struct slice rest = buf_slice(&bytes);
    while (slice_split(&rest, '\n', &line)) {
        if (cold_parse_relative(line, &file)) {
            add_slice(names, line);
        }
    }
    cold_names_sort(names);
    return ERR_OK;
}

enum err_code
cold_ledger_replace(const char *cold_dir, const char *ledger, const struct cold_names *names,
                    struct err *err)
{
    char path[COLD_PATH_MAX];
    struct buf lines BUF_AUTO = {0};

    buf_init(&lines, COLD_FILE_BYTES_MAX);
    for (size_t i = 0; i < names->count; i++) {
        buf_add_cstr(&lines, names->names[i]);
        buf_add_char(&lines, '\n');
    }
    snprintf(path, sizeof(path), "%.4000s/%s", cold_dir, ledger);
    return cold_replace_file(path, buf_slice(&lines), NULL, NULL, err);
}

/* ---- sidecars ---- */

enum err_code
cold_sidecar_write(const char *path, const struct cold_file *files, size_t count, struct err *err)
{
    struct buf text BUF_AUTO = {0};
    char checksum[COLD_CHECKSUM_MAX];

    buf_init(&text, COLD_FILE_BYTES_MAX);
    buf_add_cstr(&text, sidecar_head);
    for (size_t i = 0; i < count; i++) {
        char relative[COLD_RELATIVE_MAX];
        cold_relative(&files[i], relative);
        buf_add_cstr(&text, relative);
        buf_add_char(&text, '\n');
    }
    cold_hash_text(buf_slice(&text), checksum);
    buf_add_fmt(&text, "%s%s\n", sidecar_tail, checksum);
    if (text.overflow) {
        return err_set(err, ERR_TOO_LARGE, "%zu files are too many for %s", count, path);
    }
    return cold_replace_file(path, buf_slice(&text), "sidecar.written", "sidecar.renamed", err);
}

/* Cuts "checksum <32 digits>\n" off the end; false when it is not there or does not fit. */
static bool
check_tail(struct slice *text)
{
    const size_t tail = sizeof(sidecar_tail) - 1 + COLD_CHECKSUM_MAX - 1 + 1;
    char checksum[COLD_CHECKSUM_MAX];
    char expected[COLD_CHECKSUM_MAX + sizeof(sidecar_tail) + 1];

    if (text->len < tail) {
        return false;
    }
    struct slice body = {text->ptr, text->len - tail};
    cold_hash_text(body, checksum);
    snprintf(expected, sizeof(expected), "%s%s\n", sidecar_tail, checksum);
    if (!slice_is(slice_sub(*text, body.len, tail), expected)) {
        return false;
    }
    *text = body;
    return true;
}

enum err_code
cold_sidecar_read(const char *path, struct cold_names *names, struct err *err)
{
    struct buf bytes BUF_AUTO = {0};
    struct cold_file file;
    struct slice line;

    buf_init(&bytes, COLD_FILE_BYTES_MAX);
    enum err_code code = cold_read_file(path, &bytes, err);
    if (code) {
        return code;
    }
    struct slice rest = buf_slice(&bytes);
    if (!slice_starts(rest, sidecar_head) || !check_tail(&rest)) {
        return err_set(err, ERR_CORRUPT, "%s is damaged: its checksum does not fit", path);
    }
    rest = slice_sub(rest, sizeof(sidecar_head) - 1, rest.len);
    while (slice_split(&rest, '\n', &line)) {
        if (cold_parse_relative(line, &file)) {
            add_slice(names, line);
        }
    }
    cold_names_sort(names);
    return ERR_OK;
}

/* ---- the manifest ---- */

static void
write_entry(struct json_writer *json, const struct cold_file *file)
{
    char relative[COLD_RELATIVE_MAX];

    cold_relative(file, relative);
    json_object_begin(json);
    json_key(json, "path");
    json_cstr(json, relative);
    json_key(json, "rows");
    json_u64(json, file->rows);
    json_key(json, "bytes");
    json_u64(json, file->bytes);
    json_key(json, "from");
    json_time_us(json, file->min_us);
    json_key(json, "to");
    json_time_us(json, file->max_us);
    json_key(json, "xxh3_128");
    json_cstr(json, file->checksum);
    json_key(json, "sealed_lsn");
    json_u64(json, file->sealed_lsn);
    json_key(json, "sealed_at");
    json_time_us(json, file->sealed_us);
    json_object_end(json);
}

static const char manifest_name[] = "manifest.json";
static const char missing_name[] = "missing.json";

/* The manifest's own checksum is its last member, over all bytes before its comma. */
static const char manifest_tail[] = ",\n\"checksum\":\"";
enum { MANIFEST_TAIL_LEN = sizeof(manifest_tail) - 1 + COLD_CHECKSUM_MAX - 1 + 3 };

static enum err_code
write_list(const char *cold_dir, const char *name, const struct cold_manifest *manifest,
           struct err *err)
{
    bool is_manifest = strcmp(name, manifest_name) == 0;
    char path[COLD_PATH_MAX];
    char checksum[COLD_CHECKSUM_MAX];
    struct buf text BUF_AUTO = {0};
    struct json_writer json;

    buf_init(&text, COLD_FILE_BYTES_MAX);
    json_init(&json, &text);
    json_object_begin(&json);
    json_key(&json, "version");
    json_i64(&json, 1);
    json_key(&json, "lsn");
    json_u64(&json, manifest->lsn);
    json_key(&json, "written_at");
    json_time_us(&json, manifest->written_us);
    json_key(&json, "files");
    json_array_begin(&json);
    for (size_t i = 0; i < manifest->count; i++) {
        json_newline(&json);
        json.comma = i > 0;
        write_entry(&json, &manifest->files[i]);
    }
    json_array_end(&json);
    cold_hash_text(buf_slice(&text), checksum);
    buf_add_fmt(&text, "%s%s\"}\n", manifest_tail, checksum);
    if (text.overflow) {
        return err_set(err, ERR_TOO_LARGE, "the manifest of %zu cold files is too large",
                       manifest->count);
    }
    snprintf(path, sizeof(path), "%.4000s/%s", cold_dir, name);
    return cold_replace_file(path, buf_slice(&text), is_manifest ? "manifest.written" : NULL,
                             is_manifest ? "manifest.renamed" : NULL, err);
}

enum err_code
cold_manifest_write(const char *cold_dir, const struct cold_manifest *manifest, struct err *err)
{
    return write_list(cold_dir, manifest_name, manifest, err);
}

enum err_code
cold_missing_write(const char *cold_dir, const struct cold_manifest *missing, struct err *err)
{
    return write_list(cold_dir, missing_name, missing, err);
}

static bool
is_intact(struct slice text)
{
    char checksum[COLD_CHECKSUM_MAX];
    char expected[MANIFEST_TAIL_LEN + 1];

    if (text.len < MANIFEST_TAIL_LEN) {
        return false;
    }
    struct slice body = {text.ptr, text.len - MANIFEST_TAIL_LEN};
    cold_hash_text(body, checksum);
    snprintf(expected, sizeof(expected), "%s%s\"}\n", manifest_tail, checksum);
    return slice_is(slice_sub(text, body.len, MANIFEST_TAIL_LEN), expected);
}

static bool
take_u64(const struct scalar *value, uint64_t *ret)
{
    return value->type == SCALAR_NUMBER && number_to_u64(&value->number, ret);
}

static bool
take_time(const struct scalar *value, int64_t *ret)
{
    return value->type == SCALAR_STRING && time_parse_iso8601(value->text, ret);
}

/* One member of a file's object; unknown ones are passed over. */
static bool
take_member(struct slice key, const struct scalar *value, struct cold_file *file)
{
    if (slice_is(key, "path")) {
        struct cold_file named;
        if (value->type != SCALAR_STRING || !cold_parse_relative(value->text, &named)) {
            return false;
        }
        file->table = named.table;
        file->kind = named.kind;
        file->day = named.day;
        memcpy(file->name, named.name, sizeof(file->name));
        return true;
    }
    if (slice_is(key, "xxh3_128")) {
        return value->type == SCALAR_STRING &&
               slice_to_cstr(value->text, file->checksum, sizeof(file->checksum));
    }
    return slice_is(key, "rows")         ? take_u64(value, &file->rows)
           : slice_is(key, "bytes")      ? take_u64(value, &file->bytes)
           : slice_is(key, "sealed_lsn") ? take_u64(value, &file->sealed_lsn)
           : slice_is(key, "from")       ? take_time(value, &file->min_us)
           : slice_is(key, "to")         ? take_time(value, &file->max_us)
           : slice_is(key, "sealed_at")  ? take_time(value, &file->sealed_us)
                                         : true;
}

static bool
read_entry(struct json_reader *json, struct cold_file *file)
{
    struct scalar value;
    struct slice key;

    if (!json_read_value(json, &value) || value.type != SCALAR_OBJECT) {
        return false;
    }
    while (json_read_key(json, &key)) {
        if (!json_read_value(json, &value) || value.type >= SCALAR_OBJECT ||
            !take_member(key, &value, file)) {
            return false;
        }
    }
    return !json_read_failed(json) && file->table != 0;
}

static bool
read_files(struct json_reader *json, struct cold_manifest *manifest)
{
    size_t cap = 0;

    while (json_read_element(json)) {
        struct cold_file file = {.rows = 0};
        if (manifest->count == FILES_MAX || !read_entry(json, &file)) {
            return false;
        }
        if (manifest->count == cap) {
            cap = cap ? cap * 2 : 64;
            manifest->files = mem_resize(manifest->files, cap, sizeof(*manifest->files));
        }
        manifest->files[manifest->count++] = file;
    }
    return !json_read_failed(json);
}

static bool
read_manifest(struct json_reader *json, struct cold_manifest *manifest)
{
    struct scalar value;
    struct slice key;
    bool is_fine = json_read_value(json, &value) && value.type == SCALAR_OBJECT;

    while (is_fine && json_read_key(json, &key)) {
        is_fine = json_read_value(json, &value);
        if (is_fine && slice_is(key, "files")) {
            is_fine = value.type == SCALAR_ARRAY && read_files(json, manifest);
        } else if (is_fine && slice_is(key, "lsn")) {
            is_fine = take_u64(&value, &manifest->lsn);
        } else if (is_fine && slice_is(key, "written_at")) {
            is_fine = take_time(&value, &manifest->written_us);
        } else if (is_fine) {
            is_fine = value.type < SCALAR_OBJECT || json_read_rest(json, &value);
        }
    }
    return is_fine && json_read_end(json);
}

static enum err_code
read_list(const char *cold_dir, const char *name, struct cold_manifest *ret_manifest,
          struct err *err)
{
    char path[COLD_PATH_MAX];
    struct buf bytes BUF_AUTO = {0};
    struct arena arena ARENA_AUTO = {0};
    struct cold_manifest manifest = {.files = NULL};
    struct json_reader json;

    buf_init(&bytes, COLD_FILE_BYTES_MAX);
    arena_init(&arena, ARENA_BYTES_MAX);
    snprintf(path, sizeof(path), "%.4000s/%s", cold_dir, name);
    enum err_code code = cold_read_file(path, &bytes, err);
    if (code) {
        return code;
    }
    if (!is_intact(buf_slice(&bytes))) {
        return err_set(err, ERR_CORRUPT, "%s is damaged: its checksum does not fit", path);
    }
    json_read_init(&json, buf_slice(&bytes), &arena);
    if (!read_manifest(&json, &manifest)) {
        free(manifest.files);
        return err_set(err, ERR_CORRUPT, "%s is no manifest of cold files (byte %zu)", path,
                       json_read_offset(&json));
    }
    *ret_manifest = manifest;
    return ERR_OK;
}

enum err_code
cold_manifest_read(const char *cold_dir, struct cold_manifest *ret_manifest, struct err *err)
{
    return read_list(cold_dir, manifest_name, ret_manifest, err);
}

enum err_code
cold_missing_read(const char *cold_dir, struct cold_manifest *ret_missing, struct err *err)
{
    return read_list(cold_dir, missing_name, ret_missing, err);
}

static enum err_code
forget_name(const char *cold_dir, const struct cold_file *file, struct err *err)
{
    struct cold_names names COLD_NAMES_AUTO = {0};
    struct cold_names kept COLD_NAMES_AUTO = {0};
    char relative[COLD_RELATIVE_MAX];
    enum err_code code = cold_ledger_read(cold_dir, COLD_MISSING, &names, err);

    cold_relative(file, relative);
    if (code != ERR_OK || !cold_names_has(&names, relative)) {
        return code;
    }
    for (size_t i = 0; i < names.count; i++) {
        if (strcmp(names.names[i], relative) != 0) {
            cold_names_add(&kept, names.names[i]);
        }
    }
    return cold_ledger_replace(cold_dir, COLD_MISSING, &kept, err);
}

enum err_code
cold_missing_forget(const char *cold_dir, const struct cold_file *file, struct err *err)
{
    struct cold_manifest missing = {0};
    size_t kept = 0;
    enum err_code code = cold_missing_read(cold_dir, &missing, err);

    for (size_t i = 0; i < missing.count; i++) {
        if (cold_file_compare(&missing.files[i], file) != 0) {
            missing.files[kept++] = missing.files[i];
        }
    }
    if (code == ERR_OK && kept < missing.count) {
        missing.count = kept;
        code = cold_missing_write(cold_dir, &missing, err);
    }
    free(missing.files);
    return code == ERR_OK || code == ERR_NOT_FOUND ? forget_name(cold_dir, file, err) : code;
}
