// What the rows need of lwIP: its sockets, a network of two interfaces that are joined, and a
// look at what is on it. Only plain numbers and buffers cross over to Rust.
//
// Each side of a connection is bound to an interface of its own: what a stack sends to an
// address of its own would go past every output function.
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "lwip/init.h"
#include "lwip/netif.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/sockets.h"
#include "lwip/tcpip.h"

enum { HEADERS = 128 };

typedef void packet_fn(const uint8_t *bytes, size_t captured, size_t full);

static packet_fn *seen;
static struct netif connects, accepts;
static struct sockaddr_in address;
static int listener;
// Packets from and to this port are lost; 0 loses none. In the order of the host.
static atomic_uint lost_port;

static err_t output(struct netif *from, struct pbuf *packet, const ip4_addr_t *next)
{
    struct netif *to = from == &connects ? &accepts : &connects;
    uint8_t bytes[HEADERS];
    uint16_t captured = pbuf_copy_partial(packet, bytes, sizeof bytes, 0);
    unsigned lost = atomic_load(&lost_port);
    struct pbuf *copy;

    (void)next;
    seen(bytes, captured, packet->tot_len);
    if (lost && captured >= 20) {
        size_t tcp = (bytes[0] & 15) * 4u;
        if (captured >= tcp + 4) {
            unsigned source = bytes[tcp] << 8 | bytes[tcp + 1];
            unsigned target = bytes[tcp + 2] << 8 | bytes[tcp + 3];
            if (source == lost || target == lost)
                return ERR_OK;
        }
    }
    copy = pbuf_clone(PBUF_LINK, PBUF_RAM, packet);
    if (!copy)
        return ERR_MEM;
    // Queued for lwIP's own thread.
    if (to->input(copy, to) != ERR_OK)
        pbuf_free(copy);
    return ERR_OK;
}

static err_t init(struct netif *netif)
{
    netif->name[0] = 'l';
    netif->name[1] = 'b';
    netif->output = output;
    netif->mtu = 1500;
    netif->flags |= NETIF_FLAG_UP | NETIF_FLAG_LINK_UP;
    return ERR_OK;
}

static void add(struct netif *netif, const ip4_addr_t *own)
{
    ip4_addr_t mask, none;

    IP4_ADDR(&mask, 255, 255, 255, 0);
    IP4_ADDR(&none, 0, 0, 0, 0);
    netif_add(netif, own, &mask, &none, NULL, init, tcpip_input);
    netif_set_up(netif);
    netif_set_link_up(netif);
}

static int result(int returned)
{
    return returned < 0 ? -errno : returned;
}

const char *lastbyte_lwip_version(void)
{
    return LWIP_VERSION_STRING;
}

static int bind_to(int socket, struct netif *netif)
{
    struct ifreq request = { 0 };

    request.ifr_name[0] = netif->name[0];
    request.ifr_name[1] = netif->name[1];
    request.ifr_name[2] = (char)('0' + netif->num);
    return lwip_setsockopt(socket, SOL_SOCKET, SO_BINDTODEVICE, &request, sizeof request);
}

int lastbyte_lwip_start(packet_fn *packet)
{
    ip4_addr_t one, two;

    seen = packet;
    tcpip_init(NULL, NULL);
    IP4_ADDR(&one, 10, 0, 1, 1);
    IP4_ADDR(&two, 10, 0, 2, 1);
    LOCK_TCPIP_CORE();
    add(&connects, &one);
    add(&accepts, &two);
    UNLOCK_TCPIP_CORE();

    address.sin_family = AF_INET;
    address.sin_port = lwip_htons(7);
    address.sin_addr.s_addr = two.addr;
    listener = lwip_socket(AF_INET, SOCK_STREAM, 0);
    if (listener < 0 || bind_to(listener, &accepts) < 0)
        return -errno;
    if (lwip_bind(listener, (struct sockaddr *)&address, sizeof address) < 0)
        return -errno;
    return result(lwip_listen(listener, 8));
}

// The port of the side that connected, or a negative errno.
int lastbyte_lwip_pair(int *connected, int *accepted)
{
    struct sockaddr_in own;
    socklen_t size = sizeof own;

    *connected = lwip_socket(AF_INET, SOCK_STREAM, 0);
    if (*connected < 0 || bind_to(*connected, &connects) < 0)
        return -errno;
    if (lwip_connect(*connected, (struct sockaddr *)&address, sizeof address) < 0)
        return -errno;
    *accepted = lwip_accept(listener, NULL, NULL);
    if (*accepted < 0)
        return -errno;
    if (lwip_getsockname(*connected, (struct sockaddr *)&own, &size) < 0)
        return -errno;
    return lwip_ntohs(own.sin_port);
}

int lastbyte_lwip_set_linger(int socket, int onoff, int seconds)
{
    struct linger linger = { onoff, seconds };
    return result(lwip_setsockopt(socket, SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
}

int lastbyte_lwip_linger(int socket, int *onoff, int *seconds)
{
    struct linger linger;
    socklen_t size = sizeof linger;
    int returned = lwip_getsockopt(socket, SOL_SOCKET, SO_LINGER, &linger, &size);

    *onoff = linger.l_onoff;
    *seconds = linger.l_linger;
    return result(returned);
}

int lastbyte_lwip_nonblocking(int socket, int on)
{
    return result(lwip_fcntl(socket, F_SETFL, on ? O_NONBLOCK : 0));
}

int lastbyte_lwip_send(int socket, const void *bytes, size_t count)
{
    return result((int)lwip_send(socket, bytes, count, 0));
}

int lastbyte_lwip_recv(int socket, void *bytes, size_t count, int wait_ms)
{
    struct timeval time = { wait_ms / 1000, wait_ms % 1000 * 1000 };

    lwip_setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time);
    return result((int)lwip_recv(socket, bytes, count, 0));
}

// 1 where there is room to send, 0 where there is none within the time.
int lastbyte_lwip_writable(int socket, int wait_ms)
{
    struct pollfd poll = { socket, POLLOUT, 0 };
    return result(lwip_poll(&poll, 1, wait_ms));
}

int lastbyte_lwip_shutdown_sending(int socket)
{
    return result(lwip_shutdown(socket, SHUT_WR));
}

int lastbyte_lwip_close(int socket)
{
    return result(lwip_close(socket));
}

void lastbyte_lwip_lose(unsigned port)
{
    atomic_store(&lost_port, port);
}

// The state of the connection between these ports, in lwIP's numbers; -1 where there is none.
int lastbyte_lwip_state(unsigned local, unsigned remote)
{
    struct tcp_pcb *lists[2];
    int state = -1;

    LOCK_TCPIP_CORE();
    lists[0] = tcp_active_pcbs;
    lists[1] = tcp_tw_pcbs;
    for (int i = 0; i < 2; i++)
        for (struct tcp_pcb *pcb = lists[i]; pcb; pcb = pcb->next)
            if (pcb->local_port == local && pcb->remote_port == remote)
                state = pcb->state;
    UNLOCK_TCPIP_CORE();
    return state;
}
