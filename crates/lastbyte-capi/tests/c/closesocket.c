/* lb_closesocket on Windows, through the DLL and its import library. Winsock itself and the peer's bytes are the
 * oracle. Prints a line for each test; the status is the number of those that failed. */
#define _WIN32_WINNT 0x0A00
#include <winsock2.h>
#include <windows.h>

#include <lastbyte.h>
#include <stdio.h>
#include <string.h>

static int failed;

static void check(const char *test, int right) {
    printf("test %s ... %s\n", test, right ? "ok" : "FAILED");
    failed += !right;
}

/* A connection over loopback whose peer has little room. */
static void pair(SOCKET *ours, SOCKET *peer) {
    struct sockaddr_in address = {0};
    int length = sizeof address, room = 4096;
    SOCKET listener = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(listener, SOL_SOCKET, SO_RCVBUF, (char *)&room, sizeof room);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    bind(listener, (struct sockaddr *)&address, sizeof address);
    getsockname(listener, (struct sockaddr *)&address, &length);
    listen(listener, 1);
    *ours = socket(AF_INET, SOCK_STREAM, 0);
    connect(*ours, (struct sockaddr *)&address, sizeof address);
    *peer = accept(listener, NULL, NULL);
    closesocket(listener);
}

/* Writes until nothing has gone for a while. */
static long fill(SOCKET socket) {
    static char bytes[16384];
    u_long on = 1, off = 0;
    long written = 0;
    ioctlsocket(socket, FIONBIO, &on);
    for (;;) {
        int n = send(socket, bytes, sizeof bytes, 0);
        if (n > 0) {
            written += n;
            continue;
        }
        WSAPOLLFD poll = {socket, POLLWRNORM, 0};
        if (WSAPoll(&poll, 1, 50) != 1) break;
    }
    ioctlsocket(socket, FIONBIO, &off);
    return written;
}

/* What the peer reads: the bytes, and the error that ends it or 0. */
static long read_all(SOCKET peer, int *error) {
    static char bytes[65536];
    long read = 0;
    int n;
    while ((n = recv(peer, bytes, sizeof bytes, 0)) > 0) read += n;
    *error = n < 0 ? WSAGetLastError() : 0;
    closesocket(peer);
    return read;
}

struct reader {
    SOCKET peer;
    long read;
    int error;
};

static DWORD WINAPI reads(void *argument) {
    struct reader *reader = argument;
    reader->read = read_all(reader->peer, &reader->error);
    return 0;
}

static void set_linger(SOCKET socket, u_short on, u_short seconds) {
    struct linger linger = {on, seconds};
    setsockopt(socket, SOL_SOCKET, SO_LINGER, (char *)&linger, sizeof linger);
}

static void on_and_0_resets(void) {
    SOCKET ours, peer;
    int error;
    pair(&ours, &peer);
    fill(ours);
    set_linger(ours, 1, 0);
    int rc = lb_closesocket(ours);
    read_all(peer, &error);
    check("on_and_0_makes_the_remote_recv_fail_with_wsaeconnreset", rc == 0 && error == WSAECONNRESET);
}

static void on_and_n_delivers(void) {
    struct reader reader;
    SOCKET ours;
    pair(&ours, &reader.peer);
    long written = fill(ours);
    HANDLE thread = CreateThread(NULL, 0, reads, &reader, 0, NULL);
    set_linger(ours, 1, 60);
    int rc = lb_closesocket(ours);
    WaitForSingleObject(thread, INFINITE);
    check("on_and_n_waits_until_everything_is_delivered", rc == 0 && reader.read == written && reader.error == 0);
}

static void on_and_n_times_out(void) {
    SOCKET ours, peer;
    int error;
    pair(&ours, &peer);
    fill(ours);
    set_linger(ours, 1, 1);
    lb_report report = LB_REPORT_INIT;
    int rc = lb_closesocket_with(ours, NULL, &report);
    int why = WSAGetLastError();
    read_all(peer, &error);
    check("on_and_n_fails_with_wsaewouldblock_when_the_time_is_over",
          rc == SOCKET_ERROR && why == WSAEWOULDBLOCK && report.fate == LB_FATE_TIMED_OUT && report.lost == -1 &&
              report.error == WSAEWOULDBLOCK && error == WSAECONNRESET);
}

static void a_handle_would_block(void) {
    struct reader reader;
    SOCKET ours;
    lb_closing *closing = NULL;
    lb_policy policy = LB_POLICY_INIT;
    lb_report report = LB_REPORT_INIT;
    pair(&ours, &reader.peer);
    long written = fill(ours);
    policy.linger = LB_LINGER_WAIT;
    policy.wait_ms = 60000;
    int rc = lb_close_begin(ours, &policy, &closing, &report);
    int why = WSAGetLastError();
    check("a_close_that_begins_fails_with_wsaewouldblock_and_a_valid_handle",
          rc == SOCKET_ERROR && why == WSAEWOULDBLOCK && closing != NULL);
    HANDLE thread = CreateThread(NULL, 0, reads, &reader, 0, NULL);
    while (closing != NULL) {
        if (WaitForSingleObject(lb_closing_event(closing), 60000) != WAIT_OBJECT_0) break;
        WSAPOLLFD poll = {lb_closing_socket(closing), POLLRDNORM, 0};
        if (WSAPoll(&poll, 1, 60000) != 1) break;
        rc = lb_closing_finish(&closing, &report);
    }
    WaitForSingleObject(thread, INFINITE);
    check("a_handle_says_delivered_by_event_object_and_wsapoll",
          closing == NULL && rc == 0 && report.fate == LB_FATE_DELIVERED && report.lost == 0 &&
              reader.read == written && reader.error == 0);
}

static void off_delivers(void) {
    SOCKET ours, peer;
    int error;
    pair(&ours, &peer);
    long written = fill(ours);
    send(peer, "unread", 6, 0);
    int rc = lb_closesocket(ours);
    long read = read_all(peer, &error);
    check("off_with_unread_input_delivers_everything",
          rc == 0 && read == written && error == 0 && lb_background_wait_delivered(60000) == 0);
}

static void no_socket_is_refused(void) {
    int rc = lb_closesocket(INVALID_SOCKET);
    check("what_is_no_socket_is_refused", rc == SOCKET_ERROR && WSAGetLastError() == WSAENOTSOCK);
    SOCKET udp = socket(AF_INET, SOCK_DGRAM, 0);
    lb_policy policy = LB_POLICY_INIT;
    policy.linger = LB_LINGER_ABORT;
    rc = lb_closesocket_with(udp, &policy, NULL);
    int why = WSAGetLastError();
    check("a_udp_socket_is_refused_and_stays_the_callers",
          rc == SOCKET_ERROR && why == WSAEPROTOTYPE && closesocket(udp) == 0);
    /* Winsock gives such a socket no SO_LINGER. */
    udp = socket(AF_INET, SOCK_DGRAM, 0);
    rc = lb_closesocket(udp);
    why = WSAGetLastError();
    check("a_udp_socket_has_no_so_linger_to_go_by",
          rc == SOCKET_ERROR && why == WSAENOPROTOOPT && closesocket(udp) == 0);
}

int main(void) {
    WSADATA data;
    setvbuf(stdout, NULL, _IONBF, 0);
    WSAStartup(0x0202, &data);
    on_and_0_resets();
    on_and_n_delivers();
    on_and_n_times_out();
    a_handle_would_block();
    off_delivers();
    no_socket_is_refused();
    return failed;
}
