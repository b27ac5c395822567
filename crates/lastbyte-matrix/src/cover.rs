//! Few cells that together show every pair (or triple) of values.

use std::collections::HashSet;

use crate::axes::{Before, Came, Cell, FORMS, Mode, PROGRAMS, Shared, Waits, Way, Who};

/// Completions tried for each row; the best one is taken.
const TRIES: usize = 40;
const AXES: usize = 7;

/// Each axis as a number of values, and a cell from one index for each.
struct Space {
    sizes: [usize; AXES],
    who: &'static [Who],
    ways: Vec<Way>,
}

impl Space {
    fn new(who: &'static [Who]) -> Self {
        let form = who.iter().any(|who| who.is_form());
        let ways: Vec<Way> = if form {
            vec![Way::Call]
        } else {
            let ways = Way::ALL.iter().copied();
            ways.filter(|way| *way != Way::Call).collect()
        };
        Self {
            sizes: [
                Came::ALL.len(),
                Before::ALL.len(),
                Mode::ALL.len(),
                Waits::ALL.len(),
                ways.len(),
                Shared::ALL.len(),
                who.len(),
            ],
            who,
            ways,
        }
    }

    fn cell(&self, at: &[usize; AXES]) -> Cell {
        Cell {
            came: Came::ALL[at[0]],
            before: Before::ALL[at[1]],
            mode: Mode::ALL[at[2]],
            waits: Waits::ALL[at[3]],
            way: self.ways[at[4]],
            shared: Shared::ALL[at[5]],
            who: self.who[at[6]],
        }
    }
}

/// The cells of a level, the same ones every time, and what of it no sensible cell
/// can show.
#[derive(Clone, Debug, Default)]
pub struct Cover {
    /// The cells.
    pub cells: Vec<Cell>,
    /// Pairs (triples) of values that exclude each other.
    pub infeasible: usize,
}

/// Cells in which each `strength` values of different axes meet at least once.
#[must_use]
pub fn cover(strength: usize) -> Cover {
    let mut all = Cover::default();
    for who in [PROGRAMS, FORMS] {
        let part = cover_space(&Space::new(who), strength);
        all.cells.extend(part.cells);
        all.infeasible += part.infeasible;
    }
    all
}

/// Every combination of socket, past, option and what waits, with every closer; the
/// ways and the sharing take turns.
#[must_use]
pub fn situations() -> Vec<Cell> {
    let mut cells = Vec::new();
    for who in [PROGRAMS, FORMS] {
        let space = Space::new(who);
        let turns = space.ways.len() * Shared::ALL.len();
        let mut turn = 0;
        let [came, before, mode, waits, _, _, who] = space.sizes;
        for number in 0..came * before * mode * waits * who {
            let mut rest = number;
            let mut digit = |size| {
                let digit = rest % size;
                rest /= size;
                digit
            };
            let mut at = [0; AXES];
            at[6] = digit(who);
            at[3] = digit(waits);
            at[2] = digit(mode);
            at[1] = digit(before);
            at[0] = digit(came);
            // The next way and sharing that make sense here.
            for _ in 0..turns {
                turn = (turn + 1) % turns;
                at[4] = turn % space.ways.len();
                at[5] = turn / space.ways.len();
                let cell = space.cell(&at);
                if cell.senseless().is_none() {
                    cells.push(cell);
                    break;
                }
            }
        }
    }
    cells
}

type Tuple = Vec<(usize, usize)>;

fn cover_space(space: &Space, strength: usize) -> Cover {
    let mut open: HashSet<Tuple> = tuples(&space.sizes, strength).into_iter().collect();
    let mut order: Vec<Tuple> = open.iter().cloned().collect();
    order.sort();
    let axes = axis_sets(strength);
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut found = Cover::default();
    for tuple in order {
        if !open.contains(&tuple) {
            continue;
        }
        let gain = |at: &[usize; AXES]| {
            let news = axes.iter().filter(|set| open.contains(&project(at, set)));
            news.count()
        };
        let tries = (0..TRIES * 10).map(|_| complete(space, &tuple, &mut random));
        let sensible = tries.filter(|at| space.cell(at).senseless().is_none());
        let best = sensible.take(TRIES).max_by_key(gain);
        match best {
            Some(at) => {
                for set in &axes {
                    open.remove(&project(&at, set));
                }
                found.cells.push(space.cell(&at));
            }
            None => {
                open.remove(&tuple);
                found.infeasible += 1;
            }
        }
    }
    found
}

fn complete(space: &Space, tuple: &Tuple, random: &mut Random) -> [usize; AXES] {
    let mut at = [0; AXES];
    for (axis, place) in at.iter_mut().enumerate() {
        *place = random.below(space.sizes[axis]);
    }
    for &(axis, value) in tuple {
        at[axis] = value;
    }
    at
}

fn project(at: &[usize; AXES], set: &[usize]) -> Tuple {
    set.iter().map(|&axis| (axis, at[axis])).collect()
}

/// The sets of `strength` axes.
fn axis_sets(strength: usize) -> Vec<Vec<usize>> {
    let mut sets: Vec<Vec<usize>> = vec![Vec::new()];
    for _ in 0..strength {
        let longer = |set: &Vec<usize>| {
            let set = set.clone();
            let from = set.last().map_or(0, |last| last + 1);
            (from..AXES).map(move |axis| {
                let mut longer = set.clone();
                longer.push(axis);
                longer
            })
        };
        sets = sets.iter().flat_map(longer).collect();
    }
    sets
}

fn tuples(sizes: &[usize; AXES], strength: usize) -> Vec<Tuple> {
    let mut all = Vec::new();
    for set in axis_sets(strength) {
        let mut found: Vec<Tuple> = vec![Vec::new()];
        for axis in set {
            let each = |tuple: &Tuple| {
                let tuple = tuple.clone();
                (0..sizes[axis]).map(move |value| {
                    let mut longer = tuple.clone();
                    longer.push((axis, value));
                    longer
                })
            };
            found = found.iter().flat_map(each).collect();
        }
        all.extend(found);
    }
    all
}

/// The same numbers every time (xorshift), so that cells keep their names.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as usize % bound
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_that_makes_sense_occurs() {
        let cells = cover(2).cells;
        for came in Came::ALL {
            for way in Way::ALL.iter().filter(|way| **way != Way::Call) {
                assert!(
                    cells
                        .iter()
                        .any(|cell| cell.came == *came && cell.way == *way),
                    "{came:?} {way:?}"
                );
            }
            for who in FORMS.iter().chain(PROGRAMS) {
                assert!(
                    cells
                        .iter()
                        .any(|cell| cell.came == *came && cell.who == *who),
                    "{came:?} {who:?}"
                );
            }
        }
        assert!(cells.iter().all(|cell| cell.senseless().is_none()));
    }

    #[test]
    fn the_cells_are_the_same_every_time() {
        assert_eq!(cover(2).cells, cover(2).cells);
    }

    #[test]
    fn a_cell_is_its_name() {
        for cell in cover(2).cells {
            assert_eq!(cell.to_string().parse(), Ok(cell));
        }
        assert!("accept4.nothing".parse::<Cell>().is_err());
    }
}
