/* Preloaded into the server by test_sync.py: fdatasync fails with EIO while the file named by
 * EIDER_FAIL_SYNC exists. Everything else is passed on. */
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

int fdatasync(int fd);

int
fdatasync(int fd)
{
    static int (*real)(int);
    const char *trigger = getenv("EIDER_FAIL_SYNC");

    if (!real) {
        *(void **)(&real) = dlsym(RTLD_NEXT, "fdatasync");
    }
    if (trigger && access(trigger, F_OK) == 0) {
        errno = EIO;
        return -1;
    }
    return real(fd);
}
