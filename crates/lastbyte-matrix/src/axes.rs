//! The axes, and what a cell is.

mod cell;

use std::str::FromStr;

pub use cell::Cell;

/// An axis: its values, and the names they have in a cell's name.
macro_rules! axis {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $value:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$vdoc])* $value,)+ }

        impl $name {
            /// Every value.
            pub const ALL: &'static [Self] = &[$(Self::$value,)+];

            /// Its name in a cell's name.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$value => $text,)+ }
            }
        }

        impl FromStr for $name {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($text => Ok(Self::$value),)+
                    _ => Err(format!("{text:?} is no value of the axis {}", stringify!($name))),
                }
            }
        }
    };
}

axis! {
    /// How the socket came.
    Came {
        /// accept(), IPv4.
        Accept4 = "accept4",
        /// connect(), IPv4.
        Connect4 = "connect4",
        /// accept(), IPv6.
        Accept6 = "accept6",
        /// connect(), IPv6.
        Connect6 = "connect6",
        /// accept() of an IPv4 peer by an IPv6 listener.
        AcceptMapped = "accept_mapped",
        /// connect() of an IPv6 socket to an IPv4 address.
        ConnectMapped = "connect_mapped",
        /// accept(), by one of two listeners that share the port (SO_REUSEPORT).
        AcceptReuse = "accept_reuseport",
        /// Accepted with data in the SYN, the handshake over.
        FastAccept = "tfo_accept",
        /// Accepted with data in the SYN; the handshake ends after the close.
        FastHeld = "tfo_held",
        /// Connected with data in the SYN.
        FastConnect = "tfo_connect",
        /// accept(), MPTCP on both sides.
        MultiAccept = "mptcp_accept",
        /// connect(), MPTCP on both sides.
        MultiConnect = "mptcp_connect",
    }
}

axis! {
    /// What the program did before it let go.
    Before {
        /// Nothing of note.
        Nothing = "nothing",
        /// shutdown(SHUT_RD).
        ShutRead = "shut_rd",
        /// shutdown(SHUT_WR).
        ShutWrite = "shut_wr",
        /// shutdown(SHUT_RDWR).
        ShutBoth = "shut_rdwr",
        /// A locked filter of its own, and then shutdown(SHUT_RDWR).
        ShutLocked = "locked_shut_rdwr",
        /// TCP_CORK, with a partial segment held back.
        Cork = "cork",
        /// It was sent an urgent byte, which it did not read.
        UrgentIn = "urgent_in",
        /// It sent its last byte as urgent.
        UrgentOut = "urgent_out",
        /// It sent with MSG_ZEROCOPY.
        ZeroCopy = "zerocopy",
        /// SO_SNDTIMEO of 100 ms.
        SendTimeout = "sndtimeo",
        /// A BPF filter of its own, which lets everything pass.
        Filter = "filter",
        /// The same, locked by SO_LOCK_FILTER.
        LockedFilter = "locked_filter",
        /// It moved the socket to a descriptor number above 1023.
        HighNumber = "fd_1024",
    }
}

axis! {
    /// The linger option, and whether the socket blocks.
    Mode {
        /// Off.
        Off = "off",
        /// On with 0.
        Abort = "abort",
        /// On with N seconds, a blocking socket.
        Wait = "wait",
        /// On with N seconds, a non-blocking socket.
        WaitNonblocking = "wait_nb",
        /// The same, made non-blocking by another process that holds the description.
        WaitMadeNonblocking = "wait_nb_other",
    }
}

axis! {
    /// What waits when the program lets go.
    Waits {
        /// Nothing: all that was sent is acknowledged, where that can be.
        Nothing = "idle",
        /// Unread input, and a send queue.
        Unread = "unread",
        /// A send queue; the peer sends after the close.
        Late = "late",
        /// A full send queue; the peer reads later.
        Full = "full",
        /// A send queue; the peer never reads.
        Never = "never",
        /// A send queue; the peer resets.
        Resets = "resets",
    }
}

axis! {
    /// How the program lets go.
    Way {
        /// close(2).
        Close = "close",
        /// syscall(SYS_close).
        RawClose = "syscall_close",
        /// close_range(2).
        CloseRange = "close_range",
        /// syscall(SYS_close_range).
        RawCloseRange = "syscall_close_range",
        /// closefrom(3), from the socket's number on.
        CloseFrom = "closefrom",
        /// dup2(2) over it.
        Dup2 = "dup2",
        /// syscall(SYS_dup2) over it; dup3 where there is no dup2.
        RawDup2 = "syscall_dup2",
        /// dup3(2) over it.
        Dup3 = "dup3",
        /// syscall(SYS_dup3) over it.
        RawDup3 = "syscall_dup3",
        /// fclose(3).
        Fclose = "fclose",
        /// exit(3).
        Exit = "exit",
        /// quick_exit(3).
        QuickExit = "quick_exit",
        /// _exit(2).
        UnderscoreExit = "_exit",
        /// syscall(SYS_exit_group).
        RawExitGroup = "syscall_exit_group",
        /// main returns.
        Return = "return",
        /// exec with the socket close-on-exec.
        Exec = "exec_cloexec",
        /// A forked child holds it alone and ends by _exit.
        ChildExit = "child_exit",
        /// A child by syscall(SYS_fork) or clone holds it alone and ends by _exit.
        RawChildExit = "rawfork_exit",
        /// abort(3).
        Abort = "sigabrt",
        /// SIGTERM's default action.
        Terminate = "sigterm",
        /// SIGKILL.
        Kill = "sigkill",
        /// The library call; the way of its forms.
        Call = "call",
    }
}

axis! {
    /// Who else holds the socket, and who lets go.
    Shared {
        /// One descriptor, one thread.
        Single = "single",
        /// A duplicate, which is closed first (or ends with the process).
        Dup = "dup",
        /// A forked child closes its copy first.
        Fork = "fork",
        /// The parent closes its copy first, the child lets go.
        ForkChild = "fork_child",
        /// Another thread lets go.
        Thread = "thread",
        /// The socket survived an exec, and the new image lets go.
        Execed = "exec",
    }
}

axis! {
    /// Who closes.
    Who {
        /// The kernel: the control.
        Kernel = "kernel",
        /// `lastbyte run`.
        Run = "run",
        /// `lastbyte run --log`.
        RunLog = "run_log",
        /// `lastbyte run --summary`.
        RunSummary = "run_summary",
        /// `lastbyte::close`.
        Blocking = "blocking",
        /// `lastbyte::Closing`.
        Closing = "closing",
        /// `lastbyte::Closer`.
        Closer = "closer",
        /// `lastbyte::Closer` with `Policy::with_confirm`.
        Confirm = "confirm",
        /// `lastbyte::Closer` with `Policy::with_receipt`.
        Receipt = "receipt",
        /// A `Closing` let go, left to the background.
        Background = "background",
        /// `lastbyte::on_tokio::close`.
        Tokio = "tokio",
        /// A dropped `lastbyte::on_tokio::Stream`.
        TokioStream = "tokio_stream",
        /// `lb_close_with`.
        Capi = "capi",
        /// `lb_close_begin` and `lb_closing_finish`.
        CapiClosing = "capi_closing",
        /// `lb_closer_close`.
        CapiCloser = "capi_closer",
    }
}

/// Who closes, for one of the two halves of the matrix: programs nobody changes.
pub const PROGRAMS: &[Who] = &[Who::Run, Who::RunLog, Who::RunSummary];
/// The other half: the library's forms.
pub const FORMS: &[Who] = &[
    Who::Blocking,
    Who::Closing,
    Who::Closer,
    Who::Confirm,
    Who::Receipt,
    Who::Background,
    Who::Tokio,
    Who::TokioStream,
    Who::Capi,
    Who::CapiClosing,
    Who::CapiCloser,
];

impl Came {
    /// IPv6 on the wire.
    #[must_use]
    pub const fn v6(self) -> bool {
        matches!(self, Came::Accept6 | Came::Connect6)
    }

    /// An IPv6 socket, IPv4 on the wire.
    #[must_use]
    pub const fn mapped(self) -> bool {
        matches!(self, Came::AcceptMapped | Came::ConnectMapped)
    }

    /// The program accepts.
    #[must_use]
    pub const fn accepts(self) -> bool {
        matches!(
            self,
            Came::Accept4
                | Came::Accept6
                | Came::AcceptMapped
                | Came::AcceptReuse
                | Came::FastAccept
                | Came::FastHeld
                | Came::MultiAccept
        )
    }

    /// MPTCP.
    #[must_use]
    pub const fn multi(self) -> bool {
        matches!(self, Came::MultiAccept | Came::MultiConnect)
    }
}

impl Before {
    /// The program shut down its sending side.
    #[must_use]
    pub const fn shuts_writing(self) -> bool {
        matches!(
            self,
            Before::ShutWrite | Before::ShutBoth | Before::ShutLocked
        )
    }

    /// The program shut down its reading side.
    #[must_use]
    pub const fn shuts_reading(self) -> bool {
        matches!(
            self,
            Before::ShutRead | Before::ShutBoth | Before::ShutLocked
        )
    }
}

impl Way {
    /// The process, or the image of it that held the socket, ends.
    #[must_use]
    pub const fn ends_process(self) -> bool {
        matches!(
            self,
            Way::Exit
                | Way::QuickExit
                | Way::UnderscoreExit
                | Way::RawExitGroup
                | Way::Return
                | Way::Exec
                | Way::Abort
                | Way::Terminate
                | Way::Kill
        )
    }

    /// A child's end lets go.
    #[must_use]
    pub const fn is_child(self) -> bool {
        matches!(self, Way::ChildExit | Way::RawChildExit)
    }

    /// A signal ends it.
    #[must_use]
    pub const fn signal(self) -> Option<i32> {
        match self {
            Way::Abort => Some(libc::SIGABRT),
            Way::Terminate => Some(libc::SIGTERM),
            Way::Kill => Some(libc::SIGKILL),
            _ => None,
        }
    }
}

impl Who {
    /// One of `lastbyte run`'s.
    #[must_use]
    pub const fn runs(self) -> bool {
        matches!(self, Who::Run | Who::RunLog | Who::RunSummary)
    }

    /// One of the library's forms.
    #[must_use]
    pub const fn is_form(self) -> bool {
        !self.runs() && !matches!(self, Who::Kernel)
    }
}

impl Mode {
    /// The close waits, be it blocking or not.
    #[must_use]
    pub const fn waits(self) -> bool {
        !matches!(self, Mode::Off | Mode::Abort)
    }
}
