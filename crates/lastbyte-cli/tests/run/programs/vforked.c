/* A vforked child closes everything it has, which is a copy of the parent's.
 *
 *     vforked PORT */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    struct sockaddr_in peer = { .sin_family = AF_INET, .sin_port = htons(atoi(argv[1])) };
    peer.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    /* Close-on-exec, so that only the child's own closes could do harm. */
    int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(s, (struct sockaddr *)&peer, sizeof peer))
        return 1;
    struct pollfd p = { .fd = s, .events = POLLIN };
    if (poll(&p, 1, 30000) != 1)
        return 3;
    for (int i = 0; i < 3; i++) {
        pid_t child = vfork();
        if (child == 0) {
            if (i == 0)
                close(s);
            else if (i == 1)
                close_range(3, ~0U, 0);
            else
                dup2(0, s);
            execl("/bin/true", "true", (char *)NULL);
            _exit(127);
        }
        int status;
        if (child < 0 || waitpid(child, &status, 0) != child || status)
            return 4;
    }
    puts("child closed everything");
    fflush(stdout);
    getchar();
    static char data[300000];
    if (send(s, data, sizeof data, 0) != sizeof data)
        return 5;
    if (close(s) || close(s) != -1 || errno != EBADF)
        return 6;
    puts("closed");
    return 0;
}
