/* A disk that fails and a clock that jumps, for one process: preloaded, it stands before fsync, fdatasync, pwrite and the
   wall clock. What it does is told by a page of numbers that a test writes at any time (`faulty.py` has their meaning).

   A process that is killed leaves its writes in the kernel's cache; a machine that loses power does not. So each file is
   copied as it is at every fsync that succeeded, and a test can put those copies in the place of what was only written. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { CLOCK_OFFSET_S, KIND, FAIL_AT, KILL_BEFORE, KILL_AFTER, FAILED, SYNCS, SYNCS_OF_KIND = SYNCS + 4, IS_FULL, NUMBERS = 32 };
enum { ANY, WAL, DATABASE, OTHER };

static _Atomic int64_t nothing[NUMBERS];
static _Atomic int64_t *told = nothing;
static const char *copies;

__attribute__((constructor)) static void begin(void) {
    const char *control = getenv("FAULTY_CONTROL");
    int file = control ? open(control, O_RDWR | O_CLOEXEC) : -1;
    if (file < 0)
        return;
    void *page = mmap(NULL, sizeof nothing, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (page != MAP_FAILED)
        told = page;
    copies = getenv("FAULTY_COPIES");
}

/* ---- the disk ---- */

static int ends_with(const char *path, const char *end) {
    size_t length = strlen(path), end_length = strlen(end);
    return length >= end_length && strcmp(path + length - end_length, end) == 0;
}

static int kind_of(const char *path) {
    return ends_with(path, ".sqlite3-wal") ? WAL : ends_with(path, ".sqlite3") ? DATABASE : OTHER;
}

static void keep_copy(int file, const char *path) {
    char target[4096], draft[4200], buffer[65536];
    const char *name = strrchr(path, '/');
    if (!copies || !name || kind_of(path) == OTHER)
        return;
    snprintf(target, sizeof target, "%s%s", copies, name);
    snprintf(draft, sizeof draft, "%s.new", target);
    int copy = open(draft, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (copy < 0)
        abort();
    off_t at = 0;
    for (ssize_t got; (got = pread(file, buffer, sizeof buffer, at)) > 0; at += got)
        if (pwrite(copy, buffer, (size_t)got, at) != got)
            abort();
    close(copy);
    if (rename(draft, target) != 0)
        abort();
}

static void path_of(int file, char *path, size_t room) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, room - 1);
    path[length < 0 ? 0 : length] = '\0';
}

static int sync_file(int file, const char *function) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, function);
    char path[4096];
    path_of(file, path, sizeof path);
    int kind = kind_of(path);
    told[SYNCS + kind]++;
    told[SYNCS]++;
    int is_meant = told[KIND] == ANY || told[KIND] == kind;
    int64_t number = is_meant ? ++told[SYNCS_OF_KIND] : 0;
    if (is_meant && number == told[FAIL_AT]) {
        told[FAILED]++;
        errno = EIO;
        return -1;
    }
    if (is_meant && number == told[KILL_BEFORE])
        kill(getpid(), SIGKILL);
    int result = real(file);
    if (result == 0)
        keep_copy(file, path);
    if (is_meant && number == told[KILL_AFTER])
        kill(getpid(), SIGKILL);
    return result;
}

int fsync(int file) { return sync_file(file, "fsync"); }

int fdatasync(int file) { return sync_file(file, "fdatasync"); }

/* A full disk takes what fits into the file as it is. */
static int has_no_room(int file, size_t count, off_t at) {
    char path[4096];
    struct stat facts;
    if (!told[IS_FULL])
        return 0;
    path_of(file, path, sizeof path);
    return kind_of(path) != OTHER && fstat(file, &facts) == 0 && at + (off_t)count > facts.st_size;
}

static ssize_t write_at(const char *function, int file, const void *data, size_t count, off_t at) {
    ssize_t (*real)(int, const void *, size_t, off_t) =
        (ssize_t (*)(int, const void *, size_t, off_t))dlsym(RTLD_NEXT, function);
    if (has_no_room(file, count, at)) {
        errno = ENOSPC;
        return -1;
    }
    return real(file, data, count, at);
}

ssize_t pwrite(int file, const void *data, size_t count, off_t at) { return write_at("pwrite", file, data, count, at); }

ssize_t pwrite64(int file, const void *data, size_t count, off_t at) {
    return write_at("pwrite64", file, data, count, at);
}

/* ---- the clock ---- */

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real)
        real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, now);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += told[CLOCK_OFFSET_S];
    return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec at;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &at);
    now->tv_sec = at.tv_sec;
    now->tv_usec = at.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *into) {
    struct timespec at;
    clock_gettime(CLOCK_REALTIME, &at);
    if (into)
        *into = at.tv_sec;
    return at.tv_sec;
}
