//! The five tracepoints that tell how a connection ended, decoded by the layouts
//! of their `format` files.

use std::net::{IpAddr, Ipv6Addr};

use lastbyte_tcp::bytes;

use super::tracefs::{Field, Format};
use crate::reason::Reason;
use crate::tuple::{Endpoint, State, Tuple};

/// The tracepoints, as folder and name under `events/` of tracefs.
pub(crate) const TRACEPOINTS: [&str; 5] = [
    "sock/inet_sock_set_state",
    "tcp/tcp_send_reset",
    "tcp/tcp_receive_reset",
    "tcp/tcp_destroy_sock",
    "sock/inet_sk_error_report",
];

/// One tracepoint's record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trace {
    /// What fired.
    pub event: Event,
    /// Whether a system call of the running process did it, rather than a
    /// softirq that borrowed the process.
    pub in_process: bool,
    /// The running thread by its number in the first pid namespace, which is there
    /// whatever namespace the reader is in; 0 is an idle CPU.
    pub thread: u32,
}

/// What fired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// `sock:inet_sock_set_state`. Never shows TIME_WAIT.
    SetState {
        /// The socket's address in the kernel: its name until it is destroyed.
        sk: u64,
        /// The ends.
        tuple: Tuple,
        /// The state it leaves.
        old: State,
        /// The state it enters.
        new: State,
    },
    /// `sock:inet_sock_set_state` of an MPTCP connection, which has the ends of its
    /// first subflow. The subflow is a TCP socket with steps of its own.
    Mptcp {
        /// The ends.
        tuple: Tuple,
    },
    /// `tcp:tcp_send_reset`: this host sends an RST.
    SendReset {
        /// The socket, or the TIME_WAIT socket, or 0 for none.
        sk: u64,
        /// The ends, ours as local.
        tuple: Tuple,
        /// Why.
        reason: Option<Reason>,
        /// Whether a segment provoked it; otherwise it was our own decision.
        answers: bool,
    },
    /// `tcp:tcp_receive_reset`: the connection is reset, by the peer's RST or,
    /// when a [`SendReset`](Self::SendReset) follows, by a segment it could not
    /// take.
    ReceiveReset {
        /// The socket.
        sk: u64,
        /// Its cookie.
        cookie: u64,
    },
    /// `tcp:tcp_destroy_sock`: joins the socket's address to its cookie.
    Destroy {
        /// The socket.
        sk: u64,
        /// Its cookie.
        cookie: u64,
    },
    /// `sock:inet_sk_error_report`: an errno for the application.
    Error {
        /// The ends.
        tuple: Tuple,
        /// The errno, positive.
        errno: i32,
    },
}

/// How to read them on this kernel.
#[derive(Clone, Debug)]
pub(crate) struct Layouts {
    set_state: SetState,
    send_reset: SendReset,
    receive_reset: Joined,
    destroy: Joined,
    error: ErrorReport,
}

impl Layouts {
    /// From the `format` files, in the order of [`TRACEPOINTS`].
    ///
    /// # Errors
    ///
    /// The tracepoint and the field that this kernel does not have.
    pub(crate) fn new(formats: &[Format; 5]) -> Result<Self, MissingField> {
        let [set_state, send_reset, receive_reset, destroy, error] = formats;
        Ok(Self {
            set_state: SetState::new(&Fields(set_state, TRACEPOINTS[0]))?,
            send_reset: SendReset::new(&Fields(send_reset, TRACEPOINTS[1]))?,
            receive_reset: Joined::new(&Fields(receive_reset, TRACEPOINTS[2]))?,
            destroy: Joined::new(&Fields(destroy, TRACEPOINTS[3]))?,
            error: ErrorReport::new(&Fields(error, TRACEPOINTS[4]))?,
        })
    }

    /// Reads one raw record. `None` when it is cut off, or none of ours.
    #[must_use]
    pub(crate) fn decode(&self, raw: &[u8]) -> Option<Trace> {
        // The common part is the same for every event since Linux 2.6.31.
        const HARDIRQ_OR_SOFTIRQ: u8 = 0x08 | 0x10;
        let id = u64::from(bytes::u16(raw, 0)?);
        let in_process = bytes::u8(raw, 2)? & HARDIRQ_OR_SOFTIRQ == 0;
        let event = if id == self.set_state.id {
            self.set_state.decode(raw)?
        } else if id == self.destroy.id {
            let (sk, cookie) = self.destroy.decode(raw)?;
            Event::Destroy { sk, cookie }
        } else if id == self.send_reset.id {
            self.send_reset.decode(raw)?
        } else if id == self.receive_reset.id {
            let (sk, cookie) = self.receive_reset.decode(raw)?;
            Event::ReceiveReset { sk, cookie }
        } else if id == self.error.id {
            self.error.decode(raw)?
        } else {
            return None;
        };
        Some(Trace {
            event,
            in_process,
            thread: thread(raw)?,
        })
    }
}

/// `common_pid`, which is the same for every event too.
#[must_use]
pub(crate) fn thread(raw: &[u8]) -> Option<u32> {
    bytes::u32(raw, 4)
}

/// A field that a tracepoint of this kernel lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MissingField {
    /// The tracepoint.
    pub tracepoint: &'static str,
    /// The field.
    pub field: &'static str,
}

impl std::fmt::Display for MissingField {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "this kernel's tracepoint {} has no field {}",
            self.tracepoint, self.field
        )
    }
}

impl std::error::Error for MissingField {}

/// The fields of a tracepoint and its name.
struct Fields<'a>(&'a Format, &'static str);

impl Fields<'_> {
    fn find(&self, name: &'static str) -> Result<Field, MissingField> {
        let Self(format, tracepoint) = *self;
        format.fields.get(name).copied().ok_or(MissingField {
            tracepoint,
            field: name,
        })
    }
}

#[derive(Clone, Copy, Debug)]
struct Ends {
    sport: Field,
    dport: Field,
    saddr: Field,
    daddr: Field,
}

impl Ends {
    fn new(fields: &Fields<'_>) -> Result<Self, MissingField> {
        Ok(Self {
            sport: fields.find("sport")?,
            dport: fields.find("dport")?,
            saddr: fields.find("saddr_v6")?,
            daddr: fields.find("daddr_v6")?,
        })
    }

    fn decode(self, raw: &[u8]) -> Option<Tuple> {
        // An IPv4 connection's v6 fields hold its addresses mapped.
        let address = |field: Field| -> Option<IpAddr> {
            Some(Ipv6Addr::from(bytes::array::<16>(raw, field.offset)?).into())
        };
        Some(Tuple {
            local: Endpoint::new(address(self.saddr)?, bytes::u16(raw, self.sport.offset)?),
            remote: Endpoint::new(address(self.daddr)?, bytes::u16(raw, self.dport.offset)?),
        })
    }
}

#[derive(Clone, Copy, Debug)]
struct SetState {
    id: u64,
    sk: Field,
    old: Field,
    new: Field,
    protocol: Field,
    ends: Ends,
}

impl SetState {
    fn new(fields: &Fields<'_>) -> Result<Self, MissingField> {
        Ok(Self {
            id: fields.0.id,
            sk: fields.find("skaddr")?,
            old: fields.find("oldstate")?,
            new: fields.find("newstate")?,
            protocol: fields.find("protocol")?,
            ends: Ends::new(fields)?,
        })
    }

    fn decode(self, raw: &[u8]) -> Option<Event> {
        if bytes::u16(raw, self.protocol.offset)? == MPTCP {
            let tuple = self.ends.decode(raw)?;
            return Some(Event::Mptcp { tuple });
        }
        is_tcp(raw, self.protocol)?;
        let state = |field: Field| State::from_raw(bytes::u32(raw, field.offset)?);
        Some(Event::SetState {
            sk: bytes::u64(raw, self.sk.offset)?,
            tuple: self.ends.decode(raw)?,
            old: state(self.old)?,
            new: state(self.new)?,
        })
    }
}

#[derive(Clone, Debug)]
struct SendReset {
    id: u64,
    skb: Field,
    sk: Field,
    reason: Option<Field>,
    saddr: Field,
    daddr: Field,
    names: std::collections::HashMap<u64, Reason>,
}

impl SendReset {
    fn new(fields: &Fields<'_>) -> Result<Self, MissingField> {
        let names = fields.0.symbols.get("reason").into_iter().flatten();
        Ok(Self {
            id: fields.0.id,
            skb: fields.find("skbaddr")?,
            sk: fields.find("skaddr")?,
            // Reasons came with Linux 6.10.
            reason: fields.find("reason").ok(),
            saddr: fields.find("saddr")?,
            daddr: fields.find("daddr")?,
            names: names
                .map(|(number, name)| (*number, Reason::from_kernel(name)))
                .collect(),
        })
    }

    fn decode(&self, raw: &[u8]) -> Option<Event> {
        let reason = self
            .reason
            .and_then(|field| bytes::u32(raw, field.offset))
            .and_then(|number| self.names.get(&u64::from(number)).copied());
        Some(Event::SendReset {
            sk: bytes::u64(raw, self.sk.offset)?,
            tuple: Tuple {
                local: sockaddr(raw, self.saddr)?,
                remote: sockaddr(raw, self.daddr)?,
            },
            reason,
            answers: bytes::u64(raw, self.skb.offset)? != 0,
        })
    }
}

/// A `sockaddr_in` or `sockaddr_in6`.
fn sockaddr(raw: &[u8], field: Field) -> Option<Endpoint> {
    let at = field.offset;
    let port = bytes::be16(raw, at.checked_add(2)?)?;
    let ip: IpAddr = match i32::from(bytes::u16(raw, at)?) {
        libc::AF_INET => bytes::array::<4>(raw, at.checked_add(4)?)?.into(),
        libc::AF_INET6 => Ipv6Addr::from(bytes::array::<16>(raw, at.checked_add(8)?)?).into(),
        _ => return Some(Endpoint::UNKNOWN),
    };
    Some(Endpoint::new(ip, port))
}

#[derive(Clone, Copy, Debug)]
struct Joined {
    id: u64,
    sk: Field,
    cookie: Field,
}

impl Joined {
    fn new(fields: &Fields<'_>) -> Result<Self, MissingField> {
        Ok(Self {
            id: fields.0.id,
            sk: fields.find("skaddr")?,
            cookie: fields.find("sock_cookie")?,
        })
    }

    fn decode(self, raw: &[u8]) -> Option<(u64, u64)> {
        Some((
            bytes::u64(raw, self.sk.offset)?,
            bytes::u64(raw, self.cookie.offset)?,
        ))
    }
}

#[derive(Clone, Copy, Debug)]
struct ErrorReport {
    id: u64,
    errno: Field,
    protocol: Field,
    ends: Ends,
}

impl ErrorReport {
    fn new(fields: &Fields<'_>) -> Result<Self, MissingField> {
        Ok(Self {
            id: fields.0.id,
            errno: fields.find("error")?,
            protocol: fields.find("protocol")?,
            ends: Ends::new(fields)?,
        })
    }

    fn decode(self, raw: &[u8]) -> Option<Event> {
        is_tcp(raw, self.protocol)?;
        Some(Event::Error {
            tuple: self.ends.decode(raw)?,
            errno: bytes::i32(raw, self.errno.offset)?,
        })
    }
}

/// `IPPROTO_MPTCP`.
const MPTCP: u16 = 262;

fn is_tcp(raw: &[u8], protocol: Field) -> Option<()> {
    (bytes::u16(raw, protocol.offset)? == 6).then_some(())
}
