/* Manual B's first program: SO_LINGER with a time, then close(), and a look at
 * what close() returns. Plain sockets; it knows nothing of lastbyte.
 *
 *     manual-b PORT SECONDS
 *
 * Prints "close RESULT ERRNO SECONDS", then whether the descriptor is gone. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define TRUE 1
#define FALSE 0

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
    int z; /* Status code */
    int s; /* Socket s */
    struct linger so_linger;
    struct sockaddr_in peer = { .sin_family = AF_INET };
    static char data[65536];

    if (argc != 3) {
        fprintf(stderr, "usage: %s PORT SECONDS\n", argv[0]);
        return 2;
    }
    peer.sin_port = htons(atoi(argv[1]));
    peer.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    s = socket(AF_INET, SOCK_STREAM, 0);
    if (s < 0 || connect(s, (struct sockaddr *)&peer, sizeof peer)) {
        perror("connect(2)");
        return 1;
    }
    so_linger.l_onoff = TRUE;
    so_linger.l_linger = atoi(argv[2]);
    z = setsockopt(s, SOL_SOCKET, SO_LINGER, &so_linger, sizeof so_linger);
    if (z)
        perror("setsockopt(2)");

    /* More than a peer that does not read will take. */
    while (send(s, data, sizeof data, MSG_DONTWAIT) > 0)
        ;
    double began = now();
    z = close(s);
    int error = z ? errno : 0;
    printf("close %d %d %.3f\n", z, error, now() - began);
    puts(fcntl(s, F_GETFD) == -1 && errno == EBADF ? "gone" : "still open");
    return 0;
}
