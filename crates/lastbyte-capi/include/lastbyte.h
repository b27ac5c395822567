/* lastbyte: closes TCP connections and tells what became of the last byte.
 *
 * Functions return 0, or -1 with errno set; on Windows WSAGetLastError has the error,
 * under Winsock's name. Sockets given to a function are the function's from then on,
 * unless it says that the socket is untouched.
 * Structures begin with their size, so that they can grow: set it with the
 * LB_..._INIT macros. Any thread may call any function; none may be called from
 * a signal handler.
 *
 * Written by cbindgen from the crate lastbyte-capi. Do not edit. */

#ifndef LASTBYTE_H
#define LASTBYTE_H

#include <stddef.h>
#include <stdint.h>
#define LB_POLICY_INIT { sizeof(lb_policy), LB_LINGER_OF_SOCKET, 0, 0, 0, 0, 0 }
#define LB_REPORT_INIT { sizeof(lb_report), LB_FATE_NONE, -1, -1, -1, -1, -1, LB_SIDE_UNKNOWN, 0, 0 }
#define LB_SUMS_INIT { sizeof(lb_sums), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }


// How a connection ended.
typedef enum lb_fate {
  // Not known (yet).
  LB_FATE_NONE = 0,
  // Data and FIN were acknowledged by the peer's TCP.
  LB_FATE_DELIVERED = 1,
  // Delivered, and the peer closed its side.
  LB_FATE_CONFIRMED = 2,
  // The time ran out.
  LB_FATE_TIMED_OUT = 3,
  // Nothing new was acknowledged for the policy's stall time.
  LB_FATE_STALLED = 4,
  // The peer sent an RST.
  LB_FATE_RESET = 5,
  // The connection broke otherwise, or it is not known that it was the peer;
  // `error` says why, 0 where a read or write of the program's has taken it.
  LB_FATE_FAILED = 6,
  // We reset the connection, as asked.
  LB_FATE_ABORTED = 7,
  // Left to the background or to the kernel; its fate is not awaited, or cannot
  // be seen.
  LB_FATE_DETACHED = 8,
} lb_fate;

// An end of the connection.
typedef enum lb_side {
  // Not known.
  LB_SIDE_UNKNOWN = 0,
  // This host.
  LB_SIDE_LOCAL = 1,
  // The other end.
  LB_SIDE_PEER = 2,
} lb_side;

// What a close is asked to do.
typedef enum lb_linger {
  // What the socket's own SO_LINGER says.
  LB_LINGER_OF_SOCKET = 0,
  // Return at once, deliver in the background.
  LB_LINGER_OFF = 1,
  // Reset the connection, discard what is queued, leave no TIME_WAIT.
  LB_LINGER_ABORT = 2,
  // Wait up to `wait_ms` for data and FIN to be acknowledged.
  LB_LINGER_WAIT = 3,
} lb_linger;

// Bits of `lb_policy.flags`.
typedef enum lb_policy_flag {
  // After delivery, also wait for the peer to close its side.
  LB_POLICY_CONFIRM = 1,
  // Once everything is acknowledged, end with an RST instead of TIME_WAIT.
  LB_POLICY_WITHOUT_TIME_WAIT = 2,
  // The program has shut down its sending side itself, and left its reading side
  // open: needed for exact counts of a connection that is gone before the close.
  LB_POLICY_HALF_CLOSED = 4,
  // The program has shut down both sides itself (SHUT_RDWR): needed as
  // LB_POLICY_HALF_CLOSED is, and so that a reset of a connection that is gone before
  // the close is not blamed on the peer where input may have made this host send it.
  LB_POLICY_SHUT_DOWN = 8,
} lb_policy_flag;

// Ends many connections on one thread, each with its own deadline and report.
typedef struct lb_closer lb_closer;

// A close under way.
typedef struct lb_closing lb_closing;

#if !defined(_WIN32)
// A socket: its descriptor.
typedef int lb_socket;
#endif

#if defined(_WIN32)
// A socket: Winsock's SOCKET.
typedef size_t lb_socket;
#endif

// How a connection is to be ended. Start from LB_POLICY_INIT.
typedef struct lb_policy {
  // sizeof(lb_policy), so that the structure can grow.
  size_t size;
  // An `lb_linger`.
  int linger;
  // Bits of `lb_policy_flag`; others are refused with EINVAL.
  uint32_t flags;
  // Milliseconds to wait at most, with LB_LINGER_WAIT; 0 is refused with
  // EINVAL, since it would be an abort.
  uint64_t wait_ms;
  // Give up when nothing new was acknowledged for so many milliseconds; 0: do not.
  uint64_t stall_ms;
  // Bytes of late input discarded at most; 0: the default, 64 MiB.
  uint64_t drain_bytes;
  // Milliseconds that late input is discarded after delivery; 0: the default, 10 s.
  uint64_t drain_ms;
} lb_policy;

// What became of a connection's bytes. Start from LB_REPORT_INIT. Counts are
// payload; a number that is not known is -1.
typedef struct lb_report {
  // sizeof(lb_report), so that the structure can grow.
  size_t size;
  // An `lb_fate`.
  int fate;
  // Whether we sent an RST: 0, 1, or -1 where that is not known.
  int rst_sent;
  // Bytes of the connection's whole life that the peer's TCP acknowledged.
  int64_t acked;
  // Bytes that send() accepted and the peer never acknowledged.
  int64_t lost;
  // Of these, bytes that were never transmitted.
  int64_t unsent;
  // Bytes of input that arrived and were discarded.
  int64_t unread;
  // An `lb_side`: whose FIN (or, in an abort, RST) came first.
  int closed_first;
  // Why the close failed: EWOULDBLOCK (time ran out), ECONNRESET, what the kernel
  // gave up with, or (LB_FATE_DETACHED) what kept a close that was to wait from
  // seeing how it goes on; 0 if it did not fail, or the reason is not known.
  int error;
  // Microseconds from the call to the fate.
  uint64_t elapsed_us;
} lb_report;

// Called on the closer's thread when an ending is over: the context given, 0 or
// the errno that lb_close would have failed with, and the report, which is valid
// during the call (NULL where the connection did not end because the socket was
// refused; it is closed then). It must be quick: the others wait for it.
typedef void (*lb_closer_then)(void *context, int error, const struct lb_report *report);

// The sums of many reports. Start from LB_SUMS_INIT. A sum in which a number is
// not known is -1; its `_known` is then the sum of those that are, and its `_unknown`
// the number of connections that are not in that.
typedef struct lb_sums {
  // sizeof(lb_sums), so that the structure can grow.
  size_t size;
  // Connections in all: those of each fate, and `unseen`.
  uint64_t connections;
  // Connections with LB_FATE_DELIVERED.
  uint64_t delivered;
  // Connections with LB_FATE_CONFIRMED.
  uint64_t confirmed;
  // Connections with LB_FATE_TIMED_OUT.
  uint64_t timed_out;
  // Connections with LB_FATE_STALLED.
  uint64_t stalled;
  // Connections with LB_FATE_RESET.
  uint64_t reset;
  // Connections with LB_FATE_FAILED.
  uint64_t failed;
  // Connections with LB_FATE_ABORTED.
  uint64_t aborted;
  // Connections with LB_FATE_DETACHED.
  uint64_t detached;
  // Connections that ended without a report: the kernel would not show them.
  uint64_t unseen;
  // Bytes that the peers' TCP acknowledged.
  int64_t acked;
  // Bytes that send() accepted and the peers never acknowledged.
  int64_t lost;
  // Of these, bytes that were never transmitted.
  int64_t unsent;
  // Bytes of input that arrived and were discarded.
  int64_t unread;
  // Connections to which we sent an RST.
  int64_t rst_sent;
  // The known part of `acked`.
  uint64_t acked_known;
  // Connections of which that is not known.
  uint64_t acked_unknown;
  // The known part of `lost`.
  uint64_t lost_known;
  // Connections of which that is not known.
  uint64_t lost_unknown;
  // The known part of `unsent`.
  uint64_t unsent_known;
  // Connections of which that is not known.
  uint64_t unsent_unknown;
  // The known part of `unread`.
  uint64_t unread_known;
  // Connections of which that is not known.
  uint64_t unread_unknown;
  // The known part of `rst_sent`.
  uint64_t rst_sent_known;
  // Connections of which that is not known.
  uint64_t rst_sent_unknown;
} lb_sums;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// Closes the connection of `fd` as the manual of SO_LINGER has it; the socket's
// own SO_LINGER decides.
//
// Off: returns 0 at once, everything queued is delivered in the background, also
// where input is unread or arrives later (the number `fd` stays in use until
// then). On with a time: waits until data and
// FIN are acknowledged and returns 0, or when the time has run out discards the
// rest, resets the connection and fails with EWOULDBLOCK. On with 0: resets.
//
// ERRORS, with `fd` gone: EWOULDBLOCK (the time ran out), ECONNRESET (the peer
// reset), what the kernel gave the connection up with (ETIMEDOUT, EHOSTUNREACH
// ...), EIO (it broke, and an earlier read or write has taken the reason), or what
// kept it from seeing how the close goes on (EPERM in a sandbox; the kernel's own
// close was done).
// ERRORS, with `fd` untouched: EWOULDBLOCK on a non-blocking socket that would
// have to wait (use lb_close_begin); EBADF, ENOTSOCK, EPROTOTYPE (no TCP
// socket), EPROTONOSUPPORT (an MPTCP one), EINVAL (a listener), EINPROGRESS (connect is under way), ENOTCONN;
// EMFILE, ENOMEM and the like (no resources; close(2) it, or try again).
int lb_close(lb_socket fd);

// As lb_close, by an explicit policy (NULL: the socket's own SO_LINGER), with a
// report of what became of the bytes (NULL: not wanted). The report is written
// whenever the connection has ended, in success and in failure.
//
// ERRORS: as lb_close; and EINVAL, with `fd` untouched, for a policy or report
// that is not well-formed.
//
// # Safety
// Non-NULL pointers point to structures as long as their `size` says.
int lb_close_with(lb_socket fd, const struct lb_policy *policy, struct lb_report *report);

// Waits, `milliseconds` at most, until no connection is left in the background
// (those closed with linger off, and handles let go). Call it before exit where
// nothing may be lost: what is still there then is left to the kernel.
//
// ERRORS: ETIMEDOUT, some are still there.
int lb_background_wait(uint64_t milliseconds);

// As lb_background_wait, but until the fate of every connection is known: it does not
// wait for those whose bytes have all been acknowledged, and that are held only because
// their peers may still be sending.
//
// ERRORS: ETIMEDOUT, some are still under way.
int lb_background_wait_delivered(uint64_t milliseconds);

// Starts a closer. NULL and errno where no thread or descriptors can be had.
struct lb_closer *lb_closer_new(void);

// Ends the connection of `fd` by `policy` (NULL: the socket's own SO_LINGER) and
// calls `then` (NULL: nobody) on the closer's thread with what became of it. Off
// is awaited too: the report comes when everything is acknowledged.
//
// ERRORS, with `fd` untouched and `then` never called: EBADF, EINVAL (no closer,
// or a policy that is not well-formed), ENOTSOCK, EAGAIN (too many in flight, or
// drained), ESRCH (the closer's thread has failed, or is the parent process's).
//
// # Safety
// `closer` is one; a non-NULL policy is as long as its `size` says; `context` may
// be used on another thread.
int lb_closer_close(const struct lb_closer *closer,
                    lb_socket fd,
                    const struct lb_policy *policy,
                    lb_closer_then then,
                    void *context);

// How many endings are in flight; 0 for NULL.
//
// # Safety
// NULL, or a closer.
size_t lb_closer_in_flight(const struct lb_closer *closer);

// Waits, `milliseconds` at most, until none is in flight.
//
// ERRORS: ETIMEDOUT, some are; EINVAL for NULL; at once EDEADLK (called by a `then`)
// or ESRCH (no thread to wait for, as for lb_closer_close).
//
// # Safety
// NULL, or a closer.
int lb_closer_wait_idle(const struct lb_closer *closer, uint64_t milliseconds);

// Ends everything in flight within `milliseconds`, one time for all, and tells the
// sums of these (NULL: not wanted): what a deploy wants to know. Those that reach
// their own end before count as they are, the rest are cut short when the time is
// over (LB_FATE_TIMED_OUT, what is lost counted). Every `then` was called when it
// returns. The closer takes no further connections (EAGAIN). A second drain is told
// of all that ended since the first began; lb_closer_sums has those before as well.
//
// ERRORS: EINVAL for NULL, or sums that are not well-formed: nothing was drained.
// At once, with what is in flight counted as unseen: EDEADLK (called by a `then`; the
// connections still end within the time), ESRCH (the closer's thread has failed, or is
// the parent process's).
//
// # Safety
// NULL, or a closer; non-NULL sums are as long as their `size` says.
int lb_closer_drain(const struct lb_closer *closer, uint64_t milliseconds, struct lb_sums *sums);

// The sums of all connections that have ended since the closer was made, those of a
// drain included.
//
// ERRORS: EINVAL for NULL, or sums that are not well-formed.
//
// # Safety
// NULL, or a closer; `sums` are as long as their `size` says.
int lb_closer_sums(const struct lb_closer *closer, struct lb_sums *sums);

// Lets a closer go. Its endings in flight still reach their fate, and `then` is
// still called.
//
// # Safety
// NULL, or a closer, which is not used again.
void lb_closer_free(struct lb_closer *closer);

// Begins to close the connection of `fd` and returns at once, whatever the
// policy (NULL: the socket's own SO_LINGER) and whether or not the socket blocks.
//
// Returns 0 where it is over at once. Fails with EWOULDBLOCK and a handle in
// `*closing` where it goes on: `fd` is then still valid, and the handle's; poll
// lb_closing_fd() for readability, then call lb_closing_finish(). In every other
// case `*closing` is NULL.
//
// ERRORS: EWOULDBLOCK with a handle; else as lb_close_with.
//
// # Safety
// Non-NULL `policy` and `report` point to structures as long as their `size`
// says; `closing` points to a pointer.
int lb_close_begin(lb_socket fd,
                   const struct lb_policy *policy,
                   struct lb_closing **closing,
                   struct lb_report *report);

// Goes on with a close. When it is over, the handle is freed, `*closing` becomes
// NULL, and the result is that of lb_close_with. Until then it fails with
// EWOULDBLOCK and leaves `*closing` as it is.
//
// # Safety
// `closing` points to a handle; non-NULL `report` to a structure as long as its
// `size` says.
int lb_closing_finish(struct lb_closing **closing, struct lb_report *report);

// Lets a handle go: the close goes on in the background, to its deadline.
// `*closing` becomes NULL.
//
// # Safety
// `closing` is NULL or points to a handle or NULL.
void lb_closing_detach(struct lb_closing **closing);

#if !defined(_WIN32)
// The descriptor to poll: readable when lb_closing_finish() has something to do,
// the deadline included. It stays the handle's. -1 and EINVAL for NULL.
//
// # Safety
// NULL, or a handle that is not over.
int lb_closing_fd(const struct lb_closing *closing);
#endif

#if defined(_WIN32)
// As closesocket, by the manual of SO_LINGER: off returns at once and delivers; on with a
// time waits until data and FIN are acknowledged, or fails with WSAEWOULDBLOCK, discards the
// rest and resets; on with 0 resets.
//
// A non-blocking socket is waited for too, because Winsock cannot be asked whether a socket is
// one: use lb_close_begin for those.
//
// ERRORS: as lb_close, from WSAGetLastError and under Winsock's names.
int lb_closesocket(lb_socket socket);
#endif

#if defined(_WIN32)
// As lb_closesocket, by an explicit policy and with a report: lb_close_with.
//
// # Safety
// Non-NULL pointers point to structures as long as their `size` says.
int lb_closesocket_with(lb_socket socket, const struct lb_policy *policy, struct lb_report *report);
#endif

#if defined(_WIN32)
// The event object to wait for (WaitForSingleObject): set when lb_closing_finish() has
// something to do, the deadline included. It stays the handle's. NULL and WSAEINVAL for NULL.
//
// # Safety
// NULL, or a handle that is not over.
void *lb_closing_event(const struct lb_closing *closing);
#endif

#if defined(_WIN32)
// The socket to poll for readability (WSAPoll, select), as lb_closing_event is to wait for.
// INVALID_SOCKET and WSAEINVAL for NULL.
//
// # Safety
// NULL, or a handle that is not over.
lb_socket lb_closing_socket(const struct lb_closing *closing);
#endif

// The version of the library that is loaded, such as "0.1.0".
const char *lb_version(void);

// The version of the library that is loaded, as major * 1000000 + minor * 1000
// + patch.
uint32_t lb_version_number(void);

// The word for an `lb_fate`: "delivered", "timed_out" ...; "none" for
// LB_FATE_NONE, NULL for what is no fate.
const char *lb_fate_name(int fate);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* LASTBYTE_H */
