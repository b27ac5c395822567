//! The live view on a terminal: one thread takes keys and draws, another follows
//! the watch, so that no backlog keeps a key waiting, and a third reads the keys.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use lastbyte_host::view::{Answer, Digest, Filter, Model, Tables, Theme, draw};
use lastbyte_host::watch::Stop;
use lastbyte_host::watch::Watcher;
use lastbyte_host::watch::raise_priority;
use nix::libc::EIO;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::Event;

use super::keys::{Came, Keys};
use super::serve::Served;

/// Between two pictures, unless a key asks for one.
const PICTURE: Duration = Duration::from_millis(200);
/// Between two looks at the table of TIME_WAIT sockets at least.
const LOOK: Duration = Duration::from_secs(1);
/// How long either thread waits before it looks whether the other has ended.
const GLANCE: Duration = Duration::from_millis(50);
/// Keys taken before they are shown.
const KEYS: usize = 256;

/// Shows it until the user or `stop` ends it; the terminal is restored whatever
/// happens.
pub(super) fn show(watcher: &mut Watcher, stop: &Stop, served: Option<&Served>) -> io::Result<()> {
    let mut model = Model::new(watcher.notes());
    let digest = Mutex::new(Digest::default());
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let keys = Keys::read()?;
        let mut terminal = ratatui::try_init()?;
        let follower = thread::Builder::new()
            .name("watch".to_owned())
            .spawn_scoped(scope, || follow(watcher, &digest, &over, served));
        raise_priority();
        let shown = match &follower {
            Ok(follower) => screen(&mut model, &digest, &mut terminal, &keys, || {
                !stop.now() && !follower.is_finished()
            }),
            Err(_) => Ok(()),
        };
        // The user has the terminal back before the watch has cleared up.
        // It may be gone, or go at any moment. A terminal that is dropped with its cursor
        // hidden complains to stderr, which is gone as well, and panics before the watch
        // has cleared up.
        let is_shown = terminal.show_cursor().is_ok();
        let _ = ratatui::try_restore();
        if !is_shown {
            std::mem::forget(terminal);
        }
        over.store(true, Ordering::Relaxed);
        let followed = follower?
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        match shown {
            // The terminal went away: that ends a view like any other end.
            Err(error) if error.raw_os_error() == Some(EIO) => followed,
            shown => shown.and(followed),
        }
    })
}

/// Takes keys and draws, and waits for nothing else.
fn screen(
    model: &mut Model,
    digest: &Mutex<Digest>,
    terminal: &mut DefaultTerminal,
    keys: &Keys,
    goes_on: impl Fn() -> bool,
) -> io::Result<()> {
    let theme = match std::env::var_os("NO_COLOR") {
        Some(value) if !value.is_empty() => Theme::Plain,
        _ => Theme::Colours,
    };
    let mut next_picture = Instant::now();
    while goes_on() {
        let wait = next_picture.saturating_duration_since(Instant::now());
        let mut touched = false;
        let mut wait = wait.min(GLANCE);
        for _ in 0..KEYS {
            match keys.next(wait)? {
                Came::Nothing => break,
                Came::End => return Ok(()),
                Came::Event(Event::Key(key)) if model.key(key) == Answer::Quit => return Ok(()),
                Came::Event(_) => touched = true,
            }
            wait = Duration::ZERO;
        }
        let now = Instant::now();
        if touched || now >= next_picture {
            let news = lock(digest).take(model.filter());
            model.digest(news);
            model.tick(now);
            terminal.draw(|frame| draw(frame, model, theme))?;
            next_picture = now + PICTURE;
        }
    }
    Ok(())
}

/// Follows the watch and digests what it tells for the screen.
fn follow(
    watcher: &mut Watcher,
    shared: &Mutex<Digest>,
    over: &AtomicBool,
    served: Option<&Served>,
) -> io::Result<()> {
    let mut next_look = Instant::now();
    let mut looked_for = Filter::default();
    let mut endings = Vec::new();
    while !over.load(Ordering::Relaxed) {
        watcher.step(GLANCE, |ending| endings.push(ending))?;
        if let Some(served) = served {
            served.endings(&endings);
        }
        let now = Instant::now();
        let mut tables = None;
        let filter = lock(shared).filter().clone();
        // Whoever asks for something else is shown it at once.
        if now >= next_look || filter != looked_for {
            let time_wait = watcher.time_wait()?;
            tables = Some(Tables::new(watcher, &time_wait, &filter));
            looked_for = filter;
            if let Some(served) = served {
                served.update(watcher)?;
            }
            // A large table is looked at less often: a twentieth of the time.
            next_look = Instant::now() + LOOK.max(now.elapsed() * 20);
        }
        // The lock is held for a moment only: whoever holds it may be made to wait
        // for a CPU, and the screen with them.
        let mut digest = lock(shared).take_out();
        for ending in endings.drain(..) {
            let listens = watcher.listens(ending.tuple.local.port);
            digest.ending(ending, listens);
        }
        if let Some(tables) = tables {
            digest.tables(tables);
        }
        let nothing = lock(shared).put_back(digest);
        drop(nothing);
    }
    Ok(())
}

fn lock(digest: &Mutex<Digest>) -> MutexGuard<'_, Digest> {
    // A digest is whole at any moment; a panic ends the other thread too.
    digest.lock().unwrap_or_else(PoisonError::into_inner)
}
