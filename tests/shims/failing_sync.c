/*
 * A disk whose sync fails: put before the C library, fsync and fdatasync return EIO while the file that
 * POSTERN_SHIM_TRIGGER names exists. With POSTERN_SHIM_ONCE in the environment each failure removes the file, as Linux
 * tells of a failed write-back only once and says "done" to the next sync.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static int fails(void)
{
	const char *trigger = getenv("POSTERN_SHIM_TRIGGER");
	int before = errno;
	int found;

	if (trigger == NULL)
		return 0;
	if (getenv("POSTERN_SHIM_ONCE") != NULL)
		found = unlink(trigger) == 0;
	else
		found = access(trigger, F_OK) == 0;
	errno = found ? EIO : before;
	return found;
}

static int real(const char *name, int fd)
{
	int (*call)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);

	return call(fd);
}

int fsync(int fd)
{
	return fails() ? -1 : real("fsync", fd);
}

int fdatasync(int fd)
{
	return fails() ? -1 : real("fdatasync", fd);
}
