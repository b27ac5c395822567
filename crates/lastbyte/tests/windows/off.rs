use std::io::Write;

use lastbyte::{Fate, Linger, background, close};

use super::net::{LONG, fill, pair, read_all};

#[test]
fn off_with_unread_input_delivers_everything() {
    let (ours, mut peer) = pair();
    let written = fill(&ours);
    peer.write_all(&[b'u'; 1000]).expect("there is room");
    let report = close(ours, Linger::Off).expect("it is left to the background");
    assert_eq!((report.fate, report.lost), (Fate::Detached, None));
    assert_eq!(read_all(&mut peer), (written, None));
    drop(peer);
    assert!(background().wait_delivered(LONG));
}

#[test]
fn off_with_late_input_delivers_everything() {
    let (ours, mut peer) = pair();
    let written = fill(&ours);
    close(ours, Linger::Off).expect("it is left to the background");
    peer.write_all(&[b'l'; 1000]).expect("there is room");
    assert_eq!(read_all(&mut peer), (written, None));
    peer.write_all(&[b'l'; 1000]).expect("nothing was reset");
    drop(peer);
    assert!(background().wait_delivered(LONG));
}
