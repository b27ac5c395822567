//! Observations on a system that counts neither what was acknowledged nor what was transmitted.

use crate::ending::{Detail, Input, NoCount, Observation, PeerFin, Pending, TcpState};

/// The observation of a connection that is gone. Without an error, both FINs have passed.
pub(super) fn ended(error: Pending, input: Option<Input>) -> Observation {
    let (queued, peer_fin) = match error {
        Pending::None => (Ok(0), PeerFin::Came),
        Pending::Error(_) | Pending::Unknown => (Err(NoCount::Uncounted), PeerFin::Unknown),
    };
    Observation {
        queued,
        input,
        detail: Some(Detail {
            error,
            peer_fin,
            read_shut: None,
            ..detail(TcpState::Closed)
        }),
    }
}

/// The observation of a connection that stands, with so many bytes unacknowledged.
pub(super) fn standing(
    state: TcpState,
    queued: Result<u64, NoCount>,
    input: Option<Input>,
) -> Observation {
    Observation {
        queued: match state {
            // Our FIN is acknowledged, and so is everything before it.
            TcpState::FinWait2 | TcpState::TimeWait => Ok(0),
            _ => queued,
        },
        input,
        detail: Some(detail(state)),
    }
}

/// What is not counted is not known. Where the program had shut its reading, the next look at
/// the input shows it.
fn detail(state: TcpState) -> Detail {
    Detail {
        unsent: None,
        acked: None,
        transmitted: None,
        fin_acked: None,
        data_segments_in: None,
        read_shut: Some(false),
        ..Detail::of(state)
    }
}
