/* The manual's first program: SO_LINGER with a time, closed by lb_close(), whose
 * result is checked.
 *
 *     cc -o linger-wait linger-wait.c $(pkg-config --cflags --libs lastbyte)
 *     linger-wait PORT [SECONDS]
 *
 * Connects to a port of this host and sends what the connection takes at once.
 * Exit status: 0 everything was acknowledged, 3 the time ran out, 4 the peer
 * reset, 1 anything else. */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <lastbyte.h>

#define TRUE 1
#define FALSE 0

int main(int argc, char **argv)
{
    int z; /* Status code */
    int s; /* Socket s */
    struct linger so_linger;
    struct sockaddr_in peer = { .sin_family = AF_INET };
    static char data[65536];

    if (argc < 2) {
        fprintf(stderr, "usage: %s PORT [SECONDS]\n", argv[0]);
        return 1;
    }
    peer.sin_port = htons(atoi(argv[1]));
    peer.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    s = socket(AF_INET, SOCK_STREAM, 0);
    if (s < 0 || connect(s, (struct sockaddr *)&peer, sizeof peer)) {
        perror("connect(2)");
        return 1;
    }

    so_linger.l_onoff = TRUE;
    so_linger.l_linger = argc > 2 ? atoi(argv[2]) : 30;
    z = setsockopt(s,
        SOL_SOCKET,
        SO_LINGER,
        &so_linger,
        sizeof so_linger);
    if (z)
        perror("setsockopt(2)");

    while (send(s, data, sizeof data, MSG_DONTWAIT) > 0)
        ;

    z = lb_close(s);
    if (z == 0) {
        puts("everything was acknowledged, the FIN included");
        return 0;
    }
    printf("lb_close: %s\n", strerror(errno));
    return errno == EWOULDBLOCK ? 3 : errno == ECONNRESET ? 4 : 1;
}
