//! The live view on a terminal.

use std::collections::HashMap;
use std::io;
use std::time::{Duration, Instant};

use lastbyte_host::doctor::Direction;
use lastbyte_host::source::counters::sysctl;
use lastbyte_host::stop::Stop;
use lastbyte_host::tuple::State;
use lastbyte_host::view::{Answer, Model, Theme, draw};
use lastbyte_host::watcher::Watcher;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event};

use super::serve::Served;

/// Between two pictures at least.
const PICTURE: Duration = Duration::from_millis(200);
/// Between two looks at the table of TIME_WAIT sockets at least.
const LOOK: Duration = Duration::from_secs(1);

/// Shows it until the user or `stop` ends it; the terminal is restored whatever
/// happens.
pub(super) fn show(watcher: &mut Watcher, stop: &Stop, served: Option<&Served>) -> io::Result<()> {
    let mut terminal = ratatui::try_init()?;
    let shown = run(watcher, stop, served, &mut terminal);
    ratatui::restore();
    shown
}

fn run(
    watcher: &mut Watcher,
    stop: &Stop,
    served: Option<&Served>,
    terminal: &mut DefaultTerminal,
) -> io::Result<()> {
    let theme = match std::env::var_os("NO_COLOR") {
        Some(value) if !value.is_empty() => Theme::Plain,
        _ => Theme::Colours,
    };
    let mut model = Model::new(watcher.notes(), ports());
    let mut next_picture = Instant::now();
    let mut next_look = Instant::now();
    while !stop.now() {
        let wait = stop.wait().min(Duration::from_millis(50));
        let mut endings = Vec::new();
        watcher.step(wait, |ending| endings.push(ending))?;
        for ending in endings {
            if let Some(served) = served {
                served.ending(&ending);
            }
            let listens = watcher.joiner().listens(ending.tuple.local.port);
            model.ending(ending, listens);
        }
        let mut touched = false;
        while event::poll(Duration::ZERO)? {
            touched = true;
            if let Event::Key(key) = event::read()?
                && model.key(key) == Answer::Quit
            {
                return Ok(());
            }
        }
        let now = Instant::now();
        model.tick(now);
        if now >= next_look {
            let time_wait = time_wait(watcher)?;
            model.look(watcher.joiner(), time_wait.into_iter(), watcher.losses());
            if let Some(served) = served {
                served.update(watcher);
            }
            // A large table is looked at less often: a twentieth of the time.
            next_look = Instant::now() + LOOK.max(now.elapsed() * 20);
        }
        if touched || now >= next_picture {
            terminal.draw(|frame| draw(frame, &model, theme))?;
            next_picture = now + PICTURE;
        }
    }
    Ok(())
}

fn time_wait(watcher: &mut Watcher) -> io::Result<HashMap<Direction, u64>> {
    let mut tuples = Vec::new();
    watcher.dump(State::TimeWait.bit(), |socket| {
        if socket.state == State::TimeWait {
            tuples.push(socket.tuple);
        }
    })?;
    let mut directions = HashMap::new();
    for tuple in tuples {
        let direction = match watcher.joiner().listens(tuple.local.port) {
            true => Direction::In { on: tuple.local },
            false => Direction::Out {
                from: tuple.local.ip,
                to: tuple.remote,
            },
        };
        *directions.entry(direction).or_default() += 1;
    }
    Ok(directions)
}

fn ports() -> u64 {
    match sysctl("ip_local_port_range").as_deref() {
        Some([first, last]) => u64::try_from(last - first + 1).unwrap_or(0),
        _ => 28232,
    }
}
