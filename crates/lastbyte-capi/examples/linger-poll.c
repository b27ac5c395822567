/* A non-blocking socket: the close is begun, polled with everything else, and
 * finished.
 *
 *     cc -o linger-poll linger-poll.c $(pkg-config --cflags --libs lastbyte)
 *     linger-poll PORT MILLISECONDS */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <lastbyte.h>

int main(int argc, char **argv)
{
    struct sockaddr_in peer = { .sin_family = AF_INET };
    lb_policy policy = LB_POLICY_INIT;
    lb_report report = LB_REPORT_INIT;
    lb_closing *closing;
    static char data[65536];
    int s, z;

    if (argc != 3) {
        fprintf(stderr, "usage: %s PORT MILLISECONDS\n", argv[0]);
        return 1;
    }
    peer.sin_port = htons(atoi(argv[1]));
    peer.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    s = socket(AF_INET, SOCK_STREAM, 0);
    if (s < 0 || connect(s, (struct sockaddr *)&peer, sizeof peer)) {
        perror("connect(2)");
        return 1;
    }
    fcntl(s, F_SETFL, O_NONBLOCK);
    while (send(s, data, sizeof data, 0) > 0)
        ;

    policy.linger = LB_LINGER_WAIT;
    policy.wait_ms = strtoull(argv[2], NULL, 10);
    z = lb_close_begin(s, &policy, &closing, &report);
    if (z && closing)
        printf("%s, ", strerror(errno));
    if (closing)
        printf("descriptor %s\n", fcntl(s, F_GETFD) < 0 ? "gone" : "valid");
    while (z && closing) {
        struct pollfd p = { .fd = lb_closing_fd(closing), .events = POLLIN };
        poll(&p, 1, -1);
        z = lb_closing_finish(&closing, &report);
    }
    printf("%s %s, ", lb_fate_name(report.fate), z ? strerror(errno) : "ok");
    printf("descriptor %s\n", fcntl(s, F_GETFD) < 0 ? "gone" : "valid");
    return 0;
}
