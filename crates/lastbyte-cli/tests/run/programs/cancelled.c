/* Threads that are cancelled in close and in accept.
 *
 *     cancelled PORT */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static int s;
static sem_t ready;

static void *closing(void *unused)
{
    (void)unused;
    sem_post(&ready);
    close(s);
    pthread_testcancel();
    return NULL;
}

static void *accepting(void *listener)
{
    sem_post(&ready);
    accept(*(int *)listener, NULL, NULL);
    return NULL;
}

static int cancel(void *(*body)(void *), void *argument)
{
    pthread_t thread;
    void *result;
    if (pthread_create(&thread, NULL, body, argument))
        exit(3);
    sem_wait(&ready);
    usleep(100000); /* most likely inside by now; right either way */
    pthread_cancel(thread);
    pthread_join(thread, &result);
    return result == PTHREAD_CANCELED;
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    struct sockaddr_in peer = { .sin_family = AF_INET, .sin_port = htons(atoi(argv[1])) };
    peer.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    sem_init(&ready, 0, 0);
    s = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(s, (struct sockaddr *)&peer, sizeof peer))
        return 1;
    struct linger l = { 1, 2 };
    setsockopt(s, SOL_SOCKET, SO_LINGER, &l, sizeof l);
    static char data[65536];
    while (send(s, data, sizeof data, MSG_DONTWAIT) > 0)
        ;
    int cancelled = cancel(closing, NULL);
    int gone = fcntl(s, F_GETFD) == -1 && errno == EBADF;
    printf("%s, %s\n", cancelled ? "cancelled" : "returned", gone ? "gone" : "still open");

    int listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in any = { .sin_family = AF_INET };
    any.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    bind(listener, (struct sockaddr *)&any, sizeof any);
    listen(listener, 1);
    puts(cancel(accepting, &listener) ? "cancelled in accept" : "accept returned");
    return 0;
}
