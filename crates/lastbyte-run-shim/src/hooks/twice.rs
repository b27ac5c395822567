//! Calls that return twice on one stack: vfork(2), and clone(2) by syscall(2) where
//! the child shares our memory.
//!
//! The child returns to our caller and goes on there, and what it calls next
//! overwrites whatever frame we left on the stack. So these have none: the return
//! address waits in a register that the system call preserves. A child that was given
//! a stack of its own finds its return address there, as with libc's `syscall`.

use core::ffi::{c_int, c_long};

#[cfg(target_arch = "x86_64")]
use crate::{epoch, run};

use super::raw;

/// vfork(2).
#[cfg(target_arch = "x86_64")]
#[unsafe(no_mangle)]
#[unsafe(naked)]
pub unsafe extern "C" fn vfork() -> c_int {
    core::arch::naked_asm!(
        "pop rdi",
        "lock inc dword ptr [rip + {spawns}]",
        "mov eax, {vfork}",
        "syscall",
        "push rdi",
        "test rax, rax",
        "jz 2f",
        "lock inc dword ptr [rip + {spawns} + 4]",
        "test rax, rax",
        "js 3f",
        "2:",
        "ret",
        "3:",
        "push rax",
        "call qword ptr [rip + {errno}@GOTPCREL]",
        "pop rdx",
        "neg edx",
        "mov dword ptr [rax], edx",
        "mov eax, -1",
        "ret",
        spawns = sym epoch::SPAWNS,
        vfork = const libc::SYS_vfork,
        errno = sym libc::__errno_location,
    )
}

/// vfork(2), as fork(2): POSIX let it be so, and no frame can be shared here.
#[cfg(not(target_arch = "x86_64"))]
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn vfork() -> c_int {
    // SAFETY: as the caller's call.
    unsafe { super::fork::fork() }
}

/// glibc's other name for vfork(2).
#[cfg(target_arch = "x86_64")]
#[unsafe(no_mangle)]
#[unsafe(naked)]
pub unsafe extern "C" fn __vfork() -> c_int {
    core::arch::naked_asm!("jmp {vfork}", vfork = sym vfork)
}

/// syscall(2). vfork, and clone or clone3 with CLONE_VM, are made here; all others
/// go to [`raw::dispatch`].
#[allow(clippy::too_many_lines, reason = "one sequence of instructions")]
#[cfg(target_arch = "x86_64")]
#[unsafe(no_mangle)]
#[unsafe(naked)]
pub unsafe extern "C" fn syscall() -> c_long {
    core::arch::naked_asm!(
        "cmp rdi, {clone}",
        "je 2f",
        "cmp rdi, {clone3}",
        "je 3f",
        "cmp rdi, {vfork}",
        "jne 12f",
        "jmp {vfork_hook}",
        "12:",
        "jmp {dispatch}",
        // clone(flags, stack, parent_tid, child_tid, tls): r10 = flags, r11 = stack.
        "2:",
        "mov r10, rsi",
        "mov r11, rdx",
        "test r10d, {vm}",
        "jz 12b",
        "jmp 4f",
        // clone3(struct clone_args *, size): flags are its first field, stack is at 40.
        "3:",
        "test rsi, rsi",
        "jz 12b",
        "mov r10, [rsi]",
        "mov r11, [rsi + 40]",
        "test r10d, {vm}",
        "jz 12b",
        "4:",
        // A thread, which holds what we hold: nothing to take note of.
        "mov eax, r10d",
        "and eax, {thread}",
        "cmp eax, {thread}",
        "je 9f",
        // With the return address above, seven words align the stack.
        "push rdi",
        "push rsi",
        "push rdx",
        "push rcx",
        "push r8",
        "push r9",
        "push r11",
        "mov rdi, r10",
        "call {begins}",
        "pop r11",
        "pop r9",
        "pop r8",
        "pop rcx",
        "pop rdx",
        "pop rsi",
        "pop rdi",
        // The arguments move up by one. Neither call has six, so the sixth register is
        // free for the return address.
        "mov rax, rdi",
        "mov rdi, rsi",
        "mov rsi, rdx",
        "mov rdx, rcx",
        "mov r10, r8",
        "mov r8, r9",
        "pop r9",
        "test r11, r11",
        "jnz 6f",
        "syscall",
        "push r9",
        "test rax, rax",
        "jz 5f",
        "lock inc dword ptr [rip + {forks} + 4]",
        "test rax, rax",
        "js 8f",
        "5:",
        "ret",
        "6:",
        "syscall",
        "test rax, rax",
        "jz 7f",
        "push r9",
        "lock inc dword ptr [rip + {forks} + 4]",
        "test rax, rax",
        "js 8f",
        "7:",
        "ret",
        "9:",
        "mov rax, rdi",
        "mov rdi, rsi",
        "mov rsi, rdx",
        "mov rdx, rcx",
        "mov r10, r8",
        "mov r8, r9",
        "syscall",
        "test rax, rax",
        "js 8f",
        "ret",
        "8:",
        "push rax",
        "call qword ptr [rip + {errno}@GOTPCREL]",
        "pop rdx",
        "neg edx",
        "mov dword ptr [rax], edx",
        "mov rax, -1",
        "ret",
        vfork = const libc::SYS_vfork,
        clone = const libc::SYS_clone,
        clone3 = const libc::SYS_clone3,
        vm = const libc::CLONE_VM,
        thread = const libc::CLONE_THREAD | libc::CLONE_FILES,
        vfork_hook = sym vfork,
        dispatch = sym raw::dispatch,
        begins = sym shares_memory,
        forks = sym epoch::FORKS,
        errno = sym libc::__errno_location,
    )
}

/// syscall(2). A child that shares our memory cannot be given the caller's frame
/// through ours, so clone loses CLONE_VM and CLONE_VFORK where it has no stack of its own, as vfork.
#[cfg(not(target_arch = "x86_64"))]
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn syscall(
    number: c_long,
    a: core::ffi::c_ulong,
    b: core::ffi::c_ulong,
    c: core::ffi::c_ulong,
    d: core::ffi::c_ulong,
    e: core::ffi::c_ulong,
    f: core::ffi::c_ulong,
) -> c_long {
    let a = if number == libc::SYS_clone && b == 0 {
        a & !((libc::CLONE_VM | libc::CLONE_VFORK) as core::ffi::c_ulong)
    } else {
        a
    };
    // SAFETY: as the caller's call.
    unsafe { raw::dispatch(number, a, b, c, d, e, f) }
}

/// Before a clone whose child shares our memory.
#[cfg(target_arch = "x86_64")]
extern "C" fn shares_memory(flags: c_long) {
    epoch::fork_begins();
    if flags & c_long::from(libc::CLONE_FILES | libc::CLONE_THREAD) != 0 {
        // Another process with our very table, or a thread with one of its own: which
        // of them holds what cannot be told.
        run::blind();
    }
}
