-- Names that statements of all stores use, and the views that go with the tables.

CREATE FUNCTION isfinite(x DOUBLE PRECISION) RETURNS BOOLEAN LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN x > '-Infinity'::DOUBLE PRECISION AND x < 'Infinity'::DOUBLE PRECISION;
CREATE FUNCTION epoch_us(t TIMESTAMP) RETURNS BIGINT LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (extract(epoch FROM t) * 1000000)::BIGINT;

CREATE VIEW trading_metrics AS
    SELECT s."timestamp", r.metric_name, s.value, r.symbol, r.labels
    FROM samples AS s JOIN series AS r USING (series_id);

CREATE VIEW api_quota_usage AS
    SELECT api_name AS service, date_trunc('day', "timestamp") AS "timestamp",
        sum(credits_cost) AS credits_used, count(*) FILTER (WHERE corrects IS NULL) AS calls
    FROM api_event_log GROUP BY 1, 2;

CREATE VIEW reservations AS
    SELECT reservation_id,
        CASE (array_agg(change ORDER BY seq DESC))[1] WHEN 'commit' THEN 'committed'
            WHEN 'release' THEN 'released' WHEN 'expire' THEN 'expired' ELSE 'reserved' END AS state,
        (array_agg(credits ORDER BY seq DESC)
            FILTER (WHERE change IN ('reserve', 'extend') AND credits IS NOT NULL))[1] AS credits_reserved,
        coalesce((array_agg(credits ORDER BY seq DESC)
            FILTER (WHERE change = 'commit' AND credits IS NOT NULL))[1], 0) AS credits_booked,
        (array_agg("timestamp" ORDER BY seq))[1] AS created_at,
        (array_agg(expires_at ORDER BY seq DESC) FILTER (WHERE expires_at IS NOT NULL))[1] AS expires_at,
        (array_agg(api_name ORDER BY seq) FILTER (WHERE api_name IS NOT NULL))[1] AS api_name,
        (array_agg(endpoint ORDER BY seq) FILTER (WHERE endpoint IS NOT NULL))[1] AS endpoint,
        (array_agg(method ORDER BY seq) FILTER (WHERE method IS NOT NULL))[1] AS method,
        (array_agg(api_key ORDER BY seq) FILTER (WHERE api_key IS NOT NULL))[1] AS api_key,
        (array_agg(run_id ORDER BY seq) FILTER (WHERE run_id IS NOT NULL))[1] AS run_id,
        (array_agg(project ORDER BY seq) FILTER (WHERE project IS NOT NULL))[1] AS project,
        (array_agg(event_id ORDER BY seq DESC) FILTER (WHERE event_id IS NOT NULL))[1] AS event_id
    FROM reservation_changes GROUP BY reservation_id;

CREATE VIEW budgets AS
    SELECT name,
        (array_agg(definition ORDER BY seq DESC) FILTER (WHERE change = 'set'))[1] AS definition,
        (array_agg(CASE change WHEN 'set' THEN coalesce(definition ->> 'mode', 'enforce')
            WHEN 'force_open' THEN 'forced_open' ELSE change END ORDER BY seq DESC)
            FILTER (WHERE change IN ('set', 'force_open', 'metrics_only', 'enforce')))[1] AS mode,
        (array_agg("timestamp" ORDER BY seq DESC))[1] AS changed_at
    FROM budget_changes WHERE change NOT IN ('opened', 'half_open', 'closed')
    GROUP BY name
    HAVING (array_agg(change ORDER BY seq DESC) FILTER (WHERE change IN ('set', 'delete')))[1] = 'set';

-- The tables of the original's plan for PostgreSQL, for those who query them: times in whole seconds.
CREATE VIEW metrics AS
    SELECT s.eider_ord AS id, r.metric_name::VARCHAR(255) AS name,
        floor(extract(epoch FROM s."timestamp"))::BIGINT AS "timestamp", s.value,
        r.labels::JSONB AS labels, s."timestamp" AS created_at
    FROM samples AS s JOIN series AS r USING (series_id);
CREATE VIEW metric_labels AS
    SELECT s.eider_ord AS metric_id, l.key::VARCHAR(255) AS key, l.value
    FROM samples AS s JOIN series AS r USING (series_id)
    CROSS JOIN LATERAL json_each_text(r.labels) AS l;
