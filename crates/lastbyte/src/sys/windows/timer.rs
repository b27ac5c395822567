//! An event object that is set at a time, and a socket that becomes readable then
//! (CreateThreadpoolTimer).

use std::ffi::c_void;
use std::io;
use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle};
use std::ptr;
use std::time::Duration;

use windows_sys::Win32::Foundation::FILETIME;
use windows_sys::Win32::System::Threading::{
    CloseThreadpoolTimer, CreateEventW, CreateThreadpoolTimer, PTP_CALLBACK_INSTANCE, PTP_TIMER,
    ResetEvent, SetEvent, SetThreadpoolTimer, WaitForThreadpoolTimerCallbacks,
};

use super::TICK;
use super::socket::{BorrowedSocket, HasSocket};
use super::waker::Waker;

pub(crate) struct Timer {
    timer: PTP_TIMER,
    /// What the timer's callback points to; freed after the timer.
    alarm: Box<Alarm>,
}

struct Alarm {
    event: OwnedHandle,
    waker: Waker,
}

impl Alarm {
    fn ring(&self) {
        // SAFETY: the event is open.
        unsafe { SetEvent(self.event.as_raw_handle()) };
        self.waker.wake();
    }

    fn silence(&self) {
        // SAFETY: the event is open.
        unsafe { ResetEvent(self.event.as_raw_handle()) };
        self.waker.reset();
    }
}

unsafe extern "system" fn ring(_: PTP_CALLBACK_INSTANCE, alarm: *mut c_void, _: PTP_TIMER) {
    // SAFETY: the alarm that the timer was made with, which is freed after the timer.
    unsafe { &*alarm.cast::<Alarm>() }.ring();
}

impl Timer {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: no name and no security attributes: no pointers. Set and reset by hand.
        let event = unsafe { CreateEventW(ptr::null(), 1, 0, ptr::null()) };
        if event.is_null() {
            return Err(io::Error::last_os_error());
        }
        let alarm = Box::new(Alarm {
            // SAFETY: just created, and owned by nobody else.
            event: unsafe { OwnedHandle::from_raw_handle(event) },
            waker: Waker::new()?,
        });
        let context = ptr::from_ref(&*alarm).cast_mut().cast();
        // SAFETY: the callback takes this context, which lives longer than the timer.
        let timer = unsafe { CreateThreadpoolTimer(Some(ring), context, ptr::null()) };
        if timer == 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { timer, alarm })
    }

    /// Rings once `after` has passed, at once when that is zero, and after [`TICK`] at the
    /// latest: nothing else shows that a connection is to be looked at. What was set before no
    /// longer counts.
    pub(crate) fn set(&self, after: Option<Duration>) {
        self.alarm.silence();
        let after = after.map_or(TICK, |time| time.min(TICK));
        if after.is_zero() {
            return self.alarm.ring();
        }
        // Negative: from now on, in 100 ns.
        let due = -(after.as_nanos().div_ceil(100) as i64);
        let due = FILETIME {
            dwLowDateTime: due as u32,
            dwHighDateTime: (due >> 32) as u32,
        };
        // SAFETY: the timer is open, and `due` is read during the call.
        unsafe { SetThreadpoolTimer(self.timer, &due, 0, 0) };
    }

    pub(crate) fn event(&self) -> BorrowedHandle<'_> {
        self.alarm.event.as_handle()
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        // SAFETY: the timer is open, and closed once; after the wait no callback runs or will.
        unsafe {
            SetThreadpoolTimer(self.timer, ptr::null(), 0, 0);
            WaitForThreadpoolTimerCallbacks(self.timer, 1);
            CloseThreadpoolTimer(self.timer);
        }
    }
}

impl HasSocket for Timer {
    fn borrowed(&self) -> BorrowedSocket<'_> {
        self.alarm.waker.borrowed()
    }
}
