/* LD_PRELOAD: counts, fails, cuts short, kills at or logs the file system calls below one directory.

   It stands where a program leaves user space, so it meets every writer alike: CPython, dcpx's kernels, stock DCP. The
   calls themselves are made by syscall(2). Nothing happens until shim_arm(). Unseen are descriptors from dup(2), stdio
   (whose calls are libc's own), and mmap; the replay of a log notices if anything was missed. */

#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* Both as in shim.py. */
enum kind { OPEN, READ, WRITE, FSYNC, RENAME, UNLINK, MKDIR, TRUNCATE, CLOSE, STAT, LIST, LINK, KINDS };
enum action { PASS, FAIL, FAIL_AFTER, SHORT, KILL, KILL_AFTER, TEAR };

enum { MAX_DESCRIPTOR = 1 << 16, MAX_PARTS = 1024 };

static char directory[PATH_MAX];
static size_t directory_size; /* 0: not armed */
static atomic_bool tracked[MAX_DESCRIPTOR];

static unsigned fault_kinds;
static long fault_first, fault_last;
static enum action fault_action;
static int fault_errno;
static atomic_long calls[KINDS], matching, hits;
static long calls_before_hit[KINDS];
static enum kind hit_kind;
static int hit_flags;
static char hit_path[PATH_MAX];
static int log_descriptor = -1;
static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;

/* --- control ----------------------------------------------------------------------------------------------------- */

/* The calls of `kinds`, a bit mask, are numbered from 1; those from `first` to `last` meet `action`. All calls are
   appended to the file `log` unless it is -1. Threads that make such calls must not be running yet. */
void shim_arm(const char* below, unsigned kinds, long first, long last, int action, int error, int log) {
    fault_kinds = kinds, fault_first = first, fault_last = last, fault_action = action, fault_errno = error;
    log_descriptor = log;
    for (int kind = 0; kind < KINDS; ++kind) calls[kind] = calls_before_hit[kind] = 0;
    matching = hits = hit_flags = hit_path[0] = 0;
    for (int descriptor = 0; descriptor < MAX_DESCRIPTOR; ++descriptor) tracked[descriptor] = false;
    strncpy(directory, below, sizeof directory - 1);
    directory_size = strlen(directory);
}

void shim_disarm(void) { directory_size = 0; }
long shim_calls(int kind) { return calls[kind]; }
long shim_hits(void) { return hits; }

/* The first call that met the fault: its kind, the flags and path of its file, and how many calls had begun before. */
int shim_hit_kind(void) { return hit_kind; }
int shim_hit_flags(void) { return hit_flags; }
const char* shim_hit_path(void) { return hit_path; }
long shim_calls_before_hit(int kind) { return calls_before_hit[kind]; }

/* --- one call ---------------------------------------------------------------------------------------------------- */

struct call {
    enum kind kind;
    int descriptor;
    int flags;
    off_t offset; /* where a write goes, or the length of a truncation */
    const char *path, *target;
    const struct iovec* parts; /* of a write */
    enum action action;
};

struct record {
    int32_t kind, descriptor, flags, error;
    int64_t offset, result;
    uint64_t first_size, second_size; /* of what follows: path and target, or the data written */
};

static bool is_tracked(int descriptor) {
    return directory_size && descriptor >= 0 && descriptor < MAX_DESCRIPTOR && tracked[descriptor];
}

/* What a descriptor, or AT_FDCWD, refers to; returns the path's size, 0 for none. */
static size_t path_of(int descriptor, char path[PATH_MAX]) {
    char link[64] = "/proc/self/cwd";
    if (descriptor != AT_FDCWD) snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    const ssize_t size = readlink(link, path, PATH_MAX - 1);
    path[size < 0 ? 0 : size] = 0;
    return size < 0 ? 0 : (size_t)size;
}

/* Whether the path is the directory or below it; then `whole` is that path from the root on. */
static bool is_below(int at, const char* path, char whole[PATH_MAX]) {
    if (!directory_size) return false;
    size_t size = 0;
    if (path[0] != '/') {
        size = path_of(at, whole);
        whole[size++] = '/';
    }
    if (size + strlen(path) >= PATH_MAX) return false;
    strcpy(whole + size, path);
    return strncmp(whole, directory, directory_size) == 0 &&
           (whole[directory_size] == '/' || whole[directory_size] == 0);
}

static void note_hit(const struct call* call, const long before[KINDS]) {
    memcpy(calls_before_hit, before, sizeof calls_before_hit);
    hit_kind = call->kind;
    if (call->path) {
        strcpy(hit_path, call->path);
        hit_flags = call->flags;
    } else {
        path_of(call->descriptor, hit_path);
        hit_flags = fcntl(call->descriptor, F_GETFL);
    }
}

static void die(void) {
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

static void append(const struct call* call, long result) {
    struct record record = {.kind = call->kind, .descriptor = call->descriptor, .flags = call->flags};
    record.error = result < 0 ? errno : 0, record.offset = call->offset, record.result = result;
    struct iovec parts[MAX_PARTS];
    int count = 0;
    if (call->kind == WRITE) {
        record.first_size = result < 0 ? 0 : (uint64_t)result;
        for (uint64_t rest = record.first_size; rest; rest -= parts[count++].iov_len) {
            parts[count] = call->parts[count];
            if (parts[count].iov_len > rest) parts[count].iov_len = rest;
        }
    } else if (call->path) {
        record.first_size = strlen(call->path);
        record.second_size = call->target ? strlen(call->target) : 0;
        parts[count++] = (struct iovec){(void*)call->path, record.first_size};
        parts[count++] = (struct iovec){(void*)call->target, record.second_size};
    }
    const int error = errno;
    const long rest = (long)(record.first_size + record.second_size);
    if (syscall(SYS_write, log_descriptor, &record, sizeof record) != sizeof record) die();
    if (rest && syscall(SYS_writev, log_descriptor, parts, count) != rest) die(); /* a full disk: no log to rely on */
    errno = error;
}

/* Ends a call: returns its result. */
static long end(struct call* call, long result) {
    if (call->action == KILL_AFTER || call->action == TEAR) die();
    if (log_descriptor >= 0) {
        append(call, result);
        pthread_mutex_unlock(&log_lock);
    }
    if (call->action != FAIL_AFTER) return result;
    if (call->kind == OPEN && result >= 0) syscall(SYS_close, result);
    errno = fault_errno;
    return -1;
}

/* Begins a call: false if it fails, which `end` has then told. While a log is kept, calls are made one at a time: the
   order in the log is that in which they happened. */
static bool begin(struct call* call) {
    if (log_descriptor >= 0) pthread_mutex_lock(&log_lock);
    long before[KINDS];
    for (int kind = 0; kind < KINDS; ++kind) before[kind] = calls[kind];
    ++calls[call->kind];
    if (!(fault_kinds >> call->kind & 1)) return true;
    const long number = ++matching;
    if (number < fault_first || number > fault_last) return true;
    call->action = fault_action;
    if (hits++ == 0) note_hit(call, before);
    if (call->action == KILL) die();
    if (call->action != FAIL) return true;
    /* As Linux does it: whatever close reports, the descriptor is gone. */
    if (call->kind == CLOSE) syscall(SYS_close, call->descriptor);
    errno = fault_errno;
    end(call, -1);
    return false;
}

/* --- descriptors ------------------------------------------------------------------------------------------------- */

static long open_below(int at, const char* path, int flags, mode_t mode) {
    char whole[PATH_MAX];
    if (!is_below(at, path, whole)) return syscall(SYS_openat, at, path, flags, mode);
    struct call call = {.kind = OPEN, .flags = flags, .path = whole};
    if (!begin(&call)) return -1;
    const long descriptor = syscall(SYS_openat, at, path, flags, mode);
    if (descriptor >= 0 && descriptor < MAX_DESCRIPTOR) tracked[descriptor] = call.action != FAIL_AFTER;
    call.descriptor = (int)descriptor;
    return end(&call, descriptor);
}

static mode_t mode_of(int flags, va_list arguments) {
    return flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(arguments, mode_t) : 0;
}

int open(const char* path, int flags, ...) {
    va_list arguments;
    va_start(arguments, flags);
    const mode_t mode = mode_of(flags, arguments);
    va_end(arguments);
    return (int)open_below(AT_FDCWD, path, flags, mode);
}

int openat(int at, const char* path, int flags, ...) {
    va_list arguments;
    va_start(arguments, flags);
    const mode_t mode = mode_of(flags, arguments);
    va_end(arguments);
    return (int)open_below(at, path, flags, mode);
}

int open64(const char* path, int flags, ...) __attribute__((alias("open")));
int openat64(int at, const char* path, int flags, ...) __attribute__((alias("openat")));

int close(int descriptor) {
    if (!is_tracked(descriptor)) return (int)syscall(SYS_close, descriptor);
    tracked[descriptor] = false; /* before another thread may be given this number */
    struct call call = {.kind = CLOSE, .descriptor = descriptor};
    return begin(&call) ? (int)end(&call, syscall(SYS_close, descriptor)) : -1;
}

static int sync_file(int descriptor, long number) {
    if (!is_tracked(descriptor)) return (int)syscall(number, descriptor);
    struct call call = {.kind = FSYNC, .descriptor = descriptor};
    return begin(&call) ? (int)end(&call, syscall(number, descriptor)) : -1;
}

int fsync(int descriptor) { return sync_file(descriptor, SYS_fsync); }
int fdatasync(int descriptor) { return sync_file(descriptor, SYS_fdatasync); }

int ftruncate(int descriptor, off_t size) {
    if (!is_tracked(descriptor)) return (int)syscall(SYS_ftruncate, descriptor, size);
    struct call call = {.kind = TRUNCATE, .descriptor = descriptor, .offset = size};
    return begin(&call) ? (int)end(&call, syscall(SYS_ftruncate, descriptor, size)) : -1;
}

int ftruncate64(int descriptor, off_t size) __attribute__((alias("ftruncate")));

/* --- reads and writes -------------------------------------------------------------------------------------------- */

/* The first half of `parts`, at least a byte, in `half`; returns how many parts that are. */
static int halve(const struct iovec* parts, int count, struct iovec half[MAX_PARTS]) {
    size_t size = 0;
    for (int part = 0; part < count; ++part) size += parts[part].iov_len;
    size = size < 2 ? size : size / 2;
    int taken = 0;
    for (; taken < count && taken < MAX_PARTS && size; ++taken) {
        half[taken] = parts[taken];
        if (half[taken].iov_len > size) half[taken].iov_len = size;
        size -= half[taken].iov_len;
    }
    return taken;
}

/* All reads and writes; an offset of -1 is the file's position. */
static ssize_t transfer(enum kind kind, int descriptor, const struct iovec* parts, int count, off_t offset, int flags) {
    struct call call = {.kind = kind, .descriptor = descriptor, .offset = offset, .parts = parts};
    if (!begin(&call)) return -1;
    if (offset == -1) call.offset = syscall(SYS_lseek, descriptor, 0, SEEK_CUR);
    struct iovec half[MAX_PARTS];
    if (call.action == SHORT || call.action == TEAR) {
        count = halve(parts, count, half);
        parts = half;
    }
    return end(&call, syscall(kind == READ ? SYS_preadv2 : SYS_pwritev2, descriptor, parts, count, offset, 0, flags));
}

ssize_t read(int descriptor, void* data, size_t size) {
    if (!is_tracked(descriptor)) return syscall(SYS_read, descriptor, data, size);
    return transfer(READ, descriptor, &(struct iovec){data, size}, 1, -1, 0);
}

ssize_t write(int descriptor, const void* data, size_t size) {
    if (!is_tracked(descriptor)) return syscall(SYS_write, descriptor, data, size);
    return transfer(WRITE, descriptor, &(struct iovec){(void*)data, size}, 1, -1, 0);
}

ssize_t readv(int descriptor, const struct iovec* parts, int count) {
    if (!is_tracked(descriptor)) return syscall(SYS_readv, descriptor, parts, count);
    return transfer(READ, descriptor, parts, count, -1, 0);
}

ssize_t writev(int descriptor, const struct iovec* parts, int count) {
    if (!is_tracked(descriptor)) return syscall(SYS_writev, descriptor, parts, count);
    return transfer(WRITE, descriptor, parts, count, -1, 0);
}

ssize_t pread(int descriptor, void* data, size_t size, off_t offset) {
    if (!is_tracked(descriptor)) return syscall(SYS_pread64, descriptor, data, size, offset);
    return transfer(READ, descriptor, &(struct iovec){data, size}, 1, offset, 0);
}

ssize_t pwrite(int descriptor, const void* data, size_t size, off_t offset) {
    if (!is_tracked(descriptor)) return syscall(SYS_pwrite64, descriptor, data, size, offset);
    return transfer(WRITE, descriptor, &(struct iovec){(void*)data, size}, 1, offset, 0);
}

ssize_t preadv2(int descriptor, const struct iovec* parts, int count, off_t offset, int flags) {
    if (!is_tracked(descriptor)) return syscall(SYS_preadv2, descriptor, parts, count, offset, 0, flags);
    return transfer(READ, descriptor, parts, count, offset, flags);
}

ssize_t pwritev2(int descriptor, const struct iovec* parts, int count, off_t offset, int flags) {
    if (!is_tracked(descriptor)) return syscall(SYS_pwritev2, descriptor, parts, count, offset, 0, flags);
    return transfer(WRITE, descriptor, parts, count, offset, flags);
}

ssize_t preadv(int descriptor, const struct iovec* parts, int count, off_t offset) {
    return preadv2(descriptor, parts, count, offset, 0);
}

ssize_t pwritev(int descriptor, const struct iovec* parts, int count, off_t offset) {
    return pwritev2(descriptor, parts, count, offset, 0);
}

ssize_t pread64(int, void*, size_t, off_t) __attribute__((alias("pread")));
ssize_t pwrite64(int, const void*, size_t, off_t) __attribute__((alias("pwrite")));
ssize_t preadv64(int, const struct iovec*, int, off_t) __attribute__((alias("preadv")));
ssize_t pwritev64(int, const struct iovec*, int, off_t) __attribute__((alias("pwritev")));
ssize_t preadv64v2(int, const struct iovec*, int, off_t, int) __attribute__((alias("preadv2")));
ssize_t pwritev64v2(int, const struct iovec*, int, off_t, int) __attribute__((alias("pwritev2")));

/* --- names ------------------------------------------------------------------------------------------------------- */

int renameat2(int at, const char* path, int target_at, const char* target, unsigned flags) {
    char whole[PATH_MAX], target_whole[PATH_MAX];
    const bool from_below = is_below(at, path, whole), to_below = is_below(target_at, target, target_whole);
    if (!from_below && !to_below) return (int)syscall(SYS_renameat2, at, path, target_at, target, flags);
    struct call call = {.kind = RENAME, .path = whole, .target = target_whole};
    return begin(&call) ? (int)end(&call, syscall(SYS_renameat2, at, path, target_at, target, flags)) : -1;
}

int renameat(int at, const char* path, int target_at, const char* target) {
    return renameat2(at, path, target_at, target, 0);
}

int rename(const char* path, const char* target) { return renameat2(AT_FDCWD, path, AT_FDCWD, target, 0); }

int linkat(int at, const char* path, int target_at, const char* target, int flags) {
    char whole[PATH_MAX], target_whole[PATH_MAX];
    const bool from_below = is_below(at, path, whole), to_below = is_below(target_at, target, target_whole);
    if (!from_below && !to_below) return (int)syscall(SYS_linkat, at, path, target_at, target, flags);
    struct call call = {.kind = LINK, .path = whole, .target = target_whole};
    return begin(&call) ? (int)end(&call, syscall(SYS_linkat, at, path, target_at, target, flags)) : -1;
}

int link(const char* path, const char* target) { return linkat(AT_FDCWD, path, AT_FDCWD, target, 0); }

int unlinkat(int at, const char* path, int flags) {
    char whole[PATH_MAX];
    if (!is_below(at, path, whole)) return (int)syscall(SYS_unlinkat, at, path, flags);
    struct call call = {.kind = UNLINK, .flags = flags, .path = whole};
    return begin(&call) ? (int)end(&call, syscall(SYS_unlinkat, at, path, flags)) : -1;
}

int unlink(const char* path) { return unlinkat(AT_FDCWD, path, 0); }
int rmdir(const char* path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }

int mkdirat(int at, const char* path, mode_t mode) {
    char whole[PATH_MAX];
    if (!is_below(at, path, whole)) return (int)syscall(SYS_mkdirat, at, path, mode);
    struct call call = {.kind = MKDIR, .path = whole};
    return begin(&call) ? (int)end(&call, syscall(SYS_mkdirat, at, path, mode)) : -1;
}

int mkdir(const char* path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }

/* --- questions --------------------------------------------------------------------------------------------------- */

int fstatat(int at, const char* path, struct stat* found, int flags) {
    char whole[PATH_MAX];
    if (!is_below(at, path, whole)) return (int)syscall(SYS_newfstatat, at, path, found, flags);
    struct call call = {.kind = STAT, .path = whole};
    return begin(&call) ? (int)end(&call, syscall(SYS_newfstatat, at, path, found, flags)) : -1;
}

int stat(const char* path, struct stat* found) { return fstatat(AT_FDCWD, path, found, 0); }
int lstat(const char* path, struct stat* found) { return fstatat(AT_FDCWD, path, found, AT_SYMLINK_NOFOLLOW); }

int fstatat64(int at, const char* path, struct stat64* found, int flags) {
    return fstatat(at, path, (struct stat*)found, flags);
}
int stat64(const char* path, struct stat64* found) { return stat(path, (struct stat*)found); }
int lstat64(const char* path, struct stat64* found) { return lstat(path, (struct stat*)found); }

DIR* opendir(const char* path) {
    DIR* (*const next)(const char*) = (DIR * (*)(const char*)) dlsym(RTLD_NEXT, "opendir");
    char whole[PATH_MAX];
    if (!is_below(AT_FDCWD, path, whole)) return next(path);
    struct call call = {.kind = LIST, .path = whole};
    if (!begin(&call)) return NULL;
    DIR* const found = next(path);
    if (end(&call, found ? 0 : -1) == 0) return found;
    if (found) closedir(found);
    return NULL;
}
