/* Writes down what a process does to the files of one folder, and what it sends, in the order in which it happens.
 *
 * LD_PRELOAD'ed. DISKLOG_FOLDER: only files in there are watched. DISKLOG_FILE: where it is written down. While
 * DISKLOG_FILE.sync exists, syncs of watched files fail with EIO and sync nothing; with DISKLOG_FILE.write, writes do.
 *
 * An entry: operation (1 byte), length of path (2), offset (8), length of data (4), path, data; little endian.
 * C create, W write, T truncate, S sync, E sync that failed, D sync of a folder, U unlink, R rename and L link (data: the new path),
 * N sent to a socket. Operation and entry happen under one lock, so that no other comes between.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define FDS 4096
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char *paths[FDS];
static char is_folder[FDS];
static char folder[PATH_MAX], log_path[PATH_MAX];
static int log_fd = -1;

__attribute__((constructor)) static void start(void) {
    const char *watched = getenv("DISKLOG_FOLDER"), *file = getenv("DISKLOG_FILE");
    if (!watched || !file) return;
    snprintf(folder, sizeof folder, "%s", watched);
    snprintf(log_path, sizeof log_path, "%s", file);
    log_fd = syscall(SYS_openat, AT_FDCWD, file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
}

static void entry(char operation, const char *path, uint64_t offset, const void *data, uint32_t size) {
    unsigned char head[15];
    uint16_t length = strlen(path);
    head[0] = operation;
    memcpy(head + 1, &length, 2);
    memcpy(head + 3, &offset, 8);
    memcpy(head + 11, &size, 4);
    struct iovec parts[3] = {{head, 15}, {(void *)path, length}, {(void *)data, size}};
    if (syscall(SYS_writev, log_fd, parts, 3) != (long)(15 + length + size)) abort();
}

static int watched(const char *path) {
    return log_fd >= 0 && path[0] == '/' && !strncmp(path, folder, strlen(folder)) && strcmp(path, log_path);
}

static int refused(const char *what) {
    char flag[PATH_MAX + 16];
    snprintf(flag, sizeof flag, "%s.%s", log_path, what);
    return syscall(SYS_faccessat, AT_FDCWD, flag, F_OK, 0) == 0;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define WATCHED(fd) (log_fd >= 0 && (fd) >= 0 && (fd) < FDS && paths[fd])

static int opened(int fd, const char *path, int flags, int existed) {
    if (fd < 0 || fd >= FDS || !watched(path)) return fd;
    struct stat state;
    fstat(fd, &state);
    free(paths[fd]);
    paths[fd] = strdup(path);
    is_folder[fd] = S_ISDIR(state.st_mode);
    if ((flags & O_CREAT) && !existed) entry('C', path, 0, "", 0);
    else if (flags & O_TRUNC) entry('T', path, 0, "", 0);
    return fd;
}

#define OPEN(name, real_call)                                                                                          \
    {                                                                                                                  \
        mode_t mode = 0;                                                                                               \
        if (flags & (O_CREAT | O_TMPFILE)) {                                                                           \
            va_list more;                                                                                              \
            va_start(more, flags);                                                                                     \
            mode = va_arg(more, mode_t);                                                                               \
            va_end(more);                                                                                              \
        }                                                                                                              \
        pthread_mutex_lock(&lock);                                                                                     \
        int existed = syscall(SYS_faccessat, AT_FDCWD, path, F_OK, 0) == 0;                                            \
        int fd = real_call;                                                                                            \
        int error = errno;                                                                                             \
        fd = opened(fd, path, flags, existed);                                                                         \
        pthread_mutex_unlock(&lock);                                                                                   \
        errno = error;                                                                                                 \
        return fd;                                                                                                     \
    }

int open(const char *path, int flags, ...) OPEN(open, REAL(open)(path, flags, mode))
int open64(const char *path, int flags, ...) OPEN(open64, REAL(open64)(path, flags, mode))
int openat(int at, const char *path, int flags, ...) OPEN(openat, REAL(openat)(at, path, flags, mode))
int openat64(int at, const char *path, int flags, ...) OPEN(openat64, REAL(openat64)(at, path, flags, mode))

int close(int fd) {
    pthread_mutex_lock(&lock);
    if (WATCHED(fd)) {
        free(paths[fd]);
        paths[fd] = NULL;
    }
    int result = REAL(close)(fd);
    pthread_mutex_unlock(&lock);
    return result;
}

#define CHANGE(refusal, real_call, done)                                                                               \
    {                                                                                                                  \
        if (!WATCHED(fd)) return real_call;                                                                            \
        pthread_mutex_lock(&lock);                                                                                     \
        if (refused(refusal)) {                                                                                        \
            if (refusal[0] == 's') entry('E', paths[fd], 0, "", 0);                                                    \
            pthread_mutex_unlock(&lock);                                                                               \
            errno = EIO;                                                                                               \
            return -1;                                                                                                 \
        }                                                                                                              \
        __typeof__(real_call) result = real_call;                                                                      \
        int error = errno;                                                                                             \
        if (result >= 0) done;                                                                                         \
        pthread_mutex_unlock(&lock);                                                                                   \
        errno = error;                                                                                                 \
        return result;                                                                                                 \
    }

ssize_t write(int fd, const void *data, size_t size)
    CHANGE("write", REAL(write)(fd, data, size), entry('W', paths[fd], lseek(fd, 0, SEEK_CUR) - result, data, result))
ssize_t pwrite(int fd, const void *data, size_t size, off_t offset)
    CHANGE("write", REAL(pwrite)(fd, data, size, offset), entry('W', paths[fd], offset, data, result))
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset)
    CHANGE("write", REAL(pwrite64)(fd, data, size, offset), entry('W', paths[fd], offset, data, result))
int ftruncate(int fd, off_t size) CHANGE("write", REAL(ftruncate)(fd, size), entry('T', paths[fd], size, "", 0))
int ftruncate64(int fd, off64_t size) CHANGE("write", REAL(ftruncate64)(fd, size), entry('T', paths[fd], size, "", 0))
int fsync(int fd) CHANGE("sync", REAL(fsync)(fd), entry(is_folder[fd] ? 'D' : 'S', paths[fd], 0, "", 0))
int fdatasync(int fd) CHANGE("sync", REAL(fdatasync)(fd), entry(is_folder[fd] ? 'D' : 'S', paths[fd], 0, "", 0))

#define NAMES(real_call, old, done)                                                                                    \
    {                                                                                                                  \
        pthread_mutex_lock(&lock);                                                                                     \
        int result = real_call;                                                                                        \
        int error = errno;                                                                                             \
        if (result == 0 && watched(old)) done;                                                                         \
        pthread_mutex_unlock(&lock);                                                                                   \
        errno = error;                                                                                                 \
        return result;                                                                                                 \
    }

int unlink(const char *path) NAMES(REAL(unlink)(path), path, entry('U', path, 0, "", 0))
int unlinkat(int at, const char *path, int flags)
    NAMES(REAL(unlinkat)(at, path, flags), path, entry('U', path, 0, "", 0))
int rename(const char *old, const char *new)
    NAMES(REAL(rename)(old, new), old, entry('R', old, 0, new, strlen(new)))
int renameat(int from, const char *old, int to, const char *new)
    NAMES(REAL(renameat)(from, old, to, new), old, entry('R', old, 0, new, strlen(new)))
int link(const char *old, const char *new) NAMES(REAL(link)(old, new), old, entry('L', old, 0, new, strlen(new)))
int linkat(int from, const char *old, int to, const char *new, int flags)
    NAMES(REAL(linkat)(from, old, to, new, flags), old, entry('L', old, 0, new, strlen(new)))

ssize_t send(int fd, const void *data, size_t size, int flags) {
    if (log_fd >= 0) {
        pthread_mutex_lock(&lock);
        entry('N', "", 0, data, size < 64 ? size : 64); /* before it is on its way */
        pthread_mutex_unlock(&lock);
    }
    return REAL(send)(fd, data, size, flags);
}
