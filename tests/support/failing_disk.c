/* Stands between a server and the machine's file system, and fails what a test names.
 *
 * Preloaded into the server. The file FAILING_DISK_CONTROL says what fails: "<fault> <part>", where
 * only files count whose path has <part> in it. Without the file, nothing fails.
 *
 *   full      writes that make a file longer fail with ENOSPC
 *   readonly  every change fails with EROFS
 *   write     writes fail with EIO
 *   sync      syncs fail with EIO
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

/* Whether `fault` is set for this path. */
static int is_set_for(const char *fault, const char *path) {
    const char *control = getenv("FAILING_DISK_CONTROL");
    char text[256];
    int fd = control ? (int)syscall(SYS_openat, AT_FDCWD, control, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0)
        return 0;
    ssize_t len = syscall(SYS_read, fd, text, sizeof text - 1);
    syscall(SYS_close, fd);
    if (len <= 0)
        return 0;
    text[len] = 0;
    char *part = strchr(text, ' ');
    if (!part)
        return 0;
    *part++ = 0;
    return !strcmp(text, fault) && strstr(path, part) != NULL;
}

static int is_set_for_file(const char *fault, int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, path, sizeof path - 1);
    if (len <= 0)
        return 0;
    path[len] = 0;
    return is_set_for(fault, path);
}

/* The error of a write that would end at `end`, 0 if it may be done. */
static int write_error(int fd, off64_t end) {
    struct stat64 status;
    if (is_set_for_file("write", fd))
        return EIO;
    if (is_set_for_file("readonly", fd))
        return EROFS;
    if (is_set_for_file("full", fd) && fstat64(fd, &status) == 0 && end > status.st_size)
        return ENOSPC;
    return 0;
}

#define FAIL_WITH(error) do { int code = (error); if (code) { errno = code; return -1; } } while (0)

ssize_t write(int fd, const void *bytes, size_t len) {
    if (fd > 2) {
        off64_t at = lseek64(fd, 0, SEEK_CUR);
        if (at >= 0)
            FAIL_WITH(write_error(fd, at + (off64_t)len));
    }
    return syscall(SYS_write, fd, bytes, len);
}

ssize_t pwrite64(int fd, const void *bytes, size_t len, off64_t at) {
    FAIL_WITH(write_error(fd, at + (off64_t)len));
    return syscall(SYS_pwrite64, fd, bytes, len, at);
}

ssize_t pwrite(int fd, const void *bytes, size_t len, off_t at) {
    return pwrite64(fd, bytes, len, at);
}

int posix_fallocate64(int fd, off64_t at, off64_t len) {
    int code = write_error(fd, at + len);
    return code ? code : NEXT(posix_fallocate64)(fd, at, len);
}

int posix_fallocate(int fd, off_t at, off_t len) {
    return posix_fallocate64(fd, at, len);
}

static int sync_error(int fd) {
    return is_set_for_file("sync", fd) ? EIO : 0;
}

int fdatasync(int fd) {
    FAIL_WITH(sync_error(fd));
    return (int)syscall(SYS_fdatasync, fd);
}

int fsync(int fd) {
    FAIL_WITH(sync_error(fd));
    return (int)syscall(SYS_fsync, fd);
}

int syncfs(int fd) {
    FAIL_WITH(sync_error(fd));
    return (int)syscall(SYS_syncfs, fd);
}

int ftruncate64(int fd, off64_t len) {
    FAIL_WITH(is_set_for_file("readonly", fd) ? EROFS : 0);
    return (int)syscall(SYS_ftruncate, fd, len);
}

int ftruncate(int fd, off_t len) {
    return ftruncate64(fd, len);
}

int unlink(const char *path) {
    FAIL_WITH(is_set_for("readonly", path) ? EROFS : 0);
    return (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}

int rename(const char *from, const char *to) {
    FAIL_WITH(is_set_for("readonly", from) ? EROFS : 0);
    return NEXT(rename)(from, to);
}

int open64(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    /* A file that is not there is not found first. */
    if (flags & O_CREAT || (flags & (O_WRONLY | O_RDWR) && access(path, F_OK) == 0))
        FAIL_WITH(is_set_for("readonly", path) ? EROFS : 0);
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int open(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    return open64(path, flags, mode);
}
