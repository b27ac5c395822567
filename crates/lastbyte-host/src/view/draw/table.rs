//! Rows in columns that fit the screen: what matters least gives way first.

/// A column of cells.
#[derive(Debug)]
pub(super) struct Column {
    title: &'static str,
    cells: Vec<String>,
    /// How soon it gives way: 0 never does, it is only cut in the last need.
    rank: u8,
    /// How narrow it may become before it gives way.
    least: usize,
    right: bool,
}

impl Column {
    /// A column that gives way at this rank, the highest first.
    pub(super) fn new(title: &'static str, rank: u8, cells: Vec<String>) -> Self {
        Self {
            title,
            cells,
            rank,
            least: usize::MAX,
            right: false,
        }
    }

    /// Of numbers.
    pub(super) fn right(mut self) -> Self {
        self.right = true;
        self
    }

    /// It may be cut down to this width.
    pub(super) fn least(mut self, width: usize) -> Self {
        self.least = width;
        self
    }

    fn natural(&self) -> usize {
        let widest = self.cells.iter().map(|cell| width(cell)).max();
        widest.unwrap_or(0).max(self.title.len())
    }

    fn is_empty(&self) -> bool {
        self.cells.iter().all(String::is_empty)
    }
}

/// The titles and each row, in columns that fit this many characters.
pub(super) fn fit(columns: Vec<Column>, room: usize) -> (String, Vec<String>) {
    let mut kept: Vec<(Column, usize)> = columns
        .into_iter()
        .filter(|column| !column.is_empty())
        .map(|column| {
            let width = column.natural();
            (column, width)
        })
        .collect();
    loop {
        let all: usize = kept.iter().map(|(_, width)| width + 1).sum();
        let excess = all.saturating_sub(1).saturating_sub(room);
        if excess == 0 || !give_way(&mut kept, excess) {
            break;
        }
    }
    let line = |of: &dyn Fn(&Column) -> String| {
        let cells: Vec<_> = kept
            .iter()
            .map(|(column, width)| {
                let cell = shorten(&of(column), *width);
                match column.right {
                    true => format!("{cell:>width$}"),
                    false => format!("{cell:width$}"),
                }
            })
            .collect();
        cells.join(" ").trim_end().to_owned()
    };
    let titles = line(&|column| column.title.to_owned());
    let rows = kept.first().map_or(0, |(column, _)| column.cells.len());
    let row = |at: usize| line(&|column| column.cells[at].clone());
    (titles, (0..rows).map(row).collect())
}

/// Makes the column of the highest rank that still can narrower, or drops it.
fn give_way(kept: &mut Vec<(Column, usize)>, excess: usize) -> bool {
    let can = |(column, width): &&(Column, usize)| column.rank > 0 || *width > column.least;
    let Some(rank) = kept.iter().filter(can).map(|(column, _)| column.rank).max() else {
        return false;
    };
    // Of those alike the widest.
    let at = (0..kept.len())
        .filter(|at| kept[*at].0.rank == rank && can(&&kept[*at]))
        .max_by_key(|at| kept[*at].1);
    let Some(at) = at else { return false };
    let (column, width) = &mut kept[at];
    if *width > column.least {
        *width -= match rank {
            // Several of them: one character each in turn.
            0 => 1,
            _ => excess.min(*width - column.least),
        };
    } else {
        kept.remove(at);
    }
    true
}

/// Cuts a cell, and shows that: in the middle, as both ends of an address matter.
pub(super) fn shorten(text: &str, room: usize) -> String {
    let long = width(text);
    if long <= room {
        return text.to_owned();
    }
    let head = room.saturating_sub(1) / 3;
    let tail = room.saturating_sub(1) - head;
    let first = text.chars().take(head);
    let last = text.chars().skip(long - tail);
    match room {
        0 => String::new(),
        _ => first.chain(['~']).chain(last).collect(),
    }
}

fn width(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(title: &'static str, rank: u8, cells: [&str; 2]) -> Column {
        Column::new(title, rank, cells.map(str::to_owned).to_vec())
    }

    fn columns() -> Vec<Column> {
        vec![
            column("FATE", 0, ["reset", "confirmed"]),
            column("LOST", 2, ["17", ""]).right(),
            column("UNREAD", 2, ["", ""]),
            column("LOCAL", 0, ["127.0.0.1:80", "[2001:db8::1]:80"]).least(8),
            column("WHY", 7, ["closed with unread input", ""]).least(10),
        ]
    }

    fn shown(room: usize) -> Vec<String> {
        let (titles, rows) = fit(columns(), room);
        [vec![titles], rows].concat()
    }

    #[test]
    fn all_is_shown_where_there_is_room_and_nothing_where_there_is_nothing() {
        assert_eq!(
            shown(80),
            [
                "FATE      LOST LOCAL            WHY",
                "reset       17 127.0.0.1:80     closed with unread input",
                "confirmed      [2001:db8::1]:80",
            ]
        );
    }

    #[test]
    fn what_matters_least_is_cut_and_then_dropped() {
        assert_eq!(shown(44)[1], "reset       17 127.0.0.1:80     clo~ad input");
        assert_eq!(shown(40)[1], "reset       17 127.0.0.1:80");
        assert_eq!(shown(26)[1], "reset     127.0.0.1:80");
        assert_eq!(shown(24)[2], "confirmed [200~b8::1]:80");
        // Nothing more can give way: the screen cuts it.
        assert_eq!(shown(5)[2], "confirmed [2~1]:80");
    }

    #[test]
    fn no_rows_are_no_columns() {
        assert_eq!(fit(Vec::new(), 80), (String::new(), Vec::new()));
    }
}
