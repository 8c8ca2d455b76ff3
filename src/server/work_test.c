/* Work: runs when asked and by the clock, once at a time, and tells what came of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* */
#include <cmocka.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#include "server/work.h"

struct scene {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int begun;
    bool hold; /* runs wait while it is set */
    bool fail;
};

static enum err_code
run(void *ctx, struct json_writer *json, struct err *err)
{
    struct scene *scene = ctx;

    pthread_mutex_lock(&scene->lock);
    scene->begun++;
    pthread_cond_broadcast(&scene->changed);
    while (scene->hold) {
        pthread_cond_wait(&scene->changed, &scene->lock);
    }
    bool fail = scene->fail;
    pthread_mutex_unlock(&scene->lock);
    if (fail) {
        return err_set(err, ERR_NO_SPACE, "no space at all");
    }
    json_key(json, "answer");
    json_i64(json, 42);
    return ERR_OK;
}

static void
scene_init(struct scene *scene, bool hold)
{
    *scene = (struct scene){.hold = hold};
    pthread_mutex_init(&scene->lock, NULL);
    pthread_cond_init(&scene->changed, NULL);
}

static struct work *
start(struct scene *scene, int64_t interval_ms)
{
    const struct work_options options = {.name = "probe",
                                         .run = run,
                                         .ctx = scene,
                                         .interval_ms = interval_ms,
                                         .clock = clock_system()};

    return work_start(&options);
}

static void
wait_begun(struct scene *scene, int count)
{
    pthread_mutex_lock(&scene->lock);
    while (scene->begun < count) {
        pthread_cond_wait(&scene->changed, &scene->lock);
    }
    pthread_mutex_unlock(&scene->lock);
}

static void
let_go(struct scene *scene, bool fail)
{
    pthread_mutex_lock(&scene->lock);
    scene->hold = false;
    scene->fail = fail;
    pthread_cond_broadcast(&scene->changed);
    pthread_mutex_unlock(&scene->lock);
}

static void
status_text(struct work *work, struct buf *text)
{
    struct json_writer json;

    buf_init(text, 0);
    json_init(&json, text);
    json_object_begin(&json);
    work_status(work, &json);
    json_object_end(&json);
    buf_add_char(text, '\0');
}

/* Asks until what runs has ended; each answer but OK must be that it is under way. */
static void
ask_again(struct work *work)
{
    struct err err;
    enum err_code code;

    while ((code = work_ask(work, &err)) != ERR_OK) {
        assert_int_equal(code, ERR_CONFLICT);
    }
}

static void
test_work_runs_once_at_a_time_when_asked(void **state)
{
    struct scene scene;
    struct buf text BUF_AUTO = {0};
    struct err err;

    (void)state;
    scene_init(&scene, true);
    struct work *work = start(&scene, 0);
    assert_int_equal(work_ask(work, &err), ERR_OK);
    assert_int_equal(work_ask(work, &err), ERR_CONFLICT);
    wait_begun(&scene, 1);
    assert_int_equal(work_ask(work, &err), ERR_CONFLICT);
    assert_non_null(strstr(err.msg, "under way"));
    status_text(work, &text);
    assert_non_null(strstr(text.ptr, "\"state\":\"running\""));
    let_go(&scene, false);
    ask_again(work);
    wait_begun(&scene, 2);
    work_stop(work);
    assert_int_equal(scene.begun, 2);
}

static void
test_work_tells_how_the_last_one_ended(void **state)
{
    struct scene scene;
    struct buf text BUF_AUTO = {0};
    struct err err;

    (void)state;
    scene_init(&scene, false);
    struct work *work = start(&scene, 0);
    assert_int_equal(work_ask(work, &err), ERR_OK);
    wait_begun(&scene, 1);
    pthread_mutex_lock(&scene.lock);
    scene.hold = true;
    pthread_mutex_unlock(&scene.lock);
    ask_again(work);
    wait_begun(&scene, 2);
    status_text(work, &text); /* the first has ended, the second is held */
    assert_non_null(strstr(text.ptr, "\"runs\":1,\"failures\":0"));
    assert_non_null(strstr(text.ptr, "\"result\":{\"answer\":42}"));
    let_go(&scene, true);
    ask_again(work);
    wait_begun(&scene, 3);
    buf_fini(&text);
    status_text(work, &text);
    assert_non_null(strstr(text.ptr, "no space at all"));
    assert_non_null(strstr(text.ptr, "\"result\":{\"answer\":42}")); /* of the last that worked */
    work_stop(work);
}

static void
test_work_comes_by_the_clock(void **state)
{
    struct scene scene;

    (void)state;
    scene_init(&scene, false);
    struct work *work = start(&scene, 1);
    wait_begun(&scene, 3);
    work_stop(work);
    work_stop(NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_work_runs_once_at_a_time_when_asked),
        cmocka_unit_test(test_work_tells_how_the_last_one_ended),
        cmocka_unit_test(test_work_comes_by_the_clock),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
