/* The manual's second program: SO_LINGER with no time, closed by an explicit call
 * that also reports what was thrown away.
 *
 *     cc -o linger-abort linger-abort.c $(pkg-config --cflags --libs lastbyte)
 *     linger-abort PORT */
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
    lb_report report = LB_REPORT_INIT;
    static char data[65536];

    if (argc != 2) {
        fprintf(stderr, "usage: %s PORT\n", argv[0]);
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
    so_linger.l_linger = 0;
    z = setsockopt(s,
        SOL_SOCKET,
        SO_LINGER,
        &so_linger,
        sizeof so_linger);
    if (z)
        perror("setsockopt(2)");

    while (send(s, data, sizeof data, MSG_DONTWAIT) > 0)
        ;

    z = lb_close_with(s, NULL, &report); /* Abort connection */
    if (z) {
        printf("lb_close_with: %s\n", strerror(errno));
        return 1;
    }
    printf("%s: %lld bytes acknowledged, %lld lost\n", lb_fate_name(report.fate),
        (long long)report.acked, (long long)report.lost);
    return 0;
}
