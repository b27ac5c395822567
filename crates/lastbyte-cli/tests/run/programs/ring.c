/* A connection on which input is unread is closed beside an io_uring.
 * usage: ring PORT WAY: idle, epoll, file, fork: the ring has nothing to do with it; register, poll: it holds it.
 * A way that begins with sq- has the kernel's thread take what is submitted. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(what) do { if (!(what)) { perror(#what); exit(3); } } while (0)

static struct io_uring_params params;
static char *queue;
static struct io_uring_sqe *entries;
static int ring;

static unsigned *word(unsigned offset) { return (unsigned *)(queue + offset); }

static void set_up(int polled) {
    if (polled) { params.flags = IORING_SETUP_SQPOLL; params.sq_thread_idle = 2000; }
    CHECK((ring = syscall(SYS_io_uring_setup, 8, &params)) >= 0);
    size_t length = params.sq_off.array + params.sq_entries * sizeof(unsigned);
    queue = mmap(0, length, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQ_RING);
    CHECK(queue != MAP_FAILED);
    entries = mmap(0, params.sq_entries * sizeof *entries, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQES);
    CHECK(entries != MAP_FAILED);
}

static struct io_uring_sqe *next(int opcode, int fd) {
    unsigned place = *word(params.sq_off.tail) & *word(params.sq_off.ring_mask);
    word(params.sq_off.array)[place] = place;
    struct io_uring_sqe *entry = &entries[place];
    memset(entry, 0, sizeof *entry);
    entry->opcode = opcode;
    entry->fd = fd;
    return entry;
}

static void submit(int wait) {
    __atomic_fetch_add(word(params.sq_off.tail), 1, __ATOMIC_RELEASE);
    if (params.flags & IORING_SETUP_SQPOLL)
        while (__atomic_load_n(word(params.sq_off.head), __ATOMIC_ACQUIRE) != *word(params.sq_off.tail)) {
            if (__atomic_load_n(word(params.sq_off.flags), __ATOMIC_ACQUIRE) & IORING_SQ_NEED_WAKEUP)
                syscall(SYS_io_uring_enter, ring, 0, 0, IORING_ENTER_SQ_WAKEUP, NULL, 0);
            usleep(100);
        }
    else
        CHECK(syscall(SYS_io_uring_enter, ring, 1, wait, IORING_ENTER_GETEVENTS, NULL, 0) == 1);
}

int main(int argc, char **argv) {
    CHECK(argc == 3);
    const char *way = argv[2];
    int polled = !strncmp(way, "sq-", 3);
    if (polled) way += 3;
    set_up(polled);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), set = epoll_create1(EPOLL_CLOEXEC);
    CHECK(!connect(fd, (struct sockaddr *)&to, sizeof to));
    struct pollfd input = {fd, POLLIN, 0};
    CHECK(poll(&input, 1, 30000) == 1);
    struct epoll_event event = {.events = EPOLLIN | EPOLLHUP};
    static char buffer[300000], room[100];
    if (!strcmp(way, "epoll")) {
        struct io_uring_sqe *entry = next(IORING_OP_EPOLL_CTL, set);
        entry->len = EPOLL_CTL_ADD; entry->off = fd; entry->addr = (uintptr_t)&event;
        submit(1);
    } else if (!strcmp(way, "file")) {
        int file = open("/dev/zero", O_RDONLY);
        struct io_uring_sqe *entry = next(IORING_OP_READ, file);
        entry->addr = (uintptr_t)room; entry->len = sizeof room;
        submit(1);
        next(IORING_OP_CLOSE, file);
        submit(1);
    } else if (!strcmp(way, "fork")) {
        pid_t child = fork();
        if (!child) _exit(0);
        CHECK(waitpid(child, NULL, 0) == child);
    } else if (!strcmp(way, "register")) {
        CHECK(!syscall(SYS_io_uring_register, ring, IORING_REGISTER_FILES, &fd, 1));
    } else if (!strcmp(way, "poll")) {
        next(IORING_OP_POLL_ADD, fd)->poll32_events = POLLPRI;
        submit(0);
    }
    for (size_t sent = 0; sent < sizeof buffer;) {
        ssize_t n = send(fd, buffer + sent, sizeof buffer - sent, 0);
        CHECK(n > 0);
        sent += n;
    }
    CHECK(!close(fd));
    CHECK(epoll_wait(set, &event, 1, 0) == 0);
    puts("closed");
    fflush(stdout);
    getchar();
    return 0;
}
