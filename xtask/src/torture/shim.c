/* What is wrong with one server's disk and clock, as another process says in a shared file. Loaded before libc.
 *
 * The file's layout is that of shim.rs: eight little-endian words of eight bytes each. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

struct control {
    _Atomic int64_t clock_offset_ns; /* what CLOCK_REALTIME is wrong by */
    _Atomic int64_t fail_syncs;      /* so many of the next syncs fail */
    _Atomic int64_t hang_ms;         /* the next sync takes so long */
    _Atomic int64_t syncs, failed, hung, wrong_times;
    _Atomic int64_t unused;
};

static struct control nothing;
static struct control *control = &nothing;
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_clock_gettime)(clockid_t, struct timespec *);

__attribute__((constructor)) static void begin(void)
{
    real_fsync = dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    real_clock_gettime = dlsym(RTLD_NEXT, "clock_gettime");
    const char *path = getenv("TORTURE_SHIM");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    void *at = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at != MAP_FAILED)
        control = at;
    close(fd);
}

/* Is it a file of which a server must not go on without the sync? Its address book is advice, and written anew. */
static int matters(int fd)
{
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    path[length < 0 ? 0 : length] = 0;
    return strstr(path, "/data/") && !strstr(path, "/data/peers");
}

static int sync_with(int (*real)(int), int fd)
{
    atomic_fetch_add(&control->syncs, 1);
    int64_t ms = atomic_exchange(&control->hang_ms, 0);
    if (ms > 0) {
        struct timespec left = { ms / 1000, ms % 1000 * 1000000 };
        while (nanosleep(&left, &left) == -1 && errno == EINTR)
            ;
        atomic_fetch_add(&control->hung, 1);
    }
    int64_t fail = atomic_load(&control->fail_syncs);
    while (fail > 0 && matters(fd))
        if (atomic_compare_exchange_weak(&control->fail_syncs, &fail, fail - 1)) {
            atomic_fetch_add(&control->failed, 1);
            errno = EIO;
            return -1;
        }
    return real(fd);
}

int fsync(int fd) { return sync_with(real_fsync, fd); }
int fdatasync(int fd) { return sync_with(real_fdatasync, fd); }

int clock_gettime(clockid_t which, struct timespec *at)
{
    if (!real_clock_gettime) /* before our constructor */
        real_clock_gettime = dlsym(RTLD_NEXT, "clock_gettime");
    int result = real_clock_gettime(which, at);
    int64_t offset = atomic_load(&control->clock_offset_ns);
    if (result == 0 && offset != 0 && (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE)) {
        int64_t ns = at->tv_sec * 1000000000LL + at->tv_nsec + offset;
        at->tv_sec = ns / 1000000000LL;
        at->tv_nsec = ns % 1000000000LL;
        atomic_fetch_add(&control->wrong_times, 1);
    }
    return result;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone)
{
    struct timespec now;
    (void)zone;
    int result = clock_gettime(CLOCK_REALTIME, &now);
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return result;
}

time_t time(time_t *at)
{
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0)
        return -1;
    if (at)
        *at = now.tv_sec;
    return now.tv_sec;
}
