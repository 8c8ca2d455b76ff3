/* Rows of a catalogue table by column name, for collectors that write a few a second. A column that
 * the table lacks is a bug (asserted). One thread at a time. */
#ifndef EIDER_COLLECT_ROWS_H
#define EIDER_COLLECT_ROWS_H

#include "catalog/batch.h"

/* Sets a number in whatever type the column has; not finite is NULL. */
void rows_put_number(struct batch *batch, size_t row, const char *column, double value);

void rows_put_time(struct batch *batch, size_t row, const char *column, int64_t us);

/* Borrows the text. */
void rows_put_text(struct batch *batch, size_t row, const char *column, struct slice text);

#endif
