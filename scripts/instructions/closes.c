/* Opens and lets go of N descriptors in one of several ways, for count-instructions.py.
 *
 *     closes files N      open("/dev/null") and close()
 *     closes sockets N    a connection whose byte is acknowledged, and close() of both ends
 *     closes call N       the same, its first end closed by lb_close()
 *     closes closer N     the same, its first end submitted to one lb_closer
 *
 * LASTBYTE_LIBRARY in the environment names the library that the last two load.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct pair { int ours, theirs; };

static void fail(const char *what) { perror(what); exit(1); }

static int listen_here(struct sockaddr_in *address) {
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t length = sizeof *address;
    memset(address, 0, length);
    address->sin_family = AF_INET;
    address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(listener, (struct sockaddr *)address, length) || listen(listener, 64)) fail("listen");
    if (getsockname(listener, (struct sockaddr *)address, &length)) fail("getsockname");
    return listener;
}

/* A connection whose one byte the peer has read, and so acknowledged. */
static struct pair connection(int listener, struct sockaddr_in *address) {
    struct pair pair;
    char byte = 'x';
    pair.ours = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(pair.ours, (struct sockaddr *)address, sizeof *address)) fail("connect");
    pair.theirs = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (pair.theirs < 0) fail("accept");
    if (write(pair.ours, &byte, 1) != 1 || read(pair.theirs, &byte, 1) != 1) fail("write");
    return pair;
}

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    int count = atoi(argv[2]);
    if (!strcmp(argv[1], "files")) {
        for (int i = 0; i < count; i++) close(open("/dev/null", O_RDONLY | O_CLOEXEC));
        return 0;
    }
    struct sockaddr_in address;
    int listener = listen_here(&address);
    if (!strcmp(argv[1], "sockets")) {
        for (int i = 0; i < count; i++) {
            struct pair pair = connection(listener, &address);
            close(pair.ours);
            close(pair.theirs);
        }
        return 0;
    }
    void *library = dlopen(getenv("LASTBYTE_LIBRARY"), RTLD_NOW);
    if (!library) { fprintf(stderr, "%s\n", dlerror()); return 1; }
    if (!strcmp(argv[1], "call")) {
        int (*lb_close)(int) = (int (*)(int))dlsym(library, "lb_close");
        for (int i = 0; i < count; i++) {
            struct pair pair = connection(listener, &address);
            if (lb_close(pair.ours)) fail("lb_close");
            close(pair.theirs);
        }
        return 0;
    }
    void *(*closer_new)(void) = (void *(*)(void))dlsym(library, "lb_closer_new");
    int (*submit)(void *, int, const void *, void *, void *) =
        (int (*)(void *, int, const void *, void *, void *))dlsym(library, "lb_closer_close");
    int (*wait_idle)(void *, int) = (int (*)(void *, int))dlsym(library, "lb_closer_wait_idle");
    struct pair *pairs = calloc(count, sizeof *pairs);
    for (int i = 0; i < count; i++) pairs[i] = connection(listener, &address);
    void *closer = closer_new();
    for (int i = 0; i < count; i++)
        if (submit(closer, pairs[i].ours, NULL, NULL, NULL)) fail("lb_closer_close");
    for (int i = 0; i < count; i++) close(pairs[i].theirs);
    if (wait_idle(closer, 10000)) fail("lb_closer_wait_idle");
    return 0;
}
