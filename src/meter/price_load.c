/* From files to a `struct prices`: reading them, putting a folder's books over the shipped ones,
 * and checking versions against each other. */
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "codec/time.h"
#include "meter/price_internal.h"

enum { FILE_PATH_MAX = 4096 };

static struct prices *
prices_new(void)
{
    struct prices *prices = mem_zalloc(1, sizeof(*prices));

    atomic_init(&prices->refs, 1);
    arena_init(&prices->arena, PRICE_ARENA_BYTES_MAX);
    return prices;
}

/* ---- what versions must be among each other ---- */

static int
compare_books(const void *left, const void *right)
{
    const struct price_book *a = *(const struct price_book *const *)left;
    const struct price_book *b = *(const struct price_book *const *)right;
    int by_name = strcmp(a->book, b->book);

    if (by_name != 0) {
        return by_name;
    }
    if (a->effective_from_us != b->effective_from_us) {
        return a->effective_from_us < b->effective_from_us ? -1 : 1;
    }
    return (a->version > b->version) - (a->version < b->version);
}

/* Takes out the shipped books that another file defines anew, and lets a shipped book step back
 * from an api that another file's active book prices. */
static void
override_shipped(struct prices *prices)
{
    size_t kept = 0;

    for (size_t i = 0; i < prices->count; i++) {
        struct price_book *book = prices->books[i];
        bool replaced = false;
        for (size_t j = 0; j < prices->count && book->shipped; j++) {
            const struct price_book *own = prices->books[j];
            replaced |= !own->shipped && strcmp(own->book, book->book) == 0;
            if (!own->shipped && own->active && strcasecmp(own->api, book->api) == 0) {
                book->active = false;
            }
        }
        if (!replaced) {
            prices->books[kept++] = book;
        }
    }
    prices->count = kept;
}

static enum err_code
check_successor(const struct price_book *before, const struct price_book *book, struct err *err)
{
    const char *problem = NULL;

    if (strcasecmp(before->api, book->api) != 0) {
        problem = "the same api in all versions of a book";
    } else if (before->active != book->active) {
        problem = "the same \"active\" in all versions of a book";
    } else if (before->effective_from_us == book->effective_from_us) {
        problem = "another effective_from in every version of a book";
    } else if (before->version >= book->version) {
        problem = "version numbers that grow with effective_from";
    }
    if (!problem) {
        return ERR_OK;
    }
    return err_set(
        err, ERR_INVALID,
        "%s:%zu: version %u of book %s does not go with version %u (%s:%zu); expected %s",
        book->source, book->line, book->version, book->book, before->version, before->source,
        before->line, problem);
}

static enum err_code
check_active(const struct prices *prices, const struct price_book *book, struct err *err)
{
    for (size_t i = 0; i < prices->count; i++) {
        const struct price_book *other = prices->books[i];
        if (other == book) {
            break;
        }
        if (other->active && book->active && strcasecmp(other->api, book->api) == 0 &&
            strcmp(other->book, book->book) != 0) {
            return err_set(err, ERR_INVALID,
                           "%s:%zu: api %s is priced by book %s and by book %s (%s:%zu); expected "
                           "\"active: false\" in all but one",
                           book->source, book->line, book->api, book->book, other->book,
                           other->source, other->line);
        }
    }
    return ERR_OK;
}

static enum err_code
finish(struct prices *prices, struct prices **ret, struct err *err)
{
    enum err_code code = ERR_OK;

    override_shipped(prices);
    if (prices->count > 0) {
        qsort(prices->books, prices->count, sizeof(struct price_book *), compare_books);
    }
    for (size_t i = 0; i < prices->count && code == ERR_OK; i++) {
        struct price_book *book = prices->books[i];
        if (i > 0 && strcmp(prices->books[i - 1]->book, book->book) == 0) {
            code = check_successor(prices->books[i - 1], book, err);
        }
        if (code == ERR_OK) {
            code = check_active(prices, book, err);
        }
    }
    if (code != ERR_OK) {
        prices_unref(prices);
        return code;
    }
    *ret = prices;
    return ERR_OK;
}

/* ---- reading ---- */

static enum err_code
read_file(struct prices *prices, const char *path, struct err *err)
{
    FILE *file = fopen(path, "re");
    enum err_code code;

    if (!file) {
        return err_sys(err, errno, "%s: cannot open the price book", path);
    }
    MEM_AUTO char *text = mem_alloc(PRICE_FILE_BYTES_MAX + 1);
    errno = 0;
    size_t len = fread(text, 1, PRICE_FILE_BYTES_MAX + 1, file);
    if (ferror(file)) {
        code = err_sys(err, errno, "%s: cannot read the price book", path);
    } else {
        code = prices_read_yaml(prices, path, slice_make(text, len), false, err);
    }
    fclose(file);
    return code;
}

static int
is_book(const struct dirent *entry)
{
    struct slice name = slice_of(entry->d_name);

    return entry->d_name[0] != '.' && (slice_ends(name, ".yaml") || slice_ends(name, ".yml"));
}

static enum err_code
read_dir(struct prices *prices, const char *dir, struct err *err)
{
    struct dirent **entries = NULL;
    enum err_code code = ERR_OK;
    int count = scandir(dir, &entries, is_book, alphasort);

    if (count < 0) {
        return err_sys(err, errno, "%s: cannot read the folder of price books", dir);
    }
    if (count > PRICE_FILES_MAX) {
        code = err_set(err, ERR_TOO_LARGE, "%s: %d price books; expected at most %d files", dir,
                       count, PRICE_FILES_MAX);
    }
    for (int i = 0; i < count; i++) {
        char path[FILE_PATH_MAX];
        int len = snprintf(path, sizeof(path), "%s/%s", dir, entries[i]->d_name);
        if (code == ERR_OK && len >= (int)sizeof(path)) {
            code = err_set(err, ERR_INVALID, "%s: the path is too long; expected at most %d bytes",
                           entries[i]->d_name, FILE_PATH_MAX - 1);
        }
        if (code == ERR_OK) {
            code = read_file(prices, path, err);
        }
        free(entries[i]);
    }
    free(entries);
    return code;
}

static enum err_code
read_shipped(struct prices *prices, struct err *err)
{
    enum err_code code = ERR_OK;

    for (size_t i = 0; i < prices_shipped_count && code == ERR_OK; i++) {
        code = prices_read_yaml(prices, prices_shipped[i].name, prices_shipped[i].text, true, err);
    }
    return code;
}

static enum err_code
load(const char *dir, bool shipped, struct prices **ret, struct err *err)
{
    struct prices *prices = prices_new();
    enum err_code code = shipped ? read_shipped(prices, err) : ERR_OK;

    if (code == ERR_OK && dir) {
        code = read_dir(prices, dir, err);
    }
    if (code != ERR_OK) {
        prices_unref(prices);
        return code;
    }
    return finish(prices, ret, err);
}

enum err_code
prices_load(const char *dir, struct prices **ret, struct err *err)
{
    return load(dir, true, ret, err);
}

enum err_code
prices_load_dir(const char *dir, struct prices **ret, struct err *err)
{
    return load(dir, false, ret, err);
}

enum err_code
prices_load_text(const char *name, struct slice text, struct prices **ret, struct err *err)
{
    struct prices *prices = prices_new();
    enum err_code code = prices_read_yaml(prices, name, text, false, err);

    if (code != ERR_OK) {
        prices_unref(prices);
        return code;
    }
    return finish(prices, ret, err);
}

void
prices_builtin(struct prices **ret)
{
    enum err_code code = load(NULL, true, ret, NULL);

    assert(code == ERR_OK);
}
