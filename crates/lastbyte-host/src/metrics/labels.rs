//! Labels, each one of few words that are known beforehand: none comes from a peer or
//! a program.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};

use lastbyte::{Fate, Side};

/// A label's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Word(pub(super) &'static str);

impl EncodeLabelValue for Word {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        EncodeLabelValue::encode(&self.0, encoder)
    }
}

/// What is not known is said, not left out.
pub(super) const UNKNOWN: Word = Word("unknown");
pub(super) const KERNEL: Word = Word("kernel");
pub(super) const LASTBYTE: Word = Word("lastbyte");
pub(super) const FOLLOWED: Word = Word("followed");
pub(super) const WAITING: Word = Word("waiting");

/// The fates that a watch can tell.
pub(super) const FATES: [Option<Fate>; 6] = [
    Some(Fate::Delivered),
    Some(Fate::Confirmed),
    Some(Fate::Reset),
    Some(Fate::Aborted),
    Some(Fate::Failed),
    None,
];
pub(super) const SIDES: [Option<Side>; 3] = [Some(Side::Local), Some(Side::Peer), None];

pub(super) fn fate(fate: Option<Fate>) -> Word {
    fate.map_or(UNKNOWN, |fate| Word(fate.as_str()))
}

pub(super) fn side(side: Option<Side>) -> Word {
    side.map_or(UNKNOWN, |side| Word(side.as_str()))
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Ended {
    pub(super) fate: Word,
    pub(super) closed_first: Word,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ByFate {
    pub(super) fate: Word,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct KnownBy {
    pub(super) evidence: Word,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Count {
    pub(super) count: Word,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Reset {
    pub(super) by: Word,
    pub(super) reason: Word,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct DroppedBy {
    pub(super) by: Word,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Limit {
    pub(super) limit: Word,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct InState {
    pub(super) state: Word,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct FromSource {
    pub(super) source: Word,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Build {
    pub(super) version: Word,
}
