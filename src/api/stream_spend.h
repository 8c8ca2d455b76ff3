/*
 * The meter's budgets as the live stream shows them: at most 256 counters, those nearest to their
 * limits, with their number in all.
 */
#ifndef EIDER_API_STREAM_SPEND_H
#define EIDER_API_STREAM_SPEND_H

struct api;
struct stream_spend;

/* Gives the live state of the api what it needs for the part "spend"; the meter may come later. */
struct stream_spend *stream_spend_open(struct api *api);

/* After the last frame was made. */
void stream_spend_close(struct stream_spend *spend);

#endif
