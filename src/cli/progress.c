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

void
progress_update(struct progress *progress, double share, uint64_t rows)
{
    char bar[BAR_WIDTH + 1];

    if (!progress->out) {
        return;
    }
    int64_t now_us = clock_mono_us(progress->clock);
    if (now_us - progress->start_us < FIRST_US || now_us - progress->shown_us < EVERY_US) {
        return;
    }
    progress->shown_us = now_us;
    progress->shown = true;
    double seconds = (double)(now_us - progress->start_us) / 1e6;
    double rate = (double)rows / seconds;
    if (share < 0) {
        fprintf(progress->out, "\r\033[K%s  %" PRIu64 " rows  %.0f rows/s", progress->what, rows,
                rate);
    } else {
        share = share > 1 ? 1 : share;
        for (int i = 0; i < BAR_WIDTH; i++) {
            bar[i] = i < (int)(share * BAR_WIDTH) ? '#' : '.';
        }
        bar[BAR_WIDTH] = '\0';
        fprintf(progress->out, "\r\033[K%s  [%s] %3.0f %%  %" PRIu64 " rows  %.0f rows/s",
                progress->what, bar, share * 100, rows, rate);
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
