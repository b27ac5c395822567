/* Ways to close that are not close().
 *
 *     closing PORT range|from|raw|stream|stream-wait|stream-exit
 *
 * Connects, waits until input is there and leaves it unread, sends 300000 bytes,
 * closes, prints "closed"; then once more (except the last two). */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { BIG = 300000 };
static char data[BIG];

static int open_connection(int port)
{
    struct sockaddr_in peer = { .sin_family = AF_INET, .sin_port = htons(port) };
    peer.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int s = socket(AF_INET, SOCK_STREAM, 0);
    if (s < 0 || connect(s, (struct sockaddr *)&peer, sizeof peer)) {
        perror("connect");
        exit(1);
    }
    return s;
}

static void input_is_there(int s)
{
    struct pollfd p = { .fd = s, .events = POLLIN };
    if (poll(&p, 1, 30000) != 1)
        exit(3);
}

static void send_all(int s)
{
    if (send(s, data, BIG, 0) != BIG) {
        perror("send");
        exit(1);
    }
}

static void say(const char *line)
{
    printf("%s\n", line);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    int port = atoi(argv[1]);
    const char *how = argv[2];

    if (!strcmp(how, "stream-wait")) {
        int s = open_connection(port);
        struct linger l = { 1, 1 };
        setsockopt(s, SOL_SOCKET, SO_LINGER, &l, sizeof l);
        FILE *f = fdopen(s, "r+");
        setvbuf(f, NULL, _IOFBF, 1 << 19);
        fwrite(data, 1, BIG, f);
        int r = fclose(f);
        printf("fclose %d %d\n", r, errno);
        return 0;
    }
    if (!strcmp(how, "stream-exit")) {
        int s = open_connection(port);
        input_is_there(s);
        FILE *f = fdopen(s, "r+");
        setvbuf(f, NULL, _IOFBF, 1 << 19);
        send(s, data, 1000, 0);
        fwrite(data, 1, BIG - 1000, f);
        say("closed");
        return 0; /* flushed by exit */
    }
    for (int i = 0; i < 2; i++) {
        int s = open_connection(port);
        input_is_there(s);
        if (!strcmp(how, "stream")) {
            FILE *f = fdopen(s, "r+");
            setvbuf(f, NULL, _IOFBF, 1 << 19);
            if (fwrite(data, 1, BIG, f) != BIG || fclose(f))
                return 4;
        } else {
            send_all(s);
            if (!strcmp(how, "range")) {
                if (close_range(3, ~0U, 0))
                    return 5;
            } else if (!strcmp(how, "raw")) {
                if (syscall(SYS_close_range, 3, ~0U, 0))
                    return 5;
            } else {
                closefrom(3);
            }
        }
        say("closed");
    }
    return 0;
}
