/* Fills the live state from the store at start, so that the page shows what was there before. */
#ifndef EIDER_SERVER_WARM_H
#define EIDER_SERVER_WARM_H

#include "live/live.h"
#include "store/engine.h"

/* Reads series, last points, the newest rows of every part and the newest trades. Blocks on the
 * store. Stops at the first failure and returns it; what was read until then is there. */
enum err_code warm_live(struct engine *engine, struct live *live, struct laps *laps,
                        struct err *err);

#endif
