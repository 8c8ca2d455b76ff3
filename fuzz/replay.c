/*
 * Runs a fuzz target once on each file of the directories given, in order of their names: the
 * corpus as a test. Each input lies in a heap block of its exact size, so that a sanitizer sees a
 * read past its end. Fails when a directory is missing or empty.
 */
#include "fuzz.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"

enum { PATH_BYTES = 4096, FILE_BYTES_MAX = 64 << 20 };

static bool
replay_file(const char *path)
{
    BUF_AUTO struct buf bytes;
    char part[65536];
    size_t got;
    FILE *file = fopen(path, "rb");

    if (!file) {
        fprintf(stderr, "replay: %s: %s\n", path, strerror(errno));
        return false;
    }
    buf_init(&bytes, FILE_BYTES_MAX);
    while ((got = fread(part, 1, sizeof(part), file)) > 0) {
        buf_add(&bytes, part, got);
    }
    bool fine = !ferror(file) && !bytes.overflow;
    fclose(file);
    if (!fine) {
        fprintf(stderr, "replay: %s: cannot be read whole\n", path);
        return false;
    }
    MEM_AUTO uint8_t *exact = mem_alloc(bytes.len);
    if (bytes.len > 0) {
        memcpy(exact, bytes.ptr, bytes.len);
    }
    LLVMFuzzerTestOneInput(exact, bytes.len);
    return true;
}

static int
is_input(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

/* How many files were run, or -1. */
static int
replay_directory(const char *directory)
{
    struct dirent **entries = NULL;
    int count = scandir(directory, &entries, is_input, alphasort);
    int run = 0;

    if (count < 0) {
        fprintf(stderr, "replay: %s: %s\n", directory, strerror(errno));
        return -1;
    }
    for (int i = 0; i < count; i++) {
        char path[PATH_BYTES];
        int len = snprintf(path, sizeof(path), "%s/%s", directory, entries[i]->d_name);
        bool fits = len > 0 && (size_t)len < sizeof(path);
        run += fits && replay_file(path);
        free(entries[i]);
    }
    free(entries);
    if (run != count || count == 0) {
        fprintf(stderr, "replay: %s: %d of %d inputs run\n", directory, run, count);
        return -1;
    }
    return run;
}

int
main(int argc, char **argv)
{
    int total = 0;

    if (argc < 2) {
        fprintf(stderr, "usage: %s DIRECTORY...\n", argv[0]);
        return 2;
    }
    for (int i = 1; i < argc; i++) {
        int run = replay_directory(argv[i]);
        if (run < 0) {
            return 1;
        }
        total += run;
    }
    printf("%d inputs\n", total);
    return 0;
}
