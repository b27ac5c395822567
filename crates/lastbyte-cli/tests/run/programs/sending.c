/* A thread is inside send while another closes the descriptor.
 *
 *     sending PORT BYTES
 *
 * Fills the connection's buffers, begins to send BYTES more in a thread, closes when
 * that sleeps, and prints "closed", then what send returned. SIGPIPE is deadly. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static int s;
static size_t size;
static volatile pid_t thread_id;

static void *sender(void *data)
{
    thread_id = syscall(SYS_gettid);
    ssize_t sent = send(s, data, size, 0);
    printf("sent %zd %s\n", sent, sent < 0 ? strerror(errno) : "ok");
    return NULL;
}

/* Whether the thread sleeps in send. */
static int sleeps(void)
{
    char path[64], line[64] = "";
    snprintf(path, sizeof path, "/proc/self/task/%d/syscall", thread_id);
    int fd = open(path, O_RDONLY);
    if (fd < 0 || read(fd, line, sizeof line - 1) < 0)
        exit(3);
    close(fd);
    return atoi(line) == SYS_sendto && line[0] != 'r';
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    size = strtoul(argv[2], NULL, 10);
    signal(SIGPIPE, SIG_DFL);
    struct sockaddr_in peer = { .sin_family = AF_INET, .sin_port = htons(atoi(argv[1])) };
    peer.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    s = socket(AF_INET, SOCK_STREAM, 0);
    if (s < 0 || connect(s, (struct sockaddr *)&peer, sizeof peer))
        return 1;
    char *data = calloc(1, size > 65536 ? size : 65536);
    size_t filled = 0;
    ssize_t n;
    for (int quiet = 0; quiet < 20; quiet++, usleep(10000))
        while ((n = send(s, data, 65536, MSG_DONTWAIT)) > 0) {
            filled += n;
            quiet = 0;
        }
    pthread_t thread;
    pthread_create(&thread, NULL, sender, data);
    while (!thread_id || !sleeps())
        usleep(1000);
    printf("closed %d %zu\n", close(s), filled);
    fflush(stdout);
    pthread_join(thread, NULL);
    return 0;
}
