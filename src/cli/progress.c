/* The progress line. */
#include "cli/progress.h"

#include <inttypes.h>

enum { FIRST_US = 1000000, EVERY_US = 100000, BAR_WIDTH = 24 };

void
progress_start(struct progress *progress, const struct cli *cli, const char *what)
{
    const struct clock *clock = cli->clock ? cli->clock : clock_system();

    *progress = (struct progress){
        .out = cli->err_is_terminal ? cli->err : NULL,
        .what = what,
        .clock = clock,
        .start_us = clock_mono_us(clock),
    };
}

/* Whether the line is due; *ret_seconds since the start. */
static bool
is_due(struct progress *progress, double *ret_seconds)
{
    if (!progress->out) {
        return false;
    }
    int64_t now_us = clock_mono_us(progress->clock);
    if (now_us - progress->start_us < FIRST_US || now_us - progress->shown_us < EVERY_US) {
        return false;
    }
    progress->shown_us = now_us;
    progress->shown = true;
    *ret_seconds = (double)(now_us - progress->start_us) / 1e6;
    return true;
}

static void
draw_bar(const struct progress *progress, double share)
{
    char bar[BAR_WIDTH + 1];

    for (int i = 0; i < BAR_WIDTH; i++) {
        bar[i] = i < (int)(share * BAR_WIDTH) ? '#' : '.';
    }
    bar[BAR_WIDTH] = '\0';
    fprintf(progress->out, "\r\033[K%s  [%s] %3.0f %%", progress->what, bar, share * 100);
}

void
progress_update(struct progress *progress, double share, uint64_t rows)
{
    double seconds;

    if (!is_due(progress, &seconds)) {
        return;
    }
    double rate = (double)rows / seconds;
    if (share < 0) {
        fprintf(progress->out, "\r\033[K%s  %" PRIu64 " rows  %.0f rows/s", progress->what, rows,
                rate);
    } else {
        draw_bar(progress, share > 1 ? 1 : share);
        fprintf(progress->out, "  %" PRIu64 " rows  %.0f rows/s", rows, rate);
    }
    fflush(progress->out);
}

void
progress_steps(struct progress *progress, uint64_t done, uint64_t all, const char *what)
{
    double seconds;

    if (!is_due(progress, &seconds)) {
        return;
    }
    if (all == 0) {
        fprintf(progress->out, "\r\033[K%s  %.0f s", progress->what, seconds);
    } else {
        double share = done > all ? 1 : (double)done / (double)all;
        draw_bar(progress, share);
        fprintf(progress->out, "  %" PRIu64 " of %" PRIu64 " %s", done, all, what);
        if (done > 0) {
            fprintf(progress->out, ", about %.0f s left", seconds * (1 - share) / share);
        }
    }
    fflush(progress->out);
}

void
progress_end(struct progress *progress)
{
    if (progress->shown) {
        fputs("\r\033[K", progress->out);
        fflush(progress->out);
    }
}

double
progress_seconds(const struct progress *progress)
{
    return (double)(clock_mono_us(progress->clock) - progress->start_us) / 1e6;
}
