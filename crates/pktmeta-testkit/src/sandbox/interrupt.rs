//! Holds signals back that would end this process while a sandbox is not cleaned up.
//!
//! Handlers belong to the process and sandboxes to threads, so the first sandbox installs the
//! handlers, the last one restores what was there before, and each of them looks at a common count
//! of what arrived.

use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::Result;
use crate::error::Context;
use crate::sys;

/// What people and service managers end a process with.
const SIGNALS: [libc::c_int; 3] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP];

/// Signals that arrived since the handlers were installed.
static ARRIVED: AtomicU32 = AtomicU32::new(0);
/// The last of them.
static LAST: AtomicI32 = AtomicI32::new(0);
/// Whether the last was sent to this process alone. The terminal sends to the whole foreground
/// group, so the command in the sandbox has it already.
static ALONE: AtomicI32 = AtomicI32::new(0);
/// The signal this process is about to die of; zero for none.
static DYING: AtomicI32 = AtomicI32::new(0);

static SHARED: Mutex<Shared> = Mutex::new(Shared {
    holders: 0,
    before: Vec::new(),
});

struct Shared {
    holders: usize,
    before: Vec<(libc::c_int, libc::sigaction)>,
}

/// While one of these lives, an interrupt is noted instead of ending the process.
pub(super) struct HoldBack {
    seen: u32,
}

/// A signal that arrived and is to be acted on.
pub(super) struct Interrupt {
    pub(super) signal: libc::c_int,
    /// Whether the command has to be told.
    pub(super) forward: bool,
}

impl HoldBack {
    pub(super) fn new() -> Result<Self> {
        let mut shared = shared();
        let dying = DYING.load(Ordering::Relaxed);
        if dying != 0 {
            // Or tests that have not begun yet would keep an interrupted test run going.
            drop(shared);
            die_of(dying);
        }
        if shared.holders == 0 {
            ARRIVED.store(0, Ordering::Relaxed);
            for signal in SIGNALS {
                if let Some(before) = install(signal)? {
                    shared.before.push((signal, before));
                }
            }
        }
        shared.holders += 1;
        // Not the present count: whoever starts a sandbox while others are being torn down is
        // interrupted too.
        Ok(Self { seen: 0 })
    }

    /// What arrived since the last time this was asked.
    pub(super) fn take(&mut self) -> Option<Interrupt> {
        let arrived = ARRIVED.load(Ordering::Acquire);
        if arrived == self.seen {
            return None;
        }
        self.seen = arrived;
        Some(Interrupt {
            signal: LAST.load(Ordering::Relaxed),
            forward: ALONE.load(Ordering::Relaxed) != 0,
        })
    }
}

impl Drop for HoldBack {
    fn drop(&mut self) {
        let mut shared = shared();
        shared.holders -= 1;
        if shared.holders == 0 {
            for (signal, before) in shared.before.drain(..) {
                // SAFETY: `before` is what sigaction gave us for this very signal.
                unsafe { libc::sigaction(signal, &before, ptr::null_mut()) };
            }
            if let Some(late) = self.take() {
                // It came when there was no command left to tell, so it is for this process.
                // SAFETY: kill takes no memory. The signal does what it would have done without us.
                unsafe { libc::kill(libc::getpid(), late.signal) };
            }
        }
    }
}

/// Ends this process by a signal that was held back, as soon as no sandbox holds it back any more.
pub(super) fn die_of(signal: libc::c_int) -> ! {
    DYING.store(signal, Ordering::Relaxed);
    loop {
        let shared = shared();
        if shared.holders == 0 {
            // SAFETY: the default action of a signal in SIGNALS ends the process; no Rust code runs
            // for it.
            unsafe {
                libc::signal(signal, libc::SIG_DFL);
                libc::kill(libc::getpid(), signal);
            }
        }
        drop(shared);
        thread::sleep(Duration::from_millis(10));
    }
}

/// Puts our handler in place and returns the one before; nothing if the process ignores the signal,
/// as below nohup: then it should go on being ignored.
fn install(signal: libc::c_int) -> Result<Option<libc::sigaction>> {
    let sorry = || format!("cannot install a handler for signal {signal}");
    let mut before = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: a null new action only asks; `before` is large enough for the answer.
    sys::check(unsafe { libc::sigaction(signal, ptr::null(), before.as_mut_ptr()) })
        .context(sorry)?;
    // SAFETY: sigaction succeeded, so it filled `before`.
    let before = unsafe { before.assume_init() };
    if before.sa_sigaction == libc::SIG_IGN {
        return Ok(None);
    }
    // SAFETY: all zeroes is a valid sigaction: no flags, an empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) = note;
    action.sa_sigaction = handler as libc::sighandler_t;
    // Restart system calls of threads that know nothing about us.
    action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
    // SAFETY: the handler has the signature that SA_SIGINFO asks for and is async-signal-safe.
    sys::check(unsafe { libc::sigaction(signal, &action, ptr::null_mut()) }).context(sorry)?;
    Ok(Some(before))
}

/// The handler: stores to atomics and nothing else.
extern "C" fn note(signal: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: with SA_SIGINFO the kernel passes a valid siginfo.
    let from_a_process = unsafe { (*info).si_code } <= 0;
    LAST.store(signal, Ordering::Relaxed);
    ALONE.store(i32::from(from_a_process), Ordering::Relaxed);
    ARRIVED.fetch_add(1, Ordering::Release);
}

fn shared() -> MutexGuard<'static, Shared> {
    SHARED.lock().unwrap_or_else(PoisonError::into_inner)
}
