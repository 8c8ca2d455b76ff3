/*
 * GET /openapi.json: OpenAPI 3.1 made from the table of routes and the catalogue, so that neither
 * can be described differently from what it does.
 */
#include "api/api_private.h"

static void
write_ref(struct json_writer *w, const char *schema)
{
    char ref[96];

    snprintf(ref, sizeof(ref), "#/components/schemas/%s", schema);
    json_object_begin(w);
    json_key(w, "$ref");
    json_cstr(w, ref);
    json_object_end(w);
}

static void
write_params(struct json_writer *w, const struct route *route)
{
    static const char *const places[] = {"query", "path", "header"};

    json_array_begin(w);
    for (const struct route_param *p = route->params; p->name; p++) {
        json_object_begin(w);
        json_key(w, "name");
        json_cstr(w, p->name);
        json_key(w, "in");
        json_cstr(w, places[p->place]);
        json_key(w, "required");
        json_bool(w, p->place == PARAM_IN_PATH);
        json_key(w, "description");
        json_cstr(w, p->help);
        json_key(w, "schema");
        json_object_begin(w);
        json_key(w, "type");
        json_cstr(w, p->type);
        json_object_end(w);
        json_object_end(w);
    }
    json_array_end(w);
}

static void
write_content(struct json_writer *w, const char *mime, const char *schema)
{
    json_key(w, "content");
    json_object_begin(w);
    json_key(w, mime);
    json_object_begin(w);
    json_key(w, "schema");
    write_ref(w, schema);
    json_object_end(w);
    json_object_end(w);
}

static void
write_answers(struct json_writer *w, const struct route *route)
{
    json_key(w, "responses");
    json_object_begin(w);
    json_key(w, "200");
    json_object_begin(w);
    json_key(w, "description");
    json_cstr(w, "Success");
    if (route->answer_schema) {
        write_content(w, "application/json", route->answer_schema);
    }
    json_object_end(w);
    if (route->run == post_reserve || route->run == post_extend || route->run == post_events) {
        json_key(w, "503");
        json_object_begin(w);
        json_key(w, "description");
        json_cstr(w, "Refused by a budget, or not available");
        write_content(w, "application/json", "SpendRefusal");
        json_object_end(w);
    }
    json_key(w, "default");
    json_object_begin(w);
    json_key(w, "description");
    json_cstr(w, "What was wrong, and what was expected");
    write_content(w, "application/json", "Error");
    json_object_end(w);
    json_object_end(w);
}

/* What a token must be allowed to do: one of these. */
static void
write_scopes(struct json_writer *w, const struct route *route)
{
    json_array_begin(w);
    for (unsigned scope = 1; scope <= API_SCOPE_ALL; scope <<= 1) {
        if (route->flags / ROUTE_INGEST & scope) {
            json_cstr(w, api_scope_name(scope));
        }
    }
    json_array_end(w);
}

static void
write_operation(struct json_writer *w, const struct route *route)
{
    char method[8];
    const char *name = http_method_name(route->method);
    size_t len = strlen(name);

    for (size_t i = 0; i <= len; i++) {
        method[i] = (char)(name[i] | (name[i] ? 0x20 : 0));
    }
    json_key(w, method);
    json_object_begin(w);
    json_key(w, "tags");
    json_array_begin(w);
    json_cstr(w, route->group);
    json_array_end(w);
    json_key(w, "summary");
    json_cstr(w, route->summary);
    if (route->flags & ROUTE_SCOPES) {
        json_key(w, "x-scopes");
        write_scopes(w, route);
    }
    json_key(w, "parameters");
    write_params(w, route);
    if (route->body_schema) {
        bool text = strcmp(route->body_schema, "LineProtocol") == 0;
        json_key(w, "requestBody");
        json_object_begin(w);
        json_key(w, "required");
        json_bool(w, true);
        write_content(w, text ? "text/plain" : "application/json", route->body_schema);
        json_object_end(w);
    }
    write_answers(w, route);
    json_object_end(w);
}

static const char *
schema_type(enum col_type type)
{
    switch (type) {
    case COL_BOOL:
        return "boolean";
    case COL_INT32:
    case COL_INT64:
        return "integer";
    case COL_DOUBLE:
    case COL_DECIMAL:
        return "number";
    case COL_TIMESTAMP:
    case COL_TEXT:
        return "string";
    case COL_JSON:
        return "object";
    case COL_TYPE_COUNT:
        break;
    }
    return "string";
}

static void
write_column(struct json_writer *w, const struct catalog_column *column)
{
    json_key(w, column->name);
    json_object_begin(w);
    json_key(w, "type");
    json_cstr(w, schema_type(column->type));
    if (column->type == COL_TIMESTAMP) {
        json_key(w, "format");
        json_cstr(w, "date-time");
    }
    if (column->type == COL_INT32 || column->type == COL_INT64) {
        json_key(w, "format");
        json_cstr(w, column->type == COL_INT32 ? "int32" : "int64");
    }
    if (column->help) {
        json_key(w, "description");
        json_cstr(w, column->help);
    }
    if (column->unit) {
        json_key(w, "x-unit");
        json_cstr(w, column->unit);
    }
    if (column->choices) {
        json_key(w, "enum");
        json_array_begin(w);
        for (const char *const *choice = column->choices; *choice; choice++) {
            json_cstr(w, *choice);
        }
        json_array_end(w);
    }
    json_object_end(w);
}

static void
write_table(struct json_writer *w, const struct catalog_table *table)
{
    json_key(w, table->name);
    json_object_begin(w);
    json_key(w, "type");
    json_cstr(w, "object");
    json_key(w, "description");
    json_cstr(w, table->help);
    json_key(w, "properties");
    json_object_begin(w);
    for (size_t i = 0; i < table->column_count; i++) {
        write_column(w, &table->columns[i]);
    }
    json_object_end(w);
    json_key(w, "required");
    json_array_begin(w);
    for (size_t i = 0; i < table->column_count; i++) {
        if (table->columns[i].missing == MISSING_REFUSE) {
            json_cstr(w, table->columns[i].name);
        }
    }
    json_array_end(w);
    json_object_end(w);
}

/* Shapes that are not tables, as JSON Schema. */
static const struct {
    const char *name;
    const char *schema;
} shapes[] = {
    {"Error", "{\"type\":\"object\",\"properties\":{\"detail\":{\"type\":\"string\"},\"code\":{"
              "\"type\":\"string\"},\"request_id\":{\"type\":\"string\"}}}"},
    {"IngestAnswer",
     "{\"type\":\"object\",\"properties\":{\"accepted\":{\"type\":\"integer\"},\"rejected\":{"
     "\"type\":\"integer\"},\"errors\":{\"type\":\"array\",\"items\":{\"type\":\"object\","
     "\"properties\":{\"row\":{\"type\":\"integer\"},\"field\":{\"type\":\"string\"},\"value\":{"
     "\"type\":\"string\"},\"expected\":{\"type\":\"string\"}}}},\"lsn\":{\"type\":\"integer\"}}}"},
    {"DatabaseList",
     "{\"type\":\"object\",\"properties\":{\"databases\":{\"type\":\"array\",\"items\":{\"type\":"
     "\"object\",\"properties\":{\"name\":{\"type\":\"string\"},\"path\":{\"type\":\"string\"},"
     "\"state\":{\"type\":\"string\",\"enum\":[\"serving\",\"unhealthy\",\"unavailable\"]},"
     "\"detail\":{\"type\":\"string\"},\"rows_per_second\":{\"type\":\"number\"},\"rows\":{"
     "\"type\":\"integer\"},\"series\":{\"type\":\"integer\"},\"store_bytes\":{\"type\":"
     "\"integer\"},\"wal_bytes\":{\"type\":\"integer\"},\"disk_bytes\":{\"type\":\"integer\"},"
     "\"limits\":{\"type\":\"object\"}}}},\"count\":{\"type\":\"integer\"}}}"},
    {"LineProtocol",
     "{\"type\":\"string\",\"example\":\"latency,venue=X value=1.5 1767323045000000000\"}"},
    {"SqlRequest",
     "{\"type\":\"object\",\"required\":[\"sql\"],\"properties\":{\"sql\":{\"type\":\"string\"},"
     "\"params\":{\"type\":\"array\",\"items\":{}}},\"example\":{\"sql\":\"SELECT symbol, count(*) "
     "AS trades FROM trades GROUP BY symbol\",\"params\":[]}}"},
    {"SqlAnswer",
     "{\"type\":\"object\",\"properties\":{\"columns\":{\"type\":\"array\",\"items\":{\"type\":"
     "\"object\",\"properties\":{\"name\":{\"type\":\"string\"},\"type\":{\"type\":\"string\"}}}},"
     "\"rows\":{\"type\":\"array\",\"items\":{\"type\":\"array\",\"items\":{}}},\"row_count\":{"
     "\"type\":\"integer\"},\"truncated\":{\"type\":\"boolean\"},\"elapsed_ms\":{\"type\":"
     "\"number\"}}}"},
    {"HistoryRequest",
     "{\"type\":\"object\",\"properties\":{\"time_range\":{\"type\":\"string\",\"enum\":[\"1h\","
     "\"24h\",\"7d\",\"30d\",\"HOUR_1\",\"HOURS_24\",\"DAYS_7\",\"DAYS_30\"]},\"start_time\":{"
     "\"type\":\"string\",\"format\":\"date-time\"},\"end_time\":{\"type\":\"string\",\"format\":"
     "\"date-time\"},\"metric_types\":{\"type\":\"array\",\"items\":{\"type\":\"string\",\"enum\":["
     "\"market_data\",\"strategy\",\"execution\",\"system\",\"trades\"]}},\"symbols\":{\"type\":"
     "\"array\",\"items\":{\"type\":\"string\"}},\"symbol\":{\"type\":\"string\"},\"interval\":{"
     "\"type\":\"string\",\"default\":\"5m\",\"enum\":[\"1m\",\"5m\",\"15m\",\"1h\",\"1d\"]}}}"},
    {"HistoryAnswer",
     "{\"type\":\"object\",\"properties\":{\"start_time\":{\"type\":\"string\"},\"end_time\":{"
     "\"type\":\"string\"},\"interval\":{\"type\":\"string\"},\"data\":{\"type\":\"array\","
     "\"items\":{\"type\":\"object\"}},\"count\":{\"type\":\"integer\"}}}"},
    {"Snapshot",
     "{\"type\":\"object\",\"properties\":{\"timestamp\":{\"type\":\"string\"},\"market_data\":{"
     "\"type\":\"object\"},\"strategy\":{\"type\":\"object\"},\"execution\":{\"type\":\"object\"},"
     "\"system\":{\"type\":\"object\"}}}"},
    {"TradeList", "{\"type\":\"object\",\"properties\":{\"trades\":{\"type\":\"array\",\"items\":{"
                  "\"$ref\":\"#/components/schemas/trades\"}},\"total\":{\"type\":\"integer\"},"
                  "\"limit\":{\"type\":\"integer\"},\"offset\":{\"type\":\"integer\"}}}"},
    {"MetricPoints",
     "{\"type\":\"object\",\"properties\":{\"metrics\":{\"type\":\"array\",\"items\":{\"type\":"
     "\"object\",\"properties\":{\"Name\":{\"type\":\"string\"},\"Timestamp\":{\"type\":"
     "\"integer\"},\"Value\":{\"type\":[\"number\",\"null\"]},\"Labels\":{\"type\":[\"object\","
     "\"null\"]},\"Symbol\":{\"type\":\"string\"}}}},\"count\":{\"type\":\"integer\"},"
     "\"truncated\":{\"type\":\"boolean\"}}}"},
    {"StorageStats",
     "{\"type\":\"object\",\"properties\":{\"metric_count\":{\"type\":\"integer\"},\"max_size\":{"
     "\"type\":\"integer\"},\"utilization\":{\"type\":\"string\"},\"type\":{\"type\":\"string\"},"
     "\"cache\":{\"type\":\"object\"}}}"},
};

static void
write_schemas(struct json_writer *w)
{
    const struct catalog_table *table;

    json_object_begin(w);
    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        json_key(w, shapes[i].name);
        json_raw(w, slice_of(shapes[i].schema));
    }
    write_meter_schemas(w);
    for (size_t i = 0; (table = catalog_at(i)) != NULL; i++) {
        write_table(w, table);
    }
    json_key(w, "IngestRows");
    json_object_begin(w);
    json_key(w, "description");
    json_cstr(w, "An object or an array of objects of the named table");
    json_key(w, "oneOf");
    json_array_begin(w);
    for (size_t i = 0; (table = catalog_at(i)) != NULL; i++) {
        if (table->ingestible) {
            write_ref(w, table->name);
        }
    }
    json_array_end(w);
    json_object_end(w);
    json_object_end(w);
}

/* Operations of one path stand together, wherever the table has them. */
static void
write_paths(struct json_writer *w)
{
    json_object_begin(w);
    for (const struct route *route = api_routes; route->path; route++) {
        bool first = true;

        for (const struct route *before = api_routes; before < route; before++) {
            first = first && strcmp(before->path, route->path) != 0;
        }
        if (!first || !route->group) {
            continue;
        }
        json_key(w, route->path);
        json_object_begin(w);
        for (const struct route *same = route; same->path; same++) {
            if (strcmp(same->path, route->path) == 0) {
                write_operation(w, same);
            }
        }
        json_object_end(w);
    }
    json_object_end(w);
}

void
get_openapi(struct api *api, const struct route *route, struct http_exchange *exchange)
{
    struct json_writer w;

    (void)api;
    (void)route;
    reply_json(exchange, &w);
    json_object_begin(&w);
    json_key(&w, "openapi");
    json_cstr(&w, "3.1.0");
    json_key(&w, "info");
    json_object_begin(&w);
    json_key(&w, "title");
    json_cstr(&w, "Eider");
    json_key(&w, "version");
    json_cstr(&w, EIDER_VERSION);
    json_key(&w, "description");
    json_cstr(&w, "Observability store of trading systems and of services that live on paid APIs. "
                  "A write is answered when it is durable. A server may have several databases: "
                  "every path is there for each of them below /db/{name}, or with the header "
                  "X-Eider-Database.");
    json_object_end(&w);
    if (http_prefix(exchange).len > 0) {
        json_key(&w, "servers");
        json_array_begin(&w);
        json_object_begin(&w);
        json_key(&w, "url");
        json_str(&w, http_prefix(exchange));
        json_object_end(&w);
        json_array_end(&w);
    }
    json_key(&w, "paths");
    write_paths(&w);
    json_key(&w, "components");
    json_object_begin(&w);
    json_key(&w, "schemas");
    write_schemas(&w);
    json_key(&w, "securitySchemes");
    json_raw(&w, slice_of("{\"token\":{\"type\":\"http\",\"scheme\":\"bearer\"}}"));
    json_object_end(&w);
    json_key(&w, "security");
    json_raw(&w, slice_of(api->need_token ? "[{\"token\":[]}]" : "[]"));
    json_object_end(&w);
    http_reply(exchange);
}
