/*
 * A disk that is full: put before the C library, writes to regular files fail with ENOSPC while the file that
 * POSTERN_SHIM_TRIGGER names exists. The standard streams are left alone, so that the log can tell.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static int fails(int fd)
{
	const char *trigger = getenv("POSTERN_SHIM_TRIGGER");
	int before = errno;
	struct stat about;
	int full;

	full = fd > 2 && trigger != NULL && access(trigger, F_OK) == 0 && fstat(fd, &about) == 0 &&
	       S_ISREG(about.st_mode);
	errno = full ? ENOSPC : before;
	return full;
}

#define REAL(name, type) ((type)dlsym(RTLD_NEXT, name))

ssize_t write(int fd, const void *bytes, size_t count)
{
	return fails(fd) ? -1 : REAL("write", ssize_t (*)(int, const void *, size_t))(fd, bytes, count);
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
	return fails(fd) ? -1 : REAL("writev", ssize_t (*)(int, const struct iovec *, int))(fd, parts, count);
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at)
{
	return fails(fd) ? -1 : REAL("pwrite", ssize_t (*)(int, const void *, size_t, off_t))(fd, bytes, count, at);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at)
{
	return fails(fd) ? -1 : REAL("pwrite64", ssize_t (*)(int, const void *, size_t, off64_t))(fd, bytes, count, at);
}

int fallocate(int fd, int mode, off_t at, off_t count)
{
	return fails(fd) ? -1 : REAL("fallocate", int (*)(int, int, off_t, off_t))(fd, mode, at, count);
}
