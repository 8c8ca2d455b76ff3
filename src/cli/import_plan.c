/* Wishes and guesses about columns. */
#include "cli/import_plan.h"

#include <assert.h>
#include <ctype.h>
#include <string.h>

#include "codec/utf8.h"
#include "server/suggest.h"

enum { WORD_MAX = 64, ALIASES_MAX = 8 };

/* Names that files use for a column of the catalogue, best first; letters and digits only. */
static const struct {
    const char *column;
    const char *words[ALIASES_MAX];
} aliases[] = {
    {"timestamp", {"timestamp", "time", "datetime", "date", "ts", "day", "eventtime", "t"}},
    {"symbol", {"symbol", "ticker", "sym", "instrument", "pair", "market", "code"}},
    {"last_price", {"lastprice", "price", "last", "close", "px"}},
    {"bid", {"bid", "bidprice", "bestbid"}},
    {"ask", {"ask", "askprice", "bestask", "offer"}},
    {"volume", {"volume", "vol", "totalvolume", "v"}},
    {"trades", {"trades", "tradecount", "numtrades"}},
    {"open", {"open", "openprice", "o"}},
    {"high", {"high", "highprice", "h"}},
    {"low", {"low", "lowprice", "l"}},
    {"close", {"close", "closeprice", "c"}},
    {"trade_id", {"tradeid", "id", "execid", "executionid"}},
    {"side", {"side", "direction", "buysell"}},
    {"quantity", {"quantity", "qty", "size", "amount", "shares"}},
    {"price", {"price", "px", "fillprice", "executionprice"}},
    {"strategy", {"strategy", "strategyname"}},
    {"strategy_name", {"strategyname", "strategy", "name"}},
    {"metric_name", {"metricname", "metric", "name"}},
    {"value", {"value", "val"}},
    {"labels", {"labels", "tags"}},
    {"portfolio_value", {"portfoliovalue", "equity", "nav"}},
};

static enum err_code
read_pairs(const struct cli *cli, const char *option, struct plan_pair *ret_pairs,
           size_t *ret_count, struct err *err)
{
    const char *texts[PLAN_PAIRS_MAX];
    size_t count = cli_all_values(cli, option, texts, PLAN_PAIRS_MAX);
    bool is_map = strcmp(option, "map") == 0;

    *ret_count = 0;
    for (size_t i = 0; i < count; i++) {
        struct slice rest = slice_of(texts[i]);
        for (bool more = true; more;) {
            struct plan_pair pair;
            struct slice text = rest;
            /* A value of --set may hold commas; a list of --map does not. */
            more = is_map && slice_split(&rest, ',', &text);
            pair.value = text;
            if (!slice_split(&pair.value, '=', &pair.column) || pair.column.len == 0 ||
                *ret_count == PLAN_PAIRS_MAX) {
                return err_set(err, ERR_USAGE, "import: --%s is \"%.100s\"; expected %s", option,
                               texts[i], is_map ? "COLUMN=SOURCE" : "COLUMN=VALUE");
            }
            pair.column = slice_trim(pair.column);
            ret_pairs[(*ret_count)++] = pair;
        }
    }
    return ERR_OK;
}

enum err_code
plan_read_wishes(const struct cli *cli, struct plan_wishes *ret_wishes, struct err *err)
{
    const char *table = cli_value(cli, "table");
    const char *date = cli_value(cli, "date-format");
    struct plan_wishes *wishes = ret_wishes;

    *wishes = (struct plan_wishes){0};
    if (table) {
        wishes->table = catalog_find(slice_of(table));
        if (!wishes->table || !wishes->table->ingestible) {
            const char *near = catalog_suggest_table(slice_of(table));
            return err_set(err, ERR_USAGE, "import: there is no table %.100s to write; %s%s%s",
                           table, near ? "did you mean " : "`eider sql 'SHOW TABLES'` lists them",
                           near ? near : "", near ? "?" : "");
        }
    }
    if (date) {
        wishes->has_date = true;
        if (import_date_parse_format(date, &wishes->date, err) != ERR_OK) {
            return err_context(err, ERR_USAGE, "import");
        }
    }
    enum err_code code = read_pairs(cli, "map", wishes->maps, &wishes->map_count, err);
    if (code == ERR_OK) {
        code = read_pairs(cli, "set", wishes->sets, &wishes->set_count, err);
    }
    return code;
}

/* "Adj Close" and "adj_close" are one word. */
static void
squeeze(const char *name, char ret_word[WORD_MAX])
{
    size_t len = 0;

    for (; *name && len + 1 < WORD_MAX; name++) {
        if (isalnum((unsigned char)*name)) {
            ret_word[len++] = (char)tolower((unsigned char)*name);
        }
    }
    ret_word[len] = '\0';
}

static int
find_word(const char *word, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char squeezed[WORD_MAX];
        squeeze(names[i], squeezed);
        if (strcmp(squeezed, word) == 0) {
            return (int)i;
        }
    }
    return PLAN_NONE;
}

/* The file's column that most likely holds `column`. */
static int
guess_source(const char *column, const char *const *names, size_t count)
{
    char word[WORD_MAX];

    squeeze(column, word);
    int found = find_word(word, names, count);
    for (size_t i = 0; found == PLAN_NONE && i < sizeof(aliases) / sizeof(aliases[0]); i++) {
        if (strcmp(aliases[i].column, column) != 0) {
            continue;
        }
        for (size_t j = 0; found == PLAN_NONE && j < ALIASES_MAX && aliases[i].words[j]; j++) {
            found = find_word(aliases[i].words[j], names, count);
        }
    }
    return found;
}

bool
plan_is_required(const struct catalog_table *table, size_t column)
{
    return (table->key_mask >> column & 1) || table->columns[column].missing == MISSING_REFUSE ||
           (int)column == table->time_column;
}

bool
plan_uses(const struct plan *plan, size_t source)
{
    for (size_t i = 0; i < plan->table->column_count; i++) {
        if (plan->columns[i].source == (int)source) {
            return true;
        }
    }
    return false;
}

static enum err_code
refuse_column(const struct catalog_table *table, const char *option, struct slice name,
              struct err *err)
{
    const char *near = catalog_suggest_column(table, name);

    return err_set(err, ERR_USAGE, "import: --%s: table %s has no column %.*s%s%s%s", option,
                   table->name, SLICE_FMT(slice_sub(name, 0, 100)), near ? "; did you mean " : "",
                   near ? near : "", near ? "?" : "");
}

static enum err_code
refuse_source(struct slice name, const char *const *names, size_t count, struct err *err)
{
    struct suggest suggest;

    suggest_init(&suggest, name);
    for (size_t i = 0; i < count; i++) {
        suggest_offer(&suggest, names[i]);
    }
    return err_set(err, ERR_USAGE, "import: --map: the file has no column \"%.*s\"%s%s%s",
                   SLICE_FMT(slice_sub(name, 0, 100)), suggest.best ? "; did you mean " : "",
                   suggest.best ? suggest.best : "", suggest.best ? "?" : "");
}

static int
find_name(struct slice name, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (slice_is(name, names[i])) {
            return (int)i;
        }
    }
    return PLAN_NONE;
}

/* Fills the columns of plan->table: wishes first, then guesses among what is left. */
static enum err_code
fill(const struct plan_wishes *wishes, const char *const *names, size_t count, struct plan *plan,
     struct err *err)
{
    const struct catalog_table *table = plan->table;
    bool given[CATALOG_COLUMNS_MAX] = {false};

    for (size_t i = 0; i < table->column_count; i++) {
        plan->columns[i].source = PLAN_NONE;
        plan->columns[i].is_constant = false;
    }
    for (size_t i = 0; i < wishes->map_count; i++) {
        int column = catalog_column_index(table, wishes->maps[i].column);
        if (column == CATALOG_NONE) {
            return refuse_column(table, "map", wishes->maps[i].column, err);
        }
        /* An empty source says: leave this column alone. */
        if (wishes->maps[i].value.len > 0) {
            plan->columns[column].source = find_name(wishes->maps[i].value, names, count);
            if (plan->columns[column].source == PLAN_NONE) {
                return refuse_source(wishes->maps[i].value, names, count, err);
            }
        }
        given[column] = true;
    }
    for (size_t i = 0; i < wishes->set_count; i++) {
        int column = catalog_column_index(table, wishes->sets[i].column);
        if (column == CATALOG_NONE) {
            return refuse_column(table, "set", wishes->sets[i].column, err);
        }
        plan->columns[column].source = PLAN_NONE;
        plan->columns[column].is_constant = true;
        plan->columns[column].constant = wishes->sets[i].value;
        given[column] = true;
    }
    for (size_t i = 0; i < table->column_count; i++) {
        if (!given[i]) {
            int source = guess_source(table->columns[i].name, names, count);
            if (source != PLAN_NONE && !plan_uses(plan, (size_t)source)) {
                plan->columns[i].source = source;
            }
        }
    }
    return ERR_OK;
}

static size_t
count_missing(const struct plan *plan)
{
    size_t missing = 0;

    for (size_t i = 0; i < plan->table->column_count; i++) {
        missing += plan_is_required(plan->table, i) && !plan->columns[i].is_constant &&
                   plan->columns[i].source == PLAN_NONE;
    }
    return missing;
}

static size_t
count_used(const struct plan *plan)
{
    size_t used = 0;

    for (size_t i = 0; i < plan->table->column_count; i++) {
        used += plan->columns[i].source != PLAN_NONE || plan->columns[i].is_constant;
    }
    return used;
}

/* The names of a file's columns for a message, as far as they are texts and have room. */
static void
show_names(const char *const *names, size_t count, char *ret_text, size_t size)
{
    size_t used = 0;

    ret_text[0] = '\0';
    for (size_t i = 0; i < count && used + 1 < size; i++) {
        if (!utf8_is_text(slice_of(names[i])) || used + strlen(names[i]) + 8 > size) {
            snprintf(ret_text + used, size - used, "%s...", i > 0 ? ", " : "");
            return;
        }
        used += (size_t)snprintf(ret_text + used, size - used, "%s%s", i > 0 ? ", " : "", names[i]);
    }
}

static const char *
suggest_any_column(struct slice name)
{
    const struct catalog_table *table;
    struct suggest suggest;

    suggest_init(&suggest, name);
    for (size_t i = 0; (table = catalog_at(i)); i++) {
        for (size_t j = 0; table->ingestible && j < table->column_count; j++) {
            suggest_offer(&suggest, table->columns[j].name);
        }
    }
    return suggest.best;
}

/* A column that no table has fits none, whatever the file is. */
static enum err_code
check_wishes(const char *option, const struct plan_pair *pairs, size_t count, struct err *err)
{
    const struct catalog_table *table;

    for (size_t i = 0; i < count; i++) {
        bool there = false;
        for (size_t j = 0; (table = catalog_at(j)) && !there; j++) {
            there =
                table->ingestible && catalog_column_index(table, pairs[i].column) != CATALOG_NONE;
        }
        if (!there) {
            const char *near = suggest_any_column(pairs[i].column);
            return err_set(err, ERR_USAGE, "import: --%s: no table has a column %.*s%s%s%s", option,
                           SLICE_FMT(slice_sub(pairs[i].column, 0, 100)),
                           near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
        }
    }
    return ERR_OK;
}

/* The table that takes most of the file's columns, and of those the one that lacks least. */
static enum err_code
guess_table(const struct plan_wishes *wishes, const char *const *names, size_t count,
            struct plan *ret_plan, struct err *err)
{
    const struct catalog_table *table;
    size_t best_used = 0;
    size_t best_missing = 0;
    enum err_code code = check_wishes("map", wishes->maps, wishes->map_count, err);

    code = code ? code : check_wishes("set", wishes->sets, wishes->set_count, err);
    if (code != ERR_OK) {
        return code;
    }
    for (size_t i = 0; (table = catalog_at(i)); i++) {
        struct plan plan = {.table = table, .table_guessed = true};
        if (!table->ingestible || fill(wishes, names, count, &plan, NULL) != ERR_OK ||
            table->time_column == CATALOG_NONE ||
            plan.columns[table->time_column].source == PLAN_NONE) {
            continue;
        }
        size_t used = count_used(&plan);
        size_t missing = count_missing(&plan);
        if (used > best_used || (used == best_used && missing < best_missing)) {
            *ret_plan = plan;
            best_used = used;
            best_missing = missing;
        }
    }
    if (best_used < 2 || best_missing > 1) {
        char shown[160];
        show_names(names, count, shown, sizeof(shown));
        return err_set(err, ERR_USAGE,
                       "import: no table fits the columns of the file (%s); say which with --table "
                       "(and --map COLUMN=SOURCE)",
                       shown);
    }
    return ERR_OK;
}

enum err_code
plan_make(const struct plan_wishes *wishes, const char *const *names, size_t count,
          struct plan *ret_plan, struct err *err)
{
    struct plan plan = {.table = wishes->table, .date = wishes->date};
    enum err_code code;

    if (plan.table) {
        code = fill(wishes, names, count, &plan, err);
    } else {
        code = guess_table(wishes, names, count, &plan, err);
        plan.date = wishes->date;
    }
    if (code != ERR_OK) {
        return code;
    }
    assert(plan.table);
    for (size_t i = 0; i < plan.table->column_count; i++) {
        const char *name = plan.table->columns[i].name;
        if (plan_is_required(plan.table, i) && !plan.columns[i].is_constant &&
            plan.columns[i].source == PLAN_NONE) {
            return err_set(err, ERR_USAGE,
                           "import: %s needs %s, and no column of the file fits; expected --set "
                           "%s=VALUE or --map %s=COLUMN",
                           plan.table->name, name, name, name);
        }
    }
    *ret_plan = plan;
    return ERR_OK;
}
