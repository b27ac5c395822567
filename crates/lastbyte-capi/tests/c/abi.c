/* Everything of the ABI that needs no peer of its own making: it makes one.
 * Prints what failed and exits with 1. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <lastbyte.h>

static int failures;
#define CHECK(what)                                                                       \
    do {                                                                                  \
        if (!(what)) {                                                                    \
            printf("%s:%d: %s (errno %s)\n", __FILE__, __LINE__, #what, strerror(errno)); \
            failures++;                                                                   \
        }                                                                                 \
    } while (0)

static int listener;

/* A connection: ours and the peer's end. */
static int pair(int *peer)
{
    struct sockaddr_in address;
    socklen_t length = sizeof address;
    getsockname(listener, (struct sockaddr *)&address, &length);
    int s = socket(AF_INET, SOCK_STREAM, 0);
    if (s < 0 || connect(s, (struct sockaddr *)&address, sizeof address))
        exit(2);
    *peer = accept(listener, NULL, NULL);
    return s;
}

static int is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

/* Sends more than a peer takes that does not read. */
static long fill(int s)
{
    static char data[65536];
    long total = 0;
    ssize_t n;
    while ((n = send(s, data, sizeof data, MSG_DONTWAIT)) > 0)
        total += n;
    return total;
}

static void set_linger(int s, int on, int seconds)
{
    struct linger l = { on, seconds };
    setsockopt(s, SOL_SOCKET, SO_LINGER, &l, sizeof l);
}

static void untouched_where_refused(void)
{
    int p[2], peer, s;
    lb_policy policy = LB_POLICY_INIT;
    lb_report report = LB_REPORT_INIT;

    CHECK(lb_close(-1) == -1 && errno == EBADF);
    CHECK(lb_close(9999) == -1 && errno == EBADF);
    if (pipe(p))
        exit(2);
    CHECK(lb_close(p[0]) == -1 && errno == ENOTSOCK && is_open(p[0]));
    close(p[0]);
    close(p[1]);
    s = socket(AF_INET, SOCK_DGRAM, 0);
    CHECK(lb_close(s) == -1 && errno == EPROTOTYPE && is_open(s));
    close(s);
    s = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(lb_close(s) == -1 && errno == ENOTCONN && is_open(s));
    close(s);
    CHECK(lb_close(listener) == -1 && errno == EINVAL && is_open(listener));

    s = pair(&peer);
    policy.linger = 77;
    CHECK(lb_close_with(s, &policy, &report) == -1 && errno == EINVAL && is_open(s));
    policy.linger = LB_LINGER_WAIT;
    CHECK(lb_close_with(s, &policy, &report) == -1 && errno == EINVAL && is_open(s));
    policy.wait_ms = 1000;
    policy.flags = 1u << 30;
    CHECK(lb_close_with(s, &policy, &report) == -1 && errno == EINVAL && is_open(s));
    policy.flags = 0;
    policy.size = 4;
    CHECK(lb_close_with(s, &policy, &report) == -1 && errno == EINVAL && is_open(s));
    policy.size = sizeof policy;
    report.size = 8;
    CHECK(lb_close_with(s, &policy, &report) == -1 && errno == EINVAL && is_open(s));
    CHECK(report.fate == LB_FATE_NONE && report.acked == -1);
    /* A non-blocking socket that would have to wait: nothing begun, as Winsock has it. */
    fcntl(s, F_SETFL, O_NONBLOCK);
    set_linger(s, 1, 5);
    CHECK(lb_close(s) == -1 && errno == EWOULDBLOCK && is_open(s));
    CHECK(send(s, "x", 1, 0) == 1);
    set_linger(s, 0, 0);
    CHECK(lb_close(s) == 0);
    close(peer);
    CHECK(lb_background_wait(30000) == 0 && !is_open(s));
}

static void structures_may_grow(void)
{
    /* A caller compiled against a later header. */
    struct {
        lb_policy policy;
        char more[64];
    } later_policy = { LB_POLICY_INIT, { 0 } };
    struct {
        lb_report report;
        char more[64];
    } later_report = { LB_REPORT_INIT, { 0 } };
    int peer, s = pair(&peer);

    later_policy.policy.size = sizeof later_policy;
    later_policy.policy.linger = LB_LINGER_WAIT;
    later_policy.policy.wait_ms = 5000;
    later_policy.more[5] = 1;
    later_report.report.size = sizeof later_report;
    memset(later_report.more, 'm', sizeof later_report.more);
    CHECK(lb_close_with(s, &later_policy.policy, &later_report.report) == -1 && errno == EINVAL
        && is_open(s));
    later_policy.more[5] = 0;
    CHECK(send(s, "12345", 5, 0) == 5);
    CHECK(lb_close_with(s, &later_policy.policy, &later_report.report) == 0);
    CHECK(later_report.report.fate == LB_FATE_DELIVERED && later_report.report.acked == 5);
    CHECK(later_report.report.size == sizeof later_report);
    for (unsigned i = 0; i < sizeof later_report.more; i++)
        CHECK(later_report.more[i] == 'm');
    close(peer);
}

static void blocking_closes(void)
{
    lb_policy policy = LB_POLICY_INIT;
    lb_report report = LB_REPORT_INIT;
    int peer, s = pair(&peer);
    long sent;

    set_linger(s, 1, 1);
    sent = fill(s);
    CHECK(lb_close_with(s, NULL, &report) == -1 && errno == EWOULDBLOCK && !is_open(s));
    CHECK(report.fate == LB_FATE_TIMED_OUT && report.error == EWOULDBLOCK && report.rst_sent == 1);
    CHECK(report.acked + report.lost == sent && report.closed_first == LB_SIDE_LOCAL);
    CHECK(report.elapsed_us >= 1000000);
    close(peer);

    s = pair(&peer);
    sent = fill(s);
    policy.linger = LB_LINGER_ABORT;
    CHECK(lb_close_with(s, &policy, &report) == 0 && report.fate == LB_FATE_ABORTED);
    CHECK(report.acked + report.lost == sent && report.lost > 0);
    close(peer);

    s = pair(&peer);
    CHECK(send(peer, "input", 5, 0) == 5);
    struct pollfd p = { .fd = s, .events = POLLIN };
    poll(&p, 1, -1);
    CHECK(send(s, "12345", 5, 0) == 5);
    CHECK(shutdown(peer, SHUT_WR) == 0);
    policy.linger = LB_LINGER_WAIT;
    policy.wait_ms = 10000;
    policy.flags = LB_POLICY_CONFIRM;
    CHECK(lb_close_with(s, &policy, &report) == 0 && report.fate == LB_FATE_CONFIRMED);
    CHECK(report.unread == 5 && report.lost == 0 && report.acked == 5);
    close(peer);
}

/* A reset that input for a shut reading side has made, before the close: the peer did
 * not reset, and only the program knows what it had shut down. */
static void shut_down_before(void)
{
    lb_policy policy = LB_POLICY_INIT;
    lb_report report = LB_REPORT_INIT;
    int peer;
    int s = pair(&peer);
    long written = fill(s);
    CHECK(shutdown(s, SHUT_RDWR) == 0 && send(peer, "late", 4, 0) == 4);
    struct pollfd p = { s, 0, 0 };
    while (poll(&p, 1, 10000) == 1 && !(p.revents & POLLERR))
        ;
    policy.linger = LB_LINGER_WAIT;
    policy.wait_ms = 10000;
    policy.flags = LB_POLICY_SHUT_DOWN;
    CHECK(lb_close_with(s, &policy, &report) == -1 && errno == ECONNRESET);
    CHECK(report.fate == LB_FATE_FAILED && report.rst_sent != 0);
    CHECK(report.acked >= 0 && report.lost > 0 && report.acked + report.lost == written);
    policy.flags = 16;
    s = pair(&peer);
    CHECK(lb_close_with(s, &policy, &report) == -1 && errno == EINVAL && is_open(s));
    close(s);
    close(peer);
}

static void handles(void)
{
    lb_policy policy = LB_POLICY_INIT;
    lb_report report = LB_REPORT_INIT;
    lb_closing *closing = (lb_closing *)1;
    int peer, s = pair(&peer);

    CHECK(lb_close_begin(s, NULL, NULL, NULL) == -1 && errno == EINVAL && is_open(s));
    CHECK(lb_close_begin(-1, NULL, &closing, NULL) == -1 && errno == EBADF && !closing);
    CHECK(lb_closing_fd(NULL) == -1 && errno == EINVAL);
    CHECK(lb_closing_finish(&closing, NULL) == -1 && errno == EINVAL);
    CHECK(lb_closing_finish(NULL, NULL) == -1 && errno == EINVAL);
    lb_closing_detach(NULL);
    lb_closing_detach(&closing);

    fill(s);
    policy.linger = LB_LINGER_WAIT;
    policy.wait_ms = 300;
    CHECK(lb_close_begin(s, &policy, &closing, &report) == -1 && errno == EWOULDBLOCK && closing);
    CHECK(is_open(s));
    CHECK(lb_closing_finish(&closing, &report) == -1 && errno == EWOULDBLOCK && closing);
    while (closing) {
        struct pollfd p = { .fd = lb_closing_fd(closing), .events = POLLIN };
        CHECK(poll(&p, 1, 30000) == 1);
        CHECK(lb_closing_finish(&closing, &report) == -1 && errno == EWOULDBLOCK);
    }
    CHECK(report.fate == LB_FATE_TIMED_OUT && !is_open(s));
    close(peer);

    s = pair(&peer);
    fill(s);
    CHECK(lb_close_begin(s, &policy, &closing, &report) == -1 && closing);
    lb_closing_detach(&closing);
    CHECK(!closing);
    CHECK(lb_background_wait(30000) == 0);
    close(peer);
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int delivered, timed_out, refused;

static void count_lost(void *context, int error, const lb_report *report)
{
    pthread_mutex_lock(&lock);
    CHECK(report != NULL && (error == 0 || error == EWOULDBLOCK));
    *(long long *)context += report->lost;
    pthread_mutex_unlock(&lock);
}

static void then(void *context, int error, const lb_report *report)
{
    pthread_mutex_lock(&lock);
    if (report && report->fate == LB_FATE_DELIVERED && error == 0)
        delivered++;
    if (report && report->fate == LB_FATE_CONFIRMED && error == 0)
        delivered++;
    if (report && report->fate == LB_FATE_TIMED_OUT && error == EWOULDBLOCK)
        timed_out++;
    if (!report && error == ENOTCONN)
        refused++;
    CHECK(context == &delivered);
    pthread_mutex_unlock(&lock);
}

static void drained(void)
{
    enum { COUNT = 10 };
    int peers[COUNT];
    long long lost = 0, written = 0;
    lb_policy policy = LB_POLICY_INIT;
    lb_sums sums = LB_SUMS_INIT;
    lb_closer *closer = lb_closer_new();

    CHECK(closer != NULL);
    CHECK(lb_closer_drain(NULL, 0, &sums) == -1 && errno == EINVAL);
    sums.size = 8;
    CHECK(lb_closer_drain(closer, 0, &sums) == -1 && errno == EINVAL);
    sums.size = sizeof sums;
    policy.linger = LB_LINGER_WAIT;
    policy.wait_ms = 60000;
    for (int i = 0; i < COUNT; i++) {
        int s = pair(&peers[i]);
        written += fill(s);
        CHECK(lb_closer_close(closer, s, &policy, count_lost, &lost) == 0);
    }
    CHECK(lb_closer_drain(closer, 300, &sums) == 0);
    CHECK(sums.size == sizeof sums && sums.connections == COUNT);
    CHECK(sums.timed_out == COUNT && sums.delivered == 0 && sums.unseen == 0);
    CHECK(sums.acked + sums.lost == written && sums.lost > 0 && sums.rst_sent == COUNT);
    CHECK(sums.lost_known == (unsigned long long)sums.lost && sums.lost_unknown == 0);
    CHECK(sums.rst_sent_known == COUNT && sums.rst_sent_unknown == 0);
    CHECK(lb_closer_in_flight(closer) == 0);
    pthread_mutex_lock(&lock);
    CHECK(lost == sums.lost);
    pthread_mutex_unlock(&lock);
    int other, late = pair(&other);
    CHECK(lb_closer_close(closer, late, &policy, count_lost, &lost) == -1 && errno == EAGAIN);
    CHECK(is_open(late));
    close(late);
    close(other);
    /* A second drain is told the same, and so are the sums. */
    lb_sums again = LB_SUMS_INIT;
    CHECK(lb_closer_drain(closer, 0, &again) == 0);
    CHECK(again.connections == COUNT && again.lost == sums.lost);
    CHECK(lb_closer_drain(closer, 0, NULL) == 0);
    lb_sums all = LB_SUMS_INIT;
    CHECK(lb_closer_sums(NULL, &all) == -1 && errno == EINVAL);
    CHECK(lb_closer_sums(closer, NULL) == -1 && errno == EINVAL);
    CHECK(lb_closer_sums(closer, &all) == 0 && all.connections == COUNT);
    CHECK(lb_background_wait_delivered(10000) == 0);
    lb_closer_free(closer);
    for (int i = 0; i < COUNT; i++)
        close(peers[i]);
}

static int in_then[3];

static void waits(void *context, int error, const lb_report *report)
{
    lb_sums sums = LB_SUMS_INIT;
    (void)report;
    pthread_mutex_lock(&lock);
    CHECK(error == 0);
    CHECK(lb_closer_wait_idle(context, 60000) == -1);
    in_then[0] = errno;
    CHECK(lb_closer_drain(context, 60000, &sums) == -1);
    in_then[1] = errno;
    in_then[2] = (int)sums.unseen;
    pthread_mutex_unlock(&lock);
}

/* A callback that waits for its own thread, and a child that waits for its parent's. */
static void waits_in_vain(void)
{
    int peer, s = pair(&peer);
    lb_policy policy = LB_POLICY_INIT;
    lb_closer *closer = lb_closer_new();

    CHECK(closer != NULL);
    policy.linger = LB_LINGER_ABORT;
    CHECK(lb_closer_close(closer, s, &policy, waits, closer) == 0);
    CHECK(lb_closer_drain(closer, 60000, NULL) == 0);
    pthread_mutex_lock(&lock);
    CHECK(in_then[0] == EDEADLK && in_then[1] == EDEADLK && in_then[2] == 1);
    pthread_mutex_unlock(&lock);
    close(peer);
    s = pair(&peer);
    pid_t child = fork();
    CHECK(child != -1);
    if (child == 0) {
        alarm(10);
        CHECK(lb_closer_close(closer, s, &policy, waits, closer) == -1 && errno == ESRCH);
        CHECK(is_open(s));
        CHECK(lb_closer_drain(closer, 60000, NULL) == -1 && errno == ESRCH);
        CHECK(lb_closer_wait_idle(closer, 60000) == -1 && errno == ESRCH);
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    lb_closer_free(closer);
    close(s);
    close(peer);
}

static void many(void)
{
    enum { COUNT = 20 };
    int peers[COUNT];
    lb_policy policy = LB_POLICY_INIT;
    lb_closer *closer = lb_closer_new();

    CHECK(closer != NULL);
    CHECK(lb_closer_close(NULL, 0, NULL, then, NULL) == -1 && errno == EINVAL);
    CHECK(lb_closer_close(closer, -1, NULL, then, NULL) == -1 && errno == EBADF);
    policy.linger = LB_LINGER_WAIT;
    policy.wait_ms = 500;
    for (int i = 0; i < COUNT; i++) {
        int s = pair(&peers[i]);
        if (i % 2)
            fill(s);
        CHECK(lb_closer_close(closer, s, &policy, then, &delivered) == 0);
    }
    int unconnected = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(lb_closer_close(closer, unconnected, &policy, then, &delivered) == 0);
    for (int i = 0; i < COUNT; i += 2)
        close(peers[i]);
    CHECK(lb_closer_wait_idle(closer, 30000) == 0);
    CHECK(lb_closer_in_flight(closer) == 0);
    lb_closer_free(closer);
    lb_closer_free(NULL);
    pthread_mutex_lock(&lock);
    CHECK(delivered == COUNT / 2 && timed_out == COUNT / 2 && refused == 1);
    pthread_mutex_unlock(&lock);
    for (int i = 1; i < COUNT; i += 2)
        close(peers[i]);
}

int main(void)
{
    struct sockaddr_in any = { .sin_family = AF_INET };
    int size = 4096;
    any.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    listener = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    if (bind(listener, (struct sockaddr *)&any, sizeof any) || listen(listener, 64))
        return 2;
    CHECK(lb_version_number() > 0 && strchr(lb_version(), '.'));
    CHECK(!strcmp(lb_fate_name(LB_FATE_TIMED_OUT), "timed_out"));
    CHECK(lb_fate_name(99) == NULL && lb_fate_name(-1) == NULL);
    untouched_where_refused();
    structures_may_grow();
    blocking_closes();
    shut_down_before();
    handles();
    many();
    drained();
    waits_in_vain();
    puts(failures ? "failed" : "done");
    return failures != 0;
}
