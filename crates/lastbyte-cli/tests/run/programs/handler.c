/* Closes connections in a signal handler that interrupts malloc and close.
 *
 *     handler PORT ROUNDS */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

static volatile sig_atomic_t victim = -1;

static void handler(int number)
{
    (void)number;
    if (victim >= 0) {
        close(victim);
        victim = -1;
    }
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    struct sockaddr_in peer = { .sin_family = AF_INET, .sin_port = htons(atoi(argv[1])) };
    peer.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    signal(SIGALRM, handler);
    static char data[5000];
    for (int i = 0; i < atoi(argv[2]); i++) {
        int s = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(s, (struct sockaddr *)&peer, sizeof peer))
            return 1;
        struct pollfd p = { .fd = s, .events = POLLIN };
        if (poll(&p, 1, 30000) != 1)
            return 3;
        if (send(s, data, sizeof data, 0) != sizeof data)
            return 4;
        int other = dup(0);
        victim = s;
        struct itimerval soon = { .it_value = { .tv_usec = 1 + rand() % 300 } };
        setitimer(ITIMER_REAL, &soon, NULL);
        while (victim >= 0) {
            free(malloc(100 + rand() % 5000));
            close(other);
            other = dup(0);
        }
        close(other);
    }
    puts("done");
    return 0;
}
