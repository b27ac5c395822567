/* Every way to let go of a connection, by every kind of holder.
 *
 *     ways PORT WAY HOLDER
 *
 * Connects, waits until input is there and leaves it unread, sends 300000 bytes, and
 * lets go of the connection. HOLDER says who does it and what else holds it:
 *
 *     single   this descriptor alone
 *     dup      two descriptors of this process, the second one let go last
 *     fork     a child; the parent has closed its copy and waits
 *     parent   the parent; a child has closed its copy and is gone
 *     clone    as fork, by syscall(SYS_clone)
 *     thread   another thread than the one that connected
 *     exec     the program that this one becomes
 *     std      this process, on descriptors 0 and 1, as inetd's services
 *     spawned  this process, after system(3) and with the descriptor not close-on-exec
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BIG = 300000 };
static char data[BIG];
static const char *way;
static int held;

static void must(int ok, const char *what)
{
    if (!ok) {
        perror(what);
        _exit(9);
    }
}

static int null(void)
{
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    must(fd >= 0, "open");
    return fd;
}

static int open_connection(int port)
{
    struct sockaddr_in peer = { .sin_family = AF_INET, .sin_port = htons(port) };
    peer.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int s = socket(AF_INET, SOCK_STREAM, 0);
    must(s >= 0 && !connect(s, (struct sockaddr *)&peer, sizeof peer), "connect");
    return s;
}

static void use(int s)
{
    struct pollfd p = { .fd = s, .events = POLLIN };
    must(poll(&p, 1, 30000) == 1, "poll");
    must(send(s, data, BIG, 0) == BIG, "send");
}

/* One descriptor, by name. */
static int let_go_of(int fd)
{
    if (!strcmp(way, "close"))
        return close(fd);
    if (!strcmp(way, "sys_close"))
        return syscall(SYS_close, fd);
    if (!strcmp(way, "close_range"))
        return close_range(fd, fd, 0);
    if (!strcmp(way, "sys_close_range"))
        return syscall(SYS_close_range, fd, fd, 0);
    if (!strcmp(way, "dup2"))
        return dup2(null(), fd) != fd;
    if (!strcmp(way, "dup3"))
        return dup3(null(), fd, O_CLOEXEC) != fd;
#ifdef SYS_dup2
    if (!strcmp(way, "sys_dup2"))
        return syscall(SYS_dup2, null(), fd) != fd;
#endif
    if (!strcmp(way, "sys_dup3"))
        return syscall(SYS_dup3, null(), fd, O_CLOEXEC) != fd;
    if (!strcmp(way, "freopen"))
        return !freopen("/dev/null", "r", fdopen(fd, "r+"));
    if (!strcmp(way, "fclose"))
        return fclose(fdopen(fd, "r+"));
    return 1;
}

/* All of them, by ending. */
static void end(void)
{
    if (!strcmp(way, "exit"))
        exit(0);
    if (!strcmp(way, "_exit"))
        _exit(0);
    if (!strcmp(way, "_Exit"))
        _Exit(0);
    if (!strcmp(way, "quick_exit"))
        quick_exit(0);
    if (!strcmp(way, "sys_exit_group"))
        syscall(SYS_exit_group, 0);
    if (!strcmp(way, "exec_cloexec")) {
        for (int fd = 0; fd < 20; fd++)
            fcntl(fd, F_SETFD, FD_CLOEXEC);
        execl("/bin/true", "true", NULL);
    }
}

static void let_go(int first, int second)
{
    end();
    must(!let_go_of(first), way);
    if (second >= 0)
        must(!let_go_of(second), way);
}

static void *in_thread(void *unused)
{
    let_go(held, -1);
    return unused;
}

int main(int argc, char **argv)
{
    if (argc == 4 && !strcmp(argv[1], "inner")) {
        way = argv[2];
        held = atoi(argv[3]);
        use(held);
        let_go(held, -1);
        return 0;
    }
    if (argc != 4)
        return 2;
    way = argv[2];
    const char *holder = argv[3];
    int s = held = open_connection(atoi(argv[1]));
    int status = 0;

    if (!strcmp(holder, "single")) {
        use(s);
        let_go(s, -1);
    } else if (!strcmp(holder, "dup")) {
        int copy = dup(s);
        use(s);
        let_go(s, copy);
    } else if (!strcmp(holder, "fork") || !strcmp(holder, "clone")) {
        pid_t child = strcmp(holder, "fork") ? syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0) : fork();
        if (!child) {
            use(s);
            let_go(s, -1);
            _exit(0);
        }
        close(s);
        waitpid(child, &status, 0);
    } else if (!strcmp(holder, "parent")) {
        pid_t child = fork();
        if (!child) {
            close(s);
            _exit(0);
        }
        use(s);
        waitpid(child, &status, 0);
        let_go(s, -1);
    } else if (!strcmp(holder, "thread")) {
        pthread_t thread;
        use(s);
        pthread_create(&thread, NULL, in_thread, NULL);
        pthread_join(thread, NULL);
    } else if (!strcmp(holder, "exec")) {
        char number[12];
        snprintf(number, sizeof number, "%d", s);
        execl(argv[0], argv[0], "inner", way, number, NULL);
    } else if (!strcmp(holder, "std")) {
        dup2(s, 0);
        dup2(s, 1);
        close(s);
        use(1);
        let_go(0, 1);
    } else if (!strcmp(holder, "spawned")) {
        must(!system("true"), "system");
        use(s);
        let_go(s, -1);
    }
    return status != 0;
}
