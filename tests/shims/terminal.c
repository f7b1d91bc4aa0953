/* A pseudo-terminal for the simulated modem: makes one, links it to the path in argv[1], and carries bytes between it and
   standard input and output until standard input ends. The tests have no other way to one without `unsafe`. */
#define _XOPEN_SOURCE 600
#define _DEFAULT_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

static void carry(int from, int to)
{
    char bytes[4096];
    ssize_t count = read(from, bytes, sizeof bytes), done = 0;
    if (count <= 0)
        exit(0);
    while (done < count) {
        ssize_t written = write(to, bytes + done, (size_t)(count - done));
        if (written <= 0)
            exit(0);
        done += written;
    }
}

int main(int argc, char **argv)
{
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    if (argc != 2 || master < 0 || grantpt(master) || unlockpt(master))
        return 1;
    const char *name = ptsname(master);
    /* Kept open, so that the line is not cut when a program closes its end. */
    int slave = name ? open(name, O_RDWR | O_NOCTTY) : -1;
    struct termios raw;
    if (slave < 0 || tcgetattr(slave, &raw))
        return 1;
    cfmakeraw(&raw);
    if (tcsetattr(slave, TCSANOW, &raw) || symlink(name, argv[1]))
        return 1;
    for (;;) {
        struct pollfd both[2] = {{.fd = 0, .events = POLLIN}, {.fd = master, .events = POLLIN}};
        if (poll(both, 2, -1) < 0)
            return 1;
        if (both[0].revents)
            carry(0, master);
        if (both[1].revents)
            carry(master, 1);
    }
}
