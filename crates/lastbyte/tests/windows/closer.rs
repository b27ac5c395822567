use std::sync::mpsc;
use std::time::Duration;

use lastbyte::{Closer, Fate, Policy};

use super::net::{LONG, WSAECONNRESET, fill, pair, read_all, reader, reset};

const ENDINGS: usize = 500;

/// What each is to come to.
const FATES: [Fate; 3] = [Fate::Delivered, Fate::TimedOut, Fate::Reset];

#[test]
fn one_thread_ends_500_each_by_its_own_deadline() {
    let closer = Closer::new().expect("a thread");
    let (tell, told) = mpsc::channel();
    let mut readers = Vec::new();
    let mut silent = Vec::new();
    let mut resetting = Vec::new();
    for at in 0..ENDINGS {
        let (ours, peer) = pair();
        let fate = FATES[at % 3];
        let time = match fate {
            Fate::TimedOut => Duration::from_millis(100 + at as u64),
            _ => LONG,
        };
        // All but the first few have little to send, so that the test is not about copying.
        if at < 6 || fate == Fate::TimedOut {
            fill(&ours);
        }
        let tell = tell.clone();
        closer
            .close(ours, Policy::wait(time), move |result| {
                let report = match result {
                    Ok(report) => report,
                    Err(error) => *error.report().expect("it ended"),
                };
                tell.send((at, time, report)).expect("the test waits");
            })
            .expect("there is room");
        match fate {
            Fate::Delivered => readers.push(reader(peer)),
            Fate::TimedOut => silent.push(peer),
            _ => resetting.push(peer),
        }
    }
    drop(resetting.drain(..).map(reset).collect::<Vec<_>>());
    for _ in 0..ENDINGS {
        let (at, time, report) = told.recv_timeout(LONG).expect("each reports");
        match FATES[at % 3] {
            Fate::TimedOut => {
                assert_eq!(report.fate, Fate::TimedOut, "{at}");
                assert!(report.elapsed >= time, "{at}: {report}");
            }
            Fate::Delivered => assert_eq!(report.fate, Fate::Delivered, "{at}"),
            // With nothing queued the FIN is acknowledged before the reset comes.
            _ if at < 6 => assert_eq!(report.fate, Fate::Reset, "{at}"),
            _ => assert!(matches!(report.fate, Fate::Reset | Fate::Delivered), "{at}"),
        }
    }
    for peer in readers {
        assert_eq!(peer.join().expect("no panic").1, None);
    }
    for mut peer in silent {
        assert_eq!(read_all(&mut peer).1, Some(WSAECONNRESET));
    }
    let drained = closer.drain(LONG);
    assert!(drained.error.is_none());
}

#[test]
fn a_drain_cuts_short_what_is_not_over() {
    let closer = Closer::new().expect("a thread");
    let (ours, mut peer) = pair();
    fill(&ours);
    let (tell, told) = mpsc::channel();
    closer
        .close(ours, Policy::wait(LONG), move |result| {
            tell.send(result.err().and_then(|error| error.fate()))
                .expect("the test waits");
        })
        .expect("there is room");
    let drained = closer.drain(Duration::from_millis(200));
    assert!(drained.error.is_none());
    assert_eq!(
        told.recv_timeout(LONG).expect("it reports"),
        Some(Fate::TimedOut)
    );
    assert_eq!(read_all(&mut peer).1, Some(WSAECONNRESET));
}
